package run

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"nhip/drivers/profile"
	"nhip/gateway/codes"
	"nhip/gateway/config"
	"nhip/gateway/control"
	"nhip/gateway/intake"
	"nhip/gateway/interpret"
	"nhip/gateway/lab"
	"nhip/gateway/reason"
	"nhip/gateway/versions"
	"nhip/storage"
)

// codeWords are how tables of codes are called in the store and the audit journal.
var codeWords = versions.Words{Keys: "codes", Name: "codes"}

func openCodes(cfg *config.Config, s *storage.Store) (*versions.Keeper[*codes.Table], error) {
	var names []string
	for _, a := range cfg.Analysers {
		names = append(names, a.Name)
	}
	return versions.Open(s, codeWords, func(_ string, text []byte) (*codes.Table, error) { return readCodes(text) }, names)
}

// readCodes reads a table that has to be good.
func readCodes(text []byte) (*codes.Table, error) {
	t, problems := config.ReadCodes(text, "")
	for _, p := range problems {
		if !p.Warning {
			return nil, errors.New(p.String())
		}
	}
	return t, nil
}

// startCodes opens the tables of codes and takes in those that the configuration names.
func (g *Gateway) startCodes() error {
	k, err := openCodes(g.cfg, g.store)
	if err != nil {
		return err
	}
	g.codes = k
	now := time.Now()
	for _, a := range g.cfg.Analysers {
		var text []byte
		if a.Codes != "" {
			_, b, problems := config.LoadCodes(a.Codes)
			if !config.Good(problems) {
				return fmt.Errorf("codes of %s: %s", a.Name, problems[0])
			}
			text = b
		}
		if err := k.Configure(g.ctx, a.Name, filepath.Base(a.Codes), text, now); err != nil {
			return fmt.Errorf("codes of %s: %w", a.Name, err)
		}
		if live := k.Live(a.Name); live != nil && live.Broken != nil {
			g.log.Error("the code table cannot be used: its results are held", "analyser", a.Name, "version", live.Version, "error", live.Broken)
		}
	}
	return nil
}

// codeTable is the table of an analyser's codes that is live.
func (g *Gateway) codeTable(analyser string) *interpret.CodeTable {
	return (*interpret.CodeTable)(g.codes.Live(analyser))
}

// labCodes are the codes of an analyser as orders see it: by the table that is live.
func (g *Gateway) labCodes(a config.Analyser) lab.Codes {
	own := lab.ByCode{}
	if p := g.profiles[a.Profile]; p != nil && !p.SiteCodes() {
		own.Codes = p.Codes()
	}
	ordered := map[string][]string{}
	for _, c := range g.cfg.OrderCodes {
		if c.Analyser == a.Name {
			ordered[c.Order] = c.Tests
		}
	}
	return lab.Live(func() lab.Codes {
		t := lab.Table{Zone: g.cfg.Site.TimeZone, Orders: ordered, Else: own}
		if live := g.codes.Live(a.Name); live != nil && live.Broken == nil {
			t.Site = live.Value
		}
		return t
	})
}

// withCodes is an analyser with the table that a message is interpreted with.
func withCodes(a lab.Analyser, t *codes.Table) lab.Analyser {
	a = a.Pinned()
	if of, ok := a.Codes.(lab.Table); ok {
		of.Site = t
		a.Codes = of
	}
	return a
}

