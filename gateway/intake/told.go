package intake

import (
	"context"
	"encoding/hex"
	"errors"

	"nhip/storage"
)

// AttrCommand is the attribute of a KindStep Entry that says which it is.
const (
	AttrCommand   = "command"
	CommandCreate = "N-CREATE"
	CommandSet    = "N-SET"
)

// Told stores what a modality tells or asks beside its objects: a performed
// procedure step, a request for storage commitment. The body is an entry like
// any other, large ones in the spool; also adds what is to be true together with
// it.
func (in *Intake) Told(ctx context.Context, kind Kind, connection, peer string, body []byte, attrs map[string]string, also func(*storage.Batch, storage.Entry)) error {
	e, err := in.entry(kind, connection, peer, body)
	if err != nil {
		return err
	}
	e.Attrs = attrs
	b := new(storage.Batch)
	also(b, accept(b, e))
	_, err = in.store.Commit(ctx, b)
	return err
}

// Holding is the object that is stored under a SOP Instance UID: its SOP class,
// and whether its bytes are there in their length. ok is false where there is
// none, or retention has removed it.
func (in *Intake) Holding(sopInstance string) (sopClass string, whole, ok bool, err error) {
	v, ok, err := in.store.Get(instanceKey(sopInstance))
	if err != nil || !ok {
		return "", false, false, err
	}
	if _, removed := gone(v); removed {
		return "", false, false, nil
	}
	e, _, err := in.first(instanceKey(sopInstance))
	if damaged := new(storage.DamagedError); errors.As(err, &damaged) {
		return "", false, true, nil // the store has raised its alarm
	}
	if err != nil {
		return "", false, false, err
	}
	if e.Spool == nil || hex.EncodeToString(e.Spool.SHA256[:]) != e.SHA256 {
		return e.Attrs[AttrSOPClass], false, true, nil
	}
	f, err := in.store.Spool().Open(*e.Spool)
	if err != nil {
		return e.Attrs[AttrSOPClass], false, true, nil // the scrub names what is wrong with it
	}
	return e.Attrs[AttrSOPClass], true, true, f.Close()
}
