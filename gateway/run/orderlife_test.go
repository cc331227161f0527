package run

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"nhip/dicom/tag"
	"nhip/gateway/orders"
	"nhip/hardware-sim/analyser"
	"nhip/hardware-sim/lis"
	"nhip/hardware-sim/truth"
	"nhip/hardware-sim/wire"
)

// A ward is the simulated systems around one gateway, which may be restarted: they
// dial where it listens now.
type ward struct {
	t    *testing.T
	site *site
	book *lis.Book
	lis  *lis.LIS
	hiss []*lis.HIS

	mu      sync.Mutex
	hl7     string
	machine string
}

const (
	lifeOrders    = 24 // that are measured
	lifeCancelled = 6
)

func newWard(t *testing.T) *ward {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	address := freePorts(t, 1)[0]
	w := &ward{t: t, book: lis.NewBook()}
	w.lis = lis.New(lis.Options{Name: "lis", Log: quiet, Now: time.Now, Zone: time.UTC, Book: w.book})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := w.lis.Run(ctx, address, nil); err != nil && ctx.Err() == nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); running.Wait() })
	// A map on the way to the LIS changes nothing that counts.
	file := filepath.Join(t.TempDir(), "lis.toml")
	if err := os.WriteFile(file, []byte("name = \"lis\"\n[[rule]]\ndo = \"set\"\nat = \"MSH-6\"\nvalue = \"XN\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	peer := "[[hl7_peer]]\nname = %q\naddress = \"127.0.0.1\"\napplication = %q\n"
	w.site = newSite(t, fmt.Sprintf(peer+"to = [\"lis\"]\n"+peer+"to = [\"lis\"]\norder_specimen = [\"OBR-15\"]\n"+peer+peer, "his", "HIS", "old-his", "OLDHIS", "vn-his", "VNHIS", "ris", "RIS")+
		analyserBlock("chem-1", "generic-astm", "tcp-listen://127.0.0.1:0", "authority = \"HIS\"")+
		fmt.Sprintf("[[destination]]\nname = \"lis\"\nkind = \"hl7\"\naddress = %q\nstatus = \"oml\"\nanswer_timeout = \"2s\"\nmap = %q\n", address, file)+
		modalityBlock("ct-1", "CT1", ""))
	w.look()
	return w
}

// look notes where the gateway listens now.
func (w *ward) look() {
	st := w.site.status()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hl7, w.machine = st.Listen.HL7, st.Listen.Analyser["chem-1"]
}

func (w *ward) restart() {
	w.t.Helper()
	w.site.stop()
	w.site.start()
	w.look()
	for _, h := range w.hiss {
		h.Close() // the next message has a connection of its own
	}
}

func (w *ward) dial(ctx context.Context, which *string) (net.Conn, error) {
	w.mu.Lock()
	address := *which
	w.mu.Unlock()
	return (&net.Dialer{Timeout: 30 * time.Second}).DialContext(ctx, "tcp", address)
}

func (w *ward) his(name string, shape lis.Shape) *lis.HIS {
	h := lis.NewHIS(lis.HISOptions{Name: name, Shape: shape, Now: time.Now, Timeout: 2 * time.Minute,
		Dial: func(ctx context.Context) (net.Conn, error) { return w.dial(ctx, &w.hl7) }})
	w.t.Cleanup(h.Close)
	w.hiss = append(w.hiss, h)
	return h
}

// good is an answer that is AA, and right as HL7.
func (w *ward) good(what string, r lis.Reply, err error) {
	w.t.Helper()
	if err != nil || r.Code != "AA" || len(r.Faults) > 0 {
		w.t.Fatalf("%s: %v, answered %s %s %v", what, err, r.Code, r.Text, r.Faults)
	}
}

// lookUp asks the gateway what is to be done with a specimen, as an analyser's query
// does.
func (w *ward) lookUp(specimen string) []orders.Match {
	w.t.Helper()
	all, err := w.site.g.orders.Specimen(orders.SpecimenQuery{Specimen: specimen})
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

// The life of orders over HL7, from their placing to their results, with changes,
// cancels, corrections and merges of the patients in between, a LIS that answers wrongly
// and goes away, and a restart: the LIS ends with exactly what the hospital ordered and
// the analyser measured.
func TestTheLifeOfOrdersEndsWithExactlyTheTruth(t *testing.T) {
	t.Parallel()
	w := newWard(t)
	his, old := w.his("HIS", lis.OML), w.his("OLDHIS", lis.ORM)
	of := func(n int) *lis.HIS {
		if n%2 == 0 {
			return his
		}
		return old
	}
	machine := analyser.Options{Name: "chem-1", Model: analyser.Models["generic-astm"], Seed: 7, Start: time.Now().UTC(), Number: 1, To: []string{"lis"},
		Every: 5 * time.Millisecond, Limit: lifeOrders, Timing: analyser.Timing{Reply: 15 * time.Second, Busy: 50 * time.Millisecond, Contention: 50 * time.Millisecond, Redial: 50 * time.Millisecond},
		Truth: truth.New(nil, time.Now), Log: slog.New(slog.DiscardHandler)}
	var placed []lis.Order
	for n := range lifeOrders + lifeCancelled {
		item := machine.Message(n).Truth
		words := strings.Fields(item.Patient)
		o := lis.Order{Placer: fmt.Sprintf("P%03d", n), Specimen: item.Key, Tests: [][2]string{{"GLU", "Glucose"}}, Urgent: n%5 == 0,
			Patient: lis.Patient{ID: words[0], Family: words[1], Given: words[2], Born: "1980", Sex: "F"}}
		r, err := of(n).Place(t.Context(), o)
		w.good("place "+o.Placer, r, err)
		placed = append(placed, o)
	}
	for n, o := range placed {
		found := w.lookUp(o.Specimen)
		if len(found) != 1 || found[0].Entry.Order.Placer.ID != o.Placer || found[0].Service.Code.Code != "GLU" {
			t.Fatalf("order %d: the look-up of specimen %s finds %+v", n, o.Specimen, found)
		}
	}
	for n, o := range placed {
		switch {
		case n >= lifeOrders:
			r, err := of(n).Cancel(t.Context(), o.Placer)
			w.good("cancel "+o.Placer, r, err)
			if found := w.lookUp(o.Specimen); len(found) != 0 {
				t.Errorf("%s is cancelled, and found: %+v", o.Placer, found)
			}
		case n%6 == 2:
			o.Tests, o.Urgent = [][2]string{{"GLU", "Glucose, after a meal"}, {"HBA1C", "HbA1c"}}, true
			r, err := of(n).Change(t.Context(), o)
			w.good("change "+o.Placer, r, err)
			if found := w.lookUp(o.Specimen); len(found) != 2 || found[0].Entry.Version != 2 || found[0].Service.Code.Text != "Glucose, after a meal" || found[1].Service.Code.Code != "HBA1C" {
				t.Errorf("%s is changed, and the look-up finds %d services: %+v", o.Placer, len(found), found)
			}
			placed[n] = o
		}
	}
	w.lis.Inject(lis.Faults{AR: 2, Silence: 1, Close: 2, WrongID: 1, Garbage: 1, Late: 1, LateBy: wire.Duration(3 * time.Second)})
	measured := w.measure(machine, func() {
		for n, o := range placed[:lifeOrders] {
			if n == lifeOrders/2 {
				w.lis.Down(500 * time.Millisecond)
				w.restart()
			}
			if n%3 != 0 {
				continue
			}
			survivor := o.Patient
			survivor.ID = "9" + o.Patient.ID
			r, err := of(n).Merge(t.Context(), survivor, o.Patient.ID)
			w.good("merge "+o.Patient.ID, r, err)
			if found := w.lookUp(o.Specimen); len(found) == 0 || found[0].Entry.Order.Patient.Identifiers[0].Value != survivor.ID {
				t.Errorf("after the merge the look-up of %s finds %+v", o.Specimen, found)
			}
		}
	})
	measured = w.correct(measured, placed)
	eventually(t, "everything has left the queues", func() bool {
		st := w.site.status()
		return st.Counts.Queued == 0 && len(st.Held) == broken(st.Held)
	})
	for _, wrong := range w.book.Compare(slices.Concat(his.Orders(), old.Orders()), measured) {
		t.Error(wrong)
	}
	filed, results := w.book.Filed()
	if filed != lifeOrders+lifeCancelled || results != lifeOrders {
		t.Errorf("the LIS has %d orders and %d results on file", filed, results)
	}
	for n, o := range placed {
		if n >= lifeOrders && !w.book.Told(o.Placer, "CA") {
			t.Errorf("the cancel of %s was not told", o.Placer)
		}
	}
	if w.lis.Counters()["silence"] == 0 || w.lis.Counters()["AR"] != 2 {
		t.Errorf("faults: %v", w.lis.Counters())
	}
}

// broken is how many of what is held are the parts of a message that the restart cut
// off: they came again whole.
func broken(held []heldItem) (n int) {
	for _, h := range held {
		if strings.Contains(h.Reason, "the gateway was stopped in the middle of a message") {
			n++
		}
	}
	return n
}

// measure runs the simulated analyser until all is acknowledged, and something else
// meanwhile.
func (w *ward) measure(o analyser.Options, meanwhile func()) (all []lis.Measured) {
	w.t.Helper()
	a := analyser.New(o)
	ctx, cancel := context.WithTimeout(w.t.Context(), 3*time.Minute)
	defer cancel()
	var running sync.WaitGroup
	running.Go(func() {
		a.Run(ctx, func(ctx context.Context) (wire.Line, error) { return w.dial(ctx, &w.machine) })
	})
	meanwhile()
	running.Wait()
	if a.Sent() != o.Limit {
		w.t.Fatalf("%d of %d results were acknowledged", a.Sent(), o.Limit)
	}
	for n := range o.Limit {
		item := o.Message(n).Truth
		all = append(all, lis.Measured{Specimen: item.Key, Code: item.Results[0].Code, Value: item.Results[0].Value, Status: "F"})
	}
	return all
}

// correct measures some specimens again: the analyser says that its result is a
// correction, under the number that the patient had.
func (w *ward) correct(measured []lis.Measured, placed []lis.Order) []lis.Measured {
	w.t.Helper()
	for n := range measured {
		if n%4 != 0 {
			continue
		}
		m := &measured[n]
		m.Value, m.Status, m.Corrected = "7.7", "C", true
		p := placed[n].Patient
		begin(w.t, w.machine).rest(w.t, "H|\\^&|||hwsim^1||||||||P|1|20260114081500\r"+
			fmt.Sprintf("P|1|%s|||%s^%s||19800101|F\rO|1|%s||^^^GLU|R||||||N||||S||||||||||C\r", p.ID, p.Family, p.Given, m.Specimen)+
			"R|1|^^^GLU|7.7|mmol/L|3.9 to 6.1|H||C||||20260114081500\rL|1|N\r")
	}
	return measured
}

// Imaging orders in the shapes that hospitals have are found by findscu, changed by a
// merge of the patient, and gone after their cancel.
func TestImagingOrdersAreFoundUntilTheirCancel(t *testing.T) {
	t.Parallel()
	need(t, "findscu")
	w := newWard(t)
	for i, h := range []*lis.HIS{w.his("VNHIS", lis.Vietnamese), w.his("RIS", lis.OMI), w.his("OLDHIS", lis.ORM)} {
		o := lis.Order{Placer: fmt.Sprintf("CD%d", i), Accession: fmt.Sprintf("AC%d", i), Modality: "CT", Station: "CT1", Start: time.Now().Add(time.Hour),
			StudyUID: fmt.Sprintf("1.2.826.0.1.99.%d", i+1), Tests: [][2]string{{"CT001", "CT so nao"}},
			Patient: lis.Patient{ID: fmt.Sprintf("70%d", i), Family: "Trần", Given: "Bình", Born: "1975", Sex: "M"}}
		r, err := h.Place(t.Context(), o)
		w.good("place "+o.Placer, r, err)
		onList := func() (ids []string) {
			for _, d := range worklistOf(t, w.site, "CT1") {
				if strings.TrimSpace(d.Text(tag.AccessionNumber)) == o.Accession {
					ids = append(ids, strings.TrimSpace(d.Text(tag.PatientID)))
				}
			}
			return ids
		}
		if ids := onList(); !slices.Equal(ids, []string{o.Patient.ID}) {
			t.Errorf("%s: on the worklist for %q", o.Placer, ids)
		}
		survivor := o.Patient
		survivor.ID = "9" + o.Patient.ID
		r, err = h.Merge(t.Context(), survivor, o.Patient.ID)
		w.good("merge", r, err)
		if ids := onList(); !slices.Equal(ids, []string{survivor.ID}) {
			t.Errorf("%s: on the worklist for %q after the merge", o.Placer, ids)
		}
		r, err = h.Cancel(t.Context(), o.Placer)
		w.good("cancel "+o.Placer, r, err)
		if ids := onList(); len(ids) != 0 {
			t.Errorf("%s: on the worklist for %q after its cancel", o.Placer, ids)
		}
	}
}
