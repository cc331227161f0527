package orders

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"nhip/gateway/intake"
	"nhip/gateway/lis"
	"nhip/gateway/record"
	"nhip/gateway/ris"
	"nhip/hl7"
	"nhip/hl7/ack"
	"nhip/storage"
)

var hanoi = time.FixedZone("+07", 7*3600)

// A desk is an application on a store, which messages are sent to.
type desk struct {
	t     *testing.T
	store *storage.Store
	o     *Store
	in    *intake.Intake
	app   *Application
	link  Link
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	s, o := openStore(t, t.TempDir())
	t.Cleanup(func() { s.Close() })
	d := &desk{t: t, store: s, o: o, in: intake.New(s, slog.New(slog.DiscardHandler))}
	d.in.Now = func() time.Time { return at }
	d.link.Rules = ris.Rules{OrderRules: lis.OrderRules{Zone: hanoi, Authorities: lis.AuthorityRules{Link: "his"}}, Site: "bv"}
	d.app = &Application{Store: o, Link: func(string) Link { return d.link }}
	return d
}

// send gives the answer to a message, whose lines end with a line feed.
func (d *desk) send(lines string) *hl7.Message {
	d.t.Helper()
	m := message(d.t, lines)
	if !d.app.Takes(m) {
		d.t.Fatalf("not taken: %s", lines)
	}
	return d.answer(m)
}

func (d *desk) answer(m *hl7.Message) *hl7.Message {
	d.t.Helper()
	answer, _, err := d.in.Decided(context.Background(), d.app, intake.Incoming{Link: "his", Message: m}, nil,
		func(got intake.Decision, _ *storage.Batch) ([]byte, error) {
			a, _ := ack.Options{Mode: ack.Original}.Answer(m, got.Verdict, "A1", at, got.Segments)
			return a.Message, nil
		})
	if err != nil {
		d.t.Fatal(err)
	}
	a, err := hl7.Parse(answer)
	if err != nil {
		d.t.Fatal(err)
	}
	return a
}

