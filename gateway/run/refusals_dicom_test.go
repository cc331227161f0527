package run

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nhip/dicom/association"
	"nhip/dicom/store"
	"nhip/dicom/ul"
)

const (
	ctImage    = "1.2.840.10008.5.1.4.1.1.2"
	implicitLE = "1.2.840.10008.1.2"
)

// pdu is a PDU by hand, PS3.8 section 9.3.1.
func pdu(kind byte, body []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{kind, 0}, uint32(len(body))), body...)
}

func item(kind byte, body []byte) []byte {
	return append(binary.BigEndian.AppendUint16([]byte{kind, 0}, uint16(len(body))), body...)
}

// associateRQ proposes CT Image Storage in context 1, PS3.8 table 9-11.
func associateRQ(called, calling string) []byte {
	b := []byte{0, 1, 0, 0}
	b = append(b, fmt.Sprintf("%-16s%-16s", called, calling)...)
	b = append(b, make([]byte, 32)...)
	b = append(b, item(0x10, []byte("1.2.840.10008.3.1.1.1"))...)
	context := append([]byte{1, 0, 0, 0}, item(0x30, []byte(ctImage))...)
	b = append(b, item(0x20, append(context, item(0x40, []byte(implicitLE))...))...)
	b = append(b, item(0x50, append(item(0x51, []byte{0, 0, 0x40, 0}), item(0x52, []byte("1.2.3.4"))...))...)
	return pdu(1, b)
}

// pdv is a P-DATA-TF of one PDV.
func pdv(control byte, data []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(data)+2))
	return pdu(4, append(append(b, 1, control), data...))
}

// element is a data element in Implicit VR Little Endian.
func element(group, number uint16, value []byte) []byte {
	if len(value)%2 == 1 {
		value = append(value, 0)
	}
	b := binary.LittleEndian.AppendUint16(nil, group)
	b = binary.LittleEndian.AppendUint16(b, number)
	return append(binary.LittleEndian.AppendUint32(b, uint32(len(value))), value...)
}

// storeRQ is the command set of a C-STORE-RQ, PS3.7 table 9.3-1.
func storeRQ(instance string) []byte {
	short := func(n uint16) []byte { return binary.LittleEndian.AppendUint16(nil, n) }
	b := element(0, 2, []byte(ctImage))
	b = append(b, element(0, 0x100, short(1))...)
	b = append(b, element(0, 0x110, short(7))...)
	b = append(b, element(0, 0x700, short(0))...)
	b = append(b, element(0, 0x800, short(1))...)
	b = append(b, element(0, 0x1000, []byte(instance))...)
	return append(element(0, 0, binary.LittleEndian.AppendUint32(nil, uint32(len(b)))), b...)
}

// image is a data set with a patient in it.
func image(instance string, length int) []byte {
	b := element(8, 0x16, []byte(ctImage))
	b = append(b, element(8, 0x18, []byte(instance))...)
	b = append(b, element(0x10, 0x10, []byte("TRAN^BIMAT"))...)
	b = append(b, element(0x10, 0x20, []byte("PT-770077"))...)
	b = append(b, element(0x20, 0xd, []byte("1.2.840.77"))...)
	return append(b, element(0x7fe0, 0x10, bytes.Repeat([]byte{7}, length))...)
}

// readPDU reads one PDU.
func readPDU(t *testing.T, c io.Reader) (kind byte, body []byte) {
	t.Helper()
	head := make([]byte, 6)
	if _, err := io.ReadFull(c, head); err != nil {
		t.Fatalf("no PDU: %v", err)
	}
	body = make([]byte, binary.BigEndian.Uint32(head[2:])&0xFFFFF)
	if _, err := io.ReadFull(c, body); err != nil {
		t.Fatalf("PDU %d cut: %v", head[0], err)
	}
	return head[0], body
}

// associated is an association of a modality, by hand.
func associated(t *testing.T, local, address, calling string) net.Conn {
	t.Helper()
	c := dialFrom(t, local, address)
	c.Write(associateRQ("NHIP", calling))
	if kind, body := readPDU(t, c); kind != 2 {
		t.Fatalf("PDU %d %x instead of an A-ASSOCIATE-AC", kind, body)
	}
	return c
}

// spooled is how many files are in the spool.
func (s *site) spooled() (n int) {
	filepath.WalkDir(filepath.Join(s.data, "spool"), func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			n++
		}
		return nil
	})
	return n
}

