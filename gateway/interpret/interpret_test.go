package interpret

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"nhip/drivers/astm/e1381"
	"nhip/drivers/profile"
	"nhip/gateway/delivery"
	"nhip/gateway/intake"
	"nhip/gateway/lis"
	"nhip/gateway/qc"
	"nhip/gateway/reason"
	"nhip/gateway/record"
	"nhip/gateway/route"
	"nhip/storage"
)

const (
	xn = "H|\\^&|||    XN-550^00-12^31457^^^^BZ900001||||||||E1394-97\r" +
		"P|1|||PT-1|^AN^NGUYEN||19870626|F\r" +
		"O|1||^^                    27^M|^^^^WBC\\^^^^HGB|||||||N||||||||||||||F\r" +
		"R|1|^^^^WBC^1|6.41|10*3/uL||N||F||||20260114081500\r" +
		"R|2|^^^^HGB^1|> 20|g/dL||H||F||||20260114081500\r" +
		"R|3|^^^^NEWTEST^1|1,5|x||N||F||||20260114081500\r" +
		"L|1|N\r"
	xnControl = "H|\\^&|||    XN-550^00-12^31457^^^^BZ900001||||||||E1394-97\rP|1\r" +
		"O|1||^^           QC-51590811^A|^^^^WBC|||||||Q||||||||||||||F\r" +
		"R|1|^^^^WBC^1|7.02|10*3/uL||N||F||||20260114081500\rL|1|N\r"
	xnNameless = "H|\\^&|||    XN-550^00-12^31457^^^^BZ900001||||||||E1394-97\rP|1\r" +
		"O|1||^^                      ^A|^^^^WBC|||||||N||||||||||||||F\r" +
		"R|1|^^^^WBC^1|7.02|10*3/uL||N||F||||20260114081500\rL|1|N\r"
)

type rig struct {
	s  *storage.Store
	in *intake.Intake
	w  *Worker
	t  *testing.T
}