// The requests and answers of the acts on tables of codes, as JSON.
type (
	// CodesRequest is of "codes-show", "codes-check", "codes-new" and "codes-try".
	CodesRequest struct {
		Analyser string `json:"analyser"`
		Version  int    `json:"version,omitempty"` // of "codes-show"; 0: the one that is live
		Text     string `json:"text,omitempty"`    // the file, of "codes-check" and "codes-try"
		Last     int    `json:"last,omitempty"`    // messages of the journal that are looked at, default 200
		Limit    int    `json:"limit,omitempty"`   // examples, default 50
		Language int    `json:"lang,omitempty"`    // reason.Language
	}
	// CodesChange is of "codes-apply" and "codes-undo".
	CodesChange struct {
		Analyser string `json:"analyser"`
		Name     string `json:"name,omitempty"`
		Text     string `json:"text,omitempty"`
		Reason   string `json:"reason,omitempty"`
		Last     int    `json:"last,omitempty"` // it is tried on so many messages first; 0: it is not
		// Accept makes it live although reports would be held that are sent now.
		Accept   bool `json:"accept,omitempty"`
		Language int  `json:"lang,omitempty"`
	}
	// CodesAnswer says what is live.
	CodesAnswer struct {
		Analyser string       `json:"analyser"`
		Version  int          `json:"version"` // 0: no table
		Name     string       `json:"name,omitempty"`
		Broken   string       `json:"broken,omitempty"`
		Text     string       `json:"text,omitempty"` // the file as it was written
		Table    *codes.Table `json:"table,omitempty"`
		Problems []string     `json:"problems,omitempty"` // also what the profile does not know, and warnings
		Tried    *CodesTry    `json:"tried,omitempty"`
		History  []MapVersion `json:"history,omitempty"`
	}
	// CodesList is the answer of "codes-list".
	CodesList struct {
		Analysers []CodesAnswer `json:"analysers"`
	}
	// CodesTry says what another table would have made of the newest messages.
	CodesTry struct {
		Analyser string       `json:"analyser"`
		Messages int          `json:"messages"`
		Reports  int          `json:"reports"` // of patients and of control material
		Results  int          `json:"results"`
		Same     int          `json:"same"`   // results
		Differ   int          `json:"differ"` // results
		Held     int          `json:"held"`   // reports that would be held, and are not now
		Sent     int          `json:"sent"`   // reports that would go on, and are held now
		ByCode   []CodeChange `json:"by_code"`
		Examples []CodeCase   `json:"examples,omitempty"`
	}
	// CodeChange is what would be other for a code and unit of the analyser.
	CodeChange struct {
		Code    string `json:"code"`
		Unit    string `json:"unit"`
		Results int    `json:"results"`
		Now     Coded  `json:"now"` // of the newest
		Then    Coded  `json:"then"`
	}
	// CodeCase is one result that would be other.
	CodeCase struct {
		Ref    string `json:"ref"` // the journal entry
		Report int    `json:"report"`
		Code   string `json:"code"`
		Unit   string `json:"unit"`
		Value  string `json:"value"`
		Now    Coded  `json:"now"`
		Then   Coded  `json:"then"`
	}
	// Coded is a result as it would be sent, or why it would not.
	Coded struct {
		Code  string `json:"code"`
		Name  string `json:"name,omitempty"`
		LOINC string `json:"loinc,omitempty"`
		Value string `json:"value"`
		Unit  string `json:"unit"`
		UCUM  string `json:"ucum,omitempty"`
		Range string `json:"range,omitempty"`
		MaMay string `json:"ma_may,omitempty"`
		Why   string `json:"why,omitempty"` // what the table does not have: a codes.Kind
		Held  string `json:"held,omitempty"`
	}
)

// Limits of a try of a table.
const (
	triedByDefault = 200
	maxCodesTried  = 20000
)

// A codesDesk is where people look at tables of codes and change them.
type codesDesk struct {
	cfg      *config.Config
	store    *storage.Store
	codes    *versions.Keeper[*codes.Table]
	worker   *interpret.Worker
	profiles map[string]*profile.Profile
}

func (g *Gateway) codesDesk() *codesDesk {
	w := &interpret.Worker{Store: g.store, Connections: g.connection, Knows: interpret.Knowledge{Zone: g.cfg.Site.TimeZone}}
	return &codesDesk{cfg: g.cfg, store: g.store, codes: g.codes, worker: w, profiles: g.profiles}
}

func (d *codesDesk) register(a *control.Acts) {
	add(a, "codes-list", d.list)
	add(a, "codes-show", d.show)
	add(a, "codes-check", d.check)
	add(a, "codes-new", d.draft)
	add(a, "codes-try", d.try)
	add(a, "codes-apply", d.apply)
	add(a, "codes-undo", d.undo)
	add(a, "codes-versions", d.versions)
}

// analyser is the one that a person names.
func (d *codesDesk) analyser(name string) (config.Analyser, error) {
	i := slices.IndexFunc(d.cfg.Analysers, func(a config.Analyser) bool { return a.Name == name })
	if i < 0 {
		return config.Analyser{}, control.Unknown("there is no [[analyser]] with the name %q", name)
	}
	return d.cfg.Analysers[i], nil
}

