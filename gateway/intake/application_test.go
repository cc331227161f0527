package intake

import (
	"context"
	"errors"
	"testing"

	"nhip/gateway/reason"
	"nhip/hl7"
	"nhip/hl7/ack"
	"nhip/storage"
)

// An application of orders: it keeps the control ID of each message under a key.
type orders struct {
	d     Decision
	err   error
	asked int
	ended []error
}

func (o *orders) Takes(m *hl7.Message) bool { code, _, _ := m.Type(); return code == "OML" }

func (o *orders) Decide(_ context.Context, r Incoming, b *storage.Batch) (Decision, error) {
	o.asked++
	b.PutRef("order/"+r.Message.ControlID(), r.Entry)
	d := o.d
	d.End = func(_ storage.Receipt, err error) { o.ended = append(o.ended, err) }
	return d, o.err
}

const order = "MSH|^~\\&|HIS|BV|NHIP|BV|20260114081500+0700||OML^O21^OML_O21|7|P|2.5.1\rPID|1\rORC|NW|12\r"

func decide(t *testing.T, in *Intake, o *orders, text string) (string, bool, error) {
	t.Helper()
	m, err := hl7.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	b, refused, err := in.Decided(t.Context(), o, Incoming{Link: "his", Peer: "a", Message: m}, map[string]string{"type": "OML^O21"},
		func(d Decision, b *storage.Batch) ([]byte, error) {
			return append([]byte(d.Verdict.Code), d.Segments...), nil
		})
	return string(b), refused, err
}

func TestAnApplicationsDecisionIsCommittedWithItsMessageAndARepeatDoesNotReachIt(t *testing.T) {
	s, in := fresh(t)
	o := &orders{d: Decision{Verdict: ack.Verdict{Code: hl7.ApplicationAccept}, Segments: []byte("first")}}
	for range 2 {
		if got, refused, err := decide(t, in, o, order); got != "AAfirst" || refused || err != nil {
			t.Errorf("%q %v %v", got, refused, err)
		}
		o.d.Segments = []byte("second")
	}
	if o.asked != 1 || len(o.ended) != 1 || o.ended[0] != nil {
		t.Errorf("asked %d times, ended %v", o.asked, o.ended)
	}
	if ref, ok, err := s.Get("order/7"); !ok || err != nil || string(ref) != "in/his/1" {
		t.Errorf("%q %v %v", ref, ok, err)
	}
	conserved(t, s, "accepted=2 consumed/duplicate=1 queued=1")
}

func TestWhatAnApplicationRefusesIsNotStored(t *testing.T) {
	s, in := fresh(t)
	o := &orders{d: Decision{Verdict: ack.Verdict{Code: hl7.ApplicationReject}}}
	if got, refused, err := decide(t, in, o, order); got != "AR" || !refused || err != nil {
		t.Errorf("%q %v %v", got, refused, err)
	}
	o.err = errors.New("the orders cannot be read")
	if _, _, err := decide(t, in, o, order); !errors.Is(err, o.err) {
		t.Error(err)
	}
	if len(o.ended) != 1 || !errors.Is(o.ended[0], ErrRefused) {
		t.Errorf("ended %v", o.ended)
	}
	if _, ok, _ := s.Get("order/7"); ok || s.Last(Channel("his")) != 0 {
		t.Error("something was stored")
	}
}

func TestAnApplicationSaysWhereAMessageGoes(t *testing.T) {
	s, in := fresh(t)
	o := &orders{d: Decision{Verdict: ack.Verdict{Code: hl7.ApplicationError}, Held: reason.New(reason.NoControlID), Subject: "12"}}
	decide(t, in, o, order)
	item, ok, _ := s.Head(HeldQueue)
	if ticket, err := DecodeHeldTicket(item.Value); !ok || err != nil || ticket.Subject != "12" || ticket.Reason.Code != reason.NoControlID {
		t.Errorf("%+v %v", ticket, err)
	}
	o.d = Decision{Verdict: ack.Verdict{Code: hl7.ApplicationAccept}, Consumed: "order"}
	decide(t, in, o, order+"NTE|1\r")
	item, ok, _ = s.Head(Interpret)
	if kind, ends := Ends(item.Value); !ok || !ends || kind != "order" {
		t.Errorf("%q %v", kind, ends)
	}
	if _, ends := Ends(Again); ends {
		t.Error("what a person released does not end")
	}
	conserved(t, s, "accepted=2 held=1 queued=1")
}
