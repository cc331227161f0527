package dicom

// A VR is a value representation, PS3.5 section 6.2: its two letters, the first
// in the upper byte. The zero VR is none.
type VR uint16

// The value representations of PS3.5 table 6.2-1.
const (
	AE VR = 'A'<<8 | 'E' // application entity
	AS VR = 'A'<<8 | 'S' // age string
	AT VR = 'A'<<8 | 'T' // attribute tag
	CS VR = 'C'<<8 | 'S' // code string
	DA VR = 'D'<<8 | 'A' // date
	DS VR = 'D'<<8 | 'S' // decimal string
	DT VR = 'D'<<8 | 'T' // date time
	FD VR = 'F'<<8 | 'D' // floating point double
	FL VR = 'F'<<8 | 'L' // floating point single
	IS VR = 'I'<<8 | 'S' // integer string
	LO VR = 'L'<<8 | 'O' // long string
	LT VR = 'L'<<8 | 'T' // long text
	OB VR = 'O'<<8 | 'B' // other byte
	OD VR = 'O'<<8 | 'D' // other double
	OF VR = 'O'<<8 | 'F' // other float
	OL VR = 'O'<<8 | 'L' // other long
	OV VR = 'O'<<8 | 'V' // other 64-bit very long
	OW VR = 'O'<<8 | 'W' // other word
	PN VR = 'P'<<8 | 'N' // person name
	SH VR = 'S'<<8 | 'H' // short string
	SL VR = 'S'<<8 | 'L' // signed long
	SQ VR = 'S'<<8 | 'Q' // sequence of items
	SS VR = 'S'<<8 | 'S' // signed short
	ST VR = 'S'<<8 | 'T' // short text
	SV VR = 'S'<<8 | 'V' // signed 64-bit very long
	TM VR = 'T'<<8 | 'M' // time
	UC VR = 'U'<<8 | 'C' // unlimited characters
	UI VR = 'U'<<8 | 'I' // unique identifier
	UL VR = 'U'<<8 | 'L' // unsigned long
	UN VR = 'U'<<8 | 'N' // unknown
	UR VR = 'U'<<8 | 'R' // universal resource identifier or locator
	US VR = 'U'<<8 | 'S' // unsigned short
	UT VR = 'U'<<8 | 'T' // unlimited text
	UV VR = 'U'<<8 | 'V' // unsigned 64-bit very long
)

// String returns the two letters, "" for none.
func (v VR) String() string {
	if v == 0 {
		return ""
	}
	return string([]byte{byte(v >> 8), byte(v)})
}

// ParseVR returns the VR of two letters; false for one that PS3.5 does not know.
func ParseVR(s string) (VR, bool) {
	if len(s) != 2 {
		return 0, false
	}
	v := vrOf([]byte(s))
	return v, v.Known()
}

// vrOf returns the VR of two bytes, whatever they are.
func vrOf(b []byte) VR { return VR(b[0])<<8 | VR(b[1]) }

// Known reports whether PS3.5 table 6.2-1 has the VR.
func (v VR) Known() bool { return v.kind() != none }

// A kind is how the values of a VR are written.
type kind uint8

const (
	none     kind = iota
	ascii         // text of the default repertoire
	text          // text that (0008,0005) applies to
	integer       // binary integers
	float         // binary floating point numbers
	bulk          // OB and its like: one value
	sequence      // SQ
)

func (v VR) kind() kind {
	switch v {
	case AE, AS, CS, DA, DS, DT, IS, TM, UI, UR:
		return ascii
	case LO, LT, PN, SH, ST, UC, UT:
		return text
	case AT, SL, SS, SV, UL, US, UV:
		return integer
	case FL, FD:
		return float
	case OB, OD, OF, OL, OV, OW, UN:
		return bulk
	case SQ:
		return sequence
	}
	return none
}

// unit returns how many bytes are swapped together in the other byte order.
func (v VR) unit() int {
	switch v {
	case US, SS, OW, AT:
		return 2
	case UL, SL, FL, OF, OL:
		return 4
	case FD, OD, OV, SV, UV:
		return 8
	}
	return 1
}

// size returns the length of one value of a binary VR.
func (v VR) size() int {
	if v == AT {
		return 4
	}
	return v.unit()
}

// long reports whether an explicit VR is followed by two reserved bytes and a
// 32-bit length, PS3.5 section 7.1.2; VRs to come are, too (section 6.2).
func (v VR) long() bool {
	switch v {
	case AE, AS, AT, CS, DA, DS, DT, FL, FD, IS, LO, LT, PN, SH, SL, SS, ST, TM, UI, UL, US:
		return false
	}
	return true
}

// single reports whether a text VR has one value, in which a backslash is a
// character like others, PS3.5 section 6.2.
func (v VR) single() bool { return v == LT || v == ST || v == UT || v == UR }

// pad returns the byte that makes a value even, PS3.5 section 6.2.
func (v VR) pad() byte {
	if k := v.kind(); v != UI && (k == ascii || k == text) {
		return ' '
	}
	return 0
}
