package profile

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"nhip/drivers/astm/e1394"
	"nhip/gateway/record"
	"nhip/hl7/vncharset"
)

// shownWords are what a machine only shows: written as far as it can. All others are
// identifiers and codes, which are written as they are or not at all.
var shownWords = []string{"family", "middle", "given", "name", "birth", "sex", "specimen_type", "collected", "now", "priority"}

// sentWords are from the query, and go back byte for byte.
var sentWords = []string{"rack", "position", "sequence", "container"}

// words replaces the words in braces by the bytes that the machine is sent.
func (w *writer) words(s set, one record.Work, test string) string {
	shown, left := true, false
	text := wordForm.ReplaceAllStringFunc(s.Is, func(word string) string {
		name := word[1 : len(word)-1]
		said := w.word(name, one, test)
		switch {
		case slices.Contains(shownWords, name):
			return string(w.a.names.Write(said))
		case slices.Contains(sentWords, name):
			return said
		}
		shown = false
		b, ok := w.exactly(name, said)
		if !ok && name == "patient_id" { // it is for people to see, and better none than another
			left = true
		} else if !ok && w.err == nil {
			w.err = fmt.Errorf("profile: the %s of the order has a character that the analyser does not have (names = %q)", strings.ReplaceAll(name, "_", " "), w.a.names)
		}
		return b
	})
	switch {
	case left:
		return ""
	case s.Length == 0 || w.characters(text) <= s.Length:
		return text
	case shown:
		text, _ = w.a.names.Read([]byte(text))
		return string(w.a.names.Cut(text, s.Length))
	case strings.Contains(s.Is, "{patient_id}"):
		return ""
	}
	if w.err == nil {
		w.err = fmt.Errorf("profile: what is to stand in %s is longer than the %d characters that the analyser takes", s.Path, s.Length)
	}
	return text
}

// exactly are the bytes of an identifier or code.
func (w *writer) exactly(name, text string) (string, bool) {
	if sent, ok := w.a.sent[text]; ok && name == "specimen" {
		return sent, true
	}
	if w.d.Escape == 0 && strings.ContainsFunc(text, unicode.IsControl) {
		return "", false
	}
	b, ok := w.a.names.Exactly(text)
	return string(b), ok
}

// characters of a text as the machine counts them.
func (w *writer) characters(text string) int {
	if w.a.names.String() == vncharset.NamesUTF8 {
		return utf8.RuneCountInString(text)
	}
	return len(text)
}

// read is what the texts of a query read.
func (p *Profile) read(sent []string) []string {
	for i, s := range sent {
		sent[i], _ = p.f.charset.Read([]byte(s))
	}
	return sent
}

// sent are the specimens of a query as they were sent, by what they read: they go back
// byte for byte.
func (p *Profile) sent(m e1394.Message) map[string]string {
	d := p.f.Query
	if d == nil {
		return nil
	}
	all := map[string]string{}
	for _, r := range m.Records {
		if r.Type() != "Q" || len(r.Bytes) > maxContext {
			continue
		}
		for _, s := range d.Specimen.all(r) {
			text, _ := p.f.charset.Read([]byte(s))
			all[text] = s
		}
	}
	return all
}
