package analyser

import (
	"slices"
	"strings"
	"testing"
	"time"

	"nhip/drivers/profile"
	"nhip/gateway/record"
	"nhip/hardware-sim/truth"
)

// The truth of a generated message is written beside its bytes, by hand. This
// holds it against what the gateway's own profiles read, so that a difference
// shows here and not as a "changed" in a demonstration.
func TestTheProfilesReadEveryModelAsItsTruthSays(t *testing.T) {
	profiles, err := profile.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	zone := time.FixedZone("", 7*3600)
	for name, model := range Models {
		p := profiles[name]
		if p == nil {
			t.Errorf("no profile %s", name)
			continue
		}
		log := truth.New(nil, time.Now)
		o := Options{Name: name, Model: model, Seed: 3, Start: time.Date(2026, 1, 14, 8, 0, 0, 0, zone), To: []string{"lis"}, Every: time.Second}
		for n := range 120 {
			m := o.Message(n)
			log.Offer(m.Truth)
			log.Acknowledge(m.Truth.ID)
			x, err := p.Extract(m.Bytes, zone)
			if err != nil || len(x.Reports) != 1 {
				t.Fatalf("%s message %d: %d reports, %v", name, n, len(x.Reports), err)
			}
			if x.Reports[0].Control {
				continue
			}
			log.Arrive(arrival(m.Truth.ID, x.Reports[0]))
		}
		r := log.Report()
		if !r.Good() || name == "sysmex-xn-l" && r.Consumed != 4 {
			t.Errorf("%s: %+v\n%v", name, r.Counts, r.Differences[:min(5, len(r.Differences))])
		}
	}
}

func arrival(name string, r record.Report) truth.Delivery {
	d := truth.Delivery{Kind: truth.ORU, Destination: "lis", Key: r.Specimen.ID, Name: name, Outcome: truth.Accepted}
	if p := r.Patient; p != nil {
		words := slices.DeleteFunc([]string{p.Name.Family, p.Name.Given, p.Name.Middle}, func(s string) bool { return s == "" })
		slices.Sort(words)
		d.Patient = strings.TrimSpace(p.ID + " " + strings.Join(words, " "))
	}
	for _, x := range r.Results {
		d.Results = append(d.Results, truth.Result{Code: x.Code, Value: x.Value, Unit: x.Unit, Flag: x.Flag, Status: x.Status, Times: []time.Time{x.Observed.At}})
	}
	return d
}
