// Package versions keeps texts that decide what becomes of messages in the store: maps
// of fields, tables of codes. It has every version that was ever live, by whom and when,
// and which one is. A version never changes; what goes live again is a new one. The
// configuration's file is taken in when it has changed since it was read last, so that
// what a person made live stays until then.
package versions

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
	"nhip/storage"
)

// MaxSize bounds a text, in bytes.
const MaxSize = 1 << 20

// A Version is one text under a name, such as a link's.
type Version struct {
	Number int       `json:"n"`
	Name   string    `json:"name"` // that a person, or the configuration, gave it
	At     time.Time `json:"at"`
	User   string    `json:"user"`
	By     string    `json:"by,omitempty"`
	Why    string    `json:"why,omitempty"`
	Before int       `json:"before,omitempty"` // the version that was live before; 0: none
	SHA256 string    `json:"sha256,omitempty"` // of the text
	None   bool      `json:"none,omitempty"`   // from here on there is none
	Packed []byte    `json:"text,omitempty"`   // compressed
}

// state is which version of a name is live.
type state struct {
	Format int    `json:"v"`
	Live   int    `json:"live"`           // 0: none
	Last   int    `json:"last"`           // the newest version
	File   string `json:"file,omitempty"` // hash of the configuration's file when it was read last
}

const format = 1

// A Live is what is live under a name, made usable.
type Live[T any] struct {
	Value   T
	Version int
	Name    string // of the version
	// Broken says why what is stored cannot be used; nothing is sent until it can.
	Broken error
}

// Errors that are told to a person.
var (
	ErrNone    = errors.New("there is none")
	ErrVersion = errors.New("there is no such version")
)

// Words are how the texts of a Keeper are called.
type Words struct {
	Keys string // what the keys in the store begin with: "map"
	Name string // in the audit journal: "map"
}

// A Keeper keeps the versions of one kind of text, by name. It may be used from several
// goroutines.
type Keeper[T any] struct {
	store *storage.Store
	words Words
	parse func(name string, text []byte) (T, error)

	change sync.Mutex // one change at a time
	mu     sync.RWMutex
	names  map[string]entry[T]
}

type entry[T any] struct {
	state state
	live  *Live[T] // nil: there is none
}

// Open reads what is live under the names. parse reads and checks a text.
func Open[T any](s *storage.Store, words Words, parse func(name string, text []byte) (T, error), names []string) (*Keeper[T], error) {
	m := &Keeper[T]{store: s, words: words, parse: parse, names: map[string]entry[T]{}}
	for _, l := range names {
		e, err := m.read(l)
		if err != nil {
			return nil, err
		}
		m.names[l] = e
	}
	return m, nil
}

func (m *Keeper[T]) stateKey(l string) string { return m.words.Keys + "/" + l }
func (m *Keeper[T]) versionKey(l string, n int) string {
	return fmt.Sprintf("%s-version/%s/%08d", m.words.Keys, l, n)
}

func (m *Keeper[T]) read(l string) (entry[T], error) {
	b, ok, err := m.store.Get(m.stateKey(l))
	if err != nil || !ok {
		return entry[T]{state: state{Format: format}}, err
	}
	var s state
	if err := json.Unmarshal(b, &s); err != nil {
		return entry[T]{}, fmt.Errorf("versions: %s: %w", l, err)
	}
	if s.Format != format {
		return entry[T]{}, fmt.Errorf("versions: %s: format %d, which this version does not know", l, s.Format)
	}
	if s.Live == 0 {
		return entry[T]{state: s}, nil
	}
	v, err := m.Version(l, s.Live)
	if err != nil {
		return entry[T]{state: s, live: &Live[T]{Version: s.Live, Broken: err}}, nil
	}
	return entry[T]{state: s, live: m.compile(l, v)}, nil
}

// compile makes a version usable. A text that was good once may be wrong for a newer
// program: then nothing is sent without it, and it is said.
func (m *Keeper[T]) compile(l string, v Version) *Live[T] {
	if v.None {
		return nil
	}
	text, err := v.Text()
	if err != nil {
		return &Live[T]{Version: v.Number, Name: v.Name, Broken: err}
	}
	compiled, err := m.parse(l, text)
	return &Live[T]{Value: compiled, Version: v.Number, Name: v.Name, Broken: err}
}

