package batch

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"nhip/hl7"
)

var kinds = map[Kind]string{FileHeader: "FHS", BatchHeader: "BHS", Message: "MSH", BatchTrailer: "BTS", FileTrailer: "FTS", TooLong: "too long", NoHL7: "no HL7"}

// describe is a file as words: each item with its batch, its length and its problems.
func describe(r *Reader) string {
	var words []string
	for {
		item, err := r.Next()
		if errors.Is(err, io.EOF) {
			return strings.Join(words, ", ")
		}
		if err != nil {
			return strings.Join(append(words, err.Error()), ", ")
		}
		word := fmt.Sprintf("%s %d/%d", kinds[item.Kind], item.Batch, len(item.Bytes))
		for _, p := range item.Problems {
			word += " (" + string(p) + ")"
		}
		words = append(words, word)
	}
}

const (
	fhs, bhs  = "FHS|^~\\&|A|B|C|D|2026||f||F1\r", "BHS|^~\\&|A|B|C|D|2026||n|c|B1\r"
	one, five = "MSH|^~\\&|1\rPID|1\r", "MSH|^~\\&|5\r"
)

var files = []struct{ name, text, want string }{
	{"nothing", "", ""},
	{"blank", "\r\n \r\n", ""},
	{"messages alone", one + five, "MSH 0/17, MSH 0/11"},
	{"a batch", bhs + one + five + "BTS|2\r", "BHS 1/30, MSH 1/17, MSH 1/11, BTS 1/6"},
	{"a file of two batches", fhs + bhs + one + "BTS|1\r" + bhs + five + "BTS|1\rFTS|2\r", "FHS 0/29, BHS 1/30, MSH 1/17, BTS 1/6, BHS 2/30, MSH 2/11, BTS 2/6, FTS 0/6"},
	{"without counts", fhs + bhs + one + "BTS\rFTS|\r", "FHS 0/29, BHS 1/30, MSH 1/17, BTS 1/4, FTS 0/5"},
	{"file without batches", fhs + one + "FTS|0\r", "FHS 0/29, MSH 0/17, FTS 0/6"},
	{"wrong counts", fhs + bhs + one + "BTS|3\rFTS|7\r", "FHS 0/29, BHS 1/30, MSH 1/17, BTS 1/6 (batch count), FTS 0/6 (file count)"},
	{"batch in a batch", bhs + one + bhs + five + "BTS|1\r", "BHS 1/30, MSH 1/17, BHS 2/30 (batch no end), MSH 2/11, BTS 2/6"},
	{"file in a file", fhs + fhs + one + "FTS|0\r", "FHS 0/29, FHS 0/29 (file no end), MSH 0/17, FTS 0/6"},
	{"no ends", fhs + bhs + one, "FHS 0/29, BHS 1/30, MSH 1/17, FTS 0/0 (batch no end) (file no end)"},
	{"ends alone", "BTS|0\rFTS|0\r", "BTS 0/6 (batch not open), FTS 0/6 (file not open)"},
	{"after the end", fhs + "FTS|0\r" + one, "FHS 0/29, FTS 0/6, MSH 0/17 (after end)"},
	{"CRLF, other delimiters, lower case, byte order mark", "\xEF\xBB\xBFbhs$%*!@$A\r\nmsh$%*!@$x\r\npid$1\r\nBTS$1\r\n", "BHS 1/12, MSH 1/19, BTS 1/7"},
	{"text first", "hello\rworld\r" + one, "no HL7 0/12, MSH 0/17"},
	{"last line without end", bhs + "MSH|^~\\&|5\rBTS|1", "BHS 1/30, MSH 1/11, BTS 1/5"},
	{"lines of a text", "MSH|^~\\&|5\rOBX|1|TX|||first\nBTS follows\n\nMSHx\r" + five, "MSH 0/46, MSH 0/11"},
	{"no number", bhs + "BTS|x\r", "BHS 1/30, BTS 1/6"},
}

