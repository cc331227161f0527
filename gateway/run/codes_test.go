package run

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nhip/gateway/codes"
	"nhip/gateway/config"
	"nhip/gateway/intake"
	"nhip/gateway/interpret"
	"nhip/gateway/qc"
	"nhip/gateway/reason"
	"nhip/gateway/record"
	"nhip/storage"
)

// codeFile is a table of codes.
func codeFile(head string, rows ...string) string {
	return head + "code;unit;lis_code;name;lis_unit;ucum;factor;decimals;from;until;ordered_by\n" + strings.Join(rows, "\n") + "\n"
}

// A sent is one result of an analyser.
type sentResult struct{ code, unit, value, observed string }

// reportOf is a message of the analyser "by the book" with one specimen.
func reportOf(specimen string, all ...sentResult) string {
	m := "H|\\^&|||ANALYSER-9^1.02^SN77|||||||P|LIS2-A2|20260114081500\rP|1\rO|1|" + specimen + "||^^^ALL|||||||N||||||||||||||F\r"
	for i, x := range all {
		if x.observed == "" {
			x.observed = "20260114081200"
		}
		m += fmt.Sprintf("R|%d|^^^%s|%s|%s||N||F||||%s\r", i+1, x.code, x.value, x.unit, x.observed)
	}
	return m + "L|1|N\r"
}

// codedSite is a gateway with a LIS and an analyser by the book.
func codedSite(t *testing.T, more string) (*site, *systemLIS) {
	t.Helper()
	lis := newLIS(t)
	return newSite(t, lis.block()+"[[analyser]]\nname = \"astm-1\"\nprofile = \"generic-astm\"\nport = \"tcp-listen://127.0.0.1:0\"\nto = [\"lis\"]\n"+more), lis
}

func (s *site) reports(messages ...string) {
	s.t.Helper()
	for _, m := range messages {
		begin(s.t, s.status().Listen.Analyser["astm-1"]).rest(s.t, m)
	}
}

// interpreted waits until all that was received is interpreted and delivered.
func (s *site) interpreted(accepted int) {
	s.t.Helper()
	eventually(s.t, fmt.Sprintf("%d are accepted and nothing waits", accepted), func() bool {
		c := s.status().Counts
		return int(c.Accepted) == accepted && c.Queued == 0
	})
}

