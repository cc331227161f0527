package ris

import (
	"fmt"

	"nhip/gateway/lis"
	"nhip/gateway/record"
	"nhip/hl7"
)

// Status renders the state of services of an imaging order (IHE RAD TF-2 section 4.3):
// ORC-5 SC scheduled, IP begun, CM done, DC discontinued, CA cancelled, as the worklist and
// the performed procedure steps say. From 2.5 on IPC has accession number, requested
// procedure, study and step; before, OBR-18 to OBR-20 and ZDS.
func Status(o record.Order, services []record.Service, x lis.StatusOptions) ([]byte, error) {
	x.Imaging = func(m *hl7.Message, obr hl7.Segment, s record.Service) error {
		if s.Imaging == nil {
			return nil
		}
		if x.Form == lis.FormOML {
			return procedureSegments(m, *s.Imaging)
		}
		return procedureFields(m, obr, *s.Imaging)
	}
	return lis.Status(o, services, x)
}

// procedureSegments are the IPC segments, one for each step.
func procedureSegments(m *hl7.Message, i record.Imaging) error {
	steps := i.Steps
	if len(steps) == 0 {
		steps = []record.Step{{}}
	}
	for _, step := range steps {
		ipc := m.Append("IPC")
		if err := set(ipc, []field{
			{"1.1", i.Accession}, {"2.1", i.ProcedureID}, {"3.1", i.StudyInstanceUID}, {"4.1", step.ID}, {"5.1", step.Modality},
			{"6.1", step.Protocol.Code}, {"6.2", step.Protocol.Text}, {"6.3", step.Protocol.System}, {"7.1", step.StationName}, {"8.1", step.Location},
		}); err != nil {
			return err
		}
		for n, title := range step.AETitles {
			if err := ipc.Set(fmt.Sprintf("9[%d]", n+1), title); err != nil {
				return err
			}
		}
	}
	return nil
}

// procedureFields are the fields of OBR, and ZDS.
func procedureFields(m *hl7.Message, obr hl7.Segment, i record.Imaging) error {
	fields := []field{{"18", i.Accession}, {"19", i.ProcedureID}}
	if len(i.Steps) > 0 {
		fields = append(fields, field{"20", i.Steps[0].ID}, field{"24", i.Steps[0].Modality})
	}
	if err := set(obr, fields); err != nil {
		return err
	}
	if i.StudyInstanceUID == "" {
		return nil
	}
	return set(m.Append("ZDS"), []field{{"1.1", i.StudyInstanceUID}, {"1.3", "Application"}, {"1.4", "DICOM"}})
}

// A field is a text and where it goes.
type field struct{ path, value string }

// set writes the fields that have a value.
func set(s hl7.Segment, fields []field) error {
	for _, f := range fields {
		if f.value == "" {
			continue
		}
		if err := s.Set(f.path, f.value); err != nil {
			return err
		}
	}
	return nil
}
