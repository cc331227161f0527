package capture

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"regexp"
	"slices"
	"sort"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"nhip/drivers/astm/e1381"
	"nhip/hl7/vncharset"
)

// What of a message names a person, or leads to one: patients, relatives, physicians,
// operators, and the numbers of specimens and orders. LIS02-A2 sections 7, 8.4 and 9
// (field 1 is the record type); HL7 v2.5.1 chapters 3, 4, 6 and 7. Sex, the device's
// own names, tests, values and flags stay.
var (
	scrubASTM = map[byte][]int{
		'P': {3, 4, 5, 6, 7, 8, 11, 12, 13, 14, 21, 22, 23, 33, 34, 35},
		'O': {3, 4, 11, 17, 18, 19, 20},
		'R': {11},
		'Q': {3, 4},
	}
	scrubHL7 = map[string][]int{ // nil: every field
		"PID": {2, 3, 4, 5, 6, 7, 9, 11, 12, 13, 14, 18, 19, 20, 21, 23},
		"PD1": {4}, "NK1": nil, "GT1": nil, "IN1": nil, "IN2": nil, "MRG": nil, "NPU": nil,
		"PV1": {5, 7, 8, 9, 17, 19, 52},
		"ORC": {2, 3, 4, 10, 11, 12, 14, 19},
		"OBR": {2, 3, 10, 16, 17, 18, 19, 20, 28, 32, 33, 34, 35},
		"OBX": {16, 25},
		"SPM": {2, 3},
		"SAC": {1, 2, 3, 4},
		"QRD": {8}, "QPD": {3}, "DSP": {3},
		"EVN": {5},
		"TXA": {5, 9, 10, 11, 12, 22, 23},
	}
)

// freeText are the records and segments that people write into: after a patient's they
// are about the patient.
var freeText = regexp.MustCompile(`^(C|NTE)$`)

// A Scrubbed is what was done.
type Scrubbed struct {
	Values   int       // that were replaced
	Again    int       // places where one of them stood elsewhere too, in free text for instance
	Problems []Problem // what a person must look at
}

// Scrub replaces in the messages of a conversation what names a person by letters and
// digits of the same length: the same value gets the same replacement everywhere, so
// that a query still fits its answer, and frames keep their lengths and get their
// checksums anew. Blanks, punctuation and delimiters stay. key makes replacements that
// cannot be undone by trying; 16 random bytes or more. What the bytes hold elsewhere of
// the replaced values (of 5 characters or more) is replaced too. Pictures and documents
// inside messages (OBX-5 of type ED) are named in Problems: nobody looked into them.
func Scrub(c Conversation, key []byte) (Conversation, Scrubbed) {
	s := &scrubber{key: key, found: map[string]bool{}}
	out := Conversation{Name: ""}
	for _, from := range []Side{Device, Host, Unknown} {
		said := c.Said(from)
		if len(said) > 0 {
			s.collect(said, from)
		}
	}
	for _, k := range c.Chunks {
		out.Chunks = append(out.Chunks, Chunk{At: k.At, From: k.From, Bytes: bytes.Clone(k.Bytes)})
	}
	for _, from := range []Side{Device, Host, Unknown} {
		said := out.Said(from)
		s.replace(said)
		checksums(said)
		for i := range out.Chunks {
			if k := &out.Chunks[i]; k.From == from {
				n := copy(k.Bytes, said)
				said = said[n:]
			}
		}
	}
	s.done.Values = len(s.found)
	return out, s.done
}

type scrubber struct {
	key   []byte
	found map[string]bool // values that name a person
	done  Scrubbed
}

// collect finds the values of one end.
func (s *scrubber) collect(said []byte, from Side) {
	out, err := decodeBytes(said, "auto", nil, nil)
	if err != nil {
		if printable(said) {
			s.done.Problems = append(s.done.Problems, Problem{What: "what was said here is no message that can be read: nothing of it was replaced", From: from.String()})
		}
		return
	}
	for _, m := range out.Messages {
		before := ""
		for _, r := range m.Records {
			s.record(out.Protocol, m, r, before)
			if !freeText.MatchString(r.Type) {
				before = r.Type
			}
		}
	}
}

// printable: there is more than acknowledgements in it.
func printable(b []byte) bool {
	return bytes.ContainsFunc(b, func(r rune) bool { return r > ' ' })
}

func (s *scrubber) record(protocol string, m Message, r Record, before string) {
	fields, known := []int(nil), false
	delimiters := "^&~\\"
	if protocol == "astm" {
		if len(r.Type) == 1 {
			fields, known = scrubASTM[r.Type[0]]
		}
		if h := m.Records[0]; h.Type == "H" && len(h.Fields) > 1 {
			delimiters = h.Fields[1]
		}
	} else {
		fields, known = scrubHL7[r.Type]
		if strings.HasPrefix(r.Type, "Z") {
			known = true
		}
		if r.Type == "OBX" && len(r.Fields) > 5 && (r.Fields[2] == "ED" || r.Fields[2] == "RP") {
			s.done.Problems = append(s.done.Problems, Problem{Offset: m.Offset, What: "OBX-5 holds a picture or a document: look whether it shows a name", From: m.From})
		}
	}
	if freeText.MatchString(r.Type) && (before == "P" || before == "PID" || before == "Q") {
		known = true
	}
	if !known {
		return
	}
	for i, text := range r.Fields {
		if raw, ok := r.raw[i]; ok { // what it reads is not what stands there
			text = raw
		}
		n := i
		if protocol == "astm" {
			n = i + 1
		}
		if i > 0 && (fields == nil || slices.Contains(fields, n)) {
			s.value(text, delimiters)
		}
	}
}

