package profile

import (
	"fmt"

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
	r    e1394.Record
	read *reading
}

func (l lisRecord) text(at location) string {
	return l.read.bytes(at, l.r.At(e1394.Path{Field: at.field, Component: at.component}))
}

func (l lisRecord) repeats(at location) []string {
	n := min(l.r.Repeats(at.field), maxRepeats)
	texts := make([]string, n)
	for i := range texts {
		texts[i] = l.read.bytes(at, l.r.At(e1394.Path{Field: at.field, Repeat: i + 1, Component: at.component}))
	}
	return texts
}

// lis02 walks the records of a message, LIS02-A2: H, then P with its O, R and C,
// then L; Q for queries, M and S for what is nobody's result.
func (x *extractor) lis02(message []byte) error {
	m, err := e1394.Parse(message)
	if err != nil {
		return err
	}
	for i, r := range m.Records {
		kind := r.Type()
		if len(r.Bytes) > maxContext && (kind == "H" || kind == "P" || kind == "O") {
			return &LimitError{Record: i + 1, Type: kind}
		}
		e := lisRecord{r, &x.reading}
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
	return nil
}
