package render

import (
	"fmt"
	"math"
)

// A LUT is a lookup table: a Modality LUT, a VOI LUT (PS3.3 sections C.11.1.1 and
// C.11.2.1.1) or one colour of a palette (section C.7.6.3.1.5).
type LUT struct {
	First   int // value that the first entry stands for
	Bits    int // of an entry, 8 to 16
	Entries []uint16
}

// at returns the entry for a value: below the first the first, above the last the
// last, as all the tables are defined.
func (l *LUT) at(v float64) uint16 {
	i := int(math.Floor(min(max(v-float64(l.First), 0), float64(len(l.Entries)-1)) + 0.5))
	return l.Entries[i]
}

// most returns the highest value that an entry can have.
func (l *LUT) most() float64 { return float64(uint32(1)<<l.Bits - 1) }

// describe reads a LUT Descriptor: number of entries, 0 for 65,536; first value,
// which came unsigned and may be meant signed; bits of an entry.
func describe(descriptor []int64, signed bool) (entries int, l LUT, err error) {
	if len(descriptor) != 3 {
		return 0, l, fmt.Errorf("render: a LUT descriptor of %d values", len(descriptor))
	}
	// A file may have them as SS: 0 to 65535 in either VR.
	entries = int(uint16(descriptor[0]))
	if entries == 0 {
		entries = 1 << 16
	}
	l.First = int(uint16(descriptor[1]))
	if signed {
		l.First = int(int16(descriptor[1]))
	}
	l.Bits = int(uint16(descriptor[2]))
	if l.Bits < 8 || l.Bits > 16 {
		return 0, l, fmt.Errorf("render: a LUT of %d bits", l.Bits)
	}
	return entries, l, nil
}

// newLUT returns a table from its descriptor and its data, little endian: words,
// or bytes where entries have eight bits and the data are no longer (sections
// C.7.6.3.1.6 and C.11.1.1.1).
func newLUT(descriptor []int64, data []byte, signed bool) (*LUT, error) {
	n, l, err := describe(descriptor, signed)
	if err != nil {
		return nil, err
	}
	switch {
	case len(data) >= 2*n:
		l.Entries = words(data[:2*n])
	case l.Bits == 8 && len(data) >= n:
		l.Entries = make([]uint16, n)
		for i := range l.Entries {
			l.Entries[i] = uint16(data[i])
		}
	default:
		return nil, fmt.Errorf("render: a LUT of %d entries in %d bytes", n, len(data))
	}
	l.widen()
	return &l, nil
}

// widen treats entries that need more bits than the descriptor says as what they
// are: the descriptor is wrong in many objects, and a clipped table would show a
// false picture.
func (l *LUT) widen() {
	var most uint16
	for _, e := range l.Entries {
		most = max(most, e)
	}
	for l.Bits < 16 && most>>l.Bits != 0 {
		l.Bits++
	}
}

func words(b []byte) []uint16 {
	w := make([]uint16, len(b)/2)
	for i := range w {
		w[i] = uint16(b[2*i]) | uint16(b[2*i+1])<<8
	}
	return w
}
