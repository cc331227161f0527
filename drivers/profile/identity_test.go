package profile

import "testing"

// TestSpecimenIDIsExact: identifiers that look alike are those of different
// specimens. Only blanks around one are padding (LIS02 fields of fixed width).
func TestSpecimenIDIsExact(t *testing.T) {
	for _, sent := range []string{"0027", "27", "27A", "27a", "2 7", "27-1", "270", "A0027", "O027"} {
		e := extract(t, "generic-astm", header, "P|1", "O|1|  "+sent+"   ||^^^X", "R|1|^^^X|1", "O|2|0270027||^^^X", "R|1|^^^X|2", "L|1")
		if len(e.Reports) != 2 || e.Reports[0].Specimen.ID != sent || e.Reports[1].Specimen.ID != "0270027" {
			t.Errorf("%q became %+v", sent, e.Reports)
		}
	}
}
