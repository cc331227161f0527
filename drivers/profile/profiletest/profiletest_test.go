package profiletest

import (
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"nhip/drivers/profile"
	"nhip/drivers/profiles"
	"nhip/drivers/transcript"
)

var (
	update  = flag.Bool("update", false, "write expected/ anew from what is extracted")
	dirFlag = flag.String("dir", "", "a folder of profiles that are not part of the program yet, to be tested alone")
)

// TestProfiles runs the generic tests over every profile.
func TestProfiles(t *testing.T) {
	all, err := profile.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	ids, files, root := profile.IDs(all), fs.FS(profiles.Files), filepath.Join("..", "..", "profiles")
	if *dirFlag != "" {
		files, root, ids = os.DirFS(*dirFlag), *dirFlag, nil
		dirs, err := os.ReadDir(*dirFlag)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range dirs {
			ids = append(ids, d.Name())
		}
	}
	var o Options
	if *update {
		o.Update = func(name string, content []byte) error {
			file := filepath.Join(root, filepath.FromSlash(name))
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				return err
			}
			return os.WriteFile(file, content, 0o644)
		}
	}
	for _, id := range ids {
		t.Run(id, func(t *testing.T) {
			for _, f := range Check(files, id, o) {
				t.Error(f)
			}
		})
	}
}

// TestNoTwoProfilesClaimTheSameSender plays every transcript with every other
// profile that names its sender.
func TestNoTwoProfilesClaimTheSameSender(t *testing.T) {
	all, err := profile.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	claimed := 0
	for _, id := range profile.IDs(all) {
		names, err := fs.Glob(profiles.Files, id+"/transcripts/*.txt")
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			for _, message := range messages(t, all[id], name) {
				for _, other := range profile.IDs(all) {
					if all[other].Protocol() != all[id].Protocol() || !all[other].Claims(message) {
						continue
					}
					claimed++
					if other != id {
						t.Errorf("%s: profile %s claims the sender", name, other)
					}
				}
			}
		}
	}
	if claimed == 0 {
		t.Error("no profile claims a sender")
	}
}

func messages(t *testing.T, p *profile.Profile, name string) [][]byte {
	c := &checker{fsys: profiles.Files, p: p}
	all, err := c.play(steps(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestFailuresAreFound: each of the generic tests can fail.
func TestFailuresAreFound(t *testing.T) {
	for _, test := range []struct {
		name, file, old, new string
		test                 int
		says                 string
	}{
		{"unknown key", "profile.toml", "revision", "revison", 1, "unknown key"},
		{"no source", "profile.toml", `"capture: paths of scattergram`, `"" # `, 1, "source is missing"},
		{"no notes", "NOTES.md", "", "", 1, "missing"},
		{"frame number", "transcripts/query.txt", "<STX>1", "<STX>3", 2, "driver"},
		{"other value", "expected/results.json", `"6.41"`, `"6.42"`, 3, "6.42"},
		{"undeclared code", "transcripts/results.txt", "^^^^WBC^1|", "^^^^XYZ^1|", 4, "XYZ"},
		{"test not shown", "profile.toml", "[[tests]]\ncode   = \"WBC\"", "[[tests]]\ncode = \"ZZZ\"\nsource = \"x\"\n[[tests]]\ncode   = \"WBC\"", 4, "ZZZ"},
		{"rule not shown", "profile.toml", "matches = 'QC-.*'", "matches = 'NOT-SHOWN'", 4, "control"},
	} {
		t.Run(test.name, func(t *testing.T) {
			files := copyOf(t, "sysmex-xn-l")
			name := "sysmex-xn-l/" + test.file
			if test.old == "" {
				delete(files, name)
			} else {
				if files[name] == nil {
					t.Fatalf("no %s", name)
				}
				text := string(files[name].Data)
				if !strings.Contains(text, test.old) {
					t.Fatalf("%s has no %q", name, test.old)
				}
				files[name].Data = []byte(strings.Replace(text, test.old, test.new, 1))
			}
			for _, f := range Check(files, "sysmex-xn-l", Options{}) {
				if f.Test == test.test && strings.Contains(f.String(), test.says) {
					return
				}
			}
			t.Errorf("nothing was found, but %v", Check(files, "sysmex-xn-l", Options{}))
		})
	}
}

func copyOf(t *testing.T, id string) fstest.MapFS {
	files := fstest.MapFS{}
	err := fs.WalkDir(profiles.Files, id, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := fs.ReadFile(profiles.Files, name)
		files[name] = &fstest.MapFile{Data: b}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func steps(t *testing.T, name string) []transcript.Step {
	text, err := fs.ReadFile(profiles.Files, name)
	if err != nil {
		t.Fatal(err)
	}
	all, err := transcript.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestMessagesCutAnywhereAreRead: a message of every transcript, cut at every byte,
// is read by every profile of its protocol or refused; it never panics.
func TestMessagesCutAnywhereAreRead(t *testing.T) {
	all, err := profile.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range profile.IDs(all) {
		names, err := fs.Glob(profiles.Files, id+"/transcripts/*.txt")
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			for _, message := range messages(t, all[id], name) {
				whole, err := all[id].Extract(message, zone)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				for n := range message {
					e, err := all[id].Extract(message[:n:n], zone)
					if err == nil && accounted(e) > accounted(whole) {
						t.Fatalf("%s cut at %d has more result records than the whole", name, n)
					}
				}
			}
		}
	}
}

// accounted is how many result records are delivered or counted.
func accounted(e profile.Extraction) int {
	n := e.Results()
	for _, ignored := range e.Ignored {
		n += ignored
	}
	return n
}
