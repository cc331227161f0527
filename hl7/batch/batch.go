// Package batch reads and writes files of several HL7 version 2 messages, with or
// without the segments FHS, BHS, BTS and FTS around them (HL7 v2.5.1 section 2.10.3).
// It streams: one message is in memory at a time. What is wrong with the envelope is
// said, and takes no message away: which are good is for each message's own parser.
package batch

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// Limits bound what a Reader takes. Zero means the default.
type Limits struct {
	Message  int // bytes of a message or of a header; 64 MiB
	Messages int // in the file; 1,000,000
}

// A Kind is what an Item is.
type Kind int

// The kinds of items.
const (
	FileHeader Kind = iota
	BatchHeader
	Message
	BatchTrailer
	FileTrailer
	TooLong // a message over the limit: Bytes are its beginning
	NoHL7   // text that belongs to no message, before the first or after an envelope segment: Bytes are its beginning
)

// headSize is how much is kept of what is too long, or no HL7.
const headSize = 4096

// An Item is a piece of the file, in its order.
type Item struct {
	Kind  Kind
	Bytes []byte // as they stand in the file; of a message with its line ends
	Batch int    // the number of the batch that it is in, from 1; 0 outside
	// Problems are what is wrong with the envelope here.
	Problems []Problem
}

// A Problem is an error in the envelope.
type Problem string

// The problems.
const (
	BatchCount   Problem = "batch count"    // BTS-1 is not the number of messages of the batch
	FileCount    Problem = "file count"     // FTS-1 is not the number of batches of the file
	BatchNotOpen Problem = "batch not open" // BTS without BHS
	FileNotOpen  Problem = "file not open"  // FTS without FHS
	BatchNoEnd   Problem = "batch no end"   // BHS, FHS, FTS or the end of the file within a batch
	FileNoEnd    Problem = "file no end"    // a second FHS, or the end of the file without FTS
	AfterEnd     Problem = "after end"      // something after FTS
)

var problemWords = map[Problem][2]string{
	BatchCount:   {"the batch trailer (BTS-1) counts other than the messages that came", "số bản tin ở cuối lô (BTS-1) khác số bản tin nhận được"},
	FileCount:    {"the file trailer (FTS-1) counts other than the batches that came", "số lô ở cuối tệp (FTS-1) khác số lô nhận được"},
	BatchNotOpen: {"a batch ends (BTS) that has not begun (BHS)", "lô kết thúc (BTS) nhưng chưa bắt đầu (BHS)"},
	FileNotOpen:  {"a file ends (FTS) that has not begun (FHS)", "tệp kết thúc (FTS) nhưng chưa bắt đầu (FHS)"},
	BatchNoEnd:   {"a batch has no end (BTS)", "lô không có kết thúc (BTS)"},
	FileNoEnd:    {"the file has no end (FTS)", "tệp không có kết thúc (FTS)"},
	AfterEnd:     {"something follows the end of the file (FTS)", "còn dữ liệu sau kết thúc tệp (FTS)"},
}

// Words are the problem as a sentence; lang is "vi" or anything else for English.
func (p Problem) Words(lang string) string {
	if lang == "vi" {
		return problemWords[p][1]
	}
	return problemWords[p][0]
}

// ErrTooMany is a file of more messages than the limit.
var ErrTooMany = errors.New("hl7/batch: too many messages in one file")

// A Reader takes a file apart.
type Reader struct {
	r      *bufio.Reader
	limits Limits

	next  []byte // the first line of the next item; nil: not read yet
	cut   bool   // and it is not whole
	begun bool   // the next line is the first
	end   bool   // nothing more to read
	err   error

	messages        int
	batches         int
	inFile, inBatch bool
	closed          bool // FTS has come
	inThisBatch     int
	finished        bool // the problems of the end were told
}

// NewReader makes a reader of r.
func NewReader(r io.Reader, l Limits) *Reader {
	if l.Message == 0 {
		l.Message = 64 << 20
	}
	if l.Messages == 0 {
		l.Messages = 1_000_000
	}
	return &Reader{r: bufio.NewReaderSize(r, 64<<10), limits: l, begun: true}
}

