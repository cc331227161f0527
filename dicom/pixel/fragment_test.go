package pixel

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"nhip/dicom/pixel/raster"
	"nhip/dicom/tag"
	"nhip/dicom/uid"
)

func u32(v ...uint32) (b []byte) {
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, x)
	}
	return b
}

func u64(v ...uint64) (b []byte) {
	for _, x := range v {
		b = binary.LittleEndian.AppendUint64(b, x)
	}
	return b
}

// A stream of JPEG as far as the finding of frames looks at it.
func stream(n int) []byte {
	return append(append([]byte{0xFF, 0xD8, 0xFF, 0xE0}, bytes.Repeat([]byte{7}, n)...), 0xFF, 0xD9)
}

func halves(b []byte) [][]byte { return [][]byte{b[:len(b)/2/2*2], b[len(b)/2/2*2:]} }

func TestFragmentsAreNotFrames(t *testing.T) {
	a, b, c := stream(4), stream(10), stream(6)
	table := u32(0, 8+uint32(len(a)), 16+uint32(len(a)+len(b)))
	split := append(append([][]byte{nil}, halves(a)...), append(halves(b), halves(c)...)...)
	extended := set(t, tag.NumberOfFrames, 3,
		tag.ExtendedOffsetTable, u64(0, 8+uint64(len(a)), 16+uint64(len(a)+len(b))),
		tag.ExtendedOffsetTableLengths, u64(uint64(len(a)), uint64(len(b)), uint64(len(c)-1)))
	three := set(t, tag.NumberOfFrames, 3)
	for _, v := range []struct {
		name    string
		value   []byte
		frames  int
		want    [][]byte
		problem string
	}{
		{"one each, no table", items(nil, a, b, c), 3, [][]byte{a, b, c}, ""},
		{"one each, basic table", items(table, a, b, c), 3, [][]byte{a, b, c}, ""},
		{"two each, no table", items(split...), 3, [][]byte{a, b, c}, ""},
		{"two each, basic table", items(append([][]byte{u32(0, 16+uint32(len(a)), 32+uint32(len(a)+len(b)))}, split[1:]...)...), 3, [][]byte{a, b, c}, ""},
		{"a thumbnail in a frame", items(nil, []byte{0xFF, 0xD8, 0xFF, 0xE1, 7, 7}, []byte{0xFF, 0xD8, 0xFF, 1, 0xFF, 0xD9}, b), 2,
			[][]byte{{0xFF, 0xD8, 0xFF, 0xE1, 7, 7, 0xFF, 0xD8, 0xFF, 1, 0xFF, 0xD9}, b}, ""},
		{"one frame over all", items(append([][]byte{nil}, halves(b)...)...), 1, [][]byte{b}, ""},
		{"padded after the end", items(nil, append(bytes.Clone(a[:2]), a[2:]...), []byte{0xFF, 0xD8, 0xFF, 1, 0xFF, 0xD9, 0, 0}, c), 3, nil, ""},
		{"basic table of another length", items(u32(0, 8+uint32(len(a))), a, b, c), 3, [][]byte{a, b, c}, "Basic Offset Table"},
		{"basic table into a fragment", items(u32(0, 9, 16+uint32(len(a)+len(b))), a, b, c), 3, [][]byte{a, b, c}, "Basic Offset Table"},
		{"basic table twice the same", items(u32(0, 0, 16+uint32(len(a)+len(b))), a, b, c), 3, [][]byte{a, b, c}, "Basic Offset Table"},
		{"basic table backwards", items(u32(0, 16+uint32(len(a)+len(b)), 8+uint32(len(a))), a, b, c), 3, [][]byte{a, b, c}, "Basic Offset Table"},
		{"basic table that does not begin at 0", items(u32(8+uint32(len(a)), 8+uint32(len(a)), 16+uint32(len(a)+len(b))), a, b, c), 3, [][]byte{a, b, c}, "Basic Offset Table"},
		{"basic table beyond the end", items(u32(0, 8+uint32(len(a)), 1<<31), a, b, c), 3, [][]byte{a, b, c}, "Basic Offset Table"},
		{"cut inside a fragment", items(nil, a, b, c)[:8+24+len(a)+len(b)+len(c)-3], 2, [][]byte{a, b}, "bytes long where"},
		{"cut inside a head", items(nil, a, b, c)[:8+20+len(a)+len(b)], 2, [][]byte{a, b}, "delimitation"},
		{"something else behind", append(items(nil, a, b)[:8+16+len(a)+len(b)], stream(9)...), 2, [][]byte{a, b}, "something else"},
		{"no delimitation", items(nil, a, b, c)[:8+24+len(a)+len(b)+len(c)], 3, [][]byte{a, b, c}, "delimitation"},
	} {
		t.Run(v.name, func(t *testing.T) {
			f := Format{TransferSyntaxUID: uid.JPEGBaseline8Bit, Frames: v.frames}
			place := value{r: bytes.NewReader(v.value), end: int64(len(v.value)), encapsulated: true}
			s, err := place.scan()
			must(t, err)
			list, err := s.frames(place, f, nil, nil)
			must(t, err)
			check(t, s, place, list, v.want, v.problem)
		})
	}
	for name, frames := range map[string][][]byte{"extended table": {a, b, c[:len(c)-1]}} {
		r := opened(t, encapsulated(t, uid.JPEGBaseline8Bit, items(nil, a, b, c), extended), uid.JPEGBaseline8Bit)
		for k := range frames {
			got, err := r.Frame(k)
			if err != nil || !bytes.Equal(got, frames[k]) {
				t.Errorf("%s: frame %d: % x %v", name, k, got, err)
			}
		}
	}
	if r := opened(t, encapsulated(t, uid.JPEGBaseline8Bit, items(table, a, b, c), three), uid.JPEGBaseline8Bit); len(r.Problems()) != 0 {
		t.Errorf("%v", r.Problems())
	}
}

