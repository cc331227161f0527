package scenario

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"nhip/hardware-sim/lis"
	"nhip/hardware-sim/truth"
	"nhip/hardware-sim/wire"
)

// What is different with a specimen.
const (
	usual = iota
	cancelledBefore
	cancelledDuring
	cancelledAfter
	changedBefore
	changedDuring
	changedAfter
	added
	unordered
)

func (p Percent) draw(r *rand.Rand) int {
	n := r.IntN(100)
	for what, share := range []int{cancelledBefore: p.CancelledBefore, cancelledDuring: p.CancelledDuring, cancelledAfter: p.CancelledAfter,
		changedBefore: p.ChangedBefore, changedDuring: p.ChangedDuring, changedAfter: p.ChangedAfter, added: p.Added, unordered: p.Unordered} {
		if n -= share; share > 0 && n < 0 {
			return what
		}
	}
	return usual
}

// An ordering is one order number as the hospital has it.
type ordering struct {
	lab      *laboratory
	system   *system
	order    lis.Order
	truth    *truth.LabOrder
	services []truth.LabService
}

// specimen is the life of one specimen: ordered, changed or cancelled, put into the
// analyser, asked for, run, reported.
func (l *laboratory) specimen(ctx context.Context, b *bench, r *rand.Rand) {
	what := l.cfg.Percent.draw(r)
	if what == unordered {
		l.unordered(ctx, b, r, b.stray(r))
		return
	}
	id := b.identifier()
	system := l.systems[r.IntN(len(l.systems))]
	patient := l.patient(r)
	if b.running && r.IntN(100) < l.cfg.Percent.OtherDay {
		l.yesterday(ctx, b, r, id)
	}
	if second := l.second(b, r); second != nil {
		done, services := make(chan struct{}), pick(r, second.services, 2)
		l.tubes.Go(func() {
			defer close(done)
			o := l.place(ctx, second, system, patient, id, services, false)
			l.life(ctx, second, rand.New(rand.NewPCG(l.seed, l.seed)), o, usual)
		})
		defer func() { <-done }()
	}
	o := l.place(ctx, b, system, patient, id, pick(r, b.services, 3), r.IntN(100) < l.cfg.Percent.Urgent)
	l.life(ctx, b, r, o, what)
}

// life is that of an order that was placed.
func (l *laboratory) life(ctx context.Context, b *bench, r *rand.Rand, o *ordering, what int) {
	switch what {
	case cancelledBefore:
		o.cancel(ctx)
	case changedBefore:
		o.change(ctx, pick(r, b.services, 3))
	}
	t := b.load(o.order.Specimen)
	tries := l.cfg.Tries
	var other chan struct{}
	switch what {
	case cancelledBefore:
		tries = 1
	case cancelledDuring, changedDuring:
		other = make(chan struct{})
		pause, services := time.Duration(r.IntN(40))*time.Millisecond, pick(r, b.services, 3)
		l.tubes.Go(func() {
			defer close(other)
			wire.Wait(ctx, pause)
			if what == cancelledDuring {
				o.cancel(ctx)
			} else {
				o.change(ctx, services)
			}
		})
		if what == cancelledDuring {
			tries = 2
		}
	}
	if b.inquire(ctx, t, tries) {
		x := t.due()
		if !wire.Wait(ctx, time.Duration(l.cfg.Measuring)) {
			return
		}
		switch what {
		case cancelledAfter:
			o.cancel(ctx)
		case changedAfter:
			o.change(ctx, pick(r, b.services, 3))
		}
		b.measure(ctx, t, x)
	}
	if other != nil {
		select {
		case <-other:
		case <-ctx.Done():
			return
		}
	}
	if what == added {
		l.add(ctx, b, r, o)
	}
	l.rest(ctx, b, t)
}

// rest asks again for what a newer version or a further order has added.
func (l *laboratory) rest(ctx context.Context, b *bench, t *tube) {
	for range l.cfg.Tries {
		if !l.truth.Open(b.name, t.specimen) || !b.inquire(ctx, t, 1) {
			if ctx.Err() != nil || !l.truth.Open(b.name, t.specimen) {
				return
			}
			continue
		}
		b.measure(ctx, t, t.due())
	}
}

// add orders more tests of a specimen: by a change of its order, or by a further one.
func (l *laboratory) add(ctx context.Context, b *bench, r *rand.Rand, o *ordering) {
	more := slices.DeleteFunc(pick(r, b.services, 2), func(s truth.LabService) bool { return o.overlaps(s) })
	if len(more) == 0 {
		return
	}
	if r.IntN(2) == 0 {
		o.change(ctx, append(slices.Clone(o.services), more...))
		return
	}
	l.place(ctx, b, o.system, o.order.Patient, o.order.Specimen, more, true)
}

func (o *ordering) overlaps(s truth.LabService) bool {
	return slices.ContainsFunc(o.services, func(x truth.LabService) bool {
		return slices.ContainsFunc(x.Tests, func(test string) bool { return slices.Contains(s.Tests, test) })
	})
}

// pick is one to most of the services, none of which has a test of another.
func pick(r *rand.Rand, all []truth.LabService, most int) (some []truth.LabService) {
	o := &ordering{}
	n := 1 + r.IntN(most)
	for _, i := range r.Perm(len(all)) {
		if len(o.services) < n && !o.overlaps(all[i]) {
			o.services = append(o.services, all[i])
		}
	}
	return o.services
}

