// Package qc keeps the results of control material per analyser, lot and test, and
// says their mean, standard deviation and Levey-Jennings data. It is for looking at:
// nothing is judged, released or held by it, and no limit is invented. What a person
// needs to decide stands in the laboratory's own procedure.
package qc

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"nhip/gateway/record"
	"nhip/storage"
)

// A Series is what belongs into one chart: one test of one control material on one
// analyser. The texts are as the device sent them.
type Series struct {
	Analyser string `json:"analyser"` // the connection's name
	Material string `json:"material"` // its name, else the specimen identifier that it was run under
	Lot      string `json:"lot"`
	Level    string `json:"level"`
	Code     string `json:"code"`
	Name     string `json:"name,omitempty"`
	Unit     string `json:"unit"`
}

// A Point is one control result.
type Point struct {
	At     time.Time `json:"at"`               // when the test was completed by the device, else when it was received
	Value  string    `json:"value"`            // as sent
	Number *float64  `json:"number,omitempty"` // nil: the value is no plain number, or the run failed
	Z      *float64  `json:"z,omitempty"`      // distance from the mean in standard deviations; nil: there is none
	Flag   string    `json:"flag,omitempty"`
	Status string    `json:"status,omitempty"`
	Entry  string    `json:"entry"` // the journal entry it came in
}

// A Chart is a Series with its points, oldest first, and their statistics. N counts
// the numbers; Mean and SD (of the sample, n-1) are nil where there are too few.
type Chart struct {
	Series
	ID     string   `json:"id"`
	N      int      `json:"n"`
	Mean   *float64 `json:"mean,omitempty"`
	SD     *float64 `json:"sd,omitempty"`
	CV     *float64 `json:"cv,omitempty"` // percent
	Points []Point  `json:"points"`
}

// Limits.
const (
	MaxPoints = 1000                 // kept of a series
	MaxAge    = 400 * 24 * time.Hour // of a point that is kept
	maxText   = 200                  // characters of a text
)

func cut(s string) string {
	if r := []rune(strings.TrimSpace(s)); len(r) > maxText {
		return string(r[:maxText])
	}
	return strings.TrimSpace(s)
}

// id names a series in keys.
func (s Series) id() string {
	sum := sha256.Sum256([]byte(strings.Join([]string{s.Material, s.Lot, s.Level, s.Code, s.Unit}, "\x00")))
	return hex.EncodeToString(sum[:8])
}

func seriesKey(analyser, id string) string { return "qc-series/" + analyser + "/" + id }
func pointKeys(analyser, id string) string { return "qc-point/" + analyser + "/" + id + "/" }

// Changes is how many changes Add makes to a batch.
func Changes(rep record.Report) int { return 2 * len(rep.Results) }

// Add adds the results of a report of control material to a batch. A result that the
// device sends again (the same time and value) is one point.
func Add(b *storage.Batch, analyser string, rep record.Report, entry string, received time.Time) error {
	for _, x := range rep.Results {
		s := Series{Analyser: analyser, Material: cut(cmp.Or(rep.Material, rep.Specimen.ID)), Lot: cut(rep.Lot), Level: cut(rep.Level), Code: cut(x.Code), Unit: cut(x.Unit)}
		id := s.id()
		s.Name = cut(x.Text)
		p := Point{At: received, Value: cut(x.Value), Flag: cut(x.Flag), Status: cut(x.Status), Entry: entry, Number: number(x)}
		for _, at := range []time.Time{rep.MessageTime.At, x.Analysed.At, x.Observed.At} {
			if !at.IsZero() {
				p.At = at
			}
		}
		series, err := json.Marshal(s)
		if err != nil {
			return err
		}
		point, err := json.Marshal(p)
		if err != nil {
			return err
		}
		sum := sha256.Sum256([]byte(p.Value))
		b.Put(seriesKey(analyser, id), series)
		b.Put(fmt.Sprintf("%s%020d-%x", pointKeys(analyser, id), p.At.UnixMilli(), sum[:4]), point)
	}
	return nil
}

