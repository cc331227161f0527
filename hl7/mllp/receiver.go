// Package mllp is the minimal lower layer protocol: messages in frames
// <VT> message <FS><CR> over a stream (HL7 v2.5.1 appendix C), and release 2, in which
// every frame is answered with <VT><ACK><FS><CR> once it is in safe storage. Receiver
// is the pure core; Serve and Client are the two ends of a connection; Listen and
// Certificates are what a link of TCP and TLS needs around them. What is in a frame is
// the caller's business, but for one thing: Serve refuses what does not begin like an
// HL7 message.
package mllp

import (
	"bytes"
	"slices"
	"time"
)

const (
	startBlock = 0x0B
	endBlock   = 0x1C
	positive   = 0x06
	negative   = 0x15
)

// EndTimeout is how long a frame whose FS has come waits for its CR. Then it is
// complete without: some senders never send it.
const EndTimeout = time.Second

// headSize is how much of a frame that is too long is kept, so that it can be
// answered.
const headSize = 4096

// largeFrame is from which size on a frame grows to twice its size at once.
const largeFrame = 32 << 10

// An Event is what the bytes received amount to: Frame, Commit, Junk, Discarded,
// TooLong or Foreign.
type Event interface{ event() }

// A Frame is the content of a complete frame. It belongs to whom it was given.
// Empty frames are no events.
type Frame struct{ Content []byte }

// A Commit is a commit acknowledgement of release 2: the peer has the block that was
// sent last in safe storage, or could not take it.
type Commit struct{ OK bool }

// Junk is bytes outside of a frame, skipped.
type Junk struct{ Bytes int }

// Discarded is an unfinished frame that the start of another one ended.
type Discarded struct{ Bytes int }

// TooLong is a frame over the limit. It and all that follows is lost: the
// connection is to be closed, after an answer if one can be made from the head.
type TooLong struct{ Head []byte }

// Foreign is another protocol, recognised by the first bytes of the connection,
// which is to be closed.
type Foreign struct{ Protocol string }

func (Frame) event()     {}
func (Commit) event()    {}
func (Junk) event()      {}
func (Discarded) event() {}
func (TooLong) event()   {}
func (Foreign) event()   {}

type state int

const (
	outside state = iota // before VT
	inside               // after VT
	ending               // after FS, before CR
	ended                // after CR: a line feed is no junk
	dead                 // too long or foreign; whatever comes is ignored
)

// A Receiver finds the frames in a stream, however it is cut. It holds at most one
// unfinished frame, and never more bytes of it than the limit. It has no clock and
// does no I/O.
//
// FS followed by something other than CR, LF or VT does not end a frame: it is
// content, since the other reading would acknowledge a message that was cut.
type Receiver struct {
	max    int
	commit bool // blocks of one byte are commit acknowledgements
	state  state
	frame  []byte
	opened bool   // a VT has come on this connection
	first  []byte // the bytes before the first VT, as far as they can tell a protocol
}

// NewReceiver makes a receiver of frames of at most max bytes.
func NewReceiver(max int) *Receiver { return &Receiver{max: max} }

// NewReceiver2 makes a receiver for release 2 of the protocol (HL7 version 3,
// transport specification MLLP, release 2): a block that is one byte, ACK or NAK, is
// a Commit and no Frame.
func NewReceiver2(max int) *Receiver { return &Receiver{max: max, commit: true} }

// Receive takes the next bytes of the stream, which the caller may reuse then, and
// returns what they complete, in order.
func (r *Receiver) Receive(b []byte) []Event {
	var events []Event
	for len(b) > 0 && r.state != dead {
		var event Event
		switch r.state {
		case outside, ended:
			event, b = r.skip(b)
		case inside:
			event, b = r.collect(b)
		case ending:
			event, b = r.end(b)
		}
		if event != nil {
			events = append(events, event)
		}
	}
	return events
}

// skip looks for VT.
func (r *Receiver) skip(b []byte) (Event, []byte) {
	if r.state == ended && b[0] == '\n' {
		r.state = outside
		return nil, b[1:]
	}
	r.state = outside
	junk := bytes.IndexByte(b, startBlock)
	rest := b[len(b):]
	if junk >= 0 {
		rest = b[junk+1:]
		r.state = inside
	} else {
		junk = len(b)
	}
	if protocol := r.recognise(b[:junk]); protocol != "" {
		r.state = dead
		return Foreign{protocol}, nil
	}
	if r.state == inside {
		r.opened, r.first = true, nil
	}
	if junk == 0 {
		return nil, rest
	}
	return Junk{junk}, rest
}

