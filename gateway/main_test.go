package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"
)

// childMain makes this test program the program nhip, with its arguments.
const childMain = "NHIP_TEST_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(childMain) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// nhip is the program.
func nhip(args ...string) *exec.Cmd {
	c := exec.Command(os.Args[0], args...)
	c.Env = append(os.Environ(), childMain+"=1")
	return c
}

func configuration(t *testing.T, text string) (file, data string) {
	t.Helper()
	dir := t.TempDir()
	file, data = filepath.Join(dir, "site.toml"), filepath.Join(dir, "data")
	if err := os.WriteFile(file, []byte(fmt.Sprintf("[site]\nid = \"bv\"\ndata = %q\n", data)+text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file, data
}

const anywhere = "[console]\nlisten = \"127.0.0.1:0\"\n[dicom]\nlisten = \"127.0.0.1:0\"\n[mqtt]\nlisten = \"127.0.0.1:0\"\n[hl7]\nlisten = \"127.0.0.1:0\"\n"

func TestAConfigurationWithAnUnknownKeyIsRefusedInWords(t *testing.T) {
	good, _ := configuration(t, anywhere)
	bad, data := configuration(t, anywhere+"lisen = \"127.0.0.1:2575\"\n")
	if out, err := nhip("check", "--config", good).CombinedOutput(); err != nil {
		t.Errorf("a good configuration: %v: %s", err, out)
	}
	for _, command := range []string{"check", "run"} {
		c := nhip(command, "--config", bad)
		out, _ := c.CombinedOutput()
		if code := c.ProcessState.ExitCode(); code != 1 {
			t.Errorf("nhip %s ends with %d: %s", command, code, out)
		}
		if !strings.Contains(string(out), "site.toml:12") || !strings.Contains(string(out), `unknown key "lisen": did you mean "listen"?`) {
			t.Errorf("nhip %s says %s", command, out)
		}
	}
	if _, err := os.Stat(data); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("something was made of a bad configuration: %v", err)
	}
}

func TestATakenPortIsSaidByCheck(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	file, _ := configuration(t, strings.Replace(anywhere, "[hl7]\nlisten = \"127.0.0.1:0\"", fmt.Sprintf("[hl7]\nlisten = %q", l.Addr()), 1))
	c := nhip("check", "--config", file)
	out, _ := c.CombinedOutput()
	if c.ProcessState.ExitCode() != 1 || !strings.Contains(string(out), "hl7") || !strings.Contains(string(out), "has this port") {
		t.Errorf("%d: %s", c.ProcessState.ExitCode(), out)
	}
}

// running starts nhip run and waits for its console.
func running(t *testing.T, file string) (c *exec.Cmd, log *bytes.Buffer, listen map[string]any) {
	t.Helper()
	c, log = nhip("run", "--config", file), &bytes.Buffer{}
	pipe, err := c.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Process.Kill(); c.Wait() })
	console := make(chan string, 1)
	go func() {
		for s := bufio.NewScanner(pipe); s.Scan(); {
			fmt.Fprintln(log, s.Text())
			if m := regexp.MustCompile(`listener=console addresses=\[(.*)\]`).FindStringSubmatch(s.Text()); m != nil {
				console <- m[1]
			}
		}
		close(console)
	}()
	select {
	case address := <-console:
		rsp, err := http.Get("http://" + address + "/api/v1/status")
		if err != nil {
			t.Fatal(err)
		}
		defer rsp.Body.Close()
		var st map[string]any
		if err := json.NewDecoder(rsp.Body).Decode(&st); err != nil {
			t.Fatal(err)
		}
		return c, log, st["listen"].(map[string]any)
	case <-time.After(30 * time.Second):
		t.Fatal("the gateway does not start")
	}
	return nil, nil, nil
}

// TestAFailedCommitEndsTheProcessWithStatus3 takes the disk away from a running
// gateway: by the limit of the size of its files, which the kernel enforces. What
// was acknowledged before is there after the restart, and the sender of the rest
// has no acknowledgement.
func TestAFailedCommitEndsTheProcessWithStatus3(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("prlimit is Linux's")
	}
	if _, err := exec.LookPath("prlimit"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("prlimit is not installed")
		}
		t.Skip("prlimit is not installed")
	}
	file, _ := configuration(t, anywhere+"[[hl7_peer]]\nname = \"his\"\naddress = \"127.0.0.1\"\nto = []\n")
	c, log, listen := running(t, file)
	conn, err := net.Dial("tcp", listen["hl7"].(string))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(60 * time.Second))
	r := bufio.NewReader(conn)
	acknowledged := 0
	send := func(i int) bool {
		m := fmt.Sprintf("MSH|^~\\&|HIS|BV|||20260114081500||ORU^R01^ORU_R01|M%d|P|2.5.1\rOBX|1|ED|x||%s\r", i, strings.Repeat("A", 180<<10))
		if _, err := io.WriteString(conn, "\x0b"+m+"\x1c\r"); err != nil {
			return false
		}
		a, err := r.ReadString(0x1c)
		if err != nil || !strings.Contains(a, fmt.Sprintf("MSA|AA|M%d", i)) {
			return false
		}
		r.ReadByte()
		acknowledged++
		return true
	}
	for i := range 5 {
		if !send(i) {
			t.Fatal("a message is not acknowledged")
		}
	}
	if out, err := exec.Command("prlimit", "--pid", fmt.Sprint(c.Process.Pid), "--fsize=4096").CombinedOutput(); err != nil {
		t.Skipf("prlimit: %v: %s", err, out)
	}
	for i := 5; i < 2000 && send(i); i++ {
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		t.Fatalf("the gateway goes on after %d messages:\n%s", acknowledged, log)
	}
	if code := c.ProcessState.ExitCode(); code != 3 {
		t.Fatalf("exit status %d after %d messages:\n%s", code, acknowledged, log)
	}
	if !strings.Contains(log.String(), "failed") {
		t.Errorf("no word in the log: %s", log)
	}
	t.Logf("exit status 3 after %d messages acknowledged", acknowledged)

	// A supervisor starts it again.
	_, _, listen = running(t, file)
	rsp, err := http.Get("http://" + listen["console"].(string) + "/api/v1/status")
	if err != nil {
		t.Fatal(err)
	}
	defer rsp.Body.Close()
	var st struct{ Counts struct{ Accepted int } }
	if err := json.NewDecoder(rsp.Body).Decode(&st); err != nil {
		t.Fatal(err)
	}
	if st.Counts.Accepted < acknowledged {
		t.Errorf("%d were acknowledged, %d are there", acknowledged, st.Counts.Accepted)
	}
}
