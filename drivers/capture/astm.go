package capture

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"sort"

	"nhip/drivers/astm/e1381"
	"nhip/drivers/astm/e1394"
)

const (
	stx = e1381.STX
	etx = e1381.ETX
	etb = e1381.ETB
	cr  = e1381.CR
	lf  = e1381.LF
)

// A scanner walks a recording of the link and joins the text of the frames of one
// session after the other.
type scanner struct {
	d *decoder
	b []byte
	s phase
}

// A phase is what came between ENQ and EOT, or without them: a transfer phase of the link.
type phase struct {
	frames []frame
	last   int // number of the last frame; -1: none yet
}

// A frame with what is needed to join it.
type frame struct {
	Frame
	text []byte
	at   int  // offset of the text
	drop bool // sent again, or replaced by being sent again
}

// astm decodes frames, or bare records where there is no STX.
func (d *decoder) astm(recording []byte) {
	if bytes.IndexByte(recording, stx) < 0 {
		j := &joined{}
		j.add(recording, 0)
		d.messages(j, nil)
		return
	}
	s := &scanner{d: d, b: recording, s: phase{last: -1}}
	for at := 0; at < len(s.b); {
		at = s.next(at)
	}
	s.end()
}

// next takes what begins at an offset and returns where it ends.
func (s *scanner) next(at int) int {
	switch s.b[at] {
	case stx:
		return s.frame(at)
	case e1381.ENQ, e1381.EOT:
		s.end()
		return at + 1
	case e1381.ACK, e1381.NAK, cr, lf:
		return at + 1
	}
	end := at
	for end < len(s.b) && !bytes.ContainsRune([]byte{stx, e1381.ENQ, e1381.EOT}, rune(s.b[end])) {
		end++
	}
	s.d.problem(at, fmt.Sprintf("%d bytes between frames", len(bytes.TrimRight(s.b[at:end], "\r\n"))))
	return end
}

// frame takes the frame whose STX is at an offset: STX FN text ETX|ETB C1 C2 CR LF,
// E1381 section 6.3.1.
func (s *scanner) frame(at int) int {
	dialect := s.d.dialect()
	f := frame{Frame: Frame{Offset: at, Number: -1}, at: at + 1}
	switch {
	case dialect.Unnumbered:
	case f.at < len(s.b) && '0' <= s.b[f.at] && s.b[f.at] <= '7':
		f.Number = int(s.b[f.at] - '0')
		f.at++
	default:
		s.d.problem(f.at, "the frame has no frame number")
	}
	end := f.at
	for end < len(s.b) && s.b[end] != stx && s.b[end] != e1381.EOT && s.b[end] != e1381.ENQ && s.b[end] != etx && s.b[end] != etb {
		end++
	}
	f.text = s.b[f.at:end:end]
	f.Text, _ = text(f.text)
	if end == len(s.b) || s.b[end] != etx && s.b[end] != etb {
		s.d.problem(end, "the frame is cut: neither ETX nor ETB")
		f.Length = end - at
		s.add(f)
		return end
	}
	f.End = map[byte]string{etx: "ETX", etb: "ETB"}[s.b[end]]
	after := s.checksum(&f, end, dialect)
	f.Length = after - at
	s.add(f)
	return after
}

// checksum looks at what stands behind ETX or ETB and returns where it ends.
func (s *scanner) checksum(f *frame, end int, dialect e1381.Dialect) int {
	after := end + 1
	want := string(dialect.Digits(s.b[f.Offset+1 : after]))
	digits := s.b[after:min(after+2, len(s.b))]
	is := hex
	if dialect.Check == e1381.Nibbles {
		is = func(b byte) bool { return b&0xF0 == '0' }
	}
	switch {
	case want == "":
		f.ChecksumOK = true
		return after
	case len(digits) < 2 || !is(digits[0]) || !is(digits[1]):
		s.d.problem(after, "the checksum is missing, should be "+want)
		return after
	}
	f.ChecksumOK = string(bytes.ToUpper(digits)) == want
	if !f.ChecksumOK {
		s.d.problem(after, fmt.Sprintf("checksum is %s, should be %s", digits, want))
	}
	return after + 2
}

