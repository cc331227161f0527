package console

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"time"

	"nhip/gateway/alert"
	"nhip/gateway/config"
	"nhip/gateway/record"
)

// The types of this file are what the API answers and what the pages show, in
// one language. Their JSON names are a contract.

type statusView struct {
	Site        siteView         `json:"site"`
	Version     string           `json:"version"`
	At          time.Time        `json:"at"`
	Started     time.Time        `json:"started"`
	Healthy     bool             `json:"healthy"`
	Reasons     []string         `json:"reasons"`
	Listen      listenView       `json:"listen"`
	Connections []connectionView `json:"connections"`
	Queues      []queueView      `json:"queues"`
	Held        []heldView       `json:"held"`
	Counts      countsView       `json:"counts"`
	Orders      ordersView       `json:"orders"` // that are open
	Disk        diskView         `json:"disk"`
	Alarms      []alarmView      `json:"alarms"`
	Alerts      []alertView      `json:"alerts"`
	Changes     []changeView     `json:"alert_changes"`
	Strangers   []strangerView   `json:"strangers"`

	gauges []alert.Gauge
	raised map[alert.Code]int64
}

type siteView struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

type listenView struct {
	Console  addresses            `json:"console"`
	DICOM    addresses            `json:"dicom"`
	DICOMTLS addresses            `json:"dicom_tls,omitempty"`
	HL7TLS   addresses            `json:"hl7_tls,omitempty"`
	HL7HTTP  addresses            `json:"hl7_http,omitempty"`
	HL7HTTPS addresses            `json:"hl7_https,omitempty"`
	HL7      addresses            `json:"hl7"`
	MQTT     addresses            `json:"mqtt"`
	Analyser map[string]addresses `json:"analyser"`
	Monitor  map[string]addresses `json:"monitor"`
}

// addresses are a text where there is one, "" where there is none, else a list.
type addresses []string

// MarshalJSON follows the configuration, where `listen` is a text or a list.
func (a addresses) MarshalJSON() ([]byte, error) {
	switch len(a) {
	case 0:
		return []byte(`""`), nil
	case 1:
		return json.Marshal(a[0])
	}
	return json.Marshal([]string(a))
}

type connectionView struct {
	Name     string        `json:"name"`
	Kind     string        `json:"kind"`
	State    string        `json:"state"`
	Words    string        `json:"words"`
	Since    *time.Time    `json:"since"`
	Last     *time.Time    `json:"last"`
	Profile  string        `json:"profile,omitempty"`
	OnTrial  bool          `json:"on_trial"`
	Messages int64         `json:"messages"`
	Charset  int64         `json:"charset_warnings,omitempty"`
	Drift    *float64      `json:"drift_seconds"` // the device's clock ahead of ours; null: it told no time
	LastAge  *int64        `json:"last_seconds"`  // since the last message; null: none
	Trouble  []troubleView `json:"trouble"`

	DriftWords string `json:"-"` // where it is worth a look
	KindWords  string `json:"-"`
	Tone       tone   `json:"-"`
}

// A troubleView is something worth a look at a connection.
type troubleView struct {
	Code  string `json:"code"`
	Words string `json:"words"`

	Tone tone `json:"-"`
}

type queueView struct {
	Destination   string `json:"destination"`
	Depth         int    `json:"depth"`
	OldestSeconds int64  `json:"oldest_seconds"`
	Held          int    `json:"held"`
	Behind        int    `json:"waiting_behind"`
	Unanswered    int    `json:"unanswered"`
	Uncommitted   int    `json:"uncommitted"`
	Paused        bool   `json:"paused"`
}

type heldView struct {
	ID          string     `json:"id"`
	Reason      string     `json:"reason"`
	Code        string     `json:"code"`
	Since       *time.Time `json:"since"`
	Destination string     `json:"destination,omitempty"`
	Connection  string     `json:"connection,omitempty"`
	Subject     string     `json:"subject,omitempty"`
	Behind      int        `json:"waiting_behind"`
}

type countsView struct {
	Accepted   int64            `json:"accepted"`
	Delivered  int64            `json:"delivered"`
	Queued     int64            `json:"queued"`
	Held       int64            `json:"held"`
	Discarded  int64            `json:"discarded"`
	Expired    int64            `json:"expired"`
	Consumed   int64            `json:"consumed"`
	Refused    int64            `json:"refused"`
	Kinds      map[string]int64 `json:"consumed_kinds"`
	Difference int64            `json:"difference"`

	ByKind []kindCount `json:"-"`
}

