package interpret

import (
	"slices"
	"time"

	"nhip/gateway/delivery"
	"nhip/gateway/intake"
	"nhip/gateway/reason"
	"nhip/gateway/route"
	"nhip/storage"
)

// The kinds of groups of what goes to DICOM destinations, see Group: objects by
// study, performed procedure steps, notices of instance availability.
const (
	GroupStudy  = "study"
	GroupStep   = "mpps"
	GroupNotice = "notice"
)

// object sends an object to the destinations that get images. A film that names no
// patient is held where the site wants so.
func (r *reader) object(o *outcome, c Connection, e intake.Entry) {
	o.index = e.Identifiers()
	to, why := r.imaging(c.Name, func(d route.Destination) bool { return d.Images })
	if why != "" {
		o.consume(why, 1)
		return
	}
	if e.Attrs[intake.AttrFilm] == intake.FilmUnnamed && c.HoldFilms && !r.released {
		o.hold(e.Attrs[intake.AttrSOPInstance], reason.FilmWithoutPatient)
		return
	}
	study := e.Attrs[intake.AttrStudy]
	if study == "" {
		study = e.Attrs[intake.AttrSOPInstance]
	}
	for _, d := range to {
		o.out = append(o.out, outbound{
			destination: d.Name,
			ticket:      delivery.Ticket{ID: e.Attrs[intake.AttrSOPInstance], What: e.Attrs[intake.AttrModality]},
			group:       Group(GroupStudy, study),
		})
	}
}

// step passes an N-CREATE or N-SET of a performed procedure step on, in the order in
// which they came.
func (r *reader) step(o *outcome, c Connection, e intake.Entry) {
	o.index = e.Identifiers()
	to, _ := r.imaging(c.Name, func(d route.Destination) bool { return d.Steps })
	if len(to) == 0 {
		o.consume(string(intake.KindStep), 1) // it is kept here
		return
	}
	for _, d := range to {
		o.out = append(o.out, outbound{
			destination: d.Name,
			ticket:      delivery.Ticket{ID: e.Attrs[intake.AttrSOPInstance], What: "MPPS"},
			group:       Group(GroupStep, e.Attrs[intake.AttrSOPInstance]),
		})
	}
}

// imaging are the DICOM destinations of a modality that get something.
func (r *reader) imaging(connection string, gets func(route.Destination) bool) ([]route.Destination, string) {
	to, why := r.routes.For(connection, route.DICOM)
	to = slices.DeleteFunc(slices.Clone(to), func(d route.Destination) bool { return !gets(d) })
	if len(to) == 0 && why == "" {
		why = route.NoDestination
	}
	return to, why
}

// Queue adds to a batch what was made for a destination: its journal entry, the key
// under which it is found by its mark, and its item in the queue. It counts nothing. of is what it was made of; zero: nothing
// that came.
func Queue(b *storage.Batch, in *intake.Intake, kind intake.Kind, destination, group string, t delivery.Ticket, of storage.Ref, body []byte, now time.Time) error {
	return queue(b, in, kind, destination, group, t, of, body, now, made{})
}

// A made is what a message was made with; "": without.
type made struct {
	mapped string // the map of fields
	codes  string // the version of the code table
}

// queue is Queue of what was made with a map of fields or a code table.
func queue(b *storage.Batch, in *intake.Intake, kind intake.Kind, destination, group string, t delivery.Ticket, of storage.Ref, body []byte, now time.Time, with made) error {
	s := intake.Entry{Kind: kind, Fate: intake.Sent, Connection: destination, At: now.UTC(), Body: body,
		Attrs: map[string]string{"id": t.ID}}
	if of != (storage.Ref{}) {
		s.Attrs["of"] = of.String()
	}
	if t.Mark != t.ID {
		s.Attrs[attrMark] = t.Mark
	}
	if with.mapped != "" {
		s.Attrs[attrMap] = with.mapped
	}
	if with.codes != "" {
		s.Attrs[attrCodes] = with.codes
	}
	s.Seal()
	if len(body) > maxInline {
		l, err := in.Large(body)
		if err != nil {
			return err
		}
		s.Spool, s.Body = l.Spool, nil
	}
	var err error
	if s.ClockBack, err = in.Clock(OutChannel(destination), s.At); err != nil {
		return err
	}
	j := intake.Journal(b, OutChannel(destination), s)
	b.PutRef(sentKey(destination, t.Mark), j)
	b.Enqueue(delivery.Queue(destination), group, t.Encode(), j)
	return nil
}
