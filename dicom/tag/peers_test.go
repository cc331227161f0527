package tag

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// The dictionary of DCMTK has the same VRs and keywords, but for what it writes
// otherwise.
func TestDictionaryIsDCMTKs(t *testing.T) {
	found, _ := filepath.Glob("/usr/share/libdcmtk*/dicom.dic")
	if len(found) == 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("dcmtk is not installed")
		}
		t.Skip("dcmtk is not installed")
	}
	b, err := os.ReadFile(found[0])
	if err != nil {
		t.Fatal(err)
	}
	same, missing, renamed := 0, 0, 0
	for line := range strings.Lines(string(b)) {
		f := strings.Split(strings.TrimSpace(line), "\t")
		if strings.HasPrefix(line, "#") || len(f) < 5 || !strings.HasPrefix(f[4], "DICOM") {
			continue
		}
		n, err := strconv.ParseUint(strings.NewReplacer("(", "", ")", "", ",", "").Replace(f[0]), 16, 32)
		if err != nil {
			continue // a range
		}
		e, ok := Lookup(Tag(n))
		if !ok {
			missing++
			t.Logf("only DCMTK has %s", line)
			continue
		}
		// Its own words: up and na for offsets and items; ox, xs, lt and the like for
		// alternatives; RETIRED_ before a keyword.
		if len(f[1]) == 2 && strings.ToUpper(f[1]) == f[1] && f[1] != e.VR {
			t.Errorf("%v: VR %s, DCMTK has %s", Tag(n), e.VR, f[1])
		}
		keyword := strings.TrimPrefix(strings.TrimPrefix(f[2], "RETIRED_"), "ACR_NEMA_")
		if keyword != e.Keyword && e.Keyword != "" {
			renamed++
			t.Logf("%v: DCMTK has %s", Tag(n), keyword)
		}
		same++
	}
	t.Logf("%d elements are the same, %d only DCMTK's, %d with another keyword", same, missing, renamed)
	if same < 4500 || missing > 0 || renamed > 60 {
		t.Errorf("%d the same, %d missing, %d with another keyword", same, missing, renamed)
	}
}

func TestKeywordsBothWays(t *testing.T) {
	seen := 0
	for _, e := range registry {
		if e.Keyword == "" {
			continue
		}
		seen++
		if got, ok := ByKeyword(e.Keyword); !ok || got != e.Tag {
			t.Errorf("%s is %v, want %v", e.Keyword, got, e.Tag)
		}
	}
	if seen < 4800 {
		t.Errorf("%d keywords", seen)
	}
	for s, want := range map[string]Tag{"PatientID": PatientID, "(0010,0020)": PatientID, "0010,0020": PatientID, "00100020": PatientID, "OverlayData": 0x60003000, "(7fe0,0010)": PixelData} {
		if got, err := Parse(s); err != nil || got != want {
			t.Errorf("%q is %v: %v", s, got, err)
		}
	}
	for _, s := range []string{"", "patientid", "(0010,0020", "0010,0020)", "010020", "(0010 0020)", "+0100020", "00100020 "} {
		if got, err := Parse(s); err == nil {
			t.Errorf("%q is %v", s, got)
		}
	}
}

func TestPrivateDictionary(t *testing.T) {
	for i := range private[1:] {
		a, b := private[i], private[i+1]
		if a.creator > b.creator || a.creator == b.creator && a.tag >= b.tag {
			t.Fatalf("%v before %v", a, b)
		}
	}
	for _, c := range []struct {
		creator  string
		tag      Tag
		vr, name string
	}{
		{"GEMS_IDEN_01", 0x00091002, "SH", "Suite id"},
		{"GEMS_IDEN_01", 0x0009FF02, "SH", "Suite id"},
		{"SIEMENS CSA HEADER", 0x00291010, "OB", "CSA Image Header Info"},
	} {
		if e, ok := LookupPrivate(c.creator, c.tag); !ok || e.VR != c.vr || e.Name != c.name {
			t.Errorf("%s %v: %+v", c.creator, c.tag, e)
		}
	}
	for creator, at := range map[string]Tag{"": 0x00091002, "GEMS_IDEN_01": 0x00090002, "NOBODY": 0x00091002, "GEMS_IDEN_01 ": 0x00091002} {
		if e, ok := LookupPrivate(creator, at); ok {
			t.Errorf("%q %v: %+v", creator, at, e)
		}
	}
	if _, ok := LookupPrivate("GEMS_IDEN_01", 0x00081002); ok {
		t.Error("a standard element is private")
	}
}
