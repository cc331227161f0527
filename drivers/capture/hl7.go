package capture

import (
	"bytes"
	"fmt"
	"strconv"

	"nhip/hl7"
)

// Block characters of MLLP.
const (
	startBlock = 0x0B
	endBlock   = 0x1C
)

// maxFields is how many fields of a segment are shown.
const maxFields = 5_000

// hl7 decodes messages in MLLP blocks (VT … FS CR) or bare, several after each
// other too.
func (d *decoder) hl7(recording []byte) {
	for at := 0; at < len(recording); {
		begun := recording[at] == startBlock
		from := at
		if begun {
			from++
		}
		to := len(recording)
		if i := bytes.IndexAny(recording[from:], "\x0b\x1c"); i >= 0 {
			to = from + i
		}
		ended := to < len(recording) && recording[to] == endBlock
		at = to
		if ended {
			at++
		}
		d.block(recording[from:to:to], from, begun, ended)
	}
}

// block decodes what stands between block characters.
func (d *decoder) block(b []byte, offset int, begun, ended bool) {
	blank := len(bytes.Trim(b, "\r\n \t\x00\x1A")) == 0
	switch {
	case blank && begun:
		d.problem(offset, "an empty block")
	case blank && ended:
		d.problem(offset+len(b), "FS without VT")
	}
	if blank {
		return
	}
	if begun && !ended {
		d.problem(offset+len(b), "the block is cut: no FS")
	}
	if !begun && ended {
		d.problem(offset+len(b), "FS without VT")
	}
	for _, message := range hl7.Split(b) { // parts of b: the capacities tell where they begin
		d.hl7Message(message, offset+cap(b)-cap(message))
	}
}

// hl7Message puts out one message.
func (d *decoder) hl7Message(message []byte, offset int) {
	parsed, err := hl7.ParseWithin(message, hl7.Limits{Fields: maxFields})
	if err != nil {
		d.problem(offset, err.Error())
	}
	if parsed == nil {
		return
	}
	m := Message{Offset: offset, Frames: []Frame{}, Records: []Record{}, Results: []Result{}}
	at := 0
	for _, s := range parsed.Segments() {
		r := Record{Type: s.Name, Fields: make([]string, 1, s.Fields()+1)}
		r.Fields[0] = s.Name
		at += max(bytes.Index(message[at:], s.Bytes()), 0)
		r.places = places(s.Bytes(), s.Fields(), offset+at)
		at += len(s.Bytes())
		for n := 1; n <= s.Fields(); n++ {
			field, ok := text(s.Raw(strconv.Itoa(n)))
			if !ok {
				if r.raw == nil {
					r.raw = map[int]string{}
				}
				r.raw[n] = string(s.Raw(strconv.Itoa(n)))
				field = s.Get(strconv.Itoa(n))
			}
			r.Fields = append(r.Fields, field)
		}
		m.Records = append(m.Records, r)
	}
	if err == nil {
		d.results(&m, message)
	}
	d.out.Messages = append(d.out.Messages, m)
}

// places are where the fields of a segment begin. MSH-1 is the separator itself.
func places(segment []byte, fields, offset int) []int {
	all := append(make([]int, 0, fields+1), offset)
	if len(segment) < 4 {
		return all
	}
	separator, at := segment[3], 3
	if string(segment[:3]) == "MSH" {
		all = append(all, offset+at)
	}
	for len(all) <= fields && at < len(segment) {
		all = append(all, offset+at+1)
		next := bytes.IndexByte(segment[at+1:], separator)
		if next < 0 {
			break
		}
		at += 1 + next
	}
	return all
}

// String is the problem as a line of text.
func (p Problem) String() string { return fmt.Sprintf("byte %d: %s", p.Offset, p.What) }
