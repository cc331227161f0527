package render

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"nhip/dicom"
	"nhip/dicom/pixel"
	"nhip/dicom/tag"
	"nhip/dicom/uid"
)

// A Display is how an object says that one of its frames is to be shown: what
// turns stored values into grey values and colours.
type Display struct {
	Photometric string
	// Values that a modality or VOI transformation works on are Slope × stored +
	// Intercept, or what Modality has for the stored value.
	Slope, Intercept float64
	Modality         *LUT
	Windows          []Window // in the order of the object
	VOI              []*LUT
	Inverse          bool // the lowest value is the brightest
	Palette          *Palette
	Padding          *Padding
	Overlays         []Overlay
	// Aspect is the height of a pixel divided by its width, 1 where nothing is said.
	Aspect float64
	// Problems says in words what the object has that cannot be used.
	Problems []string
}

// Padding are the stored values that are no part of the picture, PS3.3 section
// C.7.5.1.1.2.
type Padding struct{ Low, High int64 }

// New reads how frame k, from 0, of an object is to be shown. What cannot be used
// is a problem, not an error; only without a palette there are no colours.
func New(d *dicom.Dataset, f pixel.Format, k int) (*Display, error) {
	s := &source{d: d, format: f, big: f.TransferSyntaxUID == uid.ExplicitVRBigEndian, Display: &Display{
		Photometric: f.Photometric, Slope: 1, Aspect: 1, Inverse: f.Photometric == "MONOCHROME1",
	}}
	if f.Photometric == "PALETTE COLOR" {
		if err := s.palette(); err != nil {
			return nil, err
		}
	}
	if f.Samples == 1 && s.Palette == nil {
		s.grey(k)
	}
	s.aspect(k)
	s.overlays(k)
	return s.Display, nil
}

// A source is a data set that a Display is read from.
type source struct {
	d      *dicom.Dataset
	format pixel.Format
	big    bool
	*Display
}

func (s *source) problem(format string, args ...any) {
	s.Problems = append(s.Problems, fmt.Sprintf(format, args...))
}

// functional returns the item of a functional group macro for a frame, PS3.3
// section C.7.6.16: its own, or the shared one; the data set itself where there
// is none.
func (s *source) functional(macro tag.Tag, k int) *dicom.Dataset {
	groups := s.d.Items(tag.PerFrameFunctionalGroupsSequence)
	if k < len(groups) {
		if items := groups[k].Items(macro); len(items) > 0 {
			return items[0]
		}
	}
	if shared := s.d.Items(tag.SharedFunctionalGroupsSequence); len(shared) > 0 {
		if items := shared[0].Items(macro); len(items) > 0 {
			return items[0]
		}
	}
	return s.d
}

// grey reads what is done to grey values.
func (s *source) grey(k int) {
	s.modality(s.functional(tag.PixelValueTransformationSequence, k))
	s.voi(s.functional(tag.FrameVOILUTSequence, k))
	s.padding()
	switch strings.ToUpper(s.d.Text(tag.PresentationLUTShape)) {
	case "IDENTITY":
		s.Inverse = false
	case "INVERSE":
		s.Inverse = true
	}
}

// modality reads the Modality LUT Module, PS3.3 section C.11.1, or the Pixel Value
// Transformation macro, section C.7.6.16.2.9.
func (s *source) modality(d *dicom.Dataset) {
	if items := d.Items(tag.ModalityLUTSequence); len(items) > 0 {
		l, err := s.lut(items[0], s.format.Signed)
		if err == nil {
			s.Modality = l
			return
		}
		s.problem("Modality LUT: %v", err)
	}
	slope, hasSlope := d.Float(tag.RescaleSlope)
	intercept, _ := d.Float(tag.RescaleIntercept)
	if hasSlope && slope == 0 {
		s.problem("a rescale slope of 0")
		return
	}
	if hasSlope {
		s.Slope = slope
	}
	s.Intercept = intercept
}

