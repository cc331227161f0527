package storagetest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"nhip/storage"
	"nhip/storage/storagetest/figures"
)

// The test binary is also the child that is killed and the one that opens a
// damaged store, since Badger can take the process down with it.
const (
	loadIn  = "NHIP_STORAGETEST_LOAD"
	checkIn = "NHIP_STORAGETEST_CHECK"
)

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(loadIn) != "":
		load(os.Getenv(loadIn))
	case os.Getenv(checkIn) != "":
		check(os.Getenv(checkIn))
	default:
		os.Exit(m.Run())
	}
}

func open(t *testing.T, o storage.Options) *storage.Store {
	t.Helper()
	o.SpoolRefs = Refs
	s, err := storage.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// mustBeWhole fails the test unless the store holds all that was acknowledged,
// nothing half, and no alarm was raised.
func mustBeWhole(t *testing.T, s *storage.Store, acknowledged map[string]uint64) {
	t.Helper()
	f := Check(s, acknowledged)
	if _, err := s.Scrub(t.Context()); err != nil {
		t.Errorf("scrub: %v", err)
	}
	if len(f.Wrong) > 0 || len(f.Missing) > 0 || len(s.Alarms()) > 0 {
		t.Fatalf("wrong: %v\nmissing: %v\nalarms: %v", f.Wrong, f.Missing, s.Alarms())
	}
}

func TestStoreThatDiesAtWriteNHasAllThatWasAcknowledged(t *testing.T) {
	died := map[string]int{}
	for n := 0; ; n++ {
		dir := t.TempDir()
		plan := FailAt(-1)
		s := open(t, storage.Options{Dir: dir, Fault: plan.Step})
		plan.arm(n)
		p := &Producer{Store: s, Name: "p", Spool: true}
		for p.N < 5 && p.Next(t.Context()) == nil {
		}
		if died[plan.Died()]++; plan.Died() != "" && plan.Died() != "highwater" {
			mustHaveFailed(t, s, plan.Died())
		}
		image := t.TempDir()
		if err := Image(dir, image); err != nil {
			t.Fatal(err)
		}
		s.Close()
		after := open(t, storage.Options{Dir: image})
		mustBeWhole(t, after, map[string]uint64{"p": p.N})
		next := &Producer{Store: after, Name: "p", N: after.Last("p")}
		if err := next.Next(t.Context()); err != nil {
			t.Fatalf("after %s: %v", plan.Died(), err)
		}
		mustBeWhole(t, after, map[string]uint64{"p": next.N})
		after.Close()
		if plan.Died() == "" {
			break
		}
	}
	for _, step := range []string{"commit", "committed", "highwater", "create", "write", "fsync", "rename", "fsyncdir"} {
		if died[step] == 0 {
			t.Errorf("no run died at %q: %v", step, died)
		}
	}
}

// arm lets the plan fail at step n from now.
func (p *Plan) arm(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.steps, p.at = nil, n
}

func mustHaveFailed(t *testing.T, s *storage.Store, step string) {
	t.Helper()
	switch step {
	case "create", "write", "rename": // of one object: refused, and the store goes on
		return
	}
	select {
	case <-s.Failed():
	default:
		t.Errorf("after %s the store did not fail", step)
	}
	if _, err := s.Commit(t.Context(), new(storage.Batch)); !errors.Is(err, storage.ErrFailed) {
		t.Errorf("commit after %s: %v", step, err)
	}
}

// load is the child: producers that say on standard output what was
// acknowledged.
func load(dir string) {
	began := time.Now()
	s, err := storage.Open(context.Background(), storage.Options{Dir: dir})
	if err != nil {
		fmt.Println("open", err)
		os.Exit(1)
	}
	fmt.Println("opened", time.Since(began).Milliseconds())
	if alarms := s.Alarms(); len(alarms) > 0 {
		fmt.Println("open", alarms)
		os.Exit(1)
	}
	most, _ := strconv.ParseUint(os.Getenv("NHIP_STORAGETEST_MOST"), 10, 64)
	producers, _ := strconv.Atoi(os.Getenv("NHIP_STORAGETEST_PRODUCERS"))
	var out sync.Mutex
	var wg sync.WaitGroup
	for i := range producers {
		wg.Go(func() {
			name := "p" + strconv.Itoa(i)
			p := &Producer{Store: s, Name: name, N: s.Last(name), Spool: i == 0, Own: producers > 8}
			for most == 0 || p.N < most {
				if err := p.Next(context.Background()); err != nil {
					fmt.Println("commit", err)
					os.Exit(1)
				}
				out.Lock()
				fmt.Println("ack", name, p.N)
				out.Unlock()
			}
		})
	}
	wg.Wait()
	fmt.Println("idle")
	select {}
}

// A child runs load and collects what it was told.
type child struct {
	cmd          *exec.Cmd
	acknowledged map[string]uint64
	opened       chan struct{}
	took         time.Duration // of Open
	idle         chan struct{}
	ended        chan struct{}
	trouble      string
}

func start(t *testing.T, dir string, acknowledged map[string]uint64, producers, most int) *child {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := &child{cmd: exec.Command(exe), acknowledged: acknowledged,
		opened: make(chan struct{}), idle: make(chan struct{}), ended: make(chan struct{})}
	c.cmd.Env = append(os.Environ(), loadIn+"="+dir, "NHIP_STORAGETEST_MOST="+strconv.Itoa(most),
		"NHIP_STORAGETEST_PRODUCERS="+strconv.Itoa(producers))
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.cmd.Stderr = os.Stderr
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(c.ended)
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			word, rest, _ := strings.Cut(lines.Text(), " ")
			switch word {
			case "ack":
				name, number, _ := strings.Cut(rest, " ")
				if n, err := strconv.ParseUint(number, 10, 64); err == nil {
					c.acknowledged[name] = max(c.acknowledged[name], n)
				}
			case "opened":
				ms, _ := strconv.Atoi(rest)
				c.took = time.Duration(ms) * time.Millisecond
				close(c.opened)
			case "idle":
				close(c.idle)
			default:
				c.trouble = lines.Text()
			}
		}
	}()
	return c
}

