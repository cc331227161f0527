package jpegls

import (
	"encoding/binary"

	"nhip/dicom/pixel/internal/lines"
	"nhip/dicom/pixel/internal/t81"
	"nhip/dicom/pixel/raster"
)

// Decode decodes one JPEG-LS picture. Samples of 2 to 8 bits come in 8 bits
// allocated, more in 16. Memory grows with the lines that were decoded, so that a
// short stream cannot make much of it whatever size it declares. What follows the
// end of the picture is not looked at; a stream that ends before its last sample,
// or has data left after it, is an error. Errors are *raster.FormatError,
// *raster.UnsupportedError and *raster.LimitError.
func Decode(b []byte, l raster.Limits) (*raster.Image, error) {
	d := decoder{Stream: t81.Stream{Codec: codec, Data: b}, limits: l}
	if err := d.decode(); err != nil {
		return nil, err
	}
	return d.image, nil
}

// A decoder goes through the marker segments of one picture.
type decoder struct {
	t81.Stream
	limits raster.Limits

	image    *raster.Image // nil before SOF
	ids      []byte        // of the components
	done     []bool        // components
	preset   Preset
	interval int // lines between restart markers
	colour   raster.Colour
}

// decode reads the segments in the order of T.87 section C.1.
func (d *decoder) decode() error {
	if err := d.Start(); err != nil {
		return err
	}
	for {
		marker, segment, err := d.Next()
		if err != nil {
			return err
		}
		if marker == t81.SOS {
			err = d.scan(segment)
		} else {
			err = d.header(marker, segment)
		}
		if err != nil {
			return err
		}
		if d.image != nil && d.complete() {
			if d.image.Samples > 1 {
				d.image.Colour = d.colour
			}
			return nil
		}
	}
}

func (d *decoder) complete() bool {
	for _, done := range d.done {
		if !done {
			return false
		}
	}
	return true
}

// header takes every segment but the scan header.
func (d *decoder) header(marker byte, s []byte) error {
	switch {
	case marker == markerSOF:
		return d.frame(s)
	case marker == markerLSE:
		return d.lse(s)
	case marker == t81.DRI:
		return d.restartInterval(s)
	case marker == t81.EOI:
		return d.Errorf("EOI marker before every component was decoded")
	case marker == t81.DNL:
		return d.Unsupported("a number of lines that is defined after the scan (DNL)")
	case marker == markerAPP8 && len(s) >= 5 && string(s[:4]) == "mrfx" && s[4] != 0:
		return d.Unsupported("the HP colour transform (not in T.87)")
	case marker >= t81.SOF0 && marker <= t81.SOF15:
		return d.Unsupported("marker FF%02X: this is JPEG, not JPEG-LS", marker)
	case marker >= t81.APP0 && marker <= t81.APP15:
		d.colour = t81.Colour(marker, s, 3, d.colour)
	case marker == t81.COM:
	default:
		return d.Unsupported("marker segment FF%02X", marker)
	}
	return nil
}

// frame is SOF55, T.87 section C.2.2.
func (d *decoder) frame(s []byte) error {
	if d.image != nil {
		return d.Errorf("a second frame header")
	}
	if len(s) < 6 || len(s) != 6+3*int(s[5]) {
		return d.Errorf("frame header of a wrong length")
	}
	m := &raster.Image{
		Precision: int(s[0]),
		Rows:      int(binary.BigEndian.Uint16(s[1:])),
		Columns:   int(binary.BigEndian.Uint16(s[3:])),
		Samples:   int(s[5]),
	}
	switch {
	case m.Precision < 2 || m.Precision > 16:
		return d.Errorf("a precision of %d bits", m.Precision)
	case m.Samples < 1:
		return d.Errorf("no components")
	case m.Samples > 4:
		return d.Unsupported("%d components", m.Samples)
	case m.Rows == 0 || m.Columns == 0:
		return d.Unsupported("a size that the frame header does not say (DNL, or over 65535)")
	}
	m.BitsAllocated = 8
	if m.Precision > 8 {
		m.BitsAllocated = 16
	}
	for c := 6; c < len(s); c += 3 {
		if s[c+1] != 0x11 && m.Samples > 1 {
			return d.Unsupported("subsampled components")
		}
		d.ids = append(d.ids, s[c])
	}
	d.done = make([]bool, m.Samples)
	if err := d.limits.Check(codec, m.Columns, m.Rows, m.Samples, m.BitsAllocated); err != nil {
		return err
	}
	d.image = m
	return nil
}

