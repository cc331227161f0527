package console

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"nhip/gateway/codes"
	"nhip/gateway/control"
)

// The answers of the acts on tables of codes: see nhip/gateway/run.
type (
	tableView struct {
		Analyser string         `json:"analyser"`
		Version  int            `json:"version"`
		Name     string         `json:"name"`
		Broken   string         `json:"broken"`
		Text     string         `json:"text"`
		Table    *codes.Table   `json:"table"`
		Problems []string       `json:"problems"`
		Tried    *tableTry      `json:"tried"`
		History  []tableVersion `json:"history"`
	}
	tableVersion struct {
		Version int       `json:"version"`
		Name    string    `json:"name"`
		At      time.Time `json:"at"`
		User    string    `json:"user"`
		By      string    `json:"by"`
		Why     string    `json:"why"`
		None    bool      `json:"none"` // without a table
		Live    bool      `json:"live"`
	}
	tableTry struct {
		Messages int           `json:"messages"`
		Reports  int           `json:"reports"`
		Results  int           `json:"results"`
		Same     int           `json:"same"`
		Differ   int           `json:"differ"`
		Held     int           `json:"held"`
		Sent     int           `json:"sent"`
		ByCode   []tableChange `json:"by_code"`
	}
	tableChange struct {
		Code    string     `json:"code"`
		Unit    string     `json:"unit"`
		Results int        `json:"results"`
		Now     tableCoded `json:"now"`
		Then    tableCoded `json:"then"`
	}
	tableCoded struct {
		Code  string `json:"code"`
		Name  string `json:"name"`
		LOINC string `json:"loinc"`
		Value string `json:"value"`
		Unit  string `json:"unit"`
		MaMay string `json:"ma_may"`
		Held  string `json:"held"`
	}
)

// A tablesForm is the page of tables of codes.
type tablesForm struct {
	Analysers []tableView // all of them, or the one that is looked at
	One       *tableView
	Versions  []versionView
	Error     string
	Done      bool // a version went live
	Checked   bool
	Problems  []string
	Tried     *tableTry
	Name      string
}

type versionView struct {
	tableVersion
	At *time.Time
}

// tried is how many messages of the journal a table is tried on.
const tried = 200

// tablesPage shows the tables, or the one of ?analyser=.
func (c *Console) tablesPage(w http.ResponseWriter, r *http.Request) {
	c.showTables(w, r, r.URL.Query().Get("analyser"), tablesForm{}, http.StatusOK)
}

// reads is who only looks.
var reads = control.Actor{Via: control.ViaConsole}

func (c *Console) showTables(w http.ResponseWriter, r *http.Request, analyser string, f tablesForm, code int) {
	p, v := c.newPage(r, "tables")
	p.Down = false
	ctx, cancel := context.WithTimeout(r.Context(), sourceTimeout)
	defer cancel()
	var list struct {
		Analysers []tableView `json:"analysers"`
	}
	if err := c.o.Acts.Do(ctx, reads, "codes-list", struct{}{}, &list); err != nil {
		c.o.Log.Warn("the tables of codes have no answer", "error", err)
		p.Down = true
	}
	f.Analysers = list.Analysers
	for _, a := range list.Analysers {
		if a.Analyser == analyser && analyser != "" {
			f.One = &a
		}
	}
	if analyser != "" && f.One == nil && !p.Down {
		c.notFound(w, r)
		return
	}
	if f.One != nil {
		ask := map[string]any{"analyser": analyser}
		if f.One.Version > 0 {
			p.Down = c.o.Acts.Do(ctx, reads, "codes-show", ask, f.One) != nil
		}
		var history tableView
		if c.o.Acts.Do(ctx, reads, "codes-versions", ask, &history) == nil {
			for _, x := range history.History {
				f.Versions = append(f.Versions, versionView{x, v.at(x.At)})
			}
		}
	}
	p.Tables = &f
	if p.Down {
		code = http.StatusServiceUnavailable
	}
	c.renderStatus(w, v.lang, "tables", p, code)
}

