package alert

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"nhip/gateway/reason"
)

var start = time.Date(2026, 1, 14, 8, 30, 0, 0, time.UTC)

func at(d time.Duration) time.Time { return start.Add(d) }

func reading(code Code, level Level, args ...string) []Reading {
	return []Reading{{Code: code, Subject: "lis", Level: level, Args: args}}
}

// script plays levels three seconds apart and writes what changed.
func script(s *State, w waiting, code Code, levels string) (changes string) {
	for i, l := range levels {
		level := map[rune]Level{'.': Quiet, '-': Between, '!': Bad}[l]
		for _, c := range s.Step(at(time.Duration(i)*3*time.Second), w, reading(code, level)) {
			if c.Cleared {
				changes += fmt.Sprintf("%d cleared ", i)
			} else {
				changes += fmt.Sprintf("%d raised ", i)
			}
		}
	}
	return strings.TrimSpace(changes)
}

func TestRaisedOnceClearedOnce(t *testing.T) {
	for _, test := range []struct {
		name   string
		code   Code
		levels string
		want   string
	}{
		{"stays", Silent, ".!!!!!...", "1 raised 6 cleared"},
		{"between keeps what is", Silent, "-.-!-!--.-", "3 raised 8 cleared"},
		{"again", Silent, "!.!.", "0 raised 1 cleared 2 raised 3 cleared"},
		{"an oscillating listener is neither raised", Listener, "!.!.!.!.!.!.!.!.", ""},
		{"five seconds are not enough", Listener, "!!!!!.", ""},
		{"fifteen are", Listener, "!!!!!!!", "5 raised"},
		{"nor cleared", Listener, "!!!!!!.!.!.!.!.!.!", "5 raised"},
		{"cleared after as long", Listener, "!!!!!!......", "5 raised 11 cleared"},
		{"released, tried, held again", Held, "!....!", "0 raised"},
	} {
		s := State{}
		if got := script(&s, waiting{}, test.code, test.levels); got != test.want {
			t.Errorf("%s: %s: %q, want %q", test.name, test.levels, got, test.want)
		}
	}
}

func TestWordsOfARaisedAlertFollowTheReading(t *testing.T) {
	s, w := State{}, waiting{}
	s.Step(start, w, reading(Undelivered, Bad, "3", "5"))
	if changes := s.Step(at(3*time.Second), w, reading(Undelivered, Bad, "40", "6")); len(changes) != 0 {
		t.Error(changes)
	}
	if got := s.Active[0].In(reason.English); got != "lis: 40 are waiting, the oldest for 6 minutes" || !s.Active[0].Since.Equal(start) {
		t.Error(got, s.Active[0].Since)
	}
}

func TestAlertOfWhatIsNoLongerConfiguredIsCleared(t *testing.T) {
	s, w := State{}, waiting{}
	s.Step(start, w, reading(Silent, Bad))
	changes := s.Step(at(time.Second), w, nil)
	if len(changes) != 1 || !changes[0].Cleared || len(s.Active) != 0 {
		t.Error(changes, s.Active)
	}
}

func TestRecentChangesAreBoundedAndTheNewestFirst(t *testing.T) {
	s, w := State{}, waiting{}
	for i := range 100 {
		s.Step(at(time.Duration(i)*time.Minute), w, reading(Silent, []Level{Bad, Quiet}[i%2]))
	}
	if len(s.Recent) != maxRecent || !s.Recent[0].Cleared || !s.Recent[0].At.Equal(at(99*time.Minute)) {
		t.Error(len(s.Recent), s.Recent[0])
	}
}

// A change of the alert of a subject, as Step gives it.
func raise(s *State, subject string, now time.Time) []Change {
	a := Alert{Code: Silent, Subject: subject, Since: now}
	s.Active = append(s.Active, a)
	return []Change{{Alert: a, At: now}}
}

func over(s *State, subject string, now time.Time) []Change {
	return []Change{s.clear(s.find(name{Silent, subject}), now)}
}

func kinds(s State) (all string) {
	for _, n := range s.Outbox {
		all += n.Kind + " " + n.Alert.Subject + ","
	}
	return all
}

var policy = Policy{Again: 15 * time.Minute, PerHour: 4}

func TestFlappingAlertIsToldOnceAndThenSummedUp(t *testing.T) {
	s, to := State{}, []string{"smtp"}
	for i := range 10 {
		now := at(time.Duration(i) * time.Minute)
		s.Tell(now, policy, "s", raise(&s, "a", now), to)
		s.Tell(now, policy, "s", over(&s, "a", now), to)
	}
	if got := kinds(s); got != "raised a,cleared a," {
		t.Fatal(got)
	}
	raise(&s, "b", at(10*time.Minute)) // raised now
	if s.Tell(at(15*time.Minute), policy, "s", nil, to); kinds(s) != "raised a,cleared a," {
		t.Error("too soon:", kinds(s))
	}
	s.Tell(at(16*time.Minute), policy, "s", nil, to)
	last := s.Outbox[len(s.Outbox)-1]
	if last.Kind != Summary || last.Suppressed != 18 || len(last.Active) != 1 || last.Active[0].Subject != "b" {
		t.Errorf("%+v", last)
	}
	if s.Tell(at(50*time.Minute), policy, "s", nil, to) {
		t.Error("a second summary of nothing")
	}
	now := at(20 * time.Minute)
	if s.Tell(now, policy, "s", over(&s, "b", now), to); s.Outbox[len(s.Outbox)-1].Kind != Cleared {
		t.Error("who was told by the summary is not told of the end")
	}
}

