package intake

import (
	"fmt"
	"strconv"
	"strings"
)

// For names one part of what an entry becomes: the nth of its messages for a
// destination, from 0. Its zero value is all of the entry.
type For struct {
	Destination string `json:"to,omitempty"`
	Part        int    `json:"part,omitempty"`
}

// Again is the value of an item in Interpret for a part of an entry that was
// interpreted before, and held by itself.
func (f For) Again() []byte {
	if f == (For{}) {
		return Again
	}
	return fmt.Appendf(nil, "%s/%s/%d", Again, f.Destination, f.Part)
}

// AgainFor reads what For.Again wrote. ok is false for all other values.
func AgainFor(value []byte) (f For, ok bool) {
	rest, ok := strings.CutPrefix(string(value), string(Again)+"/")
	if !ok {
		return For{}, false
	}
	name, number, ok := strings.Cut(rest, "/")
	n, err := strconv.Atoi(number)
	return For{name, n}, ok && err == nil && name != ""
}
