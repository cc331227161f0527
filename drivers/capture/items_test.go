package capture

import (
	"io/fs"
	"strings"
	"testing"

	"nhip/drivers/profile"
	"nhip/drivers/profiles"
)

// Every transcript of every profile is decoded with it, of whatever protocol: results
// where it has some, and nothing is wrong with a frame, also where the model's checksums
// and frame numbers are not those of the standard.
func TestTranscriptsOfAllProfilesAreDecoded(t *testing.T) {
	all, err := profile.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	protocols := map[string]int{}
	for _, id := range profile.IDs(all) {
		p := all[id]
		names, err := fs.Glob(profiles.Files, id+"/transcripts/*.txt")
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			recording, err := fs.ReadFile(profiles.Files, name)
			if err != nil {
				t.Fatal(err)
			}
			o, err := Decode(recording, "auto", p, hanoi)
			if err != nil {
				t.Errorf("%s (%s): %v", name, p.Protocol(), err)
				continue
			}
			results := 0
			for _, m := range o.Messages {
				results += len(m.Results)
				for _, f := range m.Frames {
					if m.From == "device" && !f.ChecksumOK && !f.Repeated {
						t.Errorf("%s: the checksum of the frame at %d is said to be wrong", name, f.Offset)
					}
				}
			}
			if strings.HasSuffix(name, "/results.txt") && results == 0 {
				t.Errorf("%s (%s): no results; %v", name, p.Protocol(), o.Problems)
			}
			for _, x := range o.Problems {
				if strings.Contains(x.What, "frame") && x.From == "device" {
					t.Errorf("%s: %s", name, x)
				}
			}
			protocols[p.Protocol()]++
		}
	}
	for _, protocol := range []string{profile.ASTM, profile.HL7, profile.LAW, profile.AU, profile.BCI, profile.Text, profile.File} {
		if protocols[protocol] == 0 {
			t.Errorf("no transcript of protocol %s", protocol)
		}
	}
}

// A field's place is where its text stands, also behind the border of two frames.
func TestPlacesOfFieldsAreThoseOfTheBytes(t *testing.T) {
	for _, recording := range []string{
		"\x05\x021H|\\^&|||sender\rP|1\rO|1|\x1751\r\n\x022270||^^^WBC\rR|1|^^^WBC|6.41|10*3/uL\rL|1|N\r\x0300\r\n\x04",
		"H|\\^&\r\nR|1|^^^A|5\r\nL|1\r\n",
		"\xEF\xBB\xBFH|\\^&\n1R|1|^^^A|5\nL|1\n",
		"\x0bMSH|^~\\&|A|B\rPID|1||77\rOBX|1|NM|WBC||5.5\r\x1c\r",
		"^E\n^B1H|\\^&^M^CF5\n^B2R|1|^^^WBC|6.41^M^C00\n^D",
	} {
		o, err := Decode([]byte(recording), "auto", nil, nil)
		if err != nil {
			t.Errorf("%q: %v", recording, err)
			continue
		}
		for _, m := range o.Messages {
			for _, r := range m.Records {
				for i, text := range r.Fields {
					at := r.Place(i)
					head := text[:min(len(text), 1)] // the rest may stand in the next frame
					if at < 0 || !strings.HasPrefix(recording[at:], head) {
						t.Errorf("%q: %s field %d, %q, is said to be at %d", recording, r.Type, i, text, at)
					}
				}
			}
			for _, f := range m.Frames {
				if got := recording[f.Offset : f.Offset+f.Length]; !strings.HasPrefix(got, "\x02") && !strings.HasPrefix(got, "^B") {
					t.Errorf("%q: the frame is said to be %q", recording, got)
				}
			}
		}
	}
}
