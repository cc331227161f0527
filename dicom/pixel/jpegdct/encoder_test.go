package jpegdct

import (
	"encoding/binary"
	"math"
	"math/bits"

	"nhip/dicom/pixel/internal/t81"
	"nhip/dicom/pixel/raster"
	"nhip/dicom/pixel/raster/rastertest"
)

// A testEncoder writes sequential pictures by the definitions of the standard, in
// no hurry: what the decoder is tested against.
type testEncoder struct {
	h, v     []int // sampling factors of the components
	restart  int   // MCUs
	separate bool  // a scan for each component
	step     int   // of every quantization
	marker   byte

	planes [][]float64 // whole MCUs
	widths []int
}

// encode codes a picture whose Samples are the components of the encoder.
func (e *testEncoder) encode(m *raster.Image) []byte {
	be := binary.BigEndian
	b := []byte{0xFF, t81.SOI, 0xFF, t81.DQT, 0, 67, 0}
	for range 64 {
		b = append(b, byte(e.step))
	}
	b = be.AppendUint16(append(b, 0xFF, e.marker), uint16(8+3*m.Samples))
	b = be.AppendUint16(append(b, byte(m.Precision)), uint16(m.Rows))
	b = append(be.AppendUint16(b, uint16(m.Columns)), byte(m.Samples))
	high, wide := 1, 1
	for c := range m.Samples {
		b = append(b, byte(c+1), byte(e.h[c]<<4|e.v[c]), 0)
		high, wide = max(high, e.v[c]), max(wide, e.h[c])
	}
	if e.restart > 0 {
		b = be.AppendUint16(append(b, 0xFF, t81.DRI, 0, 4), uint16(e.restart))
	}
	e.sample(m, high, wide)
	var flat [256]int
	for i := range flat {
		flat[i] = 256 - i
	}
	dc, ac := t81.NewHuffmanCode(flat[:16]), t81.NewHuffmanCode(flat[:])
	b = ac.Append(dc.Append(b, 0, 0), 1, 0)
	all := []int{0, 1, 2, 3}
	scans := [][]int{all[:m.Samples]}
	if e.separate {
		scans = nil
		for c := range m.Samples {
			scans = append(scans, []int{c})
		}
	}
	for _, components := range scans {
		b = append(b, 0xFF, t81.SOS, 0, byte(6+2*len(components)), byte(len(components)))
		for _, c := range components {
			b = append(b, byte(c+1), 0)
		}
		w := &blockWriter{dc: dc, ac: ac, step: float64(e.step), center: math.Exp2(float64(m.Precision - 1))}
		w.Out = append(b, 0, 63, 0)
		e.scan(w, m, components, high, wide)
		w.Flush()
		b = w.Out
	}
	return append(b, 0xFF, t81.EOI)
}

// sample makes the planes: every subsampled sample is the mean of what it covers.
func (e *testEncoder) sample(m *raster.Image, high, wide int) {
	for c := range m.Samples {
		h, v := e.h[c], e.v[c]
		width, height := ceil(m.Columns, 8*wide)*8*h, ceil(m.Rows, 8*high)*8*v
		p := make([]float64, width*height)
		for y := range height {
			for x := range width {
				sum := 0.0
				for dy := range high / v {
					for dx := range wide / h {
						sx, sy := min(x*wide/h+dx, m.Columns-1), min(y*high/v+dy, m.Rows-1)
						sum += float64(rastertest.Sample(m, (sy*m.Columns+sx)*m.Samples+c))
					}
				}
				p[y*width+x] = sum / float64(high/v*(wide/h))
			}
		}
		e.planes, e.widths = append(e.planes, p), append(e.widths, width)
	}
}

func (e *testEncoder) scan(w *blockWriter, m *raster.Image, components []int, high, wide int) {
	rows, columns := ceil(m.Rows, 8*high), ceil(m.Columns, 8*wide)
	if c := components[0]; len(components) == 1 {
		rows, columns = ceil(ceil(m.Rows*e.v[c], high), 8), ceil(ceil(m.Columns*e.h[c], wide), 8)
	}
	for mcu := range rows * columns {
		if e.restart > 0 && mcu > 0 && mcu%e.restart == 0 {
			w.Flush()
			w.Out = append(w.Out, 0xFF, t81.RST0+byte((mcu/e.restart-1)%8))
			w.predicted = [4]int{}
		}
		for _, c := range components {
			h, v := e.h[c], e.v[c]
			if len(components) == 1 {
				h, v = 1, 1
			}
			for y := range v {
				for x := range h {
					at := (mcu/columns*v+y)*8*e.widths[c] + (mcu%columns*h+x)*8
					w.block(c, e.planes[c][at:], e.widths[c])
				}
			}
		}
	}
}

type blockWriter struct {
	t81.BitWriter
	dc, ac       *t81.HuffmanCode
	step, center float64
	predicted    [4]int
}

func (w *blockWriter) block(c int, in []float64, stride int) {
	var q [64]int
	for k := range q {
		q[k] = int(math.Round(forward(in, stride, int(zigzag[k]), w.center) / w.step))
	}
	difference := q[0] - w.predicted[c]
	w.predicted[c] = q[0]
	w.value(w.dc, 0, difference)
	run := 0
	for _, v := range q[1:] {
		if v == 0 {
			run++
			continue
		}
		for ; run > 15; run -= 16 {
			w.value(w.ac, 0xF0, 0)
		}
		w.value(w.ac, run<<4, v)
		run = 0
	}
	if run > 0 {
		w.value(w.ac, 0, 0)
	}
}

func (w *blockWriter) value(h *t81.HuffmanCode, high, v int) {
	size := bits.Len(uint(max(v, -v)))
	if v < 0 {
		v--
	}
	symbol := high | size
	w.Bits = w.Bits<<h.Length[symbol] | uint64(h.Code[symbol])
	w.N += int(h.Length[symbol])
	w.Drain()
	w.Bits = w.Bits<<size | uint64(v)&(1<<size-1)
	w.N += size
	w.Drain()
}

// forward is a coefficient by T.81 section A.3.3.
func forward(in []float64, stride, at int, center float64) float64 {
	u, v := at%8, at/8
	sum := 0.0
	for y := range 8 {
		line := 0.0
		for x := range 8 {
			line += (in[y*stride+x] - center) * cosine[u][x]
		}
		sum += line * cosine[v][y]
	}
	scale := 0.25
	if u == 0 {
		scale *= math.Sqrt2 / 2
	}
	if v == 0 {
		scale *= math.Sqrt2 / 2
	}
	return sum * scale
}

var cosine = func() (t [8][8]float64) {
	for u := range t {
		for x := range t[u] {
			t[u][x] = math.Cos(float64((2*x+1)*u) * math.Pi / 16)
		}
	}
	return t
}()