// number is the value where it is a plain decimal number, without a comparator, of a
// run that gave a result.
func number(x record.Result) *float64 {
	text := strings.TrimSpace(cmp.Or(x.Quantity, x.Value))
	if x.Comparator != "" || x.Status == "X" || strings.ContainsFunc(text, func(r rune) bool { return !strings.ContainsRune("0123456789.+-eE", r) }) {
		return nil
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsInf(n, 0) || math.IsNaN(n) {
		return nil
	}
	return &n
}

// List gives the series of an analyser, or of all where it is empty, in order.
func List(st *storage.Store, analyser string) ([]Chart, error) {
	prefix := "qc-series/"
	if analyser != "" {
		prefix += analyser + "/"
	}
	keys, err := st.Keys(prefix, 0)
	if err != nil {
		return nil, err
	}
	all := []Chart{}
	for _, k := range keys {
		b, ok, err := st.Get(k)
		if err != nil {
			return nil, err
		}
		var s Series
		if !ok || json.Unmarshal(b, &s) != nil {
			continue
		}
		all = append(all, Chart{Series: s, ID: s.id(), Points: []Point{}})
	}
	slices.SortStableFunc(all, func(a, b Chart) int {
		return cmp.Or(cmp.Compare(a.Analyser, b.Analyser), cmp.Compare(a.Code, b.Code), cmp.Compare(a.Lot, b.Lot), cmp.Compare(a.Level, b.Level), cmp.Compare(a.Material, b.Material))
	})
	return all, nil
}

// Fill reads the newest points of a chart, limit at most, of since or later.
func (c *Chart) Fill(st *storage.Store, since time.Time, limit int) error {
	keys, err := st.Keys(pointKeys(c.Analyser, c.ID), 0)
	if err != nil {
		return err
	}
	from := fmt.Sprintf("%s%020d", pointKeys(c.Analyser, c.ID), max(since.UnixMilli(), 0))
	i, _ := slices.BinarySearch(keys, from)
	keys = keys[i:]
	if limit > 0 && len(keys) > limit {
		keys = keys[len(keys)-limit:]
	}
	for _, k := range keys {
		b, ok, err := st.Get(k)
		if err != nil {
			return err
		}
		var p Point
		if ok && json.Unmarshal(b, &p) == nil {
			c.Points = append(c.Points, p)
		}
	}
	c.statistics()
	return nil
}

// statistics computes mean and standard deviation in two passes.
func (c *Chart) statistics() {
	var sum float64
	for _, p := range c.Points {
		if p.Number != nil {
			c.N++
			sum += *p.Number
		}
	}
	if c.N == 0 {
		return
	}
	mean := sum / float64(c.N)
	c.Mean = &mean
	if c.N < 2 {
		return
	}
	var squares float64
	for _, p := range c.Points {
		if p.Number != nil {
			squares += (*p.Number - mean) * (*p.Number - mean)
		}
	}
	sd := math.Sqrt(squares / float64(c.N-1))
	c.SD = &sd
	if mean != 0 {
		cv := math.Abs(100 * sd / mean)
		c.CV = &cv
	}
	if sd == 0 {
		return
	}
	for i, p := range c.Points {
		if p.Number != nil {
			z := (*p.Number - mean) / sd
			c.Points[i].Z = &z
		}
	}
}

// Trim removes points that are too many or too old, and series without points.
func Trim(ctx context.Context, st *storage.Store, now time.Time) error {
	all, err := List(st, "")
	if err != nil {
		return err
	}
	for _, c := range all {
		keys, err := st.Keys(pointKeys(c.Analyser, c.ID), 0)
		if err != nil {
			return err
		}
		old := fmt.Sprintf("%s%020d", pointKeys(c.Analyser, c.ID), now.Add(-MaxAge).UnixMilli())
		n, _ := slices.BinarySearch(keys, old)
		n = max(n, len(keys)-MaxPoints)
		for part := range slices.Chunk(keys[:n], 500) {
			b := new(storage.Batch)
			for _, k := range part {
				b.Delete(k)
			}
			if _, err := st.Commit(ctx, b); err != nil {
				return err
			}
		}
		if n == len(keys) && n > 0 {
			b := new(storage.Batch)
			b.Delete(seriesKey(c.Analyser, c.ID))
			if _, err := st.Commit(ctx, b); err != nil {
				return err
			}
		}
	}
	return nil
}
