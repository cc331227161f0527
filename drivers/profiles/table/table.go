// Package table writes the tables of analysers in the README and the manual from the
// profiles that are built in.
package table

import (
	"bytes"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"nhip/drivers/profile"
)

// Heading is the section of the README that Readme writes.
const Heading = "### Analysers that are built in\n"

// standard are the two profiles that know no model: their names are words, which each
// language of the manual has its own for.
var standard = []string{"generic-astm", "generic-hl7"}

// Readme is doc with its section Heading written anew.
func Readme(doc []byte, all map[string]*profile.Profile) ([]byte, error) {
	before, after, ok := bytes.Cut(doc, []byte(Heading))
	if !ok {
		return nil, fmt.Errorf("table: no heading %q", Heading)
	}
	end := bytes.Index(after, []byte("\n#"))
	if end < 0 {
		return nil, fmt.Errorf("table: nothing follows %q", Heading)
	}
	return slices.Concat(before, []byte(Heading), section(all), after[end:]), nil
}

var evidence = []string{"capture", "vendor example", "manual", "driver", "standard"}

func section(all map[string]*profile.Profile) []byte {
	var b bytes.Buffer
	count := make(map[string]int)
	for _, p := range all {
		count[p.Evidence()]++
	}
	var classes []string
	for _, e := range evidence {
		if count[e] > 0 {
			classes = append(classes, fmt.Sprintf("%d %s", count[e], e))
		}
	}
	fmt.Fprintf(&b, "\n%d profiles, by the best evidence behind each: %s.\n", len(all), strings.Join(classes, ", "))
	b.WriteString("*Capture* is bytes of the analyser itself, *vendor example* a message of its maker's documents, *driver* the public source of a driver that reads it. ")
	b.WriteString("*Orders* is what the sources describe. *QC* says whether control material is told from patients by a rule that a source gives. ")
	b.WriteString("What each part rests on and what is not verified stands in `drivers/profiles/<profile>/NOTES.md`.\n\n")
	b.WriteString("| profile | analyser | protocol | connection | orders | QC | test codes | evidence |\n|---|---|---|---|---|---|---|---|\n")
	for _, id := range slices.Sorted(maps.Keys(all)) {
		p := all[id]
		qc := "no"
		if p.TellsControl() {
			qc = "yes"
		}
		codes := fmt.Sprint(len(p.Codes()))
		if p.SiteCodes() {
			codes = "site"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s | %s | %s | %s |\n",
			id, p.Name(), p.Protocol(), strings.Join(p.Transport(), ", "), p.TwoWay(), qc, codes, p.Evidence())
	}
	return b.Bytes()
}

var row = regexp.MustCompile("(?m)^\\| `([a-z0-9-]+)` \\|([^|]+)\\| ([A-Za-z0-9-]+) \\|\n")

// Manual is doc, the manual in one language, with the rows of analysers in its last
// table written anew. The rows of the profiles of a standard keep their words.
func Manual(doc []byte, all map[string]*profile.Profile) ([]byte, error) {
	rows := row.FindAllSubmatchIndex(doc, -1)
	words := make(map[string]string)
	var kept []byte
	for i, r := range rows {
		if i > 0 && r[0] != rows[i-1][1] {
			return nil, fmt.Errorf("table: the manual has two tables of profiles")
		}
		id := string(doc[r[2]:r[3]])
		if slices.Contains(standard, id) {
			words[id] = strings.TrimSpace(string(doc[r[4]:r[5]]))
		} else if protocol := string(doc[r[6]:r[7]]); protocol == "serial" || strings.Contains(id, "pcd01") {
			kept = append(kept, doc[r[0]:r[1]]...)
		}
	}
	if len(words) != len(standard) {
		return nil, fmt.Errorf("table: the manual has no table of profiles")
	}
	var b bytes.Buffer
	b.Write(doc[:rows[0][0]])
	for _, id := range slices.Sorted(maps.Keys(all)) {
		name := words[id]
		if name == "" {
			name = all[id].Name()
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", id, name, strings.ToUpper(all[id].Protocol()))
	}
	b.Write(kept)
	b.Write(doc[rows[len(rows)-1][1]:])
	return b.Bytes(), nil
}

// Documents are the files that have a table, from the folder of the module on.
var Documents = map[string]func([]byte, map[string]*profile.Profile) ([]byte, error){
	"README.md":                  Readme,
	"gateway/docs/manual.en.md":  Manual,
	"gateway/docs/manual.vi.md":  Manual,
	"drivers/profiles/README.md": Coverage,
}
