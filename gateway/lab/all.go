package lab

import (
	"context"
	"slices"
	"strings"
	"time"

	"nhip/gateway/orders"
	"nhip/gateway/record"
)

// mostAll is how many specimens one query for all work is answered with; the next query
// gets the next ones.
const mostAll = 200

// untaken are the specimens with work for the analyser that it does not have yet: what a
// query for all work is answered with. Who asks again is not given the same again.
func (w *Work) untaken(ctx context.Context) (specimens []string, err error) {
	now := w.desk.now()
	err = w.desk.Orders.Laboratory(ctx, orders.LaboratoryQuery{}, func(e orders.Entry) bool {
		for _, s := range e.Order.Services {
			if s.State != record.Open || s.Progress == record.Resulted || w.has(e, s.ID) || len(w.tests(s, nil, now)) == 0 {
				continue
			}
			for _, x := range s.Specimens {
				if len(x.IDs) == 0 || !w.inWindow(now, x.Collected, s.Collected, e.Received) {
					continue
				}
				if id := strings.TrimSpace(x.IDs[0]); id != "" && !slices.Contains(specimens, id) {
					specimens = append(specimens, id)
				}
			}
		}
		return len(specimens) < mostAll
	})
	return specimens, err
}

// inWindow reports whether the first of some times that is known is in the window.
func (w *Work) inWindow(now time.Time, times ...time.Time) bool {
	for _, t := range times {
		if !t.IsZero() {
			return w.analyser.Window == 0 || now.Sub(t).Abs() <= w.analyser.Window
		}
	}
	return true
}
