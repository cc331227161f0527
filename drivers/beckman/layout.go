// Package beckman is the online protocol of the Beckman Coulter (Olympus) AU
// analysers: AU400 to AU5800. Source: AU2700 & AU5400 On-line Specifications, Olympus
// Optical, issued 2000.3.16, revised 2000.6.8, sections 2.3 (text format), 4.1
// (class B: ACK and NAK), 4.2 (timing); AU680/AU480 Online Specifications, 1 January
// 2011, has the same sections.
//
// A text goes between a start and an end code, STX and ETX, with an optional block
// check character behind it. Its first two characters say what it is:
//
//	RB, R_, RH, RE  the analyser asks for the work of samples
//	S_, SH, SE      the host answers
//	DB, D_, DH, d_, dH, DR, DA, DQ, DE  results: normal, rerun, STAT; reagent blank, calibration, QC
//
// Everything else is columns whose widths the site sets on the analyser's screen
// [Online] > [Format Configuration]; a Layout declares them. Link is the conversation
// (a session.Core); Records takes a result text apart.
package beckman

import (
	"fmt"
	"strings"

	"nhip/drivers/item"
	"nhip/drivers/textline"
	"nhip/gateway/record"
	"nhip/hl7/vncharset"
)

// A Layout has the widths of the columns in characters; zero: the column is not
// there. They follow each other in this order.
type Layout struct {
	Source   string `toml:"source"`
	Unit     int    `toml:"unit"`      // 0 or 2: unit (device) number
	Rack     int    `toml:"rack"`      // 0, 4 or 5
	Cup      int    `toml:"cup"`       // 0 or 2
	Type     int    `toml:"type"`      // 0 or 1: sample type
	SampleNo int    `toml:"sample_no"` // 4
	SampleID int    `toml:"sample_id"` // 0 to 26
	Dummy    int    `toml:"dummy"`     // 4
	Block    int    `toml:"block"`     // 1: block identification number, E in the last
	Sex      int    `toml:"sex"`       // 0 or 1
	Years    int    `toml:"age_years"`
	Months   int    `toml:"age_months"`
	Patient  int    `toml:"patient"` // 0 to 120: patient information
	Test     int    `toml:"test"`    // 2 or 3: online test number
	Dilution int    `toml:"dilution"`
	Result   int    `toml:"result"` // 6 or 9
	Flags    int    `toml:"flags"`  // 2 or 4

	// Class is "B", with ACK and NAK, or "A", without.
	Class string `toml:"class"`
	BCC   bool   `toml:"bcc"`
	// Unknown is what a query for a sample without orders gets: "nothing" (default;
	// the analyser asks again a few times and goes on) or "empty", an answer without
	// tests.
	Unknown string `toml:"unknown"`
	// AnswerType is the sample type of an answer: "echo" (default) or "blank".
	AnswerType string `toml:"answer_type"`
	// Stop: RE is answered by SE.
	Stop bool `toml:"stop"`
	// Deadline for looking up the work; default 0.5 s, the time that the analyser
	// needs before it can receive (t1); the answer has to begin within 2 s (T1).
	Deadline textline.Span `toml:"deadline"`
	// Names is the set in which names are written: of the profile, or of the site.
	Names vncharset.Names `toml:"-"`
}

// Check says in words what is wrong with the layout.
func (l Layout) Check() []string {
	var found []string
	bad := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	if l.Source == "" {
		bad("source is missing")
	}
	for _, c := range []struct {
		name    string
		width   int
		allowed []int
	}{
		{"unit", l.Unit, []int{0, 2}}, {"rack", l.Rack, []int{0, 4, 5}}, {"cup", l.Cup, []int{0, 2}}, {"type", l.Type, []int{0, 1}},
		{"sample_no", l.SampleNo, []int{4}}, {"block", l.Block, []int{1}}, {"sex", l.Sex, []int{0, 1}}, {"age_years", l.Years, []int{0, 3}},
		{"age_months", l.Months, []int{0, 2}}, {"test", l.Test, []int{2, 3}}, {"dilution", l.Dilution, []int{0, 1}},
		{"result", l.Result, []int{6, 9}}, {"flags", l.Flags, []int{2, 4}},
	} {
		if !contains(c.allowed, c.width) {
			bad("%s = %d; it is one of %v", c.name, c.width, c.allowed)
		}
	}
	if l.SampleID < 0 || l.SampleID > 26 || l.Patient < 0 || l.Patient > 120 || l.Dummy < 0 || l.Dummy > 4 {
		bad("sample_id is 0 to 26, patient 0 to 120, dummy 0 to 4")
	}
	if l.Class != "A" && l.Class != "B" {
		bad(`class %q is neither "A" nor "B"`, l.Class)
	}
	if l.Unknown != "" && l.Unknown != "nothing" && l.Unknown != "empty" {
		bad(`unknown %q is neither "nothing" nor "empty"`, l.Unknown)
	}
	if l.AnswerType != "" && l.AnswerType != "echo" && l.AnswerType != "blank" {
		bad(`answer_type %q is neither "echo" nor "blank"`, l.AnswerType)
	}
	return found
}

