package profile

import (
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"nhip/gateway/record"
)

const handing = `
[answer]
source = "test"
[[answer.field]]
path = "H.11"
is = "REPLY"
[[answer.field]]
path = "O.3"
is = "{specimen}"
[[answer.field]]
path = "O.4"
is = "{rack}"
[[answer.field]]
path = "O.5.4"
is = "{test}"
[[answer.field]]
path = "O.26"
is = "Q"
[answer.download]
source = "test"
[[answer.download.field]]
path = "H.11"
is = "BATCH"
[[answer.download.field]]
path = "O.26"
is = "O"
[answer.cancel]
source = "test"
[[answer.cancel.field]]
path = "O.12"
is = "C"
[[answer.cancel.field]]
path = "O.26"
is = ""
`

// A download and a cancel are the answer with other fields.
func TestDownloadAndCancel(t *testing.T) {
	p := of(t, handing)
	if !p.Downloads() || !p.Cancels() || !p.DownloadsWhole() {
		t.Fatal("what the profile declares is not known")
	}
	work := []record.Work{{Specimen: "S1", Tests: []string{"GLU", "ALT"}}}
	for name, c := range map[string]struct {
		compose func([]record.Work, time.Time) ([]byte, error)
		want    string
	}{
		"download": {p.Download, `H|\^&|||||||||BATCH O|1|S1||^^^GLU\^^^ALT|||||||||||||||||||||O L|1|N`},
		"cancel":   {p.Cancel, `H|\^&|||||||||REPLY O|1|S1||^^^GLU\^^^ALT|||||||C L|1|N`},
	} {
		b, err := c.compose(work, time.Now())
		if got := strings.ReplaceAll(strings.TrimSpace(string(b)), "\r", " "); err != nil || got != c.want {
			t.Errorf("%s: %q %v, want %q", name, got, err, c.want)
		}
	}
	added := of(t, strings.Replace(handing, "[answer.download]\n", "[answer.download]\nlater = \"added\"\n", 1))
	if added.DownloadsWhole() {
		t.Error("later = added")
	}
	silent := of(t, strings.Split(handing, "[answer.download]")[0])
	if silent.Downloads() || silent.Cancels() {
		t.Error("declared by nobody")
	}
	if _, err := silent.Download(work, time.Now()); err == nil {
		t.Error("sent all the same")
	}
	if _, err := silent.Cancel(work, time.Now()); err == nil {
		t.Error("taken back all the same")
	}
}

func TestDownloadIsChecked(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"no source":     {strings.Replace(handing, "[answer.download]\nsource = \"test\"", "[answer.download]", 1), "answer.download"},
		"later":         {strings.Replace(handing, "[answer.download]\n", "[answer.download]\nlater = \"x\"\n", 1), "later"},
		"cancel later":  {strings.Replace(handing, "[answer.cancel]\n", "[answer.cancel]\nlater = \"added\"\n", 1), "later is for"},
		"no difference": {strings.Split(handing, "[[answer.cancel.field]]")[0], "tells it from an order"},
		"bad path":      {strings.Replace(handing, `"O.12"`, `"R.12"`, 1), "R.12"},
		"tokens":        {handing + "[link]\nsource = \"test\"\nform = \"tokens\"\n", "tokens"},
	} {
		if _, err := Load(fstest.MapFS{"test/profile.toml": {Data: []byte(asking + c.text)}}, "test"); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
