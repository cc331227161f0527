package patients

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"nhip/gateway/control"
	"nhip/gateway/record"
)

// PathShow is the path of the act that looks at patients.
const PathShow = "patient"

// A Query asks for the patients with a number. It is looked for as a patient number, as
// one given elsewhere and as a visit.
type Query struct {
	Value       string   `json:"value"`
	Authorities []string `json:"authorities"` // of one of these
}

// A Shown is a patient with what changed its identity.
type Shown struct {
	ID       uint64        `json:"id"`
	Person   record.Person `json:"person"`
	Into     uint64        `json:"merged_into,omitempty"`
	Current  uint64        `json:"current"` // the record that stands for the patient now
	Linked   []uint64      `json:"linked,omitempty"`
	Visits   []Visit       `json:"visits,omitempty"`
	Told     time.Time     `json:"told,omitzero"`
	Changes  []Change      `json:"changes"`
	Survivor *Shown        `json:"survivor,omitempty"` // where it is another record
}

// Show looks for patients.
func (s *Store) Show(q Query) ([]Shown, error) {
	var shown []Shown
	for _, a := range q.Authorities {
		for _, kind := range []string{"", "NI", "VN"} { // one of each kind
			found, err := s.Find(record.Identifier{Value: q.Value, Authority: a, Type: kind})
			if err != nil {
				return nil, err
			}
			for _, p := range found {
				if slices.ContainsFunc(shown, func(x Shown) bool { return x.ID == p.ID }) {
					continue
				}
				x, err := s.shown(p)
				if err != nil {
					return nil, err
				}
				shown = append(shown, x)
			}
		}
	}
	return shown, nil
}

func (s *Store) shown(p Patient) (Shown, error) {
	changes, err := s.History(p.ID)
	if err != nil {
		return Shown{}, err
	}
	x := Shown{ID: p.ID, Person: p.Person, Into: p.Into, Current: p.Current, Linked: p.Linked, Visits: p.Visits, Told: p.Told, Changes: changes}
	if p.Current == p.ID {
		return x, nil
	}
	last, err := s.view().patient(p.Current)
	if err != nil {
		return Shown{}, err
	}
	y, err := s.shown(last)
	x.Survivor = &y
	return x, err
}

// Register adds the act to those of a running gateway, for who has its socket.
func (s *Store) Register(a *control.Acts) {
	a.RegisterLocal(PathShow, func(_ context.Context, _ control.Actor, request json.RawMessage) (any, error) {
		var q Query
		if err := json.Unmarshal(request, &q); err != nil {
			return nil, control.Bad("the request cannot be read")
		}
		return s.Show(q)
	})
}
