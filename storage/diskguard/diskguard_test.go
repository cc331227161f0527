package diskguard

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

const mib, gib = 1 << 20, 1 << 30

func TestLimitsFollowTheDisk(t *testing.T) {
	for _, c := range []struct {
		name        string
		total, need uint64
		want        Limits
	}{
		{"a large disk: the contract's", 1000 * gib, 300 * mib, Limits{Images: 4 * gib, Results: 2 * gib, GiveUp: 300*mib + 512*mib, Stop: 300 * mib, Ballast: 512 * mib}},
		{"10 % of a smaller one", 10 * gib, 100 * mib, Limits{Images: 2 * gib, Results: 1 * gib, GiveUp: 100*mib + 256*mib, Stop: 100 * mib, Ballast: 512 * mib}},
		{"160 MB: what the store needs decides", 160 * mib, 20 * mib, Limits{Images: 44 * mib, Results: 28 * mib, GiveUp: 24 * mib, Stop: 20 * mib, Ballast: 8 * mib}},
	} {
		if got := LimitsOf(c.total, c.need); got != c.want {
			t.Errorf("%s: %+v, should be %+v", c.name, got, c.want)
		}
	}
}

func TestImagesAreRefusedBeforeResultsAndResumeAfterThem(t *testing.T) {
	l := LimitsOf(10*gib, 100*mib)
	m := Machine{Ballast: true}
	for _, c := range []struct {
		free  uint64
		state State
		act   Action
	}{
		{5 * gib, Open, Nothing},
		{2 * gib, Open, Nothing},
		{2*gib - 1, NoImages, Nothing},
		{2*gib + 1, NoImages, Nothing}, // not yet
		{1 * gib, NoImages, Nothing},
		{1*gib - 1, NoIntake, Nothing},
		{1*gib + mib, NoIntake, Nothing},
		{356*mib - 1, NoIntake, GiveUpBallast},
		{100*mib - 1, NoWriting, GiveUpBallast},
		{356*mib - 1, NoWriting, GiveUpBallast},
		{356 * mib, NoIntake, Nothing},
		{1536 * mib, NoImages, Nothing},
		{3*gib - 1, NoImages, Nothing},
		{3 * gib, Open, Nothing},
	} {
		if act := m.Step(c.free, l); act != c.act || m.State() != c.state {
			t.Fatalf("%d bytes free: %v and %q, should be %v and %q", c.free, act, m.State(), c.act, c.state)
		}
	}
	m.Ballast = false
	if m.Step(3*gib, l) != Nothing || m.Step(3*gib+512*mib, l) != MakeBallast {
		t.Error("the ballast is to be made where it leaves room enough")
	}
}

// TestOrderOfRefusals holds for every disk and every course of the free space:
// who may write, what comes first, and no refusal below which somebody less
// important is taken.
func TestOrderOfRefusals(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		total := rapid.Uint64Range(32*mib, 4<<40).Draw(t, "total")
		m := Machine{Ballast: rapid.Bool().Draw(t, "ballast")}
		for range 30 {
			l := LimitsOf(total, rapid.Uint64Range(mib, gib).Draw(t, "need"))
			free := rapid.Uint64Range(0, total).Draw(t, "free")
			m.Step(free, l)
			if l.Images < l.Results || l.Results < l.GiveUp || l.GiveUp < l.Stop {
				t.Fatalf("limits out of order: %+v", l)
			}
			for class, limit := range map[Class]uint64{Draining: l.Stop, Results: l.Results, Images: l.Images} {
				if free < limit && m.Takes(class) {
					t.Fatalf("class %d is taken with %d bytes free, below %d", class, free, limit)
				}
				if free >= resume(l.Images) && free >= l.GiveUp && !m.Takes(class) {
					t.Fatalf("class %d is refused with %d bytes free", class, free)
				}
			}
			if m.Takes(Images) && !m.Takes(Results) || m.Takes(Results) && !m.Takes(Draining) {
				t.Fatal("the less important class is taken")
			}
		}
	})
}

// A disk is a pretended one.
type disk struct {
	mu          sync.Mutex
	free, total uint64
	asked       int
	err         error
}

func (d *disk) probe(string) (uint64, uint64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked++
	return d.free, d.total, d.err
}

