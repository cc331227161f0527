package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestOrderCodesNameAnAnalyserAndStandOnce(t *testing.T) {
	file := filepath.Join(t.TempDir(), "site.toml")
	code := "[[order_code]]\nanalyser = \"xn-1\"\norder = \"CBC\"\ntests = [\"WBC\", \"RBC\"]\n"
	base := "[[analyser]]\nname = \"xn-1\"\nprofile = \"x\"\nport = \"tcp-listen://127.0.0.1:0\"\n"
	for text, want := range map[string]string{
		base + code:        "",
		base + code + code: `order "CBC" of this analyser stands in`,
		base + strings.Replace(code, "xn-1", "xn-9", 1):           `analyser "xn-9" is not in the file`,
		base + strings.Replace(code, `"RBC"`, `"WBC"`, 1):         `"WBC" is empty or stands there twice`,
		base + strings.Replace(code, `["WBC", "RBC"]`, `[""]`, 1): `"" is empty`,
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, problems := Load(file, Env{})
		var all []string
		for _, p := range problems {
			if !p.Warning {
				all = append(all, p.Text)
			}
		}
		if got := strings.Join(all, "\n"); want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s\nsaid %q, want %q", text, got, want)
		}
	}
}
