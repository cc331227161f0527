// Package console is what people and other programs see of the gateway: pages
// in English and Vietnamese, the same as JSON, health and metrics. It answers
// on loopback only, and until there are users to anybody GET and HEAD alone; the
// acts of package control take a POST with a person's token.
// What it shows comes from a Source; it keeps no state.
package console

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/text/language"

	"nhip/gateway/control"
	"nhip/gateway/docs"
)

// Limits of the server and of what one answer shows.
const (
	sourceTimeout  = 5 * time.Second
	maxConnections = 256
	maxPerAddress  = 64 // a reverse proxy is one address; slow connections of two addresses keep no third out
	maxHeader      = 16 << 10
	maxSpecimen    = 200
	pageMessages   = 20
	apiMessages    = 100
	maxMessages    = 1000
	maxResults     = 100
	trialResults   = 10
)

//go:embed static
var static embed.FS

// Options are what a console needs.
type Options struct {
	Source    Source
	Journal   Journal                                      // what came in and went out
	Controls  Controls                                     // of control material; nil: none
	Orders    Orders                                       // of systems; nil: none
	Workbench Workbench                                    // reads recordings of analysers; nil: there is no such page
	Acts      *control.Acts                                // what a person may do; nil: nothing
	Person    func(token string) (name string, known bool) // whose token it is
	Zone      *time.Location                               // of the times that are shown; nil: UTC
	Hosts     []string                                     // names in the Host header besides those of loopback
	Log       *slog.Logger                                 // nil: slog.Default
	Now       func() time.Time                             // nil: time.Now
}

// A Console is an http.Handler.
type Console struct {
	o       Options
	handler http.Handler
	pages   [2]*pages
	assets  map[string]asset
	posts   map[string]bool // paths of the API that take POST
	bench   chan struct{}   // a place for each recording that is being read
	tables  bool            // there is the page of tables of codes
	manuals [2]manual

	statement manual // of DICOM conformance
}

type asset struct {
	kind, tag string
	body      []byte
}

// New makes a console.
func New(o Options) *Console {
	if o.Zone == nil {
		o.Zone = time.UTC
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	c := &Console{o: o, pages: [2]*pages{newPages(en), newPages(vi)}, assets: loadAssets(), posts: map[string]bool{}, bench: make(chan struct{}, benches), manuals: manuals(), statement: newManual(docs.Conformance)}
	mux := http.NewServeMux()
	mux.HandleFunc("/{$}", c.overview)
	mux.HandleFunc("/live", c.live)
	mux.HandleFunc("/results", c.results)
	mux.HandleFunc("/manual", c.manual)
	mux.HandleFunc("/manual/conformance", c.conformance)
	mux.HandleFunc("/journal", c.journal)
	mux.HandleFunc("/journal/{direction}/{connection}/{seq}", c.entry)
	mux.HandleFunc("/static/{name}", c.static)
	mux.HandleFunc("/api/v1/status", c.apiStatus)
	mux.HandleFunc("/api/v1/messages", c.apiMessages)
	mux.HandleFunc("/api/v1/results", c.apiResults)
	mux.HandleFunc("/qc", c.qcPage)
	mux.HandleFunc("/api/v1/qc", c.apiQC)
	mux.HandleFunc("/orders", c.ordersPage)
	mux.HandleFunc("/api/v1/orders", c.apiOrders)
	mux.HandleFunc("/api/v1/journal", c.apiJournal)
	mux.HandleFunc("/api/v1/journal/{direction}/{connection}/{seq}", c.apiEntry)
	mux.HandleFunc("/api/v1/journal/{direction}/{connection}/{seq}/raw", c.apiRaw)
	mux.HandleFunc("/healthz", c.healthz)
	mux.Handle("/metrics", metrics(c))
	if o.Workbench != nil {
		mux.HandleFunc("GET /workbench", c.workbench)
		mux.HandleFunc("POST /workbench", c.benchPost)
	}
	if o.Acts != nil {
		if c.tables = slices.Contains(o.Acts.Paths(), "codes-list"); c.tables {
			mux.HandleFunc("GET /codes", c.tablesPage)
			mux.HandleFunc("GET /codes/file", c.tableFile)
			mux.HandleFunc("POST /codes", c.tablesPost)
		}
		mux.HandleFunc("GET /act", c.actPage)
		mux.HandleFunc("POST /act", c.actPost)
		for _, path := range o.Acts.Paths() {
			c.posts["/api/v1/"+path] = true
			mux.HandleFunc("POST /api/v1/"+path, c.apiAct(path))
		}
	}
	mux.HandleFunc("/", c.notFound)
	c.handler = c.guard(mux)
	return c
}

func loadAssets() map[string]asset {
	kinds := map[string]string{"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}
	assets := map[string]asset{}
	entries, _ := fs.ReadDir(static, "static")
	for _, e := range entries {
		body, _ := static.ReadFile("static/" + e.Name())
		_, suffix, _ := strings.Cut(e.Name(), ".")
		assets[e.Name()] = asset{kinds[suffix], fmt.Sprintf(`"%x"`, sha256.Sum256(body)), body}
	}
	return assets
}

// ServeHTTP answers one request.
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) { c.handler.ServeHTTP(w, r) }

// Serve answers on the listeners until the context ends, then lets the requests
// at hand finish. It owns the listeners.
func (c *Console) Serve(ctx context.Context, listeners ...net.Listener) error {
	server := &http.Server{
		Handler:           c,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(c.o.Log.Handler(), slog.LevelDebug),
	}
	slots := make(chan struct{}, maxConnections)
	ended := make(chan error, len(listeners))
	for _, l := range listeners {
		go func() { ended <- server.Serve(&limited{Listener: l, slots: slots, open: map[string]int{}}) }()
	}
	var err error
	open := len(listeners)
	select {
	case <-ctx.Done():
	case err = <-ended:
		open--
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), sourceTimeout)
	defer cancel()
	if server.Shutdown(grace) != nil {
		server.Close()
	}
	for range open {
		<-ended
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// A limited listener has at most so many connections open as there are slots;
// further ones wait in the backlog. One over the limit of its address is closed,
// so that it keeps nobody else waiting.
type limited struct {
	net.Listener
	slots chan struct{}

	mu   sync.Mutex
	open map[string]int // by address
}

func (l *limited) Accept() (net.Conn, error) {
	l.slots <- struct{}{}
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			<-l.slots
			return nil, err
		}
		from, _, _ := net.SplitHostPort(c.RemoteAddr().String())
		if l.enter(from) {
			return &slotted{Conn: c, l: l, from: from}, nil
		}
		c.Close()
	}
}

