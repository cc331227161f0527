package rastertest

import (
	"bytes"
	"encoding/binary"
	"os"
	"strconv"
	"testing"

	"nhip/dicom/pixel/raster"
)

// Transfer syntaxes.
const (
	ExplicitLittleEndian = "1.2.840.10008.1.2.1"
	JPEGBaseline         = "1.2.840.10008.1.2.4.50"
	JPEGExtended         = "1.2.840.10008.1.2.4.51"
	JPEGLossless         = "1.2.840.10008.1.2.4.57"
	JPEGLosslessSV1      = "1.2.840.10008.1.2.4.70"
	JPEGLSLossless       = "1.2.840.10008.1.2.4.80"
	JPEGLSNear           = "1.2.840.10008.1.2.4.81"
	RLELossless          = "1.2.840.10008.1.2.5"
)

// A File is what a DICOM file says of its pictures.
type File struct {
	Syntax      string
	Image       raster.Image // the geometry, without Pix
	Frames      int
	Photometric string
	Planar      int
	Native      []byte   // where the syntax is native
	Fragments   [][]byte // where it is not, without the Basic Offset Table
}

// WriteNative writes frames as Explicit VR Little Endian.
func WriteNative(t testing.TB, path string, frames ...*raster.Image) {
	t.Helper()
	var pix []byte
	for _, f := range frames {
		pix = append(pix, f.Pix...)
	}
	b := header(ExplicitLittleEndian, frames[0], len(frames))
	vr := "OW"
	if frames[0].BitsAllocated == 8 {
		vr = "OB"
	}
	write(t, path, element(b, 0x7FE0, 0x0010, vr, pix))
}

// WriteEncapsulated writes one fragment for each frame, whose geometry m has.
func WriteEncapsulated(t testing.TB, path, syntax string, m *raster.Image, frames ...[]byte) {
	t.Helper()
	le := binary.LittleEndian
	b := header(syntax, m, len(frames))
	b = append(b, 0xE0, 0x7F, 0x10, 0x00, 'O', 'B', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF)
	b = append(b, 0xFE, 0xFF, 0x00, 0xE0, 0, 0, 0, 0)
	for _, f := range frames {
		b = append(b, 0xFE, 0xFF, 0x00, 0xE0)
		b = le.AppendUint32(b, uint32(len(f)+len(f)%2))
		b = append(b, f...)
		b = append(b, make([]byte, len(f)%2)...)
	}
	write(t, path, append(b, 0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0))
}

