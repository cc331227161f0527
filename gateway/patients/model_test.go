package patients

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"nhip/gateway/record"
)

// model is what the rules of the package say, in the plainest form: no store, no
// index, every order looked up anew.
type model struct {
	numbers map[string]int // number -> record
	records map[int]modelRecord
}

type modelRecord struct {
	numbers []string // in force
	name    string
	told    int // when: 0 never, else old or recent
	into    int
}

func (m model) clone() model {
	c := model{maps.Clone(m.numbers), map[int]modelRecord{}}
	for id, r := range m.records {
		r.numbers = slices.Clone(r.numbers)
		c.records[id] = r
	}
	return c
}

func (m model) survivor(id int) int {
	for m.records[id].into != 0 {
		id = m.records[id].into
	}
	return id
}

func (m model) leads(from, to int) bool {
	for from != 0 && from != to {
		from = m.records[from].into
	}
	return from == to
}

func (m model) make(numbers ...string) int {
	id := len(m.records) + 1
	m.records[id] = modelRecord{numbers: slices.Clone(numbers)}
	for _, n := range numbers {
		m.numbers[n] = id
	}
	return id
}

// When something was told.
const (
	old    = 1
	recent = 2
)

// tell is a PID of one or two numbers; 0 means that it is refused.
func (m model) tell(numbers []string, name string, told int) int {
	var known, survivors []int
	for _, n := range numbers {
		if id := m.numbers[n]; id != 0 {
			known = append(known, id)
			if s := m.survivor(id); !slices.Contains(survivors, s) {
				survivors = append(survivors, s)
			}
		}
	}
	if len(survivors) > 1 {
		return 0
	}
	var id int
	switch {
	case len(known) == 0:
		id = m.make(numbers...)
	case slices.Contains(known, survivors[0]):
		id = survivors[0]
	default:
		id = known[0]
	}
	r := m.records[id]
	inForce := slices.ContainsFunc(numbers, func(n string) bool { return slices.Contains(r.numbers, n) })
	for _, n := range numbers {
		if m.numbers[n] == 0 {
			m.numbers[n] = id
			r.numbers = append(r.numbers, n)
		}
	}
	if inForce && told >= r.told {
		r.name, r.told = cmp.Or(name, r.name), told
	}
	m.records[id] = r
	return id
}

func authority(n string) string { return n[strings.Index(n, "@"):] }

// arrow is a merge, or a move of a record's last number.
func (m model) arrow(from, to int) (again, ok bool) {
	switch {
	case m.leads(to, from):
		return false, false
	case m.leads(from, to):
		return true, true
	case m.records[from].into != 0:
		return false, false
	}
	return false, true
}

func (m model) prior(n string) int {
	if id := m.numbers[n]; id != 0 {
		return id
	}
	return m.make(n)
}

func (m model) merge(prior, target, name string) bool {
	if prior == target || authority(prior) != authority(target) {
		return false
	}
	to := m.tell([]string{target}, name, recent)
	from := m.prior(prior)
	if from == to {
		return false
	}
	again, ok := m.arrow(from, to)
	if ok && !again {
		r := m.records[from]
		r.into = to
		m.records[from] = r
	}
	return ok
}

func (m model) unmerge(a, b string) bool {
	x, y := m.numbers[a], m.numbers[b]
	if x == 0 || y == 0 || x == y {
		return false
	}
	for _, p := range [][2]int{{x, y}, {y, x}} {
		if m.leads(p[0], p[1]) {
			r := m.records[p[0]]
			if len(r.numbers) == 0 {
				return false
			}
			r.into = 0
			m.records[p[0]] = r
			return true
		}
	}
	return false
}

func (m model) change(prior, target, name string) bool {
	if prior == target {
		return false
	}
	id := m.prior(prior)
	if to := m.numbers[target]; to != 0 && to != id {
		return false
	}
	r := m.records[id]
	r.numbers = slices.DeleteFunc(slices.Clone(r.numbers), func(n string) bool { return n == prior })
	if !slices.Contains(r.numbers, target) {
		m.numbers[target] = id
		r.numbers = append([]string{target}, r.numbers...)
	}
	m.records[id] = r
	m.tell([]string{target}, name, recent)
	return true
}

func (m model) move(prior, target, name string) bool {
	if prior == target || authority(prior) != authority(target) {
		return false
	}
	to := m.tell([]string{target}, name, recent)
	from := m.prior(prior)
	if from == to {
		return true
	}
	again, ok := m.arrow(from, to)
	if !ok || again {
		return ok
	}
	r := m.records[from]
	r.numbers = slices.DeleteFunc(slices.Clone(r.numbers), func(n string) bool { return n == prior })
	if len(r.numbers) == 0 {
		r.into = to
	}
	m.records[from] = r
	m.numbers[prior] = to
	return true
}

// patient is who an order for a number is for.
func (m model) patient(number string) string {
	id := m.numbers[number]
	if id == 0 {
		return number
	}
	r := m.records[m.survivor(id)]
	numbers := []string{number}
	if !slices.Contains(r.numbers, number) {
		numbers = slices.Sorted(slices.Values(r.numbers))
	}
	return strings.TrimSpace(strings.Join(numbers, ",") + " " + r.name)
}

