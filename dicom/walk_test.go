package dicom

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"nhip/dicom/tag"
	"nhip/dicom/uid"
)

// lines tells of a data set, one line for everything in it, through the visitor.
func walkedLines(n *Node, lines *[]string) error {
	switch n.Kind {
	case ElementNode:
		*lines = append(*lines, fmt.Sprintf("%d %08X", n.Depth, uint32(n.Tag)))
	case ItemNode:
		*lines = append(*lines, fmt.Sprintf("%d item", n.Depth))
	}
	return nil
}

func datasetLines(d *Dataset, depth int, lines *[]string) {
	for e := range d.All() {
		*lines = append(*lines, fmt.Sprintf("%d %08X", depth, uint32(e.Tag)))
		if e.Written() == UN && !e.Undefined() {
			continue // a sequence by the dictionary only, which a visitor reads as a value
		}
		for _, item := range e.Items() {
			*lines = append(*lines, fmt.Sprintf("%d item", depth+1))
			datasetLines(item, depth+1, lines)
		}
	}
}

// What the visitor is told of is what a Dataset holds, from a file and from a stream.
func TestWalkTellsOfWhatADatasetHolds(t *testing.T) {
	for _, name := range pydicomFiles(t) {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		f, err := ReadFile(bytes.NewReader(b), Limits{})
		if err != nil {
			continue
		}
		var want []string
		datasetLines(f.Meta, 0, &want)
		datasetLines(f.Dataset, 0, &want)
		for _, r := range []io.Reader{bytes.NewReader(b), io.MultiReader(bytes.NewReader(b))} {
			var got []string
			if err := WalkFile(r, Limits{}, func(n *Node) error { return walkedLines(n, &got) }); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if strings.Join(got, "\n") != strings.Join(want, "\n") {
				t.Errorf("%s: %d nodes, want %d", name, len(got), len(want))
			}
		}
	}
}

// A file that is opened has the same elements as one that is read, and is written
// the same, however much of it stays in the file.
func TestOpenedFileIsWrittenBackByteExact(t *testing.T) {
	for _, held := range []int64{16, 200, 4096, 64 << 10} {
		for _, name := range pydicomFiles(t) {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			f, err := OpenFile(bytes.NewReader(b), int64(len(b)), Limits{Held: held})
			if errors.Is(err, ErrNotDICOM) {
				continue
			}
			if f == nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			whole, _ := ReadFile(bytes.NewReader(b), Limits{})
			if err == nil {
				compareDatasets(t, name, f.Dataset, whole.Dataset)
			}
			var out bytes.Buffer
			if err := f.Write(&out); err != nil {
				t.Errorf("%s: %v", name, err)
			} else if !bytes.Equal(out.Bytes(), b) {
				t.Errorf("%s, %d held: %d bytes are written, %d were read", name, held, out.Len(), len(b))
			}
		}
	}
}

func compareDatasets(t *testing.T, name string, got, want *Dataset) {
	t.Helper()
	if got.Len() != want.Len() {
		t.Errorf("%s: %d elements, want %d", name, got.Len(), want.Len())
		return
	}
	for i := range want.elements {
		a, b := got.element(i), want.element(i)
		if a.Tag != b.Tag || a.VR != b.VR || !bytes.Equal(a.Bytes(), b.Bytes()) {
			t.Errorf("%s: %v %v of %d bytes, want %v %v of %d", name, a.Tag, a.VR, a.Len(), b.Tag, b.VR, b.Len())
		}
	}
}

