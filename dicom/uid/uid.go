// Package uid is the registry of DICOM unique identifiers, PS3.6 annex A: what
// a UID names, which transfer syntaxes and which storage SOP classes there are,
// the retired ones among them.
package uid

import (
	"sort"
	"strings"
)

// A Kind is what a UID names, PS3.6 table A-1 column "UID Type".
type Kind uint8

const (
	Other Kind = iota
	SOPClass
	MetaSOPClass
	TransferSyntax
	ApplicationContextName
	ServiceClass
	WellKnownSOPInstance
	FrameOfReference
	CodingScheme
)

// An Entry is one row of the registry.
type Entry struct {
	UID, Name, Keyword string
	Kind               Kind
	Retired            bool
	Storage            bool // a SOP class that a C-STORE may carry
}

// Lookup returns the registry's row for a UID.
func Lookup(uid string) (Entry, bool) {
	i := sort.Search(len(registry), func(i int) bool { return registry[i].UID >= uid })
	if i == len(registry) || registry[i].UID != uid {
		return Entry{}, false
	}
	return registry[i], true
}

// Name returns the name of a UID, or the UID itself where the registry has none.
func Name(uid string) string {
	if e, ok := Lookup(uid); ok && e.Name != "" {
		return e.Name
	}
	return uid
}

// IsTransferSyntax reports whether PS3.6 registers the UID as a transfer syntax.
func IsTransferSyntax(uid string) bool {
	e, _ := Lookup(uid)
	return e.Kind == TransferSyntax
}

// IsStorageClass reports whether PS3.6 registers the UID as a storage SOP class.
func IsStorageClass(uid string) bool {
	e, _ := Lookup(uid)
	return e.Storage
}

// StorageClasses returns all storage SOP classes, retired ones included, by UID.
func StorageClasses() []string {
	return list(func(e Entry) bool { return e.Storage })
}

// TransferSyntaxes returns all transfer syntaxes, retired ones included, by UID.
func TransferSyntaxes() []string {
	return list(func(e Entry) bool { return e.Kind == TransferSyntax })
}

// SOPClasses returns all SOP classes and Meta SOP classes, retired ones and those of
// storage included, by UID.
func SOPClasses() []string {
	return list(func(e Entry) bool { return e.Kind == SOPClass || e.Kind == MetaSOPClass })
}

func list(want func(Entry) bool) []string {
	var uids []string
	for _, e := range registry {
		if want(e) {
			uids = append(uids, e.UID)
		}
	}
	return uids
}

// Valid reports whether s is a UID by PS3.5 section 9.1: 1 to 64 characters,
// components of digits without leading zeros.
func Valid(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for part := range strings.SplitSeq(s, ".") {
		if part == "" || len(part) > 1 && part[0] == '0' || strings.Trim(part, "0123456789") != "" {
			return false
		}
	}
	return true
}
