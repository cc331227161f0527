package interpret

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"nhip/gateway/intake"
	"nhip/gateway/reason"
	"nhip/storage"
)

// run is a result of the XN: the message's time, the specimen, WBC's value and when it
// was measured.
func run(message int, specimen, value string, minute int) string {
	return fmt.Sprintf("H|\\^&|||    XN-550^00-12^31457^^^^BZ900001||||||||E1394-97|202601140815%02d\rP|1\r"+
		"O|1||^^%22s^M|^^^^WBC|||||||N||||||||||||||F\rR|1|^^^^WBC^1|%s|10*3/uL||N||F||||2026011408%02d00\rL|1|N\r", message, specimen, value, minute)
}

// heldWhy are the reasons of what is held, in order.
func (r *rig) heldWhy() (all []string) {
	r.t.Helper()
	items, err := r.s.Items(intake.HeldQueue, 0, 0)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, it := range items {
		t, err := intake.DecodeHeldTicket(it.Value)
		if err != nil {
			r.t.Fatal(err)
		}
		all = append(all, strings.TrimSpace(string(t.Reason.Code)+" "+strings.Join(t.Reason.Args, " ")))
	}
	return all
}

// goOn lets what is held go on as a person would, matched to an order where one is
// given.
func (r *rig) goOn(order string) {
	r.t.Helper()
	items, err := r.s.Items(intake.HeldQueue, 0, 0)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, it := range items {
		t, err := intake.DecodeHeldTicket(it.Value)
		if err != nil {
			r.t.Fatal(err)
		}
		to := t.For
		to.Older = t.Reason.Code == reason.Older
		if order != "" {
			to.Order = order
		}
		b := new(storage.Batch)
		b.Remove(intake.HeldQueue, it.Seq)
		b.EnqueueRef(intake.Interpret, it.Group, to.Again(), it.About...)
		b.Add(intake.CountHeld, -1)
		b.Add(intake.CountQueued, 1)
		if _, err := r.s.Commit(r.t.Context(), b); err != nil {
			r.t.Fatal(err)
		}
	}
	time.Sleep(time.Second)
	r.interpret()
}

// values are those of WBC in what goes to the LIS, in order; an older one with a star.
func (r *rig) values() (all []string) {
	r.t.Helper()
	_, bodies := r.queued("lis")
	for _, b := range bodies {
		for s := range strings.SplitSeq(b, "\r") {
			if f := strings.Split(s, "|"); f[0] == "OBX" {
				mark := ""
				if strings.Contains(b, "NTE|1|L|an older result") || strings.Contains(b, "NTE|2|L|an older result") {
					mark = "*"
				}
				all = append(all, f[5]+mark)
			}
		}
	}
	return all
}

func (r *rig) measure(connection, text string) {
	r.t.Helper()
	time.Sleep(time.Second)
	r.astm(connection, text)
	r.interpret()
}

// What the operator sends again after a newer run of the specimen is not last at the LIS:
// the same bytes, or the same measurement in another message.
func TestAnOlderResultThatIsSentAgainIsHeldUntilAPersonKnows(t *testing.T) {
	for name, again := range map[string]string{"the same bytes": run(1, "27", "5.1", 1), "in another message": run(3, "27", "5.1", 1)} {
		within(t, func(t *testing.T, r *rig) {
			r.measure("xn-1", run(1, "27", "5.1", 1))
			r.measure("xn-1", run(2, "27", "5.4", 2))
			r.measure("xn-1", again)
			if got, why := r.values(), r.heldWhy(); !slices.Equal(got, []string{"5.1", "5.4"}) || !slices.Equal(why, []string{"result.older WBC"}) {
				t.Errorf("%s: sent %q, held %q", name, got, why)
			}
			r.goOn("")
			if got, why := r.values(), r.heldWhy(); !slices.Equal(got, []string{"5.1", "5.4", "5.1*"}) || len(why) != 0 {
				t.Errorf("%s, released: sent %q, held %q", name, got, why)
			}
		})
	}
}

// What is newest may be sent again, and so may another specimen, test or value that is
// the same.
func TestTheNewestResultIsSentAgain(t *testing.T) {
	within(t, func(t *testing.T, r *rig) {
		for i, text := range []string{
			run(1, "27", "5.1", 1), run(2, "27", "5.4", 2), run(2, "27", "5.4", 2), run(3, "27", "5.4", 2), run(4, "28", "5.1", 1),
			strings.ReplaceAll(run(5, "27", "9", 1), "WBC", "HGB"), run(6, "29", "5.1", 1), run(7, "29", "5.1", 2), run(6, "29", "5.1", 1), run(8, "27", "5.1", 3),
		} {
			r.measure("xn-1", text)
			if why := r.heldWhy(); len(why) != 0 {
				t.Fatalf("message %d is held: %q", i, why)
			}
		}
	})
}

// All three come before the first is interpreted: one commit has them all.
func TestAnOlderResultInOneBatchWithTheNewerIsHeld(t *testing.T) {
	within(t, func(t *testing.T, r *rig) {
		for i, v := range []string{"5.1", "5.4", "5.1"} {
			time.Sleep(time.Second)
			r.astm("xn-1", run(1, "27", v, len(v)+i%2))
		}
		r.interpret()
		if got, why := r.values(), r.heldWhy(); !slices.Equal(got, []string{"5.1", "5.4"}) || !slices.Equal(why, []string{"result.older WBC"}) {
			t.Errorf("sent %q, held %q", got, why)
		}
	})
}

// A result that waited for a person until a newer one of its order went out, under a
// mistyped identifier and by another machine too.
func TestAHeldResultThatIsOlderByNowIsNotSentUnseen(t *testing.T) {
	within(t, func(t *testing.T, r *rig) {
		r.orderFor("A1", "27", "WBC")
		r.measure("xn-1", run(1, "72", "5.1", 1)) // mistyped
		r.measure("xn-1", run(2, "27", "5.4", 2))
		if got, why := r.values(), r.heldWhy(); !slices.Equal(got, []string{"5.4"}) || !slices.Equal(why, []string{"order.none"}) {
			t.Fatalf("sent %q, held %q", got, why)
		}
		r.goOn("A1")
		if got, why := r.values(), r.heldWhy(); !slices.Equal(got, []string{"5.4"}) || !slices.Equal(why, []string{"result.older WBC"}) {
			t.Fatalf("matched: sent %q, held %q", got, why)
		}
		r.goOn("")
		_, bodies := r.queued("lis")
		if got, why := r.values(), r.heldWhy(); !slices.Equal(got, []string{"5.4", "5.1*"}) || len(why) != 0 || !strings.Contains(bodies[1], "OBR|1|A1|") {
			t.Errorf("released: sent %q, held %q, %q", got, why, bodies[1])
		}
		items, _ := r.queued("lis")
		if items[0].Group != items[1].Group {
			t.Error("what is of one specimen by its order is not kept in order")
		}
		r.measure("xn-1", run(3, "72", "6.0", 3))
		r.goOn("A1") // the newest
		if got, why := r.values(), r.heldWhy(); len(got) != 3 || got[2] != "6.0" || len(why) != 0 {
			t.Errorf("the newest: sent %q, held %q", got, why)
		}
	})
}