// From what the analyser says, over a first table, to one that converts, over a table that
// is refused because it would hold, and back: on a gateway that runs, over an ASTM link.
func TestATableOfCodesFromTheDraftToUndo(t *testing.T) {
	t.Parallel()
	s, lis := codedSite(t, "")
	glu := sentResult{"GLU", "mg/dL", "100", ""}
	s.reports(reportOf("27", glu, sentResult{"WBC", "10*3/uL", "6.41", ""}))
	s.interpreted(1)
	if m := lis.of("|27|")[0]; !strings.Contains(m, "OBX|1|NM|GLU^^99GENERIC-ASTM||100|mg/dL|") || strings.Contains(m, "NTE|") || field(m, "OBX-18") != "^generic-astm" {
		t.Errorf("without a table: %q", m)
	}
	var a CodesAnswer
	if err := act(t, s, "", "codes-new", CodesRequest{Analyser: "astm-1", Language: 1}, &a); err != nil || !strings.Contains(a.Text, "mã máy;đơn vị máy;mã lis") || !strings.Contains(a.Text, "\nGLU;mg/dL;;") || !strings.Contains(a.Text, "\nWBC;'10*3/uL;;") {
		t.Fatalf("%q %v", a.Text, err)
	}
	if err := act(t, s, "Hoa", "codes-apply", CodesChange{Analyser: "astm-1", Name: "nháp", Text: a.Text, Last: 200}, &a); err != nil || a.Version != 1 || a.Tried.Results != 2 || a.Tried.Same != 2 {
		t.Fatalf("the draft changes something: %+v %v", a.Tried, err)
	}

	table := codeFile("#ma_may;ĐT.1.01004.SN77\n", "GLU;mg/dL;01001;Glucose máu;mmol/L;mmol/L;x0.0555;2;;;")
	change := CodesChange{Analyser: "astm-1", Name: "mmol", Text: table, Reason: "the LIS wants mmol/L", Last: 200}
	if err := act(t, s, "Hoa", "codes-apply", change, nil); err == nil || !strings.Contains(err.Error(), "1 reports would be held that are sent now") {
		t.Errorf("it went live: %v", err)
	}
	if err := act(t, s, "Hoa", "codes-apply", CodesChange{Analyser: "astm-1", Name: "x", Text: "code;unit\n;x\n"}, nil); err == nil || !strings.Contains(err.Error(), "code is empty") {
		t.Errorf("%v", err)
	}
	change.Accept = true
	if err := act(t, s, "Hoa", "codes-apply", change, &a); err != nil || a.Version != 2 {
		t.Fatalf("%+v %v", a, err)
	}
	s.reports(reportOf("28", glu, sentResult{"GLU", "mg/dL", "< 5", ""}))
	s.interpreted(2)
	m := lis.of("|28|")[0]
	for _, want := range []string{
		"OBX|1|NM|01001^Glucose máu^L||5.55|mmol/L^^^mmol/L^^UCUM|", "OBX|2|ST|01001^Glucose máu^L||< 0.28|mmol/L^^^mmol/L^^UCUM|",
		"NTE|1|L|sent by the analyser: 100 mg/dL\r", "NTE|1|L|sent by the analyser: < 5 mg/dL\r", "|^generic-astm~ĐT.1.01004.SN77^MA_MAY\r",
	} {
		if !strings.Contains(m, want) {
			t.Errorf("no %q in %q", want, m)
		}
	}
	s.reports(reportOf("29", glu, sentResult{"WBC", "10*3/uL", "7.01", ""}), reportOf("30", sentResult{"GLU", "mmol/L", "5.1", ""}))
	s.interpreted(4)
	held := s.status().Held
	if len(held) != 2 || !strings.Contains(held[0].Reason, "the code table of astm-1 has no row for this code: WBC") || !strings.Contains(held[1].Reason, "no row for this code in this unit: GLU [mmol/L]") {
		t.Fatalf("%+v", held)
	}

	// With a better table one is interpreted anew, the other goes as a person says.
	table += "WBC;*;HC01;Bạch cầu;G/L;;;;;;\n"
	a = CodesAnswer{}
	if err := act(t, s, "Hoa", "codes-apply", CodesChange{Analyser: "astm-1", Name: "wbc", Text: table, Last: 200}, &a); err != nil || a.Tried.Sent != 2 || a.Tried.Held != 0 {
		t.Fatalf("%+v %v", a.Tried, err)
	}
	for _, h := range held {
		if err := act(t, s, "Hoa", "release", ItemRequest{ID: h.ID, Reason: "checked"}, nil); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "both are delivered", func() bool { c := s.status().Counts; return c.Held == 0 && c.Delivered == 4 && c.Queued == 0 })
	if m := lis.of("|29|")[0]; !strings.Contains(m, "|5.55|mmol/L") || !strings.Contains(m, "|HC01^Bạch cầu^L||7.01|G/L|") {
		t.Errorf("%q", m)
	}
	if m := lis.of("|30|")[0]; !strings.Contains(m, "|GLU^^99GENERIC-ASTM||5.1|mmol/L|") || !strings.Contains(m, "NTE|1|L|unit not in the code table of the site\r") {
		t.Errorf("%q", m)
	}
	made := map[string]string{}
	for _, specimen := range []string{"27", "28", "29", "30"} {
		made[specimen] = madeWith(t, s, specimen)
	}
	if want := "map[27: 28:version 2 mmol 29:version 3 wbc 30:version 3 wbc]"; fmt.Sprint(made) != want {
		t.Errorf("made with %v, want %s", made, want)
	}

	s.stop()
	s.start()
	if err := act(t, s, "Hoa", "codes-undo", CodesChange{Analyser: "astm-1"}, &a); err != nil || a.Version != 2 || a.Name != "mmol" {
		t.Fatalf("%+v %v", a, err)
	}
	a = CodesAnswer{}
	if err := act(t, s, "", "codes-versions", CodesRequest{Analyser: "astm-1"}, &a); err != nil || len(a.History) != 3 || !a.History[1].Live || a.History[1].By != "Hoa" || a.History[1].Why != "the LIS wants mmol/L" {
		t.Errorf("%+v %v", a, err)
	}
	a = CodesAnswer{}
	if err := act(t, s, "", "codes-show", CodesRequest{Analyser: "astm-1"}, &a); err != nil || a.Version != 2 || a.Table.MaMay != "ĐT.1.01004.SN77" || len(a.Table.Rows) != 1 || a.Text != change.Text {
		t.Errorf("%+v %v", a, err)
	}
	acts := audited(t, s)
	for _, want := range []string{"activate codes Hoa astm-1 version 2 mmol the LIS wants mmol/L", "undo codes Hoa astm-1 version 3 wbc", "release Hoa held/"} {
		if !strings.Contains(acts, want) {
			t.Errorf("no %q in the audit journal:\n%s", want, acts)
		}
	}
}

