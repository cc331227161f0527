package jpegls

import (
	"encoding/binary"
	"fmt"
	"math/bits"

	"nhip/dicom/pixel/internal/t81"
)

// A scanDecoder decodes the lines of one scan.
type scanDecoder struct {
	*model
	bitReader
	*linePair
	runIndex [4]int // of each component; the first in sample interleave
}

// restart reads a restart marker, T.87 section A.8 and T.81 section F.2.1.3.1.
func (s *scanDecoder) restart(count int) error {
	if left := s.rest(); left > 2 {
		return formatError(fmt.Sprintf("%d bytes are left before a restart marker", left))
	}
	for s.at+1 < len(s.data) && s.data[s.at+1] == 0xFF {
		s.at++
	}
	if s.at+1 >= len(s.data) {
		return truncated("before a restart marker")
	}
	if marker := s.data[s.at+1]; marker != t81.RST0+byte(count) {
		return formatError(fmt.Sprintf("marker FF%02X where restart marker %d should be", marker, count))
	}
	s.at += 2
	s.model.restart()
	s.linePair.clear()
	s.runIndex = [4]int{}
	return nil
}

// row decodes a line of every component.
func (s *scanDecoder) row(interleave Interleave) {
	s.edges()
	if interleave == InterleaveSample {
		s.interleaved()
		return
	}
	for c := range s.current {
		if s.exact {
			s.exactLine(c)
		} else {
			s.nearLine(c)
		}
	}
}

// exactLine decodes a line without loss and with the full range of the precision,
// where arithmetic modulo RANGE is a mask. It is the loop that counts: the state of
// the bitReader is in variables.
func (s *scanDecoder) exactLine(component int) {
	above, cur := s.above[component], s.current[component]
	width := len(cur) - 2
	above = above[:len(cur)]
	contexts, quantized := &s.contexts, &s.quantized
	maxVal, reset, zeroes := s.maxVal, int32(s.reset), s.zeroes
	data, at, acc, n := s.data, s.at, s.bits, s.n
	ra, rb, rc := int(cur[0]), int(above[1]), int(above[0])
	for x := 1; x <= width; x++ {
		rd := int(above[x+1])
		q := (int(quantized[uint(rd-rb)%gradients])*9+int(quantized[uint(rb-rc)%gradients]))*9 +
			int(quantized[uint(rc-ra)%gradients])
		if q == 0 {
			s.at, s.bits, s.n = at, acc, n
			x = s.run(above, cur, x, component)
			if s.err != nil {
				return
			}
			at, acc, n = s.at, s.bits, s.n
			if x > width {
				break
			}
			ra, rb, rc = int(cur[x]), int(above[x+1]), int(above[x])
			continue
		}
		sign := q >> 63
		ctx := &contexts[uint((q^sign)-sign)%512]
		cn, ca, cb := ctx.n, ctx.a, ctx.b

		// k is the least for which n<<k is at least a, T.87 section A.5.1.
		k := max(bits.Len32(uint32(ca))-bits.Len32(uint32(cn)), 0)
		k += int((int64(cn)<<(k&63) - int64(ca)) >> 63 & 1)

		if n < 32 {
			next := ^uint64(0)
			if at+8 <= len(data) {
				next = binary.BigEndian.Uint64(data[at:])
			}
			if !hasFF(next) {
				acc |= next >> (n & 63)
				at += (63 - n) >> 3
				n |= 56
			} else {
				s.at, s.bits, s.n = at, acc, n
				s.fill()
				at, acc, n = s.at, s.bits, s.n
			}
		}
		z := bits.LeadingZeros64(acc)
		mapped := 0
		if z+k < n && z < zeroes {
			acc = acc << (z & 63) << 1
			mapped = z<<(k&63) | int(acc>>1>>((63-k)&63))
			acc <<= k & 63
			n -= z + k + 1
		} else {
			s.at, s.bits, s.n = at, acc, n
			mapped = s.golomb(k, zeroes, s.qbpp)
			at, acc, n = s.at, s.bits, s.n
		}
		if mapped > maxVal+1 {
			s.bad()
			return
		}

		// T.87 section A.5.2; the other mapping is the complement.
		errval := int32(mapped>>1) ^ -int32(mapped&1)
		if k == 0 && 2*cb <= -cn {
			errval = ^errval
		}
		px := median(ra, rb, rc) + (int(ctx.c) ^ sign - sign)
		px = max(min(px, maxVal), 0)
		rx := (px + (int(errval) ^ sign - sign)) & maxVal
		ctx.update(errval, errval, reset)
		cur[x] = uint16(rx)
		ra, rb, rc = rx, rd, rb
	}
	s.at, s.bits, s.n = at, acc, n
}

// bad notes an error value that is out of range.
func (s *scanDecoder) bad() {
	if s.err == nil {
		s.err = formatError("an error value is out of range")
	}
}

// nearLine decodes a line by the general arithmetic.
func (s *scanDecoder) nearLine(component int) {
	above, cur := s.above[component], s.current[component]
	width := len(cur) - 2
	for x := 1; x <= width; x++ {
		ra, rb, rc, rd := int(cur[x-1]), int(above[x]), int(above[x-1]), int(above[x+1])
		q := s.context(ra, rb, rc, rd)
		if q == 0 {
			x = s.run(above, cur, x, component)
		} else {
			cur[x] = uint16(s.regular(q, ra, rb, rc))
		}
		if s.err != nil {
			return
		}
	}
}

