package run

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"nhip/gateway/config"
	"nhip/gateway/console"
	"nhip/gateway/delivery"
	"nhip/gateway/intake"
	"nhip/gateway/interpret"
	"nhip/gateway/modality"
	"nhip/gateway/reason"
	"nhip/gateway/record"
	"nhip/gateway/route"
	"nhip/storage"
	"nhip/storage/diskguard"
)

var errNoObject = errors.New("the journal entry holds no object")

// startConsole opens the console's listener.
func (g *Gateway) startConsole() {
	c := console.New(console.Options{Source: source{g}, Journal: g.journal(), Zone: g.cfg.Site.TimeZone, Hosts: g.cfg.Console.Hosts, Log: g.log, Acts: g.acts, Person: g.person, Controls: controls{g}, Orders: g.orders, Workbench: workbench{g}})
	g.keepOpen("console", func() ([]string, func(context.Context) error, error) {
		open, err := listenAll(g.cfg.Console.Listen)
		if err != nil {
			return nil, nil, err
		}
		return addressesOf(open), func(ctx context.Context) error { return c.Serve(ctx, open...) }, nil
	})
}

// source is what the console shows: console.Source.
type source struct{ g *Gateway }

const maxHeldShown = 500

func (s source) Status(context.Context) (console.Status, error) {
	g := s.g
	snap := g.store.Snapshot()
	st := console.Status{
		SiteID: g.cfg.Site.ID, SiteName: g.cfg.Site.Name, Version: g.version, Started: g.started,
		Listen: console.Listen{
			Console: g.states.addresses("console"), DICOM: g.states.addresses("dicom"), DICOMTLS: g.states.addresses("dicom tls"),
			HL7TLS: g.states.addresses(listenTLS), HL7HTTP: g.states.addresses(listenHTTP), HL7HTTPS: g.states.addresses(listenHTTPS),
			HL7: g.states.addresses("hl7"), MQTT: g.states.addresses("mqtt"),
			Analyser: map[string]string{}, Monitor: map[string]string{},
		},
		Counts: counts(snap.Counters),
		Disk:   disk(g.store.Disk()),
	}
	profiles, trial := map[string]string{}, map[string]bool{}
	for _, a := range g.cfg.Analysers {
		profiles[a.Name], trial[a.Name] = a.Profile, a.State == config.Trial
		st.Listen.Analyser[a.Name] = first(g.states.addresses("analyser " + a.Name))
	}
	for _, m := range g.cfg.Monitors {
		profiles[m.Name] = m.Profile
		st.Listen.Monitor[m.Name] = first(g.states.addresses("monitor " + m.Name))
	}
	for _, c := range g.states.list() {
		st.Connections = append(st.Connections, console.Connection{
			Name: c.Name, Kind: c.Kind, State: connectionWords(c), Since: c.Since, Last: c.Last,
			Profile: profiles[c.Name], OnTrial: trial[c.Name], Messages: c.Messages, Charset: c.Charset, Drift: c.Drift, Trouble: troubles(c, time.Now()),
		})
	}
	if err := s.destinations(&st, snap); err != nil {
		return st, err
	}
	if err := s.held(&st); err != nil {
		return st, err
	}
	for _, a := range g.store.Alarms() {
		st.Alarms = append(st.Alarms, console.Alarm{What: a.What, Where: a.Where, At: a.At})
	}
	st.Alerts = g.alerts.View()
	for _, r := range g.strangers.list() {
		st.Strangers = append(st.Strangers, console.Stranger{Stranger: r.Stranger, Wanted: r.Wanted, Count: r.Count, Last: r.Last})
	}
	return st, nil
}

// counts reads the conservation sum from the store's counters.
func counts(all map[string]int64) console.Counts {
	c := console.Counts{
		Accepted: all[intake.CountAccepted], Delivered: all[delivery.CountDelivered], Queued: all[delivery.CountQueued],
		Held: all[delivery.CountHeld], Discarded: all[delivery.CountDiscarded], Expired: all[delivery.CountExpired], Refused: all[intake.CountRefused], Consumed: map[string]int64{},
	}
	for k, n := range all {
		if kind, ok := strings.CutPrefix(k, intake.CountConsumed); ok && n != 0 {
			c.Consumed[kind] = n
		}
	}
	return c
}

