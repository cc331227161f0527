package patients

import (
	"encoding/csv"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"nhip/gateway/intake"
	"nhip/gateway/record"
	"nhip/hl7"
)

// The public messages about patients that are valid are answered AA, each by a gateway
// that knows nobody yet.
func TestThePublicSamplesOfPatientsAreTaken(t *testing.T) {
	dir := filepath.Join("..", "..", "..", "shared", "samples", "hl7")
	index, err := os.ReadFile(filepath.Join(dir, "INDEX.md"))
	if err != nil {
		t.Skip("the public samples are not here: ", err)
	}
	s, taken := open(t), 0
	for line := range strings.Lines(string(index)) {
		r := csv.NewReader(strings.NewReader(strings.ReplaceAll(line, `"`, "")))
		r.Comma = '|'
		columns, err := r.Read()
		if err != nil || len(columns) < 3 || !strings.HasSuffix(strings.TrimSpace(columns[1]), ".hl7") {
			continue
		}
		name, class := strings.TrimSpace(columns[1]), strings.TrimSpace(columns[2])
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, piece := range hl7.Split(b) {
			m, bad := hl7.Parse(piece)
			if bad != nil || !new(Store).Takes(m) || class == "reject" {
				continue
			}
			p := s.p.decision(intake.Incoming{Link: "his", At: start, Message: m}).message(m)
			if p != nil && class == "valid" {
				t.Errorf("%s is refused: %s %v %v", name, p.location, p.why, p.err)
			}
			taken++
		}
	}
	if taken < 10 {
		t.Errorf("only %d messages about patients", taken)
	}
}

// Messages and orders of several links at once: nothing waits for ever, and in the end
// every order is for the survivor of all merges.
func TestMessagesOfSeveralLinksAtOnce(t *testing.T) {
	s := open(t)
	const links = 4
	var wg sync.WaitGroup
	ids := make([][]uint64, links)
	for link := range links {
		wg.Go(func() {
			mine := &site{t: t, store: s.store, in: s.in, p: s.p, orders: s.orders, now: start, n: 1000 * (link + 1)}
			for i := range 6 {
				mine.must("AA", mine.send("his"+string(rune('0'+link)), "A04", "20260714070000", "PID|1||"+string(rune('a'+i))+"^^^BV^MR||N"))
				ids[link] = append(ids[link], mine.order(record.Person{Identifiers: []record.Identifier{mr(string(rune('a'+i)), "BV")}}))
				mine.must("AA", mine.send("his"+string(rune('0'+link)), "A40", "20260714070000", "PID|1||all^^^BV^MR||Cuối", "MRG|"+string(rune('a'+i))+"^^^BV^MR"))
			}
		})
	}
	wg.Wait()
	for _, all := range ids {
		for _, id := range all {
			if got := s.patientOf(id); got != "all@BV Cuối" {
				t.Errorf("order %d is for %s", id, got)
			}
		}
	}
}