func write(t testing.TB, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// element appends an element in Explicit VR Little Endian.
func element(b []byte, group, number uint16, vr string, value []byte) []byte {
	le := binary.LittleEndian
	if len(value)%2 == 1 {
		pad := byte(' ')
		if vr == "UI" || vr == "OB" {
			pad = 0
		}
		value = append(bytes.Clone(value), pad)
	}
	b = le.AppendUint16(le.AppendUint16(b, group), number)
	b = append(b, vr...)
	if vr == "OB" || vr == "OW" {
		b = le.AppendUint32(append(b, 0, 0), uint32(len(value)))
	} else {
		b = le.AppendUint16(b, uint16(len(value)))
	}
	return append(b, value...)
}

// header is all that stands before the pixel data: of a Secondary Capture, or of
// another class where that must not have signed samples.
func header(syntax string, m *raster.Image, frames int) []byte {
	us := func(v int) []byte { return binary.LittleEndian.AppendUint16(nil, uint16(v)) }
	class, instance := "1.2.840.10008.5.1.4.1.1.7", "1.2.826.0.1.3680043.2.1143.1"
	signed := 0
	if m.Signed {
		signed, class = 1, "1.2.840.10008.5.1.4.1.1.2" // CT Image Storage
	}
	meta := element(nil, 2, 0x0001, "OB", []byte{0, 1})
	meta = element(meta, 2, 0x0002, "UI", []byte(class))
	meta = element(meta, 2, 0x0003, "UI", []byte(instance))
	meta = element(meta, 2, 0x0010, "UI", []byte(syntax))
	meta = element(meta, 2, 0x0012, "UI", []byte("1.2.826.0.1.3680043.2.1143.2"))
	b := append(make([]byte, 128), "DICM"...)
	b = element(b, 2, 0, "UL", binary.LittleEndian.AppendUint32(nil, uint32(len(meta))))
	b = append(b, meta...)
	b = element(b, 8, 0x0016, "UI", []byte(class))
	b = element(b, 8, 0x0018, "UI", []byte(instance))
	b = element(b, 8, 0x0060, "CS", []byte("OT"))
	b = element(b, 0x20, 0x000D, "UI", []byte("1.2.826.0.1.3680043.2.1143.3"))
	b = element(b, 0x20, 0x000E, "UI", []byte("1.2.826.0.1.3680043.2.1143.4"))
	b = element(b, 0x28, 0x0002, "US", us(m.Samples))
	photometric := "MONOCHROME2"
	if m.Samples == 3 {
		photometric = "RGB"
	}
	b = element(b, 0x28, 0x0004, "CS", []byte(photometric))
	if m.Samples > 1 {
		b = element(b, 0x28, 0x0006, "US", us(0))
	}
	if frames > 1 {
		b = element(b, 0x28, 0x0008, "IS", []byte(strconv.Itoa(frames)))
	}
	b = element(b, 0x28, 0x0010, "US", us(m.Rows))
	b = element(b, 0x28, 0x0011, "US", us(m.Columns))
	b = element(b, 0x28, 0x0100, "US", us(m.BitsAllocated))
	b = element(b, 0x28, 0x0101, "US", us(m.Precision))
	b = element(b, 0x28, 0x0102, "US", us(m.Precision-1))
	return element(b, 0x28, 0x0103, "US", us(signed))
}

// Read reads a file of a peer or a sample, little endian. It trusts the file, as
// only a test may.
func Read(t testing.TB, path string) *File {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f := &File{Frames: 1, Image: raster.Image{Samples: 1}}
	p := parser{file: f, explicit: true}
	rest := p.elements(b[132:], true)
	p.explicit = rest[4] >= 'A' && rest[4] <= 'Z' // whatever the syntax says
	p.elements(rest, false)
	return f
}

type parser struct {
	file     *File
	explicit bool
}

const undefined = 0xFFFFFFFF

// elements walks over the elements of group 2, or over all until a delimiter.
func (p *parser) elements(b []byte, meta bool) []byte {
	for len(b) >= 8 {
		if meta && binary.LittleEndian.Uint16(b) != 2 {
			return b
		}
		tag, vr, length, rest := p.header(b)
		switch {
		case tag == 0xFFFEE00D || tag == 0xFFFEE0DD:
			return rest
		case tag == 0x7FE00010 && length == undefined:
			p.file.Fragments = fragments(rest)
			return nil
		case length == undefined || vr == "SQ":
			if length == undefined {
				b = p.sequence(rest, p.explicit && vr != "UN")
			} else {
				b = rest[length:]
			}
		default:
			p.value(tag, rest[:length])
			b = rest[length:]
		}
	}
	return nil
}

func (p *parser) header(b []byte) (tag uint32, vr string, length uint32, rest []byte) {
	le := binary.LittleEndian
	tag = uint32(le.Uint16(b))<<16 | uint32(le.Uint16(b[2:]))
	if tag>>16 == 0xFFFE || !p.explicit {
		return tag, "", le.Uint32(b[4:]), b[8:]
	}
	vr = string(b[4:6])
	switch vr {
	case "OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV":
		return tag, vr, le.Uint32(b[8:]), b[12:]
	}
	return tag, vr, uint32(le.Uint16(b[6:])), b[8:]
}

// sequence walks over the items of an undefined length.
func (p *parser) sequence(b []byte, explicit bool) []byte {
	inside := parser{file: new(File), explicit: explicit}
	for len(b) >= 8 {
		tag, _, length, rest := p.header(b)
		switch {
		case tag == 0xFFFEE0DD:
			return rest
		case length == undefined:
			b = inside.elements(rest, false)
		default:
			b = rest[length:]
		}
	}
	return nil
}

func fragments(b []byte) [][]byte {
	var all [][]byte
	for len(b) >= 8 && b[2] == 0x00 {
		length := binary.LittleEndian.Uint32(b[4:])
		all = append(all, b[8:8+length])
		b = b[8+length:]
	}
	if len(all) == 0 {
		return nil
	}
	return all[1:]
}

func (p *parser) value(tag uint32, v []byte) {
	f := p.file
	us := func() int { return int(binary.LittleEndian.Uint16(v)) }
	switch tag {
	case 0x00020010:
		f.Syntax = string(bytes.TrimRight(v, "\x00 "))
	case 0x00280002:
		f.Image.Samples = us()
	case 0x00280004:
		f.Photometric = string(bytes.TrimRight(v, "\x00 "))
	case 0x00280006:
		f.Planar = us()
	case 0x00280008:
		f.Frames = 0
		for _, c := range bytes.TrimRight(v, "\x00 ") {
			f.Frames = f.Frames*10 + int(c-'0')
		}
	case 0x00280010:
		f.Image.Rows = us()
	case 0x00280011:
		f.Image.Columns = us()
	case 0x00280100:
		f.Image.BitsAllocated = us()
	case 0x00280101:
		f.Image.Precision = us()
	case 0x00280103:
		f.Image.Signed = us() == 1
	case 0x7FE00010:
		f.Native = v
	}
}
