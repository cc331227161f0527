package t81

import "encoding/binary"

// A BitReader reads entropy-coded bits, section F.2.2.5: a zero byte after FF is
// dropped. It stops at a marker and at the end. Its fields are for the inner loops.
type BitReader struct {
	Data []byte
	At   int    // of Data
	Bits uint64 // the next bits, from the highest; beyond N undefined
	N    int    // how many bits are valid
}

// HasFF says whether one of eight bytes is FF.
func HasFF(v uint64) bool {
	return (^v-0x0101010101010101)&v&0x8080808080808080 != 0
}

// Fill takes bytes until at least 49 bits are valid or no more come.
func (r *BitReader) Fill() {
	if r.At+8 <= len(r.Data) {
		if v := binary.BigEndian.Uint64(r.Data[r.At:]); !HasFF(v) {
			r.Bits |= v >> r.N
			r.At += (63 - r.N) >> 3
			r.N |= 56
			return
		}
	}
	for r.N <= 48 && r.At < len(r.Data) {
		b := uint64(r.Data[r.At])
		if b == 0xFF {
			if r.At+1 >= len(r.Data) || r.Data[r.At+1] != 0 {
				return
			}
			r.At++
		}
		r.Bits |= b << (56 - r.N)
		r.N += 8
		r.At++
	}
}

// Rest says how many whole bytes before the next marker were not read, and goes to
// that marker.
func (r *BitReader) Rest() int {
	left := r.N / 8
	for ; r.At < len(r.Data); r.At++ {
		if r.Data[r.At] == 0xFF && (r.At+1 == len(r.Data) || r.Data[r.At+1] != 0) {
			break
		}
		left++
	}
	r.Bits, r.N = 0, 0
	return left
}

// Restart goes behind restart marker count, section E.2.4.
func (s *Stream) Restart(r *BitReader, count int) error {
	if left := r.Rest(); left > 1 {
		return s.Errorf("%d bytes are left before a restart marker", left)
	}
	for r.At+1 < len(r.Data) && r.Data[r.At+1] == 0xFF {
		r.At++
	}
	if r.At+1 >= len(r.Data) {
		return s.Truncated("before a restart marker")
	}
	if marker := r.Data[r.At+1]; marker != RST0+byte(count%8) {
		return s.Errorf("marker FF%02X where restart marker %d should be", marker, count%8)
	}
	r.At += 2
	return nil
}

// A BitWriter writes entropy-coded bits: a zero byte follows FF.
type BitWriter struct {
	Out  []byte
	Bits uint64 // the last N bits wait
	N    int
}

// Drain writes 32 bits where so many wait.
func (w *BitWriter) Drain() {
	if w.N < 32 {
		return
	}
	w.N -= 32
	v := uint32(w.Bits >> (w.N & 63))
	if (^v-0x01010101)&v&0x80808080 == 0 {
		w.Out = append(w.Out, byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
		return
	}
	for shift := 24; shift >= 0; shift -= 8 {
		w.stuffed(byte(v >> shift))
	}
}

func (w *BitWriter) stuffed(b byte) {
	w.Out = append(w.Out, b)
	if b == 0xFF {
		w.Out = append(w.Out, 0)
	}
}

// Flush pads the last byte with ones, section F.1.2.3.
func (w *BitWriter) Flush() {
	w.Drain()
	pad := (8 - w.N%8) % 8
	w.Bits = w.Bits<<pad | (1<<pad - 1)
	for w.N += pad; w.N > 0; {
		w.N -= 8
		w.stuffed(byte(w.Bits >> w.N))
	}
}
