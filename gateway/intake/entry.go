// Package intake stores before anything is acknowledged: what came, byte for
// byte, as a journal entry, and an item in the queue "interpret", in one
// commit. When a function of this package returns nil the peer may be
// answered, and not before.
package intake

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"nhip/gateway/reason"
	"nhip/storage/spool"
)

// A Kind is what an Entry holds.
type Kind string

// The kinds of entries.
const (
	KindASTM        Kind = "astm"        // record bytes of one message, LIS02
	KindText        Kind = "text"        // one message of an analyser that speaks neither LIS02 nor HL7
	KindHL7         Kind = "hl7"         // one message, as framed
	KindDICOM       Kind = "dicom"       // one SOP instance; the bytes are in the spool
	KindObservation Kind = "observation" // one line of a serial monitor
	KindMQTT        Kind = "mqtt"        // one record-class publish
	KindStep        Kind = "step"        // the data set of an N-CREATE or N-SET of a performed procedure step
	KindCommitment  Kind = "commitment"  // a request for storage commitment: its references as JSON
	KindNotice      Kind = "notice"      // the data set of an instance availability notification, outgoing
)

// A Fate is what is known of an Entry when it is written.
type Fate string

// The fates of an Entry on receipt.
const (
	Received   Fate = "received"
	Incomplete Fate = "incomplete" // the session broke before the message was whole
	Repeat     Fate = "repeat"     // the same again after a broken session: not delivered again
	Conflict   Fate = "conflict"   // other bytes under a SOP Instance UID that we have
	Unusable   Fate = "unusable"   // held from the start, with the reason in Why
	Sent       Fate = "sent"       // an outgoing message
)

// An Entry is the journal entry of one message or object, in or out. Its
// header is JSON; the bytes follow it unchanged, or are in the spool.
type Entry struct {
	Kind       Kind              `json:"kind"`
	Fate       Fate              `json:"fate"`
	Connection string            `json:"conn"`
	Peer       string            `json:"peer,omitempty"`
	At         time.Time         `json:"at"`
	SHA256     string            `json:"sha256"`
	Length     int64             `json:"len"`
	Resend     bool              `json:"resend,omitempty"` // the device sent the same message before, in an earlier session
	Why        reason.Reason     `json:"why,omitzero"`     // why it is held
	ClockBack  bool              `json:"back,omitempty"`   // our clock had gone back since the entry before
	Attrs      map[string]string `json:"attrs,omitempty"`  // control ID, UIDs …
	Spool      *spool.Ref        `json:"spool,omitempty"`
	Body       []byte            `json:"-"`
}

// Seal fills in what follows from the body.
func (e *Entry) Seal() {
	sum := sha256.Sum256(e.Body)
	e.SHA256, e.Length = hex.EncodeToString(sum[:]), int64(len(e.Body))
}

// Encode is the stored form: the length of the header in four bytes, the
// header, the body.
func (e Entry) Encode() []byte {
	b := make([]byte, 4, 512+len(e.Body))
	b = e.appendHeader(b)
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	return append(b, e.Body...)
}

// appendHeader is json.Marshal of the Entry; of the usual one in an eighth of the
// time.
func (e Entry) appendHeader(b []byte) []byte {
	if !e.Why.IsZero() || e.Spool != nil || e.Resend || e.ClockBack || e.At.Location() != time.UTC {
		h, err := json.Marshal(e)
		if err != nil {
			panic(err) // no value of this struct fails to marshal
		}
		return append(b, h...)
	}
	b = appendString(append(b, `{"kind":`...), string(e.Kind))
	b = appendString(append(b, `,"fate":`...), string(e.Fate))
	b = appendString(append(b, `,"conn":`...), e.Connection)
	if e.Peer != "" {
		b = appendString(append(b, `,"peer":`...), e.Peer)
	}
	b = e.At.AppendFormat(append(b, `,"at":"`...), time.RFC3339Nano)
	b = appendString(append(b, `","sha256":`...), e.SHA256)
	b = strconv.AppendInt(append(b, `,"len":`...), e.Length, 10)
	if len(e.Attrs) > 0 {
		b = append(b, `,"attrs":`...)
		for i, k := range slices.Sorted(maps.Keys(e.Attrs)) {
			b = append(b, "{,"[min(i, 1)])
			b = appendString(append(appendString(b, k), ':'), e.Attrs[k])
		}
		b = append(b, '}')
	}
	return append(b, '}')
}

// appendString is a JSON string.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			q, _ := json.Marshal(s) // no string fails
			return append(b, q...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

// DecodeEntry reads what Encode wrote.
func DecodeEntry(b []byte) (Entry, error) {
	if len(b) < 4 {
		return Entry{}, fmt.Errorf("intake: journal entry of %d bytes", len(b))
	}
	n := binary.BigEndian.Uint32(b)
	if uint64(n) > uint64(len(b)-4) {
		return Entry{}, fmt.Errorf("intake: journal entry: header of %d bytes in %d", n, len(b)-4)
	}
	var e Entry
	if err := json.Unmarshal(b[4:4+n], &e); err != nil {
		return Entry{}, fmt.Errorf("intake: journal entry: %w", err)
	}
	e.Body = b[4+n:]
	return e, nil
}
