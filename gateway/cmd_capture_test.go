package main

import (
	"bytes"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// An analyser that no profile knows: what was recorded on its line.
const acme = "> <ENQ>\n< <ACK>\n" +
	"> <STX>1H|\\^&|||ACME^1.0^77|||||LIS||P|E1394-97|20260114081500<CR>P|1||HN-00417||Hoa^Tran||19610402|F<CR>O|1|2601140027||^^^GLU|R<CR>R|1|^^^GLU|5.4|mmol/L|3.9 to 6.4|N||F||||20260114081400<CR>L|1|N<CR><ETX><sum><CR><LF>\n" +
	"< <ACK>\n> <EOT>\n"

// must runs the program and wants an exit status; it returns both outputs.
func must(t *testing.T, status int, args ...string) string {
	t.Helper()
	b, err := nhip(args...).CombinedOutput()
	c := 0
	if err != nil {
		exit, ok := err.(interface{ ExitCode() int })
		if !ok {
			t.Fatal(err)
		}
		c = exit.ExitCode()
	}
	if c != status {
		t.Fatalf("nhip %s: exit status %d, want %d\n%s", strings.Join(args, " "), c, status, b)
	}
	return string(b)
}

// The manual's way from a recording to a profile that the gateway loads, with
// documented commands only.
func TestNewAnalyserNeedsNoGo(t *testing.T) {
	dir := t.TempDir()
	recorded, clean := filepath.Join(dir, "acme.txt"), filepath.Join(dir, "clean.txt")
	if err := os.WriteFile(recorded, []byte(acme), 0o600); err != nil {
		t.Fatal(err)
	}
	must(t, 0, "capture", "scrub", recorded, "--to", clean)
	if b, err := os.ReadFile(clean); err != nil || bytes.Contains(b, []byte("Tran")) || bytes.Contains(b, []byte("00417")) || !bytes.Contains(b, []byte("ACME")) {
		t.Fatalf("%s %v", b, err)
	}
	profiles := filepath.Join(dir, "profiles")
	if said := must(t, 0, "profile", "new", "acme", clean, "--name", "ACME 1", "--to", profiles); !strings.Contains(said, "1 codes and 1 transcripts") {
		t.Error(said)
	}
	must(t, 2, "profile", "new", "acme", clean, "--to", profiles) // never over what is there
	acmeDir := filepath.Join(profiles, "acme")
	if said := must(t, 1, "profile", "test", acmeDir); !strings.Contains(said, "expected/capture-1.json") {
		t.Error(said)
	}
	must(t, 0, "profile", "test", "--update", acmeDir)
	if said := must(t, 0, "profile", "test", profiles); !strings.Contains(said, "1 profiles, 1 transcripts, 1 test codes: all green") {
		t.Error(said)
	}
	if said := must(t, 0, "decode", "--profile", acmeDir, clean); !strings.Contains(said, `"code": "GLU"`) || !strings.Contains(said, `"value": "5.4"`) {
		t.Error(said)
	}
	if said := must(t, 0, "profile", "list", "--folder", profiles); !strings.Contains(said, "acme") || !strings.Contains(said, "sysmex-xn-l") {
		t.Error(said)
	}
	file := filepath.Join(dir, "site.toml")
	text := "[site]\nid = \"test\"\nprofiles = \"profiles\"\n[[destination]]\nname = \"lis\"\nkind = \"hl7\"\naddress = \"127.0.0.1:2576\"\n" +
		"[[analyser]]\nname = \"acme-1\"\nprofile = \"acme\"\nport = \"tcp-listen://127.0.0.1:0\"\nto = [\"lis\"]\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	must(t, 0, "check", "--config", file)
	if err := os.WriteFile(filepath.Join(acmeDir, "profile.toml"), []byte("id = 1"), 0o600); err != nil {
		t.Fatal(err)
	}
	if said := must(t, 1, "check", "--config", file); !strings.Contains(said, "acme/profile.toml") {
		t.Error(said)
	}
}

func TestProfilesThatAreBuiltInAreGreen(t *testing.T) {
	if said := must(t, 0, "profile", "test"); !strings.Contains(said, "all green") {
		t.Error(said)
	}
	if said := must(t, 0, "profile", "test", "--lang", "vi"); !strings.Contains(said, "đều đạt") {
		t.Error(said)
	}
}

// The recorder stands between a device and its host; what it wrote is played again
// through another recorder.
func TestLineIsRecordedAndReplayed(t *testing.T) {
	dir := t.TempDir()
	source := filepath.Join(dir, "acme.txt")
	if err := os.WriteFile(source, []byte(acme), 0o600); err != nil {
		t.Fatal(err)
	}
	host, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	go func() {
		for {
			c, err := host.Accept()
			if err != nil {
				return
			}
			go acknowledge(c)
		}
	}()
	device := freePort(t)
	to := filepath.Join(dir, "recorded.txt")
	recorder := nhip("capture", "record", "tcp-listen://"+device, "tcp-dial://"+host.Addr().String(), "--to", to)
	var log bytes.Buffer
	recorder.Stderr = &log
	if err := recorder.Start(); err != nil {
		t.Fatal(err)
	}
	defer recorder.Process.Kill()
	for begun := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		c, err := net.Dial("tcp", device)
		if err == nil {
			c.Close()
			break
		}
		if time.Since(begun) > time.Minute {
			t.Fatal(err)
		}
	}
	if said := must(t, 0, "capture", "replay", source, "tcp-dial://"+device, "--speed", "0", "--answer", "60s"); !strings.Contains(said, "0 answers were not those") {
		t.Errorf("%s\n%s", said, &log)
	}
	if err := recorder.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := recorder.Wait(); err != nil {
		t.Errorf("%v\n%s", err, &log)
	}
	b, err := os.ReadFile(to)
	if err != nil || !bytes.Contains(b, []byte("# at 20")) {
		t.Fatalf("%s %v", b, err)
	}
	if said := must(t, 0, "decode", to); !strings.Contains(said, `"from": "device"`) || !strings.Contains(said, "2601140027") {
		t.Errorf("%s\n%s", said, b)
	}
	if said := must(t, 2, "capture", "record", "tcp-listen://"+device, "tcp-dial://"+host.Addr().String(), "--to", to); !strings.Contains(said, "exists") {
		t.Error(said)
	}
}

// acknowledge is a host that says ACK to ENQ and to every frame.
func acknowledge(c net.Conn) {
	defer c.Close()
	b := make([]byte, 1)
	for {
		if _, err := c.Read(b); err != nil {
			return
		}
		if b[0] == 0x05 || b[0] == '\n' {
			if _, err := io.WriteString(c, "\x06"); err != nil {
				return
			}
		}
	}
}