// Next is the next item; io.EOF after the last. Problems that show at the end of the
// file only come with an item of their own, a FileTrailer without Bytes. Other errors
// are those of the reader below and ErrTooMany, and stay.
func (r *Reader) Next() (Item, error) {
	if r.err != nil {
		return Item{}, r.err
	}
	bytes, long, err := r.piece()
	switch {
	case errors.Is(err, io.EOF):
		if problems := r.atEnd(); len(problems) > 0 {
			return Item{Kind: FileTrailer, Problems: problems}, nil
		}
		fallthrough
	case err != nil:
		r.err = err
		return Item{}, err
	}
	item := r.classify(bytes, long)
	if r.messages > r.limits.Messages {
		r.err = ErrTooMany
		return Item{}, r.err
	}
	return item, nil
}

// piece reads one header or trailer, or one message: a line that begins one and the
// lines after it that begin nothing. Of one over the limit it keeps the beginning.
func (r *Reader) piece() (piece []byte, long bool, err error) {
	for {
		line, cut, err := r.line()
		if err != nil {
			return nil, false, err
		}
		if len(bytes.TrimSpace(line)) > 0 {
			piece, long = line, cut
			break
		}
	}
	for !isEnvelope(piece) {
		line, cut, err := r.line()
		if errors.Is(err, io.EOF) {
			return piece, long, nil
		}
		if err != nil {
			return nil, false, err
		}
		if beginsItem(line) {
			r.next, r.cut = line, cut
			return piece, long, nil
		}
		if long || cut || len(piece)+len(line) > r.limits.Message {
			piece, long = keepHead(piece, line), true
		} else {
			piece = append(piece, line...)
		}
	}
	return piece, long, nil
}

func keepHead(piece, line []byte) []byte {
	if len(piece) < headSize {
		piece = append(piece, line[:min(len(line), headSize-len(piece))]...)
	}
	return append([]byte(nil), piece[:min(len(piece), headSize)]...)
}

// line is the next line with its end, CR or LF or both. One over the limit is cut,
// the rest of it read and dropped.
func (r *Reader) line() (line []byte, cut bool, err error) {
	if r.next != nil {
		line, r.next = r.next, nil
		return line, r.cut, nil
	}
	if r.end {
		return nil, false, io.EOF
	}
	for {
		b, err := r.r.ReadByte()
		if errors.Is(err, io.EOF) {
			if r.end = true; len(line) == 0 {
				return nil, false, io.EOF
			}
			return r.first(line), cut, nil
		}
		if err != nil {
			return nil, false, err
		}
		if len(line) > r.limits.Message {
			cut = true
			line = line[:min(len(line), headSize)]
			if err := r.skipLine(b); err != nil {
				return nil, false, err
			}
			return r.first(line), cut, nil
		}
		line = append(line, b)
		switch b {
		case '\n':
			return r.first(line), cut, nil
		case '\r':
			if next, err := r.r.Peek(1); err == nil && next[0] == '\n' {
				r.r.Discard(1)
				line = append(line, '\n')
			}
			return r.first(line), cut, nil
		default:
			line = r.rest(line)
		}
	}
}

// rest adds what is buffered of the line, up to its end or the limit.
func (r *Reader) rest(line []byte) []byte {
	buffered, _ := r.r.Peek(min(r.r.Buffered(), r.limits.Message+1-min(len(line), r.limits.Message)))
	if i := bytes.IndexAny(buffered, "\r\n"); i >= 0 {
		buffered = buffered[:i]
	}
	line = append(line, buffered...)
	r.r.Discard(len(buffered))
	return line
}

// skipLine reads up to the end of the line, of which b was the last byte read.
func (r *Reader) skipLine(b byte) error {
	var err error
	for err == nil && b != '\r' && b != '\n' {
		b, err = r.r.ReadByte()
	}
	if errors.Is(err, io.EOF) {
		r.end = true
		return nil
	}
	return err
}

// first takes a byte order mark off the first line.
func (r *Reader) first(line []byte) []byte {
	if r.begun {
		r.begun = false
		return bytes.TrimPrefix(line, []byte("\xEF\xBB\xBF"))
	}
	return line
}