func (d *disk) set(free uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.free = free
}

func TestTheDiskIsAskedRarelyAndAgainAfterABurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{free: 5 * gib, total: 10 * gib}
		g := New(Options{Dir: t.TempDir(), Probe: d.probe, Need: 20 * mib})
		for range 1000 {
			if err := g.Room(Images); err != nil {
				t.Fatal(err)
			}
		}
		if d.asked != 1 {
			t.Errorf("asked %d times at one moment", d.asked)
		}
		d.set(gib / 2)
		g.Wrote(freshBytes)
		if err := g.Room(Results); !errors.Is(err, ErrFull) {
			t.Errorf("after a burst: %v", err)
		}
		d.set(5 * gib)
		time.Sleep(fresh)
		if err := g.Room(Images); err != nil {
			t.Errorf("after %v: %v", fresh, err)
		}
	})
}

func TestDrainingGetsTheBallastAndThenWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		ballast := filepath.Join(dir, BallastFile)
		if err := os.WriteFile(ballast, make([]byte, 8*mib), 0o600); err != nil {
			t.Fatal(err)
		}
		spare := filepath.Join(dir, "wal-copy")
		if err := os.Mkdir(spare, 0o700); err != nil {
			t.Fatal(err)
		}
		d := &disk{free: 18 * mib, total: 160 * mib}
		probe := func(string) (uint64, uint64, error) {
			free, _, _ := d.probe("")
			if _, err := os.Stat(ballast); err != nil {
				free += 8 * mib
			}
			return free, d.total, nil
		}
		g := New(Options{Dir: dir, Probe: probe, Need: 20 * mib, Spare: []string{spare}})
		if err := g.Room(Draining); err != nil {
			t.Errorf("with the ballast given up draining goes on: %v", err)
		}
		if _, err := os.Stat(spare); err == nil {
			t.Error("what can be spared was kept")
		}
		if s := g.Status(); s.State != NoIntake || s.Ballast || s.Free != 26*mib {
			t.Errorf("%+v", s)
		}
		d.set(5 * mib)
		time.Sleep(fresh)
		started := time.Now()
		go func() { time.Sleep(time.Minute); d.set(100 * mib) }()
		if err := g.Wait(t.Context(), Draining); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(started); waited < time.Minute || waited > time.Minute+time.Second {
			t.Errorf("waited %v", waited)
		}
	})
}

func TestTheBallastIsMadeAgainWhenThereIsRoom(t *testing.T) {
	dir := t.TempDir()
	d := &disk{free: 60 * mib, total: 160 * mib}
	g := New(Options{Dir: dir, Probe: d.probe, Need: 20 * mib})
	g.Check()
	if g.Status().Ballast {
		t.Fatal("a ballast where there is no room for it")
	}
	d.set(120 * mib)
	g.Check()
	info, err := os.Stat(filepath.Join(dir, BallastFile))
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("this file system cannot allocate")
	}
	if err != nil || info.Size() != 8*mib || info.Mode().Perm() != 0o600 || !g.Status().Ballast {
		t.Errorf("%v %v", info, err)
	}
}

func TestAStartOnAFullDiskWaitsAndThenSaysWhatIsNeeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{free: 3 * mib, total: 160 * mib}
		g := New(Options{Dir: t.TempDir(), Probe: d.probe, Need: 20 * mib})
		started := time.Now()
		if err := g.AtStart(t.Context(), 10*time.Second); !errors.Is(err, ErrFull) || time.Since(started) < 10*time.Second {
			t.Errorf("after %v: %v", time.Since(started), err)
		}
		go func() { time.Sleep(2 * time.Second); d.set(100 * mib) }()
		if err := g.AtStart(t.Context(), 10*time.Second); err != nil {
			t.Errorf("with room again: %v", err)
		}
	})
}

func TestADiskThatCannotBeAskedIsNotRefused(t *testing.T) {
	d := &disk{err: errors.New("no")}
	g := New(Options{Dir: t.TempDir(), Probe: d.probe, Need: 20 * mib})
	if err := g.Room(Images); err != nil {
		t.Error(err)
	}
	if err := g.Wait(context.Background(), Draining); err != nil {
		t.Error(err)
	}
}
