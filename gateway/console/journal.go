package console

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"nhip/gateway/journal"
	"nhip/gateway/reason"
)

// A Journal is what the console shows of the journal: journal.Journal.
type Journal interface {
	Search(ctx context.Context, q journal.Query) (journal.Page, error)
	Show(ref string) (journal.Detail, error)
	Bytes(ref string) (io.ReadCloser, int64, error)
}

// maxShown is how many bytes of an entry a page shows; a download has all.
const maxShown = 64 << 10

type entryView struct {
	Ref        string              `json:"ref"`
	Direction  string              `json:"direction"`
	Kind       string              `json:"kind"`
	Connection string              `json:"connection"`
	Peer       string              `json:"peer"`
	Received   *time.Time          `json:"received"`
	DeviceTime *time.Time          `json:"device_time"`
	Subject    string              `json:"subject"`
	SHA256     string              `json:"sha256"`
	Bytes      int64               `json:"bytes"`
	Resent     bool                `json:"resent"`
	ClockBack  bool                `json:"clock_back"`
	States     []string            `json:"states"`
	Words      string              `json:"words"`
	Reasons    []string            `json:"reasons"`
	Consumed   []string            `json:"consumed"`
	Attributes map[string]string   `json:"attributes"`
	Of         string              `json:"of,omitempty"`
	Deliveries []entryDeliveryView `json:"deliveries"`
	Damaged    string              `json:"damaged,omitempty"`

	Tone tone `json:"-"`
}

type entryDeliveryView struct {
	Destination string     `json:"destination"`
	ControlID   string     `json:"control_id"`
	Ref         string     `json:"ref"`
	State       string     `json:"state"`
	Words       string     `json:"words"`
	At          *time.Time `json:"at"`
	Attempts    int        `json:"attempts"`
	Reason      string     `json:"reason"`
	Answer      []string   `json:"answer"`       // the last one of the destination, as lines
	AnswerBytes int        `json:"answer_bytes"` // of all of it

	Tone tone  `json:"-"`
	More int64 `json:"-"` // bytes that Answer does not have
}

type detailView struct {
	entryView
	Sent   []entryView `json:"sent"`
	Answer []string    `json:"answer"`
	Raw    string      `json:"raw,omitempty"` // where its bytes are

	Lines []string `json:"-"`
	More  int64    `json:"-"` // bytes that Lines do not have
}

type pageView struct {
	Entries []entryView `json:"entries"`
	Older   *time.Time  `json:"older"`
	Partial bool        `json:"partial"`
	Damaged []string    `json:"damaged"`

	Next string `json:"-"` // link to what is older
}

// A journalForm is what the page's form has, as it was typed.
type journalForm struct {
	Specimen, Patient, Accession, Order, Connection, From, To, State string
	States                                                           []journalState
	Wrong                                                            bool
}

type journalState struct {
	State    string
	Words    string
	Selected bool
}

var journalTones = map[journal.State]tone{
	journal.Delivered: good, journal.Queued: warn, journal.Held: bad, journal.Incomplete: bad, journal.Conflict: bad,
	journal.Discarded: warn, journal.Expired: warn,
}

// stateTexts has every state of the journal.
var stateTexts = map[journal.State]text{
	journal.Conflict:   {"other bytes under a known UID", "nội dung khác dưới UID đã có"},
	journal.Consumed:   {"stored only", "chỉ lưu"},
	journal.Delivered:  {"delivered", "đã gửi"},
	journal.Discarded:  {"discarded", "đã loại bỏ"},
	journal.Expired:    {"expired", "đã hết hạn"},
	journal.Held:       {"held", "bị giữ"},
	journal.Incomplete: {"incomplete", "không trọn vẹn"},
	journal.Queued:     {"queued", "đang chờ gửi"},
	journal.Repeat:     {"repeat", "bản lặp"},
	journal.Stored:     {"stored, not interpreted yet", "đã lưu, chưa xử lý"},
	journal.Trial:      {"on trial", "chạy thử"},
}

func stateWords(l lang, s journal.State) string { return stateTexts[s][l] }

