package console

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

//go:embed pages/*.html
var pageFiles embed.FS

// pages are the templates in one language.
type pages struct {
	lang lang
	set  *template.Template
}

func newPages(l lang) *pages {
	set := template.New("").Funcs(template.FuncMap{
		"t":     func(key string, args ...string) string { return say(l, key, args...) },
		"show":  visible,
		"num":   func(n any) string { return number(l, n) },
		"age":   func(seconds int64) string { return age(l, seconds) },
		"bytes": func(n uint64) string { return size(l, n) },
		"bench": func(p page, v *benchView) shownBench { return shownBench{p.Lang, v} },
	})
	return &pages{l, template.Must(set.ParseFS(pageFiles, "pages/*.html"))}
}

// A page is what the templates see.
type page struct {
	Lang   string
	Other  string // link to the same page in the other language
	Live   string // where the part that refreshes itself is
	Title  string
	At     time.Time
	Status statusView
	Down   bool // the source did not answer

	Query    Query
	Messages []messageView
	Results  []resultView
	Manual   *manual
	Form     journalForm
	Journal  pageView
	Entry    *detailView
	Act      *actForm
	Charts   []chartView
	Bench    *benchForm
	Orders   *ordersForm
	Tables   *tablesForm

	Workbench bool // there is that page
	Codes     bool // there is that of the tables of codes

	MoreCharts bool
}

// When is a time as short as it is clear: the day only where it is not today,
// the year only where it is not this one.
func (p page) When(t *time.Time) string {
	switch {
	case t == nil:
		return ""
	case t.Year() != p.At.Year():
		return t.Format("02/01/2006 15:04")
	case t.YearDay() != p.At.YearDay():
		return t.Format("02/01 15:04")
	}
	return t.Format("15:04:05")
}

// A Link is a reference of the journal in a page.
type Link struct{ Ref, Lang string }

// Link is a link to an entry of the journal.
func (p page) Link(ref string) Link { return Link{ref, p.Lang} }

// Full is a time with its day.
func (p page) Full(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.Format("02/01/2006 15:04:05")
}

func (c *Console) newPage(r *http.Request, title string) (page, viewer) {
	v := c.viewer(r)
	other := r.URL.Query()
	other.Set("lang", (en + vi - v.lang).String())
	p := page{
		Lang: v.lang.String(), Other: r.URL.Path + "?" + other.Encode(),
		Live:  "/live?" + url.Values{"lang": {v.lang.String()}}.Encode(),
		Title: say(v.lang, title), At: *v.at(v.now), Workbench: c.o.Workbench != nil, Codes: c.tables,
	}
	status, err := c.status(r, v)
	if err != nil {
		c.o.Log.Warn("the console has no status", "error", err)
	}
	p.Status, p.Down = status, err != nil
	return p, v
}

func (c *Console) overview(w http.ResponseWriter, r *http.Request) { c.overviewPage(w, r, "overview") }

// live is the part of the overview that refreshes itself.
func (c *Console) live(w http.ResponseWriter, r *http.Request) { c.overviewPage(w, r, "live") }

func (c *Console) overviewPage(w http.ResponseWriter, r *http.Request, name string) {
	p, v := c.newPage(r, "overview")
	var err1, err2 error
	p.Messages, err1 = c.messageViews(r, v, pageMessages)
	p.Results, err2 = c.resultViews(r, v, Query{OnTrial: true, Limit: trialResults})
	p.Down = p.Down || err1 != nil || err2 != nil
	c.render(w, v.lang, name, p)
}

func (c *Console) results(w http.ResponseWriter, r *http.Request) {
	p, v := c.newPage(r, "results")
	q, ok := query(r)
	if !ok {
		q.Specimen = ""
	}
	p.Query = q
	if q.Specimen != "" || q.OnTrial {
		var err error
		p.Results, err = c.resultViews(r, v, q)
		p.Down = p.Down || err != nil
	}
	c.render(w, v.lang, "results", p)
}

func (c *Console) notFound(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/api/") {
		c.refuse(w, http.StatusNotFound, "there is no such resource")
		return
	}
	p, v := c.newPage(r, "not-found")
	c.renderStatus(w, v.lang, "not-found", p, http.StatusNotFound)
}

func (c *Console) render(w http.ResponseWriter, l lang, name string, p page) {
	code := http.StatusOK
	if p.Down {
		code = http.StatusServiceUnavailable
	}
	c.renderStatus(w, l, name, p, code)
}

// renderStatus writes the whole page or, when it fails half-way, none of it.
func (c *Console) renderStatus(w http.ResponseWriter, l lang, name string, p page, code int) {
	var b bytes.Buffer
	if err := c.pages[l].set.ExecuteTemplate(&b, name, p); err != nil {
		c.o.Log.Error("the page cannot be made", "page", name, "error", err)
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Language", l.String())
	w.WriteHeader(code)
	w.Write(b.Bytes())
}

// visible shows what would not be seen or would turn the text around it:
// control characters, invisible characters and bidirectional overrides appear
// as their code points. Text from a wire goes through it, inside <bdi>.
func visible(s string) string {
	if !strings.ContainsFunc(s, hidden) && utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], "\uFFFD"):
			fmt.Fprintf(&b, "⟨%02X⟩", s[i])
		case hidden(r):
			fmt.Fprintf(&b, "⟨U+%04X⟩", r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

func hidden(r rune) bool {
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Zl, unicode.Zp)
}

// number has the separator of thousands of the language.
func number(l lang, n any) string {
	s := fmt.Sprint(n)
	sign := ""
	if strings.HasPrefix(s, "-") {
		sign, s = "−", s[1:]
	}
	separator := [...]string{",", "."}[l]
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + separator + s[i:]
	}
	return sign + s
}

// age is a length of time in its largest unit.
func age(l lang, seconds int64) string {
	units := [...]struct {
		length int64
		name   text
	}{{86400, text{"d", "ngày"}}, {3600, text{"h", "giờ"}}, {60, text{"min", "phút"}}, {1, text{"s", "giây"}}}
	for _, u := range units {
		if seconds >= 2*u.length || u.length == 1 {
			return strconv.FormatInt(seconds/u.length, 10) + " " + u.name[l]
		}
	}
	return ""
}

func size(l lang, n uint64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	i, f := 0, float64(n)
	for f >= 1024 && i < len(units)-1 {
		f /= 1024
		i++
	}
	s := strconv.FormatFloat(f, 'f', 1, 64)
	if i == 0 {
		s = strconv.FormatUint(n, 10)
	}
	if l == vi {
		s = strings.Replace(s, ".", ",", 1)
	}
	return s + " " + units[i]
}
