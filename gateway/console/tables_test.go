package console

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"mime/multipart"
	"net/http/httptest"
	"strings"
	"testing"

	"nhip/gateway/control"
)

// tabled is a console with the acts on tables of codes, and what was asked of them.
func tabled(t *testing.T) (*Console, map[string]string) {
	asked := map[string]string{}
	acts := control.New(slog.New(slog.DiscardHandler))
	for path, answer := range map[string]string{
		"codes-list":     `{"analysers":[{"analyser":"au-1","version":3,"name":"tháng 1"},{"analyser":"xn-1","version":0}]}`,
		"codes-show":     `{"analyser":"au-1","version":3,"name":"tháng 1","text":"code;lis\r\n001;GLU\r\n","table":{"MaMay":"HH.1","Rows":[{"Code":"001","Unit":"mg/dL","LIS":"GLU","Name":"<script>","Factor":"0.0555","LISUnit":"mmol/L"}]}}`,
		"codes-versions": `{"history":[{"version":3,"name":"tháng 1","at":"2026-01-14T08:00:00Z","by":"Anna","why":"new reagent","live":true}]}`,
		"codes-check":    `{"analyser":"au-1","problems":["line 2: no such unit"],"table":{"Rows":[]}}`,
		"codes-try":      `{"messages":200,"same":7,"differ":2,"held":1,"by_code":[{"code":"001","unit":"mg/dL","results":2,"now":{"code":"GLU","value":"100"},"then":{"code":"GLUC","value":"5.55","unit":"mmol/L"}}]}`,
		"codes-apply":    `{"analyser":"au-1","version":4}`,
		"codes-undo":     `{}`,
		"codes-new":      `{"analyser":"xn-1","text":"code;lis\r\n"}`,
	} {
		acts.Register(path, func(_ context.Context, who control.Actor, r json.RawMessage) (any, error) {
			asked[path] = who.By + " " + string(r)
			if strings.Contains(string(r), "refuse") {
				return nil, control.Bad("not this one")
			}
			return json.RawMessage(answer), nil
		})
	}
	return New(Options{Source: hospital(), Zone: zone, Acts: acts, Log: slog.New(slog.DiscardHandler),
		Person: func(token string) (string, bool) { return "Anna", token == "right" }}), asked
}

func tablesPost(t *testing.T, c *Console, lang, file string, fields ...string) *httptest.ResponseRecorder {
	t.Helper()
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	for i := 0; i+1 < len(fields); i += 2 {
		form.WriteField(fields[i], fields[i+1])
	}
	part, err := form.CreateFormFile("file", "codes.csv")
	if err != nil {
		t.Fatal(err)
	}
	part.Write([]byte(file))
	form.Close()
	r := httptest.NewRequest("POST", "http://localhost/codes?lang="+lang, &body)
	r.Header.Set("Content-Type", form.FormDataContentType())
	w := httptest.NewRecorder()
	c.ServeHTTP(w, r)
	return w
}

func TestTablesOfCodesAreShownTriedAndPutIntoUse(t *testing.T) {
	c, asked := tabled(t)
	for target, wants := range map[string][]string{
		"/codes?lang=en":                      {"Code tables", "au-1", "tháng 1", "no table: codes of the profile"},
		"/codes?lang=vi&analyser=au-1":        {"Bảng mã", "HH.1", "× 0.0555", "mmol/L", "new reagent", "đang dùng", "Quay lại phiên bản trước"},
		"/codes?lang=en&analyser=xn-1":        {"first draft"},
		"/codes/file?lang=en&analyser=au-1":   {"001;GLU"},
		"/codes/file?analyser=xn-1&draft=yes": {"code;lis"},
	} {
		w := get(t, c, target)
		for _, want := range wants {
			if w.Code != 200 || !strings.Contains(w.Body.String(), want) {
				t.Errorf("%s: %d, no %q", target, w.Code, want)
			}
		}
		if strings.Contains(w.Body.String(), "<script>") && !strings.Contains(target, "file") {
			t.Errorf("%s: not escaped", target)
		}
	}
	if w := get(t, c, "/codes?analyser=nobody"); w.Code != 404 {
		t.Errorf("an unknown analyser: %d", w.Code)
	}
	for lang, wants := range map[string][]string{
		"en": {"line 2: no such unit", "Tried on the last 200 messages", "7 results stay the same, 2 would differ", "1 reports would be held", "GLUC", "5.55"},
		"vi": {"Đã thử trên 200 bản tin gần nhất", "1 phiếu đang được gửi sẽ bị giữ"},
	} {
		w := tablesPost(t, c, lang, "001;GLU", "analyser", "au-1", "do", "try", "token", "right")
		for _, want := range wants {
			if w.Code != 200 || !strings.Contains(w.Body.String(), want) {
				t.Errorf("try, %s: %d, no %q", lang, w.Code, want)
			}
		}
	}
	if _, did := asked["codes-apply"]; did {
		t.Error("trying has put it into use")
	}
	if w := tablesPost(t, c, "en", "001;GLU", "analyser", "au-1", "do", "apply", "name", "v4", "reason", "new kit", "token", "right"); w.Code != 303 ||
		!strings.Contains(asked["codes-apply"], "Anna") || !strings.Contains(asked["codes-apply"], `"accept":false`) || !strings.Contains(asked["codes-apply"], "001;GLU") {
		t.Errorf("apply: %d, asked %q", w.Code, asked["codes-apply"])
	}
	if w := tablesPost(t, c, "en", "", "analyser", "au-1", "do", "undo", "reason", "wrong", "token", "right"); w.Code != 303 || !strings.Contains(asked["codes-undo"], "wrong") {
		t.Errorf("undo: %d, asked %q", w.Code, asked["codes-undo"])
	}
}

func TestTablesOfCodesNeedAToken(t *testing.T) {
	c, asked := tabled(t)
	for _, do := range []string{"try", "apply", "undo"} {
		if w := tablesPost(t, c, "en", "x", "analyser", "au-1", "do", do, "token", "wrong"); w.Code != 401 || !strings.Contains(w.Body.String(), "Nobody has this token") {
			t.Errorf("%s: %d", do, w.Code)
		}
	}
	for _, act := range []string{"codes-check", "codes-try", "codes-apply", "codes-undo"} {
		if asked[act] != "" {
			t.Errorf("%s was asked", act)
		}
	}
	if w := tablesPost(t, c, "en", "x", "analyser", "au-1", "do", "apply", "token", "right", "reason", "refuse"); w.Code != 400 || !strings.Contains(w.Body.String(), "not this one") {
		t.Errorf("refused: %d", w.Code)
	}
	if w := tablesPost(t, c, "en", "x", "analyser", "au-1", "do", "nothing", "token", "right"); w.Code != 400 {
		t.Errorf("no act: %d", w.Code)
	}
	if w := get(t, console(hospital()), "/codes"); w.Code != 404 {
		t.Errorf("without acts: %d", w.Code)
	}
}
