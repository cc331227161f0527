package retention

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"nhip/gateway/delivery"
	"nhip/gateway/intake"
	"nhip/gateway/interpret"
	"nhip/gateway/lis"
	"nhip/gateway/reason"
	"nhip/gateway/record"
	"nhip/gateway/route"
	"nhip/storage"
)

var quiet = slog.New(slog.DiscardHandler)

// A rig is a gateway without its shells: two modalities, one of whose destinations
// is down, a monitor whose readings are rendered, and a system nobody takes from.
type rig struct {
	t    *testing.T
	dir  string
	s    *storage.Store
	in   *intake.Intake
	stop context.CancelFunc
	ends sync.WaitGroup
}

type sender func(it delivery.Item) delivery.Event

func (f sender) Send(_ context.Context, it delivery.Item) delivery.Event { return f(it) }
func (sender) Close()                                                    {}

func newRig(t *testing.T, dir string) *rig {
	t.Helper()
	s, err := storage.Open(t.Context(), storage.Options{Dir: dir, SpoolRefs: intake.SpoolRefs})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	r := &rig{t: t, dir: dir, s: s, in: intake.New(s, quiet), stop: stop}
	observe := func(body []byte, _ time.Time) ([]record.Observation, error) {
		return []record.Observation{{Value: string(body)}}, nil
	}
	render := func(body []byte, _ []record.Observation, _ lis.Ends, id string, _ time.Time) ([]byte, error) {
		return append([]byte(id), body...), nil
	}
	w := &interpret.Worker{
		Store: s, Intake: r.in, Site: interpret.Site{ID: "site"}, Log: quiet,
		Connections: map[string]interpret.Connection{
			"ct": {Name: "ct", Kind: interpret.Modality}, "mr": {Name: "mr", Kind: interpret.Modality},
			"bed": {Name: "bed", Kind: interpret.Monitor, Observe: observe, Render: render},
		},
		Routes: route.Table{
			"ct":  {To: []route.Destination{{Name: "pacs", Kind: route.DICOM, Images: true}}},
			"mr":  {To: []route.Destination{{Name: "pacs", Kind: route.DICOM, Images: true}, {Name: "down", Kind: route.DICOM, Images: true}}},
			"bed": {To: []route.Destination{{Name: "lis", Kind: route.HL7}}},
		},
		Publish: func(*storage.Batch, string, time.Time, []record.Observation) {},
	}
	r.run(ctx, w.Run)
	for name, send := range map[string]sender{
		"pacs": func(delivery.Item) delivery.Event { return delivery.Event{Kind: delivery.Accepted} },
		"down": func(delivery.Item) delivery.Event { return delivery.Event{Kind: delivery.NotSent} },
		"lis": func(it delivery.Item) delivery.Event {
			if it.Seq%20 == 0 {
				return delivery.Event{Kind: delivery.Refused, Why: reason.Text("no")}
			}
			return delivery.Event{Kind: delivery.Accepted}
		},
	} {
		d := &delivery.Worker{Destination: name, Store: s, Senders: []delivery.Sender{send}, Policy: delivery.DefaultPolicy(), LinkMax: time.Second, Log: quiet}
		r.run(ctx, d.Run)
	}
	return r
}

// settle lets everything be interpreted and delivered that can be.
func (r *rig) settle() {
	time.Sleep(time.Second) // of the bubble's clock
	synctest.Wait()
}

func (r *rig) run(ctx context.Context, f func(context.Context) error) {
	r.ends.Go(func() { _ = f(ctx) })
}

func (r *rig) close() {
	r.stop()
	r.ends.Wait()
	if err := r.s.Close(); err != nil {
		r.t.Error(err)
	}
}

func (r *rig) object(connection, uid string, b []byte) intake.ObjectOutcome {
	w, err := r.s.Spool().Create()
	if err != nil {
		r.t.Error(err)
		return 0
	}
	w.Write(b)
	ref, err := w.Commit()
	if err != nil {
		r.t.Error(err)
		return 0
	}
	o, err := r.in.Object(r.t.Context(), connection, "", ref, map[string]string{intake.AttrSOPInstance: uid, intake.AttrStudy: uid})
	if err != nil {
		r.t.Error(err)
	}
	return o
}

