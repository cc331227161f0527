package truth

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

var start = time.Date(2026, 1, 14, 8, 15, 0, 0, time.UTC)

func wbc(value string) []Result {
	return []Result{{Code: "WBC", Value: value, Unit: "10*3/uL", Flag: "N", Status: "F", Times: []time.Time{start}}}
}

func message(id, specimen string, to ...string) Item {
	return Item{Kind: ORU, ID: id, Source: "xn-1", Key: specimen, To: to, Results: wbc("6.41")}
}

func oru(name, specimen string, outcome Outcome) Delivery {
	return Delivery{Kind: ORU, Destination: "lis", Key: specimen, Name: name, Digest: "d" + name, Results: wbc("6.41"), Outcome: outcome}
}

// Each rule of the package documentation, one row.
func TestTheRulesOfTheComparison(t *testing.T) {
	with := func(d Delivery, f func(*Delivery)) Delivery { f(&d); return d }
	for _, c := range []struct {
		name string
		do   func(*Log)
		want Counts
	}{
		{"delivered", func(l *Log) {
			l.Offer(message("xn-1/1", "27", "lis"))
			l.Acknowledge("xn-1/1")
			l.Arrive(oru("M1", "27", Accepted))
		}, Counts{Received: 1, Delivered: 1}},
		{"arrived before the acknowledgement was seen", func(l *Log) {
			l.Offer(message("xn-1/1", "27", "lis"))
			l.Arrive(oru("M1", "27", Accepted))
			l.Acknowledge("xn-1/1")
		}, Counts{Received: 1, Delivered: 1}},
		{"never acknowledged", func(l *Log) {
			l.Offer(message("xn-1/1", "27", "lis"))
		}, Counts{Unaccepted: 1}},
		{"lost", func(l *Log) {
			l.Offer(message("xn-1/1", "27", "lis"))
			l.Acknowledge("xn-1/1")
		}, Counts{Received: 1, Lost: 1}},
		{"unanswered is lost", func(l *Log) {
			l.Offer(message("xn-1/1", "27", "lis"))
			l.Acknowledge("xn-1/1")
			l.Arrive(oru("M1", "27", Unanswered))
		}, Counts{Received: 1, Lost: 1}},
		{"refused at last is held", func(l *Log) {
			l.Offer(message("xn-1/1", "27", "lis"))
			l.Acknowledge("xn-1/1")
			l.Arrive(oru("M1", "27", Unanswered))
			l.Arrive(oru("M1", "27", Refused))
		}, Counts{Received: 1, Held: 1, Repeats: 1}},
		{"refused, then accepted", func(l *Log) {
			l.Offer(message("xn-1/1", "27", "lis"))
			l.Acknowledge("xn-1/1")
			l.Arrive(oru("M1", "27", Refused))
			l.Arrive(oru("M1", "27", Accepted))
		}, Counts{Received: 1, Delivered: 1, Repeats: 1}},
		{"at one of two destinations", func(l *Log) {
			l.Offer(message("xn-1/1", "27", "lis", "his"))
			l.Acknowledge("xn-1/1")
			l.Arrive(oru("M1", "27", Accepted))
		}, Counts{Received: 1, Lost: 1}},
		{"again under the same name", func(l *Log) {
			l.Offer(message("xn-1/1", "27", "lis"))
			l.Acknowledge("xn-1/1")
			l.Arrive(oru("M1", "27", Accepted))
			l.Arrive(oru("M1", "27", Accepted))
		}, Counts{Received: 1, Delivered: 1, Repeats: 1}},
		{"the same name with other bytes", func(l *Log) {
			l.Offer(message("xn-1/1", "27", "lis"))
			l.Acknowledge("xn-1/1")
			l.Arrive(oru("M1", "27", Accepted))
			l.Arrive(with(oru("M1", "27", Accepted), func(d *Delivery) { d.Digest = "other" }))
		}, Counts{Received: 1, Delivered: 1, Repeats: 1, Changed: 1}},
		{"doubled", func(l *Log) {
			l.Offer(message("xn-1/1", "27", "lis"))
			l.Acknowledge("xn-1/1")
			l.Arrive(oru("M1", "27", Accepted))
			l.Arrive(oru("M2", "27", Accepted))
		}, Counts{Received: 1, Delivered: 1, Doubled: 1}},
		{"sent again by the device", func(l *Log) {
			l.Offer(message("xn-1/1", "27", "lis"))
			l.Resend("xn-1/1")
			l.Acknowledge("xn-1/1")
			l.Arrive(oru("M1", "27", Accepted))
			l.Arrive(oru("M2", "27", Accepted))
		}, Counts{Received: 1, Delivered: 1, Resends: 1}},
		{"value changed", func(l *Log) {
			l.Offer(message("xn-1/1", "27", "lis"))
			l.Acknowledge("xn-1/1")
			l.Arrive(with(oru("M1", "27", Accepted), func(d *Delivery) { d.Results = wbc("6.410") }))
		}, Counts{Received: 1, Delivered: 1, Changed: 1}},
		{"time changed", func(l *Log) {
			l.Offer(message("xn-1/1", "27", "lis"))
			l.Acknowledge("xn-1/1")
			l.Arrive(with(oru("M1", "27", Accepted), func(d *Delivery) { d.Results[0].Times = []time.Time{start.Add(7 * time.Hour)} }))
		}, Counts{Received: 1, Delivered: 1, Changed: 1}},
		{"patient changed", func(l *Log) {
			m := message("xn-1/1", "27", "lis")
			m.Patient = "37182 An Nguyen"
			l.Offer(m)
			l.Acknowledge("xn-1/1")
			l.Arrive(with(oru("M1", "27", Accepted), func(d *Delivery) { d.Patient = "37183 An Nguyen" }))
		}, Counts{Received: 1, Delivered: 1, Changed: 1}},
		{"specimen changed", func(l *Log) {
			l.Offer(message("xn-1/1", "27", "lis"))
			l.Acknowledge("xn-1/1")
			l.Arrive(oru("M1", "0027", Accepted))
		}, Counts{Received: 1, Lost: 1, Changed: 1}},
		{"result added", func(l *Log) {
			l.Offer(message("xn-1/1", "27", "lis"))
			l.Acknowledge("xn-1/1")
			l.Arrive(with(oru("M1", "27", Accepted), func(d *Delivery) { d.Results = append(d.Results, Result{Code: "RBC"}) }))
		}, Counts{Received: 1, Delivered: 1, Changed: 1}},
		{"result dropped", func(l *Log) {
			l.Offer(message("xn-1/1", "27", "lis"))
			l.Acknowledge("xn-1/1")
			l.Arrive(with(oru("M1", "27", Accepted), func(d *Delivery) { d.Results = nil }))
		}, Counts{Received: 1, Delivered: 1, Changed: 1}},
		{"optional result dropped", func(l *Log) {
			m := message("xn-1/1", "27", "lis")
			m.Results[0].Optional = true
			l.Offer(m)
			l.Acknowledge("xn-1/1")
			l.Arrive(with(oru("M1", "27", Accepted), func(d *Delivery) { d.Results = nil }))
		}, Counts{Received: 1, Delivered: 1}},
		{"control material is consumed", func(l *Log) {
			l.Offer(message("xn-1/1", "QC-1"))
			l.Acknowledge("xn-1/1")
		}, Counts{Consumed: 1}},
		{"control material in the patient lane", func(l *Log) {
			l.Offer(message("xn-1/1", "QC-1"))
			l.Acknowledge("xn-1/1")
			l.Arrive(oru("M1", "QC-1", Accepted))
		}, Counts{Consumed: 1, Changed: 1}},
		{"bytes of a data set changed", func(l *Log) {
			l.Offer(Item{Kind: Instance, ID: "1.2.3", Key: "1.2.3", To: []string{"pacs"}, Digest: "aa"})
			l.Acknowledge("1.2.3")
			l.Arrive(Delivery{Kind: Instance, Destination: "pacs", Key: "1.2.3", Name: "1.2.3", Digest: "bb", Outcome: Accepted})
		}, Counts{Received: 1, Delivered: 1, Changed: 1}},
		{"out of order", func(l *Log) {
			for _, id := range []string{"erba/1", "erba/2"} {
				m := message(id, "27", "lis")
				m.Results[0].Code = id
				l.Offer(m)
				l.Acknowledge(id)
			}
			for _, id := range []string{"erba/2", "erba/1"} {
				l.Arrive(with(oru("M"+id, "27", Accepted), func(d *Delivery) { d.Results[0].Code = id }))
			}
		}, Counts{Received: 2, Delivered: 2, OutOfOrder: 1}},
		{"again under the same name, where it was accepted", func(l *Log) {
			l.Offer(message("xn-1/1", "27", "lis"))
			l.Acknowledge("xn-1/1")
			on := func(connection int64, o Outcome) {
				l.Arrive(with(oru("M1", "27", o), func(d *Delivery) { d.Connection = connection }))
			}
			on(1, Unanswered)
			on(1, Accepted) // the first had no answer
			on(2, Accepted) // its answer may not have come
			on(2, Accepted)
		}, Counts{Received: 1, Delivered: 1, Repeats: 3, Doubled: 1}},
		{"not watched", func(l *Log) {
			l.Offer(message("xn-1/1", "27", "lis"))
			l.Acknowledge("xn-1/1")
			l.ExcuseOutstanding(ORU, "the subscriber was away")
		}, Counts{Unseen: 1}},
		{"what the destination itself finds wrong", func(l *Log) {
			l.Offer(message("xn-1/1", "27", "lis"))
			l.Acknowledge("xn-1/1")
			l.Arrive(with(oru("M1", "27", Accepted), func(d *Delivery) { d.Faults = []string{"SPM-2 is not OBR-3"} }))
		}, Counts{Received: 1, Delivered: 1, Changed: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := New(nil, func() time.Time { return start })
			c.do(l)
			r := l.Report()
			if r.Counts != c.want {
				t.Errorf("got  %+v\nwant %+v\n%v", r.Counts, c.want, r.Differences)
			}
			bad := c.want.Lost + c.want.Doubled + c.want.Changed + c.want.OutOfOrder
			if r.Good() != (bad == 0 && c.want.Received > 0) {
				t.Errorf("Good is %v", r.Good())
			}
			if bad > 0 != (len(r.Differences) > 0) {
				t.Errorf("differences: %v", r.Differences)
			}
		})
	}
}

