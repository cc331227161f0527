package analyser_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"nhip/drivers/astm/e1381"
	"nhip/drivers/port"
	"nhip/hardware-sim/analyser"
	"nhip/hardware-sim/truth"
	"nhip/hardware-sim/wire"
)

// host answers every query with one test, on the product's own link layer.
type host struct {
	box *e1381.Outbox

	mu      sync.Mutex
	results int
	asked   []string
	failed  []string
}

func (h *host) Store(_ context.Context, messages []e1381.Message) error {
	for _, m := range messages {
		_, query, asks := strings.Cut(string(m.Records), "\rQ|1|^")
		h.mu.Lock()
		if !asks {
			h.results++
			h.mu.Unlock()
			continue
		}
		specimen, _, _ := strings.Cut(query, "|")
		h.asked = append(h.asked, specimen)
		h.mu.Unlock()
		h.send(specimen)
	}
	return nil
}

// send sends an order until it is taken, as its owner would.
func (h *host) send(specimen string) {
	records := fmt.Appendf(nil, "H|\\^&\rP|1\rO|1|%s||^^^GLU\\^^^UREA|R||||||||||||||||||||Q\rL|1|N\r", specimen)
	h.box.Put(e1381.Outgoing{Frames: e1381.Frames(records, e1381.PerRecord, 0), Done: func(err error) {
		if err != nil {
			h.mu.Lock()
			h.failed = append(h.failed, err.Error())
			h.mu.Unlock()
		}
	}})
}

func (h *host) Incomplete(context.Context, e1381.Message, string) error { return nil }
func (h *host) Ended(context.Context) error                             { return nil }

// The simulator's link layer and the product's talk both ways: queries are answered,
// orders that nobody asked for are taken, with frames refused, and results keep coming.
func TestAnalyserAsksAndTakesOrders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		h := &host{box: &e1381.Outbox{}}
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() {
			served <- e1381.Serve(ctx, port.FromNet(there), e1381.ServeOptions{Handler: h, Outbox: h.box})
			there.Close()
		}()
		var mu sync.Mutex
		var taken []string
		a := analyser.New(analyser.Options{
			Name: "two-way", Model: analyser.Models["generic-astm"], Start: time.Date(2026, 1, 14, 8, 0, 0, 0, time.UTC), Every: 2 * time.Second, Limit: 10,
			Timing: analyser.Standard, Truth: truth.New(io.Discard, time.Now), Log: slog.New(slog.DiscardHandler),
			Take: func(w analyser.Answer) {
				mu.Lock()
				defer mu.Unlock()
				for _, o := range w.Orders {
					taken = append(taken, o.Specimen+":"+strings.Join(o.Tests, ","))
				}
			},
		})
		a.Inject(analyser.Faults{RefuseFrame: 2, SplitEvery: 7})
		for n := range 5 {
			a.Ask(fmt.Sprintf("Q%d", n))
		}
		connected := false
		done := make(chan struct{})
		go func() {
			a.Run(ctx, func(context.Context) (wire.Line, error) {
				if connected {
					return nil, net.ErrClosed
				}
				connected = true
				return here, nil
			})
			close(done)
		}()
		time.Sleep(5 * time.Second)
		h.send("D1")
		h.send("D2")
		<-done
		cancel()
		<-served
		mu.Lock()
		defer mu.Unlock()
		slices.Sort(taken)
		if got, want := strings.Join(taken, " "), "D1:GLU,UREA D2:GLU,UREA Q0:GLU,UREA Q1:GLU,UREA Q2:GLU,UREA Q3:GLU,UREA Q4:GLU,UREA"; got != want {
			t.Errorf("taken %s, want %s; the host: %q", got, want, h.failed)
		}
		if len(h.asked) != 5 || h.results < 10 || a.Counters()["host's frame refused"] != 2 {
			t.Errorf("%d asked, %d results, %v", len(h.asked), h.results, a.Counters())
		}
	})
}
