package run

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"nhip/drivers/profile"
	"nhip/gateway/config"
	"nhip/gateway/control"
	"nhip/gateway/intake"
	"nhip/gateway/interpret"
	"nhip/gateway/mapping"
	"nhip/gateway/mapping/live"
	"nhip/gateway/reason"
	"nhip/hl7"
	"nhip/hl7/ack"
	"nhip/storage"
)

// startMaps opens the maps of fields and takes in those that the configuration names.
func (g *Gateway) startMaps() error {
	m, err := openMaps(g.cfg, g.store)
	if err != nil {
		return err
	}
	g.maps = m
	now := time.Now()
	for _, l := range mapped(g.cfg) {
		var text []byte
		if l.file != "" {
			if text, err = os.ReadFile(l.file); err != nil {
				return fmt.Errorf("map of %s: %w", l.link, err)
			}
		}
		if err := m.Configure(g.ctx, l.link, filepath.Base(l.file), text, now); err != nil {
			return fmt.Errorf("map of %s: %w", l.link, err)
		}
		if live := m.Live(l.link); live != nil && live.Broken != nil {
			g.log.Error("the map of fields cannot be used: its messages are held", "link", l.link, "version", live.Version, "error", live.Broken)
		}
	}
	return nil
}

// openForActs is what the acts on maps need of a gateway that does not run.
func (g *Gateway) openForActs() (err error) {
	if g.profiles, err = profile.Folder(g.cfg.Site.Profiles); err != nil {
		return err
	}
	if g.connection, err = g.connections(); err != nil {
		return err
	}
	if g.maps, err = openMaps(g.cfg, g.store); err != nil {
		return err
	}
	g.codes, err = openCodes(g.cfg, g.store)
	return err
}

func openMaps(cfg *config.Config, s *storage.Store) (*live.Maps, error) {
	var links []live.Link
	for _, l := range mapped(cfg) {
		links = append(links, l.link)
	}
	return live.Open(s, func(text []byte) (*mapping.Map, error) { return readMap(cfg, "", text) }, links)
}

// readMap reads a map that has to be good.
func readMap(cfg *config.Config, file string, text []byte) (*mapping.Map, error) {
	m, problems := config.ReadMap(text, file, cfg.Site.TimeZone)
	for _, p := range problems {
		if !p.Warning {
			return nil, errors.New(p.String())
		}
	}
	return m, nil
}

// A mappedLink is a link that may have a map.
type mappedLink struct {
	link live.Link
	name string
	file string
}

func mapped(cfg *config.Config) (links []mappedLink) {
	for _, p := range cfg.HL7Peers {
		links = append(links, mappedLink{live.From(p.Name), p.Name, p.Map})
	}
	for _, d := range cfg.Destinations {
		if d.Kind == config.KindHL7 {
			links = append(links, mappedLink{live.To(d.Name), d.Name, d.Map})
		}
	}
	return links
}

// mappedApplication has an Application decide on what the map of the system makes of a
// message. What was sent is stored, and answered.
type mappedApplication struct {
	intake.Application
	g *Gateway
}

// Decide is Application.Decide.
func (a mappedApplication) Decide(ctx context.Context, in intake.Incoming, b *storage.Batch) (intake.Decision, error) {
	m := a.g.maps.Live(live.From(in.Link))
	if m == nil {
		return a.Application.Decide(ctx, in, b)
	}
	if m.Broken != nil {
		return cannotMap(in.Message, reason.New(reason.MapUnusable, in.Link, m.Broken.Error())), nil
	}
	c := a.g.connection[in.Link]
	x := m.Apply(in.Message.Bytes(), c.Charset, in.At.In(c.Zone))
	switch {
	case x.Held != nil:
		return cannotMap(in.Message, x.Held.Why), nil
	case x.Dropped != nil:
		b.Add("note/filtered: "+in.Link+": "+x.Dropped.Rule, 1)
		return intake.Decision{Verdict: ack.Verdict{Code: hl7.ApplicationAccept}, Consumed: interpret.Filtered}, nil
	case !x.Changed:
		return a.Application.Decide(ctx, in, b)
	}
	changed, err := hl7.Parse(x.Body)
	if err == nil {
		err = changed.UseCharset(c.Charset)
	}
	if err != nil {
		return cannotMap(in.Message, reason.New(reason.MapUnreadable, m.Map.Name, err.Error())), nil
	}
	in.Message = changed
	return a.Application.Decide(ctx, in, b)
}