func TestOneSpecimenOfManyMessagesIsMatchedByItsCodes(t *testing.T) {
	l := New(nil, func() time.Time { return start })
	for _, code := range []string{"GLU", "TP", "ALB"} {
		l.Offer(Item{Kind: ORU, ID: code, Source: "erba", Key: "27", To: []string{"lis"}, Results: []Result{{Code: code, Value: "1"}}})
		l.Acknowledge(code)
	}
	for _, code := range []string{"GLU", "TP", "ALB"} {
		l.Arrive(Delivery{Kind: ORU, Destination: "lis", Key: "27", Name: "M" + code, Results: []Result{{Code: code, Value: "1"}}, Outcome: Accepted})
	}
	if r := l.Report(); r.Delivered != 3 || !r.Good() {
		t.Errorf("%+v %v", r.Counts, r.Differences)
	}
}

func TestLatencyIsFromAcknowledgementToAcceptance(t *testing.T) {
	now := start
	l := New(nil, func() time.Time { return now })
	for n, after := range []time.Duration{10, 20, 1000} {
		id := string(rune('a' + n))
		l.Offer(message(id, id, "lis"))
		l.Acknowledge(id)
		now = now.Add(after * time.Millisecond)
		l.Arrive(oru("M"+id, id, Accepted))
	}
	if got, want := l.Report().LatencyMS, (Latency{20, 1000}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestEveryEventIsALineOfTheLog(t *testing.T) {
	var b bytes.Buffer
	l := New(&b, func() time.Time { return start })
	l.Offer(message("xn-1/1", "27", "lis"))
	l.Acknowledge("xn-1/1")
	l.Arrive(oru("M1", "27", Accepted))
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	if len(lines) != 3 || l.Err() != nil {
		t.Fatalf("%d lines, error %v", len(lines), l.Err())
	}
	for _, s := range lines {
		if !json.Valid([]byte(s)) {
			t.Errorf("not JSON: %s", s)
		}
	}
}
