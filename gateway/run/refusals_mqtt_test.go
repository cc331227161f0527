package run

import (
	"encoding/binary"
	"io"
	"net"
	"testing"
)

// mqttConnect connects and sends a CONNECT by hand, MQTT section 3.1; a user of
// "" has no credentials.
func mqttConnect(t *testing.T, address string, version byte, user, password string) net.Conn {
	t.Helper()
	text := func(s string) []byte { return append(binary.BigEndian.AppendUint16(nil, uint16(len(s))), s...) }
	flags := byte(2) // clean
	if user != "" {
		flags |= 0xC0
	}
	body := append(text("MQTT"), version, flags, 0, 60)
	if version == 5 {
		body = append(body, 0)
	}
	body = append(body, text("c-"+user)...)
	if user != "" {
		body = append(append(body, text(user)...), text(password)...)
	}
	c := dialFrom(t, "127.0.0.1", address)
	c.Write(append([]byte{0x10, byte(len(body))}, body...))
	return c
}

// packet reads one packet with a length of one byte.
func packet(t *testing.T, c net.Conn) (kind byte, body []byte) {
	t.Helper()
	head := make([]byte, 2)
	if _, err := io.ReadFull(c, head); err != nil {
		t.Fatalf("no packet: %v", err)
	}
	body = make([]byte, head[1])
	if _, err := io.ReadFull(c, body); err != nil {
		t.Fatal(err)
	}
	return head[0], body
}

// connack is the reason or return code of the CONNACK.
func connack(t *testing.T, c net.Conn) byte {
	t.Helper()
	kind, body := packet(t, c)
	if kind != 0x20 || len(body) < 2 {
		t.Fatalf("packet %#x %x instead of CONNACK", kind, body)
	}
	return body[1]
}

func publish(version byte, topic, payload string) []byte {
	body := append(binary.BigEndian.AppendUint16(nil, uint16(len(topic))), topic...)
	body = append(body, 0, 7)
	if version == 5 {
		body = append(body, 0)
	}
	body = append(body, payload...)
	return append([]byte{0x32, byte(len(body))}, body...)
}

func TestRefusalsOfMQTT(t *testing.T) {
	t.Parallel()
	lis := newLIS(t)
	s := wholeSite(t, lis, "")
	address := s.status().Listen.MQTT
	n := 0
	each := func(name string, f func(t *testing.T, mark int)) {
		t.Run(name, func(t *testing.T) {
			f(t, len(s.log.String()))
			n++
			s.good(t, lis, string(rune('0'+n)))
		})
	}
	refused := func(t *testing.T, version byte, user, password string, codes ...byte) {
		t.Helper()
		c := mqttConnect(t, address, version, user, password)
		code := connack(t, c)
		for _, want := range codes {
			if code == want {
				if b := closedByPeer(t, c); len(b) > 0 {
					t.Errorf("after the CONNACK came %x", b)
				}
				return
			}
		}
		t.Errorf("version %d, user %q: CONNACK %#x, want one of %x", version, user, code, codes)
	}
	each("without credential", func(t *testing.T, mark int) {
		refused(t, 4, "", "", 4, 5)
		refused(t, 5, "", "", 0x86, 0x87)
		refused(t, 4, "pump", "wrong", 4, 5)
		refused(t, 5, "BIMAT-stranger", "x", 0x86, 0x87)
		s.listed("mqtt", "127.0.0.1", "[[mqtt_user]]")
		s.logged(mark, "stranger refused", "kind=mqtt")
	})
	each("publish outside the ACL", func(t *testing.T, mark int) {
		before := s.status().Counts.Accepted
		five := mqttConnect(t, address, 5, "pump", "mat-khau")
		if code := connack(t, five); code != 0 {
			t.Fatal(code)
		}
		five.Write(publish(5, "patients/BIMAT/spo2", "PT-770077"))
		if kind, body := packet(t, five); kind != 0x40 || len(body) < 3 || body[2] != 0x87 {
			t.Errorf("answered %#x %x, want PUBACK with 0x87", kind, body)
		}
		four := mqttConnect(t, address, 4, "pump", "mat-khau")
		if code := connack(t, four); code != 0 {
			t.Fatal(code)
		}
		four.Write(publish(4, "patients/BIMAT/spo2", "PT-770077"))
		if b := closedByPeer(t, four); len(b) > 0 {
			t.Errorf("answered %x, want a disconnect", b)
		}
		s.logged(mark, "mqtt: refused", "publish", "outside its access control list")
		if got := s.status().Counts.Accepted; got != before {
			t.Error("accepted")
		}
	})
	each("no MQTT at all", func(t *testing.T, mark int) {
		c := dialFrom(t, "127.0.0.1", address)
		c.Write([]byte("GET / HTTP/1.1\r\n\r\n"))
		closedByPeer(t, c)
	})
}