// Begins says whether b begins as a file or a batch with an envelope does: FHS or BHS,
// after an optional byte order mark and blank lines.
func Begins(b []byte) bool {
	b = bytes.TrimLeft(bytes.TrimPrefix(b, []byte("\xEF\xBB\xBF")), "\r\n")
	n := name(b[:min(len(b), 4)])
	return n == "FHS" || n == "BHS"
}

// name is the segment name of a line that begins an item, "" for any other.
func name(line []byte) string {
	if len(line) < 4 || isAlphanumeric(line[3]) || line[3] <= ' ' {
		return ""
	}
	for _, n := range [...]string{"MSH", "BHS", "BTS", "FHS", "FTS"} {
		if bytes.EqualFold(line[:3], []byte(n)) {
			return n
		}
	}
	return ""
}

// nameOf is name, and that of a trailer which is nothing else.
func nameOf(line []byte) string {
	if n := name(line); n != "" || len(line) > 5 {
		return n
	}
	switch n := string(bytes.TrimRight(line, "\r\n")); n {
	case "BTS", "FTS":
		return n
	}
	return ""
}

func beginsItem(line []byte) bool { return nameOf(line) != "" }

func isEnvelope(line []byte) bool { n := nameOf(line); return n != "" && n != "MSH" }

func isAlphanumeric(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
}

// classify says what a piece is, and what it means for the envelope.
func (r *Reader) classify(piece []byte, long bool) Item {
	item := Item{Bytes: piece}
	if r.closed {
		item.Problems = append(item.Problems, AfterEnd)
		r.closed = false
	}
	switch nameOf(piece) {
	case "FHS":
		item.Kind = FileHeader
		item.Problems = append(item.Problems, r.endBatch()...)
		if r.inFile {
			item.Problems = append(item.Problems, FileNoEnd)
		}
		r.inFile, r.batches = true, 0
	case "BHS":
		item.Kind = BatchHeader
		item.Problems = append(item.Problems, r.endBatch()...)
		r.inBatch, r.inThisBatch = true, 0
		r.batches++
		item.Batch = r.batches
	case "BTS":
		item.Kind, item.Batch = BatchTrailer, r.batch()
		switch n, ok := count(piece); {
		case !r.inBatch:
			item.Problems = append(item.Problems, BatchNotOpen)
		case ok && n != r.inThisBatch:
			item.Problems = append(item.Problems, BatchCount)
		}
		r.inBatch = false
	case "FTS":
		item.Kind = FileTrailer
		item.Problems = append(item.Problems, r.endBatch()...)
		switch n, ok := count(piece); {
		case !r.inFile:
			item.Problems = append(item.Problems, FileNotOpen)
		case ok && n != r.batches:
			item.Problems = append(item.Problems, FileCount)
		}
		r.closed, r.inFile = true, false
	case "MSH":
		item.Kind, item.Batch = Message, r.batch()
		if long {
			item.Kind = TooLong
		}
		r.messages++
		r.inThisBatch++
	default:
		item.Kind, item.Batch = NoHL7, r.batch()
		item.Bytes = piece[:min(len(piece), headSize)]
	}
	return item
}

func (r *Reader) batch() int {
	if r.inBatch {
		return r.batches
	}
	return 0
}

func (r *Reader) endBatch() []Problem {
	if !r.inBatch {
		return nil
	}
	r.inBatch = false
	return []Problem{BatchNoEnd}
}

func (r *Reader) atEnd() []Problem {
	if r.finished {
		return nil
	}
	r.finished = true
	problems := r.endBatch()
	if r.inFile {
		problems = append(problems, FileNoEnd)
	}
	return problems
}

// count is field 1 of a trailer; not ok where it is empty or no number.
func count(line []byte) (int, bool) {
	if len(line) < 4 {
		return 0, false
	}
	field := bytes.TrimRight(line[4:], "\r\n")
	if i := bytes.IndexByte(field, line[3]); i >= 0 {
		field = field[:i]
	}
	n, err := strconv.Atoi(string(bytes.TrimSpace(field)))
	return n, err == nil
}

// Header is what a file header or batch header says, as the bytes that stand there.
type Header struct {
	Field                               byte   // the field separator; default |
	Encoding                            []byte // the encoding characters; default ^~\&
	Application, Facility               []byte // of the sender
	ToApplication, ToFacility           []byte
	Time, Name, Comment, ID, ReferredID []byte // fields 7, 9, 10, 11, 12
}

