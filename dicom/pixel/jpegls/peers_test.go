package jpegls_test

import (
	"fmt"
	"strconv"
	"testing"

	"nhip/dicom/pixel/jpegls"
	"nhip/dicom/pixel/raster"
	"nhip/dicom/pixel/raster/rastertest"
)

// What DCMTK and GDCM code is decoded to the same samples. DCMTK codes as many bits
// as are allocated.
func TestDecodesWhatPeersCode(t *testing.T) {
	rastertest.Need(t, "dcmcjpls", "gdcmconv")
	for _, c := range rastertest.PeerCases {
		t.Run(c.String(), func(t *testing.T) {
			m := c.Image()
			native, coded := rastertest.Path(t, "native.dcm"), rastertest.Path(t, "coded.dcm")
			rastertest.WriteNative(t, native, m, m)
			for _, peer := range [][]string{
				{"dcmcjpls"}, {"dcmcjpls", "--interleave-sample"}, {"dcmcjpls", "--interleave-none"}, {"gdcmconv", "--jpegls"},
			} {
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
					if difference := rastertest.Compare(rastertest.Low(m, back.Precision), back, 0); difference != "" {
						t.Errorf("%v: %s", peer, difference)
					}
				}
			}
		})
	}
}

// What we code, DCMTK and GDCM decode to the same samples. GDCM gives planes of
// scans without interleave, and does not say so.
func TestPeersDecodeWhatWeCode(t *testing.T) {
	rastertest.Need(t, "dcmdjpls", "gdcmconv")
	for _, c := range rastertest.PeerCases {
		for _, interleave := range []jpegls.Interleave{jpegls.InterleaveNone, jpegls.InterleaveLine, jpegls.InterleaveSample} {
			if c.Samples == 1 && interleave != jpegls.InterleaveNone {
				continue
			}
			t.Run(fmt.Sprintf("%v, interleave %d", c, interleave), func(t *testing.T) {
				m := c.Image()
				b, err := jpegls.Encode(m, jpegls.Options{Interleave: interleave})
				if err != nil {
					t.Fatal(err)
				}
				coded, native := rastertest.Path(t, "coded.dcm"), rastertest.Path(t, "native.dcm")
				rastertest.WriteEncapsulated(t, coded, rastertest.JPEGLSLossless, m, b, b)
				rastertest.Run(t, "dcmdjpls", coded, native)
				rastertest.CheckNative(t, "DCMTK", native, 2, rastertest.Low(m, c.Precision), 0)
				if c.Samples == 1 || interleave != jpegls.InterleaveNone {
					rastertest.Run(t, "gdcmconv", "--raw", coded, native)
					rastertest.CheckNative(t, "GDCM", native, 2, m, 0)
				}
			})
		}
	}
}

// DCMTK's CharLS does not do 2 to 5 and 7 bits; GDCM's does.
func TestPeerDecodesOtherPrecisions(t *testing.T) {
	rastertest.Need(t, "gdcmconv")
	for _, precision := range []int{2, 3, 5, 7, 9, 11, 14, 15} { // others are among PeerCases
		m := rastertest.Phantom(61, 47, 1, precision)
		b, err := jpegls.Encode(m, jpegls.Options{})
		if err != nil {
			t.Fatal(err)
		}
		coded, native := rastertest.Path(t, "coded.dcm"), rastertest.Path(t, "native.dcm")
		rastertest.WriteEncapsulated(t, coded, rastertest.JPEGLSLossless, m, b)
		rastertest.Run(t, "gdcmconv", "--raw", coded, native)
		rastertest.CheckNative(t, "GDCM", native, 1, m, 0)
	}
}

// Coding parameters that are not the defaults, a frame for each.
func TestPeersDecodePresets(t *testing.T) {
	rastertest.Need(t, "dcmdjpls", "gdcmconv")
	m := rastertest.Phantom(61, 47, 1, 12)
	var frames [][]byte
	for _, p := range []jpegls.Preset{
		{T1: 1, T2: 1, T3: 1}, {T1: 30, T2: 500, T3: 4095}, {Reset: 3}, {Reset: 255}, {T1: 5, T2: 6, T3: 7, Reset: 31},
	} {
		b, err := jpegls.Encode(m, jpegls.Options{Preset: p})
		if err != nil {
			t.Fatal(err)
		}
		frames = append(frames, b)
	}
	coded, native := rastertest.Path(t, "coded.dcm"), rastertest.Path(t, "native.dcm")
	rastertest.WriteEncapsulated(t, coded, rastertest.JPEGLSLossless, m, frames...)
	rastertest.Run(t, "dcmdjpls", coded, native)
	rastertest.CheckNative(t, "DCMTK", native, len(frames), m, 0)
	rastertest.Run(t, "gdcmconv", "--raw", coded, native)
	rastertest.CheckNative(t, "GDCM", native, len(frames), m, 0)
}

// Restart markers count lines. DCMTK's CharLS does not know them; GDCM's does.
func TestPeerDecodesRestartMarkers(t *testing.T) {
	rastertest.Need(t, "gdcmconv")
	for _, o := range []jpegls.Options{
		{Restart: 1}, {Restart: 5}, {Restart: 5, Interleave: jpegls.InterleaveLine}, {Restart: 5, Interleave: jpegls.InterleaveSample},
	} {
		samples := 1
		if o.Interleave != jpegls.InterleaveNone {
			samples = 3
		}
		m := rastertest.Phantom(61, 47, samples, 8)
		b, err := jpegls.Encode(m, o)
		if err != nil {
			t.Fatal(err)
		}
		coded, native := rastertest.Path(t, "coded.dcm"), rastertest.Path(t, "native.dcm")
		rastertest.WriteEncapsulated(t, coded, rastertest.JPEGLSLossless, m, b)
		rastertest.Run(t, "gdcmconv", "--raw", coded, native)
		rastertest.CheckNative(t, fmt.Sprintf("GDCM, %+v", o), native, 1, m, 0)
	}
}

// Near-lossless both ways: the peer and we see the same.
func TestNearLosslessAsPeers(t *testing.T) {
	rastertest.Need(t, "dcmcjpls", "dcmdjpls")
	for i, c := range rastertest.PeerCases[:5] {
		near := []int{1, 2, 3, 5, 10}[i]
		t.Run(fmt.Sprintf("%v, NEAR %d", c, near), func(t *testing.T) {
			m := c.Image()
			coded, native := rastertest.Path(t, "coded.dcm"), rastertest.Path(t, "native.dcm")
			b, err := jpegls.Encode(m, jpegls.Options{Near: near, Interleave: jpegls.InterleaveSample})
			if err != nil {
				t.Fatal(err)
			}
			back, err := jpegls.Decode(b, raster.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			rastertest.WriteEncapsulated(t, coded, rastertest.JPEGLSNear, m, b)
			rastertest.Run(t, "dcmdjpls", coded, native)
			rastertest.CheckNative(t, "DCMTK decoding ours", native, 1, back, 0)
			rastertest.CheckNative(t, "DCMTK decoding ours, against the picture", native, 1, m, near)

			rastertest.WriteNative(t, native, m)
			rastertest.Run(t, "dcmcjpls", "+en", "+md", strconv.Itoa(near), native, coded)
			back, err = jpegls.Decode(rastertest.Read(t, coded).Fragments[0], raster.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if difference := rastertest.Compare(rastertest.Low(m, back.Precision), back, near); difference != "" {
				t.Errorf("theirs: %s", difference)
			}
			rastertest.Run(t, "dcmdjpls", coded, native)
			rastertest.CheckNative(t, "DCMTK decoding its own", native, 1, back, 0)
		})
	}
}
