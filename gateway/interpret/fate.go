package interpret

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"nhip/gateway/delivery"
	"nhip/gateway/intake"
	"nhip/storage"
)

// A Fate says what became of a journal entry when it was interpreted. It is
// stored with it; what became of each of its deliveries is under
// delivery.DeliveredKey.
type Fate struct {
	Sent     []Sent   `json:"s,omitempty"`
	Consumed []string `json:"c,omitempty"` // kinds
	Held     int      `json:"h,omitempty"`
	// Index names what the entry is found by, see intake.IndexName.
	Index []string `json:"x,omitempty"`
	// DeviceTime is the time of the message by the device's clock; zero: it says
	// none.
	DeviceTime time.Time `json:"t,omitzero"`
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

// with is the fate of an entry of which a part was interpreted again: that part was
// held before, and is now as part says.
func (f Fate) with(part Fate) Fate {
	f.Sent = append(slices.Clone(f.Sent), part.Sent...)
	f.Held += part.Held - 1
	for _, name := range part.Index {
		if !slices.Contains(f.Index, name) {
			f.Index = append(slices.Clone(f.Index), name)
		}
	}
	for _, k := range part.Consumed {
		if !slices.Contains(f.Consumed, k) {
			f.Consumed = append(slices.Clone(f.Consumed), k)
		}
	}
	return f
}

// Mark is under which what became of a message that goes out is noted.
func Mark(e intake.Entry) string {
	if m := e.Attrs[attrMark]; m != "" {
		return m
	}
	return e.Attrs["id"]
}

// Attributes of an entry that goes out, besides "id" and "of".
const (
	attrMark = "mark" // where it is not the control ID
	attrMap  = "map"  // the map of fields that has changed it

	attrCodes = "codes" // the version of the code table that its codes and units are from
)

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

// DiscardedKey has the name of the person who discarded what was held of an
// entry.
func DiscardedKey(about storage.Ref) string { return "discarded/" + about.String() }

// CommittedKey is where it is noted that a destination has committed itself to an
// object, by the mark of its delivery.
func CommittedKey(destination, mark string) string { return "committed/" + destination + "/" + mark }

// sentKey is where the reference of a rendered message is found by its mark.
func sentKey(destination, mark string) string { return "sent/" + destination + "/" + mark }

// SentRef finds the journal entry of what was sent: the rendered message, or
// the received entry itself where that was sent.
func SentRef(s *storage.Store, x Sent) (storage.Ref, error) {
	b, ok, err := s.Get(sentKey(x.Destination, x.Mark))
	if err != nil {
		return storage.Ref{}, err
	}
	if !ok {
		return storage.ParseRef(x.Mark)
	}
	return storage.ParseRef(string(b))
}

// EntryKeys are all keys of the store that belong to a journal entry, in or
// out, and to no other: retention removes them together with it, once nothing of
// it waits in a queue. For a received entry these are the index, its fate, the
// notes by which a repeat is recognised (a repeat after that is a new message)
// and what is noted of its deliveries; for a rendered message, where it is found
// by its control ID.
//
// The keys "delivered/…" and "sent/…" of a rendered message are listed for the
// message and not for the entry that it was made of: the two may go at different
// times.
func EntryKeys(s *storage.Store, ref storage.Ref, e intake.Entry) ([]string, error) {
	keys, err := intake.EntryKeys(s, ref, e)
	if err != nil {
		return nil, err
	}
	if e.Fate == intake.Sent {
		mark := Mark(e)
		return append(keys, sentKey(e.Connection, mark), delivery.DeliveredKey(e.Connection, mark)), nil
	}
	keys = append(keys, DiscardedKey(ref))
	f, ok, err := ReadFate(s, ref)
	if err != nil || !ok {
		return keys, err
	}
	for _, name := range f.Index {
		keys = append(keys, intake.IndexKeys(name)+ref.String())
	}
	for _, x := range f.Sent {
		if x.Mark == ref.String() {
			keys = append(keys, delivery.DeliveredKey(x.Destination, x.Mark), CommittedKey(x.Destination, x.Mark))
		}
	}
	return append(keys, fateKey(ref)), nil
}
