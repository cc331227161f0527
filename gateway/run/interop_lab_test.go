package run

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// mllpSend sends a file with Debian's mllp_send and returns what it prints.
func mllpSend(t *testing.T, address, message string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "message.hl7")
	if err := os.WriteFile(file, []byte("\x0b"+message+"\x1c\r"), 0o600); err != nil {
		t.Fatal(err)
	}
	host, port, _ := net.SplitHostPort(address)
	out, err := exec.CommandContext(t.Context(), "mllp_send", "--port", port, "--file", file, host).CombinedOutput()
	if err != nil {
		t.Fatalf("mllp_send: %v: %s", err, out)
	}
	return strings.ReplaceAll(string(out), "\n", "\r")
}

const his = `
[[hl7_peer]]
name = "his"
address = "127.0.0.1"
application = "HIS"
to = ["lis"]
`

func TestMLLPSendIsAnsweredAndPassesThroughByteForByte(t *testing.T) {
	need(t, "mllp_send")
	t.Parallel()
	lis := newLIS(t)
	s := newSite(t, his+lis.block())
	// A segment of nobody's standard, escapes, an empty repetition, Vietnamese.
	message := "MSH|^~\\&|HIS|BV|NHIP||20260114081500+0700||ORU^R01^ORU_R01|PASS-1|P|2.5.1||||||UNICODE UTF-8\r" +
		"PID|1||PT-770077^^^BV~||TRẦN^BIMAT||19770707|F\rOBR|1||S-77|GLU\rOBX|1|ST|GLU||a\\T\\b\\X0D\\|mmol/L|~|||F||\rZXY|1||\"\"|^^^&&\r"
	answer := mllpSend(t, s.g.states.addresses("hl7")[0], message)
	if !strings.Contains(answer, "MSA|AA|PASS-1") {
		t.Fatalf("the answer is %q", answer)
	}
	eventually(t, "the message is at the destination", func() bool { return len(lis.messages()) > 0 })
	// (mllp_send takes the last CR off.)
	if got := lis.messages()[0]; got != strings.TrimSuffix(message, "\r") {
		t.Errorf("it arrived as\n%q\nsent was\n%q", got, message)
	}
	// The same bytes under the same MSH-10: the stored answer, nothing delivered.
	if again := mllpSend(t, s.g.states.addresses("hl7")[0], message); again != answer {
		t.Errorf("the repeat is answered %q, the first %q", again, answer)
	}
	// The same MSH-10 with other bytes is a new message.
	mllpSend(t, s.g.states.addresses("hl7")[0], strings.Replace(message, "S-77", "S-78", 1))
	eventually(t, "the new message is at the destination", func() bool { return len(lis.of("S-78")) == 1 })
	if n := len(lis.messages()); n != 2 {
		t.Errorf("%d messages arrived", n)
	}
	eventually(t, "all is counted", func() bool {
		c := s.status().Counts
		return c.Accepted == 3 && c.Delivered == 2 && c.Kinds["duplicate"] == 1
	})
}

// What a system sends arrives as it was sent, whatever its line ends are; one
// byte in each packet too.
func TestMessagesPassThroughWithTheirOwnLineEnds(t *testing.T) {
	t.Parallel()
	lis := newLIS(t)
	s := newSite(t, his+lis.block())
	p := newPeer(t, "127.0.0.1", s.status().Listen.HL7)
	for name, change := range map[string]*strings.Replacer{
		"LF":   strings.NewReplacer("\r", "\n"),
		"CRLF": strings.NewReplacer("\r", "\r\n"),
		"BOM":  strings.NewReplacer("MSH|", "\xef\xbb\xbfMSH|"),
		"NUL":  strings.NewReplacer("mmol/L", "mm\x00ol/L"),
		"Z":    strings.NewReplacer("OBX|1", "ZAB|~~|\\Z77\\|\\\rOBX|1"),
	} {
		message := change.Replace(oru("ENDS-" + name))
		for _, b := range []byte("\x0b" + message + "\x1c\r") {
			p.Write([]byte{b})
		}
		if a := p.answer(t); field(a, "MSA-1") != "AA" || field(a, "MSA-2") != "ENDS-"+name {
			t.Errorf("%s: answered %q", name, a)
			continue
		}
		eventually(t, name+" is at the destination", func() bool { return len(lis.of("ENDS-"+name)) == 1 })
		if got := lis.of("ENDS-" + name)[0]; got != message {
			t.Errorf("%s: it arrived as\n%q\nsent was\n%q", name, got, message)
		}
	}
}

