package analyser

import (
	"maps"
	"sync"

	"nhip/hardware-sim/wire"
)

// Faults are what goes wrong on the line. A count is how many times from now
// on, at the next occasions; each is counted when it is done.
type Faults struct {
	GarbleACK     int           `toml:"garble_ack" name:"garble-ack" help:"An ACK arrives as another character: the frame is sent again." placeholder:"N"`
	DropACK       int           `toml:"drop_ack" name:"drop-ack" help:"No ACK arrives: time-out, EOT, the whole message again (HL7: the message again)." placeholder:"N"`
	CorruptFrame  int           `toml:"corrupt_frame" name:"corrupt-frame" help:"A character of a frame is turned over: NAK, the frame again." placeholder:"N"`
	Noise         int           `toml:"noise" name:"noise" help:"Characters between frames; HL7: before VT." placeholder:"N"`
	CutLine       int           `toml:"cut_line" name:"cut-line" help:"The line breaks in the middle of a frame or message." placeholder:"N"`
	CutUnanswered int           `toml:"cut_unanswered" name:"cut-unanswered" help:"The line breaks after the last frame, before its ACK is seen." placeholder:"N"`
	CutBeforeEOT  int           `toml:"cut_before_eot" name:"cut-before-eot" help:"The line breaks after the last ACK, before EOT (ASTM only)." placeholder:"N"`
	Abandon       int           `toml:"abandon" name:"abandon" help:"EOT after the first of several frames, before the L record (ASTM only)." placeholder:"N"`
	Stalls        int           `toml:"stalls" name:"stalls" help:"Silence of StallFor in the middle of a frame." placeholder:"N"`
	StallFor      wire.Duration `toml:"stall_for" name:"stall-for" help:"Well under the receiver's 30 s, or over it." placeholder:"DURATION"`
	RefuseFrame   int           `toml:"refuse_frame" name:"refuse-frame" help:"A good frame of the host is refused (NAK)." placeholder:"N"`
	IgnoreFrame   int           `toml:"ignore_frame" name:"ignore-frame" help:"A good frame of the host is taken and not answered: its ACK is lost." placeholder:"N"`
	CutTaking     int           `toml:"cut_taking" name:"cut-taking" help:"The line breaks in the middle of what the host sends." placeholder:"N"`
	Contend       int           `toml:"contend" name:"contend" help:"ENQ at the same moment as the host." placeholder:"N"`
	Refuse        int           `toml:"refuse" name:"refuse" help:"What the host sends is refused: NAK to its ENQ; HL7: AE." placeholder:"N"`
	SplitEvery    int           `toml:"split_every" name:"split-every" help:"From now on: so many characters in a write; 0 leaves it as it is." placeholder:"N"`
}

// A line's faults that are still due, and what was done.
type faults struct {
	mu   sync.Mutex
	due  Faults
	done map[string]int
}

func (f *faults) inject(more Faults) { f.put(more, func(due, more int) int { return due + more }) }

// put joins the counts of what is due with more.
func (f *faults) put(more Faults, join func(due, more int) int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, count := range counts {
		*count(&f.due) = join(*count(&f.due), *count(&more))
	}
	if more.StallFor > 0 {
		f.due.StallFor = more.StallFor
	}
	if more.SplitEvery > 0 {
		f.due.SplitEvery = more.SplitEvery
	}
}

// counts are the faults that are counted.
var counts = []func(*Faults) *int{garbleACK, dropACK, corruptFrame, noise, cutLine, cutUnanswered, cutBeforeEOT, abandon, refuseFrame, ignoreFrame, cutTaking, contend, refuse, stalls}

// take reports whether the fault is due, and counts it as done.
func (f *faults) take(name string, count func(*Faults) *int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := count(&f.due)
	if *n == 0 {
		return false
	}
	*n--
	f.count(name)
	return true
}

// did counts what was done without being due here.
func (f *faults) did(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.count(name)
}

func (f *faults) count(name string) {
	if f.done == nil {
		f.done = map[string]int{}
	}
	f.done[name]++
}

func (f *faults) settings() (splitEvery int, stallFor wire.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.due.SplitEvery, f.due.StallFor
}

func (f *faults) counters() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.done)
}

func garbleACK(f *Faults) *int     { return &f.GarbleACK }
func dropACK(f *Faults) *int       { return &f.DropACK }
func corruptFrame(f *Faults) *int  { return &f.CorruptFrame }
func noise(f *Faults) *int         { return &f.Noise }
func cutLine(f *Faults) *int       { return &f.CutLine }
func cutUnanswered(f *Faults) *int { return &f.CutUnanswered }
func cutBeforeEOT(f *Faults) *int  { return &f.CutBeforeEOT }
func abandon(f *Faults) *int       { return &f.Abandon }
func refuseFrame(f *Faults) *int   { return &f.RefuseFrame }
func ignoreFrame(f *Faults) *int   { return &f.IgnoreFrame }
func cutTaking(f *Faults) *int     { return &f.CutTaking }
func contend(f *Faults) *int       { return &f.Contend }
func refuse(f *Faults) *int        { return &f.Refuse }
func stalls(f *Faults) *int        { return &f.Stalls }
