// Package ul is the DICOM upper layer protocol for TCP/IP, PS3.8 section 9: the
// PDUs and the state machine of an association. It does no I/O, starts no
// goroutine and reads no clock; package association puts it on a connection.
//
// Every length that came from the wire is compared with what is there before
// anything is allocated by it.
package ul

import (
	"encoding/binary"
	"fmt"
)

// A Type is a PDU type, PS3.8 section 9.3.1.
type Type byte

const (
	TypeAssociateRQ Type = 0x01
	TypeAssociateAC Type = 0x02
	TypeAssociateRJ Type = 0x03
	TypePDataTF     Type = 0x04
	TypeReleaseRQ   Type = 0x05
	TypeReleaseRP   Type = 0x06
	TypeAbort       Type = 0x07
)

func (t Type) String() string {
	switch t {
	case TypeAssociateRQ:
		return "A-ASSOCIATE-RQ"
	case TypeAssociateAC:
		return "A-ASSOCIATE-AC"
	case TypeAssociateRJ:
		return "A-ASSOCIATE-RJ"
	case TypePDataTF:
		return "P-DATA-TF"
	case TypeReleaseRQ:
		return "A-RELEASE-RQ"
	case TypeReleaseRP:
		return "A-RELEASE-RP"
	case TypeAbort:
		return "A-ABORT"
	}
	return fmt.Sprintf("PDU type %02XH", byte(t))
}

// Event returns the event of the state machine that a PDU of this type is.
func (t Type) Event() Event {
	switch t {
	case TypeAssociateAC:
		return EvtAssociateAC
	case TypeAssociateRJ:
		return EvtAssociateRJ
	case TypeAssociateRQ:
		return EvtAssociateRQ
	case TypePDataTF:
		return EvtPDataTF
	case TypeReleaseRQ:
		return EvtReleaseRQ
	case TypeReleaseRP:
		return EvtReleaseRP
	case TypeAbort:
		return EvtAbort
	}
	return EvtInvalidPDU
}

// HeaderLength is the length of the PDU type, a reserved byte and the PDU length.
const HeaderLength = 6

// A Header is the first six bytes of every PDU.
type Header struct {
	Type   Type
	Length uint32 // of what follows the header
}

// ParseHeader reads a header. b holds at least HeaderLength bytes.
func ParseHeader(b []byte) Header {
	return Header{Type: Type(b[0]), Length: binary.BigEndian.Uint32(b[2:])}
}

// Check refuses a PDU by its header alone, before any byte of its body is
// awaited: an unknown type, a P-DATA-TF longer than maxPData (the maximum length
// that we offered; it bounds what follows the header, PS3.8 section D.1), an
// association PDU longer than maxAssociate, and lengths that are not the type's.
func (h Header) Check(maxPData, maxAssociate uint32) error {
	switch h.Type {
	case TypeAssociateRQ, TypeAssociateAC:
		if h.Length < associateFixedLength || h.Length > maxAssociate {
			return &ProtocolError{h.Type.String(), "PDU length", h.Length, ReasonInvalidParameterValue}
		}
	case TypePDataTF:
		if h.Length > maxPData {
			return &ProtocolError{h.Type.String(), "PDU length", h.Length, ReasonInvalidParameterValue}
		}
	case TypeAssociateRJ, TypeReleaseRQ, TypeReleaseRP, TypeAbort:
		if h.Length != 4 {
			return &ProtocolError{h.Type.String(), "PDU length", h.Length, ReasonInvalidParameterValue}
		}
	default:
		return &ProtocolError{"PDU", "type", byte(h.Type), ReasonUnrecognizedPDU}
	}
	return nil
}

func appendHeader(b []byte, t Type, length int) []byte {
	return binary.BigEndian.AppendUint32(append(b, byte(t), 0), uint32(length))
}

// A ProtocolError is the peer's fault: the association is aborted.
type ProtocolError struct {
	PDU, Field string
	Got        any
	Reason     AbortReason // for the A-ABORT PDU that answers it
}

func (e *ProtocolError) Error() string {
	return fmt.Sprintf("dicom/ul: %s: %s is %v", e.PDU, e.Field, e.Got)
}

// reader takes fields from a PDU body and keeps the first error.
type reader struct {
	pdu string
	b   []byte
	err error
}

func (r *reader) fail(field string, got any) {
	if r.err == nil {
		r.err = &ProtocolError{r.pdu, field, got, ReasonInvalidParameterValue}
	}
	r.b = nil
}

// more reports whether there is something left to be read, and a reason to.
func (r *reader) more() bool { return len(r.b) > 0 && r.err == nil }

func (r *reader) atMost(limit, n int, field string) {
	if n > limit {
		r.fail(field, n)
	}
}

func (r *reader) take(n int, field string) []byte {
	if n > len(r.b) {
		r.fail(field, fmt.Sprintf("%d bytes long where %d are left", n, len(r.b)))
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) byte(field string) byte {
	if b := r.take(1, field); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uint16(field string) uint16 {
	if b := r.take(2, field); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (r *reader) uint32(field string) uint32 {
	if b := r.take(4, field); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

// item takes an item: type, reserved, 16-bit length, value.
func (r *reader) item() (kind byte, value []byte) {
	kind = r.byte("item type")
	r.take(1, "item")
	n := int(r.uint16("item length"))
	if n > len(r.b) {
		r.fail(fmt.Sprintf("length of item %02XH", kind), fmt.Sprintf("%d bytes long where %d are left", n, len(r.b)))
		return kind, nil
	}
	return kind, r.take(n, "item")
}

func appendItem(b []byte, kind byte, value []byte) []byte {
	b = append(b, kind, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(len(value)))
	return append(b, value...)
}