func (v viewer) entry(e journal.Entry) entryView {
	words := func(r reason.Reason) string { return r.In(v.lang) }
	x := entryView{
		Ref: e.Ref, Direction: e.Direction, Kind: e.Kind, Connection: e.Connection, Peer: e.Peer,
		Received: v.at(e.Received), DeviceTime: v.at(e.DeviceTime), Subject: e.Subject, SHA256: e.SHA256, Bytes: e.Bytes,
		Resent: e.Resend, ClockBack: e.ClockBack, Reasons: each(e.Reasons, words),
		States:     each(e.States, func(s journal.State) string { return string(s) }),
		Consumed:   each(e.Consumed, func(s string) string { return s }),
		Attributes: e.Attributes, Of: e.Of, Damaged: e.Damaged,
		Deliveries: each(e.Deliveries, func(d journal.Delivery) entryDeliveryView {
			return entryDeliveryView{
				Destination: d.Destination, ControlID: d.Mark, Ref: d.Sent, State: string(d.State), Words: stateWords(v.lang, d.State), At: v.at(d.At),
				Attempts: d.Attempts, Reason: words(d.Reason), Answer: each(journal.Lines(d.Answer), func(s string) string { return s }), AnswerBytes: d.AnswerBytes,
				Tone: journalTones[d.State], More: int64(d.AnswerBytes - len(d.Answer)),
			}
		}),
	}
	if x.Attributes == nil {
		x.Attributes = map[string]string{}
	}
	var parts []string
	for _, s := range e.States {
		part := stateWords(v.lang, s)
		var more []string
		for _, d := range e.Deliveries {
			if d.State == s {
				more = append(more, d.Destination)
			}
		}
		if s == journal.Consumed {
			more = each(e.Consumed, func(kind string) string { return consumedKind(kind, v.lang) })
		}
		if len(more) > 0 {
			part += ": " + strings.Join(more, ", ")
		}
		parts = append(parts, part)
		if x.Tone == "" || journalTones[s] == bad {
			x.Tone = journalTones[s]
		}
	}
	if x.Words = strings.Join(parts, " · "); x.Tone == "" {
		x.Tone = neutral
	}
	return x
}

// journalQuery reads the parameters of a search.
func (c *Console) journalQuery(r *http.Request) (q journal.Query, err error) {
	values := r.URL.Query()
	q = journal.Query{
		Specimen: values.Get("specimen"), Patient: values.Get("patient"), Accession: values.Get("accession"), Order: values.Get("order"),
		Connection: values.Get("connection"), State: journal.State(values.Get("state")),
	}
	now := c.o.Now()
	if q.From, err = journal.ParseTime(values.Get("from"), c.o.Zone, now); err != nil {
		return q, err
	}
	if q.To, err = journal.ParseTime(values.Get("to"), c.o.Zone, now); err != nil {
		return q, err
	}
	if s := values.Get("limit"); s != "" {
		if q.Limit, err = strconv.Atoi(s); err != nil || q.Limit < 1 {
			return q, fmt.Errorf("limit must be from 1 to %d", journal.MaxLimit)
		}
	}
	return q, q.Check()
}

func (c *Console) journalPage(r *http.Request, v viewer, q journal.Query) (pageView, error) {
	ctx, cancel := context.WithTimeout(r.Context(), sourceTimeout)
	defer cancel()
	p, err := c.o.Journal.Search(ctx, q)
	if err != nil {
		return pageView{}, err
	}
	out := pageView{each(p.Entries, v.entry), v.at(p.Older), p.Partial, each(p.Damaged, func(s string) string { return s }), ""}
	if !p.Older.IsZero() {
		older := r.URL.Query()
		older.Set("lang", v.lang.String())
		older.Set("to", p.Older.Format(time.RFC3339Nano))
		out.Next = "/journal?" + older.Encode()
		out.Older = &p.Older // exactly: the next query begins there
	}
	return out, nil
}

