package capture

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"nhip/drivers/astm/e1381"
	"nhip/drivers/profile"
)

// framed puts records into frames, ENQ to EOT.
func framed(packing e1381.Packing, size int, records ...string) []byte {
	b := []byte{e1381.ENQ}
	for i, f := range e1381.Frames([]byte(strings.Join(records, "\r")+"\r"), packing, size) {
		b = f.Append(b, i+1)
	}
	return append(b, e1381.EOT)
}

var message = []string{`H|\^&|||ANALYSER`, "P|1", "O|1|S1||^^^GLU", "R|1|^^^GLU|5.4|mmol/L||N||F||||20260114081500", "L|1|N"}

func decode(t *testing.T, recording []byte) Output {
	t.Helper()
	o, err := Decode(recording, "auto", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// TestPackingMakesNoDifference: records are the same in whatever frames and line
// ends they come.
func TestPackingMakesNoDifference(t *testing.T) {
	text := strings.Join(message, "\r") + "\r"
	want, err := json.Marshal(decode(t, []byte(text)).Messages[0].Records)
	if err != nil {
		t.Fatal(err)
	}
	recordings := map[string][]byte{
		"a record in each frame": framed(e1381.PerRecord, 0, message...),
		"one frame":              framed(e1381.PerMessage, e1381.MaxTextA2, message...),
		"LF":                     []byte(strings.ReplaceAll(text, "\r", "\n")),
		"CR LF":                  []byte(strings.ReplaceAll(text, "\r", "\r\n")),
		"CR CR":                  []byte(strings.ReplaceAll(text, "\r", "\r\r")),
		"no last line end":       []byte(strings.TrimSuffix(text, "\r")),
		"byte order mark":        []byte("\xEF\xBB\xBF" + text),
	}
	for size := 1; size < 60; size++ {
		recordings[fmt.Sprintf("%d characters in each frame", size)] = framed(e1381.PerMessage, size, message...)
	}
	for name, recording := range recordings {
		o := decode(t, recording)
		if len(o.Problems) > 0 || len(o.Messages) != 1 || Exit(o, nil) != 0 {
			t.Errorf("%s: %d messages, problems %v", name, len(o.Messages), o.Problems)
			continue
		}
		if got, _ := json.Marshal(o.Messages[0].Records); string(got) != string(want) {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, want)
		}
	}
}

var hanoi = time.FixedZone("+07", 7*3600)

func TestShapeIsTheContracts(t *testing.T) {
	all, err := profile.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	recording := []byte("\x05\x021H|\\^&\rO|1|27\rR|1|^^^WBC|6.41|10*3/uL||N||F||||20260114081500\rL|1\r\x0300\r\n\x04")
	o, err := Decode(recording, "", all["generic-astm"], hanoi)
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.MarshalIndent(o, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/shape.json")
	if err != nil {
		t.Fatal(err)
	}
	if string(got)+"\n" != string(want) {
		t.Errorf("%s", got)
	}
}

// TestProblemsAreNamed: what is wrong, at the byte where it is wrong.
func TestProblemsAreNamed(t *testing.T) {
	good := framed(e1381.PerRecord, 0, message...)
	change := func(old, new string) []byte {
		s := strings.Replace(string(good), old, new, 1)
		if s == string(good) {
			t.Fatalf("no %q", old)
		}
		return []byte(s)
	}
	second := strings.Index(string(good), "\x022")
	frame2 := string(good[second : second+strings.IndexByte(string(good[second:]), '\n')+1])
	for _, test := range []struct {
		name      string
		recording []byte
		offset    int
		what      string
		messages  int
		exit      int
	}{
		{"checksum", change("3F\r\n", "3E\r\n"), strings.Index(string(good), "3F\r\n"), "checksum is 3E, should be 3F", 1, 1},
		{"lower-case checksum", change("3F\r\n", "3f\r\n"), -1, "", 1, 0},
		{"no checksum", change("3F\r\n", "\r\n"), strings.Index(string(good), "3F\r\n"), "checksum is missing, should be 3F", 1, 1},
		{"frame left out", change(frame2, ""), second, "frame number is 3, should be 2", 1, 1},
		{"frame sent again", change(frame2, frame2+frame2), -1, "", 1, 0},
		{"bad frame sent again", change(frame2, strings.Replace(frame2, "P|1", "P|2", 1)+frame2), second + len(frame2) - 4, "checksum is 3F, should be 40", 1, 1},
		{"noise", change(frame2, "noise"+frame2), second, "5 bytes between frames", 1, 1},
		{"no L", framed(e1381.PerRecord, 0, message[:4]...), len(framed(e1381.PerRecord, 0, message[:4]...)) - 6, "no L record", 1, 1},
		{"cut in a frame", good[:len(good)-8], len(good) - 8, "cut", 1, 1},
		{"no H", framed(e1381.PerRecord, 0, message[1:]...), 3, "no H record", 1, 1},
		{"no frame number", change("\x022P", "\x02P"), second + 1, "no frame number", 1, 1},
		{"frame number without STX", []byte("H|\\^&\r2P|1\rL|1\r"), 6, "frame number 2 stands before", 1, 1},
		{"H without L before", []byte("H|\\^&\rP|1\rH|\\^&\rL|1\r"), 10, "before has no L", 2, 1},
		{"not UTF-8", []byte("H|\\^&\rP|1|\xE9\rL|1\r"), 0, "not UTF-8", 1, 1},
		{"caret notation", []byte("^E^B1H|`^&\nR|1|^^^CRE|1\nL|1|N\n^C36\n^D\n"), 0, "stand as ^B", 1, 1},
		{"block without FS", []byte("\x0bMSH|^~\\&|A\r"), 12, "no FS", 1, 1},
		{"FS without VT", []byte("MSH|^~\\&|A\r\x1c\r"), 11, "without VT", 1, 1},
		{"empty block", []byte("\x0b\x1c\r\x0bMSH|^~\\&|A\r\x1c\r"), 1, "empty block", 1, 1},
		{"not HL7 in a block", []byte("\x0bMSH|^~\\&|A\r\x1c\r\x0bnoise\x1c\r"), 15, "MSH", 1, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			o, err := Decode(test.recording, "auto", nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			if len(o.Messages) != test.messages || Exit(o, err) != test.exit {
				t.Errorf("%d messages, exit %d, want %d and %d: %v", len(o.Messages), Exit(o, err), test.messages, test.exit, o.Problems)
			}
			found := slices.ContainsFunc(o.Problems, func(p Problem) bool {
				return p.Offset == test.offset && strings.Contains(p.What, test.what)
			})
			if test.what != "" && !found {
				t.Errorf("no problem %q at %d in %v", test.what, test.offset, o.Problems)
			}
		})
	}
}

func TestRepeatedFramesCountOnce(t *testing.T) {
	good := string(framed(e1381.PerRecord, 0, message...))
	start := strings.Index(good, "\x024R")
	frame := good[start : start+strings.IndexByte(good[start:], '\n')+1]
	for name, recording := range map[string]string{
		"acknowledgement lost": strings.Replace(good, frame, frame+"\x06"+frame, 1),
		"corrupted once":       strings.Replace(good, frame, strings.Replace(frame, "5.4", "6.4", 1)+"\x15"+frame, 1),
	} {
		o := decode(t, []byte(recording))
		records := o.Messages[0].Records
		if len(records) != 5 || records[3].Fields[3] != "5.4" || len(o.Messages[0].Frames) != 6 {
			t.Errorf("%s: %+v", name, o.Messages)
		}
	}
}

func TestFramesGoWithTheirMessage(t *testing.T) {
	b := framed(e1381.PerRecord, 0, append(slices.Clone(message), message...)...)
	o := decode(t, append(b, framed(e1381.PerMessage, 60, message...)...))
	var frames []int
	for _, m := range o.Messages {
		frames = append(frames, len(m.Frames))
	}
	if want := []int{5, 5, 2}; !slices.Equal(frames, want) || len(o.Problems) > 0 {
		t.Errorf("frames %v, want %v; problems %v", frames, want, o.Problems)
	}
}

func TestHL7InBlocksOrBare(t *testing.T) {
	one := "MSH|^~\\&|A|B|||20260114||ORU^R01|1|P|2.3.1\rOBX|1|NM|X||1\r"
	for name, recording := range map[string]string{
		"blocks":      "\x0b" + one + "\x1c\r\x0b" + one + "\x1c\r",
		"bare":        one + one,
		"LF":          strings.ReplaceAll(one+one, "\r", "\n"),
		"CR LF":       strings.ReplaceAll(one+"\r"+one, "\r", "\r\n"),
		"VT FS alone": "\x0b" + one + "\x1c\x0b" + one + "\x1c",
	} {
		o := decode(t, []byte(recording))
		if o.Protocol != "hl7" || len(o.Messages) != 2 || len(o.Problems) > 0 {
			t.Errorf("%s: %d messages, %v", name, len(o.Messages), o.Problems)
			continue
		}
		msh, obx := o.Messages[1].Records[0], o.Messages[1].Records[1]
		if msh.Fields[1] != "|" || msh.Fields[2] != `^~\&` || msh.Fields[9] != "ORU^R01" || obx.Fields[5] != "1" {
			t.Errorf("%s: %q %q", name, msh.Fields, obx.Fields)
		}
		if at := o.Messages[1].Offset; !strings.HasPrefix(recording[at:], "MSH") {
			t.Errorf("%s: the second message is not at %d", name, at)
		}
	}
}

func TestUnreadable(t *testing.T) {
	all, err := profile.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	for name, recording := range map[string]string{
		"nothing":     "",
		"text":        "GET / HTTP/1.1\r\n\r\n",
		"a lone STX":  "\x02",
		"other text":  "\x02D1U1234567890\x03",
		"only blanks": "\r\n\r\n",
	} {
		for _, protocol := range []string{"auto", "astm", "hl7"} {
			o, err := Decode([]byte(recording), protocol, nil, nil)
			if !errors.Is(err, ErrUnreadable) || Exit(o, err) != 2 {
				t.Errorf("%s as %s: %v, exit %d", name, protocol, err, Exit(o, err))
			}
		}
	}
	if _, err := Decode([]byte("H|\\^&\rL|1\r"), "auto", all["generic-hl7"], nil); err == nil || errors.Is(err, ErrUnreadable) {
		t.Errorf("profile of the other protocol: %v", err)
	}
	if _, err := Decode([]byte("H|\\^&\rL|1\r"), "dicom", nil, nil); err == nil {
		t.Error("an unknown protocol is taken")
	}
}

// FuzzDecode: no bytes make it panic; offsets are in the recording, and the output
// is JSON.
func FuzzDecode(f *testing.F) {
	all, err := profile.Builtin()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(framed(e1381.PerRecord, 0, message...), "auto")
	f.Add(framed(e1381.PerMessage, 7, message...), "auto")
	f.Add([]byte(strings.Join(message, "\n")), "astm")
	f.Add([]byte("^E^B1H|`^&\nQ|1|^1`2\nL|1|N\n^C36\n^D\n"), "auto")
	f.Add([]byte("\x06\x021H|\\^&\r2P|1\r\x0300\x021\x17\x028L\x03"), "auto")
	f.Add([]byte("\x0bMSH|^~\\&|A\rOBX|1|NM|X||1\r\x1c\rMSH|^~\\&|B"), "auto")
	f.Add([]byte("\x0b\x1c\x1cMSH"), "hl7")
	f.Fuzz(func(t *testing.T, recording []byte, protocol string) {
		for _, p := range []*profile.Profile{nil, all["generic-astm"], all["generic-hl7"], all["sysmex-xn-l"]} {
			o, err := Decode(recording, protocol, p, hanoi)
			if err != nil {
				continue
			}
			for _, problem := range o.Problems {
				if problem.Offset < 0 || problem.Offset > len(recording) {
					t.Errorf("offset %d of %d: %s", problem.Offset, len(recording), problem.What)
				}
			}
			for _, m := range o.Messages {
				if m.Offset < 0 || m.Offset > len(recording) {
					t.Errorf("message at %d of %d", m.Offset, len(recording))
				}
			}
			if _, err := json.Marshal(o); err != nil {
				t.Fatal(err)
			}
		}
	})
}