// second is another analyser for the same tube: of another section, so that the order
// is not for the first.
func (l *laboratory) second(b *bench, r *rand.Rand) *bench {
	if r.IntN(100) >= l.cfg.Percent.Shared || b.section == "" || b.running {
		return nil
	}
	var all []*bench
	for _, x := range l.benches {
		if x.section != "" && x.section != b.section && !x.running {
			all = append(all, x)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all[r.IntN(len(all))]
}

var families = []string{"Nguyễn", "Trần", "Lê", "Phạm", "Hoàng", "Vũ", "Đặng"}
var givens = []string{"An", "Bình", "Chi", "Dũng", "Hoa", "Lan", "Minh", "Phúc"}

// patient is a made-up one. Every fourth has several tubes.
func (l *laboratory) patient(r *rand.Rand) lis.Patient {
	n := r.IntN(1_000_000)
	if r.IntN(4) == 0 {
		n = r.IntN(20)
	}
	who := rand.New(rand.NewPCG(l.seed, uint64(n)))
	return lis.Patient{ID: fmt.Sprintf("BN%06d", n), Family: families[who.IntN(len(families))], Given: givens[who.IntN(len(givens))],
		Born: fmt.Sprintf("%d0%d1%d", 1930+who.IntN(90), 1+who.IntN(9), who.IntN(9)), Sex: string("MF"[who.IntN(2)])}
}

func tests(services []truth.LabService) (all [][2]string) {
	for _, s := range services {
		all = append(all, [2]string{s.Code, "Test " + s.Code})
	}
	return all
}

// place orders services and waits for the gateway's answer.
func (l *laboratory) place(ctx context.Context, b *bench, s *system, p lis.Patient, specimen string, services []truth.LabService, urgent bool) *ordering {
	n := l.placers.Add(1)
	o := &ordering{lab: l, system: s, services: services, order: lis.Order{
		Placer: fmt.Sprintf("%s-%d-%06d", strings.ToUpper(s.name), l.prefix, n), Specimen: specimen, Patient: p, Tests: tests(services), Urgent: urgent, Section: b.section,
	}}
	if n%3 == 0 {
		o.order.Filler = fmt.Sprintf("F%d-%06d", l.prefix, n)
	}
	o.truth = &truth.LabOrder{Placer: o.order.Placer, Filler: o.order.Filler, Specimen: specimen, Device: b.name, Patient: p.ID}
	l.truth.Order(o.truth)
	o.say(ctx, o.system.his.Place, services)
	return o
}

// change makes the order one of other services.
func (o *ordering) change(ctx context.Context, services []truth.LabService) {
	o.services, o.order.Tests = services, tests(services)
	o.say(ctx, o.system.his.Change, services)
}

// say sends the order as it is now.
func (o *ordering) say(ctx context.Context, send func(context.Context, lis.Order) (lis.Reply, error), services []truth.LabService) {
	o.lab.truth.Sent(o.truth, services)
	reply, err := send(ctx, o.order)
	switch {
	case err != nil:
		o.lab.truth.Refused(o.truth, err.Error(), ctx.Err() == nil)
	case reply.Code == "AA":
		o.lab.truth.Taken(o.truth)
	default:
		o.lab.truth.Refused(o.truth, reply.Code+" "+reply.Text, true)
	}
}

func (o *ordering) cancel(ctx context.Context) {
	o.lab.truth.CancelSent(o.truth)
	if reply, err := o.system.his.Cancel(ctx, o.order.Placer); err == nil && reply.Code == "AA" {
		o.lab.truth.CancelTaken(o.truth)
	}
}

// unordered is a specimen that nobody ordered anything for: the operator says what is
// to be run.
func (l *laboratory) unordered(ctx context.Context, b *bench, r *rand.Rand, id string) {
	t := b.load(id)
	if b.inquire(ctx, t, 1) {
		b.measure(ctx, t, t.due()) // it was told something all the same
		return
	}
	var by told
	for _, s := range pick(r, b.services, 2) {
		by.tests = append(by.tests, s.Tests...)
	}
	t.tell(by, false)
	b.measure(ctx, t, t.due())
}

// yesterday orders something for the specimen that had the number on the day before,
// and that was never run.
func (l *laboratory) yesterday(ctx context.Context, b *bench, r *rand.Rand, id string) {
	s, p := l.systems[r.IntN(len(l.systems))], l.patient(r)
	n := l.placers.Add(1)
	o := &ordering{lab: l, system: s, order: lis.Order{
		Placer: fmt.Sprintf("%s-%d-%06d", strings.ToUpper(s.name), l.prefix, n), Specimen: id, Patient: p, Section: b.section,
		Taken: time.Now().Add(-24*time.Hour - time.Duration(r.IntN(300))*time.Minute),
	}}
	services := pick(r, b.services, 3)
	o.order.Tests = tests(services)
	o.truth = &truth.LabOrder{Placer: o.order.Placer, Specimen: id, Device: b.name, Patient: p.ID, OtherDay: true}
	l.truth.Order(o.truth)
	o.say(ctx, s.his.Place, services)
}
