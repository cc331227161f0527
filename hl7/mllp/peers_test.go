package mllp

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nhip/hl7"
	"nhip/hl7/ack"
)

// A program is another project's client or server, which prints what it gets.
type program struct {
	t     *testing.T
	lines chan line
}

type line struct{ Kind, Text string }

// node starts a script with the modules of npm, in build/npm of the checkout. Where
// they are not there the test is skipped; on CI, which has them, it fails.
func node(t *testing.T, module, script string, args ...string) *program {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	modules := filepath.Join(dir, "..", "..", "build", "npm", "node_modules")
	if _, err := os.Stat(filepath.Join(modules, module)); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s (npm) is not in build/npm, and this is CI", module)
		}
		t.Skipf("%s (npm) is not in build/npm", module)
	}
	command := exec.Command(peerProgram(t, "node", "Debian package nodejs"), append([]string{filepath.Join("testdata", "peers", script)}, args...)...)
	command.Env = append(os.Environ(), "NODE_PATH="+modules)
	return start(t, command)
}

func start(t *testing.T, command *exec.Cmd) *program {
	t.Helper()
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	failed := new(safeBuffer)
	command.Stderr = failed
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	p := &program{t: t, lines: make(chan line, 100)}
	read := make(chan struct{})
	go func() {
		defer close(read)
		p.read(out)
	}()
	t.Cleanup(func() {
		command.Process.Kill()
		<-read
		command.Wait()
		if t.Failed() {
			t.Logf("%s", failed)
		}
	})
	return p
}

func (p *program) read(out io.Reader) {
	defer close(p.lines)
	scanner := bufio.NewScanner(out)
	scanner.Buffer(nil, 16<<20)
	for scanner.Scan() {
		var l line
		if err := json.Unmarshal(scanner.Bytes(), &l); err != nil {
			l = line{"garbage", scanner.Text()}
		}
		p.lines <- l
	}
}

// next is what it prints next, of that kind.
func (p *program) next(kind string) string {
	p.t.Helper()
	select {
	case l, ok := <-p.lines:
		if !ok || l.Kind != kind {
			p.t.Fatalf("it printed %s %q, want %s", l.Kind, l.Text, kind)
		}
		return l.Text
	case <-time.After(60 * time.Second):
		p.t.Fatalf("it printed no %s", kind)
	}
	return ""
}