// foreign are the first bytes of protocols that come to the wrong port.
var foreign = []struct{ first, protocol string }{
	{"\x16\x03", "TLS"},
	{"GET ", "HTTP"}, {"HEAD ", "HTTP"}, {"POST ", "HTTP"}, {"PUT ", "HTTP"}, {"OPTIONS ", "HTTP"},
	{"CONNECT ", "HTTP"}, {"DELETE ", "HTTP"}, {"PATCH ", "HTTP"}, {"TRACE ", "HTTP"}, {"PRI * HTTP", "HTTP"},
	{"SSH-", "SSH"},
	{"\x01\x00\x00\x00", "DICOM"},
}

// recognise looks at the bytes before the first VT of the connection.
func (r *Receiver) recognise(b []byte) string {
	const longest = len("PRI * HTTP")
	if r.opened || len(r.first) >= longest {
		return ""
	}
	r.first = append(r.first, b[:min(len(b), longest-len(r.first))]...)
	for _, f := range foreign {
		if bytes.HasPrefix(r.first, []byte(f.first)) {
			return f.protocol
		}
	}
	return ""
}

// collect adds to the frame up to FS or VT.
func (r *Receiver) collect(b []byte) (Event, []byte) {
	n := bytes.IndexByte(b, endBlock)
	if n < 0 {
		n = len(b)
	}
	if vt := bytes.IndexByte(b[:n], startBlock); vt >= 0 {
		n = vt
	}
	if event := r.add(b[:n]); event != nil {
		return event, nil
	}
	if n == len(b) {
		return nil, nil
	}
	if b[n] == endBlock {
		r.state = ending
		return nil, b[n+1:]
	}
	discarded := Discarded{len(r.frame)}
	r.frame = nil
	if discarded.Bytes == 0 {
		return nil, b[n+1:]
	}
	return discarded, b[n+1:]
}

func (r *Receiver) add(b []byte) Event {
	if need := len(r.frame) + len(b); need <= r.max {
		if need > cap(r.frame) && cap(r.frame) >= largeFrame {
			r.frame = slices.Grow(r.frame, min(cap(r.frame), r.max-len(r.frame)))
		}
		r.frame = append(r.frame, b...)
		return nil
	}
	head := append([]byte(nil), r.frame[:min(len(r.frame), headSize)]...)
	head = append(head, b[:min(len(b), headSize-len(head))]...)
	r.frame = nil
	r.state = dead
	return TooLong{head}
}

// end looks at the byte after FS.
func (r *Receiver) end(b []byte) (Event, []byte) {
	switch b[0] {
	case '\r':
		return r.complete(ended), b[1:]
	case '\n':
		return r.complete(outside), b[1:]
	case startBlock:
		return r.complete(inside), b[1:]
	}
	r.state = inside
	return r.add([]byte{endBlock}), b
}

func (r *Receiver) complete(next state) Event {
	frame := r.frame
	r.frame = nil
	r.state = next
	switch {
	case len(frame) == 0:
		return nil
	case r.commit && len(frame) == 1 && (frame[0] == positive || frame[0] == negative):
		return Commit{frame[0] == positive}
	}
	return Frame{frame}
}

// Timer is how long to wait for the next byte before TimedOut is to be called; 0
// is for ever.
func (r *Receiver) Timer() time.Duration {
	if r.state == ending {
		return EndTimeout
	}
	return 0
}

// TimedOut completes a frame whose FS has come.
func (r *Receiver) TimedOut() []Event {
	if r.state != ending {
		return nil
	}
	if event := r.complete(ended); event != nil {
		return []Event{event}
	}
	return nil
}

// Unfinished says whether a frame has begun and not ended.
func (r *Receiver) Unfinished() bool { return r.state == inside || r.state == ending }

// commitFrame is a commit acknowledgement.
func commitFrame(ok bool) []byte {
	if ok {
		return []byte{startBlock, positive, endBlock, '\r'}
	}
	return []byte{startBlock, negative, endBlock, '\r'}
}

// AppendFrame adds a message in its frame to b.
func AppendFrame(b, message []byte) []byte {
	b = append(b, startBlock)
	b = append(b, message...)
	return append(b, endBlock, '\r')
}
