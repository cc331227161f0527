package docs

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"nhip/drivers/capture"
	"nhip/drivers/monitor"
	"nhip/drivers/port"
	"nhip/drivers/profile"
	"nhip/gateway/config"
	"nhip/gateway/lis"
)

var manuals = map[string]string{"en": string(English), "vi": string(Vietnamese)}

// fences are the fenced blocks of a kind, in order.
func fences(manual, kind string) (blocks []string) {
	for _, m := range regexp.MustCompile("(?ms)^```"+kind+"\n(.*?)^```$").FindAllStringSubmatch(manual, -1) {
		blocks = append(blocks, m[1])
	}
	return blocks
}

// Equal contents: the same chapters, tables and blocks, in the same order.
func TestBothManualsHaveTheSameShape(t *testing.T) {
	shape := func(manual string) (lines []string) {
		inside := false
		for _, l := range strings.Split(manual, "\n") {
			switch {
			case strings.HasPrefix(l, "```"):
				inside = !inside
				lines = append(lines, l)
			case inside:
			case strings.HasPrefix(l, "#"):
				lines = append(lines, strings.SplitN(l, " ", 2)[0])
			case strings.HasPrefix(l, "|"):
				lines = append(lines, "row")
			case strings.HasPrefix(l, "- "):
				lines = append(lines, "item")
			}
		}
		return lines
	}
	en, vi := shape(manuals["en"]), shape(manuals["vi"])
	for i := range min(len(en), len(vi)) {
		if en[i] != vi[i] {
			t.Fatalf("part %d: %q in English, %q in Vietnamese", i, en[i], vi[i])
		}
	}
	if len(en) != len(vi) || len(en) < 100 {
		t.Errorf("%d parts in English, %d in Vietnamese", len(en), len(vi))
	}
	comment := regexp.MustCompile(`(?m)[ \t]*#.*$`)
	for _, kind := range []string{"toml", "sh", "json", "text"} {
		a, b := fences(manuals["en"], kind), fences(manuals["vi"], kind)
		if len(a) == 0 || len(a) != len(b) {
			t.Fatalf("%s: %d and %d blocks", kind, len(a), len(b))
		}
		for i := range a {
			if comment.ReplaceAllString(a[i], "") != comment.ReplaceAllString(b[i], "") {
				t.Errorf("%s block %d differs:\n%s\n%s", kind, i+1, a[i], b[i])
			}
		}
	}
}

func TestConfigurationOfTheManualIsGood(t *testing.T) {
	profiles, err := profile.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	env := config.Env{Profiles: map[string]string{}, MonitorProfiles: map[string]string{}, ParsePort: func(s string) error {
		_, err := port.Parse(s)
		return err
	}}
	for id, p := range profiles {
		env.Profiles[id] = p.Protocol()
	}
	for _, p := range monitor.Profiles() {
		env.MonitorProfiles[p.ID] = "hl7"
		if p.Protocol == monitor.ProtocolLine {
			env.MonitorProfiles[p.ID] = "serial"
		}
	}
	for lang, manual := range manuals {
		dir := t.TempDir()
		file := filepath.Join(dir, "site.toml")
		for name, text := range map[string]string{"site.toml": strings.Join(fences(manual, "toml"), "\n"), "ward-display.pw": "secret\n"} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		_, problems := config.Load(file, env)
		for _, p := range problems {
			if !p.Warning {
				t.Errorf("%s: %s", lang, p)
			}
		}
	}
}

func TestExamplesAreWhatTheProgramPrints(t *testing.T) {
	xn, err := os.ReadFile("testdata/xn.astm")
	if err != nil {
		t.Fatal(err)
	}
	profiles, err := profile.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	p, zone := profiles["sysmex-xn-l"], time.FixedZone("+07", 7*3600)
	out, err := capture.Decode(xn, "auto", p, zone)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", " ")
	if err := e.Encode(out); err != nil {
		t.Fatal(err)
	}
	x, err := p.Extract(xn, zone)
	if err != nil || len(x.Reports) != 1 {
		t.Fatal(err, len(x.Reports))
	}
	ends := lis.Ends{SendingApplication: "NHIP", SendingFacility: "bvdk-gia-binh", SiteName: "Bệnh viện đa khoa huyện Gia Bình"}
	oru, err := lis.Results(x.Reports[0], lis.ResultOptions{Ends: ends, ControlID: "AU6H010000000001", Now: time.Date(2026, 1, 14, 8, 15, 10, 0, zone)})
	if err != nil {
		t.Fatal(err)
	}
	message := strings.ReplaceAll(string(oru), "\r", "\n")
	typed := strings.NewReplacer("\r", `\r`, `\`, `\\`).Replace(string(xn)) // as an argument of printf
	for lang, manual := range manuals {
		if j := fences(manual, "json"); len(j) != 1 || !strings.Contains(b.String(), j[0]) {
			t.Errorf("%s: nhip decode prints\n%s", lang, b.String())
		}
		if !slices.Contains(fences(manual, "text"), message) {
			t.Errorf("%s: the message is\n%s", lang, message)
		}
		if !strings.Contains(manual, "printf '"+typed+"'") {
			t.Errorf("%s: the capture is\n%s", lang, typed)
		}
	}
}

func TestManualListsTheProfilesThatAreBuiltIn(t *testing.T) {
	var want []string
	profiles, err := profile.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	for id, p := range profiles {
		want = append(want, id+" "+strings.ToUpper(p.Protocol()))
	}
	for _, p := range monitor.Profiles() {
		protocol := "HL7"
		if p.Protocol == monitor.ProtocolLine {
			protocol = "serial"
		}
		want = append(want, p.ID+" "+protocol)
	}
	slices.Sort(want)
	row := regexp.MustCompile("(?m)^\\| `([a-z0-9-]+)` \\|[^|]+\\| ([A-Z0-9-]+|serial) \\|$")
	for lang, manual := range manuals {
		var got []string
		for _, m := range row.FindAllStringSubmatch(manual, -1) {
			got = append(got, m[1]+" "+m[2])
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s lists\n%q, built in are\n%q", lang, got, want)
		}
	}
}
