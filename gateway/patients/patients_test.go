package patients

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"nhip/gateway/intake"
	"nhip/gateway/lis"
	"nhip/gateway/orders"
	"nhip/gateway/record"
	"nhip/hl7"
	"nhip/hl7/ack"
	"nhip/storage"
)

// site is a store of patients with orders in memory.
type site struct {
	t      testing.TB
	dir    string
	store  *storage.Store
	in     *intake.Intake
	p      *Store
	orders *orders.Store
	n      int
	now    time.Time
}

var start = time.Date(2026, 7, 14, 8, 0, 0, 0, time.UTC)

func open(t testing.TB) *site {
	s := &site{t: t, dir: t.TempDir(), now: start}
	s.open()
	t.Cleanup(func() { s.store.Close() })
	return s
}

func (s *site) open() {
	var err error
	if s.store, err = storage.Open(context.Background(), storage.Options{Dir: s.dir, Log: slog.New(slog.DiscardHandler)}); err != nil {
		s.t.Fatal(err)
	}
	s.in = intake.New(s.store, slog.New(slog.DiscardHandler))
	s.in.Now = func() time.Time { return s.now }
	s.p = &Store{
		Store: s.store, Log: slog.New(slog.DiscardHandler),
		Rules: func(link string) lis.AuthorityRules { return lis.AuthorityRules{Link: link} },
		Zone:  func(string) *time.Location { return time.UTC },
	}
	s.orders, err = orders.Open(context.Background(), orders.Options{
		Store: s.store, Log: slog.New(slog.DiscardHandler), Current: s.p.Current, Now: func() time.Time { return s.now },
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.p.Orders = s.orders
}

func (s *site) restart() {
	if err := s.store.Close(); err != nil {
		s.t.Fatal(err)
	}
	s.open()
}

// order is an order for a patient, as it is taken.
func (s *site) order(p record.Person) uint64 {
	s.t.Helper()
	s.n++
	c := s.orders.Begin(s.now)
	out, err := c.Apply(orders.Request{Action: orders.New, Control: "NW", Link: "his", Order: record.Order{
		Kind: record.LaboratoryOrder, Placer: record.OrderNumber{ID: fmt.Sprintf("O%d", s.n)}, Ordered: p,
		Services: []record.Service{{Code: record.Coded{Code: "GLU"}}},
	}})
	if err != nil {
		s.t.Fatal(err)
	}
	b := new(storage.Batch)
	if err = c.Write(b); err == nil {
		_, err = s.store.Commit(context.Background(), b)
	}
	c.End(err)
	if err != nil || out.Problem.Refused() || out.ID == 0 {
		s.t.Fatalf("%v %v", out.Problem, err)
	}
	return out.ID
}

func (s *site) ordered(id uint64) record.Person {
	s.t.Helper()
	e, ok, err := s.orders.Get(id)
	if err != nil || !ok {
		s.t.Fatalf("order %d: %v %v", id, ok, err)
	}
	return e.Order.Patient
}

func (s *site) patientOf(id uint64) string {
	s.t.Helper()
	return show(s.ordered(id))
}

func show(p record.Person) string {
	var ids []string
	for _, i := range p.Identifiers {
		ids = append(ids, i.Value+"@"+i.Authority)
	}
	text := strings.Join(ids, ",") + " " + p.Name.Whole() + " " + p.Birth + " " + p.Sex
	if p.Visit.Value != "" {
		text += " " + p.Visit.Value
	}
	return strings.TrimSpace(text)
}

// send gives a message of a link to the intake, and returns MSA-1 with the texts of
// the errors.
func (s *site) send(link, event, at string, segments ...string) string {
	s.t.Helper()
	s.n++
	text := fmt.Sprintf("MSH|^~\\&|HIS|BV|NHIP|BV|%s||ADT^%s|M%d|P|2.5.1||||||UNICODE UTF-8\rEVN|%s|%s\r%s\r", at, event, s.n, event, at, strings.Join(segments, "\r"))
	return s.sendBytes(link, []byte(text))
}

func (s *site) sendBytes(link string, b []byte) string {
	s.t.Helper()
	m, err := hl7.Parse(b)
	if err != nil {
		s.t.Fatal(err)
	}
	if !s.p.Takes(m) {
		s.t.Fatalf("%s is not taken", m.Get("MSH-9"))
	}
	var said string
	_, _, err = s.in.Decided(context.Background(), s.p, intake.Incoming{Link: link, Peer: "127.0.0.1:1", At: s.now, Message: m}, nil, func(d intake.Decision, _ *storage.Batch) ([]byte, error) {
		said = verdict(d.Verdict)
		return []byte(said), nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.now = s.now.Add(time.Second)
	return said
}

func verdict(v ack.Verdict) string {
	text := string(v.Code)
	for _, e := range v.Errors {
		text += " " + e.Location + " " + e.Code + " " + e.Text
	}
	return text
}

func (s *site) must(want, got string) {
	s.t.Helper()
	if want == "AA" && got != "AA" || !strings.HasPrefix(got, want) {
		s.t.Errorf("answered %q, want %q", got, want)
	}
}

func mr(value, authority string) record.Identifier {
	return record.Identifier{Value: value, Authority: authority, Type: "MR"}
}

func (s *site) find(i record.Identifier) Patient {
	s.t.Helper()
	all, err := s.p.Find(i)
	if err != nil {
		s.t.Fatal(err)
	}
	if len(all) != 1 {
		s.t.Fatalf("%v leads to %d patients", i, len(all))
	}
	return all[0]
}

func (s *site) history(id uint64) (what []string) {
	s.t.Helper()
	all, err := s.p.History(id)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, c := range all {
		what = append(what, c.Event+" "+c.What)
	}
	return what
}

const (
	ann  = `PID|1||100^^^BV^MR~001060012345^^^CCCD^NI~DN4010112345678^^^BHYT^HC||Nguyễn Thị Ánh||1960|F`
	binh = `PID|1||200^^^BV^MR||Trần Văn Bình||19750301|M`
)

func TestAMergeReachesOpenOrdersAndAnUnmergeGivesThemBack(t *testing.T) {
	s := open(t)
	s.must("AA", s.send("his", "A04", "20260714070000", ann))
	s.must("AA", s.send("his", "A04", "20260714070100", binh))
	a := s.order(record.Person{Identifiers: []record.Identifier{mr("100", "BV")}, Name: record.Name{Family: "NGUYEN THI ANH"}})
	b := s.order(record.Person{Identifiers: []record.Identifier{mr("200", "BV")}})
	s.must("AA", s.send("his", "A40", "20260714070200", binh, `MRG|100^^^BV^MR`))
	for _, o := range []uint64{a, b} {
		if got := s.patientOf(o); got != "200@BV Trần Văn Bình 19750301 M" {
			t.Errorf("order %d after the merge: %s", o, got)
		}
	}
	c := s.order(record.Person{Identifiers: []record.Identifier{mr("100", "BV")}, Name: record.Name{Family: "NGUYEN THI ANH"}, Birth: "1960", Sex: "F"})
	if got := s.patientOf(c); got != "200@BV Trần Văn Bình 19750301 M" {
		t.Errorf("a new order under the old number: %s", got)
	}
	s.restart()
	s.must("AA", s.send("his", "A37", "20260714070300", ann, strings.Replace(binh, "PID|1", "PID|2", 1)))
	if got := s.patientOf(a); got != "100@BV Nguyễn Thị Ánh 1960 F" {
		t.Errorf("after the unmerge: %s", got)
	}
	if got := s.patientOf(b); got != "200@BV Trần Văn Bình 19750301 M" {
		t.Errorf("after the unmerge: %s", got)
	}
	want := []string{"A04 created", "A40 merged into", "A37 unmerged from"}
	if got := s.history(s.find(mr("100", "BV")).ID); !slices.Equal(got, want) {
		t.Errorf("history: %q", got)
	}
}

func TestPatientsNeverMatchAcrossAuthorities(t *testing.T) {
	s := open(t)
	s.must("AA", s.send("his", "A04", "20260714070000", `PID|1||100^^^BV^MR||An`))
	s.must("AA", s.send("his", "A04", "20260714070000", `PID|1||100^^^TTYT^MR||Bình`))
	s.must("AA", s.send("his", "A04", "20260714070000", `PID|1||100||Chi`))
	s.must("AA", s.send("ris", "A04", "20260714070000", `PID|1||100||Dung`))
	for i, want := range map[record.Identifier]string{mr("100", "BV"): "An", mr("100", "TTYT"): "Bình", {Value: "100", Authority: "~his"}: "Chi", {Value: "100", Authority: "~ris"}: "Dung"} {
		if got := s.find(i).Person.Name.Whole(); got != want {
			t.Errorf("%v is %s, want %s", i, got, want)
		}
	}
	s.must("AE MRG-1", s.send("his", "A40", "20260714070100", `PID|1||100^^^BV^MR||An`, `MRG|100^^^TTYT^MR`))
	if s.find(mr("100", "TTYT")).Into != 0 {
		t.Error("merged across authorities")
	}
}

func TestACitizenNumberFindsOnlyWhoIsNamedByNothingElse(t *testing.T) {
	s := open(t)
	s.must("AA", s.send("his", "A04", "20260714070000", ann))
	s.must("AA", s.send("his", "A08", "20260714070100", `PID|1||001060012345^^^CCCD^NI||Nguyễn Thị Ánh||19600517|F`))
	if p := s.find(mr("100", "BV")); p.Person.Birth != "19600517" {
		t.Errorf("%+v", p.Person)
	}
	// The same person registered twice, or a typing error: nobody knows, so nobody matches.
	s.must("AA", s.send("his", "A04", "20260714070200", `PID|1||300^^^BV^MR~001060012345^^^CCCD^NI||Nguyễn Thị Ánh||1960|F`))
	if a, b := s.find(mr("100", "BV")), s.find(mr("300", "BV")); a.Current == b.Current {
		t.Error("matched by the citizen number")
	}
	s.must("AE PID-3", s.send("his", "A08", "20260714070300", `PID|1||001060012345^^^CCCD^NI||Ai||1961|F`))
	p := record.Person{Identifiers: []record.Identifier{{Value: "001060012345", Authority: "CCCD", Type: "NI"}}, Name: record.Name{Family: "Ai"}}
	if got := s.p.Current(p); got.Name.Family != "Ai" || len(got.Identifiers) != 1 {
		t.Errorf("an ambiguous number found %+v", got)
	}
	// A new card takes the old one's place.
	s.must("AA", s.send("his", "A08", "20260714070400", `PID|1||100^^^BV^MR~DN4019999999999^^^BHYT^HC`))
	if got := show(s.find(mr("100", "BV")).Person); got != "100@BV,001060012345@CCCD,DN4019999999999@BHYT Nguyễn Thị Ánh 19600517 F" {
		t.Errorf("after the new card: %s", got)
	}
	if all, _ := s.p.Find(record.Identifier{Value: "DN4010112345678", Authority: "BHYT", Type: "HC"}); len(all) != 0 {
		t.Errorf("the old card leads to %d", len(all))
	}
}

func TestWhatIsImpossibleIsAnsweredInWordsAndChangesNothing(t *testing.T) {
	s := open(t)
	s.must("AA", s.send("his", "A04", "20260714070000", ann))
	s.must("AA", s.send("his", "A04", "20260714070000", binh))
	s.must("AA", s.send("his", "A40", "20260714070000", `PID|1||500^^^BV^MR||Chi`, `MRG|400^^^BV^MR`))
	s.must("AA", s.send("his", "A47", "20260714070000", `PID|1||600^^^BV^MR||Em`, `MRG|601^^^BV^MR`))
	before := keys(t, s.store)
	for _, c := range []struct {
		name, event, want string
		segments          []string
	}{
		{"no PID", "A40", "AE PID 100 the message has no PID segment", []string{`MRG|100^^^BV^MR`}},
		{"no number", "A08", "AE PID-3 101 PID-3 has no patient number", []string{`PID|1||||An`}},
		{"two patients", "A08", "AE PID-3 199 the numbers in PID-3 are those of two patients", []string{`PID|1||100^^^BV^MR~200^^^BV^MR`}},
		{"no MRG", "A40", "AE MRG 100 MRG is missing", []string{ann}},
		{"empty MRG", "A40", "AE MRG-1 101 MRG-1 is missing", []string{ann, `MRG|`}},
		{"itself", "A40", "AE MRG-1 199 MRG-1 and PID-3 name the same patient", []string{ann, `MRG|100^^^BV^MR`}},
		{"itself by an old number", "A40", "AE MRG-1 199 MRG-1 and PID-3 name the same", []string{`PID|1||600^^^BV^MR`, `MRG|601^^^BV^MR`}},
		{"other authority", "A40", "AE MRG-1 199 MRG-1 and PID-3 have no numbers of the same authority", []string{ann, `MRG|200^^^TTYT^MR`}},
		{"other type", "A40", "AE MRG-1 199 MRG-1 and PID-3 have no numbers of the same authority", []string{ann, `MRG|200^^^BV^PI`}},
		{"circle", "A40", "AE MRG-1 199 the patient of PID-3 was merged into the patient of MRG-1 before", []string{`PID|1||400^^^BV^MR`, `MRG|500^^^BV^MR`}},
		{"merged before", "A40", "AE MRG-1 199 the patient of MRG-1 was merged into somebody else", []string{ann, `MRG|400^^^BV^MR`}},
		{"two priors", "A40", "AE MRG-1 199 the numbers in MRG-1 are those of two patients", []string{`PID|1||500^^^BV^MR`, `MRG|100^^^BV^MR~200^^^BV^MR`}},
		{"taken", "A47", "AE PID-3 199 the new number in PID-3 is another patient's", []string{`PID|1||200^^^BV^MR`, `MRG|100^^^BV^MR`}},
		{"one of two merges", "A40", "AE MRG[2]-1 199", []string{`PID|1||200^^^BV^MR`, `MRG|100^^^BV^MR`, `PID|2||500^^^BV^MR`, `MRG|500^^^BV^MR`}},
		{"odd pair", "A24", "AE PID 100 the message must have PID segments in pairs", []string{ann}},
		{"linked with itself", "A24", "AE PID[2]-3 199", []string{ann, ann}},
		{"not linked", "A37", "AE PID[2]-3 199 the two patients are neither linked nor merged", []string{ann, binh}},
		{"unknown", "A37", "AE PID-3 199 the patient of PID-3 is not known", []string{`PID|1||900^^^BV^MR`, binh}},
		{"no visit", "A45", "AE MRG-5 101", []string{ann, `MRG|200^^^BV^MR`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s.t = t
			was := s.store.Snapshot().Counters
			s.must(c.want, s.send("his", c.event, "20260714070100", c.segments...))
			if after := keys(t, s.store); after != before {
				t.Errorf("patients changed from\n%s to\n%s", before, after)
			}
			now := s.store.Snapshot().Counters
			if now[intake.CountHeld] != was[intake.CountHeld]+1 || now[intake.CountAccepted] != was[intake.CountAccepted]+1 {
				t.Error("the message is not held")
			}
		})
	}
}

// keys is all that is stored of patients.
func keys(t *testing.T, s *storage.Store) string {
	t.Helper()
	var text strings.Builder
	for _, prefix := range []string{"patient", "patients"} {
		all, err := s.Keys(prefix, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range all {
			b, _, err := s.Get(k)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&text, "%s %s\n", k, b)
		}
	}
	return text.String()
}

func TestAMessageThatNamesNobodyChangesNobody(t *testing.T) {
	s := open(t)
	s.must("AA", s.send("his", "A03", "20260714070000", `PV1|1|I`))
	if got := keys(t, s.store); got != "" {
		t.Errorf("%s", got)
	}
}

func TestAMergeOfWhoIsNotKnownIsTaken(t *testing.T) {
	s := open(t)
	o := s.order(record.Person{Identifiers: []record.Identifier{mr("8", "BV")}, Name: record.Name{Family: "An"}})
	s.must("AA", s.send("his", "A40", "20260714070000", `PID|1||7^^^BV^MR||Nguyễn An||1990|M`, `MRG|8^^^BV^MR||||||Nguyễn Ân`))
	if got := s.patientOf(o); got != "7@BV Nguyễn An 1990 M" {
		t.Errorf("%s", got)
	}
	if got := s.find(mr("8", "BV")).Person.Name.Whole(); got != "Nguyễn Ân" {
		t.Errorf("the prior name: %q", got)
	}
}

func TestARepeatedMergeChangesNothing(t *testing.T) {
	s := open(t)
	for range 3 {
		s.must("AA", s.send("his", "A40", "20260714070000", binh, `MRG|100^^^BV^MR`))
	}
	if got := s.history(s.find(mr("100", "BV")).ID); len(got) != 2 {
		t.Errorf("%q", got)
	}
}

func TestChainsOfMergesInAnyOrder(t *testing.T) {
	a, b, c := `1^^^BV^MR`, `2^^^BV^MR`, `3^^^BV^MR`
	for name, merges := range map[string][][2]string{"in order": {{a, b}, {b, c}}, "backwards": {{b, c}, {a, b}}, "over": {{a, b}, {b, c}, {a, c}}} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			o := s.order(record.Person{Identifiers: []record.Identifier{mr("1", "BV")}})
			for _, m := range merges {
				s.must("AA", s.send("his", "A40", "20260714070000", "PID|1||"+m[1]+"||N"+m[1][:1], "MRG|"+m[0]))
			}
			if got := s.patientOf(o); got != "3@BV N3" {
				t.Errorf("%s", got)
			}
			s.must("AE", s.send("his", "A40", "20260714070000", "PID|1||"+a, "MRG|"+c))
			s.must("AA", s.send("his", "A37", "20260714070100", "PID|1||"+a, "PID|2||"+c))
			if got := s.patientOf(o); got != "1@BV" {
				t.Errorf("after the unmerge: %s", got)
			}
		})
	}
}

func TestALongChainIsRefusedBeforeItCannotBeFollowed(t *testing.T) {
	s := open(t)
	refused := 0
	for i := range maxChain + 2 {
		got := s.send("his", "A40", "20260714070000", fmt.Sprintf("PID|1||%d^^^BV^MR||N%d", i+1, i+1), fmt.Sprintf("MRG|%d^^^BV^MR", i))
		if got != "AA" {
			refused++
		}
	}
	if refused == 0 {
		t.Error("no merge was refused")
	}
	if p := s.find(mr("0", "BV")); p.Current == p.ID {
		t.Error("the first is not merged")
	}
}

func TestAnOlderMessageDoesNotUndoANewerOne(t *testing.T) {
	s := open(t)
	s.must("AA", s.send("his", "A08", "20260714070500", `PID|1||100^^^BV^MR||Nguyễn Thị Ánh||1960|F`, `PV1|1|I|KHOA-NOI^P1^G1||||||||||||||||V1`))
	s.must("AA", s.send("his", "A08", "20260714070100", `PID|1||100^^^BV^MR~001060012345^^^CCCD^NI||Nguyen Thi Anh||19610101|M`, `PV1|1|O|PK1||||||||||||||||V1`))
	p := s.find(mr("100", "BV"))
	if got := show(p.Person); got != "100@BV,001060012345@CCCD Nguyễn Thị Ánh 1960 F" {
		t.Errorf("%s", got)
	}
	if v := p.Visits[0]; v.Class != "I" || !strings.HasPrefix(v.Location, "KHOA-NOI") {
		t.Errorf("%+v", v)
	}
	// An older merge does not undo an unmerge.
	s.must("AA", s.send("his", "A40", "20260714070600", binh, `MRG|100^^^BV^MR`))
	s.must("AA", s.send("his", "A37", "20260714070800", ann, binh))
	s.must("AA", s.send("his", "A40", "20260714070700", binh, `MRG|100^^^BV^MR`))
	if s.find(mr("100", "BV")).Into != 0 {
		t.Error("merged again by an older message")
	}
	s.must("AA", s.send("his", "A40", "20260714070900", binh, `MRG|100^^^BV^MR`))
	if s.find(mr("100", "BV")).Into == 0 {
		t.Error("not merged again by a newer message")
	}
}

func TestAClockInTheFutureDoesNotStopUpdates(t *testing.T) {
	s := open(t)
	s.must("AA", s.send("his", "A08", "20360714070500", `PID|1||100^^^BV^MR||Sai`))
	s.must("AA", s.send("his", "A08", "20260714080005", `PID|1||100^^^BV^MR||Đúng`))
	if got := s.find(mr("100", "BV")).Person.Name.Whole(); got != "Đúng" {
		t.Errorf("%s", got)
	}
}

func TestEmptyChangesNothingAndNullRemoves(t *testing.T) {
	s := open(t)
	s.must("AA", s.send("his", "A04", "20260714070000", ann))
	s.must("AA", s.send("his", "A08", "20260714070100", `PID|1||100^^^BV^MR||||""|`))
	if got := show(s.find(mr("100", "BV")).Person); got != "100@BV,001060012345@CCCD,DN4010112345678@BHYT Nguyễn Thị Ánh  F" {
		t.Errorf("%s", got)
	}
}

func TestAMessageUnderAMergedNumberTellsOfItsOwnRecordOnly(t *testing.T) {
	s := open(t)
	s.must("AA", s.send("his", "A04", "20260714070000", ann))
	s.must("AA", s.send("his", "A40", "20260714070100", binh, `MRG|100^^^BV^MR`))
	s.must("AA", s.send("his", "A08", "20260714070200", `PID|1||100^^^BV^MR||Ánh mới`))
	if got := s.find(mr("200", "BV")).Person.Name.Whole(); got != "Trần Văn Bình" {
		t.Errorf("the survivor is %s", got)
	}
	s.must("AA", s.send("his", "A37", "20260714070300", ann[:strings.Index(ann, "||Ng")], binh))
	if got := s.p.Current(record.Person{Identifiers: []record.Identifier{mr("100", "BV")}}).Name.Whole(); got != "Ánh mới" {
		t.Errorf("after the unmerge %s", got)
	}
}

func TestAChangedNumberIsTheSamePatients(t *testing.T) {
	s := open(t)
	s.must("AA", s.send("his", "A04", "20260714070000", ann))
	o := s.order(record.Person{Identifiers: []record.Identifier{mr("100", "BV")}})
	s.must("AA", s.send("his", "A47", "20260714070100", `PID|1||101^^^BV^MR`, `MRG|100^^^BV^MR`))
	if got := s.patientOf(o); got != "101@BV,001060012345@CCCD,DN4010112345678@BHYT Nguyễn Thị Ánh 1960 F" {
		t.Errorf("%s", got)
	}
	if _, ok := s.p.Merged(mr("100", "BV")); !ok {
		t.Error("the old number is said to be in force")
	}
	s.must("AA", s.send("his", "A47", "20260714070200", `PID|1||100^^^BV^MR`, `MRG|101^^^BV^MR`))
	if got := s.find(mr("100", "BV")).Person.Identifiers; !slices.Contains(got, mr("100", "BV")) || slices.Contains(got, mr("101", "BV")) {
		t.Errorf("changed back: %v", got)
	}
}

func TestAMovedNumberBringsItsOrdersAndVisits(t *testing.T) {
	s := open(t)
	s.must("AA", s.send("his", "A01", "20260714070000", ann, `PV1|1|I|NOI||||||||||||||||V1`))
	s.must("AA", s.send("his", "A04", "20260714070000", binh))
	o := s.order(record.Person{Identifiers: []record.Identifier{mr("100", "BV")}})
	for range 2 {
		s.must("AA", s.send("his", "A43", "20260714070100", binh, `MRG|100^^^BV^MR`))
	}
	if got := s.patientOf(o); got != "200@BV Trần Văn Bình 19750301 M" {
		t.Errorf("%s", got)
	}
	if v := s.find(mr("200", "BV")).Visits; len(v) != 1 || v[0].ID.Value != "V1" {
		t.Errorf("%+v", v)
	}
}

func TestWhoHadAMovedNumberKeepsHisOthers(t *testing.T) {
	s := open(t)
	s.must("AA", s.send("his", "A04", "20260714070000", `PID|1||100^^^BV^MR~7^^^TT^MR||Ánh`))
	s.must("AA", s.send("his", "A40", "20260714070000", `PID|1||100^^^BV^MR`, `MRG|99^^^BV^MR`))
	s.must("AA", s.send("his", "A04", "20260714070000", binh))
	merged := s.order(record.Person{Identifiers: []record.Identifier{mr("99", "BV")}})
	if got := s.patientOf(merged); got != "100@BV,7@TT Ánh" {
		t.Errorf("before: %s", got)
	}
	s.must("AA", s.send("his", "A43", "20260714070100", binh, `MRG|100^^^BV^MR`))
	if got := s.patientOf(merged); got != "7@TT Ánh" {
		t.Errorf("after: %s", got)
	}
}

func TestAMovedVisitBringsItsOrdersOnly(t *testing.T) {
	s := open(t)
	visit := func(v string) record.Identifier { return record.Identifier{Value: v, Authority: "~his"} }
	for _, v := range []string{"V1", "V2"} {
		s.must("AA", s.send("his", "A01", "20260714070000", ann, `PV1|1|I|NOI||||||||||||||||`+v))
	}
	s.must("AA", s.send("his", "A04", "20260714070000", binh))
	first := s.order(record.Person{Identifiers: []record.Identifier{mr("100", "BV")}, Visit: visit("V1")})
	second := s.order(record.Person{Identifiers: []record.Identifier{mr("100", "BV")}, Visit: visit("V2")})
	s.must("AA", s.send("his", "A45", "20260714070100", binh, `MRG|100^^^BV^MR||||V1`))
	if got := s.patientOf(first); got != "200@BV Trần Văn Bình 19750301 M V1" {
		t.Errorf("the moved visit: %s", got)
	}
	if got := s.patientOf(second); got != "100@BV Nguyễn Thị Ánh 1960 F V2" {
		t.Errorf("the other visit: %s", got)
	}
	s.must("AA", s.send("his", "A50", "20260714070200", binh, `MRG|||||V1`, `PV1|1|I|NOI||||||||||||||||V9`))
	if got := s.patientOf(first); got != "200@BV Trần Văn Bình 19750301 M V9" {
		t.Errorf("the visit with another number: %s", got)
	}
	p := s.find(mr("200", "BV"))
	if len(p.Visits) != 1 || p.Visits[0].ID.Value != "V9" {
		t.Errorf("%+v", p.Visits)
	}
}

func TestVisitsHaveTheStateThatWasLastTold(t *testing.T) {
	s := open(t)
	for _, x := range []struct {
		event string
		state VisitState
	}{
		{"A05", Planned}, {"A01", Admitted}, {"A02", Admitted}, {"A03", Discharged}, {"A13", Admitted}, {"A12", Admitted}, {"A08", Admitted},
		{"A06", Admitted}, {"A07", Admitted}, {"A09", Admitted}, {"A10", Admitted}, {"A11", Cancelled}, {"A04", Admitted}, {"A28", Admitted}, {"A31", Admitted},
	} {
		s.must("AA", s.send("his", x.event, s.now.Format("20060102150405"), ann, `PV1|1|I|`+x.event+`||||||||||||||||V1`))
		v := s.find(mr("100", "BV")).Visits
		if len(v) != 1 || v[0].State != x.state || v[0].Location != x.event {
			t.Errorf("after %s: %+v", x.event, v)
		}
	}
	for i := range 3 * mostVisits {
		s.must("AA", s.send("his", "A04", s.now.Format("20060102150405"), ann, fmt.Sprintf(`PV1|1|O|||||||||||||||||W%d`, i)))
	}
	if n := len(s.find(mr("100", "BV")).Visits); n != mostVisits {
		t.Errorf("%d visits", n)
	}
}

func TestLinkedPatientsStayApart(t *testing.T) {
	s := open(t)
	o := s.order(record.Person{Identifiers: []record.Identifier{mr("100", "BV")}})
	s.must("AA", s.send("his", "A24", "20260714070000", ann, binh))
	if got := s.patientOf(o); got != "100@BV Nguyễn Thị Ánh 1960 F" {
		t.Errorf("%s", got)
	}
	a, b := s.find(mr("100", "BV")), s.find(mr("200", "BV"))
	if !slices.Equal(a.Linked, []uint64{b.ID}) || !slices.Equal(b.Linked, []uint64{a.ID}) {
		t.Errorf("%v %v", a.Linked, b.Linked)
	}
	s.must("AA", s.send("his", "A37", "20260714070100", ann, binh))
	if l := s.find(mr("100", "BV")).Linked; len(l) != 0 {
		t.Errorf("%v", l)
	}
}

func TestAStoreOfAnotherVersionIsNotGuessedAt(t *testing.T) {
	s := open(t)
	s.must("AA", s.send("his", "A04", "20260714070000", ann))
	b := new(storage.Batch)
	b.Put(recordKey(1), []byte(`{"ver":2,"i":1}`))
	if _, err := s.store.Commit(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if _, err := s.p.Find(mr("100", "BV")); err == nil || !strings.Contains(err.Error(), "version 2") {
		t.Errorf("%v", err)
	}
}

func TestTheSamplesOfTheStandardAreTaken(t *testing.T) {
	s := open(t)
	for _, text := range []string{
		"MSH|^~\\&|REG|MAIN|MPI|MAIN|20260704082000||ADT^A18|M1|P|2.3\rEVN|A18|20260704082000\rPID|1|L5^^^HOSP^PE|M5^^^HOSP^MR||Mergetest^SurvivorThree||19881130|F\rMRG|M6^^^HOSP^MR|||L6^^^HOSP^PE|||Mergetest^PriorThree",
		"MSH|^~\\&|REG|MAIN|MPI|MAIN|20260704081000||ADT^A34|M2|P|2.3\rEVN|A34|20260704081000\rPID|1||M3^^^HOSP^MR||A\rMRG|M4^^^HOSP^MR|||L4^^^HOSP^PE",
		"MSH|^~\\&|REG|MAIN|MPI|MAIN|20260704081000||ADT^A30|M2|P|2.2\rEVN|A30|20260704081000\rPID|1|E1\rMRG||||E2",
		"MSH|^~\\&|ADT|X|EHR|X|198908181126+0215||ADT^A47^ADT_A47|M3|P|2.8\rEVN|A47|20210115160010+0000\rPID|1||MR101^5^M11^GOOD^MR||E^A\rMRG|MR102^^^BCBS^MR||PACCT101",
		"MSH|^~\\&|ADT|X|EHR|X|202101151620+0215||ADT^A45^ADT_A45|M4|P|2.8\rEVN|A02|20210115160010+0215\rPID|1||P1^5^M11^ADT1^X~1^^^^USSSA||E^A\rMRG|||PACCT002||5001^^^AccMgr^VN\rPV1|1|O",
		"MSH|^~\\&|S|F|R|F|20200508130643||ADT^A01|5|T|2.3\rEVN|A01|20200508130643\rPID|1|2590157853^^^SIM^MRN|2590157853^^^SIM^MRN~2478684691^^^NHSNBR^NHSNMBR||E^A",
	} {
		m, err := hl7.Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if p := s.p.decision(intake.Incoming{Link: "his", At: start, Message: m}).message(m); p != nil {
			t.Errorf("%s is refused: %s %v %v", m.Get("MSH-9"), p.location, p.why, p.err)
		}
	}
}

func TestHoweverManyOrdersAPatientHasAllFollowAMerge(t *testing.T) {
	s := open(t)
	s.must("AA", s.send("his", "A04", "20260714070000", ann))
	var all []uint64
	c := s.orders.Begin(s.now)
	for i := range 2*mostOrders + 20 {
		out, err := c.Apply(orders.Request{Action: orders.New, Control: "NW", Link: "his", Order: record.Order{
			Kind: record.LaboratoryOrder, Placer: record.OrderNumber{ID: fmt.Sprintf("M%d", i)}, Services: []record.Service{{Code: record.Coded{Code: "GLU"}}},
			Ordered: record.Person{Identifiers: []record.Identifier{mr("100", "BV")}},
		}})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, out.ID)
		if i%50 == 49 || i == 2*mostOrders+19 { // one commit does not take them all
			b := new(storage.Batch)
			err := c.Write(b)
			if err == nil {
				_, err = s.store.Commit(t.Context(), b)
			}
			if c.End(err); err != nil {
				t.Fatal(err)
			}
			c = s.orders.Begin(s.now)
		}
	}
	c.End(context.Canceled)
	check := func(want string) {
		t.Helper()
		for _, id := range all {
			if got := s.patientOf(id); got != want {
				t.Fatalf("order %d is for %s", id, got)
			}
		}
		if keys, err := s.store.Keys(pending, 0); err != nil || len(keys) != 0 {
			t.Errorf("left: %v %v", keys, err)
		}
	}
	s.must("AA", s.send("his", "A40", "20260714070100", binh, `MRG|100^^^BV^MR`))
	check("200@BV Trần Văn Bình 19750301 M")
	// The gateway dies after the commit of the unmerge, before all orders followed.
	m, err := hl7.Parse([]byte("MSH|^~\\&|HIS|BV|NHIP|BV|20260714070200||ADT^A37|X|P|2.5.1||||||UNICODE UTF-8\r" + ann + "\r" + binh + "\r"))
	if err != nil {
		t.Fatal(err)
	}
	b := new(storage.Batch)
	if d, err := s.p.Decide(t.Context(), intake.Incoming{Link: "his", At: s.now, Message: m}, b); err != nil || d.Verdict.Code != hl7.ApplicationAccept {
		t.Fatal(d, err)
	}
	if _, err := s.store.Commit(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	s.restart()
	if keys, err := s.store.Keys(pending, 0); err != nil || len(keys) != 1 {
		t.Fatalf("left: %v %v", keys, err)
	}
	if err := s.p.Settle(); err != nil {
		t.Fatal(err)
	}
	check("100@BV Nguyễn Thị Ánh 1960 F")
}