// cannotMap is the decision on a message that its map cannot be applied to: it is held,
// and the sender is told so.
func cannotMap(m *hl7.Message, why reason.Reason) intake.Decision {
	code, event, _ := m.Type()
	return intake.Decision{
		Verdict: ack.Verdict{Code: hl7.ApplicationError, Errors: []hl7.Error{{Code: hl7.ErrorApplication, Severity: hl7.SeverityError, Text: why.String()}}},
		Held:    why, Subject: code + "^" + event,
	}
}

// The requests and answers of the acts on maps, as JSON.
type (
	// MapRequest is of "map-list" and "map-show".
	MapRequest struct {
		Link    string `json:"link"`
		Version int    `json:"version,omitempty"` // of "map-show"; 0: the one that is live
	}
	// MapChange is of "map-activate" and "map-undo".
	MapChange struct {
		Link   string    `json:"link"`
		Name   string    `json:"name,omitempty"`
		Text   string    `json:"text,omitempty"`
		Reason string    `json:"reason,omitempty"`
		Since  time.Time `json:"since,omitzero"` // it is tried on the journal from then on; zero: it is not
		// Accept makes it live although messages would be held or left out that are sent
		// now.
		Accept bool `json:"accept,omitempty"`
	}
	// MapAnswer says what is live.
	MapAnswer struct {
		Link    string       `json:"link"`
		Version int          `json:"version"` // 0: no map
		Name    string       `json:"name,omitempty"`
		Tried   *JournalTry  `json:"tried,omitempty"`
		History []MapVersion `json:"history,omitempty"`
		Text    string       `json:"text,omitempty"`
	}
	// MapVersion is one line of the history of a link's maps.
	MapVersion struct {
		Version int       `json:"version"`
		Name    string    `json:"name"`
		At      time.Time `json:"at"`
		User    string    `json:"user"`
		By      string    `json:"by,omitempty"`
		Why     string    `json:"why,omitempty"`
		None    bool      `json:"none,omitempty"`
		Live    bool      `json:"live,omitempty"`
	}
	// TryRequest is of "map-try": one message, as if it came from the link or went to it,
	// or what came before.
	TryRequest struct {
		Link     string    `json:"link"`
		Message  []byte    `json:"message,omitempty"`
		Map      string    `json:"map,omitempty"`   // the text of a map instead of the one that is live
		Since    time.Time `json:"since,omitzero"`  // of "map-try-journal"
		Limit    int       `json:"limit,omitempty"` // examples; default 20
		Language int       `json:"lang,omitempty"`
	}
	// TryAnswer is what a message would become.
	TryAnswer struct {
		From     *Tried         `json:"from,omitempty"` // by the map of the system
		Messages []Tried        `json:"messages"`
		Held     []string       `json:"held,omitempty"`
		Consumed map[string]int `json:"consumed,omitempty"`
	}
	// Tried is one message and what a map makes of it.
	Tried struct {
		Destination string          `json:"destination,omitempty"`
		What        string          `json:"what,omitempty"`
		Map         string          `json:"map,omitempty"` // empty: there is none
		Version     int             `json:"version,omitempty"`
		Outcome     string          `json:"outcome"` // "unchanged", "changed", "held" or "left out"
		Rule        string          `json:"rule,omitempty"`
		Why         string          `json:"why,omitempty"`
		Fired       []mapping.Fired `json:"fired,omitempty"`
		Message     []byte          `json:"message,omitempty"`
	}
	// JournalTry says how another map would have changed what was sent.
	JournalTry struct {
		Link     string         `json:"link"`
		Since    time.Time      `json:"since"`
		Messages int            `json:"messages"`
		Same     int            `json:"same"`
		Differ   int            `json:"differ"`
		Held     int            `json:"held"`     // that are not held now
		LeftOut  int            `json:"left_out"` // that are sent now
		NowSent  int            `json:"now_sent"` // that are held or left out now
		Rules    map[string]int `json:"rules"`    // places that each rule of the new map would change
		Examples []Example      `json:"examples,omitempty"`
		Partial  bool           `json:"partial,omitempty"` // there was more than is looked at
	}
	// Example is one message that would become something else.
	Example struct {
		Ref         string               `json:"ref"`
		What        string               `json:"what"`
		Now         string               `json:"now"` // outcome
		Then        string               `json:"then"`
		Why         string               `json:"why,omitempty"`
		Differences []mapping.Difference `json:"differences,omitempty"`
	}
)

