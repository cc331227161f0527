package intake

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// For names one part of what an entry becomes: the nth of its messages for a
// destination, from 0, or the nth report of an analyser in it, from 1. Its zero value
// is all of the entry.
type For struct {
	Destination string `json:"to,omitempty"`
	Part        int    `json:"part,omitempty"`
	Report      int    `json:"report,omitempty"`
	// Order is the number of the order that a person says the report is of.
	Order string `json:"order,omitempty"`
	// Older: a person lets the report go on though a newer one has gone out.
	Older bool `json:"older,omitempty"`
}

// Again is the value of an item in Interpret for a part of an entry that was
// interpreted before, and held by itself.
func (f For) Again() []byte {
	switch {
	case f == (For{}):
		return Again
	case f.Report == 0:
		return fmt.Appendf(nil, "%s/%s/%d", Again, f.Destination, f.Part)
	}
	b := fmt.Appendf(nil, "%s/%s/%d/%d/%s", Again, f.Destination, f.Part, f.Report, url.PathEscape(f.Order))
	if f.Older {
		b = append(b, older...)
	}
	return b
}

// older ends the value of an item of a report that is known to be older.
const older = "/older"

// AgainFor reads what For.Again wrote. ok is false for all other values.
func AgainFor(value []byte) (f For, ok bool) {
	rest, ok := strings.CutPrefix(string(value), string(Again)+"/")
	if !ok {
		return For{}, false
	}
	rest, f.Older = strings.CutSuffix(rest, older)
	all := strings.Split(rest, "/")
	if len(all) != 4 && (len(all) != 2 || f.Older) {
		return For{}, false
	}
	f.Destination = all[0]
	var err error
	if f.Part, err = strconv.Atoi(all[1]); err != nil {
		return For{}, false
	}
	if len(all) == 2 {
		return f, f.Destination != ""
	}
	if f.Report, err = strconv.Atoi(all[2]); err != nil || f.Report < 1 {
		return For{}, false
	}
	f.Order, err = url.PathUnescape(all[3])
	return f, err == nil
}
