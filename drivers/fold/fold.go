// Package fold writes names for machines that know ASCII only: Vietnamese letters
// become the letters they are made of (Nguyễn Đức -> Nguyen Duc), what has no such
// letter becomes a question mark, and nothing that is a control character of a link
// is ever written.
package fold

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// ASCII is text in the characters 0x20 to 0x7E.
func ASCII(text string) string {
	var b strings.Builder
	b.Grow(len(text))
	for _, r := range norm.NFD.String(text) {
		switch {
		case r == 'đ':
			b.WriteByte('d')
		case r == 'Đ':
			b.WriteByte('D')
		case ' ' <= r && r <= '~':
			b.WriteRune(r)
		case unicode.Is(unicode.Mn, r):
		case unicode.IsSpace(r) || unicode.IsControl(r):
			b.WriteByte(' ')
		default:
			b.WriteByte('?')
		}
	}
	return b.String()
}

// Pad is ASCII of exactly n characters, cut or filled with blanks at the end.
func Pad(text string, n int) string {
	text = ASCII(text)
	if len(text) >= n {
		return text[:n]
	}
	return text + strings.Repeat(" ", n-len(text))
}
