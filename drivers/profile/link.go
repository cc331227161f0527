package profile

import (
	"slices"

	"nhip/drivers/astm/e1381"
	"nhip/drivers/beckman"
	"nhip/drivers/hl7lab"
	"nhip/drivers/poct1a"
	"nhip/drivers/textline"
)

// The protocols of a profile: what is spoken on the connection, and so how a message
// is read and what the paths of the profile look like.
const (
	ASTM   = "astm"       // LIS02 records on a LIS01 link
	HL7    = "hl7"        // HL7 v2 in MLLP: ORU^R01, OUL^R22
	LAW    = "law"        // IHE Laboratory Analytical Workflow: LAB-27, 28, 29
	AU     = "beckman-au" // online texts of the Beckman Coulter AU analysers, [au]
	BCI    = "bci"        // bioMérieux
	Text   = "text"       // fixed text and printer text, [text]
	POCT1A = "poct1a"     // CLSI POCT1-A
	File   = "file"       // result files in a folder, [text]
)

// A link is how a model uses its link: [link] of a profile. Every key has the
// standard as its default; a deviation needs its source.
type link struct {
	Source string `toml:"source"`
	// Frames is what goes into one frame of what we send: "record" (default) or
	// "message".
	Frames string `toml:"frames"`
	// FrameText is the most characters of text in a frame that we send; 240 is the
	// default, E1381-95; LIS01-A2 has 63,993.
	FrameText int `toml:"frame_text"`
	// Checksum is "standard" (default), "none", "with-stx" (STX is in the sum), "xor"
	// or "nibbles" (each half of the sum as the character 0x30 + half).
	Checksum string `toml:"checksum"`
	// Numbers: frames are numbered, "standard" (default) or "none".
	Numbers string `toml:"numbers"`
	// Session is "closed" by EOT (default), or left "open".
	Session string `toml:"session"`
	// Form is "lis01" (default) or "tokens": every STX, record, ETX and EOT is
	// acknowledged by itself (Maglumi).
	Form string `toml:"form"`
}

var checks = map[string]e1381.Check{
	"": e1381.Sum, "standard": e1381.Sum, "none": e1381.NoChecks,
	"with-stx": e1381.SumSTX, "xor": e1381.XOR, "nibbles": e1381.Nibbles,
}

func (c *checker) link(f *file) {
	l := &f.Link
	if *l != (link{}) {
		c.needs("link", "source", l.Source)
		if f.Protocol != ASTM {
			c.bad("link", "is for protocol %q", ASTM)
		}
	}
	for _, key := range []struct {
		name, value string
		words       []string
	}{
		{"frames", l.Frames, []string{"record", "message"}},
		{"checksum", l.Checksum, []string{"standard", "none", "with-stx", "xor", "nibbles"}},
		{"numbers", l.Numbers, []string{"standard", "none"}},
		{"session", l.Session, []string{"closed", "open"}},
		{"form", l.Form, []string{"lis01", "tokens"}},
	} {
		if key.value != "" && !slices.Contains(key.words, key.value) {
			c.bad("link."+key.name, "%q is none of %q", key.value, key.words)
		}
	}
	if l.FrameText < 0 || l.FrameText > e1381.MaxTextA2 {
		c.bad("link.frame_text", "%d is not 1 to %d", l.FrameText, e1381.MaxTextA2)
	}
	c.formats(f)
	c.ask(f)
}

// formats checks the tables that belong to one protocol each.
func (c *checker) formats(f *file) {
	text := f.Protocol == Text || f.Protocol == File
	c.table("text", f.Text != nil, text, func() []string { return f.Text.Check(f.Protocol == File) })
	c.table("au", f.AU != nil, f.Protocol == AU, func() []string { return f.AU.Check() })
	if f.HL7 != nil {
		c.table("hl7", true, f.Protocol == HL7 || f.Protocol == LAW, func() []string { return f.HL7.Check() })
	}
	if f.POCT1A != nil {
		c.table("poct1a", true, f.Protocol == POCT1A, func() []string { return f.POCT1A.Check() })
	}
}

// table checks a table that a protocol needs and no other may have.
func (c *checker) table(name string, given, needed bool, check func() []string) {
	switch {
	case given && !needed:
		c.bad(name, "is for another protocol than %q", c.protocol)
	case !given && needed:
		c.bad(name, "is missing: protocol %q needs it", c.protocol)
	case given:
		for _, what := range check() {
			c.bad(name, "%s", what)
		}
	}
}

// Dialect is how a LIS01 link of the model deviates from the standard.
func (p *Profile) Dialect() e1381.Dialect {
	l := &p.f.Link
	return e1381.Dialect{Check: checks[l.Checksum], Unnumbered: l.Numbers == "none", Open: l.Session == "open"}
}

// Tokens: every token of the link is acknowledged by itself.
func (p *Profile) Tokens() bool { return p.f.Link.Form == "tokens" }

// Frames cuts records that are sent to the model into frames, as it wants them.
func (p *Profile) Frames(records []byte) []e1381.Frame {
	packing := e1381.PerRecord
	if p.f.Link.Frames == "message" {
		packing = e1381.PerMessage
	}
	return e1381.Frames(records, packing, p.f.Link.FrameText)
}

// TextFormat is [text]; nil where the protocol is neither "text" nor "file".
func (p *Profile) TextFormat() *textline.Format { return p.f.Text }

// AULayout is [au]; nil where the protocol is not "beckman-au".
func (p *Profile) AULayout() *beckman.Layout {
	if p.f.AU == nil {
		return nil
	}
	l := *p.f.AU
	l.Names = p.f.charset
	return &l
}

// HL7Dialect is [hl7], or what is by the book.
func (p *Profile) HL7Dialect() hl7lab.Dialect {
	if p.f.HL7 == nil {
		return hl7lab.Dialect{Names: p.f.charset}
	}
	d := *p.f.HL7
	d.Names = p.f.charset
	return d
}

// POCTDialect is [poct1a], or what is by the book.
func (p *Profile) POCTDialect() poct1a.Dialect {
	if p.f.POCT1A == nil {
		return poct1a.Dialect{}
	}
	return *p.f.POCT1A
}

// wires are the tables of the protocols, in the file struct.
type wires struct {
	Link   link             `toml:"link"`
	Text   *textline.Format `toml:"text"`
	AU     *beckman.Layout  `toml:"au"`
	HL7    *hl7lab.Dialect  `toml:"hl7"`
	POCT1A *poct1a.Dialect  `toml:"poct1a"`
	Query  *query           `toml:"query"`
	Answer *answer          `toml:"answer"`
}

// isASTM: messages are LIS02 records.
func isASTM(protocol string) bool { return protocol == ASTM }
