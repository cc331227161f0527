package lis

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"nhip/hardware-sim/truth"
	"nhip/hl7"
	"nhip/hl7/ack"
	"nhip/hl7/mllp"
)

// A gateway answers as the product's library does, and keeps what it got.
type gateway struct {
	address string
	got     chan *hl7.Message
}

func startGateway(t *testing.T, o ack.Options, change func([]byte) []byte) *gateway {
	t.Helper()
	return startGatewayOf(t, 1, o, change)
}

// startGatewayOf is one that speaks MLLP of a release.
func startGatewayOf(t *testing.T, release int, o ack.Options, change func([]byte) []byte) *gateway {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gateway{address: l.Addr().String(), got: make(chan *hl7.Message, 100)}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	handle := func(_ context.Context, b []byte) ([]byte, error) {
		m, err := hl7.Parse(b)
		if err != nil {
			return nil, err
		}
		g.got <- m
		v := ack.Verdict{Code: hl7.ApplicationAccept}
		if m.Get("PID-3.1") == "refused" {
			v = ack.Verdict{Code: hl7.ApplicationError, Errors: []hl7.Error{{Location: "PID-3", Code: hl7.ErrorUnknownKey, Text: "nobody | known"}}}
		}
		var answers [][]byte
		for _, a := range o.Answers(m, true, v, func() string { return "N2" }, time.Now(), nil) {
			answers = append(answers, change(a.Message))
		}
		return mllp.Join(answers), nil
	}
	go func() {
		ended <- mllp.Listen(ctx, l, mllp.ListenOptions{Handle: func(ctx context.Context, c net.Conn) {
			mllp.Serve(ctx, c, mllp.ServeOptions{Handler: handle, Release2: release == 2})
		}})
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return g
}

func same(b []byte) []byte { return b }

var (
	morning = time.Date(2026, 1, 14, 8, 15, 0, 0, time.FixedZone("", 7*3600))
	anh     = Patient{ID: "T0001", Citizen: "001234567890", Insurance: "GD4010112345678", Visit: "V9", Family: "Nguyễn", Given: "Thị Ánh", Born: "1980", Sex: "F"}
)

func newHIS(t *testing.T, o HISOptions) *HIS {
	o.Name, o.Now = "HIS", func() time.Time { return morning }
	h := NewHIS(o)
	t.Cleanup(h.Close)
	return h
}

func TestOrdersOfEveryShapeAreReadAndAnswered(t *testing.T) {
	order := Order{Placer: "P1", Specimen: "27", Patient: anh, Tests: [][2]string{{"CBC", "Công thức máu"}, {"GLU", "Glucose"}}, Urgent: true,
		Accession: "A1", StudyUID: "1.2.3", Modality: "CT", Station: "CT1", Start: morning}
	for shape, want := range map[Shape]map[string]string{
		ORM:        {"MSH-12": "2.3.1", "ORC-7.6": "S", "OBR-18": "A1", "ZDS-1.1": "1.2.3", "OBR-24": "CT", "ORC-7.4": "20260114081500"},
		OML:        {"MSH-12": "2.5.1", "SPM-2": "27", "TQ1-9": "S", "TQ1-7": "20260114081500"},
		OML33:      {"MSH-12": "2.5.1", "SPM-2": "27"},
		OMG:        {"MSH-12": "2.5.1", "TQ1-9": "S"},
		OMI:        {"IPC-1": "A1", "IPC-3": "1.2.3", "IPC-5": "CT", "IPC-9": "CT1"},
		Vietnamese: {"MSH-12": "2.7", "OBR-2.2": "A1", "PID-5.1": "Nguyễn Thị Ánh", "IPC-1": ""},
	} {
		t.Run(string(shape), func(t *testing.T) {
			g := startGateway(t, ack.Options{}, same)
			h := newHIS(t, HISOptions{Address: g.address, Shape: shape})
			reply, err := h.Place(t.Context(), order)
			if err != nil || reply.Code != "AA" || len(reply.Faults) > 0 {
				t.Fatalf("%+v, %v", reply, err)
			}
			m := <-g.got
			for path, value := range want {
				if got := m.Get(path); got != value {
					t.Errorf("%s is %q, want %q", path, got, value)
				}
			}
			for path, value := range map[string]string{"ORC-1": "NW", "ORC-2": "P1", "PID-3.1": "T0001", "PID-3[2].1": "001234567890", "PID-3[3].1": "GD4010112345678", "PID-7": "1980", "PV1-19": "V9", "OBR[2]-4.1": "GLU"} {
				if got := m.Get(path); got != value {
					t.Errorf("%s is %q, want %q", path, got, value)
				}
			}
			if reply, err := h.Cancel(t.Context(), "P1"); err != nil || reply.Code != "AA" {
				t.Fatalf("%+v, %v", reply, err)
			}
			cancel := <-g.got
			if sameID := cancel.ControlID() == m.ControlID(); cancel.Get("ORC-1") != "CA" || sameID != (shape == Vietnamese) {
				t.Errorf("cancelled by %s under %s, placed under %s", cancel.Get("ORC-1"), cancel.ControlID(), m.ControlID())
			}
			if all := h.Orders(); len(all) != 1 || !all[0].Cancelled {
				t.Errorf("%+v", all)
			}
		})
	}
}

func TestPatientsAreUpdatedAndMerged(t *testing.T) {
	g := startGateway(t, ack.Options{}, same)
	h := newHIS(t, HISOptions{Address: g.address, Shape: OML})
	if _, err := h.Place(t.Context(), Order{Placer: "P1", Patient: anh}); err != nil {
		t.Fatal(err)
	}
	<-g.got
	other := anh
	other.ID = "T0002"
	for _, send := range []func() (Reply, error){
		func() (Reply, error) { return h.Update(t.Context(), other) },
		func() (Reply, error) { return h.Merge(t.Context(), other, "T0001") },
	} {
		if reply, err := send(); err != nil || reply.Code != "AA" || len(reply.Faults) > 0 {
			t.Errorf("%+v, %v", reply, err)
		}
	}
	if m := <-g.got; m.Get("MSH-9") != "ADT^A08^ADT_A01" || m.Get("PID-3.1") != "T0002" {
		t.Errorf("%s", m.Bytes())
	}
	if m := <-g.got; m.Get("MSH-9") != "ADT^A40^ADT_A39" || m.Get("MRG-1.1") != "T0001" {
		t.Errorf("%s", m.Bytes())
	}
	if all := h.Orders(); all[0].Patient.ID != "T0002" {
		t.Errorf("%+v", all)
	}
}

func TestAcknowledgementsThatAreAskedForAreTaken(t *testing.T) {
	for _, c := range []struct {
		accept, application string
		mode                ack.Mode
		wantAccept, want    string
	}{
		{"", "", "", "", "AA"}, {"AL", "AL", "", "CA", "AA"}, {"AL", "NE", "", "CA", "CA"}, {"NE", "AL", "", "", "AA"}, {"NE", "NE", "", "", ""},
	} {
		g := startGateway(t, ack.Options{Mode: c.mode, Confirm: hl7.Always}, same)
		h := newHIS(t, HISOptions{Address: g.address, Shape: OML, Accept: c.accept, Application: c.application})
		reply, err := h.Place(t.Context(), Order{Placer: "P1", Patient: anh})
		if err != nil || reply.Accept != c.wantAccept || reply.Code != c.want || len(reply.Faults) > 0 {
			t.Errorf("%s, %s: %+v, %v", c.accept, c.application, reply, err)
		}
	}
}

func TestRefusedOrderIsNoneAndFaultyAnswersAreSaid(t *testing.T) {
	g := startGateway(t, ack.Options{}, same)
	h := newHIS(t, HISOptions{Address: g.address, Shape: OML})
	reply, err := h.Place(t.Context(), Order{Placer: "P1", Patient: Patient{ID: "refused"}})
	if err != nil || reply.Code != "AE" || reply.Text != "nobody | known" || len(h.Orders()) != 0 {
		t.Errorf("%+v, %v", reply, err)
	}
	for name, replaced := range map[string][2]string{
		"MSA-2":  {"MSA|AA|HIS", "MSA|AA|X"},
		"MSH-9":  {"ORL^O22^ORL_O22", "ACK^O21^ACK"},
		"MSH-18": {"UNICODE UTF-8", "8859/1"},
		"MSH-12": {"|P|2.5.1", "|P|2.5"},
		"CR":     {"000001\r", "000001"},
		"MSH-10": {"|N2|", "||"},
	} {
		g := startGateway(t, ack.Options{}, func(b []byte) []byte { return []byte(strings.Replace(string(b), replaced[0], replaced[1], 1)) })
		h := newHIS(t, HISOptions{Address: g.address, Shape: OML})
		reply, err := h.Place(t.Context(), Order{Placer: "P1", Patient: anh})
		if err != nil || !slices.ContainsFunc(reply.Faults, func(f string) bool { return strings.Contains(f, name) }) {
			t.Errorf("%s: %+v, %v", name, reply, err)
		}
	}
}

// A LIS in the enhanced mode answers the product's client twice: on the connection of
// the message, or on one of its own.
func TestEnhancedModeOfTheLIS(t *testing.T) {
	message := []byte(strings.Replace(oru, "|2.5.1||||||", "|2.5.1|||AL|AL||", 1))
	m, err := hl7.Parse(message)
	if err != nil || m.Get("MSH-16") != "AL" {
		t.Fatal(err)
	}
	answers := make(chan hl7.Acknowledgement, 10)
	other := func(frame []byte) ([]byte, error) {
		a, err := hl7.ParseAck(frame)
		if err != nil {
			return nil, err
		}
		answers <- a
		answer, _ := hl7.Parse(frame)
		accept, _ := ack.Options{}.Accept(answer, true, ack.Verdict{}, "N1", morning)
		return accept.Message, nil
	}
	back, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	listening := make(chan error, 1)
	go func() {
		listening <- mllp.Listen(ctx, back, mllp.ListenOptions{Handle: func(ctx context.Context, c net.Conn) {
			mllp.Serve(ctx, c, mllp.ServeOptions{Handler: func(_ context.Context, b []byte) ([]byte, error) { return other(b) }})
		}})
	}()
	defer func() { cancel(); <-listening }()
	for _, c := range []struct {
		back   string
		faults Faults
		want   ack.State
	}{{"", Faults{}, ack.Accepted}, {back.Addr().String(), Faults{}, ack.Accepted}, {"", Faults{AE: 1}, ack.Refused}, {back.Addr().String(), Faults{AR: 1}, ack.Refused}} {
		l := New(Options{Name: "lis", Log: slog.New(slog.DiscardHandler), Now: time.Now, Zone: time.UTC, Enhanced: true, Back: c.back, Received: func(truth.Delivery) {}})
		l.Inject(c.faults)
		ready, ended := make(chan string, 1), make(chan error, 1)
		run, stop := context.WithCancel(t.Context())
		go func() { ended <- l.Run(run, "127.0.0.1:0", func(a net.Addr) { ready <- a.String() }) }()
		client := mllp.NewClient(mllp.ClientOptions{Address: <-ready, Other: other})
		x := ack.NewExchange(m, ack.ByMessage)
		first, err := client.Send(t.Context(), message)
		if err != nil {
			t.Fatal(err)
		}
		a, err := hl7.ParseAck(first)
		if x, _ = x.Received(a); err != nil || x.State != ack.Committed {
			t.Errorf("after the first answer: %+v, %v", x, err)
		}
		select {
		case a := <-answers:
			x, _ = x.Received(a)
		case <-time.After(30 * time.Second):
			t.Fatal("no application acknowledgement")
		}
		if x.State != c.want {
			t.Errorf("%+v: %+v", c, x)
		}
		client.Close()
		stop()
		<-ended
	}
}

// Both sides against the product's library, in release 2 of MLLP.
func TestRelease2(t *testing.T) {
	g := startGatewayOf(t, 2, ack.Options{}, same)
	h := newHIS(t, HISOptions{Address: g.address, Shape: OML, Release2: true})
	for n := range 5 {
		reply, err := h.Place(t.Context(), Order{Placer: fmt.Sprint("P", n), Patient: anh})
		if err != nil || reply.Code != "AA" || len(reply.Faults) > 0 {
			t.Fatalf("%+v, %v", reply, err)
		}
	}
	one := newHIS(t, HISOptions{Address: startGateway(t, ack.Options{}, same).address, Shape: OML, Release2: true})
	if _, err := one.Place(t.Context(), Order{Placer: "P1", Patient: anh}); err == nil {
		t.Error("a gateway of release 1 commits")
	}
	l := New(Options{Name: "lis", Log: slog.New(slog.DiscardHandler), Now: time.Now, Zone: time.UTC, Release2: true, Received: func(truth.Delivery) {}})
	ready, ended := make(chan string, 1), make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { ended <- l.Run(ctx, "127.0.0.1:0", func(a net.Addr) { ready <- a.String() }) }()
	client := mllp.NewClient(mllp.ClientOptions{Address: <-ready, Release2: true})
	for range 5 {
		if answer, err := client.Send(t.Context(), []byte(oru)); err != nil || !strings.Contains(string(answer), "MSA|AA|ab12000001\r") {
			t.Fatalf("%q, %v", answer, err)
		}
	}
	for l.Counters()["committed"] < 5 && ctx.Err() == nil {
		runtime.Gosched() // until it has read the last of them
	}
	client.Close()
	cancel()
	<-ended
}
