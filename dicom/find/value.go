package find

import (
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// universal reports whether a key value matches everything, the absent value
// too: a value of zero length, PS3.4 section C.2.2.2.3, or asterisks alone,
// which is the same by section C.2.2.2.4. Asterisks are taken so in every VR:
// modalities send them in dates too.
func universal(key string) bool { return strings.Trim(key, "*") == "" }

// wildcard matches a value against a key in which '*' stands for any characters,
// none included, and '?' for one, PS3.4 section C.2.2.2.4. It takes at most
// len(key) times len(value) steps and no memory.
func wildcard(key, value string) bool {
	k, v := 0, 0
	star, from := -1, 0
	for v < len(value) {
		n := runeLength(value[v:])
		switch {
		case k < len(key) && key[k] == '*':
			star, from = k, v
			k++
		case k < len(key) && key[k] == '?':
			k++
			v += n
		case k+n <= len(key) && key[k:k+n] == value[v:v+n]:
			k += n
			v += n
		case star >= 0:
			from += runeLength(value[from:])
			k, v = star+1, from
		default:
			return false
		}
	}
	return strings.Trim(key[k:], "*") == ""
}

// runeLength is the number of bytes of the first character of s, at least 1.
func runeLength(s string) int {
	for i := range s {
		if i > 0 {
			return i
		}
	}
	return len(s)
}

// person matches a person name, PS3.4 section C.2.2.2.1.1: without regard to
// case, and to accents where fold says so. Component groups are matched one by
// one; a key of a single group matches any group of the value, so that a name is
// found by its ideographic or phonetic form too.
func person(key, value string, fold bool) bool {
	keys, values := groups(key, fold), groups(value, fold)
	if len(keys) == 1 {
		for _, v := range values {
			if v != "" && wildcard(keys[0], v) {
				return true
			}
		}
		return false
	}
	for i, k := range keys {
		if universal(k) {
			continue
		}
		if i >= len(values) || values[i] == "" || !wildcard(k, values[i]) {
			return false
		}
	}
	return true
}

// groups splits a person name into its component groups, in one case and
// without the delimiters that may be omitted at the end of each, PS3.5 section
// 6.2.1.1.
func groups(name string, fold bool) []string {
	name = norm.NFC.String(strings.ToLower(name))
	if fold {
		name = withoutAccents(name)
	}
	parts := strings.Split(strings.TrimRight(name, "= "), "=")
	for i, p := range parts {
		components := strings.Split(p, "^")
		for j, c := range components {
			components[j] = strings.TrimSpace(c)
		}
		parts[i] = strings.TrimRight(strings.Join(components, "^"), "^")
	}
	return parts
}

// withoutAccents takes the marks off Latin letters: "nguyễn" becomes "nguyen",
// and "đ" becomes "d".
func withoutAccents(s string) string {
	var b strings.Builder
	for _, r := range norm.NFD.String(s) {
		switch {
		case r == 'đ':
			b.WriteRune('d')
		case r == 'Đ':
			b.WriteRune('D')
		case !unicode.Is(unicode.Mn, r):
			b.WriteRune(r)
		}
	}
	return b.String()
}

// number matches DS and IS by what they say: "1" and "01" are the same number.
func number(key, value string) bool {
	if key == value {
		return true
	}
	k, err := strconv.ParseFloat(key, 64)
	if err != nil {
		return false
	}
	v, err := strconv.ParseFloat(value, 64)
	return err == nil && k == v
}
