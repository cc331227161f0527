package interpret

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"nhip/drivers/astm/e1381"
	"nhip/drivers/profile"
	"nhip/gateway/intake"
	"nhip/gateway/reason"
	"nhip/gateway/route"
)

// A printer's text has no checksum: where a character is lost, the columns behind it
// slip. Nothing of such a message goes on before a person has looked at it.
func TestATextOfWhichAPartCannotBeReadIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, t.TempDir())
		defer r.s.Close()
		all, err := profile.Builtin()
		if err != nil {
			t.Fatal(err)
		}
		r.w.Connections["kx"] = Connection{Name: "kx", Kind: Analyser, Zone: time.UTC, Profile: all["sysmex-kx-21n"]}
		r.w.Routes["kx"] = route.Plan{To: []route.Destination{{Name: "lis", Kind: route.HL7}}}
		whole := "D1U202601140000000026011601000000000660043710129003600082420295003580020700273001300059700018000090003900337000960007500089001030"
		text := r.in.Text("kx", "a")
		store := func(message string) {
			t.Helper()
			if err := text.Store(t.Context(), []e1381.Message{{Records: []byte(message), Frames: 1}}); err != nil {
				t.Fatal(err)
			}
			r.interpret()
		}
		store(whole)
		if items, _ := r.queued("lis"); len(items) != 1 {
			t.Fatalf("%d messages go on of a good one", len(items))
		}
		store(whole[:60] + whole[61:])
		items, _ := r.queued("lis")
		held, err := r.s.Items(intake.HeldQueue, 0, 10)
		if err != nil || len(held) != 1 || len(items) != 1 {
			t.Fatalf("%d held, %d go on, %v", len(held), len(items), err)
		}
		ticket, err := intake.DecodeHeldTicket(held[0].Value)
		if err != nil || ticket.Reason.Code != reason.PartUnread || !strings.Contains(ticket.Reason.String(), "line 1") {
			t.Errorf("held because %q, %v", ticket.Reason, err)
		}
	})
}
