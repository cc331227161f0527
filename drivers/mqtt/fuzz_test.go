package mqtt

import (
	"io"
	"net"
	"runtime"
	"testing"
	"time"
)

// FuzzConnection sends anything to the broker, before and after a CONNECT of
// either version: every connection ends, also where the codec panics, and
// nothing is left of it.
func FuzzConnection(f *testing.F) {
	b, err := New(Options{
		Listen: []string{"127.0.0.1:0"}, MaxConnectionsPerIP: 1000,
		Users: []User{{Name: "a", Password: "b", Subscribe: []string{"#"}, Publish: []string{"#"}}},
	})
	if err != nil {
		f.Fatal(err)
	}
	if err := b.Start(); err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { b.Close() })
	five := packet(0x10, str("MQTT"), []byte{5, 0xC2, 0, 0, 0}, str("x"), str("a"), str("b"))
	logins := [][]byte{nil, connectPacket("a", "b", "x", ""), five}
	f.Add(connectPacket("a", "b", "x", "w"), uint8(0))
	f.Add(five, uint8(0))
	f.Add(publishPacket(1, 1, "a", "x"), uint8(1))
	f.Add(publishPacket(2, 1, "a", "x"), uint8(1))
	f.Add(packet(0x33, str("a"), []byte{0, 9, 3, 0x23, 0, 1}, []byte("aliased")), uint8(2))
	f.Add(subscribePacket(1, "a/#"), uint8(1))
	f.Add(packet(0x82, []byte{0, 1}, str("a")), uint8(1)) // ends before its options
	f.Add(packet(0xA2, []byte{0, 1}, str("a")), uint8(1))
	f.Add([]byte{0x62, 2, 0, 1}, uint8(1))
	f.Add([]byte{0xF0, 0}, uint8(2))
	f.Add([]byte{0xE0, 7, 0, 5, 0x11, 0, 0, 0, 9}, uint8(2))
	f.Fuzz(func(t *testing.T, p []byte, login uint8) {
		c, err := net.Dial("tcp", b.Addrs()[0].String())
		if err != nil {
			t.Skip(err) // out of ports
		}
		defer c.Close()
		c.(*net.TCPConn).SetLinger(0)
		c.SetDeadline(time.Now().Add(20 * time.Second))
		c.Write(append(append([]byte(nil), logins[int(login)%len(logins)]...), p...))
		c.(*net.TCPConn).CloseWrite()
		if _, err := io.Copy(io.Discard, c); err != nil {
			if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
				t.Error("the connection does not end")
			}
		}
		for b.Stats().Connections > 0 {
			runtime.Gosched()
		}
		if n := b.server.Clients.Len(); n != 1 { // the gateway itself
			t.Errorf("%d clients are left", n)
		}
		if n := len(b.server.Topics.Subscribers("a").Subscriptions); n != 0 {
			t.Errorf("%d subscriptions are left", n)
		}
	})
}
