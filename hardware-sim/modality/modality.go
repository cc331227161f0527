// Package modality plays imaging modalities: it sends generated MR and CT images
// by C-STORE, several over one association, and each until it is answered
// success or a warning. The data sets are built here by hand. Around each study it
// may report a performed procedure step and ask for storage commitment.
package modality

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"log/slog"
	"maps"
	"math/big"
	"math/rand/v2"
	"sync"
	"time"

	"nhip/dicom/association"
	"nhip/dicom/commitment"
	"nhip/dicom/dimse"
	"nhip/dicom/store"
	"nhip/hardware-sim/pacs"
	"nhip/hardware-sim/truth"
	"nhip/hardware-sim/wire"
)

// Faults are done to that many of the next objects, in the order of the fields.
type Faults struct {
	Abort   int `toml:"abort" name:"abort" help:"A-ABORT in the middle of the data set, then the object again." placeholder:"N"`
	Repeat  int `toml:"repeat" name:"repeat" help:"The object again after it was answered success." placeholder:"N"`
	Release int `toml:"release" name:"release" help:"The association released after the object." placeholder:"N"`
}

// Options of a Modality.
type Options struct {
	Name    string // of the connection; also seeds the images
	AETitle string // its own
	Called  string // the gateway's
	Address func() (string, error)
	Seed    uint64    // equal seeds, names and starts give equal images
	Start   time.Time // of the run, in the modality's zone; makes UIDs of runs differ
	To      []string  // the destinations that must get its images
	Every   time.Duration
	Limit   int // images in all; 0 is no limit
	Size    int // rows and columns; 0 is 64

	// Steps makes it report each study as a performed procedure step, and Commit
	// ask for storage commitment of its images. The report is awaited on the
	// association that asked, and on Reports, an address of its own, where set.
	Steps   bool
	Commit  bool
	Reports string

	// Patience is how long it tries to reach the peer for one image; 0 is for ever. A
	// peer that rejects its associations for good is given up sooner.
	Patience time.Duration

	Truth *truth.Log
	Log   *slog.Logger
}

// A Modality is one simulated modality.
type Modality struct {
	o     Options
	began time.Time

	mu      sync.Mutex
	faults  Faults
	done    map[string]int
	extra   int
	made    int
	sent    int
	stopped bool
	gaveUp  error

	study   study
	reports chan commitment.Received
}

// New returns a modality without an association.
func New(o Options) *Modality {
	if o.Size == 0 {
		o.Size = 64
	}
	return &Modality{o: o, done: map[string]int{}}
}

// Inject adds faults to those that are still due.
func (m *Modality) Inject(f Faults) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faults.Abort += f.Abort
	m.faults.Repeat += f.Repeat
	m.faults.Release += f.Release
}

// Burst makes n images due at once.
func (m *Modality) Burst(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.extra += n
}

// Stop ends the making of images. Run returns when the one being sent is
// answered.
func (m *Modality) Stop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stopped = true
}

// Err says why it gave up; nil: it did not.
func (m *Modality) Err() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.gaveUp
}

// giveUp ends the making of images, since there is nobody who takes them.
func (m *Modality) giveUp(why error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stopped, m.gaveUp = true, why
	m.o.Log.Error("given up", "modality", m.o.Name, "error", why)
}

// Sent is the number of images that were answered success.
func (m *Modality) Sent() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.sent
}

// Counters says how often each fault was done.
func (m *Modality) Counters() map[string]int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.done)
}

const (
	perStudy   = 10                     // images; then the association is released
	retry      = 500 * time.Millisecond // before a further association
	refusals   = 20                     // of one object, then the modality gives it up
	rejections = 5                      // for good, in a row, of associations: then it gives all up
)

// Run sends an image every so often until ctx ends, it is stopped or has sent
// its limit.
func (m *Modality) Run(ctx context.Context) {
	m.began = time.Now()
	defer m.listen(ctx)()
	var a *association.Association
	defer func() {
		if a != nil {
			a.Abort("the run has ended")
		}
	}()
	for {
		n, ok := m.next(ctx)
		if !ok {
			break
		}
		o := m.o.object(n)
		if n%perStudy == 0 {
			m.begin(ctx, n)
		}
		m.o.Truth.Offer(o.item)
		a = m.send(ctx, a, o)
		if n%perStudy == perStudy-1 || n+1 == m.o.Limit {
			m.end(ctx)
		}
		if a != nil && (n%perStudy == perStudy-1 || m.take("released", func(f *Faults) *int { return &f.Release })) {
			a = m.release(ctx, a)
		}
	}
	if a != nil {
		a = m.release(ctx, a)
	}
	m.end(ctx)
}

func (m *Modality) release(ctx context.Context, a *association.Association) *association.Association {
	if err := a.Release(ctx); err != nil {
		m.o.Log.Debug("release", "modality", m.o.Name, "error", err)
	}
	return nil
}

// next waits for the next image that is due.
func (m *Modality) next(ctx context.Context) (int, bool) {
	for {
		m.mu.Lock()
		n := m.made
		end := m.stopped || m.o.Limit > 0 && n >= m.o.Limit
		left := time.Until(m.began.Add(time.Duration(n-m.extra+1) * m.o.Every))
		if !end && left <= 0 {
			m.made++
		}
		m.mu.Unlock()
		if end || ctx.Err() != nil {
			return 0, false
		}
		if left <= 0 {
			return n, true
		}
		wire.Wait(ctx, min(left, 100*time.Millisecond))
	}
}

