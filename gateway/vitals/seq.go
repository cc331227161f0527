package vitals

import (
	"fmt"
	"strconv"
	"strings"

	"nhip/storage"
)

const seqPrefix = "vitals-seq/"

// SeqKey is where the last number of a device's observations is stored.
func SeqKey(device string) string { return seqPrefix + device }

// Skip moves the numbers of every device on, for a store that was restored.
func Skip(s *storage.Store, b *storage.Batch, next func(last uint64) uint64) error {
	keys, err := s.Keys(seqPrefix, 0)
	if err != nil {
		return err
	}
	for _, key := range keys {
		stored, _, err := s.Get(key)
		if err != nil {
			return err
		}
		last, err := strconv.ParseUint(string(stored), 10, 64)
		if err != nil {
			return fmt.Errorf("vitals: the stored sequence of %s cannot be read", strings.TrimPrefix(key, seqPrefix))
		}
		b.Put(key, strconv.AppendUint(nil, next(last), 10))
	}
	return nil
}
