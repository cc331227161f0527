package interpret

import (
	"encoding/json"
	"fmt"

	"nhip/storage"
)

// BeginEpoch lets message control IDs go on in a new epoch with the number next, for
// a store that was restored: after its backup IDs were given out that it does not
// know. next must be larger at every restore, since the same backup may be restored
// twice, and of at most 14 digits.
func BeginEpoch(s *storage.Store, b *storage.Batch, next uint64) error {
	stored, ok, err := s.Get(seriesKey)
	if err != nil {
		return err
	}
	n := series{Epoch: 1, Next: 1}
	if ok {
		if err := json.Unmarshal(stored, &n); err != nil || n.Epoch < 1 {
			return fmt.Errorf("interpret: the stored control ID counter cannot be read (%d bytes)", len(stored))
		}
	}
	n.Epoch++
	n.Next = next
	b.Put(seriesKey, (&Series{s: n}).Encode())
	return nil
}
