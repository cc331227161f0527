// Package transcript reads conversations between a device and a host that are
// written as text, and plays them: against the pure receiver of the ASTM link, or on
// a connection as the device. One file is test, simulator script, documentation and
// bug report:
//
//	# Our ACK was lost: the analyser repeats frame 1. Acknowledged, not stored again.
//	> <ENQ>
//	< <ACK>
//	> <STX>1H|\^&<CR>L|1<CR><ETX><sum><CR><LF>
//	= store H|\^&<CR>
//	= + L|1<CR>
//	< <ACK>
//	> <EOT>
//	= ended
//
// A line begins with its mark and one blank:
//
//	>  device to host; lines that follow each other are one stream
//	<  host to device
//	=  what the driver has to do, see Verb
//	~  silence until the timer; "~ cut": the line is cut
//	#  a remark
//
// Bytes are written as they are. Control characters have their names, <STX>, <ENQ>,
// <VT>, <FS>; any byte is <xHH>; <sum> is the right checksum of the frame since the
// last <STX>. Any other < is itself.
package transcript

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"

	"nhip/drivers/astm/e1381"
)

// Kind is the mark of a line.
type Kind byte

const (
	Device  Kind = '>'
	Host    Kind = '<'
	Expect  Kind = '='
	Silence Kind = '~'
	Cut     Kind = 'x' // written "~ cut"
)

// Verb is the first word of a line with the mark =.
type Verb string

const (
	Store      Verb = "store"      // a commit that begins with this message
	And        Verb = "and"        // a further message of the same commit
	Refuse     Verb = "refuse"     // as store, and the disk fails
	Incomplete Verb = "incomplete" // what came of a broken session
	Reason     Verb = "reason"     // of the incomplete above, in words
	Ended      Verb = "ended"      // the session ended by EOT
	more       Verb = "+"          // more bytes of the line above
)

// A Step is one line, with what "= +" added to it.
type Step struct {
	Line  int
	Kind  Kind
	Verb  Verb   // of Expect
	Bytes []byte // what is sent, or the message of Expect, or the words of Reason
}

// String is the step as a line of a transcript.
func (s Step) String() string {
	switch s.Kind {
	case Silence:
		return "~"
	case Cut:
		return "~ cut"
	case Expect:
		if len(s.Bytes) == 0 {
			return "= " + string(s.Verb)
		}
		return "= " + string(s.Verb) + " " + Text(s.Bytes)
	}
	return string(s.Kind) + " " + Text(s.Bytes)
}

// Parse reads a transcript. Its error names the line.
func Parse(text []byte) ([]Step, error) {
	var steps []Step
	frames := map[Kind]*[]byte{Device: new([]byte), Host: new([]byte)} // for <sum>
	for n, line := range strings.Split(string(text), "\n") {
		line = strings.TrimSuffix(line, "\r")
		if line == "" || line[0] == '#' {
			continue
		}
		mark, rest := Kind(line[0]), line[1:]
		if rest != "" {
			if rest[0] != ' ' {
				return nil, fmt.Errorf("line %d: no blank after the mark %c", n+1, mark)
			}
			rest = rest[1:]
		}
		step, err := parseLine(mark, rest, frames)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n+1, err)
		}
		step.Line = n + 1
		if step.Verb == more {
			if len(steps) == 0 || steps[len(steps)-1].Kind != Expect {
				return nil, fmt.Errorf("line %d: nothing that + goes on with", n+1)
			}
			last := &steps[len(steps)-1]
			last.Bytes = append(last.Bytes, step.Bytes...)
			continue
		}
		steps = append(steps, step)
	}
	return steps, nil
}

func parseLine(mark Kind, rest string, frames map[Kind]*[]byte) (Step, error) {
	switch mark {
	case Device, Host:
		b, err := parseBytes(rest, frames[mark])
		return Step{Kind: mark, Bytes: b}, err
	case Silence:
		switch rest {
		case "":
			return Step{Kind: Silence}, nil
		case "cut":
			return Step{Kind: Cut}, nil
		}
		return Step{}, fmt.Errorf("after ~ stands nothing or cut, not %q", rest)
	case Expect:
		verb, rest, _ := strings.Cut(rest, " ")
		switch Verb(verb) {
		case Store, And, Refuse, Incomplete, Reason, Ended, more:
		default:
			return Step{}, fmt.Errorf("%q is nothing that a driver does", verb)
		}
		b, err := parseBytes(rest, nil)
		return Step{Kind: Expect, Verb: Verb(verb), Bytes: b}, err
	}
	return Step{}, fmt.Errorf("mark %q is none of > < = ~ #", byte(mark))
}

// parseBytes reads bytes; frame holds what came since the last STX.
func parseBytes(s string, frame *[]byte) ([]byte, error) {
	var b []byte
	add := func(c byte) {
		b = append(b, c)
		if frame == nil {
			return
		}
		if c == e1381.STX {
			*frame = (*frame)[:0]
			return
		}
		*frame = append(*frame, c)
	}
	for len(s) > 0 {
		if strings.HasPrefix(s, "<sum>") {
			if frame == nil {
				return nil, fmt.Errorf("<sum> stands only in what is sent")
			}
			for _, c := range fmt.Sprintf("%02X", e1381.Checksum(*frame)) {
				b = append(b, byte(c))
			}
			s = s[len("<sum>"):]
			continue
		}
		c, length := named(s)
		add(c)
		s = s[length:]
	}
	return b, nil
}

// names of the control characters by their value.
var names = strings.Fields(`NUL SOH STX ETX EOT ENQ ACK BEL BS HT LF VT FF CR SO SI
	DLE DC1 DC2 DC3 DC4 NAK SYN ETB CAN EM SUB ESC FS GS RS US`)

// named reads the byte that s begins with, by its name or as it is.
func named(s string) (b byte, length int) {
	if s[0] != '<' {
		return s[0], 1
	}
	end := strings.IndexByte(s, '>')
	if end < 0 {
		return '<', 1
	}
	name := s[1:end]
	for value, n := range names {
		if n == name {
			return byte(value), end + 1
		}
	}
	if name == "DEL" {
		return 0x7F, end + 1
	}
	if len(name) == 3 && name[0] == 'x' {
		if _, err := fmt.Sscanf(name, "x%02X", &b); err == nil {
			return b, end + 1
		}
	}
	return '<', 1
}

// Text writes bytes as they stand in a transcript; Parse reads the same bytes again.
func Text(b []byte) string {
	var t strings.Builder
	for len(b) > 0 {
		r, size := utf8.DecodeRune(b)
		switch c := b[0]; {
		case c < ' ':
			t.WriteString("<" + names[c] + ">")
		case c == 0x7F:
			t.WriteString("<DEL>")
		case r == utf8.RuneError && size == 1, c == '<' && ambiguous(b):
			fmt.Fprintf(&t, "<x%02X>", c)
		default:
			t.Write(b[:size])
		}
		b = b[size:]
	}
	return t.String()
}

// ambiguous: this < would be read as the beginning of a name.
func ambiguous(b []byte) bool {
	_, length := named(string(b[:min(len(b), 8)]))
	return length > 1 || bytes.HasPrefix(b, []byte("<sum>"))
}
