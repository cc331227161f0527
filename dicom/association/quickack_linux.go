package association

import (
	"net"
	"syscall"
)

// quickACK makes a TCP connection acknowledge at once what it receives. A sender
// with Nagle's algorithm on, as DCMTK and many modalities have it, waits for the
// acknowledgement of one write before the next; a delayed one costs 40 ms each.
// Linux falls back to delayed acknowledgements by itself, so the option is set
// again before each read.
func quickACK(c net.Conn) net.Conn {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return c
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return c
	}
	return &quickConn{TCPConn: tcp, raw: raw}
}

type quickConn struct {
	*net.TCPConn
	raw syscall.RawConn
}

// Read arms the option and reads. A socket that refuses the option still reads.
func (c *quickConn) Read(b []byte) (int, error) {
	c.raw.Control(armQuickACK)
	return c.TCPConn.Read(b)
}

func armQuickACK(fd uintptr) {
	syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_QUICKACK, 1)
}
