package lab_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"nhip/drivers/astm/e1381"
	"nhip/drivers/profile"
	"nhip/gateway/control"
	"nhip/gateway/delivery"
	"nhip/gateway/intake"
	"nhip/gateway/interpret"
	"nhip/gateway/lab"
	"nhip/gateway/lis"
	"nhip/gateway/orders"
	"nhip/gateway/reason"
	"nhip/gateway/record"
	"nhip/gateway/ris"
	"nhip/gateway/route"
	"nhip/hl7"
	"nhip/hl7/ack"
	"nhip/storage"
	"nhip/storage/storagetest/figures"
)

// A step is one thing that happens in the laboratory: what, and to which of what is
// there, by numbers that fit whatever is there, so that a sequence without some of its
// steps is one too.
type step struct {
	what    string
	a, b, c int
}

// whats are the kinds of steps, the frequent ones several times.
var whats = strings.Fields("tube tube order order order change change cancel cancel-test query query query query push push run run run run run rerun rerun correct again again mistype held held match discard lis lis lis back settle resend restart merge day return")

func sequenceOf(r *rand.Rand) (all []step) {
	for range 10 + r.IntN(31) {
		all = append(all, step{whats[r.IntN(len(whats))], r.IntN(1000), r.IntN(1000), r.IntN(1000)})
	}
	return append([]step{{"tube", r.IntN(1000), r.IntN(1000), 0}, {"order", 0, 0, r.IntN(1000)}}, all...)
}

// A tube is a specimen as it stands in the rack. Its identifier is a running number that
// comes again on another day.
type tube struct {
	id      string
	patient *patient
	day     int
}

// A patient of the model: the number that is in force, and earlier ones.
type patient struct {
	n       int
	numbers []string
}

func (p *patient) number() string { return p.numbers[len(p.numbers)-1] }

// A service of the model.
type service struct {
	open, resulted bool
	priority       string
}

// An order of the model.
type order struct {
	number   string
	tube     *tube
	at       time.Time
	services map[string]*service // by code
	over     bool
}

func (o *order) open() bool {
	for _, s := range o.services {
		if s.open {
			return true
		}
	}
	return false
}

// A sentMessage is one message of an analyser.
type sentMessage struct {
	analyser *machine
	text     string
	tube     *tube
	id       string // as typed
	tests    []string
	values   []int
	day      int
}

// A machine is one analyser of the model.
type machine struct {
	lab.Analyser
	codes  []string
	pusher *lab.Pusher
}

// A system is the LIS: how it answers, and what it has.
type system struct {
	mu     sync.Mutex
	w      *world
	mode   string
	once   bool            // the mode ends with the next message
	last   map[string]int  // by order or specimen, and test
	most   map[string]int  //
	older  map[string]bool // the last one says that it is older
	values map[int]bool    // all that ever came
	ids    map[string]bool // control IDs
	closed []string        // what is wrong with what came
}

// Send is delivery.Sender.
func (s *system) Send(_ context.Context, it delivery.Item) delivery.Event {
	s.mu.Lock()
	mode := s.mode
	if s.once {
		s.mode, s.once = "", false
	}
	s.mu.Unlock()
	switch mode {
	case "away":
		return delivery.Event{Kind: delivery.NotSent, Why: reason.New(reason.NothingListens)}
	case "AE":
		return delivery.Event{Kind: delivery.Refused, Why: reason.New(reason.Answered, "AE")}
	case "AR":
		return delivery.Event{Kind: delivery.Rejected, Why: reason.New(reason.Answered, "AR")}
	case "slow":
		time.Sleep(3 * time.Second)
	}
	s.file(it)
	switch mode {
	case "lost": // the answer
		return delivery.Event{Kind: delivery.Unclear, Why: reason.Text("silence")}
	case "twice": // it is answered, and the second answer stands before the next one
		s.mu.Lock()
		s.mode, s.once = "lost", true
		s.mu.Unlock()
	}
	return delivery.Event{Kind: delivery.Accepted}
}

// Close is delivery.Sender.
func (s *system) Close() {}

// file takes a message as a LIS does: by the order where it has one, else by the
// specimen.
func (s *system) file(it delivery.Item) {
	m, err := s.w.message(it.About)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.closed = append(s.closed, err.Error())
		return
	}
	s.ids[it.ID] = true
	for _, x := range m.results {
		key := x.order + "/" + x.specimen + "/" + x.test
		if x.order != "" {
			key = x.order + "/" + x.test
		}
		s.last[key], s.most[key], s.older[key] = x.value, max(s.most[key], x.value), m.older
		s.values[x.value] = true
	}
}

// A rendered is what stands in a message to the LIS.
type rendered struct {
	patient string
	older   bool
	results []renderedResult
}

type renderedResult struct {
	order, specimen, ordered, test string
	value                          int
}

