// Package pacs plays an image archive: a C-STORE SCP that takes every storage
// SOP class in every transfer syntax, keeps nothing but the SHA-256 of the data
// set bytes unless it is told to keep more, and refuses, aborts or is away when
// told to. It commits itself to what it has, takes performed procedure steps, and
// answers queries for what it was told to keep.
package pacs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net"
	"sync"
	"time"

	"nhip/dicom/association"
	"nhip/dicom/dimse"
	"nhip/dicom/service"
	"nhip/dicom/ul"
	"nhip/dicom/worklist"
	"nhip/hardware-sim/truth"
	"nhip/hardware-sim/wire"
)

// Faults are given to that many of the next objects, in the order of the
// fields.
type Faults struct {
	OutOfResources   int           `toml:"out_of_resources" name:"out-of-resources" help:"Status A700: come again." placeholder:"N"`
	CannotUnderstand int           `toml:"cannot_understand" name:"cannot-understand" help:"Status C000: for good." placeholder:"N"`
	Abort            int           `toml:"abort" name:"abort" help:"A-ABORT after the data set, instead of an answer." placeholder:"N"`
	Late             int           `toml:"late" name:"late" help:"The answer comes after LateBy." placeholder:"N"`
	LateBy           wire.Duration `toml:"late_by" name:"late-by" help:"How late." placeholder:"DURATION"`
	Reject           int           `toml:"reject" name:"reject" help:"Associations that are rejected, transiently." placeholder:"N"`
}

// Options of a PACS.
type Options struct {
	Name     string // as the gateway's configuration names the destination
	AETitle  string // by which it wants to be called; "" is any
	Received func(truth.Delivery)
	Log      *slog.Logger

	// Keep makes it keep up to that many bytes of objects, for C-FIND, C-MOVE and
	// C-GET; 0 is none.
	Keep int64
	// Peers are addresses by AE title: where it moves objects to, and where it
	// reports storage commitment.
	Peers map[string]string
	// Worklist, if set, are the scheduled steps that it tells modalities.
	Worklist worklist.List
}

// A PACS is one simulated archive.
type PACS struct {
	o       Options
	service wire.Service

	mu     sync.Mutex
	faults Faults
	done   map[string]int
	total  int
	have   map[string]string // SOP class of each SOP instance that was answered success
	kept   archive
	steps  steps

	reports sync.WaitGroup // of storage commitment, under way
}

// New returns a PACS that does not listen yet.
func New(o Options) *PACS { return &PACS{o: o, done: map[string]int{}, have: map[string]string{}} }

// Inject adds faults to those that are still due.
func (p *PACS) Inject(f Faults) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults.OutOfResources += f.OutOfResources
	p.faults.CannotUnderstand += f.CannotUnderstand
	p.faults.Abort += f.Abort
	p.faults.Late += f.Late
	p.faults.Reject += f.Reject
	if f.LateBy > 0 {
		p.faults.LateBy = f.LateBy
	}
}

// Down takes the PACS out of service for d: associations are aborted and
// refused.
func (p *PACS) Down(d time.Duration) {
	p.mu.Lock()
	p.done["down"]++
	p.mu.Unlock()
	p.service.Down(d)
}

// Counters says how often each fault was done.
func (p *PACS) Counters() map[string]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.done)
}

// Received is the number of whole objects that came, repeats too.
func (p *PACS) Received() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.total
}

// Run listens on the address and serves until ctx ends. ready, which may be
// nil, gets the real address.
func (p *PACS) Run(ctx context.Context, address string, ready func(net.Addr)) error {
	log := p.o.Log
	if !log.Enabled(ctx, slog.LevelDebug) {
		log = slog.New(slog.DiscardHandler) // aborts are what is asked for here
	}
	services := p.services(ctx)
	s := &association.Server{
		Accept:   func(r association.Request) association.Answer { return p.accept(r, services) },
		Handlers: services.Handlers(),
		Log:      log,
	}
	defer p.reports.Wait()
	return p.service.Run(ctx, address, ready, s.Serve)
}

func (p *PACS) accept(r association.Request, services service.Mux) association.Answer {
	if p.o.AETitle != "" && r.Called != p.o.AETitle {
		return association.Answer{Reject: &ul.RejectCalledAETitle}
	}
	if p.take("association rejected", func(f *Faults) *int { return &f.Reject }) {
		return association.Answer{Reject: &ul.RejectTemporaryCongestion}
	}
	return services.Answer(r)
}

// errAbort ends an association by A-ABORT.
var errAbort = errors.New("the simulated PACS aborts")

// handle takes one C-STORE-RQ. A data set that is cut did not arrive.
func (p *PACS) handle(ctx context.Context, a *association.Association, m *association.Message) error {
	h := sha256.New()
	if m.DataSet == nil {
		return a.Respond(ctx, m, dimse.Status{Code: dimse.CannotUnderstand})
	}
	var object bytes.Buffer
	var to io.Writer = h
	if p.o.Keep > 0 {
		to = io.MultiWriter(h, &object)
	}
	if _, err := io.Copy(to, m.DataSet); err != nil {
		return err
	}
	outcome, status, err := p.answer(ctx)
	if outcome == truth.Accepted && err == nil {
		p.keep(m, object.Bytes())
	}
	words := status.String()
	if err == nil {
		err = a.Respond(ctx, m, status)
	}
	if err != nil {
		outcome, words = truth.Unanswered, err.Error()
	}
	p.mu.Lock()
	p.total++
	p.mu.Unlock()
	uid := m.Command.AffectedSOPInstanceUID
	p.o.Received(truth.Delivery{
		Kind: truth.Instance, Destination: p.o.Name, Key: uid, Name: uid,
		Digest:  Digest(m.Command.AffectedSOPClassUID, m.Context.TransferSyntax, h.Sum(nil)),
		Outcome: outcome, Answer: words,
	})
	return err
}

// answer is what is due for the next object.
func (p *PACS) answer(ctx context.Context) (truth.Outcome, dimse.Status, error) {
	if p.take("A700", func(f *Faults) *int { return &f.OutOfResources }) {
		return truth.Refused, dimse.Status{Code: dimse.OutOfResources, Comment: "simulated"}, nil
	}
	if p.take("C000", func(f *Faults) *int { return &f.CannotUnderstand }) {
		return truth.Refused, dimse.Status{Code: dimse.CannotUnderstand, Comment: "simulated"}, nil
	}
	if p.take("abort", func(f *Faults) *int { return &f.Abort }) {
		return truth.Unanswered, dimse.Status{}, errAbort
	}
	if p.take("late", func(f *Faults) *int { return &f.Late }) {
		p.mu.Lock()
		by := time.Duration(p.faults.LateBy)
		p.mu.Unlock()
		if !wire.Wait(ctx, by) {
			return truth.Unanswered, dimse.Status{}, ctx.Err()
		}
	}
	return truth.Accepted, dimse.Status{}, nil
}

// take reports whether the fault is due, and counts it as done.
func (p *PACS) take(name string, count func(*Faults) *int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := count(&p.faults)
	if *n == 0 {
		return false
	}
	*n--
	p.done[name]++
	return true
}

// Digest names what must not change on the way: SOP class, transfer syntax and
// the bytes of the data set.
func Digest(class, syntax string, sum []byte) string {
	return class + " " + syntax + " " + hex.EncodeToString(sum)
}
