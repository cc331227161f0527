package capture

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A Draft is a first profile of an analyser, made of what its recordings show: where
// things seem to stand, and the codes and units that were seen. Each statement names
// the recording as its source; everything that only a document can say (what marks
// control material, what a flag or a status means, what a code is called) is missing,
// and stands in Notes as a task for a person.
type Draft struct {
	Profile string // profile.toml
	Notes   string // NOTES.md
	Codes   []string
}

// ErrNoResult: the recordings hold no message with a result.
var ErrNoResult = errors.New("capture: no message with a result was found: a draft needs one")

var draftID = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$`)

// NewDraft makes a draft of decoded recordings. names says where each came from; it
// stands in the draft as its source. All have to be of one protocol.
func NewDraft(id, name string, names []string, recordings []Output) (Draft, error) {
	if !draftID.MatchString(id) {
		return Draft{}, fmt.Errorf("capture: id %q: use lower-case letters a-z, digits and hyphens, 40 at most", id)
	}
	d := &drafter{id: id, name: cmp.Or(name, id), source: "capture: " + strings.Join(names, ", ")}
	for _, r := range recordings {
		if d.protocol = cmp.Or(d.protocol, r.Protocol); d.protocol != r.Protocol {
			return Draft{}, fmt.Errorf("capture: one recording is %s, another %s", d.protocol, r.Protocol)
		}
		for _, m := range r.Messages {
			if m.From != "host" {
				d.messages = append(d.messages, m)
			}
		}
	}
	for _, m := range d.messages {
		for _, r := range m.Records {
			if r.Type == d.result() {
				d.results = append(d.results, r)
			}
		}
	}
	if len(d.results) == 0 {
		return Draft{}, ErrNoResult
	}
	return d.draft(), nil
}

type drafter struct {
	id, name, source string
	protocol         string
	messages         []Message
	results          []Record
	component        string // delimiter
	text             strings.Builder
}

func (d *drafter) result() string {
	if d.protocol == "hl7" {
		return "OBX"
	}
	return "R"
}

// field is field n of a record by the standard's numbers: LIS02 counts the record type.
func (d *drafter) field(r Record, n int) string {
	if d.protocol != "hl7" {
		n--
	}
	if n < 0 || n >= len(r.Fields) {
		return ""
	}
	return r.Fields[n]
}

func (d *drafter) components(r Record, n int) []string {
	return strings.Split(d.field(r, n), d.component)
}

// filled says how many of records have something but dashes in a field.
func (d *drafter) filled(records []Record, n int) int {
	count := 0
	for _, r := range records {
		if strings.TrimSpace(d.field(r, n)) != "" {
			count++
		}
	}
	return count
}

func (d *drafter) line(format string, a ...any) { fmt.Fprintf(&d.text, format+"\n", a...) }

func (d *drafter) draft() Draft {
	d.component = "^"
	if first := d.messages[0].Records[0]; d.protocol == "astm" && len(first.Fields) > 1 {
		if declared := []rune(first.Fields[1]); len(declared) > 1 {
			d.component = string(declared[1])
		}
	}
	d.line("# A draft, made of recordings: read it against the analyser's manual before it goes live.")
	d.line("id           = %q", d.id)
	d.line("name         = %s", quoted(d.name))
	d.line("revision     = 1")
	d.line("protocol     = %q", d.protocol)
	d.line("evidence     = \"capture\"")
	d.line("source       = %s", quoted(d.source))
	d.line("transport    = [\"tcp-client\"]   # serial, tcp-client (the analyser dials), tcp-server (the gateway dials)")
	d.line("two_way      = \"not verified\"")
	if s := d.sender(); s != "" {
		d.line("sender       = %s", literal(s))
	}
	d.line("")
	d.line("parts_source = %s", quoted(d.source))
	d.line("[parts]")
	code := d.parts()
	codes := d.codes(code)
	for _, u := range d.units() {
		d.line("\n[[unit]]\nis     = %s\nmeans  = %s   # UCUM: check it\nsource = %s", quoted(u), quoted(u), quoted(d.source))
	}
	for _, c := range slices.Sorted(maps.Keys(codes)) {
		d.line("\n[[tests]]\ncode   = %s\nname   = %s\nsource = %s", quoted(c), quoted(cmp.Or(codes[c], c)), quoted(d.source))
	}
	return Draft{Profile: d.text.String(), Notes: d.notes(), Codes: slices.Sorted(maps.Keys(codes))}
}

// sender is a pattern of H.5 or MSH-3 as sent, up to what looks like a version.
func (d *drafter) sender() string {
	r := d.messages[0].Records[0]
	n := 5
	if d.protocol == "hl7" {
		n = 3
	}
	model, _, _ := strings.Cut(strings.TrimSpace(d.field(r, n)), d.component)
	if model == "" {
		return ""
	}
	return `^\s*(?P<model>` + regexp.QuoteMeta(model) + `)`
}

// parts writes [parts] and returns where the code stands, alternatives after each other.
func (d *drafter) parts() (code []path) {
	if d.protocol == "hl7" {
		return d.hl7Parts()
	}
	orders := d.records("O")
	d.part("specimen", d.best(orders, 3, 4))
	patients := d.records("P")
	for _, x := range []struct {
		part string
		in   []Record
		kind string
		n    int
	}{
		{"collected", orders, "O", 8}, {"priority", orders, "O", 6},
		{"patient_id", patients, "P", d.firstFilled(patients, 4, 3, 5)},
		{"birth", patients, "P", 8}, {"sex", patients, "P", 9},
	} {
		if x.n > 0 && d.filled(x.in, x.n) > 0 {
			d.line("%-12s = \"%s.%d\"", x.part, x.kind, x.n)
		}
	}
	if d.filled(patients, 6) > 0 {
		d.line("family       = \"P.6.1\"\ngiven        = \"P.6.2\"")
	}
	code = d.codePaths()
	d.part("code", code...)
	d.line("value        = \"R.4\"")
	for _, x := range []struct {
		part string
		n    int
	}{{"unit", 5}, {"range", 6}, {"flag", 7}, {"status", 9}, {"operator", 11}, {"observed", d.firstFilled(d.results, 13, 12)}} {
		if x.n > 0 && d.filled(d.results, x.n) > 0 {
			d.line("%-12s = \"R.%d\"", x.part, x.n)
		}
	}
	if len(d.records("C")) > 0 {
		d.line("comment      = \"C.4\"")
	}
	return code
}

func (d *drafter) hl7Parts() []path {
	specimen := path{"OBR", 3, 1}
	for _, p := range []path{{"SPM", 2, 1}, {"OBR", 3, 1}, {"OBR", 2, 1}, {"SAC", 3, 1}} {
		if d.filled(d.records(p.kind), p.field) > 0 {
			specimen = p
			break
		}
	}
	d.part("specimen", specimen)
	code := path{"OBX", 3, 1}
	if d.componentFilled(d.results, 3, 1) == 0 {
		code.field = 4
		if d.filled(d.results, 4) == 0 {
			code = path{"OBX", 3, 2}
		}
	}
	d.part("code", code)
	for _, x := range []struct {
		part, kind string
		n          int
		path       string
	}{
		{"patient_id", "PID", 3, "PID-3.1"}, {"family", "PID", 5, "PID-5.1"}, {"given", "PID", 5, "PID-5.2"}, {"birth", "PID", 7, "PID-7.1"}, {"sex", "PID", 8, "PID-8"},
		{"message_id", "MSH", 10, "MSH-10"}, {"value", "OBX", 5, "OBX-5"}, {"unit", "OBX", 6, "OBX-6.1"}, {"range", "OBX", 7, "OBX-7"}, {"flag", "OBX", 8, "OBX-8"},
		{"status", "OBX", 11, "OBX-11"}, {"observed", "OBX", 14, "OBX-14.1"}, {"comment", "NTE", 3, "NTE-3"},
	} {
		if x.part == "value" || d.filled(d.records(x.kind), x.n) > 0 {
			d.line("%-12s = %q", x.part, x.path)
		}
	}
	return []path{code}
}

// A path is where something stands; component 0 is the whole field.
type path struct {
	kind      string
	field     int
	component int
}

func (d *drafter) part(name string, alternatives ...path) {
	sep := "."
	if d.protocol == "hl7" {
		sep = "-"
	}
	var texts []string
	for _, p := range alternatives {
		text := p.kind + sep + strconv.Itoa(p.field)
		if p.component > 0 {
			text += "." + strconv.Itoa(p.component)
		}
		texts = append(texts, text)
	}
	d.line("%-12s = %q", name, strings.Join(texts, ", "))
}

func (d *drafter) records(kind string) (all []Record) {
	for _, m := range d.messages {
		for _, r := range m.Records {
			if r.Type == kind {
				all = append(all, r)
			}
		}
	}
	return all
}

// firstFilled is the first of fields that has something; 0: none.
func (d *drafter) firstFilled(records []Record, fields ...int) int {
	for _, n := range fields {
		if d.filled(records, n) > 0 {
			return n
		}
	}
	return 0
}

func (d *drafter) componentFilled(records []Record, field, component int) int {
	count := 0
	for _, r := range records {
		if c := d.components(r, field); component <= len(c) && strings.TrimSpace(c[component-1]) != "" {
			count++
		}
	}
	return count
}

// best is the component with the longest text among fields: an identifier is longer
// than the rack and the position beside it.
func (d *drafter) best(records []Record, fields ...int) path {
	found, longest := path{"O", 3, 0}, 0
	for _, n := range fields {
		for _, r := range records {
			for i, c := range d.components(r, n) {
				if l := len(strings.TrimSpace(c)); l > longest {
					found, longest = path{"O", n, i + 1}, l
				}
			}
		}
		if longest > 0 {
			break
		}
	}
	return found
}

// codePaths is the component of R.3 that differs most, and where some results have
// nothing there, the one that most of all have.
func (d *drafter) codePaths() []path {
	differs, most := path{"R", 3, 0}, 0
	filled, all := path{"R", 3, 0}, 0
	for i := 1; i <= 10; i++ {
		values := map[string]bool{}
		for _, r := range d.results {
			if c := d.components(r, 3); i <= len(c) && strings.TrimSpace(c[i-1]) != "" {
				values[c[i-1]] = true
			}
		}
		if len(values) > most {
			differs, most = path{"R", 3, i}, len(values)
		}
		if n := d.componentFilled(d.results, 3, i); n > all {
			filled, all = path{"R", 3, i}, n
		}
	}
	if d.componentFilled(d.results, 3, differs.component) < all {
		return []path{differs, filled}
	}
	return []path{differs}
}

// codes are the codes that were seen, with the text beside them where HL7 has one.
func (d *drafter) codes(alternatives []path) map[string]string {
	codes := map[string]string{}
	for _, r := range d.results {
		for _, p := range alternatives {
			code, text := d.code(r, p)
			if code != "" {
				codes[code] = text
				break
			}
		}
	}
	return codes
}

func (d *drafter) code(r Record, p path) (code, text string) {
	c := d.components(r, p.field)
	if p.component == 0 {
		return strings.TrimSpace(d.field(r, p.field)), ""
	}
	if p.component > len(c) {
		return "", ""
	}
	if d.protocol == "hl7" && p.component == 1 && len(c) > 1 {
		text = strings.TrimSpace(c[1])
	}
	return strings.TrimSpace(c[p.component-1]), text
}

func (d *drafter) units() []string {
	seen := map[string]bool{}
	n := 5
	if d.protocol == "hl7" {
		n = 6
	}
	for _, r := range d.results {
		if u := strings.TrimSpace(d.components(r, n)[0]); u != "" {
			seen[u] = true
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

func (d *drafter) notes() string {
	return fmt.Sprintf(`# %s, revision 1: evidence

A draft that `+"`nhip profile new`"+` made of recordings. Nothing here was compared with a document of the maker.

## Documents
- %s: %d messages, %d results.

## Not verified
- Everything: where the parts stand was guessed from the recordings.
- What marks control material. Record one control, find the mark, and write a [[control]].
- What the flags and status letters mean ([[flag]], [[status]]).
- What the analyser sends when a run gives no result ([[failure]]), and when it cannot read a bar code ([[unread]]).
- Which records are no results: images, suspect flags, raw counts ([[ignore]], [[comment]]).
- The names of the tests, and that the units mean what UCUM says.
`, d.name, d.source, len(d.messages), len(d.results))
}

// quoted is a basic string of TOML.
func quoted(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r == 0x7F:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// literal is a literal string of TOML where it can be one.
func literal(s string) string {
	if strings.ContainsAny(s, "'\n\r\t") || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7F }) {
		return quoted(s)
	}
	return "'" + s + "'"
}
