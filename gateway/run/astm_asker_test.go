package run

import (
	"context"
	"strings"
	"testing"

	"nhip/drivers/session"
	"nhip/gateway/config"
	"nhip/gateway/record"
)

// A gate is a laboratory that answers nothing until it is open.
type gate struct {
	*laboratory
	open chan struct{}
}

func (g gate) Work(ctx context.Context, q record.Query) ([]record.Work, error) {
	select {
	case <-g.open:
		return g.laboratory.Work(ctx, q)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// gatedSite is a gateway with one analyser that asks.
func gatedSite(t *testing.T) (*site, gate) {
	t.Helper()
	g := gate{&laboratory{work: map[string][]string{"S1": {"11"}, "S2": {"12"}}}, make(chan struct{})}
	s, _ := analyserSite(t, g.laboratory, tcp("test-push"))
	s.stop()
	s.work = func(config.Analyser) session.Orders { return g }
	s.start()
	return s, g
}

// queries are what the analyser asks in one session each.
func queries(records ...string) string {
	var all strings.Builder
	for _, q := range records {
		all.WriteString("\n> <ENQ>\n< <ACK>\n> <STX>1H|\\^&<CR>" + q + "<CR>L|1|N<CR><ETX><sum><CR><LF>\n< <ACK>\n> <EOT>\n")
	}
	return all.String()
}

const (
	answerS1 = `S1||^^^11|||||||||||||||||||||Q`
	answerS2 = `S2||^^^12|||||||||||||||||||||Q`
)

// An analyser that waits in vain asks again (CA-600): it is answered once more, not twice.
func TestAQueryThatComesAgainIsAnsweredOnce(t *testing.T) {
	t.Parallel()
	s, g := gatedSite(t)
	c := s.plug("test-push")
	say(t, c, queries("Q|1|^S1||ALL", "Q|1|^S1||ALL", "Q|1|^S2||ALL"))
	eventually(t, "three queries are consumed", func() bool { return s.status().Counts.Kinds["query"] == 3 })
	close(g.open)
	say(t, c, pushedRecords("Test", answerS1)+pushedRecords("Test", answerS2))
	// And after an answer, because that was lost: answered again.
	say(t, c, queries("Q|1|^S1||ALL")+pushedRecords("Test", answerS1))
	g.handedTo(t, "[S2] 1 <nil>")
}

// Q.13 = A takes an answer back that waits.
func TestAQueryThatIsWithdrawnIsNotAnswered(t *testing.T) {
	t.Parallel()
	s, g := gatedSite(t)
	c := s.plug("test-push")
	say(t, c, queries("Q|1|^S1||ALL", `Q|1|^S1\^S2||ALL`, "Q|1|^S1||ALL||||||||A"))
	eventually(t, "three queries are consumed", func() bool { return s.status().Counts.Kinds["query"] == 3 })
	close(g.open)
	say(t, c, pushedRecords("Test", answerS2))
	say(t, c, queries("Q|1|^S1||ALL")+pushedRecords("Test", answerS1))
}

// The analyser asks while it is being answered: it bids when we do, has the line, and
// gets both answers.
func TestAQueryWhileAnAnswerIsSent(t *testing.T) {
	t.Parallel()
	s, g := gatedSite(t)
	close(g.open)
	c := s.plug("test-push")
	say(t, c, queries("Q|1|^S1||ALL")+"< <ENQ>\n> <ENQ>\n"+queries("Q|1|^S2||ALL"))
	say(t, c, pushedRecords("Test", answerS1)+pushedRecords("Test", answerS2))
}

// A host's header that is refused is sent again, and after six times given up; the next
// query is answered.
func TestAnAnswerWhoseHeaderIsRefused(t *testing.T) {
	t.Parallel()
	s, g := gatedSite(t)
	close(g.open)
	c := s.plug("test-push")
	say(t, c, queries("Q|1|^S1||ALL")+"< <ENQ>\n> <ACK>\n"+strings.Repeat("< <STX>1H|\\^&<CR><ETX><sum><CR><LF>\n> <NAK>\n", 6)+"< <EOT>\n")
	g.handedTo(t, "[S1] 1 e1381: frame not accepted 6 times (0 frames were acknowledged)")
	say(t, c, queries("Q|1|^S1||ALL")+pushedRecords("Test", answerS1))
}