func readMessage(body []byte) (r rendered, err error) {
	m, err := hl7.Parse(body)
	if err != nil {
		return r, err
	}
	r.patient = m.Get("PID-3.1")
	specimen := m.Get("SPM-2.1")
	var group renderedResult
	for _, s := range m.Segments("OBR", "OBX", "NTE") {
		switch s.Name {
		case "OBR":
			group = renderedResult{order: s.Get("2.1"), ordered: s.Get("4.1"), specimen: specimen}
		case "NTE":
			r.older = r.older || strings.HasPrefix(s.Get("3"), "an older result")
		case "OBX":
			x := group
			x.test = s.Get("3.1")
			if x.value, err = strconv.Atoi(s.Get("5")); err != nil {
				return r, err
			}
			r.results = append(r.results, x)
		}
	}
	return r, nil
}

var builtin = sync.OnceValues(profile.Builtin)

// A world is a laboratory around the real parts.
type world struct {
	t     testing.TB
	dir   string
	store *storage.Store
	in    *intake.Intake
	book  *orders.Store
	app   *orders.Application
	desk  *lab.Desk
	works *interpret.Worker
	sends *delivery.Worker
	lis   *system
	stop  func()

	machines []*machine
	clock    atomic.Int64 // how far the gateway's clock is ahead of the bubble's, in which a day costs seconds
	n        int          // of messages

	// Of one sequence.
	name     string
	day      int
	tubes    []*tube
	patients []*patient
	orders   []*order
	sent     []sentMessage
	released map[int]bool      // values that a person let go on, or put under an order
	typed    map[string]string // values to tubes
	of       map[int]*sentMessage
	gone     map[int]bool // values that a person discarded
	value    int
	looked   uint64 // rendered messages
	trace    []string
	wrong    []string
	mu       sync.Mutex
}

func newWorld(t testing.TB) *world {
	w := &world{t: t, dir: t.TempDir(), lis: &system{}}
	w.lis.w = w
	chemistry := lab.Analyser{Name: "a", Policy: lab.Required, Window: 12 * time.Hour, Codes: lab.ByCode{Codes: []string{"GLU", "ALT"}}, Zone: time.UTC}
	second := lab.Analyser{Name: "b", Policy: lab.Warn, Window: 48 * time.Hour, Codes: lab.ByCode{Codes: []string{"ALT", "NA"}}, Zone: time.UTC}
	alone := lab.Analyser{Name: "c", Policy: lab.None, Codes: lab.ByCode{Codes: []string{"GLU", "ALT", "NA"}}, Zone: time.UTC}
	w.machines = []*machine{{Analyser: chemistry, codes: []string{"GLU", "ALT"}}, {Analyser: second, codes: []string{"ALT", "NA"}}, {Analyser: alone, codes: []string{"GLU", "ALT", "NA"}}}
	w.begin("")
	w.open()
	return w
}

// open starts the gateway's parts on the store.
func (w *world) open() {
	quiet := slog.New(slog.DiscardHandler)
	var err error
	if w.store, err = storage.Open(context.Background(), storage.Options{Dir: w.dir, Log: quiet}); err != nil {
		w.t.Fatal(err)
	}
	w.desk = &lab.Desk{Log: quiet, Merged: w.merged, Now: w.now}
	for _, m := range w.machines {
		w.desk.Analysers = append(w.desk.Analysers, m.Analyser)
	}
	w.machines[1].pusher = w.desk.Pusher(w.machines[1].Analyser, lab.Ways{Download: true, Cancel: true})
	w.book, err = orders.Open(context.Background(), orders.Options{Store: w.store, Log: quiet, Now: w.now, Policy: orders.DefaultPolicy(), Committed: w.desk.Changed})
	if err != nil {
		w.t.Fatal(err)
	}
	w.desk.Orders = w.book
	w.in = intake.New(w.store, quiet)
	w.in.Now = w.now
	w.app = &orders.Application{Store: w.book, Link: func(string) orders.Link {
		return orders.Link{Rules: ris.Rules{OrderRules: lis.OrderRules{Zone: time.UTC, Authorities: lis.AuthorityRules{Link: "his"}}, Site: "bv"}}
	}}
	profiles, err := builtin()
	if err != nil {
		w.t.Fatal(err)
	}
	connections, routes, analysers := map[string]interpret.Connection{}, route.Table{}, map[string]lab.Analyser{}
	for _, m := range w.machines {
		connections[m.Name] = interpret.Connection{Name: m.Name, Kind: interpret.Analyser, Zone: time.UTC, Profile: profiles["generic-astm"]}
		routes[m.Name] = route.Plan{To: []route.Destination{{Name: "lis", Kind: route.HL7}}}
		analysers[m.Name] = m.Analyser
	}
	connections["his"] = interpret.Connection{Name: "his", Kind: interpret.Peer, Zone: time.UTC}
	w.works = &interpret.Worker{Store: w.store, Intake: w.in, Site: interpret.Site{ID: "bv"}, Connections: connections, Routes: routes, Log: quiet, Now: w.now}
	w.works.Knows.Marks = w.book.MarkIn
	w.works.Knows.Ordered = func(connection string, rep record.Report, l interpret.Look) (lab.Finding, error) {
		if l.Order != "" {
			return w.desk.Assign(analysers[connection], rep, l.Order)
		}
		return w.desk.Find(analysers[connection], rep, l.Received, l.Released)
	}
	w.sends = &delivery.Worker{Destination: "lis", Store: w.store, Senders: []delivery.Sender{w.lis}, Policy: delivery.DefaultPolicy(), LinkMax: 10 * time.Second, Log: quiet, NewestLast: interpret.OfSpecimen}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = w.works.Run(ctx) })
	running.Go(func() { _ = w.sends.Run(ctx) })
	running.Go(func() { w.desk.Recall(ctx) })
	running.Go(func() { _ = w.machines[1].pusher.Run(ctx) })
	w.stop = func() {
		cancel()
		running.Wait()
		if err := w.book.Flush(context.Background()); err != nil {
			w.t.Error(err)
		}
		if err := w.store.Close(); err != nil {
			w.t.Error(err)
		}
	}
}