// kill ends the child with SIGKILL and reads what it still said.
func (c *child) kill(t *testing.T) {
	t.Helper()
	c.cmd.Process.Kill()
	<-c.ended
	c.cmd.Wait()
	if c.trouble != "" {
		t.Fatalf("the child says: %s", c.trouble)
	}
}

// wait waits until the child has opened the store, and for a random while more.
func (c *child) wait(t *testing.T, longest int) {
	t.Helper()
	select {
	case <-c.opened:
	case <-c.ended:
	case <-time.After(30 * time.Second):
		t.Error("the store was not opened within 30 s")
	}
	time.Sleep(time.Duration(rand.IntN(longest)) * time.Millisecond)
}

// openLimit is how long an open may take after a kill; the short form runs beside
// everything else, and would fail by what that does to the disk.
const (
	openLimit = 3 * time.Second
	busyLimit = 30 * time.Second
)

// losses counts what of the acknowledged batches a store does not have.
func losses(s *storage.Store, acknowledged map[string]uint64) (lost, total uint64) {
	for name, n := range acknowledged {
		total += n
		if last := s.Last(name); last < n {
			lost += n - last
		}
	}
	return lost, total
}

func TestKilledStoreHasAllThatWasAcknowledged(t *testing.T) {
	kills, longest, limit := 20, 250, busyLimit
	if figures.Soak() {
		kills, longest, limit = 200, 1200, openLimit
	}
	dir := t.TempDir()
	acknowledged := map[string]uint64{}
	var slowest time.Duration
	for i := range kills {
		c := start(t, dir, acknowledged, 64, 0)
		// The moment of the kill is the one thing here that has to be random; a
		// third of them fall into the opening.
		if i%3 == 0 {
			time.Sleep(time.Duration(5+rand.IntN(100)) * time.Millisecond)
		} else {
			c.wait(t, longest)
		}
		c.kill(t)
		slowest = max(slowest, c.took)
	}
	began := time.Now()
	s := open(t, storage.Options{Dir: dir})
	slowest = max(slowest, time.Since(began))
	mustBeWhole(t, s, acknowledged)
	lost, total := losses(s, acknowledged)
	if total == 0 {
		t.Error("nothing was acknowledged")
	}
	if slowest > limit {
		t.Errorf("an open took %v", slowest)
	}
	figures.Report(t, fmt.Sprintf("%d kills -9, 64 producers: %d of %d acknowledged lost, every open at the first try, slowest %d ms", kills, lost, total, slowest.Milliseconds()),
		fmt.Sprintf("0 lost, each open under %v", limit))
}

// A verdict is what a child says of a damaged store.
type verdict struct {
	Refused string
	Alarms  []storage.Alarm
	Finding Finding
}

// check is the child: it opens a store, reads all of it and says what it saw.
func check(dir string) {
	var v verdict
	s, err := storage.Open(context.Background(), storage.Options{Dir: dir, SpoolRefs: Refs})
	if err != nil {
		v.Refused = err.Error()
	} else {
		var acknowledged map[string]uint64
		if err := json.Unmarshal([]byte(os.Getenv("NHIP_STORAGETEST_ACKNOWLEDGED")), &acknowledged); err != nil {
			panic(err)
		}
		v.Finding = *Check(s, acknowledged)
		if _, err := s.Scrub(context.Background()); err != nil {
			v.Refused = err.Error()
		}
		v.Alarms = s.Alarms()
	}
	if err := json.NewEncoder(os.Stdout).Encode(v); err != nil {
		os.Exit(1)
	}
}

