package capture_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nhip/drivers/capture"
	"nhip/drivers/profile/profiletest"
)

// draftOf makes a draft of recordings in a folder of its own, as `nhip profile new`
// does, lets expected/ be written, and says what the generic tests find.
func draftOf(t *testing.T, id string, recordings ...[]byte) (capture.Draft, []profiletest.Finding) {
	t.Helper()
	var all []capture.Output
	var names []string
	root := filepath.Join(t.TempDir(), id)
	for _, dir := range []string{"transcripts", "expected"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for i, r := range recordings {
		out, err := capture.Decode(r, "auto", nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, out)
		names = append(names, "recording")
		text, n := capture.Session(out.Protocol, out.Messages)
		if n == 0 {
			t.Fatal("no whole message")
		}
		write(filepath.Join("transcripts", string(rune('a'+i))+".txt"), string(text))
	}
	d, err := capture.NewDraft(id, "", names, all)
	if err != nil {
		t.Fatal(err)
	}
	write("profile.toml", d.Profile)
	write("NOTES.md", d.Notes)
	fsys := os.DirFS(filepath.Dir(root))
	update := profiletest.Options{Update: func(name string, content []byte) error {
		return os.WriteFile(filepath.Join(filepath.Dir(root), name), content, 0o600)
	}}
	if found := profiletest.Check(fsys, id, update); len(found) > 0 {
		return d, found
	}
	return d, profiletest.Check(fsys, id, profiletest.Options{})
}

const unknownAnalyser = "H`|^&```ACME^1.0^77`````LIS``P`E1394-97`20260114081500\rP`1``HN-17``Hoa^Tran``19610402`F\rO`1`27^3^5^^`^`^^^GLU^1`R\r" +
	"R`1`^^^GLU^1`5.4`mmol/L`3.9 to 6.4`N``F```20260114081400\rR`2`^^^ALT^1`17`U/L``N``F```20260114081420\rL`1`N\r"

func TestDraftOfAnUnknownAnalyserPassesTheGenericTests(t *testing.T) {
	d, found := draftOf(t, "acme", []byte(unknownAnalyser))
	if len(found) > 0 {
		t.Errorf("%v\n%s", found, d.Profile)
	}
	if got := strings.Join(d.Codes, " "); got != "ALT GLU" {
		t.Errorf("codes %s", got)
	}
	for _, want := range []string{`specimen     = "O.3.1"`, `code         = "R.3.4"`, `patient_id   = "P.4"`, `(?P<model>ACME)`, `is     = "mmol/L"`} {
		if !strings.Contains(d.Profile, want) {
			t.Errorf("the draft lacks %s:\n%s", want, d.Profile)
		}
	}
}

func TestDraftOfHL7PassesTheGenericTests(t *testing.T) {
	message := "MSH|^~\\&|ACME|X1|||20260114081500||ORU^R01|1|P|2.3.1\rPID|1||HN-17\rOBR|1||27\rOBX|1|NM|6690-2^WBC^LN||9.81|10*9/L|4-10|N|||F\rOBX|2|NM|789-8^RBC^LN||4.1|10*12/L||N|||F\r"
	d, found := draftOf(t, "acme-hl7", []byte(message))
	if len(found) > 0 {
		t.Errorf("%v\n%s", found, d.Profile)
	}
	if !strings.Contains(d.Profile, "code   = \"6690-2\"\nname   = \"WBC\"") {
		t.Error(d.Profile)
	}
}

func TestDraftNeedsAResult(t *testing.T) {
	out, err := capture.Decode([]byte("H|\\^&\rQ|1|^27||ALL\rL|1\r"), "auto", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := capture.NewDraft("acme", "", []string{"x"}, []capture.Output{out}); err != capture.ErrNoResult {
		t.Error(err)
	}
	if _, err := capture.NewDraft("../x", "", nil, nil); err == nil {
		t.Error("an id that is a path")
	}
}

// Of every recording of an analyser there is, a draft can be made that loads and
// that says of every result what it is.
func TestDraftsOfTheSamples(t *testing.T) {
	root := filepath.Join("..", "..", "..", "shared", "samples", "lab")
	if _, err := os.Stat(root); err != nil {
		t.Skip("the folder of samples is not there")
	}
	made := 0
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, ".json") || strings.HasSuffix(path, ".md") {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil || len(b) > 8<<10 { // the generic tests play each byte by itself
			return err
		}
		out, err := capture.Decode(b, "auto", nil, nil)
		if err != nil {
			return nil // of another protocol
		}
		if _, n := capture.Session(out.Protocol, out.Messages); n == 0 {
			return nil // nothing whole
		}
		if _, err := capture.NewDraft("x", "", []string{"x"}, []capture.Output{out}); err == capture.ErrNoResult {
			return nil
		}
		t.Run(strings.TrimPrefix(path, root), func(t *testing.T) {
			if draft, found := draftOf(t, "sample", b); len(found) > 0 {
				t.Errorf("%v\n%s", found, draft.Profile)
			}
		})
		made++
		return nil
	})
	if err != nil || made < 15 {
		t.Errorf("%d drafts, %v", made, err)
	}
}
