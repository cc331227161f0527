package console

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"nhip/gateway/qc"
)

// fakeControls has one chart of three points, the texts as a device may send them.
type fakeControls struct{ text string }

func (f fakeControls) Charts(_ context.Context, analyser string) ([]qc.Chart, error) {
	if analyser != "" && analyser != "xn-1" {
		return []qc.Chart{}, nil
	}
	return []qc.Chart{
		{Series: qc.Series{Analyser: "xn-1", Material: f.text, Lot: "5312", Level: f.text, Code: "HGB", Name: f.text, Unit: f.text}, ID: "a", Points: []qc.Point{}},
		{Series: qc.Series{Analyser: "xn-1", Lot: "5312", Code: "WBC"}, ID: "b", Points: []qc.Point{}},
	}, nil
}

func (f fakeControls) Fill(_ context.Context, c *qc.Chart, since time.Time, _ int) error {
	if c.Code != "HGB" {
		return nil // none of the days asked for
	}
	mean, sd, z := 12.0, 0.5, -1.0
	c.N, c.Mean, c.SD = 2, &mean, &sd
	c.Points = []qc.Point{{At: now.Add(-time.Hour), Value: "11.5", Number: &mean, Z: &z}, {At: now.Add(-time.Minute), Value: f.text}, {At: since, Value: "12.5", Number: &mean, Z: &sd}}
	return nil
}

func TestControlMaterialIsChartedByPageAndAPI(t *testing.T) {
	c := New(Options{Source: hospital(), Controls: fakeControls{"XN <script> L1"}, Now: func() time.Time { return now }})
	w := get(t, c, "/api/v1/qc?analyser=xn-1&test=HGB&days=7")
	var answer struct {
		Charts []qc.Chart
		More   bool
	}
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || len(answer.Charts) != 1 || *answer.Charts[0].Mean != 12 || len(answer.Charts[0].Points) != 3 || answer.More {
		t.Errorf("%s %v", w.Body, err)
	}
	if at := answer.Charts[0].Points[2].At; !at.Equal(now.Add(-7 * 24 * time.Hour)) {
		t.Errorf("asked from %v", at)
	}
	for target, want := range map[string][]string{
		"/qc?lang=en": {"Control material", "HGB", "5312", "<svg", "polyline", "XN &lt;script&gt; L1", "12"},
		"/qc?lang=vi": {"Nội kiểm", "lô", "mức"},
	} {
		body := get(t, c, target).Body.String()
		for _, s := range want {
			if !strings.Contains(body, s) {
				t.Errorf("%s lacks %q", target, s)
			}
		}
		if strings.Contains(body, "<script>") || strings.Contains(body, "WBC") {
			t.Errorf("%s: %s", target, body)
		}
	}
	for _, bad := range []string{"days=0", "days=x", "days=9999", "test=" + strings.Repeat("a", 201)} {
		if w := get(t, c, "/api/v1/qc?"+bad); w.Code != 400 {
			t.Errorf("%s: %d", bad, w.Code)
		}
	}
	none := New(Options{Source: hospital(), Now: func() time.Time { return now }})
	if w := get(t, none, "/api/v1/qc"); w.Code != 200 || !strings.Contains(w.Body.String(), `"charts": []`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
