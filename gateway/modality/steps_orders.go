package modality

import (
	"time"

	"nhip/dicom"
	"nhip/dicom/mpps"
	"nhip/dicom/tag"
	"nhip/gateway/orders"
	"nhip/gateway/record"
)

// PerformedOrders are what a performed procedure step says of scheduled ones: one for
// each item of the Scheduled Step Attributes Sequence (0040,0270). One that was not
// scheduled says nothing.
func PerformedOrders(modality string, step *dicom.Dataset, at time.Time) (all []orders.Performed) {
	state, ok := mpps.StateOf(step)
	if !ok {
		return nil
	}
	end := map[mpps.State]record.ServiceState{mpps.Completed: record.Completed, mpps.Discontinued: record.Discontinued}[state]
	for _, s := range step.Items(tag.ScheduledStepAttributesSequence) {
		all = append(all, orders.Performed{
			Study: s.Text(tag.StudyInstanceUID), Accession: s.Text(tag.AccessionNumber), StepID: s.Text(tag.ScheduledProcedureStepID),
			End: end, Device: modality, At: at,
		})
	}
	return all
}