// lse is a preset parameters segment, T.87 section C.2.4.
func (d *decoder) lse(s []byte) error {
	if len(s) < 1 {
		return d.Errorf("an empty LSE segment")
	}
	switch s[0] {
	case 1:
		if len(s) != 11 {
			return d.Errorf("preset coding parameters of a wrong length")
		}
		v := func(i int) int { return int(binary.BigEndian.Uint16(s[1+2*i:])) }
		d.preset = Preset{MaxVal: v(0), T1: v(1), T2: v(2), T3: v(3), Reset: v(4)}
		return nil
	case 2, 3:
		return d.Unsupported("mapping tables")
	case 4:
		return d.Unsupported("sizes over 65535")
	}
	return d.Unsupported("LSE segment of type %d", s[0])
}

// restartInterval is DRI, T.87 section C.2.5: two to four bytes, in lines.
func (d *decoder) restartInterval(s []byte) error {
	if len(s) < 2 || len(s) > 4 {
		return d.Errorf("restart interval of a wrong length")
	}
	d.interval = 0
	for _, b := range s {
		d.interval = d.interval<<8 | int(b)
	}
	return nil
}

// scan reads a scan header, T.87 section C.2.3, and decodes what follows.
func (d *decoder) scan(s []byte) error {
	if d.image == nil {
		return d.Errorf("a scan before the frame header")
	}
	if len(s) < 1 || s[0] < 1 || len(s) != 4+2*int(s[0]) {
		return d.Errorf("scan header of a wrong length")
	}
	count := int(s[0])
	var components []int
	for i := range count {
		c, err := d.component(s[1+2*i])
		if err != nil {
			return err
		}
		if s[2+2*i] != 0 {
			return d.Unsupported("mapping tables")
		}
		components = append(components, c)
	}
	near, interleave, transform := int(s[1+2*count]), Interleave(s[2+2*count]), s[3+2*count]
	switch {
	case transform != 0:
		return d.Unsupported("a point transform")
	case interleave > InterleaveSample:
		return d.Errorf("interleave mode %d", interleave)
	case interleave == InterleaveNone && count > 1:
		return d.Errorf("%d components in a scan that interleaves none", count)
	}
	p, err := newParameters(d.image.Precision, near, d.preset)
	if err != nil {
		return d.Errorf("%v", err)
	}
	return d.samples(p, components, interleave)
}

// component finds a component by its identifier and marks it as done.
func (d *decoder) component(id byte) (int, error) {
	for c := range d.ids {
		if d.ids[c] != id {
			continue
		}
		if !d.done[c] {
			d.done[c] = true
			return c, nil
		}
	}
	return 0, d.Errorf("a scan of component %d, which is not in the frame or was decoded", id)
}

// samples decodes the entropy-coded data of a scan.
func (d *decoder) samples(p parameters, components []int, interleave Interleave) error {
	m := newModel(p)
	defer models.Put(m)
	s := scanDecoder{
		model:     m,
		bitReader: bitReader{data: d.Data, at: d.At},
		linePair:  newLinePair(d.image.Columns, len(components)),
	}
	if interleave == InterleaveSample && len(components) == 1 {
		interleave = InterleaveLine
	}
	restarts := 0
	for row := range d.image.Rows {
		if d.interval > 0 && row > 0 && row%d.interval == 0 {
			if err := s.restart(restarts); err != nil {
				return err
			}
			restarts = (restarts + 1) % 8
		}
		s.row(interleave)
		if s.err != nil {
			return s.err
		}
		for i, c := range components {
			lines.Put(d.image, row, c, s.current[i][1:], 0, 4*len(d.Data))
		}
		s.swap()
	}
	// An encoder pads the last byte, and a stuffed one may follow it.
	if left := s.rest(); left > 2 {
		return d.Errorf("%d bytes are left after the last sample", left)
	}
	d.At = s.at
	return nil
}

// A linePair is the line that is coded and the one above it, of each component of a
// scan, with an edge on either side, T.87 section A.2.1.
type linePair struct{ above, current [][]uint16 }

func newLinePair(columns, components int) *linePair {
	l := &linePair{make([][]uint16, components), make([][]uint16, components)}
	for c := range components {
		l.above[c] = make([]uint16, columns+2)
		l.current[c] = make([]uint16, columns+2)
	}
	return l
}

// edges sets the samples outside the image for the current line.
func (l *linePair) edges() {
	for c := range l.current {
		above := l.above[c]
		l.current[c][0] = above[1]
		above[len(above)-1] = above[len(above)-2]
	}
}

func (l *linePair) swap() { l.above, l.current = l.current, l.above }

// clear makes the lines as they are above the image.
func (l *linePair) clear() {
	for c := range l.above {
		clear(l.above[c])
		clear(l.current[c])
	}
}