func TestFiles(t *testing.T) {
	for _, f := range files {
		if got := describe(NewReader(strings.NewReader(f.text), Limits{})); got != f.want {
			t.Errorf("%s: %s, want %s", f.name, got, f.want)
		}
		if got := describe(NewReader(iotest.OneByteReader(strings.NewReader(f.text)), Limits{})); got != f.want {
			t.Errorf("%s, byte by byte: %s, want %s", f.name, got, f.want)
		}
	}
	for p := range problemWords {
		if p.Words("en") == "" || p.Words("vi") == "" || p.Words("en") == p.Words("vi") {
			t.Error(p)
		}
	}
}

func TestMessageOverTheLimitTakesNoOtherAway(t *testing.T) {
	long := "MSH|^~\\&|1\rOBX|1|ED|||" + strings.Repeat("A", 100<<10) + "\r"
	many := "MSH|^~\\&|1\r" + strings.Repeat("OBX|1|TX|||A\r", 8<<10)
	for _, text := range []string{long, many, strings.ReplaceAll(long, "\rOBX", "")} {
		for _, r := range []io.Reader{strings.NewReader(one + text + five), iotest.HalfReader(strings.NewReader(one + text + five))} {
			if got := describe(NewReader(r, Limits{Message: 1000})); !strings.HasPrefix(got, "MSH 0/17, too long 0/") || !strings.HasSuffix(got, ", MSH 0/11") || strings.Count(got, ",") != 2 {
				t.Error(got)
			}
		}
	}
	if got := describe(NewReader(strings.NewReader(one+one+one), Limits{Messages: 2})); got != "MSH 0/17, MSH 0/17, hl7/batch: too many messages in one file" {
		t.Error(got)
	}
}

func TestErrorsOfTheReaderStay(t *testing.T) {
	broken := errors.New("broken")
	r := NewReader(io.MultiReader(strings.NewReader(one+five), iotest.ErrReader(broken)), Limits{})
	for range 3 {
		if item, err := r.Next(); err != nil && !errors.Is(err, broken) || err == nil && item.Kind != Message {
			t.Fatal(item.Kind, err)
		}
	}
	if _, err := r.Next(); !errors.Is(err, broken) {
		t.Error(err)
	}
}

// A file of 300 MB goes through in the memory of one message.
func TestMemoryIsThatOfOneMessage(t *testing.T) {
	message := []byte("MSH|^~\\&|1\rOBX|1|ED|||" + strings.Repeat("A", 1<<20) + "\r")
	r := NewReader(io.MultiReader(repeat(message, 40)...), Limits{})
	n := 0
	for {
		item, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil || len(item.Bytes) != len(message) || cap(item.Bytes) > 3*len(message) {
			t.Fatal(len(item.Bytes), cap(item.Bytes), err)
		}
		n++
	}
	if n != 40 {
		t.Errorf("%d messages", n)
	}
}

func repeat(b []byte, n int) []io.Reader {
	readers := make([]io.Reader, n)
	for i := range readers {
		readers[i] = bytes.NewReader(b)
	}
	return readers
}

