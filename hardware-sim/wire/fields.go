package wire

import (
	"strings"
	"time"
)

// A Segment is an HL7 segment split at the field separator.
type Segment []string

// Split splits an HL7 message with the usual delimiters |^~\& at CR and |. The
// fields are counted as HL7 counts them: of MSH too, Field(10) is MSH-10.
func Split(message []byte) []Segment {
	var all []Segment
	for _, line := range strings.Split(string(message), "\r") {
		if line == "" {
			continue
		}
		fields := strings.Split(line, "|")
		if fields[0] == "MSH" {
			fields = append([]string{"MSH", "|"}, fields[1:]...)
		}
		all = append(all, fields)
	}
	return all
}

// Name is the segment's name.
func (s Segment) Name() string { return s[0] }

// Field is field n as it stands, "" where there is none.
func (s Segment) Field(n int) string {
	if n >= len(s) {
		return ""
	}
	return s[n]
}

// Component is component c of field n, unescaped, "" where there is none.
func (s Segment) Component(n, c int) string {
	return Unescape(Part(s.Field(n), "^", c))
}

// Part is the n-th part of text at the separator, counted from 1, "" where
// there is none.
func Part(text, separator string, n int) string {
	parts := strings.Split(text, separator)
	if n > len(parts) {
		return ""
	}
	return parts[n-1]
}

// First is the first segment of that name, nil where there is none.
func First(all []Segment, name string) Segment {
	for _, s := range all {
		if s.Name() == name {
			return s
		}
	}
	return nil
}

var unescape = strings.NewReplacer(`\F\`, "|", `\S\`, "^", `\T\`, "&", `\R\`, "~", `\E\`, `\`, `\X0D\`, "\r", `\X0A\`, "\n")

// Unescape replaces the delimiter escapes of HL7.
func Unescape(text string) string { return unescape.Replace(text) }

var escape = strings.NewReplacer("|", `\F\`, "^", `\S\`, "&", `\T\`, "~", `\R\`, `\`, `\E\`)

// Escape is text as it stands in a component.
func Escape(text string) string { return escape.Replace(text) }

// Time reads an HL7 time of the forms YYYYMMDDHHMM[SS[.S…]][+ZZZZ]; without a
// zone it is in the given one. It reports whether it could.
func Time(text string, zone *time.Location) (time.Time, bool) {
	for _, layout := range []string{"20060102150405-0700", "200601021504-0700"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, true
		}
	}
	for _, layout := range []string{"20060102150405", "200601021504"} {
		if t, err := time.ParseInLocation(layout, text, zone); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}