// Limits of a try on the journal.
const (
	maxTried       = 20000 // messages
	maxExamples    = 1000
	maxDifferences = 50 // of one message
)

// A mapDesk is where people look at maps and change them.
type mapDesk struct {
	cfg    *config.Config
	store  *storage.Store
	maps   *live.Maps
	worker *interpret.Worker
}

func (g *Gateway) mapDesk() *mapDesk {
	w := &interpret.Worker{Store: g.store, Site: interpret.Site{ID: g.cfg.Site.ID, Name: g.cfg.Site.Name}, Connections: g.connection, Routes: g.routes, Codes: g.codeTable}
	if g.orders != nil { // a gateway that runs
		w.Knows = g.knowledge()
	}
	return &mapDesk{cfg: g.cfg, store: g.store, maps: g.maps, worker: w}
}

func (d *mapDesk) register(a *control.Acts) {
	add(a, "map-list", d.list)
	add(a, "map-show", d.show)
	add(a, "map-activate", d.activate)
	add(a, "map-undo", d.undo)
	add(a, "map-try", d.try)
	add(a, "map-try-journal", d.tryJournal)
}

// find is the link that a person names: "lis", or "to/lis" and "from/his" where a
// system and a destination have one name.
func (d *mapDesk) find(name string) (live.Link, error) {
	var found []string
	for _, l := range mapped(d.cfg) {
		if string(l.link) == name {
			return l.link, nil
		}
		if l.name == name {
			found = append(found, string(l.link))
		}
	}
	switch len(found) {
	case 0:
		return "", control.Unknown("there is no [[hl7_peer]] and no [[destination]] of kind \"hl7\" with the name %q", name)
	case 1:
		return live.Link(found[0]), nil
	}
	return "", control.Bad("%q is two links: name %s", name, strings.Join(found, " or "))
}

func (d *mapDesk) list(_ context.Context, _ control.Actor, r MapRequest) (any, error) {
	l, err := d.find(r.Link)
	if err != nil {
		return nil, err
	}
	versions, now, err := d.maps.History(l)
	if err != nil {
		return nil, err
	}
	answer := MapAnswer{Link: string(l), Version: now}
	for _, v := range versions {
		answer.History = append(answer.History, MapVersion{v.Number, v.Name, v.At, v.User, v.By, v.Why, v.None, v.Number == now})
	}
	return answer, nil
}

func (d *mapDesk) show(_ context.Context, _ control.Actor, r MapRequest) (any, error) {
	l, err := d.find(r.Link)
	if err != nil {
		return nil, err
	}
	if m := d.maps.Live(l); r.Version == 0 && m != nil {
		r.Version = m.Version
	}
	if r.Version == 0 {
		return nil, control.Unknown("%s has no map", l)
	}
	v, err := d.maps.Version(l, r.Version)
	if err != nil {
		return nil, control.Unknown("%s, version %d: %v", l, r.Version, err)
	}
	answer := MapAnswer{Link: string(l), Version: v.Number, Name: v.Name}
	if v.None {
		return answer, nil
	}
	text, err := v.Text()
	answer.Text = string(text)
	return answer, err
}

