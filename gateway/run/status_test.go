package run

import (
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"testing"
	"time"
)

func TestStatusHasTheContractsKeys(t *testing.T) {
	t.Parallel()
	lis := newLIS(t)
	s := wholeSite(t, lis, "")
	// One held item, and something in the counts.
	newPeer(t, "127.0.0.1", s.status().Listen.HL7).send(t, oru(""))
	eventually(t, "a held item", func() bool { return len(s.heldBy("his")) == 1 })
	var st map[string]any
	s.get("/api/v1/status", &st)
	has := func(where string, m any, keys ...string) {
		t.Helper()
		got, ok := m.(map[string]any)
		if !ok {
			t.Errorf("%s is %T", where, m)
			return
		}
		for _, k := range keys {
			if v, ok := got[k]; !ok || v == nil {
				t.Errorf("%s has no %q; it has %v", where, k, slices.Sorted(maps.Keys(got)))
			}
		}
	}
	first := func(where string) any {
		t.Helper()
		l, ok := st[where].([]any)
		if !ok || len(l) == 0 {
			t.Errorf("%s is %v", where, st[where])
			return nil
		}
		return l[0]
	}
	has("status", st, "listen", "connections", "queues", "held", "counts", "disk", "version")
	has("listen", st["listen"], "console", "dicom", "hl7", "mqtt", "analyser")
	has("listen.analyser", st["listen"].(map[string]any)["analyser"], "astm-1", "guarded", "bc-1")
	has("connections", first("connections"), "name", "kind", "state", "words", "since")
	has("queues", first("queues"), "destination", "depth", "oldest_seconds", "held")
	has("held", first("held"), "id", "reason", "since")
	has("counts", st["counts"], "accepted", "delivered", "queued", "held", "discarded", "expired", "consumed", "refused")
	for k, v := range st["counts"].(map[string]any) {
		if _, number := v.(float64); !number && k != "consumed_kinds" {
			t.Errorf("counts.%s is %T", k, v)
		}
	}
	names := map[string]bool{}
	for _, c := range st["connections"].([]any) {
		names[c.(map[string]any)["name"].(string)] = true
	}
	for _, n := range []string{"astm-1", "guarded", "bc-1", "ct-1", "ct-far", "bed-12", "his", "ward-display", "pump", "lis"} {
		if !names[n] {
			t.Errorf("connection %s is not shown", n)
		}
	}
	// Until there are users: GET only, and this machine's names only.
	address := "http://" + s.console + "/api/v1/status"
	if rsp, err := http.Post(address, "application/json", nil); err != nil || rsp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: %v %v", rsp, err)
	}
	r, _ := http.NewRequest("GET", address, nil)
	r.Host = "evil.example"
	if rsp, err := http.DefaultClient.Do(r); err != nil || rsp.StatusCode < 400 {
		t.Errorf("a foreign Host: %v %v", rsp, err)
	}
}

// TestConservationIsExactInEverySnapshotUnderLoad reads the sum 200 times while
// analysers, modalities, LIS and PACS are at work, and have their troubles.
func TestConservationIsExactInEverySnapshotUnderLoad(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a hospital for some seconds")
	}
	t.Parallel()
	h := newHospital(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	l, p := h.start(seed)
	c := h.gateway()
	eventually(t, "the gateway answers", func() bool { _, err := h.counts(); return err == nil })
	seen := map[int64]bool{}
	for i := 0; i < 200 || len(seen) < 20 && i < 5000; i++ {
		counts, err := h.counts()
		if err != nil {
			t.Fatal(err)
		}
		if unbalanced(counts) {
			t.Fatalf("snapshot %d: %v", i, counts)
		}
		seen[counts["accepted"]] = true
		switch i {
		case 60:
			l.Down(300 * time.Millisecond)
		case 120:
			p.Down(300 * time.Millisecond)
		}
		time.Sleep(10 * time.Millisecond) // between snapshots, not for anything to happen
	}
	if len(seen) < 20 {
		t.Errorf("only %d different snapshots: the test shows little", len(seen))
	}
	for _, stop := range h.stops {
		stop()
	}
	h.drain()
	counts, err := h.counts()
	if err != nil || unbalanced(counts) || counts["queued"] != 0 {
		t.Errorf("at the end: %v %v", counts, err)
	}
	t.Logf("%d different snapshots, at the end %v", len(seen), counts)
	c.Process.Kill()
	c.Wait()
}