func TestRefusalsOfDICOM(t *testing.T) {
	t.Parallel()
	lis := newLIS(t)
	s := wholeSite(t, lis, "[dicom]\nlisten = \"127.0.0.1:0\"\nmax_associations = 3\n")
	address := s.status().Listen.DICOM
	n := 0
	each := func(name string, f func(t *testing.T, mark int)) {
		t.Run(name, func(t *testing.T) {
			f(t, len(s.log.String()))
			n++
			s.good(t, lis, fmt.Sprint(n))
		})
	}
	rejected := func(t *testing.T, local, called, calling string, want ...byte) {
		t.Helper()
		c := dialFrom(t, local, address)
		c.Write(associateRQ(called, calling))
		if kind, body := readPDU(t, c); kind != 3 || !bytes.Equal(body[1:], want) {
			t.Errorf("%s calls %s from %s: PDU %d %x, want A-ASSOCIATE-RJ %v", calling, called, local, kind, body, want)
		}
		if b := closedAfter(t, c); len(b) > 0 {
			t.Errorf("after the A-ASSOCIATE-RJ came %x", b)
		}
	}
	aborted := func(t *testing.T, c net.Conn, source int, reason int) {
		t.Helper()
		kind, body := readPDU(t, c)
		if kind != 7 || len(body) != 4 || int(body[2]) != source || reason >= 0 && int(body[3]) != reason {
			t.Errorf("PDU %d %x, want A-ABORT with source %d, reason %d", kind, body, source, reason)
		}
		if b := closedAfter(t, c); len(b) > 0 {
			t.Errorf("after the A-ABORT came %x", b)
		}
	}

	each("called AE unknown", func(t *testing.T, mark int) {
		rejected(t, "127.0.0.1", "OTHER", "CT1", 1, 1, 7)
		s.listed("dicom", "127.0.0.1", "[dicom]", `ae_title = "OTHER"`)
		s.logged(mark, "stranger refused", "kind=dicom")
	})
	each("calling AE unknown", func(t *testing.T, mark int) {
		rejected(t, "127.0.0.1", "NHIP", "STRANGER", 1, 1, 3)
		s.listed("dicom", "127.0.0.1", "[[modality]]", `ae_title = "STRANGER"`, `address = "127.0.0.1"`)
		s.logged(mark, "stranger refused", "kind=dicom", "CT Image Storage")
	})
	each("known calling AE from another address", func(t *testing.T, mark int) {
		rejected(t, "127.0.0.1", "NHIP", "CTFAR", 1, 1, 3)
		s.listed("dicom", "127.0.0.1", `ae_title = "CTFAR"`)
		associated(t, "127.0.0.77", address, "CTFAR").Close()
		eventually(t, "the refusals are counted", func() bool { return s.status().Counts.Refused >= 3 })
	})
	each("too many", func(t *testing.T, mark int) {
		var open []net.Conn
		eventually(t, "three associations", func() bool { // the last one may still be on its way out
			c := dialFrom(t, "127.0.0.1", address)
			c.Write(associateRQ("NHIP", "CT1"))
			if kind, _ := readPDU(t, c); kind == 2 {
				open = append(open, c)
			}
			return len(open) == 3
		})
		rejected(t, "127.0.0.1", "NHIP", "CT1", 2, 3, 1)
		s.logged(mark, "rejected")
		for _, c := range open {
			c.Close()
		}
		eventually(t, "there is room again", func() bool {
			c := dialFrom(t, "127.0.0.1", address)
			defer c.Close()
			c.Write(associateRQ("NHIP", "CT1"))
			kind, _ := readPDU(t, c)
			return kind == 2
		})
	})
	each("P-DATA before the association", func(t *testing.T, mark int) {
		c := dialFrom(t, "127.0.0.1", address)
		c.Write(pdv(3, storeRQ("1.2.3")))
		aborted(t, c, 0, -1)
		s.logged(mark, "peer=127.0.0.1")
	})
	each("invalid before the association", func(t *testing.T, mark int) {
		for name, b := range map[string][]byte{
			"PDU length 0xFFFFFFFF": {1, 0, 0xFF, 0xFF, 0xFF, 0xFF},
			"unknown PDU":           pdu(0x42, []byte("BIMAT")),
			"HTTP":                  []byte("GET / HTTP/1.1\r\nHost: BIMAT\r\n\r\n"),
		} {
			c := dialFrom(t, "127.0.0.1", address)
			c.Write(b)
			if kind, body := readPDU(t, c); kind != 7 || body[2] != 0 {
				t.Errorf("%s: PDU %d %x, want A-ABORT with source 0", name, kind, body)
			}
		}
		s.logged(mark, "peer=127.0.0.1")
	})
	each("invalid in an association", func(t *testing.T, mark int) {
		for _, x := range []struct {
			name   string
			sent   []byte
			reason int
		}{
			{"PDU length 0xFFFFFFFF", []byte{4, 0, 0xFF, 0xFF, 0xFF, 0xFF}, 6},
			{"unexpected PDU", associateRQ("NHIP", "CT1"), 2},
			{"unknown PDU", pdu(0x42, []byte("BIMAT")), 1},
		} {
			t.Run(x.name, func(t *testing.T) {
				var c net.Conn
				eventually(t, "an association", func() bool {
					c = dialFrom(t, "127.0.0.1", address)
					c.Write(associateRQ("NHIP", "CT1"))
					kind, _ := readPDU(t, c)
					return kind == 2
				})
				c.Write(x.sent)
				aborted(t, c, 2, x.reason)
			})
		}
		s.logged(mark, "abort", "peer=127.0.0.1")
	})
	each("abort in the middle of an object", func(t *testing.T, mark int) {
		before := s.status().Counts.Accepted
		data := image("1.2.840.77.1", 200000)
		for name, end := range map[string][]byte{"A-ABORT": pdu(7, []byte{0, 0, 0, 0}), "cut": nil} {
			c := associated(t, "127.0.0.1", address, "CT1")
			c.Write(pdv(3, storeRQ("1.2.840.77.1")))
			for sent := 0; sent < len(data)/2; sent += 10000 {
				c.Write(pdv(0, data[sent:sent+10000]))
			}
			c.Write(end)
			c.Close()
			m := mark
			eventually(t, name+": nothing is kept", func() bool { return s.spooled() == 0 && strings.Contains(s.log.since(m), "nothing kept") })
			mark = len(s.log.String())
		}
		if got := s.status().Counts.Accepted; got != before {
			t.Errorf("%d accepted of objects that were not whole", got-before)
		}
		// Sent again it is stored.
		ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
		defer cancel()
		a, err := association.Dial(ctx, address, association.Proposal{Calling: "CT1", Called: "NHIP", Contexts: []ul.ProposedContext{{ID: 1, AbstractSyntax: ctImage, TransferSyntaxes: []string{implicitLE}}}})
		if err != nil {
			t.Fatal(err)
		}
		status, err := store.Send(ctx, a, store.Object{SOPClassUID: ctImage, SOPInstanceUID: "1.2.840.77.1", TransferSyntaxUID: implicitLE, DataSet: bytes.NewReader(data)})
		if err != nil || status.Code != 0 {
			t.Fatalf("the whole object: %v %v", status, err)
		}
		a.Release(ctx)
		if got := s.status().Counts.Accepted; got != before+1 || s.spooled() != 1 {
			t.Errorf("%d accepted, %d files", got-before, s.spooled())
		}
	})
}