// send sends one object until it is taken or given up. It returns the
// association to go on with, if there is one.
func (m *Modality) send(ctx context.Context, a *association.Association, o object) *association.Association {
	began, rejected := time.Now(), 0
	for tries := 0; ctx.Err() == nil; {
		var err error
		if a == nil {
			if a, err = m.associate(ctx, o); err != nil {
				a = nil
				m.o.Log.Debug("association", "modality", m.o.Name, "error", err)
				if permanent := new(association.RejectedError); errors.As(err, &permanent) && !permanent.Transient() {
					rejected++
				}
				if rejected == rejections || m.o.Patience > 0 && time.Since(began) > m.o.Patience {
					m.giveUp(err)
					return nil
				}
				wire.Wait(ctx, retry)
				continue
			}
			rejected = 0
		}
		status, err := m.store(ctx, a, o)
		if err != nil {
			m.o.Log.Debug("c-store", "modality", m.o.Name, "error", err)
			a.Abort("the object was not answered")
			a = nil
			wire.Wait(ctx, retry)
			continue
		}
		if status.Class() == dimse.ClassSuccess || status.Class() == dimse.ClassWarning {
			m.taken(ctx, a, o)
			return a
		}
		if tries++; tries == refusals {
			m.o.Truth.Refuse(o.item.ID, status.String())
			return a
		}
		wire.Wait(ctx, retry)
	}
	return a
}

func (m *Modality) taken(ctx context.Context, a *association.Association, o object) {
	m.o.Truth.Acknowledge(o.item.ID)
	m.mu.Lock()
	m.sent++
	m.mu.Unlock()
	made := o
	made.bytes = nil
	m.study.images = append(m.study.images, made)
	if m.take("repeated", func(f *Faults) *int { return &f.Repeat }) {
		if _, err := m.store(ctx, a, o); err != nil {
			m.o.Log.Debug("repeat", "modality", m.o.Name, "error", err)
		}
	}
}

func (m *Modality) associate(ctx context.Context, o object) (*association.Association, error) {
	address, err := m.o.Address()
	if err != nil {
		return nil, err
	}
	contexts, _ := store.Contexts([]store.Kind{
		{SOPClassUID: o.class, TransferSyntaxUID: explicitLE}, {SOPClassUID: o.class, TransferSyntaxUID: implicitLE},
	})
	return association.Dial(ctx, address, association.Proposal{Calling: m.o.AETitle, Called: m.o.Called, Contexts: contexts})
}

// errCut is the fault of an object that is cut in the middle.
var errCut = errors.New("the simulated modality aborts")

// store sends the object once, with the fault that is due.
func (m *Modality) store(ctx context.Context, a *association.Association, o object) (dimse.Status, error) {
	var body io.Reader = bytes.NewReader(o.bytes)
	if m.take("aborted", func(f *Faults) *int { return &f.Abort }) {
		body = io.MultiReader(bytes.NewReader(o.bytes[:len(o.bytes)/2]), failing{})
	}
	return store.Send(ctx, a, store.Object{SOPClassUID: o.class, SOPInstanceUID: o.item.Key, TransferSyntaxUID: o.syntax, DataSet: body})
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errCut }

func (m *Modality) take(name string, count func(*Faults) *int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := count(&m.faults)
	if *n == 0 {
		return false
	}
	*n--
	m.done[name]++
	return true
}

// An object is one image on its way.
type object struct {
	item          truth.Item
	image         image
	class, syntax string
	bytes         []byte
}

// object is the n-th image that a modality of these options sends.
func (o Options) object(n int) object {
	h := fnv.New64a()
	h.Write([]byte(o.Name))
	r := rand.New(rand.NewPCG(o.Seed^h.Sum64(), uint64(n)))
	study := n / perStudy
	i := image{
		class: mrStorage, modality: "MR", instance: o.uid("i", n), study: o.uid("s", study), series: o.uid("e", study),
		patientID: fmt.Sprint(20000 + study), patientName: "Nguyễn^Thị Hoa", accession: fmt.Sprintf("A%07d", study),
		number: n%perStudy + 1, size: o.Size, at: o.Start.Add(time.Duration(n) * time.Second),
	}
	if h.Sum64()%2 == 0 {
		i.class, i.modality = ctStorage, "CT"
	}
	syntax := explicitLE
	if n%3 == 2 {
		syntax = implicitLE
	}
	b := dataSet(i, syntax, r)
	sum := sha256.Sum256(b)
	return object{
		item: truth.Item{
			Kind: truth.Instance, ID: fmt.Sprintf("%s/%d", o.Name, n+1), Source: o.Name, Key: i.instance, To: o.To,
			Digest: pacs.Digest(i.class, syntax, sum[:]),
		},
		image: i, class: i.class, syntax: syntax, bytes: b,
	}
}

// uid is a UID under 2.25, PS3.5 section B.2, of what must make it unique.
func (o Options) uid(what string, n int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d %d %s %d", o.Name, o.Seed, o.Start.UnixNano(), what, n))
	return "2.25." + new(big.Int).SetBytes(sum[:16]).String()
}
