package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// A process is a program that runs while something is measured.
type process struct {
	name string
	cmd  *exec.Cmd
	log  string
	done chan struct{}
}

var running []*process

// start runs a program with its output in a file, and waits until it listens.
func (b *bench) start(name string, env []string, ports []int, program string, args ...string) (*process, error) {
	p := &process{name: name, cmd: exec.Command(program, args...), log: b.path(name + ".log"), done: make(chan struct{})}
	out, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.Dir = out, out, filepath.Dir(p.log)
	p.cmd.Env = append(os.Environ(), env...)
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	running = append(running, p)
	go func() { p.cmd.Wait(); close(p.done) }()
	return p, p.listens(ports)
}

// listens waits until all ports are open.
func (p *process) listens(ports []int) error {
	late := time.Now().Add(30 * time.Second)
	for _, port := range ports {
		for {
			c, err := net.Dial("tcp", address(port))
			if err == nil {
				c.Close()
				break
			}
			select {
			case <-p.done:
				return fmt.Errorf("%s ended: %s", p.name, p.tail())
			case <-time.After(time.Millisecond):
			}
			if time.Now().After(late) {
				return fmt.Errorf("%s does not listen: %s", p.name, p.tail())
			}
		}
	}
	return nil
}

func (p *process) tail() string {
	b, _ := os.ReadFile(p.log)
	return strings.TrimSpace(string(b[max(0, len(b)-500):]))
}

func (p *process) stop() {
	p.cmd.Process.Signal(os.Interrupt)
	select {
	case <-p.done:
	case <-time.After(10 * time.Second):
		p.cmd.Process.Kill()
		<-p.done
	}
}

func stopAll() {
	for _, p := range running {
		p.stop()
	}
	running = nil
}

// freePort gives a port that nobody uses now, below those that outgoing connections
// are given (32768 and up, Linux).
func freePort() int {
	for {
		l, err := net.Listen("tcp", address(10000+rand.IntN(22000)))
		if err != nil {
			continue
		}
		defer l.Close()
		return l.Addr().(*net.TCPAddr).Port
	}
}

func address(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }

// cpu is the processor time that the process has used, user and system.
func (p *process) cpu() (time.Duration, error) { return cpu(strconv.Itoa(p.cmd.Process.Pid)) }

// cpu is the processor time of a process, or of "self"; its unit in /proc is a
// hundredth of a second.
func cpu(pid string) (time.Duration, error) {
	b, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return 0, err
	}
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	user, err1 := strconv.Atoi(f[11])
	system, err2 := strconv.Atoi(f[12])
	return time.Duration(user+system) * 10 * time.Millisecond, errors.Join(err1, err2)
}

// memory reads VmRSS (now) or VmHWM (the most since the start), in MiB.
func (p *process) memory(key string) (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, key+":"); ok {
			kb, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kb / 1024, err
		}
	}
	return 0, fmt.Errorf("no %s of process %d", key, p.cmd.Process.Pid)
}

// settle waits until the process has nothing left to do: a fifth of a second
// without processor time, at most 20 s.
func (p *process) settle() (time.Duration, error) {
	last, err := p.cpu()
	for range 100 {
		time.Sleep(200 * time.Millisecond)
		now, e := p.cpu()
		if e != nil || now-last <= 10*time.Millisecond {
			return now, errors.Join(err, e)
		}
		last = now
	}
	return last, err
}

// number reads one number of a JSON document that a server gives.
func number(port int, path string, keys ...string) (int, error) {
	rsp, err := http.Get("http://" + address(port) + path)
	if err != nil {
		return 0, err
	}
	defer rsp.Body.Close()
	var v any
	if err := json.NewDecoder(rsp.Body).Decode(&v); err != nil {
		return 0, err
	}
	for _, k := range keys {
		m, _ := v.(map[string]any)
		v = m[k]
	}
	n, ok := v.(float64)
	if !ok {
		return 0, fmt.Errorf("%s says no %s", path, strings.Join(keys, "."))
	}
	return int(n), nil
}

// A gateway is a running nhip.
type gateway struct {
	*process
	console, dicom, hl7 int
	pacs                int // where its PACS is awaited
	config, data        string
}

// gateway starts nhip with an empty store. Everything that may send is named BENCH
// or comes from loopback; away is a destination for all of it that does not answer,
// so that what is received is interpreted and queued, none sends it nowhere.
func (b *bench) gateway(name string, away bool) (*gateway, error) {
	return b.gatewayWith(name, away, "")
}

// gatewayWith is gateway with further blocks of configuration.
func (b *bench) gatewayWith(name string, away bool, blocks string) (*gateway, error) {
	g := &gateway{console: freePort(), dicom: freePort(), hl7: freePort(), pacs: freePort(), config: b.path(name + ".toml"), data: b.path(name + "-data")}
	to := []string{"", ""}
	var destinations string
	if away {
		to = []string{`"away"`, `"pacs"`}
		destinations = fmt.Sprintf("[[destination]]\nname = \"away\"\nkind = \"hl7\"\naddress = %q\n"+
			"[[destination]]\nname = \"pacs\"\nkind = \"dicom\"\naddress = %q\ncalled_ae_title = \"PACS\"\n", address(freePort()), address(g.pacs))
	}
	text := fmt.Sprintf(`[site]
id = "bench"
data = %q
[console]
listen = %q
[dicom]
listen = %q
[hl7]
listen = %q
[mqtt]
listen = "127.0.0.1:0"
[[modality]]
name = "modality"
ae_title = "BENCH"
address = "127.0.0.1"
to = [%s]
[[hl7_peer]]
name = "system"
address = "127.0.0.1"
to = [%s]
%s%s`, g.data, address(g.console), address(g.dicom), address(g.hl7), to[1], to[0], destinations, blocks)
	if err := os.WriteFile(g.config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	return g, b.run(g, name)
}

func (b *bench) run(g *gateway, name string) error {
	program, err := filepath.Abs(b.nhip)
	if err != nil {
		return err
	}
	g.process, err = b.start(name, nil, []int{g.dicom, g.hl7, g.console}, program, "run", "--config", g.config)
	return err
}

func (g *gateway) accepted() (int, error) {
	return number(g.console, "/api/v1/status", "counts", "accepted")
}
