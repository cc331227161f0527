package lab

import (
	"regexp"
	"strings"

	"nhip/gateway/reason"
)

// Checks of the last character of a specimen identifier.
const (
	Luhn  = "luhn"    // ISO/IEC 7812-1 annex B: a decimal digit
	GS1   = "gs1"     // GS1 General Specifications section 7.9: a decimal digit, weights 3 and 1 from the right
	Mod11 = "mod11-2" // ISO/IEC 7064 MOD 11-2: a decimal digit or X
)

// Specimens say how the identifiers of the site's specimens are made. Its zero value
// takes any.
type Specimens struct {
	// Pattern is what the whole of an identifier has to be as an analyser sends it, blanks
	// around it apart; nil: anything. Its first group, where it has one, is the identifier
	// that orders have: without what stands for the tube, without leading zeros.
	Pattern *regexp.Regexp
	Check   string // Luhn, GS1 or Mod11: of what orders have; empty: none
}

// Whole makes of an expression one that has to match all of an identifier.
func Whole(expression string) (*regexp.Regexp, error) {
	return regexp.Compile(`^(?:` + expression + `)$`)
}

// of is the identifier that orders have, or why it cannot be one.
func (s Specimens) of(id string) (string, reason.Code) {
	id = strings.TrimSpace(id)
	if s.Pattern != nil {
		m := s.Pattern.FindStringSubmatch(id)
		switch {
		case m == nil, len(m) > 1 && m[1] == "":
			return "", reason.NotSpecimen
		case len(m) > 1:
			id = m[1]
		}
	}
	if s.Check != "" && !checks(s.Check, id) {
		return "", reason.WrongCheck
	}
	return id, ""
}

// checks reports whether the last character of an identifier is what the check makes of
// the others. Letters and other characters before it are not counted by Luhn and GS1.
func checks(check, id string) bool {
	switch check {
	case Luhn:
		return weighed(id, func(i, d int) int {
			if i%2 == 1 {
				d *= 2
			}
			return d/10 + d%10
		})
	case GS1:
		return weighed(id, func(i, d int) int { return d * (1 + i%2*2) })
	}
	return mod11(id)
}

// weighed adds up the digits, i counted from the right: the sum is to end in 0.
func weighed(id string, weigh func(i, d int) int) bool {
	sum, n := 0, 0
	for i := len(id) - 1; i >= 0; i-- {
		if c := id[i]; '0' <= c && c <= '9' {
			sum += weigh(n, int(c-'0'))
			n++
		} else if n == 0 {
			return false // the check digit itself is none
		}
	}
	return n > 1 && sum%10 == 0
}

func mod11(id string) bool {
	p, n := 0, 0
	for i := range len(id) {
		c := id[i]
		switch {
		case '0' <= c && c <= '9':
			p = (p*2 + int(c-'0')) % 11
		case c == 'X' && i == len(id)-1:
			p = (p*2 + 10) % 11
		default:
			return false
		}
		n++
	}
	return n > 1 && p == 1
}
