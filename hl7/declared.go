package hl7

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"

	"nhip/hl7/vncharset"
)

// A CharsetRule is what a link says about the character sets of its peer. Names are
// those of table 0211, Windows-1252 and those of package vncharset.
type CharsetRule struct {
	// Force is the set that texts are read and written in, whatever MSH-18 says:
	// for a sender whose declaration is wrong.
	Force string
	// Default are the sets for a message whose MSH-18 is empty: the first in which
	// all its bytes are characters; the last where none is. Empty: ASCII is taken as
	// declared, and read as UTF-8.
	Default []string
}

// CheckCharset says what is wrong with the name of a character set: it is not known,
// or no message can be read in it.
func CheckCharset(name string) error {
	if cs := lookUp(name); cs.problem != "" {
		return fmt.Errorf("hl7: character set %q: %s", name, cs.problem)
	}
	return nil
}

// UseCharset reads and writes the texts of the message by the rule from now on. The
// error is that of CheckCharset; the message is as before then.
func (m *Message) UseCharset(rule CharsetRule) error {
	names := rule.Default
	if rule.Force != "" {
		names = []string{rule.Force}
	} else if len(m.msh(18)) > 0 {
		return nil
	}
	var chosen *charset
	for _, name := range names {
		if err := CheckCharset(name); err != nil {
			return err
		}
		if chosen == nil || m.mismatched(chosen) {
			chosen = lookUp(name)
		}
	}
	if chosen != nil {
		m.charset, m.forced = chosen, true
		m.indexHeader()
	}
	return nil
}

func (m *Message) mismatched(cs *charset) bool {
	for _, s := range m.segments {
		if cs.undecodable(s.text) {
			return true
		}
	}
	return false
}

// A CharsetProblem is how the bytes of a message disagree with its declaration.
type CharsetProblem string

const (
	// CharsetUnknown: MSH-18 names a set that cannot be read.
	CharsetUnknown CharsetProblem = "unknown"
	// CharsetUndeclared: MSH-18 is empty or ASCII, and there are other characters.
	CharsetUndeclared CharsetProblem = "undeclared"
	// CharsetInvalid: bytes that are no character of the set.
	CharsetInvalid CharsetProblem = "invalid"
	// CharsetOther: the bytes are characters of the set, but read as another one
	// they make sense.
	CharsetOther CharsetProblem = "other"
	// CharsetControls: control characters of ISO 8859 (80 to 9F), which are letters
	// in the sets of Windows.
	CharsetControls CharsetProblem = "controls"
	// CharsetTwice: UTF-8 that was taken for a set of one byte and encoded again.
	CharsetTwice CharsetProblem = "twice"
	// CharsetLost: replacement characters; the sender itself could not read what it
	// sends.
	CharsetLost CharsetProblem = "lost"
)

// A CharsetWarning is a place where bytes and declaration disagree. It quotes
// nothing of the message but MSH-18.
type CharsetWarning struct {
	Problem  CharsetProblem
	Declared string // the set that the message is read in
	Location string // a path, "PID-5"
	Like     string // the set that the bytes look like; empty: none
}

// Words are the warning as a sentence; lang is "vi" or anything else for English.
func (w CharsetWarning) Words(lang string) string {
	sentences := charsetSentences[w.Problem]
	like := [2]string{}
	if w.Like != "" {
		like = [2]string{"; it looks like " + w.Like, "; trông giống " + w.Like}
	}
	if lang == "vi" {
		return fmt.Sprintf(sentences[1], w.Declared, w.Location) + like[1]
	}
	return fmt.Sprintf(sentences[0], w.Declared, w.Location) + like[0]
}

var charsetSentences = map[CharsetProblem][2]string{
	CharsetUnknown:    {"the character set %[1]q (%[2]s) is not known: texts are read as UTF-8", "không biết bảng mã %[1]q (%[2]s): văn bản được đọc theo UTF-8"},
	CharsetUndeclared: {"no character set is declared, and %[2]s has characters that are not ASCII", "không khai báo bảng mã, nhưng %[2]s có ký tự ngoài ASCII"},
	CharsetInvalid:    {"%[2]s has bytes that are no characters of %[1]s", "%[2]s có byte không phải là ký tự của %[1]s"},
	CharsetOther:      {"the message declares %[1]s, but %[2]s reads as another set", "bản tin khai báo %[1]s, nhưng %[2]s thuộc bảng mã khác"},
	CharsetControls:   {"%[2]s has control characters of %[1]s, which are letters in a Windows set", "%[2]s có ký tự điều khiển của %[1]s, là chữ trong bảng mã Windows"},
	CharsetTwice:      {"%[2]s was encoded as UTF-8 twice (%[1]s)", "%[2]s bị mã hóa UTF-8 hai lần (%[1]s)"},
	CharsetLost:       {"%[2]s has replacement characters: the sender has lost letters (%[1]s)", "%[2]s có ký tự thay thế: bên gửi đã làm mất chữ (%[1]s)"},
}

// maxInspected is how many bytes of text that is not ASCII are looked at in a message,
// and maxGuessed how many to see whether they make sense in another set.
const (
	maxInspected = 4 << 20
	maxGuessed   = 64 << 10
)

