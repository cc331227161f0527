package record

import "strings"

// An Identifier is one number of a person or of a visit, with the authority that
// gave it: data type CX, HL7 v2.5.1 section 2.A.14. Two identifiers are the same
// only where authority and value are.
type Identifier struct {
	Value     string `json:"v"`           // CX.1, exactly as sent
	Authority string `json:"a"`           // CX.4, or what the link's rules say where it is empty
	Type      string `json:"t,omitempty"` // CX.5, table 0203: MR, PI, NI, HC, VN …; empty: not said
}

// Same reports whether both are the same number of the same authority.
func (i Identifier) Same(j Identifier) bool { return i.Value == j.Value && i.Authority == j.Authority }

// A Person is a patient as an information system describes one. Text is as sent,
// in Unicode normalization form C. What was not said is empty.
type Person struct {
	Identifiers []Identifier `json:"id,omitempty"` // PID-3, in their order
	Name        Name         `json:"n,omitzero"`   // PID-5.1 to 5.3, as they stand there; see Name.Split
	Birth       string       `json:"b,omitempty"`  // PID-7, as precise as sent: YYYY[MM[DD[HHMM]]]
	Sex         string       `json:"s,omitempty"`  // PID-8, as sent
	Visit       Identifier   `json:"vn,omitzero"`  // PV1-19, else PID-18: the visit (MA_LK)
}

// Has reports whether one of the identifiers of the person is i.
func (p Person) Has(i Identifier) bool {
	for _, j := range p.Identifiers {
		if i.Same(j) {
			return true
		}
	}
	return false
}

// Whole is the name as it is read in Vietnamese: family, middle, given.
func (n Name) Whole() string {
	return strings.Join(strings.Fields(n.Family+" "+n.Middle+" "+n.Given), " ")
}

// A NameRule says how a name that came whole, in PID-5.1, is put into parts for a
// receiver that wants them.
type NameRule string

// The rules. What has parts already stays as it is.
const (
	NameWhole     NameRule = "whole"      // as it is, all in the family name
	NameFirstWord NameRule = "first-word" // the first word is the family name, the rest the given name
	NameLastWord  NameRule = "last-word"  // first word family, last word given, the rest middle
)

// Split puts a name into parts by a rule. Nothing of it is lost: Whole of both is
// the same.
func (n Name) Split(rule NameRule) Name {
	words := strings.Fields(n.Family)
	if n.Given != "" || n.Middle != "" || len(words) < 2 {
		return n
	}
	last := len(words) - 1
	switch rule {
	case NameFirstWord:
		return Name{Family: words[0], Given: strings.Join(words[1:], " ")}
	case NameLastWord:
		return Name{Family: words[0], Given: words[last], Middle: strings.Join(words[1:last], " ")}
	}
	return n
}

// LinkAuthority is the authority of identifiers that a link brings without one and
// without a rule: they are the link's own, and match those of no other.
func LinkAuthority(link string) string { return "~" + link }

// OfLink reports whether an authority is a LinkAuthority.
func OfLink(authority string) bool { return strings.HasPrefix(authority, "~") }

// BirthDate is a date of birth as DICOM and HL7 write it, as precise as it is known:
// YYYY, YYYYMM or YYYYMMDD. Vietnamese insurance data fill what is not known with
// zeros (19600000). What is no date is given as it is.
func BirthDate(text string) string {
	if len(text) < 4 || strings.Trim(text, "0123456789") != "" {
		return text
	}
	switch {
	case len(text) < 6 || text[4:6] == "00":
		return text[:4]
	case len(text) < 8 || text[6:8] == "00":
		return text[:6]
	}
	return text[:8]
}
