package orders

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"

	"nhip/gateway/record"
	"nhip/storage"
)

// fill opens n orders of two tests each, a hundred in a commit.
func fill(b testing.TB, s *storage.Store, o *Store, n int) {
	b.Helper()
	for from := 0; from < n; from += 100 {
		c := o.Begin(at)
		for i := from; i < from+100; i++ {
			r := ordered(New, fmt.Sprintf("A%06d", i), fmt.Sprintf("S%06d", i), at, "GLU", "NA")
			r.Order.Ordered = record.Person{Identifiers: []record.Identifier{{Value: fmt.Sprintf("P%05d", i/3), Authority: "BV"}}, Name: record.Name{Family: "NGUYỄN", Given: "THỊ ÁNH"}, Birth: "19800101", Sex: "F"}
			if _, err := c.Apply(r); err != nil {
				b.Fatal(err)
			}
		}
		batch := new(storage.Batch)
		err := c.Write(batch)
		if err == nil {
			_, err = s.Commit(context.Background(), batch)
		}
		c.End(err)
		if err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSpecimen looks up specimens among 100,000 open orders, while others are
// changed: the issue asks for 10 ms at the 99th percentile.
func BenchmarkSpecimen(b *testing.B) {
	const n = 100_000
	s, o := openStore(b, b.TempDir())
	defer s.Close()
	fill(b, s, o, n)
	begun := time.Now()
	o = openOrders(b, s)
	opened := time.Since(begun)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	o.index = newIndex()
	runtime.GC()
	runtime.ReadMemStats(&after)
	held := float64(before.HeapAlloc-after.HeapAlloc) / (1 << 20)
	o = openOrders(b, s)
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := n; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			apply(b, s, o, ordered(New, fmt.Sprintf("B%06d", i), fmt.Sprintf("T%06d", i), at, "GLU"))
		}
	}()
	var took []time.Duration
	i := 0
	for b.Loop() {
		i += 7919
		begun := time.Now()
		m, err := o.Specimen(SpecimenQuery{Specimen: fmt.Sprintf("S%06d", i%n), At: at, Window: 24 * time.Hour})
		took = append(took, time.Since(begun))
		if err != nil || len(m) != 2 {
			b.Fatal(len(m), err)
		}
	}
	close(stop)
	<-done
	b.ReportMetric(opened.Seconds(), "s-to-open")
	b.ReportMetric(held, "MiB-index")
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "ms-p99")
	b.ReportMetric(float64(took[len(took)-1].Microseconds())/1000, "ms-most")
}
