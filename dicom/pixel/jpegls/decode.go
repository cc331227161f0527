package jpegls

import (
	"encoding/binary"
	"fmt"

	"nhip/dicom/pixel/raster"
)

// Decode decodes one JPEG-LS picture. Samples of 2 to 8 bits come in 8 bits
// allocated, more in 16. Memory grows with the lines that were decoded, so that a
// short stream cannot make much of it whatever size it declares. What follows the
// end of the picture is not looked at; a stream that ends before its last sample,
// or has data left after it, is an error. Errors are *raster.FormatError,
// *raster.UnsupportedError and *raster.LimitError.
func Decode(b []byte, l raster.Limits) (*raster.Image, error) {
	d := decoder{data: b, limits: l}
	if err := d.decode(); err != nil {
		return nil, err
	}
	return d.image, nil
}

// A decoder goes through the marker segments of one picture.
type decoder struct {
	data   []byte
	at     int
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
	if len(d.data) < 2 || d.data[0] != 0xFF || d.data[1] != markerSOI {
		return formatError("no SOI marker at the start: this is no JPEG stream")
	}
	d.at = 2
	for {
		marker, segment, err := d.segment()
		if err != nil {
			return err
		}
		if marker == markerSOS {
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

// segment returns the next marker and the parameters behind its length.
func (d *decoder) segment() (byte, []byte, error) {
	for d.at+1 < len(d.data) && d.data[d.at] == 0xFF && d.data[d.at+1] == 0xFF {
		d.at++ // fill bytes, T.81 section B.1.1.2
	}
	rest := d.data[d.at:]
	if len(rest) < 2 {
		return 0, nil, truncated("before its last scan")
	}
	if rest[0] != 0xFF {
		return 0, nil, formatError(fmt.Sprintf("byte %02X where a marker should be", rest[0]))
	}
	if rest[1] == markerEOI {
		return 0, nil, formatError("EOI marker before every component was decoded")
	}
	if rest[1] <= 0x01 || rest[1] >= markerRST0 && rest[1] <= markerSOI {
		return 0, nil, formatError(fmt.Sprintf("marker FF%02X out of place", rest[1]))
	}
	if len(rest) < 4 {
		return 0, nil, truncated("in a marker segment")
	}
	length := int(binary.BigEndian.Uint16(rest[2:]))
	if length < 2 {
		return 0, nil, formatError(fmt.Sprintf("marker segment FF%02X of length %d", rest[1], length))
	}
	if length+2 > len(rest) {
		return 0, nil, truncated("in a marker segment")
	}
	d.at += 2 + length
	return rest[1], rest[4 : 2+length], nil
}

// header takes every segment but the scan header.
func (d *decoder) header(marker byte, s []byte) error {
	switch {
	case marker == markerSOF:
		return d.frame(s)
	case marker == markerLSE:
		return d.lse(s)
	case marker == markerDRI:
		return d.restartInterval(s)
	case marker == markerDNL:
		return unsupported("a number of lines that is defined after the scan (DNL)")
	case marker == markerAPP8 && len(s) >= 5 && string(s[:4]) == "mrfx" && s[4] != 0:
		return unsupported("the HP colour transform (not in T.87)")
	case marker == markerAPP0 && len(s) >= 5 && string(s[:5]) == "JFIF\x00":
		d.colour = raster.ColourYCbCr
	case marker == markerAPPE && len(s) >= 12 && string(s[:5]) == "Adobe":
		d.colour = [3]raster.Colour{raster.ColourRGB, raster.ColourYCbCr, raster.ColourYCCK}[min(s[11], 2)]
	case marker >= 0xC0 && marker <= 0xCF:
		return unsupported(fmt.Sprintf("marker FF%02X: this is JPEG, not JPEG-LS", marker))
	case marker >= markerAPP0 && marker <= markerAPP0+15 || marker == markerCOM:
	default:
		return unsupported(fmt.Sprintf("marker segment FF%02X", marker))
	}
	return nil
}

// frame is SOF55, T.87 section C.2.2.
func (d *decoder) frame(s []byte) error {
	if d.image != nil {
		return formatError("a second frame header")
	}
	if len(s) < 6 || len(s) != 6+3*int(s[5]) {
		return formatError("frame header of a wrong length")
	}
	m := &raster.Image{
		Precision: int(s[0]),
		Rows:      int(binary.BigEndian.Uint16(s[1:])),
		Columns:   int(binary.BigEndian.Uint16(s[3:])),
		Samples:   int(s[5]),
	}
	switch {
	case m.Precision < 2 || m.Precision > 16:
		return formatError(fmt.Sprintf("a precision of %d bits", m.Precision))
	case m.Samples < 1:
		return formatError("no components")
	case m.Samples > 4:
		return unsupported(fmt.Sprintf("%d components", m.Samples))
	case m.Rows == 0 || m.Columns == 0:
		return unsupported("a size that the frame header does not say (DNL, or over 65535)")
	}
	m.BitsAllocated = 8
	if m.Precision > 8 {
		m.BitsAllocated = 16
	}
	for c := 6; c < len(s); c += 3 {
		if s[c+1] != 0x11 && m.Samples > 1 {
			return unsupported("subsampled components")
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
		return formatError("an empty LSE segment")
	}
	switch s[0] {
	case 1:
		if len(s) != 11 {
			return formatError("preset coding parameters of a wrong length")
		}
		v := func(i int) int { return int(binary.BigEndian.Uint16(s[1+2*i:])) }
		d.preset = Preset{MaxVal: v(0), T1: v(1), T2: v(2), T3: v(3), Reset: v(4)}
		return nil
	case 2, 3:
		return unsupported("mapping tables")
	case 4:
		return unsupported("sizes over 65535")
	}
	return unsupported(fmt.Sprintf("LSE segment of type %d", s[0]))
}

// restartInterval is DRI, T.87 section C.2.5: two to four bytes, in lines.
func (d *decoder) restartInterval(s []byte) error {
	if len(s) < 2 || len(s) > 4 {
		return formatError("restart interval of a wrong length")
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
		return formatError("a scan before the frame header")
	}
	if len(s) < 1 || s[0] < 1 || len(s) != 4+2*int(s[0]) {
		return formatError("scan header of a wrong length")
	}
	count := int(s[0])
	var components []int
	for i := range count {
		c, err := d.component(s[1+2*i])
		if err != nil {
			return err
		}
		if s[2+2*i] != 0 {
			return unsupported("mapping tables")
		}
		components = append(components, c)
	}
	near, interleave, transform := int(s[1+2*count]), Interleave(s[2+2*count]), s[3+2*count]
	switch {
	case transform != 0:
		return unsupported("a point transform")
	case interleave > InterleaveSample:
		return formatError(fmt.Sprintf("interleave mode %d", interleave))
	case interleave == InterleaveNone && count > 1:
		return formatError(fmt.Sprintf("%d components in a scan that interleaves none", count))
	}
	p, err := newParameters(d.image.Precision, near, d.preset)
	if err != nil {
		return formatError(err.Error())
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
	return 0, formatError(fmt.Sprintf("a scan of component %d, which is not in the frame or was decoded", id))
}

// samples decodes the entropy-coded data of a scan.
func (d *decoder) samples(p parameters, components []int, interleave Interleave) error {
	m := newModel(p)
	defer models.Put(m)
	s := scanDecoder{
		model:     m,
		bitReader: bitReader{data: d.data, at: d.at},
		lines:     newLines(d.image.Columns, len(components)),
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
		d.put(row, components, s.lines)
		s.swap()
	}
	// An encoder pads the last byte, and a stuffed one may follow it.
	if left := s.rest(); left > 2 {
		return formatError(fmt.Sprintf("%d bytes are left after the last sample", left))
	}
	d.at = s.at
	return nil
}

// put writes a decoded line into the image, which grows by what is there.
func (d *decoder) put(row int, components []int, lines *lines) {
	m := d.image
	size := m.Columns * m.Samples * m.BitsAllocated / 8
	if end := (row + 1) * size; end > len(m.Pix) {
		if end > cap(m.Pix) {
			room := min(m.Rows*size, max(end, 2*cap(m.Pix), 4*len(d.data)))
			m.Pix = append(make([]byte, 0, room), m.Pix...)
		}
		m.Pix = m.Pix[:end]
	}
	out := m.Pix[row*size : (row+1)*size]
	for i, c := range components {
		line := lines.current[i][1 : m.Columns+1]
		switch {
		case m.BitsAllocated == 16 && m.Samples == 1:
			for x, v := range line {
				binary.LittleEndian.PutUint16(out[2*x:], v)
			}
		case m.BitsAllocated == 16:
			for x, v := range line {
				binary.LittleEndian.PutUint16(out[2*(x*m.Samples+c):], v)
			}
		default:
			for x, v := range line {
				out[x*m.Samples+c] = byte(v)
			}
		}
	}
}

// lines are the line that is coded and the one above it, of each component of a
// scan, with an edge on either side, T.87 section A.2.1.
type lines struct{ above, current [][]uint16 }

func newLines(columns, components int) *lines {
	l := &lines{make([][]uint16, components), make([][]uint16, components)}
	for c := range components {
		l.above[c] = make([]uint16, columns+2)
		l.current[c] = make([]uint16, columns+2)
	}
	return l
}

// edges sets the samples outside the image for the current line.
func (l *lines) edges() {
	for c := range l.current {
		above := l.above[c]
		l.current[c][0] = above[1]
		above[len(above)-1] = above[len(above)-2]
	}
}

func (l *lines) swap() { l.above, l.current = l.current, l.above }

// clear makes the lines as they are above the image.
func (l *lines) clear() {
	for c := range l.above {
		clear(l.above[c])
		clear(l.current[c])
	}
}
