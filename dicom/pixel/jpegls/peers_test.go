package jpegls_test

import (
	"fmt"
	"testing"

	"nhip/dicom/pixel/jpegls"
	"nhip/dicom/pixel/raster"
	"nhip/dicom/pixel/raster/rastertest"
)

type peerCase struct {
	samples, precision int
	signed             bool
}

var peerCases = []peerCase{
	{1, 8, false}, {3, 8, false}, {1, 10, false}, {1, 12, false}, {1, 16, false},
	{1, 12, true}, {1, 16, true},
}

func (c peerCase) String() string {
	return fmt.Sprintf("%d samples of %d bits, signed %v", c.samples, c.precision, c.signed)
}

// image is a picture with the signs of the case.
func (c peerCase) image() *raster.Image {
	m := rastertest.Phantom(61, 47, c.samples, c.precision)
	if c.signed {
		m.Signed = true
		for i := range m.Columns * m.Rows {
			v := rastertest.Sample(m, i) - 1<<(c.precision-1)
			m.Pix[2*i], m.Pix[2*i+1] = byte(v), byte(v>>8)
		}
	}
	return m
}

// low is a picture as a codec gives it: so many low bits of each sample, no signs.
func low(m *raster.Image, precision int) *raster.Image {
	u := *m
	u.Signed, u.Precision, u.Pix = false, precision, nil
	for i := range m.Columns * m.Rows * m.Samples {
		u.Pix = rastertest.Append(u.Pix, rastertest.Sample(m, i)&(1<<precision-1), m.BitsAllocated)
	}
	return &u
}

// What DCMTK and GDCM code is decoded to the same samples. DCMTK codes as many bits
// as are allocated. GDCM refuses signed samples.
func TestDecodesWhatPeersCode(t *testing.T) {
	rastertest.Need(t, "dcmcjpls", "gdcmconv")
	for _, c := range peerCases {
		t.Run(c.String(), func(t *testing.T) {
			m := c.image()
			native, coded := rastertest.Path(t, "native.dcm"), rastertest.Path(t, "coded.dcm")
			rastertest.WriteNative(t, native, m, m)
			for _, peer := range [][]string{
				{"dcmcjpls"}, {"dcmcjpls", "--interleave-sample"}, {"dcmcjpls", "--interleave-none"}, {"gdcmconv", "--jpegls"},
			} {
				if peer[0] == "gdcmconv" && c.signed {
					continue
				}
				rastertest.Run(t, peer[0], append(peer[1:], native, coded)...)
				f := rastertest.Read(t, coded)
				if f.Syntax != rastertest.JPEGLSLossless || len(f.Fragments) != 2 {
					t.Fatalf("%v: %s, %d fragments", peer, f.Syntax, len(f.Fragments))
				}
				for _, fragment := range f.Fragments {
					back, err := jpegls.Decode(fragment, raster.Limits{})
					if err != nil {
						t.Fatalf("%v: %v", peer, err)
					}
					if difference := rastertest.Compare(low(m, back.Precision), back, 0); difference != "" {
						t.Errorf("%v: %s", peer, difference)
					}
				}
			}
		})
	}
}

// What we code, DCMTK and GDCM decode to the same samples. DCMTK does not extend
// signs; GDCM refuses signed samples, and gives planes of scans without interleave
// without saying so.
func TestPeersDecodeWhatWeCode(t *testing.T) {
	rastertest.Need(t, "dcmdjpls", "gdcmconv")
	for _, c := range peerCases {
		for _, interleave := range []jpegls.Interleave{jpegls.InterleaveNone, jpegls.InterleaveLine, jpegls.InterleaveSample} {
			if c.samples == 1 && interleave != jpegls.InterleaveNone {
				continue
			}
			t.Run(fmt.Sprintf("%v, interleave %d", c, interleave), func(t *testing.T) {
				m := c.image()
				b, err := jpegls.Encode(m, jpegls.Options{Interleave: interleave})
				if err != nil {
					t.Fatal(err)
				}
				coded, native := rastertest.Path(t, "coded.dcm"), rastertest.Path(t, "native.dcm")
				rastertest.WriteEncapsulated(t, coded, rastertest.JPEGLSLossless, m, b, b)
				rastertest.Run(t, "dcmdjpls", coded, native)
				checkNative(t, "DCMTK", native, 2, low(m, c.precision), 0)
				if !c.signed && (c.samples == 1 || interleave != jpegls.InterleaveNone) {
					rastertest.Run(t, "gdcmconv", "--raw", coded, native)
					checkNative(t, "GDCM", native, 2, m, 0)
				}
			})
		}
	}
}

