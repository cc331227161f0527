package association

import (
	"net"
	"testing"
	"time"

	"nhip/dicom/ul"
)

// The buffer grows with what arrives, not with what a header claims, and stops
// at what the largest PDU needs.
func TestBufferGrowsWithWhatArrives(t *testing.T) {
	ours, theirs := net.Pipe()
	defer ours.Close()
	const longest = LargestMaxPDU
	r := pduReader{conn: theirs, ctx: t.Context(), maxPData: longest}
	go func() {
		ours.Write([]byte{4, 0, 0, 4, 0, 0}) // a header, and a byte
		ours.Write([]byte{1})
		ours.Close()
	}()
	if _, _, err := r.next(time.Second, time.Second, false, "a PDU"); err == nil {
		t.Fatal("half a PDU was returned")
	}
	if len(r.buf) > firstBuffer {
		t.Errorf("7 bytes arrived, the buffer has %d", len(r.buf))
	}

	ours, theirs = net.Pipe()
	defer ours.Close()
	r = pduReader{conn: theirs, ctx: t.Context(), maxPData: longest}
	pdu := append([]byte{4, 0, 0, 4, 0, 0}, make([]byte, longest)...)
	go func() {
		for range 5 {
			ours.Write(append(pdu, ul.ReleaseRQ{}.Append(nil)...))
		}
	}()
	for range 5 {
		h, body, err := r.next(time.Second, time.Second, false, "a PDU")
		if err != nil || h.Type != ul.TypePDataTF || len(body) != longest {
			t.Fatalf("%v, %d bytes, %v", h, len(body), err)
		}
		if h, _, err := r.next(time.Second, time.Second, false, "a PDU"); err != nil || h.Type != ul.TypeReleaseRQ {
			t.Fatalf("%v, %v", h, err)
		}
	}
	if len(r.buf) > max(longest+ul.HeaderLength, fullBuffer) {
		t.Errorf("the buffer has %d", len(r.buf))
	}
}