// destinations adds the state and the queue of each destination, and what is
// stored and not yet interpreted.
func (s source) destinations(st *console.Status, snap storage.Snapshot) error {
	names := []string{}
	for _, d := range s.g.cfg.Destinations {
		names = append(names, d.Name)
	}
	slices.Sort(names)
	for _, name := range names {
		w := s.g.workers[name]
		link := w.Link()
		held, behind, unanswered := w.Counts()
		q := console.Queue{Destination: name, Depth: snap.Depths[delivery.Queue(name)], Held: held, Behind: behind, Unanswered: unanswered, Uncommitted: snap.Depths[modality.CommitQueue(name)], Paused: link.Pause.Paused()}
		head, ok, err := s.g.store.Head(delivery.Queue(name))
		if err != nil {
			return err
		}
		if ok {
			now := time.Now()
			q.Oldest = now.Add(-w.Age(head.Seq, now)) // the stored time may be of a clock that was set since
		}
		st.Queues = append(st.Queues, q)
		st.Connections = append(st.Connections, console.Connection{
			Name: name, Kind: "destination", State: linkWords(link, held, q.Depth), Since: link.Since, Last: link.Last, Messages: link.Delivered,
		})
	}
	return nil
}

func linkWords(l delivery.Link, held, depth int) console.Words {
	switch {
	case l.Pause.Paused():
		return console.Say(console.StatePaused, cmp.Or(l.Pause.By, l.Pause.User), fmt.Sprint(depth))
	case l.State == "unreachable":
		return console.SayWhy(console.StateUnreached, l.Why)
	case l.State == "retrying":
		return console.SayWhy(console.StateRetrying, l.Why, fmt.Sprint(l.Attempt))
	case held > 0:
		return console.Say(console.StateHolding, fmt.Sprint(held))
	case l.State == "sending":
		return console.Say(console.StateSending)
	}
	return console.Say(console.StateIdle)
}

// connectionWords are the state of a connection with its particulars or reason.
func connectionWords(c state) console.Words {
	switch {
	case !c.Note.IsZero() && c.Words != "" && c.Why.IsZero() && time.Since(c.Noted) < noteFor:
		return console.SayWhy(console.StateWarned, c.Note, c.Words)
	case !c.Why.IsZero():
		return console.SayWhy(stateCode(c.State), c.Why)
	case c.State == "waiting" && c.Before != "":
		return console.Say(console.StateHeard, c.Before)
	}
	return console.Say(stateCode(c.State), c.Words)
}

func stateCode(s string) console.Code {
	switch s {
	case "listening":
		return console.StateListening
	case "connected":
		return console.StateConnected
	case "dialling":
		return console.StateDialling
	case "absent":
		return console.StateAbsent
	case "refused":
		return console.StateRefused
	case "failed":
		return console.StateFailed
	case "heard":
		return console.StateHeard
	case "offline":
		return console.StateOffline
	}
	return console.StateUnheard
}

// held adds what waits for a person.
func (s source) held(st *console.Status) error {
	items, err := s.g.store.Items(intake.HeldQueue, 0, maxHeldShown)
	if err != nil {
		return err
	}
	for _, it := range items {
		t, err := intake.DecodeHeldTicket(it.Value)
		if err != nil {
			t.Reason = reason.New(reason.Damaged, err.Error())
		}
		id := fmt.Sprintf("%s/%d", intake.HeldQueue, it.Seq)
		st.Held = append(st.Held, console.Held{ID: id, Connection: it.Group, Subject: t.Subject, Reason: t.Reason, Since: it.At})
	}
	for _, d := range s.g.cfg.Destinations {
		for _, h := range s.g.workers[d.Name].Held(maxHeldShown) {
			st.Held = append(st.Held, console.Held{
				ID: fmt.Sprintf("%s/%d", delivery.Queue(d.Name), h.Seq), Destination: d.Name, Connection: h.From, Subject: heldSubject(h.Ticket),
				Reason: h.Reason, Since: h.Since, Behind: h.Behind,
			})
		}
	}
	return nil
}

// heldSubject is what a person looks for: the specimen, else the message or
// object by its name.
func heldSubject(t delivery.Ticket) string {
	if t.Of != "" {
		return t.Of
	}
	return strings.TrimSpace(t.What + " " + t.ID)
}

// disk is what the guard of the store knows.
func disk(d diskguard.Status) console.Disk {
	state := map[diskguard.State]console.Code{
		diskguard.Open: console.DiskOpen, diskguard.NoImages: console.DiskNoImages,
		diskguard.NoIntake: console.DiskNoIntake, diskguard.NoWriting: console.DiskNoWriting,
	}
	return console.Disk{
		Free: d.Free, Total: d.Total, State: string(d.State), Words: console.Say(state[d.State]), Since: d.Since,
		ImagesBelow: d.Limits.Images, ResultsBelow: d.Limits.Results,
	}
}

