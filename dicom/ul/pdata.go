package ul

import "encoding/binary"

// PDVHeaderLength is what a presentation data value has before its fragment:
// length, presentation context ID and message control header.
const PDVHeaderLength = 6

// A PDV is a presentation data value item of a P-DATA-TF PDU, PS3.8 sections
// 9.3.5.1 and annex E.2.
type PDV struct {
	ContextID byte
	Command   bool // the fragment is of a command set, else of a data set
	Last      bool // the last fragment of it
	Fragment  []byte
}

// NextPDV takes the first PDV from the body of a P-DATA-TF and returns what is
// behind it. The fragment points into body.
func NextPDV(body []byte) (PDV, []byte, error) {
	r := &reader{pdu: "P-DATA-TF", b: body}
	n := r.uint32("PDV length")
	if r.err == nil && (n < 2 || int64(n) > int64(len(r.b))) {
		r.fail("PDV length", n)
	}
	if r.err != nil {
		return PDV{}, nil, r.err
	}
	value := r.take(int(n), "PDV length")
	return PDV{
		ContextID: value[0],
		Command:   value[1]&1 != 0,
		Last:      value[1]&2 != 0,
		Fragment:  value[2:],
	}, r.b, nil
}

// AppendPDataHeader appends what stands before the fragment in a P-DATA-TF of
// one PDV: the PDU header and the PDV header. The fragment of the given length
// is to follow.
func AppendPDataHeader(b []byte, v PDV, length int) []byte {
	b = appendHeader(b, TypePDataTF, PDVHeaderLength+length)
	b = binary.BigEndian.AppendUint32(b, uint32(length+2))
	return append(b, v.ContextID, flag(v.Command)|flag(v.Last)<<1)
}
