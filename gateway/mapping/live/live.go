// Package live keeps the maps of the links in the store, with their versions.
package live

import (
	"nhip/gateway/mapping"
	"nhip/gateway/versions"
	"nhip/storage"
)

// A Link is what has a map: messages from an [[hl7_peer]], or to a [[destination]].
type Link = string

// From and To name the links.
func From(peer string) Link      { return "from/" + peer }
func To(destination string) Link { return "to/" + destination }

// A Version is one map of a link.
type Version = versions.Version

// A Map is what is live on a link.
type Map struct {
	*mapping.Map
	Version int
	Name    string // of the version
	// Broken says why what is stored cannot be used; nothing is sent until it can.
	Broken error
}

// Errors that are told to a person.
var (
	ErrNoMap   = versions.ErrNone
	ErrVersion = versions.ErrVersion
)

// Maps keeps the maps of all links. It may be used from several goroutines.
type Maps struct {
	*versions.Keeper[*mapping.Map]
}

// Open reads what is live on the links. parse reads and checks the text of a map.
func Open(s *storage.Store, parse func([]byte) (*mapping.Map, error), links []Link) (*Maps, error) {
	k, err := versions.Open(s, versions.Words{Keys: "map", Name: "map"}, func(_ string, text []byte) (*mapping.Map, error) { return parse(text) }, links)
	return &Maps{k}, err
}

// Live is the map of a link; nil: it has none.
func (m *Maps) Live(l Link) *Map {
	if m == nil {
		return nil
	}
	v := m.Keeper.Live(l)
	if v == nil {
		return nil
	}
	return &Map{Map: v.Value, Version: v.Version, Name: v.Name, Broken: v.Broken}
}