func (c *Console) apiJournal(w http.ResponseWriter, r *http.Request) {
	q, err := c.journalQuery(r)
	if err != nil {
		c.refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	page, err := c.journalPage(r, c.viewer(r), q)
	c.json(w, page, err)
}

func entryRef(r *http.Request) string {
	return r.PathValue("direction") + "/" + r.PathValue("connection") + "/" + r.PathValue("seq")
}

// entryPath is where an entry is, below a prefix.
func entryPath(ref string) string { return (&url.URL{Path: ref}).EscapedPath() }

func (c *Console) detail(r *http.Request, v viewer) (detailView, error) {
	d, err := c.o.Journal.Show(entryRef(r))
	if err != nil {
		return detailView{}, err
	}
	x := detailView{entryView: v.entry(d.Entry), Sent: each(d.Sent, v.entry), Answer: journal.Lines(d.Answer)}
	if x.Answer == nil {
		x.Answer = []string{}
	}
	if d.HasBytes {
		x.Raw = "/api/v1/journal/" + entryPath(d.Ref) + "/raw"
	}
	return x, nil
}

func (c *Console) apiEntry(w http.ResponseWriter, r *http.Request) {
	x, err := c.detail(r, c.viewer(r))
	if errors.Is(err, journal.ErrUnknown) {
		c.refuse(w, http.StatusNotFound, err.Error())
		return
	}
	c.json(w, x, err)
}

// apiRaw gives the bytes as a file to keep: no browser takes them for anything
// else.
func (c *Console) apiRaw(w http.ResponseWriter, r *http.Request) {
	body, n, err := c.o.Journal.Bytes(entryRef(r))
	switch {
	case errors.Is(err, journal.ErrUnknown):
		c.refuse(w, http.StatusNotFound, err.Error())
		return
	case err != nil:
		c.json(w, nil, err)
		return
	}
	defer body.Close()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Content-Disposition", fmt.Sprintf(`attachment; filename="%s"`, fileName(entryRef(r))))
	w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(downloadTimeout))
	if r.Method == http.MethodHead {
		return
	}
	io.Copy(w, body) // who asked may be gone
}

// downloadTimeout is for an object of some gigabytes over a slow line.
const downloadTimeout = 30 * time.Minute

// fileName is the reference as the name of a file.
func fileName(ref string) string {
	return "nhip-" + strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' {
			return r
		}
		return '-'
	}, ref) + ".txt"
}

// journal is the page with the form and the list.
func (c *Console) journal(w http.ResponseWriter, r *http.Request) {
	p, v := c.newPage(r, "journal")
	values := r.URL.Query()
	p.Form = journalForm{
		Specimen: values.Get("specimen"), Patient: values.Get("patient"), Accession: values.Get("accession"), Order: values.Get("order"),
		Connection: values.Get("connection"), From: values.Get("from"), To: values.Get("to"), State: values.Get("state"),
	}
	for _, s := range journal.States {
		p.Form.States = append(p.Form.States, journalState{string(s), stateWords(v.lang, s), string(s) == p.Form.State})
	}
	q, err := c.journalQuery(r)
	if err != nil {
		p.Form.Wrong = true
		c.renderStatus(w, v.lang, "journal", p, http.StatusBadRequest)
		return
	}
	if p.Journal, err = c.journalPage(r, v, q); err != nil {
		c.o.Log.Warn("the journal has no answer", "error", err)
		p.Down = true
	}
	c.render(w, v.lang, "journal", p)
}

// entry is the page of one entry.
func (c *Console) entry(w http.ResponseWriter, r *http.Request) {
	p, v := c.newPage(r, "journal")
	d, err := c.detail(r, v)
	switch {
	case errors.Is(err, journal.ErrUnknown):
		c.renderStatus(w, v.lang, "not-found", p, http.StatusNotFound)
		return
	case err != nil:
		c.o.Log.Warn("the journal has no answer", "error", err)
		p.Down = true
		c.render(w, v.lang, "entry", p)
		return
	}
	if d.Raw != "" && d.Kind != "dicom" && d.Damaged == "" {
		body, n, err := c.o.Journal.Bytes(d.Ref)
		if err != nil {
			d.Damaged = err.Error()
		} else {
			b, _ := io.ReadAll(io.LimitReader(body, maxShown))
			body.Close()
			d.Lines, d.More = journal.Lines(b), n-int64(len(b))
		}
	}
	p.Entry = &d
	c.render(w, v.lang, "entry", p)
}
