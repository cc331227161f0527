package dicom

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"nhip/dicom/tag"
)

// What the File Meta Information names as its writer, PS3.10 section 7.1. They
// are constants for ever, and no AE title or time is written: equal data sets
// make equal files.
const (
	fileImplementationClassUID    = "2.25.139531503795608182785945850792750828681"
	fileImplementationVersionName = "NHIP_1"
)

// WritePart10Header writes what stands before the data set in a DICOM file:
// preamble of zeroes, prefix, File Meta Information (PS3.10 section 7.1).
func WritePart10Header(w io.Writer, sopClassUID, sopInstanceUID, transferSyntaxUID string) error {
	meta := appendMeta(nil, 0x0001, "OB", []byte{0, 1})
	meta = appendMeta(meta, 0x0002, "UI", []byte(sopClassUID))
	meta = appendMeta(meta, 0x0003, "UI", []byte(sopInstanceUID))
	meta = appendMeta(meta, 0x0010, "UI", []byte(transferSyntaxUID))
	meta = appendMeta(meta, 0x0012, "UI", []byte(fileImplementationClassUID))
	meta = appendMeta(meta, 0x0013, "SH", []byte(fileImplementationVersionName))
	b := append(make([]byte, 128, 512), "DICM"...)
	b = appendMeta(b, 0x0000, "UL", binary.LittleEndian.AppendUint32(nil, uint32(len(meta))))
	_, err := w.Write(append(b, meta...))
	return err
}

// appendMeta appends an element of group 0002 in Explicit VR Little Endian,
// padded with NUL to even length: only UIDs need it.
func appendMeta(b []byte, element uint16, vr string, value []byte) []byte {
	pad := len(value) % 2
	b = append(b, 2, 0, byte(element), byte(element>>8))
	b = append(b, vr...)
	if vr == "OB" {
		b = append(b, 0, 0)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(value)+pad))
	} else {
		b = binary.LittleEndian.AppendUint16(b, uint16(len(value)+pad))
	}
	b = append(b, value...)
	return append(b, make([]byte, pad)...)
}

// Meta is what the File Meta Information of a file says.
type Meta struct {
	SOPClassUID       string // media storage SOP class
	SOPInstanceUID    string // media storage SOP instance
	TransferSyntaxUID string
	DataSet           int64 // offset of the data set in the file
}

// maxMeta bounds the File Meta Information that is read.
const maxMeta = 64 << 10

// ReadPart10 reads the preamble and the File Meta Information of a DICOM file.
// The group length is not believed: group 0002 ends where another group begins.
// A file without prefix or without transfer syntax is an error.
func ReadPart10(r io.ReaderAt) (Meta, error) {
	b := make([]byte, 132+maxMeta)
	n, err := r.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return Meta{}, err
	}
	b = b[:n]
	if n < 132 || !bytes.Equal(b[128:132], []byte("DICM")) {
		return Meta{}, errors.New("dicom: no DICM prefix: this is no DICOM file")
	}
	var m Meta
	at := 132
	for {
		rest := b[at:]
		if len(rest) < 8 || binary.LittleEndian.Uint16(rest) != 2 {
			break
		}
		t := tag.New(2, binary.LittleEndian.Uint16(rest[2:]))
		head, length := 8, uint64(binary.LittleEndian.Uint16(rest[6:]))
		if vrOf(rest[4:]).long() {
			if len(rest) < 12 {
				break
			}
			head, length = 12, uint64(binary.LittleEndian.Uint32(rest[8:]))
		}
		if length > uint64(len(rest)-head) {
			return Meta{}, fmt.Errorf("dicom: File Meta Information: %v is %d bytes long where %d are left", t, length, len(rest)-head)
		}
		value := strings.TrimRight(string(rest[head:head+int(length)]), " \x00")
		switch t {
		case 0x00020002:
			m.SOPClassUID = value
		case 0x00020003:
			m.SOPInstanceUID = value
		case 0x00020010:
			m.TransferSyntaxUID = value
		}
		at += head + int(length)
	}
	if m.TransferSyntaxUID == "" {
		return Meta{}, errors.New("dicom: File Meta Information without a transfer syntax")
	}
	m.DataSet = int64(at)
	return m, nil
}