// tablesPost checks and tries a table, makes it live, or goes back to the one before.
func (c *Console) tablesPost(w http.ResponseWriter, r *http.Request) {
	l := langOf(r)
	r.Body = http.MaxBytesReader(w, r.Body, codes.MaxSize+maxForm)
	if err := r.ParseMultipartForm(2 * codes.MaxSize); err != nil {
		http.Error(w, "the form cannot be read, or is over 1 MiB", http.StatusBadRequest)
		return
	}
	analyser, do := r.FormValue("analyser"), r.FormValue("do")
	f := tablesForm{Name: r.FormValue("name")}
	name, ok := c.person(r, strings.TrimSpace(r.FormValue("token")))
	if !ok {
		f.Error = say(l, "act-token-wrong")
		c.showTables(w, r, analyser, f, http.StatusUnauthorized)
		return
	}
	who := control.Actor{User: name, By: name, Via: control.ViaConsole}
	text, err := tableText(r)
	if err == nil {
		err = c.tableAct(r, who, analyser, do, text, &f)
	}
	var refused *control.Error
	switch {
	case errors.As(err, &refused):
		f.Error = refused.Text
		c.showTables(w, r, analyser, f, refused.Status)
	case err != nil:
		c.o.Log.Warn("an act on a table of codes failed", "act", do, "user", name, "error", err)
		f.Error = say(l, "unavailable")
		c.showTables(w, r, analyser, f, http.StatusServiceUnavailable)
	case f.Done:
		http.Redirect(w, r, "/codes?"+url.Values{"lang": {l.String()}, "analyser": {analyser}}.Encode(), http.StatusSeeOther)
	default:
		c.showTables(w, r, analyser, f, http.StatusOK)
	}
}

// tableText is the file that was sent.
func tableText(r *http.Request) (string, error) {
	file, _, err := r.FormFile("file")
	if err != nil {
		return "", nil // an act that needs one says so
	}
	defer file.Close()
	b, err := io.ReadAll(file)
	return string(b), err
}

// tableAct carries out what the form says.
func (c *Console) tableAct(r *http.Request, who control.Actor, analyser, do, text string, f *tablesForm) error {
	ask := map[string]any{"analyser": analyser, "text": text, "lang": int(langOf(r))}
	change := map[string]any{"analyser": analyser, "reason": r.FormValue("reason")}
	var answer tableView
	switch do {
	case "try":
		if err := c.o.Acts.Do(r.Context(), who, "codes-check", ask, &answer); err != nil {
			return err
		}
		f.Checked, f.Problems = true, answer.Problems
		if answer.Table == nil {
			return nil
		}
		f.Tried = new(tableTry)
		ask["last"] = tried
		return c.o.Acts.Do(r.Context(), who, "codes-try", ask, f.Tried)
	case "apply":
		change["text"], change["name"], change["last"], change["accept"] = text, f.Name, tried, r.FormValue("accept") == "yes"
		change["lang"] = int(langOf(r))
		if err := c.o.Acts.Do(r.Context(), who, "codes-apply", change, &answer); err != nil {
			return err
		}
		f.Problems, f.Tried, f.Done = answer.Problems, answer.Tried, answer.Version > 0
	case "undo":
		f.Done = true
		return c.o.Acts.Do(r.Context(), who, "codes-undo", change, nil)
	default:
		return control.Bad("the form names no act")
	}
	return nil
}

// tableFile gives the table that is live, or a first draft, as a file.
func (c *Console) tableFile(w http.ResponseWriter, r *http.Request) {
	ask := map[string]any{"analyser": r.URL.Query().Get("analyser"), "lang": int(langOf(r))}
	var answer tableView
	act := "codes-show"
	if r.URL.Query().Get("draft") == "yes" {
		act = "codes-new"
	}
	var refused *control.Error
	if err := c.o.Acts.Do(r.Context(), reads, act, ask, &answer); errors.As(err, &refused) {
		http.Error(w, refused.Text, refused.Status)
		return
	} else if err != nil {
		c.o.Log.Warn("a table of codes has no answer", "error", err)
		http.Error(w, say(langOf(r), "unavailable"), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "text/csv; charset=utf-8")
	w.Header().Set("Content-Disposition", fmt.Sprintf(`attachment; filename="%s"`, strings.TrimSuffix(fileName("codes-"+answer.Analyser), ".txt")+".csv"))
	io.WriteString(w, answer.Text)
}
