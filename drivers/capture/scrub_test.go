package capture

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var scrubKey = []byte("sixteen bytes or more")

// checkScrubbed scrubs a recording and decodes both: the same frames and records, no
// problem more, none of the names.
func checkScrubbed(t *testing.T, recording []byte, names ...string) []byte {
	t.Helper()
	_, all, _, err := Open(recording)
	if err != nil {
		t.Fatal(err)
	}
	before, err := Decode(recording, "auto", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	scrubbed, _ := Scrub(all[0], scrubKey)
	var b []byte
	for i, k := range scrubbed.Chunks {
		b = append(b, k.Bytes...)
		if len(k.Bytes) != len(all[0].Chunks[i].Bytes) || k.From != all[0].Chunks[i].From {
			t.Error("a chunk has another length or end")
		}
	}
	for _, name := range names {
		if bytes.Contains(b, []byte(name)) {
			t.Errorf("%q is still there", name)
		}
	}
	after, err := Decode(Transcript(scrubbed), "auto", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(after.Messages) != len(before.Messages) || len(after.Problems) > len(before.Problems) {
		t.Errorf("%d messages and %v, before %d and %v", len(after.Messages), after.Problems, len(before.Messages), before.Problems)
	}
	for i, m := range after.Messages {
		if len(m.Records) != len(before.Messages[i].Records) || len(m.Frames) != len(before.Messages[i].Frames) {
			t.Errorf("message %d has other records or frames", i+1)
		}
	}
	return b
}

func TestScrubbedFramesHaveOtherNamesAndRightChecksums(t *testing.T) {
	text := "> <STX>1H|\\^&|||XN-550<CR>P|1||HN-00417||Nguyễn^Thị Hoa||19610402|F<CR>C|1|I|Nguyễn asked|G<CR>O|1|2601140027||^^^GLU|R<CR>R|1|^^^GLU|5.<ETB><sum><CR><LF>\n" +
		"> <STX>24|mmol/L||N||F||tech.minh<CR>C|1|I|specimen 2601140027 clotted|G<CR>L|1|N<CR><ETX><sum><CR><LF>\n"
	b := checkScrubbed(t, []byte(text), "Nguyễn", "Thị", "Hoa", "00417", "1961", "2601140027", "minh")
	for _, kept := range []string{"XN-550", "GLU", "mmol/L", "|F\r", "clotted"} {
		if !bytes.Contains(b, []byte(kept)) {
			t.Errorf("%q is gone", kept)
		}
	}
}

func TestSameValueGetsTheSameReplacement(t *testing.T) {
	text := "> <STX>1H|\\^&<CR>Q|1|^2601140027||ALL<CR>L|1<CR><ETX><sum><CR><LF>\n< <STX>1H|\\^&<CR>P|1<CR>O|1|2601140027||^^^GLU<CR>L|1<CR><ETX><sum><CR><LF>\n"
	_, all, _, err := Open([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	scrubbed, done := Scrub(all[0], scrubKey)
	q, o := string(scrubbed.Said(Device)), string(scrubbed.Said(Host))
	id := q[strings.Index(q, "|^")+2:][:10]
	if id == "2601140027" || !strings.Contains(o, "O|1|"+id+"|") || done.Values != 1 {
		t.Errorf("%q %q %+v", q, o, done)
	}
	other, _ := Scrub(all[0], []byte("another key, also long"))
	if bytes.Equal(other.Said(Device), scrubbed.Said(Device)) {
		t.Error("the key makes no difference")
	}
}

func TestScrubbedHL7(t *testing.T) {
	message := "\x0bMSH|^~\\&|Mindray|BC-5380|||20260114081500||ORU^R01|1|P|2.3.1||||||UNICODE\rPID|1||HN-00417^^^^MR||Trần^Văn Bình||19610402000000|Male\r" +
		"OBR|1||2601140027|00001^Automated Count^99MRC\rOBX|1|NM|6690-2^WBC^LN||9.81|10*9/L|4.00-10.00|N|||F\rNTE|1||Trần\rZPI|1|Lê Thị Lan\r\x1c\r"
	b := checkScrubbed(t, []byte(message), "Trần", "Bình", "00417", "1961", "2601140027", "Lan")
	for _, kept := range []string{"BC-5380", "9.81", "6690-2", "Male"} {
		if !bytes.Contains(b, []byte(kept)) {
			t.Errorf("%q is gone", kept)
		}
	}
}

func TestPictureIsNamed(t *testing.T) {
	message := "MSH|^~\\&|A|B|||20260114081500||ORU^R01|1|P|2.3.1\rOBR|1||27\rOBX|1|ED|1||^image^bmp^Base64^AAAA||||||F\r"
	_, all, _, _ := Open([]byte(message))
	if _, done := Scrub(all[0], scrubKey); len(done.Problems) != 1 || !strings.Contains(done.Problems[0].What, "picture") {
		t.Errorf("%+v", done)
	}
}

// Every recording that is there can be scrubbed and still be decoded.
func TestSamplesAreScrubbed(t *testing.T) {
	root := filepath.Join("..", "..", "..", "shared", "samples", "lab")
	if _, err := os.Stat(root); err != nil {
		t.Skip("the folder of samples is not there")
	}
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, ".json") || strings.HasSuffix(path, ".md") {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if _, err := Decode(b, "auto", nil, nil); err != nil {
			return nil // of another protocol
		}
		t.Run(strings.TrimPrefix(path, root), func(t *testing.T) { checkScrubbed(t, b) })
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func FuzzScrub(f *testing.F) {
	f.Add([]byte("> <STX>1H|\\^&<CR>P|1||HN-00417||Hoa<CR>L|1<CR><ETX><sum><CR><LF>\n"))
	f.Add([]byte("MSH|^~\\&|A|B\rPID|1||27||Hoa\r"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1<<14 {
			return
		}
		_, all, _, err := Open(b)
		if err != nil {
			return
		}
		for _, c := range all {
			s, _ := Scrub(c, scrubKey)
			if len(s.Said(Device)) != len(c.Said(Device)) || len(s.Said(Unknown)) != len(c.Said(Unknown)) {
				t.Fatal("another length")
			}
		}
	})
}

// Names in the fonts of old machines go like any other: what the bytes read as does not
// matter, and neither does it that the other end writes the name in other characters.
func TestScrubbedNamesOfOldFonts(t *testing.T) {
	for name, text := range map[string]string{
		"astm, TCVN3": "> <STX>1H|\\^&|||XN-550<CR>P|1||HN-00417||Nguy<xD4>n^Th<xDE> H<xB5>ng||19610402|F<CR>O|1|2601140027||^^^GLU|R<CR>R|1|^^^GLU|5.4|||||F||Tr<xC7>n Minh<CR>C|1|I|h<xE1>i Nguy<xD4>n^Th<xDE> H<xB5>ng|G<CR>L|1|N<CR><ETX><sum><CR><LF>\n",
		"astm, VNI":   "> <STX>1H|\\^&<CR>P|1||HN-00417||Nguye<xE3>n^Th<xF2> Ha<xF8>ng||19610402|F<CR>O|1|2601140027||^^^GLU|R<CR>R|1|^^^GLU|5.4|||||F||Tra<xE0>n Minh<CR>L|1|N<CR><ETX><sum><CR><LF>\n",
		"astm, both ends": "> <STX>1H|\\^&<CR>Q|1|^2601140027||ALL<CR>L|1|N<CR><ETX><sum><CR><LF>\n" +
			"< <STX>1H|\\^&<CR>P|1||HN-00417||Nguy<xD4>n Th<xDE> H<xB5>ng<CR>O|1|2601140027||^^^GLU<CR>L|1|N<CR><ETX><sum><CR><LF>\n" +
			"> <STX>1H|\\^&<CR>P|1||HN-00417<CR>O|1|2601140027||^^^GLU|R<CR>R|1|^^^GLU|5.4<CR>C|1|I|Nguyen Thi Hang fasted|G<CR>L|1|N<CR><ETX><sum><CR><LF>\n",
		"hl7, ASCII declared": "> <VT>MSH|^~\\&|Mindray|BS|||20260114||ORU^R01|1|P|2.3.1||||0||ASCII<CR>PID|1||HN-00417||Nguy<xD4>n^Th<xDE> H<xB5>ng||19610402|F<CR>OBR|1||2601140027|GLU|||||||||||||Tr<xC7>n Minh<CR>OBX|1|NM|GLU||5.4||||||F<CR><FS><CR>\n",
		"hl7, UTF-8 declared": "> <VT>MSH|^~\\&|Mindray|BS|||20260114||ORU^R01|1|P|2.3.1||||0||UNICODE UTF-8<CR>PID|1||HN-00417||Nguy<xD4>n^Th<xDE> H<xB5>ng||19610402|F<CR>OBR|1||2601140027|GLU|||||||||||||Tr<xC7>n Minh<CR>OBX|1|NM|GLU||5.4||||||F<CR><FS><CR>\n",
		"hl7, TCVN3 declared": "> <VT>MSH|^~\\&|Mindray|BS|||20260114||ORU^R01|1|P|2.3.1||||0||TCVN3<CR>PID|1||HN-00417||Nguy<xD4>n^Th<xDE> H<xB5>ng||19610402|F<CR>OBR|1||2601140027|GLU|||||||||||||Tr<xC7>n Minh<CR>OBX|1|NM|GLU||5.4||||||F<CR><FS><CR>\n",
	} {
		t.Run(name, func(t *testing.T) {
			b := checkScrubbed(t, []byte(text), "Nguy", "H\xB5ng", "Ha\xF8ng", "Th\xDE", "Tr\xC7n", "Tra\xE0n", "Minh", "Hang", "00417", "2601140027")
			if !bytes.Contains(b, []byte("5.4")) || !bytes.Contains(b, []byte("GLU")) {
				t.Errorf("%q", b)
			}
		})
	}
}
