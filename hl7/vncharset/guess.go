package vncharset

import (
	"regexp"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Fold writes Vietnamese in ASCII: no marks, đ as d. It also takes eth, which
// converters write for đ. Other characters stay.
func Fold(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.Is(unicode.Mn, r):
			return -1
		case r == 'đ' || r == 'ð':
			return 'd'
		case r == 'Đ' || r == 'Ð':
			return 'D'
		}
		return r
	}, norm.NFD.String(text))
}

// candidates are the sets that Guess tries, the likely ones first.
var candidates = []string{CP1258, TCVN3, VNI, VISCII}

// Guess names the set in which bytes read best as Vietnamese, "" where none does:
// at least three in four of the words with an accent are syllables, of four letters
// together or more. It is a hint
// for a person and decides nothing. At most the first 4 KiB are looked at.
func Guess(b []byte) string {
	b = b[:min(len(b), 4<<10)]
	if utf8.Valid(b) {
		return ""
	}
	best, most := "", 0.75
	for _, name := range candidates {
		if share := plausible(sets()[name].Decode(b)); share >= most && (best == "" || share > most) {
			best, most = name, share
		}
	}
	return best
}

// Plausible says whether a text reads as Vietnamese in the sense of Guess.
func Plausible(text string) bool { return plausible(text) >= 0.75 }

func plausible(text string) float64 {
	words, good, length := 0, 0, 0
	for _, word := range strings.FieldsFunc(text, func(r rune) bool {
		return r != utf8.RuneError && r < 0x80 && !unicode.IsLetter(r) || unicode.IsSpace(r)
	}) {
		if isASCII([]byte(word)) {
			continue
		}
		words++
		if isSyllable(word) {
			good++
			length += utf8.RuneCountInString(word)
		}
	}
	if length < 4 {
		return 0
	}
	return float64(good) / float64(words)
}

// vowels are the letters of the table with what they are in ASCII and whether they
// have a tone.
var vowels = sync.OnceValue(func() map[rune]struct {
	ascii rune
	tone  bool
} {
	all := map[rune]struct {
		ascii rune
		tone  bool
	}{}
	for _, l := range letters {
		_, tone := splitTone(l.letter)
		all[l.letter] = struct {
			ascii rune
			tone  bool
		}{rune(Fold(string(l.letter))[0]), tone != 0}
	}
	return all
})

var syllable = regexp.MustCompile(`^(ngh?|nh|ch|gh|gi|kh|ph|qu|th|tr|[bcdghklmnprstvx])?[aeiouy]{1,3}(ng|nh|ch|[cmnpt])?$`)

// isSyllable knows the shape of a syllable: consonants, vowels, consonants, at most
// one tone, and capitals as people write them.
func isSyllable(word string) bool {
	lower := strings.ToLower(word)
	first, size := utf8.DecodeRuneInString(lower)
	if rest := lower[size:]; word != lower && word != strings.ToUpper(word) && word != string(unicode.ToUpper(first))+rest {
		return false
	}
	tones := 0
	var folded strings.Builder
	for _, r := range lower {
		if r >= 0x80 {
			letter, ok := vowels()[r]
			if !ok {
				return false
			}
			r = letter.ascii
			if letter.tone {
				tones++
			}
		}
		folded.WriteRune(r)
	}
	return tones <= 1 && syllable.MatchString(folded.String())
}