func TestOverAllAlertsSoManyAnHour(t *testing.T) {
	s, to := State{}, []string{"smtp"}
	for i := range 20 {
		s.Tell(start, policy, "s", raise(&s, fmt.Sprint(i), start), to)
	}
	if len(s.Outbox) != 4 || s.Limits.Suppressed != 16 {
		t.Fatal(len(s.Outbox), s.Limits.Suppressed)
	}
	s.Tell(at(15*time.Minute), policy, "s", nil, to)
	if last := s.Outbox[4]; last.Kind != Summary || last.Suppressed != 16 || len(last.Active) != 20 {
		t.Error(last)
	}
	now := at(61 * time.Minute)
	if s.Tell(now, policy, "s", raise(&s, "later", now), to); s.Outbox[len(s.Outbox)-1].Alert.Subject != "later" {
		t.Error("an hour later it is still silent")
	}
}

func TestClockThatGoesBackSilencesNothing(t *testing.T) {
	s, to := State{}, []string{"smtp"}
	ahead := at(10 * 365 * 24 * time.Hour)
	for i := range 10 {
		s.Tell(ahead, policy, "s", raise(&s, fmt.Sprint(i), ahead), to)
	}
	before := len(s.Outbox)
	s.Tell(start, policy, "s", raise(&s, "now", start), to)
	if got := kinds(s)[strings.LastIndex(kinds(s), "raised"):]; len(s.Outbox) != before+2 || !strings.HasPrefix(got, "raised now,summary") {
		t.Error(got)
	}
}

func TestOutboxIsBoundedAndSaysSo(t *testing.T) {
	s, to := State{}, []string{"smtp", "webhook-1"}
	p := Policy{Again: time.Minute, PerHour: 1000}
	for i := range maxOutbox + 5 {
		s.Tell(start, p, "s", raise(&s, fmt.Sprint(i), start), to)
	}
	if len(s.Outbox) != maxOutbox || s.Outbox[0].Alert.Subject != "5" || s.Limits.Suppressed != 5 {
		t.Error(len(s.Outbox), s.Outbox[0].Alert.Subject, s.Limits.Suppressed)
	}
	first, _ := s.next("smtp")
	s.Sent("smtp", first.ID)
	if n, ok := s.next("webhook-1"); !ok || n.ID != first.ID {
		t.Error("told by one channel, it is gone for the other")
	}
	s.Sent("webhook-1", first.ID)
	if n, ok := s.next("webhook-1"); !ok || n.ID == first.ID || len(s.Outbox) != maxOutbox-1 {
		t.Error("told by all, it stays")
	}
	if s.forChannels([]string{"other"}); len(s.Outbox) != 0 {
		t.Error("it waits for channels that are gone")
	}
}

func TestNobodyToTell(t *testing.T) {
	s := State{}
	if !s.Tell(start, policy, "s", raise(&s, "a", start), nil) || len(s.Outbox) != 0 || s.Limits.Suppressed != 0 {
		t.Errorf("%+v", s)
	}
}

func TestEveryCodeHasBothLanguagesWithTheSamePlaces(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "texts.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	declared := 0
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if id, ok := spec.Type.(*ast.Ident); ok && id.Name == "Code" {
			declared++
			code := Code(strings.Trim(spec.Values[0].(*ast.BasicLit).Value, `"`))
			if _, ok := texts[code]; !ok {
				t.Errorf("%q has no text", code)
			}
		}
		return true
	})
	if declared == 0 || declared != len(texts) {
		t.Errorf("%d codes, %d texts", declared, len(texts))
	}
	places := regexp.MustCompile(`\{\d\}`)
	for code, pair := range texts {
		en, vi := places.FindAllString(pair[0], -1), places.FindAllString(pair[1], -1)
		slices.Sort(en)
		slices.Sort(vi)
		if len(en) == 0 || !slices.Equal(en, vi) || pair[0] == pair[1] {
			t.Errorf("%q: %q", code, pair)
		}
	}
	if got := (Alert{Code: "later-version", Subject: "x"}).In(reason.Vietnamese); got != "later-version" {
		t.Error(got)
	}
	a := Alert{Code: Listener, Subject: "hl7", Why: reason.New(reason.PortTaken)}
	if got := a.In(reason.Vietnamese); got != "hl7 chưa mở được: cổng đã bị chương trình khác sử dụng" {
		t.Error(got)
	}
}