// value takes the parts of a field.
func (s *scrubber) value(field, delimiters string) {
	for _, part := range strings.FieldsFunc(field, func(r rune) bool { return strings.ContainsRune(delimiters, r) }) {
		part = strings.TrimSpace(part)
		if part != "" && part != `""` && strings.ContainsFunc(part, func(r rune) bool { return r != '0' && r != ' ' }) && len(part) > 1 {
			s.found[part] = true
		}
	}
}

// replace puts replacements in place of the values: in fields of their own, and
// wherever else a value of 5 characters or more stands. Longer values come first.
func (s *scrubber) replace(b []byte) {
	values := make([]string, 0, len(s.found))
	for v := range s.found {
		values = append(values, v)
	}
	sort.Slice(values, func(i, j int) bool {
		if len(values[i]) != len(values[j]) {
			return len(values[i]) > len(values[j])
		}
		return values[i] < values[j]
	})
	j := frameText(b)
	done := make([]bool, len(j.text))
	for _, v := range values {
		for _, form := range forms(v) {
			with := s.instead(v, form)
			for at := 0; ; {
				i := bytes.Index(j.text[at:], form)
				if i < 0 {
					break
				}
				at += i
				alone := whole(j.text, at, len(form))
				if (alone || utf8.RuneCountInString(v) >= 5) && !slices.Contains(done[at:at+len(form)], true) {
					for n := range form {
						b[j.offset(at+n)] = with[n]
						done[at+n] = true
					}
					if !alone {
						s.done.Again++
					}
				}
				at += len(form)
			}
		}
	}
}

// forms are the bytes that a value may have had, or has elsewhere: decoding has made UTF-8
// of ISO 8859-1, and the two ends may write a name in different characters.
func forms(v string) [][]byte {
	all := [][]byte{[]byte(v)}
	latin := make([]byte, 0, len(v))
	for _, r := range v {
		if r > 0xFF {
			latin = nil
			break
		}
		latin = append(latin, byte(r))
	}
	if latin != nil && !bytes.Equal(latin, all[0]) {
		all = append(all, latin)
	}
	text := v
	for _, b := range all {
		if name := vncharset.Guess(b); name != "" {
			set, _ := vncharset.Lookup(name)
			text = set.Decode(b)
		}
	}
	if ascii(text) {
		return all
	}
	for _, word := range []string{vncharset.NamesUTF8, vncharset.NamesTCVN3, vncharset.NamesVNI, vncharset.NamesCP1258, vncharset.NamesASCII} {
		if n, err := vncharset.ParseNames(word); err == nil {
			all = append(all, n.Write(text))
		}
	}
	all = append(all, []byte(norm.NFD.String(text)))
	return slices.DeleteFunc(all, func(b []byte) bool { return len(b) == 0 })
}

func ascii(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r >= utf8.RuneSelf })
}

// whole: the text stands between delimiters or ends, but for blanks.
func whole(b []byte, at, n int) bool {
	edge := func(c byte) bool { return c < ' ' || strings.IndexByte("|^&~\\`!@", c) >= 0 }
	from, to := at, at+n
	for from > 0 && b[from-1] == ' ' {
		from--
	}
	for to < len(b) && b[to] == ' ' {
		to++
	}
	return (from == 0 || edge(b[from-1])) && (to == len(b) || edge(b[to]))
}

// instead is the replacement of a value, of the same length in bytes.
func (s *scrubber) instead(value string, form []byte) []byte {
	m := hmac.New(sha256.New, s.key)
	m.Write([]byte(value))
	sum := m.Sum(nil)
	out := bytes.Clone(form)
	for i, c := range out {
		if i > 0 && i%len(sum) == 0 {
			m.Write(sum)
			sum = m.Sum(nil)
		}
		r := sum[i%len(sum)]
		switch {
		case '0' <= c && c <= '9':
			out[i] = '0' + r%10
		case 'A' <= c && c <= 'Z':
			out[i] = 'A' + r%26
		case 'a' <= c && c <= 'z':
			out[i] = 'a' + r%26
		case c >= 0x80:
			out[i] = 'x'
		}
	}
	return out
}

// frameText is the text inside of the frames of what one end said, with its places; all of
// it where there are no frames.
func frameText(b []byte) *joined {
	j := &joined{}
	for at := 0; at < len(b); {
		start := bytes.IndexByte(b[at:], stx)
		if start < 0 {
			break
		}
		start += at + 1
		end := start
		for end < len(b) && b[end] != etx && b[end] != etb && b[end] != stx {
			end++
		}
		if from := min(start+1, end); from < end {
			j.add(b[from:end], from)
		}
		if end < len(b) && b[end] == etx {
			j.add([]byte{cr}, end)
		}
		at = max(end, at+1)
	}
	if len(j.text) == 0 {
		j.add(b, 0)
	}
	return j
}

// checksums makes those of all frames anew, where they were right or are of the usual
// form: two hexadecimal digits after ETX or ETB.
func checksums(b []byte) {
	for at := 0; at < len(b); at++ {
		if b[at] != stx {
			continue
		}
		end := at + 1
		for end < len(b) && b[end] != etx && b[end] != etb && b[end] != stx {
			end++
		}
		if end+2 < len(b) && b[end] != stx && hex(b[end+1]) && hex(b[end+2]) {
			format := "%02X"
			if bytes.ContainsAny(b[end+1:end+3], "abcdef") {
				format = "%02x"
			}
			copy(b[end+1:end+3], fmt.Sprintf(format, e1381.Checksum(b[at+1:end+1])))
		}
		at = end - 1
	}
}