// inFile writes messages to a file, one a line.
func inFile(t *testing.T, messages ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "messages")
	if err := os.WriteFile(file, []byte(strings.Join(messages, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func port(t *testing.T, address string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

const vietnamese = "PID|1||T0001||Nguyễn^Thị Ánh\r"

func TestOtherProjectsSend(t *testing.T) {
	messages := []string{oru("1") + vietnamese, oru("2"), msh("XXX^Z99", "3", "2.5.1", "", ""), msh("ORU^R01", "4", "2.3.1", "NE", "AL")}
	for _, peer := range []struct{ module, script string }{{"simple-hl7", "simple-hl7.js"}, {"@medplum/hl7", "medplum.js"}} {
		t.Run(peer.module, func(t *testing.T) {
			r := listen(t)
			p := node(t, peer.module, peer.script, "client", port(t, r.address), inFile(t, messages...))
			for _, want := range []string{"AA 1", "AA 2", "AR 3", "AA 4"} {
				a, err := hl7.ParseAck([]byte(p.next("answer")))
				if got := string(a.Code) + " " + a.MessageControlID; err != nil || got != want {
					t.Errorf("it got %s, %v, want %s", got, err, want)
				}
			}
			for _, want := range []string{"1", "2", "4"} {
				if id := <-r.stored; id != want {
					t.Errorf("stored %s, want %s", id, want)
				}
			}
		})
	}
}

// The accept acknowledgement is what it waits for; the application acknowledgement
// comes when the message was processed, on the same connection.
func TestMedplumGetsAnAcceptAndLaterAnApplicationAcknowledgement(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	peers := make(chan *Peer, 1)
	o := ack.Options{Confirm: hl7.Always}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- Listen(ctx, l, ListenOptions{Handle: func(ctx context.Context, c net.Conn) {
			Serve(ctx, c, ServeOptions{
				Opened: func(p *Peer) { peers <- p },
				Handler: func(_ context.Context, b []byte) ([]byte, error) {
					m, err := hl7.Parse(b)
					if err != nil {
						return nil, err
					}
					accept, _ := o.Accept(m, true, ack.Verdict{}, "N1", time.Now())
					return accept.Message, nil
				},
			})
		}})
	}()
	defer func() { cancel(); <-ended }()
	message := msh("ORU^R01", "1", "2.5.1", "AL", "AL")
	p := node(t, "@medplum/hl7", "medplum.js", "client", port(t, l.Addr().String()), inFile(t, message))
	if a, err := hl7.ParseAck([]byte(p.next("answer"))); err != nil || a.Code != hl7.CommitAccept || a.MessageControlID != "1" {
		t.Errorf("%+v, %v", a, err)
	}
	m, err := hl7.Parse([]byte(message))
	if err != nil {
		t.Fatal(err)
	}
	answer, _ := o.Answer(m, ack.Verdict{Code: hl7.ApplicationAccept}, "N2", time.Now(), nil)
	if err := (<-peers).Send(answer.Message); err != nil {
		t.Fatal(err)
	}
	p.next("later")
}

func TestOtherProjectsReceive(t *testing.T) {
	python := func(t *testing.T) *program {
		peerProgram(t, "mllp_send", "Debian package python3-hl7")
		return start(t, exec.Command("/usr/bin/python3", filepath.Join("testdata", "peers", "python-hl7.py")))
	}
	for name, run := range map[string]func(t *testing.T) *program{
		"python-hl7":   python,
		"simple-hl7":   func(t *testing.T) *program { return node(t, "simple-hl7", "simple-hl7.js", "server") },
		"@medplum/hl7": func(t *testing.T) *program { return node(t, "@medplum/hl7", "medplum.js", "server") },
	} {
		t.Run(name, func(t *testing.T) {
			p := run(t)
			c := NewClient(ClientOptions{Address: "127.0.0.1:" + p.next("port"), AnswerTimeout: 60 * time.Second})
			defer c.Close()
			for i := range 20 {
				message := oru(fmt.Sprint("M", i)) + vietnamese
				x := sendTo(t, c, message)
				if x.State != ack.Accepted {
					t.Fatalf("message %d is %d", i, x.State)
				}
				got := strings.NewReplacer("\n", "\r", "\r\n", "\r").Replace(strings.Trim(p.next("message"), "\x0B\x1C\r\n"))
				if got != strings.TrimSuffix(message, "\r") {
					t.Errorf("it received %q, want %q", got, message)
				}
			}
		})
	}
}

// sendTo sends a message and gives its answer to the exchange.
func sendTo(t *testing.T, c *Client, message string) ack.Exchange {
	t.Helper()
	m, err := hl7.Parse([]byte(message))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := c.Send(t.Context(), []byte(message))
	if err != nil {
		t.Fatal(err)
	}
	x, _ := ack.NewExchange(m, ack.ByMessage).Received(parseAnswer(t, strings.TrimRight(string(answer), "\r")+"\r"))
	return x
}

// The accept acknowledgement comes first and does not settle the message; the
// application acknowledgement behind it does.
func TestMedplumAnswersTwice(t *testing.T) {
	p := node(t, "@medplum/hl7", "medplum.js", "enhanced")
	later := make(chan hl7.Acknowledgement, 100)
	c := NewClient(ClientOptions{Address: "127.0.0.1:" + p.next("port"), AnswerTimeout: 60 * time.Second, Other: func(frame []byte) ([]byte, error) {
		a, err := hl7.ParseAck(frame)
		later <- a
		return nil, err
	}})
	defer c.Close()
	waiting := map[string]ack.Exchange{}
	for i := range 10 {
		id := fmt.Sprint("M", i)
		x := sendTo(t, c, msh("ORU^R01^ORU_R01", id, "2.5.1", "AL", "AL"))
		if x.State != ack.Committed {
			t.Fatalf("%s is %d after the first answer", id, x.State)
		}
		waiting[id] = x
	}
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	for len(waiting) > 0 {
		select {
		case a := <-later:
			x, _ := waiting[a.MessageControlID].Received(a)
			if x.State != ack.Accepted {
				t.Fatalf("%+v: %d", a, x.State)
			}
			delete(waiting, a.MessageControlID)
		case <-ctx.Done():
			t.Fatalf("%d messages wait", len(waiting))
		}
	}
}
