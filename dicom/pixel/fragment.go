package pixel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"nhip/dicom/uid"
)

// A value is where the value of Pixel Data stands: native, or encapsulated, then
// from its first item, the Basic Offset Table, to behind its delimitation.
type value struct {
	r            io.ReaderAt
	at, end      int64 // end of an encapsulated value: of the file, if not known better
	encapsulated bool
}

// A fragment is the value of one item of encapsulated pixel data.
type fragment struct {
	at     int64
	length uint32
}

// A coded frame is one frame: some fragments, of which length bytes count.
type coded struct {
	first, n int   // fragments
	length   int64 // -1: all
}

// fragments are the items of encapsulated pixel data, PS3.5 annex A.4.
type fragments struct {
	basic    []byte // the Basic Offset Table
	list     []fragment
	problems []string
}

const itemHeader = 8

// scan reads the headers of the items. It ends at the delimitation, or with a
// problem at what cannot be followed; the fragments before that stand.
func (v value) scan() (*fragments, error) {
	s := &fragments{}
	at := v.at
	for first := true; ; first = false {
		var head [itemHeader]byte
		n, err := v.r.ReadAt(head[:min(itemHeader, max(v.end-at, 0))], at)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		if n < itemHeader {
			s.problem("the pixel data end without a delimitation")
			return s, nil
		}
		group, element := binary.LittleEndian.Uint16(head[:]), binary.LittleEndian.Uint16(head[2:])
		length := binary.LittleEndian.Uint32(head[4:])
		at += itemHeader
		switch {
		case group == 0xFFFE && element == 0xE0DD:
			return s, nil
		case group != 0xFFFE || element != 0xE000:
			s.problem("something else than an item follows fragment %d", len(s.list))
			return s, nil
		case int64(length) > v.end-at:
			s.problem("fragment %d is %d bytes long where %d are left", len(s.list)+1, length, v.end-at)
			return s, nil
		}
		if first {
			if s.basic, err = readSpan(v.r, at, int64(length)); err != nil {
				return nil, err
			}
		} else {
			s.list = append(s.list, fragment{at, length})
		}
		at += int64(length)
	}
}

func (s *fragments) problem(format string, args ...any) {
	s.problems = append(s.problems, fmt.Sprintf(format, args...))
}

// readSpan reads n bytes that are known to be there.
func readSpan(r io.ReaderAt, at, n int64) ([]byte, error) {
	b := make([]byte, n)
	if got, err := r.ReadAt(b, at); int64(got) < n {
		return nil, readError(err)
	}
	return b, nil
}

// readError says that what is known to be there is not.
func readError(err error) error {
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, errCut) {
		return &FormatError{What: "the pixel data are cut", Err: errCut}
	}
	return err
}

// offset is where fragment i begins, as offset tables count: from the first byte
// of the first fragment's item (PS3.5 annex A.4).
func (s *fragments) offset(i int) uint64 {
	return uint64(s.list[i].at - s.list[0].at)
}

// frames tells which fragments are which frame: by the Extended Offset Table, by
// the Basic Offset Table, or by looking at the fragments. A table that is not
// true of the fragments is a problem, and the next way is taken.
func (s *fragments) frames(v value, f Format, extended, lengths []byte) ([]coded, error) {
	if len(s.list) == 0 {
		return nil, &FormatError{What: "the pixel data have no fragment", Err: io.ErrUnexpectedEOF}
	}
	if len(extended) > 0 {
		frames, err := s.byExtendedTable(f.Frames, extended, lengths)
		if err == nil {
			return frames, nil
		}
		s.problem("Extended Offset Table: %v", err)
	}
	if len(s.basic) > 0 {
		frames, err := s.byBasicTable(f.Frames)
		if err == nil {
			return frames, nil
		}
		s.problem("Basic Offset Table: %v", err)
	}
	return s.byLooking(v, f)
}

// byExtendedTable reads (7FE0,0001) and (7FE0,0002), PS3.3 section C.7.6.3.1.8:
// one fragment for each frame.
func (s *fragments) byExtendedTable(frames int, offsets, lengths []byte) ([]coded, error) {
	if len(offsets) != 8*frames || len(lengths) != 8*frames {
		return nil, fmt.Errorf("%d and %d bytes for %d frames", len(offsets), len(lengths), frames)
	}
	if len(s.list) != frames {
		return nil, fmt.Errorf("%d fragments for %d frames", len(s.list), frames)
	}
	list := make([]coded, frames)
	for i := range list {
		offset, length := binary.LittleEndian.Uint64(offsets[8*i:]), binary.LittleEndian.Uint64(lengths[8*i:])
		have := uint64(s.list[i].length)
		if offset != s.offset(i) || length > have || length+1 < have {
			return nil, fmt.Errorf("frame %d is %d bytes at %d, and the fragment %d bytes at %d", i+1, length, offset, have, s.offset(i))
		}
		list[i] = coded{i, 1, int64(length)}
	}
	return list, nil
}

