// Package capture records what goes over TCP connections between a test's peers, as
// a file that tshark reads: no privilege is needed to listen on the wire. The
// packets are made up around the bytes that were really sent, in their order.
package capture

import (
	"encoding/binary"
	"io"
	"net"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A Capture is a recording of connections, all to the port of DICOM.
type Capture struct {
	mu          sync.Mutex
	file        []byte
	connections uint16
}

// New returns an empty capture.
func New() *Capture {
	c := &Capture{}
	for _, v := range []uint32{0xA1B2C3D4, 4<<16 | 2, 0, 0, 1 << 18, linkRaw} {
		c.file = binary.LittleEndian.AppendUint32(c.file, v)
	}
	return c
}

const (
	linkRaw  = 101 // IP packets
	dicom    = 104
	longest  = 16 << 10 // of the bytes in a packet
	synFlag  = 2
	ackFlag  = 16
	finFlag  = 1
	pushFlag = 8
)

// Between returns an address that leads to another and records what goes either
// way, until the test ends.
func (c *Capture) Between(t testing.TB, to string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var work sync.WaitGroup
	work.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			work.Go(func() { c.relay(client, to) })
		}
	})
	t.Cleanup(func() { l.Close(); work.Wait() })
	return l.Addr().String()
}

func (c *Capture) relay(client net.Conn, to string) {
	defer client.Close()
	server, err := net.DialTimeout("tcp", to, 10*time.Second)
	if err != nil {
		return
	}
	defer server.Close()
	s := c.begin()
	var both sync.WaitGroup
	both.Go(func() { s.pump(server, client, 0) })
	both.Go(func() { s.pump(client, server, 1) })
	both.Wait()
}

// A stream is one connection: what comes next from the client and the server.
type stream struct {
	c    *Capture
	port uint16
	next [2]uint32
}

func (c *Capture) begin() *stream {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.connections++
	s := &stream{c: c, port: 20000 + c.connections}
	s.packet(0, synFlag, nil)
	s.packet(1, synFlag|ackFlag, nil)
	s.packet(0, ackFlag, nil)
	return s
}

// pump copies from one end to the other until the end of what comes.
func (s *stream) pump(to, from net.Conn, side int) {
	b := make([]byte, 64<<10)
	for {
		n, err := from.Read(b)
		s.c.mu.Lock()
		for part := range slices.Chunk(b[:n], longest) {
			s.packet(side, ackFlag|pushFlag, part)
		}
		if err != nil {
			s.packet(side, ackFlag|finFlag, nil)
		}
		s.c.mu.Unlock()
		if _, failed := to.Write(b[:n]); err != nil || failed != nil {
			if half, ok := to.(*net.TCPConn); ok {
				half.CloseWrite()
			}
			io.Copy(io.Discard, from)
			return
		}
	}
}

// packet appends an IPv4 packet of one side. c.mu is held.
func (s *stream) packet(side int, flags byte, data []byte) {
	ports := [2]uint16{s.port, dicom}
	tcp := binary.BigEndian.AppendUint16(nil, ports[side])
	tcp = binary.BigEndian.AppendUint16(tcp, ports[1-side])
	tcp = binary.BigEndian.AppendUint32(tcp, s.next[side])
	tcp = binary.BigEndian.AppendUint32(tcp, s.next[1-side])
	tcp = append(tcp, 5<<4, flags, 0xFF, 0xFF, 0, 0, 0, 0)
	tcp = append(tcp, data...)
	s.next[side] += uint32(len(data))
	if flags&(synFlag|finFlag) != 0 {
		s.next[side]++
	}
	hosts := [2][4]byte{{10, 0, 0, 1}, {10, 0, 0, 2}}
	ip := []byte{0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 6, 0, 0}
	binary.BigEndian.PutUint16(ip[2:], uint16(20+len(tcp)))
	ip = append(ip, hosts[side][:]...)
	ip = append(ip, hosts[1-side][:]...)
	ip = append(ip, tcp...)
	now := time.Now()
	for _, v := range []uint32{uint32(now.Unix()), uint32(now.Nanosecond() / 1000), uint32(len(ip)), uint32(len(ip))} {
		s.c.file = binary.LittleEndian.AppendUint32(s.c.file, v)
	}
	s.c.file = append(s.c.file, ip...)
}

// Write writes the capture to a file.
func (c *Capture) Write(name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return os.WriteFile(name, c.file, 0o600)
}

var digits = regexp.MustCompile(`[0-9]+`)

// Complaints are the kinds of what tshark finds wrong with the DICOM in a file,
// numbers left out, each with the number of packets; and how many PDUs it read.
func Complaints(t testing.TB, name string) (kinds map[string]int, pdus int) {
	t.Helper()
	out, err := exec.Command("tshark", "-r", name, "-Y", "dicom || _ws.malformed",
		"-T", "fields", "-E", "separator=|", "-e", "dicom.pdu.type", "-e", "_ws.malformed", "-e", "_ws.expert.message").Output()
	if err != nil {
		t.Fatal(err)
	}
	kinds = map[string]int{}
	for line := range strings.Lines(string(out)) {
		fields := strings.SplitN(strings.TrimSpace(line), "|", 3)
		pdus += len(strings.Split(fields[0], ","))
		for _, f := range fields[1:] {
			if f != "" {
				kinds[digits.ReplaceAllString(f, "N")]++
			}
		}
	}
	return kinds, pdus
}
