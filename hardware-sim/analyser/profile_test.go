package analyser

import (
	"fmt"
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
		if !model.MakesUp() {
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

// The same of what a model reports of the work that it was told.
func TestTheProfilesReadEveryReportAsItsTruthSays(t *testing.T) {
	profiles, err := profile.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 1, 14, 8, 0, 0, 0, time.FixedZone("", 7*3600))
	for name, model := range Models {
		if !model.TwoWay() {
			continue
		}
		log := truth.New(nil, time.Now)
		run := Run{Specimen: "2601140017", Patient: "4711", Tests: []Measured{{"11", "1.001"}, {"12", "12.002"}}, At: at, Number: 3}
		if name == "sysmex-xn-l" {
			run.Tests[0].Code, run.Tests[1].Code = "WBC", "HGB"
		}
		for n, m := range model.Report(run) {
			m.Truth.ID, m.Truth.To = fmt.Sprint(n), []string{"lis"}
			x, err := profiles[name].Extract(m.Bytes, at.Location())
			if err != nil || len(x.Reports) != 1 {
				t.Fatalf("%s: %d reports, %v", name, len(x.Reports), err)
			}
			if p := x.Reports[0].Patient; p != nil {
				m.Truth.Patient = p.ID
			}
			log.Offer(m.Truth)
			log.Acknowledge(m.Truth.ID)
			log.Arrive(arrival(m.Truth.ID, x.Reports[0]))
		}
		if r := log.Report(); !r.Good() {
			t.Errorf("%s: %+v\n%v", name, r.Counts, r.Differences)
		}
	}
}

// What the gateway's profiles write for the work of a specimen is read as that.
func TestEveryModelReadsTheAnswerOfItsProfile(t *testing.T) {
	profiles, err := profile.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 1, 14, 8, 0, 0, 0, time.FixedZone("", 7*3600))
	for name, model := range Models {
		p := profiles[name]
		if model.Protocol != ASTM || !model.TwoWay() || !p.Answers() {
			continue
		}
		question := model.query(Question{Specimen: "2601140017", Number: 3, Name: "a-1", At: at})
		asked := p.Queries(question)
		if len(asked) != 1 || len(asked[0].Specimens) != 1 || asked[0].Specimens[0] != "2601140017" {
			t.Errorf("%s: the query is read as %+v", name, asked)
			continue
		}
		work := []record.Work{{Specimen: "2601140017", Tests: []string{"41", "44"}, Priority: "S", Patient: &record.Patient{ID: "4711", Name: record.Name{Family: "Nguyễn", Given: "An"}}}}
		records, err := p.Answer(question, asked[0], work, at)
		if err != nil {
			t.Fatal(err)
		}
		var tests []string
		for _, o := range model.answer(records).Orders {
			if o.Specimen != "2601140017" {
				t.Errorf("%s: specimen %q", name, o.Specimen)
			}
			tests = append(tests, o.Tests...)
		}
		if !slices.Equal(tests, []string{"41", "44"}) {
			t.Errorf("%s: told %q by %q", name, tests, records)
		}
	}
}
