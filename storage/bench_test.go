//go:build unix

package storage

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// BenchmarkCommit commits what an accepted message commits, from several
// producers, and reports the CPU of the process for each.
func BenchmarkCommit(b *testing.B) {
	for _, producers := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("producers=%d", producers), func(b *testing.B) {
			s, err := Open(b.Context(), Options{Dir: b.TempDir()})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			value := make([]byte, 1000)
			var n atomic.Int64
			measure(b, producers, func(int) error {
				i := n.Add(1)
				batch := new(Batch)
				e := batch.Append("xn-1", value)
				batch.Enqueue("interpret", "", value[:40], e)
				key := fmt.Sprintf("mllp/his/%d", i)
				batch.IfAbsent(key)
				batch.PutRef(key, e)
				batch.Add("accepted", 1)
				_, err := s.Commit(context.Background(), batch)
				return err
			})
		})
	}
}

// BenchmarkFloor is what BenchmarkCommit is compared with: the bytes appended to
// one file, one fsync for all that wait.
func BenchmarkFloor(b *testing.B) {
	for _, producers := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("producers=%d", producers), func(b *testing.B) {
			f, err := os.Create(filepath.Join(b.TempDir(), "floor"))
			if err != nil {
				b.Fatal(err)
			}
			defer f.Close()
			value := make([]byte, 1000)
			line := make(chan chan error, 1000)
			defer close(line)
			go func() {
				for first := range line {
					round := []chan error{first}
					bytes := append([]byte(nil), value...)
					for more := true; more; {
						select {
						case next := <-line:
							round = append(round, next)
							bytes = append(bytes, value...)
						default:
							more = false
						}
					}
					f.Write(bytes)
					err := f.Sync()
					for _, w := range round {
						w <- err
					}
				}
			}()
			measure(b, producers, func(int) error {
				done := make(chan error, 1)
				line <- done
				return <-done
			})
		})
	}
}

// measure runs f b.N times from several goroutines.
func measure(b *testing.B, producers int, f func(producer int) error) {
	b.ResetTimer()
	before := cpu()
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	for i := range producers {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if err := f(i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(cpu()-before)/float64(b.N)/1e3, "cpu-µs/op")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "op/s")
}

func cpu() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