type kindCount struct {
	Words string
	Count int64
}

type diskView struct {
	Free         uint64     `json:"free_bytes"`
	Total        uint64     `json:"total_bytes"`
	State        string     `json:"state"`
	Words        string     `json:"words"`
	Since        *time.Time `json:"since,omitempty"`
	ImagesBelow  uint64     `json:"images_refused_below_bytes"`
	ResultsBelow uint64     `json:"results_refused_below_bytes"`
	Tone         tone       `json:"-"`
}

type alarmView struct {
	What  string     `json:"what"`
	Where string     `json:"where"`
	At    *time.Time `json:"at"`
}

// An alertView is what is raised now.
type alertView struct {
	Code    string     `json:"code"`
	Words   string     `json:"words"`
	Subject string     `json:"subject"`
	Since   *time.Time `json:"since"`
}

// A changeView is one alert that was raised or cleared.
type changeView struct {
	alertView
	At      *time.Time `json:"at"`
	Cleared bool       `json:"cleared"`
}

type strangerView struct {
	Kind        string     `json:"kind"`
	Address     string     `json:"address"`
	CallingAE   string     `json:"calling_ae_title,omitempty"`
	CalledAE    string     `json:"called_ae_title,omitempty"`
	Application string     `json:"application,omitempty"`
	Facility    string     `json:"facility,omitempty"`
	User        string     `json:"user,omitempty"`
	Device      string     `json:"device,omitempty"`
	Wanted      string     `json:"wanted"`
	Count       int64      `json:"count"`
	Last        *time.Time `json:"last"`
	Admission   string     `json:"configuration"`
}

type messageView struct {
	Ref        string     `json:"ref"`
	At         *time.Time `json:"at"`
	Connection string     `json:"connection"`
	Kind       string     `json:"kind"`
	Subject    string     `json:"subject"`
	Bytes      int64      `json:"bytes"`
	OnTrial    bool       `json:"on_trial"`
	Outcome    string     `json:"outcome"`
	Words      string     `json:"words"`

	Tone tone `json:"-"`
}

type resultView struct {
	Ref          string         `json:"ref"`
	Received     *time.Time     `json:"received"`
	Connection   string         `json:"connection"`
	Profile      string         `json:"profile"`
	Model        string         `json:"model"`
	Serial       string         `json:"serial"`
	Specimen     string         `json:"specimen"`
	SpecimenType string         `json:"specimen_type"`
	Collected    string         `json:"collected"`
	Patient      *patientView   `json:"patient"`
	OnTrial      bool           `json:"on_trial"`
	Control      bool           `json:"control"`
	Resent       bool           `json:"resent"`
	Values       []valueView    `json:"values"`
	Comments     []string       `json:"comments"`
	Deliveries   []deliveryView `json:"deliveries"`
}

type patientView struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	Birth string `json:"birth"`
	Sex   string `json:"sex"`
}

type valueView struct {
	Code     string     `json:"code"`
	Name     string     `json:"name"`
	LOINC    string     `json:"loinc"`
	Declared bool       `json:"declared"`
	Value    string     `json:"value"`
	Unit     string     `json:"unit"`
	UCUM     string     `json:"ucum"`
	Range    string     `json:"range"`
	Flag     string     `json:"flag"`
	Status   string     `json:"status"`
	Observed *time.Time `json:"observed"`
	Said     string     `json:"observed_text"`
	Comments []string   `json:"comments"`
}

type deliveryView struct {
	Destination string     `json:"destination"`
	Outcome     string     `json:"outcome"`
	Words       string     `json:"words"`
	At          *time.Time `json:"at"`

	Tone tone `json:"-"`
}

// A viewer makes views in one language and zone.
type viewer struct {
	lang lang
	zone *time.Location
	now  time.Time
}

// at is nil for a time that is not known.
func (v viewer) at(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.In(v.zone).Truncate(time.Millisecond)
	return &t
}

