package modality

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	"nhip/dicom"
	"nhip/dicom/film"
	"nhip/dicom/sc"
	"nhip/dicom/tag"
)

// MostSheet is how many pixels a composed film has at most: a larger one is made
// smaller as a whole. A film of one image keeps the pixels of the image.
const MostSheet = 36 << 20

// A sheet is a film as one picture: the images in their places, each as large as its
// place allows, in the order of the display format.
type sheet struct {
	width, height int
	color         bool
	bits          int      // of a sample: 8 of colour, 8 to 16 else
	samples       []uint16 // by pixel
}

// A picture is the image of one image box, ready to be placed.
type picture struct {
	width, height int
	samples       []uint16 // by pixel, one or three
}

// compose makes a film one picture. open opens the pixel data of an image.
func compose(f film.Film, open func(*film.Image) (io.ReadCloser, error)) (*sheet, error) {
	s := &sheet{color: f.Color, bits: 8}
	most := [2]int{}
	for _, box := range f.Images {
		if i := box.Image; i != nil {
			s.bits = max(s.bits, stored(i))
			most[0], most[1] = max(most[0], i.Columns), max(most[1], i.Rows)
		}
	}
	if most[0] == 0 {
		return nil, errors.New("the film has no image")
	}
	cells := s.layOut(f.Format, most)
	s.samples = make([]uint16, s.width*s.height*s.channels())
	if strings.TrimSpace(f.Box.Text(tag.BorderDensity)) == "WHITE" {
		s.fill()
	}
	for _, box := range f.Images {
		if box.Image == nil {
			continue
		}
		p, err := s.picture(f, box, open)
		if err != nil {
			return nil, err
		}
		s.place(p, cells[box.Position-1])
	}
	return s, nil
}

func (s *sheet) channels() int {
	if s.color {
		return 3
	}
	return 1
}

// fill makes the sheet white.
func (s *sheet) fill() {
	for i := range s.samples {
		s.samples[i] = uint16(1<<s.bits - 1)
	}
}

// A cell is the place of an image box.
type cell struct{ x, y, width, height int }

// layOut gives the sheet its size, and each image box its place.
func (s *sheet) layOut(f film.Format, most [2]int) []cell {
	along, across := 0, len(f.Rows) // boxes in the longest row, and rows
	for _, n := range f.Rows {
		along = max(along, n)
	}
	if f.Columns {
		along, across = across, along
	}
	s.width, s.height = most[0]*along, most[1]*across
	if n := float64(s.width) * float64(s.height); n > MostSheet {
		by := math.Sqrt(MostSheet / n)
		s.width, s.height = max(int(float64(s.width)*by), along), max(int(float64(s.height)*by), across)
	}
	var cells []cell
	for i, n := range f.Rows {
		for j := range n {
			if f.Columns {
				cells = append(cells, between(i, len(f.Rows), j, n, s.width, s.height))
			} else {
				cells = append(cells, between(j, n, i, len(f.Rows), s.width, s.height))
			}
		}
	}
	return cells
}

// between is the cell in column i of m and row j of n.
func between(i, m, j, n, width, height int) cell {
	x, y := i*width/m, j*height/n
	return cell{x, y, (i+1)*width/m - x, (j+1)*height/n - y}
}

// stored is Bits Stored of an image, 8 to 16.
func stored(i *film.Image) int {
	n, ok := i.Attributes.Int(tag.BitsStored)
	if !ok || n < 1 || n > int64(i.Allocated) {
		return i.Allocated
	}
	return max(int(n), 8)
}

// picture reads an image as it is to be shown: black is 0.
func (s *sheet) picture(f film.Film, box film.ImageBox, open func(*film.Image) (io.ReadCloser, error)) (*picture, error) {
	i := box.Image
	r, err := open(i)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	raw := make([]byte, i.Length)
	if _, err := io.ReadFull(r, raw); err != nil {
		return nil, err
	}
	if i.Samples != s.channels() {
		return nil, fmt.Errorf("an image of %d samples a pixel", i.Samples)
	}
	p := &picture{width: i.Columns, height: i.Rows, samples: make([]uint16, i.Rows*i.Columns*i.Samples)}
	bits, _ := i.Attributes.Int(tag.BitsStored)
	if bits < 1 || bits > int64(i.Allocated) {
		bits = int64(i.Allocated)
	}
	show := shades(f, box, int(bits), s.bits)
	plane := i.Rows * i.Columns
	planar, _ := i.Attributes.Int(tag.PlanarConfiguration)
	for n := range p.samples {
		from := n
		if i.Samples == 3 && planar == 1 {
			from = n%3*plane + n/3
		}
		var v uint16
		if i.Allocated == 8 {
			v = uint16(raw[from])
		} else {
			v = binary.LittleEndian.Uint16(raw[2*from:])
		}
		p.samples[n] = show[int(v)&(len(show)-1)]
	}
	return p, nil
}