// closedAfter reads until the peer closes; a peer that waits for us (ARTIM) is
// closed first.
func closedAfter(t *testing.T, c net.Conn) []byte {
	t.Helper()
	if tcp, ok := c.(*net.TCPConn); ok {
		tcp.CloseWrite()
	}
	return closedByPeer(t, c)
}

// TestHalfAnAssociateRQHeldOpen is closed by its deadline, and blocks nobody.
func TestHalfAnAssociateRQHeldOpen(t *testing.T) {
	t.Parallel()
	lis := newLIS(t)
	s := wholeSite(t, lis, "[dicom]\nlisten = \"127.0.0.1:0\"\nmax_associations = 3\n")
	address := s.status().Listen.DICOM
	rq := associateRQ("NHIP", "CT1")
	var half []net.Conn
	start := time.Now()
	for _, n := range []int{0, 1, 5, 6, 7, len(rq) / 2, len(rq) - 1} {
		c := dialFrom(t, "127.0.0.1", address)
		c.Write(rq[:n])
		half = append(half, c)
	}
	s.good(t, lis, "1")
	for _, c := range half {
		closedByPeer(t, c)
	}
	if d := time.Since(start); d < time.Second || d > 90*time.Second {
		t.Errorf("closed after %v", d)
	}
	s.logged(0, "time-out", "A-ASSOCIATE-RQ")
	s.good(t, lis, "2")
}
