package hl7_test

import (
	"bytes"
	"os"
	"testing"
	"unicode/utf8"

	"nhip/hl7"
)

func seeds(f *testing.F) {
	f.Helper()
	for _, file := range []string{"testdata/oru.hl7", "testdata/odd.hl7"} {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	for _, s := range []string{
		"", "MSH", "MSH|", "MSH|^~\\&", "MSH|^~", "MSH|^|||||||^A|||2.2\r^AA", "MSH|0|||||||00|||2.7", "MSH||",
		"MSH$%*!@#$A%1$$B$$$ORU%R01$7!F!$P$2.7\rPID$!x!",
		"\xEF\xBB\xBF\nmsh|^~\\&|a\n\n\rpid|1\r\x1A",
		lines(header, "PID|1", header),
	} {
		f.Add([]byte(s))
	}
	for _, c := range charsetCases {
		f.Add([]byte(withCharset(c.declared) + "PID|1|" + c.bytes + "^\\X" + "41\\~" + c.bytes + "|x\r"))
	}
}

// Whatever the bytes: no panic; what is read is written back as it came, whole and
// piece by piece; what is set is read back; an acknowledgement can be built and read.
func FuzzMessage(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		hl7.Split(b)
		m, err := hl7.ParseWithin(b, hl7.Limits{Size: 1 << 20, Segments: 100, Fields: 1000})
		if err != nil {
			if m != nil {
				hl7.Ack(m, hl7.ApplicationReject, hl7.AckOptions{})
			}
			return
		}
		if !bytes.Equal(m.Bytes(), b) {
			t.Fatal("not written back as it came")
		}
		for _, w := range m.CharsetWarnings() {
			w.Words("en")
		}
		hl7.AckMode(m)
		for _, s := range m.Segments() {
			for _, path := range []string{"1", "2", "3", "3.1", "3[2].2.2", "18"} {
				if text := s.Get(path); !utf8.ValidString(text) && s.Name != "MSH" && s.Name != "FHS" && s.Name != "BHS" {
					t.Fatalf("%s-%s is no text", s.Name, path)
				}
			}
			s.Fields()
			s.Repetitions(3)
		}
		if err := m.SetRaw("MSH-9", m.Raw("MSH-9")); err == nil && !bytes.Equal(m.Bytes(), b) {
			t.Fatal("not written back as it came after MSH-9 was set to itself")
		}
		const text = "Nhịp|^~\\&\n"
		for _, path := range []string{"MSH-5", "MSH-40.2.3"} {
			value := text
			if m.Set(path, value) != nil {
				value = "x"
				if m.Set(path, value) != nil {
					continue
				}
			}
			again, err := hl7.ParseWithin(m.Bytes(), hl7.Limits{})
			if err != nil {
				t.Fatalf("after %s was set: %v", path, err)
			}
			if got := again.Get(path); got != value {
				t.Fatalf("%s is %q after it was set to %q", path, got, value)
			}
		}
	})
}

// The answer to any message that can be read is one that can be read, for exactly
// that message; and any bytes can be looked at as an answer.
func FuzzAck(f *testing.F) {
	seeds(f)
	f.Add([]byte(lines(`MSH|^~\&|||||||ACK|9|P|2.5.1`, `MSA|AE|A-17`, `ERR||PID^1^3^2^4^2|103^Table value not found|E|||d|t`)))
	f.Add([]byte(lines(`MSH|^~\&|||||||ACK|9|P|2.3`, `MSA|AE|A-17`, `ERR|PID^1^3^101&Required~OBX^2^5^102~free text`)))
	f.Fuzz(func(t *testing.T, b []byte) {
		hl7.ParseAck(b)
		m, err := hl7.Parse(b)
		if err != nil {
			return
		}
		answer := hl7.Ack(m, hl7.ApplicationError, hl7.AckOptions{ControlID: "N|1", Text: "Nhịp\r", Errors: []hl7.Error{
			{Location: "OBX[2]-5.1", Code: "102", Text: "a^b"},
			{Location: "~", Code: "&", Diagnostic: "\x1C"},
		}})
		if answer[len(answer)-1] != '\r' {
			t.Fatal("the last segment does not end")
		}
		ack, err := hl7.Parse(answer)
		if err != nil {
			t.Fatalf("%q: %v", answer, err)
		}
		id := m.Raw("MSH-10")
		if bytes.ContainsFunc(id, func(r rune) bool { return r >= 0x80 || r == 0x1B }) {
			return // a cut character may take the delimiter behind it for its second byte
		}
		if !bytes.Equal(ack.Raw("MSA-2"), id) || ack.Get("MSA-1") != "AE" {
			t.Fatalf("%q", answer)
		}
	})
}
