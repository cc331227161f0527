package profile

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"nhip/drivers/item"
	"nhip/hl7"
	"nhip/hl7/vncharset"
)

// naming is how the model is written to and read: names and names_source of a profile.
type naming struct {
	// Names is one of vncharset.NamesWords; "ascii" is the default.
	Names       string `toml:"names"`
	NamesSource string `toml:"names_source"`

	charset vncharset.Names // in use: the model's, or what the site says of its machine
}

func (c *checker) naming(f *file) {
	if f.Names == "" {
		return
	}
	c.needs("names", "names_source", f.NamesSource)
	if err := checkNames(f.Protocol, f.Names); err != nil {
		c.bad("names", "%s", err)
	}
}

// checkNames says why names cannot be in a set on a link of a protocol.
func checkNames(protocol, word string) error {
	n, err := vncharset.ParseNames(word)
	switch {
	case err != nil:
		return fmt.Errorf("%q is none of %q", word, vncharset.NamesWords)
	case n.Controls() && (protocol != HL7 && protocol != File || word == vncharset.NamesVPS && protocol == HL7):
		return fmt.Errorf("%s has letters that are control characters, which would break the frames of protocol %q", word, protocol)
	case protocol == LAW && word != vncharset.NamesASCII && word != vncharset.NamesUTF8:
		return fmt.Errorf("IHE LAW is UTF-8: %q or %q", vncharset.NamesASCII, vncharset.NamesUTF8)
	case protocol == POCT1A && word != vncharset.NamesASCII:
		return fmt.Errorf("messages of protocol %q declare their characters themselves", POCT1A)
	}
	return nil
}

// named puts the set in use where it is needed.
func (p *Profile) named(n vncharset.Names) {
	p.f.charset = n
	if a := p.f.Answer; a != nil {
		with := *a
		with.names = n
		p.f.Answer = &with
	}
}

// WithNames is the profile for a machine whose names are in another set than its model
// usually has: the same model is installed with different fonts. An empty word is the
// model's own.
func (p *Profile) WithNames(word string) (*Profile, error) {
	if word == "" {
		return p, nil
	}
	if err := checkNames(p.f.Protocol, word); err != nil {
		return nil, fmt.Errorf("profile: names: %w", err)
	}
	n, err := vncharset.ParseNames(word)
	if err != nil {
		return nil, err
	}
	with := *p
	with.named(n)
	return &with, nil
}

// Names is the set that names are written and read in.
func (p *Profile) Names() vncharset.Names { return p.f.charset }

// Charset is how the messages of an HL7 link are read: in the set that the site or the
// profile says, whatever MSH-18 declares; the zero rule where neither says one.
func (p *Profile) Charset() hl7.CharsetRule {
	if p.f.charset.Automatic() {
		return hl7.CharsetRule{}
	}
	return hl7.CharsetRule{Force: p.f.charset.Charset()}
}

// A Doubt is a place of a message whose bytes are not what was expected. It quotes
// nothing.
type Doubt struct {
	Place   string // a path, "R.4"
	Problem vncharset.ReadProblem
	Set     string // that it was read in
	Like    string // the set that the bytes look like; empty: none
}

// mostDoubts is how many are kept of a message.
const mostDoubts = 16

// Words are the doubt as a sentence, for a comment beside what was read.
func (d Doubt) Words() string {
	if d.Problem == vncharset.Undeclared {
		return fmt.Sprintf("%s is not UTF-8 and was read as ISO 8859-1", d.Place)
	}
	return fmt.Sprintf("%s has bytes that are no characters of %s", d.Place, d.Set)
}

// A reading makes text of the bytes of one message.
type reading struct {
	names  vncharset.Names
	latin  bool // an HL7 message that is read as ISO 8859-1, because it is not UTF-8
	doubts []Doubt
	since  []Doubt // since the last call of taken
}

// bytes is the text of what stands at a place.
func (r *reading) bytes(at location, b string) string {
	names := r.names
	if at.own {
		if utf8.ValidString(b) {
			return b
		}
		names = names.Own()
	}
	text, problem := names.Read([]byte(b))
	if problem != "" {
		r.doubt(at, Doubt{Problem: problem, Set: names.String(), Like: like(b)})
	}
	return text
}