// begin forgets what the sequence before knew.
func (w *world) begin(name string) {
	*w.lis = system{w: w, last: map[string]int{}, most: map[string]int{}, older: map[string]bool{}, values: map[int]bool{}, ids: map[string]bool{}}
	w.name, w.day, w.tubes, w.patients, w.orders, w.sent, w.trace, w.wrong = name, 0, nil, nil, nil, nil, nil, nil
	w.released, w.gone, w.of = map[int]bool{}, map[int]bool{}, map[int]*sentMessage{}
	for n := range 3 {
		w.patients = append(w.patients, &patient{n, []string{fmt.Sprintf("P%s%d", name, n)}})
	}
}

func (w *world) now() time.Time { return time.Now().Add(time.Duration(w.clock.Load())) }

func (w *world) merged(_, number string) (record.Person, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.patients {
		if slices.Contains(p.numbers[:len(p.numbers)-1], number) {
			return record.Person{Identifiers: []record.Identifier{{Value: p.number(), Authority: "BV"}}}, true
		}
	}
	return record.Person{}, false
}

func (w *world) say(format string, a ...any) { w.trace = append(w.trace, fmt.Sprintf(format, a...)) }

func (w *world) fault(format string, a ...any) { w.wrong = append(w.wrong, fmt.Sprintf(format, a...)) }

func (w *world) must(err error) {
	if err != nil {
		w.fault("%v", err)
	}
}

// calm lets everything that can be done at once be done.
func (w *world) calm() {
	time.Sleep(200 * time.Millisecond)
	synctest.Wait()
	w.must(w.book.Flush(context.Background()))
	w.render()
}

// message reads what was rendered for the LIS.
func (w *world) message(ref storage.Ref) (rendered, error) {
	raw, err := w.store.Read(ref)
	if err != nil {
		return rendered{}, err
	}
	e, err := intake.DecodeEntry(raw)
	if err != nil {
		return rendered{}, err
	}
	body, err := intake.Body(w.store, e)
	if err != nil {
		return rendered{}, err
	}
	return readMessage(body)
}

// render looks at what was rendered since the last time: under the right order and
// patient, and not under one that is over. What a person decided is his.
func (w *world) render() {
	var fresh []storage.Ref
	w.must(w.store.Range(interpret.OutChannel("lis"), w.looked+1, 0, false, func(ref storage.Ref, _ []byte) bool {
		fresh = append(fresh, ref)
		return true
	}))
	for _, ref := range fresh {
		w.looked = ref.Seq
		m, err := w.message(ref)
		if err != nil {
			w.fault("rendered: %v", err)
			continue
		}
		for _, x := range m.results {
			w.rendered(m, x)
		}
	}
}

func (w *world) rendered(m rendered, x renderedResult) {
	from := w.of[x.value]
	if from == nil {
		w.fault("a value that nobody measured: %d", x.value)
		return
	}
	if x.order == "" {
		if m.patient != "" && !slices.ContainsFunc(w.patients, func(p *patient) bool { return slices.Contains(p.numbers, m.patient) && p == from.tube.patient }) {
			w.fault("value %d, without an order, is under patient %s", x.value, m.patient)
		}
		return
	}
	i := slices.IndexFunc(w.orders, func(o *order) bool { return o.number == x.order })
	if i < 0 {
		w.fault("value %d is under an order that nobody placed: %s", x.value, x.order)
		return
	}
	o := w.orders[i]
	if m.patient != o.tube.patient.number() && o.open() {
		w.fault("value %d under %s is of patient %s, not %s", x.value, x.order, m.patient, o.tube.patient.number())
	}
	s := o.services[x.ordered]
	if s == nil {
		w.fault("value %d is under %s of %s, which was not ordered", x.value, x.ordered, x.order)
		return
	}
	if w.released[x.value] {
		s.resulted = s.resulted || s.open
		return
	}
	switch {
	case o.tube != from.tube:
		w.fault("MISFILED: value %d of specimen %s, patient %s, is under order %s of specimen %s, patient %s", x.value, from.tube.id, from.tube.patient.number(), x.order, o.tube.id, o.tube.patient.number())
	case !s.open:
		w.fault("value %d is under %s of %s, which is cancelled or replaced", x.value, x.ordered, x.order)
	case x.ordered != x.test:
		w.fault("value %d of %s is under %s", x.value, x.test, x.ordered)
	}
	s.resulted = true
}

