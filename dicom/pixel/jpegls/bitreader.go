package jpegls

import (
	"encoding/binary"
	"math/bits"
)

// A bitReader reads the entropy-coded bits of a scan, T.87 section A.1: the
// byte after FF carries 7 bits. It stops at a marker and at the end.
type bitReader struct {
	data []byte
	at   int    // of data
	bits uint64 // the next bits, from the highest; beyond count undefined
	n    int    // how many bits are valid
	err  error
}

// hasFF says whether one of eight bytes is FF.
func hasFF(v uint64) bool {
	return (^v-0x0101010101010101)&v&0x8080808080808080 != 0
}

// fill takes bytes until at least 49 bits are valid or no more come.
func (r *bitReader) fill() {
	if r.n < 49 && r.at+8 <= len(r.data) {
		if v := binary.BigEndian.Uint64(r.data[r.at:]); !hasFF(v) {
			r.bits |= v >> r.n
			r.at += (63 - r.n) >> 3
			r.n |= 56
			return
		}
	}
	for r.n <= 48 && r.at < len(r.data) {
		b := uint64(r.data[r.at])
		if b != 0xFF {
			r.bits |= b << (56 - r.n)
			r.n += 8
			r.at++
			continue
		}
		if r.at+1 >= len(r.data) || r.data[r.at+1] >= 0x80 {
			return
		}
		r.bits |= (b<<7 | uint64(r.data[r.at+1])) << (49 - r.n)
		r.n += 15
		r.at += 2
	}
}

// fail notes that the bits ended.
func (r *bitReader) fail() {
	if r.err == nil {
		r.err = truncated("within the image data")
	}
}

// read gives the next count bits, at most 32.
func (r *bitReader) read(count int) int {
	if r.n < count {
		r.fill()
	}
	if r.n < count {
		r.fail()
		return 0
	}
	v := r.bits >> 1 >> (63 - count)
	r.bits <<= count
	r.n -= count
	return int(v)
}

// golomb reads a code of T.87 section A.5.3: so many zeroes begin an escape code.
func (r *bitReader) golomb(k, zeroes, qbpp int) int {
	total := 0
	for {
		r.fill()
		z := min(bits.LeadingZeros64(r.bits), r.n)
		total += z
		if total > zeroes {
			r.err = formatError("a code of more zeroes than an error value can have")
			return 0
		}
		if z < r.n {
			r.bits <<= z + 1
			r.n -= z + 1
			break
		}
		r.bits, r.n = 0, 0
		if r.fill(); r.n == 0 {
			r.fail()
			return 0
		}
	}
	if total < zeroes {
		return total<<k | r.read(k)
	}
	return r.read(qbpp) + 1
}

// rest says how many whole bytes before the next marker were not read, and goes
// to that marker.
func (r *bitReader) rest() int {
	left := r.n / 8
	for ; r.at < len(r.data); r.at++ {
		if r.data[r.at] == 0xFF && (r.at+1 == len(r.data) || r.data[r.at+1] >= 0x80) {
			break
		}
		left++
	}
	r.bits, r.n = 0, 0
	return left
}
