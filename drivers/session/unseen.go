package session

import "crypto/sha256"

// An Unseen is what a protocol without an end of session knows of its last
// acknowledgement: it may have been lost, and the message may come again, until
// another message comes.
type Unseen struct {
	stored bool
	sum    [sha256.Size]byte
}

// Before is called before messages are stored. It gives Ended where they show that
// the device has gone on after what was stored before.
func (u *Unseen) Before(messages ...[]byte) []Action {
	ended := u.stored && sha256.Sum256(messages[0]) != u.sum
	u.stored, u.sum = true, sha256.Sum256(messages[len(messages)-1])
	if ended {
		return []Action{Ended{}}
	}
	return nil
}

// Forget: nothing is in doubt any more.
func (u *Unseen) Forget() { *u = Unseen{} }
