package delivery

import (
	"slices"
	"testing"
	"time"

	"nhip/gateway/control"
	"nhip/gateway/reason"
	"nhip/storage"
)

// committing is a worker of a destination that says CA, and later what became of it.
func committing(s *storage.Store, p Sender) *Worker {
	w := worker(s, p)
	w.Policy.Process = time.Hour
	return w
}

func answered(t *testing.T, w *Worker, id string, kind Kind) bool {
	t.Helper()
	ok, err := w.Answered(t.Context(), id, Event{Kind: kind, Why: reason.New(reason.Answered, "AE 101"), Answer: Answered([]byte("MSH|late"))})
	if err != nil {
		t.Fatal(err)
	}
	return ok
}

func counted(t *testing.T, s *storage.Store, queued, held, delivered int64) {
	t.Helper()
	c := s.Counters()
	if c[CountQueued] != queued || c[CountHeld] != held || c[CountDelivered] != delivered {
		t.Errorf("queued %d, held %d, delivered %d; want %d, %d, %d", c[CountQueued], c[CountHeld], c[CountDelivered], queued, held, delivered)
	}
}

func TestWhatIsCommittedIsDeliveredByItsApplicationAnswerAndNotSentAgain(t *testing.T) {
	within(t, func(t *testing.T, s *storage.Store) {
		enqueue(t, s, "A", false, "1", "2")
		enqueue(t, s, "B", false, "3")
		p := &peer{script: map[string][]Event{"1": {{Kind: Commit}}, "3": {{Kind: Commit}}}}
		w := committing(s, p)
		stop := begin(w)
		time.Sleep(30 * time.Minute)
		stop()
		w = committing(s, p) // a restart changes nothing
		stop = begin(w)
		time.Sleep(time.Minute)
		if want := []string{"1", "3"}; !slices.Equal(p.sent(), want) {
			t.Errorf("sent %v, want %v: 2 waits for what becomes of 1", p.sent(), want)
		}
		if answered(t, w, "9", Accepted) || answered(t, w, "2", Accepted) || answered(t, w, "", Accepted) {
			t.Error("an answer to what was not committed counted")
		}
		if !answered(t, w, "1", Accepted) || !answered(t, w, "3", Refused) || answered(t, w, "1", Accepted) {
			t.Error("an answer did not count once")
		}
		time.Sleep(time.Second)
		stop()
		if want := []string{"1", "3", "2"}; !slices.Equal(p.sent(), want) {
			t.Errorf("sent %v, want %v", p.sent(), want)
		}
		counted(t, s, 0, 1, 2)
		b, ok, err := s.Get(DeliveredKey("lis", "1"))
		if x, bad := DecodeSettled(b); !ok || err != nil || bad != nil || string(x.Answer.Bytes) != "MSH|late" {
			t.Errorf("%+v %v %v", x, err, bad)
		}
	})
}

func TestWhatIsOverdueIsHeldAndALateAnswerStillDelivers(t *testing.T) {
	within(t, func(t *testing.T, s *storage.Store) {
		enqueue(t, s, "A", false, "1")
		enqueue(t, s, "B", false, "2")
		p := &peer{script: map[string][]Event{"1": {{Kind: Commit}}, "2": {{Kind: Commit}}}}
		w := committing(s, p)
		stop := begin(w)
		time.Sleep(time.Hour + 2*time.Second)
		held := w.Held(10)
		if len(held) != 2 || held[0].Reason.Code != reason.Unprocessed {
			t.Fatalf("held %+v", held)
		}
		counted(t, s, 0, 2, 0)
		if !answered(t, w, "1", Accepted) {
			t.Error("the late answer did not count")
		}
		if err := w.Release(t.Context(), control.Actor{User: "u", By: "Hoa"}, held[1].Seq, "the system has lost it"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		stop()
		if want := []string{"1", "2", "2"}; !slices.Equal(p.sent(), want) {
			t.Errorf("sent %v, want %v", p.sent(), want)
		}
		counted(t, s, 0, 0, 2)
	})
}

// The application answer comes by another connection before the accept answer was
// taken, or instead of it.
func TestAnApplicationAnswerThatOvertakesCounts(t *testing.T) {
	for _, end := range []Kind{Commit, Unclear, NotSent} {
		within(t, func(t *testing.T, s *storage.Store) {
			enqueue(t, s, "A", false, "1")
			var w *Worker
			told := make(chan bool, 1)
			p := &peer{script: map[string][]Event{"1": {{Kind: end}}}}
			p.seen = func(it Item) {
				go func() {
					ok, err := w.Answered(t.Context(), it.ID, Event{Kind: Accepted})
					told <- ok && err == nil
				}()
				time.Sleep(time.Second)
			}
			w = committing(s, p)
			stop := begin(w)
			if !<-told {
				t.Error("the answer did not count")
			}
			stop()
			if want := []string{"1"}; !slices.Equal(p.sent(), want) {
				t.Errorf("sent %v, want %v", p.sent(), want)
			}
			counted(t, s, 0, 0, 1)
		})
	}
}
