package profile

import "testing"

func TestBuiltinProfilesLoad(t *testing.T) {
	all, err := Builtin()
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"erba-xl", "generic-astm", "generic-hl7", "mindray-bc-5380", "roche-cobas-e411", "sysmex-xn-l"} {
		if all[id] == nil {
			t.Errorf("profile %s is missing", id)
		}
	}
}
