package film

import (
	"context"
	"errors"
	"maps"
	"slices"

	"nhip/dicom"
	"nhip/dicom/association"
	"nhip/dicom/dimse"
	"nhip/dicom/service"
	"nhip/dicom/tag"
)

// The event types of the Printer SOP class, PS3.4 table H.4-10.
const (
	eventNormal  = 1
	eventWarning = 2
	eventFailure = 3
)

// Report tells every requestor that has made something how the printer is now, by
// N-EVENT-REPORT on its association, PS3.4 section H.4.6.2.1: the standard has it so
// whenever Printer Status changes. It waits for the answers until ctx ends, since some
// requestors never answer; the error names the first that did not.
func (s *SCP) Report(ctx context.Context) error {
	s.mu.Lock()
	open := slices.Collect(maps.Keys(s.open))
	s.mu.Unlock()
	status := s.Printer.Status()
	d, event, err := status.event()
	if err != nil {
		return err
	}
	failed := make(chan error, len(open))
	for _, a := range open {
		go func() { failed <- report(ctx, a, event, d) }()
	}
	var all []error
	for range open {
		all = append(all, <-failed)
	}
	return errors.Join(all...)
}

// event is the event type of a printer status with its information.
func (p PrinterStatus) event() (*dicom.Dataset, uint16, error) {
	event := uint16(eventNormal)
	switch p.Status {
	case "WARNING":
		event = eventWarning
	case "FAILURE":
		event = eventFailure
	default:
		return nil, event, nil
	}
	d, err := texts(tag.PrinterStatusInfo, p.Info, tag.PrinterName, p.Name)
	return d, event, err
}

func report(ctx context.Context, a *association.Association, event uint16, d *dicom.Dataset) error {
	for _, class := range []string{PrinterClass, GrayscaleMeta, ColorMeta} {
		c, err := service.Context(a, class)
		if err != nil {
			continue
		}
		_, _, err = service.Request(ctx, a, c, dimse.Command{
			Field: dimse.NEventReportRQ, AffectedSOPClassUID: PrinterClass, AffectedSOPInstanceUID: PrinterInstance, EventTypeID: event,
		}, d)
		return err
	}
	return nil
}
