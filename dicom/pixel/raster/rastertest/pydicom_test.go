package rastertest_test

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"nhip/dicom/pixel/jpegdct"
	"nhip/dicom/pixel/jpegll"
	"nhip/dicom/pixel/jpegls"
	"nhip/dicom/pixel/raster"
	"nhip/dicom/pixel/raster/rastertest"
	"nhip/dicom/pixel/rle"
)

// decode decodes a fragment by the codec of its transfer syntax.
func decode(f *rastertest.File, fragment []byte) (*raster.Image, error) {
	switch f.Syntax {
	case rastertest.RLELossless:
		return rle.Decode(fragment, f.Image, raster.Limits{})
	case rastertest.JPEGBaseline, rastertest.JPEGExtended:
		return jpegdct.Decode(fragment, raster.Limits{})
	case rastertest.JPEGLossless, rastertest.JPEGLosslessSV1:
		return jpegll.Decode(fragment, raster.Limits{})
	}
	return jpegls.Decode(fragment, raster.Limits{})
}

// peers are DCMTK's decoders, which leave colours as they are coded.
var peers = map[string][]string{
	rastertest.RLELossless:     {"dcmdrle"},
	rastertest.JPEGBaseline:    {"dcmdjpeg", "+cn"},
	rastertest.JPEGExtended:    {"dcmdjpeg", "+cn"},
	rastertest.JPEGLossless:    {"dcmdjpeg", "+cn"},
	rastertest.JPEGLosslessSV1: {"dcmdjpeg", "+cn"},
	rastertest.JPEGLSLossless:  {"dcmdjpls"},
	rastertest.JPEGLSNear:      {"dcmdjpls"},
}

// Every sample of pydicom in these transfer syntaxes is decoded, a fragment being a
// frame in all of them, and as DCMTK decodes it: identical where it is lossless,
// within 2 where not, of subsampled pictures the luminance.
func TestPydicomSamples(t *testing.T) {
	rastertest.Need(t, "dcmdjpeg", "dcmdjpls", "dcmdrle")
	compared, alone := 0, 0
	err := filepath.WalkDir(rastertest.Pydicom(t), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil || !isCoded(b) {
			return err
		}
		f := rastertest.Read(t, path)
		if len(f.Fragments) == 0 {
			return nil // no pixel data
		}
		if len(f.Fragments) != f.Frames {
			t.Errorf("%s: %d fragments of %d frames", d.Name(), len(f.Fragments), f.Frames)
			return nil
		}
		native := rastertest.Path(t, "native.dcm")
		peer := peers[f.Syntax]
		if exec.Command(peer[0], append(peer[1:], path, native)...).Run() != nil {
			native = ""
			alone++
		} else {
			compared++
		}
		for i, fragment := range f.Fragments {
			m, err := decode(f, fragment)
			if err != nil {
				t.Errorf("%s: %v", d.Name(), err)
				continue
			}
			if native != "" {
				compare(t, d.Name(), f, m, rastertest.Read(t, native), i)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if compared < 20 || alone > 1 {
		t.Errorf("%d files compared, %d that DCMTK does not decode", compared, alone)
	}
}

// isCoded says whether a file's meta information has one of the transfer syntaxes.
func isCoded(b []byte) bool {
	_, after, found := bytes.Cut(b[:min(len(b), 1000)], []byte("\x02\x00\x10\x00UI"))
	if !found || len(after) < 2 || len(after) < 2+int(after[0]) {
		return false
	}
	_, coded := peers[string(bytes.TrimRight(after[2:2+int(after[0])], "\x00"))]
	return coded
}

func compare(t *testing.T, name string, f *rastertest.File, m *raster.Image, native *rastertest.File, frame int) {
	t.Helper()
	theirs := native.Image
	theirs.Pix = native.Native[frame*len(m.Pix) : (frame+1)*len(m.Pix)]
	if m.BitsAllocated == 32 || native.Planar == 1 {
		if native.Planar == 1 {
			theirs.Pix = interleave(theirs.Pix, m.Samples, m.BitsAllocated/8)
		}
		if !bytes.Equal(m.Pix, theirs.Pix) {
			t.Errorf("%s, frame %d: other bytes", name, frame)
		}
		return
	}
	near := 0
	ours := m
	if f.Syntax == rastertest.JPEGBaseline || f.Syntax == rastertest.JPEGExtended {
		near = 2
		if subsampled(f.Fragments[frame]) {
			ours, theirs = luminance(m), *luminance(&theirs)
		}
	}
	if difference := rastertest.Compare(rastertest.Low(ours, m.Precision), rastertest.Low(&theirs, m.Precision), near); difference != "" {
		t.Errorf("%s, frame %d: %s", name, frame, difference)
	}
}

// subsampled looks at the first component of the frame header.
func subsampled(fragment []byte) bool {
	i := bytes.Index(fragment, []byte{0xFF, 0xC0})
	return i >= 0 && fragment[i+9] == 3 && fragment[i+11] != 0x11
}

func luminance(m *raster.Image) *raster.Image {
	one := *m
	one.Samples, one.Pix = 1, nil
	for i := 0; i < len(m.Pix); i += m.Samples {
		one.Pix = append(one.Pix, m.Pix[i])
	}
	return &one
}

func interleave(planes []byte, samples, size int) []byte {
	out := make([]byte, len(planes))
	plane := len(planes) / samples
	for i := range planes {
		pixel := i % plane / size
		out[(pixel*samples+i/plane)*size+i%size] = planes[i]
	}
	return out
}
