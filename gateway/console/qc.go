package console

import (
	"context"
	"fmt"
	"html/template"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"nhip/gateway/qc"
)

// Controls gives what control material gave: see package qc. days is how far back.
type Controls interface {
	// Charts are the series of an analyser ("": of all), without points.
	Charts(ctx context.Context, analyser string) ([]qc.Chart, error)
	// Fill reads the points of a chart.
	Fill(ctx context.Context, c *qc.Chart, since time.Time, limit int) error
}

// Limits of the charts of one answer.
const (
	maxCharts   = 200
	maxQCDays   = 400
	defaultDays = 30
)

// A qcQuery is ?analyser=&test=&lot=&days=.
type qcQuery struct {
	Analyser, Test, Lot string
	Days                int
}

func readQC(r *http.Request) (qcQuery, bool) {
	v := r.URL.Query()
	q := qcQuery{Analyser: v.Get("analyser"), Test: v.Get("test"), Lot: v.Get("lot"), Days: defaultDays}
	for _, s := range []string{q.Analyser, q.Test, q.Lot} {
		if len(s) > maxSpecimen {
			return q, false
		}
	}
	if text := v.Get("days"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxQCDays {
			return q, false
		}
		q.Days = n
	}
	return q, true
}

// charts are the filled charts that a query asks for; more is true where there are
// others that are left out.
func (c *Console) charts(r *http.Request, q qcQuery) (all []qc.Chart, more bool, err error) {
	if c.o.Controls == nil {
		return []qc.Chart{}, false, nil
	}
	ctx, cancel := context.WithTimeout(r.Context(), sourceTimeout)
	defer cancel()
	series, err := c.o.Controls.Charts(ctx, q.Analyser)
	if err != nil {
		return nil, false, err
	}
	all = []qc.Chart{}
	for _, s := range series {
		if q.Test != "" && s.Code != q.Test || q.Lot != "" && s.Lot != q.Lot {
			continue
		}
		if len(all) == maxCharts {
			return all, true, nil
		}
		if err := c.o.Controls.Fill(ctx, &s, c.o.Now().Add(-time.Duration(q.Days)*24*time.Hour), qc.MaxPoints); err != nil {
			return nil, false, err
		}
		if len(s.Points) > 0 {
			all = append(all, s)
		}
	}
	return all, false, nil
}

func (c *Console) apiQC(w http.ResponseWriter, r *http.Request) {
	q, ok := readQC(r)
	if !ok {
		c.refuse(w, http.StatusBadRequest, fmt.Sprintf("analyser, test and lot have at most %d bytes, days is from 1 to %d", maxSpecimen, maxQCDays))
		return
	}
	all, more, err := c.charts(r, q)
	c.json(w, map[string]any{"charts": all, "more": more}, err)
}

// A chartView is a chart of a page.
type chartView struct {
	qc.Chart
	Mean, SD, CV string
	Last         *time.Time
	LastValue    string
	Picture      template.HTML
}

func (c *Console) qcPage(w http.ResponseWriter, r *http.Request) {
	p, v := c.newPage(r, "qc")
	q, ok := readQC(r)
	if !ok {
		q = qcQuery{Days: defaultDays}
	}
	all, more, err := c.charts(r, q)
	if err != nil {
		c.o.Log.Warn("the console has no charts", "error", err)
	}
	p.Down = p.Down || err != nil
	p.MoreCharts = more
	for _, x := range all {
		last := x.Points[len(x.Points)-1]
		view := chartView{Chart: x, Mean: rounded(x.Mean), SD: rounded(x.SD), CV: rounded(x.CV), Last: v.at(last.At), LastValue: last.Value, Picture: leveyJennings(x)}
		p.Charts = append(p.Charts, view)
	}
	c.render(w, v.lang, "qc", p)
}

// rounded has four digits that count.
func rounded(n *float64) string {
	if n == nil {
		return "–"
	}
	return strconv.FormatFloat(*n, 'g', 4, 64)
}

// leveyJennings draws the points by their distance from the mean in standard
// deviations, with lines at 0, 1, 2 and 3; what lies further stands at the edge. Only
// numbers of ours go into the markup.
func leveyJennings(c qc.Chart) template.HTML {
	const width, height, edge = 480.0, 120.0, 4.0
	y := func(z float64) float64 { return height/2 - math.Max(-3.5, math.Min(3.5, z))/3.5*(height/2-edge) }
	var b strings.Builder
	fmt.Fprintf(&b, `<svg class="lj" viewBox="0 0 %.0f %.0f" role="img" aria-hidden="true">`, width, height)
	for z := -3; z <= 3; z++ {
		class := "sd" + strconv.Itoa(max(z, -z))
		fmt.Fprintf(&b, `<line class="%s" x1="0" x2="%.0f" y1="%.1f" y2="%.1f"/>`, class, width, y(float64(z)), y(float64(z)))
	}
	step := (width - 2*edge) / math.Max(1, float64(len(c.Points)-1))
	var line strings.Builder
	for i, p := range c.Points {
		z := 0.0
		switch {
		case p.Z != nil:
			z = *p.Z
		case p.Number == nil || c.SD != nil && *c.SD != 0:
			continue
		}
		x := edge + float64(i)*step
		fmt.Fprintf(&line, "%.1f,%.1f ", x, y(z))
		fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="2.5"/>`, x, y(z))
	}
	fmt.Fprintf(&b, `<polyline points="%s"/></svg>`, strings.TrimSpace(line.String()))
	return template.HTML(b.String())
}
