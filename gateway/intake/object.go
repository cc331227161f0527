package intake

import (
	"context"
	"encoding/hex"
	"errors"
	"strings"

	"nhip/gateway/reason"
	"nhip/storage"
	"nhip/storage/spool"
)

// The attributes of a DICOM Entry.
const (
	AttrSOPClass       = "sop class"
	AttrSOPInstance    = "sop instance"
	AttrTransferSyntax = "transfer syntax"
	AttrStudy          = "study"
	AttrSeries         = "series"
	AttrModality       = "modality"
	AttrAccession      = "accession"
	AttrFilm           = "film" // of a printed film: FilmNamed or FilmUnnamed
)

// What a printed film says of its patient.
const (
	FilmNamed   = "named"
	FilmUnnamed = "unnamed"
)

// An ObjectOutcome is what became of a received SOP instance.
type ObjectOutcome int

// The outcomes. All of them are durable and may be answered 0000.
const (
	ObjectFirst    ObjectOutcome = iota + 1 // the first of its SOP Instance UID
	ObjectRepeat                            // the same bytes again
	ObjectConflict                          // other bytes: both are kept, this one is held
)

// Object stores a SOP instance whose bytes are in the spool. The first object
// of a SOP Instance UID is kept and sent; the same bytes again are counted;
// other bytes under the same UID are held, and both are kept.
func (in *Intake) Object(ctx context.Context, connection, peer string, ref spool.Ref, attrs map[string]string) (ObjectOutcome, error) {
	e := Entry{
		Kind: KindDICOM, Fate: Received, Connection: connection, Peer: peer, At: in.Now().UTC(),
		SHA256: hex.EncodeToString(ref.SHA256[:]), Length: ref.Length, Attrs: attrs, Spool: &ref,
	}
	var err error
	if e.ClockBack, err = in.Clock(Channel(connection), e.At); err != nil {
		return 0, err
	}
	key := instanceKey(attrs[AttrSOPInstance])
	b := new(storage.Batch)
	b.IfAbsent(key)
	j := accept(b, e)
	b.PutRef(key, j)
	_, err = in.store.Commit(ctx, b)
	if err == nil {
		return ObjectFirst, nil
	}
	if !errors.Is(err, storage.ErrExists) {
		return 0, err
	}
	first, firstRef, err := in.first(key)
	if err != nil {
		return 0, err
	}
	b = new(storage.Batch)
	if first.SHA256 == e.SHA256 && firstRef == "" {
		b.PutRef(key, accept(b, e))
		_, err := in.store.Commit(ctx, b)
		return ObjectFirst, err
	}
	if first.SHA256 == e.SHA256 {
		repeat(b, e, firstRef)
		if _, err := in.store.Commit(ctx, b); err != nil {
			return 0, err
		}
		// A crash here leaves an orphan, which the sweep removes.
		return ObjectRepeat, in.store.Spool().Remove(ref)
	}
	e.Fate = Conflict
	if firstRef == "" {
		firstRef = "-" // removed since
	}
	j = in.hold(b, e, attrs[AttrSOPInstance], reason.New(reason.OtherBytes, firstRef))
	for _, k := range e.conflictKeys() {
		b.PutRef(k, j)
	}
	_, err = in.store.Commit(ctx, b)
	return ObjectConflict, err
}

// first gives the object that is known under a key; one that retention has removed
// has no reference.
func (in *Intake) first(key string) (Entry, string, error) {
	v, ok, err := in.store.Get(key)
	if err != nil {
		return Entry{}, "", err
	}
	if !ok {
		return Entry{}, "", errors.New("intake: a SOP instance is there and is not there")
	}
	if hash, ok := gone(v); ok {
		return Entry{SHA256: hash}, "", nil
	}
	ref, err := storage.ParseRef(string(v))
	if err != nil {
		return Entry{}, "", err
	}
	raw, err := in.store.Read(ref)
	if err != nil {
		return Entry{}, "", err
	}
	e, err := DecodeEntry(raw)
	return e, ref.String(), err
}

// instanceKey is the key of a SOP Instance UID. A name from the wire that is no
// UID is hashed, so that it cannot be anything but a name.
func instanceKey(uid string) string {
	if uid == "" || len(uid) > 64 || strings.Trim(uid, "0123456789.") != "" {
		return "sop-odd/" + digest([]byte(uid))
	}
	return "sop/" + uid
}
