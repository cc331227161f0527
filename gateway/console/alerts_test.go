package console

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"nhip/gateway/alert"
)

func TestAlertsStandOnThePageInTheAPIAndInTheMetrics(t *testing.T) {
	f := hospital()
	waits := alert.Alert{Code: alert.Undelivered, Subject: "lis", Args: []string{"18", "12"}, Since: ago(7 * time.Minute)}
	silent := alert.Alert{Code: alert.Silent, Subject: "xn-1", Args: []string{"60"}, Since: ago(3 * time.Hour)}
	f.status.Alerts = alert.View{
		Active: []alert.Alert{waits},
		Recent: []alert.Change{{Alert: waits, At: ago(7 * time.Minute)}, {Alert: silent, At: ago(2 * time.Hour), Cleared: true}},
		Looked: []alert.Gauge{{Code: alert.Undelivered, Subject: "lis", Raised: true}, {Code: alert.Silent, Subject: "xn-1"}},
		Raised: map[alert.Code]int64{alert.Undelivered: 3},
	}
	c := console(f)
	var st struct {
		Alerts  []struct{ Code, Words, Subject, Since string }
		Changes []struct {
			Code, At string
			Cleared  bool
		} `json:"alert_changes"`
	}
	if err := json.Unmarshal(get(t, c, "/api/v1/status?lang=vi").Body.Bytes(), &st); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(st.Alerts); got != "[{undelivered lis: 18 bản tin đang chờ, lâu nhất 12 phút lis 2026-01-14T08:23:00+07:00}]" {
		t.Error(got)
	}
	if got := fmt.Sprint(st.Changes); got != "[{undelivered 2026-01-14T08:23:00+07:00 false} {silent 2026-01-14T06:30:00+07:00 true}]" {
		t.Error(got)
	}
	page := get(t, c, "/?lang=en").Body.String()
	now, connections, recent := strings.Index(page, "lis: 18 are waiting"), strings.Index(page, "<h2>Connections"), strings.LastIndex(page, "over: <bdi>xn-1 has sent nothing for 60 minutes")
	if now < 0 || now > connections || recent < connections {
		t.Error("on the page:", now, connections, recent)
	}
	metrics := get(t, c, "/metrics").Body.String()
	for _, want := range []string{`nhip_alert{code="undelivered",subject="lis"} 1`, `nhip_alert{code="silent",subject="xn-1"} 0`, `nhip_alerts_raised_total{code="undelivered"} 3`} {
		if !strings.Contains(metrics, want+"\n") {
			t.Errorf("no %s", want)
		}
	}
}
