package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"nhip/dicom/service/servicetest"
)

// Everything that nhip dicom says is said in Vietnamese too, with the same places in
// the same order.
func TestDicomToolsSpeakVietnamese(t *testing.T) {
	files, err := filepath.Glob("cmd_dicom*.go")
	if err != nil {
		t.Fatal(err)
	}
	verbs := regexp.MustCompile(`%[a-z]|\n`)
	letters := regexp.MustCompile(`[A-Za-z]`)
	said := map[string]bool{}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			fn, ok := call.Fun.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			at, ok := map[string]int{"sprintf": 0, "printf": 0, "warnf": 0, "errorf": 0, "failed": 1}[fn.Sel.Name]
			if !ok || len(call.Args) <= at {
				return true
			}
			if l, ok := call.Args[at].(*ast.BasicLit); ok {
				text, err := strconv.Unquote(l.Value)
				if err != nil {
					t.Fatal(err)
				}
				if letters.MatchString(verbs.ReplaceAllString(text, "")) {
					said[text] = true
				}
			}
			return true
		})
	}
	if len(said) < 40 {
		t.Fatalf("%d sentences were found", len(said))
	}
	for text := range said {
		v, ok := dicomVietnamese[text]
		if !ok {
			t.Errorf("not in Vietnamese: %q", text)
		}
		if !slices.Equal(verbs.FindAllString(text, -1), verbs.FindAllString(v, -1)) {
			t.Errorf("%q has other places than %q", v, text)
		}
	}
	for text := range dicomVietnamese {
		if !said[text] {
			t.Errorf("nobody says %q", text)
		}
	}
}

func TestDicomToolsSayWhatIsWrongInVietnamese(t *testing.T) {
	servicetest.Need(t, "storescp")
	port := servicetest.FreePort(t)
	for _, c := range []struct {
		want string
		args []string
	}{
		{"không có dạng AE@HOST:PORT", []string{"echo", "127.0.0.1:104"}},
		{"không có chương trình nào nghe tại đó", []string{"probe", "PACS@127.0.0.1:" + port}},
		{"không phải là transfer syntax", []string{"send", "--as", "zip", "PACS@127.0.0.1:" + port, t.TempDir()}},
		{"--instance cần có --series", []string{"get", "PACS@127.0.0.1:" + port, "--study", "1.2", "--instance", "1.3", "--out", t.TempDir()}},
	} {
		b, err := nhip(append([]string{"dicom", c.args[0], "--lang", "vi"}, c.args[1:]...)...).CombinedOutput()
		if err == nil || !strings.Contains(string(b), c.want) {
			t.Errorf("%v: %v: no %q in %s", c.args, err, c.want, b)
		}
	}
	cmd := nhip("dicom", "echo", "PACS@127.0.0.1:"+port)
	cmd.Env = append(cmd.Environ(), "LC_ALL=", "LC_MESSAGES=", "LANG=vi_VN.UTF-8")
	if b, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(b), "không có chương trình nào nghe") {
		t.Errorf("by the environment: %v: %s", err, b)
	}
	servicetest.Start(t, port, t.TempDir(), "storescp", "-aet", "STORE", port)
	b, err := nhip("dicom", "echo", "--lang", "vi", "STORE@127.0.0.1:"+port).CombinedOutput()
	if err != nil || !strings.Contains(string(b), "C-ECHO trả lời 0000") {
		t.Errorf("%v: %s", err, b)
	}
}
