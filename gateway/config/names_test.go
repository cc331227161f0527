package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nhip/gateway/reason"
	"nhip/hl7/vncharset"
)

func namesProblems(t *testing.T, profile, port, names string) []Problem {
	t.Helper()
	file := filepath.Join(t.TempDir(), "site.toml")
	text := "[site]\nid = \"test\"\n[[analyser]]\nname = \"xn-1\"\nprofile = \"" + profile + "\"\nport = \"" + port + "\"\n"
	if names != "" {
		text += "names = \"" + names + "\"\n"
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	_, all := Load(file, Env{Profiles: map[string]string{"xn": "astm", "kx": "text", "au": "beckman-au", "vidas": "bci", "bs": "hl7", "pure": "law", "csv": "file", "poct": "poct1a"}})
	var found []Problem
	for _, p := range all {
		if !p.Warning {
			found = append(found, p)
		}
	}
	return found
}

func TestNamesOfAnAnalyser(t *testing.T) {
	const tcp, mllp, serial = "tcp-listen://127.0.0.1:4001", "mllp-listen://127.0.0.1:4001", "serial:///dev/ttyUSB0?data="
	for _, c := range []struct{ profile, port, names, wrong string }{
		{"xn", tcp, "", ""}, {"xn", tcp, vncharset.NamesASCII, ""}, {"xn", tcp, vncharset.NamesUTF8, ""},
		{"xn", tcp, vncharset.NamesTCVN3, ""}, {"xn", tcp, vncharset.NamesVNI, ""}, {"xn", tcp, vncharset.NamesCP1258, ""},
		{"xn", tcp, vncharset.NamesVISCII, "control characters"}, {"xn", tcp, vncharset.NamesTCVN, "control characters"}, {"xn", tcp, vncharset.NamesVPS, "control characters"},
		{"kx", tcp, vncharset.NamesVISCII, "control characters"}, {"au", tcp, vncharset.NamesTCVN, "control characters"}, {"vidas", tcp, vncharset.NamesVISCII, "control characters"},
		{"bs", mllp, vncharset.NamesVISCII, ""}, {"bs", mllp, vncharset.NamesTCVN3, ""}, {"bs", mllp, vncharset.NamesVPS, "control characters"},
		{"csv", "file:///tmp", vncharset.NamesVPS, ""},
		{"pure", mllp, vncharset.NamesUTF8, ""}, {"pure", mllp, vncharset.NamesTCVN3, "IHE LAW"},
		{"poct", tcp, vncharset.NamesUTF8, "POCT1-A"}, {"poct", tcp, vncharset.NamesASCII, ""},
		{"xn", serial + "8", vncharset.NamesTCVN3, ""}, {"xn", serial + "7", vncharset.NamesTCVN3, "8 data bits"}, {"xn", serial + "7", vncharset.NamesASCII, ""},
		{"xn", tcp, "klingon", `"klingon" is none of ascii`}, {"xn", tcp, "TCVN3", "is none of"},
	} {
		found := namesProblems(t, c.profile, c.port, c.names)
		switch {
		case c.wrong == "" && len(found) > 0:
			t.Errorf("%s, %s: %v", c.profile, c.names, found)
		case c.wrong != "" && (len(found) != 1 || !strings.Contains(found[0].Text, c.wrong) || found[0].Line != 7 || found[0].In(reason.Vietnamese) == found[0].In(reason.English)):
			t.Errorf("%s, %s on %s: %v", c.profile, c.names, c.port, found)
		}
	}
}
