package pixel

import (
	"encoding/binary"
	"testing"

	"nhip/dicom"
	"nhip/dicom/pixel/raster"
	"nhip/dicom/tag"
	"nhip/dicom/uid"
)

// attributes describe a small grey image of 8 bits, changed by what is given.
func attributes(t testing.TB, change func(d *dicom.Dataset)) *dicom.Dataset {
	t.Helper()
	d := dicom.NewDataset()
	for k, v := range map[tag.Tag]int64{
		tag.SamplesPerPixel: 1, tag.Rows: 2, tag.Columns: 3, tag.BitsAllocated: 8,
		tag.BitsStored: 8, tag.HighBit: 7, tag.PixelRepresentation: 0,
	} {
		must(t, d.SetInt(k, v))
	}
	must(t, d.SetText(tag.PhotometricInterpretation, "MONOCHROME2"))
	must(t, d.SetText(tag.SOPClassUID, "1.2.840.10008.5.1.4.1.1.7"))
	must(t, d.SetText(tag.SOPInstanceUID, "2.25.1"))
	if change != nil {
		change(d)
	}
	return d
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// native returns a data set with native pixel data of VR OW.
func native(t testing.TB, syntax string, pixels []byte, change func(d *dicom.Dataset)) *dicom.Dataset {
	t.Helper()
	d := attributes(t, change)
	must(t, d.SetBytes(tag.PixelData, dicom.OW, pixels))
	b, err := d.Encode(syntax)
	must(t, err)
	d, err = dicom.Parse(b, syntax, dicom.Limits{})
	must(t, err)
	return d
}

// items encodes encapsulated pixel data: the offset table, then the fragments.
func items(fragments ...[]byte) []byte {
	var b []byte
	for _, f := range fragments {
		b = append(b, 0xFE, 0xFF, 0x00, 0xE0)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(f)))
		b = append(b, f...)
	}
	return append(b, 0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0)
}

// encapsulated returns a data set with encapsulated pixel data.
func encapsulated(t testing.TB, syntax string, value []byte, change func(d *dicom.Dataset)) *dicom.Dataset {
	t.Helper()
	b, err := attributes(t, change).Encode(uid.ExplicitVRLittleEndian)
	must(t, err)
	b = append(b, 0xE0, 0x7F, 0x10, 0x00, 'O', 'B', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF)
	d, err := dicom.Parse(append(b, value...), syntax, dicom.Limits{})
	must(t, err)
	return d
}

// set returns a change that sets numbers.
func set(t testing.TB, pairs ...any) func(*dicom.Dataset) {
	return func(d *dicom.Dataset) {
		for i := 0; i < len(pairs); i += 2 {
			var err error
			switch v := pairs[i+1].(type) {
			case int:
				err = d.SetInt(pairs[i].(tag.Tag), int64(v))
			case string:
				err = d.SetText(pairs[i].(tag.Tag), v)
			case []byte:
				err = d.SetBytes(pairs[i].(tag.Tag), dicom.OV, v)
			}
			must(t, err)
		}
	}
}

// opened opens a data set that has to be in order.
func opened(t testing.TB, d *dicom.Dataset, syntax string) *Reader {
	t.Helper()
	r, err := Open(d, syntax, raster.Limits{})
	must(t, err)
	return r
}