func (d *codesDesk) list(_ context.Context, _ control.Actor, _ struct{}) (any, error) {
	answer := CodesList{Analysers: []CodesAnswer{}}
	for _, a := range d.cfg.Analysers {
		answer.Analysers = append(answer.Analysers, d.answer(a.Name))
	}
	return answer, nil
}

// answer says what is live, without the table.
func (d *codesDesk) answer(name string) CodesAnswer {
	x := CodesAnswer{Analyser: name}
	if live := d.codes.Live(name); live != nil {
		x.Version, x.Name = live.Version, live.Name
		if live.Broken != nil {
			x.Broken = live.Broken.Error()
		}
	}
	return x
}

func (d *codesDesk) show(_ context.Context, _ control.Actor, r CodesRequest) (any, error) {
	if _, err := d.analyser(r.Analyser); err != nil {
		return nil, err
	}
	answer := d.answer(r.Analyser)
	if r.Version != 0 {
		answer.Version, answer.Name, answer.Broken = r.Version, "", ""
	}
	if answer.Version == 0 {
		return nil, control.Unknown("%s has no code table; `nhip codes new %s` makes a first one", r.Analyser, r.Analyser)
	}
	v, err := d.codes.Version(r.Analyser, answer.Version)
	if err != nil {
		return nil, control.Unknown("%s, version %d: %v", r.Analyser, answer.Version, err)
	}
	answer.Name = v.Name
	if v.None {
		return answer, nil
	}
	text, err := v.Text()
	if err != nil {
		return nil, err
	}
	answer.Text = string(text)
	answer.Table, _ = config.ReadCodes(text, "")
	return answer, nil
}

// check reads a table, and holds it against the analyser's profile.
func (d *codesDesk) check(_ context.Context, _ control.Actor, r CodesRequest) (any, error) {
	a, err := d.analyser(r.Analyser)
	if err != nil {
		return nil, err
	}
	t, problems := config.ReadCodes([]byte(r.Text), "")
	answer := CodesAnswer{Analyser: r.Analyser, Table: t}
	for _, p := range problems {
		answer.Problems = append(answer.Problems, p.In(language(r.Language)))
	}
	if t != nil {
		answer.Problems = append(answer.Problems, d.againstProfile(a, t, language(r.Language))...)
	}
	return answer, nil
}

// Words about a table and a profile.
var (
	wordsUndeclared = [2]string{"line {0}: the profile {1} does not know the code {2}", "dòng {0}: hồ sơ {1} không có mã {2}"}
	wordsNoRow      = [2]string{"no row for codes that the profile {0} declares: {1}", "chưa có dòng cho các mã mà hồ sơ {0} khai báo: {1}"}
)

// maxNamed is how many codes a sentence names.
const maxNamed = 20

func (d *codesDesk) againstProfile(a config.Analyser, t *codes.Table, lang reason.Language) (said []string) {
	p := d.profiles[a.Profile]
	if p == nil || p.SiteCodes() || len(t.Rows) == 0 {
		return nil
	}
	declared := p.Codes()
	for _, r := range t.Rows {
		if !slices.Contains(declared, r.Code) {
			said = append(said, reason.Fill(wordsUndeclared[lang], []string{fmt.Sprint(r.Line), p.ID(), r.Code}))
		}
	}
	missing := slices.DeleteFunc(declared, t.Has)
	if n := len(missing); n > maxNamed {
		missing = append(missing[:maxNamed:maxNamed], "…")
	}
	if len(missing) > 0 {
		said = append(said, reason.Fill(wordsNoRow[lang], []string{p.ID(), strings.Join(missing, ", ")}))
	}
	return said
}

