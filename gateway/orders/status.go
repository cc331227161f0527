package orders

import "nhip/gateway/record"

// Open is how many orders are open.
func (s *Store) Open() int {
	s.looking.RLock()
	defer s.looking.RUnlock()
	return len(s.index.marks)
}

// OpenByKind is how many orders are open of each kind.
func (s *Store) OpenByKind() map[record.OrderKind]int {
	s.looking.RLock()
	defer s.looking.RUnlock()
	all := map[record.OrderKind]int{}
	for k, n := range s.index.kinds {
		if n > 0 {
			all[k] = n
		}
	}
	return all
}
