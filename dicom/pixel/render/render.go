// Package render turns decoded frames into pictures for the eye, PS3.3 sections
// C.7.6.3, C.9, C.11: the modality transformation, the VOI transformation (window
// or table), the polarity, palettes and colour spaces, overlays; and into PNG and
// JPEG. It does not calibrate for a display (PS3.14), and the pictures are for
// looking at, not for diagnosis.
package render

import (
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"io"
	"math"

	"nhip/dicom/pixel"
)

// Options are what the viewer wants. The zero Options show a frame as the object
// says, whole and in its size.
type Options struct {
	Window *Window // instead of those of the object
	// View chooses among what the object has: its windows first, then its VOI LUTs,
	// from 0. Where it has none, or no such, the window spans the values of the frame.
	View     int
	Overlays bool // burnt in, white
	// Width and Height, where set, are what the picture has to fit into; it is made
	// smaller, its proportions kept, and never larger.
	Width, Height int
}

// Image returns a frame as it is to be shown: *image.Gray, or *image.NRGBA for
// colours. The frame may be changed.
func Image(f *pixel.Frame, d *Display, o Options) (image.Image, error) {
	if o.Window != nil && !o.Window.usable() {
		return nil, fmt.Errorf("render: a window of center %v and width %v", o.Window.Center, o.Window.Width)
	}
	switch {
	case d.Palette != nil:
		return colours(f, d, o), nil
	case f.Samples == 1:
		return greys(f, d, o), nil
	case f.Samples == 3:
		return colours(f, d, o), nil
	}
	return nil, fmt.Errorf("render: %d samples per pixel", f.Samples)
}

// value returns the value behind the modality transformation.
func (d *Display) value(stored int64) float64 {
	if d.Modality != nil {
		return float64(d.Modality.at(float64(stored)))
	}
	return float64(stored)*d.Slope + d.Intercept
}

// voiOf returns the VOI transformation of a frame, with a result from 0 to 1.
func (d *Display) voiOf(f *pixel.Frame, o Options) func(float64) float64 {
	switch {
	case o.Window != nil:
		return o.Window.apply
	case o.View >= 0 && o.View < len(d.Windows):
		return d.Windows[o.View].apply
	case o.View >= len(d.Windows) && o.View < len(d.Windows)+len(d.VOI):
		l := d.VOI[o.View-len(d.Windows)]
		return func(x float64) float64 { return float64(l.at(x)) / l.most() }
	}
	return d.Automatic(f).apply
}

// Automatic returns the window that spans the values of a frame, those of padding
// left out.
func (d *Display) Automatic(f *pixel.Frame) Window {
	low, high := int64(math.MaxInt64), int64(math.MinInt64)
	for i := range f.Columns * f.Rows {
		v := f.Value(f.Cell(i))
		if d.Padding != nil && d.Padding.has(v) {
			continue
		}
		low, high = min(low, v), max(high, v)
	}
	if low > high {
		low, high = 0, 0
	}
	a, b := d.value(low), d.value(high)
	if d.Modality != nil { // which need not be monotonic
		a, b = d.Modality.span(low, high)
	}
	return spanning(min(a, b), max(a, b))
}

// span returns the least and the greatest entry for values from low to high.
func (l *LUT) span(low, high int64) (float64, float64) {
	a, b := l.at(float64(low)), l.at(float64(low))
	first := max(low-int64(l.First), 0)
	for i := first; i <= high-int64(l.First) && i < int64(len(l.Entries)); i++ {
		a, b = min(a, l.Entries[i]), max(b, l.Entries[i])
	}
	return float64(a), float64(b)
}

func (p *Padding) has(v int64) bool { return v >= p.Low && v <= p.High }

