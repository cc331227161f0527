package journal

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// controls are the names of control characters, as transcripts have them.
var controls = map[rune]string{
	0x00: "NUL", 0x01: "SOH", 0x02: "STX", 0x03: "ETX", 0x04: "EOT", 0x05: "ENQ", 0x06: "ACK", 0x07: "BEL", 0x08: "BS", 0x09: "HT",
	0x0a: "LF", 0x0b: "VT", 0x0c: "FF", 0x0d: "CR", 0x15: "NAK", 0x17: "ETB", 0x1b: "ESC", 0x1c: "FS", 0x1d: "GS", 0x1e: "RS", 0x1f: "US", 0x7f: "DEL",
}

// Lines are bytes for people: one record or segment a line, each with its end
// visible, what is no text as ⟨CR⟩, ⟨A4⟩ or ⟨U+202E⟩. They are safe to show: no
// character of them moves a cursor or turns the text around it.
func Lines(b []byte) []string {
	var lines []string
	var line strings.Builder
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		switch name, control := controls[r]; {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&line, "⟨%02X⟩", b[i])
		case control:
			line.WriteString("⟨" + name + "⟩")
		case unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Zl, unicode.Zp):
			fmt.Fprintf(&line, "⟨U+%04X⟩", r)
		default:
			line.WriteRune(r)
		}
		i += n
		if r == '\n' || r == '\r' && !(i < len(b) && b[i] == '\n') {
			lines = append(lines, line.String())
			line.Reset()
		}
	}
	if line.Len() > 0 {
		lines = append(lines, line.String())
	}
	return lines
}

// ParseTime reads a time of a query: RFC 3339, or a day, or a day and a time of
// day, or a time of day of today, in zone; or how long ago, such as "2h".
func ParseTime(text string, zone *time.Location, now time.Time) (time.Time, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return time.Time{}, nil
	}
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return t, nil
	}
	for _, layout := range []string{"2006-01-02", "2006-01-02 15:04", "2006-01-02T15:04", "2006-01-02 15:04:05", "2006-01-02T15:04:05", "2006-01-02T15:04:05.999999999"} {
		if t, err := time.ParseInLocation(layout, text, zone); err == nil {
			return t, nil
		}
	}
	for _, layout := range []string{"15:04", "15:04:05"} {
		if t, err := time.Parse(layout, text); err == nil {
			y, m, d := now.In(zone).Date()
			return time.Date(y, m, d, t.Hour(), t.Minute(), t.Second(), 0, zone), nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time: write 2026-01-14 08:15, 08:15 for today, or 2h for two hours ago", text)
}
