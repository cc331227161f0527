package journal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"nhip/drivers/astm/e1381"
	"nhip/drivers/profile"
	"nhip/gateway/delivery"
	"nhip/gateway/intake"
	"nhip/gateway/interpret"
	"nhip/gateway/reason"
	"nhip/gateway/route"
	"nhip/storage"
)

var vn = time.FixedZone("", 7*3600)

// A rig is a gateway without its listeners, whose clock is the test's.
type rig struct {
	*Journal
	t     *testing.T
	in    *intake.Intake
	work  *interpret.Worker
	clock time.Time
}

func newRig(t *testing.T) *rig {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	s, err := storage.Open(t.Context(), storage.Options{Dir: t.TempDir(), Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	profiles, err := profile.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{Journal: &Journal{Store: s}, t: t, in: intake.New(s, quiet), clock: time.Date(2026, 1, 14, 8, 0, 0, 0, vn)}
	r.in.Now = func() time.Time { return r.clock }
	lis := []route.Destination{{Name: "lis", Kind: route.HL7}}
	analyser := func(name string) interpret.Connection {
		return interpret.Connection{Name: name, Kind: interpret.Analyser, Zone: vn, Profile: profiles["generic-astm"]}
	}
	r.work = &interpret.Worker{
		Store: s, Intake: r.in, Site: interpret.Site{ID: "bv-test"}, Log: quiet, Now: func() time.Time { return r.clock },
		Connections: map[string]interpret.Connection{
			"a-1": analyser("a-1"), "a-2": analyser("a-2"), "new": analyser("new"),
			"his":  {Name: "his", Kind: interpret.Peer, Zone: vn},
			"ct-1": {Name: "ct-1", Kind: interpret.Modality, Zone: vn},
		},
		Routes: route.Table{"a-1": {To: lis}, "a-2": {To: lis}, "new": {Trial: true, To: lis}, "his": {To: lis}, "ct-1": {To: []route.Destination{{Name: "pacs", Kind: route.DICOM, Images: true}}}},
	}
	return r
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) astm(connection, specimen, patient string, at time.Time) {
	r.t.Helper()
	m := fmt.Sprintf("H|\\^&|||X^1|||||||P|LIS2-A2|%s\rP|1||%s\rO|1|%s||^^^GLU|R\rR|1|^^^GLU|5.1|mmol/L||N||F||||20260114081500\rL|1|N\r", at.In(vn).Format("20060102150405"), patient, specimen)
	a := r.in.ASTM(connection, "10.0.0.1:4000")
	r.must(a.Store(r.t.Context(), []e1381.Message{{Records: []byte(m)}}))
	r.must(a.Ended(r.t.Context()))
}

func (r *rig) hl7(id, patient, order, specimen string) []byte {
	r.t.Helper()
	m := []byte(fmt.Sprintf("MSH|^~\\&|HIS|BV|||%s||OML^O21|%s|P|2.5.1\rPID|1||%s^^^BV~CC%s^^^ID||SECRET^NAME\rORC|NW|%s\rOBR|1|%s||GLU^^L||||||||||||||ACC%s\rSPM|1|%s&X\r",
		r.clock.Format("20060102150405-0700"), id, patient, patient, order, order, order, specimen))
	_, err := r.in.HL7(r.t.Context(), "his", "10.0.0.2:5", id, m, map[string]string{"type": "OML^O21"}, []byte("MSH|^~\\&|\rMSA|AA|"+id+"\r"))
	r.must(err)
	return m
}

func (r *rig) object(uid, accession, patient, body string) {
	r.t.Helper()
	w, err := r.Store.Spool().Create()
	r.must(err)
	io.WriteString(w, body)
	ref, err := w.Commit()
	r.must(err)
	_, err = r.in.Object(r.t.Context(), "ct-1", "10.0.0.3:1", ref, map[string]string{intake.AttrSOPInstance: uid, intake.AttrAccession: accession, intake.AttrPatient: patient})
	r.must(err)
}

// interpret works until the queue is empty.
func (r *rig) interpret() {
	r.t.Helper()
	ctx, cancel := context.WithCancel(r.t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- r.work.Run(ctx) }()
	for r.Store.Depth(intake.Interpret) > 0 {
		select {
		case err := <-ended:
			r.t.Fatal(err)
		case <-time.After(time.Millisecond):
		}
	}
	cancel()
	<-ended
}

// settle ends deliveries to a destination: f says how for each item.
func (r *rig) settle(destination string, f func(i int, t delivery.Ticket) delivery.State) {
	r.t.Helper()
	items, err := r.Store.Items(delivery.Queue(destination), 0, 0)
	r.must(err)
	for i, it := range items {
		b := new(storage.Batch)
		ticket, err := delivery.DecodeTicket(it.Value)
		r.must(err)
		switch f(i, ticket) {
		case delivery.Delivered:
			b.Remove(it.Queue, it.Seq)
			b.Put(delivery.DeliveredKey(destination, ticket.Mark), []byte(r.clock.UTC().Format(time.RFC3339)))
		case delivery.Held:
			d := delivery.New(r.clock)
			d.State, d.Reason = delivery.Held, reason.New(reason.Answered, "AE")
			b.SetState(it.Queue, it.Seq, d.Encode())
		default:
			continue
		}
		_, err = r.Store.Commit(r.t.Context(), b)
		r.must(err)
	}
}

func (r *rig) search(q Query) []string {
	r.t.Helper()
	p, err := r.Search(r.t.Context(), q)
	r.must(err)
	var refs []string
	for _, e := range p.Entries {
		refs = append(refs, e.Ref)
	}
	return refs
}

// Whatever is asked, the answer is what a list kept beside says.
func TestSearchFindsWhatCameAndNothingElse(t *testing.T) {
	r := newRig(t)
	rng := rand.New(rand.NewPCG(1, 2))
	type fact struct {
		ref, connection, specimen, patient, order, accession string
		at                                                   time.Time
		state                                                State
	}
	var truth []fact
	seq := map[string]int{}
	next := func(connection string) string {
		seq[connection]++
		return fmt.Sprintf("in/%s/%d", connection, seq[connection])
	}
	// Cut, odd and similar identifiers.
	specimens := []string{"27", "027", "2601140027", "2601140027 1", "Mẫu-7", strings.Repeat("9", 60), "a/b", "%", "27^"}
	sent := func(s string) string { return strings.NewReplacer("^", "&S&").Replace(s) }
	for i := range 200 {
		r.clock = r.clock.Add(time.Duration(rng.IntN(90)) * time.Second)
		patient := fmt.Sprintf("BN%03d", rng.IntN(12))
		switch rng.IntN(5) {
		case 0, 1, 2:
			c := []string{"a-1", "a-2", "new"}[rng.IntN(3)]
			s := specimens[rng.IntN(len(specimens)-1)]
			r.astm(c, sent(s), patient, r.clock.Add(-time.Hour))
			f := fact{ref: next(c), connection: c, specimen: s, patient: patient, at: r.clock, state: Queued}
			if c == "new" {
				f.state = Trial
			}
			truth = append(truth, f)
		case 3:
			order := fmt.Sprintf("YL%d", i)
			r.hl7(fmt.Sprintf("M%d", i), patient, order, "S"+order)
			truth = append(truth, fact{ref: next("his"), connection: "his", patient: patient, order: order, specimen: "S" + order, accession: "ACC" + order, at: r.clock, state: Queued})
		case 4:
			r.object(fmt.Sprintf("1.2.%d", i), fmt.Sprintf("CT%d", i%3), patient, fmt.Sprint("pixels", i))
			truth = append(truth, fact{ref: next("ct-1"), connection: "ct-1", patient: patient, accession: fmt.Sprintf("CT%d", i%3), at: r.clock, state: Queued})
		}
	}
	// One repeat, one incomplete, one conflict.
	r.clock = r.clock.Add(time.Minute)
	a := r.in.ASTM("a-1", "p")
	m := []e1381.Message{{Records: []byte("H|\\^&\rP|1||BN777\rO|1|R1||^^^GLU\rR|1|^^^GLU|1\rL|1|N\r")}}
	r.must(a.Store(t.Context(), m))
	r.must(a.Store(t.Context(), m))
	truth = append(truth, fact{ref: next("a-1"), connection: "a-1", specimen: "R1", patient: "BN777", at: r.clock, state: Queued}, fact{ref: next("a-1"), connection: "a-1", at: r.clock, state: Repeat})
	r.must(a.Incomplete(t.Context(), e1381.Message{Records: []byte("H|\\^&\rP|1\r")}, "line cut"))
	truth = append(truth, fact{ref: next("a-1"), connection: "a-1", at: r.clock, state: Incomplete})
	r.object("1.9", "CT9", "BN900", "first")
	truth = append(truth, fact{ref: next("ct-1"), connection: "ct-1", accession: "CT9", patient: "BN900", at: r.clock, state: Queued})
	r.object("1.9", "CT9", "BN901", "other bytes")
	truth = append(truth, fact{ref: next("ct-1"), connection: "ct-1", accession: "CT9", patient: "BN901", at: r.clock, state: Conflict})
	r.interpret()
	ends := map[string]State{}
	r.settle("lis", func(i int, ticket delivery.Ticket) delivery.State {
		switch i % 7 {
		case 0:
			ends[ticket.Mark] = Held
			return delivery.Held
		case 1, 2, 3, 4:
			ends[ticket.Mark] = Delivered
			return delivery.Delivered
		}
		return delivery.Waiting
	})
	// What was made of which is read by another way than Search does.
	for i := range truth {
		ref, err := storage.ParseRef(truth[i].ref)
		r.must(err)
		if f, ok, _ := interpret.ReadFate(r.Store, ref); ok {
			for _, s := range f.Sent {
				if e, ok := ends[s.Mark]; ok {
					truth[i].state = e
				}
			}
		}
	}
	expect := func(name string, q Query, is func(fact) bool) {
		t.Helper()
		var want []string
		for _, f := range truth {
			if is(f) {
				want = append(want, f.ref)
			}
		}
		q.Limit = MaxLimit
		got := r.search(q)
		if len(want) == 0 {
			t.Errorf("%s: the test asks for nothing", name)
		}
		slices.Sort(want)
		sorted := slices.Clone(got)
		slices.Sort(sorted)
		if !slices.Equal(sorted, want) {
			t.Errorf("%s: %d found, %d are there\n%v\n%v", name, len(got), len(want), sorted, want)
		}
	}
	for _, s := range specimens[:len(specimens)-1] {
		expect("specimen "+s, Query{Specimen: " " + s + " "}, func(f fact) bool { return f.specimen == s })
	}
	for _, p := range []string{"BN003", "BN011", "BN901"} {
		expect("patient "+p, Query{Patient: p}, func(f fact) bool { return f.patient == p })
		expect("patient and from", Query{Patient: p, From: truth[20].at}, func(f fact) bool { return f.patient == p && !f.at.Before(truth[20].at) })
	}
	expect("second PID-3", Query{Patient: "CCBN001"}, func(f fact) bool { return f.patient == "BN001" && f.connection == "his" })
	expect("accession", Query{Accession: "CT1"}, func(f fact) bool { return f.accession == "CT1" })
	expect("conflict by accession", Query{Accession: "CT9"}, func(f fact) bool { return f.accession == "CT9" })
	expect("all of a modality", Query{Connection: "ct-1"}, func(f fact) bool { return f.connection == "ct-1" })
	for _, f := range truth {
		if f.order != "" {
			expect("order", Query{Order: f.order}, func(g fact) bool { return g.order == f.order })
			expect("OBR-18", Query{Accession: "ACC" + f.order}, func(g fact) bool { return g.order == f.order })
		}
	}
	for _, s := range []State{Queued, Held, Delivered, Trial, Repeat, Incomplete, Conflict} {
		expect("state "+string(s), Query{State: s}, func(f fact) bool {
			return f.state == s || s == Held && (f.state == Incomplete || f.state == Conflict)
		})
		if s == Queued || s == Held {
			expect("state and patient", Query{State: s, Patient: "BN003"}, func(f fact) bool { return f.state == s && f.patient == "BN003" })
		}
	}
	expect("held of a device", Query{State: Held, Connection: "a-1"}, func(f fact) bool {
		return f.connection == "a-1" && (f.state == Held || f.state == Incomplete)
	})
	from, to := truth[70].at, truth[150].at
	expect("time", Query{From: from, To: to}, func(f fact) bool { return !f.at.Before(from) && f.at.Before(to) })
	expect("time and device", Query{From: from, To: to, Connection: "a-2"}, func(f fact) bool { return f.connection == "a-2" && !f.at.Before(from) && f.at.Before(to) })
	if got := r.search(Query{Specimen: "2601140027x"}); len(got) != 0 {
		t.Error("found what nobody sent:", got)
	}

	// Newest first, and page by page the same.
	all := r.search(Query{Limit: MaxLimit})
	if len(all) != len(truth) {
		t.Errorf("%d of %d", len(all), len(truth))
	}
	for q, pages := (Query{Limit: 37}), 0; ; pages++ {
		p, err := r.Search(t.Context(), q)
		r.must(err)
		if !slices.IsSortedFunc(p.Entries, func(a, b Entry) int { return b.Received.Compare(a.Received) }) {
			t.Error("not the newest first")
		}
		if q.To = p.Older; q.To.IsZero() || pages > 20 {
			break
		}
	}
}

// The clock jumps, either way and by years, between messages and under load:
// everything is there, in the order in which it came, and a search by time finds
// what has that time (T16).
func TestAClockThatJumpsLosesAndReordersNothing(t *testing.T) {
	r := newRig(t)
	var told []time.Duration
	r.work.Heard = func(_ string, received, device time.Time) { told = append(told, device.Sub(received)) }
	start := r.clock
	device := start
	var times []time.Time
	n := 0
	for _, jump := range []time.Duration{0, -time.Hour, time.Hour, 87600 * time.Hour, -87600 * time.Hour, -8760 * time.Hour, time.Hour, 8760 * time.Hour} {
		r.clock = r.clock.Add(jump)
		for range 25 {
			r.clock, device = r.clock.Add(time.Second), device.Add(time.Second)
			n++
			r.astm("a-1", fmt.Sprintf("S%d", n), "", device)
			times = append(times, r.clock)
		}
		r.interpret()
	}
	// Order and number, in and out: control IDs rise with the specimens.
	p, err := r.Search(t.Context(), Query{Connection: "lis", Limit: MaxLimit})
	r.must(err)
	if len(p.Entries) != n || int(r.Store.Last("in/a-1")) != n {
		t.Fatalf("%d sent, %d received of %d", len(p.Entries), r.Store.Last("in/a-1"), n)
	}
	for i, e := range p.Entries {
		if want := fmt.Sprintf("in/a-1/%d", n-i); e.Of != want {
			t.Fatalf("message %d is made of %s, want %s", i, e.Of, want)
		}
	}
	items, err := r.Store.Items(delivery.Queue("lis"), 0, 0)
	r.must(err)
	for i, it := range items {
		if ticket, _ := delivery.DecodeTicket(it.Value); ticket.Of != fmt.Sprintf("S%d", i+1) {
			t.Fatalf("item %d of the queue is %s", i, ticket.Of)
		}
	}
	// Time ranges, over every stretch, by bisection: all that have the time.
	rng := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		from := times[rng.IntN(n)].Add(time.Duration(rng.IntN(7)-3) * time.Second)
		to := from.Add(time.Duration(1+rng.IntN(90)) * time.Second)
		var want []string
		for i, at := range times {
			if !at.Before(from) && at.Before(to) {
				want = append(want, fmt.Sprintf("in/a-1/%d", i+1))
			}
		}
		got := r.search(Query{From: from, To: to, Connection: "a-1", Limit: MaxLimit})
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Fatalf("from %v to %v: %d found, %d are there", from, to, len(got), len(want))
		}
	}
	// The device's clock did not jump: what is told of it is ours.
	if len(told) != n || told[0] != 0 || told[26] != time.Hour {
		t.Errorf("%d told, %v", len(told), told[:min(len(told), 50)])
	}
	x, err := r.Show("in/a-1/26")
	r.must(err)
	if !x.ClockBack || x.DeviceTime.Sub(x.Received) != time.Hour {
		t.Errorf("%v: device %v, received %v", x.ClockBack, x.DeviceTime, x.Received)
	}
}

