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

func soak() bool { return os.Getenv("NHIP_SOAK") == "1" }

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
	s, err := storage.Open(context.Background(), storage.Options{Dir: dir})
	if err != nil {
		fmt.Println("open", err)
		os.Exit(1)
	}
	if alarms := s.Alarms(); len(alarms) > 0 {
		fmt.Println("open", alarms)
		os.Exit(1)
	}
	most, _ := strconv.ParseUint(os.Getenv("NHIP_STORAGETEST_MOST"), 10, 64)
	var out sync.Mutex
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			name := "p" + strconv.Itoa(i)
			p := &Producer{Store: s, Name: name, N: s.Last(name), Spool: i == 0}
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
	idle         chan struct{}
	ended        chan struct{}
	trouble      string
}

func start(t *testing.T, dir string, acknowledged map[string]uint64, most int) *child {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := &child{cmd: exec.Command(exe), acknowledged: acknowledged, idle: make(chan struct{}), ended: make(chan struct{})}
	c.cmd.Env = append(os.Environ(), loadIn+"="+dir, "NHIP_STORAGETEST_MOST="+strconv.Itoa(most))
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

func TestKilledStoreHasAllThatWasAcknowledged(t *testing.T) {
	kills, longest := 30, 250
	if soak() {
		kills, longest = 200, 1200
	}
	dir := t.TempDir()
	acknowledged := map[string]uint64{}
	for range kills {
		c := start(t, dir, acknowledged, 0)
		// The moment of the kill is the one thing here that has to be random.
		time.Sleep(time.Duration(5+rand.IntN(longest)) * time.Millisecond)
		c.kill(t)
	}
	s := open(t, storage.Options{Dir: dir})
	mustBeWhole(t, s, acknowledged)
	var total uint64
	for _, n := range acknowledged {
		total += n
	}
	t.Logf("%d kills, %d batches acknowledged", kills, total)
	if total == 0 {
		t.Error("nothing was acknowledged")
	}
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
	if soak() {
		flips = 500
	}
	killed, closed, acknowledged := damageable(t)
	r := rand.New(rand.NewPCG(uint64(os.Getpid()), 7))
	loud, harmless := 0, 0
	for i := range flips {
		from := killed
		if i%2 == 1 {
			from = closed
		}
		dir := t.TempDir()
		if err := Image(from, dir); err != nil {
			t.Fatal(err)
		}
		where := flip(t, r, dir)
		v, crashed := examine(t, dir, acknowledged)
		switch {
		case len(v.Finding.Wrong) > 0:
			t.Errorf("%s: wrong values served: %v", where, v.Finding.Wrong)
		case crashed || v.Refused != "" || len(v.Alarms) > 0:
			loud++
		case len(v.Finding.Missing) > 0:
			t.Errorf("%s: lost without an alarm: %v", where, v.Finding.Missing)
		default:
			harmless++
		}
		os.RemoveAll(dir)
	}
	t.Logf("%d flips: %d alarms, refusals or crashes, %d without an effect", flips, loud, harmless)
	if loud == 0 {
		t.Error("no flip was noticed")
	}
}

// damageable makes a store that was killed, with its write-ahead log, and one
// that was closed, with tables.
func damageable(t *testing.T) (killed, closed string, acknowledged map[string]uint64) {
	t.Helper()
	acknowledged = map[string]uint64{}
	killed, closed = t.TempDir(), t.TempDir()
	c := start(t, killed, acknowledged, 25)
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
	cmd.Env = append(os.Environ(), checkIn+"="+dir, "NHIP_STORAGETEST_ACKNOWLEDGED="+string(known))
	out, err := cmd.Output()
	if err != nil {
		return v, true
	}
	if err := json.Unmarshal(out, &v); err != nil {
		t.Fatalf("the child says %q: %v", out, err)
	}
	return v, false
}