// voi reads the VOI LUT Module, PS3.3 section C.11.2, or the Frame VOI LUT macro.
func (s *source) voi(d *dicom.Dataset) {
	for _, item := range d.Items(tag.VOILUTSequence) {
		signed := s.format.Signed && s.Modality == nil || s.Intercept < 0
		l, err := s.lut(item, signed)
		if err != nil {
			s.problem("VOI LUT: %v", err)
			continue
		}
		s.VOI = append(s.VOI, l)
	}
	centers, widths, words := d.Floats(tag.WindowCenter), d.Floats(tag.WindowWidth), d.Texts(tag.WindowCenterWidthExplanation)
	if len(centers) != len(widths) {
		s.problem("%d window centers and %d widths", len(centers), len(widths))
	}
	function := Function(strings.ToUpper(d.Text(tag.VOILUTFunction)))
	if function == "" {
		function = Linear
	}
	if function != Linear && function != LinearExact && function != Sigmoid {
		s.problem("a VOI LUT Function that PS3.3 does not have: taken as LINEAR")
		function = Linear
	}
	for i := range min(len(centers), len(widths)) {
		w := Window{Center: centers[i], Width: widths[i], Function: function}
		if i < len(words) {
			w.Explanation = words[i]
		}
		if !w.usable() {
			s.problem("a window of width %v", w.Width)
			continue
		}
		s.Windows = append(s.Windows, w)
	}
}

// lut reads one item of a LUT sequence.
func (s *source) lut(item *dicom.Dataset, signed bool) (*LUT, error) {
	return newLUT(item.Ints(tag.LUTDescriptor), s.words(item, tag.LUTData), signed)
}

// words returns a value of words in little endian.
func (s *source) words(d *dicom.Dataset, t tag.Tag) []byte {
	b := d.Bytes(t)
	e, ok := d.Find(t)
	if !ok || !s.big || e.VR == dicom.OB {
		return b
	}
	swapped := make([]byte, len(b)&^1)
	for i := 0; i < len(swapped); i += 2 {
		binary.LittleEndian.PutUint16(swapped[i:], binary.BigEndian.Uint16(b[i:]))
	}
	return swapped
}

func (s *source) padding() {
	value := s.d.Ints(tag.PixelPaddingValue)
	if len(value) == 0 {
		return
	}
	stored := func(v int64) int64 {
		// It may have come as US where values are signed, and as SS where not.
		if s.format.Signed {
			return int64(int16(v))
		}
		return int64(uint16(v))
	}
	p := Padding{stored(value[0]), stored(value[0])}
	if limit := s.d.Ints(tag.PixelPaddingRangeLimit); len(limit) > 0 {
		p.Low, p.High = min(p.Low, stored(limit[0])), max(p.High, stored(limit[0]))
	}
	s.Padding = &p
}

// palette reads the Palette Color Lookup Table Module, plain or segmented.
func (s *source) palette() error {
	var p Palette
	for i := range p {
		t := tag.Tag(i)
		descriptor := s.d.Ints(tag.RedPaletteColorLookupTableDescriptor + t)
		var err error
		switch {
		case s.d.Has(tag.RedPaletteColorLookupTableData + t):
			p[i], err = newLUT(descriptor, s.words(s.d, tag.RedPaletteColorLookupTableData+t), s.format.Signed)
		case s.d.Has(tag.SegmentedRedPaletteColorLookupTableData + t):
			p[i], err = segmentedLUT(descriptor, s.words(s.d, tag.SegmentedRedPaletteColorLookupTableData+t))
		default:
			err = errors.New("render: a palette without data")
		}
		if err != nil {
			return err
		}
	}
	s.Palette = &p
	return nil
}

// aspect reads the shape of a pixel: the ratio, or what the spacings imply.
func (s *source) aspect(k int) {
	measures := s.functional(tag.PixelMeasuresSequence, k)
	for _, v := range [][]float64{s.d.Floats(tag.PixelAspectRatio), measures.Floats(tag.PixelSpacing), s.d.Floats(tag.ImagerPixelSpacing)} {
		if len(v) >= 2 && v[0] > 0 && v[1] > 0 && v[0]/v[1] > 0 && v[0]/v[1] < 1e6 {
			s.Aspect = v[0] / v[1]
			return
		}
	}
}