// his sends a message of orders, and wants AA.
func (w *world) his(control string, o *order, tests []string, priority string) {
	w.n++
	text := fmt.Sprintf("MSH|^~\\&|HIS|BV|NHIP|BV|%s||OML^O21^OML_O21|M%d|P|2.5.1||||||UNICODE UTF-8\rPID|1||%s^^^BV^MR||Nguyễn^Thị %d||1980|F\r",
		w.now().UTC().Format("20060102150405+0000"), w.n, o.tube.patient.number(), o.tube.patient.n)
	if len(tests) == 0 {
		text += "ORC|" + control + "|" + o.number + "\r"
	}
	for i, x := range tests {
		text += fmt.Sprintf("ORC|%s|%s\rTQ1|1||||||||%s\rOBR|%d|%s||%s^%s^L\rSPM|1|%s||SER\r", control, o.number, priority, i+1, o.number, x, x, o.tube.id)
	}
	m, err := hl7.Parse([]byte(text))
	if err == nil {
		var answer []byte
		answer, _, err = w.in.Decided(context.Background(), w.app, intake.Incoming{Link: "his", Message: m}, nil, func(d intake.Decision, _ *storage.Batch) ([]byte, error) {
			a, _ := ack.Options{Mode: ack.Original}.Answer(m, d.Verdict, "A", time.Now(), d.Segments)
			return a.Message, nil
		})
		if err == nil && !strings.Contains(string(answer), "\rMSA|AA|") {
			err = fmt.Errorf("%s of %s is answered %q", control, o.number, answer)
		}
	}
	w.must(err)
	w.calm()
}

// masked are the tests of a list by the bits of a number; one at least.
func masked(all []string, mask int) (some []string) {
	for i, t := range all {
		if mask>>i&1 == 1 {
			some = append(some, t)
		}
	}
	if len(some) == 0 {
		some = all[mask%len(all):][:1]
	}
	return some
}

var tests = []string{"GLU", "ALT", "NA"}

func pick[T any](all []T, n int) (x T, ok bool) {
	if len(all) == 0 {
		return x, false
	}
	return all[n%len(all)], true
}

// do does a step, as far as it means anything now.
func (w *world) do(s step) {
	before := len(w.trace)
	switch s.what {
	case "tube":
		w.newTube(s)
	case "order", "change", "cancel", "cancel-test", "return":
		w.orderStep(s)
	case "query":
		w.query(s)
	case "push":
		w.push(s)
	case "run", "rerun", "correct", "again", "mistype":
		w.measureStep(s)
	case "held", "match", "discard", "settle", "resend":
		w.person(s)
	case "lis":
		modes := []string{"away", "AE", "AR", "slow", "lost", "twice"}
		w.lis.mu.Lock()
		w.lis.mode = modes[s.a%len(modes)]
		w.lis.once = w.lis.mode != "away" && w.lis.mode != "slow"
		w.say("the LIS is %s", w.lis.mode)
		w.lis.mu.Unlock()
	case "back":
		w.back()
	case "restart":
		w.stop()
		w.open()
		w.say("the gateway starts anew")
	case "merge":
		p, _ := pick(w.patients, s.a)
		w.merge(p)
	case "day":
		w.say("a day passes")
		w.clock.Add(int64(24 * time.Hour))
		w.day++
	}
	if len(w.trace) > before {
		w.calm()
	}
}

func (w *world) back() {
	w.lis.mu.Lock()
	w.lis.mode, w.lis.once = "", false
	w.lis.mu.Unlock()
	w.say("the LIS is well")
}

// newTube takes a specimen. A running number is of one patient on one day, and once it
// comes again the tube of before is not measured any more.
func (w *world) newTube(s step) {
	p, _ := pick(w.patients, s.b)
	id := fmt.Sprintf("%s-%d", w.name, s.a%3)
	for _, x := range w.tubes {
		if x.id == id && x.day == w.day {
			return
		}
	}
	w.tubes = append(w.tubes, &tube{id, p, w.day})
	w.say("day %d: specimen %s is taken of patient %s", w.day, id, p.number())
}

// rack are the tubes that may be measured.
func (w *world) rack() (all []*tube) {
	for i, x := range w.tubes {
		if !slices.ContainsFunc(w.tubes[i+1:], func(y *tube) bool { return y.id == x.id }) {
			all = append(all, x)
		}
	}
	return all
}

