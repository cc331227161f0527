package delivery

import (
	"slices"
	"strings"
	"testing"
	"time"

	"nhip/gateway/reason"
	"nhip/storage"
)

// What is newest of a specimen is last at the destination, also when something older is
// sent again.
func TestWhatIsNewerGoesWithAResendOfTheOlder(t *testing.T) {
	within(t, func(t *testing.T, s *storage.Store) {
		enqueue(t, s, "specimen/A", false, "1", "2")
		enqueue(t, s, "specimen/B", false, "3")
		p := &peer{script: map[string][]Event{}}
		w := worker(s, p)
		w.NewestLast = func(group string) bool { return strings.HasPrefix(group, "specimen/") }
		stop := begin(w)
		defer stop()
		time.Sleep(time.Second)
		resend := func(id string) (int, error) {
			return w.Resend(t.Context(), anna, Selection{IDs: []string{id}}, "lost there")
		}
		if n, err := resend("1"); n != 2 || err != nil {
			t.Errorf("%d %v", n, err)
		}
		time.Sleep(time.Second)
		if n, err := resend("2"); n != 1 || err != nil {
			t.Errorf("%d %v", n, err)
		}
		time.Sleep(time.Second)
		if want := []string{"1", "2", "3", "1", "2", "2"}; !slices.Equal(slices.Sorted(slices.Values(p.sent()[:3])), want[:3]) || !slices.Equal(p.sent()[3:], want[3:]) {
			t.Errorf("sent %q", p.sent())
		}
		p.mu.Lock()
		p.script["4"] = []Event{{Kind: Refused, Why: reason.New(reason.Answered, "AE")}}
		p.mu.Unlock()
		enqueue(t, s, "specimen/A", false, "4")
		time.Sleep(time.Second)
		if n, err := resend("1"); n != 0 || err == nil || !strings.Contains(err.Error(), "newer") {
			t.Errorf("while a newer one waits: %d %v", n, err)
		}
		if n, err := resend("3"); n != 1 || err != nil {
			t.Errorf("another specimen: %d %v", n, err)
		}
	})
}
