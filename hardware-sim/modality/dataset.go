package modality

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// Transfer syntaxes and SOP classes, PS3.6 annex A; written out here because
// the simulator does not take its data sets from the product's codec.
const (
	implicitLE = "1.2.840.10008.1.2"
	explicitLE = "1.2.840.10008.1.2.1"

	ctStorage = "1.2.840.10008.5.1.4.1.1.2"
	mrStorage = "1.2.840.10008.5.1.4.1.1.4"
)

// A writer writes data elements, PS3.5 section 7.1, in ascending order of their
// tags as the caller gives them.
type writer struct {
	b        []byte
	explicit bool
}

// long says which VRs have a length of four bytes in explicit VR, PS3.5 table
// 7.1-1.
func long(vr string) bool { return strings.Contains("OB OW OF SQ UN UT", vr) }

func (w *writer) header(group, element uint16, vr string, length uint32) {
	w.b = binary.LittleEndian.AppendUint16(w.b, group)
	w.b = binary.LittleEndian.AppendUint16(w.b, element)
	switch {
	case !w.explicit:
		w.b = binary.LittleEndian.AppendUint32(w.b, length)
	case long(vr):
		w.b = append(w.b, vr...)
		w.b = append(w.b, 0, 0)
		w.b = binary.LittleEndian.AppendUint32(w.b, length)
	default:
		w.b = append(w.b, vr...)
		w.b = binary.LittleEndian.AppendUint16(w.b, uint16(length))
	}
}

// text writes a string, padded to even length: UI by NUL, others by a space.
func (w *writer) text(group, element uint16, vr, value string) {
	if len(value)%2 == 1 {
		pad := " "
		if vr == "UI" {
			pad = "\x00"
		}
		value += pad
	}
	w.header(group, element, vr, uint32(len(value)))
	w.b = append(w.b, value...)
}

func (w *writer) us(group, element, value uint16) {
	w.header(group, element, "US", 2)
	w.b = binary.LittleEndian.AppendUint16(w.b, value)
}

// item tags, PS3.5 section 7.5.
func (w *writer) tag(element uint16, length uint32) {
	w.b = binary.LittleEndian.AppendUint16(w.b, 0xFFFE)
	w.b = binary.LittleEndian.AppendUint16(w.b, element)
	w.b = binary.LittleEndian.AppendUint32(w.b, length)
}

// An image is what a data set is made of.
type image struct {
	class, instance, study, series string
	modality                       string
	patientID, patientName         string
	accession                      string
	number                         int // in its series
	size                           int // rows and columns
	at                             time.Time
}

// dataSet is a small MR or CT image with noise for pixels: a sequence of
// undefined length, a private element and a name in UTF-8 among the rest.
func dataSet(i image, syntax string, r *rand.Rand) []byte {
	w := &writer{explicit: syntax == explicitLE}
	w.text(0x0008, 0x0005, "CS", "ISO_IR 192")
	w.text(0x0008, 0x0008, "CS", `ORIGINAL\PRIMARY\OTHER`)
	w.text(0x0008, 0x0016, "UI", i.class)
	w.text(0x0008, 0x0018, "UI", i.instance)
	w.text(0x0008, 0x0020, "DA", i.at.Format("20060102"))
	w.text(0x0008, 0x0030, "TM", i.at.Format("150405"))
	w.text(0x0008, 0x0050, "SH", i.accession)
	w.text(0x0008, 0x0060, "CS", i.modality)
	w.text(0x0008, 0x0070, "LO", "hwsim")
	w.header(0x0008, 0x1140, "SQ", 0xFFFFFFFF)
	w.tag(0xE000, 0xFFFFFFFF)
	w.text(0x0008, 0x1150, "UI", i.class)
	w.text(0x0008, 0x1155, "UI", i.instance)
	w.tag(0xE00D, 0)
	w.tag(0xE0DD, 0)
	w.text(0x0009, 0x0010, "LO", "HWSIM")
	w.text(0x0009, 0x1001, "UN", "private")
	w.text(0x0010, 0x0010, "PN", i.patientName)
	w.text(0x0010, 0x0020, "LO", i.patientID)
	w.text(0x0010, 0x0030, "DA", "19600101")
	w.text(0x0010, 0x0040, "CS", "O")
	w.text(0x0020, 0x000D, "UI", i.study)
	w.text(0x0020, 0x000E, "UI", i.series)
	w.text(0x0020, 0x0010, "SH", i.accession)
	w.text(0x0020, 0x0011, "IS", "1")
	w.text(0x0020, 0x0013, "IS", fmt.Sprint(i.number))
	w.us(0x0028, 0x0002, 1)
	w.text(0x0028, 0x0004, "CS", "MONOCHROME2")
	w.us(0x0028, 0x0010, uint16(i.size))
	w.us(0x0028, 0x0011, uint16(i.size))
	w.us(0x0028, 0x0100, 16)
	w.us(0x0028, 0x0101, 12)
	w.us(0x0028, 0x0102, 11)
	w.us(0x0028, 0x0103, 0)
	w.header(0x7FE0, 0x0010, "OW", uint32(2*i.size*i.size))
	for range i.size * i.size {
		w.b = binary.LittleEndian.AppendUint16(w.b, uint16(r.IntN(1<<12)))
	}
	return w.b
}