// Summer time ends and begins while an analyser sends: the times of its messages
// are read in its zone, and nothing hangs on the hour that is there twice.
func TestSummerTimeReordersNothing(t *testing.T) {
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Skip("no time zones here:", err)
	}
	for _, begin := range []time.Time{time.Date(2026, 10, 24, 23, 0, 0, 0, time.UTC), time.Date(2026, 3, 28, 23, 0, 0, 0, time.UTC)} {
		r := newRig(t)
		c := r.work.Connections["a-1"]
		c.Zone = zone
		r.work.Connections["a-1"] = c
		var told []time.Duration
		r.work.Heard = func(_ string, received, device time.Time) { told = append(told, device.Sub(received)) }
		const n = 30
		for i := range n {
			r.clock = begin.Add(time.Duration(i) * 10 * time.Minute)
			m := fmt.Sprintf("H|\\^&|||X^1|||||||P|LIS2-A2|%s\rP|1\rO|1|S%d||^^^GLU|R\rR|1|^^^GLU|5.1|mmol/L||N||F\rL|1|N\r", r.clock.In(zone).Format("20060102150405"), i)
			a := r.in.ASTM("a-1", "p")
			r.must(a.Store(t.Context(), []e1381.Message{{Records: []byte(m)}}))
			r.must(a.Ended(t.Context()))
		}
		r.interpret()
		p, err := r.Search(t.Context(), Query{Connection: "lis", From: begin, To: begin.Add(24 * time.Hour)})
		r.must(err)
		if len(p.Entries) != n || p.Entries[0].Of != fmt.Sprintf("in/a-1/%d", n) || p.Entries[n-1].Of != "in/a-1/1" {
			t.Errorf("%d of %d", len(p.Entries), n)
		}
		if got := len(r.search(Query{Connection: "a-1", From: begin.Add(time.Hour), To: begin.Add(2 * time.Hour)})); got != 6 {
			t.Errorf("%d in an hour", got)
		}
		wrong := 0
		for _, d := range told {
			if d.Abs() == time.Hour {
				wrong++ // the hour that is there twice: the device does not say which
			} else if d != 0 {
				t.Errorf("drift %v", d)
			}
		}
		if len(told) != n || wrong > 6 {
			t.Errorf("%d told, %d an hour off", len(told), wrong)
		}
	}
}

