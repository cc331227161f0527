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

// LastSeq is the last number of a device's observations that was given out.
func LastSeq(s *storage.Store, device string) (uint64, error) {
	for _, key := range []string{SeqKey(device), seqPrefix} { // the second is what Skip left for new devices
		stored, ok, err := s.Get(key)
		if err != nil {
			return 0, err
		}
		if !ok {
			continue
		}
		last, err := strconv.ParseUint(string(stored), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("vitals: the stored sequence of %s cannot be read", device)
		}
		return last, nil
	}
	return 0, nil
}

// Skip moves the numbers of every device on, for a store that was restored; those of
// devices that are not known yet too, since they may have begun after the backup.
func Skip(s *storage.Store, b *storage.Batch, next func(last uint64) uint64) error {
	keys, err := s.Keys(seqPrefix, 0)
	if err != nil {
		return err
	}
	if len(keys) == 0 || keys[0] != seqPrefix {
		keys = append(keys, seqPrefix)
	}
	for _, key := range keys {
		last, err := LastSeq(s, strings.TrimPrefix(key, seqPrefix))
		if err != nil {
			return err
		}
		b.Put(key, strconv.AppendUint(nil, next(last), 10))
	}
	return nil
}
