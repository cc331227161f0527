package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"nhip/gateway/intake"
	"nhip/storage"
)

// ErrUnknown says that there is no such entry.
var ErrUnknown = errors.New("there is no such entry in the journal")

// errGone is an ErrUnknown with its reason.
var errGone = fmt.Errorf("%w: its time was over, and retention has removed it", ErrUnknown)

// A Detail is one entry with what belongs to it.
type Detail struct {
	Entry
	// Answer is what the sender was answered, where the journal has it.
	Answer []byte `json:"answer,omitempty"`
	// Sent are the messages that were made of it.
	Sent []Entry `json:"sent,omitempty"`
	// HasBytes is false for a repeat: its bytes are those of Of.
	HasBytes bool `json:"has_bytes"`
}

// Show reads one entry.
func (j *Journal) Show(ref string) (Detail, error) {
	at, e, err := j.find(ref)
	if err != nil {
		return Detail{}, err
	}
	x := Detail{Entry: basic(at, e), HasBytes: e.Fate != intake.Repeat}
	if err := j.fate(&x.Entry, at, e); err != nil {
		return Detail{}, err
	}
	all := []Entry{x.Entry}
	for _, d := range x.Deliveries {
		if d.Sent == x.Ref {
			continue
		}
		sent, s, err := j.find(d.Sent)
		if err != nil {
			all = append(all, Entry{Ref: d.Sent, Direction: "out", Connection: d.Destination, Damaged: err.Error()})
			continue
		}
		o := basic(sent, s)
		if err := j.fate(&o, sent, s); err != nil {
			return Detail{}, err
		}
		all = append(all, o)
	}
	r := resolver{store: j.Store}
	if err := r.deliveries(all); err != nil {
		return Detail{}, err
	}
	x.Entry, x.Sent = all[0], all[1:]
	if j.Subject != nil {
		x.Subject = j.Subject(e)
	}
	if e.Kind == intake.KindHL7 && e.Fate != intake.Sent {
		x.Answer, err = intake.Answer(j.Store, e)
		var damaged *storage.DamagedError
		if err != nil && !errors.As(err, &damaged) {
			return Detail{}, err
		}
	}
	if err := j.check(e); err != nil {
		x.Damaged = err.Error()
	}
	return x, nil
}

// check holds the bytes of an entry against their hash.
func (j *Journal) check(e intake.Entry) error {
	if e.Spool != nil {
		return j.Store.Spool().Verify(*e.Spool)
	}
	again := intake.Entry{Body: e.Body}
	again.Seal()
	if e.Fate != intake.Repeat && (again.SHA256 != e.SHA256 || again.Length != e.Length) {
		return errors.New("the bytes are not those of the stored SHA-256")
	}
	return nil
}

func (j *Journal) find(text string) (storage.Ref, intake.Entry, error) {
	ref, err := storage.ParseRef(text)
	if err != nil || !slices.Contains(j.Store.Channels(), ref.Channel) {
		return ref, intake.Entry{}, ErrUnknown
	}
	e, err := j.read(ref)
	switch {
	case errors.Is(err, storage.ErrTrimmed):
		return ref, e, errGone
	case errors.Is(err, storage.ErrNotFound):
		return ref, e, ErrUnknown
	case err != nil:
		return ref, e, fmt.Errorf("journal: %w", err)
	}
	return ref, e, nil
}

// Bytes opens what was received or sent, byte for byte. Those of a repeat are the
// bytes of the entry that it repeats.
func (j *Journal) Bytes(ref string) (io.ReadCloser, int64, error) {
	_, e, err := j.find(ref)
	if err != nil {
		return nil, 0, err
	}
	if e.Fate == intake.Repeat {
		return nil, 0, fmt.Errorf("%w: its bytes are those of %s", ErrUnknown, e.Attrs["of"])
	}
	if err := j.check(e); err != nil {
		return nil, 0, err
	}
	if e.Spool == nil {
		return io.NopCloser(bytes.NewReader(e.Body)), int64(len(e.Body)), nil
	}
	f, err := j.Store.Spool().Open(*e.Spool)
	return f, e.Length, err
}
