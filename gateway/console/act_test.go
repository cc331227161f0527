package console

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"nhip/gateway/control"
)

// acting is a console with every act of the gateway, and what was done.
func acting(t *testing.T) (*Console, *[]string) {
	t.Helper()
	done := new([]string)
	acts := control.New(slog.New(slog.DiscardHandler))
	for _, path := range actPaths {
		acts.Register(path, func(_ context.Context, who control.Actor, r json.RawMessage) (any, error) {
			if strings.Contains(string(r), "refuse") {
				return nil, control.Bad("not this one")
			}
			*done = append(*done, fmt.Sprint(path, " by ", who.By, " ", who.User, " ", who.Via))
			return map[string]int{"items": 1}, nil
		})
	}
	acts.RegisterLocal("backup", func(context.Context, control.Actor, json.RawMessage) (any, error) {
		*done = append(*done, "backup")
		return nil, nil
	})
	f := hospital()
	f.status.Queues[1].Paused = true
	return New(Options{Source: f, Zone: zone, Log: slog.New(slog.DiscardHandler), Acts: acts, Person: func(token string) (string, bool) {
		return "Anna", token == "right"
	}}), done
}

var actPaths = []string{"queue", "held", "pause", "resume", "release", "match", "return", "discard", "resend"}

// Every route × no token, a wrong one, the right one × who stands behind the
// browser: nothing changes without a person's token, and nothing for another origin.
func TestNobodyActsWithoutATokenOrFromAnotherOrigin(t *testing.T) {
	tokens := map[string]string{"none": "", "empty": "Bearer ", "wrong": "Bearer wrong", "another scheme": "Basic right", "bare": "right", "right": "Bearer right", "small letters": "bearer right"}
	origins := map[string]map[string]string{
		"a program":              {},
		"our page":               {"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost:8080"},
		"our page, old browser":  {"Origin": "http://localhost:8080"},
		"another page":           {"Sec-Fetch-Site": "cross-site", "Origin": "http://evil.example"},
		"another port":           {"Sec-Fetch-Site": "same-site", "Origin": "http://localhost:9999"},
		"another, old browser":   {"Origin": "http://evil.example"},
		"no origin, old browser": {"Origin": "null"},
	}
	routes := []string{"/", "/act", "/live", "/results", "/manual", "/manual/conformance", "/healthz", "/metrics", "/api/v1/status", "/api/v1/messages", "/api/v1/results", "/api/v1/backup", "/api/v1/nothing", "/static/console.css"}
	for _, p := range actPaths {
		routes = append(routes, "/api/v1/"+p)
	}
	c, done := acting(t)
	for _, route := range routes {
		for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "GET"} {
			for tokenName, token := range tokens {
				for originName, headers := range origins {
					if method == "GET" && (originName != "another page" || tokenName != "right") {
						continue // it changes nothing: once is enough
					}
					*done = nil
					r := httptest.NewRequest(method, "http://localhost:8080"+route, strings.NewReader("{}"))
					if token != "" {
						r.Header.Set("Authorization", token)
					}
					for k, v := range headers {
						r.Header.Set(k, v)
					}
					w := httptest.NewRecorder()
					c.ServeHTTP(w, r)
					path, isAct := strings.CutPrefix(route, "/api/v1/")
					isAct = isAct && slices.Contains(actPaths, path) && method == "POST"
					ours := originName == "a program" || strings.HasPrefix(originName, "our page")
					what := fmt.Sprintf("%s %s, token %s, from %s: %d", method, route, tokenName, originName, w.Code)
					allowed := isAct && ours && (tokenName == "right" || tokenName == "small letters")
					if (len(*done) > 0) != allowed {
						t.Errorf("%s: did %q", what, *done)
					}
					switch {
					case allowed && (w.Code != 200 || (*done)[0] != path+" by Anna Anna console"):
						t.Errorf("%s: %q", what, *done)
					case isAct && !ours && w.Code != http.StatusForbidden, isAct && ours && !allowed && w.Code != http.StatusUnauthorized:
						t.Error(what)
					case method != "GET" && !isAct && route != "/act" && w.Code != http.StatusMethodNotAllowed:
						t.Error(what)
					}
				}
			}
		}
	}
}

