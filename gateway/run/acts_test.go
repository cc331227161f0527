package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"nhip/gateway/config"
	"nhip/gateway/console"
	"nhip/gateway/control"
	"nhip/gateway/delivery"
	"nhip/hl7/mllp"
	"nhip/storage"
)

// A desktop is a gateway process with one system that sends, a LIS that can be
// away, and somebody who acts.
type desktop struct {
	t        *testing.T
	file     string
	data     string
	hl7, lis string
	proc     *exec.Cmd

	mu  sync.Mutex
	got []string
	ae  map[string]bool // control IDs that are answered AE
}

func newDesktop(t *testing.T) *desktop {
	t.Helper()
	dir := t.TempDir()
	p := freePorts(t, 5)
	d := &desktop{t: t, file: filepath.Join(dir, "site.toml"), data: filepath.Join(dir, "data"), hl7: p[0], lis: p[1], ae: map[string]bool{}}
	text := fmt.Sprintf("[site]\nid=\"bv\"\ndata=%q\n[console]\nlisten=%q\n[dicom]\nlisten=%q\n[mqtt]\nlisten=%q\n[hl7]\nlisten=%q\n", d.data, p[2], p[3], p[4], d.hl7) +
		"[[hl7_peer]]\nname=\"his\"\naddress=\"127.0.0.1\"\nto=[\"lis\"]\n" +
		fmt.Sprintf("[[destination]]\nname=\"lis\"\nkind=\"hl7\"\naddress=%q\nanswer_timeout=\"2s\"\n", d.lis)
	if err := os.WriteFile(d.file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.kill)
	return d
}

func (d *desktop) start() {
	d.t.Helper()
	d.proc = exec.Command(os.Args[0])
	d.proc.Env = append(os.Environ(), childConfig+"="+d.file)
	if err := d.proc.Start(); err != nil {
		d.t.Fatal(err)
	}
	d.until("the gateway answers", func() bool { return d.ask("queue", QueueRequest{}, nil) == nil })
}

func (d *desktop) kill() {
	if d.proc != nil {
		d.proc.Process.Kill()
		d.proc.Wait()
		d.proc = nil
	}
}

func (d *desktop) until(what string, f func() bool) {
	d.t.Helper()
	for end := time.Now().Add(90 * time.Second); !f(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			d.t.Fatalf("in 30 s it did not come to this: %s", what)
		}
	}
}

func (d *desktop) ask(path string, request, answer any) error {
	return control.Call(d.t.Context(), d.data, "Anna", path, request, answer)
}

// act does something, and kills the gateway as soon as it was answered.
func (d *desktop) act(path string, request any) {
	d.t.Helper()
	if err := d.ask(path, request, nil); err != nil {
		d.t.Fatalf("%s: %v", path, err)
	}
	d.kill()
	d.start()
}

func (d *desktop) queue() DestinationQueue {
	d.t.Helper()
	var a QueueAnswer
	if err := d.ask("queue", QueueRequest{Destination: "lis"}, &a); err != nil {
		d.t.Fatal(err)
	}
	return a.Destinations[0]
}

func (d *desktop) send(text string) {
	d.t.Helper()
	var c net.Conn
	d.until("the HL7 port is open", func() (ok bool) {
		var err error
		c, err = net.Dial("tcp", d.hl7)
		return err == nil
	})
	client := mllp.NewClient(mllp.ClientOptions{Dial: func(context.Context) (net.Conn, error) { return c, nil }})
	defer client.Close()
	if _, err := client.Send(d.t.Context(), []byte(text)); err != nil {
		d.t.Fatal(err)
	}
}

func orum(id string) string {
	return "MSH|^~\\&|HIS|BV|NHIP|BV|20260114081500||ORU^R01^ORU_R01|" + id + "|P|2.5.1\rOBR|1||" + id + "|X\rOBX|1|NM|WBC||6.41\r"
}

// serve is the LIS until the test ends.
func (d *desktop) serve() {
	d.t.Helper()
	l, err := net.Listen("tcp", d.lis)
	if err != nil {
		d.t.Fatal(err)
	}
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				_ = mllp.Serve(ctx, c, mllp.ServeOptions{Log: slog.New(slog.DiscardHandler), Handler: func(_ context.Context, f []byte) ([]byte, error) {
					id := strings.Split(string(f), "|")[9]
					d.mu.Lock()
					defer d.mu.Unlock()
					code := "AA"
					if d.ae[id] {
						code = "AE"
					} else {
						d.got = append(d.got, string(f))
					}
					return []byte("MSH|^~\\&|LIS||NHIP||20260114||ACK|A|P|2.5.1\rMSA|" + code + "|" + id + "\r"), nil
				}})
			})
		}
	})
	d.t.Cleanup(func() { l.Close(); cancel(); d.kill(); wg.Wait() })
}