func (v viewer) status(s Status, unhealthy []Words) statusView {
	return statusView{
		Site:    siteView{s.SiteID, s.SiteName},
		Version: s.Version,
		At:      *v.at(v.now),
		Started: s.Started.In(v.zone).Truncate(time.Millisecond),
		Healthy: len(unhealthy) == 0,
		Reasons: each(unhealthy, func(w Words) string { return w.in(v.lang) }),
		Listen: listenView{
			Console: s.Listen.Console, DICOM: s.Listen.DICOM, DICOMTLS: s.Listen.DICOMTLS, HL7: s.Listen.HL7, HL7TLS: s.Listen.HL7TLS, HL7HTTP: s.Listen.HL7HTTP, HL7HTTPS: s.Listen.HL7HTTPS, MQTT: s.Listen.MQTT,
			Analyser: single(s.Listen.Analyser), Monitor: single(s.Listen.Monitor),
		},
		Connections: each(withHeld(s), v.connection),
		Queues:      each(s.Queues, v.queue),
		Held:        each(s.Held, v.held),
		Counts:      v.counts(s.Counts),
		Disk:        v.disk(s.Disk),
		Alarms:      each(s.Alarms, func(a Alarm) alarmView { return alarmView{a.What, a.Where, v.at(a.At)} }),
		Alerts:      each(s.Alerts.Active, v.alert),
		Changes: each(s.Alerts.Recent, func(c alert.Change) changeView {
			return changeView{v.alert(c.Alert), v.at(c.At), c.Cleared}
		}),
		Strangers: each(s.Strangers, v.stranger),

		gauges: s.Alerts.Looked, raised: s.Alerts.Raised,
	}
}

func (v viewer) alert(a alert.Alert) alertView {
	return alertView{string(a.Code), a.In(v.lang), a.Subject, v.at(a.Since)}
}

func (v viewer) disk(d Disk) diskView {
	return diskView{
		Free: d.Free, Total: d.Total, State: d.State, Words: d.Words.in(v.lang), Since: v.at(d.Since),
		ImagesBelow: d.ImagesBelow, ResultsBelow: d.ResultsBelow, Tone: d.Words.tone(),
	}
}

func (v viewer) connection(c Connection) connectionView {
	kind, ok := kindTexts[c.Kind]
	if !ok {
		kind = text{c.Kind, c.Kind}
	}
	x := connectionView{
		Name: c.Name, Kind: c.Kind, State: string(c.State.Code), Words: c.State.in(v.lang),
		Since: v.at(c.Since), Last: v.at(c.Last), Profile: c.Profile, OnTrial: c.OnTrial, Messages: c.Messages, Charset: c.Charset,
		KindWords: kind[v.lang], Tone: c.State.tone(),
	}
	x.Trouble = each(c.Trouble, func(w Words) troubleView { return troubleView{string(w.Code), w.in(v.lang), w.tone()} })
	if !c.Last.IsZero() {
		seconds := v.seconds(c.Last)
		x.LastAge = &seconds
	}
	if c.Drift != nil {
		seconds := c.Drift.Round(100 * time.Millisecond).Seconds()
		x.Drift = &seconds
		if c.Drift.Abs() >= driftShown {
			sign := "+"
			if *c.Drift < 0 {
				sign = "−"
			}
			x.DriftWords = sign + age(v.lang, int64(c.Drift.Abs()/time.Second))
		}
	}
	return x
}

// withHeld adds to each analyser what of its messages is held, and where.
func withHeld(s Status) []Connection {
	type place struct{ connection, destination string }
	type some struct {
		n      int
		oldest Held
	}
	all := map[place]some{}
	for _, h := range s.Held {
		p := place{h.Connection, h.Destination}
		x := all[p]
		if x.n == 0 || h.Since.Before(x.oldest.Since) {
			x.oldest = h
		}
		x.n++
		all[p] = x
	}
	out := slices.Clone(s.Connections)
	for i := range out {
		c := &out[i]
		if c.Kind != "analyser" {
			continue
		}
		c.Trouble = slices.Clone(c.Trouble)
		if x := all[place{c.Name, ""}]; x.n > 0 {
			c.Trouble = append(c.Trouble, SayWhy(TroubleHeld, x.oldest.Reason, strconv.Itoa(x.n)))
		}
		for _, q := range s.Queues {
			if x := all[place{c.Name, q.Destination}]; x.n > 0 {
				c.Trouble = append(c.Trouble, SayWhy(TroubleRefused, x.oldest.Reason, strconv.Itoa(x.n), q.Destination))
			}
		}
	}
	return out
}

// Ago is how long the last message is back, in seconds, for a page.
func (c connectionView) Ago() int64 {
	if c.LastAge == nil {
		return 0
	}
	return *c.LastAge
}

// driftShown is how wrong a clock must be for a page to say it. Times of many
// devices have no seconds.
const driftShown = time.Minute

func (v viewer) queue(q Queue) queueView {
	return queueView{q.Destination, q.Depth, v.seconds(q.Oldest), q.Held, q.Behind, q.Unanswered, q.Uncommitted, q.Paused}
}