func TestVisitorSkipsStopsAndReads(t *testing.T) {
	b := wellFormed(explicitLE())
	var seen []string
	err := Walk(bytes.NewReader(b), uid.ExplicitVRLittleEndian, Limits{}, func(n *Node) error {
		if n.Depth > 0 {
			t.Errorf("%v of a sequence that was to be skipped", n.Tag)
		}
		if n.Kind == ElementNode && n.Tag == tag.PatientID {
			v, err := n.Value()
			seen = append(seen, string(v))
			return err
		}
		if n.Tag == tag.StudyInstanceUID {
			return SkipAll
		}
		if n.Tag == tag.PixelData || n.Tag == tag.SeriesInstanceUID {
			t.Error("went on after SkipAll")
		}
		return SkipItems
	})
	if err != nil || len(seen) != 1 || strings.TrimSpace(seen[0]) != "P-0042" {
		t.Errorf("%q, %v", seen, err)
	}
	own := errors.New("own")
	if err := Walk(bytes.NewReader(b), uid.ExplicitVRLittleEndian, Limits{}, func(*Node) error { return own }); !errors.Is(err, own) {
		t.Error(err)
	}
	err = Walk(bytes.NewReader(b), uid.ExplicitVRLittleEndian, Limits{Held: 3}, func(n *Node) error {
		_, err := n.Value()
		return err
	})
	if !errors.Is(err, ErrLimit) {
		t.Errorf("a value beyond the limit: %v", err)
	}
}

// zeroes is an endless stream.
type zeroes struct{}

func (zeroes) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// allocated returns how many bytes f allocates in all.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// A file of 2 GB is walked with a window in memory, as a stream and as a file that
// is opened; one of 64 MB is written so.
func TestTwoGigabytesInAFewMegabytes(t *testing.T) {
	const size = 2<<30 - 2
	var head bytes.Buffer
	WritePart10Header(&head, uid.SecondaryCaptureImageStorage, "1.2.3", uid.ExplicitVRLittleEndian)
	head.Write(explicitLE().el(tag.SOPClassUID, "UI", uid.SecondaryCaptureImageStorage).el(tag.SOPInstanceUID, "UI", "1.2.3").head(tag.PixelData, "OB", size).b)
	tail := explicitLE().el(0xFFFCFFFC, "OB", "end").b
	total := int64(head.Len()) + size + int64(len(tail))

	last := tag.Tag(0)
	walked := allocated(func() {
		stream := io.MultiReader(bytes.NewReader(head.Bytes()), io.LimitReader(zeroes{}, size), bytes.NewReader(tail))
		err := WalkFile(stream, Limits{}, func(n *Node) error {
			last = n.Tag
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	if last != 0xFFFCFFFC || walked > 4<<20 {
		t.Errorf("walked to %v, %d bytes allocated", last, walked)
	}

	sparse := func(size int64) (*os.File, int64) {
		f, err := os.Create(filepath.Join(t.TempDir(), "sparse.dcm"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		b := bytes.Clone(head.Bytes())
		b = encoding{}.appendUint32(b[:len(b)-4], uint32(size))
		_, err1 := f.WriteAt(b, 0)
		_, err2 := f.WriteAt(tail, int64(len(b))+size)
		if err := errors.Join(err1, err2); err != nil {
			t.Skip(err) // a disk that holds no sparse files
		}
		return f, int64(len(b)) + size + int64(len(tail))
	}
	f, _ := sparse(size)
	opened := allocated(func() {
		file, err := OpenFile(f, total, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := file.Find(tag.PixelData); !ok || e.Len() != size {
			t.Errorf("%d bytes of pixel data", e.Len())
		}
		if got := file.Bytes(0xFFFCFFFC); string(got) != "end " {
			t.Errorf("behind the pixel data: %q", got)
		}
	})
	f, n := sparse(64 << 20)
	written := allocated(func() {
		var out counter
		file, err := OpenFile(f, n, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if err := file.Write(&out); err != nil || int64(out) != n {
			t.Errorf("%d bytes are written of %d: %v", out, n, err)
		}
	})
	if opened > 4<<20 || written > 4<<20 {
		t.Errorf("%d bytes allocated to open, %d to write", opened, written)
	}
	t.Logf("allocated: %d KiB to walk 2 GB, %d KiB to open them, %d KiB to write 64 MB", walked>>10, opened>>10, written>>10)
}

type counter int64

func (c *counter) Write(b []byte) (int, error) { *c += counter(len(b)); return len(b), nil }