// context is the merged context with its sign, T.87 sections A.3.3 and A.3.4.
func (m *model) context(ra, rb, rc, rd int) int {
	return (int(m.quantized[uint(rd-rb)%gradients])*9+int(m.quantized[uint(rb-rc)%gradients]))*9 +
		int(m.quantized[uint(rc-ra)%gradients])
}

// regular decodes a sample in regular mode, T.87 sections A.4 to A.6.
func (s *scanDecoder) regular(q, ra, rb, rc int) int {
	sign := q >> 63
	ctx := &s.contexts[uint((q^sign)-sign)%512]
	k := ctx.golomb()
	s.bitReader.fill()
	mapped := s.bitReader.golomb(k, s.zeroes, s.qbpp)
	if mapped > s.rangeVal {
		s.bad()
		return 0
	}
	errval := int32(mapped>>1) ^ -int32(mapped&1)
	if s.near == 0 && k == 0 && 2*ctx.b <= -ctx.n {
		errval = ^errval
	}
	px := median(ra, rb, rc) + (int(ctx.c) ^ sign - sign)
	px = max(min(px, s.maxVal), 0)
	scaled := int(errval) * (2*s.near + 1)
	ctx.update(errval, int32(scaled), int32(s.reset))
	return s.reconstruct(px + (scaled ^ sign - sign))
}

// golomb is k, T.87 section A.5.1.
func (c *context) golomb() int {
	k := max(bits.Len32(uint32(c.a))-bits.Len32(uint32(c.n)), 0)
	return k + int((int64(c.n)<<k-int64(c.a))>>63&1)
}

// reconstruct brings a sample back into its range, T.87 section A.4.5.
func (m *model) reconstruct(rx int) int {
	step := m.rangeVal * (2*m.near + 1)
	switch {
	case rx < -m.near:
		rx += step
	case rx > m.maxVal+m.near:
		rx -= step
	}
	return max(min(rx, m.maxVal), 0)
}

// run decodes from x on in run mode, T.87 section A.7, and returns the column of
// the interrupting sample, or one behind the line.
func (s *scanDecoder) run(above, cur []uint16, x, component int) int {
	index := s.runIndex[component]
	end := s.runLength(len(cur)-1-x, &index) + x
	ra := cur[x-1]
	line := cur[x:end]
	for i := range line {
		line[i] = ra
	}
	if end < len(cur)-1 && s.err == nil {
		rb := int(above[end])
		kind := 0
		if abs(int(ra)-rb) <= s.near {
			kind = 1
		}
		cur[end] = uint16(s.interruption(int(ra), rb, kind, index))
		index = max(index-1, 0)
	}
	s.runIndex[component] = index
	return end
}

// runLength decodes how many samples of so many that are left are in the run, T.87
// section A.7.1. All of them: the line ends the run.
func (s *scanDecoder) runLength(left int, index *int) int {
	length := 0
	for s.read(1) == 1 {
		step := 1 << runOrder[*index]
		if step > left-length {
			return left
		}
		length += step
		if *index < 31 {
			*index++
		}
		if length == left {
			return left
		}
	}
	length += s.read(int(runOrder[*index]))
	if length >= left {
		if s.err == nil {
			s.err = formatError("a run is longer than its line")
		}
		return left
	}
	return length
}

// interruption decodes the sample that ends a run, T.87 section A.7.2. kind is
// RItype.
func (s *scanDecoder) interruption(ra, rb, kind, index int) int {
	ctx := &s.runs[kind]
	k := ctx.golomb(kind)
	zeroes := s.zeroes - int(runOrder[index]) - 1
	mapped := s.bitReader.golomb(k, zeroes, s.qbpp)
	if mapped > s.rangeVal {
		s.bad()
		return 0
	}
	temp := mapped + kind
	errval := (temp + 1) >> 1
	if (k != 0 || 2*ctx.nn >= ctx.n) == (temp&1 == 1) {
		errval = -errval
	}
	ctx.update(errval, mapped, kind, s.reset)
	scaled := errval * (2*s.near + 1)
	if kind == 1 {
		return s.reconstruct(ra + scaled)
	}
	if ra > rb {
		scaled = -scaled
	}
	return s.reconstruct(rb + scaled)
}

func abs(v int) int { return max(v, -v) }

// interleaved decodes a line of every component, sample by sample: run mode is
// entered, and left, by all of them together.
func (s *scanDecoder) interleaved() {
	width := len(s.current[0]) - 2
	for x := 1; x <= width && s.err == nil; x++ {
		var q [4]int
		any := 0
		for c, cur := range s.current {
			above := s.above[c]
			q[c] = s.context(int(cur[x-1]), int(above[x]), int(above[x-1]), int(above[x+1]))
			any |= q[c]
		}
		if any == 0 {
			x = s.interleavedRun(x)
			continue
		}
		for c, cur := range s.current {
			above := s.above[c]
			cur[x] = uint16(s.regular(q[c], int(cur[x-1]), int(above[x]), int(above[x-1])))
		}
	}
}

// interleavedRun is run for all components: every interrupting sample is coded as
// RItype 0.
func (s *scanDecoder) interleavedRun(x int) int {
	index := s.runIndex[0]
	width := len(s.current[0]) - 2
	end := s.runLength(width+1-x, &index) + x
	for _, cur := range s.current {
		for i := x; i < end; i++ {
			cur[i] = cur[x-1]
		}
	}
	if end <= width && s.err == nil {
		for c, cur := range s.current {
			cur[end] = uint16(s.interruption(int(cur[x-1]), int(s.above[c][end]), 0, index))
		}
		index = max(index-1, 0)
	}
	s.runIndex[0] = index
	return end
}