func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(seed, 0))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// load sends n objects of each modality and n readings, all at once.
func (r *rig) load(n int) *sync.WaitGroup {
	var w sync.WaitGroup
	for i, name := range []string{"ct", "mr"} {
		w.Go(func() {
			for j := range n {
				r.object(name, fmt.Sprintf("1.2.%d.%d", i, j+1), noise(uint64(j), 5000))
			}
		})
	}
	w.Go(func() {
		for j := range n {
			if err := r.in.Observation(r.t.Context(), intake.KindObservation, "bed", "", fmt.Append(nil, j), nil); err != nil {
				r.t.Error(err)
			}
		}
	})
	return &w
}

// mustHaveAllThatWaits reads everything that a queue refers to, and what that was
// made of.
func (r *rig) mustHaveAllThatWaits() (waiting int) {
	r.t.Helper()
	for _, q := range r.s.Queues() {
		items, err := r.s.Items(q, 0, 0)
		if err != nil {
			r.t.Fatal(err)
		}
		waiting += len(items)
		for _, it := range items {
			for _, ref := range it.About {
				e := r.read(q, ref)
				if of, err := storage.ParseRef(e.Attrs["of"]); err == nil {
					r.read(q, of)
				}
			}
		}
	}
	return waiting
}

func (r *rig) read(queue string, ref storage.Ref) (e intake.Entry) {
	r.t.Helper()
	raw, err := r.s.Read(ref)
	if err == nil {
		e, err = intake.DecodeEntry(raw)
	}
	if err == nil && e.Spool != nil {
		err = r.s.Spool().Verify(*e.Spool)
	}
	if err != nil {
		r.t.Errorf("%s waits in %s: %v", ref, queue, err)
	}
	return e
}

func (r *rig) mustBalance() {
	r.t.Helper()
	c := r.s.Snapshot().Counters
	sum := c["delivered"] + c["queued"] + c["held"]
	for k, n := range c {
		if strings.HasPrefix(k, intake.CountConsumed) {
			sum += n
		}
	}
	if c["accepted"] != sum {
		r.t.Errorf("the sum is wrong: %v", c)
	}
}

func (r *rig) files() (n int) {
	filepath.WalkDir(filepath.Join(r.dir, "spool"), func(_ string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			n++
		}
		return nil
	})
	return n
}

func (r *rig) entries() (n int) {
	for _, c := range r.s.Channels() {
		if err := r.s.Range(c, 1, 0, false, func(storage.Ref, []byte) bool { n++; return true }); err != nil {
			r.t.Error(err)
		}
	}
	return n
}

func (r *rig) keeper() *Keeper {
	return &Keeper{Store: r.s, Age: 24 * time.Hour, Percent: 100, Log: quiet}
}

func TestNothingThatWaitsIsRemovedUnderLoad(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, dir)
		defer r.close()
		k := r.keeper()
		const n = 100
		load := r.load(n)
		ended := make(chan struct{})
		go func() { load.Wait(); close(ended) }()
		passes, removed := 0, 0
		for done := false; !done; passes++ {
			// As if everything were old from the start: what waits must stay nevertheless.
			got, err := k.Pass(t.Context(), time.Now().Add(1000*time.Hour))
			if err != nil {
				t.Fatal(err)
			}
			removed += got.Entries
			r.mustBalance()
			time.Sleep(10 * time.Millisecond)
			select {
			case <-ended:
				done = true
			default:
			}
		}
		r.settle()
		got, err := k.Pass(t.Context(), time.Now().Add(1000*time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		removed += got.Entries
		waiting := r.mustHaveAllThatWaits()
		r.mustBalance()
		c := r.s.Snapshot().Counters
		if c["delivered"] < n || waiting < n {
			t.Errorf("%d delivered, %d wait", c["delivered"], waiting)
		}
		// What waits, what it was made of, and the newest of each channel stay.
		held := r.s.Depth("to/lis")
		if most := n + 2*held + len(r.s.Channels()); r.entries() > most {
			t.Errorf("%d entries are left, should be at most %d", r.entries(), most)
		}
		if files := r.files(); files < n || files > n+1 {
			t.Errorf("%d files are left, %d objects wait and one is the newest of its modality", files, n)
		}
		if keys, _ := r.s.Keys("retire/", 0); len(keys) > 0 {
			t.Errorf("not retired: %v", keys)
		}
		if keys, _ := r.s.Keys("fate/", 0); len(keys) > n+2*held+len(r.s.Channels()) {
			t.Errorf("%d fates are left", len(keys))
		}
		if alarms, err := r.s.Scrub(t.Context()); err != nil || len(alarms) > 0 || len(r.s.Alarms()) > 0 {
			t.Errorf("%v %v", r.s.Alarms(), err)
		}
		t.Logf("%d passes under load, %d entries removed, %d wait", passes, removed, waiting)
	})
}

