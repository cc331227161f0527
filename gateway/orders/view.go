package orders

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"nhip/gateway/control"
	"nhip/gateway/record"
)

// A View is an order for people and for the API. Its JSON names are a contract.
type View struct {
	ID       uint64        `json:"id"`
	Version  int           `json:"version"`
	Kind     string        `json:"kind"`
	Placer   string        `json:"placer,omitempty"` // number^authority
	Filler   string        `json:"filler,omitempty"`
	Group    string        `json:"group,omitempty"`
	Link     string        `json:"link"`
	Received time.Time     `json:"received"`
	Changed  time.Time     `json:"changed"`
	Expires  *time.Time    `json:"expires,omitempty"`
	Over     *time.Time    `json:"over,omitempty"`
	Patient  PatientView   `json:"patient"`
	Services []ServiceView `json:"services"`
	History  []Turn        `json:"history,omitempty"`
}

// A PatientView is the patient of an order.
type PatientView struct {
	ID   string `json:"id,omitempty"` // value^authority of the first identifier
	Name string `json:"name,omitempty"`
}

// A ServiceView is one service of an order.
type ServiceView struct {
	ID        int        `json:"id"`
	Code      string     `json:"code"`
	Text      string     `json:"text,omitempty"`
	State     string     `json:"state"`
	Progress  string     `json:"progress"`
	By        string     `json:"by,omitempty"`
	At        *time.Time `json:"at,omitempty"`
	Priority  string     `json:"priority,omitempty"`
	Section   string     `json:"section,omitempty"`
	Specimens []string   `json:"specimens,omitempty"`
	Accession string     `json:"accession,omitempty"`
	Study     string     `json:"study,omitempty"`
	Modality  []string   `json:"modality,omitempty"`
	Scheduled *time.Time `json:"scheduled,omitempty"`
	// Analysers is what each of them has of it.
	Analysers []GivenView `json:"analysers,omitempty"`
}

// ViewOf is an entry for people; whole has its history too.
func ViewOf(e Entry, whole bool) View {
	v := View{
		ID: e.ID, Version: e.Version, Kind: string(e.Order.Kind), Placer: numberText(e.Order.Placer), Filler: numberText(e.Order.Filler), Group: numberText(e.Order.Group),
		Link: e.Link, Received: e.Received, Changed: e.Changed, Expires: maybe(e.Expires), Over: maybe(e.Over), Patient: PatientView{Name: e.Order.Patient.Name.Whole()},
	}
	if ids := e.Order.Patient.Identifiers; len(ids) > 0 {
		v.Patient.ID = ids[0].Value
		if !record.OfLink(ids[0].Authority) {
			v.Patient.ID += "^" + ids[0].Authority
		}
	}
	for _, s := range e.Order.Services {
		x := serviceView(s)
		x.Analysers = givenViews(e, s.ID)
		v.Services = append(v.Services, x)
	}
	if whole {
		v.History = e.History
	}
	return v
}

func serviceView(s record.Service) ServiceView {
	v := ServiceView{
		ID: s.ID, Code: s.Code.Code, Text: s.Code.Text, State: string(s.State), Progress: string(s.Progress), By: s.By, At: maybe(s.At),
		Priority: s.Priority, Section: s.Section, Scheduled: maybe(s.Scheduled),
	}
	for _, x := range s.Specimens {
		v.Specimens = append(v.Specimens, x.IDs...)
	}
	if s.Imaging != nil {
		v.Accession, v.Study = s.Imaging.Accession, s.Imaging.StudyInstanceUID
		for _, step := range s.Imaging.Steps {
			if step.Modality != "" && !slices.Contains(v.Modality, step.Modality) {
				v.Modality = append(v.Modality, step.Modality)
			}
		}
	}
	return v
}

func numberText(n record.OrderNumber) string { return strings.TrimRight(n.ID+"^"+n.Authority, "^") }

