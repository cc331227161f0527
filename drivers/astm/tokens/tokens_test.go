package tokens_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"nhip/drivers/astm/tokens"
	"nhip/drivers/session"
	"nhip/drivers/session/sessiontest"
	"nhip/gateway/record"
)

func start() session.Core {
	return tokens.NewLink(tokens.Options{
		Within: 3 * time.Second,
		Queries: func(message []byte) []record.Query {
			if _, id, asks := bytes.Cut(message, []byte("Q|1|^")); asks {
				id, _, _ := bytes.Cut(id, []byte("|"))
				return []record.Query{{Specimens: []string{string(id)}}}
			}
			return nil
		},
		Answer: func(_ []byte, q record.Query, work []record.Work) ([]byte, error) {
			if len(work) == 0 {
				return nil, nil
			}
			return fmt.Appendf(nil, "H|\\^&\rO|1|%s||^^^%s\rL|1|N\r", q.Specimens[0], work[0].Tests[0]), nil
		},
	})
}

func answer(q record.Query) ([]record.Work, bool) {
	switch q.Specimens[0] {
	case "S1":
		return []record.Work{{Specimen: "S1", Tests: []string{"TSH"}}}, true
	case "late":
		return nil, false
	}
	return nil, true
}

const result = `H|\^&||PSWD|Maglumi<CR>P|1<CR>O|1|S1||^^^TSH<CR>R|1|^^^TSH|1.2<CR>L|1|N<CR>`

func results() sessiontest.Script {
	return sessiontest.Script{New: start, Text: `
> <ENQ>
< <ACK>
> <STX>
< <ACK>
> ` + result + `<ETX>
= store ` + result + `
< <ACK>
> <EOT>
< <ACK>
= ended
# another assay in the same connection
> <ENQ>
< <ACK>
> <STX>
< <ACK>
> ` + result + `<ETX>
= store ` + result + `
< <ACK>
> <EOT>
< <ACK>
= ended
`}
}

func TestEachTokenIsAcknowledged(t *testing.T) { results().Play(t) }

func TestQueryIsAnsweredInTokens(t *testing.T) {
	const query = `H|\^&<CR>Q|1|^S1||ALL<CR>L|1|N<CR>`
	sessiontest.Script{New: start, Answer: answer, Text: `
> <ENQ>
< <ACK>
> <STX>
< <ACK>
> ` + query + `<ETX>
= store ` + query + `
< <ACK>
> <EOT>
< <ACK>
= ended
< <ENQ>
> <ACK>
< <STX>
> <ACK>
< H|\^&<CR>O|1|S1||^^^TSH<CR>L|1|N<CR><ETX>
> <ACK>
< <EOT>
> <ACK>
= sent
`}.Play(t)
}

// What is cancelled while we bid for the line is not sent.
func TestAnswerIsLookedUpAgainWhenTheBidIsAccepted(t *testing.T) {
	asked := 0
	const query = `H|\^&<CR>Q|1|^S1||ALL<CR>L|1|N<CR>`
	sessiontest.Script{New: start, Answer: func(q record.Query) ([]record.Work, bool) {
		if asked++; asked%2 == 0 {
			return nil, true
		}
		return answer(q)
	}, Text: `
> <ENQ>
< <ACK>
> <STX>
< <ACK>
> ` + query + `<ETX>
= store ` + query + `
< <ACK>
> <EOT>
< <ACK>
= ended
< <ENQ>
> <ACK>
< <EOT>
> <ACK>
`}.Play(t)
	if asked == 0 || asked%2 != 0 {
		t.Errorf("looked up %d times", asked)
	}
}

// The analyser's own bid goes before ours; behind its session the answer is due again.
func TestAnswerWaitsForTheAnalysersSession(t *testing.T) {
	const query = `H|\^&<CR>Q|1|^S1||ALL<CR>L|1|N<CR>`
	sessiontest.Script{New: start, Answer: answer, Text: `
> <ENQ>
< <ACK>
> <STX>
< <ACK>
> ` + query + `<ETX>
= store ` + query + `
< <ACK>
> <EOT>
< <ACK>
= ended
< <ENQ>
> <ENQ>
< <ACK>
> <STX>
< <ACK>
> ` + result + `<ETX>
= store ` + result + `
< <ACK>
> <EOT>
< <ACK>
= ended
< <ENQ>
> <ACK>
< <STX>
> <ACK>
< H|\^&<CR>O|1|S1||^^^TSH<CR>L|1|N<CR><ETX>
> <ACK>
< <EOT>
> <ACK>
= sent
`}.Play(t)
}