func TestWhatComesWhileAPassWorksStays(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, dir)
		defer r.close()
		r.load(3).Wait()
		r.settle()
		p := &pass{k: r.keeper(), ctx: t.Context(), now: time.Now(), from: map[string]uint64{}}
		if err := p.findNeeded(); err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			r.object("mr", fmt.Sprint("1.9.", i+1), noise(9, 100))
		}
		r.settle()
		if err := p.trimAll(r.s.Channels(), time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		if n := r.mustHaveAllThatWaits(); n != 6 || p.result.Entries == 0 {
			t.Errorf("%d wait, %+v", n, p.result)
		}
	})
}

func TestObjectThatWasRemovedIsStillKnown(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, dir)
		defer r.close()
		a, b := noise(1, 1000), noise(2, 1000)
		r.object("ct", "1.2.3", a)
		r.object("ct", "1.2.4", b) // the newest of its channel stays
		r.settle()
		got, err := r.keeper().Pass(t.Context(), time.Now().Add(48*time.Hour))
		if err != nil || got.Objects != 1 || r.files() != 1 {
			t.Fatalf("%+v, %d files, %v", got, r.files(), err)
		}
		if o := r.object("ct", "1.2.3", b); o != intake.ObjectConflict {
			t.Errorf("other bytes under a UID whose object was removed: %v", o)
		}
		delivered := r.s.Snapshot().Counters["delivered"]
		if o := r.object("ct", "1.2.3", a); o != intake.ObjectFirst {
			t.Errorf("the same bytes after the object was removed: %v", o)
		}
		r.settle()
		if n := r.s.Snapshot().Counters["delivered"]; n != delivered+1 {
			t.Errorf("the same bytes after the object was removed are not delivered: %d, %d", delivered, n)
		}
		if o := r.object("ct", "1.2.3", a); o != intake.ObjectRepeat {
			t.Errorf("and once more: %v", o)
		}
		r.mustHaveAllThatWaits()
		r.mustBalance()
	})
}

func TestYoungOnesStayAndAClockThatJumpsRemovesNothingAtOnce(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, dir)
		defer r.close()
		r.load(10).Wait()
		r.settle()
		k := r.keeper()
		if got, err := k.Pass(t.Context(), time.Now().Add(23*time.Hour)); err != nil || got.Entries != 0 {
			t.Errorf("young: %+v %v", got, err)
		}
		ahead := time.Now().Add(10 * 365 * 24 * time.Hour)
		if got, err := k.Pass(t.Context(), ahead); err != nil || got.Entries != 0 || got.Waits == "" {
			t.Errorf("a clock ten years ahead: %+v %v", got, err)
		}
		if got, err := k.Pass(t.Context(), ahead.Add(time.Hour)); err != nil || got.Entries != 0 {
			t.Errorf("an hour later: %+v %v", got, err)
		}
		if got, err := k.Pass(t.Context(), ahead.Add(25*time.Hour)); err != nil || got.Entries == 0 || got.Waits != "" {
			t.Errorf("a day later it is taken for right: %+v %v", got, err)
		}
	})
}

func TestFullDiskTakesTheOldestThatAreDoneWith(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, dir)
		defer r.close()
		const day = 24 * time.Hour
		start := time.Now()
		for i := range 20 { // one object a day
			r.in.Now = func() time.Time { return start.Add(time.Duration(i) * day) }
			r.object("ct", fmt.Sprintf("1.2.%d", i+1), noise(uint64(i), 100_000))
		}
		r.settle()
		now := start.Add(20 * day)
		k := r.keeper()
		k.Age, k.Percent = 0, 70
		used := int64(8_000_000)
		k.Disk = func() (uint64, uint64) { return uint64(10_000_000 - used), 10_000_000 } // 1 MB too much
		got, err := k.Pass(t.Context(), now)
		if err != nil || !got.Early || got.Bytes < 1_000_000 || got.Bytes > 1_200_000 || got.Short != 0 {
			t.Fatalf("%+v %v", got, err)
		}
		left := 0
		r.s.Range("in/ct", 1, 0, false, func(ref storage.Ref, b []byte) bool {
			if left++; left == 1 && ref.Seq != uint64(got.Objects)+1 {
				t.Errorf("the oldest that is left is %v", ref)
			}
			return true
		})
		if left != 20-got.Objects {
			t.Errorf("%d are left of 20, %d were removed", left, got.Objects)
		}
		used = 6_900_000
		if got, err := k.Pass(t.Context(), now); err != nil || got.Entries != 0 {
			t.Errorf("with room: %+v %v", got, err)
		}
		used = 10_000_000 // more than there is to remove
		got, err = k.Pass(t.Context(), now)
		if err != nil || got.Short == 0 {
			t.Errorf("%+v %v", got, err)
		}
		r.mustHaveAllThatWaits()
	})
}

