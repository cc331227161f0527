package monitor

import (
	"bufio"
	"context"
	"errors"
	"log/slog"
	"net"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"nhip/hardware-sim/truth"
	"nhip/hardware-sim/wire"
)

func options(log *truth.Log, limit int) Options {
	return Options{
		Name: "bed-12", Seed: 5, Start: time.Unix(1768353300, 0), Every: time.Second, Limit: limit, Zone: time.FixedZone("", 7*3600),
		Watchers: []string{"mqtt"}, Truth: log, Log: slog.New(slog.DiscardHandler),
	}
}

// gateway answers PCD-01 messages with these codes in turn, then AA; "" cuts.
func gateway(c net.Conn, answers []string, got *[]string) []string {
	r := bufio.NewReader(c)
	for {
		m, err := wire.ReadBlock(r)
		if err != nil {
			return answers
		}
		*got = append(*got, string(m))
		code := "AA"
		if len(answers) > 0 {
			code, answers = answers[0], answers[1:]
		}
		if code == "" {
			c.Close()
			return answers
		}
		id := wire.First(wire.Split(m), "MSH").Field(10)
		c.Write(wire.Block([]byte("MSH|^~\\&|||||||ACK|1|P|2.6\rMSA|AR|0" + id + "\r"))) // to another message
		c.Write(wire.Block([]byte("MSH|^~\\&|||||||ACK|1|P|2.6\rMSA|" + code + "|" + id + "\r")))
	}
}

func TestAMessageIsSentUntilItIsAcknowledged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := truth.New(nil, time.Now)
		m := New(options(log, 3))
		var got []string
		answers := []string{"AA", "AR", "", "CA"}
		done := make(chan struct{})
		close(done)
		m.Run(t.Context(), func(context.Context) (wire.Line, error) {
			<-done
			ours, theirs := net.Pipe()
			done = make(chan struct{})
			go func() { answers = gateway(theirs, answers, &got); theirs.Close(); close(done) }()
			return ours, nil
		})
		<-done
		if m.Sent() != 3 || len(got) != 5 || got[1] != got[2] || got[2] != got[3] {
			t.Fatalf("%d acknowledged, %d offered", m.Sent(), len(got))
		}
		if r := log.Report(); r.Received != 3*len(metrics) || r.Lost != r.Received {
			t.Errorf("%+v", r.Counts)
		}
	})
}

func TestWhatCannotBeWatchedIsNotCompared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := truth.New(nil, time.Now)
		o := options(log, 1)
		o.Watching = func() bool { return false }
		m := New(o)
		var got []string
		ours, theirs := net.Pipe()
		go gateway(theirs, nil, &got)
		m.Run(t.Context(), func(context.Context) (wire.Line, error) { return ours, nil })
		if r := log.Report(); r.Lost != 0 || r.Unseen != len(metrics) {
			t.Errorf("%+v", r.Counts)
		}
	})
}

func TestThePublishedJSONIsHeldAgainstWhatWasSent(t *testing.T) {
	at := time.Date(2026, 1, 14, 8, 15, 0, 0, time.FixedZone("", 7*3600))
	sent := observation("bed-12", 1, metrics[1], "98", at, []string{"mqtt"})
	good := `{"code":150456,"mdc":"MDC_PULS_OXIM_SAT_O2","value":"98","unit":"%","device_time":"2026-01-14T01:15:00Z","gateway_time":"2026-01-14T01:15:01Z","seq":17,"state":"valid"}`
	for name, c := range map[string]struct {
		body          string
		changed, lost int
	}{
		"the same":         {good, 0, 0},
		"other value":      {strings.Replace(good, `"98"`, `"98.0"`, 1), 1, 0},
		"other unit":       {strings.Replace(good, `"%"`, `"kPa"`, 1), 1, 0},
		"other state":      {strings.Replace(good, "valid", "test", 1), 1, 0},
		"other time":       {strings.Replace(good, "T01:15:00Z", "T08:15:00Z", 1), 1, 1},
		"other code":       {strings.Replace(good, "150456", "150455", 1), 1, 1},
		"names a patient":  {strings.Replace(good, "MDC_PULS", patientName, 1), 1, 0},
		"no JSON":          {"98", 1, 1},
		"without a value":  {strings.Replace(good, `"98"`, `""`, 1), 0, 1},
		"zone of the site": {strings.Replace(good, "2026-01-14T01:15:00Z", "2026-01-14T08:15:00+07:00", 1), 0, 0},
	} {
		log := truth.New(nil, time.Now)
		log.Offer(sent)
		log.Acknowledge(sent.ID)
		if d, ok := read("bed-12", "v1/site/icu/bed-12/numeric", []byte(c.body)); ok {
			d.Destination = "mqtt"
			log.Arrive(d)
		}
		if r := log.Report(); r.Changed != c.changed || r.Lost != c.lost {
			t.Errorf("%s: changed %d, lost %d; %v", name, r.Changed, r.Lost, r.Differences)
		}
	}
}

