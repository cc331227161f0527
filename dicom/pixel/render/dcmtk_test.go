package render

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"nhip/dicom"
	"nhip/dicom/pixel"
	"nhip/dicom/pixel/raster"
	"nhip/dicom/pixel/raster/rastertest"
	"nhip/dicom/tag"
	"nhip/dicom/uid"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// dcmtk renders the frame of a file with dcmj2pnm.
func dcmtk(name string, k int, args ...string) (image.Image, error) {
	dir, err := os.MkdirTemp("", "render")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, "out.pnm")
	args = append(args, "+F", strconv.Itoa(k+1), name, out)
	text, err := exec.Command("dcmj2pnm", args...).CombinedOutput()
	b, missing := os.ReadFile(out)
	if err != nil || missing != nil {
		return nil, fmt.Errorf("dcmj2pnm %v: %v: %s", args, err, text)
	}
	return parsePNM(b)
}

// parsePNM reads a binary PGM or PPM of 8 bits.
func parsePNM(b []byte) (image.Image, error) {
	var kind string
	var w, h, most int
	fields := 0
	for fields < 4 {
		line, rest, ok := bytes.Cut(b, []byte("\n"))
		if !ok {
			return nil, fmt.Errorf("no PNM: %.20q", b)
		}
		b = rest
		if bytes.HasPrefix(line, []byte("#")) {
			continue
		}
		for _, f := range strings.Fields(string(line)) {
			switch n, _ := strconv.Atoi(f); fields {
			case 0:
				kind = f
			case 1:
				w = n
			case 2:
				h = n
			case 3:
				most = n
			}
			fields++
		}
	}
	switch {
	case kind == "P5" && most == 255 && len(b) >= w*h:
		return &image.Gray{Pix: b, Stride: w, Rect: image.Rect(0, 0, w, h)}, nil
	case kind == "P6" && most == 255 && len(b) >= 3*w*h:
		m := image.NewNRGBA(image.Rect(0, 0, w, h))
		for i := range w * h {
			copy(m.Pix[4*i:], []byte{b[3*i], b[3*i+1], b[3*i+2], 255})
		}
		return m, nil
	}
	return nil, fmt.Errorf("a PNM %s of %d", kind, most)
}

// apart returns how far two pictures are apart, and where.
func apart(a, b image.Image) (int, string) {
	if a.Bounds() != b.Bounds() {
		return 256, fmt.Sprintf("%v against %v", a.Bounds(), b.Bounds())
	}
	most, where := 0, ""
	r := a.Bounds()
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			p, q := color.NRGBAModel.Convert(a.At(x, y)).(color.NRGBA), color.NRGBAModel.Convert(b.At(x, y)).(color.NRGBA)
			for _, d := range []int{int(p.R) - int(q.R), int(p.G) - int(q.G), int(p.B) - int(q.B)} {
				if d = max(d, -d); d > most {
					most, where = d, fmt.Sprintf("row %d, column %d: %v, theirs %v", y, x, p, q)
				}
			}
		}
	}
	return most, where
}

// ours renders frame k of a file.
func ours(t testing.TB, name string, k int, o Options) (image.Image, *Display, error) {
	t.Helper()
	b, err := os.ReadFile(name)
	must(t, err)
	f, err := dicom.ParseFile(b, dicom.Limits{})
	if err != nil {
		return nil, nil, err
	}
	r, err := pixel.Open(f.Dataset, f.TransferSyntax(), raster.Limits{})
	if err != nil {
		return nil, nil, err
	}
	d, err := New(f.Dataset, r.Format, k)
	if err != nil {
		return nil, nil, err
	}
	frame, err := r.Decode(t.Context(), k)
	if err != nil {
		return nil, nil, err
	}
	m, err := Image(frame, d, o)
	return m, d, err
}

// knownDifferences are pictures that DCMTK shows in another way, and why.
var knownDifferences = map[string]string{
	"SC_rgb_dcmtk_+eb+cy+n1.dcm": "chrominance subsampled both ways, which DCMTK interpolates and we repeat",
	"SC_rgb_dcmtk_+eb+cy+np.dcm": "chrominance subsampled both ways, which DCMTK interpolates and we repeat",
	"SC_rgb_jpeg_lossy_gdcm.dcm": "YCbCr that says it is RGB: DCMTK shows red as 76, 85, 255",
}

// twoApart are pictures of lossy JPEG of 12 bits: a difference of one, made larger by
// the window.
var twoApart = map[string]bool{"JPEG-lossy.dcm": true, "JPGExtended.dcm": true}

