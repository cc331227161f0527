package interpret

import (
	"strings"
	"testing"
	"time"

	"nhip/gateway/delivery"
	"nhip/gateway/intake"
	"nhip/gateway/lis"
	"nhip/gateway/orders"
	"nhip/gateway/record"
	"nhip/gateway/route"
	"nhip/storage"
)

// training is a result of an analyser that is held until a person releases it.
const training = "MSH|^~\\&|BC-5380|Mindray|||20260114081500||ORU^R01|7|T|2.3.1||||||UNICODE UTF-8\r" +
	"PID|1||PT-1^^^^MR||NGUYEN^AN\rOBR|1||S-9|00001^Automated Count^99MRC\rOBX|1|NM|6690-2^WBC^LN||6.41|10*9/L|||||F\r"

// release lets a person release what is held.
func (r *rig) release() {
	r.t.Helper()
	items, err := r.s.Items(intake.HeldQueue, 0, 0)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, it := range items {
		b := new(storage.Batch)
		b.Remove(intake.HeldQueue, it.Seq)
		b.EnqueueRef(intake.Interpret, it.Group, intake.Again, it.About...)
		b.Add(intake.CountHeld, -1)
		b.Add(intake.CountQueued, 1)
		if _, err := r.s.Commit(r.t.Context(), b); err != nil {
			r.t.Fatal(err)
		}
	}
}

func pidOf(body string) string {
	for _, s := range strings.Split(body, "\r") {
		if strings.HasPrefix(s, "PID") {
			return s
		}
	}
	return ""
}

func TestAHeldResultThatIsReleasedAfterAMergeIsTheSurvivors(t *testing.T) {
	within(t, func(t *testing.T, r *rig) {
		merged := false
		survivor := record.Person{Identifiers: []record.Identifier{{Value: "200", Authority: "BV", Type: "MR"}}, Name: record.Name{Family: "Trần Văn Bình"}, Birth: "1975"}
		r.w.Knows.Merged = func(_, number string) (record.Person, bool) { return survivor, merged && number == "PT-1" }
		if _, err := r.in.HL7(t.Context(), "bc-1", "a", "7", []byte(training), nil, []byte("AA")); err != nil {
			t.Fatal(err)
		}
		r.astm("xn-1", xn)
		r.interpret()
		_, before := r.queued("lis")
		if len(before) != 1 || pidOf(before[0]) != "PID|1||PT-1||NGUYEN^AN||19870626|F" || r.s.Depth(intake.HeldQueue) != 1 {
			t.Fatalf("%d held, queued %q", r.s.Depth(intake.HeldQueue), before)
		}
		merged = true
		r.release()
		r.astm("xn-1", strings.Replace(xn, "PT-1", "PT-2", 1))
		r.interpret()
		_, after := r.queued("lis")
		if len(after) != 3 {
			t.Fatalf("%d messages", len(after))
		}
		if after[0] != before[0] {
			t.Errorf("what was rendered before the merge has changed:\n%s\n%s", before[0], after[0])
		}
		if got := pidOf(after[1]); got != "PID|1||200^^^BV^MR||Trần Văn Bình||1975" {
			t.Errorf("the released result is %s's", got)
		}
		if got := pidOf(after[2]); got != "PID|1||PT-2||NGUYEN^AN||19870626|F" {
			t.Errorf("another patient's result is %s's", got)
		}
	})
}

func TestADestinationGetsResultsInItsForm(t *testing.T) {
	within(t, func(t *testing.T, r *rig) {
		r.w.Knows.Renderings = map[string]Rendering{"lis": {Form: lis.FormOUL, Structured: true}}
		r.astm("xn-1", strings.Replace(xn, "> 20", ">20", 1))
		r.interpret()
		items, bodies := r.queued("lis")
		if len(items) != 1 || items[0].What != "OUL^R22" || !strings.Contains(bodies[0], "||OUL^R22^OUL_R22|") || !strings.Contains(bodies[0], "\rOBX|2|SN|HGB^") || !strings.Contains(bodies[0], "|>^20|") {
			t.Errorf("%+v %q", items, bodies)
		}
	})
}