func check(t *testing.T, s *fragments, place value, list []coded, want [][]byte, problem string) {
	t.Helper()
	if problem == "" && len(s.problems) > 0 || problem != "" && !strings.Contains(strings.Join(s.problems, "; "), problem) {
		t.Errorf("problems %q", s.problems)
	}
	if want == nil {
		return
	}
	if len(list) != len(want) {
		t.Fatalf("%d frames", len(list))
	}
	for k, c := range list {
		got, err := readAll(s, place, c)
		if err != nil || !bytes.Equal(got, want[k]) {
			t.Errorf("frame %d: % x %v", k, got, err)
		}
	}
}

// readAll reads a coded frame, which has to have the length that is said.
func readAll(s *fragments, v value, c coded) ([]byte, error) {
	in, n := s.reader(v.r, c)
	b, err := io.ReadAll(in)
	if int64(len(b)) != n {
		return nil, io.ErrUnexpectedEOF
	}
	return b, err
}

func TestExtendedOffsetTableThatLiesIsNotBelieved(t *testing.T) {
	a, b := stream(4), stream(10)
	second := 8 + uint64(len(a))
	for name, c := range map[string][2][]byte{
		"offset":       {u64(0, second+1), u64(uint64(len(a)), uint64(len(b)))},
		"first offset": {u64(2, second), u64(uint64(len(a)), uint64(len(b)))},
		"too long":     {u64(0, second), u64(uint64(len(a))+1, uint64(len(b)))},
		"too short":    {u64(0, second), u64(uint64(len(a)), 3)},
		"huge":         {u64(0, 1<<63), u64(1<<63, 1<<62)},
		"one entry":    {u64(0), u64(uint64(len(a)))},
		"no lengths":   {u64(0, second), nil},
	} {
		d := encapsulated(t, uid.JPEGBaseline8Bit, items(nil, a, b), set(t, tag.NumberOfFrames, 2,
			tag.ExtendedOffsetTable, c[0], tag.ExtendedOffsetTableLengths, c[1]))
		r := opened(t, d, uid.JPEGBaseline8Bit)
		if !slices.ContainsFunc(r.Problems(), func(s string) bool { return strings.HasPrefix(s, "Extended Offset Table") }) {
			t.Errorf("%s: problems %q", name, r.Problems())
		}
		if got, err := r.Frame(1); err != nil || !bytes.Equal(got, b) {
			t.Errorf("%s: % x %v", name, got, err)
		}
	}
}

func TestFramesThatCannotBeToldApartAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		syntax string
		value  []byte
		frames int
	}{
		"RLE in several fragments": {uid.RLELossless, items(nil, make([]byte, 64), make([]byte, 64), make([]byte, 64)), 2},
		"streams without ends":     {uid.JPEGBaseline8Bit, items(nil, stream(4)[:4], stream(4)[:4], stream(4)[:4]), 2},
		"no stream":                {uid.JPEGBaseline8Bit, items(nil, make([]byte, 8), make([]byte, 8), make([]byte, 8)), 2},
		"more streams":             {uid.JPEGBaseline8Bit, items(nil, stream(4), stream(4), stream(4)), 2},
		"no fragment":              {uid.JPEGBaseline8Bit, items(nil), 1},
	} {
		d := encapsulated(t, c.syntax, c.value, set(t, tag.NumberOfFrames, c.frames))
		_, err := Open(d, c.syntax, raster.Limits{})
		var format *FormatError
		if !errors.As(err, &format) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFramesThatAreMissingAreSaid(t *testing.T) {
	d := encapsulated(t, uid.JPEGBaseline8Bit, items(nil, stream(4), stream(4)), set(t, tag.NumberOfFrames, 5))
	r := opened(t, d, uid.JPEGBaseline8Bit)
	if len(r.Problems()) == 0 {
		t.Error("no problem")
	}
	if _, err := r.Frame(1); err != nil {
		t.Error(err)
	}
	for _, k := range []int{2, 4} {
		if _, err := r.Frame(k); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("frame %d: %v", k, err)
		}
	}
	for _, k := range []int{-1, 5, 1 << 40} {
		if _, err := r.Frame(k); err == nil {
			t.Errorf("frame %d is there", k)
		}
	}
}

// A spy is an object that may be read at places, but not whole.
type spy struct {
	io.ReaderAt
	read int64
}

func (c *spy) ReadAt(b []byte, at int64) (int, error) {
	c.read += int64(len(b))
	return c.ReaderAt.ReadAt(b, at)
}

func TestOneFrameIsReadWithoutTheObject(t *testing.T) {
	const frames, size = 100, 10000
	list := [][]byte{nil}
	for range frames {
		list = append(list, stream(size-6))
	}
	whole := items(list...)
	c := &spy{ReaderAt: bytes.NewReader(whole)}
	place := value{r: c, end: int64(len(whole)), encapsulated: true}
	s, err := place.scan()
	must(t, err)
	found, err := s.frames(place, Format{Frames: frames}, nil, nil)
	must(t, err)
	if b, err := readAll(s, place, found[77]); err != nil || len(b) != size {
		t.Fatalf("%d bytes, %v", len(b), err)
	}
	if c.read > size+8*(frames+2)*2 {
		t.Errorf("%d bytes were read for a frame of %d", c.read, size)
	}
}

func FuzzFragments(f *testing.F) {
	a, b := stream(4), stream(10)
	f.Add(items(u32(0, 8+uint32(len(a))), a, b), 2)
	f.Add(items(nil, a[:4], a[4:], b), 2)
	f.Add(items(nil, a, b)[:30], 2)
	f.Add(items(nil, a), 1<<30)
	f.Fuzz(func(t *testing.T, b []byte, n int) {
		place := value{r: bytes.NewReader(b), end: int64(len(b)), encapsulated: true}
		s, err := place.scan()
		if err != nil {
			t.Fatal(err)
		}
		list, err := s.frames(place, Format{Frames: max(n, 1)}, b, b)
		if err != nil {
			return
		}
		next := 0
		for _, c := range list {
			if c.first != next || c.n < 1 {
				t.Fatalf("%+v of %d fragments", list, len(s.list))
			}
			next = c.first + c.n
			if _, err := readAll(s, place, c); err != nil {
				t.Fatal(err)
			}
		}
	})
}