func TestWithoutActsThereIsNoPOST(t *testing.T) {
	c := console(hospital())
	for _, route := range []string{"/act", "/api/v1/discard"} {
		r := httptest.NewRequest("POST", "http://localhost"+route, strings.NewReader("{}"))
		w := httptest.NewRecorder()
		c.ServeHTTP(w, r)
		if w.Code != http.StatusMethodNotAllowed {
			t.Errorf("%s: %d", route, w.Code)
		}
	}
}

func TestAPersonActsOnThePage(t *testing.T) {
	for _, test := range []struct {
		name, form string
		code       int
		did, says  string
	}{
		{"release", "act=release&id=lis/381&token=right", 303, "release by Anna Anna console", ""},
		{"discard", "act=discard&id=lis/381&token=right&reason=double", 303, "discard by Anna Anna console", ""},
		{"pause", "act=pause&destination=lis&token=right", 303, "pause by Anna Anna console", ""},
		{"resume", "act=resume&destination=pacs&token=right", 303, "resume by Anna Anna console", ""},
		{"discard without a reason", "act=discard&id=lis/381&token=right&reason=+", 400, "", "needs a reason"},
		{"wrong token", "act=release&id=lis/381&token=wrong", 401, "", "Nobody has this token"},
		{"no token", "act=release&id=lis/381", 401, "", "Nobody has this token"},
		{"match", "act=match&id=held/77&order=A1&token=right&reason=mislabelled", 303, "match by Anna Anna console", ""},
		{"match without a reason", "act=match&id=held/77&order=A1&token=right", 400, "", "needs a reason"},
		{"return", "act=return&order=A1&token=right&reason=rerun", 303, "return by Anna Anna console", ""},
		{"return without a reason", "act=return&order=A1&token=right", 400, "", "needs a reason"},
		{"return without a token", "act=return&order=A1&reason=rerun", 401, "", "Nobody has this token"},
		{"refused", "act=release&id=lis/381&token=right&reason=refuse", 400, "", "not this one"},
		{"no act", "id=lis/381&token=right", 400, "", ""},
		{"another act", "act=resend&id=lis/381&token=right", 400, "", ""},
		{"a local act", "act=backup&id=lis/381&token=right", 400, "", ""},
	} {
		c, done := acting(t)
		r := httptest.NewRequest("POST", "http://localhost/act?lang=en", strings.NewReader(test.form))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		c.ServeHTTP(w, r)
		if w.Code != test.code || strings.Join(*done, "") != test.did || !strings.Contains(w.Body.String(), test.says) {
			t.Errorf("%s: %d, did %q: %s", test.name, w.Code, *done, w.Body)
		}
		if strings.Contains(w.Body.String(), "right") && strings.Contains(w.Body.String(), `value="right"`) {
			t.Errorf("%s: the token comes back", test.name)
		}
	}
	c, done := acting(t)
	r := httptest.NewRequest("POST", "http://localhost/act", strings.NewReader("act=release&id=lis/381&token=right"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	w := httptest.NewRecorder()
	c.ServeHTTP(w, r)
	if w.Code != http.StatusForbidden || len(*done) > 0 {
		t.Errorf("from another origin: %d, %q", w.Code, *done)
	}
}

func TestThePageOfAnActShowsWhatItIsAbout(t *testing.T) {
	c, _ := acting(t)
	for target, says := range map[string][]string{
		"id=lis/381":       {"2601140019", "unknown specimen", `value="discard"`, `value="release"`},
		"destination=lis":  {`value="pause"`},
		"destination=pacs": {`value="resume"`},
		"order=A1":         {`value="return"`, `name="order" value="A1"`},
		"id=held/77":       {`value="match"`, `value="release"`},
	} {
		body := get(t, c, "/act?lang=en&"+target).Body.String()
		for _, s := range says {
			if !strings.Contains(body, s) {
				t.Errorf("%s: no %q", target, s)
			}
		}
	}
	for _, target := range []string{"id=lis/9", "destination=nowhere", "id=" + url.QueryEscape("<script>"), ""} {
		if w := get(t, c, "/act?"+target); w.Code != http.StatusNotFound {
			t.Errorf("%s: %d", target, w.Code)
		}
	}
	if body := get(t, c, "/?lang=en").Body.String(); !strings.Contains(body, `href="/act?lang=en&amp;id=lis%2f381"`) || !strings.Contains(body, `href="/act?lang=en&amp;destination=lis"`) {
		t.Error("the overview does not lead there")
	}
}
