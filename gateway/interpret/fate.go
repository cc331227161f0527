package interpret

import (
	"encoding/json"
	"fmt"

	"nhip/storage"
)

// A Fate says what became of a journal entry when it was interpreted. It is
// stored with it; what became of each of its deliveries is under
// delivery.DeliveredKey.
type Fate struct {
	Sent     []Sent   `json:"s,omitempty"`
	Consumed []string `json:"c,omitempty"` // kinds
	Held     int      `json:"h,omitempty"`
}

// A Sent is one thing that was queued for a destination.
type Sent struct {
	Destination string `json:"d"`
	Mark        string `json:"m"`
}

func (f Fate) encode() []byte {
	b, err := json.Marshal(f)
	if err != nil {
		panic(err) // no value of this struct fails to marshal
	}
	return b
}

func fateKey(about storage.Ref) string { return "fate/" + about.String() }

// ReadFate reads the fate of an entry; ok is false while it is not interpreted.
func ReadFate(s *storage.Store, about storage.Ref) (f Fate, ok bool, err error) {
	b, ok, err := s.Get(fateKey(about))
	if err != nil || !ok {
		return Fate{}, false, err
	}
	if err := json.Unmarshal(b, &f); err != nil {
		return Fate{}, false, fmt.Errorf("interpret: stored fate: %w", err)
	}
	return f, true, nil
}
