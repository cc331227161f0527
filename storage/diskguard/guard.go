package diskguard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// ErrFull says that a class is refused now. Nothing was written; the peer is to
// send again later.
var ErrFull = errors.New("diskguard: the disk is too full")

// A Probe gives the free and the total bytes of the file system of a directory.
type Probe func(dir string) (free, total uint64, err error)

// BallastFile is the name of the ballast in the data directory.
const BallastFile = "ballast"

// A measurement is used again for so long and for so many bytes.
const (
	fresh      = 100 * time.Millisecond
	freshBytes = 256 << 10
)

// Options of New.
type Options struct {
	Dir   string
	Probe Probe
	Need  uint64   // what the store may write by itself, until SetNeed
	Spare []string // given up together with the ballast: what only helps a later inquiry
	Log   *slog.Logger
}

// A Guard watches one disk. Its methods may be called from many goroutines.
type Guard struct {
	o Options

	mu      sync.Mutex
	m       Machine
	need    uint64
	at      time.Time // of the last measurement
	written uint64    // since then
	free    uint64
	total   uint64
	since   time.Time // of the state
	trouble bool      // the last probe failed
}

// Status is what a person sees of the guard.
type Status struct {
	State       State
	Since       time.Time
	Free, Total uint64
	Limits      Limits
	Ballast     bool // the ballast is there
}

// New measures the disk for the first time. A ballast of an earlier process is
// taken over; none is made before the first Check.
func New(o Options) *Guard {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	g := &Guard{o: o, need: o.Need, since: time.Now()}
	info, err := os.Stat(g.ballast())
	g.m.Ballast = err == nil && info.Size() > 0
	return g
}

func (g *Guard) ballast() string { return filepath.Join(g.o.Dir, BallastFile) }

// SetNeed tells what the store may write by itself from now on.
func (g *Guard) SetNeed(bytes uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.need = bytes
}

// Wrote counts bytes written, so that a burst does not outrun the measurements.
func (g *Guard) Wrote(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.written += uint64(n)
}

// Room returns nil where a class may write, else ErrFull. It looks at the disk
// at most every 100 ms and 256 KiB.
func (g *Guard) Room(c Class) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.look(false)
	if !g.m.Takes(c) {
		return ErrFull
	}
	return nil
}

// Wait returns nil as soon as a class may write, and the error of ctx where that
// ends before.
func (g *Guard) Wait(ctx context.Context, c Class) error {
	if g.Room(c) == nil {
		return nil
	}
	t := time.NewTicker(fresh)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
		if g.Room(c) == nil {
			return nil
		}
	}
}

// Check looks at the disk now and makes the ballast where there is room for it.
// It is to be called about every second.
func (g *Guard) Check() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.look(true) == MakeBallast {
		g.makeBallast()
	}
}

// Status of now.
func (g *Guard) Status() Status {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.look(false)
	return Status{State: g.m.State(), Since: g.since, Free: g.free, Total: g.total, Limits: LimitsOf(g.total, g.need), Ballast: g.m.Ballast}
}

// look measures where the last measurement is too old, and steps the machine.
// g.mu is held.
func (g *Guard) look(now bool) Action {
	if !now && g.written < freshBytes && time.Since(g.at) < fresh {
		return Nothing
	}
	if !g.measure() {
		return Nothing
	}
	before := g.m.State()
	action := g.m.Step(g.free, LimitsOf(g.total, g.need))
	if action == GiveUpBallast {
		g.giveUp()
		if g.measure() {
			g.m.Step(g.free, LimitsOf(g.total, g.need))
		}
	}
	if after := g.m.State(); after != before {
		g.since = time.Now()
		g.o.Log.Warn("disk", "state", string(after), "free bytes", g.free, "total bytes", g.total)
	}
	return action
}

// measure asks the system. A disk that cannot be asked leaves the last answer.
func (g *Guard) measure() bool {
	free, total, err := g.o.Probe(g.o.Dir)
	g.at, g.written = time.Now(), 0
	if err != nil || total == 0 {
		if !g.trouble {
			g.o.Log.Error("the free space of the disk cannot be read: it is not guarded now", "error", err)
		}
		g.trouble = true
		return false
	}
	g.free, g.total, g.trouble = free, total, false
	return true
}

// giveUp removes the ballast and what can be spared.
func (g *Guard) giveUp() {
	g.m.Ballast = false
	err := os.Remove(g.ballast())
	for _, path := range g.o.Spare {
		err = errors.Join(err, os.RemoveAll(path))
	}
	g.o.Log.Warn("disk: the ballast was given up", "error", err)
}

// makeBallast makes the file with its blocks. Where the file system cannot, it is
// done without.
func (g *Guard) makeBallast() {
	if err := allocate(g.ballast(), int64(LimitsOf(g.total, g.need).Ballast)); err != nil {
		if !g.trouble {
			g.o.Log.Warn("disk: no ballast could be made", "error", err)
		}
		g.trouble = true
		os.Remove(g.ballast())
		return
	}
	g.m.Ballast = true
	g.at = time.Time{}
}

// AtStart makes room before a store is opened, whose need is what opening writes.
// Where the disk is too full it gives up the ballast first, and then waits a
// while for room, so that whoever restarts the process at once does not spin.
func (g *Guard) AtStart(ctx context.Context, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	g.mu.Lock()
	g.look(true)
	free, need := g.free, g.need
	g.mu.Unlock()
	if g.Room(Draining) == nil {
		return nil
	}
	g.o.Log.Error("the disk is too full to open the store: waiting for room", "free bytes", free, "needed bytes", need)
	if g.Wait(ctx, Draining) != nil {
		return fmt.Errorf("%w to open the store: %d MiB are free, %d MiB are needed. Nothing is lost; free some space and start again", ErrFull, g.Status().Free>>20, (need>>20)+1)
	}
	return nil
}
