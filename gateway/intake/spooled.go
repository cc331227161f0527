package intake

import (
	"bytes"
	"encoding/binary"
	"encoding/json"

	"nhip/storage/spool"
)

// SpoolRefs finds the object that a stored value refers to, for
// storage.Options.SpoolRefs: only journal entries do.
func SpoolRefs(value []byte) []spool.Ref {
	if len(value) < 5 || value[4] != '{' {
		return nil
	}
	n := binary.BigEndian.Uint32(value)
	if uint64(n) > uint64(len(value)-4) || !bytes.Contains(value[4:4+n], []byte(`"spool":`)) {
		return nil
	}
	var e struct{ Spool *spool.Ref }
	if json.Unmarshal(value[4:4+n], &e) != nil || e.Spool == nil {
		return nil
	}
	return []spool.Ref{*e.Spool}
}