// What retention removes with an entry is all that is there because of it.
func TestEntryKeysAreAllKeysOfTheEntries(t *testing.T) {
	r := newRig(t)
	r.astm("a-1", "27", "BN1", r.clock)
	r.clock = r.clock.Add(-time.Hour)
	r.astm("a-1", "28", "BN1", r.clock)
	r.astm("new", "29", "BN2", r.clock)
	r.hl7("M1", "BN3", "YL1", "S1")
	r.object("1.2.3", "CT1", "BN1", "a")
	r.object("1.2.3", "CT1", "BN2", "b")
	a := r.in.ASTM("a-2", "p") // its session has not ended
	r.must(a.Store(t.Context(), []e1381.Message{{Records: []byte("H|\\^&\rO|1|R1||^^^GLU\rR|1|^^^GLU|1\rL|1|N\r")}}))
	r.interpret()
	for _, d := range []string{"lis", "pacs"} {
		r.settle(d, func(int, delivery.Ticket) delivery.State { return delivery.Delivered })
	}
	there, err := r.Store.Keys("", 0)
	r.must(err)
	listed := map[string]int{}
	for _, c := range r.Store.Channels() {
		r.must(r.Store.Range(c, 1, 0, false, func(ref storage.Ref, b []byte) bool {
			e, err := intake.DecodeEntry(b)
			r.must(err)
			keys, err := interpret.EntryKeys(r.Store, ref, e)
			r.must(err)
			for _, k := range keys {
				listed[k]++
			}
			return true
		}))
	}
	for _, k := range there {
		if k != "control-id" && listed[k] != 1 {
			t.Errorf("%s is listed %d times", k, listed[k])
		}
		for _, secret := range []string{"BN1", "BN2", "BN3", "27", "YL1", "SECRET"} {
			if strings.Contains(k, "/"+secret) {
				t.Errorf("%s has an identifier in it", k)
			}
		}
	}
	if len(there) < 20 {
		t.Errorf("only %d keys", len(there))
	}

	// Retention takes one: it is gone, and that is no damage.
	ref := storage.Ref{Channel: "in/a-1", Seq: 1}
	raw, err := r.Store.Read(ref)
	r.must(err)
	e, err := intake.DecodeEntry(raw)
	r.must(err)
	keys, err := interpret.EntryKeys(r.Store, ref, e)
	r.must(err)
	b := new(storage.Batch)
	b.Trim(ref.Channel, 1, 1)
	for _, k := range keys {
		b.Delete(k)
	}
	_, err = r.Store.Commit(t.Context(), b)
	r.must(err)
	if _, err := r.Show(ref.String()); !errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), "retention") {
		t.Errorf("a trimmed entry: %v", err)
	}
	p, err := r.Search(t.Context(), Query{Connection: "a-1"})
	if err != nil || len(p.Entries) != 1 || p.Entries[0].Ref != "in/a-1/2" || len(p.Damaged) != 0 {
		t.Errorf("%v %+v", err, p)
	}
	for _, q := range []Query{{Specimen: "27"}, {From: r.clock.Add(-48 * time.Hour), To: r.clock.Add(-time.Hour), Connection: "a-1"}} {
		if p, err := r.Search(t.Context(), q); err != nil || len(p.Entries) != 0 || len(p.Damaged) != 0 {
			t.Errorf("%+v: %v %+v", q, err, p)
		}
	}
	if x, err := r.Show("out/lis/1"); err != nil || x.Of != "in/a-1/1" || x.Damaged != "" {
		t.Errorf("what was made of it: %v %+v", err, x)
	}
}