func TestBatchAcknowledgementIsWritten(t *testing.T) {
	r := NewReader(strings.NewReader(fhs+bhs+"MSH|^~\\&|A||C||||ADT^A01|7|P|2.5\r"+"MSH|^~\\&|A||C||||ADT^A99|8|P|2.5\rBTS|2\rFTS|1\r"), Limits{})
	var out bytes.Buffer
	w := NewWriter(&out)
	for {
		item, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		switch item.Kind {
		case FileHeader, BatchHeader:
			h, err := ParseHeader(item.Bytes)
			if err != nil {
				t.Fatal(err)
			}
			if item.Kind == FileHeader {
				w.File(h.Answer("F9", "2027"))
			} else {
				w.Batch(h.Answer("B9", "2027"))
			}
		case Message:
			m, err := hl7.Parse(item.Bytes)
			if err != nil {
				t.Fatal(err)
			}
			w.Message(hl7.Ack(m, hl7.ApplicationAccept, hl7.AckOptions{ControlID: "N" + m.ControlID()}))
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	want := "FHS|^~\\&|C|D|A|B|2027||f||F9|F1\rBHS|^~\\&|C|D|A|B|2027||n||B9|B1\r" +
		"MSH|^~\\&|C||A||00010101000000+0000||ACK^A01^ACK|N7|P|2.5\rMSA|AA|7\r" +
		"MSH|^~\\&|C||A||00010101000000+0000||ACK^A99^ACK|N8|P|2.5\rMSA|AA|8\rBTS|2\rFTS|1\r"
	if out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
	if got := describe(NewReader(&out, Limits{})); strings.Contains(got, "(") {
		t.Error(got)
	}
}

func TestWriterOfMessagesOnly(t *testing.T) {
	var out bytes.Buffer
	w := NewWriter(&out)
	w.Message([]byte("MSH|^~\\&|1"))
	w.Batch(Header{Field: '$'})
	w.Message([]byte("MSH$^~\\&$1\r"))
	w.Batch(Header{ID: []byte("x")})
	if err := w.Close(); err != nil || out.String() != "MSH|^~\\&|1\rBHS$^~\\&\rMSH$^~\\&$1\rBTS$1\rBHS|^~\\&|||||||||x\rBTS|0\r" {
		t.Errorf("%q, %v", out.String(), err)
	}
	broken := errors.New("broken")
	w = NewWriter(failing{broken})
	w.File(Header{})
	w.Message([]byte("x"))
	if err := w.Close(); !errors.Is(err, broken) {
		t.Error(err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestHeadersThatAreNone(t *testing.T) {
	for _, line := range []string{"", "BHS", "MSH|^~\\&|", "BHS||x", "BHS|123456|x"} {
		if _, err := ParseHeader([]byte(line)); err == nil {
			t.Errorf("%q", line)
		}
	}
}

// The files of several messages beside the checkout: what Split finds, is found.
func TestSamples(t *testing.T) {
	names, _ := filepath.Glob(filepath.Join("..", "..", "..", "shared", "samples", "hl7", "*.hl7"))
	if len(names) == 0 {
		t.Skip("no message samples beside this checkout")
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		for _, m := range hl7.Split(b) {
			want = append(want, string(bytes.TrimRight(m, "\r\n")))
		}
		var got []string
		r := NewReader(bytes.NewReader(b), Limits{})
		for {
			item, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if item.Kind == Message || item.Kind == NoHL7 {
				got = append(got, string(bytes.TrimRight(item.Bytes, "\r\n")))
			}
		}
		if len(got) != len(want) {
			t.Errorf("%s: %d messages, Split finds %d", filepath.Base(name), len(got), len(want))
			continue
		}
		for i := range got {
			if hl7.IsMessage([]byte(want[i])) && strings.TrimLeft(got[i], "\r\n") != strings.TrimLeft(want[i], "\r\n") {
				t.Errorf("%s: message %d differs", filepath.Base(name), i+1)
			}
		}
	}
}

// However the file comes, the items are the same, and no byte of a message is lost.
func FuzzBatch(f *testing.F) {
	for _, file := range files {
		f.Add([]byte(file.text))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		limits := Limits{Message: 200, Messages: 50}
		want := describe(NewReader(bytes.NewReader(b), limits))
		if got := describe(NewReader(iotest.OneByteReader(bytes.NewReader(b)), limits)); got != want {
			t.Fatalf("%s, in one piece %s", got, want)
		}
		r := NewReader(bytes.NewReader(b), Limits{})
		for {
			item, err := r.Next()
			if err != nil {
				break
			}
			if item.Kind != NoHL7 && !bytes.Contains(b, bytes.TrimRight(item.Bytes, "\r\n")) {
				t.Fatalf("%q is not in the file", item.Bytes)
			}
			if item.Kind == FileHeader || item.Kind == BatchHeader {
				ParseHeader(item.Bytes)
			}
		}
	})
}
