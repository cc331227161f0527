package console

import (
	"fmt"
	"slices"
	"strings"

	"nhip/drivers/capture"
)

// Limits of the bytes that are shown: of all, and in a line.
const (
	benchBytes = 32 << 10
	hexWidth   = 16
)

// A benchSide is the bytes of one end of a conversation, cut where frames, messages and
// what stands between them begin.
type benchSide struct {
	Conversation, From string
	Parts              []hexPart
	More               int // bytes that are not shown
}

// Name is which end it is; empty: the recording does not tell.
func (s benchSide) Name(lang string) string {
	if lang == "vi" {
		return sideWords(s.Conversation, s.From, vi)
	}
	return sideWords(s.Conversation, s.From, en)
}

// A hexPart is a frame, a message, or what stands between.
type hexPart struct {
	Offset int
	Frame  *capture.Frame
	Lines  []hexLine
}

// A hexLine is some bytes in hexadecimal and as text. Of both there are runs, marked
// where something is wrong.
type hexLine struct {
	Offset    string
	Hex, Text []hexRun
	Pad       string // after the hexadecimal of a short line
}

type hexRun struct {
	Text  string
	Wrong bool
}

// hexOf are the bytes that the offsets of a decoded recording count.
func hexOf(recording []byte, form string, all []capture.Conversation, out capture.Output) (sides []benchSide) {
	left := benchBytes
	if form == capture.FormRaw || form == capture.FormScreen {
		return append(sides, hexSide(recording, "", "", out, &left))
	}
	for _, c := range all {
		for _, from := range []capture.Side{capture.Device, capture.Host, capture.Unknown} {
			if said := c.Said(from); len(said) > 0 {
				sides = append(sides, hexSide(said, c.Name, from.String(), out, &left))
			}
		}
	}
	return sides
}

func hexSide(b []byte, conversation, from string, out capture.Output, left *int) benchSide {
	frames := map[int]capture.Frame{}
	cuts := []int{0, len(b)}
	for _, m := range out.Messages {
		if m.Conversation != conversation || m.From != from {
			continue
		}
		if len(m.Frames) == 0 {
			cuts = append(cuts, m.Offset)
		}
		for _, f := range m.Frames {
			end := f.Offset + f.Length
			for end < len(b) && (b[end] == '\r' || b[end] == '\n') {
				end++ // CR LF ends a frame
			}
			frames[f.Offset] = f
			cuts = append(cuts, f.Offset, end)
		}
	}
	wrong := map[int]bool{}
	for _, p := range out.Problems {
		if p.Conversation == conversation && p.From == from {
			wrong[p.Offset] = true
		}
	}
	slices.Sort(cuts)
	cuts = slices.Compact(cuts)
	side := benchSide{Conversation: conversation, From: from}
	for i := 0; i+1 < len(cuts); i++ {
		at, end := max(cuts[i], 0), min(cuts[i+1], len(b))
		shown := min(end, at+*left)
		side.More += end - shown
		if shown <= at {
			continue
		}
		*left -= shown - at
		part := hexPart{Offset: at, Lines: hexLines(b, at, shown, wrong)}
		if f, ok := frames[at]; ok {
			part.Frame = &f
		}
		side.Parts = append(side.Parts, part)
	}
	return side
}

func hexLines(b []byte, from, to int, wrong map[int]bool) (lines []hexLine) {
	for at := from; at < to; at += hexWidth {
		end := min(at+hexWidth, to)
		line := hexLine{Offset: fmt.Sprintf("%06d", at), Pad: strings.Repeat("   ", hexWidth-(end-at))}
		for i := at; i < end; i++ {
			line.Hex = run(line.Hex, fmt.Sprintf("%02X ", b[i]), wrong[i])
			c := "·"
			if b[i] >= ' ' && b[i] < 0x7F {
				c = string(rune(b[i]))
			}
			line.Text = run(line.Text, c, wrong[i])
		}
		lines = append(lines, line)
	}
	return lines
}

// run adds text to the last run where it is marked alike.
func run(runs []hexRun, text string, wrong bool) []hexRun {
	if n := len(runs); n > 0 && runs[n-1].Wrong == wrong {
		runs[n-1].Text += text
		return runs
	}
	return append(runs, hexRun{text, wrong})
}
