// Package servicetest runs service classes and their real peers in tests.
package servicetest

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"nhip/dicom/association"
	"nhip/dicom/service"
)

// Need skips where a program or a path is absent; on CI it has to be there.
func Need(t testing.TB, programs ...string) {
	t.Helper()
	for _, p := range programs {
		_, err := exec.LookPath(p)
		if strings.HasPrefix(p, "/") {
			_, err = os.Stat(p)
		}
		switch {
		case err == nil:
		case os.Getenv("CI") == "true":
			t.Fatalf("%s is not installed", p)
		default:
			t.Skipf("%s is not installed", p)
		}
	}
}

// Root is the folder of the module.
func Root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod above the test")
		}
		dir = filepath.Dir(dir)
	}
}

// Serve runs the services on a free port until the test ends and returns the
// address.
func Serve(t testing.TB, m service.Mux) string {
	t.Helper()
	return Server(t, &association.Server{
		Accept:   m.Answer,
		Handlers: m.Handlers(),
	})
}

// Server runs a server on a free port until the test ends.
func Server(t testing.TB, s *association.Server) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	if s.Timeouts == (association.Timeouts{}) {
		s.Timeouts = patient
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Serve(ctx, l)
	}()
	t.Cleanup(func() { cancel(); <-done })
	return l.Addr().String()
}

// patient is for machines that do much else.
var patient = association.Timeouts{ARTIM: 2 * time.Minute, PDU: 2 * time.Minute, DIMSE: 2 * time.Minute}

// Dial establishes an association that ends with the test.
func Dial(t testing.TB, address string, p association.Proposal) *association.Association {
	t.Helper()
	if p.Calling == "" {
		p.Calling = "NHIP"
	}
	if p.Called == "" {
		p.Called = "PEER"
	}
	if p.Timeouts == (association.Timeouts{}) {
		p.Timeouts = patient
	}
	a, err := association.Dial(t.Context(), address, p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Abort("the test is over") })
	return a
}

// Release releases an association and fails the test where that fails.
func Release(t testing.TB, a *association.Association) {
	t.Helper()
	if err := a.Release(context.Background()); err != nil {
		t.Error(err)
	}
}

// Split splits an address for a peer's command line.
func Split(t testing.TB, address string) (host, port string) {
	t.Helper()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	return host, port
}

// FreePort returns a port that nobody listened on just now, for a peer to listen
// on. It is taken from below the range of outgoing connections.
func FreePort(t testing.TB) string {
	t.Helper()
	ports.Lock()
	defer ports.Unlock()
	for range 2000 {
		ports.next++
		port := 20000 + (os.Getpid()*131+ports.next)%10000
		l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4zero, Port: port})
		if err == nil {
			l.Close()
			_, p, _ := net.SplitHostPort(l.Addr().String())
			return p
		}
	}
	t.Fatal("no free port")
	return ""
}

var ports struct {
	sync.Mutex
	next int
}

// Command is a peer without Nagle's algorithm; it is killed with the test.
func Command(ctx context.Context, dir, name string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, name, args...)
	c.Dir = dir
	c.Env = append(os.Environ(), "TCP_NODELAY=1")
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
	c.WaitDelay = 10 * time.Second
	return c
}

// Run runs a peer to its end and returns its output.
func Run(t testing.TB, dir, name string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	out, err := Command(ctx, dir, name, args...).CombinedOutput()
	return string(out), err
}

// Start runs a peer that listens, until the test ends, and returns when it does.
func Start(t testing.TB, port, dir, name string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	c := Command(ctx, dir, name, args...)
	log := &output{t: t}
	c.Stdout, c.Stderr = log, log
	if err := c.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.Wait()
	}()
	t.Cleanup(func() { cancel(); <-ended; log.end() })
	for end := time.Now().Add(2 * time.Minute); ; {
		if listens(t, port) {
			return
		}
		select {
		case <-ended:
			t.Fatalf("%s has ended: %v", name, c.ProcessState)
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(end) {
			t.Fatal(name + " does not listen")
		}
	}
}

// listens reports whether somebody listens on a port, without connecting: old
// peers end when a connection closes without an association.
func listens(t testing.TB, port string) bool {
	t.Helper()
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		b, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(b)) {
			// Local address and port, remote ones, and state 0A: LISTEN.
			if f := strings.Fields(line); len(f) > 3 && f[3] == "0A" && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", n)) {
				return true
			}
		}
	}
	return false
}

// output is what a peer says, for the log of the test.
type output struct {
	mu sync.Mutex
	t  testing.TB
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.t != nil {
		o.t.Output().Write(b)
	}
	return len(b), nil
}

func (o *output) end() {
	o.mu.Lock()
	o.t = nil
	o.mu.Unlock()
}

// Node returns the command line of a script for node with the modules that the
// tests use, or skips.
func Node(t testing.TB, script string, args ...string) (name string, all []string) {
	t.Helper()
	modules := filepath.Join(Root(t), "build", "npm", "node_modules")
	Need(t, "node", filepath.Join(modules, "dcmjs-dimse"))
	path, err := filepath.Abs(script)
	if err != nil {
		t.Fatal(err)
	}
	return "env", append([]string{"NODE_PATH=" + modules, "node", path}, args...)
}
