package hl7

import (
	"errors"
	"strings"
	"testing"
)

func TestTranscodeCarriesEveryCharacterAndNothingElseChanges(t *testing.T) {
	const utf = "MSH|^~\\&|HIS|BV|LIS||20260114||ORM^O01|7|P|2.3.1||||||UNICODE UTF-8|VI\rPID|1||9||NGUYỄN^THỊ Hoa|\\X0D\\|\r\nNTE|1||đường\\.br\\huyết\r"
	m, err := Parse([]byte(utf))
	if err != nil {
		t.Fatal(err)
	}
	for _, set := range []string{"TCVN3", "VISCII", "CP1258", "VNI", "UNICODE UTF-8"} {
		b, err := m.Transcode(set)
		if err != nil {
			t.Errorf("%s: %v", set, err)
			continue
		}
		there, err := Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		if got := there.Get("PID-5.1") + " " + there.Get("PID-5.2"); got != "NGUYỄN THỊ Hoa" && set != "TCVN3" {
			t.Errorf("%s: %q", set, got)
		}
		if there.Get("MSH-18") == "" || len(there.CharsetWarnings()) != 0 || !strings.Contains(string(b), `|\X0D\|`) || !strings.Contains(string(b), "\r\nNTE") {
			t.Errorf("%s: %q %v", set, b, there.CharsetWarnings())
		}
		back, err := there.Transcode("UNICODE UTF-8")
		if err != nil || set != "TCVN3" && string(back) != utf { // TCVN3 has small letters with some marks only
			t.Errorf("%s: %v\n%q\n%q", set, err, back, utf)
		}
	}
}

func TestWhatASetCannotHoldIsAnError(t *testing.T) {
	for _, c := range []struct{ text, set string }{
		{"MSH|^~\\&|A||B||20260114||ORM^O01|7|P|2.3.1||||||UNICODE UTF-8\rPID|1||9||NGUYỄN\r", "8859/1"},
		{"MSH|^~\\&|A||B||20260114||ORM^O01|7|P|2.3.1||||||UNICODE UTF-8\rPID|1||9||NGUYỄN\r", "ASCII"},
		{"MSH|^~\\&|A||B||20260114||ORM^O01|7|P|2.3.1||||||UNICODE UTF-8\rPID|1||9||N\xE9\r", "8859/1"},
		{"MSH|^~\\&|A||B||20260114||ORM^O01|7|P|2.3.1||||||UNICODE UTF-8\rPID|1||9||N\xE9\r", "UNICODE UTF-8"},
		{"MSH|^~\\&|A||B||20260114||ORM^O01|7|P|2.3.1||||||KLINGON\rPID|1||9||N\xE9\r", "8859/1"},
	} {
		m, err := Parse([]byte(c.text))
		if err != nil {
			t.Fatal(err)
		}
		var bad *TranscodeError
		if b, err := m.Transcode(c.set); !errors.As(err, &bad) {
			t.Errorf("%q in %s: %q %v", c.text, c.set, b, err)
		}
	}
	m, _ := Parse([]byte("MSH|^~\\&|A||B||20260114||ORM^O01|7|P|2.3.1\rPID|1||9||N\r"))
	if b, err := m.Transcode("8859/1"); err != nil || !strings.HasPrefix(string(b), "MSH|^~\\&|A||B||20260114||ORM^O01|7|P|2.3.1||||||8859/1\r") {
		t.Errorf("%q %v", b, err)
	}
	if _, err := m.Transcode("KLINGON"); err == nil {
		t.Error("an unknown set")
	}
}
