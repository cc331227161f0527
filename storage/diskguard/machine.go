// Package diskguard refuses intake before the disk is full, images before
// results, and keeps the last of the room for what leads accepted messages to
// their destinations. The store lies in mapped files: a write to one that finds
// the disk full kills the process, so the guard must speak first.
//
// Machine is the decision, pure. Guard is the shell around it: it asks the
// system for the free space and keeps the ballast, a file that is given up when
// even draining is short.
package diskguard

// A Class is what something that wants to write is for.
type Class int

const (
	Draining Class = iota // leads what is accepted further; goes on while there is room at all
	Results               // results, orders, observations: everything taken in but images
	Images
)

// Limits are in bytes of free space.
type Limits struct {
	Images  uint64 // below it images are refused
	Results uint64 // below it everything is refused that comes in
	GiveUp  uint64 // below it the ballast is given up
	Stop    uint64 // below it nothing is written: the store itself needs the rest
	Ballast uint64 // size of the ballast
}

// LimitsOf gives the limits for a disk. need is what the store may write by
// itself at any moment (flush and compaction), which has to fit: on a small disk
// it and not the disk's size decides.
func LimitsOf(total, need uint64) Limits {
	share := min(2<<30, total/10)
	results := max(share, need+share/2)
	return Limits{
		Images:  results + share,
		Results: results,
		GiveUp:  need + share/4,
		Stop:    need,
		Ballast: min(512<<20, total/20),
	}
}

// resume is the free space at which a class that is refused is taken again.
func resume(limit uint64) uint64 { return limit + limit/2 }

// A Machine decides what is taken. It has no clock and no disk.
type Machine struct {
	Ballast bool // there is one

	images, results, stopped bool // refused
}

// An Action is what the shell has to do with the ballast.
type Action int

const (
	Nothing Action = iota
	GiveUpBallast
	MakeBallast
)

// Step takes the free space into account.
func (m *Machine) Step(free uint64, l Limits) Action {
	m.images = refused(m.images, free, l.Images, resume(l.Images))
	m.results = refused(m.results, free, l.Results, resume(l.Results))
	m.stopped = refused(m.stopped, free, l.Stop, l.GiveUp)
	switch {
	case m.Ballast && free < l.GiveUp:
		return GiveUpBallast
	case !m.Ballast && l.Ballast > 0 && free >= resume(l.Images)+l.Ballast:
		return MakeBallast
	}
	return Nothing
}

func refused(now bool, free, below, resume uint64) bool {
	if now {
		return free < resume
	}
	return free < below
}

// Takes reports whether a class may write.
func (m *Machine) Takes(c Class) bool {
	switch c {
	case Images:
		return !m.images && !m.results && !m.stopped
	case Results:
		return !m.results && !m.stopped
	}
	return !m.stopped
}

// A State is the sum of it in one word.
type State string

// The states, from good to bad.
const (
	Open      State = "open"       // everything is taken
	NoImages  State = "no images"  // images are refused
	NoIntake  State = "no intake"  // everything that comes in is refused; what was accepted is delivered
	NoWriting State = "no writing" // delivery waits too
)

// State of the machine.
func (m *Machine) State() State {
	switch {
	case m.stopped:
		return NoWriting
	case m.results:
		return NoIntake
	case m.images:
		return NoImages
	}
	return Open
}