func newRig(t *testing.T, dir string) *rig {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	s, err := storage.Open(t.Context(), storage.Options{Dir: dir, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	profiles, err := profile.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	vn := time.FixedZone("", 7*3600)
	toLIS := []route.Destination{{Name: "lis", Kind: route.HL7, ReceivingApplication: "LIS"}, {Name: "pacs", Kind: route.DICOM, Images: true}}
	in := intake.New(s, quiet)
	return &rig{s: s, in: in, t: t, w: &Worker{
		Store: s, Intake: in, Site: Site{ID: "bv-test", Name: "Bệnh viện Thử"}, Log: quiet,
		Connections: map[string]Connection{
			"xn-1":  {Name: "xn-1", Kind: Analyser, Zone: vn, Profile: profiles["sysmex-xn-l"]},
			"new-1": {Name: "new-1", Kind: Analyser, Zone: vn, Profile: profiles["sysmex-xn-l"]},
			"alone": {Name: "alone", Kind: Analyser, Zone: vn, Profile: profiles["sysmex-xn-l"]},
			"ct-1":  {Name: "ct-1", Kind: Modality, Zone: vn},
			"bc-1":  {Name: "bc-1", Kind: Analyser, Zone: vn, Profile: profiles["mindray-bc-5380"]},
			"his":   {Name: "his", Kind: Peer, Zone: vn},
			"bed":   {Name: "bed", Kind: Monitor, Zone: vn, Observe: observe, Render: render},
		},
		Routes: route.Table{
			"xn-1": {To: toLIS}, "new-1": {Trial: true, To: toLIS}, "bc-1": {To: toLIS}, "ct-1": {To: toLIS}, "his": {To: toLIS}, "bed": {To: toLIS},
		},
		Publish: func(b *storage.Batch, connection string, _ time.Time, obs []record.Observation) {
			b.Put("published/"+connection, fmt.Append(nil, len(obs)))
		},
	}}
}

func observe(body []byte, _ time.Time) ([]record.Observation, error) {
	if string(body) == "bad" {
		return nil, fmt.Errorf("not a line of this monitor")
	}
	return []record.Observation{{Value: string(body)}}, nil
}

func render(_ []byte, obs []record.Observation, _ lis.Ends, id string, _ time.Time) ([]byte, error) {
	return []byte(id + obs[0].Value), nil
}

func (r *rig) astm(connection, text string) {
	r.t.Helper()
	a := r.in.ASTM(connection, "a")
	if err := a.Store(r.t.Context(), []e1381.Message{{Records: []byte(text), Frames: 1}}); err != nil {
		r.t.Fatal(err)
	}
	if err := a.Ended(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
}

// interpret works until the queue is empty.
func (r *rig) interpret() {
	r.t.Helper()
	ctx, cancel := context.WithCancel(r.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.w.Run(ctx) }()
	synctest.Wait()
	cancel()
	if err := <-ended; err != context.Canceled {
		r.t.Fatal(err)
	}
	if n := r.s.Depth(intake.Interpret); n != 0 {
		r.t.Fatalf("%d items are left", n)
	}
}

func (r *rig) queued(destination string) (all []delivery.Item, bodies []string) {
	r.t.Helper()
	items, err := r.s.Items(delivery.Queue(destination), 0, 10000)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, it := range items {
		t, err := delivery.DecodeTicket(it.Value)
		if err != nil {
			r.t.Fatal(err)
		}
		raw, err := r.s.Read(it.About[0])
		if err != nil {
			r.t.Fatal(err)
		}
		e, err := intake.DecodeEntry(raw)
		if err != nil {
			r.t.Fatal(err)
		}
		body, err := intake.Body(r.s, e)
		if err != nil {
			r.t.Fatal(err)
		}
		all = append(all, delivery.Item{Ticket: t, Group: it.Group, Seq: it.Seq})
		bodies = append(bodies, string(body))
	}
	return all, bodies
}

func (r *rig) counts(want string) {
	r.t.Helper()
	c := r.s.Snapshot().Counters
	sum := c["delivered"] + c["queued"] + c["held"]
	var got []string
	for _, k := range slices.Sorted(maps.Keys(c)) {
		if strings.HasPrefix(k, "consumed/") {
			sum += c[k]
		}
		if c[k] != 0 && !strings.HasPrefix(k, "received/") && k != "note/problem" {
			got = append(got, fmt.Sprint(k, "=", c[k]))
		}
	}
	if c["accepted"] != sum {
		r.t.Errorf("accepted %d is not the sum %d", c["accepted"], sum)
	}
	if g := strings.Join(got, " "); g != want {
		r.t.Errorf("counters %s\nwant     %s", g, want)
	}
}

func within(t *testing.T, f func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, t.TempDir())
		f(t, r)
		if err := r.s.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestAResultBecomesOneORUAsTheContractSays(t *testing.T) {
	within(t, func(t *testing.T, r *rig) {
		r.astm("xn-1", xn)
		r.interpret()
		items, bodies := r.queued("lis")
		if len(items) != 1 {
			t.Fatalf("%d messages", len(items))
		}
		id := items[0].ID
		got := strings.Split(strings.TrimSuffix(bodies[0], "\r"), "\r")
		now := time.Now().In(time.FixedZone("", 7*3600)).Format("20060102150405-0700")
		want := []string{
			`MSH|^~\&|NHIP|bv-test|LIS||` + now + `||ORU^R01^ORU_R01|` + id + `|P|2.5.1||||||UNICODE UTF-8`,
			`PID|1||PT-1||NGUYEN^AN||19870626|F`,
			`OBR|1||27|sysmex-xn-l^XN-550^L||||||||||||||||||` + now + `|||F`,
			`OBX|1|NM|WBC^^99SYSMEX-XN-L||6.41|10*3/uL||N|||F|||20260114081500+0700|bv-test^Bệnh viện Thử|||31457^sysmex-xn-l`,
			`OBX|2|ST|HGB^^99SYSMEX-XN-L||> 20|g/dL||H|||F|||20260114081500+0700|bv-test^Bệnh viện Thử|||31457^sysmex-xn-l`,
			`OBX|3|ST|NEWTEST^^99SYSMEX-XN-L||1,5|x||N|||F|||20260114081500+0700|bv-test^Bệnh viện Thử|||31457^sysmex-xn-l`,
			`NTE|1|L|test code not declared in profile sysmex-xn-l`,
			`SPM|1|27||^^^^^^^^unknown`,
		}
		for i := range max(len(got), len(want)) {
			if i >= len(got) || i >= len(want) || !sameButOptional(got[i], want[i]) {
				t.Errorf("segment %d\n got %s\nwant %s", i+1, at(got, i), at(want, i))
			}
		}
		if len(id) > 20 || id == "" {
			t.Errorf("control ID %q", id)
		}
		r.counts("accepted=1 note/undeclared code=1 queued=1")
	})
}

// sameButOptional compares segments; OBX-3.4 and OBX-6.4 (LOINC and UCUM) are
// the profile's and not under test here, nor is the type of the specimen.
func sameButOptional(got, want string) bool {
	g, w := strings.Split(got, "|"), strings.Split(want, "|")
	if len(g) != len(w) {
		return false
	}
	for i := range g {
		if g[0] == "OBX" && (i == 3 || i == 6) {
			g[i], w[i] = firstOf(g[i]), firstOf(w[i])
		}
		if g[0] == "SPM" && i == 4 {
			continue
		}
		if g[i] != w[i] {
			return false
		}
	}
	return true
}

func firstOf(field string) string { c, _, _ := strings.Cut(field, "^"); return c }

func at(s []string, i int) string {
	if i < len(s) {
		return s[i]
	}
	return "(none)"
}

func TestControlMaterialIsNeverInThePatientLane(t *testing.T) {
	within(t, func(t *testing.T, r *rig) {
		r.astm("xn-1", xnControl)
		r.interpret()
		if items, _ := r.queued("lis"); len(items) != 0 {
			t.Errorf("%+v", items)
		}
		r.counts("accepted=1 consumed/control=1")
		charts, err := qc.List(r.s, "xn-1")
		if err != nil || len(charts) == 0 {
			t.Fatalf("no chart of the control: %v", err)
		}
		if err := charts[0].Fill(r.s, time.Time{}, 0); err != nil || len(charts[0].Points) != 1 || charts[0].Points[0].Entry == "" {
			t.Errorf("%+v %v", charts[0], err)
		}
	})
}

func TestResultsWithoutASpecimenAreHeld(t *testing.T) {
	within(t, func(t *testing.T, r *rig) {
		r.astm("xn-1", xnNameless)
		r.interpret()
		if items, _ := r.queued("lis"); len(items) != 0 {
			t.Errorf("%+v", items)
		}
		r.counts("accepted=1 held=1")
	})
}

func TestADeviceOnTrialReachesNoDestination(t *testing.T) {
	within(t, func(t *testing.T, r *rig) {
		r.astm("new-1", xn)
		r.astm("alone", xn)
		r.interpret()
		if items, _ := r.queued("lis"); len(items) != 0 {
			t.Errorf("%+v", items)
		}
		r.counts("accepted=2 consumed/no_destination=1 consumed/trial=1 note/undeclared code=2")
		keys, err := r.s.Keys(SpecimenKeys("27"), 10)
		if err != nil || len(keys) != 2 {
			t.Errorf("found by its specimen: %v %v", keys, err)
		}
	})
}

func TestAResendHasANewControlIDAndIsMarked(t *testing.T) {
	within(t, func(t *testing.T, r *rig) {
		r.astm("xn-1", xn)
		r.astm("xn-1", xn)
		r.interpret()
		items, bodies := r.queued("lis")
		if len(items) != 2 || items[0].ID == items[1].ID {
			t.Fatalf("%+v", items)
		}
		if strings.Contains(bodies[0], "sent again") || !strings.Contains(bodies[1], "\rNTE|1|L|sent again by the device") {
			t.Error(bodies[1])
		}
		if items[0].Group != items[1].Group {
			t.Error("one specimen, two groups")
		}
	})
}

func TestAMessageOfASystemIsPassedThroughByteForByte(t *testing.T) {
	within(t, func(t *testing.T, r *rig) {
		const m = "MSH|^~\\&|HIS||LIS||20260101||ORM^O01|77|P|2.3||||||8859/1\nPID|1||9||L\xEA\rZZZ|x|\r"
		if _, err := r.in.HL7(t.Context(), "his", "a", "77", []byte(m), nil, nil); err != nil {
			t.Fatal(err)
		}
		r.interpret()
		items, bodies := r.queued("lis")
		if len(items) != 1 || items[0].ID != "77" || bodies[0] != m {
			t.Errorf("%+v %q", items, bodies)
		}
	})
}

func TestWhatCannotBeInterpretedIsHeldWithItsReason(t *testing.T) {
	within(t, func(t *testing.T, r *rig) {
		r.astm("xn-1", "Q|rubbish\rL|1\r")
		r.astm("gone", xn)
		if err := r.in.Observation(t.Context(), intake.KindObservation, "bed", "a", []byte("bad"), nil); err != nil {
			t.Fatal(err)
		}
		r.interpret()
		items, err := r.s.Items(intake.HeldQueue, 0, 10)
		if err != nil || len(items) != 3 {
			t.Fatal(len(items), err)
		}
		for _, it := range items {
			h, err := intake.DecodeHeldTicket(it.Value)
			if err != nil || h.Reason.IsZero() || len(it.About) != 1 {
				t.Errorf("%+v %v", h, err)
			}
		}
		r.counts("accepted=3 held=3")
	})
}

func TestObservationsArePublishedInTheCommitThatConsumesThem(t *testing.T) {
	within(t, func(t *testing.T, r *rig) {
		if err := r.in.Observation(t.Context(), intake.KindObservation, "bed", "a", []byte("98"), nil); err != nil {
			t.Fatal(err)
		}
		r.interpret()
		if v, ok, _ := r.s.Get("published/bed"); !ok || string(v) != "1" {
			t.Error("not published")
		}
		if _, bodies := r.queued("lis"); len(bodies) != 1 || !strings.HasSuffix(bodies[0], "98") {
			t.Errorf("%q", bodies)
		}
		r.counts("accepted=1 queued=1")
	})
}

func TestNoControlIDIsGivenOutTwiceOverRestarts(t *testing.T) {
	dir := t.TempDir()
	seen := map[string]bool{}
	for range 5 {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, dir)
			for i := range 30 {
				r.astm("xn-1", strings.Replace(xn, "27", fmt.Sprint(i), 1))
			}
			r.interpret()
			items, _ := r.queued("lis")
			for _, it := range items {
				b := new(storage.Batch)
				b.Remove(delivery.Queue("lis"), it.Seq)
				if _, err := r.s.Commit(t.Context(), b); err != nil {
					t.Fatal(err)
				}
				if seen[it.ID] {
					t.Errorf("%s twice", it.ID)
				}
				seen[it.ID] = true
			}
			r.s.Close()
		})
	}
	if len(seen) != 150 {
		t.Errorf("%d control IDs", len(seen))
	}
}

