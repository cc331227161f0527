package config

import (
	"bytes"
	"fmt"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"

	"nhip/gateway/mapping"
	"nhip/gateway/reason"
)

// ReadMap reads, checks and tests a map of fields: its TOML text, and the name of the
// file for what is said of it. zone is that of the site. The Map is nil where there is
// a problem that is no warning, but for tests that it does not pass: those are
// problems, and the Map is there.
func ReadMap(text []byte, file string, zone *time.Location) (*mapping.Map, []Problem) {
	if len(text) > mapping.MaxSize {
		p := problemOf(0, "it is larger than %d KiB", mapping.MaxSize>>10)
		p.File = file
		return nil, []Problem{p}
	}
	m, problems := readMap(bytes.TrimPrefix(text, []byte("\xEF\xBB\xBF")), zone)
	for i := range problems {
		problems[i].File = file
	}
	sortByLine(problems)
	return m, problems
}

func readMap(text []byte, zone *time.Location) (*mapping.Map, []Problem) {
	var tree map[string]any
	if err := toml.Unmarshal(text, &tree); err != nil {
		return nil, []Problem{syntax(err)}
	}
	d := decoder{lines: positions(text)}
	var s mapping.Spec
	d.table(reflect.ValueOf(&s).Elem(), tree, "", "")
	if len(d.problems) > 0 {
		return nil, d.problems
	}
	m, wrong := mapping.Compile(s)
	if m != nil {
		wrong = append(wrong, m.Check(zone)...)
	}
	var problems []Problem
	for _, w := range wrong {
		problems = append(problems, Problem{
			Line: d.lines.of(w.Path), Where: mapLabel(s, w.Path), Text: w.In(reason.English), vietnamese: w.In(reason.Vietnamese), Warning: w.Warning,
		})
	}
	return m, problems
}

// mapLabel names the block of a map that a path lies in.
func mapLabel(s mapping.Spec, path string) string {
	var i int
	kind, rest, _ := strings.Cut(path, "[")
	if _, err := fmt.Sscanf(rest, "%d]", &i); err != nil {
		return ""
	}
	switch {
	case kind == "rule" && i < len(s.Rules):
		return label(kind, s.Rules[i].Name, i)
	case kind == "units" && i < len(s.Units):
		return label(kind, s.Units[i].Name, i)
	case kind == "table" && i < len(s.Tables):
		return label(kind, s.Tables[i].Name, i)
	case kind == "test" && i < len(s.Tests):
		return label(kind, s.Tests[i].Name, i)
	}
	return ""
}

// LoadMap is ReadMap of a file.
func LoadMap(file string, zone *time.Location) (*mapping.Map, []byte, []Problem) {
	text, err := os.ReadFile(file)
	if err != nil {
		p := problemOf(0, "cannot be read: %s", unusable(err))
		p.File = file
		return nil, nil, []Problem{p}
	}
	m, problems := ReadMap(text, file, zone)
	return m, text, problems
}

// maps checks the maps of links.
func (k *checker) maps() {
	check := func(key, where, file string) {
		if file == "" {
			return
		}
		m, _, problems := LoadMap(file, k.Site.TimeZone)
		k.problems = append(k.problems, problems...)
		if m == nil || !Good(problems) {
			k.wrong(key, where, "map: %s cannot be used", file)
		}
	}
	for i, p := range k.HL7Peers {
		check(fmt.Sprintf("hl7_peer[%d].map", i), label("hl7_peer", p.Name, i), p.Map)
	}
	for i, d := range k.Destinations {
		check(fmt.Sprintf("destination[%d].map", i), label("destination", d.Name, i), d.Map)
	}
}

// completeMaps resolves the file names of maps.
func (c *Config) completeMaps(dir string) {
	for i := range c.HL7Peers {
		c.HL7Peers[i].Map = under(dir, c.HL7Peers[i].Map)
	}
	for i := range c.Destinations {
		c.Destinations[i].Map = under(dir, c.Destinations[i].Map)
	}
}