func (w *world) orderStep(s step) {
	if s.what == "order" {
		// What is ordered for a tube is ordered on its day: of an order that comes when its
		// number was given to another tube nobody could know which is meant.
		today := slices.DeleteFunc(w.rack(), func(x *tube) bool { return x.day != w.day })
		if x, ok := pick(today, s.a); ok {
			o := &order{number: fmt.Sprintf("O%s.%d", w.name, len(w.orders)), tube: x, at: w.now(), services: map[string]*service{}}
			for _, t := range masked(tests, s.c) {
				o.services[t] = &service{open: true, priority: "R"}
			}
			w.orders = append(w.orders, o)
			w.say("order %s for %s of %s: %v", o.number, x.id, x.patient.number(), masked(tests, s.c))
			w.his("NW", o, masked(tests, s.c), "R")
		}
		return
	}
	o, ok := pick(w.orders, s.a)
	if !ok || !o.open() {
		return
	}
	switch s.what {
	case "change":
		w.change(o, masked(tests, s.c), []string{"R", "S"}[s.b%2])
	case "cancel":
		w.say("%s is cancelled", o.number)
		for _, x := range o.services {
			x.open = false
		}
		w.his("CA", o, nil, "")
	case "cancel-test":
		t := masked(slices.Sorted(maps.Keys(o.services)), 0)[0]
		w.say("%s of %s is cancelled", t, o.number)
		o.services[t].open = false
		w.his("CA", o, []string{t}, "R")
	case "return":
		n, err := w.desk.Return(context.Background(), o.number)
		w.must(err)
		w.say("%s is given back to the analysers: %d", o.number, n)
		for _, x := range o.services {
			x.resulted = x.resulted && !x.open
		}
	}
}

// change makes an order what a message says: the rules are those of package orders.
func (w *world) change(o *order, to []string, priority string) {
	w.say("%s is changed: %v, %s", o.number, to, priority)
	if len(o.services) == 1 && len(to) == 1 {
		for code, x := range o.services {
			if code != to[0] || x.priority != priority {
				x.resulted = false
			}
			x.priority = priority
			delete(o.services, code)
			o.services[to[0]] = x
			break
		}
		w.his("XO", o, to, priority)
		return
	}
	live := slices.ContainsFunc(to, func(t string) bool { return o.services[t] == nil || o.services[t].open })
	if live {
		for code, x := range o.services {
			if !slices.Contains(to, code) {
				x.open = false
			}
		}
		for _, t := range to {
			switch x := o.services[t]; {
			case x == nil:
				o.services[t] = &service{open: true, priority: priority}
			case x.open && x.priority != priority:
				x.priority, x.resulted = priority, false
			}
		}
		w.his("XO", o, to, priority)
	}
}

func (w *world) merge(p *patient) {
	was := p.number()
	to := record.Person{Identifiers: []record.Identifier{{Value: was + "m", Authority: "BV"}}, Name: record.Name{Family: "Nguyễn", Given: fmt.Sprintf("Thị %d", p.n)}, Birth: "1980", Sex: "F"}
	b := new(storage.Batch)
	_, end, err := w.book.Repatient(b, orders.Turn{Link: "his", Control: "A40"}, func(record.Order) (record.Person, bool) { return to, true }, record.Identifier{Value: was, Authority: "BV"})
	if err == nil {
		_, err = w.store.Commit(context.Background(), b)
		end(err)
	}
	w.must(err)
	w.mu.Lock()
	p.numbers = append(p.numbers, was+"m")
	w.mu.Unlock()
	w.say("patient %s becomes %s", was, p.number())
}

// offered is what a machine may be given for an identifier now, by the model: whose it
// is, and the tests. Of two patients nothing.
func (w *world) offered(m *machine, id string) (whose string, codes []string) {
	of := map[*patient][]string{}
	for _, o := range w.orders {
		if o.tube.id != id || w.now().Sub(o.at) > m.Window {
			continue
		}
		for code, x := range o.services {
			if x.open && !x.resulted && slices.Contains(m.codes, code) {
				of[o.tube.patient] = append(of[o.tube.patient], code)
			}
		}
	}
	if len(of) != 1 {
		return "", nil
	}
	for p, all := range of {
		whose = p.number()
		slices.Sort(all)
		codes = slices.Compact(all)
	}
	return whose, codes
}

