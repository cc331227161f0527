package run

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"nhip/gateway/config"
	"nhip/gateway/delivery"
	"nhip/gateway/interpret"
	"nhip/gateway/modality"
	"nhip/storage"
)

// startImagingOut starts what goes to DICOM destinations beside objects: requests for
// storage commitment, and notices. It is called before the delivery workers, which
// hand them their work.
func (g *Gateway) startImagingOut() error {
	g.committers = map[string]*modality.Committer{}
	for _, d := range g.cfg.Destinations {
		if err := g.leave(d); err != nil {
			return err
		}
		if d.Commitment {
			c := &modality.Committer{Name: d.Name, To: g.imagingDestination(d), Store: g.store, Log: g.log, Now: time.Now}
			g.committers[d.Name] = c
			g.goRun("storage commitment by "+d.Name, c.Run)
		}
		if d.IAN {
			n := &modality.Notifier{Name: d.Name, Store: g.store, Intake: g.in, Log: g.log, Now: time.Now, AETitle: g.titleOf, Quiet: g.quiet}
			g.goRun("notices for "+d.Name, n.Run)
		}
	}
	return nil
}

// titleOf is the AE title of a destination.
func (g *Gateway) titleOf(name string) string {
	for _, d := range g.cfg.Destinations {
		if d.Name == name {
			return d.CalledAETitle
		}
	}
	return ""
}

// leave gives up what an earlier configuration wanted of a destination: commitment, or
// notices. Nothing waits for it any more.
func (g *Gateway) leave(d config.Destination) error {
	for queue, wanted := range map[string]bool{modality.CommitQueue(d.Name): d.Commitment, modality.NoticeQueue(d.Name): d.IAN} {
		for n := 0; !wanted; {
			items, err := g.store.Items(queue, 0, 500)
			if err != nil {
				return err
			}
			if len(items) == 0 {
				if n > 0 {
					g.log.Warn("the configuration wants this of the destination no longer: given up", "queue", queue, "items", n)
				}
				break
			}
			b := new(storage.Batch)
			for _, it := range items {
				b.Remove(queue, it.Seq)
			}
			if _, err := g.store.Commit(context.WithoutCancel(g.ctx), b); err != nil {
				return fmt.Errorf("queue %s: %w", queue, err)
			}
			n += len(items)
		}
	}
	return nil
}

// also is delivery.Worker.Also of a DICOM destination: what is to follow an object that
// it has accepted.
func (g *Gateway) also(d config.Destination) func(*storage.Batch, delivery.Settled) {
	tell := map[string][]string{} // by modality: the destinations that are told
	for _, m := range g.cfg.Modalities {
		for _, name := range m.To {
			i := slices.IndexFunc(g.cfg.Destinations, func(x config.Destination) bool { return x.Name == name })
			if i >= 0 && name != d.Name && g.cfg.Destinations[i].IAN && slices.Contains(m.To, d.Name) {
				tell[m.Name] = append(tell[m.Name], name)
			}
		}
	}
	if !d.Commitment && len(tell) == 0 {
		return nil
	}
	return func(b *storage.Batch, s delivery.Settled) {
		if !strings.HasPrefix(s.Group, interpret.GroupStudy+"/") {
			return
		}
		if d.Commitment {
			modality.Delivered(b, d.Name, s)
		}
		for i, name := range tell[s.Ticket.From] {
			if i < mostTold {
				modality.Available(b, name, d.Name, s)
			}
		}
	}
}

// mostTold is how many destinations are told of one delivery: it is one commit.
const mostTold = 3