// ParseHeader reads FHS or BHS.
func ParseHeader(line []byte) (Header, error) {
	n := name(line)
	if n != "FHS" && n != "BHS" {
		return Header{}, errors.New("hl7/batch: no header segment")
	}
	fields := bytes.Split(bytes.TrimRight(line[4:], "\r\n"), line[3:4])
	if len(fields[0]) == 0 || len(fields[0]) > 5 {
		return Header{}, fmt.Errorf("hl7/batch: %s-2 has %d encoding characters", n, len(fields[0]))
	}
	at := func(n int) []byte {
		if n-2 < len(fields) {
			return fields[n-2]
		}
		return nil
	}
	return Header{
		Field: line[3], Encoding: at(2), Application: at(3), Facility: at(4), ToApplication: at(5), ToFacility: at(6),
		Time: at(7), Name: at(9), Comment: at(10), ID: at(11), ReferredID: at(12),
	}, nil
}

// Answer is the header of the batch that acknowledges one: sender and receiver
// exchanged, its control ID referred to.
func (h Header) Answer(id, time string) Header {
	h.Application, h.Facility, h.ToApplication, h.ToFacility = h.ToApplication, h.ToFacility, h.Application, h.Facility
	h.ReferredID, h.ID, h.Time, h.Comment = h.ID, []byte(id), []byte(time), nil
	return h
}

// append writes the header as the segment of that name, trailing empty fields left
// out.
func (h Header) append(b []byte, name string) []byte {
	if h.Field == 0 {
		h.Field = '|'
	}
	if len(h.Encoding) == 0 {
		h.Encoding = []byte(`^~\&`)
	}
	fields := [][]byte{h.Encoding, h.Application, h.Facility, h.ToApplication, h.ToFacility, h.Time, nil, h.Name, h.Comment, h.ID, h.ReferredID}
	for len(fields[len(fields)-1]) == 0 {
		fields = fields[:len(fields)-1]
	}
	b = append(b, name...)
	for _, f := range fields {
		b = append(append(b, h.Field), f...)
	}
	return append(b, '\r')
}

// A Writer writes a file with its envelope and counts. The zero Writer is not ready:
// use NewWriter.
type Writer struct {
	w                 io.Writer
	err               error
	field             byte
	messages, batches int
	inFile, inBatch   bool
}

// NewWriter makes a writer to w. A batch acknowledgement is written like any other:
// with the header of Header.Answer, and the acknowledgements for messages.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w, field: '|'} }

// File begins the file with FHS; a file may be without.
func (w *Writer) File(h Header) error {
	w.inFile = true
	return w.write(h, "FHS")
}

// Batch ends the batch before, if there is one, and begins another with BHS.
func (w *Writer) Batch(h Header) error {
	if err := w.endBatch(); err != nil {
		return err
	}
	w.inBatch, w.messages = true, 0
	w.batches++
	return w.write(h, "BHS")
}

func (w *Writer) write(h Header, name string) error {
	if w.field = h.Field; w.field == 0 {
		w.field = '|'
	}
	return w.put(h.append(nil, name))
}

// Message writes one message, with a CR at its end where it has none.
func (w *Writer) Message(b []byte) error {
	w.messages++
	if err := w.put(b); err != nil || bytes.HasSuffix(b, []byte{'\r'}) || bytes.HasSuffix(b, []byte{'\n'}) {
		return err
	}
	return w.put([]byte{'\r'})
}

// Close writes the trailers that are due. It does not close the writer below.
func (w *Writer) Close() error {
	if err := w.endBatch(); err != nil {
		return err
	}
	if !w.inFile {
		return w.err
	}
	w.inFile = false
	return w.trailer("FTS", w.batches)
}

func (w *Writer) endBatch() error {
	if !w.inBatch {
		return w.err
	}
	w.inBatch = false
	return w.trailer("BTS", w.messages)
}

func (w *Writer) trailer(name string, n int) error {
	return w.put(append(strconv.AppendInt(append([]byte(name), w.field), int64(n), 10), '\r'))
}

func (w *Writer) put(b []byte) error {
	if w.err == nil {
		_, w.err = w.w.Write(b)
	}
	return w.err
}
