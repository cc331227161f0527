package systemd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// manager listens as a service manager does.
func manager(t *testing.T, watchdog time.Duration) (*net.UnixConn, Manager) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", fmt.Sprint(watchdog.Microseconds()))
	t.Setenv("WATCHDOG_PID", fmt.Sprint(os.Getpid()))
	return c, FromEnvironment()
}

// next is what the manager hears, "" for nothing in time.
func next(c *net.UnixConn, within time.Duration) string {
	c.SetReadDeadline(time.Now().Add(within))
	b := make([]byte, 4096)
	n, err := c.Read(b)
	if err != nil {
		return ""
	}
	return string(b[:n])
}

func TestManagerIsToldAndTheWatchdogFedOnlyWhileAlive(t *testing.T) {
	c, m := manager(t, 40*time.Millisecond)
	if err := m.Tell(Ready, Status("two\nlines")); err != nil {
		t.Fatal(err)
	}
	if got := next(c, time.Minute); got != "READY=1\nSTATUS=two lines" {
		t.Errorf("%q", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	dead, words := make(chan error, 1), "works"
	answers := make(chan error) // of Alive
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		m.Watch(ctx, Service{
			Alive: func(ctx context.Context) error {
				select {
				case err := <-answers:
					return err
				case <-time.After(2 * time.Minute):
					return errors.New("the test forgot it")
				}
			},
			Words:  func() string { return words },
			Failed: func(err error) { dead <- err },
		})
	}()
	answers <- nil
	if got := next(c, time.Minute); got != "WATCHDOG=1\nSTATUS=works" {
		t.Errorf("%q", got)
	}
	answers <- nil
	if got := next(c, time.Minute); got != "WATCHDOG=1" { // the same words are not said again
		t.Errorf("%q", got)
	}
	answers <- errors.New("the committer does not answer")
	if err := <-dead; err == nil || !strings.Contains(err.Error(), "committer") {
		t.Error(err)
	}
	if got := next(c, 200*time.Millisecond); got != "" { // Alive hangs now, and five times the watchdog's time is over
		t.Errorf("%q while not alive", got)
	}
	answers <- nil
	if got := next(c, time.Minute); got != "WATCHDOG=1" {
		t.Errorf("%q after it came back", got)
	}
	cancel()
	select {
	case answers <- nil:
	case <-ended:
	}
	<-ended
}

func TestWithoutAManagerNothingIsDone(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	m := FromEnvironment()
	if err := m.Tell(Ready); err != nil {
		t.Error(err)
	}
	m.Watch(t.Context(), Service{}) // returns
}

func TestWatchdogOfAnotherProcessIsNotOurs(t *testing.T) {
	t.Setenv("WATCHDOG_USEC", "30000000")
	t.Setenv("WATCHDOG_PID", "1")
	if m := FromEnvironment(); m.watchdog != 0 {
		t.Error(m.watchdog)
	}
	t.Setenv("WATCHDOG_PID", "")
	if m := FromEnvironment(); m.watchdog != 30*time.Second {
		t.Error(m.watchdog)
	}
}
