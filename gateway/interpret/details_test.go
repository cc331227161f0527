package interpret

import (
	"errors"
	"strings"
	"testing"

	"nhip/drivers/astm/e1394"
	"nhip/gateway/reason"
	"nhip/hl7"
)

// What a parser finds wrong with a message reaches people in their language.
func TestWhatIsWrongWithAMessageIsSaidInVietnamese(t *testing.T) {
	say := func(detail, english string) {
		t.Helper()
		r := reason.New(reason.Unreadable, detail)
		if en := r.In(reason.English); !strings.Contains(en, english) {
			t.Errorf("in English: %s, without %q", en, english)
		}
		if vi := r.In(reason.Vietnamese); strings.Contains(vi, english) || !strings.HasPrefix(vi, "không đọc được: ") {
			t.Errorf("in Vietnamese: %s", vi)
		}
	}
	seen := map[string]bool{}
	for _, text := range []string{
		"PID|1\r", "MSHa^~\\&|A\r", "MSH|^\r", "MSH|^^^^^^^\r", "MSH|abcd|A\r", "MSH|^~\\&|A||B||20260101||ORU^R01|1|P|2.5\r12\r",
		"MSH|^~\\&|A||B||20260101||ORU^R01|1|P|2.5\rMSH|^~\\&|A\r", "MSH|^~\\&|" + strings.Repeat("|", 100000) + "\r",
		"MSH|^~\\&|A\r" + strings.Repeat("NTE|1\r", 200000),
	} {
		_, err := hl7.Parse([]byte(text))
		var bad *hl7.ParseError
		if errors.As(err, &bad) {
			say(bad.Error(), bad.Reason)
			seen[bad.Reason] = true
		}
	}
	if len(seen) < 5 {
		t.Errorf("only %v", seen)
	}
	_, err := hl7.ParseWithin([]byte("MSH|^~\\&|A\r"+strings.Repeat("x", 100)), hl7.Limits{Size: 50})
	if err == nil {
		t.Fatal("no limit")
	}
	say(err.Error(), "longer than")
	_, err = hl7.ParseAck([]byte("MSH|^~\\&|A||B||20260101||ACK|1|P|2.5\r"))
	if err == nil {
		t.Fatal("an answer without MSA")
	}
	say(err.Error(), "has no MSA")
	say(e1394.ErrNoHeader.Error(), "does not begin")
}
