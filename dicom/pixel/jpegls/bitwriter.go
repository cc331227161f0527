package jpegls

// A bitWriter writes the entropy-coded bits of a scan, T.87 section A.1: the byte
// after FF begins with a 0 bit.
type bitWriter struct {
	out   []byte
	bits  uint64 // the last count bits wait
	n     int    // less than 32 between codes
	after bool   // FF was the last byte
}

// put writes the low count bits, at most 32; no others may be set.
func (w *bitWriter) put(bits uint64, count int) {
	w.bits = w.bits<<count | bits
	w.n += count
	if w.n >= 32 {
		w.drain(32)
	}
}

// drain writes bytes until fewer than keep bits wait.
func (w *bitWriter) drain(keep int) {
	if v := uint32(w.bits >> ((w.n - 32) & 63)); keep == 32 && !w.after && (^v-0x01010101)&v&0x80808080 == 0 {
		w.out = append(w.out, byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
		w.n -= 32
	}
	for w.n >= keep {
		count := 8
		if w.after {
			count = 7
		}
		w.n -= count
		b := byte(w.bits >> w.n & (1<<count - 1))
		w.after = b == 0xFF
		w.out = append(w.out, b)
	}
}

// flush pads the last byte with zeroes and, where it is FF, adds another.
func (w *bitWriter) flush() {
	w.drain(8)
	for w.n > 0 || w.after {
		count := 8
		if w.after {
			count = 7
		}
		w.bits <<= count - w.n
		w.n = count
		w.drain(count)
	}
}

// golomb writes a code of T.87 section A.5.3: so many zeroes begin an escape code.
func (w *bitWriter) golomb(mapped, k, zeroes, qbpp int) {
	z := mapped >> k
	if z < zeroes {
		w.zeroBits(z)
		w.put(1, 1)
		w.put(uint64(mapped)&(1<<k-1), k)
		return
	}
	w.zeroBits(zeroes)
	w.put(1, 1)
	w.put(uint64(mapped-1)&(1<<qbpp-1), qbpp)
}

func (w *bitWriter) zeroBits(count int) {
	for ; count > 31; count -= 31 {
		w.put(0, 31)
	}
	w.put(0, count)
}