// seconds is the age, 0 for what is not there or from a clock ahead of ours.
func (v viewer) seconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return max(0, int64(v.now.Sub(t)/time.Second))
}

func (v viewer) held(h Held) heldView {
	return heldView{h.ID, h.Reason.In(v.lang), string(h.Reason.Code), v.at(h.Since), h.Destination, h.Connection, h.Subject, h.Behind}
}

func (v viewer) counts(c Counts) countsView {
	out := countsView{
		c.Accepted, c.Delivered, c.Queued, c.Held, c.Discarded, c.Expired, c.ConsumedSum(), c.Refused,
		maps.Clone(c.Consumed), c.Difference(), nil,
	}
	if out.Kinds == nil {
		out.Kinds = map[string]int64{}
	}
	for _, kind := range slices.Sorted(maps.Keys(c.Consumed)) {
		out.ByKind = append(out.ByKind, kindCount{consumedKind(kind, v.lang), c.Consumed[kind]})
	}
	return out
}

func (v viewer) stranger(s Stranger) strangerView {
	return strangerView{
		s.Kind, s.Address, s.CallingAE, s.CalledAE, s.Application, s.Facility, s.User, s.Device,
		s.Wanted.In(v.lang), s.Count, v.at(s.Last), config.Admission(s.Stranger),
	}
}

func (v viewer) message(m Message) messageView {
	return messageView{
		m.Ref, v.at(m.At), m.Connection, m.Kind, m.Subject, m.Bytes, m.OnTrial,
		string(m.Outcome.Code), m.Outcome.in(v.lang), m.Outcome.tone(),
	}
}

func (v viewer) result(r Result) resultView {
	p := r.Report
	return resultView{
		Ref: r.Ref, Received: v.at(r.Received),
		Connection: p.Device.Connection, Profile: p.Device.Profile, Model: p.Device.Model, Serial: p.Device.Serial,
		Specimen: p.Specimen.ID, SpecimenType: p.Specimen.Type, Collected: p.Specimen.Collected.Text,
		Patient: patient(p.Patient), OnTrial: r.OnTrial, Control: p.Control, Resent: r.Resent,
		Values:     each(p.Results, v.value),
		Comments:   each(p.Comments, func(s string) string { return s }),
		Deliveries: each(r.Deliveries, v.delivery),
	}
}

func patient(p *record.Patient) *patientView {
	if p == nil {
		return nil
	}
	name := p.Name.Family
	for _, part := range []string{p.Name.Middle, p.Name.Given} { // the order in Vietnamese
		if part != "" {
			name += " " + part
		}
	}
	return &patientView{p.ID, name, p.Birth, p.Sex}
}

func (v viewer) value(r record.Result) valueView {
	return valueView{
		Code: r.Code, Name: r.Text, LOINC: r.LOINC, Declared: r.Declared, Value: r.Value,
		Unit: r.Unit, UCUM: r.UCUM, Range: r.Range, Flag: r.Flag, Status: r.Status,
		Observed: v.at(r.Observed.At), Said: r.Observed.Text,
		Comments: each(r.Comments, func(s string) string { return s }),
	}
}

func (v viewer) delivery(d Delivery) deliveryView {
	return deliveryView{d.Destination, string(d.Outcome.Code), d.Outcome.in(v.lang), v.at(d.At), d.Outcome.tone()}
}

// each maps a list; it is never nil, so that JSON has [] and not null.
func each[A, B any](list []A, f func(A) B) []B {
	out := make([]B, len(list))
	for i, a := range list {
		out[i] = f(a)
	}
	return out
}

func single(m map[string]string) map[string]addresses {
	out := make(map[string]addresses, len(m))
	for name, address := range m {
		out[name] = addresses{address}
	}
	return out
}

// Open is every open listener with its address, for the page.
func (l listenView) Open() []namedAddress {
	var out []namedAddress
	add := func(name string, list addresses) {
		for _, a := range list {
			out = append(out, namedAddress{name, a})
		}
	}
	add("console", l.Console)
	add("DICOM", l.DICOM)
	add("HL7", l.HL7)
	add("MQTT", l.MQTT)
	for _, devices := range []map[string]addresses{l.Analyser, l.Monitor} {
		names := slices.Sorted(maps.Keys(devices))
		for _, name := range names {
			add(name, devices[name])
		}
	}
	return out
}

type namedAddress struct{ Name, Address string }
