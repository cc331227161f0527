package hl7http

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"nhip/hl7"
	"nhip/hl7/ack"
)

const oru = "MSH|^~\\&|LAB||LIS||20260114||ORU^R01^ORU_R01|A-17|P|2.5.1||||||UNICODE UTF-8\rPID|1||SECRET\r"

// start serves with the answer codes that MSH-5 names.
func start(t *testing.T, change func(*Options)) (*httptest.Server, *bytes.Buffer) {
	t.Helper()
	log := new(bytes.Buffer)
	o := Options{
		Log: slog.New(slog.NewTextHandler(log, nil)),
		Handler: func(_ context.Context, r Request) ([]byte, error) {
			m, err := hl7.Parse(r.Message)
			if err != nil {
				return nil, err
			}
			code := hl7.AckCode(m.Get("MSH-5"))
			switch code {
			case "none":
				return nil, nil
			case "broken":
				return nil, errors.New("the store failed")
			}
			return hl7.Ack(m, code, hl7.AckOptions{ControlID: "N", Text: r.Charset}), nil
		},
	}
	if change != nil {
		change(&o)
	}
	s := httptest.NewServer(NewHandler(o))
	t.Cleanup(s.Close)
	return s, log
}

func to(code string) string { return strings.Replace(oru, "|LIS|", "|"+code+"|", 1) }

func TestStatusSaysWhatTheAcknowledgementSays(t *testing.T) {
	s, _ := start(t, nil)
	for code, status := range map[string]int{"AA": 200, "CA": 200, "AR": 400, "CR": 400, "AE": 500, "CE": 500} {
		r, err := http.Post(s.URL, "application/hl7-v2; charset=UTF-8", strings.NewReader(to(code)))
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(r.Body)
		r.Body.Close()
		if r.StatusCode != status || r.Header.Get("Content-Type") != "application/hl7-v2; charset=UTF-8" || !strings.Contains(string(body), "MSA|"+code+"|A-17|UTF-8\r") {
			t.Errorf("%s: %d %s %q", code, r.StatusCode, r.Header.Get("Content-Type"), body)
		}
	}
}

func TestClientReturnsTheAnswerWhateverItsStatus(t *testing.T) {
	s, _ := start(t, nil)
	c := NewClient(ClientOptions{URL: s.URL})
	defer c.Close()
	for _, code := range []hl7.AckCode{"AA", "AR", "AE", "CA"} {
		message := []byte(to(string(code)))
		answer, err := c.Send(t.Context(), message)
		if err != nil {
			t.Fatal(err)
		}
		m, _ := hl7.Parse(message)
		a, err := hl7.ParseAck(answer)
		if x, _ := ack.NewExchange(m, "").Received(a); err != nil || (x.State == ack.Accepted) != (code == "AA") {
			t.Errorf("%s: %+v, %v", code, x, err)
		}
	}
	if answer, err := c.Send(t.Context(), []byte(to("none"))); answer != nil || err != nil {
		t.Errorf("%q, %v", answer, err)
	}
	var status *StatusError
	if _, err := c.Send(t.Context(), []byte(to("broken"))); !errors.As(err, &status) || status.Status != 503 {
		t.Error(err)
	}
}