func first(s []string) string {
	if len(s) == 0 {
		return ""
	}
	return s[0]
}

// Messages are the newest entries of all that comes in.
func (s source) Messages(_ context.Context, limit int) ([]console.Message, error) {
	type found struct {
		ref storage.Ref
		e   intake.Entry
	}
	var all []found
	for _, c := range s.g.store.Channels() {
		if !strings.HasPrefix(c, "in/") {
			continue
		}
		var bad error
		err := s.g.store.Range(c, s.g.store.Last(c), limit, true, func(ref storage.Ref, b []byte) bool {
			e, err := intake.DecodeEntry(b)
			if err != nil {
				bad = err
				return false
			}
			all = append(all, found{ref, e})
			return true
		})
		if err = errors.Join(err, bad); err != nil {
			s.g.log.Warn("journal not readable to its beginning", "channel", c, "error", err)
		}
	}
	slices.SortStableFunc(all, func(a, b found) int { return b.e.At.Compare(a.e.At) })
	if len(all) > limit {
		all = all[:limit]
	}
	var out []console.Message
	for _, f := range all {
		m := console.Message{
			Ref: f.ref.String(), At: f.e.At, Connection: f.e.Connection, Kind: string(f.e.Kind), Bytes: f.e.Length,
			OnTrial: s.g.routes[f.e.Connection].Trial, Subject: s.subject(f.e),
		}
		m.Outcome = s.outcome(f.ref, f.e)
		out = append(out, m)
	}
	return out, nil
}

// subject is what a person knows an entry by.
func (s source) subject(e intake.Entry) string {
	switch e.Kind {
	case intake.KindDICOM:
		return e.Attrs[intake.AttrSOPInstance]
	case intake.KindMQTT:
		return e.Attrs["topic"]
	}
	var specimens []string
	for _, r := range s.reports(e) {
		if r.Specimen.ID != "" && !slices.Contains(specimens, r.Specimen.ID) {
			specimens = append(specimens, r.Specimen.ID)
		}
	}
	if len(specimens) > 0 {
		return strings.Join(specimens, ", ")
	}
	return e.Attrs["type"]
}

// reports interprets an analyser's entry again, for showing it.
func (s source) reports(e intake.Entry) []record.Report {
	a, ok := s.g.connection[e.Connection]
	if !ok || a.Profile == nil || e.Fate == intake.Repeat {
		return nil
	}
	body, err := intake.Body(s.g.store, e)
	if err != nil {
		return nil
	}
	x, err := a.Profile.Extract(body, a.Zone)
	if err != nil {
		return nil
	}
	return x.Reports
}

// outcome says where an entry is now.
func (s source) outcome(ref storage.Ref, e intake.Entry) console.Words {
	switch e.Fate {
	case intake.Repeat:
		return console.Say(console.OutcomeConsumed, "duplicate")
	}
	if by, ok, err := s.g.store.Get(interpret.DiscardedKey(ref)); err == nil && ok {
		return console.Say(console.OutcomeDiscarded, string(by))
	}
	f, ok, err := interpret.ReadFate(s.g.store, ref)
	switch {
	case err == nil && !ok && (e.Fate == intake.Incomplete || e.Fate == intake.Conflict || e.Fate == intake.Unusable):
		return console.Say(console.OutcomeHeld) // not released
	case err != nil || !ok:
		return console.Say(console.OutcomeStored)
	}
	if f.Held > 0 {
		return console.Say(console.OutcomeHeld)
	}
	to := map[console.Code][]string{}
	for _, d := range s.deliveries(f) {
		who := d.Destination
		if d.Outcome.Code == console.OutcomeDiscarded {
			who = strings.Join(d.Outcome.Args, "")
		}
		to[d.Outcome.Code] = append(to[d.Outcome.Code], who)
	}
	for _, code := range []console.Code{console.OutcomeHeldFor, console.OutcomeBehind, console.OutcomeQueued, console.OutcomeDiscarded, console.OutcomeExpired, console.OutcomeDelivered} { // the worst first
		if len(to[code]) > 0 {
			return console.Say(code, strings.Join(slices.Compact(to[code]), ", "))
		}
	}
	switch {
	case e.Kind == intake.KindMQTT, s.g.connection[e.Connection].Kind == interpret.Monitor && slices.Contains(f.Consumed, route.NoDestination):
		return console.Say(console.OutcomePublished)
	case slices.Contains(f.Consumed, "trial"):
		return console.Say(console.OutcomeTrial)
	case len(f.Consumed) > 0:
		return console.Say(console.OutcomeConsumed, f.Consumed[0])
	}
	return console.Say(console.OutcomeStored)
}

