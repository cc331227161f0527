// Package capture decodes what somebody recorded of an analyser: LIS01 frames
// (ASTM E1381) or bare LIS02 records (E1394) with any line end, HL7 messages in
// MLLP blocks or bare. It shows frames, records and, with a profile, results, and
// says in words and with the place what is wrong. It is a reader of recordings,
// for people: it goes on where the receiver of a live line would refuse.
package capture

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"

	"nhip/drivers/profile"
	"nhip/gateway/record"
)

// An Output is what `nhip decode` prints.
type Output struct {
	Protocol string    `json:"protocol"`
	Form     string    `json:"form,omitempty"` // of the recording, where it is not the bytes themselves
	Profile  string    `json:"profile,omitempty"`
	Messages []Message `json:"messages"`
	Problems []Problem `json:"problems"`
}

// A Message is an ASTM message, H to L, or an HL7 message.
type Message struct {
	Offset int `json:"offset"` // of its first record in the recording
	// Conversation names the two addresses, From says which end spoke: "device" or
	// "host". Both are empty where the recording does not tell.
	Conversation string   `json:"conversation,omitempty"`
	From         string   `json:"from,omitempty"`
	Frames       []Frame  `json:"frames"` // LIS01 frames that begin in the message; none for bare records and HL7
	Records      []Record `json:"records"`
	Results      []Result `json:"results"`
	// Reports are Results as the profile hands them on.
	Reports []record.Report `json:"-"`
	// Consumed counts what carries no result, by kind; Ignored the result records
	// that the profile leaves out, by code.
	Consumed map[string]int `json:"consumed,omitempty"`
	Ignored  map[string]int `json:"ignored,omitempty"`

	delimiter byte // of fields, ASTM
}

// A Frame is one LIS01 frame.
type Frame struct {
	Offset     int    `json:"offset"` // of STX
	Number     int    `json:"number"` // -1 where there is none
	End        string `json:"end"`    // "ETX", "ETB", or empty where the frame was cut
	ChecksumOK bool   `json:"checksum_ok"`
	Repeated   bool   `json:"repeated,omitempty"` // sent again; its text counts once
	Length     int    `json:"-"`                  // in bytes, from STX to the checksum
	Text       string `json:"text"`
}

// A Record is an ASTM record or an HL7 segment. Fields are the texts on the wire,
// not unescaped, as UTF-8: what is not UTF-8 is read as ISO 8859-1 (HL7: as
// MSH-18 says) and named in a problem. Field n of LIS02 is Fields[n-1], the
// record type being field 1; SEG-n of HL7 is Fields[n]. Where a driver names the
// fields, Names has the name of each.
type Record struct {
	Type   string   `json:"type"`
	Fields []string `json:"fields"`
	Names  []string `json:"names,omitempty"`

	places []int          // of the fields in the recording
	raw    map[int]string // the bytes of fields of HL7 that are not UTF-8
}

// Place is where Fields[i] begins in the recording; -1: it is not known.
func (r Record) Place(i int) int {
	if i < 0 || i >= len(r.places) {
		return -1
	}
	return r.places[i]
}

// A Result is a result as the profile reads it. Observed is RFC 3339 with the
// connection's zone where the device's time could be read, else as sent.
type Result struct {
	Specimen string   `json:"specimen"`
	Code     string   `json:"code"`
	Value    string   `json:"value"`
	Unit     string   `json:"unit"`
	Flag     string   `json:"flag"`
	Status   string   `json:"status"`
	Observed string   `json:"observed"`
	Name     string   `json:"name,omitempty"`
	LOINC    string   `json:"loinc,omitempty"`
	UCUM     string   `json:"ucum,omitempty"`
	Range    string   `json:"range,omitempty"`
	Declared bool     `json:"declared"`
	Control  bool     `json:"control,omitempty"`
	Comments []string `json:"comments,omitempty"`
}

// A Problem is something wrong in the recording.
type Problem struct {
	Offset       int    `json:"offset"`
	What         string `json:"what"`
	Conversation string `json:"conversation,omitempty"` // as Message's
	From         string `json:"from,omitempty"`
}

// ErrUnreadable: there is neither a record nor a message in the recording.
var ErrUnreadable = errors.New("capture: neither ASTM records nor an HL7 message were found")

// Decode reads a recording of any form (see Open). protocol is "astm", "hl7" or
// "auto" (also ""); p may be nil; zone is the zone of the device's clock, nil is UTC.
// Where the recording tells the ends apart, the messages of each follow each other,
// the device's first, and offsets count the bytes that this end said. The error is
// ErrUnreadable, wraps ErrRecording, or says that the profile is of the other protocol.
func Decode(recording []byte, protocol string, p *profile.Profile, zone *time.Location) (Output, error) {
	form, all, problems, err := Open(recording)
	if err != nil {
		return Output{}, err
	}
	if form == FormRaw || form == FormScreen {
		return decodeBytes(recording, protocol, p, zone)
	}
	out := Output{Form: form, Messages: []Message{}, Problems: []Problem{}}
	out.Problems = append(out.Problems, problems...)
	unreadable := ErrUnreadable
	for _, c := range all {
		for _, from := range []Side{Device, Host, Unknown} {
			said := c.Said(from)
			use := p
			if from == Host {
				use = nil // a profile reads what its device says
			}
			if len(said) == 0 || use == nil && ownProtocol(p) {
				continue
			}
			part, err := decodeBytes(said, protocol, use, zone)
			if errors.Is(err, ErrUnreadable) {
				continue // acknowledgements only
			}
			if err != nil {
				return Output{}, err
			}
			unreadable = nil
			out.add(part, c.Name, from)
		}
	}
	return out, unreadable
}