// hl7 is the text of what stands at a place of an HL7 message, as the message reads it.
func (r *reading) hl7(at location, text string, raw func() []byte) string {
	switch {
	case strings.ContainsRune(text, utf8.RuneError):
		r.doubt(at, Doubt{Problem: vncharset.Undecodable, Set: r.names.String(), Like: like(string(raw()))})
	case r.latin && strings.ContainsFunc(text, func(c rune) bool { return c >= utf8.RuneSelf }):
		r.doubt(at, Doubt{Problem: vncharset.Undeclared, Set: r.names.String(), Like: like(string(raw()))})
	case at.own && r.names != r.names.Own():
		// Back to the bytes: what the font made of the machine's own words.
		text, _ = r.names.Own().Read(r.names.Write(text))
	}
	return text
}

func like(b string) string {
	if set := vncharset.Guess([]byte(b)); set != "" {
		return strings.ToLower(set)
	}
	return ""
}

// doubt notes what was doubtful at a place. What the machine says in its own words, as a
// unit, is not commented on beside each result.
func (r *reading) doubt(at location, d Doubt) {
	d.Place = at.text
	same := func(x Doubt) bool { return x.Place == d.Place && x.Problem == d.Problem }
	if !slices.ContainsFunc(r.doubts, same) && len(r.doubts) < mostDoubts {
		r.doubts = append(r.doubts, d)
	}
	if !at.own && !slices.ContainsFunc(r.since, same) && len(r.since) < mostDoubts {
		r.since = append(r.since, d)
	}
}

// taken are the doubts since the last call, as comments.
func (r *reading) taken() []string {
	var words []string
	for _, d := range r.since {
		words = append(words, d.Words())
	}
	r.since = nil
	return words
}

// ownWords marks the places of a machine's own words: what stands there is from its
// program, and not in the font that people write with.
func (p *parts) ownWords() {
	own := []string{"unit", "range", "code", "loinc", "flag", "status", "priority", "sex", "birth", "model", "serial", "software", "sender",
		"collected", "message_time", "observed", "analysed", "instrument", "rack", "position", "specimen_type"}
	for _, part := range p.named() {
		for i := range part.paths {
			part.paths[i].own = slices.Contains(own, part.key)
		}
	}
}

// readHL7 reads an HL7 message in the set of the profile or site. Without one, what is
// declared as ASCII or not at all is UTF-8 where it is, else ISO 8859-1.
func (p *Profile) readHL7(message []byte) (*hl7.Message, *reading, error) {
	m, err := hl7.Parse(message)
	if err != nil {
		return nil, nil, err
	}
	r := &reading{names: p.f.charset}
	rule := p.Charset()
	if declared := m.Get("MSH-18"); rule.Force == "" && (declared == "" || declared == "ASCII") && !utf8.Valid(message) {
		rule.Force, r.latin = "8859/1", true
	}
	return m, r, m.UseCharset(rule)
}

// bytewise: a character of the wire is a byte, so that columns count bytes.
func (p *Profile) bytewise() bool {
	return !p.f.charset.Automatic() && p.f.charset.String() != vncharset.NamesUTF8
}

// Items takes a message of a protocol that is neither LIS02 nor HL7 apart. The second
// result is what is wrong with it, in words and without patient data.
func (p *Profile) Items(message []byte) ([]item.Record, []string, error) {
	records, problems, err := p.records(message)
	own := map[string]bool{}
	for _, part := range p.f.Parts.named() {
		for _, l := range part.paths {
			own[l.text] = l.own
		}
	}
	r := reading{names: p.f.charset}
	for _, one := range records {
		for name, text := range one.Fields {
			place := one.Kind + "." + name
			one.Fields[name] = r.bytes(location{text: place, own: own[place]}, text)
		}
	}
	for _, d := range r.doubts {
		problems = append(problems, d.Words())
	}
	return records, problems, err
}
