package interpret

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"nhip/gateway/intake"
	"nhip/gateway/lab"
	"nhip/gateway/reason"
	"nhip/gateway/record"
	"nhip/storage"
)

// No older result is last at a receiver. What is newer is what the gateway received
// later: no clock of a device decides it. A report may come to its turn late, because a
// person releases it, or because the device's operator sends it again; where a newer
// result of one of its tests has gone out in the meantime it is held, with the reason,
// and goes out, marked, only when a person says so once more.

// A measured is one report of an analyser as an entry of the journal has it.
type measured struct {
	ref        storage.Ref
	at         time.Time
	sum        string // of the entry
	connection string
	orders     []string // names in the index
	bare       []string // tests that none of them asks for
	report     record.Report
	late       bool // a person has released it, or the device says the same again
	sent       bool // it, or another report of its entry, went out
}

// after reports whether a was received after b.
func (a measured) after(b measured) bool {
	if a.ref.Channel == b.ref.Channel {
		return a.ref.Seq > b.ref.Seq
	}
	return a.at.After(b.at)
}

// again reports whether a is what b was, sent again: the same entry, or the same values
// of the same time by the same device.
func (a measured) again(b measured) bool {
	if a.connection != b.connection || strings.TrimSpace(a.report.Specimen.ID) != strings.TrimSpace(b.report.Specimen.ID) {
		return false
	}
	return a.sum == b.sum || slices.EqualFunc(a.report.Results, b.report.Results, func(x, y record.Result) bool {
		return sameValue(x, y) && !x.Observed.At.IsZero() && x.Observed.At.Equal(y.Observed.At)
	})
}

// sameValue reports whether two results say the same of the same test.
func sameValue(x, y record.Result) bool {
	return sameTest(x, y) && x.Value == y.Value && x.Unit == y.Unit && x.Status == y.Status
}

func sameTest(x, y record.Result) bool {
	return x.Code == y.Code || x.LOINC != "" && x.LOINC == y.LOINC
}

// replaces are the tests of b that a has a newer, and another, result of at the
// receiver: of the same order, or of the same specimen where one of them has no order.
func (a measured) replaces(b measured) (tests []string) {
	if !a.sent || !a.after(b) || a.again(b) {
		return nil
	}
	common := slices.ContainsFunc(a.orders, func(o string) bool { return slices.Contains(b.orders, o) })
	specimen := strings.TrimSpace(a.report.Specimen.ID) == strings.TrimSpace(b.report.Specimen.ID)
	apart := len(a.orders) > 0 && len(b.orders) > 0
	for _, x := range b.report.Results {
		if !common && (!specimen || apart && !slices.Contains(b.bare, x.Code)) {
			continue
		}
		if slices.ContainsFunc(a.report.Results, func(y record.Result) bool { return sameTest(x, y) && !sameValue(x, y) }) {
			tests = append(tests, x.Code)
		}
	}
	return tests
}

// older holds a report that is older than what went out. old says of one that is not
// held that it is older too: a person lets it go on.
func (r *reader) older(o *outcome, rep record.Report, n int, of lab.Finding, e intake.Entry) (hold, old bool) {
	if r.before == nil {
		return false, false
	}
	m := measured{ref: r.ref, at: e.At, sum: e.SHA256, connection: e.Connection, late: e.Resend || r.released, report: rep}
	asked := map[int]bool{}
	for _, x := range of.Ordered {
		m.orders = append(m.orders, intake.IndexName(intake.Order, x.Order.Placer.ID))
		for _, i := range x.Results {
			asked[i] = true
		}
	}
	for i, x := range rep.Results {
		if !asked[i] {
			m.bare = append(m.bare, x.Code)
		}
	}
	o.measured = append(o.measured, m)
	if of.Hold != "" {
		return true, false
	}
	all, err := r.before(m)
	if err != nil {
		o.held = append(o.held, held{rep.Specimen.ID, reason.New(reason.Damaged, err.Error()), r.part(n)})
		return true, false
	}
	first := m // as it came for the first time
	for _, x := range all {
		if first.after(x) && m.again(x) {
			first.ref, first.at = x.ref, x.at
		}
	}
	var tests []string
	for _, x := range all {
		for _, t := range x.replaces(first) {
			if !slices.Contains(tests, t) {
				tests = append(tests, t)
			}
		}
	}
	if len(tests) > 0 && (r.to == nil || !r.to.Older) {
		o.held = append(o.held, held{rep.Specimen.ID, reason.New(reason.Older, strings.Join(tests, ", ")), r.part(n)})
		return true, false
	}
	return false, len(tests) > 0
}

