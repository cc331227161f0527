package profile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nhip/drivers/profiles"
)

// siteProfile writes a built-in profile into a folder under another id.
func siteProfile(t *testing.T, dir, folder, id string) {
	t.Helper()
	text, err := profiles.Files.ReadFile("generic-astm/profile.toml")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, folder), 0o700); err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(text), `"generic-astm"`, `"`+id+`"`, 1)
	if err := os.WriteFile(filepath.Join(dir, folder, FileName), []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestProfilesOfTheSiteStandBesideThoseThatAreBuiltIn(t *testing.T) {
	dir := t.TempDir()
	siteProfile(t, dir, "our-analyser", "our-analyser")
	siteProfile(t, dir, ".old", "old")
	if err := os.WriteFile(filepath.Join(dir, "notes.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "captures"), 0o700); err != nil {
		t.Fatal(err)
	}
	all, err := Folder(dir)
	if err != nil || all["our-analyser"] == nil || all["generic-astm"] == nil || all["old"] != nil {
		t.Fatal(all, err)
	}
}

func TestProfileOfTheSiteThatIsWrongIsNamedAndTheOthersAreThere(t *testing.T) {
	dir := t.TempDir()
	siteProfile(t, dir, "good", "good")
	siteProfile(t, dir, "generic-astm", "generic-astm")
	siteProfile(t, dir, "one", "another")
	all, err := Folder(dir)
	if all["good"] == nil || all["generic-astm"] == nil {
		t.Error("the others are gone")
	}
	for _, want := range []string{`"generic-astm" is built in`, "one/profile.toml"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
}

func TestFolderThatIsNotThereIsAnError(t *testing.T) {
	if _, err := Folder(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("no error")
	}
	if all, err := Folder(""); err != nil || len(all) == 0 {
		t.Error(err)
	}
}