// ordered is an order with two services.
func ordered(states ...record.ServiceState) orders.Entry {
	e := orders.Entry{ID: 7, Version: 1, Link: "his", Order: record.Order{
		Kind: record.LaboratoryOrder, Placer: record.OrderNumber{ID: "P1"},
		Patient: record.Person{Identifiers: []record.Identifier{{Value: "100", Authority: "BV"}}},
	}}
	for i, s := range states {
		e.Order.Services = append(e.Order.Services, record.Service{ID: i + 1, State: s, Progress: record.Received, Code: record.Coded{Code: "T" + string(rune('1'+i))}})
	}
	return e
}

func TestTheStateOfAnOrderIsToldOnceForEachThatChanged(t *testing.T) {
	within(t, func(t *testing.T, r *rig) {
		now := ordered(record.Open, record.Open)
		to := []StatusTo{
			{Destination: route.Destination{Name: "lis", Kind: route.HL7}, Form: lis.FormORM},
			{Destination: route.Destination{Name: "ris", Kind: route.HL7}, Form: lis.FormOML, Links: []string{"other"}},
		}
		r.w.Knows.Status = to
		r.w.Knows.Zone = time.FixedZone("", 7*3600)
		r.w.Knows.Order = func(id uint64) (orders.Entry, bool, error) { return now, id == 7, nil }
		change := func(before, after orders.Entry) {
			note := StatusNote(to, before, after)
			now = after
			if note == nil {
				return
			}
			b := new(storage.Batch)
			if err := r.in.Noted(b, intake.KindStatus, intake.OrdersConnection, note); err != nil {
				t.Fatal(err)
			}
			if _, err := r.s.Commit(t.Context(), b); err != nil {
				t.Fatal(err)
			}
		}
		first := ordered(record.Open, record.Open)
		change(orders.Entry{}, first)
		begun := ordered(record.Open, record.Open)
		begun.Order.Services[0].Progress = record.Begun
		change(first, begun)
		moved := ordered(record.Open, record.Open) // the patient, and nothing else
		moved.Order.Services[0].Progress = record.Begun
		moved.Order.Patient.Identifiers[0].Value = "200"
		change(begun, moved)
		done := ordered(record.Completed, record.Cancelled)
		done.Order.Patient = moved.Order.Patient
		change(moved, done)
		r.interpret()
		items, bodies := r.queued("lis")
		want := []string{"T1 SC T2 SC", "T1 IP", "T1 CM T2 CA"}
		if len(items) != len(want) || r.s.Depth(delivery.Queue("ris")) != 0 {
			t.Fatalf("%d messages, %d to the other", len(items), r.s.Depth(delivery.Queue("ris")))
		}
		for i, b := range bodies {
			var got []string
			var status string
			for _, s := range strings.Split(b, "\r") {
				f := strings.Split(s, "|")
				switch f[0] {
				case "ORC":
					status = f[5]
				case "OBR":
					got = append(got, f[4], status)
				}
			}
			if strings.Join(got, " ") != want[i] || items[i].What != "ORM^O01" || items[i].Group != items[0].Group {
				t.Errorf("message %d says %q, want %q (%+v)", i, got, want[i], items[i])
			}
			if p := pidOf(b); p != "PID|1||200^^^BV" {
				t.Errorf("message %d is about %s: not who the order is for now", i, p)
			}
		}
		r.counts("accepted=3 queued=3")
	})
}

func TestTheStateOfAnOrderThatIsGoneIsHeld(t *testing.T) {
	within(t, func(t *testing.T, r *rig) {
		r.w.Knows.Status = []StatusTo{{Destination: route.Destination{Name: "lis", Kind: route.HL7}, Form: lis.FormORM}}
		r.w.Knows.Order = func(uint64) (orders.Entry, bool, error) { return orders.Entry{}, false, nil }
		b := new(storage.Batch)
		if err := r.in.Noted(b, intake.KindStatus, intake.OrdersConnection, StatusNote(r.w.Knows.Status, orders.Entry{}, ordered(record.Open))); err != nil {
			t.Fatal(err)
		}
		if err := r.in.Noted(b, intake.KindStatus, intake.OrdersConnection, []byte(`{"ver":9}`)); err != nil {
			t.Fatal(err)
		}
		if _, err := r.s.Commit(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		r.interpret()
		if n := r.s.Depth(intake.HeldQueue); n != 2 {
			t.Errorf("%d held", n)
		}
		r.counts("accepted=2 held=2")
	})
}
