package alert

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"nhip/gateway/reason"
)

// A Site is who tells.
type Site struct{ ID, Name string }

// A Webhook posts notices as JSON.
type Webhook struct {
	Label     string // its name here
	URL       string
	TokenFile string // its first line is sent as bearer token; read anew for every notice
	Site      Site

	client *http.Client
}

// NewWebhook makes the channel. Redirections are not followed: they would take
// the token elsewhere.
func NewWebhook(w Webhook) *Webhook {
	w.client = &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, IdleConnTimeout: time.Minute, MaxIdleConns: 1},
	}
	return &w
}

// Name implements Channel.
func (w *Webhook) Name() string { return w.Label }

// The JSON of a notice: a contract with who receives it.
type noticeJSON struct {
	ID         string      `json:"id"`
	Kind       string      `json:"kind"` // "raised", "cleared" or "summary"
	At         time.Time   `json:"at"`
	Site       siteJSON    `json:"site"`
	Alert      *alertJSON  `json:"alert,omitempty"`
	Suppressed int         `json:"suppressed,omitempty"`
	Active     []alertJSON `json:"active,omitempty"`
}

type siteJSON struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

type alertJSON struct {
	Code    Code              `json:"code"`
	Subject string            `json:"subject"`
	Since   time.Time         `json:"since"`
	Words   map[string]string `json:"words"`
}

func toJSON(a Alert) alertJSON {
	words := map[string]string{}
	for _, l := range []reason.Language{reason.English, reason.Vietnamese} {
		words[l.String()] = a.In(l)
	}
	return alertJSON{a.Code, a.Subject, a.Since.UTC(), words}
}

// Send implements Channel: any 2xx settles it.
func (w *Webhook) Send(ctx context.Context, n Notice) error {
	v := noticeJSON{ID: n.ID, Kind: n.Kind, At: n.At.UTC(), Site: siteJSON(w.Site), Suppressed: n.Suppressed}
	if n.Kind != Summary {
		a := toJSON(n.Alert)
		v.Alert = &a
	}
	for _, a := range n.Active {
		v.Active = append(v.Active, toJSON(a))
	}
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.URL, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "nhip")
	r.Header.Set("Idempotency-Key", n.ID)
	if w.TokenFile != "" {
		token, err := firstLine(w.TokenFile)
		if err != nil {
			return err
		}
		r.Header.Set("Authorization", "Bearer "+token)
	}
	rsp, err := w.client.Do(r)
	if err != nil {
		return err
	}
	defer rsp.Body.Close()
	io.Copy(io.Discard, io.LimitReader(rsp.Body, 64<<10)) // so that the connection can be used again
	if rsp.StatusCode/100 != 2 {
		return fmt.Errorf("the webhook answered %d", rsp.StatusCode)
	}
	return nil
}

// firstLine is a secret in a file.
func firstLine(file string) (string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return strings.TrimSpace(line), nil
}
