package profile

import (
	"fmt"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"

	"nhip/drivers/astm/e1394"
)

// Limits of what is looked at again and again.
const (
	maxContext = 64 << 10 // bytes of a record that other records refer to: H, P, O; MSH, PID, OBR …
	maxRepeats = 64       // repetitions of a field in which a rule looks
)

// A LimitError names a record that is too long to be one.
type LimitError struct {
	Record int // from 1
	Type   string
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("profile: record %d (%s) is longer than %d bytes", e.Record, e.Type, maxContext)
}

// lisRecord is a LIS02 record as an element.
type lisRecord struct {
	r       e1394.Record
	foreign *bool // set when a text was not UTF-8
}

func (l lisRecord) text(at location) string {
	return l.decode(l.r.At(e1394.Path{Field: at.field, Component: at.component}))
}

func (l lisRecord) repeats(at location) []string {
	n := min(l.r.Repeats(at.field), maxRepeats)
	texts := make([]string, n)
	for i := range texts {
		texts[i] = l.decode(l.r.At(e1394.Path{Field: at.field, Repeat: i + 1, Component: at.component}))
	}
	return texts
}

// decode makes UTF-8 of a text. LIS02 knows ASCII only; a text that is not UTF-8
// is read as ISO 8859-1, which has a character for every byte.
func (l lisRecord) decode(text string) string {
	if utf8.ValidString(text) {
		return text
	}
	*l.foreign = true
	decoded, err := charmap.ISO8859_1.NewDecoder().String(text)
	if err != nil {
		return string([]rune(text))
	}
	return decoded
}

// lis02 walks the records of a message, LIS02-A2: H, then P with its O, R and C,
// then L; Q for queries, M and S for what is nobody's result.
func (x *extractor) lis02(message []byte) error {
	m, err := e1394.Parse(message)
	if err != nil {
		return err
	}
	foreign := false
	for i, r := range m.Records {
		kind := r.Type()
		if len(r.Bytes) > maxContext && (kind == "H" || kind == "P" || kind == "O") {
			return &LimitError{Record: i + 1, Type: kind}
		}
		e := lisRecord{r, &foreign}
		switch kind {
		case "H":
			x.newPatient()
			x.in = scope{"H": e}
			x.header()
		case "P":
			x.newPatient()
			delete(x.in, "O")
			x.in["P"] = e
		case "O":
			x.newOrder()
			delete(x.in, "R")
			x.in["O"] = e
			x.orderAsResult()
		case "R":
			x.in["R"] = e
			x.result()
		case "C":
			x.in["C"] = e
			x.comment()
		case "Q":
			x.out.Queries++
			x.out.Consumed[Query]++
		case "M":
			x.out.Consumed[Manufacturer]++
		case "S":
			x.out.Consumed[Scientific]++
		case "L":
			x.end()
		default:
			x.problem("record %d is of no type that LIS02 knows", i+1)
		}
	}
	x.end()
	if foreign {
		x.problem("text that is not UTF-8 was read as ISO 8859-1")
	}
	return nil
}
