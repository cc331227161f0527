package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What a protocol or model does not take is refused in words, never left out in silence.
func TestWhatCannotBeSentIsRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "site.toml")
	env := Env{Profiles: map[string]string{"taker": "astm", "asker": "astm"}, Downloads: func(_, id string) bool { return id == "taker" }}
	base := "[[analyser]]\nname = \"xn-1\"\nprofile = \"taker\"\nport = \"tcp-listen://127.0.0.1:0\"\n"
	for text, want := range map[string]string{
		base: "",
		base + "orders = \"warn\"\nsend = \"both\"\n":                                               "",
		base + "send = \"download\"\n":                                                              `needs orders = "warn" or "required"`,
		strings.Replace(base, "taker", "asker", 1) + "orders = \"required\"\nsend = \"query\"\n":    "",
		strings.Replace(base, "taker", "asker", 1) + "orders = \"required\"\nsend = \"download\"\n": `the profile "asker" does not say`,
		base + "orders = \"warn\"\nsend = \"push\"\n":                                               `send is "push"`,
		base + "[orders]\ndone_by = \"me\"\n":                                                       `done_by is "me"`,
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, problems := Load(file, env)
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
