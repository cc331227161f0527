package intake

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"nhip/drivers/astm/e1381"
	"nhip/gateway/reason"
	"nhip/storage"
)

const xn = "H|\\^&|||XN-550\rP|1\rO|1||^^S1^M|^^^^WBC|||||||N\rR|1|^^^^WBC^1|6.41|10*3/uL||N||F\rL|1|N\r"

func open(t *testing.T, dir string) *storage.Store {
	t.Helper()
	s, err := storage.Open(t.Context(), storage.Options{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func fresh(t *testing.T) (*storage.Store, *Intake) {
	t.Helper()
	s := open(t, t.TempDir())
	t.Cleanup(func() { s.Close() })
	return s, New(s, slog.New(slog.DiscardHandler))
}

func msg(text string) []e1381.Message { return []e1381.Message{{Records: []byte(text), Frames: 1}} }

// fates lists the journal of a connection.
func fates(t *testing.T, s *storage.Store, connection string) (all []Entry) {
	t.Helper()
	err := s.Range(Channel(connection), 1, 2*storage.MaxChanges, false, func(_ storage.Ref, b []byte) bool {
		e, err := DecodeEntry(b)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// conserved checks the sum of the contract in one snapshot.
func conserved(t *testing.T, s *storage.Store, want string) {
	t.Helper()
	c := s.Snapshot().Counters
	sum := c["delivered"] + c[CountQueued] + c[CountHeld] + c["discarded"] + c["expired"]
	for k, n := range c {
		if strings.HasPrefix(k, CountConsumed) {
			sum += n
		}
	}
	if c[CountAccepted] != sum {
		t.Errorf("accepted %d, sum of fates %d: %v", c[CountAccepted], sum, c)
	}
	var got []string
	for _, k := range slices.Sorted(maps.Keys(c)) {
		if c[k] != 0 && !strings.HasPrefix(k, CountIntake) {
			got = append(got, fmt.Sprint(k, "=", c[k]))
		}
	}
	if g := strings.Join(got, " "); g != want {
		t.Errorf("counters: %s\nwant:     %s", g, want)
	}
}

func TestAMessageIsInTheJournalByteForByteWithItsItem(t *testing.T) {
	s, in := fresh(t)
	a := in.ASTM("xn-1", "127.0.0.1:9")
	if err := a.Store(t.Context(), msg(xn)); err != nil {
		t.Fatal(err)
	}
	e := fates(t, s, "xn-1")
	if len(e) != 1 || string(e[0].Body) != xn || e[0].Fate != Received || e[0].Kind != KindASTM || e[0].Resend {
		t.Errorf("%+v", e)
	}
	item, ok, err := s.Head(Interpret)
	if err != nil || !ok || len(item.About) != 1 || item.About[0].String() != "in/xn-1/1" {
		t.Errorf("%+v %v %v", item, ok, err)
	}
	conserved(t, s, "accepted=1 queued=1")
}

func TestTheSameBytesAfterABrokenSessionAreARepeat(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	if err := New(s, nil).ASTM("xn-1", "a").Store(t.Context(), msg(xn)); err != nil {
		t.Fatal(err)
	}
	// Our ACK was lost, and so were we: a new process, a new connection.
	s.Close()
	s = open(t, dir)
	defer s.Close()
	a := New(s, nil).ASTM("xn-1", "b")
	if err := a.Store(t.Context(), msg(xn)); err != nil {
		t.Fatal(err)
	}
	e := fates(t, s, "xn-1")
	if len(e) != 2 || e[1].Fate != Repeat || e[1].Attrs["of"] != "in/xn-1/1" {
		t.Errorf("%+v", e)
	}
	conserved(t, s, "accepted=2 consumed/duplicate=1 queued=1")
}

// The line was cut before EOT, and before it repeats the result the analyser asks for
// orders in a session of its own.
func TestTheSameBytesAfterABrokenSessionAreARepeatThoughAQueryCameBetween(t *testing.T) {
	s, in := fresh(t)
	if err := in.ASTM("xn-1", "a").Store(t.Context(), msg(xn)); err != nil {
		t.Fatal(err)
	}
	a := in.ASTM("xn-1", "b")
	for i, text := range []string{"H|\\^&\rQ|1|^27||ALL||||||||O\rL|1|N\r", xn, xn} {
		if err := a.Store(t.Context(), msg(text)); err != nil {
			t.Fatal(err)
		}
		if err := a.Ended(t.Context()); err != nil {
			t.Fatal(i, err)
		}
	}
	e := fates(t, s, "xn-1")
	if len(e) != 4 || e[2].Fate != Repeat || e[3].Fate != Received || !e[3].Resend {
		t.Errorf("%+v", e)
	}
}

func TestTheSameBytesAfterEOTAreAResend(t *testing.T) {
	s, in := fresh(t)
	a := in.ASTM("xn-1", "a")
	for range 3 {
		if err := a.Store(t.Context(), msg(xn)); err != nil {
			t.Fatal(err)
		}
		if err := a.Ended(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	e := fates(t, s, "xn-1")
	if len(e) != 3 || e[0].Resend || !e[1].Resend || !e[2].Resend || e[2].Fate != Received {
		t.Errorf("%+v", e)
	}
	conserved(t, s, "accepted=3 queued=3")
}

func TestTheSameBytesOfAnotherConnectionAreAnotherMessage(t *testing.T) {
	s, in := fresh(t)
	for _, c := range []string{"xn-1", "xn-2"} {
		if err := in.ASTM(c, "a").Store(t.Context(), msg(xn)); err != nil {
			t.Fatal(err)
		}
	}
	if e := fates(t, s, "xn-2"); len(e) != 1 || e[0].Fate != Received || e[0].Resend {
		t.Errorf("%+v", e)
	}
	conserved(t, s, "accepted=2 queued=2")
}

func TestAnIncompleteMessageIsHeldAndNeverInterpreted(t *testing.T) {
	s, in := fresh(t)
	if err := in.ASTM("xn-1", "a").Incomplete(t.Context(), msg(xn[:40])[0], "EOT before the L record"); err != nil {
		t.Fatal(err)
	}
	if s.Depth(Interpret) != 0 || s.Depth(HeldQueue) != 1 {
		t.Error("depths")
	}
	item, _, _ := s.Head(HeldQueue)
	if ticket, err := DecodeHeldTicket(item.Value); err != nil || ticket.Reason.Code != reason.IncompleteEOT {
		t.Errorf("%+v %v", ticket, err)
	}
	conserved(t, s, "accepted=1 held=1")
}

func TestHL7RepeatGetsTheStoredAnswer(t *testing.T) {
	s, in := fresh(t)
	send := func(id, text, answer string) string {
		t.Helper()
		b, err := in.HL7(t.Context(), "his", "a", id, []byte(text), nil, []byte(answer))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	if got := send("7", "MSH|a", "first"); got != "first" {
		t.Error(got)
	}
	if got := send("7", "MSH|a", "second"); got != "first" {
		t.Errorf("the repeat got %q", got)
	}
	if got := send("7", "MSH|b", "third"); got != "third" {
		t.Errorf("same MSH-10, other bytes: %q", got)
	}
	if got := send("8", "MSH|a", "fourth"); got != "fourth" {
		t.Errorf("other MSH-10: %q", got)
	}
	if e := fates(t, s, "his"); len(e) != 4 || e[1].Fate != Repeat {
		t.Errorf("%+v", e)
	}
	conserved(t, s, "accepted=4 consumed/duplicate=1 queued=3")
}

func TestTheSameMessageOnTwoConnectionsAtOnceIsTakenOnce(t *testing.T) {
	s, in := fresh(t)
	const n = 20
	answers := make(chan string, n)
	for i := range n {
		go func() {
			b, err := in.HL7(context.WithoutCancel(t.Context()), "his", "a", "7", []byte("MSH|a"), nil, fmt.Append(nil, i))
			if err != nil {
				t.Error(err)
			}
			answers <- string(b)
		}()
	}
	first := <-answers
	for range n - 1 {
		if a := <-answers; a != first {
			t.Errorf("answers %s and %s", first, a)
		}
	}
	conserved(t, s, fmt.Sprintf("accepted=%d consumed/duplicate=%d queued=1", n, n-1))
}

// object puts bytes into the spool as a modality does.
func object(t *testing.T, s *storage.Store, in *Intake, uid, content string) ObjectOutcome {
	t.Helper()
	w, err := s.Spool().Create()
	if err != nil {
		t.Fatal(err)
	}
	w.Write([]byte(content))
	ref, err := w.Commit()
	if err != nil {
		t.Fatal(err)
	}
	o, err := in.Object(t.Context(), "ct-1", "a", ref, map[string]string{AttrSOPInstance: uid})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestOtherBytesUnderASOPInstanceUIDAreHeldAndBothKept(t *testing.T) {
	s, in := fresh(t)
	const odd = "../../etc/passwd\x00"
	for _, step := range []struct {
		uid, content string
		want         ObjectOutcome
	}{
		{"1.2.3", "a", ObjectFirst},
		{"1.2.3", "a", ObjectRepeat},
		{"1.2.3", "b", ObjectConflict},
		{"1.2.3", "a", ObjectRepeat},
		{"1.2.4", "a", ObjectFirst},
		{odd, "x", ObjectFirst},
		{odd, "x", ObjectRepeat},
		{"", "y", ObjectFirst},
	} {
		if got := object(t, s, in, step.uid, step.content); got != step.want {
			t.Errorf("%q %q: %d, want %d", step.uid, step.content, got, step.want)
		}
	}
	for _, e := range fates(t, s, "ct-1") {
		if e.Fate == Repeat {
			continue
		}
		if err := s.Spool().Verify(*e.Spool); err != nil {
			t.Error(err)
		}
	}
	conserved(t, s, "accepted=8 consumed/duplicate=3 held=1 queued=4")
}

func TestALargeMessageGoesThroughTheSpool(t *testing.T) {
	s, in := fresh(t)
	big := strings.Repeat("x", 3<<20)
	if _, err := in.HL7(t.Context(), "his", "a", "1", []byte(big), nil, nil); err != nil {
		t.Fatal(err)
	}
	e := fates(t, s, "his")[0]
	if e.Spool == nil || len(e.Body) != 0 || e.Length != int64(len(big)) {
		t.Fatalf("%+v", e)
	}
	b, err := Body(s, e)
	if err != nil || string(b) != big {
		t.Error(len(b), err)
	}
	e.Spool.SHA256[0] ^= 1
	if _, err := Body(s, e); err == nil {
		t.Error("damaged bytes were served")
	}
}

func TestEntriesThatAreNoneAreErrors(t *testing.T) {
	good := Entry{Kind: KindHL7, Fate: Received, Connection: "a", Body: []byte("b")}.Encode()
	for cut := range good {
		if e, err := DecodeEntry(good[:cut]); err == nil && string(e.Body) == "b" {
			t.Errorf("cut at %d: %+v", cut, e)
		}
	}
	if _, err := DecodeEntry([]byte{0xFF, 0xFF, 0xFF, 0xFF, '{', '}'}); err == nil {
		t.Error("a header of 4 GB was read")
	}
}

func TestASessionOfManyMessagesEnds(t *testing.T) {
	s, in := fresh(t)
	a := in.ASTM("xn-1", "a")
	const n = storage.MaxChanges + 10
	var msgs []e1381.Message
	for i := range n {
		msgs = append(msgs, e1381.Message{Records: fmt.Appendf(nil, "H|\\^&\rC|%d\rL|1\r", i)})
	}
	for c := range slices.Chunk(msgs, 50) {
		if err := a.Store(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Ended(t.Context()); err != nil {
		t.Fatal(err)
	}
	if keys, err := s.Keys(a.openKey(""), n); err != nil || len(keys) != 0 {
		t.Errorf("%d messages are open still, %v", len(keys), err)
	}
	if err := a.Store(t.Context(), msgs[:1]); err != nil {
		t.Fatal(err)
	}
	if e := fates(t, s, "xn-1"); !e[len(e)-1].Resend {
		t.Error("after EOT the same message is no resend")
	}
}

// A frame of 64,000 characters may hold thousands of messages: more than one
// commit. All of them are durable before its ACK, and where the commits end in
// the middle the same frame finishes them.
func TestAFrameOfThousandsOfMessagesIsStored(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	var msgs []e1381.Message
	for length := 0; length < 64000; length += len(msgs[len(msgs)-1].Records) {
		msgs = append(msgs, e1381.Message{Records: fmt.Appendf(nil, "H|\\^&|%d\rL|1\r", len(msgs))})
	}
	stored := func() (received, repeats int) {
		err := s.Range(Channel("xn-1"), 1, 0, false, func(_ storage.Ref, b []byte) bool {
			e, err := DecodeEntry(b)
			if err != nil {
				t.Fatal(err)
			}
			switch e.Fate {
			case Received:
				received++
			case Repeat:
				repeats++
			}
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
		return received, repeats
	}
	// It ends in the middle: some commits, no ACK.
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- New(s, nil).ASTM("xn-1", "a").Store(ctx, msgs) }()
	for s.Last(Channel("xn-1")) < perCommit && len(done) == 0 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	err := <-done
	first, _ := stored()
	if err == nil && first != len(msgs) || err != nil && first == len(msgs) {
		t.Errorf("%d of %d stored, and %v", first, len(msgs), err)
	}
	// The process is gone too; the frame comes again, and is acknowledged.
	s.Close()
	s = open(t, dir)
	defer s.Close()
	if err := New(s, nil).ASTM("xn-1", "b").Store(t.Context(), msgs); err != nil {
		t.Fatal(err)
	}
	if received, repeats := stored(); received != len(msgs) || repeats != first {
		t.Errorf("%d messages, %d repeats, of %d sent after %d were stored", received, repeats, len(msgs), first)
	}
	c := s.Snapshot().Counters
	if c[CountAccepted] != int64(len(msgs)+first) || c[CountQueued] != int64(len(msgs)) || c[ConsumedRepeat] != int64(first) {
		t.Errorf("%v", c)
	}
}
