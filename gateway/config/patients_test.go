package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAuthoritiesAreChecked(t *testing.T) {
	file := filepath.Join(t.TempDir(), "site.toml")
	text := `
[[authority]]
name = "BV"
also = ["BVDK", "1.2.3"]
[[authority]]
name = "TT"
also = ["BVDK", "a|b"]
[[authority]]
name = "BV"
[[authority]]
name = "x^y"
[[hl7_peer]]
name = "his"
address = "127.0.0.1"
authority = ["BV", "NI=CCCD", "NI=KHAC", "N I=X", "VN="]
[[analyser]]
name = "xn"
profile = "sysmex-xn-l"
port = "tcp-listen://127.0.0.1:0"
authority = "B&V"
[[destination]]
name = "lis"
kind = "hl7"
address = "127.0.0.1:1"
status = "orm"
status_of = ["his", "xn"]
[[destination]]
name = "pacs"
kind = "dicom"
address = "127.0.0.1:2"
called_ae_title = "P"
results = "oul"
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	_, problems := Load(file, Env{})
	var said []string
	for _, p := range problems {
		said = append(said, p.String())
	}
	all := strings.Join(said, "\n")
	for _, want := range []string{
		`"BVDK" is also that of`, `also: "a|b" is empty, or has`, `the name is also that of authority "BV"`, `authority "x^y" is empty, or has`,
		`two authorities for identifiers of type "NI"`, `"N I=X" is not of the form`, `authority "" is empty`, `authority "B&V" is empty, or has`,
		`there is no [[hl7_peer]] with name = "xn"`, `results has no meaning for kind "dicom"`,
	} {
		if !strings.Contains(all, want) {
			t.Errorf("not said: %s\n%s", want, all)
		}
	}
}
