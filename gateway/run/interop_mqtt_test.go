package run

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"testing"
)

const monitorBed = `
[[monitor]]
name = "bed-12"
unit = "icu"
profile = "hl7-pcd01"
port = "mllp-listen://127.0.0.1:0"
class = "record"
to = []
[[mqtt_user]]
name = "ward-display"
password_file = "pw"
subscribe = ["v1/#"]
publish = []
[[mqtt_user]]
name = "pump"
password_file = "pw"
subscribe = []
publish = ["wards/icu/#"]
class = "record"
`

// pcd01 is a message of a monitor in the shape of IHE PCD-01.
const pcd01 = "MSH|^~\\&|MONITOR^00A0370000000001^EUI-64|MAKER|||20261121120001.0000+0700||ORU^R01^ORU_R01|1|P|2.6|||NE|AL||UNICODE UTF-8|||PCD_DEC_001^IHE PCD^1.3.6.1.4.1.19376.1.6.1.1.1^ISO\r" +
	"PID|||PT-770077^^^Hospital^PI||TRAN^BIMAT||19770707\rPV1||I|ICU^^12\r" +
	"OBR|1|1^MON|1^MON|182777000^monitoring of patient^SCT|||20261121120000.0000+0700\r" +
	"OBX|1|NM|150456^MDC_PULS_OXIM_SAT_O2^MDC|1.3.1.150456|98|262688^MDC_DIM_PERCENT^MDC|||||R|||20261121115959.5000+0700\r"

// mosquitto is a client with the address and, where there is a user, credentials.
func mosquitto(t *testing.T, program, address, user string, args ...string) *exec.Cmd {
	host, port, _ := net.SplitHostPort(address)
	all := []string{"-h", host, "-p", port, "-i", user + "-" + program}
	if user != "" {
		all = append(all, "-u", user, "-P", "mat-khau")
	}
	return exec.CommandContext(t.Context(), program, append(all, args...)...)
}

// subscribe runs mosquitto_sub and gives its lines, "topic payload".
func subscribe(t *testing.T, address, user, filter string) <-chan string {
	t.Helper()
	c := mosquitto(t, "mosquitto_sub", address, user, "-q", "1", "-v", "-t", filter)
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 1000)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(lines)
		for r := bufio.NewScanner(out); r.Scan(); {
			lines <- r.Text()
		}
	}()
	t.Cleanup(func() { c.Process.Kill(); io.Copy(io.Discard, out); c.Wait(); <-done })
	return lines
}

func TestAReadingOfRecordIsPublishedAsTheContractSays(t *testing.T) {
	need(t, "mllp_send", "mosquitto_sub", "mosquitto_pub")
	t.Parallel()
	s := newSite(t, monitorBed)
	broker := s.status().Listen.MQTT
	lines := subscribe(t, broker, "ward-display", "v1/#")
	first := <-lines // retained: so the subscription stands
	if !strings.HasPrefix(first, "v1/bv-test/icu/bed-12/status ") {
		t.Fatalf("retained is %q", first)
	}
	if a := mllpSend(t, s.status().Listen.Monitor["bed-12"], pcd01); !strings.Contains(a, "MSA|AA|1") {
		t.Fatalf("the answer is %q", a)
	}
	// Acknowledged means committed.
	if c := s.status().Counts; c.Accepted != 1 {
		t.Errorf("%+v", c)
	}
	var payload string
	for line := range lines {
		topic, rest, _ := strings.Cut(line, " ")
		if strings.Contains(line, "BIMAT") || strings.Contains(line, "770077") {
			t.Errorf("patient data in %q", line)
		}
		if topic == "v1/bv-test/icu/bed-12/numeric" {
			payload = rest
			break
		}
	}
	var got map[string]any
	if err := json.Unmarshal([]byte(payload), &got); err != nil {
		t.Fatalf("%v: %q", err, payload)
	}
	for key, want := range map[string]any{
		"code": 150456.0, "mdc": "MDC_PULS_OXIM_SAT_O2", "value": "98", "unit": "%", "seq": 1.0, "state": "valid", "device_time": "2026-11-21T11:59:59.500+07:00",
	} {
		if got[key] != want {
			t.Errorf("%s is %v, want %v", key, got[key], want)
		}
	}
	if _, ok := got["gateway_time"].(string); !ok || len(got) != 8 {
		t.Errorf("the payload has other keys: %v", got)
	}
	eventually(t, "the reading is consumed: no queue of ours takes it", func() bool {
		c := s.status().Counts
		return c.Accepted == 1 && c.Consumed == 1 && c.Kinds["no_destination"] == 1
	})
}

func TestAPublishOfRecordIsCommitted(t *testing.T) {
	need(t, "mosquitto_pub")
	t.Parallel()
	s := newSite(t, monitorBed)
	broker := s.status().Listen.MQTT
	for i, version := range []string{"311", "5"} {
		payload := fmt.Sprintf(`{"rate":"%d"}`, i)
		out, err := mosquitto(t, "mosquitto_pub", broker, "pump", "-V", version, "-q", "1", "-t", "wards/icu/pump", "-m", payload).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if c := s.status().Counts; c.Accepted != int64(i+1) {
			t.Errorf("after PUBACK %d are accepted", c.Accepted)
		}
	}
	// Stored: also for who looks after a restart.
	s.stop()
	s.start()
	c := s.status().Counts
	if c.Accepted != 2 {
		t.Errorf("after a restart: %+v", c)
	}
	eventually(t, "both are consumed", func() bool { return s.status().Counts.Kinds["no_destination"] == 2 })
}

func TestMosquittoWithoutCredentialIsRefused(t *testing.T) {
	need(t, "mosquitto_sub", "mosquitto_pub")
	t.Parallel()
	s := newSite(t, monitorBed)
	broker := s.status().Listen.MQTT
	for name, c := range map[string]*exec.Cmd{
		"no user":            mosquitto(t, "mosquitto_pub", broker, "", "-q", "1", "-t", "wards/icu/pump", "-m", "x"),
		"unknown user":       mosquitto(t, "mosquitto_pub", broker, "stranger", "-q", "1", "-t", "wards/icu/pump", "-m", "x"),
		"no user, version 5": mosquitto(t, "mosquitto_sub", broker, "", "-V", "5", "-t", "v1/#"),
	} {
		if out, err := c.CombinedOutput(); err == nil || !strings.Contains(strings.ToLower(string(out)), "not authorised") && !strings.Contains(strings.ToLower(string(out)), "user name or password") && !strings.Contains(strings.ToLower(string(out)), "not authorized") {
			t.Errorf("%s: %v: %s", name, err, out)
		}
	}
	s.listed("mqtt", "127.0.0.1", "[[mqtt_user]]", `name = "stranger"`)
	s.logged(0, "stranger refused", "kind=mqtt")
	if out, err := mosquitto(t, "mosquitto_pub", broker, "pump", "-V", "5", "-q", "1", "-t", "v1/bv-test/icu/bed-12/numeric", "-m", "x").CombinedOutput(); err != nil || !strings.Contains(strings.ToLower(string(out)), "not authorized") {
		t.Errorf("a publish outside the ACL: %v: %s", err, out)
	}
	if c := s.status().Counts; c.Accepted != 0 {
		t.Errorf("%+v", c)
	}
}