// madeWith is the version of the table that the rendered message of a specimen was made
// with.
func madeWith(t *testing.T, s *site, specimen string) (version string) {
	t.Helper()
	err := s.g.store.Range(interpret.OutChannel("lis"), 1, 0, false, func(_ storage.Ref, b []byte) bool {
		e, err := intake.DecodeEntry(b)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(e.Body), "SPM|1|"+specimen+"|") {
			version = e.Attrs["codes"]
		}
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return version
}

// What a try of a table says is what then happens: random tables over random messages,
// which the analyser sends again after the table went live.
func TestATryOfATableIsWhatThenHappens(t *testing.T) {
	t.Parallel()
	s, lis := codedSite(t, "")
	r := rand.New(rand.NewPCG(5, 6))
	pick := func(all ...string) string { return all[r.IntN(len(all))] }
	const messages = 12
	var sent []string
	for i := range messages {
		var all []sentResult
		for range 1 + r.IntN(4) {
			all = append(all, sentResult{pick("A", "B", "C", "D"), pick("mg/dL", "mmol/L", ""), pick("100", "7.5", "<3", "HIGH", "0.001", "5,5"), pick("20260109120000", "20260110000000", "20260114081200")})
		}
		sent = append(sent, reportOf(fmt.Sprintf("S%02d", i), all...))
	}
	s.reports(sent...)
	s.interpreted(messages)
	accepted := messages
	for version := range 3 {
		table := randomCodes(r)
		var tried CodesTry
		if err := act(t, s, "", "codes-try", CodesRequest{Analyser: "astm-1", Text: table, Last: messages, Limit: 1000}, &tried); err != nil {
			t.Fatalf("%v\n%s", err, table)
		}
		parsed, _ := codes.Read([]byte(table))
		if err := act(t, s, "Hoa", "codes-apply", CodesChange{Analyser: "astm-1", Name: fmt.Sprint(version), Text: table}, nil); err != nil {
			t.Fatal(err)
		}
		before := s.status().Counts
		seen := len(lis.messages())
		s.reports(sent...)
		accepted += messages
		s.interpreted(accepted)
		after := s.status().Counts
		got := map[string]string{}
		for _, m := range lis.messages()[seen:] {
			got[field(m, "OBR-3")] = m
		}
		predicted := 0
		for i, m := range sent {
			specimen := fmt.Sprintf("S%02d", i)
			want, held := predictedORU(t, s, parsed, m)
			if held {
				predicted++
			}
			if g, ok := got[specimen]; ok == held || !held && obx(g) != want {
				t.Errorf("%s: sent %v, predicted held %v\n%s\n%s\n%s", specimen, ok, held, obx(g), want, table)
			}
		}
		if n := int(after.Held - before.Held); n != predicted {
			t.Errorf("%d are held, %d were predicted", n, predicted)
		}
		if tried.Messages != messages || tried.Same+tried.Differ != tried.Results || len(tried.Examples) != tried.Differ {
			t.Errorf("%+v", tried)
		}
		for _, x := range tried.Examples {
			m, ok := got[specimenOf(t, s, x.Ref)]
			if ok != (x.Then.Held == "") || ok && !strings.Contains(obx(m), x.Then.Code+" "+x.Then.Value+" "+x.Then.Unit+" ") {
				t.Errorf("%+v was tried, and %q was sent", x, obx(m))
			}
		}
	}
}

// randomCodes is a table of some of the codes A to D.
func randomCodes(r *rand.Rand) string {
	head := ""
	for _, p := range []string{"unknown_code", "unknown_unit", "not_number", "duplicate"} {
		head += "#" + p + ";" + []string{"hold", "pass"}[r.IntN(2)] + "\n"
	}
	var rows []string
	for _, code := range []string{"A", "B", "C", "D"} {
		lis := []string{"", "L-" + code, "L-A", "B"}[r.IntN(4)]
		switch r.IntN(5) {
		case 0:
		case 1:
			rows = append(rows, code+";*;"+lis+";;;;;;;;")
		case 2:
			rows = append(rows, code+";mg/dL;"+lis+";;mmol/L;;x0.05;1;;;")
		case 3:
			rows = append(rows, code+";mg/dL;"+lis+";;mmol/L;;x0.05;2;;20260109;", code+";mg/dL;"+lis+";;g/L;;x0.01;3;20260110;;")
		case 4:
			rows = append(rows, code+";mg/dL;"+lis+";;mmol/L;;x0.0555;0;;;", code+";mmol/L;"+lis+";;;;;;;;", code+";;"+lis+";;;;;;;;")
		}
	}
	return codeFile(head, rows...)
}

// predictedORU is what a table makes of a message, by the table alone.
func predictedORU(t *testing.T, s *site, table *codes.Table, message string) (want string, held bool) {
	t.Helper()
	x, err := s.g.profiles["generic-astm"].Extract([]byte(message), s.g.cfg.Site.TimeZone)
	if err != nil || len(x.Reports) != 1 {
		t.Fatal(err)
	}
	o := table.Apply(x.Reports[0], time.Now(), s.g.cfg.Site.TimeZone, false)
	for _, r := range o.Report.Results {
		want += r.Code + " " + r.Value + " " + r.Unit + " \n"
	}
	return want, o.Held()
}

// obx are the codes, values and units of a message.
func obx(message string) (all string) {
	for _, segment := range strings.Split(message, "\r") {
		if f := strings.Split(segment, "|"); f[0] == "OBX" {
			code, _, _ := strings.Cut(f[3], "^")
			unit, _, _ := strings.Cut(f[6], "^")
			all += code + " " + f[5] + " " + unit + " \n"
		}
	}
	return all
}

// specimenOf is the specimen of a received message.
func specimenOf(t *testing.T, s *site, ref string) string {
	t.Helper()
	at, err := storage.ParseRef(ref)
	if err != nil {
		t.Fatal(err)
	}
	b, err := s.g.body(at)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "\rO|1|")
	specimen, _, _ := strings.Cut(rest, "|")
	return specimen
}

