package run

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// An otherProject is another project's client or server, which prints what it gets, a
// line of JSON each.
type otherProject struct {
	t     *testing.T
	lines chan otherLine
}

type otherLine struct{ Kind, Text string }

const peerScripts = "../../hl7/mllp/testdata/peers"

// nodeProgram starts a script with the modules of npm, in build/npm of the checkout.
func nodeProgram(t *testing.T, module, script string, args ...string) *otherProject {
	t.Helper()
	need(t, "node")
	modules, err := filepath.Abs("../../build/npm/node_modules")
	if err != nil {
		t.Fatal(err)
	}
	need(t, filepath.Join(modules, module))
	command := exec.Command("node", append([]string{filepath.Join(peerScripts, script)}, args...)...)
	command.Env = append(os.Environ(), "NODE_PATH="+modules)
	return startProgram(t, command)
}

func startProgram(t *testing.T, command *exec.Cmd) *otherProject {
	t.Helper()
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	failed := new(capture)
	command.Stderr = failed
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	p := &otherProject{t, make(chan otherLine, 100)}
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer close(p.lines)
		scanner := bufio.NewScanner(out)
		scanner.Buffer(nil, 16<<20)
		for scanner.Scan() {
			var l otherLine
			if json.Unmarshal(scanner.Bytes(), &l) != nil {
				l = otherLine{"garbage", scanner.Text()}
			}
			p.lines <- l
		}
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

// next is what it prints next, of that kind.
func (p *otherProject) next(kind string) string {
	p.t.Helper()
	select {
	case l, ok := <-p.lines:
		if !ok || l.Kind != kind {
			p.t.Fatalf("it printed %s %q, want %s", l.Kind, l.Text, kind)
		}
		return l.Text
	case <-time.After(90 * time.Second):
		p.t.Fatalf("it printed no %s", kind)
	}
	return ""
}

// Other projects send to the gateway, and take what it sends. (python-hl7 as a client is
// in TestMLLPSendIsAnsweredAndPassesThroughByteForByte.)
func TestOtherProjectsAsClients(t *testing.T) {
	t.Parallel()
	lis := newLIS(t)
	s := newSite(t, systemBlock("his", "to = [\"lis\"]")+lis.block())
	_, port, _ := net.SplitHostPort(s.status().Listen.HL7)
	for i, peer := range []struct{ module, script string }{{"simple-hl7", "simple-hl7.js"}, {"@medplum/hl7", "medplum.js"}} {
		t.Run(peer.module, func(t *testing.T) {
			id := func(n int) string { return fmt.Sprintf("C%d-%d", i, n) }
			file := filepath.Join(t.TempDir(), "messages")
			text := strings.Join([]string{
				order("HIS", id(1), "", ""), order("HIS", id(2), "", ""), saying("HIS", "XXX^Z99", id(3), "2.5.1", "", ""), order("HIS", id(4), "NE", "AL"), order("HIS", id(2), "", ""),
			}, "\n") + "\n"
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			p := nodeProgram(t, peer.module, peer.script, "client", port, file)
			for _, want := range []string{"AA " + id(1), "AA " + id(2), "AR " + id(3), "AA " + id(4), "AA " + id(2)} {
				a := strings.NewReplacer("\r\n", "\r", "\n", "\r").Replace(p.next("answer"))
				if got := field(a, "MSA-1") + " " + field(a, "MSA-2"); got != want {
					t.Errorf("it got %q, want %s", a, want)
				}
			}
			eventually(t, "what was taken is delivered, once", func() bool { return len(lis.of(fmt.Sprintf("|C%d-", i))) == 3 })
		})
	}
}

func TestOtherProjectsAsServers(t *testing.T) {
	t.Parallel()
	for name, run := range map[string]func(t *testing.T) *otherProject{
		"python-hl7": func(t *testing.T) *otherProject {
			need(t, "mllp_send", "/usr/bin/python3")
			return startProgram(t, exec.Command("/usr/bin/python3", filepath.Join(peerScripts, "python-hl7.py")))
		},
		"simple-hl7":            func(t *testing.T) *otherProject { return nodeProgram(t, "simple-hl7", "simple-hl7.js", "server") },
		"@medplum/hl7":          func(t *testing.T) *otherProject { return nodeProgram(t, "@medplum/hl7", "medplum.js", "server") },
		"@medplum/hl7 enhanced": func(t *testing.T) *otherProject { return nodeProgram(t, "@medplum/hl7", "medplum.js", "enhanced") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := run(t)
			mode := ""
			if strings.HasSuffix(name, "enhanced") {
				mode = "mode = \"enhanced\"\n"
			}
			s := newSite(t, systemBlock("his", "to = [\"lis\"]")+
				fmt.Sprintf("[[destination]]\nname = \"lis\"\nkind = \"hl7\"\naddress = \"127.0.0.1:%s\"\nanswer_timeout = \"60s\"\n%s", p.next("port"), mode))
			his := newPeer(t, "127.0.0.1", s.status().Listen.HL7)
			for i := range 10 {
				message := order("HIS", fmt.Sprint("M", i), "", "")
				if mode != "" {
					message = order("HIS", fmt.Sprint("M", i), "AL", "AL")
				}
				fmt.Fprintf(his, "\x0b%s\x1c\r", message)
				if a := his.answer(t); mode != "" && field(a, "MSA-1") == "CA" {
					his.answer(t)
				}
				got := strings.NewReplacer("\r\n", "\r", "\n", "\r").Replace(strings.Trim(p.next("message"), "\x0B\x1C\r\n"))
				if got != strings.TrimSuffix(message, "\r") {
					t.Errorf("it received %q, want %q", got, message)
				}
			}
			eventually(t, "all are delivered", func() bool { return s.status().Counts.Delivered == 10 })
		})
	}
}
