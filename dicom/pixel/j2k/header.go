package j2k

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"

	"nhip/dicom/pixel/raster"
)

const codec = "j2k"

// A Header is what the SIZ marker segment of a codestream says, ISO/IEC 15444-1
// annex A.5.1, of an image all of whose components are alike and not subsampled.
type Header struct {
	Columns, Rows, Samples int
	Precision              int // 1 to 38
	Signed                 bool
}

// ParseHeader reads the header of a codestream, or of a JP2 file with one in it.
// It allocates nothing of the image's size.
func ParseHeader(b []byte) (Header, error) {
	b, err := codestream(b)
	if err != nil {
		return Header{}, err
	}
	return parseSIZ(b)
}

// parseSIZ reads the SIZ marker segment, which follows SOC at once.
func parseSIZ(b []byte) (Header, error) {
	const fixed = 4 + 38 // SOC, SIZ, then the segment up to Csiz
	if len(b) < fixed {
		return Header{}, &raster.FormatError{Codec: codec, What: "the stream ends inside the SIZ marker segment", Err: io.ErrUnexpectedEOF}
	}
	be := binary.BigEndian
	length, n := int(be.Uint16(b[4:])), int(be.Uint16(b[40:]))
	switch {
	case n == 0 || length != 38+3*n:
		return Header{}, &raster.FormatError{Codec: codec, What: fmt.Sprintf("the SIZ marker segment of %d components is %d bytes long", n, length)}
	case n > 4:
		return Header{}, &raster.UnsupportedError{Codec: codec, What: fmt.Sprintf("%d components", n)}
	case len(b) < 4+length:
		return Header{}, &raster.FormatError{Codec: codec, What: "the stream ends inside the SIZ marker segment", Err: io.ErrUnexpectedEOF}
	}
	x, y, x0, y0 := be.Uint32(b[8:]), be.Uint32(b[12:]), be.Uint32(b[16:]), be.Uint32(b[20:])
	if x <= x0 || y <= y0 || x-x0 > 65535 || y-y0 > 65535 {
		return Header{}, &raster.FormatError{Codec: codec, What: fmt.Sprintf("the image area is from %d,%d to %d,%d", x0, y0, x, y)}
	}
	components := b[42 : 42+3*n]
	h := Header{
		Columns: int(x - x0), Rows: int(y - y0), Samples: n,
		Precision: int(components[0]&0x7F) + 1, Signed: components[0]&0x80 != 0,
	}
	for i := range n {
		c := components[3*i:]
		if c[0] != components[0] || c[1] != 1 || c[2] != 1 {
			return Header{}, &raster.UnsupportedError{Codec: codec, What: "components of different precision, or subsampled ones"}
		}
	}
	return h, nil
}

var (
	startOfCodestream = []byte{0xFF, 0x4F, 0xFF, 0x51} // SOC, SIZ
	jp2Signature      = []byte("\x00\x00\x00\x0CjP  \r\n\x87\n")
)

// codestream returns the codestream in b. DICOM has it bare (PS3.5 annex A.4.4);
// some writers put a whole JP2 file into a fragment, of whose boxes (ISO/IEC
// 15444-1 annex I) the first codestream counts and the others are not looked at.
func codestream(b []byte) ([]byte, error) {
	if bytes.HasPrefix(b, startOfCodestream) {
		return b, nil
	}
	if !bytes.HasPrefix(b, jp2Signature) {
		return nil, &raster.FormatError{Codec: codec, What: "the stream does not begin with SOC and SIZ"}
	}
	for len(b) >= 8 {
		head, length := uint64(8), uint64(binary.BigEndian.Uint32(b))
		kind := string(b[4:8])
		switch {
		case length == 0:
			length = uint64(len(b))
		case length == 1 && len(b) >= 16:
			head, length = 16, binary.BigEndian.Uint64(b[8:])
		}
		if length < head || length > uint64(len(b)) {
			break
		}
		if kind == "jp2c" && bytes.HasPrefix(b[head:length], startOfCodestream) {
			return b[head:length], nil
		}
		b = b[length:]
	}
	return nil, &raster.FormatError{Codec: codec, What: "a JP2 file without a codestream"}
}
