package modality

import (
	"context"
	"iter"
	"strings"

	"nhip/dicom"
	"nhip/dicom/find"
	"nhip/dicom/tag"
)

// Shown is a worklist of which each modality finds its own. It is find.Source.
type Shown struct {
	find.Source
	// Station says who asks: its AE title, and whether it finds the steps of others too.
	Station func(find.Query) (aeTitle string, all bool)
}

// Entities is find.Source: the steps that are scheduled for the AE title of the caller,
// and those that are scheduled for none.
func (s Shown) Entities(ctx context.Context, q find.Query) iter.Seq2[*dicom.Dataset, error] {
	title, all := s.Station(q)
	if all {
		return s.Source.Entities(ctx, q)
	}
	return func(yield func(*dicom.Dataset, error) bool) {
		for d, err := range s.Source.Entities(ctx, q) {
			if err == nil && !scheduledFor(d, title) {
				continue
			}
			if !yield(d, err) {
				return
			}
		}
	}
}

// scheduledFor reports whether a step may be done at a station: Scheduled Station AE
// Title (0040,0001) may name several, PS3.3 section C.4.10.
func scheduledFor(d *dicom.Dataset, title string) bool {
	named := false
	for _, step := range d.Items(tag.ScheduledProcedureStepSequence) {
		for _, t := range step.Texts(tag.ScheduledStationAETitle) {
			t = strings.TrimSpace(t)
			if t == title {
				return true
			}
			named = named || t != ""
		}
	}
	return !named
}
