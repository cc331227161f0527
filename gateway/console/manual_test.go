package console

import (
	"errors"
	"regexp"
	"strings"
	"testing"
)

func TestManualIsServedInBothLanguagesAlsoWhileTheGatewayCannotAnswer(t *testing.T) {
	f := hospital()
	f.err = errors.New("no answer in time")
	c := console(f)
	for lang, wants := range map[string][]string{
		"en": {"<h1>Nhịp: the manual</h1>", "not an alarm system", "<th>reason</th>"},
		"vi": {"<h1>Nhịp: hướng dẫn sử dụng</h1>", "không phải hệ thống báo động", "<th>lý do</th>"},
	} {
		w := get(t, c, "/manual?lang="+lang)
		if w.Code != 200 || w.Header().Get("Content-Language") != lang {
			t.Fatal(w.Code, w.Header())
		}
		body := w.Body.String()
		for _, want := range append(wants, `<h2 id="c10">`, `href="#c10"`, "<table>", "language-toml") {
			if !strings.Contains(body, want) {
				t.Errorf("%s: no %q", lang, want)
			}
		}
		if m := regexp.MustCompile(`style="|<script>|raw HTML omitted`).FindString(body); m != "" {
			t.Errorf("%s: %s", lang, m)
		}
	}
}

func TestTheConformanceStatementIsServed(t *testing.T) {
	c := console(hospital())
	for _, lang := range []string{"en", "vi"} {
		w := get(t, c, "/manual/conformance?lang="+lang)
		body := w.Body.String()
		for _, want := range []string{"<h1>Nhịp: DICOM conformance statement</h1>", "1.2.840.10008.5.1.4.1.1.2<", `href="#c3"`} {
			if w.Code != 200 || !strings.Contains(body, want) {
				t.Errorf("%s: %d, no %q", lang, w.Code, want)
			}
		}
		if !strings.Contains(get(t, c, "/manual?lang="+lang).Body.String(), `href="/manual/conformance"`) {
			t.Errorf("%s: the manual does not lead there", lang)
		}
	}
}

// Links of the pages to chapters lead to what they are about.
func TestLinksLeadToTheirChapter(t *testing.T) {
	m := manuals()
	page := get(t, console(hospital()), "/?lang=en").Body.String()
	for anchor, title := range map[string]string{"c4": "The console", "c12": "Held, and what a person can do"} {
		found := false
		for _, ch := range m[en].Chapters {
			found = found || ch.ID == anchor && ch.Title == title
		}
		if !found || !strings.Contains(page, "/manual?lang=en#"+anchor) {
			t.Errorf("%s: %s", anchor, title)
		}
	}
	if len(m[en].Chapters) != len(m[vi].Chapters) {
		t.Error("chapters differ")
	}
}

func TestHTMLInTheManualIsNotTakenOver(t *testing.T) {
	if m := newManual([]byte("## a\n\n<script>alert(1)</script>\n\n[x](javascript:alert(1))\n")); strings.Contains(string(m.Body), "<script>") || strings.Contains(string(m.Body), "javascript:") {
		t.Error(m.Body)
	}
}