// part names the nth report, with the order that a person says it is of, and what he
// has let it go on in spite of.
func (r *reader) part(n int) (f intake.For) {
	if r.to != nil {
		f = *r.to
	}
	f.Report = n
	return f
}

// Limits of what is looked through for what is newer.
const (
	mostMeasured = 20             // entries of one channel, the newest
	mostAge      = 72 * time.Hour // for a report that nobody says is an old one
)

// before finds the other reports of the specimen and the orders of a report, in the
// store and in what the batch under way has made.
func (w *Worker) before(r *reader) func(measured) ([]measured, error) {
	return func(m measured) (all []measured, err error) {
		names := append([]string{intake.IndexName(intake.Specimen, m.report.Specimen.ID)}, m.orders...)
		refs := map[string][]uint64{}
		for _, name := range names {
			prefix := intake.IndexKeys(name)
			keys, err := w.Store.Keys(prefix, 0)
			if err != nil {
				return nil, err
			}
			for _, k := range keys {
				ref, err := storage.ParseRef(strings.TrimPrefix(k, prefix))
				if err == nil && ref != m.ref && !slices.Contains(refs[ref.Channel], ref.Seq) {
					refs[ref.Channel] = append(refs[ref.Channel], ref.Seq)
				}
			}
		}
		for channel, seqs := range refs {
			c := r.connections[strings.TrimPrefix(channel, intake.Channel(""))]
			if c.Kind != Analyser || c.Profile == nil {
				continue
			}
			slices.SortFunc(seqs, func(a, b uint64) int { return cmp.Compare(b, a) })
			for _, seq := range seqs[:min(len(seqs), mostMeasured)] {
				some, old, err := w.measured(c, storage.Ref{Channel: channel, Seq: seq}, m)
				if err != nil {
					return nil, err
				}
				if old {
					break
				}
				all = append(all, some...)
			}
		}
		return append(all, r.batch...), nil
	}
}

// measured reads the reports of an entry. old says that it is too old to matter.
func (w *Worker) measured(c Connection, ref storage.Ref, m measured) (all []measured, old bool, err error) {
	raw, err := w.Store.Read(ref)
	if err != nil {
		return nil, false, nil // retention has removed it, or it is damaged: the store has raised its alarm
	}
	e, err := intake.DecodeEntry(raw)
	if err != nil {
		return nil, false, err
	}
	if !m.late && m.at.Sub(e.At) > mostAge {
		return nil, true, nil
	}
	f, _, err := ReadFate(w.Store, ref)
	if err != nil {
		return nil, false, err
	}
	body, err := intake.Body(w.Store, e)
	if err != nil {
		return nil, false, err
	}
	x, err := c.Profile.Extract(body, c.Zone)
	if err != nil {
		return nil, false, nil // a profile was changed: it was readable when it went out
	}
	var orders []string
	for _, name := range f.Index {
		if strings.HasPrefix(name, string(intake.Order)+"/") {
			orders = append(orders, name)
		}
	}
	for _, rep := range x.Reports {
		all = append(all, measured{ref: ref, at: e.At, sum: e.SHA256, connection: e.Connection, orders: orders, report: rep, sent: len(f.Sent) > 0})
	}
	return all, false, nil
}

// OfSpecimen reports whether a group is that of the results of a specimen.
func OfSpecimen(group string) bool { return strings.HasPrefix(group, specimenGroup+"/") }

const specimenGroup = "specimen"

// line is what the order of a report's messages is kept within: the specimen as its
// order names it first, so that what comes under another of its identifiers, or is
// matched by a person, keeps its place too.
func line(rep record.Report, of lab.Finding) string {
	id := strings.TrimSpace(rep.Specimen.ID)
	if len(of.Ordered) == 0 {
		return Group(specimenGroup, id)
	}
	specimens := of.Ordered[0].Service.Specimens
	i := max(0, slices.IndexFunc(specimens, func(s record.OrderSpecimen) bool { return s.Has(id) }))
	if i < len(specimens) && len(specimens[i].IDs) > 0 {
		id = strings.TrimSpace(specimens[i].IDs[0])
	}
	return Group(specimenGroup, id)
}
