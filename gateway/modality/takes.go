package modality

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"nhip/dicom/association"
	"nhip/dicom/probe"
	"nhip/dicom/uid"
)

// Takes knows what the PACS of the site take, because it has asked them. A
// modality can then be offered that alone, so that what nobody takes is refused
// where the radiographer sees it, instead of held.
type Takes struct {
	Log          *slog.Logger
	Destinations map[string]Destination

	mu    sync.Mutex
	known map[string]map[kind]bool // by destination; none: not known yet
}

type kind struct{ sopClass, transferSyntax string }

const (
	askAgain     = 6 * time.Hour // what a PACS takes changes when it is configured anew
	askSoonAgain = time.Minute   // one that did not answer
)

// Take reports whether every one of the destinations takes a SOP class in a
// transfer syntax, "" for in any. One that is not known yet takes all: what it
// refuses later is held with the reason.
func (t *Takes) Take(destinations []string, sopClass, transferSyntax string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !slices.ContainsFunc(destinations, func(name string) bool {
		known := t.known[name]
		return known != nil && !known[kind{sopClass, transferSyntax}]
	})
}

// Run asks now and again until ctx ends.
func (t *Takes) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for name, d := range t.Destinations {
		wg.Go(func() {
			for ctx.Err() == nil {
				wait := askAgain
				if err := t.ask(ctx, name, d); err != nil && ctx.Err() == nil {
					t.Log.Warn("not known yet what the destination takes", "destination", name, "error", err)
					wait = askSoonAgain
				}
				select {
				case <-ctx.Done():
				case <-time.After(wait):
				}
			}
		})
	}
	wg.Wait()
	return ctx.Err()
}

func (t *Takes) ask(ctx context.Context, name string, d Destination) error {
	o := probe.Options{
		Calling: d.Calling, Called: d.Called, SOPClasses: uid.StorageClasses(),
		Timeouts: association.Timeouts{ARTIM: d.Connect, DIMSE: d.Answer, Response: d.Answer},
	}
	if d.TLS != nil {
		var err error
		if o.TLS, err = d.TLS(); err != nil {
			return err
		}
	}
	r, err := probe.Probe(ctx, d.Address, o)
	if err != nil {
		return err
	}
	if len(r.Problems) > 0 {
		return r.Problems[0] // half an answer would refuse what it takes
	}
	known := map[kind]bool{}
	for _, c := range r.Classes {
		known[kind{c.UID, ""}] = true
		for _, ts := range c.TransferSyntaxes {
			known[kind{c.UID, ts}] = true
		}
	}
	t.mu.Lock()
	if t.known == nil {
		t.known = map[string]map[kind]bool{}
	}
	t.known[name] = known
	t.mu.Unlock()
	t.Log.Info("asked what the destination takes", "destination", name, "sop classes", len(r.Classes), "associations", r.Associations)
	return nil
}