// A query that comes again is answered once.
func TestQueryThatComesAgainIsAnsweredOnce(t *testing.T) {
	r := &sessiontest.Run{Core: start(), Answer: answer}
	query := "\x05\x02H|\\^&\rQ|1|^S1|\rL|1|N\r\x03\x04"
	if err := r.Device([]byte(query + query + "\x06\x06\x06\x06")); err != nil {
		t.Fatal(err)
	}
	sent := 0
	for _, l := range r.Log {
		if l == "= sent" {
			sent++
		}
	}
	if sent != 1 {
		t.Errorf("answered %d times: %q", sent, r.Log)
	}
}

// The analyser's time-out is 3 s, three times; its bid is yielded to as often.
func TestAnswerIsGivenUp(t *testing.T) {
	query := []byte("\x05\x02H|\\^&\rQ|1|^S1|\rL|1|N\r\x03\x04")
	for want, events := range map[string][]string{
		"= unsent no reply for 3s, 3 times":      {"~", "~", "~"},
		"= unsent the analyser bid for the line": {"\x05", "\x04", "\x05", "\x04", "\x05"},
		"= unsent line cut":                      {"cut"},
	} {
		r := &sessiontest.Run{Core: start(), Answer: answer}
		if err := r.Device(query); err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			var err error
			switch e {
			case "~":
				err = r.Silence()
			case "cut":
				err = r.Cut("line cut")
			default:
				err = r.Device([]byte(e))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		found := false
		for _, l := range r.Log {
			found = found || l == want
		}
		if !found {
			t.Errorf("%s: %q", want, r.Log)
		}
	}
}

func TestNoAnswerWithoutAnOrder(t *testing.T) {
	for _, id := range []string{"S9", "late"} {
		r := &sessiontest.Run{Core: start(), Answer: answer}
		if err := r.Device([]byte("\x05\x02H|\\^&\rQ|1|^" + id + "|\rL|1|N\r\x03\x04")); err != nil {
			t.Fatal(err)
		}
		if n := len(r.Sent); n != 4 || len(r.Queries) != 1 {
			t.Errorf("%s: %d writes, %d queries", id, n, len(r.Queries))
		}
	}
}

func TestWithoutItsLRecordIsNoResult(t *testing.T) {
	r := &sessiontest.Run{Core: start()}
	if err := r.Device([]byte("\x05\x02H|\\^&\rR|1|^^^A|5\r\x03\x04")); err != nil {
		t.Fatal(err)
	}
	if len(r.Stored) != 0 || len(r.Incomplete) != 1 {
		t.Errorf("%q", r.Log)
	}
}

func TestEveryByteDroppedDoubledFlipped(t *testing.T) {
	s := results()
	s.Faults(t, false)
	s.Answer = answer
	s.Faults(t, false)
}

// What cannot be stored closes the connection: there is no NAK.
func TestNotStored(t *testing.T) {
	r := &sessiontest.Run{Core: start(), Fail: func(int) bool { return true }}
	if err := r.Device(results().Bytes(t)); err != nil {
		t.Fatal(err)
	}
	if !r.Closed || len(r.Sent) != 2 {
		t.Errorf("%q", r.Log)
	}
}

func FuzzLink(f *testing.F) {
	f.Add([]byte("\x05\x02H|\\^&\rQ|1|^S1|\rL|1|N\r\x03\x04\x06\x06\x06\x06"))
	f.Add([]byte("\x05\x02H|\\^&\rR|1|^^^A|5\rL|1\r\x03\x04\x05\x02"))
	f.Fuzz(func(t *testing.T, line []byte) {
		r := &sessiontest.Run{Core: start(), Answer: answer}
		for piece := range bytes.SplitAfterSeq(line, []byte{4}) {
			if err := r.Device(piece); err != nil {
				t.Fatal(err)
			}
			if err := r.Silence(); err != nil {
				t.Fatal(err)
			}
		}
		for _, m := range r.Stored {
			if !bytes.Contains(line, m) {
				t.Fatalf("stored %q", m)
			}
		}
	})
}