func maybe(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// A Query asks for orders by one of the identifiers, those that are over too; without
// any, for the newest that are open.
type Query struct {
	ID        uint64 `json:"id,omitempty"`
	Specimen  string `json:"specimen,omitempty"`
	Order     string `json:"order,omitempty"` // placer or filler order number
	Accession string `json:"accession,omitempty"`
	Patient   string `json:"patient,omitempty"` // of open orders
	Kind      string `json:"kind,omitempty"`    // of open orders
	Limit     int    `json:"limit,omitempty"`   // 100 where it is 0
}

// mostViews is how many orders one answer has.
const mostViews = 1000

// List answers a Query, the newest first; more says that there are others.
func (s *Store) List(ctx context.Context, q Query) (all []View, more bool, err error) {
	limit := q.Limit
	if limit <= 0 {
		limit = 100
	}
	limit = min(limit, mostViews)
	entries, more, err := s.entries(ctx, q, limit)
	for _, e := range entries {
		all = append(all, ViewOf(e, q.ID != 0))
	}
	return all, more, err
}

func (s *Store) entries(ctx context.Context, q Query, limit int) (all []Entry, more bool, err error) {
	if q.ID != 0 {
		e, ok, err := s.Get(q.ID)
		if err != nil || !ok {
			return nil, false, err
		}
		return []Entry{e}, false, nil
	}
	for _, k := range []struct {
		given string
		keys  []Key
	}{
		{q.Specimen, []Key{{Specimen: q.Specimen}}}, {q.Order, []Key{{Placer: q.Order}, {Filler: q.Order}}},
		{q.Accession, []Key{{Accession: q.Accession}}}, {q.Patient, []Key{{Patient: record.Identifier{Value: q.Patient}}}},
	} {
		if k.given == "" {
			continue
		}
		for _, key := range k.keys {
			found, err := s.Find(key)
			if err != nil {
				return nil, false, err
			}
			for _, e := range found {
				if !slices.ContainsFunc(all, func(x Entry) bool { return x.ID == e.ID }) {
					all = append(all, e)
				}
			}
		}
		return all[:min(limit, len(all))], len(all) > limit, nil
	}
	return s.newest(ctx, q, limit)
}

// newest are the open orders that came last.
func (s *Store) newest(ctx context.Context, q Query, limit int) (all []Entry, more bool, err error) {
	for _, id := range slices.Backward(s.openOf(record.OrderKind(q.Kind), false)) {
		if err := ctx.Err(); err != nil {
			return nil, false, err
		}
		if len(all) == limit {
			return all, true, nil
		}
		e, ok, err := s.Get(id)
		if err != nil {
			return nil, false, err
		}
		if ok {
			all = append(all, e)
		}
	}
	return all, false, nil
}

// openOf are the IDs of the open orders of a kind, the oldest first; of all where it is
// empty. given: only of those of which a device has, or had, something.
func (s *Store) openOf(kind record.OrderKind, given bool) (ids []uint64) {
	s.looking.RLock()
	defer s.looking.RUnlock()
	for id, m := range s.index.marks {
		if (kind == "" || m.Kind == kind) && (m.Given || !given) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// PathList is the act that answers a Query with a List.
const PathList = "orders"

// A List is what PathList answers.
type List struct {
	Orders []View `json:"orders"`
	More   bool   `json:"more"`
}

// Register adds the act to those of a running gateway, for who has its socket.
func (s *Store) Register(a *control.Acts) {
	a.RegisterLocal(PathList, func(ctx context.Context, _ control.Actor, request json.RawMessage) (any, error) {
		var q Query
		if err := json.Unmarshal(request, &q); err != nil {
			return nil, control.Bad("the request cannot be read")
		}
		all, more, err := s.List(ctx, q)
		if err != nil {
			return nil, fmt.Errorf("orders: %w", err)
		}
		if all == nil {
			all = []View{}
		}
		return List{Orders: all, More: more}, nil
	})
}