func (d *mapDesk) activate(ctx context.Context, who control.Actor, r MapChange) (any, error) {
	l, err := d.find(r.Link)
	if err == nil {
		err = shortReason(r.Reason)
	}
	switch {
	case err != nil:
		return nil, err
	case strings.TrimSpace(r.Name) == "" || len(r.Name) > 100:
		return nil, control.Bad("the version needs a name of at most 100 bytes: --as NAME")
	}
	m, err := readMap(d.cfg, "", []byte(r.Text))
	if err != nil {
		return nil, control.Bad("the map is not good: %v", err)
	}
	answer := MapAnswer{Link: string(l)}
	if !r.Since.IsZero() {
		t, err := d.overJournal(ctx, l, &live.Map{Map: m}, r.Since, 20)
		if err != nil {
			return nil, err
		}
		if answer.Tried = &t; t.Held+t.LeftOut > 0 && !r.Accept {
			return nil, control.Bad("of %d messages since %s, %d would be held and %d left out that are sent now: look at them with `nhip hl7 try %s --journal --map FILE`, then say --accept",
				t.Messages, r.Since.In(d.cfg.Site.TimeZone).Format(time.DateTime), t.Held, t.LeftOut, l)
		}
	}
	v, err := d.maps.Activate(ctx, who, l, r.Name, r.Reason, []byte(r.Text), time.Now())
	if errors.Is(err, storage.ErrTooLarge) {
		return nil, control.Bad("the map is too large to be stored")
	}
	answer.Version, answer.Name = v.Number, v.Name
	return answer, err
}

func (d *mapDesk) undo(ctx context.Context, who control.Actor, r MapChange) (any, error) {
	l, err := d.find(r.Link)
	if err == nil {
		err = shortReason(r.Reason)
	}
	if err != nil {
		return nil, err
	}
	v, err := d.maps.Undo(ctx, who, l, r.Reason, time.Now())
	if errors.Is(err, live.ErrNoMap) {
		return nil, control.Bad("%s has no map: there is nothing to undo", l)
	}
	if v.None {
		v.Name = ""
	}
	return MapAnswer{Link: string(l), Version: v.Number, Name: v.Name}, err
}

// given is the map that a request has instead of the one that is live.
func (d *mapDesk) given(text string) (*live.Map, error) {
	if text == "" {
		return nil, nil
	}
	m, err := readMap(d.cfg, "", []byte(text))
	if err != nil {
		return nil, control.Bad("the map is not good: %v", err)
	}
	return &live.Map{Map: m}, nil
}

// try says what one message would become. The link is a device or a system that sends
// it, or a destination that it is for.
func (d *mapDesk) try(_ context.Context, _ control.Actor, r TryRequest) (any, error) {
	other, err := d.given(r.Map)
	if err != nil {
		return nil, err
	}
	lang := language(r.Language)
	source, isFrom := strings.CutPrefix(r.Link, "from/")
	c, known := d.worker.Connections[source]
	l, err := d.find(r.Link)
	if !isFrom && (!known || strings.HasPrefix(r.Link, "to/")) {
		if err != nil {
			return nil, control.Unknown("there is no device, system or destination %q", r.Link)
		}
		return d.tryFor(l, other, r.Message, lang), nil
	}
	e := intake.Entry{Kind: intake.KindHL7, Connection: source, At: time.Now()}
	if !hl7.IsMessage(r.Message) {
		e.Kind = intake.KindASTM
	}
	if c.Kind != interpret.Peer && c.Kind != interpret.Analyser && c.Kind != interpret.Monitor {
		return nil, control.Bad("%q sends no messages that are mapped", source)
	}
	p, err := d.worker.Preview(e, r.Message, func(at live.Link) *live.Map {
		if other != nil && (err != nil && strings.HasPrefix(string(at), "to/") || at == l) {
			return other
		}
		return d.maps.Live(at)
	})
	if err != nil {
		return nil, err
	}
	return answered(p, lang), nil
}