// CharsetWarnings are the ways in which the bytes of the message disagree with the
// character set that it is read in, the first place for each. Nil where all is
// well, as for every message in ASCII. Of very long texts only the first megabytes are
// looked at.
func (m *Message) CharsetWarnings() []CharsetWarning {
	var found []CharsetWarning
	if m.charset.problem != "" {
		found = append(found, CharsetWarning{Problem: CharsetUnknown, Declared: string(m.msh(18)), Location: "MSH-18"})
	}
	counts := map[string]int{}
	left := inspection{maxInspected, maxGuessed}
	for i := range m.segments {
		text := m.segments[i].text
		name := m.segments[i].name()
		counts[name]++
		if isASCII(text) && m.charset.legacy == nil {
			continue
		}
		field := 0
		if isHeader(text) {
			field = 1
		}
		for rest := text; ; field++ {
			end := m.charset.index(rest, m.delimiters.Field)
			value := rest
			if end >= 0 {
				value = rest[:end]
			}
			if problem := m.charset.disagrees(value, m.forced, &left); problem != "" && !mentions(found, problem) {
				at := path{segment: name, occurrence: counts[name], fieldPath: fieldPath{field: field}}
				found = append(found, CharsetWarning{Problem: problem, Declared: m.charset.shown(), Location: at.or(name), Like: m.like(problem, value)})
			}
			if end < 0 {
				break
			}
			rest = rest[end+1:]
		}
	}
	return found
}

func mentions(found []CharsetWarning, problem CharsetProblem) bool {
	for _, w := range found {
		if w.Problem == problem {
			return true
		}
	}
	return false
}

// shown is the name of the set for a person.
func (cs *charset) shown() string {
	if cs.problem != "" {
		return "UTF-8"
	}
	return cs.name
}

// inspection is how many bytes may still be looked at.
type inspection struct{ bytes, guessed int }

// guess says whether a value may still be looked at as text of another set.
func (left *inspection) guess(value []byte) bool {
	left.guessed -= len(value)
	return left.guessed >= 0
}

// disagrees says how a value disagrees with the set, "" where it does not. chosen
// says that the link has chosen the set.
func (cs *charset) disagrees(value []byte, chosen bool, left *inspection) CharsetProblem {
	if isASCII(value) || left.bytes < len(value) {
		return ""
	}
	left.bytes -= len(value)
	utf := cs.encoding == nil && cs.legacy == nil
	switch {
	case cs.undecodable(value):
		return CharsetInvalid
	case utf && bytes.Contains(value, []byte("\uFFFD")):
		return CharsetLost
	case utf && encodedTwice(value):
		return CharsetTwice
	case utf && cs == ascii && !chosen:
		return CharsetUndeclared
	case utf || cs.width != nil:
		return ""
	case utf8.Valid(value) && len(value) > 2:
		return CharsetOther
	case strings.HasPrefix(cs.name, "8859/") && bytes.ContainsFunc(cs.encodingOf(value), func(r rune) bool { return r >= 0x80 && r <= 0x9F }):
		return CharsetControls
	case !chosen && (cs.name == "8859/1" || cs.name == "8859/15") && left.guess(value) && looksLike(cs, value) != "":
		return CharsetOther
	}
	return ""
}

// encodingOf is the value in UTF-8.
func (cs *charset) encodingOf(value []byte) []byte { return []byte(cs.decode(value)) }

// like is the set that a value looks like.
func (m *Message) like(problem CharsetProblem, value []byte) string {
	switch {
	case problem == CharsetTwice || problem == CharsetLost || problem == CharsetUndeclared:
		return ""
	case utf8.Valid(value):
		return "UTF-8"
	}
	if set := looksLike(m.charset, value); set != "" {
		return set
	}
	if problem == CharsetControls {
		return "Windows-1252"
	}
	return ""
}

// looksLike is the Vietnamese set that a value looks like, where it reads otherwise
// in the set it is said to be in.
func looksLike(cs *charset, value []byte) string {
	name := vncharset.Guess(value)
	if name == "" {
		return ""
	}
	set, _ := vncharset.Lookup(name)
	if text := cs.decode(value); set.Decode(value) == text || vncharset.Plausible(text) {
		return ""
	}
	return name
}

// undecodable says whether bytes are no characters of the set.
func (cs *charset) undecodable(b []byte) bool {
	switch {
	case isASCII(b) && (cs.legacy == nil && cs != japan):
		return false
	case cs.encoding == nil && cs.legacy == nil:
		return !utf8.Valid(b)
	}
	return strings.ContainsRune(cs.decode(b), utf8.RuneError)
}

// encodedTwice says whether a text in UTF-8 is one that was taken for Latin-1 or
// Windows-1252 before.
func encodedTwice(value []byte) bool {
	once := make([]byte, 0, len(value))
	for _, r := range string(value) {
		b, ok := charmap.Windows1252.EncodeRune(r)
		if !ok && r <= 0xFF {
			b, ok = byte(r), true
		}
		if !ok {
			return false
		}
		once = append(once, b)
	}
	return !isASCII(once) && utf8.Valid(once)
}
