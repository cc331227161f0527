package console

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"nhip/gateway/control"
)

// maxForm bounds what is read of a form.
const maxForm = 16 << 10

// mayPost is whether a path takes POST at all.
func (c *Console) mayPost(path string) bool {
	if path == "/workbench" {
		return c.o.Workbench != nil
	}
	return c.o.Acts != nil && (path == "/act" || path == "/codes" && c.tables || c.posts[path])
}

// foreign stops a page of another origin from acting through the browser of a
// person (CSRF).
var foreign = http.NewCrossOriginProtection()

// apiAct answers a POST of the API, by the person whose token it brings.
func (c *Console) apiAct(path string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		name, ok := c.person(r, token)
		if !ok || !strings.EqualFold(scheme, "Bearer") {
			w.Header().Set("WWW-Authenticate", "Bearer")
			c.refuse(w, http.StatusUnauthorized, "this needs a person's token: Authorization: Bearer …")
			return
		}
		c.o.Acts.Answer(w, r, path, control.Actor{User: name, By: name, Via: control.ViaConsole})
	}
}

// person is whose token it is.
func (c *Console) person(r *http.Request, token string) (string, bool) {
	if c.o.Person == nil || token == "" {
		return "", false
	}
	name, ok := c.o.Person(token)
	if !ok {
		c.o.Log.Warn("an act with a token that nobody has", "peer", r.RemoteAddr, "path", r.URL.Path)
	}
	return name, ok
}

// An actForm is what the page for an act shows.
type actForm struct {
	ID          string // of an item
	Destination string // or of a destination
	Order       string // or the number of an order; with ID: that it is of
	Item        *heldView
	Paused      bool
	Reason      string
	Match       bool   // the item can be given to an order
	NoToken     bool   // nobody has the token
	NoReason    bool   // and it needs one
	Error       string // what the act said
}

// The acts of the form.
var (
	itemActs        = map[string]bool{"release": true, "discard": true, "match": true}
	destinationActs = map[string]bool{"pause": true, "resume": true}
	explained       = map[string]bool{"discard": true, "match": true, "return": true} // need a reason
)

// actPage is the page on which a person decides on a held item, or pauses a
// destination.
func (c *Console) actPage(w http.ResponseWriter, r *http.Request) {
	v := r.URL.Query()
	c.showAct(w, r, actForm{ID: v.Get("id"), Destination: v.Get("destination"), Order: v.Get("order")}, http.StatusOK)
}

func (c *Console) showAct(w http.ResponseWriter, r *http.Request, f actForm, code int) {
	p, v := c.newPage(r, "act")
	for i, h := range p.Status.Held {
		if f.ID != "" && h.ID == f.ID {
			f.Item = &p.Status.Held[i]
		}
	}
	known := f.Item != nil || f.ID == "" && f.Order != "" && len(f.Order) <= maxSpecimen
	f.Match = strings.HasPrefix(f.ID, "held/")
	for _, q := range p.Status.Queues {
		if f.ID == "" && f.Order == "" && q.Destination == f.Destination {
			known, f.Paused = true, q.Paused
		}
	}
	if !known && !p.Down || c.o.Acts == nil {
		c.notFound(w, r)
		return
	}
	if p.Down {
		code = http.StatusServiceUnavailable
	}
	p.Act = &f
	c.renderStatus(w, v.lang, "act", p, code)
}

// actPost carries out what the form says.
func (c *Console) actPost(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		http.Error(w, "the form cannot be read", http.StatusBadRequest)
		return
	}
	v := c.viewer(r)
	f := actForm{ID: r.PostForm.Get("id"), Destination: r.PostForm.Get("destination"), Order: strings.TrimSpace(r.PostForm.Get("order")), Reason: r.PostForm.Get("reason")}
	act := r.PostForm.Get("act")
	request := map[string]string{"reason": f.Reason}
	switch {
	case itemActs[act]:
		request["id"] = f.ID
		if act == "match" {
			request["order"] = f.Order
		}
	case act == "return":
		request["order"] = f.Order
	case destinationActs[act]:
		request["destination"] = f.Destination
	default:
		http.Error(w, "the form names no act", http.StatusBadRequest)
		return
	}
	name, ok := c.person(r, strings.TrimSpace(r.PostForm.Get("token")))
	if !ok {
		f.NoToken = true
		c.showAct(w, r, f, http.StatusUnauthorized)
		return
	}
	if explained[act] && strings.TrimSpace(f.Reason) == "" {
		f.NoReason = true
		c.showAct(w, r, f, http.StatusBadRequest)
		return
	}
	err := c.o.Acts.Do(r.Context(), control.Actor{User: name, By: name, Via: control.ViaConsole}, act, request, nil)
	var refused *control.Error
	switch {
	case errors.As(err, &refused):
		if f.Error = refused.Text; refused.Status == http.StatusNotFound && (act == "match" || act == "return") {
			f.Error = say(v.lang, "act-no-order", f.Order)
		}
		c.showAct(w, r, f, refused.Status)
	case err != nil:
		c.o.Log.Warn("an act failed", "act", act, "user", name, "error", err)
		f.Error = say(v.lang, "unavailable")
		c.showAct(w, r, f, http.StatusServiceUnavailable)
	default:
		http.Redirect(w, r, "/?"+url.Values{"lang": {v.lang.String()}}.Encode(), http.StatusSeeOther)
	}
}
