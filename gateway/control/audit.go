package control

import (
	"encoding/json"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"time"

	"nhip/storage"
)

// AuditChannel is the journal channel of what people did.
const AuditChannel = "audit"

// An Audit is one act in the journal: who, when, what, why. The gateway's own acts
// by policy (User "policy") stand there too.
type Audit struct {
	At    time.Time `json:"at"`
	User  string    `json:"user"`
	By    string    `json:"by,omitempty"`
	Via   string    `json:"via"`
	Act   string    `json:"act"`             // "discard"
	What  string    `json:"what"`            // "to/lis/17 NHIP00010000001"
	Why   string    `json:"why,omitempty"`   // in the person's words
	About string    `json:"about,omitempty"` // the journal entry that it is about
}

// Policy is the Actor of what the configuration has done.
var Policy = Actor{User: "policy", Via: "gateway"}

// Write adds the act to the batch that carries it out.
func (a Audit) Write(b *storage.Batch) storage.Entry {
	v, err := json.Marshal(a)
	if err != nil {
		panic(err) // no value of this struct fails to marshal
	}
	return b.Append(AuditChannel, v)
}

// Of makes the Audit of an act by who.
func Of(who Actor, act, what, why string, now time.Time) Audit {
	return Audit{At: now.UTC(), User: who.User, By: who.By, Via: who.Via, Act: act, What: what, Why: why}
}

// DecodeAudit reads what Write wrote.
func DecodeAudit(b []byte) (Audit, error) {
	var a Audit
	if err := json.Unmarshal(b, &a); err != nil {
		return a, fmt.Errorf("control: audit: %w", err)
	}
	return a, nil
}

// Self is the Actor of a command line that opens the store itself.
func Self(by string) Actor { return Actor{User: userName(os.Getuid()), By: by, Via: ViaStore} }

func userName(uid int) string {
	id := strconv.Itoa(uid)
	u, err := user.LookupId(id)
	if err != nil {
		return "uid " + id
	}
	return u.Username
}
