package intake

import (
	"fmt"
	"net/url"
	"slices"
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
	// What a person lets the report go on in spite of.
	Older     bool `json:"older,omitempty"`     // a newer one has gone out
	Unmatched bool `json:"unmatched,omitempty"` // no order that it answers
	Codes     bool `json:"codes,omitempty"`     // codes, units or values that the site's table does not have
}

// A spite is one of the flags of a For in the value of an item.
type spite struct {
	word string
	flag func(*For) *bool
}

var spites = []spite{
	{"unmatched", func(f *For) *bool { return &f.Unmatched }},
	{"codes", func(f *For) *bool { return &f.Codes }},
	{"older", func(f *For) *bool { return &f.Older }},
}

// Again is the value of an item in Interpret for a part of an entry that was
// interpreted before, and held by itself.
func (f For) Again() []byte {
	switch {
	case f == (For{}):
		return Again
	case f == For{Destination: f.Destination, Part: f.Part}:
		return fmt.Appendf(nil, "%s/%s/%d", Again, f.Destination, f.Part)
	}
	b := fmt.Appendf(nil, "%s/%s/%d/%d/%s", Again, f.Destination, f.Part, f.Report, url.PathEscape(f.Order))
	for _, x := range spites {
		if *x.flag(&f) {
			b = append(b, "/"+x.word...)
		}
	}
	return b
}

// AgainFor reads what For.Again wrote. ok is false for all other values.
func AgainFor(value []byte) (f For, ok bool) {
	rest, ok := strings.CutPrefix(string(value), string(Again)+"/")
	if !ok {
		return For{}, false
	}
	all := strings.Split(rest, "/")
	if len(all) != 2 && len(all) < 4 {
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
	if f.Report, err = strconv.Atoi(all[2]); err != nil || f.Report < 0 || f.Report == 0 && f.Destination == "" {
		return For{}, false
	}
	for _, word := range all[4:] {
		i := slices.IndexFunc(spites, func(x spite) bool { return x.word == word })
		if i < 0 {
			return For{}, false
		}
		*spites[i].flag(&f) = true
	}
	f.Order, err = url.PathUnescape(all[3])
	return f, err == nil
}
