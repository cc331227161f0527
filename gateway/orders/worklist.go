package orders

import (
	"context"
	"iter"
	"slices"
	"strings"
	"time"

	"nhip/gateway/record"
)

// A WorklistQuery narrows the worklist: what does not match may be given too.
type WorklistQuery struct {
	Modality string    // empty: any
	From, To time.Time // of the start, To excluded; zero: open
}

// Worklist gives the open imaging orders that may match, in the order in which they
// came. An order that is gone meanwhile is left out.
func (s *Store) Worklist(ctx context.Context, q WorklistQuery) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) { s.each(ctx, s.scheduled(q), yield) }
}

// each reads orders that were open a moment ago.
func (s *Store) each(ctx context.Context, ids []uint64, yield func(Entry, error) bool) {
	for _, id := range ids {
		if err := ctx.Err(); err != nil {
			yield(Entry{}, err)
			return
		}
		e, ok, err := s.Get(id)
		if err != nil {
			s.o.Log.Error("orders: an order cannot be read", "order", id, "error", err)
			continue
		}
		if ok && e.Over.IsZero() && !yield(e, nil) {
			return
		}
	}
}

// scheduled are the IDs of the open orders with a step that may match.
func (s *Store) scheduled(q WorklistQuery) (ids []uint64) {
	s.looking.RLock()
	defer s.looking.RUnlock()
	for id, m := range s.index.marks {
		if slices.ContainsFunc(m.Steps, q.may) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

func (q WorklistQuery) may(s stepMark) bool {
	switch {
	case q.Modality != "" && !strings.EqualFold(q.Modality, s.Modality):
		return false
	case s.Start == 0:
		return true
	}
	return (q.From.IsZero() || s.Start >= q.From.Unix()) && (q.To.IsZero() || s.Start < q.To.Unix())
}

// Pending gives the open orders of a kind in the order in which they came, for what
// is sent to devices without their asking. An order that is gone meanwhile is left out.
func (s *Store) Pending(ctx context.Context, kind record.OrderKind) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) { s.each(ctx, s.openOf(kind, false), yield) }
}
