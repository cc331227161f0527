package find

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"nhip/dicom"
	"nhip/dicom/association"
	"nhip/dicom/dimse"
	"nhip/dicom/service"
	"nhip/dicom/tag"
	"nhip/dicom/ul"
)

// A Query is a C-FIND-RQ.
type Query struct {
	service.Peer
	Class      string // SOP class
	Root       Root   // of the query/retrieve classes, as is Level
	Level      Level
	Identifier *dicom.Dataset
}

// A Source has the entities of one level for a query: patients, studies, series
// or composite instances, or worklist items. It yields each as a data set with
// every attribute that it has for it; what does not match is left out by the
// caller, so that a source that narrows by a key or two is free to. An error ends
// the query; a *service.StatusError with its status, another with C001H.
type Source interface {
	Entities(ctx context.Context, q Query) iter.Seq2[*dicom.Dataset, error]
}

// Limits of one C-FIND. Zero means the default.
type Limits struct {
	Answers    int           // more are refused after so many were sent: A700H; 10,000
	Identifier int64         // bytes; 64 KiB
	Key        int           // bytes of one value in it; 4 KiB
	Time       time.Duration // 1 min; then A700H
}

// DefaultLimits are the limits where nothing else is said.
func DefaultLimits() Limits { return Limits{}.withDefaults() }

func (l Limits) withDefaults() Limits {
	if l.Answers == 0 {
		l.Answers = 10_000
	}
	if l.Identifier == 0 {
		l.Identifier = 64 << 10
	}
	if l.Key == 0 {
		l.Key = 4 << 10
	}
	if l.Time == 0 {
		l.Time = time.Minute
	}
	return l
}

// An SCP answers C-FIND.
type SCP struct {
	Source   Source
	Matching Matching
	Limits   Limits
	// Relational says whether queries of any key at any level are answered, PS3.4
	// section C.4.1.3.2: it is agreed to by extended negotiation, and then, since
	// requestors are known not to negotiate it, whoever asks is answered.
	Relational bool
}

// extended answers the extended negotiation of C-FIND, PS3.4 section C.5.1.1:
// relational queries, combined matching of dates and times; neither fuzzy matching
// of names nor the adjustment of time zones.
func (s *SCP) extended(_ string, proposed []byte) []byte {
	answer := make([]byte, min(len(proposed), 4))
	for i, agreed := range []bool{s.Relational, true} {
		if i < len(answer) && agreed && proposed[i] == 1 {
			answer[i] = 1
		}
	}
	return answer
}

// combines reports whether combined matching of dates and times was agreed on.
func combines(a *association.Association, class string) bool {
	return slices.ContainsFunc(a.User.Extended, func(e ul.Extended) bool {
		return e.SOPClassUID == class && len(e.Information) > 1 && e.Information[1] == 1
	})
}

// Service is the SCP of the query/retrieve classes of these roots, PS3.4 annex
// C.
func (s *SCP) Service(roots ...Root) service.Service {
	return service.Service{
		AbstractSyntax: func(as string) bool {
			for _, r := range roots {
				if as == r.Find() {
					return true
				}
			}
			return false
		},
		Extended: s.extended,
		Handlers: map[dimse.CommandField]association.Handler{dimse.CFindRQ: s.Handle},
	}
}

// Handle serves a C-FIND-RQ of any class whose model this package knows or that
// has no levels, such as the worklist's.
func (s *SCP) Handle(ctx context.Context, a *association.Association, m *association.Message) error {
	limits := s.Limits.withDefaults()
	identifier, err := service.Read(m, limits.Identifier)
	if err != nil {
		return refuse(ctx, a, m, err)
	}
	q := Query{Peer: service.PeerOf(a), Class: m.Context.AbstractSyntax, Identifier: identifier}
	if err := s.check(&q, limits); err != nil {
		return refuse(ctx, a, m, err)
	}
	c, err := s.answers(ctx, a, m, q, limits)
	if err != nil {
		return err
	}
	return service.Respond(context.WithoutCancel(ctx), a, m, c, nil)
}