// tryFor is try of a message that is ready for a destination.
func (d *mapDesk) tryFor(l live.Link, other *live.Map, message []byte, lang reason.Language) TryAnswer {
	m := other
	if m == nil {
		m = d.maps.Live(l)
	}
	name := strings.TrimPrefix(string(l), "to/")
	a := interpret.Applied{Destination: name, In: message, Result: mapping.Result{Body: message}}
	switch {
	case m != nil && m.Broken != nil:
		a.Held = &mapping.Stop{Why: reason.New(reason.MapUnusable, name, m.Broken.Error())}
	case m != nil:
		a.Map, a.Version = m.Map.Name, m.Version
		a.Result = m.Try(message, hl7.CharsetRule{}, time.Now().In(d.cfg.Site.TimeZone))
	}
	return TryAnswer{Messages: []Tried{tried(a, lang)}}
}

func language(n int) reason.Language {
	if n == int(reason.Vietnamese) {
		return reason.Vietnamese
	}
	return reason.English
}

func answered(p interpret.Preview, lang reason.Language) TryAnswer {
	a := TryAnswer{Messages: []Tried{}, Consumed: p.Consumed}
	if p.From != nil {
		t := tried(*p.From, lang)
		a.From = &t
	}
	for _, m := range p.Messages {
		a.Messages = append(a.Messages, tried(m, lang))
	}
	for _, h := range p.Held {
		a.Held = append(a.Held, strings.TrimSpace(h.Subject+" "+h.Why.In(lang)))
	}
	return a
}

// The outcomes of Tried.
const (
	outcomeSame    = "unchanged"
	outcomeChanged = "changed"
	outcomeHeld    = "held"
	outcomeLeftOut = "left out"
)

func outcome(a mapping.Result) string {
	switch {
	case a.Held != nil:
		return outcomeHeld
	case a.Dropped != nil:
		return outcomeLeftOut
	case a.Changed:
		return outcomeChanged
	}
	return outcomeSame
}

func tried(a interpret.Applied, lang reason.Language) Tried {
	t := Tried{Destination: a.Destination, What: a.What, Map: a.Map, Version: a.Version, Outcome: outcome(a.Result), Fired: a.Fired, Message: a.Body}
	switch {
	case a.Held != nil:
		t.Rule, t.Why, t.Message = a.Held.Rule, a.Held.Why.In(lang), nil
	case a.Dropped != nil:
		t.Rule, t.Why, t.Message = a.Dropped.Rule, a.Dropped.Text, nil
	}
	return t
}

func (d *mapDesk) tryJournal(ctx context.Context, _ control.Actor, r TryRequest) (any, error) {
	l, err := d.find(r.Link)
	if err != nil {
		return nil, err
	}
	other, err := d.given(r.Map)
	if err == nil && other == nil {
		err = control.Bad("name the map that is to be tried: --map FILE")
	}
	if err != nil {
		return nil, err
	}
	limit := 20
	if r.Limit > 0 {
		limit = min(r.Limit, maxExamples)
	}
	return d.overJournal(ctx, l, other, r.Since, limit)
}

// sources are the connections whose messages a link's map changes.
func (d *mapDesk) sources(l live.Link) []string {
	if name, ok := strings.CutPrefix(string(l), "from/"); ok {
		return []string{name}
	}
	to := strings.TrimPrefix(string(l), "to/")
	var names []string
	for name, plan := range d.worker.Routes {
		for _, t := range plan.To {
			if t.Name == to {
				names = append(names, name)
			}
		}
	}
	if d.worker.Knows.Order != nil {
		names = append(names, intake.OrdersConnection) // the state of orders
	}
	slices.Sort(names)
	return names
}

