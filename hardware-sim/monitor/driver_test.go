package monitor

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	driver "nhip/drivers/monitor"
	"nhip/gateway/record"
	"nhip/hardware-sim/truth"
	"nhip/hl7"
)

// The truth of what a monitor sends is written beside its bytes. This holds it
// against what the gateway's own drivers read, so that a difference shows here
// and not as a "changed" in a demonstration.
func TestTheDriversReadWhatTheTruthSays(t *testing.T) {
	log := truth.New(nil, time.Now)
	o := options(log, 0)
	source := driver.Source{Device: record.Device{Connection: o.Name}, Zone: o.Zone}
	var read []record.Observation
	take := func(items []truth.Item, r driver.Reading) {
		for _, i := range items {
			log.Offer(i)
			log.Acknowledge(i.ID)
		}
		read = append(read, r.Observations...)
	}
	m := New(o)
	for n := range 20 {
		p := m.message(n, time.Unix(1768353300, 250e6).Add(time.Duration(n)*time.Second))
		parsed, err := hl7.Parse(p.bytes)
		if err != nil {
			t.Fatal(err)
		}
		r, err := driver.ORU(parsed, source)
		if err != nil || len(r.Problems) > 0 {
			t.Fatal(err, r.Problems)
		}
		take(p.items, r)
	}
	profile, _ := driver.Lookup("masimo-ascii1")
	lines := profile.Lines(source)
	lines.Receive([]byte("\r\n"))
	x := NewOximeter(o)
	for n := range 20 {
		text, items := x.line(100+n, time.Unix(1768353400+int64(n), 0).In(o.Zone))
		for _, l := range lines.Receive([]byte(text)) {
			if l.Kind != driver.LineReading {
				t.Fatalf("line of kind %d: %s", l.Kind, l.Raw)
			}
			take(items, l.Reading)
		}
	}
	for n, r := range read {
		if r.Value == "" {
			continue
		}
		log.Arrive(truth.Delivery{
			Kind: truth.Observation, Destination: "mqtt", Key: key(o.Name, r.Code, r.Observed.At), Name: fmt.Sprint(n), Outcome: truth.Accepted,
			Results: []truth.Result{{Code: strconv.Itoa(r.Code), Value: r.Value, Unit: unit(r.UCUM), Status: string(r.State)}},
		})
	}
	if r := log.Report(); !r.Good() || r.Received != 20*(len(metrics)+len(oximetry)) {
		t.Errorf("%+v\n%v", r.Counts, r.Differences[:min(5, len(r.Differences))])
	}
}
