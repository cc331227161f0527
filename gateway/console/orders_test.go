package console

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"nhip/gateway/orders"
	"nhip/gateway/record"
)

// someOrders has one order of each kind, and answers with what it was asked.
type someOrders struct{ asked orders.Query }

func (o *someOrders) List(_ context.Context, q orders.Query) ([]orders.View, bool, error) {
	o.asked = q
	return []orders.View{{ID: 7, Placer: "A1^HIS", Services: []orders.ServiceView{{ID: 1, Code: "GLU", State: "open"}}}}, true, nil
}

func (o *someOrders) OpenByKind() map[record.OrderKind]int {
	return map[record.OrderKind]int{record.LaboratoryOrder: 12, record.ImagingOrder: 3}
}

func TestOrdersAreShownAndAnswered(t *testing.T) {
	o := &someOrders{}
	c := New(Options{Source: &fake{}, Orders: o})
	get := func(path string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodGet, "http://localhost"+path, nil)
		w := httptest.NewRecorder()
		c.ServeHTTP(w, r)
		return w
	}
	var answer orders.List
	w := get("/api/v1/orders?specimen=%20T27%20")
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || w.Code != http.StatusOK || len(answer.Orders) != 1 || answer.Orders[0].Placer != "A1^HIS" || !answer.More {
		t.Errorf("%d %s %v", w.Code, w.Body, err)
	}
	if o.asked.Specimen != "T27" || o.asked.Limit != maxOrders {
		t.Errorf("asked for %+v", o.asked)
	}
	if w := get("/api/v1/orders?order=" + strings.Repeat("x", 201)); w.Code != http.StatusBadRequest {
		t.Errorf("a long number: %d", w.Code)
	}
	var status struct{ Orders map[string]int }
	if err := json.Unmarshal(get("/api/v1/status").Body.Bytes(), &status); err != nil || status.Orders["laboratory"] != 12 || status.Orders["imaging"] != 3 {
		t.Errorf("status: %v %v", status, err)
	}
	for lang, want := range map[string]string{"en": "Open orders", "vi": "Chỉ định đang mở"} {
		if body := get("/?lang=" + lang).Body.String(); !strings.Contains(body, want) || !strings.Contains(body, ">12<") {
			t.Errorf("%s: the page does not have %q", lang, want)
		}
	}
}