func TestReadingsAreBoundedAndRepeatable(t *testing.T) {
	a, b := newWalk(5, "bed-12", metrics), newWalk(5, "bed-12", metrics)
	moved := false
	first := strings.Join(a.next(metrics), " ")
	b.next(metrics)
	for range 5000 {
		x, y := a.next(metrics), b.next(metrics)
		if strings.Join(x, " ") != strings.Join(y, " ") {
			t.Fatal("equal seeds differ")
		}
		moved = moved || strings.Join(x, " ") != first
		for n, v := range a.values {
			if m := metrics[n]; v < m.low || v > m.high {
				t.Fatalf("%s is %v", m.mdc, v)
			}
		}
	}
	if !moved {
		t.Error("nothing moves")
	}
}

// The shape in reference: date, time, then NAME=value in the order of the
// device; nine characters for a value that cannot be there.
var masimo = regexp.MustCompile(`^\d\d/\d\d/\d\d \d\d:\d\d:\d\d SN=\d{10} SPO2=\d{3}% BPM=\d{3} PI=\d\d\.\d\d% SPCO=--% SPMET=--\.-% DESAT=-- PIDELTA=\+-- PVI=--- ALARM=\d{6} EXC=\d{6}\r\n$`)

type buffer struct {
	strings.Builder
	unread bool
}

func (b *buffer) Taken() bool  { return !b.unread }
func (b *buffer) Close() error { return nil }

func TestTheOximeterWritesALineASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := truth.New(nil, time.Now)
		o := options(log, 4)
		o.Every = 300 * time.Millisecond
		b := &buffer{}
		if err := NewOximeter(o).Run(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		lines := strings.SplitAfter(strings.TrimPrefix(b.String(), "\r\n"), "\n")
		if len(lines) != 5 || lines[4] != "" {
			t.Fatalf("%q", lines)
		}
		seen := map[string]bool{}
		for _, l := range lines[:4] {
			if !masimo.MatchString(l) || seen[l[:17]] {
				t.Errorf("%q", l)
			}
			seen[l[:17]] = true
		}
		if r := log.Report(); r.Received != 12 {
			t.Errorf("%+v", r.Counts)
		}
	})
}

func TestALineThatNobodyReadsIsNotHandedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		log := truth.New(nil, time.Now)
		if err := NewOximeter(options(log, 4)).Run(ctx, &buffer{unread: true}); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if r := log.Report(); r.Received != 0 {
			t.Errorf("%+v", r.Counts)
		}
	})
}

func TestACutLineRepeatsTheMessageUnderItsControlID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := truth.New(nil, time.Now)
		m := New(options(log, 2))
		m.Inject(Faults{CutLine: 1})
		var got []string
		var all sync.WaitGroup
		m.Run(t.Context(), func(context.Context) (wire.Line, error) {
			ours, theirs := net.Pipe()
			all.Wait()
			all.Go(func() { gateway(theirs, nil, &got); theirs.Close() })
			return ours, nil
		})
		all.Wait()
		if len(got) != 3 || got[0] != got[1] || m.Counters()["line cut"] != 1 {
			t.Errorf("%d messages, %v", len(got), m.Counters())
		}
	})
}
