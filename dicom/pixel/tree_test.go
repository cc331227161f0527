package pixel_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"nhip/dicom"
	"nhip/dicom/pixel"
	"nhip/dicom/pixel/raster"
	"nhip/dicom/pixel/raster/rastertest"
	"nhip/dicom/uid"
)

// open reads a file and looks at its frames.
func open(name string) (*pixel.Reader, *dicom.File, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, nil, err
	}
	f, err := dicom.ParseFile(b, dicom.Limits{})
	if f == nil {
		return nil, nil, err
	}
	r, err := pixel.Open(f.Dataset, f.TransferSyntax(), raster.Limits{})
	return r, f, err
}

// images are the files of pydicom's tree with pixel data: of the folders beside
// test_files, where there are many alike, the first of each.
func images(t testing.TB) []string {
	t.Helper()
	tree := filepath.Dir(rastertest.Pydicom(t))
	var names []string
	folders := map[string]bool{}
	err := filepath.WalkDir(tree, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		if dir := filepath.Dir(name); filepath.Base(dir) != "test_files" && !soak {
			if folders[dir] {
				return nil
			}
			folders[dir] = true
		}
		if _, _, err := open(name); err == nil {
			names = append(names, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// A difference is how far two frames are apart.
type difference struct {
	most  int64 // between two values
	count int   // of values that differ at all
}

// compare compares frames value by value, or of colour ones the luminance alone.
func compare(a, b *pixel.Frame, luminance bool) (difference, error) {
	if a.Columns != b.Columns || a.Rows != b.Rows || a.Samples != b.Samples {
		return difference{}, fmt.Errorf("%d×%d×%d against %d×%d×%d", a.Columns, a.Rows, a.Samples, b.Columns, b.Rows, b.Samples)
	}
	if a.Photometric != b.Photometric {
		a.RGB()
		b.RGB()
		if a.Photometric != b.Photometric && (a.Photometric == "RGB" || b.Photometric == "RGB") {
			return difference{}, fmt.Errorf("%s against %s", a.Photometric, b.Photometric)
		}
	}
	var d difference
	note := func(x, y int64) {
		if x != y {
			d.count++
			d.most = max(d.most, max(x-y, y-x))
		}
	}
	if luminance && a.Samples == 3 {
		for i := range a.Columns * a.Rows {
			note(luminanceOf(a, 3*i), luminanceOf(b, 3*i))
		}
		return d, nil
	}
	for i := range a.Columns * a.Rows * a.Samples {
		note(a.Value(a.Cell(i)), b.Value(b.Cell(i)))
	}
	return d, nil
}

// luminanceOf is Y of the pixel that begins at a sample.
func luminanceOf(f *pixel.Frame, i int) int64 {
	first := f.Value(f.Cell(i))
	if f.Photometric != "RGB" {
		return first
	}
	return (299*first + 587*f.Value(f.Cell(i+1)) + 114*f.Value(f.Cell(i+2)) + 500) / 1000
}

// compareFiles compares all frames of two files; those of theirs as if they had the
// photometric interpretation of ours, where they are known to be mislabelled.
func compareFiles(t testing.TB, ours, theirs string, luminance, mislabelled bool) (difference, error) {
	a, _, err := open(ours)
	if err != nil {
		return difference{}, fmt.Errorf("ours: %w", err)
	}
	b, _, err := open(theirs)
	if err != nil {
		return difference{}, fmt.Errorf("theirs: %w", err)
	}
	if a.Frames != b.Frames {
		return difference{}, fmt.Errorf("%d frames against %d", a.Frames, b.Frames)
	}
	var most difference
	for k := range a.Frames {
		x, err := a.Decode(t.Context(), k)
		if err != nil {
			return most, fmt.Errorf("ours: %w", err)
		}
		y, err := b.Decode(t.Context(), k)
		if err != nil {
			return most, fmt.Errorf("theirs: %w", err)
		}
		if mislabelled {
			y.Photometric = x.Photometric
		}
		d, err := compare(x, y, luminance)
		if err != nil {
			return most, err
		}
		most.most, most.count = max(most.most, d.most), most.count+d.count
	}
	return most, nil
}

// run runs a tool and says whether it made the file.
func run(out string, name string, args ...string) error {
	c := exec.Command(name, args...)
	if text, err := c.CombinedOutput(); err != nil {
		line, _, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
		return fmt.Errorf("%s: %v: %s", name, err, line)
	}
	_, err := os.Stat(out)
	return err
}

// A conversion makes a file in another transfer syntax.
type conversion struct {
	name     string
	command  []string // without in and out
	lossless bool
	undo     []string // what decodes it, where it is lossy
	luma     bool     // chrominance is subsampled
	// mislabelled: GDCM writes YCbCr and says RGB, and reads it so.
	mislabelled bool
}

// dcmdjpeg +cn leaves YCbCr as it is coded: a conversion to RGB would make more of
// a difference of one.
var conversions = []conversion{
	{name: "explicit VR big endian", command: []string{"dcmconv", "+tb"}, lossless: true},
	{name: "implicit VR", command: []string{"dcmconv", "+ti"}, lossless: true},
	{name: "deflated", command: []string{"dcmconv", "+td"}, lossless: true},
	{name: "deflated, GDCM", command: []string{"gdcmconv", "--deflated"}, lossless: true},
	{name: "RLE, DCMTK", command: []string{"dcmcrle"}, lossless: true},
	{name: "RLE, GDCM", command: []string{"gdcmconv", "--rle"}, lossless: true},
	{name: "JPEG lossless SV1, DCMTK", command: []string{"dcmcjpeg", "+e1"}, lossless: true},
	{name: "JPEG lossless, DCMTK", command: []string{"dcmcjpeg", "+el"}, lossless: true},
	{name: "JPEG lossless SV7, DCMTK", command: []string{"dcmcjpeg", "+el", "+sv", "7"}, lossless: true},
	{name: "JPEG lossless, GDCM", command: []string{"gdcmconv", "--jpeg"}, lossless: true},
	{name: "JPEG baseline 4:4:4, DCMTK", command: []string{"dcmcjpeg", "+eb", "+s4"}, undo: []string{"dcmdjpeg", "+cn"}},
	{name: "JPEG baseline 4:2:2, DCMTK", command: []string{"dcmcjpeg", "+eb"}, undo: []string{"dcmdjpeg", "+cn"}, luma: true},
	{name: "JPEG baseline RGB, DCMTK", command: []string{"dcmcjpeg", "+eb", "+cr"}, undo: []string{"dcmdjpeg"}},
	{name: "JPEG extended, DCMTK", command: []string{"dcmcjpeg", "+ee", "+s4"}, undo: []string{"dcmdjpeg", "+cn"}},
	{name: "JPEG extended 12 bits, DCMTK", command: []string{"dcmcjpeg", "+ee", "+s4", "+bt"}, undo: []string{"dcmdjpeg", "+cn"}},
	{name: "JPEG progressive, DCMTK", command: []string{"dcmcjpeg", "+ep", "+s4"}, undo: []string{"dcmdjpeg", "+cn"}},
	{name: "JPEG spectral selection, DCMTK", command: []string{"dcmcjpeg", "+es", "+s4"}, undo: []string{"dcmdjpeg", "+cn"}},
	{name: "JPEG lossy, GDCM", command: []string{"gdcmconv", "--jpeg", "--lossy", "-q", "90"}, undo: []string{"gdcmconv", "--raw"}, luma: true, mislabelled: true},
	{name: "JPEG-LS, DCMTK", command: []string{"dcmcjpls"}, lossless: true},
	{name: "JPEG-LS cooked, DCMTK", command: []string{"dcmcjpls", "+pc"}, lossless: true},
	{name: "JPEG-LS near-lossless, DCMTK", command: []string{"dcmcjpls", "+en"}, undo: []string{"dcmdjpls"}},
	{name: "JPEG-LS, GDCM", command: []string{"gdcmconv", "--jpegls"}, lossless: true},
	{name: "JPEG 2000, GDCM", command: []string{"gdcmconv", "--j2k"}, lossless: true},
	{name: "JPEG 2000 lossy, GDCM", command: []string{"gdcmconv", "--j2k", "--irreversible", "--lossy", "-r", "8"}, undo: []string{"gdcmconv", "--raw"}},
}

// A known difference, and why.
type known struct {
	file, conversion string // "" is any
	says             string // part of the error
	why              string
}

var knownDifferences = []known{
	{"", "JPEG progressive, DCMTK", "12 bits", "12-bit progressive JPEG (processes 8, 9, 12, 13) is retired and refused in words"},
	{"", "JPEG spectral selection, DCMTK", "12 bits", "12-bit spectral selection is retired and refused in words"},
	{"", "JPEG lossy, GDCM", "precision of 16 bits", "GDCM writes a DCT frame of 16 bits, where ITU-T T.81 table B.2 has 8 and 12"},
	{"", "JPEG 2000, GDCM", "32 bits", "more than 16 bits are refused in words: OpenJPEG's program does not write them"},
	{"MR_small_padded.dcm", "RLE, GDCM", "holds more than the frame", "GDCM codes what follows the last frame as pixels of it"},
	{"badVR.dcm", "RLE, GDCM", "holds more than the frame", "Number of Frames is no number: GDCM codes all 15 frames as one"},
}

// explained reports whether a failure is one that is known.
func explained(t *testing.T, file, conversion string, err error) bool {
	if err == nil {
		return false
	}
	for _, k := range knownDifferences {
		if (k.file == "" || k.file == file) && k.conversion == conversion && strings.Contains(err.Error(), k.says) {
			t.Logf("%s: %s", conversion, k.why)
			return true
		}
	}
	return false
}

// soak asks for all files in all conversions, which takes minutes.
var soak = os.Getenv("NHIP_SOAK") == "1"

func TestFramesAreAsDCMTKAndGDCMDecodeThem(t *testing.T) {
	rastertest.Need(t, "dcmcjpeg", "dcmdjpeg", "dcmcjpls", "dcmdjpls", "dcmcrle", "dcmdrle", "dcmconv", "gdcmconv", "opj_decompress")
	var mu sync.Mutex
	made, kinds := map[string]int{}, map[string]bool{}
	t.Run("files", func(t *testing.T) {
		for _, name := range images(t) {
			r, _, err := open(name)
			if err != nil {
				t.Fatal(err)
			}
			// One file of a kind goes through all conversions.
			kind := fmt.Sprint(r.Photometric, r.BitsAllocated, r.Signed, r.Frames > 1)
			convertible := soak || !kinds[kind]
			kinds[kind] = true
			t.Run(filepath.Base(name), func(t *testing.T) {
				t.Parallel()
				native := nativeOf(t, name)
				if native == "" || !convertible {
					return
				}
				for _, c := range conversions {
					if convert(t, filepath.Base(name), native, c) {
						mu.Lock()
						made[c.name]++
						mu.Unlock()
					}
				}
				transcode(t, native)
			})
		}
	})
	t.Logf("%d kinds of images", len(kinds))
	for _, c := range conversions {
		t.Logf("%-30s %d files", c.name, made[c.name])
	}
}

// decoders make a file native, each tried in its turn.
var decoders = [][]string{{"dcmconv", "+te"}, {"dcmdjpeg", "+te", "+cn"}, {"dcmdjpls"}, {"dcmdrle"}, {"gdcmconv", "--raw"}}

// nativeOf decodes a file by whichever tool can, compares, and returns the native
// file; "" where no tool can.
func nativeOf(t *testing.T, name string) string {
	out := filepath.Join(t.TempDir(), "native.dcm")
	var errs []error
	for _, tool := range decoders {
		os.Remove(out)
		if err := run(out, tool[0], append(tool[1:len(tool):len(tool)], name, out)...); err != nil {
			errs = append(errs, err)
			continue
		}
		if r, _, err := open(out); err != nil || pixel.Decodes(r.TransferSyntaxUID) && r.Encapsulated() {
			errs = append(errs, fmt.Errorf("%s: still compressed %v", tool[0], err))
			continue
		}
		r, _, err := open(name)
		if err != nil {
			t.Fatal(err)
		}
		// Of lossy JPEG and JPEG 2000 the tolerance of the rule, and what is
		// subsampled is compared by its luminance.
		tolerance, luma := int64(0), false
		switch r.TransferSyntaxUID {
		case uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit:
			tolerance, luma = 2, r.Photometric != "YBR_FULL" || strings.Contains(name, "+n")
		case uid.JPEG2000:
			tolerance = 2
		}
		// This one says RGB, and its components are YCbCr, subsampled: red is 76, 85,
		// 255. DCMTK believes what it says.
		mislabelled := filepath.Base(name) == "SC_rgb_jpeg_lossy_gdcm.dcm"
		d, err := compareFiles(t, name, out, luma, mislabelled)
		if err != nil || d.most > tolerance {
			t.Errorf("%s %s by %s: %+v %v", uid.Name(r.TransferSyntaxUID), r.Photometric, tool[0], d, err)
		}
		return out
	}
	t.Logf("no tool decodes it: %v", errors.Join(errs...))
	return ""
}

// convert makes a file in another transfer syntax, where the tool can, and
// compares.
func convert(t *testing.T, name, native string, c conversion) bool {
	dir := t.TempDir()
	out := filepath.Join(dir, "out.dcm")
	if err := run(out, c.command[0], append(c.command[1:len(c.command):len(c.command)], native, out)...); err != nil {
		return false
	}
	theirs := native
	tolerance := int64(0)
	if !c.lossless {
		theirs = filepath.Join(dir, "theirs.dcm")
		if err := run(theirs, c.undo[0], append(c.undo[1:len(c.undo):len(c.undo)], out, theirs)...); err != nil {
			return false // they do not read what they wrote
		}
		tolerance = 2
	}
	d, err := compareFiles(t, out, theirs, c.luma, c.mislabelled)
	if (err != nil || d.most > tolerance) && !explained(t, name, c.name, err) {
		t.Errorf("%s: %+v %v", c.name, d, err)
	}
	return true
}

// transcode writes a native file in each transfer syntax that we write, and has
// DCMTK and GDCM decode it.
func transcode(t *testing.T, native string) {
	r, f, err := open(native)
	if err != nil {
		t.Fatal(err)
	}
	for to, tools := range map[string][][]string{
		uid.RLELossless:     {{"dcmdrle"}, {"gdcmconv", "--raw"}},
		uid.JPEGLosslessSV1: {{"dcmdjpeg", "+cn"}, {"gdcmconv", "--raw"}},
		uid.JPEGLSLossless:  {{"dcmdjpls"}, {"gdcmconv", "--raw"}},
	} {
		var b bytes.Buffer
		err := pixel.Transcode(t.Context(), &b, f, to, raster.Limits{})
		var unsupported *pixel.UnsupportedError
		if errors.As(err, &unsupported) {
			t.Logf("%s: %v", uid.Name(to), err)
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", uid.Name(to), err)
			continue
		}
		ours := filepath.Join(t.TempDir(), "ours.dcm")
		if err := os.WriteFile(ours, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, tool := range tools {
			theirs := filepath.Join(t.TempDir(), "theirs.dcm")
			if tool[0] == "gdcmconv" && r.Samples > 1 && r.BitsAllocated > 8 {
				continue // GDCM mixes the planes of such frames up, or refuses them
			}
			if err := run(theirs, tool[0], append(tool[1:len(tool):len(tool)], ours, theirs)...); err != nil {
				t.Errorf("%s: %v", uid.Name(to), err)
				continue
			}
			if d, err := compareFiles(t, native, theirs, false, false); err != nil || d.most > 0 {
				t.Errorf("%s by %s: %+v %v", uid.Name(to), tool[0], d, err)
			}
		}
	}
}
