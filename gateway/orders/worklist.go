package orders

import (
	"context"
	"iter"
	"slices"
	"strings"
)

// A WorklistQuery narrows the worklist: what does not match may be given too.
type WorklistQuery struct {
	Modality string // empty: any
	From, To int32  // days of the start, YYYYMMDD; 0: open
}

// Worklist gives the open imaging orders that may match, in the order in which they
// came. An order that is gone meanwhile is left out.
func (s *Store) Worklist(ctx context.Context, q WorklistQuery) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for _, id := range s.scheduled(q) {
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
}

// scheduled are the IDs of the open orders with a step that may match.
func (s *Store) scheduled(q WorklistQuery) (ids []uint64) {
	s.looking.RLock()
	defer s.looking.RUnlock()
	for id, m := range s.index.marks {
		if slices.ContainsFunc(m.steps, q.may) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

func (q WorklistQuery) may(s stepMark) bool {
	switch {
	case q.Modality != "" && !strings.EqualFold(q.Modality, s.modality):
		return false
	case s.day == 0:
		return true
	}
	return (q.From == 0 || s.day >= q.From) && (q.To == 0 || s.day <= q.To)
}