// Tables go live one after the other while results come: every message is made with one of
// them, which its journal entry names.
func TestNoMessageIsMadeWithTwoTables(t *testing.T) {
	t.Parallel()
	s, lis := codedSite(t, "")
	table := func(n int) string {
		var rows []string
		for i := range 30 {
			rows = append(rows, fmt.Sprintf("T%d;*;V%d-%d;;;;;;;;", i, n, i))
		}
		return codeFile("", rows...)
	}
	var all []sentResult
	for i := range 30 {
		all = append(all, sentResult{fmt.Sprintf("T%d", i), "", "1", ""})
	}
	apply := func(n int) {
		if err := act(t, s, "Hoa", "codes-apply", CodesChange{Analyser: "astm-1", Name: fmt.Sprint(n), Text: table(n)}, nil); err != nil {
			t.Error(err)
		}
	}
	apply(1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := 2; n <= 12; n++ {
			apply(n)
		}
	}()
	const messages = 30
	for i := range messages {
		s.reports(reportOf(fmt.Sprintf("S%02d", i), all...))
	}
	<-done
	s.interpreted(messages)
	if n := len(lis.messages()); n != messages {
		t.Fatalf("%d messages", n)
	}
	for _, m := range lis.messages() {
		first, _, _ := strings.Cut(obx(m), "-")
		version := strings.TrimPrefix(first, "V")
		if n := strings.Count(m, "|"+first+"-"); n != 30 {
			t.Errorf("%d of 30 results are by %s: %q", n, first, m)
		}
		if made := madeWith(t, s, field(m, "OBR-3")); made != "version "+version+" "+version {
			t.Errorf("made with %q, and codes of %s", made, first)
		}
	}
}

