package describe

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"nhip/hl7"
)

func show(t *testing.T, message string, o Options) string {
	t.Helper()
	var b bytes.Buffer
	if err := Message(&b, []byte(message), o); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

const order = "MSH|^~\\&|HIS^1.2^ISO||NHIP||20260114||OML^O21^OML_O21|A-17|P|2.5.1|||AL|NE\r" +
	"PID|1||T0001^^^BVDK^MR~001234567890^^^VN^NI||Nguyễn^Thị Ánh||1980|F\r" +
	"ORC|CA|27\rZXX|own\rOBX|1|NM|WBC^White cells||\"\"||||||W\r"

func TestMessageIsShownInWords(t *testing.T) {
	for lang, want := range map[string]string{
		"en": `message OML^O21^OML_O21, version 2.5.1, 202 bytes, control ID A-17
! no character set is declared, and PID-5 has characters that are not ASCII
MSH  Message header
  MSH-1    Field separator: |
  MSH-2    Encoding characters: ^~\&
  MSH-3    Sending application: HIS^1.2^ISO
    .1  HIS
    .2  1.2
    .3  ISO
  MSH-5    Receiving application: NHIP
  MSH-7    Date/time of message: 20260114
  MSH-9    Message type: OML^O21^OML_O21
    .1  OML
    .2  O21
    .3  OML_O21
  MSH-10   Message control ID: A-17
  MSH-11   Processing ID: P = production
  MSH-12   Version ID: 2.5.1
  MSH-15   Accept acknowledgment type: AL = always
  MSH-16   Application acknowledgment type: NE = never
PID  Patient identification
  PID-1    Set ID: 1
  PID-3[1] Patient identifier list: T0001^^^BVDK^MR
    .1  T0001
    .4  BVDK
    .5  MR
  PID-3[2] Patient identifier list: 001234567890^^^VN^NI
    .1  001234567890
    .4  VN
    .5  NI
  PID-5    Patient name: Nguyễn^Thị Ánh
    .1  Nguyễn
    .2  Thị Ánh
  PID-7    Date/time of birth: 1980
  PID-8    Administrative sex: F = female
ORC  Common order
  ORC-1    Order control: CA = cancel order
  ORC-2    Placer order number: 27
ZXX  (defined by the sender)
  ZXX-1    own
OBX  Observation/result
  OBX-1    Set ID: 1
  OBX-2    Value type: NM = number
  OBX-3    Observation identifier: WBC^White cells
    .1  WBC
    .2  White cells
  OBX-5    Observation value: "" (delete what is stored)
  OBX-11   Observation result status: W = wrong: withdrawn
`,
		"vi": "",
	} {
		got := show(t, order, Options{Language: lang})
		if lang == "en" && got != want {
			t.Errorf("%s\nwant\n%s", got, want)
		}
		if lang == "vi" && (!strings.Contains(got, "PID-5    Họ tên người bệnh: ") || !strings.Contains(got, "ORC-1    Thao tác chỉ định: CA = hủy chỉ định") || !strings.Contains(got, "! không khai báo bảng mã")) {
			t.Error(got)
		}
	}
}

func TestCharsetOfTheLink(t *testing.T) {
	got := show(t, "MSH|^~\\&|A||B||||ORU^R01|1|P|2.3\rPID|||||Nguy\xD4n^Th\xDE\r", Options{Charset: hl7.CharsetRule{Force: "TCVN3"}})
	if !strings.Contains(got, "Patient name: Nguyễn^Thị\n") || strings.Contains(got, "!") {
		t.Error(got)
	}
	if Message(new(bytes.Buffer), []byte(order), Options{Charset: hl7.CharsetRule{Force: "EBCDIC"}}) == nil {
		t.Error("EBCDIC is taken")
	}
}

func TestWhatIsNoMessageGetsItsReason(t *testing.T) {
	for text, want := range map[string]string{
		"HELLO": "NOT READABLE: segment sequence error: the message does not begin with MSH (byte 0)\n",
		"MSH|^~\\&|A||B||||ORU^R01|1|P|2.3\rMSH|^~\\&|": "NOT READABLE: segment sequence error: MSH[2] a second MSH segment (byte 33)\nmessage ORU^R01, version 2.3, 42 bytes, control ID 1\n",
	} {
		if got := show(t, text, Options{}); !strings.HasPrefix(got, want) {
			t.Errorf("%q", got)
		}
	}
	if got := show(t, "HELLO", Options{Language: "vi"}); !strings.HasPrefix(got, "KHÔNG ĐỌC ĐƯỢC: sai thứ tự đoạn") {
		t.Error(got)
	}
}

func TestNothingThatATerminalObeys(t *testing.T) {
	got := show(t, "MSH|^~\\&|A||B||||ORU^R01|1|P|2.3\rPID|1||a\\X0A\\b\\X1B\\[31m\u202Ecba\x07|\\X0D\\MSH\rOBX|1|ED|x||"+strings.Repeat("A", 5000)+"\r", Options{})
	for line := range strings.Lines(got) {
		if strings.ContainsFunc(strings.TrimSuffix(line, "\n"), func(r rune) bool { return unicode.IsControl(r) || r == '\u202E' }) {
			t.Errorf("%q", line)
		}
	}
	if !strings.Contains(got, `a\x0Ab\x1B[31m\u202Ecba\x07`) || !strings.Contains(got, "(5000 characters)") || len(got) > 2000 {
		t.Error(got)
	}
}

func TestEveryLabelIsInBothLanguages(t *testing.T) {
	for key, l := range dict().names {
		if l.English == "" || l.Vietnamese == "" {
			t.Errorf("%s: %+v", key, l)
		}
	}
	for key, table := range dict().values {
		if Field(key[:3], number(key[4:])).English == "" {
			t.Errorf("%s has values and no name", key)
		}
		for v, l := range table {
			if l.English == "" || l.Vietnamese == "" {
				t.Errorf("%s %s: %+v", key, v, l)
			}
		}
	}
	// What the codec says stands in table 0357 here, too.
	for _, code := range []string{hl7.ErrorSegmentSequence, hl7.ErrorRequiredField, hl7.ErrorDataType, hl7.ErrorTableValue, hl7.ErrorTooLong, hl7.ErrorOther, hl7.ErrorType, hl7.ErrorEvent, hl7.ErrorProcessingID, hl7.ErrorVersion, hl7.ErrorUnknownKey, hl7.ErrorDuplicateKey, hl7.ErrorLocked, hl7.ErrorApplication} {
		if Value("ERR", 3, code).English == "" {
			t.Error(code)
		}
	}
	for _, name := range strings.Fields("MSH MSA ERR PID PV1 ORC OBR OBX NTE SPM SAC TQ1 IPC EVN MRG PD1 NK1 AL1 DG1 IN1 QRD QRF QPD QAK RCP DSP EQU INV TCD SID BHS FHS BTS FTS") {
		if Segment(name).English == "" {
			t.Error(name)
		}
	}
}

func number(s string) int {
	n := 0
	for _, c := range s {
		n = n*10 + int(c-'0')
	}
	return n
}

func TestSamplesAreShown(t *testing.T) {
	names, _ := filepath.Glob(filepath.Join("..", "..", "..", "shared", "samples", "hl7", "*.hl7"))
	if len(names) == 0 {
		t.Skip("no message samples beside this checkout")
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, lang := range []string{"en", "vi"} {
			for _, m := range hl7.Split(b) {
				if got := show(t, string(m), Options{Language: lang}); got == "" {
					t.Errorf("%s: nothing", filepath.Base(name))
				}
			}
		}
	}
}

// Whatever the bytes: text that a terminal can show.
func FuzzDescribe(f *testing.F) {
	f.Add([]byte(order), "vi")
	f.Add([]byte("MSH$%*!@#$A%1$$B$$$ORU%R01$7!F!$P$2.7\rPID$!x!\x1B"), "")
	f.Fuzz(func(t *testing.T, b []byte, lang string) {
		if len(b) > 1<<16 {
			return
		}
		var out bytes.Buffer
		if err := Message(&out, b, Options{Language: lang, Longest: 50}); err != nil {
			t.Fatal(err)
		}
		if strings.ContainsFunc(out.String(), func(r rune) bool { return r != '\n' && isUnsafe(r) }) {
			t.Fatalf("%q", out.String())
		}
	})
}
