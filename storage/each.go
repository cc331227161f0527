package storage

import (
	"errors"

	"github.com/dgraph-io/badger/v4"
)

// Each calls f for the keys with a prefix in order, each with its value, which belongs
// to f, as one committed state has them, until f returns false. It walks on past
// values that are damaged, and then returns a *DamagedError that names the first of
// them; each is an alarm.
func (s *Store) Each(prefix string, f func(key string, value []byte) bool) (err error) {
	v, err := s.look()
	if err != nil {
		return err
	}
	defer v.end(&err)
	it := v.txn.NewIterator(badger.IteratorOptions{Prefix: append([]byte{spaceKey}, prefix...), PrefetchValues: true, PrefetchSize: 100})
	defer it.Close()
	var first *DamagedError
	for it.Rewind(); it.Valid(); it.Next() {
		key := keyName(it.Item().Key())
		value, err := itemBody(it.Item())
		switch {
		case errors.Is(err, errDamaged):
			d := &DamagedError{Where: "key " + key}
			if s.damaged(d); first == nil {
				first = d
			}
			continue
		case err != nil:
			return err
		}
		if !f(key, value) {
			break
		}
	}
	return first.orNil()
}