// What a panel of the LIS runs on the analyser, and where its results go, stands in the
// table alone; [[order_code]] still counts for what the table does not have.
func TestOrdersFollowTheTableOfCodes(t *testing.T) {
	t.Parallel()
	s, lis := twoWaySite(t, "required")
	text, err := os.ReadFile(s.file)
	if err != nil {
		t.Fatal(err)
	}
	s.restart(string(text) + "[[order_code]]\nanalyser = \"a-test-astm\"\norder = \"OLD\"\ntests = [\"19\"]\n")
	table := codeFile("", "11;*;HC01;;;;;;;;CBC", "12;*;HC02;;;;;;;;CBC", "13;*;HC03;;;;;;20990101;;CBC", "19;*;HC09;;;;;;;;")
	if err := act(t, s, "Hoa", "codes-apply", CodesChange{Analyser: "a-test-astm", Name: "x", Text: table}, nil); err != nil {
		t.Fatal(err)
	}
	p := newPeer(t, "127.0.0.1", s.status().Listen.HL7)
	for _, m := range []string{testOrder("M1", "NW", "A1", "P1", "S1", "CBC"), testOrder("M2", "NW", "A2", "P2", "S2", "11"), testOrder("M3", "NW", "A3", "P3", "S3", "OLD")} {
		if answer := p.send(t, m); field(answer, "MSA-1") != "AA" {
			t.Fatalf("answered %q", answer)
		}
	}
	c := s.plug("test-astm")
	say(t, c, ask("S1", `Nguyen Thi P1<CR><ETX><sum><CR><LF>
> <ACK>
< <STX>3O|1|S1|R5^3|^^^11\^^^12|||||||||||||||||||||Q`))
	if work, err := s.g.lab.For(s.g.labAnalyser(s.g.cfg.Analysers[0])).Work(t.Context(), record.Query{Specimens: []string{"S2"}}); err != nil || len(work) != 0 {
		t.Errorf("11 is the analyser's code, not the LIS': %+v %v", work, err)
	}
	say(t, c, ask("S3", `Nguyen Thi P3<CR><ETX><sum><CR><LF>
> <ACK>
< <STX>3O|1|S3|R5^3|^^^19|||||||||||||||||||||Q`))
	say(t, c, reports("S1", "11", "5.4"))
	eventually(t, "the LIS has the result", func() bool { return len(lis.of("|5.4|")) == 1 })
	m := lis.of("|5.4|")[0]
	for path, want := range map[string]string{"OBR-2": "A1", "OBR-4": "CBC^CBC^L", "OBX-3": "HC01^^L", "PID-3": "P1^^^BV^MR"} {
		if got := field(m, path); got != want {
			t.Errorf("%s is %q, want %q in %q", path, got, want, m)
		}
	}
}

