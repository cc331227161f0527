package spool

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
)

const objectSize = 512 << 10

var pdv = make([]byte, 128<<10-12)

// BenchmarkSpool writes objects of 512 KB in the pieces that arrive on an
// association.
func BenchmarkSpool(b *testing.B) {
	for _, writers := range []int{1, 8} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			s, err := Open(b.TempDir())
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			each(b, writers, func(int64) error {
				w, err := s.Create()
				if err != nil {
					return err
				}
				for n := 0; n < objectSize; n += len(pdv) {
					if _, err := w.Write(pdv); err != nil {
						return err
					}
				}
				_, err = w.Commit()
				return err
			})
		})
	}
}

// BenchmarkFloor is the same by the letter: write, hash, fsync, rename, fsync of
// the directory.
func BenchmarkFloor(b *testing.B) {
	for _, writers := range []int{1, 8} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			path := b.TempDir()
			dir, err := os.Open(path)
			if err != nil {
				b.Fatal(err)
			}
			defer dir.Close()
			each(b, writers, func(i int64) error {
				name := filepath.Join(path, fmt.Sprint(i))
				f, err := os.Create(name + ".tmp")
				if err != nil {
					return err
				}
				h := sha256.New()
				for n := 0; n < objectSize; n += len(pdv) {
					h.Write(pdv)
					f.Write(pdv)
				}
				if err := f.Sync(); err != nil {
					return err
				}
				f.Close()
				os.Rename(name+".tmp", name)
				return dir.Sync()
			})
		})
	}
}

func each(b *testing.B, writers int, f func(i int64) error) {
	b.SetBytes(objectSize)
	b.ResetTimer()
	var next atomic.Int64
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
				if err := f(i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}