func TestFlippedBitIsNeverSilent(t *testing.T) {
	flips := 60
	if figures.Soak() {
		flips = 500
	}
	killed, closed, acknowledged := damageable(t)
	r := rand.New(rand.NewPCG(uint64(os.Getpid()), 7))
	wrong, silent, loud, harmless := 0, 0, 0, 0
	for i := range flips {
		from := killed
		if i%2 == 1 {
			from = closed
		}
		dir := scratch(t)
		if err := Image(from, dir); err != nil {
			t.Fatal(err)
		}
		where := flip(t, r, dir)
		v, crashed := examine(t, dir, acknowledged)
		switch {
		case len(v.Finding.Wrong) > 0:
			wrong++
			t.Errorf("%s: wrong values served: %v", where, v.Finding.Wrong)
		case crashed || v.Refused != "" || len(v.Alarms) > 0:
			loud++
		case len(v.Finding.Missing) > 0:
			silent++
			t.Errorf("%s: lost without an alarm: %v", where, v.Finding.Missing)
		default:
			harmless++
		}
		os.RemoveAll(dir)
	}
	if loud == 0 {
		t.Error("no flip was noticed")
	}
	figures.Report(t, fmt.Sprintf("%d bit flips: %d wrong values served, %d losses without an alarm; %d alarms, refusals or crashes, %d without an effect", flips, wrong, silent, loud, harmless),
		"0 wrong, 0 silent")
}

// scratch gives a directory in memory, where there is one: what is flipped there
// needs no fsync.
func scratch(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "storagetest")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// damageable makes a store that was killed, with its write-ahead log, and one
// that was closed, with tables.
func damageable(t *testing.T) (killed, closed string, acknowledged map[string]uint64) {
	t.Helper()
	acknowledged = map[string]uint64{}
	killed, closed = t.TempDir(), t.TempDir()
	c := start(t, killed, acknowledged, 8, 25)
	select {
	case <-c.idle:
	case <-c.ended:
	}
	c.kill(t)
	if err := Image(killed, closed); err != nil {
		t.Fatal(err)
	}
	if err := open(t, storage.Options{Dir: closed}).Close(); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{killed, closed} {
		v, crashed := examine(t, imageOf(t, dir), acknowledged)
		if crashed || v.Refused != "" || len(v.Alarms)+len(v.Finding.Wrong)+len(v.Finding.Missing) > 0 {
			t.Fatalf("before any damage: %+v", v)
		}
	}
	return killed, closed, acknowledged
}

func imageOf(t *testing.T, dir string) string {
	t.Helper()
	to := t.TempDir()
	if err := Image(dir, to); err != nil {
		t.Fatal(err)
	}
	return to
}

// flip changes one bit of a random file, in its written part and a little
// beyond.
func flip(t *testing.T, r *rand.Rand, dir string) (where string) {
	t.Helper()
	var files []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() && !strings.Contains(path, "wal-copy") {
			if info, err := e.Info(); err == nil && info.Size() > 0 {
				files = append(files, path)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	path := files[r.IntN(len(files))]
	if r.IntN(2) == 0 { // the records themselves half of the time
		records := slices.DeleteFunc(files, func(path string) bool {
			return !strings.HasSuffix(path, ".mem") && !strings.HasSuffix(path, ".sst")
		})
		path = records[r.IntN(len(records))]
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	end := len(data)
	for end > 0 && data[end-1] == 0 {
		end--
	}
	at := r.IntN(min(end+16, len(data)))
	data[at] ^= 1 << r.IntN(8)
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(data[at:at+1], int64(at)); err != nil {
		t.Fatal(err)
	}
	rel, _ := filepath.Rel(dir, path)
	return fmt.Sprintf("%s, byte %d of %d", rel, at, end)
}

// examine lets a child open the store and read all of it.
func examine(t *testing.T, dir string, acknowledged map[string]uint64) (v verdict, crashed bool) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	known, err := json.Marshal(acknowledged)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe)
	// The race detector lets a process sleep for a second at its end.
	cmd.Env = append(os.Environ(), checkIn+"="+dir, "NHIP_STORAGETEST_ACKNOWLEDGED="+string(known), "GORACE=atexit_sleep_ms=0")
	out, err := cmd.Output()
	if err != nil {
		return v, true
	}
	if err := json.Unmarshal(out, &v); err != nil {
		t.Fatalf("the child says %q: %v", out, err)
	}
	return v, false
}