// query asks for an identifier, and compares with the model.
func (w *world) query(s step) {
	m := w.machines[s.a%2]
	x, ok := pick(w.tubes, s.b)
	if !ok {
		return
	}
	q := record.Query{Specimens: []string{x.id}}
	line := w.desk.For(m.Analyser)
	work, err := line.Work(context.Background(), q)
	w.must(err)
	whose, codes := w.offered(m, x.id)
	w.say("%s asks for %s: %v of %s", m.Name, x.id, codes, whose)
	var got []string
	for _, y := range work {
		got = append(got, y.Tests...)
		if y.Patient == nil || y.Patient.ID != whose {
			w.fault("%s is given work of another patient than %s", m.Name, whose)
		}
		w.newest(m.Name, y)
	}
	slices.Sort(got)
	if !slices.Equal(got, codes) {
		w.fault("%s asks for %s and is given %v, by the rules %v", m.Name, x.id, got, codes)
	}
	if s.c%3 == 0 {
		err = fmt.Errorf("the line broke")
	}
	line.Handed(q, work, err)
}

func (w *world) measureStep(s step) {
	switch s.what {
	case "again":
		if x, ok := pick(w.sent, s.a); ok && !w.givenAgain(x) {
			w.say("the operator of %s sends %v of %s again", x.analyser.Name, x.values, x.id)
			w.transmit(x)
		}
		return
	case "correct", "rerun":
		if x, ok := pick(w.sent, s.a); ok && slices.Contains(w.rack(), x.tube) && !w.unknowable(x.analyser, x.tube, x.tests) {
			w.measure(x.analyser, x.tube, x.id, x.tests, s.b, map[string]string{"correct": "C", "rerun": "F"}[s.what])
		}
		return
	}
	x, ok := pick(w.rack(), s.b)
	if !ok {
		return
	}
	m := w.machines[s.a%len(w.machines)]
	if w.unknowable(m, x, masked(m.codes, s.c)) {
		return
	}
	id := x.id
	if s.what == "mistype" {
		id = "9" + id
	}
	w.measure(m, x, id, masked(m.codes, s.c), s.a/10, "F")
}

// unknowable reports whether a tube has no order for one of the tests while there are
// orders for one of the same number, of another day but within the machine's window: such
// a tube is not run without its order.
func (w *world) unknowable(m *machine, x *tube, codes []string) bool {
	other, own := false, map[string]bool{}
	for _, o := range w.orders {
		if o.tube == x {
			for code, y := range o.services {
				own[code] = own[code] || y.open
			}
		}
		other = other || o.tube != x && o.tube.id == x.id && w.now().Sub(o.at) <= m.Window
	}
	return other && slices.ContainsFunc(codes, func(c string) bool { return !own[c] })
}

// givenAgain reports whether the number of a tube was given to another one on the day on
// which it was measured, or before: nobody could know which of them is meant.
func (w *world) givenAgain(x sentMessage) bool {
	return slices.ContainsFunc(w.tubes, func(y *tube) bool { return y != x.tube && y.id == x.tube.id && y.day > x.tube.day && y.day <= x.day })
}

// measure runs tests on a tube; the value of each is greater than all before it.
func (w *world) measure(m *machine, x *tube, id string, codes []string, naming int, status string) {
	named := []string{"", x.patient.number(), x.patient.numbers[0]}[naming%3]
	msg := sentMessage{analyser: m, tube: x, id: id, tests: codes, day: w.day}
	w.n++
	text := fmt.Sprintf("H|\\^&|%d||X^1\rP|1||%s\rO|1|%s||^^^%s\r", w.n, named, id, codes[0])
	for i, c := range codes {
		w.value++
		msg.values = append(msg.values, w.value)
		text += fmt.Sprintf("R|%d|^^^%s|%d|mmol/L||N||%s||||%s\r", i+1, c, w.value, status, w.now().UTC().Format("20060102150405"))
	}
	msg.text = text + "L|1|N\r"
	w.sent = append(w.sent, msg)
	for _, v := range msg.values {
		w.of[v] = &msg
	}
	certain := id == x.id && m.Policy != lab.None && w.certain(m, x, codes)
	w.say("%s reports %v of %s (specimen %s of %s), names %q, %s: %v", m.Name, codes, id, x.id, x.patient.number(), named, status, msg.values)
	held := w.store.Depth(intake.HeldQueue)
	w.transmit(msg)
	if certain && w.store.Depth(intake.HeldQueue) != held {
		w.fault("nothing stands against it, and it is held")
	}
}

// certain reports whether a result can go under one order only, which waits for it.
func (w *world) certain(m *machine, x *tube, codes []string) bool {
	waiting := map[string]int{}
	for _, o := range w.orders {
		if o.tube.id != x.id || !o.open() {
			continue
		}
		if o.tube != x || w.now().Sub(o.at) > m.Window {
			return false
		}
		for code, y := range o.services {
			if y.open && !y.resulted {
				waiting[code]++
			}
		}
	}
	for _, c := range codes {
		if waiting[c] != 1 {
			return false
		}
	}
	return true
}

func (w *world) transmit(x sentMessage) {
	a := w.in.ASTM(x.analyser.Name, "")
	w.must(a.Store(context.Background(), []e1381.Message{{Records: []byte(x.text), Frames: 1}}))
	w.must(a.Ended(context.Background()))
	w.calm()
}

