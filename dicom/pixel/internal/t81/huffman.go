package t81

// LookBits is the length of codes that Huffman.Look knows.
const LookBits = 9

// A Huffman is a Huffman table for decoding, section F.2.2.3.
type Huffman struct {
	// Look has, by the next LookBits bits, length<<8 | symbol; 0 where the code is
	// longer or none.
	Look    [1 << LookBits]uint16
	symbols [256]byte
	// By length: the first code that is too large, from the highest of 16 bits, and
	// what to add to a code for the place of its symbol.
	beyond [17]int32
	offset [17]int32
}

// Huffmans reads a DHT segment, section B.2.4.2, into tables[class][destination].
func (s *Stream) Huffmans(p []byte, tables *[2][4]*Huffman) error {
	for len(p) > 0 {
		if len(p) < 17 {
			return s.Errorf("Huffman table of a wrong length")
		}
		class, destination := p[0]>>4, p[0]&15
		if class > 1 || destination > 3 {
			return s.Errorf("Huffman table of class %d for destination %d", class, destination)
		}
		h := new(Huffman)
		used, err := h.read(s, p[1:])
		if err != nil {
			return err
		}
		tables[class][destination] = h
		p = p[1+used:]
	}
	return nil
}

func (h *Huffman) read(s *Stream, p []byte) (int, error) {
	total := 0
	for _, n := range p[:16] {
		total += int(n)
	}
	if total < 1 || total > 256 || len(p) < 16+total {
		return 0, s.Errorf("Huffman table of %d symbols in %d bytes", total, len(p)-16)
	}
	copy(h.symbols[:], p[16:16+total])
	code, at := int32(0), int32(0)
	for length := 1; length <= 16; length++ {
		n := int32(p[length-1])
		if code+n > 1<<length {
			return 0, s.Errorf("Huffman table with more codes of length %d than there are", length)
		}
		h.offset[length] = at - code
		for range n {
			if length <= LookBits {
				h.look(code, length, h.symbols[at])
			}
			code++
			at++
		}
		h.beyond[length] = code << (16 - length)
		code <<= 1
	}
	return 16 + total, nil
}

func (h *Huffman) look(code int32, length int, symbol byte) {
	first := int(code) << (LookBits - length)
	for i := range 1 << (LookBits - length) {
		h.Look[first+i] = uint16(length)<<8 | uint16(symbol)
	}
}

// Decode finds the code at the start of 16 bits; length 0: there is none.
func (h *Huffman) Decode(bits uint16) (symbol byte, length int) {
	if v := h.Look[bits>>(16-LookBits)]; v != 0 {
		return byte(v), int(v >> 8)
	}
	for length = LookBits + 1; length <= 16; length++ {
		if int32(bits) < h.beyond[length] {
			return h.symbols[(int32(bits)>>(16-length)+h.offset[length])&255], length
		}
	}
	return 0, 0
}

// A HuffmanCode is a table for coding: the code of each symbol.
type HuffmanCode struct {
	Counts  [16]byte // codes of length 1 to 16
	Symbols []byte   // in the order of their codes
	Code    [256]uint16
	Length  [256]uint8
}

// NewHuffmanCode makes the shortest code for symbols that occur so often, with at
// most 16 bits and none of ones only, sections K.2 and C.2.
func NewHuffmanCode(frequency []int) *HuffmanCode {
	var sizes [128]int // codes by length
	for _, size := range codeSizes(frequency) {
		sizes[size]++
	}
	// Section K.2, figure K.3: two codes too long become one prefix shorter, and a
	// shorter code makes room.
	for i := len(sizes) - 1; i > 16; i-- {
		for sizes[i] > 0 {
			j := i - 2
			for sizes[j] == 0 {
				j--
			}
			sizes[i] -= 2
			sizes[i-1]++
			sizes[j+1] += 2
			sizes[j]--
		}
	}
	last := 16
	for sizes[last] == 0 {
		last--
	}
	sizes[last]-- // the reserved code of ones only
	h := &HuffmanCode{Symbols: byFrequency(frequency)}
	code, at := uint16(0), 0
	for length := 1; length <= 16; length++ {
		h.Counts[length-1] = byte(sizes[length])
		for range sizes[length] {
			h.Code[h.Symbols[at]], h.Length[h.Symbols[at]] = code, uint8(length)
			code++
			at++
		}
		code <<= 1
	}
	return h
}

// codeSizes are the lengths of Huffman's codes for the symbols that occur, and for
// one more that is rarer than all: it takes the code of ones only.
func codeSizes(frequency []int) []int {
	type node struct{ weight, parent int }
	var nodes []node
	for _, f := range frequency {
		if f > 0 {
			nodes = append(nodes, node{f, -1})
		}
	}
	nodes = append(nodes, node{0, -1})
	leaves := len(nodes)
	for open := leaves; open > 1; open-- {
		a, b := -1, -1 // the two lightest without a parent
		for i, n := range nodes {
			switch {
			case n.parent >= 0:
			case a < 0 || n.weight < nodes[a].weight:
				a, b = i, a
			case b < 0 || n.weight < nodes[b].weight:
				b = i
			}
		}
		nodes[a].parent, nodes[b].parent = len(nodes), len(nodes)
		nodes = append(nodes, node{nodes[a].weight + nodes[b].weight, -1})
	}
	sizes := make([]int, leaves)
	for i := range sizes {
		for n := i; nodes[n].parent >= 0; n = nodes[n].parent {
			sizes[i]++
		}
	}
	return sizes
}

// byFrequency are the symbols that occur, the most frequent first.
func byFrequency(frequency []int) []byte {
	var symbols []byte
	for s, f := range frequency {
		if f == 0 {
			continue
		}
		at := len(symbols)
		for at > 0 && frequency[symbols[at-1]] < f {
			at--
		}
		symbols = append(symbols, 0)
		copy(symbols[at+1:], symbols[at:])
		symbols[at] = byte(s)
	}
	return symbols
}

// Append appends a DHT segment.
func (h *HuffmanCode) Append(b []byte, class, destination int) []byte {
	length := 2 + 17 + len(h.Symbols)
	b = append(b, 0xFF, DHT, byte(length>>8), byte(length), byte(class<<4|destination))
	b = append(b, h.Counts[:]...)
	return append(b, h.Symbols...)
}
