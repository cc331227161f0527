package dicom

import (
	"errors"
	"io"
)

// A source gives the bytes of a data set in order: from memory, from a file that
// can be read anywhere, or from a stream. Only a window of a file or a stream is
// in memory.
type source struct {
	buf  []byte // the window; all there is where neither file nor stream is set
	pos  int    // of the next byte, in buf
	base int64  // offset of buf[0]

	file   io.ReaderAt
	end    int64 // of the file; for a stream unknown
	stream io.Reader
	done   bool  // the stream has ended
	err    error // of reading, but not the end
}

const window = 32 << 10

func memory(b []byte) *source { return &source{buf: b, end: int64(len(b))} }

func fileSource(f io.ReaderAt, at, end int64) *source {
	return &source{file: f, base: at, end: end}
}

func streamSource(r io.Reader) *source { return &source{stream: r, end: -1} }

// at returns the offset of the next byte.
func (s *source) at() int64 { return s.base + int64(s.pos) }

// left returns how many bytes are left, -1 where that is not known.
func (s *source) left() int64 {
	if s.stream != nil && !s.done {
		return -1
	}
	return s.end - s.at()
}

// peek returns the next n bytes, at most a window, or fewer at the end.
func (s *source) peek(n int) []byte {
	if len(s.buf)-s.pos < n {
		s.fill(n)
	}
	return s.buf[s.pos:min(s.pos+n, len(s.buf))]
}

// fill moves the window so that n bytes are in it, if there are so many.
func (s *source) fill(n int) {
	if s.file == nil && s.stream == nil || s.err != nil {
		return
	}
	if s.buf == nil {
		s.buf = make([]byte, 0, window)
	}
	kept := copy(s.buf[:cap(s.buf)], s.buf[s.pos:])
	s.base += int64(s.pos)
	s.pos, s.buf = 0, s.buf[:kept]
	for len(s.buf) < n && !s.done && s.err == nil {
		s.more()
	}
}

// more reads once into the rest of the window.
func (s *source) more() {
	free := s.buf[len(s.buf):cap(s.buf)]
	var n int
	var err error
	if s.file != nil {
		next := s.base + int64(len(s.buf))
		free = free[:min(int64(len(free)), max(s.end-next, 0))]
		if len(free) == 0 {
			s.done = true
			return
		}
		n, err = s.file.ReadAt(free, next)
	} else {
		n, err = s.stream.Read(free)
	}
	s.buf = s.buf[:len(s.buf)+n]
	switch {
	case errors.Is(err, io.EOF):
		s.done = true
		s.end = s.base + int64(len(s.buf))
	case err != nil:
		s.err = err
	}
}

// skip goes over n bytes and reports whether there were so many.
func (s *source) skip(n int64) bool {
	have := int64(len(s.buf) - s.pos)
	if n <= have {
		s.pos += int(n)
		return true
	}
	switch {
	case s.stream != nil:
		for n > have && len(s.peek(int(min(n, window)))) > 0 {
			have = min(n, int64(len(s.buf)-s.pos))
			s.pos += int(have)
			n, have = n-have, 0
		}
		return n == 0
	case s.file != nil:
		to := min(s.at()+n, s.end)
		n -= to - s.at()
		s.base, s.pos, s.buf = to, 0, s.buf[:0]
		return n == 0
	}
	s.pos = len(s.buf)
	return false
}

// read fills b with what is next and returns how much there was.
func (s *source) read(b []byte) int {
	done := 0
	for done < len(b) {
		n := copy(b[done:], s.peek(min(len(b)-done, window)))
		if n == 0 {
			break
		}
		s.pos += n
		done += n
	}
	return done
}
