package rle_test

import (
	"testing"

	"nhip/dicom/pixel/raster"
	"nhip/dicom/pixel/raster/rastertest"
	"nhip/dicom/pixel/rle"
)

// What DCMTK and GDCM code, and what we code, is decoded to the same samples.
func TestAsPeers(t *testing.T) {
	rastertest.Need(t, "dcmcrle", "dcmdrle", "gdcmconv")
	for _, c := range rastertest.PeerCases {
		t.Run(c.String(), func(t *testing.T) {
			m := c.Image()
			native, coded := rastertest.Path(t, "native.dcm"), rastertest.Path(t, "coded.dcm")
			rastertest.WriteNative(t, native, m, m)
			for _, peer := range [][]string{{"dcmcrle"}, {"gdcmconv", "--rle"}} {
				rastertest.Run(t, peer[0], append(peer[1:], native, coded)...)
				f := rastertest.Read(t, coded)
				if f.Syntax != rastertest.RLELossless || len(f.Fragments) != 2 {
					t.Fatalf("%v: %s, %d fragments", peer, f.Syntax, len(f.Fragments))
				}
				for _, fragment := range f.Fragments {
					checkFragment(t, peer[0], fragment, m)
				}
			}
			b, err := rle.Encode(m)
			if err != nil {
				t.Fatal(err)
			}
			rastertest.WriteEncapsulated(t, coded, rastertest.RLELossless, m, b, b)
			rastertest.Run(t, "dcmdrle", coded, native)
			rastertest.CheckNative(t, "DCMTK", native, 2, m, 0)
			rastertest.Run(t, "gdcmconv", "--raw", coded, native)
			rastertest.CheckNative(t, "GDCM", native, 2, m, 0)
		})
	}
}

func checkFragment(t *testing.T, peer string, fragment []byte, m *raster.Image) {
	t.Helper()
	back, err := rle.Decode(fragment, geometry(m), raster.Limits{})
	if err != nil {
		t.Fatalf("%s: %v", peer, err)
	}
	if difference := rastertest.Compare(m, back, 0); difference != "" {
		t.Errorf("%s: %s", peer, difference)
	}
}
