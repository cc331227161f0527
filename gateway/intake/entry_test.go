package intake

import (
	"encoding/binary"
	"encoding/json"
	"testing"
	"time"

	"nhip/gateway/reason"
	"nhip/storage/spool"

	"pgregory.net/rapid"
)

// The header is written by hand where that is enough, and is always the JSON of
// the Entry.
func TestTheHeaderOfAnEntryIsItsJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := Entry{
			Kind: Kind(rapid.SampledFrom([]Kind{KindHL7, KindASTM, ""}).Draw(t, "kind")), Fate: Fate(rapid.String().Draw(t, "fate")),
			Connection: rapid.String().Draw(t, "connection"), Peer: rapid.String().Draw(t, "peer"),
			At:     time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "at"), rapid.Int64Range(0, 999999999).Draw(t, "ns")).UTC(),
			Resend: rapid.IntRange(0, 9).Draw(t, "resend") == 0, ClockBack: rapid.IntRange(0, 9).Draw(t, "back") == 0,
			Attrs: rapid.MapOfN(rapid.String(), rapid.String(), 0, 4).Draw(t, "attrs"),
			Body:  rapid.SliceOf(rapid.Byte()).Draw(t, "body"),
		}
		switch rapid.IntRange(0, 9).Draw(t, "more") {
		case 0:
			e.Why = reason.New(reason.NoSpecimen, "3")
		case 1:
			e.Spool = &spool.Ref{Path: "ab/c", Length: 7}
		case 2:
			e.At = e.At.In(time.FixedZone("", 7*3600))
		}
		e.Seal()
		want, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		got := e.Encode()
		if n := binary.BigEndian.Uint32(got); string(got[4:4+n]) != string(want) || string(got[4+n:]) != string(e.Body) {
			t.Errorf("%s\nwant %s", got, want)
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	e := Entry{Kind: KindHL7, Fate: Received, Connection: "his", Peer: "10.0.0.7:51234", At: time.Now().UTC(), Attrs: map[string]string{"type": "ORU^R01"}, Body: make([]byte, 1200)}
	e.Seal()
	b.ReportAllocs()
	for b.Loop() {
		e.Encode()
	}
}

func TestWhatWasStoredLastIsAtHandOnce(t *testing.T) {
	s, in := fresh(t)
	for _, id := range []string{"1", "2"} {
		if _, err := in.HL7(t.Context(), "his", "a", id, []byte("MSH|"+id), map[string]string{"type": "A^B"}, []byte("answer")); err != nil {
			t.Fatal(err)
		}
	}
	for i, stored := range fates(t, s, "his") {
		ref := Channel("his") + "/" + []string{"1", "2"}[i]
		item, err := s.Items(Interpret, uint64(i+1), 1)
		if err != nil || len(item) != 1 || item[0].About[0].String() != ref {
			t.Fatalf("%+v %v", item, err)
		}
		e, ok := in.Recent(item[0].About[0])
		a, _ := json.Marshal(e)
		b, _ := json.Marshal(stored)
		if !ok || string(a) != string(b) || string(e.Body) != string(stored.Body) {
			t.Errorf("%v %+v, and stored is %+v", ok, e, stored)
		}
		if _, again := in.Recent(item[0].About[0]); again {
			t.Error("it is given twice")
		}
	}
}
