package port

import (
	"sync"
	"time"
)

// conn is a Conn that its Port knows: reads are freed for good when the port stops,
// and its first byte supersedes the older connections of a listener.
type conn struct {
	Conn
	port *Port

	mu      sync.Mutex
	stopped bool
	heard   bool
	newer   chan struct{} // closed when superseded
	passed  bool          // newer is closed
	once    sync.Once
	closed  error
}

func newConn(p *Port, c Conn) *conn { return &conn{Conn: c, port: p, newer: make(chan struct{})} }

var past = time.Unix(1, 0)

func (c *conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		t = past
	}
	return c.Conn.SetReadDeadline(t)
}

// stop frees a blocked Read and all later ones.
func (c *conn) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
	c.Conn.SetReadDeadline(past)
}

func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 && !c.heard { // one goroutine reads
		c.heard = true
		c.port.supersede(c)
	}
	if n > 0 && c.port.o.Watch != nil {
		c.port.o.Watch(false, b[:n])
	}
	return n, err
}

func (c *conn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if n > 0 && c.port.o.Watch != nil {
		c.port.o.Watch(true, b[:n])
	}
	return n, err
}

func (c *conn) Close() error {
	c.once.Do(func() { c.closed = c.Conn.Close() })
	return c.closed
}

func (c *conn) superseded() <-chan struct{} { return c.newer }

// supersede tells the connections older than c that c has spoken.
func (p *Port) supersede(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, older := range p.conns {
		if older == c {
			return
		}
		if !older.passed {
			older.passed = true
			close(older.newer)
		}
	}
}
