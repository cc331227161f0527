package lab

import (
	"slices"
	"strings"
	"time"
	"unicode"

	"nhip/gateway/orders"
	"nhip/gateway/record"
	"nhip/hl7/vncharset"
)

// What an analyser says of the patient is held against the order: its number (Desk.is),
// and name, birth and sex as far as both say them. A difference is not explained away;
// it makes a person look.

// agrees reports whether nothing that an analyser says of its patient speaks against
// this one, as he is now or as he was when it was ordered.
func (p patient) agrees(said record.Patient) bool {
	if agrees(said, p.person) {
		return true
	}
	return slices.ContainsFunc(p.matches, func(m orders.Match) bool { return agrees(said, m.Entry.Order.Ordered) })
}

func agrees(said record.Patient, p record.Person) bool {
	return sameName(said.Name, p.Name) && sameBirth(said.Birth, p.Birth) && sameSex(said.Sex, p.Sex)
}

// cutName is how long a name of an analyser has to be, in characters, before its last
// word may be one that was cut.
const cutName = 10

// sameName compares names by their words, folded to ASCII, in any order: every word that
// the analyser says is one of the patient's; the last may be cut. Words with digits, and
// letters that could not be read, say nothing.
func sameName(said, have record.Name) bool {
	words, of := nameWords(said), nameWords(have)
	if len(of) == 0 {
		return true
	}
	long := len([]rune(said.Whole())) >= cutName
	for i, w := range words {
		at := slices.Index(of, w)
		if at < 0 && long && i == len(words)-1 {
			at = slices.IndexFunc(of, func(x string) bool { return strings.HasPrefix(x, w) })
		}
		if at < 0 {
			return false
		}
		of = slices.Delete(of, at, at+1)
	}
	return true
}

// nameWords are the words of a name in capital ASCII letters, in the order in which an
// analyser sends its parts.
func nameWords(n record.Name) (all []string) {
	text := strings.ToUpper(vncharset.ASCII(n.Family + " " + n.Given + " " + n.Middle))
	for _, w := range strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == ',' || r == '.' || r == '-' || r == '\'' || r == '^' }) {
		if !strings.ContainsFunc(w, func(r rune) bool { return r == '?' || unicode.IsDigit(r) }) {
			all = append(all, w)
		}
	}
	return all
}

// sameBirth compares dates of birth as far as both say them: of many people only the
// year is known, and is written alone, or with zeros for month and day.
func sameBirth(a, b string) bool {
	x, y := birth(a), birth(b)
	n := min(len(x), len(y))
	return n < 4 || x[:n] == y[:n]
}

// birth is YYYY, YYYYMM or YYYYMMDD; empty where it is none of them.
func birth(s string) string {
	s = strings.TrimSpace(s)
	s = s[:min(len(s), 8)]
	if len(s) < 4 || strings.Trim(s, "0123456789") != "" || s[:4] == "0000" {
		return ""
	}
	s = s[:len(s)&^1]
	for len(s) > 4 && s[len(s)-2:] == "00" {
		s = s[:len(s)-2]
	}
	return s
}

// sameSex compares M with F and nothing else.
func sameSex(a, b string) bool {
	known := func(s string) string {
		s = strings.ToUpper(strings.TrimSpace(s))
		if s == "M" || s == "F" {
			return s
		}
		return ""
	}
	x, y := known(a), known(b)
	return x == "" || y == "" || x == y
}

// near reports whether the identifier of a specimen that has no order is likely one that
// has, mistyped: it differs in case, in leading zeros, in blanks and hyphens, in letters
// that look like digits, or in two characters that changed places.
func (d *Desk) near(a Analyser, id string, at time.Time) (bool, error) {
	for _, v := range variants(id) {
		found, err := d.Orders.Specimen(orders.SpecimenQuery{Specimen: v, At: at, Window: a.Window, Sections: a.Sections})
		if err != nil || len(found) > 0 {
			return err == nil, err
		}
	}
	return false, nil
}

// lookAlike are the digits that letters are taken for.
var lookAlike = map[rune]rune{'O': '0', 'o': '0', 'Q': '0', 'D': '0', 'I': '1', 'l': '1', 'i': '1', 'L': '1', 'Z': '2', 'S': '5', 's': '5', 'G': '6', 'B': '8'}

// Limits of the identifiers whose variants are looked for. In a short one two digits
// that change places make another running number.
const (
	shortestNear = 6
	longestNear  = 40
)

// variants are what an identifier may have been meant to be.
func variants(id string) (all []string) {
	add := func(v string) {
		if v != "" && v != id && !slices.Contains(all, v) {
			all = append(all, v)
		}
	}
	if len(id) > longestNear {
		return nil
	}
	add(strings.ToUpper(id))
	add(strings.ToLower(id))
	add(strings.TrimLeft(id, "0"))
	for n := 1; n <= 4; n++ {
		add(strings.Repeat("0", n) + id)
	}
	add(strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || strings.ContainsRune("-_./", r) {
			return -1
		}
		return r
	}, id))
	digits := func(r rune) rune {
		if x, ok := lookAlike[r]; ok {
			return x
		}
		return r
	}
	add(strings.Map(digits, id))
	runes := []rune(id)
	for i, r := range runes {
		with := func(x rune) { add(string(runes[:i]) + string(x) + string(runes[i+1:])) }
		with(digits(r))
		for letter, digit := range lookAlike {
			if digit == r {
				with(letter)
			}
		}
		if i > 0 && len(runes) >= shortestNear {
			add(string(runes[:i-1]) + string(r) + string(runes[i-1]) + string(runes[i+1:]))
		}
	}
	return all
}
