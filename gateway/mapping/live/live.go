// Package live keeps the maps of the links in the store: every version that was ever
// live, by whom and when, and which one is. A version never changes; what goes live
// again is a new one. The configuration's file is taken in when it has changed since
// it was read last, so that a map that a person made live stays until then.
package live

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"nhip/gateway/control"
	"nhip/gateway/mapping"
	"nhip/storage"
)

// A Version is one map of a link.
type Version struct {
	Number int       `json:"n"`
	Name   string    `json:"name"` // that a person, or the configuration, gave it
	At     time.Time `json:"at"`
	User   string    `json:"user"`
	By     string    `json:"by,omitempty"`
	Why    string    `json:"why,omitempty"`
	Before int       `json:"before,omitempty"` // the version that was live before; 0: no map
	SHA256 string    `json:"sha256,omitempty"` // of the text
	None   bool      `json:"none,omitempty"`   // from here on the link has no map
	Packed []byte    `json:"text,omitempty"`   // compressed
}

// state is which version of a link is live.
type state struct {
	Format int    `json:"v"`
	Live   int    `json:"live"`           // 0: no map
	Last   int    `json:"last"`           // the newest version
	File   string `json:"file,omitempty"` // hash of the configuration's file when it was read last
}

const format = 1

// A Link is what has a map: messages from an [[hl7_peer]], or to a [[destination]].
type Link string

// From and To name the links.
func From(peer string) Link      { return Link("from/" + peer) }
func To(destination string) Link { return Link("to/" + destination) }

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
	ErrNoMap   = errors.New("the link has no map")
	ErrVersion = errors.New("there is no such version")
)

// A Maps keeps the maps of all links. It may be used from several goroutines.
type Maps struct {
	store *storage.Store
	parse func(text []byte) (*mapping.Map, error)

	change sync.Mutex // one change at a time
	mu     sync.RWMutex
	links  map[Link]entry
}

type entry struct {
	state state
	live  *Map // nil: no map
}

// Open reads what is live on the links. parse reads and checks the text of a map.
func Open(s *storage.Store, parse func([]byte) (*mapping.Map, error), links []Link) (*Maps, error) {
	m := &Maps{store: s, parse: parse, links: map[Link]entry{}}
	for _, l := range links {
		e, err := m.read(l)
		if err != nil {
			return nil, err
		}
		m.links[l] = e
	}
	return m, nil
}

func stateKey(l Link) string          { return "map/" + string(l) }
func versionKey(l Link, n int) string { return fmt.Sprintf("map-version/%s/%08d", l, n) }

func (m *Maps) read(l Link) (entry, error) {
	b, ok, err := m.store.Get(stateKey(l))
	if err != nil || !ok {
		return entry{state: state{Format: format}}, err
	}
	var s state
	if err := json.Unmarshal(b, &s); err != nil {
		return entry{}, fmt.Errorf("mapping: %s: %w", l, err)
	}
	if s.Format != format {
		return entry{}, fmt.Errorf("mapping: %s: format %d, which this version does not know", l, s.Format)
	}
	if s.Live == 0 {
		return entry{state: s}, nil
	}
	v, err := m.Version(l, s.Live)
	if err != nil {
		return entry{state: s, live: &Map{Version: s.Live, Broken: err}}, nil
	}
	return entry{state: s, live: m.compile(v)}, nil
}

// compile makes a version usable. A text that was good once may be wrong for a newer
// program: then nothing is sent without it, and it is said.
func (m *Maps) compile(v Version) *Map {
	if v.None {
		return nil
	}
	text, err := v.Text()
	if err != nil {
		return &Map{Version: v.Number, Name: v.Name, Broken: err}
	}
	compiled, err := m.parse(text)
	return &Map{Map: compiled, Version: v.Number, Name: v.Name, Broken: err}
}

// Live is the map of a link; nil: it has none.
func (m *Maps) Live(l Link) *Map {
	if m == nil {
		return nil
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.links[l].live
}

// Knows says whether a link is one of those that were opened.
func (m *Maps) Knows(l Link) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	_, ok := m.links[l]
	return ok
}

// Configure takes in the map that the configuration names for a link, nil for none,
// where it is another than the last time. name is that of the file.
func (m *Maps) Configure(ctx context.Context, l Link, name string, text []byte, now time.Time) error {
	m.change.Lock()
	defer m.change.Unlock()
	e := m.entry(l)
	file := ""
	if text != nil {
		file = hash(text)
	}
	if e.state.File == file {
		return nil
	}
	next := e.state
	next.File = file
	if live, err := m.text(l, e.state.Live); err == nil && file != "" && bytes.Equal(live, text) {
		return m.put(ctx, l, next, nil, e.live) // a person made the same live
	}
	v := Version{Name: name, None: text == nil, SHA256: file}
	return m.goLive(ctx, control.Policy, l, next, v, text, now)
}