// overJournal says what another map would have made of what came since a time.
func (d *mapDesk) overJournal(ctx context.Context, l live.Link, other *live.Map, since time.Time, examples int) (JournalTry, error) {
	t := JournalTry{Link: string(l), Since: since, Rules: map[string]int{}}
	for _, name := range d.sources(l) {
		var refs []storage.Ref
		err := d.store.Range(intake.Channel(name), 0, 0, true, func(ref storage.Ref, b []byte) bool {
			e, err := intake.DecodeEntry(b)
			if err != nil {
				return true // the scrub names what is damaged
			}
			if e.At.Before(since) || t.Messages+len(refs) >= maxTried {
				t.Partial = t.Partial || !e.At.Before(since)
				return false
			}
			if e.Fate == intake.Received && (e.Kind == intake.KindHL7 || e.Kind == intake.KindASTM || e.Kind == intake.KindText || e.Kind == intake.KindObservation || e.Kind == intake.KindStatus) {
				refs = append(refs, ref)
			}
			return ctx.Err() == nil
		})
		var damaged *storage.DamagedError
		if err != nil && !errors.As(err, &damaged) {
			return t, err
		}
		for _, ref := range refs {
			if ctx.Err() != nil {
				return t, ctx.Err()
			}
			if err := d.overEntry(&t, l, other, ref, examples); err != nil {
				return t, err
			}
		}
	}
	return t, nil
}

// overEntry compares what the map that is live and another one make of an entry.
func (d *mapDesk) overEntry(t *JournalTry, l live.Link, other *live.Map, ref storage.Ref, examples int) error {
	b, err := d.store.Read(ref)
	if err != nil {
		return nil // the scrub names what is damaged
	}
	e, err := intake.DecodeEntry(b)
	if err != nil {
		return nil
	}
	body, err := intake.Body(d.store, e)
	if err != nil {
		return nil
	}
	to, isTo := strings.CutPrefix(string(l), "to/")
	if isTo {
		f, ok, err := interpret.ReadFate(d.store, ref)
		if err != nil {
			return err
		}
		sent := slices.ContainsFunc(f.Sent, func(s interpret.Sent) bool { return s.Destination == to })
		if ok && !sent && f.Held == 0 && !slices.Contains(f.Consumed, interpret.Filtered) {
			return nil // it never went there
		}
	}
	p, err := d.worker.Preview(e, body, d.maps.Live)
	if err != nil {
		return err
	}
	now := p.Messages
	if !isTo {
		if now = []interpret.Applied{{In: body, Result: mapping.Result{Body: body}}}; p.From != nil {
			now[0] = *p.From
		}
	}
	c := d.worker.Connections[e.Connection]
	for _, a := range now {
		if isTo && a.Destination != to {
			continue
		}
		rule := hl7.CharsetRule{}
		if c.Kind == interpret.Peer {
			rule = c.Charset
		}
		t.compare(ref, a, other.Try(a.In, rule, e.At.In(d.cfg.Site.TimeZone)), examples)
	}
	return nil
}

// compare counts one message.
func (t *JournalTry) compare(ref storage.Ref, now interpret.Applied, then mapping.Result, examples int) {
	t.Messages++
	for _, f := range then.Fired {
		t.Rules[f.Rule]++
	}
	was, is := outcome(now.Result), outcome(then)
	sent := func(s string) bool { return s == outcomeSame || s == outcomeChanged }
	switch {
	case sent(was) && sent(is) && string(now.Body) == string(then.Body), was == is && !sent(is):
		t.Same++
		return
	case is == outcomeHeld && was != outcomeHeld:
		t.Held++
	case is == outcomeLeftOut && sent(was):
		t.LeftOut++
	case !sent(was):
		t.NowSent++
	}
	t.Differ++
	if len(t.Examples) >= examples {
		return
	}
	x := Example{Ref: ref.String(), What: now.What, Now: was, Then: is}
	if then.Held != nil {
		x.Why = then.Held.Why.In(reason.English)
	}
	if then.Dropped != nil {
		x.Why = then.Dropped.Rule + ": " + then.Dropped.Text
	}
	before, err1 := hl7.Parse(now.Body)
	after, err2 := hl7.Parse(then.Body)
	if sent(was) && sent(is) && err1 == nil && err2 == nil {
		x.Differences = mapping.Diff(before, after, maxDifferences)
	}
	t.Examples = append(t.Examples, x)
}

// ByRule are the rules of the new map, those that change most places first.
func (t JournalTry) ByRule() []string {
	return slices.SortedFunc(maps.Keys(t.Rules), func(a, b string) int {
		if n := t.Rules[b] - t.Rules[a]; n != 0 {
			return n
		}
		return strings.Compare(a, b)
	})
}
