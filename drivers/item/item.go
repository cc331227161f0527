// Package item is the form in which a driver hands over a message of a protocol
// that is neither LIS02 nor HL7: records in the order of LIS02, H, then P with its
// O, R and C, with fields by name. What the names are each driver says; for text
// and files the profile's own format names them.
package item

// The kinds of records, by the letters of LIS02.
const (
	Header  = "H" // the message and its sender
	Patient = "P"
	Order   = "O" // a specimen; the results behind it belong to it
	Result  = "R"
	Comment = "C" // of the record before it
	Query   = "Q" // asks for work
)

// A Record is one statement of a message. Texts are the bytes of the wire, blanks as sent:
// the profile knows their set of characters.
type Record struct {
	Kind   string
	Fields map[string]string
}

// Get is the text of a field, empty where there is none.
func (r Record) Get(name string) string { return r.Fields[name] }

// New is a record with these fields, given as name and text in turn; empty texts
// are left out.
func New(kind string, fields ...string) Record {
	r := Record{Kind: kind, Fields: make(map[string]string, len(fields)/2)}
	for i := 0; i+1 < len(fields); i += 2 {
		if fields[i+1] != "" {
			r.Fields[fields[i]] = fields[i+1]
		}
	}
	return r
}
