package run

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nhip/gateway/control"
	"nhip/storage"
)

// mapText is a map with a table of codes and a filter; XYZ is its newest code where
// asked for.
func mapText(name, more string) string {
	return `name = "` + name + `"
[[table]]
name = "codes"
row = [{from = "HGB", to = "01003"}` + more + `]
[[rule]]
name = "control"
do = "drop"
why = "control material is not for the LIS"
when = [{at = "SPM-11.1", is = "Q"}]
[[rule]]
name = "codes"
do = "look-up"
table = "codes"
at = "OBX[*]-3.1"
`
}

// A result to be mapped, with patient data that must not reach the log.
func mappable(id, code string) string {
	return "MSH|^~\\&|LAB|BV|NHIP||20260114081500+0700||ORU^R01^ORU_R01|" + id + "|P|2.5.1||||||UNICODE UTF-8\r" +
		"PID|1||PT-770077^^^HIS^MR||BIMAT^NGUYEN||19770707|F|||DIACHI\rOBR|1||S-" + id + "|PANEL\rOBX|1|NM|" + code + "||13.5|g/dL|||||F\r"
}

func act(t *testing.T, s *site, by, path string, request, answer any) error {
	t.Helper()
	return control.Call(context.Background(), s.data, by, path, request, answer)
}