// One entry is shown with its bytes, what was answered, made of it and became of
// it; a damaged one is never shown as whole.
func TestShow(t *testing.T) {
	r := newRig(t)
	m := r.hl7("M1", "BN3", "YL1", "S1")
	r.astm("a-1", "27", "BN1", r.clock.Add(-time.Hour))
	r.object("1.2.3", "CT1", "BN1", "pixels")
	r.interpret()
	r.settle("lis", func(_ int, ticket delivery.Ticket) delivery.State {
		if ticket.ID == "M1" {
			return delivery.Delivered
		}
		return delivery.Held
	})
	x, err := r.Show("in/his/1")
	r.must(err)
	body, _, err := r.Bytes("in/his/1")
	r.must(err)
	b, _ := io.ReadAll(body)
	if string(b) != string(m) || !strings.Contains(string(x.Answer), "MSA|AA|M1") || x.Damaged != "" || !x.HasBytes {
		t.Errorf("%+v", x)
	}
	if len(x.Deliveries) != 1 || x.Deliveries[0].State != Delivered || x.Deliveries[0].Sent != "in/his/1" || !x.Deliveries[0].At.Equal(r.clock) || len(x.Sent) != 0 {
		t.Errorf("%+v", x.Deliveries)
	}
	x, err = r.Show("in/a-1/1")
	r.must(err)
	if len(x.Sent) != 1 || x.Sent[0].Ref != "out/lis/1" || x.Sent[0].Of != "in/a-1/1" || x.Sent[0].Direction != "out" {
		t.Fatalf("%+v", x.Sent)
	}
	if d := x.Deliveries[0]; d.State != Held || d.Reason.Code != reason.Answered || !slices.Equal(x.States, []State{Held}) {
		t.Errorf("%+v %v", d, x.States)
	}
	if x.DeviceTime.Sub(x.Received) != -time.Hour {
		t.Errorf("device time %v, received %v", x.DeviceTime, x.Received)
	}
	if x, err = r.Show("in/ct-1/1"); err != nil || x.Damaged != "" {
		t.Error(err, x.Damaged)
	}
	raw, err := r.Store.Read(storage.Ref{Channel: "in/ct-1", Seq: 1})
	r.must(err)
	e, err := intake.DecodeEntry(raw)
	r.must(err)
	r.must(r.Store.Spool().Remove(*e.Spool))
	if x, err = r.Show("in/ct-1/1"); err != nil || x.Damaged == "" {
		t.Errorf("an object that is gone is shown as whole: %v", err)
	}
	if _, _, err := r.Bytes("in/ct-1/1"); err == nil {
		t.Error("and its bytes are given")
	}
	for _, odd := range []string{"", "in/a-1", "in/a-1/0", "in/a-1/99", "audit/1", "../x/1", "in/nobody/1", "in/a-1/-1", "in/a-1/1/1"} {
		if _, err := r.Show(odd); err == nil {
			t.Errorf("%q is shown", odd)
		}
	}
}