// A report that is held for its order and for its codes is released for the one, and then
// for the other: nobody lets go what he was not told of.
func TestAReleaseLetsGoOnlyWhatItWasHeldFor(t *testing.T) {
	t.Parallel()
	s, lis := twoWaySite(t, "required")
	if err := act(t, s, "Hoa", "codes-apply", CodesChange{Analyser: "a-test-astm", Name: "x", Text: codeFile("", "11;*;HC01;;;;;;;;")}, nil); err != nil {
		t.Fatal(err)
	}
	say(t, s.plug("test-astm"), reports("S9", "77", "8.8"))
	for _, want := range []string{"there is no order for this specimen", "has no row for this code: 77"} {
		eventually(t, want, func() bool {
			held := s.status().Held
			return len(held) == 1 && strings.Contains(held[0].Reason, want)
		})
		if err := act(t, s, "Hoa", "release", ItemRequest{ID: s.status().Held[0].ID, Reason: "known"}, nil); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the LIS has it", func() bool { return len(lis.of("|8.8|")) == 1 })
	if m := lis.of("|8.8|")[0]; !strings.Contains(m, "NTE|1|L|test code not in the code table of the site\r") || field(m, "OBR-2") != "" {
		t.Errorf("%q", m)
	}
}

// What is held for its codes, and released after its order was cancelled, is held for that.
func TestAReleaseForItsCodesDoesNotLetACancelledOrderGo(t *testing.T) {
	t.Parallel()
	s, lis := twoWaySite(t, "required")
	if err := act(t, s, "Hoa", "codes-apply", CodesChange{Analyser: "a-test-astm", Name: "x", Text: codeFile("", "11;mmol/L;HC01;;;;;;;;")}, nil); err != nil {
		t.Fatal(err)
	}
	p := newPeer(t, "127.0.0.1", s.status().Listen.HL7)
	send := func(m string) {
		t.Helper()
		if answer := p.send(t, m); field(answer, "MSA-1") != "AA" {
			t.Fatalf("answered %q", answer)
		}
	}
	held := func(why string) string {
		t.Helper()
		eventually(t, why, func() bool {
			h := s.status().Held
			return len(h) == 1 && strings.Contains(h[0].Reason, why)
		})
		return s.status().Held[0].ID
	}
	send(testOrder("M1", "NW", "A1", "P1", "S1", "HC01"))
	say(t, s.plug("test-astm"), reports("S1", "11", "5.4"))
	id := held("has no row for this code in this unit")
	send(testOrder("M2", "CA", "A1", "P1", "S1", "HC01"))
	if err := act(t, s, "Hoa", "release", ItemRequest{ID: id, Reason: "the unit is known"}, nil); err != nil {
		t.Fatal(err)
	}
	id = held("was cancelled or is over")
	if n := len(lis.of("|5.4|")); n != 0 {
		t.Errorf("%d at the LIS", n)
	}
	if err := act(t, s, "Hoa", "release", ItemRequest{ID: id, Reason: "the ward wants it"}, nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the LIS has it", func() bool { return len(lis.of("|5.4|")) == 1 })
}

// Control material of a lot that the laboratory has not entered waits for a person where
// it says so; what its table calls control material never comes into the patients' lane.
func TestControlMaterialWithoutARuleIsHeld(t *testing.T) {
	t.Parallel()
	s, lis := codedSite(t, "")
	head := "#unknown_lot;hold\n#control_lot;QC-7;Level 1;;\n#control_specimen;QC-*\n"
	if err := act(t, s, "Hoa", "codes-apply", CodesChange{Analyser: "astm-1", Name: "qc", Text: codeFile(head)}, nil); err != nil {
		t.Fatal(err)
	}
	s.reports(reportOf("QC-8", sentResult{"GLU", "mg/dL", "101", ""}))
	s.interpreted(1)
	if held := s.status().Held; len(held) != 1 || !strings.Contains(held[0].Reason, "control material of astm-1, of a lot that its code table does not have: QC-8") {
		t.Fatalf("%+v", held)
	}
	charts := func() int {
		all, err := qc.List(s.g.store, "astm-1")
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	if charts() != 0 {
		t.Error("it is in the charts")
	}
	if err := act(t, s, "Hoa", "release", ItemRequest{ID: s.status().Held[0].ID}, nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is in the charts", func() bool { return charts() == 1 })
	s.reports(reportOf("QC-7", sentResult{"GLU", "mg/dL", "102", ""}))
	eventually(t, "the lot that is entered is in the charts", func() bool { return charts() == 2 })
	if c := s.status().Counts; c.Kinds["control"] != 2 || c.Held != 0 || len(lis.messages()) != 0 {
		t.Errorf("%+v, %d at the LIS", c, len(lis.messages()))
	}
}

// The file of the configuration is taken in at the start where it has changed; what a
// person applied stays until then. What is wrong with it is said by the check.
func TestTheTableOfTheConfiguration(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "astm-1.csv")
	write := func(lis string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(codeFile("", "GLU;*;"+lis+";;;;;;;;")), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("one")
	s, lis := codedSite(t, fmt.Sprintf("codes = %q\n", file))
	expect := func(specimen, code string) {
		t.Helper()
		s.reports(reportOf(specimen, sentResult{"GLU", "mg/dL", "100", ""}))
		eventually(t, specimen+" is delivered", func() bool { return len(lis.of("SPM|1|"+specimen+"|")) == 1 })
		if m := lis.of("SPM|1|" + specimen + "|")[0]; field(m, "OBX-3") != code+"^^L" {
			t.Errorf("%s: %q", code, m)
		}
	}
	expect("27", "one")
	if err := act(t, s, "Hoa", "codes-apply", CodesChange{Analyser: "astm-1", Name: "x", Text: codeFile("", "GLU;*;two;;;;;;;;")}, nil); err != nil {
		t.Fatal(err)
	}
	expect("28", "two")
	s.stop()
	s.start()
	expect("29", "two")
	s.stop()
	write("three")
	s.start()
	expect("30", "three")
	s.stop()
	if err := os.WriteFile(file, []byte("code;unit\n;x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, problems := config.Load(s.file, config.Env{})
	var said []string
	for _, p := range problems {
		said = append(said, p.In(reason.English))
	}
	if all := strings.Join(said, "\n"); !strings.Contains(all, "astm-1.csv:2: code is empty") || !strings.Contains(all, "codes: "+file+" cannot be used") {
		t.Errorf("%s", all)
	}
	write("three")
	s.start()
}