// Live is what is live under a name; nil: nothing.
func (m *Keeper[T]) Live(l string) *Live[T] {
	if m == nil {
		return nil
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.names[l].live
}

// Knows says whether a name is one of those that were opened.
func (m *Keeper[T]) Knows(l string) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	_, ok := m.names[l]
	return ok
}

// Configure takes in the text that the configuration names, nil for none,
// where it is another than the last time. name is that of the file.
func (m *Keeper[T]) Configure(ctx context.Context, l string, name string, text []byte, now time.Time) error {
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

// Activate makes a text live, as a version with a name.
func (m *Keeper[T]) Activate(ctx context.Context, who control.Actor, l string, name, why string, text []byte, now time.Time) (Version, error) {
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
// number of the Version is 0 where there is none then.
func (m *Keeper[T]) Undo(ctx context.Context, who control.Actor, l string, why string, now time.Time) (Version, error) {
	m.change.Lock()
	defer m.change.Unlock()
	e := m.entry(l)
	if e.state.Live == 0 {
		return Version{}, ErrNone
	}
	undone, err := m.Version(l, e.state.Live)
	if err != nil {
		return Version{}, err
	}
	next := e.state
	next.Live = undone.Before
	var again Version
	var live *Live[T]
	if next.Live > 0 {
		if again, err = m.Version(l, next.Live); err != nil {
			return Version{}, err
		}
		if live = m.compile(l, again); live != nil && live.Broken != nil {
			return Version{}, live.Broken
		}
	}
	a := control.Of(who, "undo "+m.words.Name, fmt.Sprintf("%s version %d %s", l, undone.Number, undone.Name), why, now)
	return again, m.put(ctx, l, next, &a, live)
}

// goLive stores a version and makes it live.
func (m *Keeper[T]) goLive(ctx context.Context, who control.Actor, l string, next state, v Version, text []byte, now time.Time) error {
	v.Number, v.Before, v.At, v.User, v.By = next.Last+1, next.Live, now.UTC(), who.User, who.By
	var live *Live[T]
	if !v.None {
		compiled, err := m.parse(l, text)
		if err != nil {
			return err
		}
		live = &Live[T]{Value: compiled, Version: v.Number, Name: v.Name}
		if v.Packed, err = pack(text); err != nil {
			return err
		}
	}
	next.Last, next.Live = v.Number, v.Number
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	a := control.Of(who, "activate "+m.words.Name, fmt.Sprintf("%s version %d %s", l, v.Number, v.Name), v.Why, now)
	return m.put(ctx, l, next, &a, live, put{m.versionKey(l, v.Number), b})
}

type put struct {
	key   string
	value []byte
}

// put commits a change, and only then is it live.
func (m *Keeper[T]) put(ctx context.Context, l string, next state, a *control.Audit, live *Live[T], more ...put) error {
	b := new(storage.Batch)
	s, err := json.Marshal(next)
	if err != nil {
		return err
	}
	b.Put(m.stateKey(l), s)
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
	m.names[l] = entry[T]{next, live}
	return nil
}

func (m *Keeper[T]) entry(l string) entry[T] {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.names[l]
}

// Version reads one version.
func (m *Keeper[T]) Version(l string, n int) (Version, error) {
	b, ok, err := m.store.Get(m.versionKey(l, n))
	if err != nil {
		return Version{}, err
	}
	if !ok {
		return Version{}, ErrVersion
	}
	var v Version
	if err := json.Unmarshal(b, &v); err != nil {
		return Version{}, fmt.Errorf("versions: %s, version %d: %w", l, n, err)
	}
	return v, nil
}

// History are the versions of a name, the newest first, and the number of the one
// that is live.
func (m *Keeper[T]) History(l string) (versions []Version, live int, err error) {
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

func (m *Keeper[T]) text(l string, n int) ([]byte, error) {
	v, err := m.Version(l, n)
	if err != nil {
		return nil, err
	}
	return v.Text()
}

// Text is the text as it was written.
func (v Version) Text() ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(v.Packed))
	if err != nil {
		return nil, fmt.Errorf("versions: version %d: %w", v.Number, err)
	}
	text, err := io.ReadAll(io.LimitReader(z, MaxSize+1))
	if err == nil && hash(text) != v.SHA256 {
		err = errors.New("its SHA-256 is not the stored one")
	}
	if err != nil {
		return nil, fmt.Errorf("versions: version %d: %w", v.Number, err)
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