func (d *desktop) took() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.got)
}

// Every act is on disk before it is answered: the gateway is killed with kill -9 as
// soon as the answer is there, and the act holds after the start.
func TestAnActThatWasAnsweredSurvivesKill9(t *testing.T) {
	if testing.Short() {
		t.Skip("kills a process eight times")
	}
	d := newDesktop(t)
	d.start()
	d.act("pause", DestinationRequest{Destination: "lis", Reason: "update"})
	for i := range 5 {
		d.send(orum(fmt.Sprint("M", i+1)))
	}
	d.until("five wait", func() bool { return d.queue().Depth == 5 })
	if q := d.queue(); q.State != "paused" || q.Pause == nil || q.Pause.By != "Anna" {
		t.Errorf("%+v", q)
	}
	d.act("discard", ItemRequest{ID: "to/lis/2", Reason: "double"})
	if q := d.queue(); q.Depth != 4 || q.State != "paused" {
		t.Errorf("%+v", q)
	}
	d.ae["M4"] = true
	d.serve()
	d.act("resume", DestinationRequest{Destination: "lis"})
	d.until("three are delivered and one is held", func() bool { q := d.queue(); return q.Depth == 1 && q.Held == 1 })
	d.mu.Lock()
	d.ae["M4"] = false
	d.mu.Unlock()
	d.act("release", ItemRequest{ID: "to/lis/4"})
	d.until("all is delivered", func() bool { return d.queue().Depth == 0 })
	var got []string
	for _, m := range d.took() { // a kill may repeat some under their own names
		if !slices.Contains(got, m) {
			got = append(got, m)
		}
	}
	if want := []string{orum("M1"), orum("M3"), orum("M5"), orum("M4")}; !slices.Equal(got, want) {
		t.Errorf("the LIS has %q", got)
	}
	n := len(d.took())
	d.act("resend", ResendRequest{Destination: "lis", IDs: []string{"M3"}})
	d.until("M3 comes again", func() bool { return slices.Contains(d.took()[n:], orum("M3")) && d.queue().Depth == 0 })
	n = len(d.took())
	d.act("resend", ResendRequest{Destination: "lis", From: time.Now().Add(-time.Hour), Channel: "in/his"})
	d.until("the range comes again", func() bool { return len(d.took()) >= n+4 && d.queue().Depth == 0 })
	if got := d.took(); slices.Contains(got, orum("M2")) {
		t.Errorf("a range brought back what was discarded: %q", got)
	}
	d.act("resend", ResendRequest{Destination: "lis", IDs: []string{"in/his/2"}, Reason: "it was not double"})
	d.until("what was discarded comes by its own name", func() bool { return slices.Contains(d.took(), orum("M2")) })

	d.kill()
	s, err := storage.Open(t.Context(), storage.Options{Dir: d.data, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := delivery.Balance(s.Snapshot()); err != nil {
		t.Error(err)
	}
	var acts []string
	s.Range(control.AuditChannel, 1, 0, false, func(_ storage.Ref, b []byte) bool {
		a, _ := control.DecodeAudit(b)
		acts = append(acts, a.Act)
		if a.By != "Anna" || a.User == "" || a.Via != control.ViaSocket {
			t.Errorf("%+v", a)
		}
		return true
	})
	if want := []string{"pause", "discard", "resume", "release", "resend", "resend", "resend"}; !slices.Equal(acts, want) {
		t.Errorf("the audit journal has %v", acts)
	}
}

// What reached no destination: released, it is interpreted again; discarded, it is
// gone by a named person. And all of it while no gateway runs.
func TestWhatIsHeldBeforeItHasADestination(t *testing.T) {
	d := newDesktop(t)
	d.start()
	d.send(strings.Replace(orum("M1"), "|M1|P|", "||P|", 1)) // no control ID
	d.send(strings.Replace(orum("M2"), "|M2|P|", "||P|", 1))
	d.send(orum("M3"))
	held := func(ask func(string, any, any) error) []string {
		var a HeldAnswer
		if err := ask("held", QueueRequest{}, &a); err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, h := range a.Held {
			ids = append(ids, h.ID)
		}
		return ids
	}
	if got := held(d.ask); !slices.Equal(got, []string{"held/1", "held/2"}) {
		t.Fatal(got)
	}
	if err := d.ask("release", ItemRequest{ID: "held/1"}, nil); err != nil {
		t.Fatal(err)
	}
	// It is interpreted again, and no answer could ever name it: held once more.
	d.until("it is held again", func() bool { return slices.Equal(held(d.ask), []string{"held/2", "held/3"}) })
	for _, bad := range []ItemRequest{{ID: "held/1", Reason: "x"}, {ID: "held/99", Reason: "x"}, {ID: "held/2"}, {ID: "held", Reason: "x"}, {ID: "to/held/2", Reason: "x"}, {ID: "interpret/1", Reason: "x"}, {ID: "to/nowhere/1", Reason: "x"}, {ID: "to/lis/77", Reason: "x"}, {ID: "held/-1", Reason: "x"}} {
		if err := d.ask("discard", bad, nil); err == nil {
			t.Errorf("discarded %+v", bad)
		}
	}
	if err := d.ask("discard", json.RawMessage(`{"id":"held/2","reason":"x","force":true}`), nil); err == nil {
		t.Error("an unknown field was taken")
	}
	if err := d.ask("discard", ItemRequest{ID: "held/2", Reason: "sent by hand"}, nil); err != nil {
		t.Fatal(err)
	}
	d.kill()

	cfg, problems := config.Load(d.file, config.Env{})
	if !config.Good(problems) {
		t.Fatal(problems)
	}
	acts, done, err := Acts(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ask := func(path string, request, answer any) error {
		return acts.Do(t.Context(), control.Self("Anna"), path, request, answer)
	}
	if got := held(ask); !slices.Equal(got, []string{"held/3"}) {
		t.Error(got)
	}
	for id, reason := range map[string]string{"held/3": "old", "to/lis/1": "old"} {
		if err := ask("discard", ItemRequest{ID: id, Reason: reason}, nil); err != nil {
			t.Error(id, err)
		}
	}
	if err := acts.Do(t.Context(), control.Self(""), "discard", ItemRequest{ID: "to/lis/1", Reason: "x"}, nil); err == nil {
		t.Error("discarded by nobody")
	}
	if err := done(); err != nil {
		t.Error(err)
	}
	s, err := storage.Open(t.Context(), storage.Options{Dir: d.data, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c := s.Counters()
	if err := delivery.Balance(s.Snapshot()); err != nil || c[delivery.CountDiscarded] != 3 || c[delivery.CountQueued] != 0 || c[delivery.CountHeld] != 0 || c[delivery.CountAccepted] != 3 {
		t.Errorf("%v, %v", c, err)
	}
}

func TestAPersonIsKnownByTheHashOfTheToken(t *testing.T) {
	g := &Gateway{cfg: &config.Config{People: []config.Person{
		{Name: "Anna", TokenSHA256: "2BB80D537B1DA3E38BD30361AA855686BDE0EACD7162FEF6A25FE97BF527A25B"}, // "secret"
	}}}
	for token, want := range map[string]string{"secret": "Anna", "Secret": "", "": "", "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b": ""} {
		if name, known := g.person(token); name != want || known != (want != "") {
			t.Errorf("%q: %q %v", token, name, known)
		}
	}
}

func TestASecondGatewayOnTheSameDataIsRefusedToTheCommandLineToo(t *testing.T) {
	d := newDesktop(t)
	d.start()
	cfg, _ := config.Load(d.file, config.Env{})
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, _, err := Acts(ctx, cfg, slog.New(slog.DiscardHandler)); !errors.Is(err, storage.ErrInUse) && !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

func TestASumThatDoesNotFitIsAnErrorState(t *testing.T) {
	cfg := config.Default()
	cfg.Site.Data = t.TempDir()
	cfg.Console.Listen, cfg.DICOM.Listen, cfg.HL7.Listen, cfg.MQTT.Listen = []string{"127.0.0.1:0"}, nil, nil, nil
	g, err := Start(t.Context(), cfg, Options{Version: "test", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	wrong := func() bool {
		return slices.ContainsFunc(source{g}.Health(t.Context()), func(w console.Words) bool { return w.Code == console.HealthBalance })
	}
	if wrong() {
		t.Error("it says so while the sum is right")
	}
	b := new(storage.Batch)
	b.Add(delivery.CountAccepted, 1)
	if _, err := g.store.Commit(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if !wrong() {
		t.Error("one message is gone, and /healthz is good")
	}
}