func TestLinesShowEveryByteAndHideNone(t *testing.T) {
	for text, want := range map[string]string{
		"MSH|^~\\&|A\rPID|1\r":  `MSH|^~\&|A⟨CR⟩` + "\n" + `PID|1⟨CR⟩`,
		"a\r\nb\nc":             "a⟨CR⟩⟨LF⟩\nb⟨LF⟩\nc",
		"\x02x\x03\x1b[31m\x7f": "⟨STX⟩x⟨ETX⟩⟨ESC⟩[31m⟨DEL⟩",
		"Nguy\xe9n \u202eabc":   "Nguy⟨E9⟩n ⟨U+202E⟩abc",
		"ế":                     "ế",
		"":                      "",
	} {
		if got := strings.Join(Lines([]byte(text)), "\n"); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
}

func TestTimesOfAQuery(t *testing.T) {
	now := time.Date(2026, 1, 14, 8, 30, 0, 0, vn)
	for text, want := range map[string]string{
		"2h": "2026-01-14T06:30:00+07:00", "2026-01-13": "2026-01-13T00:00:00+07:00", "07:15": "2026-01-14T07:15:00+07:00",
		"2026-01-13 07:15": "2026-01-13T07:15:00+07:00", "2026-01-13T07:15:10": "2026-01-13T07:15:10+07:00", "2026-01-13T07:15:10Z": "2026-01-13T07:15:10Z",
	} {
		if got, err := ParseTime(text, vn, now); err != nil || got.Format(time.RFC3339) != want {
			t.Errorf("%q: %v %v", text, got, err)
		}
	}
	for _, text := range []string{"yesterday", "-2h", "2026-13-01", "8"} {
		if got, err := ParseTime(text, vn, now); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
}

// A search over 10⁵ entries and a long queue is quick, whatever it asks for.
func TestSearchInManyEntriesIsQuick(t *testing.T) {
	r := newRig(t)
	n := 100_000
	if raceDetector {
		n = 12_000
	}
	b, inBatch := new(storage.Batch), 0
	flush := func() {
		_, err := r.Store.Commit(t.Context(), b)
		r.must(err)
		b, inBatch = new(storage.Batch), 0
	}
	body := []byte(strings.Repeat("R|1|^^^GLU|5.1|mmol/L\r", 20))
	for i := range n {
		r.clock = r.clock.Add(time.Second)
		e := intake.Entry{Kind: intake.KindASTM, Fate: intake.Received, Connection: "a-1", At: r.clock.UTC(), Body: body}
		e.Seal()
		ref := fmt.Sprintf("in/a-1/%d", i+1)
		j := b.Append("in/a-1", e.Encode())
		id := fmt.Sprintf("XXXX01%010d", i)
		b.Put(intake.IndexKeys(intake.IndexName(intake.Specimen, fmt.Sprintf("S%d", i/2)))+ref, nil)
		b.Put("fate/"+ref, []byte(fmt.Sprintf(`{"s":[{"d":"lis","m":%q}]}`, id)))
		b.PutRef("sent/lis/"+id, j)
		if i%2 == 0 {
			b.Enqueue("to/lis", "g", delivery.Ticket{ID: id, Mark: id}.Encode(), j)
		} else {
			b.Put(delivery.DeliveredKey("lis", id), []byte(r.clock.UTC().Format(time.RFC3339)))
		}
		if inBatch++; inBatch == 200 {
			flush()
		}
	}
	flush()
	limit := 20 * time.Second // of a machine with other things to do
	if raceDetector {
		limit = 90 * time.Second
	}
	middle := r.clock.Add(-time.Duration(n/2) * time.Second)
	for name, test := range map[string]struct {
		q    Query
		want int
	}{
		"specimen":                 {Query{Specimen: fmt.Sprintf("S%d", n/4)}, 2},
		"specimen that is not":     {Query{Specimen: "S99999999"}, 0},
		"time":                     {Query{From: middle, To: middle.Add(50 * time.Second)}, 50},
		"newest":                   {Query{}, 100},
		"queued":                   {Query{State: Queued}, 100},
		"held, and there are none": {Query{State: Held}, 0},
		"a state that nothing has": {Query{State: Trial}, 0},
	} {
		begun := time.Now()
		p, err := r.Search(t.Context(), test.q)
		took := time.Since(begun)
		r.must(err)
		t.Logf("%s: %v", name, took.Round(time.Millisecond))
		if len(p.Entries) != test.want || took > limit {
			t.Errorf("%s: %d found in %v, want %d", name, len(p.Entries), took, test.want)
		}
		if test.q.State == Trial && p.Partial != (n > MaxScan) {
			t.Error("the search did not say that it stopped")
		}
	}
}