func TestManyMessagesAtOnceFitIntoCommits(t *testing.T) {
	within(t, func(t *testing.T, r *rig) {
		const n = 1500
		msgs := make([]e1381.Message, 0, n)
		for i := range n {
			msgs = append(msgs, e1381.Message{Records: []byte(strings.Replace(xn, "27", fmt.Sprint(i), 1))})
		}
		a := r.in.ASTM("xn-1", "a")
		for c := range slices.Chunk(msgs, 100) {
			if err := a.Store(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
		r.interpret()
		if items, _ := r.queued("lis"); len(items) != n {
			t.Errorf("%d of %d", len(items), n)
		}
	})
}

func TestAMessageThatWouldBeTooManyIsHeld(t *testing.T) {
	within(t, func(t *testing.T, r *rig) {
		var b strings.Builder
		b.WriteString("H|\\^&|||    XN-550^00-12^31457^^^^BZ900001||||||||E1394-97\rP|1\r")
		for i := range 900 {
			fmt.Fprintf(&b, "O|%d||^^%d^M|^^^^WBC|||||||N\rR|1|^^^^WBC^1|6.41|10*3/uL||N||F\r", i+1, i+1)
		}
		b.WriteString("L|1|N\r")
		r.astm("xn-1", b.String())
		r.astm("xn-1", xn)
		r.interpret()
		if items, _ := r.queued("lis"); len(items) != 1 {
			t.Errorf("%d", len(items))
		}
		r.counts("accepted=2 held=1 note/undeclared code=1 queued=1")
	})
}

// What an analyser sends for training or debugging becomes no message of ours before
// a person says so. A system's message goes on as it is, and says so itself.
func TestTrainingAndDebuggingAreHeldUntilReleased(t *testing.T) {
	within(t, func(t *testing.T, r *rig) {
		for i, p := range []string{"T", "D", "P", "T^R", ""} {
			m := fmt.Sprintf("MSH|^~\\&|BC-5380|Mindray|||20260114083000||ORU^R01|%d|%s|2.3.1\rOBR|1||S%d|00001^Automated Count^99MRC\rOBX|1|NM|6690-2^WBC^LN||6.41|10*9/L|||||F\r", i, p, i)
			if _, err := r.in.HL7(t.Context(), "bc-1", "a", fmt.Sprint(i), []byte(m), nil, nil); err != nil {
				t.Fatal(err)
			}
		}
		r.interpret()
		items, _ := r.queued("lis")
		if len(items) != 2 || items[0].Of != "S2" || items[1].Of != "S4" {
			t.Errorf("%+v", items)
		}
		held, err := r.s.Items(intake.HeldQueue, 0, 10)
		if err != nil || len(held) != 3 {
			t.Fatal(held, err)
		}
		h, err := intake.DecodeHeldTicket(held[0].Value)
		if err != nil || h.Reason.Code != reason.NotProduction || h.Reason.Args[0] != "T" {
			t.Errorf("%+v %v", h, err)
		}
		// Released: as gateway/run does it.
		b := new(storage.Batch)
		b.Remove(intake.HeldQueue, held[0].Seq)
		b.EnqueueRef(intake.Interpret, held[0].Group, intake.Again, held[0].About...)
		b.Add(intake.CountHeld, -1)
		b.Add(intake.CountQueued, 1)
		if _, err := r.s.Commit(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		r.interpret()
		if items, _ := r.queued("lis"); len(items) != 3 || items[2].Of != "S0" {
			t.Errorf("%+v", items)
		}
		r.counts("accepted=5 held=2 queued=3")
		m := "MSH|^~\\&|HIS||LIS||20260101||ORU^R01|9|T|2.5.1\rOBR|1||S9\rOBX|1|NM|GLU||5\r"
		if _, err := r.in.HL7(t.Context(), "his", "a", "9", []byte(m), nil, nil); err != nil {
			t.Fatal(err)
		}
		r.interpret()
		if items, _ := r.queued("lis"); len(items) != 4 || items[3].ID != "9" {
			t.Errorf("%+v", items)
		}
	})
}

// A value that its sender flags as critical overtakes others.
func TestACriticalFlagMakesAMessageUrgent(t *testing.T) {
	within(t, func(t *testing.T, r *rig) {
		flags := []string{"N", "HH", "H", "LL", "H~LL", "A^AA", "HHH", "", "AA^x"}
		for i, f := range flags {
			m := fmt.Sprintf("MSH|^~\\&|HIS||LIS||20260101||ORU^R01|%d|P|2.5.1\rOBR|1||S%d\rOBX|1|NM|HH||5||||||F\rOBX|2|NM|K||7.1|mmol/L||%s|||F\r", i, i, f)
			if _, err := r.in.HL7(t.Context(), "his", "a", fmt.Sprint(i), []byte(m), nil, nil); err != nil {
				t.Fatal(err)
			}
		}
		r.astm("xn-1", strings.Replace(xn, "||N||F", "||HH||F", 1))
		r.astm("xn-1", strings.Replace(xn, "6.41", "6.42", 1))
		r.interpret()
		items, _ := r.queued("lis")
		var stat []bool
		for _, it := range items {
			stat = append(stat, it.Stat)
		}
		if want := []bool{false, true, false, true, true, false, false, false, true, true, false}; !slices.Equal(stat, want) {
			t.Errorf("%v, want %v", stat, want)
		}
	})
}