// dialect is how the profile says that the link deviates from the standard.
func (d *decoder) dialect() e1381.Dialect {
	switch {
	case d.p == nil:
		return e1381.Dialect{}
	case d.p.Tokens():
		return e1381.Dialect{Check: e1381.NoChecks, Unnumbered: true, Open: true}
	}
	return d.p.Dialect()
}

func hex(b byte) bool {
	return '0' <= b && b <= '9' || 'A' <= b && b <= 'F' || 'a' <= b && b <= 'f'
}

// add puts a frame into the session: frame numbers go 1, 2 … 7, 0, 1; the same
// number again is the last frame sent again, E1381 section 6.5.1.
func (s *scanner) add(f frame) {
	defer func() { s.s.frames = append(s.s.frames, f) }()
	if f.Number < 0 {
		return
	}
	want := (s.s.last + 1) % 8
	if s.s.last < 0 {
		want = 1
	}
	n := len(s.s.frames)
	switch {
	case f.Number == want:
	case n > 0 && f.Number == s.s.last:
		f.Repeated = true
		before := &s.s.frames[n-1]
		if before.ChecksumOK && !bytes.Equal(before.text, f.text) {
			s.d.problem(f.Offset, fmt.Sprintf("frame number %d again with another text", f.Number))
		}
		before.drop = true
	default:
		s.d.problem(f.Offset, fmt.Sprintf("frame number is %d, should be %d", f.Number, want))
	}
	s.s.last = f.Number
}

// end joins the session's frames. Nothing is put between the texts, but that ETX
// ends a record.
func (s *scanner) end() {
	j := &joined{}
	bare := false
	for _, f := range s.s.frames {
		if f.drop {
			continue
		}
		if bare {
			j.add([]byte{cr}, f.at)
		}
		j.add(f.text, f.at)
		bare = f.End == "ETX" && len(f.text) > 0 && f.text[len(f.text)-1] != cr && f.text[len(f.text)-1] != lf
	}
	if len(s.s.frames) > 0 {
		s.d.messages(j, s.s.frames)
	}
	s.s = phase{last: -1}
}

// joined is text put together from several places of the recording.
type joined struct {
	text   []byte
	pieces []piece
}

type piece struct{ from, offset int } // text[from:] comes from offset on

func (j *joined) add(b []byte, offset int) {
	j.pieces = append(j.pieces, piece{len(j.text), offset})
	j.text = append(j.text, b...)
}

// offset is where text[at] stands in the recording.
func (j *joined) offset(at int) int {
	i := sort.Search(len(j.pieces), func(i int) bool { return j.pieces[i].from > at }) - 1
	if i < 0 {
		return 0
	}
	return j.pieces[i].offset + at - j.pieces[i].from
}

// A line is one record of a session.
type line struct {
	text   []byte
	offset int
	at     int // in the joined text
}