func contains(all []int, n int) bool {
	for _, a := range all {
		if a == n {
			return true
		}
	}
	return false
}

// columns cuts a text from its front.
type columns struct {
	text string
	bad  bool // it was too short
}

func (c *columns) take(n int) string {
	if n > len(c.text) {
		c.bad, c.text = true, ""
		return ""
	}
	head := c.text[:n]
	c.text = c.text[n:]
	return head
}

// identity is what a request and its answer have in common.
func (l Layout) identity() int { return l.Unit + l.Rack + l.Cup + l.Type + l.SampleNo + l.SampleID }

// query reads a request R_ or RH.
func (l Layout) query(text string) (record.Query, error) {
	c := columns{text: text[2:]}
	c.take(l.Unit)
	q := record.Query{
		Rack: strings.TrimSpace(c.take(l.Rack)), Position: strings.TrimSpace(c.take(l.Cup)),
		SpecimenType: strings.TrimSpace(c.take(l.Type)), Sequence: strings.TrimSpace(c.take(l.SampleNo)),
	}
	if c.bad {
		return q, fmt.Errorf("the request has %d characters, the layout needs %d", len(text), 2+l.identity())
	}
	// The site may let the analyser cut the blanks behind the identifier.
	if id := strings.TrimSpace(c.take(min(l.SampleID, len(c.text)))); id != "" {
		id, _ = l.Names.Read([]byte(id))
		q.Specimens = []string{id}
	}
	if strings.TrimSpace(c.text) != "" {
		return q, fmt.Errorf("the request is longer than the layout's %d characters", 2+l.identity())
	}
	return q, nil
}

// names of the kinds of texts, for O.kind.
var kinds = map[string]string{
	"D ": "normal", "DH": "rerun", "d ": "stat", "dH": "stat rerun",
	"DR": "reagent blank", "DA": "calibration", "DQ": "control",
}

// Records takes a result text apart. H has kind (the two characters) and unit; O has
// kind in words, rack, position, type, sample_no, specimen, sex, years, months and
// patient; R has code, dilution, value and flag. The sources at hand lay out the
// normal, rerun and STAT texts only: of a reagent blank, calibration or control text
// the kind is given and no results.
func (l Layout) Records(message []byte) ([]item.Record, []string, error) {
	text := string(message)
	kind, known := "", false
	if len(text) >= 2 {
		kind, known = kinds[text[:2]]
	}
	if !known {
		return nil, nil, fmt.Errorf("beckman: no text of results")
	}
	if kind == "reagent blank" || kind == "calibration" || kind == "control" {
		return []item.Record{item.New(item.Header, "kind", text[:2]), item.New(item.Order, "kind", kind)},
			[]string{"a " + kind + " text: its columns are not known"}, nil
	}
	c := columns{text: text[2:]}
	header := item.New(item.Header, "kind", text[:2], "unit", strings.TrimSpace(c.take(l.Unit)))
	order := item.New(item.Order, "kind", kind,
		"rack", strings.TrimSpace(c.take(l.Rack)), "position", strings.TrimSpace(c.take(l.Cup)), "type", strings.TrimSpace(c.take(l.Type)),
		"sample_no", strings.TrimSpace(c.take(l.SampleNo)), "specimen", strings.TrimSpace(c.take(l.SampleID)))
	c.take(l.Dummy)
	block := c.take(l.Block)
	for _, part := range []struct {
		name  string
		width int
	}{{"sex", l.Sex}, {"years", l.Years}, {"months", l.Months}, {"patient", l.Patient}} {
		if text := strings.TrimSpace(c.take(part.width)); text != "" {
			order.Fields[part.name] = text
		}
	}
	if c.bad {
		return nil, nil, fmt.Errorf("beckman: the text has %d characters, fewer than the layout's columns before the results", len(text))
	}
	if block != "E" && (block < "0" || block > "9") {
		return nil, nil, fmt.Errorf("beckman: the block identification number is no digit and not E: the layout is not the analyser's")
	}
	return l.results(c, []item.Record{header, order})
}

// results are the groups at the end.
func (l Layout) results(c columns, records []item.Record) ([]item.Record, []string, error) {
	group := l.Test + l.Dilution + l.Result + l.Flags
	if pad := len(c.text) % group; pad != 0 && strings.TrimSpace(c.text[len(c.text)-pad:]) != "" {
		return nil, nil, fmt.Errorf("beckman: the results are no whole number of groups of %d characters: the layout is not the analyser's", group)
	}
	for len(c.text) >= group {
		code, dilution := c.take(l.Test), c.take(l.Dilution)
		value, flag := c.take(l.Result), c.take(l.Flags)
		if strings.TrimSpace(code) == "" {
			continue
		}
		if strings.Trim(code, "0123456789") != "" {
			return nil, nil, fmt.Errorf("beckman: an online test number is no number: the layout is not the analyser's")
		}
		records = append(records, item.New(item.Result, "code", code, "dilution", strings.TrimSpace(dilution),
			"value", strings.TrimSpace(value), "flag", strings.TrimSpace(flag)))
	}
	return records, nil, nil
}
