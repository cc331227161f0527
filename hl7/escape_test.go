package hl7_test

import (
	"testing"

	"nhip/hl7"
)

func TestEscapeBothWays(t *testing.T) {
	truncating := hl7.DefaultDelimiters
	truncating.Truncation = '#'
	for _, c := range []struct {
		delimiters    hl7.Delimiters
		text, escaped string
	}{
		{hl7.DefaultDelimiters, "", ""},
		{hl7.DefaultDelimiters, "6.41", "6.41"},
		{hl7.DefaultDelimiters, "Âm tính", "Âm tính"},
		{hl7.DefaultDelimiters, `|^~\&`, `\F\\S\\R\\E\\T\`},
		{hl7.DefaultDelimiters, "a\nb\rc", `a\.br\b\X0D\c`},
		{hl7.DefaultDelimiters, "\x0B\x1C\t\x00", `\X0B\\X1C\` + "\t\x00"},
		{hl7.DefaultDelimiters, "#", "#"},
		{truncating, "#|", `\P\\F\`},
		{hl7.DefaultDelimiters, hl7.Null, `""`},
		{hl7.Delimiters{Field: '$', Component: '%', Repetition: '*', Escape: '!', Subcomponent: '@'}, `$%*!@|^~\&`, `!F!!S!!R!!E!!T!|^~\&`},
		{hl7.Delimiters{Field: '|', Component: '.', Escape: '\\'}, "a\nb", `a\X0A\b`},
		{hl7.Delimiters{Field: '|', Component: '^', Repetition: '~'}, `a\b&c`, `a\b&c`},
	} {
		escaped, err := hl7.Escape(c.text, c.delimiters)
		if err != nil || escaped != c.escaped {
			t.Errorf("Escape(%q) is %q, %v, want %q", c.text, escaped, err, c.escaped)
		}
		if text := hl7.Unescape(c.escaped, c.delimiters); text != c.text {
			t.Errorf("Unescape(%q) is %q, want %q", c.escaped, text, c.text)
		}
	}
}

func TestUnescapeKeepsWhatItDoesNotKnow(t *testing.T) {
	for escaped, want := range map[string]string{
		`\H\high\N\`:            `\H\high\N\`,
		`\.sp2\ \.in+4\ \.ce\`:  `\.sp2\ \.in+4\ \.ce\`,
		`\Z12\ \C2842\ \M2442\`: `\Z12\ \C2842\ \M2442\`,
		`\unknown\`:             `\unknown\`,
		`open \F`:               `open \F`,
		`\`:                     `\`,
		`\\`:                    `\\`,
		`\\F\`:                  `\|`,
		`C:\dir\F\x`:            `C:\dir|x`,
		`\X\ \X4\ \X4G\`:        `\X\ \X4\ \X4G\`,
		`\X41\\X4243\\x44\`:     `ABC\x44\`,
		`\X0D\`:                 "\r",
		`\P\`:                   `\P\`,
		`\f\`:                   `\f\`,
		`50\T\`:                 `50&`,
		`a\E\E\b`:               `a\E\b`,
	} {
		if got := hl7.Unescape(escaped, hl7.DefaultDelimiters); got != want {
			t.Errorf("Unescape(%q) is %q, want %q", escaped, got, want)
		}
	}
}

func TestEscapeWithoutEscapeCharacter(t *testing.T) {
	d := hl7.Delimiters{Field: '|', Component: '^', Repetition: '~'}
	for _, text := range []string{"|", "^", "~", "\r", "\x1C"} {
		if escaped, err := hl7.Escape(text, d); err == nil {
			t.Errorf("%q is written as %q", text, escaped)
		}
	}
}