// shades returns what makes a cell a shade of grey. Padding is black, whatever
// the polarity.
func (d *Display) shades(f *pixel.Frame, o Options) func(cell uint32) uint8 {
	voi := d.voiOf(f, o)
	shade := func(cell uint32) uint8 {
		v := f.Value(cell)
		if d.Padding != nil && d.Padding.has(v) {
			return 0
		}
		y := uint8(voi(d.value(v))*255 + 0.5)
		if d.Inverse {
			return 255 - y
		}
		return y
	}
	if f.BitsAllocated > 16 || f.Columns*f.Rows < 1<<f.BitsAllocated {
		return shade
	}
	table := make([]uint8, 1<<f.BitsAllocated)
	for cell := range table {
		table[cell] = shade(uint32(cell))
	}
	return func(cell uint32) uint8 { return table[cell] }
}

// greys renders one sample per pixel.
func greys(f *pixel.Frame, d *Display, o Options) image.Image {
	m := image.NewGray(image.Rect(0, 0, f.Columns, f.Rows))
	shade := d.shades(f, o)
	for i := range m.Pix {
		m.Pix[i] = shade(f.Cell(i))
	}
	if o.Overlays {
		for i := range d.Overlays {
			d.Overlays[i].each(f, func(row, column int) { m.Pix[row*m.Stride+column] = 255 })
		}
	}
	w, h := fit(f.Columns, f.Rows, o)
	if w == f.Columns && h == f.Rows {
		return m
	}
	small := image.NewGray(image.Rect(0, 0, w, h))
	shrink(small.Pix, m.Pix, w, h, f.Columns, f.Rows, 1)
	return small
}

// colours renders three samples per pixel, or one with a palette.
func colours(f *pixel.Frame, d *Display, o Options) image.Image {
	f.RGB()
	m := image.NewNRGBA(image.Rect(0, 0, f.Columns, f.Rows))
	for i := range f.Columns * f.Rows {
		c := d.colour(f, i)
		copy(m.Pix[4*i:], []uint8{c[0], c[1], c[2], 255})
	}
	if o.Overlays {
		for i := range d.Overlays {
			d.Overlays[i].each(f, func(row, column int) {
				copy(m.Pix[row*m.Stride+4*column:], []uint8{255, 255, 255})
			})
		}
	}
	w, h := fit(f.Columns, f.Rows, o)
	if w == f.Columns && h == f.Rows {
		return m
	}
	small := image.NewNRGBA(image.Rect(0, 0, w, h))
	shrink(small.Pix, m.Pix, w, h, f.Columns, f.Rows, 4)
	return small
}

// colour returns the colours of pixel i in 8 bits.
func (d *Display) colour(f *pixel.Frame, i int) (c [3]uint8) {
	if d.Palette != nil {
		return d.Palette.colour(float64(f.Value(f.Cell(i))))
	}
	most := int64(1)<<f.BitsStored - 1
	for s := range c {
		v := f.Value(f.Cell(3*i + s))
		if f.Signed {
			v += 1 << (f.BitsStored - 1)
		}
		c[s] = uint8((v*255 + most/2) / most)
	}
	return c
}

// Raw returns the stored values of a frame of one sample per pixel in 16 bits,
// signed ones with half of the range added, for further computation. Values of
// more than 16 bits lose the low ones.
func Raw(f *pixel.Frame) (*image.Gray16, error) {
	if f.Samples != 1 {
		return nil, fmt.Errorf("render: %d samples per pixel are no grey values", f.Samples)
	}
	m := image.NewGray16(image.Rect(0, 0, f.Columns, f.Rows))
	for i := range f.Columns * f.Rows {
		v := f.Value(f.Cell(i))
		if f.Signed {
			v += 1 << (f.BitsStored - 1)
		}
		v >>= max(f.BitsStored-16, 0)
		m.Pix[2*i], m.Pix[2*i+1] = uint8(v>>8), uint8(v)
	}
	return m, nil
}

// WritePNG writes a picture of Image or Raw.
func WritePNG(w io.Writer, m image.Image) error { return png.Encode(w, m) }

// WriteJPEG writes a picture of Image, of quality 1 to 100.
func WriteJPEG(w io.Writer, m image.Image, quality int) error {
	return jpeg.Encode(w, m, &jpeg.Options{Quality: min(max(quality, 1), 100)})
}