// refuse answers a request whose identifier is not taken; an error that is not
// the peer's has ended the association.
func refuse(ctx context.Context, a *association.Association, m *association.Message, err error) error {
	var s *service.StatusError
	if !errors.As(err, &s) {
		return err
	}
	status := s.Status
	switch status.Code {
	case dimse.ResourceLimitation:
		status.Code = dimse.OutOfResources
	case dimse.ProcessingFailure:
		status.Code = dimse.CannotUnderstand
	}
	return service.Refuse(ctx, a, m, status)
}

// check refuses an identifier that is not of its SOP class, and keys that are
// too long or no dates.
func (s *SCP) check(q *Query, l Limits) error {
	refused := func(code uint16, format string, args ...any) error {
		return &service.StatusError{Status: dimse.Status{Code: code, Comment: fmt.Sprintf(format, args...)}}
	}
	if root, ok := RootOf(q.Class); ok {
		level, status := LevelOf(q.Identifier, root, s.Relational, false)
		if status.Code != dimse.Success {
			return &service.StatusError{Status: status}
		}
		q.Root, q.Level = root, level
	}
	if q.Identifier.Len() == 0 {
		return refused(dimse.DataSetDoesNotMatchClass, "the identifier is empty")
	}
	if t, ok := tooLong(q.Identifier, l.Key); ok {
		return refused(dimse.OutOfResources, "a key of more than %d bytes: %v", l.Key, t)
	}
	if t, ok := check(q.Identifier); !ok {
		return refused(dimse.DataSetDoesNotMatchClass, "no date or time: %v", t)
	}
	return nil
}

// tooLong returns a key that is longer than the limit. A list of UIDs may be as
// long as the identifier.
func tooLong(d *dicom.Dataset, limit int) (tag.Tag, bool) {
	for e := range d.All() {
		switch {
		case e.VR == dicom.UI:
		case e.VR == dicom.SQ:
			for _, item := range d.Items(e.Tag) {
				if t, ok := tooLong(item, limit); ok {
					return t, true
				}
			}
		case e.Len() > int64(limit):
			return e.Tag, true
		}
	}
	return 0, false
}

// answers sends a pending response for each match and returns the last one.
func (s *SCP) answers(ctx context.Context, a *association.Association, m *association.Message, q Query, l Limits) (dimse.Command, error) {
	final := func(code uint16, comment string) (dimse.Command, error) {
		return dimse.Command{Status: dimse.Status{Code: code, Comment: comment}}, nil
	}
	matching := s.Matching
	matching.Combined = matching.Combined || combines(a, q.Class)
	searching, stop := service.Until(ctx, m, l.Time)
	defer stop()
	sent := 0
	for entity, err := range s.Source.Entities(searching, q) {
		switch {
		case service.Cancelled(m):
			return final(dimse.Cancelled, "")
		case searching.Err() != nil:
			return final(dimse.OutOfResources, fmt.Sprintf("not finished within %v", l.Time))
		case err != nil:
			return dimse.Command{Status: service.StatusOf(err, 0xC001)}, nil
		case !matching.Match(q.Identifier, entity):
			continue
		case sent == l.Answers:
			return final(dimse.OutOfResources, fmt.Sprintf("more than %d matches", l.Answers))
		}
		answer, all := matching.Answer(q.Identifier, entity)
		pending := dimse.Command{Status: dimse.Status{Code: dimse.Pending}}
		if !all {
			pending.Status.Code = dimse.PendingKeysUnsupported
		}
		if err := service.Respond(ctx, a, m, pending, answer); err != nil {
			return pending, err
		}
		sent++
	}
	switch {
	case service.Cancelled(m):
		return final(dimse.Cancelled, "")
	case searching.Err() != nil:
		return final(dimse.OutOfResources, fmt.Sprintf("not finished within %v", l.Time))
	}
	return final(dimse.Success, "")
}
