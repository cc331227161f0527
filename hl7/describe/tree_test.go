package describe

import (
	"encoding/json"
	"strings"
	"testing"

	"nhip/hl7"
)

func TestATreeHasEveryFieldWithItsName(t *testing.T) {
	m := "MSH|^~\\&|LAB||NHIP||20260114||ORU^R01|7|P|2.5.1\rPID|1||0042^^^HIS^MR~12^^^VNM^NI||Nguy\u1ec5n^\u00c1nh||1980|F\rZZZ|x\r"
	tree, err := Read([]byte(m), Options{Language: "vi"})
	if err != nil {
		t.Fatal(err)
	}
	if tree.Type != "ORU^R01" || tree.Version != "2.5.1" || tree.ControlID != "7" || len(tree.Segments) != 3 || tree.Problem != nil || len(tree.Charset) != 1 {
		t.Errorf("%+v", tree)
	}
	var sex, second TreeField
	for _, f := range tree.Segments[1].Fields {
		switch f.At {
		case "PID-8":
			sex = f
		case "PID-3[2]":
			second = f
		}
	}
	if sex.Meaning != "Nữ" && sex.Meaning != "nữ" || sex.Label != Field("PID", 8).Vietnamese {
		t.Errorf("%+v", sex)
	}
	if len(second.Components) != 5 || second.Components[4] != "NI" || second.Value != "12^^^VNM^NI" {
		t.Errorf("%+v", second)
	}
	b, err := json.Marshal(tree)
	if err != nil || !strings.Contains(string(b), `"at":"MSH-2"`) {
		t.Errorf("%v %s", err, b)
	}
}

func TestATreeOfWhatIsNoMessageSaysWhy(t *testing.T) {
	tree, err := Read([]byte("HELLO"), Options{})
	if err != nil || tree.Problem == nil || !strings.Contains(tree.Problem.Text, "does not begin with MSH") {
		t.Errorf("%+v %v", tree.Problem, err)
	}
	if _, err := Read([]byte("MSH|^~\\&|"), Options{Charset: hl7.CharsetRule{Force: "klingon"}}); err == nil {
		t.Error("a character set that is none was taken")
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte("MSH|^~\\&|LAB||NHIP||20260114||ORU^R01|7|P|2.5.1\rPID|1||0042^^^HIS^MR~12"), true)
	f.Add([]byte("\xEF\xBB\xBFMSH|^\rPID"), false)
	f.Fuzz(func(t *testing.T, b []byte, vi bool) {
		o := Options{Language: map[bool]string{true: "vi", false: "en"}[vi]}
		tree, err := Read(b, o)
		if err != nil {
			t.Fatal(err)
		}
		if tree.Problem == nil && len(tree.Segments) == 0 {
			t.Fatal("a message without a segment")
		}
		var text strings.Builder
		if err := Message(&text, b, o); err != nil {
			t.Fatal(err)
		}
		if strings.ContainsAny(strings.ReplaceAll(text.String(), "\n", ""), "\x1b\r\x00\x07") {
			t.Fatal("control characters reach the terminal")
		}
	})
}
