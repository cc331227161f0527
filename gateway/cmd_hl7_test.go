package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

const sample = "MSH|^~\\&|LAB||NHIP||20260114081500+0700||ORU^R01^ORU_R01|A1|P|2.5.1||||||UNICODE UTF-8\n" +
	"PID|1||0042^^^HIS^MR||Nguyễn^Ánh||1980|F\nOBR|1||S1|PANEL\nOBX|1|NM|HGB^Hb||13.5|g/dL|||||F\n"

func writeFile(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestHL7Show(t *testing.T) {
	dir := t.TempDir()
	good := writeFile(t, dir, "good.hl7", sample)
	two := writeFile(t, dir, "two.hl7", "\x0b"+strings.ReplaceAll(sample, "\n", "\r")+"\x1c\r\x0b"+strings.ReplaceAll(sample, "\n", "\r")+"\x1c\r")
	none := writeFile(t, dir, "none.hl7", "hello")
	out, err := nhip("hl7", "show", "--lang", "vi", good).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "PID-8    Giới tính: F = nữ") || !strings.Contains(string(out), "Nguyễn^Ánh") {
		t.Errorf("%v\n%s", err, out)
	}
	out, err = nhip("hl7", "show", "--lang", "en", two, none).CombinedOutput()
	if c, ok := err.(*exec.ExitError); !ok || c.ExitCode() != exitBad {
		t.Errorf("%v: what is no message was shown as one", err)
	}
	for _, want := range []string{"two.hl7[1]", "two.hl7[2]", "NOT READABLE: ", "does not begin with MSH"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	out, err = nhip("hl7", "show", "--json", good).Output()
	var trees []struct {
		ControlID string `json:"control_id"`
		Segments  []struct{ Segment string }
	}
	if err != nil || json.Unmarshal(out, &trees) != nil || len(trees) != 1 || trees[0].ControlID != "A1" || len(trees[0].Segments) != 4 {
		t.Errorf("%v %s", err, out)
	}
}

func TestHL7TestRunsTheTestsOfAMap(t *testing.T) {
	dir := t.TempDir()
	good := "name = \"m\"\n[[rule]]\ndo = \"set\"\nat = \"PID-8\"\nvalue = \"Nữ\"\n[[test]]\nname = \"sex\"\nin = '''\n" + sample + "'''\nout = '''\n" + strings.Replace(sample, "|F\nOBR", "|Nữ\nOBR", 1) + "'''\n"
	if out, err := nhip("hl7", "test", "--lang", "en", writeFile(t, dir, "good.toml", good)).CombinedOutput(); err != nil || !strings.Contains(string(out), "is good: map m, 1 tests") {
		t.Errorf("%v %s", err, out)
	}
	bad := strings.Replace(good, "value = \"Nữ\"", "value = \"X\"", 1)
	file := writeFile(t, dir, "bad.toml", bad)
	for args, want := range map[string]string{"hl7 test --lang en": `bad.toml:6: test "sex": PID-8 is "X", it should be "Nữ"`, "hl7 test --lang vi": `PID-8 là "X", đáng lẽ là "Nữ"`} {
		if out, err := nhip(append(strings.Fields(args), file)...).CombinedOutput(); err == nil || !strings.Contains(string(out), want) {
			t.Errorf("%v %s", err, out)
		}
	}
	config, _ := configuration(t, anywhere+fmt.Sprintf("[[destination]]\nname = \"lis\"\nkind = \"hl7\"\naddress = \"127.0.0.1:2576\"\nmap = %q\n", file))
	if out, err := nhip("check", "--lang", "en", "--config", config).CombinedOutput(); err == nil || !strings.Contains(string(out), "bad.toml:6: test \"sex\"") || !strings.Contains(string(out), `destination "lis": map: `+file+" cannot be used") {
		t.Errorf("%v %s", err, out)
	}
}

// A listening is a running `nhip hl7 listen`.
type listening struct {
	address string
	cmd     *exec.Cmd
	mu      sync.Mutex
	out     bytes.Buffer
	ended   chan struct{}
}

func listen(t *testing.T, args ...string) *listening {
	t.Helper()
	l := &listening{cmd: nhip(append([]string{"hl7", "listen", "127.0.0.1:0"}, args...)...), ended: make(chan struct{})}
	stderr, err := l.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := l.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(stderr)
	first, err := r.ReadString('\n')
	address, ok := strings.CutPrefix(strings.TrimSpace(first), "listening on ")
	if err != nil || !ok {
		t.Fatalf("%q %v", first, err)
	}
	l.address = address
	go func() {
		b, _ := io.ReadAll(r)
		l.mu.Lock()
		l.out.Write(b)
		l.mu.Unlock()
		_ = l.cmd.Wait()
		close(l.ended)
	}()
	t.Cleanup(func() {
		_ = l.cmd.Process.Kill()
		<-l.ended
	})
	return l
}

func files(t *testing.T, dir string) (bodies []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		bodies = append(bodies, string(b))
	}
	return bodies
}

