package route

import "testing"

func TestNothingOfATrialDeviceReachesADestination(t *testing.T) {
	lis, pacs := Destination{Name: "lis", Kind: HL7}, Destination{Name: "pacs", Kind: DICOM}
	table := Table{
		"xn-1":  {To: []Destination{lis, pacs}},
		"new-1": {Trial: true, To: []Destination{lis}},
		"ct-1":  {To: []Destination{pacs}},
		"alone": {},
	}
	for _, c := range []struct{ connection, kind, to, why string }{
		{"xn-1", HL7, "lis", ""},
		{"xn-1", DICOM, "pacs", ""},
		{"new-1", HL7, "", OnTrial},
		{"ct-1", DICOM, "pacs", ""},
		{"ct-1", HL7, "", NoDestination},
		{"alone", HL7, "", NoDestination},
		{"unknown", HL7, "", NoDestination},
	} {
		to, why := table.For(c.connection, c.kind)
		name := ""
		if len(to) > 0 {
			name = to[0].Name
		}
		if name != c.to || why != c.why || len(to) > 1 {
			t.Errorf("%s %s: to %v, %q", c.connection, c.kind, to, why)
		}
	}
}
