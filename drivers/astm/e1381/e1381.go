// Package e1381 is the low-level protocol of ASTM E1381-95 and CLSI LIS01-A2:
// establishment, transfer and termination of a session between an analyser and a
// host, with frames, frame numbers, checksums and timers. Receiver and Sender are
// pure: bytes in, actions out, no I/O, no clock, no goroutine. Serve and Transmit
// are the loops that put them on a port.Conn. What is inside the records
// (E1394, LIS02) is the affair of package e1394; this package looks only for the
// record types H and L, because a message, H to L, is what is stored before its
// acknowledgement.
//
// The receiver (E1381 section 6):
//
//	          ENQ / ACK                  STX                ETB, ETX
//	neutral ------------> waiting ----------------> block -----------> checksum
//	   ^                  |  ^  ^                                        | two digits
//	   |  EOT / ended     |  |  | good: [store] ACK, bad: NAK            v
//	   +------------------+  |  +------------------------------------- tail (CR LF)
//	   |  30 s / incomplete  |
//	   +---------------------+
//
// An acknowledgement of a frame that completes an L record promises that the
// message is on disk. Frames before it are acknowledged from memory (LIS01 keeps
// the message at the sender until its end); what came of a message whose L never
// came is handed over as Incomplete.
package e1381

import "time"

// Control characters of the link.
const (
	STX = 0x02
	ETX = 0x03
	EOT = 0x04
	ENQ = 0x05
	ACK = 0x06
	LF  = 0x0A
	CR  = 0x0D
	NAK = 0x15
	ETB = 0x17
)

// Sizes. A frame's size is that of LIS01-A2 section 6.3: all its characters, with
// the seven of STX, frame number, ETB or ETX, checksum, CR and LF.
const (
	MaxFrame   = 64_000   // LIS01-A2; E1381-95 has 247
	MaxMessage = 16 << 20 // what one session may hold that is not yet stored
	overhead   = 7
	MaxText95  = 247 - overhead      // text of a frame, E1381-95: 240
	MaxTextA2  = MaxFrame - overhead // text of a frame, LIS01-A2: 63,993
)

// Timers, E1381 sections 6.2 and 6.5.
const (
	ReplyTimer    = 15 * time.Second // the sender waits so long for a reply to ENQ or to a frame
	ReceiverTimer = 30 * time.Second // the receiver waits so long for the next frame or EOT
	BusyTimer     = 10 * time.Second // after NAK to ENQ the sender waits at least so long

	// Contention, ENQ answered by ENQ: the instrument has priority. It bids again
	// after InstrumentTimer; the computer waits ComputerTimer for that bid.
	InstrumentTimer = 1 * time.Second
	ComputerTimer   = 20 * time.Second

	// tailTimer is ours: some devices leave out the LF or the CR LF after the
	// checksum. The frame is then complete when nothing has followed for so long.
	tailTimer = 1 * time.Second

	// attempts is how often a frame may be sent and not accepted, E1381
	// section 6.5; the same bound is used for ENQ answered by NAK.
	attempts = 6
)

// A Message is the bytes of the records from H to L as they were sent, line ends
// included. Text of frames is joined with nothing inserted, with one exception:
// ETX ends a record (E1381 section 6.3.1.2), so where a device sends a further
// record after a frame that ended in ETX without CR, that CR is put between them.
type Message struct {
	Records []byte
	Frames  int // frames that carried a part of it
}

// An Action is what the shell has to do. Actions are carried out in their order,
// and the order is the guarantee: Store stands before Send(ACK). When a Store
// fails the rest is dropped and StoreFailed says what to do instead.
type Action interface{ action() }

type (
	// Send: write these bytes. Why says in words why a NAK is sent.
	Send struct {
		Bytes []byte
		Why   string
	}
	// Store: one durable commit of all these messages.
	Store struct{ Messages []Message }
	// Incomplete: the session broke before the L record of what is in Fragment, or
	// had records outside of H to L. Reason is in words, without content.
	Incomplete struct {
		Fragment Message
		Reason   string
	}
	// Ended: the sender ended the session by EOT.
	Ended struct{}
	// Wait: start the timer anew and call TimedOut when it has run out. Zero: stop it.
	Wait struct{ For time.Duration }
	// Sent: every frame was acknowledged and EOT was sent.
	Sent struct{}
	// Failed: the sender has given up and is neutral; Accepted frames were
	// acknowledged, but the message counts as not transferred.
	Failed struct {
		Reason   string
		Accepted int
		Refused  bool // a frame was refused, again and again
		Cut      bool // the line was given up before
	}
	// Make: the bid was accepted; call Made with what is to be sent, at once. It is the
	// last of its actions.
	Make struct{}
	// Yielded: the other side has the line; the sender is neutral and has sent
	// nothing of the message. What Receive has not consumed goes to the Receiver.
	Yielded struct{}
)

func (Send) action()       {}
func (Store) action()      {}
func (Incomplete) action() {}
func (Ended) action()      {}
func (Wait) action()       {}
func (Sent) action()       {}
func (Failed) action()     {}
func (Make) action()       {}
func (Yielded) action()    {}