// heldItems are what is held before it has a destination.
func (w *world) heldItems() []storage.QueueItem {
	items, err := w.store.Items(intake.HeldQueue, 0, 0)
	w.must(err)
	return items
}

// valuesOf are the values in the entry of an item.
func (w *world) valuesOf(it storage.QueueItem) (all []int) {
	raw, err := w.store.Read(it.About[0])
	w.must(err)
	e, err := intake.DecodeEntry(raw)
	w.must(err)
	for _, x := range w.sent {
		if x.text == string(e.Body) {
			return x.values
		}
	}
	return nil
}

// actor is who acts.
var actor = control.Actor{User: "hoa", By: "Hoa"}

// person does what a person may do about what waits.
func (w *world) person(s step) {
	switch s.what {
	case "settle":
		held := w.sends.Held(10)
		if x, ok := pick(held, s.a); ok {
			w.say("message %s, refused by the LIS, is %s", x.ID, []string{"sent again", "discarded"}[s.b%2])
			if s.b%2 == 0 {
				w.must(w.sends.Release(context.Background(), actor, x.Seq, "again"))
				return
			}
			m, err := w.message(x.About)
			w.must(err)
			for _, y := range m.results {
				w.gone[y.value] = true
			}
			w.must(w.sends.Discard(context.Background(), actor, x.Seq, "wrong"))
		}
		return
	case "resend":
		w.lis.mu.Lock()
		id, ok := pick(slices.Sorted(maps.Keys(w.lis.ids)), s.a)
		w.lis.mu.Unlock()
		if ok {
			_, err := w.sends.Resend(context.Background(), actor, delivery.Selection{IDs: []string{id}}, "lost there")
			w.say("message %s is sent to the LIS again: %v", id, err)
		}
		return
	}
	it, ok := pick(w.heldItems(), s.a)
	if !ok {
		return
	}
	t, err := intake.DecodeHeldTicket(it.Value)
	w.must(err)
	values := w.valuesOf(it)
	b := new(storage.Batch)
	b.Remove(intake.HeldQueue, it.Seq)
	b.Add(intake.CountHeld, -1)
	to := t.For
	switch s.what {
	case "discard":
		w.say("what is held of %v is discarded", values)
		for _, v := range values {
			w.gone[v] = true
		}
		b.Add(delivery.CountDiscarded, 1)
		_, err = w.store.Commit(context.Background(), b)
		w.must(err)
		return
	case "held":
		to.Older = t.Reason.Code == reason.Older
		w.say("what is held of %v (%s) is released", values, t.Reason.Code)
	case "match":
		o, ok := pick(w.orders, s.b)
		if !ok {
			return
		}
		to.Order, to.Older = o.number, false
		w.say("what is held of %v (%s) is matched to %s", values, t.Reason.Code, o.number)
	}
	for _, v := range values {
		w.released[v] = true
	}
	b.EnqueueRef(intake.Interpret, it.Group, to.Again(), it.About...)
	b.Add(intake.CountQueued, 1)
	_, err = w.store.Commit(context.Background(), b)
	w.must(err)
}

// push tells the machine that takes orders without asking what there is to tell it: at
// the moment when it is told that is what the model has.
func (w *world) push(s step) {
	p := w.machines[1].pusher
	for range 100 {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		job, err := p.Next(ctx)
		cancel()
		if err != nil {
			return
		}
		told, err := job.Step()
		w.must(err)
		if told.None() || !strings.HasPrefix(told.Work.Specimen, w.name+"-") { // of the sequence before
			job.Done(context.Background(), nil, nil)
			continue
		}
		whose, codes := w.offered(w.machines[1], told.Work.Specimen)
		w.say("b is told of %s without asking: %v, cancel %v", told.Work.Specimen, told.Work.Tests, told.Cancel)
		if !told.Cancel {
			w.toldWork(told.Work, whose, codes)
		}
		job.Done(context.Background(), nil, []error{nil, nil, lab.ErrUntold}[s.c%3])
		if s.c%3 == 2 {
			return
		}
	}
}

func (w *world) toldWork(x record.Work, whose string, codes []string) {
	if x.Patient == nil || x.Patient.ID != whose {
		w.fault("b is told work of another patient than %s", whose)
	}
	for _, t := range x.Tests {
		if !slices.Contains(codes, t) {
			w.fault("b is told %s of %s; by the rules there is %v", t, x.Specimen, codes)
		}
	}
	w.newest("b", x)
}

// newest wants the newest version of each service that a machine is given.
func (w *world) newest(machine string, x record.Work) {
	for _, v := range x.Services {
		e, ok, err := w.book.Get(v.Order)
		if err != nil || !ok || e.Version != v.Version {
			w.fault("%s is given version %d of order %d, the newest is %d", machine, v.Version, v.Order, e.Version)
		}
	}
}

