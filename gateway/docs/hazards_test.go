package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// testsOf are the tests of every package of the module, by folder.
func testsOf(t *testing.T) map[string][]string {
	t.Helper()
	root := filepath.Join("..", "..")
	tests := map[string][]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			if name := d.Name(); path != root && (name == "testdata" || name == "build" || strings.HasPrefix(name, ".")) {
				return filepath.SkipDir
			}
			return nil
		case !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		folder, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		folder = filepath.ToSlash(folder)
		for _, decl := range f.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil && regexp.MustCompile(`^(Test|Fuzz)[^a-z]`).MatchString(fn.Name.Name) {
				tests[folder] = append(tests[folder], fn.Name.Name)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return tests
}

// proofs are the tests that a document names, as `folder`.TestName.
var proofs = regexp.MustCompile("`([a-z0-9/]+)`\\.((?:Test|Fuzz)\\w+)")

// TestEveryHazardIsThereAndItsTestsExist holds HAZARDS.md against the tests: all
// fifteen hazards, each closed by a test that exists or said to be open; no test
// is named that nobody can run.
func TestEveryHazardIsThereAndItsTestsExist(t *testing.T) {
	b, err := os.ReadFile("HAZARDS.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	tests := testsOf(t)
	named := proofs.FindAllStringSubmatch(text, -1)
	for _, m := range named {
		if !slices.Contains(tests[m[1]], m[2]) {
			t.Errorf("there is no test %s in %s", m[2], m[1])
		}
	}
	// A name that is not written with its folder would not be checked.
	if all := regexp.MustCompile(`\b(Test|Fuzz)[A-Z]\w+`).FindAllString(text, -1); len(all) != len(named) {
		t.Errorf("%d tests are named, %d of them with their folder", len(all), len(named))
	}
	sections := strings.Split(text, "\n## H")[1:]
	if len(sections) != 15 {
		t.Fatalf("%d hazards, not 15", len(sections))
	}
	for i, s := range sections {
		s, _, _ = strings.Cut(s, "\n## ")
		n := strconv.Itoa(i + 1)
		if !strings.HasPrefix(s, n+" ") {
			t.Errorf("hazard %s is missing; there is %.20q", n, s)
		}
		open := strings.Contains(s, "\nOpen: ")
		if !open && !proofs.MatchString(s) {
			t.Errorf("H%s is neither proved nor open", n)
		}
		for _, file := range regexp.MustCompile("`((?:gateway|drivers|storage|hl7|dicom)/[\\w/.]+\\.go)`").FindAllStringSubmatch(s, -1) {
			if _, err := os.Stat(filepath.Join("..", "..", file[1])); err != nil {
				t.Errorf("H%s: %v", n, err)
			}
		}
	}
}
