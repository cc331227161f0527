package console

import (
	"fmt"
	"strings"

	"nhip/drivers/capture"
	"nhip/gateway/journal"
)

// Limits of what the page shows of a recording.
const (
	benchFields  = 4000
	benchResults = 1000
	benchListed  = 200 // problems
	benchText    = 400 // characters of a field
)

// A benchView is a recording taken apart, in one language.
type benchView struct {
	Protocol, Form, Profile string
	Found                   bool     // the profile was found by the sender
	Claims                  []string // the profiles that claim the sender
	Hex                     []benchSide
	Messages                []benchMessage
	Results                 []benchResult
	Sent                    []benchSent
	Problems                []benchProblem

	MoreFields, MoreResults int
}

// A shownBench is a benchView in a page.
type shownBench struct {
	Lang string
	View *benchView
}

// Listed are the problems that the page shows.
func (b benchView) Listed() []benchProblem { return b.Problems[:min(len(b.Problems), benchListed)] }

// More is how many are not.
func (b benchView) More() int { return max(len(b.Problems)-benchListed, 0) }

type benchProblem struct {
	Where  string
	Offset int
	Words  string
}

type benchMessage struct {
	Number  int
	Where   string
	Offset  int
	Frames  []capture.Frame
	Records []benchRecord
}

type benchRecord struct {
	Type, Name string
	Offset     int // -1: not known
	Fields     []benchField
}

// A benchField is a field, or a component of one.
type benchField struct {
	Path, Name, Text string
	Offset           int
	Part             bool
}

type benchResult struct {
	capture.Result
	Message int
}

// A benchSent is what a laboratory system would get of a report.
type benchSent struct {
	Specimen string
	Control  bool // it goes to no laboratory system
	Lines    []string
	Error    string
}

// sideWords names the end of a conversation that spoke.
func sideWords(conversation, from string, l lang) string {
	switch from {
	case capture.Device.String():
		from = say(l, "bench-device")
	case capture.Host.String():
		from = say(l, "bench-host")
	}
	return strings.TrimSpace(conversation + " " + from)
}

// messages takes the messages in.
func (b *benchView) messages(out capture.Output, v viewer, w Workbench) {
	fields := 0
	for i, m := range out.Messages {
		x := benchMessage{Number: i + 1, Where: sideWords(m.Conversation, m.From, v.lang), Offset: m.Offset, Frames: m.Frames[:min(len(m.Frames), benchFields)]}
		for _, r := range m.Records {
			if fields >= benchFields {
				b.MoreFields += len(r.Fields) - 1
				continue
			}
			one := benchRecord{r.Type, capture.RecordName(out.Protocol, r.Type, v.lang.String()), r.Place(0), recordFields(out.Protocol, r, m.Records[0], v.lang)}
			fields += len(one.Fields)
			x.Records = append(x.Records, one)
		}
		if len(b.Messages) < benchListed {
			b.Messages = append(b.Messages, x)
		} else {
			b.MoreFields += fields
		}
		for _, r := range m.Results {
			if len(b.Results) == benchResults {
				b.MoreResults++
				continue
			}
			b.Results = append(b.Results, benchResult{r, i + 1})
		}
		b.sent(m, w)
	}
}

// sent adds what would go to a laboratory system.
func (b *benchView) sent(m capture.Message, w Workbench) {
	for _, r := range m.Reports {
		if len(b.Sent) == benchListed {
			return
		}
		x := benchSent{Specimen: r.Specimen.ID, Control: r.Control}
		if !r.Control {
			if message, err := w.Message(r); err != nil {
				x.Error = err.Error()
			} else {
				x.Lines = journal.Lines(message)
			}
		}
		b.Sent = append(b.Sent, x)
	}
}

// recordFields are the fields of a record that hold something, those with components
// followed by their components.
func recordFields(protocol string, r, header capture.Record, l lang) (all []benchField) {
	repeat, component := delimitersOf(protocol, header)
	for i, text := range r.Fields {
		if i == 0 || text == "" {
			continue
		}
		path, at := r.Path(protocol, i), r.Place(i)
		all = append(all, benchField{Path: path, Name: r.FieldName(protocol, i, l.String()), Text: cut(text), Offset: at})
		if len(r.Names) == 0 && strings.Contains(text, component) && !declares(protocol, r.Type, i) {
			all = append(all, components(path, text, repeat, component)...)
		}
	}
	return all
}

// components are the components of a field that hold something: R.3.4, and of a second
// repetition R.3(2).4.
func components(path, text, repeat, component string) (all []benchField) {
	for n, one := range strings.Split(text, repeat) {
		if n > 0 {
			path = fmt.Sprintf("%s(%d)", strings.TrimSuffix(path, fmt.Sprintf("(%d)", n)), n+1)
		}
		for k, part := range strings.Split(one, component) {
			if part != "" {
				all = append(all, benchField{Path: fmt.Sprintf("%s.%d", path, k+1), Text: cut(part), Part: true, Offset: -1})
			}
		}
	}
	return all
}

// delimitersOf are those of repetitions and components that a header declares.
func delimitersOf(protocol string, header capture.Record) (repeat, component string) {
	switch {
	case protocol == "hl7" && len(header.Fields) > 2 && len(header.Fields[2]) > 1:
		return header.Fields[2][1:2], header.Fields[2][:1]
	case protocol == "astm" && header.Type == "H" && len(header.Fields) > 1 && len(header.Fields[1]) > 1:
		return header.Fields[1][:1], header.Fields[1][1:2]
	}
	return "\\", "^"
}

// declares: the field is the definition of the delimiters.
func declares(protocol, recordType string, i int) bool {
	return protocol == "hl7" && recordType == "MSH" && i <= 2 || protocol == "astm" && recordType == "H" && i == 1
}

func cut(s string) string {
	if runes := []rune(s); len(runes) > benchText {
		return string(runes[:benchText]) + "…"
	}
	return s
}