// A map of the configuration changes what is sent; what it cannot be applied to is held
// for its destination alone, and goes on once a map has gone live that can, without a
// restart and without the others getting it twice; all of it can be undone.
func TestAMapOfFieldsFromTheConfigurationToUndo(t *testing.T) {
	t.Parallel()
	lis, archive := newLIS(t), newLIS(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "lis.toml")
	if err := os.WriteFile(file, []byte(mapText("first", "")), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newSite(t, fmt.Sprintf("[[hl7_peer]]\nname = \"lab\"\naddress = \"127.0.0.1\"\nto = [\"lis\", \"archive\"]\n%smap = %q\n[[destination]]\nname = \"archive\"\nkind = \"hl7\"\naddress = %q\n", lis.block(), file, archive.address))
	peer := newPeer(t, "127.0.0.1", s.status().Listen.HL7)
	for _, m := range []string{mappable("M-1", "HGB"), mappable("M-2", "XYZ"), strings.Replace(mappable("M-3", "HGB"), "OBX|", "SPM|1||||||||||Q\rOBX|", 1)} {
		if a := peer.send(t, m); field(a, "MSA-1") != "AA" {
			t.Fatalf("%q", a)
		}
	}
	eventually(t, "all is interpreted and delivered", func() bool { c := s.status().Counts; return c.Delivered == 4 && c.Queued == 0 })
	if got := lis.messages(); len(got) != 1 || !strings.Contains(got[0], "OBX|1|NM|01003||") || strings.Contains(got[0], "HGB") {
		t.Errorf("the LIS got %q", got)
	}
	for _, id := range []string{"M-1", "M-2", "M-3"} {
		if got := archive.of("|" + id + "|"); len(got) != 1 || got[0] != mappable(id, map[bool]string{true: "XYZ", false: "HGB"}[id == "M-2"]) && id != "M-3" {
			t.Errorf("the archive, which has no map, got %q", got)
		}
	}
	st := s.status()
	if len(st.Held) != 1 || !strings.Contains(st.Held[0].Reason, "the map first, rule codes: the code at OBX-3.1 is not in the table codes: XYZ") || st.Counts.Held != 1 {
		t.Fatalf("%+v", st.Held)
	}
	if st.Counts.Kinds["filtered"] != 1 {
		t.Errorf("consumed: %+v", st.Counts.Kinds)
	}

	// The whole journal, with another map: what would be other.
	other := mapText("second", `, {from = "XYZ", to = "09"}`)
	var tried JournalTry
	if err := act(t, s, "", "map-try-journal", TryRequest{Link: "lis", Map: other, Since: time.Now().Add(-time.Hour)}, &tried); err != nil {
		t.Fatal(err)
	}
	if tried.Messages != 3 || tried.Same != 2 || tried.NowSent != 1 || tried.Held != 0 || tried.LeftOut != 0 || len(tried.Examples) != 1 || tried.Examples[0].Ref != "in/lab/2" || tried.Rules["codes"] != 2 {
		t.Errorf("%+v", tried)
	}
	// One that would hold what is sent now does not go live without a word.
	bad := "name = \"bad\"\n[[rule]]\ndo = \"hold\"\nwhy = \"x\"\n"
	change := MapChange{Link: "lis", Name: "bad", Text: bad, Since: time.Now().Add(-time.Hour)}
	if err := act(t, s, "Hoa", "map-activate", change, nil); err == nil || !strings.Contains(err.Error(), "2 would be held") {
		t.Errorf("it went live: %v", err)
	}
	if err := act(t, s, "Hoa", "map-activate", MapChange{Link: "lis", Name: "x", Text: "name = \"x\"\nnonsense = 1"}, nil); err == nil || !strings.Contains(err.Error(), `unknown key "nonsense"`) {
		t.Errorf("%v", err)
	}
	var live MapAnswer
	change = MapChange{Link: "lis", Name: "mã mới", Text: other, Reason: "a new test", Since: time.Now().Add(-time.Hour)}
	if err := act(t, s, "Hoa", "map-activate", change, &live); err != nil || live.Version != 2 || live.Tried == nil || live.Tried.NowSent != 1 {
		t.Fatalf("%+v %v", live, err)
	}
	if err := act(t, s, "Hoa", "release", ItemRequest{ID: st.Held[0].ID}, nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, "what was held is delivered", func() bool { c := s.status().Counts; return c.Held == 0 && c.Delivered == 5 && c.Queued == 0 })
	if got := lis.of("|M-2|"); len(got) != 1 || !strings.Contains(got[0], "OBX|1|NM|09||") {
		t.Errorf("the LIS got %q", got)
	}
	if got := archive.of("|M-2|"); len(got) != 1 {
		t.Errorf("the archive got it %d times", len(got))
	}

	// A restart keeps what a person made live; undone, the configuration's is live.
	s.stop()
	s.start()
	if err := act(t, s, "Hoa", "map-undo", MapChange{Link: "to/lis"}, &live); err != nil || live.Version != 1 || live.Name != "lis.toml" {
		t.Fatalf("%+v %v", live, err)
	}
	if err := act(t, s, "", "map-list", MapRequest{Link: "lis"}, &live); err != nil || len(live.History) != 2 || !live.History[1].Live || live.History[0].By != "Hoa" || live.History[0].Name != "mã mới" {
		t.Errorf("%+v %v", live, err)
	}
	peer = newPeer(t, "127.0.0.1", s.status().Listen.HL7)
	peer.send(t, mappable("M-4", "XYZ"))
	eventually(t, "the first map holds it again", func() bool { return s.status().Counts.Held == 1 })
	acts := audited(t, s)
	for _, want := range []string{"activate map Hoa to/lis version 2 mã mới a new test", "undo map Hoa to/lis version 2 mã mới", "activate map  to/lis version 1 lis.toml"} {
		if !strings.Contains(acts, want) {
			t.Errorf("no %q in the audit journal:\n%s", want, acts)
		}
	}
}

// audited is the audit journal of a site, which is stopped for it.
func audited(t *testing.T, s *site) string {
	t.Helper()
	var b strings.Builder
	if err := s.g.store.Range(control.AuditChannel, 1, 0, false, func(_ storage.Ref, v []byte) bool {
		a, err := control.DecodeAudit(v)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s %s %s %s\n", a.Act, a.By, a.What, a.Why)
		return true
	}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// The map of a system changes what it sends before anything else; results of an
// analyser go through the map of their destination; `try` tells both, rule by rule, and
// stores nothing.
func TestMapsOfASystemAndOfRenderedResults(t *testing.T) {
	t.Parallel()
	lis := newLIS(t)
	dir := t.TempDir()
	from, to := filepath.Join(dir, "lab.toml"), filepath.Join(dir, "lis.toml")
	for name, text := range map[string]string{
		from: "name = \"lab\"\n[[rule]]\nname = \"ward\"\ndo = \"set\"\nat = \"PV1-3\"\nvalue = \"XN\"\nmissing = \"add\"\n[[rule]]\ndo = \"drop\"\nwhy = \"a test\"\nwhen = [{at = \"MSH-11\", is = \"T\"}]\n",
		to:   "name = \"lis\"\n[[rule]]\nname = \"specimen\"\ndo = \"pad\"\nwidth = 8\nat = \"OBR-3.1\"\n",
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := newSite(t, fmt.Sprintf("[[hl7_peer]]\nname = \"lab\"\naddress = \"127.0.0.1\"\nto = [\"lis\"]\nmap = %q\n%smap = %q\n", from, lis.block(), to)+
		"[[analyser]]\nname = \"astm-1\"\nprofile = \"generic-astm\"\nport = \"tcp-listen://127.0.0.1:0\"\nto = [\"lis\"]\n")
	st := s.status()
	peer := newPeer(t, "127.0.0.1", st.Listen.HL7)
	peer.send(t, mappable("7", "HGB"))
	peer.send(t, strings.Replace(mappable("8", "HGB"), "|8|P|", "|8|T|", 1))
	begin(t, st.Listen.Analyser["astm-1"]).rest(t, records("27"))
	eventually(t, "both are delivered", func() bool { c := s.status().Counts; return c.Delivered == 2 && c.Queued == 0 && c.Accepted == 3 })
	if got := lis.of("|7|P|"); len(got) != 1 || !strings.HasSuffix(got[0], "PV1|||XN\r") || !strings.Contains(got[0], "OBR|1||00000S-7|") {
		t.Errorf("%q", got)
	}
	if got := lis.of("00000027"); len(got) != 1 || !strings.Contains(got[0], "SPM|1|") {
		t.Errorf("%q", lis.messages())
	}
	if kinds := s.status().Counts.Kinds; kinds["filtered"] != 1 {
		t.Errorf("%+v", kinds)
	}
	before := s.status().Counts
	var a TryAnswer
	if err := act(t, s, "", "map-try", TryRequest{Link: "lab", Message: []byte(mappable("9", "HGB"))}, &a); err != nil {
		t.Fatal(err)
	}
	if a.From == nil || a.From.Outcome != "changed" || len(a.From.Fired) != 2 || len(a.Messages) != 1 || a.Messages[0].Destination != "lis" || a.Messages[0].Fired[0].Rule != "specimen" || a.Messages[0].Fired[0].Before != "S-9" || a.Messages[0].Fired[0].After != "00000S-9" {
		t.Errorf("%+v", a)
	}
	a = TryAnswer{}
	if err := act(t, s, "", "map-try", TryRequest{Link: "astm-1", Message: []byte(records("28"))}, &a); err != nil || len(a.Messages) != 1 || a.Messages[0].Outcome != "changed" {
		t.Errorf("%+v %v", a, err)
	}
	a = TryAnswer{}
	if err := act(t, s, "", "map-try", TryRequest{Link: "to/lis", Message: []byte(mappable("9", "HGB")), Map: mapText("m", "")}, &a); err != nil || len(a.Messages) != 1 || a.Messages[0].Fired[0].After != "01003" {
		t.Errorf("%+v %v", a, err)
	}
	if err := act(t, s, "", "map-try", TryRequest{Link: "nobody", Message: []byte("x")}, &a); err == nil {
		t.Error("a link that is not there")
	}
	if after := s.status().Counts; after.Accepted != before.Accepted {
		t.Errorf("a try was counted: %+v, %+v", before, after)
	}
}
