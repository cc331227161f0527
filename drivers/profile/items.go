package profile

import (
	"strings"
	"time"

	"nhip/drivers/bci"
	"nhip/drivers/beckman"
	"nhip/drivers/item"
	"nhip/drivers/poct1a"
	"nhip/drivers/session"
	"nhip/drivers/textline"
)

// A family is a form of messages: where its paths lead and how it is walked.
type family byte

const (
	unknownFamily family = iota
	lis02Family
	hl7Family
	itemFamily
)

// families of the protocols that a profile may name.
var families = map[string]family{
	"astm":       lis02Family,
	"hl7":        hl7Family,
	"law":        hl7Family,
	"bci":        itemFamily,
	"beckman-au": itemFamily,
	"text":       itemFamily,
	"file":       itemFamily,
	"poct1a":     itemFamily,
}

// Core is the receiving side of the model's protocol; nil for LIS02 and HL7, whose
// shells are their own, and for files.
func (p *Profile) Core() session.Core {
	switch p.f.Protocol {
	case "bci":
		return bci.NewReceiver()
	case "beckman-au":
		return beckman.NewLink(*p.AULayout())
	case "text":
		return textline.NewReceiver(p.f.Text)
	case "poct1a":
		return poct1a.NewLink(p.POCTDialect(), time.Now)
	}
	return nil
}

// records takes a message of the item family apart; texts are the bytes of the wire. The
// second result is what is wrong, in words and without patient data.
func (p *Profile) records(message []byte) ([]item.Record, []string, error) {
	switch p.f.Protocol {
	case "bci":
		return bci.Records(message)
	case "beckman-au":
		return p.f.AU.Records(message)
	case "poct1a":
		return poct1a.Records(message)
	default:
		records, problems := p.f.Text.Records(message, p.bytewise())
		return records, problems, nil
	}
}

// itemRecord is a record of a driver as an element.
type itemRecord struct {
	r    item.Record
	read *reading
}

func (i itemRecord) text(at location) string      { return i.read.bytes(at, i.r.Get(at.name)) }
func (i itemRecord) repeats(at location) []string { return []string{i.text(at)} }

// items walks the records of a message: H, then P with its O, R and C, in the
// order of LIS02. A message without H has a header without fields.
func (x *extractor) items(message []byte) error {
	records, problems, err := x.p.records(message)
	if err != nil {
		return err
	}
	for _, what := range problems {
		x.problem("%s", what)
	}
	x.out.Unread = problems
	if len(records) == 0 || records[0].Kind != item.Header {
		x.header()
	}
	for i, r := range records {
		if size(r) > maxContext && r.Kind != item.Result && r.Kind != item.Comment {
			return &LimitError{Record: i + 1, Type: r.Kind}
		}
		e := itemRecord{r, &x.reading}
		switch r.Kind {
		case item.Header:
			x.newPatient()
			x.in = scope{item.Header: e}
			x.header()
		case item.Patient:
			x.newPatient()
			delete(x.in, item.Order)
			x.in[item.Patient] = e
		case item.Order:
			x.newOrder()
			x.in[item.Order] = e
		case item.Result:
			x.in[item.Result] = e
			x.result()
		case item.Comment:
			x.in[item.Comment] = e
			x.comment()
		case item.Query:
			x.out.Queries++
			x.out.Consumed[Query]++
		}
	}
	x.end()
	return nil
}

func size(r item.Record) int {
	n := 0
	for _, text := range r.Fields {
		n += len(text)
	}
	return n
}

// layouts of the times of a device, from its own notation: YYYY, YY, MM, Mon, DD,
// hh, mm, ss, ±hh:mm (the zone, or Z).
var timeNotation = strings.NewReplacer("±hh:mm", "Z07:00", "YYYY", "2006", "YY", "06", "MM", "01", "Mon", "Jan", "DD", "02", "hh", "15", "mm", "04", "ss", "05")
