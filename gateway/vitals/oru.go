package vitals

import (
	"fmt"
	"time"

	"nhip/gateway/lis"
	"nhip/gateway/record"
	"nhip/hl7"
)

// ORU renders the observations of a device that does not speak HL7 itself as
// ORU^R01 of version 2.6 in the shape of IHE PCD-01 (PCD TF-2 section 3.1). No
// patient is named: who lies there is for the receiver to know by PV1-3, the
// ward and the device.
func ORU(obs []record.Observation, unit, device string, ends lis.Ends, controlID string, received time.Time) ([]byte, error) {
	m := hl7.NewMessage(hl7.DefaultDelimiters)
	var failed error
	set := func(s hl7.Segment, path, value string) {
		if value == "" || failed != nil {
			return
		}
		failed = s.Set(path, value)
	}
	msh := m.Segments("MSH")[0]
	set(msh, "18", "UNICODE UTF-8")
	set(msh, "3", ends.SendingApplication)
	set(msh, "4", ends.SendingFacility)
	set(msh, "5", ends.ReceivingApplication)
	set(msh, "6", ends.ReceivingFacility)
	set(msh, "7", hl7.FormatTime(received))
	set(msh, "9.1", "ORU")
	set(msh, "9.2", "R01")
	set(msh, "9.3", "ORU_R01")
	set(msh, "10", controlID)
	set(msh, "11", "P")
	set(msh, "12", "2.6")
	pv1 := m.Append("PV1")
	set(pv1, "1", "1")
	set(pv1, "2", "U")
	set(pv1, "3.1", unit)
	set(pv1, "3.3", device)
	obr := m.Append("OBR")
	set(obr, "1", "1")
	set(obr, "3", controlID)
	set(obr, "4.1", "69965")
	set(obr, "4.2", "MDC_DEV_MON_PHYSIO_MULTI_PARAM_MDS")
	set(obr, "4.3", "MDC")
	set(obr, "7", hl7.FormatTime(received))
	for i, o := range obs {
		setOBX(set, m.Append("OBX"), i+1, o)
	}
	if failed != nil {
		return nil, fmt.Errorf("vitals: ORU^R01: %w", failed)
	}
	return m.Bytes(), nil
}

// setOBX sets the fields of the nth observation, n from 1.
func setOBX(set func(s hl7.Segment, path, value string), obx hl7.Segment, n int, o record.Observation) {
	set(obx, "1", fmt.Sprint(n))
	set(obx, "2", lis.ValueType(o.Value))
	if o.Code != 0 {
		set(obx, "3.1", fmt.Sprint(o.Code))
		set(obx, "3.2", o.MDC)
		set(obx, "3.3", "MDC")
	} else {
		set(obx, "3.2", o.MDC)
		set(obx, "3.3", "L")
	}
	set(obx, "4", fmt.Sprintf("0.0.0.%d", n))
	status := "R"
	if o.State == record.Valid || o.State == record.Questionable {
		set(obx, "5", o.Value)
	} else {
		status = "X" // no result can be obtained
	}
	set(obx, "6.1", o.UCUM)
	if o.UCUM != "" {
		set(obx, "6.3", "UCUM")
	}
	if o.State == record.Questionable {
		set(obx, "8", "QUES")
	}
	set(obx, "11", status)
	if !o.Observed.At.IsZero() {
		set(obx, "14", hl7.FormatTime(o.Observed.At))
	}
	set(obx, "18.1", o.Device.Serial)
}
