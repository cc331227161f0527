package modality

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"nhip/dicom/ian"
	"nhip/dicom/service"
	"nhip/dicom/uid"
	"nhip/gateway/delivery"
	"nhip/gateway/intake"
	"nhip/gateway/interpret"
	"nhip/storage"
)

// NoticeQueues is the prefix of the queues of what a destination is to be told of.
const NoticeQueues = "notice/"

// NoticeQueue is the queue of the objects of which a destination is to be told that
// another one has them. They are no part of the conservation sum.
func NoticeQueue(destination string) string { return NoticeQueues + destination }

// Available adds to the commit in which an object is delivered to one destination that
// another is to be told; for delivery.Worker.Also.
func Available(b *storage.Batch, tell, has string, s delivery.Settled) {
	b.EnqueueRef(NoticeQueue(tell), s.Group, []byte(has), s.Ref)
}

// A Notifier makes the instance availability notifications for one destination, PS3.4
// annex R: one for each study, once nothing of it was delivered for a while, and again
// for what comes later. A notification is a message like others from then on: in the
// journal, and in the destination's queue.
type Notifier struct {
	Name   string // of the destination that is told
	Store  *storage.Store
	Intake *intake.Intake
	Log    *slog.Logger
	Now    func() time.Time
	// AETitle is that from which what a destination has can be retrieved.
	AETitle func(destination string) string
	Quiet   time.Duration // 0: a minute
}

// mostNoticed is how many objects one notification names: it is one commit.
const mostNoticed = 300

// A noticed is what is to be told of one, at one destination.
type noticed struct {
	group, has string
	items      []storage.QueueItem
	last       time.Time
}

// Run makes notifications until ctx ends or the store fails.
func (n *Notifier) Run(ctx context.Context) error {
	n.Quiet = cmp.Or(n.Quiet, time.Minute)
	queued := n.Store.Wait(NoticeQueue(n.Name))
	var from uint64
	var open []*noticed
	for {
		var err error
		if from, open, err = n.fill(from, open); err != nil {
			return fmt.Errorf("notices for %s: %w", n.Name, err)
		}
		wait := time.Hour
		now := n.Now()
		for i, s := range open {
			left := s.last.Add(n.Quiet).Sub(now)
			if left > 0 && len(s.items) < mostNoticed {
				wait = min(wait, left)
				continue
			}
			if err := n.make(ctx, s, now); err != nil {
				return fmt.Errorf("notices for %s: %w", n.Name, err)
			}
			open[i] = nil
		}
		open = slices.DeleteFunc(open, func(s *noticed) bool { return s == nil })
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-queued:
		case <-timer.C:
		}
		timer.Stop()
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// fill reads what was queued from a sequence on.
func (n *Notifier) fill(from uint64, open []*noticed) (uint64, []*noticed, error) {
	for {
		page, err := n.Store.Items(NoticeQueue(n.Name), from, 1000)
		if err != nil {
			return from, open, err
		}
		for _, q := range page {
			from = q.Seq + 1
			if q.Damaged != nil || len(q.About) != 1 {
				n.Log.Error("an item of a notice cannot be read, and stays", "destination", n.Name, "item", q.Seq, "error", q.Damaged)
				continue
			}
			same := func(s *noticed) bool {
				return s.group == q.Group && s.has == string(q.Value) && len(s.items) < mostNoticed
			}
			i := slices.IndexFunc(open, same)
			if i < 0 {
				i = len(open)
				open = append(open, &noticed{group: q.Group, has: string(q.Value)})
			}
			open[i].items, open[i].last = append(open[i].items, q), n.Now()
		}
		if len(page) < 1000 {
			return from, open, nil
		}
	}
}

// make makes the notification of a study.
func (n *Notifier) make(ctx context.Context, s *noticed, now time.Time) error {
	note := ian.Notification{}
	var of storage.Ref
	b := new(storage.Batch)
	from := ""
	for _, q := range s.items {
		b.Remove(NoticeQueue(n.Name), q.Seq)
		e, err := n.entry(q.About[0])
		switch a := e.Attrs; {
		case err != nil:
			n.Log.Error("an object is left out of a notice", "destination", n.Name, "item", q.Seq, "error", err)
		case !uid.Valid(a[intake.AttrStudy]), !uid.Valid(a[intake.AttrSeries]), !uid.Valid(a[intake.AttrSOPClass]), !uid.Valid(a[intake.AttrSOPInstance]):
			n.Log.Warn("an object without its UIDs is left out of a notice", "destination", n.Name, "sop instance", a[intake.AttrSOPInstance])
		default:
			note.StudyInstanceUID, of, from = a[intake.AttrStudy], q.About[0], e.Connection
			addInstance(&note, a[intake.AttrSeries], ian.Instance{
				SOPClassUID: a[intake.AttrSOPClass], SOPInstanceUID: a[intake.AttrSOPInstance],
				Availability: ian.Online, RetrieveAETitle: n.AETitle(s.has),
			})
		}
	}
	if note.StudyInstanceUID != "" {
		if err := n.queue(b, note, of, from, now); err != nil {
			return err
		}
	}
	_, err := n.Store.Commit(context.WithoutCancel(ctx), b)
	return err
}

// addInstance adds an instance to its series, once.
func addInstance(n *ian.Notification, series string, x ian.Instance) {
	i := slices.IndexFunc(n.Series, func(s ian.Series) bool { return s.SeriesInstanceUID == series })
	if i < 0 {
		i = len(n.Series)
		n.Series = append(n.Series, ian.Series{SeriesInstanceUID: series})
	}
	if !slices.Contains(n.Series[i].Instances, x) {
		n.Series[i].Instances = append(n.Series[i].Instances, x)
	}
}

func (n *Notifier) queue(b *storage.Batch, note ian.Notification, of storage.Ref, from string, now time.Time) error {
	d, err := note.Dataset()
	if err != nil {
		return err
	}
	var body bytes.Buffer
	if err := d.Write(&body, uid.ExplicitVRLittleEndian); err != nil {
		return err
	}
	id := service.NewUID()
	ticket := delivery.Ticket{ID: id, What: "IAN", From: from, Mark: id}
	group := interpret.Group(interpret.GroupNotice, note.StudyInstanceUID)
	if err := interpret.Queue(b, n.Intake, intake.KindNotice, n.Name, group, ticket, of, body.Bytes(), now); err != nil {
		return err
	}
	b.Add(delivery.CountAccepted, 1)
	b.Add(delivery.CountQueued, 1)
	return nil
}

func (n *Notifier) entry(ref storage.Ref) (intake.Entry, error) {
	raw, err := n.Store.Read(ref)
	if err != nil {
		return intake.Entry{}, err
	}
	e, err := intake.DecodeEntry(raw)
	if err == nil && e.Kind != intake.KindDICOM {
		err = errors.New("no object")
	}
	return e, err
}