// add takes in what one end of a conversation said.
func (o *Output) add(part Output, conversation string, from Side) {
	o.Protocol = cmp.Or(o.Protocol, part.Protocol)
	o.Profile = cmp.Or(o.Profile, part.Profile)
	for _, m := range part.Messages {
		m.Conversation, m.From = conversation, from.String()
		o.Messages = append(o.Messages, m)
	}
	for _, x := range part.Problems {
		x.Conversation, x.From = conversation, from.String()
		o.Problems = append(o.Problems, x)
	}
}

// messages is the protocol of the messages that a profile reads.
func messages(p *profile.Profile) string {
	if p.Protocol() == profile.LAW {
		return "hl7"
	}
	return p.Protocol()
}

// decodeBytes reads the bytes themselves.
func decodeBytes(recording []byte, protocol string, p *profile.Profile, zone *time.Location) (Output, error) {
	if ownProtocol(p) && (protocol == "" || protocol == "auto") {
		return decodeItems(recording, p, zone)
	}
	copied := uncaret(recording)
	if copied != nil {
		recording = copied.text
	}
	if protocol == "" || protocol == "auto" {
		protocol = detect(recording)
	}
	if p != nil && (protocol == "astm" || protocol == "hl7") && messages(p) != protocol {
		return Output{}, errors.New("capture: the recording is " + protocol + ", profile " + p.ID() + " is for " + p.Protocol())
	}
	d := &decoder{p: p, zone: zone, out: Output{Protocol: protocol, Messages: []Message{}, Problems: []Problem{}}}
	if p != nil {
		d.out.Profile = p.ID()
	}
	switch protocol {
	case "astm":
		d.astm(recording)
	case "hl7":
		d.hl7(recording)
	case "":
	default:
		return Output{}, fmt.Errorf("capture: protocol %q is neither astm, hl7 nor auto", protocol)
	}
	if !slices.ContainsFunc(d.out.Messages, Message.readable) {
		return Output{}, ErrUnreadable
	}
	if copied != nil {
		d.relocate(copied)
	}
	return d.out, nil
}

// readable reports whether the message has a record of a type that there is.
func (m Message) readable() bool {
	return slices.ContainsFunc(m.Records, func(r Record) bool {
		return r.Type == "MSH" || len(r.Type) == 1 && strings.Contains("HPORCQMSL", r.Type)
	})
}

// Exit is the exit status of `nhip decode`: 0 clean, 1 problems, 2 unreadable.
func Exit(o Output, err error) int {
	switch {
	case err != nil:
		return 2
	case len(o.Problems) > 0:
		return 1
	}
	return 0
}

// detect tells the protocol by what comes first: an HL7 message header, or an STX
// or H record. Empty: neither is there.
func detect(recording []byte) string {
	for at := 0; at < len(recording); at++ {
		rest := recording[at:]
		if rest[0] == stx {
			return "astm"
		}
		if at > 0 && !separator(recording[at-1]) {
			continue
		}
		rest = bytes.TrimPrefix(rest, byteOrderMark)
		if _, bare := numbered(rest); headerRecord(bare) {
			return "astm"
		}
		if len(rest) > 3 && bytes.EqualFold(rest[:3], []byte("MSH")) && punctuation(rest[3]) {
			return "hl7"
		}
	}
	return ""
}

var byteOrderMark = []byte("\xEF\xBB\xBF")

// separator reports whether a record may begin after b: control characters end
// lines, frames and blocks.
func separator(b byte) bool { return b < ' ' }

func punctuation(b byte) bool {
	return b > ' ' && b < 0x7F && !('0' <= b && b <= '9') && !('a' <= b|0x20 && b|0x20 <= 'z')
}

// A decoder builds the output.
type decoder struct {
	p    *profile.Profile
	zone *time.Location
	out  Output
}

// maxProblems bounds what is listed of a recording that is something else.
const maxProblems = 10_000

func (d *decoder) problem(offset int, what string) {
	switch n := len(d.out.Problems); {
	case n == maxProblems:
		what = "what is wrong from here on is not listed"
	case n > maxProblems:
		return
	}
	d.out.Problems = append(d.out.Problems, Problem{Offset: offset, What: what})
}

// text makes UTF-8 of bytes on the wire. ok is false where they were not.
func text(b []byte) (s string, ok bool) {
	if utf8.Valid(b) {
		return string(b), true
	}
	decoded, err := charmap.ISO8859_1.NewDecoder().Bytes(b)
	if err != nil {
		return string(bytes.ToValidUTF8(b, []byte("�"))), false
	}
	return string(decoded), false
}

// results reads the message with the profile.
func (d *decoder) results(m *Message, message []byte) {
	m.Results = []Result{}
	if d.p == nil {
		return
	}
	e, err := d.p.Extract(message, d.zone)
	if err != nil {
		d.problem(m.Offset, err.Error())
		return
	}
	for _, what := range e.Problems {
		d.problem(m.Offset, what)
	}
	m.Consumed, m.Ignored, m.Reports = e.Consumed, e.Ignored, e.Reports
	for _, report := range e.Reports {
		for _, r := range report.Results {
			observed := r.Observed.Text
			if !r.Observed.At.IsZero() {
				observed = r.Observed.At.Format(time.RFC3339)
			}
			m.Results = append(m.Results, Result{
				Specimen: report.Specimen.ID, Code: r.Code, Value: r.Value, Unit: r.Unit,
				Flag: r.Flag, Status: r.Status, Observed: observed, Name: r.Text, LOINC: r.LOINC,
				UCUM: r.UCUM, Range: r.Range, Declared: r.Declared, Control: report.Control,
				Comments: r.Comments,
			})
		}
	}
}
