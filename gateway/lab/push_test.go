package lab

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"nhip/gateway/orders"
	"nhip/gateway/reason"
	"nhip/gateway/record"
)

// told does what is to be told about a specimen until there is nothing more, and says
// what it was.
func (r *rig) told(p *Pusher, specimen string, err error) string {
	r.t.Helper()
	var all []string
	for range 5 {
		l, step, failed := p.look(specimen)
		if failed != nil {
			r.t.Fatal(failed)
		}
		if failed := p.note(r.t.Context(), l.settled); failed != nil {
			r.t.Fatal(failed)
		}
		if step.None() {
			break
		}
		word := "run"
		if step.Cancel {
			word = "drop"
		}
		var refs []string
		for i := range step.Work.Tests {
			refs = append(refs, fmt.Sprintf("%s%d.%d", specimen, len(all), i+1))
		}
		all = append(all, strings.TrimSpace(word+" "+strings.Join(step.Work.Tests, ",")+" "+strings.Join(step.Work.References, ",")))
		if failed := p.note(r.t.Context(), p.told(step, refs, err)); failed != nil {
			r.t.Fatal(failed)
		}
		if err != nil {
			break
		}
	}
	return strings.Join(all, "; ")
}

// states are what each analyser has of an order.
func (r *rig) states(number string) string {
	r.t.Helper()
	e, err := r.desk.Numbered(number)
	if err != nil {
		r.t.Fatal(err)
	}
	var all []string
	for _, s := range e.Order.Services {
		var of []string
		for _, g := range e.Given {
			if g.Service == s.ID {
				of = append(of, g.Device+" "+string(g.State))
			}
		}
		slices.Sort(of)
		all = append(all, s.Code.Code+" "+string(s.Progress)+": "+strings.Join(of, ", "))
	}
	return strings.Join(all, "; ")
}

var delta, whole = Ways{Download: true, Cancel: true}, Ways{Download: true, Cancel: true, Whole: true}

