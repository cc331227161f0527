package console

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"nhip/drivers/capture"
	"nhip/drivers/profile"
	"nhip/gateway/record"
)

// A Workbench is what the page of recordings reads them with.
type Workbench interface {
	// Profiles are those of analysers that are built in, and the site's.
	Profiles() map[string]*profile.Profile
	// Message is what a laboratory system would get of a report.
	Message(r record.Report) ([]byte, error)
}

// Limits of a recording on the page, which is read in memory: the bytes of one; those of
// its text that come back into the form after a mistake; how many are read at once. A
// mebibyte takes under a second. `nhip decode` reads longer ones.
const (
	maxRecording = 1 << 20
	maxReturned  = 64 << 10
	benches      = 1
)

// A benchForm is the form of the workbench with what came of it.
type benchForm struct {
	Choices []benchChoice
	Text    string // pasted, where it comes back
	Error   string
	View    *benchView
}

type benchChoice struct {
	ID, Name string
	Selected bool
}

// A benchInput is what a person asks for.
type benchInput struct {
	Profile   string // "" for automatic
	Recording []byte
	Pasted    bool
}

// errForm: what was sent is not the form.
var errForm = errors.New("the form cannot be read")

// workbench shows the form.
func (c *Console) workbench(w http.ResponseWriter, r *http.Request) {
	c.showBench(w, r, benchForm{}, r.URL.Query().Get("profile"), http.StatusOK)
}

func (c *Console) showBench(w http.ResponseWriter, r *http.Request, f benchForm, chosen string, code int) {
	p, v := c.newPage(r, "bench")
	p.Down = false // recordings are read while the gateway cannot say anything
	all := c.o.Workbench.Profiles()
	for _, id := range profile.IDs(all) {
		f.Choices = append(f.Choices, benchChoice{id, all[id].Name(), id == chosen})
	}
	p.Bench = &f
	c.renderStatus(w, v.lang, "bench", p, code)
}