// end lets everything come to its end, and looks at what the LIS has.
func (w *world) end() {
	w.back()
	for range 20 {
		for _, x := range w.sends.Held(1000) {
			w.must(w.sends.Release(context.Background(), actor, x.Seq, "again"))
		}
		time.Sleep(11 * time.Second)
		w.calm()
		if w.sends.Depth() == 0 {
			break
		}
	}
	if n := w.sends.Depth(); n != 0 {
		w.fault("%d messages do not reach the LIS", n)
	}
	w.lis.mu.Lock()
	defer w.lis.mu.Unlock()
	for _, x := range w.lis.closed {
		w.fault("%s", x)
	}
	for key, v := range w.lis.last {
		if v != w.lis.most[key] && !w.lis.older[key] {
			w.fault("OLDER: the LIS has %d last for %s, and had %d before", v, key, w.lis.most[key])
		}
	}
	held := map[int]bool{}
	for _, it := range w.heldItems() {
		for _, v := range w.valuesOf(it) {
			held[v] = true
		}
	}
	for _, x := range w.sent {
		for _, v := range x.values {
			if !w.lis.values[v] && !held[v] && !w.gone[v] {
				w.fault("LOST: value %d", v)
			}
		}
	}
	w.sum()
}

// sum checks the conservation sum, and discards what is still held.
func (w *world) sum() {
	b := new(storage.Batch)
	items := w.heldItems()
	for _, it := range items {
		b.Remove(intake.HeldQueue, it.Seq)
	}
	if len(items) > 0 {
		b.Add(intake.CountHeld, -int64(len(items)))
		b.Add(delivery.CountDiscarded, int64(len(items)))
		_, err := w.store.Commit(context.Background(), b)
		w.must(err)
	}
	c := w.store.Snapshot().Counters
	got := c[delivery.CountDelivered] + c[intake.CountQueued] + c[intake.CountHeld] + c[delivery.CountDiscarded]
	for k, n := range c {
		if strings.HasPrefix(k, intake.CountConsumed) {
			got += n
		}
	}
	if c[intake.CountAccepted] != got {
		w.fault("accepted %d, and the sum is %d: %v", c[intake.CountAccepted], got, c)
	}
}

// play does a sequence to its first fault.
func (w *world) play(name string, sequence []step) []string {
	w.begin(name)
	for _, s := range sequence {
		w.do(s)
		if len(w.wrong) > 0 {
			return w.wrong
		}
	}
	w.end()
	return w.wrong
}

// playAlone does a sequence in a world of its own.
func playAlone(t *testing.T, sequence []step) (wrong, trace []string) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		wrong, trace = w.play("1", sequence), w.trace
		w.stop()
	})
	return wrong, trace
}

// shrink leaves out steps for as long as something is still wrong.
func shrink(t *testing.T, sequence []step) []step {
	for size, left := len(sequence)/2, 80; size > 0 && left > 0; left-- {
		shorter := false
		for i := 0; i+size <= len(sequence); i++ {
			some := slices.Concat(sequence[:i], sequence[i+size:])
			if wrong, _ := playAlone(t, some); len(wrong) > 0 {
				sequence, shorter = some, true
				i--
			}
		}
		if !shorter || size > 1 {
			size /= 2
		}
	}
	return sequence
}

// Random interleavings of orders, changes, cancels, merges, queries, results, reruns,
// corrections, resends, what persons do about what is held, a LIS that is away, refuses
// or answers twice, and restarts, against a model: never a cancelled or older version
// handed out, no result under another patient's or a cancelled order, none lost, and no
// older result last at the LIS.
func TestInterleavingsOfOrdersAndResults(t *testing.T) {
	sequences, seed := 60, uint64(time.Now().UnixNano())
	if figures.Soak() {
		sequences = 10_000
	}
	if text := os.Getenv("NHIP_MODEL_SEED"); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		seed = n
	}
	const perStore = 250
	steps, values := 0, 0
	for first := 0; first < sequences; first += perStore {
		var failed []step
		var said string
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			defer func() { w.stop() }()
			for n := first; n < min(first+perStore, sequences); n++ {
				sequence := sequenceOf(rand.New(rand.NewPCG(seed, uint64(n))))
				if wrong := w.play(fmt.Sprint(n), sequence); len(wrong) > 0 {
					failed = sequence
					said = fmt.Sprintf("NHIP_MODEL_SEED=%d, sequence %d: %s\n%s", seed, n, strings.Join(wrong, "\n"), strings.Join(w.trace, "\n"))
					return
				}
				steps += len(sequence)
				values = w.value
			}
		})
		if failed != nil {
			wrong, trace := playAlone(t, shrink(t, failed))
			t.Fatalf("%s\nshrunken: %s\n%s", said, strings.Join(wrong, "\n"), strings.Join(trace, "\n"))
		}
	}
	_ = values
	figures.Report(t, fmt.Sprintf("%d interleavings of %d steps: 0 cancelled or older versions handed out, 0 misfiled, 0 lost, 0 older results last at the LIS", sequences, steps), "0 of each")
}