// byBasicTable reads the Basic Offset Table: where the first fragment of each
// frame begins.
func (s *fragments) byBasicTable(frames int) ([]coded, error) {
	if len(s.basic) != 4*frames {
		return nil, fmt.Errorf("%d bytes for %d frames", len(s.basic), frames)
	}
	list := make([]coded, 0, min(frames, len(s.list)))
	i := 0
	for k := range frames {
		offset := uint64(binary.LittleEndian.Uint32(s.basic[4*k:]))
		for i < len(s.list) && s.offset(i) < offset {
			i++
		}
		if i == len(s.list) || s.offset(i) != offset || k == 0 && i != 0 || k > 0 && i == list[k-1].first {
			return nil, fmt.Errorf("no fragment begins at %d, where frame %d is said to begin", offset, k+1)
		}
		if k > 0 {
			list[k-1].n = i - list[k-1].first
		}
		list = append(list, coded{first: i, length: -1})
	}
	list[frames-1].n = len(s.list) - list[frames-1].first
	return list, nil
}

// byLooking finds the frames without a table: a fragment for each; all of them
// for the only one; or by the beginnings and ends of the coded streams.
func (s *fragments) byLooking(v value, f Format) ([]coded, error) {
	switch {
	case f.Frames == 1, isVideo(f.TransferSyntaxUID):
		return []coded{{0, len(s.list), -1}}, nil
	case len(s.list) <= f.Frames:
		list := make([]coded, len(s.list))
		for i := range list {
			list[i] = coded{i, 1, -1}
		}
		if len(list) < f.Frames {
			s.problem("%d frames are there of %d", len(list), f.Frames)
		}
		return list, nil
	case f.TransferSyntaxUID == uid.RLELossless:
		return nil, wrong("%d fragments for %d frames, where RLE has one for each (PS3.5 annex A.4.2)", len(s.list), f.Frames)
	}
	list, err := s.byMarkers(v)
	if err != nil {
		return nil, err
	}
	if len(list) != f.Frames {
		return nil, wrong("%d coded streams in %d fragments for %d frames, and no offset table that is true", len(list), len(s.list), f.Frames)
	}
	return list, nil
}

// byMarkers begins a frame at each fragment that begins with SOI, or SOC and SIZ,
// where the fragment before ends with EOI or EOC, which are the same marker
// (ISO/IEC 10918-1 and 14495-1, 15444-1).
func (s *fragments) byMarkers(v value) ([]coded, error) {
	var list []coded
	ended := true
	for i, g := range s.list {
		begins, ends, err := v.markers(g)
		if err != nil {
			return nil, err
		}
		if ended && begins {
			list = append(list, coded{first: i, length: -1})
		}
		if len(list) == 0 {
			return nil, wrong("the first fragment begins no coded stream")
		}
		list[len(list)-1].n++
		ended = ends
	}
	return list, nil
}

// markers looks at the beginning and the end of a fragment. Behind the last
// marker there may be some bytes of padding.
func (v value) markers(g fragment) (begins, ends bool, err error) {
	const tail = 10
	head, err := readSpan(v.r, g.at, min(int64(g.length), 4))
	if err != nil {
		return false, false, err
	}
	n := min(int64(g.length), tail)
	last, err := readSpan(v.r, g.at+int64(g.length)-n, n)
	if err != nil {
		return false, false, err
	}
	begins = len(head) == 4 && (head[0] == 0xFF && head[1] == 0xD8 && head[2] == 0xFF || string(head) == "\xFF\x4F\xFF\x51" || string(head) == "\x00\x00\x00\x0C")
	for i := len(last) - 2; i >= 0; i-- {
		if last[i] == 0xFF && last[i+1] == 0xD9 {
			return begins, true, nil
		}
	}
	return begins, false, nil
}

// reader reads the fragments of a coded frame one after the other.
func (s *fragments) reader(r io.ReaderAt, c coded) (io.Reader, int64) {
	parts := make([]io.Reader, c.n)
	var total int64
	for i, g := range s.list[c.first : c.first+c.n] {
		parts[i] = io.NewSectionReader(r, g.at, int64(g.length))
		total += int64(g.length)
	}
	if c.length >= 0 {
		total = min(total, c.length)
	}
	return io.LimitReader(io.MultiReader(parts...), total), total
}