// selfSigned is a certificate for this machine, and its key.
func selfSigned(t *testing.T) (certificate, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certificate = writeFile(t, dir, "cert.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	return certificate, writeFile(t, dir, "key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
}

// What send sends, listen keeps, by MLLP of both releases, TLS and HTTP; and send says
// and judges what listen was told to answer.
func TestHL7SendAndListen(t *testing.T) {
	certificate, key := selfSigned(t)
	in := t.TempDir()
	message := strings.ReplaceAll(sample, "\n", "\r")
	writeFile(t, in, "1.hl7", sample)
	writeFile(t, in, "2/more.hl7", strings.Replace(sample, "|A1|", "|A2|", 1))
	for _, test := range []struct {
		name         string
		listen, send []string
		http         string
	}{
		{"MLLP", nil, nil, ""},
		{"release 2", []string{"--mllp", "2"}, []string{"--mllp", "2"}, ""},
		{"TLS", []string{"--tls-certificate", certificate, "--tls-key", key, "--tls-ca", certificate}, []string{"--tls-ca", certificate, "--tls-certificate", certificate, "--tls-key", key}, ""},
		{"HTTP", []string{"--http"}, nil, "http://"},
	} {
		folder := filepath.Join(t.TempDir(), "got")
		l := listen(t, append([]string{folder, "--count", "2"}, test.listen...)...)
		out, err := nhip(append([]string{"hl7", "send", "--lang", "en", test.http + l.address, in}, test.send...)...).CombinedOutput()
		if err != nil || !strings.Contains(string(out), "2 of 2 messages were accepted") || !strings.Contains(string(out), "A1: accepted (AA)") {
			t.Errorf("%s: %v\n%s", test.name, err, out)
		}
		if got := files(t, folder); len(got) != 2 || got[0] != message {
			t.Errorf("%s: kept %q", test.name, got)
		}
		select {
		case <-l.ended:
		case <-time.After(time.Minute):
			t.Errorf("%s: listen did not end after its two messages", test.name)
		}
	}
}

func TestHL7SendJudgesWhatItIsAnswered(t *testing.T) {
	in := writeFile(t, t.TempDir(), "a.hl7", sample)
	enhanced := writeFile(t, t.TempDir(), "b.hl7", strings.Replace(sample, "|P|2.5.1||||||", "|P|2.5.1|||AL|AL||", 1))
	onError := writeFile(t, t.TempDir(), "c.hl7", strings.Replace(sample, "|P|2.5.1||||||", "|P|2.5.1|||NE|NE||", 1))
	for _, test := range []struct {
		listen string
		file   string
		good   bool
		want   string
	}{
		{"--answer=aa", in, true, "accepted (AA)"},
		{"--answer=ae", in, false, "refused for good (AE): 199 answered AE, as was asked for"},
		{"--answer=ar", in, false, "rejected for now (AR): 207"},
		{"--answer=silence", in, false, "not clear: it may have arrived: no answer in time"},
		{"--answer=close", in, false, "not clear: it may have arrived"},
		{"--answer=wrong", in, false, "AA for another message: MSA-2 is ANOTHER"},
		{"--answer=aa", enhanced, true, "accepted (CA, AA)"},
		{"--mode=accept", enhanced, false, "that it was processed was not said in time (CA)"},
		{"--answer=aa", onError, true, "sent; it asked for no answer"},
	} {
		l := listen(t, test.listen)
		timeout := "60s"
		if test.listen == "--answer=silence" || test.listen == "--answer=wrong" || test.listen == "--mode=accept" {
			timeout = "2s" // what is waited for does not come
		}
		out, err := nhip("hl7", "send", "--lang", "en", "--timeout", timeout, l.address, test.file).CombinedOutput()
		if (err == nil) != test.good || !strings.Contains(string(out), test.want) {
			t.Errorf("%s: %v\n%s", test.listen, err, out)
		}
	}
	if out, err := nhip("hl7", "send", "--lang", "vi", "127.0.0.1:1", in).CombinedOutput(); err == nil || !strings.Contains(string(out), "không có chương trình nào nghe tại đó") {
		t.Errorf("%v %s", err, out)
	}
}

// The character set is changed on the way, and a message cannot be sent in one that
// does not have its letters.
func TestHL7SendInAnotherCharacterSet(t *testing.T) {
	in := writeFile(t, t.TempDir(), "a.hl7", sample)
	folder := filepath.Join(t.TempDir(), "got")
	l := listen(t, folder)
	if out, err := nhip("hl7", "send", "--charset", "TCVN3", "--number", l.address, in).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	got := files(t, folder)
	if len(got) != 1 || !strings.Contains(got[0], "Nguy\xd4n") || strings.Contains(got[0], "|A1|") {
		t.Errorf("%q", got)
	}
	out, err := nhip("hl7", "send", "--lang", "en", "--charset", "8859/1", l.address, in).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "not sent") || !strings.Contains(string(out), "8859/1") {
		t.Errorf("%v %s", err, out)
	}
}