func TestPydicomTreeIsShownAsDCMTKShowsIt(t *testing.T) {
	rastertest.Need(t, "dcmj2pnm", "gdcmconv", "opj_decompress")
	tree := filepath.Dir(rastertest.Pydicom(t))
	shown := 0
	folders := map[string]int{}
	must(t, filepath.WalkDir(tree, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		if dir := filepath.Dir(name); !strings.HasSuffix(dir, "test_files") {
			if folders[dir]++; folders[dir] > 1 {
				return nil
			}
		}
		_, d, err := ours(t, name, 0, Options{})
		if err != nil {
			return nil
		}
		args := []string{"+Wm"}
		if len(d.Windows) > 0 {
			args = []string{"+Wi", "1"}
		} else if len(d.VOI) > 0 {
			args = []string{"+Wl", "1"}
		}
		theirs, err := dcmtk(name, 0, args...)
		if err != nil { // it does not read JPEG 2000
			raw := filepath.Join(t.TempDir(), "raw.dcm")
			if text, err := exec.Command("gdcmconv", "--raw", name, raw).CombinedOutput(); err != nil {
				t.Errorf("%s: %v: %s", filepath.Base(name), err, text)
				return nil
			}
			if theirs, err = dcmtk(raw, 0, args...); err != nil {
				t.Errorf("%s: %v", filepath.Base(name), err)
				return nil
			}
		}
		m, _, err := ours(t, name, 0, Options{Overlays: true})
		must(t, err)
		shown++
		if why := knownDifferences[filepath.Base(name)]; why != "" {
			t.Logf("%s: %s", filepath.Base(name), why)
			return nil
		}
		tolerance := 1
		if twoApart[filepath.Base(name)] {
			tolerance = 2
		}
		if n, where := apart(m, theirs); n > tolerance {
			t.Errorf("%s %s %v: %d apart, %s", filepath.Base(name), d.Photometric, args, n, where)
		}
		return nil
	}))
	t.Logf("%d pictures", shown)
}

// An object is a picture that is made for a test.
func object(t testing.TB, pixels []byte, change func(d *dicom.Dataset)) string {
	t.Helper()
	d := dicom.NewDataset()
	for k, v := range map[tag.Tag]int64{
		tag.SamplesPerPixel: 1, tag.Rows: 16, tag.Columns: 32, tag.BitsAllocated: 16,
		tag.BitsStored: 12, tag.HighBit: 11, tag.PixelRepresentation: 0,
	} {
		must(t, d.SetInt(k, v))
	}
	must(t, d.SetText(tag.PhotometricInterpretation, "MONOCHROME2"))
	must(t, d.SetText(tag.SOPClassUID, "1.2.840.10008.5.1.4.1.1.7"))
	must(t, d.SetText(tag.SOPInstanceUID, "2.25.1"))
	must(t, d.SetText(tag.Modality, "OT"))
	if change != nil {
		change(d)
	}
	vr := dicom.OW
	must(t, d.SetBytes(tag.PixelData, vr, pixels))
	f, err := dicom.NewFile(d, uid.ExplicitVRLittleEndian)
	must(t, err)
	var b bytes.Buffer
	must(t, f.Write(&b))
	name := filepath.Join(t.TempDir(), "object.dcm")
	must(t, os.WriteFile(name, b.Bytes(), 0o600))
	return name
}

// ramp are 512 values of 16 bits, from low on in steps.
func ramp(low, step int) []byte {
	var b []byte
	for i := range 512 {
		v := low + i*step
		b = append(b, byte(v), byte(v>>8))
	}
	return b
}

func numbers(t testing.TB, d *dicom.Dataset, values map[tag.Tag][]int64) {
	for k, v := range values {
		must(t, d.SetInt(k, v...))
	}
}