// benchPost reads a recording for the person whose token came with it. Nothing of it is
// stored or logged.
func (c *Console) benchPost(w http.ResponseWriter, r *http.Request) {
	l := langOf(r)
	refuse := func(in benchInput, code int, key string, args ...string) {
		f := benchForm{Error: say(l, key, args...)}
		if in.Pasted && len(in.Recording) <= maxReturned {
			f.Text = string(in.Recording)
		}
		c.showBench(w, r, f, in.Profile, code)
	}
	select {
	case c.bench <- struct{}{}:
		defer func() { <-c.bench }()
	default:
		refuse(benchInput{}, http.StatusServiceUnavailable, "bench-busy")
		return
	}
	in, err := benchRead(w, r)
	var long *http.MaxBytesError
	switch {
	case errors.As(err, &long):
		refuse(in, http.StatusRequestEntityTooLarge, "bench-long", size(l, maxRecording))
		return
	case err != nil:
		refuse(in, http.StatusBadRequest, "bench-form")
		return
	}
	if _, ok := c.person(r, strings.TrimSpace(r.FormValue("token"))); !ok {
		refuse(in, http.StatusUnauthorized, "act-token-wrong")
		return
	}
	if len(bytes.TrimSpace(in.Recording)) == 0 {
		refuse(in, http.StatusBadRequest, "bench-empty")
		return
	}
	if r.FormValue("do") == "scrub" {
		text, problems, err := scrubbed(recordingOf(in))
		if key := unreadable(err); err != nil {
			refuse(in, http.StatusUnprocessableEntity, key)
			return
		}
		if len(problems) > 0 {
			refuse(in, http.StatusUnprocessableEntity, "bench-scrub-look", words(problems, l))
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Content-Disposition", `attachment; filename="scrubbed.txt"`)
		w.Write(text)
		return
	}
	view, err := c.decode(in, c.viewer(r))
	if err != nil {
		refuse(in, http.StatusUnprocessableEntity, unreadable(err))
		return
	}
	c.showBench(w, r, benchForm{View: &view}, in.Profile, http.StatusOK)
}

// benchRead reads the form; all of it stays in memory.
func benchRead(w http.ResponseWriter, r *http.Request) (in benchInput, err error) {
	r.Body = http.MaxBytesReader(w, r.Body, 2*maxRecording+maxForm)
	if err := r.ParseMultipartForm(4 * maxRecording); err != nil {
		return in, errors.Join(errForm, err)
	}
	in.Profile = r.FormValue("profile")
	if file, _, err := r.FormFile("file"); err == nil {
		defer file.Close()
		if in.Recording, err = io.ReadAll(file); err != nil {
			return in, err
		}
	}
	if len(in.Recording) == 0 {
		in.Recording, in.Pasted = []byte(r.FormValue("text")), true
	}
	if len(in.Recording) > maxRecording {
		return benchInput{Profile: in.Profile}, &http.MaxBytesError{Limit: maxRecording}
	}
	return in, nil
}

// unreadable is the text for an error of package capture.
func unreadable(err error) string {
	switch {
	case errors.Is(err, errProfile):
		return "bench-profile"
	case errors.Is(err, capture.ErrUnreadable):
		return "bench-unreadable"
	case errors.Is(err, capture.ErrRecording):
		return "bench-recording"
	}
	return "bench-protocol"
}

var errProfile = errors.New("console: there is no such profile")

func words(problems []capture.Problem, l lang) string {
	var all []string
	for _, p := range problems {
		all = append(all, p.In(l.String()))
	}
	return strings.Join(all, "; ")
}

// recordingOf gives a pasted recording its line ends back: a browser writes CR LF for
// each, and inside of a frame or a block stands CR alone.
func recordingOf(in benchInput) []byte {
	b := in.Recording
	if !in.Pasted || !bytes.ContainsAny(b, "\x02\x0b") {
		return b
	}
	out := make([]byte, 0, len(b))
	inside := false
	for i, c := range b {
		switch c {
		case 0x02, 0x0b: // STX, VT
			inside = true
		case 0x03, 0x17, 0x1c: // ETX, ETB, FS
			inside = false
		case '\n':
			if inside && i > 0 && b[i-1] == '\r' {
				continue
			}
		}
		out = append(out, c)
	}
	return out
}

// decode reads a recording by the profile that a person chose, or by the one that its
// sender belongs to.
func (c *Console) decode(in benchInput, v viewer) (benchView, error) {
	recording, all := recordingOf(in), c.o.Workbench.Profiles()
	p := all[in.Profile]
	if in.Profile != "" && p == nil {
		return benchView{}, errProfile
	}
	out, err := capture.Decode(recording, "auto", p, c.o.Zone)
	if err != nil {
		return benchView{}, err
	}
	var claims []string
	if p == nil {
		if claims = capture.Recognise(out, all); len(claims) == 1 {
			if out, err = capture.Decode(recording, "auto", all[claims[0]], c.o.Zone); err != nil {
				return benchView{}, err
			}
		}
	}
	form, sides, _, err := capture.Open(recording)
	if err != nil {
		return benchView{}, err
	}
	b := benchView{
		Protocol: out.Protocol, Form: cmp.Or(out.Form, form), Profile: out.Profile, Found: p == nil && out.Profile != "", Claims: claims,
		Hex: hexOf(recording, form, sides, out),
	}
	b.messages(out, v, c.o.Workbench)
	for _, x := range out.Problems {
		b.Problems = append(b.Problems, benchProblem{sideWords(x.Conversation, x.From, v.lang), x.Offset, x.In(v.lang.String())})
	}
	return b, nil
}

// scrubbed is a recording without what names patients, as one transcript: its
// conversations one after the other. problems are what a person would have to look at;
// then there is no text.
func scrubbed(recording []byte) (text []byte, problems []capture.Problem, err error) {
	_, all, _, err := capture.Open(recording)
	if err != nil {
		return nil, nil, err
	}
	key := make([]byte, 32)
	rand.Read(key)
	for i, c := range all {
		clean, done := capture.Scrub(c, key)
		problems = append(problems, done.Problems...)
		if len(all) > 1 {
			text = fmt.Appendf(text, "# conversation %d\n", i+1)
		}
		text = append(text, capture.Transcript(clean)...)
	}
	if len(problems) > 0 {
		return nil, problems, nil
	}
	return text, nil, nil
}