func TestWhatIsNoMessageIsRefusedInWords(t *testing.T) {
	s, log := start(t, func(o *Options) { o.MaxMessage = 1000 })
	for _, c := range []struct {
		method, kind, body string
		status             int
	}{
		{"GET", ContentType, "", 405},
		{"PUT", ContentType, oru, 405},
		{"POST", "", oru, 415},
		{"POST", "application/hl7-v2+xml", "<ORU_R01/>", 415},
		{"POST", "application/fhir+json", "{}", 415},
		{"POST", "application/hl7-v2; charset=EBCDIC", oru, 415},
		{"POST", "application/hl7-v2; charset=windows-1258", to("AA"), 200},
		{"POST", "x-application/hl7-v2+er7", to("AA"), 200},
		{"POST", ContentType, "", 400},
		{"POST", ContentType, "{\"resourceType\":\"SECRET\"}", 400},
		{"POST", ContentType, "<?xml version=\"1.0\"?><!DOCTYPE x [<!ENTITY e SYSTEM \"file:///etc/passwd\">]>", 400},
		{"POST", ContentType, oru + strings.Repeat("OBX|SECRET\r", 100), 413},
	} {
		request, err := http.NewRequest(c.method, s.URL, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", c.kind)
		r, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		if r.StatusCode != c.status {
			t.Errorf("%s %s %.20q: %d, want %d", c.method, c.kind, c.body, r.StatusCode, c.status)
		}
	}
	if strings.Contains(log.String(), "SECRET") {
		t.Errorf("the log quotes the message: %s", log)
	}
}

func TestTooLongIsAnsweredWithItsOwnControlID(t *testing.T) {
	s, _ := start(t, func(o *Options) {
		o.MaxMessage = 1000
		o.TooLong = func(head []byte) []byte {
			m, _ := hl7.Parse(head)
			return hl7.Ack(m, hl7.ApplicationReject, hl7.AckOptions{Errors: []hl7.Error{{Code: hl7.ErrorApplication}}})
		}
	})
	answer, err := NewClient(ClientOptions{URL: s.URL}).Send(t.Context(), []byte(oru+strings.Repeat("OBX|1\r", 1000)))
	a, parse := hl7.ParseAck(answer)
	if err != nil || parse != nil || a.Code != "AR" || a.MessageControlID != "A-17" {
		t.Errorf("%q, %v", answer, err)
	}
}

func TestStrangersAreNotRead(t *testing.T) {
	s, _ := start(t, func(o *Options) {
		o.Authorise = func(r *http.Request) error {
			if user, password, ok := r.BasicAuth(); !ok || user != "lis" || password != "secret" {
				return errors.New("stranger")
			}
			return nil
		}
	})
	var status *StatusError
	if _, err := NewClient(ClientOptions{URL: s.URL}).Send(t.Context(), []byte(to("AA"))); !errors.As(err, &status) || status.Status != 401 {
		t.Error(err)
	}
	if _, err := NewClient(ClientOptions{URL: s.URL, User: "lis", Password: "secret"}).Send(t.Context(), []byte(to("AA"))); err != nil {
		t.Error(err)
	}
}

func TestResponsesThatAreNoAnswers(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"a page with 200": func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>OK</html>") },
		"the type alone":  func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Type", ContentType) },
		"a redirection":   func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) },
		"not found":       http.NotFound,
		"an endless one": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", ContentType)
			io.WriteString(w, strings.Repeat("MSH|", 1000))
		},
		"one that is cut": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", ContentType)
			w.Header().Set("Content-Length", "99")
			io.WriteString(w, "MSH|^~\\&|")
		},
		"no answer at all": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		s := httptest.NewServer(handler)
		if answer, err := NewClient(ClientOptions{URL: s.URL, MaxAnswer: 100}).Send(t.Context(), []byte(oru)); err == nil {
			t.Errorf("%s: %q", name, answer)
		}
		s.Close()
	}
}

func TestCharsetParameter(t *testing.T) {
	for declared, want := range map[string]string{"": "UTF-8", "UNICODE UTF-8": "UTF-8", "8859/1": "ISO-8859-1", "8859/15": "ISO-8859-15", "GB 18030-2000": "GB18030", "BIG-5": "Big5", "KS X 1001": "EUC-KR", "ISO IR87": ""} {
		m, err := hl7.Parse([]byte(strings.Replace(oru, "UNICODE UTF-8", declared, 1)))
		if err != nil {
			t.Fatal(err)
		}
		got := Charset(m)
		if got != want || got != "" && hl7.CheckCharset(got) != nil {
			t.Errorf("%q: %q", declared, got)
		}
	}
}

// Whatever is posted: a status that belongs to it, and no panic.
func FuzzPost(f *testing.F) {
	f.Add(ContentType, []byte(oru))
	f.Add("application/hl7-v2; charset=utf-8", []byte(to("AE")))
	f.Add("x", []byte("{}"))
	h := NewHandler(Options{MaxMessage: 1 << 16, Log: slog.New(slog.DiscardHandler), Handler: func(_ context.Context, r Request) ([]byte, error) {
		m, err := hl7.Parse(r.Message)
		if m == nil {
			return nil, err
		}
		return hl7.Ack(m, hl7.ApplicationAccept, hl7.AckOptions{}), nil
	}})
	f.Fuzz(func(t *testing.T, kind string, body []byte) {
		r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
		r.Header.Set("Content-Type", kind)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		switch w.Code {
		case 200:
			if _, err := hl7.ParseAck(w.Body.Bytes()); err != nil {
				t.Fatalf("%q: %v", w.Body, err)
			}
		case 400, 413, 415, 503:
		default:
			t.Fatalf("status %d", w.Code)
		}
	})
}
