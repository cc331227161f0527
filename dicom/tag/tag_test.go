package tag

import "testing"

func TestRegistryIsSorted(t *testing.T) {
	for i := range registry[1:] {
		if registry[i].Tag >= registry[i+1].Tag {
			t.Fatalf("%v before %v", registry[i].Tag, registry[i+1].Tag)
		}
	}
	if len(registry) < 4900 {
		t.Errorf("%d rows", len(registry))
	}
}

func TestLookup(t *testing.T) {
	for _, c := range []struct {
		tag     Tag
		vr, key string
	}{
		{SpecificCharacterSet, "CS", "SpecificCharacterSet"},
		{SOPClassUID, "UI", "SOPClassUID"},
		{SOPInstanceUID, "UI", "SOPInstanceUID"},
		{AccessionNumber, "SH", "AccessionNumber"},
		{Modality, "CS", "Modality"},
		{PatientID, "LO", "PatientID"},
		{StudyInstanceUID, "UI", "StudyInstanceUID"},
		{SeriesInstanceUID, "UI", "SeriesInstanceUID"},
		{PixelData, "OB or OW", "PixelData"},
		{0x00000900, "US", "Status"},
		{0x60023000, "OB or OW", "OverlayData"}, // repeating group
		{0x50FE3000, "OB or OW", "CurveData"},
	} {
		if e, ok := Lookup(c.tag); !ok || e.VR != c.vr || e.Keyword != c.key {
			t.Errorf("%v: %+v", c.tag, e)
		}
	}
	for _, none := range []Tag{0x00091001, 0x60013000, 0x00080002} {
		if e, ok := Lookup(none); ok {
			t.Errorf("%08X is %+v", uint32(none), e)
		}
	}
}

func TestString(t *testing.T) {
	for want, tag := range map[string]Tag{
		"(0008,0018) SOPInstanceUID": New(0x0008, 0x0018),
		"(0009,1001)":                0x00091001,
		"(FFFE,E000) Item":           Item,
	} {
		if tag.String() != want {
			t.Errorf("%s, want %s", tag, want)
		}
	}
}