func (l *limited) enter(from string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[from] >= maxPerAddress {
		return false
	}
	l.open[from]++
	return true
}

func (l *limited) leave(from string) {
	l.mu.Lock()
	if l.open[from]--; l.open[from] == 0 {
		delete(l.open, from)
	}
	l.mu.Unlock()
	<-l.slots
}

type slotted struct {
	net.Conn
	l    *limited
	from string
	once sync.Once
}

func (c *slotted) Close() error {
	c.once.Do(func() { c.l.leave(c.from) })
	return c.Conn.Close()
}

// guard is what every request passes first.
func (c *Console) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), microphone=(), geolocation=()")
		h.Set("Cache-Control", "no-store")
		if !c.knownHost(r.Host) {
			http.Error(w, "This host name is not known here; see [console].hosts of the configuration.", http.StatusMisdirectedRequest)
			return
		}
		switch {
		case r.Method == http.MethodGet, r.Method == http.MethodHead:
		case r.Method != http.MethodPost || !c.mayPost(r.URL.Path):
			h.Set("Allow", "GET, HEAD")
			http.Error(w, "Only GET and HEAD.", http.StatusMethodNotAllowed)
			return
		case foreign.Check(r) != nil:
			c.refuse(w, http.StatusForbidden, "a page of another origin may not act here")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// knownHost stops a foreign web site that gives its name our address (DNS
// rebinding) from reading results through the browser of a user.
func (c *Console) knownHost(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.ToLower(strings.TrimSuffix(strings.Trim(name, "[]"), "."))
	if name == "localhost" {
		return true
	}
	if a, err := netip.ParseAddr(name); err == nil {
		return a.IsLoopback()
	}
	return slices.ContainsFunc(c.o.Hosts, func(h string) bool { return strings.EqualFold(h, name) })
}

var languages = language.NewMatcher([]language.Tag{language.English, language.Vietnamese})

// language is that of ?lang, else that of the browser.
func langOf(r *http.Request) lang {
	switch r.URL.Query().Get("lang") {
	case "en":
		return en
	case "vi":
		return vi
	}
	_, i := language.MatchStrings(languages, r.Header.Get("Accept-Language"))
	return lang(i)
}

func (c *Console) viewer(r *http.Request) viewer {
	return viewer{langOf(r), c.o.Zone, c.o.Now()}
}

// status asks the source for everything that the overview and the API show.
func (c *Console) status(r *http.Request, v viewer) (statusView, error) {
	ctx, cancel := context.WithTimeout(r.Context(), sourceTimeout)
	defer cancel()
	s, err := c.o.Source.Status(ctx)
	if err != nil {
		return statusView{}, err
	}
	view := v.status(s, c.o.Source.Health(ctx))
	view.Orders = c.openOrders()
	return view, nil
}

func (c *Console) messageViews(r *http.Request, v viewer, limit int) ([]messageView, error) {
	ctx, cancel := context.WithTimeout(r.Context(), sourceTimeout)
	defer cancel()
	list, err := c.o.Source.Messages(ctx, limit)
	return each(list, v.message), err
}

func (c *Console) resultViews(r *http.Request, v viewer, q Query) ([]resultView, error) {
	ctx, cancel := context.WithTimeout(r.Context(), sourceTimeout)
	defer cancel()
	list, err := c.o.Source.Results(ctx, q)
	return each(list, v.result), err
}

func (c *Console) apiStatus(w http.ResponseWriter, r *http.Request) {
	s, err := c.status(r, c.viewer(r))
	c.json(w, s, err)
}

func (c *Console) apiMessages(w http.ResponseWriter, r *http.Request) {
	limit := apiMessages
	if s := r.URL.Query().Get("limit"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > maxMessages {
			c.refuse(w, http.StatusBadRequest, fmt.Sprintf("limit must be from 1 to %d", maxMessages))
			return
		}
		limit = n
	}
	list, err := c.messageViews(r, c.viewer(r), limit)
	c.json(w, map[string]any{"messages": list}, err)
}

func (c *Console) apiResults(w http.ResponseWriter, r *http.Request) {
	q, ok := query(r)
	if !ok || q.Specimen == "" && !q.OnTrial {
		c.refuse(w, http.StatusBadRequest, fmt.Sprintf("specimen (at most %d bytes) or trial=true is needed", maxSpecimen))
		return
	}
	list, err := c.resultViews(r, c.viewer(r), q)
	c.json(w, map[string]any{"results": list}, err)
}

// query reads ?specimen= and ?trial=true. A specimen identifier is compared as
// it is: only the blanks around it, which a scanner or a person adds, go.
func query(r *http.Request) (Query, bool) {
	values := r.URL.Query()
	q := Query{Specimen: strings.TrimSpace(values.Get("specimen")), OnTrial: values.Get("trial") == "true", Limit: maxResults}
	return q, len(q.Specimen) <= maxSpecimen
}

// json answers with the value, or says that the source failed; why is for the
// log, without what the source may have had in hand.
func (c *Console) json(w http.ResponseWriter, value any, err error) {
	if err != nil {
		c.o.Log.Warn("the console has no answer", "error", err)
		c.refuse(w, http.StatusServiceUnavailable, "the gateway cannot say at the moment")
		return
	}
	c.write(w, http.StatusOK, value)
}

func (c *Console) refuse(w http.ResponseWriter, code int, why string) {
	c.write(w, code, map[string]string{"error": why})
}

func (c *Console) write(w http.ResponseWriter, code int, value any) {
	b, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(code)
	w.Write(append(b, '\n'))
}

// healthz answers 200 when the gateway would acknowledge and every listener is
// open, else 503 with the reasons, one a line.
func (c *Console) healthz(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), sourceTimeout)
	defer cancel()
	reasons := c.o.Source.Health(ctx)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if len(reasons) == 0 {
		fmt.Fprintln(w, "ok")
		return
	}
	w.WriteHeader(http.StatusServiceUnavailable)
	for _, reason := range reasons {
		fmt.Fprintln(w, reason.in(langOf(r)))
	}
}

func (c *Console) static(w http.ResponseWriter, r *http.Request) {
	a, ok := c.assets[r.PathValue("name")]
	if !ok {
		c.notFound(w, r)
		return
	}
	w.Header().Set("Content-Type", a.kind)
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("ETag", a.tag)
	if r.Header.Get("If-None-Match") == a.tag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.Write(a.body)
}
