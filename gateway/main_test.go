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
	"sync"
	"syscall"
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
	for want, c := range map[string]*exec.Cmd{
		`không có khóa "lisen": có phải là "listen"?`: nhip("check", "--lang", "vi", "--config", bad),
		"dùng được: 0 máy xét nghiệm":                 nhip("check", "--config", good),
	} {
		c.Env = append(c.Environ(), "LC_ALL=vi_VN.UTF-8")
		if out, _ := c.CombinedOutput(); !strings.Contains(string(out), want) {
			t.Errorf("in Vietnamese it says %s", out)
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

// running starts nhip run and waits for its console. wait waits for its end, and
// for all that it logged.
func running(t *testing.T, c *exec.Cmd) (log func() string, wait func(), listen map[string]any) {
	t.Helper()
	var mu sync.Mutex
	var text bytes.Buffer
	log = func() string {
		mu.Lock()
		defer mu.Unlock()
		return text.String()
	}
	pipe, err := c.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // strace and what it traces end together
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	console, read := make(chan string, 1), make(chan struct{})
	go func() {
		defer close(read)
		for s := bufio.NewScanner(pipe); s.Scan(); {
			mu.Lock()
			fmt.Fprintln(&text, s.Text())
			mu.Unlock()
			if m := regexp.MustCompile(`listener=console addresses=\[(.*)\]`).FindStringSubmatch(s.Text()); m != nil {
				console <- m[1]
			}
		}
	}()
	wait = sync.OnceFunc(func() { <-read; c.Wait() })
	t.Cleanup(func() {
		if c.ProcessState == nil {
			syscall.Kill(-c.Process.Pid, syscall.SIGKILL)
		}
		wait()
	})
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
		return log, wait, st["listen"].(map[string]any)
	case <-time.After(90 * time.Second):
		t.Fatalf("the gateway does not start:\n%s", log())
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
	file, _ := configuration(t, anywhere+peerBlock)
	c := nhip("run", "--config", file)
	endsWithStatus3(t, file, c, 180<<10, func() {
		if out, err := exec.Command("prlimit", "--pid", fmt.Sprint(c.Process.Pid), "--fsize=4096").CombinedOutput(); err != nil {
			t.Skipf("prlimit: %v: %s", err, out)
		}
	})
}

// TestAFailedFsyncEndsTheProcessWithStatus3 lets the disk fail under the
// write-ahead log, which is synced by msync.
func TestAFailedFsyncEndsTheProcessWithStatus3(t *testing.T) {
	strace := []string{"-f", "-o", "/dev/null", "-e", "trace=msync", "-e"}
	if out, err := exec.Command("strace", append(strace, "inject=msync:error=EIO:when=60000", "true")...).CombinedOutput(); err != nil {
		t.Skipf("strace cannot inject faults here: %v: %s", err, out)
	}
	file, _ := configuration(t, anywhere+peerBlock)
	c := exec.Command("strace", append(strace, "inject=msync:error=EIO:when=40+", os.Args[0], "run", "--config", file)...)
	c.Env = append(os.Environ(), childMain+"=1")
	endsWithStatus3(t, file, c, 100, func() {})
}

const peerBlock = "[[hl7_peer]]\nname = \"his\"\naddress = \"127.0.0.1\"\nto = []\n"

// endsWithStatus3 runs a gateway, sends it messages of a length until it gives
// none an acknowledgement any more, and restarts it.
func endsWithStatus3(t *testing.T, file string, c *exec.Cmd, length int, breakIt func()) {
	t.Helper()
	log, wait, listen := running(t, c)
	conn, err := net.Dial("tcp", listen["hl7"].(string))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(60 * time.Second))
	r := bufio.NewReader(conn)
	acknowledged := 0
	send := func(i int) bool {
		m := fmt.Sprintf("MSH|^~\\&|HIS|BV|||20260114081500||ORU^R01|M%d|P|2.5.1\rOBX|1|ED|x||%s\r", i, strings.Repeat("A", length))
		if _, err := io.WriteString(conn, "\x0b"+m+"\x1c\r"); err != nil {
			return false
		}
		a, err := r.ReadString(0x1c)
		if err != nil || !strings.Contains(a, fmt.Sprintf("MSA|AA|M%d\r", i)) {
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
	breakIt()
	for i := 5; i < 2000 && send(i); i++ {
	}
	ended := make(chan struct{})
	go func() { wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(90 * time.Second):
		t.Fatalf("the gateway goes on after %d messages", acknowledged)
	}
	if code := c.ProcessState.ExitCode(); code != 3 {
		t.Fatalf("exit status %d after %d messages:\n%s", code, acknowledged, log())
	}
	if !strings.Contains(log(), "a commit to the store failed") {
		t.Errorf("no word in the log: %s", log())
	}
	t.Logf("exit status 3 after %d messages acknowledged", acknowledged)

	// A supervisor starts it again.
	again, _, listen := running(t, nhip("run", "--config", file))
	rsp, err := http.Get("http://" + listen["console"].(string) + "/api/v1/status")
	if err != nil {
		t.Fatal(err)
	}
	defer rsp.Body.Close()
	var st struct{ Counts struct{ Accepted int } }
	if err := json.NewDecoder(rsp.Body).Decode(&st); err != nil {
		t.Fatal(err)
	}
	// One more may be stored, of which the sender had no answer.
	if n := st.Counts.Accepted; n < acknowledged || n > acknowledged+1 {
		t.Errorf("%d were acknowledged, %d are there\nbefore:\n%s\nafter:\n%s", acknowledged, n, log(), again())
	}
}
