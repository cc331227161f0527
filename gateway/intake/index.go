package intake

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"nhip/hl7"
	"nhip/storage"
)

// An Identifier is a kind of identifier that journal entries are found by.
type Identifier string

// The identifiers of the index.
const (
	Specimen  Identifier = "specimen"
	Patient   Identifier = "patient"
	Accession Identifier = "accession"
	Order     Identifier = "order" // placer or filler order number
	Study     Identifier = "study" // Study Instance UID
)

// AttrPatient is the Patient ID (0010,0020) of a DICOM Entry, beside the other
// attributes.
const AttrPatient = "patient"

// IndexName names an identifier in the index: its kind and the hash of its
// value, so that no key holds an identifier of a patient. The value is taken
// exactly, but for blanks around it.
func IndexName(kind Identifier, value string) string {
	sum := sha256.Sum256([]byte(strings.TrimSpace(value)))
	return string(kind) + "/" + hex.EncodeToString(sum[:12])
}

// IndexKeys is the prefix of the index keys under a name. The rest of such a key
// is the reference of the journal entry, or the key has the reference as its
// value.
func IndexKeys(name string) string { return "by-" + name + "/" }

// Identifiers are the names that the attributes of a DICOM Entry are found
// under.
func (e Entry) Identifiers() []string {
	var names []string
	for kind, attr := range map[Identifier]string{Patient: AttrPatient, Accession: AttrAccession, Study: AttrStudy} {
		if v := strings.TrimSpace(e.Attrs[attr]); v != "" {
			names = append(names, IndexName(kind, v))
		}
	}
	return names
}

// conflictKeys are the index keys of an object that is held from the start. Its
// reference is not known when they are made: it is their value.
func (e Entry) conflictKeys() []string {
	keys := e.Identifiers()
	for i, name := range keys {
		keys[i] = fmt.Sprintf("%s%s-%d", IndexKeys(name), e.SHA256[:16], e.At.UnixNano())
	}
	return keys
}

// ClockKeys is the prefix of the keys that note where the clock had gone back in
// a channel: the value is the reference of the first entry after it. Between two
// such entries the times of a channel rise, but for the moment that entries of
// several connections wait for their commit.
func ClockKeys(channel string) string { return "clock-back/" + channel + "/" }

// clockStep is how far the clock must have gone back to be noted.
const clockStep = time.Second

func clockKey(channel string, at time.Time) string {
	return fmt.Sprintf("%s%020d", ClockKeys(channel), at.UnixNano())
}

// Clock takes the time of the next entry of a channel and reports whether the
// clock has gone back since the last one.
func (in *Intake) Clock(channel string, at time.Time) (back bool, err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	last, known := in.clock[channel]
	if !known {
		err := in.store.Range(channel, 0, 1, true, func(_ storage.Ref, b []byte) bool {
			if e, err := DecodeEntry(b); err == nil {
				last = e.At
			}
			return true
		})
		var damaged *storage.DamagedError
		if err != nil && !errors.As(err, &damaged) {
			return false, err
		}
	}
	if back = at.Round(0).Before(last.Add(-clockStep)); back || at.Round(0).After(last) {
		last = at.Round(0)
	}
	in.clock[channel] = last
	return back, nil
}

// Journal appends an entry to a channel, with the note of a clock that went back.
func Journal(b *storage.Batch, channel string, e Entry) storage.Entry {
	j := b.Append(channel, e.Encode())
	if e.ClockBack {
		b.PutRef(clockKey(channel, e.At), j)
	}
	return j
}

// EntryKeys are the keys in the store that are there because of this entry
// alone, and may be removed together with it: the index, the notes by which a
// repeat is recognised, the note of the clock. What interpretation added is
// listed by interpret.EntryKeys, which calls this.
func EntryKeys(s *storage.Store, ref storage.Ref, e Entry) ([]string, error) {
	var keys []string
	if e.ClockBack {
		keys = append(keys, clockKey(ref.Channel, e.At))
	}
	if e.Fate == Conflict {
		return append(keys, e.conflictKeys()...), nil
	}
	if e.Fate != Received || !strings.HasPrefix(ref.Channel, Channel("")) {
		return keys, nil
	}
	switch e.Kind {
	case KindASTM, KindText:
		sum := e.SHA256[:32]
		ours, err := refersTo(s, seenKey(e.Connection, sum), ref)
		if err != nil || !ours {
			return keys, err
		}
		return append(keys, seenKey(e.Connection, sum), openKey(e.Connection, sum)), nil
	case KindDICOM:
		key := instanceKey(e.Attrs[AttrSOPInstance])
		ours, err := refersTo(s, key, ref)
		if err != nil || !ours {
			return keys, err
		}
		return append(keys, key), nil
	case KindStep:
		of, err := stepKeysOf(s, ref, e.Attrs[AttrSOPInstance])
		return append(keys, of...), err
	case KindHL7:
		body, err := Body(s, e)
		if err != nil {
			return nil, err
		}
		m, err := hl7.Parse(body)
		if m == nil {
			return nil, err
		}
		return append(keys, answerKey(e.Connection, digest([]byte(m.ControlID()), body))), nil
	}
	return keys, nil
}

func refersTo(s *storage.Store, key string, ref storage.Ref) (bool, error) {
	v, ok, err := s.Get(key)
	return ok && string(v) == ref.String(), err
}

// StepKey is the key of a performed procedure step, by its SOP Instance UID.
func StepKey(sopInstance string) string { return "step/" + digest([]byte(sopInstance)) }

// StepPartKey is the key of the reference of a part of a step: its N-CREATE is 0,
// and its N-SETs follow.
func StepPartKey(sopInstance string, n int) string {
	return fmt.Sprintf("%s/%d", StepKey(sopInstance), n)
}

// stepKeysOf are the keys that are there because of one part of a step. A step goes
// with its beginning.
func stepKeysOf(s *storage.Store, ref storage.Ref, sopInstance string) ([]string, error) {
	parts, err := s.Keys(StepKey(sopInstance)+"/", MostStepParts)
	if err != nil {
		return nil, err
	}
	for _, key := range parts {
		ours, err := refersTo(s, key, ref)
		if err != nil {
			return nil, err
		}
		if ours && key == StepPartKey(sopInstance, 0) {
			return []string{key, StepKey(sopInstance)}, nil
		}
		if ours {
			return []string{key}, nil
		}
	}
	return nil, nil
}

// MostStepParts is how many parts a step has at most: its N-CREATE and its N-SETs.
// Modalities send two or a few.
const MostStepParts = 1000

// CommitmentKeys is the prefix of the keys of the requests for storage commitment.
const CommitmentKeys = "commitment/"

// CommitmentKey is the key of a request of a connection, by its transaction UID.
func CommitmentKey(connection, transaction string) string {
	return CommitmentKeys + digest([]byte(connection), []byte(transaction))
}

// CommitmentEntryKey is the key of the reference of the request's journal entry.
func CommitmentEntryKey(key string) string { return "commitment-entry/" + key[len(CommitmentKeys):] }
