// Package rastertest is for the tests of the pixel codecs: pictures to code, DICOM
// files with the least that DCMTK and GDCM want to see, and those two as peers.
package rastertest

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"pgregory.net/rapid"

	"nhip/dicom/pixel/raster"
)

// Need skips where a program is absent; on CI it has to be there.
func Need(t testing.TB, programs ...string) {
	t.Helper()
	for _, p := range programs {
		_, err := exec.LookPath(p)
		switch {
		case err == nil:
		case os.Getenv("CI") == "true":
			t.Fatalf("%s is not installed", p)
		default:
			t.Skipf("%s is not installed", p)
		}
	}
}

// Run runs a peer to its end and fails the test where it fails.
func Run(t testing.TB, program string, args ...string) {
	t.Helper()
	if out, err := exec.Command(program, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", program, args, err, out)
	}
}

// Pydicom is the folder of pydicom's sample files.
func Pydicom(t testing.TB) string {
	t.Helper()
	const dir = "/usr/lib/python3/dist-packages/pydicom/data/test_files"
	if _, err := os.Stat(dir); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("python3-pydicom is not installed")
		}
		t.Skip("python3-pydicom is not installed")
	}
	return dir
}

// Phantom is a picture with background, slopes, edges and noise, below it of the full
// range; the same ever.
func Phantom(columns, rows, samples, precision int) *raster.Image {
	m := &raster.Image{Columns: columns, Rows: rows, Samples: samples, Precision: precision, BitsAllocated: 16}
	if precision <= 8 {
		m.BitsAllocated = 8
	}
	m.Pix = make([]byte, 0, columns*rows*samples*m.BitsAllocated/8)
	random := rand.New(rand.NewPCG(1, 2))
	most := 1<<precision - 1
	for y := range rows {
		for x := range columns {
			dx, dy := 2*x-columns, 2*y-rows
			r := dx*dx + dy*dy
			for c := range samples {
				v := 0
				if r < columns*rows*3/4 {
					v = most/3 + most/3*r/(columns*rows) + c*most/20 + random.IntN(1+most/60)
				}
				if x > columns*4/5 && y%16 < 4 {
					v = most
				}
				if y > rows*7/8 && x < columns/2 {
					v = random.IntN(most + 1)
				}
				m.Pix = Append(m.Pix, v, m.BitsAllocated)
			}
		}
	}
	return m
}

// Append appends a sample.
func Append(b []byte, v, bitsAllocated int) []byte {
	if bitsAllocated == 8 {
		return append(b, byte(v))
	}
	return binary.LittleEndian.AppendUint16(b, uint16(v))
}

// Sample is sample i of a picture.
func Sample(m *raster.Image, i int) int {
	if m.BitsAllocated == 8 {
		return int(m.Pix[i])
	}
	return int(binary.LittleEndian.Uint16(m.Pix[2*i:]))
}

// Draw draws a small picture: noise, flat parts, slopes or steps.
func Draw(t *rapid.T, least, most int) *raster.Image {
	m := &raster.Image{
		Columns:   rapid.IntRange(1, 40).Draw(t, "columns"),
		Rows:      rapid.IntRange(1, 24).Draw(t, "rows"),
		Samples:   rapid.IntRange(1, 4).Draw(t, "samples"),
		Precision: rapid.IntRange(least, most).Draw(t, "precision"),
	}
	m.BitsAllocated = 16
	if m.Precision <= 8 {
		m.BitsAllocated = 8
	}
	random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
	kind := rapid.SampledFrom([]string{"noise", "flat", "slope", "steps"}).Draw(t, "kind")
	white := 1<<m.Precision - 1
	count := m.Columns * m.Rows * m.Samples
	v := 0
	for i := range count {
		switch kind {
		case "noise":
			v = random.IntN(white + 1)
		case "flat":
			if random.IntN(9) == 0 {
				v = random.IntN(white + 1)
			}
		case "slope":
			v = (i*white/count + random.IntN(3)) & white
		case "steps":
			v = (i / m.Samples % m.Columns / 5 * white / 8) & white
		}
		m.Pix = Append(m.Pix, v, m.BitsAllocated)
	}
	return m
}

// Compare says where two pictures differ, in geometry or in a sample by more than
// near; empty where they do not.
func Compare(a, b *raster.Image, near int) string {
	if a.Columns != b.Columns || a.Rows != b.Rows || a.Samples != b.Samples ||
		a.Precision != b.Precision || a.BitsAllocated != b.BitsAllocated || len(a.Pix) != len(b.Pix) {
		return fmt.Sprintf("%d columns, %d rows, %d samples of %d bits in %d; other: %d, %d, %d of %d in %d",
			a.Columns, a.Rows, a.Samples, a.Precision, a.BitsAllocated,
			b.Columns, b.Rows, b.Samples, b.Precision, b.BitsAllocated)
	}
	for i := range a.Columns * a.Rows * a.Samples {
		if x, y := Sample(a, i), Sample(b, i); x-y > near || y-x > near {
			return fmt.Sprintf("sample %d of %d: %d, other: %d", i, a.Columns*a.Rows*a.Samples, x, y)
		}
	}
	return ""
}

// Path is a file in the test's own folder.
func Path(t testing.TB, name string) string { return filepath.Join(t.TempDir(), name) }

// Allocates fails the test where f allocates more bytes, in the test's process: so
// no test may run beside it.
func Allocates(t testing.TB, most int, f func()) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > uint64(most) {
		t.Errorf("%d bytes were allocated, %d are the limit", took, most)
	}
}
