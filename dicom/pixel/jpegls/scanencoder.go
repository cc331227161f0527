package jpegls

import "math/bits"

// exactLine codes a line without loss and with the full range of the precision,
// where arithmetic modulo RANGE extends a sign. It is the loop that counts.
func (s *scanEncoder) exactLine(component int) {
	above, cur := s.above[component], s.current[component]
	width := len(cur) - 2
	above = above[:len(cur)]
	contexts, quantized := &s.contexts, &s.quantized
	maxVal, reset, zeroes := s.maxVal, int32(s.reset), s.zeroes
	unused := (32 - bits.Len32(uint32(maxVal))) & 31
	acc, n := s.bits, s.n
	ra, rb, rc := int(cur[0]), int(above[1]), int(above[0])
	for x := 1; x <= width; x++ {
		rd := int(above[x+1])
		q := (int(quantized[uint(rd-rb)%gradients])*9+int(quantized[uint(rb-rc)%gradients]))*9 +
			int(quantized[uint(rc-ra)%gradients])
		if q == 0 {
			s.bits, s.n = acc, n
			x = s.run(above, cur, x, component)
			acc, n = s.bits, s.n
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

		px := median(ra, rb, rc) + (int(ctx.c) ^ sign - sign)
		px = max(min(px, maxVal), 0)
		ix := int(cur[x])
		errval := int32((ix-px)^sign-sign) << unused >> unused

		// T.87 section A.5.2; the other mapping is that of the complement.
		mapped := errval
		if k == 0 && 2*cb <= -cn {
			mapped = ^errval
		}
		mapped = mapped<<1 ^ mapped>>31
		ctx.update(errval, errval, reset)

		z := int(mapped) >> (k & 63)
		if count := z + k + 1; count <= 32 && z < zeroes {
			acc = acc<<(count&63) | 1<<(k&63) | uint64(mapped)&(1<<(k&63)-1)
			if n += count; n >= 32 {
				s.bits, s.n = acc, n
				s.drain(32)
				acc, n = s.bits, s.n
			}
		} else {
			s.bits, s.n = acc, n
			s.golomb(int(mapped), k, zeroes, s.qbpp)
			acc, n = s.bits, s.n
		}
		ra, rb, rc = ix, rd, rb
	}
	s.bits, s.n = acc, n
}

// nearLine codes a line by the general arithmetic, and puts into it what a decoder
// will see.
func (s *scanEncoder) nearLine(component int) {
	above, cur := s.above[component], s.current[component]
	width := len(cur) - 2
	for x := 1; x <= width; x++ {
		ra, rb, rc, rd := int(cur[x-1]), int(above[x]), int(above[x-1]), int(above[x+1])
		q := s.context(ra, rb, rc, rd)
		if q == 0 {
			x = s.run(above, cur, x, component)
		} else {
			cur[x] = uint16(s.regular(q, int(cur[x]), ra, rb, rc))
		}
	}
}

// regular codes a sample in regular mode, T.87 sections A.4 to A.6, and returns
// what a decoder will see.
func (s *scanEncoder) regular(q, ix, ra, rb, rc int) int {
	sign := q >> 63
	ctx := &s.contexts[uint((q^sign)-sign)%512]
	k := ctx.golomb()
	px := median(ra, rb, rc) + (int(ctx.c) ^ sign - sign)
	px = max(min(px, s.maxVal), 0)
	errval := s.quantize((ix - px) ^ sign - sign)
	scaled := errval * (2*s.near + 1)
	rx := max(min(px+(scaled^sign-sign), s.maxVal), 0)
	errval = s.modulo(errval)
	mapped := errval
	if s.near == 0 && k == 0 && 2*ctx.b <= -ctx.n {
		mapped = ^errval
	}
	mapped = mapped<<1 ^ mapped>>63
	ctx.update(int32(errval), int32(errval*(2*s.near+1)), int32(s.reset))
	s.bitWriter.golomb(mapped, k, s.zeroes, s.qbpp)
	return rx
}

// quantize is T.87 section A.4.4.
func (m *model) quantize(errval int) int {
	if errval > 0 {
		return (errval + m.near) / (2*m.near + 1)
	}
	return -((m.near - errval) / (2*m.near + 1))
}

// modulo is the reduction of T.87 section A.4.5.
func (m *model) modulo(errval int) int {
	if errval < 0 {
		errval += m.rangeVal
	}
	if errval >= (m.rangeVal+1)/2 {
		errval -= m.rangeVal
	}
	return errval
}

// run codes from x on in run mode, T.87 section A.7, and returns the column of the
// interrupting sample, or one behind the line.
func (s *scanEncoder) run(above, cur []uint16, x, component int) int {
	ra := int(cur[x-1])
	width := len(cur) - 2
	end := x
	for end <= width && abs(int(cur[end])-ra) <= s.near {
		cur[end] = uint16(ra)
		end++
	}
	index := s.runIndex[component]
	s.runLength(end-x, end > width, &index)
	if end <= width {
		rb := int(above[end])
		kind := 0
		if abs(ra-rb) <= s.near {
			kind = 1
		}
		cur[end] = uint16(s.interruption(int(cur[end]), ra, rb, kind, index))
		index = max(index-1, 0)
	}
	s.runIndex[component] = index
	return end
}

// runLength codes the length of a run, T.87 section A.7.1.
func (s *scanEncoder) runLength(length int, lineEnds bool, index *int) {
	for length >= 1<<runOrder[*index] {
		s.put(1, 1)
		length -= 1 << runOrder[*index]
		*index = min(*index+1, 31)
	}
	switch {
	case !lineEnds:
		s.put(uint64(length), int(runOrder[*index])+1)
	case length > 0:
		s.put(1, 1)
	}
}

// interruption codes the sample that ends a run, T.87 section A.7.2, and returns
// what a decoder will see. kind is RItype.
func (s *scanEncoder) interruption(ix, ra, rb, kind, index int) int {
	ctx := &s.runs[kind]
	px, sign := rb, 1
	if kind == 1 {
		px = ra
	} else if ra > rb {
		sign = -1
	}
	errval := s.quantize((ix - px) * sign)
	rx := max(min(px+sign*errval*(2*s.near+1), s.maxVal), 0)
	errval = s.modulo(errval)
	k := ctx.golomb(kind)
	mapped := 2*abs(errval) - kind
	if errval != 0 && (errval < 0) == (k != 0 || 2*ctx.nn >= ctx.n) {
		mapped--
	}
	ctx.update(errval, mapped, kind, s.reset)
	s.bitWriter.golomb(mapped, k, s.zeroes-int(runOrder[index])-1, s.qbpp)
	return rx
}

// interleaved codes a line of every component, sample by sample.
func (s *scanEncoder) interleaved() {
	width := len(s.current[0]) - 2
	for x := 1; x <= width; x++ {
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
			cur[x] = uint16(s.regular(q[c], int(cur[x]), int(cur[x-1]), int(above[x]), int(above[x-1])))
		}
	}
}

// interleavedRun is run for all components: every interrupting sample is coded as
// RItype 0.
func (s *scanEncoder) interleavedRun(x int) int {
	width := len(s.current[0]) - 2
	end := x
	for end <= width && s.inRun(x, end) {
		end++
	}
	index := s.runIndex[0]
	s.runLength(end-x, end > width, &index)
	if end <= width {
		for c, cur := range s.current {
			cur[end] = uint16(s.interruption(int(cur[end]), int(cur[x-1]), int(s.above[c][end]), 0, index))
		}
		index = max(index-1, 0)
	}
	s.runIndex[0] = index
	return end
}

// inRun says whether column at continues the run that began at x, and makes it do so.
func (s *scanEncoder) inRun(x, at int) bool {
	for _, cur := range s.current {
		if abs(int(cur[at])-int(cur[x-1])) > s.near {
			return false
		}
	}
	for _, cur := range s.current {
		cur[at] = cur[x-1]
	}
	return true
}
