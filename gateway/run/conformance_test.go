package run

import (
	"slices"
	"testing"

	"nhip/dicom/probe"
	"nhip/dicom/uid"
	"nhip/gateway/docs/conformance"
)

// TestTheGatewayAcceptsWhatItsConformanceStatementSays: presentation contexts, roles,
// window and PDU length, as a peer sees them.
func TestTheGatewayAcceptsWhatItsConformanceStatementSays(t *testing.T) {
	t.Parallel()
	s := newSite(t, "[dicom]\nlisten = \"127.0.0.1:0\"\nworklist = \"worklist\"\n"+modalityBlock("ct-1", "CT1", ""))
	r, err := probe.Probe(t.Context(), s.status().Listen.DICOM, probe.Options{Calling: "CT1", Called: "NHIP"})
	if err != nil || len(r.Problems) > 0 {
		t.Fatal(err, r.Problems)
	}
	m := conformance.Services()
	accepted := map[string]bool{}
	for _, c := range r.Classes {
		accepted[c.UID] = true
		var want []string
		for _, ts := range uid.TransferSyntaxes() {
			if m.TransferSyntax(c.UID, ts) {
				want = append(want, ts)
			}
		}
		slices.Sort(want)
		got := slices.Sorted(slices.Values(c.TransferSyntaxes))
		if !slices.Equal(got, want) {
			t.Errorf("%s: accepted in %v, stated is %v", uid.Name(c.UID), got, want)
		}
		if !c.SCU || c.SCP {
			t.Errorf("%s: roles SCU %v, SCP %v", uid.Name(c.UID), c.SCU, c.SCP)
		}
	}
	for _, class := range uid.SOPClasses() {
		if accepted[class] != m.AbstractSyntax(class) {
			t.Errorf("%s: accepted %v, stated %v", uid.Name(class), accepted[class], m.AbstractSyntax(class))
		}
	}
	if r.Window == nil || r.Window.Invoked != 1 || r.Window.Performed != 1 {
		t.Errorf("window %+v", r.Window)
	}
}