func message(t testing.TB, lines string) *hl7.Message {
	t.Helper()
	m, err := hl7.Parse([]byte(strings.ReplaceAll(strings.TrimSpace(lines)+"\n", "\n", "\r")))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// said is what the answer says: MSA-1, then ORC-1 of each order, then the codes of ERR.
func said(a *hl7.Message) string {
	words := []string{a.Get("MSA-1")}
	for _, s := range a.Segments("ORC") {
		words = append(words, s.Get("1"))
	}
	for _, s := range a.Segments("ERR") {
		words = append(words, s.Get("3.1")+"@"+s.Get("2.1")+"-"+s.Get("2.3"))
	}
	return strings.Join(words, " ")
}

func (d *desk) wantSaid(lines, want string) *hl7.Message {
	d.t.Helper()
	a := d.send(lines)
	if got := said(a); got != want {
		d.t.Errorf("answered %q, want %q\n%s", got, want, strings.ReplaceAll(string(a.Bytes()), "\r", "\n"))
	}
	return a
}

const o21 = `MSH|^~\&|HIS|BV|NHIP|BV|20260114080000+0700||OML^O21^OML_O21|%ID%|P|2.5.1|||||||UNICODE UTF-8
PID|1||BN001^^^BV^MR||Nguyễn^Thị Ánh||19800101|F
PV1|1|O|KKB^P1
`

// head begins an OML^O21 of its own.
func head(id string) string { return strings.ReplaceAll(o21, "%ID%", id) }

func TestEveryOrderControlIsAnsweredForItsOrder(t *testing.T) {
	d := newDesk(t)
	a := d.wantSaid(head("1")+`ORC|NW|A1^HIS||G1^HIS|||||20260114075500+0700|||BS01^Trần^Văn Bình
TQ1|1||||||20260114090000+0700||S
OBR|1|A1^HIS||GLU^Glucose^L|||20260114074500+0700
SPM|1|T27^HIS||SER^Serum^HL70487
ORC|NW|A2^HIS||G1^HIS
OBR|2|A2^HIS||NA^Sodium^L
SPM|1|T27^HIS||SER`, "AA OK OK")
	if code, event, structure := a.Type(); code+event+structure != "ORLO22ORL_O22" {
		t.Errorf("answered by %s^%s^%s", code, event, structure)
	}
	if a.Get("PID-3.1") != "BN001" || a.Get("ORC[1]-5") != "SC" || a.Get("OBR[2]-4.1") != "NA" || a.Get("SPM[1]-2.1.1") != "T27" {
		t.Errorf("the answer does not say which orders it is of:\n%s", strings.ReplaceAll(string(a.Bytes()), "\r", "\n"))
	}
	want(t, codesOf(t, d.o, "T27"), "GLU", "NA")
	m, err := d.o.Specimen(SpecimenQuery{Specimen: "T27", At: at})
	if err != nil {
		t.Fatal(err)
	}
	if s := m[0].Service; s.Priority != "S" || !s.Collected.Equal(time.Date(2026, 1, 14, 7, 45, 0, 0, hanoi)) || s.Specimens[0].Type != "SER" {
		t.Errorf("the service is %+v", s)
	}
	if o := m[0].Entry.Order; o.Patient.Name.Family != "Nguyễn" || o.Orderer.Family != "Trần" || o.Stay.Location != "KKB P1" {
		t.Errorf("the order is %+v", o)
	}
	d.wantSaid(head("2")+"ORC|HD|A1^HIS", "AA HR")
	want(t, codesOf(t, d.o, "T27"), "NA")
	d.wantSaid(head("3")+"ORC|RL|A1^HIS", "AA OR")
	want(t, codesOf(t, d.o, "T27"), "GLU", "NA")
	d.wantSaid(head("4")+"ORC|XO|A2^HIS\nOBR|1|A2^HIS||K^Potassium^L\nSPM|1|T27^HIS", "AA XR")
	want(t, codesOf(t, d.o, "T27"), "GLU", "K")
	d.wantSaid(head("5")+"ORC|SC|A2^HIS|||CM", "AA OK")
	a = d.wantSaid(head("6")+"ORC|CA|A1^HIS", "AA CR")
	if a.Get("ORC-5") != "CA" {
		t.Errorf("ORC-5 of a cancelled order is %q", a.Get("ORC-5"))
	}
	d.wantSaid(head("7")+"ORC|CA|A1^HIS", "AA CR")
	d.wantSaid(head("8")+"ORC|DC|A2^HIS\nOBR|1|A2^HIS||K", "AE UD 207@ORC-2")
}

func TestWhatCannotBeDoneIsSaidWithItsPlaceAndTheRestIsDone(t *testing.T) {
	d := newDesk(t)
	a := d.wantSaid(head("1")+`ORC|NW|A1
OBR|1|A1||GLU^Glucose^L
SPM|1|T27
ORC|NW|A2
OBR|2|A2
ORC|CA|A3
ORC|ZZ|A4
ORC|XO|A1
OBR|3|A1||NA^Sodium^L
SPM|1|T27`, "AE OK UA UC UA XR 101@OBR-4 204@ORC-2 103@ORC-1")
	if got := a.Get("ERR[1]-2.2"); got != "2" {
		t.Errorf("the error is at OBR %q, it is at the second", got)
	}
	if a.Get("ERR[1]-4") != "E" || a.Get("ERR[1]-8") == "" {
		t.Error("the error has no severity or no words")
	}
	want(t, codesOf(t, d.o, "T27"), "NA")
	d.wantSaid(head("2"), "AE 100@ORC-")
	d.wantSaid(head("3")+"ORC|NW\nOBR|1|||GLU", "AE UA 101@ORC-2")
}

func TestCancelledOrderIsNotOpenedByWhatComesLate(t *testing.T) {
	d := newDesk(t)
	order := "\nOBR|1|A1||GLU^Glucose^L\nSPM|1|T27"
	d.wantSaid(head("1")+"ORC|CA|A1|||||||20260114100000", "AE UC 204@ORC-2")
	d.wantSaid(head("2")+"ORC|NW|A1|||||||20260114090000"+order, "AE UA 205@ORC-2")
	d.wantSaid(head("3")+"ORC|XO|A1|||||||20260114110000"+order, "AE UX 207@ORC-2")
	d.wantSaid(head("4")+"ORC|NW|A1"+order, "AE UA 205@ORC-2")
	want(t, codesOf(t, d.o, "T27"))
	d.wantSaid(head("5")+"ORC|NW|A1|||||||20260114110000"+order, "AA OK")
	want(t, codesOf(t, d.o, "T27"), "GLU")
	d.wantSaid(head("6")+"ORC|CA|A1|||||||20260114093000", "AA CR")
	want(t, codesOf(t, d.o, "T27"))
}

func TestOlderVersionIsRefused(t *testing.T) {
	d := newDesk(t)
	d.wantSaid(head("1")+"ORC|NW|A1|||||||20260114090000\nOBR|1|A1||GLU\nSPM|1|T27", "AA OK")
	d.wantSaid(head("2")+"ORC|XO|A1|||||||20260114093000\nOBR|1|A1||NA\nSPM|1|T27", "AA XR")
	d.wantSaid(head("3")+"ORC|XO|A1|||||||20260114091500\nOBR|1|A1||K\nSPM|1|T27", "AE UX 207@ORC-2")
	want(t, codesOf(t, d.o, "T27"), "NA")
	e, err := d.o.Find(Key{Placer: "A1"})
	if err != nil || len(e) != 1 {
		t.Fatal(e, err)
	}
	if e[0].Version != 2 || len(e[0].History) != 2 || e[0].History[1].Control != "XO" || e[0].History[1].MessageID != "2" {
		t.Errorf("the history is %+v", e[0].History)
	}
	was, ok, err := d.o.Was(e[0].ID, 1)
	if err != nil || !ok || was.Order.Services[0].Code.Code != "GLU" {
		t.Errorf("the first version is %+v, %v", was, err)
	}
}

func TestReplacementEndsTheOldOrderAndBeginsTheNew(t *testing.T) {
	d := newDesk(t)
	d.wantSaid(head("1")+"ORC|NW|A1\nOBR|1|A1||GLU\nSPM|1|T27", "AA OK")
	d.wantSaid(head("2")+"ORC|RP|A1\nORC|RO|A2\nOBR|1|A2||NA\nSPM|1|T27", "AA RQ OK")
	want(t, codesOf(t, d.o, "T27"), "NA")
	e, err := d.o.Find(Key{Placer: "A2"})
	if err != nil || len(e) != 1 || e[0].Order.Parent.ID != "A1" {
		t.Errorf("the new order is %+v, %v", e, err)
	}
	// Under its own number it is a change.
	d.wantSaid(head("3")+"ORC|RP|A2\nORC|RO|A2\nOBR|1|A2||K\nSPM|1|T27", "AA RQ OK")
	want(t, codesOf(t, d.o, "T27"), "K")
	// A replacement without the order that replaces it too.
	d.wantSaid(head("4")+"ORC|RP|A2\nOBR|1|A2||CL\nSPM|1|T27", "AA RQ")
	want(t, codesOf(t, d.o, "T27"), "CL")
}

func TestServicesUnderOneNumberAreCancelledOneByOne(t *testing.T) {
	d := newDesk(t)
	d.wantSaid(head("1")+"ORC|NW|A1\nOBR|1|A1||GLU\nSPM|1|T27\nOBR|2|A1||NA\nSPM|1|T27\nOBR|3|A1||K\nSPM|1|T27", "AA OK")
	d.wantSaid(head("2")+"ORC|CA|A1\nOBR|1|A1||NA", "AA CR")
	want(t, codesOf(t, d.o, "T27"), "GLU", "K")
	// A change leaves what it does not name, and does not bring back what was cancelled.
	d.wantSaid(head("3")+"ORC|XO|A1\nOBR|1|A1||NA\nSPM|1|T27\nOBR|2|A1||K\nSPM|1|T27\nOBR|3|A1||CL\nSPM|1|T27", "AA XR 207@OBR-4")
	want(t, codesOf(t, d.o, "T27"), "K", "CL")
	d.wantSaid(head("4")+"ORC|NW|A1\nOBR|1|A1||CREA\nSPM|1|T27", "AA OK")
	want(t, codesOf(t, d.o, "T27"), "K", "CL", "CREA")
	d.wantSaid(head("5")+"ORC|CA|A1", "AA CR")
	want(t, codesOf(t, d.o, "T27"))
}

func TestSpecimensBeforeTheOrder(t *testing.T) {
	d := newDesk(t)
	lines := strings.ReplaceAll(head("1"), "OML^O21^OML_O21", "OML^O33^OML_O33") + `SPM|1|T27^HIS&F27^LIS||SER
SAC|||C27
ORC|NW|A1
OBR|1|A1||GLU
ORC|NW|A2
OBR|2|A2||NA
SPM|2|T28||BLD
ORC|NW|A3
OBR|3|A3||WBC`
	a := d.wantSaid(lines, "AA OK OK OK")
	if code, event, _ := a.Type(); code+event != "ORLO34" {
		t.Errorf("answered by %s^%s", code, event)
	}
	var order []string
	for _, s := range a.Segments("SPM", "ORC") {
		order = append(order, s.Name)
	}
	if got := strings.Join(order, " "); got != "SPM ORC ORC SPM ORC" {
		t.Errorf("the answer has %s", got)
	}
	want(t, codesOf(t, d.o, "T27"), "GLU", "NA")
	want(t, codesOf(t, d.o, "C27"), "GLU", "NA")
	want(t, codesOf(t, d.o, "T28"), "WBC")
	d2 := newDesk(t)
	d2.wantSaid(strings.ReplaceAll(lines, "O33", "O35"), "AA OK OK OK")
	want(t, codesOf(t, d2.o, "C27"), "GLU", "NA")
}

func TestSpecimenIsWhereTheLinkSays(t *testing.T) {
	for _, c := range []struct {
		rule []string
		want string
	}{{nil, "F9"}, {[]string{"OBR-2"}, "A1"}, {[]string{"SPM-2", "ORC-4"}, "G7"}, {[]string{"OBR-18"}, "B18"}} {
		d := newDesk(t)
		d.link.Rules.Specimen = c.rule
		d.wantSaid(strings.ReplaceAll(head("1"), "OML^O21^OML_O21", "ORM^O01")+"ORC|NW|A1||G7\nOBR|1|A1|F9|GLU||||||||||||||B18", "AA OK")
		want(t, codesOf(t, d.o, c.want), "GLU")
		d.store.Close()
	}
}

func TestGeneralOrderOfOldVersions(t *testing.T) {
	for _, version := range []string{"2.3", "2.3.1", "2.4", "2.8"} {
		d := newDesk(t)
		lines := strings.NewReplacer("OML^O21^OML_O21", "ORM^O01", "2.5.1", version).Replace(head("1")) +
			"ORC|NW|A1||G|||^^^20260114090000^^S\nOBR|1|A1|S55|GLU^Glucose|||||||||||||||||||||CH"
		a := d.send(lines)
		if code, event, _ := a.Type(); code+event != "ORRO02" || a.Get("MSA-1") != "AA" || a.Get("ORC-1") != "OK" {
			t.Errorf("%s: answered %s", version, a.Bytes())
		}
		m, err := d.o.Specimen(SpecimenQuery{Specimen: "S55", At: at})
		if err != nil || len(m) != 1 || m[0].Service.Priority != "S" || m[0].Entry.Order.Kind != record.LaboratoryOrder {
			t.Errorf("%s: %+v %v", version, m, err)
		}
		a = d.send(strings.NewReplacer("OML^O21^OML_O21", "ORM^O01", "2.5.1", version).Replace(head("2")) + "ORC|ZZ|A1")
		where, code := "ERR-1.1", "ERR-1.4.1"
		if a.AtLeast(2, 5) {
			where, code = "ERR-2.1", "ERR-3.1"
		}
		if a.Get(where) != "ORC" || a.Get(code) != "103" || a.Get("MSA-1") != "AE" {
			t.Errorf("%s: the error is %s", version, a.Bytes())
		}
		d.store.Close()
	}
}

func TestOrdersWithTheFillersNumberAndWithNone(t *testing.T) {
	d := newDesk(t)
	d.wantSaid(head("1")+"ORC|NW||F1^LIS\nOBR|1||F1^LIS|GLU\nSPM|1|T27", "AA OK")
	d.wantSaid(head("2")+"ORC|NW|||G1\nOBR|1|||NA\nSPM|1|T27\nORC|NW|||G1\nOBR|2|||K\nSPM|1|T27", "AA OK OK")
	want(t, codesOf(t, d.o, "T27"), "GLU", "NA", "K")
	d.wantSaid(head("3")+"ORC|CA||F1^LIS", "AA CR")
	d.wantSaid(head("4")+"ORC|CA|||G1\nOBR|1|||NA\nSPM|1|T27", "AA CR")
	want(t, codesOf(t, d.o, "T27"), "K")
	// One number of another system is another order.
	d.wantSaid(head("5")+"ORC|NW|N1^X\nOBR|1|N1^X||CL\nSPM|1|T28\nORC|NW|N1^Y\nOBR|1|N1^Y||CREA\nSPM|1|T28", "AA OK OK")
	d.wantSaid(head("6")+"ORC|CA|N1^Y", "AA CR")
	want(t, codesOf(t, d.o, "T28"), "CL")
}

func TestPriorResultsAreNoOrders(t *testing.T) {
	d := newDesk(t)
	d.wantSaid(head("1")+`ORC|NW|A1
OBR|1|A1||GLU
SPM|1|T27
PID|1||BN001
ORC|RE|OLD
OBR|2|OLD||HBA1C|||||||||||||||||||||F
OBX|1|NM|HBA1C||6.1|%|||||F`, "AA OK")
	if e, err := d.o.Find(Key{Placer: "OLD"}); err != nil || len(e) > 0 {
		t.Errorf("a prior result became an order: %+v, %v", e, err)
	}
}

func TestOtherOrdersAreLeftToDestinations(t *testing.T) {
	app := &Application{}
	for lines, takes := range map[string]bool{
		"MSH|^~\\&|||||||ORM^O01|1|P|2.3\nORC|NW|1\nOBR|1|||X": true,
		"MSH|^~\\&|||||||ORM^O01|1|P|2.3\nORC|NW|1\nRXO|AMOX":  false,
		"MSH|^~\\&|||||||OMD^O03|1|P|2.5\nORC|NW|1\nODS|D":     false,
		"MSH|^~\\&|||||||ORU^R01|1|P|2.5\nORC|RE|1\nOBR|1|||X": false,
		"MSH|^~\\&|||||||OMI^O23|1|P|2.7\nORC|CA|1":            true,
		"MSH|^~\\&|||||||OML^O21|1|P|2.5\nORC|NW|1\nOBR|1|||X": true,
	} {
		if got := app.Takes(message(t, lines)); got != takes {
			t.Errorf("takes %v: %q", got, lines)
		}
	}
}

// The public samples, where they are there: every order message that INDEX.md calls
// valid is answered positively.
func TestSamplesOfOrders(t *testing.T) {
	const folder = "../../../shared/samples/hl7/"
	index, err := os.ReadFile(folder + "INDEX.md")
	if err != nil {
		t.Skip("the samples are not here")
	}
	n := 0
	for _, row := range strings.Split(string(index), "\n") {
		cells := strings.Split(row, "|")
		if len(cells) < 4 || strings.TrimSpace(cells[2]) != "valid" {
			continue
		}
		b, err := os.ReadFile(folder + strings.TrimSpace(cells[1]))
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range hl7.Split(b) {
			m, err := hl7.Parse(one)
			if err != nil || m.IsAcknowledgement() {
				continue
			}
			d := newDesk(t)
			if d.app.Takes(m) {
				n++
				if got := said(d.answer(m)); !strings.HasPrefix(got, "AA") {
					t.Errorf("%s: %s", cells[1], got)
				}
			}
			d.store.Close()
		}
	}
	if n < 15 {
		t.Errorf("only %d orders", n)
	}
}

// Several ORC of a message under one number, each with its OBR, are one order.
func TestOrderControlsUnderOneNumberAreOneChange(t *testing.T) {
	d := newDesk(t)
	two := func(id, control, first, second string) string {
		return head(id) + "ORC|" + control + "|P1\nTQ1|1\nOBR|1|P1||" + first + "\nSPM|1|T27\nORC|" + control + "|P1\nOBR|2|P1||" + second + "\nSPM|1|T27"
	}
	d.wantSaid(two("1", "NW", "GLU", "NA"), "AA OK OK")
	want(t, codesOf(t, d.o, "T27"), "GLU", "NA")
	d.wantSaid(two("2", "XO", "GLU", "HBA1C"), "AA XR XR")
	want(t, codesOf(t, d.o, "T27"), "GLU", "HBA1C")
	if e, err := d.o.Find(Key{Placer: "P1"}); err != nil || len(e) != 1 || e[0].Version != 2 {
		t.Errorf("%+v, %v", e, err)
	}
	d.wantSaid(head("3")+"ORC|RP|P1\nORC|RP|P1\nORC|RO|P1\nOBR|1|P1||K\nSPM|1|T27\nORC|RO|P1\nOBR|2|P1||CL\nSPM|1|T27", "AA RQ RQ OK OK")
	want(t, codesOf(t, d.o, "T27"), "K", "CL")
	d.wantSaid(head("4")+"ORC|RP|P1\nORC|RO|P2\nOBR|1|P2||CREA\nSPM|1|T27\nORC|RO|P2\nOBR|2|P2||UREA\nSPM|1|T27", "AA RQ OK OK")
	want(t, codesOf(t, d.o, "T27"), "CREA", "UREA")
	d.wantSaid(two("5", "CA", "X", "Y"), "AE UC UC 204@ORC-2 204@ORC-2")
	d.wantSaid(strings.ReplaceAll(two("6", "CA", "CREA", "UREA"), "P1", "P2"), "AA CR CR")
	want(t, codesOf(t, d.o, "T27"))
}

// A message goes on to destinations where something of it was done: one that failed
// as a whole ends here.
func TestWhatFailedGoesOnToNobody(t *testing.T) {
	d := newDesk(t)
	d.link.Passes = true
	order := "ORC|NW|A1\nOBR|1|A1||GLU\nSPM|1|T27"
	for _, c := range []struct{ lines, want string }{
		{order, ""}, {order + "\nORC|CA|A9", ""}, {"ORC|CA|A9", Consumed}, {"ORC|ZZ|A1", Consumed}, {"", Consumed},
	} {
		b := new(storage.Batch)
		got, err := d.app.Decide(t.Context(), intake.Incoming{Link: "his", Message: message(t, head("1")+c.lines), At: at}, b)
		if err != nil {
			t.Fatal(err)
		}
		if got.End != nil {
			got.End(storage.Receipt{}, storage.ErrDiskFull)
		}
		if got.Consumed != c.want {
			t.Errorf("%q: %q, want %q", c.lines, got.Consumed, c.want)
		}
	}
}

// A message that orders more than one commit holds is refused as a whole, and leaves
// nothing; the most ORC of a message are one commit.
func TestALargeMessageIsOneCommitOrNone(t *testing.T) {
	d := newDesk(t)
	several := func(id string, orders, specimens int) string {
		var b strings.Builder
		b.WriteString(head(id))
		for i := range orders {
			fmt.Fprintf(&b, "ORC|NW|%s-%d\nOBR|%d|%s-%d||T%d\n", id, i, i+1, id, i, i)
			for s := range specimens {
				fmt.Fprintf(&b, "SPM|%d|S%s-%d-%d\n", s+1, id, i, s)
			}
		}
		return b.String()
	}
	d.wantSaid(several("1", lis.MostOrders, 1), "AA"+strings.Repeat(" OK", lis.MostOrders))
	d.wantSaid(several("2", lis.MostOrders+1, 1), "AE 198@ORC-")
	d.wantSaid(several("3", lis.MostOrders, 9), "AE 104@ORC-")
	if n := d.o.Open(); n != lis.MostOrders {
		t.Errorf("%d are open", n)
	}
	if keys, err := d.store.Keys(prefixOf, 0); err != nil || len(keys) != lis.MostOrders {
		t.Errorf("%d are kept, %v", len(keys), err)
	}
}