// A gateway's tools over its socket: send, try, hold, activate, undo.
func TestHL7ToolsOnARunningGateway(t *testing.T) {
	l := listen(t)
	_, port, _ := net.SplitHostPort(l.address)
	mapped := writeFile(t, t.TempDir(), "lis.toml", "name = \"lis\"\n[[rule]]\nname = \"sex\"\ndo = \"set\"\nat = \"PID-8\"\nvalue = \"2\"\n[[test]]\nname = \"t\"\nin = '''\n"+sample+"'''\nout = '''\n"+strings.Replace(sample, "|F\nOBR", "|2\nOBR", 1)+"'''\n")
	text := anywhere + "[[hl7_peer]]\nname = \"lab\"\naddress = \"127.0.0.1\"\nto = [\"lis\"]\n[[destination]]\nname = \"lis\"\nkind = \"hl7\"\naddress = \"127.0.0.1:" + port + "\"\n"
	config, data := configuration(t, text)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	gateway := nhip("run", "--config", config)
	var log bytes.Buffer
	gateway.Stderr = &log
	if err := gateway.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = gateway.Process.Signal(os.Interrupt)
		_ = gateway.Wait()
		if t.Failed() {
			t.Logf("the gateway's log:\n%s", &log)
		}
	}()
	socket := filepath.Join(data, "control.sock")
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if _, err := os.Stat(socket); err == nil || time.Now().After(end) || ctx.Err() != nil {
			break
		}
	}
	in := writeFile(t, t.TempDir(), "a.hl7", sample)
	run := func(want string, args ...string) {
		t.Helper()
		out, err := nhip(append(args, "--config", config)...).CombinedOutput()
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("%v: %v, no %q in\n%s", args, err, want, out)
		}
	}
	run("to lis: ORU^R01 sent as it is (no map)", "hl7", "try", "--lang", "en", "lab", in)
	run("rule sex  set  PID-8  «F» → «2»", "hl7", "try", "--lang", "en", "lis", in, "--map", mapped)
	run("to/lis: version 1, mới, is live", "hl7", "map", "activate", "--lang", "en", "lis", mapped, "--as", "mới", "--by", "Hoa")
	run("tới lis: ORU^R01 được gửi (bảng ánh xạ lis, phiên bản 1)", "hl7", "try", "--lang", "vi", "lab", in)
	run("* 1  mới", "hl7", "map", "list", "lis")
	run("name = \"lis\"", "hl7", "map", "show", "lis")
	run("to/lis has no map now", "hl7", "map", "undo", "--lang", "en", "lis", "--by", "Hoa")
	run("to/lis since", "hl7", "try", "--lang", "en", "lis", "--journal", "--map", mapped)
}
