package intake

import (
	"context"
	"maps"
	"slices"
	"strings"

	"nhip/drivers/astm/e1381"
	"nhip/gateway/reason"
	"nhip/storage"
)

// ASTM is the e1381.Handler of one connection of an analyser.
//
// A message whose session we did not see end after our last ACK (no EOT: a
// crash, a cut line) may come again because the ACK was lost: the same record
// bytes are then acknowledged and counted, not delivered again. Any other
// identical message is a deliberate resend by the operator: it is delivered
// again and marked as one.
type ASTM struct {
	in         *Intake
	kind       Kind
	connection string
	peer       string
	session    map[string]bool // what came in the session that goes on
}

// ASTM returns the handler of a connection.
func (in *Intake) ASTM(connection, peer string) *ASTM {
	return &ASTM{in: in, kind: KindASTM, connection: connection, peer: peer}
}

// Text is ASTM for a protocol that is neither LIS02 nor HL7: the messages are as its
// driver has cut them.
func (in *Intake) Text(connection, peer string) *ASTM {
	return &ASTM{in: in, kind: KindText, connection: connection, peer: peer}
}

var _ e1381.Handler = (*ASTM)(nil)

func (a *ASTM) openKey(sum string) string { return openKey(a.connection, sum) }
func (a *ASTM) seenKey(sum string) string { return seenKey(a.connection, sum) }

func openKey(connection, sum string) string { return "astm-open/" + connection + "/" + sum }
func seenKey(connection, sum string) string { return "astm-seen/" + connection + "/" + sum }

// perCommit is how many messages are stored in one commit: each is at most eight
// changes of it.
const perCommit = storage.MaxChanges / 8

// Store commits every message that a frame completes, before its ACK: in one
// commit, or in several where one frame holds that many. After a crash between two
// of them the frame comes again, and what was committed is a repeat.
func (a *ASTM) Store(ctx context.Context, msgs []e1381.Message) error {
	l := a.in.link(a.connection)
	l.Lock()
	defer l.Unlock()
	if err := a.readOpen(l); err != nil {
		return err
	}
	for some := range slices.Chunk(msgs, perCommit) {
		if err := a.store(ctx, l, some); err != nil {
			return err
		}
	}
	return nil
}

// store is one commit; l is locked.
func (a *ASTM) store(ctx context.Context, l *link, msgs []e1381.Message) error {
	b := new(storage.Batch)
	fresh := map[string]bool{}
	var came []string
	for _, m := range msgs {
		e, err := a.in.entry(a.kind, a.connection, a.peer, m.Records)
		if err != nil {
			return err
		}
		sum := e.SHA256[:32]
		seen, known, err := a.in.store.Get(a.seenKey(sum))
		if err != nil {
			return err
		}
		came = append(came, sum)
		if l.open[sum] || fresh[sum] {
			repeat(b, e, refText(seen))
			continue
		}
		e.Resend = known
		j := accept(b, e)
		b.PutRef(a.seenKey(sum), j)
		b.Put(a.openKey(sum), nil)
		fresh[sum] = true
	}
	if _, err := a.in.store.Commit(ctx, b); err != nil {
		return err
	}
	for sum := range fresh {
		l.open[sum] = true
	}
	if a.session == nil {
		a.session = map[string]bool{}
	}
	for _, sum := range came {
		a.session[sum] = true
	}
	return nil
}

// Incomplete keeps what came of a session that broke before its L record; why in
// the words of e1381.
func (a *ASTM) Incomplete(ctx context.Context, m e1381.Message, why string) error {
	e, err := a.in.entry(a.kind, a.connection, a.peer, m.Records)
	if err != nil {
		return err
	}
	e.Fate = Incomplete
	b := new(storage.Batch)
	a.in.hold(b, e, "", incomplete(why))
	_, err = a.in.store.Commit(ctx, b)
	return err
}

// incomplete makes a reason of what e1381 says in words; what it does not say
// like this is shown as it is.
func incomplete(why string) reason.Reason {
	for _, x := range []struct {
		begins string
		code   reason.Code
	}{
		{"no frame for 30 s", reason.IncompleteSilence},
		{"EOT before the L record", reason.IncompleteEOT},
		{"line cut: the device closed the connection", reason.IncompleteClosed},
		{"line cut", reason.IncompleteCut},
		{"the gateway was stopped", reason.IncompleteStopped},
		{"frame over", reason.IncompleteTooLong},
		{"message over", reason.IncompleteTooLong},
	} {
		if !strings.HasPrefix(why, x.begins) {
			continue
		}
		if x.code == reason.IncompleteTooLong {
			return reason.New(x.code, why)
		}
		return reason.New(x.code)
	}
	return reason.New(reason.Incomplete, why)
}

// Ended notes that we saw the session end: what came in it is whole, and the
// same bytes from now on are a resend. What came in an earlier session that we did not
// see end stays as it is: the analyser may ask for orders first, in a session of its
// own, and then repeat it.
func (a *ASTM) Ended(ctx context.Context) error {
	l := a.in.link(a.connection)
	l.Lock()
	defer l.Unlock()
	if err := a.readOpen(l); err != nil {
		return err
	}
	// A device that never closes its sessions leaves more than one commit holds.
	for open := range slices.Chunk(slices.Collect(maps.Keys(a.session)), storage.MaxChanges/2) {
		b := new(storage.Batch)
		for _, sum := range open {
			b.Delete(a.openKey(sum))
		}
		if _, err := a.in.store.Commit(ctx, b); err != nil {
			return err
		}
		for _, sum := range open {
			delete(l.open, sum)
			delete(a.session, sum)
		}
	}
	return nil
}

// readOpen loads what an earlier process left open.
func (a *ASTM) readOpen(l *link) error {
	if l.open != nil {
		return nil
	}
	prefix := a.openKey("")
	keys, err := a.in.store.Keys(prefix, 100000)
	if err != nil {
		return err
	}
	l.open = map[string]bool{}
	for _, k := range keys {
		l.open[strings.TrimPrefix(k, prefix)] = true
	}
	return nil
}

func refText(b []byte) string {
	ref, err := storage.ParseRef(string(b))
	if err != nil {
		return ""
	}
	return ref.String()
}