func TestAnOrderIsToldOnceAndAChangeTellsWhatIsNew(t *testing.T) {
	r := newRig(t)
	p := r.desk.Pusher(xn(Warn), delta)
	r.says(orders.New, "A1", "P1", "S1", r.now, "GLU")
	if got := r.told(p, "S1", nil); got != "run GLU" {
		t.Fatal(got)
	}
	if got, want := r.states("A1"), "GLU acknowledged: xn-1 taken"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	r.now = r.now.Add(time.Minute)
	if got := r.told(p, "S1", nil); got != "" {
		t.Errorf("told again: %q", got)
	}
	r.says(orders.New, "A2", "P1", "S1", r.now, "GLU", "ALT")
	if got := r.told(p, "S1", nil); got != "run ALT" { // it has GLU already
		t.Errorf("%q", got)
	}
	// Of two orders that need GLU the first is cancelled: nothing to say; then the other.
	r.says(orders.Cancel, "A1", "P1", "S1", r.now, "GLU")
	if got := r.told(p, "S1", nil); got != "" {
		t.Errorf("%q", got)
	}
	if got, want := r.states("A1"), "GLU acknowledged: xn-1 taken back"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestAnAnalyserThatTakesTheWholeSpecimenIsToldAll(t *testing.T) {
	r := newRig(t)
	p := r.desk.Pusher(xn(Warn), whole)
	r.says(orders.New, "A1", "P1", "S1", r.now, "GLU")
	if got := r.told(p, "S1", nil); got != "run GLU" {
		t.Fatal(got)
	}
	r.says(orders.New, "A2", "P1", "S1", r.now, "ALT")
	if got := r.told(p, "S1", nil); got != "run GLU,ALT" {
		t.Errorf("%q", got)
	}
	if got := r.states("A1") + " / " + r.states("A2"); got != "GLU acknowledged: xn-1 taken / ALT acknowledged: xn-1 taken" {
		t.Errorf("%q", got)
	}
}

func TestWhatIsCancelledIsTakenBackUnderItsReferences(t *testing.T) {
	r := newRig(t)
	p := r.desk.Pusher(xn(Warn), delta)
	deaf := r.desk.Pusher(Analyser{Name: "deaf", Policy: Warn, Codes: xn(Warn).Codes}, Ways{Download: true})
	r.says(orders.New, "A1", "P1", "S1", r.now, "GLU", "ALT")
	if got := r.told(p, "S1", nil) + "; " + r.told(deaf, "S1", nil); got != "run GLU,ALT; run GLU,ALT" {
		t.Fatal(got)
	}
	r.says(orders.Cancel, "A1", "P1", "S1", r.now, "ALT")
	if got := r.told(p, "S1", nil) + "; " + r.told(deaf, "S1", nil); got != "drop ALT S10.2; " {
		t.Errorf("%q", got)
	}
	if got, want := r.states("A1"), "GLU acknowledged: deaf taken, xn-1 taken; ALT acknowledged: deaf cancelled too late, xn-1 taken back"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	// The result that comes all the same is held.
	f, err := r.desk.Find(xn(Required), record.Report{Specimen: record.Specimen{ID: "S1"}, Results: []record.Result{{Code: "ALT"}}}, r.now, false)
	if err != nil || f.Hold == "" {
		t.Errorf("%+v %v", f, err)
	}
}

func TestWhatIsHeldIsTakenBackAndToldWhenItIsReleased(t *testing.T) {
	r := newRig(t)
	p := r.desk.Pusher(xn(Warn), delta)
	r.says(orders.New, "A1", "P1", "S1", r.now, "GLU")
	r.told(p, "S1", nil)
	r.says(orders.Hold, "A1", "P1", "S1", r.now, "GLU")
	if got := r.told(p, "S1", nil); got != "drop GLU S10.1" {
		t.Errorf("%q", got)
	}
	r.says(orders.Release, "A1", "P1", "S1", r.now, "GLU")
	if got := r.told(p, "S1", nil); got != "run GLU" {
		t.Errorf("%q", got)
	}
}

// The first that reports has done it; the others are told.
func TestBroadcast(t *testing.T) {
	r := newRig(t)
	other := xn(Warn)
	other.Name = "xn-2"
	p, q := r.desk.Pusher(xn(Warn), delta), r.desk.Pusher(other, whole)
	r.says(orders.New, "A1", "P1", "S1", r.now, "GLU")
	if got := r.told(p, "S1", nil) + "; " + r.told(q, "S1", nil); got != "run GLU; run GLU" {
		t.Fatal(got)
	}
	r.now = r.now.Add(time.Minute)
	f, err := r.desk.Find(xn(Warn), record.Report{Specimen: record.Specimen{ID: "S1"}, Results: []record.Result{{Code: "GLU"}}}, r.now, false)
	if err != nil || len(f.Marks) != 1 {
		t.Fatalf("%+v %v", f, err)
	}
	for _, m := range f.Marks {
		r.desk.Orders.Mark(m)
	}
	if err := r.desk.Orders.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.now = r.now.Add(time.Minute)
	if got := r.told(p, "S1", nil) + "; " + r.told(q, "S1", nil); got != "; drop GLU S10.1" {
		t.Errorf("%q", got)
	}
	if got, want := r.states("A1"), "GLU resulted: xn-1 taken, xn-2 taken back"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestFirstThatAsksHasIt(t *testing.T) {
	r := newRig(t)
	r.desk.FirstAsks = true
	other := xn(Warn)
	other.Name = "xn-2"
	p := r.desk.Pusher(xn(Warn), delta)
	r.says(orders.New, "A1", "P1", "S1", r.now, "GLU")
	if got := r.told(p, "S1", nil); got != "run GLU" {
		t.Fatal(got)
	}
	w := r.desk.For(other)
	q := record.Query{Specimens: []string{"S1"}}
	work, err := w.Work(t.Context(), q)
	if err != nil || len(work) != 1 {
		t.Fatalf("%v %v", work, err)
	}
	w.Handed(q, work, nil)
	if err := r.desk.Orders.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := r.told(p, "S1", nil); got != "drop GLU S10.1" {
		t.Errorf("%q", got)
	}
	if work, err := r.desk.For(xn(Warn)).Work(t.Context(), q); err != nil || len(work) != 0 {
		t.Errorf("given to both: %v %v", work, err)
	}
}

// What is refused is tried again, less and less often; then a person has to look.
func TestRefusedOrdersAreTriedAgainThenGivenUpAndReturned(t *testing.T) {
	r := newRig(t)
	p := r.desk.Pusher(xn(Warn), delta)
	r.says(orders.New, "A1", "P1", "S1", r.now, "GLU")
	no := &RefusedError{Why: reason.New(reason.FramesRefused, "frame not accepted 6 times")}
	tries := 0
	for range 100 {
		if r.told(p, "S1", no) != "" {
			tries++
		}
		r.now = r.now.Add(time.Minute)
	}
	if tries != mostTries {
		t.Errorf("tried %d times", tries)
	}
	if got, want := r.states("A1"), "GLU received: xn-1 given up"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if err := p.decide(t.Context(), "S1"); err != nil || p.Trouble() != 1 {
		t.Errorf("nobody is told: %d %v", p.Trouble(), err)
	}
	if n, err := r.desk.Return(t.Context(), "A1"); n != 1 || err != nil {
		t.Errorf("%d %v", n, err)
	}
	if got := r.told(p, "S1", nil); got != "run GLU" {
		t.Errorf("%q", got)
	}
	if err := p.decide(t.Context(), "S1"); err != nil || p.Trouble() != 0 {
		t.Errorf("%d %v", p.Trouble(), err)
	}
}

// An analyser may refuse one test and take the others.
func TestOneRefusedTest(t *testing.T) {
	r := newRig(t)
	p := r.desk.Pusher(xn(Warn), delta)
	r.says(orders.New, "A1", "P1", "S1", r.now, "GLU", "ALT")
	r.told(p, "S1", &RefusedError{Why: reason.New(reason.TestsRefused), Final: true, Refs: []string{"S10.2"}})
	if got, want := r.states("A1"), "GLU acknowledged: xn-1 taken; ALT received: xn-1 given up"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	// A cancel that is refused for good is too late.
	r.says(orders.Cancel, "A1", "P1", "S1", r.now, "GLU")
	if got := r.told(p, "S1", &RefusedError{Why: reason.New(reason.CancelRefused), Final: true}); got != "drop GLU S10.1" {
		t.Errorf("%q", got)
	}
	if got, want := r.states("A1"), "GLU acknowledged: xn-1 cancelled too late; ALT received: xn-1 given up"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := r.told(p, "S1", nil); got != "" {
		t.Errorf("%q", got)
	}
}

// Two patients under one identifier: nothing is sent until one of them is left.
func TestNothingIsToldOfTwoPatients(t *testing.T) {
	r := newRig(t)
	p := r.desk.Pusher(xn(Warn), whole)
	r.says(orders.New, "A1", "P1", "S1", r.now, "GLU")
	r.says(orders.New, "A2", "P2", "S1", r.now, "GLU")
	if got := r.told(p, "S1", nil); got != "" {
		t.Fatal(got)
	}
	if got, want := r.states("A1")+"; "+r.states("A2"), "GLU received: xn-1 refused; GLU received: xn-1 refused"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	r.says(orders.Cancel, "A2", "P2", "S1", r.now, "GLU")
	r.now = r.now.Add(firstTry)
	if got := r.told(p, "S1", nil); got != "run GLU" {
		t.Errorf("%q", got)
	}
}

// A correction replaces what an analyser was told.
func TestACorrectionIsToldAnew(t *testing.T) {
	r := newRig(t)
	p, q := r.desk.Pusher(xn(Warn), delta), r.desk.Pusher(Analyser{Name: "all", Policy: Warn, Codes: xn(Warn).Codes}, whole)
	r.says(orders.New, "A1", "P1", "S1", r.now, "GLU")
	r.told(p, "S1", nil)
	r.told(q, "S1", nil)
	r.n++
	e, err := r.desk.Numbered("A1")
	if err != nil {
		t.Fatal(err)
	}
	o := e.Order.Clone()
	o.Services[0].Priority = "S"
	r.commit(r.desk.Orders.Begin(r.now), orders.Request{Action: orders.Changing, Link: "his", MessageID: "X1", Said: orders.Said{Message: r.now.Add(time.Duration(r.n))}, Order: o})
	if got := r.told(p, "S1", nil) + " / " + r.told(q, "S1", nil); got != "drop GLU S10.1; run GLU / run GLU" {
		t.Errorf("%q", got)
	}
}

// Run finds what is to be told, again after a restart; what was acknowledged is not told
// again.
func TestRunTellsWhatWasNotAcknowledged(t *testing.T) {
	r := newRig(t)
	r.says(orders.New, "A1", "P1", "S1", r.now, "GLU")
	r.says(orders.New, "A2", "P2", "S2", r.now, "GLU")
	first := r.desk.Pusher(xn(Warn), delta)
	r.told(first, "S1", nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	at := r.now // the clock of the rig is not for other goroutines
	again := &Desk{Orders: r.desk.Orders, Log: r.desk.Log, Now: func() time.Time { return at }}
	p := again.Pusher(xn(Warn), delta)
	again.Recall(ctx)
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	job, err := p.Next(ctx)
	if err != nil {
		t.Fatal(err)
	}
	step, err := job.Step()
	if err != nil || step.Work.Specimen != "S2" {
		t.Fatalf("%+v %v", step, err)
	}
	job.Done(ctx, nil, ErrUntold) // the line was cut
	if job, err = p.Next(ctx); err != nil {
		t.Fatal(err)
	}
	if step, err = job.Step(); err != nil || step.Work.Specimen != "S2" {
		t.Fatalf("%+v %v", step, err)
	}
	job.Done(ctx, nil, nil)
	if got := r.states("A2"); got != "GLU acknowledged: xn-1 taken" {
		t.Errorf("%q", got)
	}
	// An order is cancelled between the offer and the first frame.
	r.says(orders.New, "A3", "P3", "S3", r.now, "GLU")
	p.touch("S3", r.now)
	if job, err = p.Next(ctx); err != nil {
		t.Fatal(err)
	}
	r.says(orders.Cancel, "A3", "P3", "S3", r.now, "GLU")
	if step, err = job.Step(); err != nil || !step.None() {
		t.Errorf("%+v %v", step, err)
	}
	job.Done(ctx, nil, nil)
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// A query for all work gets what the analyser does not have; asked again, nothing.
func TestAllWorkIsHandedOutOnce(t *testing.T) {
	r := newRig(t)
	r.says(orders.New, "A1", "P1", "S1", r.now, "GLU")
	r.says(orders.New, "A2", "P2", "S2", r.now, "GLU", "NA")
	r.says(orders.New, "A3", "P3", "S3", r.now, "NA")                        // for another analyser
	r.says(orders.New, "A4", "P4", "S4", r.now.Add(-10*24*time.Hour), "GLU") // out of its window
	w := r.desk.For(xn(Warn))
	q := record.Query{All: true}
	for _, want := range []string{"S1 S2", ""} {
		work, err := w.Work(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, x := range work {
			got = append(got, x.Specimen)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q, want %q", got, want)
		}
		w.Handed(q, work, nil)
		if err := r.desk.Orders.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// An analyser acknowledges an order after another one has reported it: it has its result,
// and is not open again.
func TestALateAcknowledgementDoesNotUndoAResult(t *testing.T) {
	r := newRig(t)
	other := xn(Warn)
	other.Name = "xn-2"
	p := r.desk.Pusher(other, delta)
	r.says(orders.New, "A1", "P1", "S1", r.now, "GLU")
	_, step, err := p.look("S1")
	if err != nil || step.None() {
		t.Fatal(step, err)
	}
	r.now = r.now.Add(time.Minute)
	r.results(xn(Warn), "S1", "", "GLU")
	r.now = r.now.Add(time.Minute)
	if err := p.note(t.Context(), p.told(step, []string{"N1.1"}, nil)); err != nil {
		t.Fatal(err)
	}
	if got, want := r.states("A1"), "GLU resulted: xn-2 taken"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := r.told(p, "S1", nil); got != "drop GLU N1.1" {
		t.Errorf("%q", got)
	}
}