func texts(t testing.TB, d *dicom.Dataset, values map[tag.Tag]string) {
	for k, v := range values {
		must(t, d.SetText(k, strings.Split(v, `\`)...))
	}
}

// table is an item with a LUT.
func table(t testing.TB, descriptor []int64, entry func(i int) int64) *dicom.Dataset {
	item := dicom.NewDataset()
	must(t, item.SetIntAs(tag.LUTDescriptor, dicom.US, uints(descriptor)...))
	n := int(descriptor[0])
	if n == 0 {
		n = 65536
	}
	var b []byte
	for i := range n {
		v := entry(i)
		b = append(b, byte(v), byte(v>>8))
	}
	must(t, item.SetBytes(tag.LUTData, dicom.OW, b))
	return item
}

func uints(v []int64) []int64 {
	for i := range v {
		v[i] = int64(uint16(v[i]))
	}
	return v
}

func TestMadePicturesAreShownAsDCMTKShowsThem(t *testing.T) {
	rastertest.Need(t, "dcmj2pnm")
	signed := map[tag.Tag][]int64{tag.PixelRepresentation: {1}, tag.BitsStored: {16}, tag.HighBit: {15}}
	window := map[tag.Tag]string{tag.WindowCenter: `1000\2000\300.5`, tag.WindowWidth: `500\4000\1`}
	for _, c := range []struct {
		name    string
		pixels  []byte
		change  func(d *dicom.Dataset)
		options Options
		args    []string
	}{
		{"first window", ramp(0, 8), func(d *dicom.Dataset) { texts(t, d, window) }, Options{}, []string{"+Wi", "1"}},
		{"second window", ramp(0, 8), func(d *dicom.Dataset) { texts(t, d, window) }, Options{View: 1}, []string{"+Wi", "2"}},
		{"window of width 1", ramp(0, 1), func(d *dicom.Dataset) { texts(t, d, window) }, Options{View: 2}, []string{"+Wi", "3"}},
		{"given window", ramp(0, 8), nil, Options{Window: &Window{Center: 700, Width: 350}}, []string{"+Ww", "700", "350"}},
		{"sigmoid", ramp(0, 8), func(d *dicom.Dataset) {
			texts(t, d, map[tag.Tag]string{tag.WindowCenter: "1000", tag.WindowWidth: "700", tag.VOILUTFunction: "SIGMOID"})
		}, Options{}, []string{"+Wi", "1"}},
		{"automatic", ramp(77, 5), nil, Options{}, []string{"+Wm"}},
		{"automatic, all alike", ramp(77, 0), nil, Options{}, []string{"+Wm"}},
		{"signed, rescaled", ramp(-2000, 8), func(d *dicom.Dataset) {
			numbers(t, d, signed)
			texts(t, d, map[tag.Tag]string{tag.RescaleSlope: "0.5", tag.RescaleIntercept: "-1024", tag.WindowCenter: "-900", tag.WindowWidth: "800"})
		}, Options{}, []string{"+Wi", "1"}},
		{"rescaled by a negative slope", ramp(0, 8), func(d *dicom.Dataset) {
			texts(t, d, map[tag.Tag]string{tag.RescaleSlope: "-2", tag.RescaleIntercept: "4000", tag.WindowCenter: "900", tag.WindowWidth: "3000"})
		}, Options{}, []string{"+Wi", "1"}},
		{"MONOCHROME1", ramp(0, 8), func(d *dicom.Dataset) {
			texts(t, d, map[tag.Tag]string{tag.PhotometricInterpretation: "MONOCHROME1", tag.WindowCenter: "1000", tag.WindowWidth: "1500"})
		}, Options{}, []string{"+Wi", "1"}},
		{"high bit 15", ramp(0, 128), func(d *dicom.Dataset) {
			numbers(t, d, map[tag.Tag][]int64{tag.HighBit: {15}})
		}, Options{}, []string{"+Wm"}},
		{"overlay in unused bits", ramp(0, 129), func(d *dicom.Dataset) {
			numbers(t, d, map[tag.Tag][]int64{tag.New(0x6000, 0x10): {16}, tag.New(0x6000, 0x11): {32}, tag.New(0x6000, 0x100): {16}, tag.New(0x6000, 0x102): {14}, tag.New(0x6000, 0x50): {1, 1}})
			texts(t, d, map[tag.Tag]string{tag.New(0x6000, 0x40): "G", tag.WindowCenter: "1000", tag.WindowWidth: "1500"})
		}, Options{Overlays: true}, []string{"+Wi", "1"}},
		{"overlay with an origin outside", ramp(0, 8), func(d *dicom.Dataset) {
			numbers(t, d, map[tag.Tag][]int64{tag.New(0x6002, 0x10): {10}, tag.New(0x6002, 0x11): {13}, tag.New(0x6002, 0x100): {1}, tag.New(0x6002, 0x102): {0}, tag.New(0x6002, 0x50): {-2, 25}})
			texts(t, d, map[tag.Tag]string{tag.New(0x6002, 0x40): "G", tag.WindowCenter: "1000", tag.WindowWidth: "1500"})
			must(t, d.SetBytes(tag.New(0x6002, 0x3000), dicom.OW, bytes.Repeat([]byte{0xA5, 0x0F}, 9)))
		}, Options{Overlays: true}, []string{"+Wi", "1"}},
		{"VOI LUT", ramp(0, 8), func(d *dicom.Dataset) {
			must(t, d.SetItems(tag.VOILUTSequence, table(t, []int64{256, 1000, 12}, func(i int) int64 { return int64(i * i / 16) })))
		}, Options{}, []string{"+Wl", "1"}},
		{"VOI LUT of 16 bits from a negative value", ramp(-2000, 8), func(d *dicom.Dataset) {
			numbers(t, d, signed)
			must(t, d.SetItems(tag.VOILUTSequence, table(t, []int64{1000, -700, 16}, func(i int) int64 { return 65535 - int64(i*65) })))
		}, Options{}, []string{"+Wl", "1"}},
		{"VOI LUT of 65,536 entries", ramp(0, 8), func(d *dicom.Dataset) {
			must(t, d.SetItems(tag.VOILUTSequence, table(t, []int64{0, 0, 8}, func(i int) int64 { return int64(i*7) & 255 })))
		}, Options{}, []string{"+Wl", "1"}},
		{"Modality LUT", ramp(0, 8), func(d *dicom.Dataset) {
			item := table(t, []int64{3000, 200, 16}, func(i int) int64 { return int64(i*i/300) + 50 })
			must(t, item.SetText(tag.ModalityLUTType, "US"))
			must(t, d.SetItems(tag.ModalityLUTSequence, item))
			texts(t, d, map[tag.Tag]string{tag.WindowCenter: "8000", tag.WindowWidth: "15000"})
		}, Options{}, []string{"+Wi", "1"}},
		{"palette of 16 bits", ramp(0, 1), palette(t, []int64{256, 100, 16}, func(c, i int) int64 { return int64(i*(c+1)*64) & 0xFFFF }), Options{}, nil},
		{"palette of 8 bits in words", ramp(0, 1), palette(t, []int64{256, 0, 8}, func(c, i int) int64 { return int64(i*(c+1)) & 0xFF }), Options{}, nil},
		{"palette, third frame", append(ramp(0, 1), append(ramp(7, 2), ramp(500, 0)...)...), func(d *dicom.Dataset) {
			palette(t, []int64{512, 0, 16}, func(c, i int) int64 { return int64(i*(c+3)*37) & 0xFFFF })(d)
			must(t, d.SetInt(tag.NumberOfFrames, 3))
		}, Options{}, nil},
		{"YBR_FULL", ramp(0, 0x1357)[:3*16*16], func(d *dicom.Dataset) {
			numbers(t, d, map[tag.Tag][]int64{tag.SamplesPerPixel: {3}, tag.BitsAllocated: {8}, tag.BitsStored: {8}, tag.HighBit: {7}, tag.Columns: {16}, tag.PlanarConfiguration: {0}})
			texts(t, d, map[tag.Tag]string{tag.PhotometricInterpretation: "YBR_FULL"})
		}, Options{}, nil},
		{"RGB by plane", ramp(0, 0x1357)[:3*16*16], func(d *dicom.Dataset) {
			numbers(t, d, map[tag.Tag][]int64{tag.SamplesPerPixel: {3}, tag.BitsAllocated: {8}, tag.BitsStored: {8}, tag.HighBit: {7}, tag.Columns: {16}, tag.PlanarConfiguration: {1}})
			texts(t, d, map[tag.Tag]string{tag.PhotometricInterpretation: "RGB"})
		}, Options{}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			name := object(t, c.pixels, c.change)
			frame := max(strings.Count(c.name, "third")*2, 0)
			m, d, err := ours(t, name, frame, c.options)
			must(t, err)
			if len(d.Problems) > 0 {
				t.Errorf("%v", d.Problems)
			}
			theirs, err := dcmtk(name, frame, c.args...)
			must(t, err)
			tolerance := 1
			if c.name == "YBR_FULL" {
				tolerance = 2 // DCMTK cuts each term of the equations to an integer
			}
			if n, where := apart(m, theirs); n > tolerance {
				t.Errorf("%d apart, %s", n, where)
			}
		})
	}
}

// palette makes an object one of PALETTE COLOR.
func palette(t testing.TB, descriptor []int64, entry func(c, i int) int64) func(d *dicom.Dataset) {
	return func(d *dicom.Dataset) {
		texts(t, d, map[tag.Tag]string{tag.PhotometricInterpretation: "PALETTE COLOR"})
		for c := range 3 {
			item := table(t, append([]int64{}, descriptor...), func(i int) int64 { return entry(c, i) })
			e, _ := item.Find(tag.LUTData)
			must(t, d.SetIntAs(tag.RedPaletteColorLookupTableDescriptor+tag.Tag(c), dicom.US, descriptor...))
			must(t, d.SetBytes(tag.RedPaletteColorLookupTableData+tag.Tag(c), dicom.OW, e.Bytes()))
		}
	}
}
