package dicom

import (
	"fmt"
	"io"

	"nhip/dicom/tag"
)

// OpenFile reads a file of which values beyond Limits.Held stay where they are: they
// are read when they are asked for, and copied piece by piece when the file is
// written. f must not change, nor be closed before. See ReadFile.
func OpenFile(f io.ReaderAt, size int64, l Limits) (*File, error) {
	l = l.withDefaults()
	if size <= l.Held {
		b, err := readAt(f, 0, size)
		if err != nil {
			return nil, err
		}
		return parseFile(b, l)
	}
	src := fileSource(f, 0, size)
	file := &File{Bare: true}
	if b := src.peek(132); len(b) == 132 && string(b[128:]) == "DICM" {
		copy(file.Preamble[:], b)
		file.Bare = false
		src.skip(132)
	} else if !plausible(b) {
		return nil, notDICOM(src.err)
	}
	begin := src.at()
	if _, err := walkMeta(src, l, func(*Node) error { return nil }); err != nil {
		return nil, err
	}
	at := src.at()
	if at-begin > maxMeta {
		return nil, fmt.Errorf("dicom: the File Meta Information has %d bytes: %w", at-begin, ErrLimit)
	}
	meta, err := readAt(f, begin, at-begin)
	if err != nil {
		return nil, err
	}
	if file.Meta, _, err = index(meta, encoding{}, l); err != nil {
		return nil, fmt.Errorf("dicom: File Meta Information: %w", err)
	}
	ts := file.Meta.Text(tag.TransferSyntaxUID)
	if ts == "" {
		ts = guess(src.peek(8))
	}
	if deflates(ts) {
		if size-at > l.Total {
			return nil, tooLong(l.Total)
		}
		b, err := readAt(f, at, size-at)
		if err != nil {
			return nil, err
		}
		file.Dataset, err = parse(b, ts, l)
		return file, err
	}
	file.Dataset, err = open(src, ts, l)
	return file, err
}

func readAt(f io.ReaderAt, at, n int64) ([]byte, error) {
	b := make([]byte, n)
	if got, err := f.ReadAt(b, at); got < len(b) {
		return nil, fmt.Errorf("dicom: %d bytes of %d at %d: %w", got, n, at, err)
	}
	return b, nil
}

// open finds the elements of a data set in a file, first of all which of them stay
// there; then it reads what is between those.
func open(src *source, ts string, l Limits) (*Dataset, error) {
	begin := src.at()
	var stay []span
	n, held, end := 0, int64(0), begin
	s := newScanner(src, encodingOf(ts), l)
	found := s.elements(func(e span) error {
		n++
		end = e.end
		held += e.end - e.at
		if (!e.container || e.fragments) && e.end-e.at-int64(e.size) > l.Held {
			held -= e.end - e.at - int64(e.size)
			stay = append(stay, e)
		}
		if held > l.Total {
			return tooLong(l.Total)
		}
		return nil
	})
	if len(s.frames) > 0 {
		s.enc = s.frames[0].enc
	}
	d := &Dataset{elements: make([]element, 0, n), read: &origin{limits: l, syntax: ts, enc: s.enc}}
	at := begin
	var c creators
	for _, e := range append(stay, span{at: end}) {
		b, err := readAt(src.file, at, e.at+int64(e.size)-at)
		if err != nil {
			return nil, err
		}
		n := int64(len(b)) - int64(e.size)
		piece := newScanner(memory(b[:n]), s.enc, l)
		piece.fresh = false
		if err := piece.elements(func(e span) error { d.add(e, b[e.at:e.end:e.end], &c); return nil }); err != nil {
			return nil, err
		}
		if e.size > 0 {
			d.add(e, b[n:], &c)
			last := &d.elements[len(d.elements)-1]
			last.more = &more{far: &far{src.file, e.at + int64(e.size), e.end - e.at - int64(e.size)}}
			at = e.end
		}
	}
	d.order()
	if end < src.end {
		d.read.tail = &far{src.file, end, src.end - end}
	}
	return d, found
}