// draft makes a first table of what the journal and the profile have.
func (d *codesDesk) draft(ctx context.Context, _ control.Actor, r CodesRequest) (any, error) {
	a, err := d.analyser(r.Analyser)
	if err != nil {
		return nil, err
	}
	var seen []codes.Seen
	err = d.newest(ctx, a.Name, lastMessages(r.Last), func(_ storage.Ref, e intake.Entry, body []byte) error {
		all, err := d.worker.Codings(e, body, nil)
		for _, c := range all {
			if c.Control {
				continue
			}
			for _, x := range c.Sent.Results {
				s := codes.Seen{Code: strings.TrimSpace(x.Code), Unit: strings.TrimSpace(x.Unit), Name: x.Text, Times: 1}
				if s.Code != "" && !slices.ContainsFunc(seen, func(o codes.Seen) bool { return o.Code == s.Code && o.Unit == s.Unit }) {
					seen = append(seen, s)
				}
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(seen, func(a, b codes.Seen) int { return strings.Compare(a.Code, b.Code) })
	var declared []codes.Declared
	if p := d.profiles[a.Profile]; p != nil {
		for _, t := range p.Tests() {
			declared = append(declared, codes.Declared{Code: t.Code, Name: t.Name, LOINC: t.LOINC})
		}
	}
	t := codes.Draft(seen, declared)
	return CodesAnswer{Analyser: a.Name, Text: string(t.Write(language(r.Language)))}, nil
}

func lastMessages(n int) int {
	if n <= 0 {
		return triedByDefault
	}
	return min(n, maxCodesTried)
}

// newest gives the newest messages of an analyser that were received, the newest first.
// What is damaged is left to the scrub.
func (d *codesDesk) newest(ctx context.Context, analyser string, n int, f func(storage.Ref, intake.Entry, []byte) error) error {
	var refs []storage.Ref
	err := d.store.Range(intake.Channel(analyser), 0, 0, true, func(ref storage.Ref, b []byte) bool {
		e, err := intake.DecodeEntry(b)
		if err == nil && e.Fate == intake.Received {
			refs = append(refs, ref)
		}
		return len(refs) < n && ctx.Err() == nil
	})
	var damaged *storage.DamagedError
	if err != nil && !errors.As(err, &damaged) {
		return err
	}
	for _, ref := range refs {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		b, err := d.store.Read(ref)
		if err != nil {
			continue
		}
		e, err := intake.DecodeEntry(b)
		if err != nil {
			continue
		}
		body, err := intake.Body(d.store, e)
		if err != nil {
			continue
		}
		if err := f(ref, e, body); err != nil {
			return err
		}
	}
	return nil
}

func (d *codesDesk) try(ctx context.Context, _ control.Actor, r CodesRequest) (any, error) {
	if _, err := d.analyser(r.Analyser); err != nil {
		return nil, err
	}
	t, err := readCodes([]byte(r.Text))
	if err != nil {
		return nil, control.Bad("the code table is not good: %v", err)
	}
	limit := 50
	if r.Limit > 0 {
		limit = min(r.Limit, maxExamples)
	}
	return d.overJournal(ctx, r.Analyser, t, lastMessages(r.Last), limit, language(r.Language))
}

// overJournal says what another table, nil for none, would have made of the newest
// messages; nothing is changed.
func (d *codesDesk) overJournal(ctx context.Context, analyser string, other *codes.Table, last, limit int, lang reason.Language) (CodesTry, error) {
	answer := CodesTry{Analyser: analyser, ByCode: []CodeChange{}}
	live := d.codes.Live(analyser)
	c := codesCompare{answer: &answer, limit: limit, lang: lang, byCode: map[[2]string]*CodeChange{}}
	var now *codes.Table
	if live != nil {
		now, c.broken = live.Value, live.Broken
	}
	err := d.newest(ctx, analyser, last, func(ref storage.Ref, e intake.Entry, body []byte) error {
		before, err := d.worker.Codings(e, body, now)
		if err != nil {
			return err
		}
		after, err := d.worker.Codings(e, body, other)
		if err != nil {
			return err
		}
		answer.Messages++
		for i := range before {
			c.report(ref, before[i], after[i])
		}
		return nil
	})
	for _, key := range slices.SortedFunc(maps.Keys(c.byCode), func(a, b [2]string) int { return slices.Compare(a[:], b[:]) }) {
		answer.ByCode = append(answer.ByCode, *c.byCode[key])
	}
	return answer, err
}

// codesCompare compares what two tables make of messages.
type codesCompare struct {
	answer *CodesTry
	limit  int
	lang   reason.Language
	broken error // the table that is live cannot be used
	byCode map[[2]string]*CodeChange
}

func (c *codesCompare) report(ref storage.Ref, now, then interpret.Coding) {
	c.answer.Reports++
	if c.broken != nil && !now.Control {
		now.Why = reason.New(reason.CodesUnusable, c.answer.Analyser, c.broken.Error())
	}
	switch {
	case now.Why.IsZero() && !then.Why.IsZero():
		c.answer.Held++
	case !now.Why.IsZero() && then.Why.IsZero():
		c.answer.Sent++
	}
	for i, x := range now.Sent.Results {
		c.answer.Results++
		a, b := c.coded(now, i), c.coded(then, i)
		if a == b {
			c.answer.Same++
			continue
		}
		c.answer.Differ++
		code, unit := strings.TrimSpace(x.Code), strings.TrimSpace(x.Unit)
		k := [2]string{code, unit}
		if c.byCode[k] == nil {
			c.byCode[k] = &CodeChange{Code: code, Unit: unit, Now: a, Then: b}
		}
		c.byCode[k].Results++
		if len(c.answer.Examples) < c.limit {
			c.answer.Examples = append(c.answer.Examples, CodeCase{Ref: ref.String(), Report: now.Report, Code: code, Unit: unit, Value: x.Value, Now: a, Then: b})
		}
	}
}

// coded is one result as it would be sent.
func (c *codesCompare) coded(k interpret.Coding, i int) Coded {
	x := k.Outcome.Report.Results[i]
	v := Coded{Code: x.Code, Name: x.Text, LOINC: x.LOINC, Value: x.Value, Unit: x.Unit, UCUM: x.UCUM, Range: x.Range, MaMay: k.Outcome.Report.Device.MaMay, Why: string(k.Fates[i].Kind)}
	if !k.Why.IsZero() {
		v.Held = k.Why.In(c.lang)
	}
	if k.Control {
		v.Why = "control"
	}
	return v
}

func (d *codesDesk) apply(ctx context.Context, who control.Actor, r CodesChange) (any, error) {
	a, err := d.analyser(r.Analyser)
	if err == nil {
		err = shortReason(r.Reason)
	}
	switch {
	case err != nil:
		return nil, err
	case strings.TrimSpace(r.Name) == "" || len(r.Name) > 100:
		return nil, control.Bad("the version needs a name of at most 100 bytes: --as NAME")
	}
	t, err := readCodes([]byte(r.Text))
	if err != nil {
		return nil, control.Bad("the code table is not good: %v", err)
	}
	lang := language(r.Language)
	answer := CodesAnswer{Analyser: a.Name, Problems: d.againstProfile(a, t, lang)}
	if r.Last > 0 {
		x, err := d.overJournal(ctx, a.Name, t, lastMessages(r.Last), 20, lang)
		if err != nil {
			return nil, err
		}
		if answer.Tried = &x; x.Held > 0 && !r.Accept {
			return nil, control.Bad("of the last %d messages, %d reports would be held that are sent now: look at them with `nhip codes try %s FILE`, then say --accept", x.Messages, x.Held, a.Name)
		}
	}
	v, err := d.codes.Activate(ctx, who, a.Name, r.Name, r.Reason, []byte(r.Text), time.Now())
	if errors.Is(err, storage.ErrTooLarge) {
		return nil, control.Bad("the code table is too large to be stored")
	}
	answer.Version, answer.Name = v.Number, v.Name
	return answer, err
}

func (d *codesDesk) undo(ctx context.Context, who control.Actor, r CodesChange) (any, error) {
	a, err := d.analyser(r.Analyser)
	if err == nil {
		err = shortReason(r.Reason)
	}
	if err != nil {
		return nil, err
	}
	_, err = d.codes.Undo(ctx, who, a.Name, r.Reason, time.Now())
	if errors.Is(err, versions.ErrNone) {
		return nil, control.Bad("%s has no code table: there is nothing to undo", a.Name)
	}
	return d.answer(a.Name), err
}

func (d *codesDesk) versions(_ context.Context, _ control.Actor, r CodesRequest) (any, error) {
	if _, err := d.analyser(r.Analyser); err != nil {
		return nil, err
	}
	all, now, err := d.codes.History(r.Analyser)
	if err != nil {
		return nil, err
	}
	answer := d.answer(r.Analyser)
	for _, v := range all {
		answer.History = append(answer.History, MapVersion{v.Number, v.Name, v.At, v.User, v.By, v.Why, v.None, v.Number == now})
	}
	return answer, nil
}
