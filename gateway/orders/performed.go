package orders

import (
	"strings"
	"time"

	"nhip/gateway/record"
	"nhip/storage"
)

// Performed is what a performed procedure step says of a scheduled one (PS3.3 section
// C.4.13): what is empty was not said.
type Performed struct {
	Study, Accession, StepID string
	End                      record.ServiceState // Completed or Discontinued; empty: neither
	Device                   string              // the modality
	At                       time.Time
}

// Perform adds to a batch what performed procedure steps say of open imaging orders:
// one that is begun is in progress, one that is completed leaves the worklist, one that
// was discontinued too where remove says so, else it can be begun again. end is called
// with what the commit said. What cannot be read is left as it is: a step is accepted
// whatever became of its order.
func (s *Store) Perform(b *storage.Batch, all []Performed, remove bool) (end func(error)) {
	c := s.Begin(s.o.Now().UTC())
	for _, p := range all {
		for _, id := range c.performed(p) {
			if err := c.edit(id, Turn{Link: p.Device, Control: "performed"}, func(e *Entry) bool { return e.perform(p, remove) }); err != nil {
				s.o.Log.Error("orders: an order cannot be read", "order", id, "error", err)
			}
		}
	}
	if err := c.Write(b); err != nil {
		s.o.Log.Error("orders: a performed procedure step changes nothing", "error", err)
	}
	return c.End
}

// performed are the orders that a step may be of.
func (c *Change) performed(p Performed) []uint64 {
	for _, way := range [][2]string{{byStudy, p.Study}, {byAccession, p.Accession}} {
		if way[1] == "" {
			continue
		}
		if ids, err := c.candidates(way[0], way[1]); err == nil && len(ids) > 0 {
			return ids
		}
	}
	return nil
}

// perform takes what a performed procedure step says of the services that it is of.
func (e *Entry) perform(p Performed, remove bool) (changed bool) {
	for i := range e.Order.Services {
		v := &e.Order.Services[i]
		if v.State.Over() || v.Imaging == nil {
			continue
		}
		if p.Study != "" && v.Imaging.StudyInstanceUID != p.Study || p.Study == "" && !sameShort(v.Imaging.Accession, p.Accession) {
			continue
		}
		if p.Study != "" && p.Accession != "" && v.Imaging.Accession != "" && !sameShort(v.Imaging.Accession, p.Accession) {
			continue // another order of the same study
		}
		changed = e.performService(v, p, remove) || changed
	}
	return changed
}

func (e *Entry) performService(v *record.Service, p Performed, remove bool) bool {
	steps := 0
	for i := range v.Imaging.Steps {
		x := &v.Imaging.Steps[i]
		if x.Done || p.StepID != "" && len(v.Imaging.Steps) > 1 && !sameShort(x.ID, p.StepID) {
			continue
		}
		steps++
		x.Done = p.End == record.Completed || p.End == record.Discontinued && remove
	}
	if steps == 0 {
		return false
	}
	v.By, v.At = p.Device, p.At.UTC()
	left := false
	for _, x := range v.Imaging.Steps {
		left = left || !x.Done
	}
	switch {
	case p.End == "":
		v.Progress = record.Begun
	case !left:
		e.finish(v, p.End, Said{})
	case p.End == record.Discontinued && !remove:
		v.Progress = record.Received
	}
	return true
}

// sameShort reports whether a modality that has room for 16 characters (SH) means an
// identifier.
func sameShort(have, said string) bool {
	return have == said || len([]rune(said)) == 16 && strings.HasPrefix(have, said)
}
