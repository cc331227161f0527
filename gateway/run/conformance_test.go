package run

import (
	"slices"
	"testing"

	"nhip/dicom/probe"
	"nhip/dicom/service"
	"nhip/dicom/uid"
	"nhip/gateway/docs/conformance"
)

// TestTheGatewayAcceptsWhatItsConformanceStatementSays: presentation contexts, roles,
// window and PDU length, as a peer sees them.
func TestTheGatewayAcceptsWhatItsConformanceStatementSays(t *testing.T) {
	t.Parallel()
	s := newSite(t, "[dicom]\nlisten = \"127.0.0.1:0\"\nworklist = \"worklist\"\n"+modalityBlock("ct-1", "CT1", "")+modalityBlock("ws-1", "WS1", "query = true\nprint = \"send\""))
	t.Run("any modality", func(t *testing.T) { accepts(t, s.status().Listen.DICOM, "CT1", conformance.Services()) })
	t.Run("one that queries and prints", func(t *testing.T) { accepts(t, s.status().Listen.DICOM, "WS1", conformance.Everything()) })
}

func accepts(t *testing.T, address, calling string, m service.Mux) {
	r, err := probe.Probe(t.Context(), address, probe.Options{Calling: calling, Called: "NHIP"})
	if err != nil || len(r.Problems) > 0 {
		t.Fatal(err, r.Problems)
	}
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
		if scu, scp := m.Role(c.UID); c.SCU != scu || c.SCP != scp {
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
