package run

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"testing"
	"time"

	"nhip/gateway/delivery"
	"nhip/gateway/intake"
	"nhip/storage"
	"nhip/storage/storagetest/figures"
)

// startLimit is how long a start may take, to the first 200 of /healthz.
const startLimit = 3 * time.Second

// TestStartWithAFullJournal starts the gateway, after an orderly stop and after a
// kill, on a store with a long journal and a long queue: nothing is scanned.
func TestStartWithAFullJournal(t *testing.T) {
	entries, queued, limit := 60_000, 6_000, 30*time.Second // of a machine with other things to do
	if figures.Soak() {
		entries, queued, limit = 1_000_000, 100_000, startLimit
	}
	if testing.Short() {
		t.Skip("writes a long journal")
	}
	h := newHospital(t)
	fillJournal(t, h.data, entries, queued)
	var took [3]time.Duration
	for i := range took {
		began := time.Now()
		c := h.gateway()
		within(t, 90*time.Second, "/healthz is 200", func() bool {
			rsp, err := http.Get("http://" + h.ports["console"] + "/healthz")
			if err != nil {
				return false
			}
			rsp.Body.Close()
			return rsp.StatusCode == http.StatusOK
		})
		took[i] = time.Since(began)
		if counts, err := h.counts(); err != nil || unbalanced(counts) || counts["queued"] != int64(queued) {
			t.Errorf("%v %v", counts, err)
		}
		c.Process.Kill()
		c.Wait()
		if took[i] > limit {
			t.Errorf("start %d took %v", i, took[i])
		}
	}
	figures.Report(t, fmt.Sprintf("%d journal entries, %d queued: start %d ms after a stop, %d and %d ms after a kill",
		entries, queued, took[0].Milliseconds(), took[1].Milliseconds(), took[2].Milliseconds()), "3 s to the first 200 of /healthz")
}

// fillJournal writes a store as a gateway leaves it whose LIS is away.
func fillJournal(t *testing.T, data string, entries, queued int) {
	t.Helper()
	s, err := storage.Open(t.Context(), storage.Options{Dir: data, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	const perBatch = 250
	firsts := make(chan int)
	var work sync.WaitGroup
	write := func() {
		for first := range firsts {
			b := new(storage.Batch)
			waiting := 0
			for i := first; i < min(first+perBatch, entries); i++ {
				e := intake.Entry{
					Kind: intake.KindHL7, Fate: intake.Received, Connection: "bc-1", Peer: "127.0.0.1:50000", At: time.Now().UTC(),
					Body: fmt.Appendf(nil, "MSH|^~\\&|A||B||20260114081500||ORU^R01|M%d|P|2.5.1\rPID|1\rOBR|1||S%d|GLU\rOBX|1|NM|GLU||5.1|mmol/L|||||F\r", i, i),
				}
				e.Seal()
				j := b.Append(intake.Channel("bc-1"), e.Encode())
				if i%(entries/queued) == 0 {
					id := fmt.Sprint("M", i)
					b.Enqueue(delivery.Queue("lis"), fmt.Sprint("S", i), delivery.Ticket{ID: id, What: "ORU^R01", Of: fmt.Sprint("S", i), From: "bc-1", Mark: id}.Encode(), j)
					waiting++
				}
			}
			n := int64(min(perBatch, entries-first))
			b.Add(intake.CountAccepted, n)
			b.Add(intake.CountQueued, int64(waiting))
			b.Add(delivery.CountDelivered, n-int64(waiting))
			if _, err := s.Commit(context.Background(), b); err != nil {
				t.Error(err)
			}
		}
	}
	for range 8 {
		work.Go(write)
	}
	for first := 0; first < entries; first += perBatch {
		firsts <- first
	}
	close(firsts)
	work.Wait()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