func TestFilesOfACrashBetweenCommitAndRemovalAreRemovedLater(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, dir)
		defer r.close()
		r.load(10).Wait()
		r.settle()
		before := r.files()
		later := time.Now().Add(48 * time.Hour)
		// While a backup is being made no file goes.
		held, write := newPipe()
		backup := make(chan error)
		go func() {
			_, _, err := r.s.Backup(t.Context(), write)
			backup <- err
		}()
		<-held.began
		got, err := r.keeper().Pass(t.Context(), later)
		if err != nil || got.Objects == 0 || r.files() != before {
			t.Errorf("during a backup: %+v, %d files of %d, %v", got, r.files(), before, err)
		}
		close(held.goOn)
		if err := <-backup; err != nil {
			t.Fatal(err)
		}
		if _, _, problems, err := storage.VerifyBackup(t.Context(), &write.b); err != nil || len(problems) > 0 {
			t.Errorf("the backup: %v %v", problems, err)
		}
		if _, err := r.keeper().Pass(t.Context(), later); err != nil || r.files() != before-got.Objects {
			t.Errorf("%d files of %d, %d were to go: %v", r.files(), before, got.Objects, err)
		}
	})
}

// A pipe holds a backup up at its first bytes.
type gate struct{ began, goOn chan struct{} }

type pipe struct {
	gate gate
	once sync.Once
	b    bytes.Buffer
}

func newPipe() (gate, *pipe) {
	g := gate{make(chan struct{}), make(chan struct{})}
	return g, &pipe{gate: g}
}

func (p *pipe) Write(b []byte) (int, error) {
	p.once.Do(func() { close(p.gate.began); <-p.gate.goOn })
	return p.b.Write(b)
}

func TestDamagedQueueStopsRetention(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, dir)
		defer r.close()
		b := new(storage.Batch)
		b.EnqueueRef("to/x", "", nil, storage.Ref{Channel: "out/x", Seq: 5})
		if _, err := r.s.Commit(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		r.load(5).Wait()
		r.settle()
		got, err := r.keeper().Pass(t.Context(), time.Now().Add(48*time.Hour))
		if !errors.Is(err, storage.ErrNotFound) || got.Entries != 0 {
			t.Errorf("something waits whose entry cannot be read: %+v %v", got, err)
		}
	})
}

// TestSpaceComesBack measures the whole data folder.
func TestSpaceComesBack(t *testing.T) {
	dir := t.TempDir()
	s, err := storage.Open(t.Context(), storage.Options{Dir: dir, SpoolRefs: intake.SpoolRefs})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	const n = 3500 // of 30 kB: more tables than Badger keeps in its first level
	body := noise(1, 30_000)
	for i := range n / 20 {
		b := new(storage.Batch)
		for j := range 20 {
			copy(body, fmt.Sprintf("%10d", 20*i+j))
			e := intake.Entry{Kind: intake.KindObservation, Fate: intake.Received, Connection: "x", At: time.Now(), Body: body}
			b.Append("in/x", e.Encode())
		}
		if _, err := s.Commit(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	full := tables(dir)
	k := &Keeper{Store: s, Age: time.Hour, Percent: 100, Log: quiet}
	got, err := k.Pass(t.Context(), time.Now().Add(2*time.Hour))
	if err != nil || got.Entries != n-1 || !got.compacted {
		t.Fatalf("%+v %v", got, err)
	}
	left := tables(dir)
	if full < 80<<20 || left > full/4 {
		t.Errorf("the tables had %d bytes and have %d", full, left)
	}
	t.Logf("tables: %d bytes before, %d after", full, left)
}

func tables(dir string) (n int64) {
	files, _ := filepath.Glob(filepath.Join(dir, "store", "*.sst"))
	for _, f := range files {
		if info, err := os.Stat(f); err == nil {
			n += info.Size()
		}
	}
	return n
}
