package jpegls

import (
	"fmt"
	"sync"
)

// parameters are the coding parameters of a scan, T.87 section A.2.1.
type parameters struct {
	near, maxVal, t1, t2, t3, reset int
}

// newParameters completes a preset by the defaults and checks it, T.87 sections
// C.2.4.1.1 and C.2.4.1.1.1.
func newParameters(precision, near int, preset Preset) (parameters, error) {
	p := parameters{near, preset.MaxVal, preset.T1, preset.T2, preset.T3, preset.Reset}
	if p.maxVal == 0 {
		p.maxVal = 1<<precision - 1
	}
	if p.maxVal < 1 || p.maxVal > 1<<precision-1 {
		return p, fmt.Errorf("MAXVAL %d with a precision of %d bits", p.maxVal, precision)
	}
	if near < 0 || near > min(255, p.maxVal/2) {
		return p, fmt.Errorf("NEAR %d with MAXVAL %d", near, p.maxVal)
	}
	t1, t2, t3 := defaultThresholds(p.maxVal, near)
	if p.t1 == 0 {
		p.t1 = t1
	}
	if p.t2 == 0 {
		p.t2 = t2
	}
	if p.t3 == 0 {
		p.t3 = t3
	}
	if p.reset == 0 {
		p.reset = 64
	}
	if p.t1 < near+1 || p.t2 < p.t1 || p.t3 < p.t2 || p.t3 > p.maxVal {
		return p, fmt.Errorf("thresholds %d, %d, %d with NEAR %d and MAXVAL %d", p.t1, p.t2, p.t3, near, p.maxVal)
	}
	if p.reset < 3 || p.reset > max(255, p.maxVal) {
		return p, fmt.Errorf("RESET %d with MAXVAL %d", p.reset, p.maxVal)
	}
	return p, nil
}

// defaultThresholds is T.87 section C.2.4.1.1.1.
func defaultThresholds(maxVal, near int) (t1, t2, t3 int) {
	if maxVal >= 128 {
		factor := (min(maxVal, 4095) + 128) / 256
		t1 = factor*(3-2) + 2 + 3*near
		t2 = factor*(7-3) + 3 + 5*near
		t3 = factor*(21-4) + 4 + 7*near
	} else {
		factor := 256 / (maxVal + 1)
		t1 = max(2, 3/factor+3*near)
		t2 = max(3, 7/factor+5*near)
		t3 = max(4, 21/factor+7*near)
	}
	clamp := func(v, least int) int {
		if v > maxVal || v < least {
			return least
		}
		return v
	}
	t1 = clamp(t1, near+1)
	t2 = clamp(t2, t1)
	t3 = clamp(t3, t2)
	return t1, t2, t3
}

// A context holds A, B, C and N of one of the 365 contexts of regular mode, T.87
// section A.2.1.
type context struct{ a, b, c, n int32 }

// A runContext holds A, N and Nn of a context of run interruption.
type runContext struct{ a, n, nn int }

// Differences of samples index the table of quantized gradients modulo 2^17.
const gradients = 1 << 17

// A model is what coder and decoder of a scan have in common: the parameters and
// the contexts, of which the unused ones only spare the bounds check.
type model struct {
	parameters
	rangeVal  int // RANGE
	qbpp      int // bits of a mapped error value in an escape code
	zeroes    int // LIMIT-qbpp-1: as many zeroes begin an escape code
	limit     int // LIMIT
	exact     bool
	contexts  [512]context
	runs      [2]runContext
	quantized [gradients]int8

	filled parameters // the parameters that quantized is for
}

// models are kept: a model is large, and frames mostly have equal parameters.
var models = sync.Pool{New: func() any { return new(model) }}

// newModel has to be returned to models.
func newModel(p parameters) *model {
	m := models.Get().(*model)
	m.parameters = p
	m.rangeVal = (p.maxVal+2*p.near)/(2*p.near+1) + 1
	m.qbpp = bitsFor(m.rangeVal)
	bpp := max(2, bitsFor(p.maxVal+1))
	m.limit = 2 * (bpp + max(8, bpp))
	m.zeroes = m.limit - m.qbpp - 1
	m.exact = p.near == 0 && p.maxVal&(p.maxVal+1) == 0
	if m.filled != p {
		m.tabulate()
	}
	m.restart()
	return m
}

// bitsFor is the least b for which 1<<b is at least v.
func bitsFor(v int) int {
	b := 0
	for 1<<b < v {
		b++
	}
	return b
}

// restart sets the contexts as at the begin of a scan and after a restart marker,
// T.87 section A.2.1.
func (m *model) restart() {
	a := max(2, (m.rangeVal+32)/64)
	for i := range m.contexts {
		m.contexts[i] = context{a: int32(a), n: 1}
	}
	m.runs = [2]runContext{{a: a, n: 1}, {a: a, n: 1}}
}

// tabulate prepares the quantization of gradients, T.87 section A.3.3.
func (m *model) tabulate() {
	for d := 0; d <= m.maxVal; d++ {
		var q int8
		switch {
		case d <= m.near:
		case d < m.t1:
			q = 1
		case d < m.t2:
			q = 2
		case d < m.t3:
			q = 3
		default:
			q = 4
		}
		m.quantized[d] = q
		m.quantized[-d&(gradients-1)] = -q
	}
	m.filled = m.parameters
}

// update takes an error value into a context of run interruption, T.87 section
// A.7.2.2.
func (c *runContext) update(errval, mapped, kind, reset int) {
	if errval < 0 {
		c.nn++
	}
	c.a += (mapped + 1 - kind) >> 1
	if c.n == reset {
		c.a >>= 1
		c.n >>= 1
		c.nn >>= 1
	}
	c.n++
}

// golomb is k for a context of run interruption, T.87 section A.7.2.1.
func (c *runContext) golomb(kind int) int {
	temp := c.a
	if kind == 1 {
		temp += c.n >> 1
	}
	k := 0
	for c.n<<k < temp {
		k++
	}
	return k
}

// update takes an error value into a context of regular mode, T.87 sections A.6.1
// and A.6.2. scaled is the error value times 2×NEAR+1.
func (c *context) update(errval, scaled, reset int32) {
	c.a += max(errval, -errval)
	c.b += scaled
	if c.n == reset {
		c.a >>= 1
		c.b >>= 1
		c.n >>= 1
	}
	c.n++
	switch {
	case c.b <= -c.n:
		c.b = max(c.b+c.n, 1-c.n)
		c.c = max(c.c-1, -128)
	case c.b > 0:
		c.b = min(c.b-c.n, 0)
		c.c = min(c.c+1, 127)
	}
}

// median is the predictor of T.87 section A.4.1.
func median(ra, rb, rc int) int {
	return max(min(ra+rb-rc, max(ra, rb)), min(ra, rb))
}
