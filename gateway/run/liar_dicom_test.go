package run

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"nhip/gateway/delivery"
)

// A lyingPACS is a PACS by hand, on a real socket. It lies about each object
// lies times, and then takes it and says so.
type lyingPACS struct {
	address string
	lie     func(c net.Conn, p *lyingPACS, o askedFor)
	lies    int

	mu   sync.Mutex
	seen map[string]int
	took []string // SOP Instance UIDs
}

// askedFor is what a C-STORE-RQ asks.
type askedFor struct {
	message  uint16
	instance string
}

func newLyingPACS(t *testing.T, lies int, lie func(net.Conn, *lyingPACS, askedFor)) *lyingPACS {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &lyingPACS{address: l.Addr().String(), lie: lie, lies: lies, seen: map[string]int{}}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, c)
			mu.Unlock()
			wg.Go(func() { defer c.Close(); p.serve(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, c := range open {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return p
}

func (p *lyingPACS) block() string {
	return fmt.Sprintf("[[destination]]\nname = \"pacs\"\nkind = \"dicom\"\naddress = %q\ncalled_ae_title = \"PACS\"\nanswer_timeout = \"1s\"\n", p.address)
}

// associateAC accepts context 1, PS3.8 table 9-17.
func associateAC() []byte {
	b := append([]byte{0, 1, 0, 0}, fmt.Sprintf("%-16s%-16s", "PACS", "NHIP")...)
	b = append(b, make([]byte, 32)...)
	b = append(b, item(0x10, []byte("1.2.840.10008.3.1.1.1"))...)
	b = append(b, item(0x21, append([]byte{1, 0, 0, 0}, item(0x40, []byte(implicitLE))...))...)
	b = append(b, item(0x50, append(item(0x51, []byte{0, 0, 0x40, 0}), item(0x52, []byte("1.2.3.4"))...))...)
	return pdu(2, b)
}

func (p *lyingPACS) serve(c net.Conn) {
	var command []byte
	for {
		head := make([]byte, 6)
		if _, err := io.ReadFull(c, head); err != nil {
			return
		}
		body := make([]byte, binary.BigEndian.Uint32(head[2:])&0xFFFFF)
		if _, err := io.ReadFull(c, body); err != nil {
			return
		}
		switch head[0] {
		case 1:
			c.Write(associateAC())
		case 4:
			for len(body) >= 6 {
				n := binary.BigEndian.Uint32(body)
				control, data := body[5], body[6:4+n]
				body = body[4+n:]
				switch {
				case control&1 != 0:
					command = append(command, data...)
				case control&2 != 0:
					p.whole(c, asked(command))
					command = nil
				}
			}
		case 5:
			c.Write(pdu(6, make([]byte, 4)))
		default:
			return
		}
	}
}

func (p *lyingPACS) whole(c net.Conn, o askedFor) {
	p.mu.Lock()
	p.seen[o.instance]++
	lying := p.seen[o.instance] <= p.lies
	if !lying && !slices.Contains(p.took, o.instance) {
		p.took = append(p.took, o.instance)
	}
	p.mu.Unlock()
	if lying {
		p.lie(c, p, o)
		return
	}
	c.Write(storeRSP(o, 0))
}

// asked reads a command set in Implicit VR Little Endian.
func asked(b []byte) (o askedFor) {
	for len(b) >= 8 {
		number, n := binary.LittleEndian.Uint16(b[2:]), binary.LittleEndian.Uint32(b[4:])
		value := b[8 : 8+n]
		switch number {
		case 0x110:
			o.message = binary.LittleEndian.Uint16(value)
		case 0x1000:
			o.instance = strings.TrimRight(string(value), "\x00")
		}
		b = b[8+n:]
	}
	return o
}

// response is the P-DATA-TF of a response, PS3.7 table 9.3-2.
func response(field uint16, o askedFor, status uint16) []byte {
	short := func(n uint16) []byte { return binary.LittleEndian.AppendUint16(nil, n) }
	b := element(0, 2, []byte(ctImage))
	b = append(b, element(0, 0x100, short(field))...)
	b = append(b, element(0, 0x120, short(o.message))...)
	b = append(b, element(0, 0x800, short(0x101))...)
	b = append(b, element(0, 0x900, short(status))...)
	b = append(b, element(0, 0x1000, []byte(o.instance))...)
	b = append(element(0, 0, binary.LittleEndian.AppendUint32(nil, uint32(len(b)))), b...)
	return pdv(3, b)
}

func storeRSP(o askedFor, status uint16) []byte { return response(0x8001, o, status) }

var pacsLies = map[string]func(c net.Conn, p *lyingPACS, o askedFor){
	"another message ID": func(c net.Conn, _ *lyingPACS, o askedFor) { o.message++; c.Write(storeRSP(o, 0)) },
	"another SOP Instance UID": func(c net.Conn, _ *lyingPACS, o askedFor) {
		o.instance += ".1"
		c.Write(storeRSP(o, 0))
	},
	"pending":                 func(c net.Conn, _ *lyingPACS, o askedFor) { c.Write(storeRSP(o, 0xFF00)) },
	"out of resources":        func(c net.Conn, _ *lyingPACS, o askedFor) { c.Write(storeRSP(o, 0xA700)) },
	"a failure":               func(c net.Conn, _ *lyingPACS, o askedFor) { c.Write(storeRSP(o, 0xC001)) },
	"a C-ECHO-RSP":            func(c net.Conn, _ *lyingPACS, o askedFor) { c.Write(response(0x8030, o, 0)) },
	"our C-STORE-RQ":          func(c net.Conn, _ *lyingPACS, o askedFor) { c.Write(pdv(3, storeRQ(o.instance))) },
	"an unknown PDU":          func(c net.Conn, _ *lyingPACS, _ askedFor) { c.Write(pdu(0x42, []byte("0000"))) },
	"a PDU of 4 GB":           func(c net.Conn, _ *lyingPACS, _ askedFor) { c.Write([]byte{4, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0}) },
	"no command":              func(c net.Conn, _ *lyingPACS, _ askedFor) { c.Write(pdv(3, []byte("\x00\x00garbage of some length"))) },
	"text":                    func(c net.Conn, _ *lyingPACS, _ askedFor) { io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n") },
	"an A-ASSOCIATE-AC again": func(c net.Conn, _ *lyingPACS, _ askedFor) { c.Write(associateAC()) },
	"a release":               func(c net.Conn, _ *lyingPACS, _ askedFor) { c.Write(pdu(5, make([]byte, 4))) },
	"an answer to a release":  func(c net.Conn, _ *lyingPACS, _ askedFor) { c.Write(pdu(6, make([]byte, 4))) },
	"an abort":                func(c net.Conn, _ *lyingPACS, _ askedFor) { c.Write(pdu(7, []byte{0, 0, 2, 0})) },
	"nothing":                 func(net.Conn, *lyingPACS, askedFor) {},
	"the end":                 func(c net.Conn, _ *lyingPACS, _ askedFor) { c.Close() },
	"reset":                   func(c net.Conn, _ *lyingPACS, _ askedFor) { c.(*net.TCPConn).SetLinger(0); c.Close() },
	"half an answer": func(c net.Conn, _ *lyingPACS, o askedFor) {
		b := storeRSP(o, 0)
		c.Write(b[:len(b)-9])
	},
	"half an answer and the end": func(c net.Conn, _ *lyingPACS, o askedFor) {
		b := storeRSP(o, 0)
		c.Write(b[:len(b)-9])
		c.Close()
	},
	"another context": func(c net.Conn, _ *lyingPACS, o askedFor) {
		b := storeRSP(o, 0)
		b[10] = 3
		c.Write(b)
	},
	"no status": func(c net.Conn, _ *lyingPACS, o askedFor) {
		b := element(0, 0x100, []byte{0x01, 0x80})
		b = append(b, element(0, 0x120, binary.LittleEndian.AppendUint16(nil, o.message))...)
		b = append(b, element(0, 0x800, []byte{1, 1})...)
		c.Write(pdv(3, append(element(0, 0, binary.LittleEndian.AppendUint32(nil, uint32(len(b)))), b...)))
	},
	// The answer to the object before this one, once more.
	"yesterday's answer": func(c net.Conn, p *lyingPACS, o askedFor) {
		p.mu.Lock()
		for other := range p.seen {
			if other != o.instance {
				o.instance = other
			}
		}
		p.mu.Unlock()
		if p.seen[o.instance] > 0 {
			o.message--
		}
		c.Write(storeRSP(o, 0))
	},
}

// Whatever the PACS says, an object leaves the queue only when it was taken under
// its own SOP Instance UID, and each of them once the PACS says so.
func TestNoWrongAnswerOfAPACSEverCounts(t *testing.T) {
	t.Parallel()
	held := []string{"a failure"} // for a person; the other object of the study waits behind it
	for name, lie := range pacsLies {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newLyingPACS(t, 1, lie)
			s := newSite(t, "[[modality]]\nname = \"ct-1\"\nae_title = \"CT1\"\naddress = \"127.0.0.1\"\nto = [\"pacs\"]\n"+p.block())
			ct := associated(t, "127.0.0.1", s.status().Listen.DICOM, "CT1")
			uids := []string{"1.2.840.77.31", "1.2.840.77.32"}
			for _, u := range uids {
				if code, comment := storeStatus(t, ct, u); code != 0 {
					t.Fatalf("%04X %s", code, comment)
				}
			}
			settled := func() (n int) {
				keys, err := s.g.store.Keys(delivery.DeliveredKey("pacs", ""), 0)
				if err != nil {
					t.Fatal(err)
				}
				p.mu.Lock()
				defer p.mu.Unlock()
				for _, k := range keys {
					var seq int
					fmt.Sscanf(strings.TrimPrefix(k, delivery.DeliveredKey("pacs", "")), "in/ct-1/%d", &seq)
					if seq < 1 || seq > len(uids) || !slices.Contains(p.took, uids[seq-1]) {
						t.Fatalf("%s counts as delivered, and the PACS took %v", k, p.took)
					}
				}
				return len(keys)
			}
			eventually(t, "all is settled", func() bool {
				c := s.status().Counts
				return settled() == len(uids) && c.Delivered == 2 || slices.Contains(held, name) && c.Held == 1 && c.Queued == 1
			})
			if slices.Contains(held, name) != (s.status().Counts.Held == 1) {
				t.Errorf("%+v", s.status().Counts)
			}
		})
	}
}
