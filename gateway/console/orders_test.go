package console

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"nhip/gateway/reason"
	"strings"
	"testing"
	"time"

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

// Every state of an order has its words in both languages.
func TestThePageOfOrdersSaysWhatIsKnown(t *testing.T) {
	for lang, wants := range map[string][]string{
		"en": {"T27", "received, with no analyser yet", "CANCELLED TOO LATE", "told to drop it", "Give to the analysers again", "acknowledged by the analyser on the link · au-1", "it cannot be written for the analyser: x", "ORM1"},
		"vi": {"T27", "chưa có ở máy nào", "HỦY QUÁ MUỘN", "đã báo bỏ", "Đưa lại cho máy", "máy đã xác nhận trên đường truyền · au-1", "không viết được cho máy: x", "ORM1"},
	} {
		c, _ := acting(t)
		c.o.Orders = fullOrders{}
		body := get(t, c, "/orders?id=7&lang="+lang).Body.String()
		for _, want := range wants {
			if !strings.Contains(body, want) {
				t.Errorf("%s: no %q in %s", lang, want, body)
			}
		}
		if strings.Contains(body, "<script>") {
			t.Error("what a system says is not escaped")
		}
		if w := get(t, c, "/orders?id=seven&lang="+lang); w.Code != http.StatusBadRequest {
			t.Errorf("no number: %d", w.Code)
		}
	}
	for _, p := range []record.Progress{record.Received, record.Sent, record.Acknowledged, record.Queried, record.Begun, record.Resulted} {
		if progressTexts[p][en] == "" || progressTexts[p][vi] == "" || progressTones[p] == "" {
			t.Errorf("progress %q has no words", p)
		}
	}
	for _, s := range []record.ServiceState{record.OnHold, record.Cancelled, record.Discontinued, record.Replaced, record.Completed, record.Expired} {
		if serviceTexts[s][en] == "" || serviceTexts[s][vi] == "" {
			t.Errorf("state %q has no words", s)
		}
	}
	for _, g := range []orders.GivenState{orders.Taken, orders.Refused, orders.GivenUp, orders.TakeBack, orders.Dropped, orders.TooLate} {
		if givenTexts[g][en] == "" || givenTexts[g][vi] == "" || givenTones[g] == "" {
			t.Errorf("what an analyser has, %q, has no words", g)
		}
	}
}

// fullOrders has an order in several states.
type fullOrders struct{}

func (fullOrders) OpenByKind() map[record.OrderKind]int { return nil }

func (fullOrders) List(context.Context, orders.Query) ([]orders.View, bool, error) {
	at := ago(time.Hour)
	return []orders.View{{
		ID: 7, Version: 2, Placer: "A1^HIS", Link: "his", Received: at, Patient: orders.PatientView{ID: "77^BV", Name: "<script>Nguyễn"},
		Services: []orders.ServiceView{
			{ID: 1, Code: "GLU", State: "open", Progress: "received", Specimens: []string{"T27"}},
			{ID: 2, Code: "ALT", State: "cancelled", Progress: "acknowledged", Analysers: []orders.GivenView{
				{Device: "au-1", State: string(orders.TooLate), At: at}, {Device: "au-2", State: string(orders.TakeBack), At: at, Reason: reason.New(reason.NotWritten, "x")},
			}},
			{ID: 3, Code: "AST", State: "open", Progress: "acknowledged", By: "au-1", At: &at},
		},
		History: []orders.Turn{{Version: 1, At: at, Link: "his", Control: "NW", MessageID: "ORM1"}},
	}}, false, nil
}