// seen is a person as model.patient gives one.
func seen(p record.Person) string {
	p.Identifiers = slices.SortedFunc(slices.Values(p.Identifiers), func(a, b record.Identifier) int {
		return strings.Compare(a.Value+"@"+a.Authority, b.Value+"@"+b.Authority)
	})
	return show(p)
}

// TestPatientsAreWhatTheRulesSay plays messages at random against the model: the
// answers are those of the rules, and after every message every open order is for
// whom the model says, also after a restart.
func TestPatientsAreWhatTheRulesSay(t *testing.T) {
	if os.Getenv("NHIP_SOAK") == "" {
		few(t, "rapid.checks", "8")
	}
	s := open(t)
	round := 0
	rapid.Check(t, func(t *rapid.T) {
		round++
		g := game{T: t, s: s, m: model{map[string]int{}, map[int]modelRecord{}}, bv: fmt.Sprintf("BV%d", round), tt: fmt.Sprintf("TT%d", round), orders: map[uint64]string{}}
		t.Repeat(map[string]func(*rapid.T){
			"":        g.check,
			"tell":    g.tell,
			"merge":   g.merge,
			"unmerge": g.unmerge,
			"change":  g.change,
			"move":    g.move,
			"order":   g.order,
		})
		if round%4 == 0 {
			s.restart()
			g.check(t)
		}
	})
}

// few sets a flag of rapid for the test.
func few(t *testing.T, name, value string) {
	f := flag.Lookup(name)
	was := f.Value.String()
	if err := f.Value.Set(value); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Value.Set(was); err != nil {
			t.Error(err)
		}
	})
}

type game struct {
	*rapid.T
	s      *site
	m      model
	bv, tt string
	n      int
	orders map[uint64]string
}

func (g *game) number(t *rapid.T, label string) string {
	return fmt.Sprintf("%d@%s", rapid.IntRange(1, 5).Draw(t, label), rapid.SampledFrom([]string{g.bv, g.bv, g.bv, g.tt}).Draw(t, label+" of"))
}

// cx is a number as data type CX.
func cx(n string) string {
	value, authority, _ := strings.Cut(n, "@")
	return value + "^^^" + authority + "^MR"
}

func (g *game) name() string {
	g.n++
	return fmt.Sprintf("N%d", g.n)
}

// play sends a message and lets the model do the same.
func (g *game) play(t *rapid.T, do func(model) bool, event, at string, segments ...string) {
	next := g.m.clone()
	ok := do(next)
	got := g.s.send("his", event, at, segments...)
	t.Logf("%s %s %q: %s", event, at, segments, got)
	if ok != (got == "AA") {
		t.Fatalf("%s %q is answered %q, and the rules say %v", event, segments, got, ok)
	}
	if ok {
		g.m = next
	}
}

func (g *game) now() string { return g.s.now.Format("20060102150405") }

func (g *game) tell(t *rapid.T) {
	numbers := []string{g.number(t, "number")}
	if n := g.number(t, "second"); rapid.Bool().Draw(t, "two") && n != numbers[0] {
		numbers = append(numbers, n)
	}
	told, at, name := recent, g.now(), g.name()
	if rapid.IntRange(0, 3).Draw(t, "late") == 0 {
		told, at = old, "20200101000000"
	}
	var all []string
	for _, n := range numbers {
		all = append(all, cx(n))
	}
	g.play(t, func(m model) bool { return m.tell(numbers, name, told) != 0 }, "A08", at, "PID|1||"+strings.Join(all, "~")+"||"+name)
}

func (g *game) merge(t *rapid.T) {
	prior, target, name := g.number(t, "prior"), g.number(t, "target"), g.name()
	g.play(t, func(m model) bool { return m.merge(prior, target, name) }, "A40", g.now(), "PID|1||"+cx(target)+"||"+name, "MRG|"+cx(prior))
}

func (g *game) unmerge(t *rapid.T) {
	a, b := g.number(t, "one"), g.number(t, "other")
	g.play(t, func(m model) bool { return m.unmerge(a, b) }, "A37", g.now(), "PID|1||"+cx(a), "PID|2||"+cx(b))
}

func (g *game) change(t *rapid.T) {
	prior, target, name := g.number(t, "prior"), g.number(t, "target"), g.name()
	g.play(t, func(m model) bool { return m.change(prior, target, name) }, "A47", g.now(), "PID|1||"+cx(target)+"||"+name, "MRG|"+cx(prior))
}

func (g *game) move(t *rapid.T) {
	prior, target, name := g.number(t, "prior"), g.number(t, "target"), g.name()
	g.play(t, func(m model) bool { return m.move(prior, target, name) }, "A43", g.now(), "PID|1||"+cx(target)+"||"+name, "MRG|"+cx(prior))
}

func (g *game) order(t *rapid.T) {
	n := g.number(t, "number")
	value, authority, _ := strings.Cut(n, "@")
	g.orders[g.s.order(record.Person{Identifiers: []record.Identifier{mr(value, authority)}})] = n
}

func (g *game) check(t *rapid.T) {
	for id, n := range g.orders {
		if got, want := seen(g.s.ordered(id)), g.m.patient(n); got != want {
			t.Fatalf("the order for %s is for %q, and by the rules for %q", n, got, want)
		}
	}
}
