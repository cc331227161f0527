package film

import (
	"bytes"
	"io"
	"testing"

	"nhip/dicom"
	"nhip/dicom/tag"
	"nhip/dicom/uid"
)

// A counted sink knows whether it was discarded.
type counted struct {
	n         int64
	discarded int
}

func (c *counted) Write(b []byte) (int, error) { c.n += int64(len(b)); return len(b), nil }
func (c *counted) Close() error                { return nil }
func (c *counted) Discard()                    { c.discarded++ }

// Any data set of an image box: no panic; an image that is taken is whole, one
// that is not is discarded, once.
func FuzzImageBox(f *testing.F) {
	item := dicom.NewDataset()
	for t, v := range map[tag.Tag]int64{tag.SamplesPerPixel: 1, tag.Rows: 4, tag.Columns: 4, tag.BitsAllocated: 8} {
		if err := item.SetInt(t, v); err != nil {
			f.Fatal(err)
		}
	}
	if err := item.SetBytes(tag.PixelData, dicom.OW, make([]byte, 16)); err != nil {
		f.Fatal(err)
	}
	d := dicom.NewDataset()
	if err := d.SetItems(tag.BasicGrayscaleImageSequence, item); err != nil {
		f.Fatal(err)
	}
	for _, syntax := range []string{uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian} {
		var b bytes.Buffer
		if err := d.Write(&b, syntax); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes(), syntax == uid.ExplicitVRLittleEndian)
	}
	f.Fuzz(func(t *testing.T, b []byte, explicit bool) {
		syntax := uid.ImplicitVRLittleEndian
		if explicit {
			syntax = uid.ExplicitVRLittleEndian
		}
		var sink *counted
		r := imageReader{
			limits: Limits{}.withDefaults(), sequence: tag.BasicGrayscaleImageSequence,
			sink: func(*Image) (Sink, error) { sink = &counted{}; return sink, nil },
		}
		attributes, image, err := r.read(io.MultiReader(bytes.NewReader(b)), syntax)
		switch {
		case err != nil && sink != nil && sink.discarded != 1:
			t.Errorf("discarded %d times: %v", sink.discarded, err)
		case err == nil && attributes == nil, err == nil && image != nil && (sink == nil || sink.discarded != 0 || sink.n != image.Length):
			t.Errorf("%+v, %+v", image, sink)
		}
	})
}

// Any display format: no panic, and never more image boxes than the limit.
func FuzzFormat(f *testing.F) {
	for _, s := range []string{`STANDARD\2,3`, `ROW\1,2,3`, `COL\9`, `SLIDE`, `CUSTOM\1`, `STANDARD\99999999999,1`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if format, err := ParseFormat(s, "", 50, nil); err == nil && (format.Boxes() < 1 || format.Boxes() > 50) {
			t.Errorf("%q: %d", s, format.Boxes())
		}
	})
}