// deliveries says where each delivery of an entry is.
func (s source) deliveries(f interpret.Fate) []console.Delivery {
	var all []console.Delivery
	for _, x := range f.Sent {
		d := console.Delivery{Destination: x.Destination, Outcome: console.Say(console.OutcomeQueued, x.Destination)}
		if at, ok, err := s.g.store.Get(delivery.DeliveredKey(x.Destination, x.Mark)); err == nil && ok {
			settled, err := delivery.DecodeSettled(at)
			if err != nil {
				s.g.log.Error("how a message was settled cannot be read", "destination", x.Destination, "error", err)
			}
			d.Outcome, d.At = settledWords(x.Destination, settled), settled.At
		} else if w := s.g.workers[x.Destination]; w != nil {
			switch held, behind := w.IsHeld(x.Mark); {
			case held:
				d.Outcome = console.Say(console.OutcomeHeldFor, x.Destination)
			case behind:
				d.Outcome = console.Say(console.OutcomeBehind, x.Destination)
			}
		}
		all = append(all, d)
	}
	return all
}

func settledWords(destination string, s delivery.Settled) console.Words {
	switch s.How {
	case delivery.Discarded:
		return console.Say(console.OutcomeDiscarded, s.By)
	case delivery.Expired:
		return console.Say(console.OutcomeExpired)
	}
	return console.Say(console.OutcomeDelivered, destination)
}

// Results finds what analysers reported of a specimen, or the last of the
// devices on trial.
func (s source) Results(_ context.Context, q console.Query) ([]console.Result, error) {
	refs, err := s.refs(q)
	if err != nil {
		return nil, err
	}
	var all []console.Result
	for _, ref := range refs {
		e, err := s.g.entry(ref)
		if err != nil {
			return nil, err
		}
		trial := s.g.routes[e.Connection].Trial
		if q.OnTrial && !trial {
			continue
		}
		f, _, err := interpret.ReadFate(s.g.store, ref)
		if err != nil {
			return nil, err
		}
		for _, r := range s.reports(e) {
			if q.Specimen != "" && r.Specimen.ID != q.Specimen {
				continue
			}
			r.Device.Connection = e.Connection
			all = append(all, console.Result{Ref: ref.String(), Received: e.At, OnTrial: trial, Resent: e.Resend, Report: r, Deliveries: s.deliveries(f)})
		}
	}
	slices.SortStableFunc(all, func(a, b console.Result) int { return b.Received.Compare(a.Received) })
	if q.Limit > 0 && len(all) > q.Limit {
		all = all[:q.Limit]
	}
	return all, nil
}

const maxRefs = 1000

// refs are the entries that a query is about.
func (s source) refs(q console.Query) ([]storage.Ref, error) {
	if q.Specimen != "" {
		prefix := interpret.SpecimenKeys(q.Specimen)
		keys, err := s.g.store.Keys(prefix, maxRefs)
		if err != nil {
			return nil, err
		}
		var refs []storage.Ref
		for _, k := range keys {
			ref, err := storage.ParseRef(strings.TrimPrefix(k, prefix))
			if err != nil {
				return nil, err
			}
			refs = append(refs, ref)
		}
		return refs, nil
	}
	var refs []storage.Ref
	for _, a := range s.g.cfg.Analysers {
		if q.OnTrial && a.State != config.Trial {
			continue
		}
		c := intake.Channel(a.Name)
		err := s.g.store.Range(c, s.g.store.Last(c), max(q.Limit, 1), true, func(ref storage.Ref, _ []byte) bool {
			refs = append(refs, ref)
			return true
		})
		if err != nil {
			return nil, err
		}
	}
	return refs, nil
}

// Health is why the gateway would not acknowledge, or cannot be reached.
func (s source) Health(context.Context) []console.Words {
	var why []console.Words
	select {
	case <-s.g.store.Failed():
		why = append(why, console.Say(console.HealthStore))
	default:
	}
	if err := delivery.Balance(s.g.store.Snapshot()); err != nil {
		why = append(why, console.Say(console.HealthBalance, err.Error()))
	}
	if s.g.store.Room(diskguard.Results) != nil {
		why = append(why, console.Say(console.HealthDisk, fmt.Sprint(s.g.store.Disk().Free)))
	}
	if s.g.ctx.Err() != nil {
		why = append(why, console.Say(console.HealthStopping))
	}
	closed := s.g.states.problems()
	for _, name := range slices.Sorted(maps.Keys(closed)) {
		why = append(why, console.SayWhy(console.HealthListener, closed[name], name))
	}
	return why
}