// TestARepeatAfterACutLineIsCountedAndAResendIsDelivered: our last ACK was lost
// with the line, so the analyser sends the message again; after EOT the same
// message is the operator's wish.
func TestARepeatAfterACutLineIsCountedAndAResendIsDelivered(t *testing.T) {
	t.Parallel()
	lis := newLIS(t)
	s := newSite(t, analyserBlock("astm-1", "generic-astm", "tcp-listen://127.0.0.1:0", "")+lis.block())
	address := s.status().Listen.Analyser["astm-1"]
	l := begin(t, address)
	l.want(t, astmFrame(1, records("REP-1")), ackByte)
	l.Close() // without EOT
	eventually(t, "the result is at the LIS", func() bool { return len(lis.of("REP-1")) == 1 })

	s.stop() // the gateway too was away
	s.start()
	address = s.status().Listen.Analyser["astm-1"]
	begin(t, address).rest(t, records("REP-1"))
	eventually(t, "the repeat is counted", func() bool { return s.status().Counts.Kinds["duplicate"] == 1 })
	if n := len(lis.of("REP-1")); n != 1 {
		t.Errorf("the repeat was delivered: %d messages", n)
	}

	eventually(t, "the session ends", func() bool { // EOT is not answered
		begin(t, address).rest(t, records("REP-1"))
		return len(lis.of("REP-1")) >= 2
	})
	got := lis.of("REP-1")
	if field(got[0], "MSH-10") == field(got[1], "MSH-10") {
		t.Error("other bytes under the control ID of the first")
	}
	if r := s.results("REP-1"); len(r) < 2 || r[0]["resent"] != true {
		t.Errorf("the resend is not marked: %v", r)
	}
}

func TestAnAnalyserThatSpeaksHL7LeavesAsORU(t *testing.T) {
	need(t, "mllp_send")
	t.Parallel()
	lis := newLIS(t)
	s := newSite(t, analyserBlock("bc-1", "mindray-bc-5380", "mllp-listen://127.0.0.1:0", "")+lis.block())
	message := "MSH|^~\\&|BC-5380|Mindray|||20260114083000||ORU^R01|31|P|2.3.1||||||UNICODE\r" +
		"PID|1||PT-770077^^^^MR||TRAN^BIMAT||19770707000000|Male\rPV1|1||nk^^012\r" +
		"OBR|1||26011413|00001^Automated Count^99MRC||20260114073000|20260114082930|||||||20260114075000|BLDV|||||||||HM||||||||TECH2\r" +
		"OBX|1|IS|08001^Take Mode^99MRC||A||||||F\r" +
		"OBX|6|NM|6690-2^WBC^LN||6.41|10*9/L|4.00-10.00|N|||F\rOBX|22|NM|718-7^HGB^LN||65|g/L|110-150|L|||F\r"
	answer := mllpSend(t, s.status().Listen.Analyser["bc-1"], message)
	if !strings.Contains(answer, "MSA|AA|31") {
		t.Fatalf("the answer is %q", answer)
	}
	eventually(t, "the result is at the LIS", func() bool { return len(lis.of("26011413")) == 1 })
	checkORU(t, lis.messages()[0], "mindray-bc-5380", map[string]string{"6690-2": "6.41 10*9/L", "718-7": "65 g/L"})
}