// messages cuts the text of a session into messages, H to L.
func (d *decoder) messages(j *joined, frames []frame) {
	var message []line
	open := false
	first := 0
	if len(frames) > 0 {
		first = frames[0].Offset
	}
	done := func(end int) {
		if len(message) > 0 {
			d.message(j, message, take(&frames, end))
		}
		message, open = nil, false
	}
	for at := 0; at < len(j.text); {
		end := len(j.text)
		if i := bytes.IndexAny(j.text[at:], "\r\n"); i >= 0 {
			end = at + i
		}
		l := line{j.text[at:end:end], j.offset(at), at}
		at = end + 1
		if l = d.unnumbered(l); len(bytes.Trim(l.text, " \t\x00\x1A\x04\x05\x06\x15")) == 0 {
			continue
		}
		if headerRecord(l.text) {
			if open {
				d.problem(l.offset, "the message before has no L record")
			}
			done(l.offset)
			open = true
		}
		message = append(message, l)
		if open && terminator(l.text, message[0].text[1]) {
			done(l.offset + 1)
		}
	}
	if open {
		d.problem(j.offset(len(j.text)), "the message has no L record")
	}
	done(math.MaxInt)
	if len(frames) == 0 {
		return
	}
	if last := len(d.out.Messages) - 1; last >= 0 && d.out.Messages[last].Offset >= first {
		// Empty frames and repetitions after the last record are the last message's.
		d.out.Messages[last].Frames = append(d.out.Messages[last].Frames, take(&frames, math.MaxInt)...)
		return
	}
	d.out.Messages = append(d.out.Messages, Message{Offset: first, Frames: take(&frames, math.MaxInt), Records: []Record{}, Results: []Result{}})
}

// unnumbered takes off the frame number that some hosts and some recordings leave
// before a record.
func (d *decoder) unnumbered(l line) line {
	if bytes.HasPrefix(l.text, byteOrderMark) {
		n := len(byteOrderMark)
		l = line{l.text[n:], l.offset + n, l.at + n}
	}
	number, record := numbered(l.text)
	if number == "" {
		return l
	}
	d.problem(l.offset, fmt.Sprintf("frame number %s stands before the record, without STX", number))
	return line{record, l.offset + 1, l.at + 1}
}

// numbered splits a frame number from a record: "2P|1".
func numbered(b []byte) (number string, record []byte) {
	if len(b) > 2 && '0' <= b[0] && b[0] <= '7' && bytes.IndexByte([]byte("HPORCQMSL"), b[1]) >= 0 && punctuation(b[2]) {
		return string(b[:1]), b[1:]
	}
	return "", b
}

// headerRecord: H and the delimiter definition, LIS02-A2.
func headerRecord(b []byte) bool { return len(b) > 1 && b[0] == 'H' && punctuation(b[1]) }

func terminator(b []byte, field byte) bool {
	return len(b) > 0 && b[0] == 'L' && (len(b) == 1 || b[1] == field)
}

// message puts out one message.
func (d *decoder) message(j *joined, lines []line, frames []Frame) {
	m := Message{Offset: lines[0].offset, Frames: frames, Records: []Record{}, delimiter: '|'}
	if !headerRecord(lines[0].text) {
		d.problem(m.Offset, "records outside of a message: no H record before them")
	}
	var records []byte
	for _, l := range lines {
		records = append(append(records, l.text...), cr)
	}
	parsed, err := e1394.Parse(records)
	if err != nil && !errors.Is(err, e1394.ErrNoHeader) {
		d.problem(m.Offset, err.Error())
	}
	if d := parsed.Delimiters().Field; d != 0 {
		m.delimiter = d
	}
	foreign := false
	for n, r := range parsed.Records { // each of a line of its own
		fields := r.Fields()
		places := make([]int, len(fields))
		at := lines[n].at
		for i, f := range fields {
			places[i] = j.offset(at)
			at += len(f) + 1
		}
		for i, f := range fields {
			ok := true
			if fields[i], ok = text([]byte(f)); !ok {
				foreign = true
			}
		}
		m.Records = append(m.Records, Record{Type: fields[0], Fields: fields, places: places})
	}
	if foreign {
		d.problem(m.Offset, "text that is not UTF-8 is shown as ISO 8859-1")
	}
	if err == nil {
		d.results(&m, records)
	} else {
		m.Results = []Result{}
	}
	d.out.Messages = append(d.out.Messages, m)
}

// take takes the frames whose text begins before an offset.
func take(frames *[]frame, before int) []Frame {
	taken := []Frame{}
	for len(*frames) > 0 && (*frames)[0].at < before {
		taken = append(taken, (*frames)[0].Frame)
		*frames = (*frames)[1:]
	}
	return taken
}