// Activate makes a map live under a name.
func (m *Maps) Activate(ctx context.Context, who control.Actor, l Link, name, why string, text []byte, now time.Time) (Version, error) {
	m.change.Lock()
	defer m.change.Unlock()
	next := m.entry(l).state
	v := Version{Name: name, Why: why, SHA256: hash(text)}
	if err := m.goLive(ctx, who, l, next, v, text, now); err != nil {
		return Version{}, err
	}
	return m.Version(l, next.Last+1)
}

// Undo makes the version live again that was live before the one that is. The
// number of the Version is 0 where the link has no map then.
func (m *Maps) Undo(ctx context.Context, who control.Actor, l Link, why string, now time.Time) (Version, error) {
	m.change.Lock()
	defer m.change.Unlock()
	e := m.entry(l)
	if e.state.Live == 0 {
		return Version{}, ErrNoMap
	}
	undone, err := m.Version(l, e.state.Live)
	if err != nil {
		return Version{}, err
	}
	next := e.state
	next.Live = undone.Before
	var again Version
	var live *Map
	if next.Live > 0 {
		if again, err = m.Version(l, next.Live); err != nil {
			return Version{}, err
		}
		if live = m.compile(again); live != nil && live.Broken != nil {
			return Version{}, live.Broken
		}
	}
	a := control.Of(who, "undo map", fmt.Sprintf("%s version %d %s", l, undone.Number, undone.Name), why, now)
	return again, m.put(ctx, l, next, &a, live)
}

// goLive stores a version and makes it live.
func (m *Maps) goLive(ctx context.Context, who control.Actor, l Link, next state, v Version, text []byte, now time.Time) error {
	v.Number, v.Before, v.At, v.User, v.By = next.Last+1, next.Live, now.UTC(), who.User, who.By
	var live *Map
	if !v.None {
		compiled, err := m.parse(text)
		if err != nil {
			return err
		}
		live = &Map{Map: compiled, Version: v.Number, Name: v.Name}
		if v.Packed, err = pack(text); err != nil {
			return err
		}
	}
	next.Last, next.Live = v.Number, v.Number
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	a := control.Of(who, "activate map", fmt.Sprintf("%s version %d %s", l, v.Number, v.Name), v.Why, now)
	return m.put(ctx, l, next, &a, live, put{versionKey(l, v.Number), b})
}

type put struct {
	key   string
	value []byte
}

// put commits a change of a link, and only then is it live.
func (m *Maps) put(ctx context.Context, l Link, next state, a *control.Audit, live *Map, more ...put) error {
	b := new(storage.Batch)
	s, err := json.Marshal(next)
	if err != nil {
		return err
	}
	b.Put(stateKey(l), s)
	for _, p := range more {
		b.Put(p.key, p.value)
	}
	if a != nil {
		a.Write(b)
	}
	if _, err := m.store.Commit(ctx, b); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.links[l] = entry{next, live}
	return nil
}

func (m *Maps) entry(l Link) entry {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.links[l]
}

// Version reads one version of a link.
func (m *Maps) Version(l Link, n int) (Version, error) {
	b, ok, err := m.store.Get(versionKey(l, n))
	if err != nil {
		return Version{}, err
	}
	if !ok {
		return Version{}, ErrVersion
	}
	var v Version
	if err := json.Unmarshal(b, &v); err != nil {
		return Version{}, fmt.Errorf("mapping: %s, version %d: %w", l, n, err)
	}
	return v, nil
}

// History are the versions of a link, the newest first, and the number of the one
// that is live.
func (m *Maps) History(l Link) (versions []Version, live int, err error) {
	s := m.entry(l).state
	for n := s.Last; n > 0; n-- {
		v, err := m.Version(l, n)
		if err != nil {
			return nil, 0, err
		}
		versions = append(versions, v)
	}
	return versions, s.Live, nil
}

func (m *Maps) text(l Link, n int) ([]byte, error) {
	v, err := m.Version(l, n)
	if err != nil {
		return nil, err
	}
	return v.Text()
}

// Text is the map as it was written.
func (v Version) Text() ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(v.Packed))
	if err != nil {
		return nil, fmt.Errorf("mapping: version %d: %w", v.Number, err)
	}
	text, err := io.ReadAll(io.LimitReader(z, mapping.MaxSize+1))
	if err == nil && hash(text) != v.SHA256 {
		err = errors.New("its SHA-256 is not the stored one")
	}
	if err != nil {
		return nil, fmt.Errorf("mapping: version %d: %w", v.Number, err)
	}
	return text, nil
}

func pack(text []byte) ([]byte, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(text); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func hash(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}
