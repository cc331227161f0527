// Package systemd tells the service manager how the gateway does: sd_notify(3),
// by datagrams to the socket in NOTIFY_SOCKET. Without one it does nothing. It
// imports the standard library only.
package systemd

import (
	"context"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// A Manager is who started this process and wants to hear of it.
type Manager struct {
	address  string        // empty: nobody
	watchdog time.Duration // 0: none
}

// FromEnvironment reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID.
func FromEnvironment() Manager {
	m := Manager{address: os.Getenv("NOTIFY_SOCKET")}
	pid := os.Getenv("WATCHDOG_PID")
	usec, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64)
	if err == nil && usec > 0 && (pid == "" || pid == strconv.Itoa(os.Getpid())) {
		m.watchdog = time.Duration(usec) * time.Microsecond
	}
	return m
}

// The states that are told.
const (
	Ready    = "READY=1"
	Stopping = "STOPPING=1"
	alive    = "WATCHDOG=1"
)

// Status is a state in words, for `systemctl status`.
func Status(words string) string {
	return "STATUS=" + strings.Join(strings.Fields(words), " ")
}

// Tell sends states. A path that begins with @ is one of the abstract name space.
func (m Manager) Tell(states ...string) error {
	if m.address == "" {
		return nil
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: m.address, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Write([]byte(strings.Join(states, "\n")))
	return err
}

// statusInterval is how often the words are looked at where there is no watchdog.
const statusInterval = 10 * time.Second

// A Service is what the manager is told about.
type Service struct {
	// Alive returns nil when the service does its work. It may hang: then the
	// watchdog is not fed either.
	Alive func(ctx context.Context) error
	// Words say how it does.
	Words func() string
	// Failed is told when it is not alive, or the manager cannot be told.
	Failed func(error)
}

// Watch feeds the watchdog, twice in its time, while the service is alive, and
// keeps the words up to date, until ctx ends.
func (m Manager) Watch(ctx context.Context, s Service) {
	if m.address == "" {
		return
	}
	interval := statusInterval
	if m.watchdog > 0 {
		interval = m.watchdog / 2
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	said := ""
	for {
		var states []string
		asked, cancel := context.WithTimeout(ctx, interval)
		err := s.Alive(asked)
		cancel()
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			s.Failed(err)
		} else if m.watchdog > 0 {
			states = append(states, alive)
		}
		if words := s.Words(); words != said {
			said = words
			states = append(states, Status(words))
		}
		if len(states) > 0 {
			if err := m.Tell(states...); err != nil {
				s.Failed(err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
