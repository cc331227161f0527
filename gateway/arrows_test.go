package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "nhip"

// mayImport has, by folder, the folders of ours that it may import; the first
// folder that holds the importing file decides.
var mayImport = []struct {
	folder  string
	imports []string
}{
	{"gateway/record", nil}, // what moves: the standard library only
	{"gateway/reason", nil}, // why something is held: the standard library only
	{"gateway", []string{"gateway", "drivers", "dicom", "hl7", "storage"}},
	{"drivers", []string{"drivers", "hl7", "gateway/record"}},
	{"dicom", []string{"dicom"}},
	{"hl7", []string{"hl7"}},
	{"storage", []string{"storage"}},
	{"hardware-sim", []string{"hardware-sim", "dicom", "hl7", "drivers/astm", "drivers/port", "drivers/transcript"}},
}

// confined are the dependencies that only some folders see.
var confined = map[string][]string{
	"github.com/dgraph-io/badger":  {"storage"},
	"github.com/mochi-mqtt/server": {"drivers/mqtt"},
	"go.bug.st/serial":             {"drivers/port"},
	"filippo.io/age":               {"gateway/backup"},
	"github.com/pelletier/go-toml": {"gateway/config", "drivers/profile", "hardware-sim/scenario"},
}

// standardOnly import nothing but the standard library.
var standardOnly = []string{"gateway/record", "gateway/reason"}

// TestImportArrows holds the arrows of the design for files that are not tests.
// It parses every file itself: a run of `go list` would be answered from the
// test cache although a file has changed.
func TestImportArrows(t *testing.T) {
	root := moduleRoot(t)
	files := 0
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, name)
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			return skipDir(rel, d.Name())
		}
		if !strings.HasSuffix(rel, ".go") || strings.HasSuffix(rel, "_test.go") {
			return nil
		}
		files++
		src, err := os.ReadFile(name) // an open of the file: the test cache sees it change
		if err != nil {
			return err
		}
		for _, problem := range arrows(t, rel, src) {
			t.Error(problem)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 5 {
		t.Errorf("only %d files found below %s", files, root)
	}
}

func skipDir(rel, base string) error {
	if rel != "." && (strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") || base == "testdata" || base == "node_modules" || base == "build") {
		return filepath.SkipDir
	}
	return nil
}

// arrows says which imports of the file are forbidden.
func arrows(t *testing.T, file string, src []byte) (problems []string) {
	f, err := parser.ParseFile(token.NewFileSet(), file, src, parser.ImportsOnly)
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	folder := path.Dir(file)
	for _, spec := range f.Imports {
		imported, _ := strconv.Unquote(spec.Path.Value)
		if !allowed(folder, imported) {
			problems = append(problems, file+" may not import "+imported)
		}
	}
	return problems
}

func allowed(folder, imported string) bool {
	if ours, ok := strings.CutPrefix(imported, module+"/"); ok {
		return allowedOurs(folder, ours)
	}
	if slices.ContainsFunc(standardOnly, func(f string) bool { return within(folder, f) }) && strings.Contains(strings.Split(imported, "/")[0], ".") {
		return false
	}
	for dependency, folders := range confined {
		if within(imported, dependency) && !slices.ContainsFunc(folders, func(f string) bool { return within(folder, f) }) {
			return false
		}
	}
	return true
}

func allowedOurs(folder, ours string) bool {
	for _, rule := range mayImport {
		if within(folder, rule.folder) {
			return slices.ContainsFunc(rule.imports, func(f string) bool { return within(ours, f) })
		}
	}
	return false // a top-level folder that the design does not know
}

func within(name, folder string) bool {
	return name == folder || strings.HasPrefix(name, folder+"/")
}

// moduleRoot is the folder of go.mod.
func moduleRoot(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod above the test")
		}
		dir = filepath.Dir(dir)
	}
}

func TestForbiddenArrowsAreSeen(t *testing.T) {
	for _, test := range []struct {
		folder, imported string
		want             bool
	}{
		{"gateway", "nhip/storage", true},
		{"gateway/intake", "nhip/drivers/astm/e1381", true},
		{"gateway", "nhip/hardware-sim/analyser", false},
		{"gateway/record", "nhip/hl7", false},
		{"gateway/record", "golang.org/x/text/unicode/norm", false},
		{"gateway/record", "time", true},
		{"drivers/profile", "nhip/gateway/record", true},
		{"drivers/profile", "nhip/gateway/config", false},
		{"drivers/mqtt", "nhip/storage", false},
		{"dicom/association", "nhip/dicom/ul", true},
		{"dicom", "nhip/hl7", false},
		{"hl7/mllp", "nhip/hl7", true},
		{"hl7", "nhip/gateway/record", false},
		{"storage/spool", "nhip/storage", true},
		{"storage", "nhip/gateway/record", false},
		{"hardware-sim/analyser", "nhip/drivers/astm/e1381", true},
		{"hardware-sim/analyser", "nhip/drivers/astmx", false},
		{"hardware-sim/monitor", "nhip/drivers/mqtt", false},
		{"hardware-sim", "nhip/gateway/record", false},
		{"elsewhere", "nhip/hl7", false},
		{"storage", "github.com/dgraph-io/badger/v4", true},
		{"storage", "github.com/dgraph-io/badger/v4/options", true},
		{"gateway/intake", "github.com/dgraph-io/badger/v4", false},
		{"gateway/vitals", "github.com/mochi-mqtt/server/v2/packets", false},
		{"drivers/mqtt", "github.com/mochi-mqtt/server/v2/packets", true},
		{"hardware-sim/analyser", "go.bug.st/serial", false},
		{"hardware-sim", "github.com/pelletier/go-toml/v2", false},
		{"hardware-sim/scenario", "github.com/pelletier/go-toml/v2", true},
		{"gateway/config", "github.com/pelletier/go-toml/v2/unstable", true},
	} {
		if got := allowed(test.folder, test.imported); got != test.want {
			t.Errorf("%s importing %s: %v", test.folder, test.imported, got)
		}
	}
	src := []byte("package hl7\nimport _ \"nhip/storage\"\n")
	if got := arrows(t, "hl7/hl7.go", src); len(got) != 1 {
		t.Errorf("a forbidden import in a file: %v", got)
	}
}