// DCMTK's CharLS does not do 2 to 5 and 7 bits; GDCM's does.
func TestPeerDecodesEveryPrecision(t *testing.T) {
	rastertest.Need(t, "gdcmconv")
	for precision := 2; precision <= 16; precision++ {
		m := rastertest.Phantom(61, 47, 1, precision)
		b, err := jpegls.Encode(m, jpegls.Options{})
		if err != nil {
			t.Fatal(err)
		}
		coded, native := rastertest.Path(t, "coded.dcm"), rastertest.Path(t, "native.dcm")
		rastertest.WriteEncapsulated(t, coded, rastertest.JPEGLSLossless, m, b)
		rastertest.Run(t, "gdcmconv", "--raw", coded, native)
		checkNative(t, "GDCM", native, 1, m, 0)
	}
}

// Coding parameters that are not the defaults.
func TestPeersDecodePresets(t *testing.T) {
	rastertest.Need(t, "dcmdjpls", "gdcmconv")
	m := rastertest.Phantom(61, 47, 1, 12)
	for _, p := range []jpegls.Preset{
		{T1: 1, T2: 1, T3: 1}, {T1: 30, T2: 500, T3: 4095}, {Reset: 3}, {Reset: 255}, {T1: 5, T2: 6, T3: 7, Reset: 31},
	} {
		b, err := jpegls.Encode(m, jpegls.Options{Preset: p})
		if err != nil {
			t.Fatal(err)
		}
		coded, native := rastertest.Path(t, "coded.dcm"), rastertest.Path(t, "native.dcm")
		rastertest.WriteEncapsulated(t, coded, rastertest.JPEGLSLossless, m, b)
		rastertest.Run(t, "dcmdjpls", coded, native)
		checkNative(t, fmt.Sprintf("DCMTK, %+v", p), native, 1, m, 0)
		rastertest.Run(t, "gdcmconv", "--raw", coded, native)
		checkNative(t, fmt.Sprintf("GDCM, %+v", p), native, 1, m, 0)
	}
}

// checkNative compares the frames of a native file with a picture.
func checkNative(t *testing.T, peer, path string, frames int, m *raster.Image, near int) {
	t.Helper()
	f := rastertest.Read(t, path)
	if len(f.Native) < frames*len(m.Pix) {
		t.Fatalf("%s: %d bytes of pixel data, not %d", peer, len(f.Native), frames*len(m.Pix))
	}
	for i := range frames {
		back := f.Image
		back.Pix = f.Native[i*len(m.Pix) : (i+1)*len(m.Pix)]
		if f.Planar == 1 {
			back.Pix = interleave(back.Pix, m.Samples)
		}
		if difference := rastertest.Compare(m, &back, near); difference != "" {
			t.Errorf("%s: %s", peer, difference)
		}
	}
}

// interleave turns 8-bit planes into pixels.
func interleave(planes []byte, samples int) []byte {
	out := make([]byte, len(planes))
	size := len(planes) / samples
	for i := range planes {
		out[i%size*samples+i/size] = planes[i]
	}
	return out
}

// Near-lossless both ways: the peer and we see the same.
func TestNearLosslessAsPeers(t *testing.T) {
	rastertest.Need(t, "dcmcjpls", "dcmdjpls")
	for _, c := range peerCases[:5] {
		for _, near := range []int{1, 2, 3, 10} {
			t.Run(fmt.Sprintf("%v, NEAR %d", c, near), func(t *testing.T) {
				m := c.image()
				coded, native := rastertest.Path(t, "coded.dcm"), rastertest.Path(t, "native.dcm")
				b, err := jpegls.Encode(m, jpegls.Options{Near: near, Interleave: jpegls.InterleaveSample})
				if err != nil {
					t.Fatal(err)
				}
				back, err := jpegls.Decode(b, raster.Limits{})
				if err != nil {
					t.Fatal(err)
				}
				rastertest.WriteEncapsulated(t, coded, rastertest.JPEGLSNear, m, b, b)
				rastertest.Run(t, "dcmdjpls", coded, native)
				checkNative(t, "DCMTK decoding ours", native, 2, back, 0)
				checkNative(t, "DCMTK decoding ours, against the picture", native, 2, m, near)

				rastertest.WriteNative(t, native, m, m)
				rastertest.Run(t, "dcmcjpls", "+en", "+md", fmt.Sprint(near), native, coded)
				theirs := rastertest.Read(t, coded)
				back, err = jpegls.Decode(theirs.Fragments[0], raster.Limits{})
				if err != nil {
					t.Fatal(err)
				}
				if difference := rastertest.Compare(low(m, back.Precision), back, near); difference != "" {
					t.Errorf("theirs: %s", difference)
				}
				rastertest.Run(t, "dcmdjpls", coded, native)
				checkNative(t, "DCMTK decoding its own", native, 2, back, 0)
			})
		}
	}
}
