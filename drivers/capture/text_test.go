package capture

import (
	"strings"
	"testing"
)

func TestRecordingIsShownInWordsWithPlaces(t *testing.T) {
	recording := "\x05\x021H|\\^&|||XN\rO|1|S\x1b1||^^^GLU\rR|1|^^^GLU|5.4\rL|1|N\r\x0300\r\n\x04"
	out, err := Decode([]byte(recording), "auto", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for lang, want := range map[string][]string{
		"en": {"protocol astm", "frame 1, byte 1", "CHECKSUM WRONG", "R.4     value", "5.4", "specimen ID", "S·1", "What is wrong:", "checksum is 00"},
		"vi": {"giao thức astm", "khung 1", "CHECKSUM SAI", "giá trị", "mã mẫu", "Những chỗ sai:"},
	} {
		var b strings.Builder
		if err := Text(&b, out, lang); err != nil {
			t.Fatal(err)
		}
		for _, w := range want {
			if !strings.Contains(b.String(), w) {
				t.Errorf("%s lacks %q:\n%s", lang, w, b.String())
			}
		}
		if strings.ContainsAny(b.String(), "\x1b\x05\x02") {
			t.Error("a control character reaches the terminal")
		}
	}
}

func TestEveryNameIsInBothLanguages(t *testing.T) {
	for _, names := range []map[string]label{recordNames, fieldNames} {
		for at, l := range names {
			if l.english == "" || l.vietnamese == "" {
				t.Errorf("%s lacks a name", at)
			}
		}
	}
}

// Every sentence that the package says of a recording is there in Vietnamese.
func TestWhatIsWrongIsSaidInVietnamese(t *testing.T) {
	for _, recording := range []string{
		"\x02H|\\^&\r\x0300\r\n", "\x021H|\\^&\rR|1|^^^X|1\r\x03ZZ\r\n\x022L|1\r\x0300\r\nxx\x024L\x03", "1H|\\^&\rQ|1\r",
		"R|1|^^^A|5\rH|\\^&\rP|1|\xff\rH|\\^&\r", "\x0b\x1c\x0bMSH|^~\\&|A\r", "MSH|^~\\&|A\r\x1c", "^B1H|\\^&\n",
	} {
		o, err := Decode([]byte(recording), "auto", nil, nil)
		if err != nil {
			t.Errorf("%q: %v", recording, err)
		}
		for _, p := range o.Problems {
			if p.In("vi") == p.What || p.In("en") != p.What {
				t.Errorf("%q stays %q", p.What, p.In("vi"))
			}
		}
	}
}
