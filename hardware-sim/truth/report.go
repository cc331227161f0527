package truth

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// Latency is from the acknowledgement to the device until a destination has
// accepted the item, in milliseconds; an item that arrived before the
// acknowledgement was seen has 0.
type Latency struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
}

// Counts are one kind's, or all kinds'.
type Counts struct {
	Received   int     `json:"received"`
	Delivered  int     `json:"delivered"`
	Lost       int     `json:"lost"`
	Doubled    int     `json:"doubled"`
	Changed    int     `json:"changed"`
	Misfiled   int     `json:"misfiled"`
	OutOfOrder int     `json:"out_of_order"`
	Held       int     `json:"held"`         // refused by the destination at last
	Kept       int     `json:"kept"`         // for a person of the laboratory to look at, as it should be
	Unaccepted int     `json:"not_accepted"` // never acknowledged: the device has it still
	Repeats    int     `json:"repeats"`      // again under the same name
	Resends    int     `json:"resends"`      // again under another name because the device sent it again
	Consumed   int     `json:"consumed"`     // received, must arrive nowhere (control material)
	Unseen     int     `json:"unseen"`       // received while the simulator could not watch
	LatencyMS  Latency `json:"latency_ms"`
}

// A Difference is one thing that was lost, doubled, changed or out of order.
type Difference struct {
	What   string `json:"what"`
	Kind   Kind   `json:"kind"`
	ID     string `json:"id"`
	Detail string `json:"detail"`
}

// A Report is the outcome of a run: all kinds together, then each.
type Report struct {
	Counts
	Kinds       map[Kind]Counts `json:"kinds"`
	Laboratory  *LabCounts      `json:"laboratory,omitempty"`
	Differences []Difference    `json:"differences,omitempty"` // the first 200
	NotAccepted []string        `json:"not_accepted_items,omitempty"`
}

// Report compares what was acknowledged with what arrived.
func (l *Log) Report() Report {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := Report{Kinds: map[Kind]Counts{}, Differences: slices.Clone(l.diffs)}
	for _, k := range []Kind{ORU, Instance, Observation} {
		c, missing := l.counts(k)
		r.Kinds[k] = c
		r.Differences = append(r.Differences, missing...)
		r.Counts = r.plus(c)
	}
	if l.lab != nil {
		counts, wrong := l.lab.report()
		r.Laboratory = &counts
		r.Differences = append(wrong, r.Differences...)
	}
	r.LatencyMS = latencies(l.items)
	for _, i := range l.items {
		if i.acknowledged.IsZero() && len(r.NotAccepted) < maxDifferences {
			r.NotAccepted = append(r.NotAccepted, strings.TrimSpace(i.ID+" "+i.refused))
		}
	}
	r.Differences = r.Differences[:min(len(r.Differences), maxDifferences)]
	return r
}

func (l *Log) counts(k Kind) (Counts, []Difference) {
	c := Counts{
		Doubled: l.doubled[k], Changed: l.changed[k], OutOfOrder: l.disord[k],
		Repeats: l.repeats[k], Resends: l.resends[k], Misfiled: l.misfile[k],
	}
	var missing []Difference
	var items []*item
	for _, i := range l.items {
		if i.Kind != k {
			continue
		}
		items = append(items, i)
		switch {
		case i.acknowledged.IsZero():
			c.Unaccepted++
		case len(i.To) == 0:
			c.Consumed++
		case i.delivered():
			c.Received++
			c.Delivered++
		case i.excused != "":
			c.Unseen++
		case i.kept() != "":
			c.Received++
			c.Kept++
		case i.held():
			c.Received++
			c.Held++
		default:
			c.Received++
			c.Lost++
			missing = append(missing, Difference{"lost", k, i.ID, l.whereabouts(i)})
		}
	}
	c.LatencyMS = latencies(items)
	return c, missing
}

// whereabouts says which destinations lack the item.
func (l *Log) whereabouts(i *item) string {
	s := "acknowledged " + i.acknowledged.UTC().Format("15:04:05.000") + "Z, key " + i.Key + ", not at"
	for _, d := range i.To {
		a := i.at[d]
		switch {
		case a == nil:
			s += " " + d
		case a.accepted.IsZero():
			s += " " + d + " (which answered " + a.answer + ")"
		}
	}
	return s
}

func (r Report) plus(c Counts) Counts {
	s := r.Counts
	s.Received += c.Received
	s.Delivered += c.Delivered
	s.Lost += c.Lost
	s.Doubled += c.Doubled
	s.Changed += c.Changed
	s.OutOfOrder += c.OutOfOrder
	s.Held += c.Held
	s.Misfiled += c.Misfiled
	s.Kept += c.Kept
	s.Unaccepted += c.Unaccepted
	s.Repeats += c.Repeats
	s.Resends += c.Resends
	s.Consumed += c.Consumed
	s.Unseen += c.Unseen
	return s
}

// Good reports whether something was received and nothing lost, doubled,
// changed, misfiled or brought out of order, and of the laboratory's orders nothing is
// wrong.
func (r Report) Good() bool {
	return r.Received > 0 && r.Misfiled == 0 && (r.Laboratory == nil || r.Laboratory.good()) && r.Lost == 0 && r.Doubled == 0 && r.Changed == 0 && r.OutOfOrder == 0
}

// WriteText prints the report for a person.
func (r Report) WriteText(w io.Writer) {
	row := func(name string, c Counts) {
		fmt.Fprintf(w, "%-14s %8d %9d %5d %7d %7d %5d %8d %8d %10.1f %10.1f\n", name,
			c.Received, c.Delivered, c.Lost, c.Doubled, c.Changed, c.Held, c.Repeats, c.Consumed, c.LatencyMS.P50, c.LatencyMS.P99)
	}
	fmt.Fprintf(w, "%-14s %8s %9s %5s %7s %7s %5s %8s %8s %10s %10s\n", "",
		"received", "delivered", "lost", "doubled", "changed", "held", "repeats", "consumed", "p50 ms", "p99 ms")
	for _, k := range []Kind{ORU, Instance, Observation} {
		row(string(k), r.Kinds[k])
	}
	row("all", r.Counts)
	if r.Laboratory != nil {
		r.Laboratory.writeText(w, r.Misfiled, r.Kept)
	}
	if r.OutOfOrder > 0 || r.Resends > 0 || r.Unseen > 0 || r.Unaccepted > 0 {
		fmt.Fprintf(w, "out of order %d, resent by the device %d, not watched %d, not accepted %d\n",
			r.OutOfOrder, r.Resends, r.Unseen, r.Unaccepted)
	}
	for n, d := range r.Differences {
		if n == 20 {
			fmt.Fprintf(w, "… and %d more in the report file\n", len(r.Differences)-n)
			break
		}
		fmt.Fprintf(w, "%s %s %s: %s\n", d.What, d.Kind, d.ID, d.Detail)
	}
}
