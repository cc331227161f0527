package jpegll_test

import (
	"strconv"
	"testing"

	"nhip/dicom/pixel/jpegll"
	"nhip/dicom/pixel/raster"
	"nhip/dicom/pixel/raster/rastertest"
)

// What DCMTK and GDCM code is decoded to the same samples: another selection value
// for each case, and all with SV1.
func TestDecodesWhatPeersCode(t *testing.T) {
	rastertest.Need(t, "dcmcjpeg", "gdcmconv")
	for i, c := range rastertest.PeerCases {
		t.Run(c.String(), func(t *testing.T) {
			m := c.Image()
			native, coded := rastertest.Path(t, "native.dcm"), rastertest.Path(t, "coded.dcm")
			rastertest.WriteNative(t, native, m, m)
			peers := [][]string{
				{"dcmcjpeg", "+e1"}, {"dcmcjpeg", "+el", "+sv", strconv.Itoa(1 + i%7)}, {"gdcmconv", "--jpeg"},
			}
			for _, peer := range peers {
				rastertest.Run(t, peer[0], append(peer[1:], native, coded)...)
				f := rastertest.Read(t, coded)
				if len(f.Fragments) != 2 {
					t.Fatalf("%v: %s, %d fragments", peer, f.Syntax, len(f.Fragments))
				}
				for _, fragment := range f.Fragments {
					back, err := jpegll.Decode(fragment, raster.Limits{})
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

// What we code, DCMTK and GDCM decode to the same samples: a frame for each option.
func TestPeersDecodeWhatWeCode(t *testing.T) {
	rastertest.Need(t, "dcmdjpeg", "gdcmconv")
	for _, c := range rastertest.PeerCases {
		options := []jpegll.Options{{Restart: 5}, {Restart: 1, Selection: 4}, {Separate: true}}
		for selection := 1; selection <= 7; selection++ {
			options = append(options, jpegll.Options{Selection: selection})
		}
		t.Run(c.String(), func(t *testing.T) {
			m := c.Image()
			coded, native := rastertest.Path(t, "coded.dcm"), rastertest.Path(t, "native.dcm")
			var frames [][]byte
			for _, o := range options {
				b, err := jpegll.Encode(m, o)
				if err != nil {
					t.Fatal(err)
				}
				frames = append(frames, b)
			}
			rastertest.WriteEncapsulated(t, coded, rastertest.JPEGLossless, m, frames...)
			rastertest.Run(t, "dcmdjpeg", coded, native)
			rastertest.CheckNative(t, "DCMTK", native, len(frames), m, 0)
			rastertest.Run(t, "gdcmconv", "--raw", coded, native)
			rastertest.CheckNative(t, "GDCM", native, len(frames), m, 0)
		})
	}
}

// The largest difference, 32768, has a category of its own, both ways.
func TestLargestDifferenceAsPeers(t *testing.T) {
	rastertest.Need(t, "dcmcjpeg", "dcmdjpeg")
	m := &raster.Image{Columns: 32, Rows: 8, Samples: 1, BitsAllocated: 16, Precision: 16}
	for i := range 256 {
		m.Pix = rastertest.Append(m.Pix, i%2*32768+i, 16)
	}
	native, coded := rastertest.Path(t, "native.dcm"), rastertest.Path(t, "coded.dcm")
	rastertest.WriteNative(t, native, m)
	rastertest.Run(t, "dcmcjpeg", "+e1", native, coded)
	back, err := jpegll.Decode(rastertest.Read(t, coded).Fragments[0], raster.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if difference := rastertest.Compare(m, back, 0); difference != "" {
		t.Error(difference)
	}
	b, err := jpegll.Encode(m, jpegll.Options{})
	if err != nil {
		t.Fatal(err)
	}
	rastertest.WriteEncapsulated(t, coded, rastertest.JPEGLosslessSV1, m, b)
	rastertest.Run(t, "dcmdjpeg", coded, native)
	rastertest.CheckNative(t, "DCMTK", native, 1, m, 0)
}