// shades gives for every stored value the value on the sheet: presentation LUT,
// photometric interpretation, polarity, and the bits of the sheet.
func shades(f film.Film, box film.ImageBox, from, to int) []uint16 {
	show := make([]uint16, 1<<from)
	last := float64(len(show) - 1)
	lut := f.LUT(box.Attributes)
	if lut == nil {
		lut = f.LUT(f.Box)
	}
	curve := lutOf(lut)
	if curve == nil && box.Image.Attributes.Text(tag.PhotometricInterpretation) == "MONOCHROME1" {
		curve = inverse
	}
	reverse := box.Attributes != nil && strings.TrimSpace(box.Attributes.Text(tag.Polarity)) == "REVERSE"
	for v := range show {
		part := float64(v) / last
		if curve != nil {
			part = curve(part)
		}
		if reverse {
			part = inverse(part)
		}
		show[v] = uint16(math.Round(part * float64(int(1)<<to-1)))
	}
	return show
}

func inverse(v float64) float64 { return 1 - v }

// lutOf is a presentation LUT as a function of 0 to 1, PS3.3 section C.11.4; nil where
// it changes nothing that can be seen on a screen: IDENTITY, LIN OD.
func lutOf(d *dicom.Dataset) func(float64) float64 {
	if d == nil {
		return nil
	}
	if strings.TrimSpace(d.Text(tag.PresentationLUTShape)) == "INVERSE" {
		return inverse
	}
	for _, item := range d.Items(tag.PresentationLUTSequence) {
		descriptor := item.Ints(tag.LUTDescriptor)
		data := item.Bytes(tag.LUTData)
		if len(descriptor) != 3 || descriptor[2] < 8 || descriptor[2] > 16 || len(data) < 4 {
			return nil
		}
		n := len(data) / 2
		full := float64(int(1)<<descriptor[2] - 1)
		return func(v float64) float64 {
			at := int(math.Round(v * float64(n-1)))
			return min(float64(binary.LittleEndian.Uint16(data[2*at:]))/full, 1)
		}
	}
	return nil
}

// place puts a picture into its cell, as large as it fits, in the middle.
func (s *sheet) place(p *picture, c cell) {
	by := min(float64(c.width)/float64(p.width), float64(c.height)/float64(p.height))
	width, height := max(int(float64(p.width)*by), 1), max(int(float64(p.height)*by), 1)
	left, top := c.x+(c.width-width)/2, c.y+(c.height-height)/2
	n := s.channels()
	for y := range height {
		row := s.samples[((top+y)*s.width+left)*n:]
		for x := range width {
			for k := range n {
				row[x*n+k] = p.at((float64(x)+0.5)/by-0.5, (float64(y)+0.5)/by-0.5, k, n)
			}
		}
	}
}

// at is the value between pixels, of one channel.
func (p *picture) at(x, y float64, k, n int) uint16 {
	x, y = min(max(x, 0), float64(p.width-1)), min(max(y, 0), float64(p.height-1))
	x0, y0 := int(x), int(y)
	x1, y1 := min(x0+1, p.width-1), min(y0+1, p.height-1)
	fx, fy := x-float64(x0), y-float64(y0)
	get := func(x, y int) float64 { return float64(p.samples[(y*p.width+x)*n+k]) }
	above := get(x0, y0)*(1-fx) + get(x1, y0)*fx
	below := get(x0, y1)*(1-fx) + get(x1, y1)*fx
	return uint16(math.Round(above*(1-fy) + below*fy))
}

// pixels is the sheet as the pixel data of a Secondary Capture Image.
func (s *sheet) pixels() sc.Pixels {
	p := sc.Pixels{Rows: s.height, Columns: s.width, Frames: 1, Samples: s.channels(), BitsAllocated: 8, BitsStored: s.bits}
	if s.bits > 8 {
		p.BitsAllocated = 16
	}
	size := p.BitsAllocated / 8
	p.Data = make([]byte, len(s.samples)*size, len(s.samples)*size+1)
	for i, v := range s.samples {
		if size == 1 {
			p.Data[i] = byte(v)
		} else {
			binary.LittleEndian.PutUint16(p.Data[2*i:], v)
		}
	}
	return p
}