// checkORU checks a message to the LIS by the contract, by splitting.
func checkORU(t *testing.T, m, profile string, values map[string]string) {
	t.Helper()
	for path, want := range map[string]string{
		"MSH-9": "ORU^R01^ORU_R01", "MSH-12": "2.5.1", "MSH-18": "UNICODE UTF-8", "OBR-2": "", "OBR-25": "F",
	} {
		if got := field(m, path); got != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
	if id := field(m, "MSH-10"); len(id) == 0 || len(id) > 20 {
		t.Errorf("MSH-10 is %q", id)
	}
	if field(m, "OBR-3") == "" || field(m, "OBR-3") != field(m, "SPM-2") {
		t.Errorf("OBR-3 is %q, SPM-2 is %q", field(m, "OBR-3"), field(m, "SPM-2"))
	}
	if !strings.HasPrefix(field(m, "OBR-4"), profile+"^") || !strings.HasSuffix(field(m, "OBR-4"), "^L") {
		t.Errorf("OBR-4 is %q", field(m, "OBR-4"))
	}
	got := map[string]string{}
	for _, s := range strings.Split(m, "\r") {
		if f := strings.Split(s, "|"); f[0] == "OBX" {
			got[strings.Split(f[3], "^")[0]] = f[5] + " " + strings.Split(f[6], "^")[0]
			if !strings.Contains(f[3], "^99"+strings.ToUpper(profile)) {
				t.Errorf("OBX-3 is %q", f[3])
			}
		}
	}
	for code, want := range values {
		if got[code] != want {
			t.Errorf("%s is %q, want %q (of %v)", code, got[code], want, got)
		}
	}
}

// analyserBlock is the configuration of an analyser that sends to the LIS.
func analyserBlock(name, profile, port, more string) string {
	return fmt.Sprintf("[[analyser]]\nname = %q\nprofile = %q\nport = %q\nto = [\"lis\"]\n%s\n", name, profile, port, more)
}

// A cable is a socat pair of pseudo-terminals.
type cable struct {
	t            *testing.T
	ours, theirs string
	socat        *exec.Cmd
}

func (c *cable) plug() {
	c.t.Helper()
	c.socat = exec.Command("socat", "pty,raw,echo=0,link="+c.ours, "pty,raw,echo=0,link="+c.theirs)
	if err := c.socat.Start(); err != nil {
		c.t.Fatal(err)
	}
	eventually(c.t, "socat has made its pair", func() bool {
		_, err := os.Stat(c.theirs)
		_, err2 := os.Stat(c.ours)
		return err == nil && err2 == nil
	})
}

func (c *cable) unplug() {
	c.socat.Process.Kill()
	c.socat.Wait()
	os.Remove(c.ours)
	os.Remove(c.theirs)
}

// device opens the analyser's end.
func (c *cable) device() analyserLine {
	c.t.Helper()
	f, err := os.OpenFile(c.theirs, os.O_RDWR, 0)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { f.Close() })
	f.SetDeadline(time.Now().Add(90 * time.Second))
	return analyserLine{f}
}

// stateOf is the state of a connection.
func (s *site) stateOf(name string) string {
	s.t.Helper()
	st := s.status()
	i := slices.IndexFunc(st.Connections, func(c struct{ Name, Kind, State, Words string }) bool { return c.Name == name })
	if i < 0 {
		s.t.Fatalf("no connection %s in %+v", name, st.Connections)
	}
	return st.Connections[i].State
}

func TestAResultOverASerialLineReachesTheLISAndUSBComesBack(t *testing.T) {
	need(t, "socat")
	t.Parallel()
	dir := t.TempDir()
	c := &cable{t: t, ours: filepath.Join(dir, "ttyUSB0"), theirs: filepath.Join(dir, "device")}
	lis := newLIS(t)
	s := newSite(t, analyserBlock("astm-1", "generic-astm", "serial://"+c.ours+"?baud=9600", "")+lis.block())

	// The adapter is not there yet: shown, and nothing else is hurt.
	eventually(t, "the missing device is shown as absent", func() bool { return s.stateOf("astm-1") == "absent" })

	c.plug()
	t.Cleanup(func() { c.unplug() })
	eventually(t, "the serial line is open", func() bool { return s.stateOf("astm-1") == "connected" })
	c.device().session(t, records("SER-1"))
	eventually(t, "the result is at the LIS", func() bool { return len(lis.of("SER-1")) == 1 })
	checkORU(t, lis.of("SER-1")[0], "generic-astm", map[string]string{"GLU": "5.1 mmol/L"})

	// USB unplugged in the middle of a message, and back.
	d := c.device()
	d.want(t, enq, ackByte)
	d.Write([]byte(astmFrame(1, records("SER-2"))[:40]))
	c.unplug()
	eventually(t, "the unplugged device is shown as absent", func() bool { return s.stateOf("astm-1") == "absent" })
	c.plug()
	eventually(t, "the serial line is open again", func() bool { return s.stateOf("astm-1") == "connected" })
	c.device().session(t, records("SER-2"))
	eventually(t, "the result that was sent again is at the LIS", func() bool { return len(lis.of("SER-2")) == 1 })
}
