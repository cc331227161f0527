package config

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"nhip/gateway/reason"
)

// Everything that is said of a configuration is said in Vietnamese too, with the
// same places in the same order.
func TestEveryProblemIsSaidInVietnamese(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
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
			var of string
			switch fn := call.Fun.(type) {
			case *ast.SelectorExpr:
				of = fn.Sel.Name
			case *ast.Ident:
				of = fn.Name
			}
			at, ok := map[string]int{"wrong": 2, "note": 2, "problem": 2, "problemOf": 1, "say": 0}[of]
			if !ok || len(call.Args) <= at {
				return true
			}
			if l, ok := call.Args[at].(*ast.BasicLit); ok {
				text, err := strconv.Unquote(l.Value)
				if err != nil {
					t.Fatal(err)
				}
				said[text] = true
			}
			return true
		})
	}
	if len(said) < 80 {
		t.Fatalf("%d sentences were found", len(said))
	}
	verbs := regexp.MustCompile(`%[a-z]`)
	for text := range said {
		v, ok := vietnamese[text]
		if !ok {
			t.Errorf("not in Vietnamese: %q", text)
		}
		if !slices.Equal(verbs.FindAllString(text, -1), verbs.FindAllString(v, -1)) {
			t.Errorf("%q has other places than %q", v, text)
		}
	}
	for text := range vietnamese {
		if !said[text] {
			t.Errorf("nobody says %q", text)
		}
	}
}

func TestProblemsInVietnamese(t *testing.T) {
	file := filepath.Join(t.TempDir(), "site.toml")
	text := "[site]\nid = \"Bệnh viện\"\n[console]\nlisten = \"here\"\n[[analyser]]\nname = \"xn-1\"\nprofil = \"x\"\nport = \"tcp-listen://127.0.0.1:0\"\nto = []\n[[destination]]\nname = \"lis\"\nkind = \"fax\"\naddress = \"127.0.0.1:1\"\nanswer_timeout = 30\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	_, problems := Load(file, Env{})
	var all strings.Builder
	for _, p := range problems {
		all.WriteString(p.In(reason.Vietnamese) + "\n")
		if p.In(reason.English) != p.String() {
			t.Errorf("%s is not %s", p, p.In(reason.English))
		}
	}
	for _, want := range []string{
		`site.toml:2: [site]: id "Bệnh viện": chỉ dùng chữ thường a-z`, `listen: "here" không có dạng HOST:PORT`, `không có khóa "profil": có phải là "profile"?`,
		`kind là "fax"; chỉ được là`, `answer_timeout: phải là khoảng thời gian như "30s"`,
	} {
		if !strings.Contains(all.String(), want) {
			t.Errorf("no %q in\n%s", want, &all)
		}
	}
	_, problems = Load(filepath.Join(t.TempDir(), "none.toml"), Env{})
	if len(problems) != 1 || !strings.HasSuffix(problems[0].In(reason.Vietnamese), "none.toml: không đọc được: không có ở đó") {
		t.Errorf("%v", problems[0].In(reason.Vietnamese))
	}
}
