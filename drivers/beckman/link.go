package beckman

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"nhip/drivers/session"
	"nhip/drivers/textline"
	"nhip/gateway/record"
)

const (
	stx = 0x02
	etx = 0x03
	ack = 0x06
	nak = 0x15
	etb = 0x17
)

// Timers, section 4.2. T2 of the specification is the time of the longest text at the
// line's speed and half a second; 30 s is more than that at every speed.
const (
	pause     = 500 * time.Millisecond // t1: before it the analyser does not receive
	replyTime = 2 * time.Second        // T4: for ACK or NAK to what we sent
	textTime  = 30 * time.Second
	maxText   = 32 << 10
	attempts  = 2 // section 4.1, class B: the same text once more, then the initial state
)

type state byte

const (
	neutral  state = iota
	text           // after STX
	check          // the end code came, the BCC is to come
	pausing        // an answer waits until the analyser can receive
	awaiting       // an answer was sent
)

// Link is the host's side of the line, a session.Core.
type Link struct {
	l      Layout
	state  state
	text   []byte // of the text that comes, with its end code
	query  record.Query
	asked  []byte // the request that is being answered
	answer []byte // what is sent
	sent   int
	work   bool // the answer is to a query, not SE
	again  bool // the work was looked up once more, right before it is sent
	unseen session.Unseen
}

var _ session.Core = (*Link)(nil)

// NewLink returns a link in the neutral state. The layout must be checked.
func NewLink(l Layout) *Link {
	if l.Deadline == 0 {
		l.Deadline = textline.Span(pause)
	}
	return &Link{l: l}
}

// Idle is true between two texts.
func (k *Link) Idle() bool { return k.state == neutral }

// Receive takes bytes up to the first that needs actions.
func (k *Link) Receive(p []byte) (int, []session.Action) {
	for n, b := range p {
		if actions := k.receive(b); actions != nil {
			return n + 1, actions
		}
	}
	return len(p), nil
}

func (k *Link) receive(b byte) []session.Action {
	switch k.state {
	case text:
		return k.character(b)
	case check:
		return k.complete(b)
	case awaiting:
		if b == ack || b == nak {
			return k.replied(b)
		}
	}
	if b != stx {
		return nil
	}
	actions := k.drop("the analyser went on before the answer")
	k.state, k.text = text, k.text[:0]
	return append(actions, session.Wait{For: textTime})
}

func (k *Link) character(b byte) []session.Action {
	switch {
	case b == stx: // a text that was cut: the analyser begins again
		actions := k.cut("the analyser began another text before the end of this one")
		k.text = k.text[:0]
		return actions
	case len(k.text) == maxText:
		k.state = neutral
		return k.refuse(fmt.Sprintf("text over %d characters", maxText))
	}
	k.text = append(k.text, b)
	if b != etx && b != etb {
		return nil
	}
	if k.l.BCC {
		k.state = check
		return nil
	}
	return k.judge()
}

// complete checks the BCC, section 2.3: the exclusive or from the classification to
// the end code, both included.
func (k *Link) complete(bcc byte) []session.Action {
	var want byte
	for _, b := range k.text {
		want ^= b
	}
	if bcc != want {
		k.state = neutral
		return k.refuse(fmt.Sprintf("BCC is %02X, should be %02X", bcc, want))
	}
	return k.judge()
}

// judge takes a text that has come whole.
func (k *Link) judge() []session.Action {
	k.state = neutral
	content := bytes.Clone(k.text[:len(k.text)-1])
	if len(content) < 2 {
		return k.refuse("a text without a classification")
	}
	switch kind := string(content[:2]); kind {
	case "RB":
		return k.accepted()
	case "RE":
		return k.requestsOver()
	case "DB":
		return k.accepted()
	case "DE":
		k.unseen.Forget()
		return append([]session.Action{session.Ended{}}, k.accepted()...)
	case "R ", "RH":
		return k.request(content)
	default:
		if _, results := kinds[kind]; !results {
			return k.refuse("a text of unknown classification")
		}
	}
	actions := k.unseen.Before(content)
	actions = append(actions, session.Store{Messages: [][]byte{content}, Forever: k.l.Class == "A"})
	return append(actions, k.accepted()...)
}

func (k *Link) accepted() []session.Action {
	actions := []session.Action{session.Wait{}}
	if k.l.Class == "B" {
		actions = append(actions, session.Send{Bytes: []byte{ack}})
	}
	return actions
}

func (k *Link) refuse(why string) []session.Action {
	actions := []session.Action{session.Wait{}}
	if k.l.Class == "B" {
		return append(actions, session.Send{Bytes: []byte{nak}, Why: why})
	}
	// Class A has no refusal: what came is kept as it is.
	if len(k.text) > 0 {
		return append(actions, session.Incomplete{Message: bytes.Clone(k.text), Reason: why})
	}
	return actions
}

// StoreFailed: the analyser sends the text again.
func (k *Link) StoreFailed() []session.Action { return k.refuse("not stored") }

// request asks for the work of a sample.
func (k *Link) request(content []byte) []session.Action {
	q, err := k.l.query(string(content))
	if err != nil {
		return k.refuse(err.Error())
	}
	k.query, k.asked, k.again = q, content, false
	return append(k.accepted(), k.ask())
}

// requestsOver answers RE.
func (k *Link) requestsOver() []session.Action {
	actions := k.accepted()
	if !k.l.Stop {
		return actions
	}
	k.answer, k.sent, k.work = []byte("SE"), 0, false
	k.state = pausing
	return append(actions, session.Wait{For: pause})
}

// Answered makes the answer, which waits until the analyser can receive. Then the work is
// looked up once more, for it may have been cancelled meanwhile.
func (k *Link) Answered(work []record.Work, ok bool) []session.Action {
	k.state = neutral
	if !ok {
		return nil
	}
	answer, err := k.answerTo(work)
	if err != nil {
		return []session.Action{session.Unsent{Reason: err.Error()}}
	}
	if answer == nil {
		return nil
	}
	k.answer, k.sent, k.work = answer, 0, true
	if k.again {
		return k.send()
	}
	k.state = pausing
	return []session.Action{session.Wait{For: pause}}
}

func (k *Link) ask() session.Action {
	return session.Ask{Query: k.query, Within: time.Duration(k.l.Deadline)}
}

// answerTo is the S text: the identity exactly as it was asked, or the analyser
// refuses it (alarm 6042, online mismatch), the patient's columns, the test numbers.
// nil: there is none.
func (k *Link) answerTo(work []record.Work) ([]byte, error) {
	var of *record.Work
	for i := range work {
		if len(work[i].Tests) > 0 {
			of = &work[i]
			break
		}
	}
	if of == nil && k.l.Unknown != "empty" {
		return nil, nil
	}
	b := append([]byte{'S'}, k.asked[1])
	identity := bytes.Repeat([]byte{' '}, k.l.identity())
	copy(identity, k.asked[2:])
	if k.l.AnswerType == "blank" && k.l.Type > 0 {
		identity[k.l.Unit+k.l.Rack+k.l.Cup] = ' '
	}
	b = append(b, identity...)
	b = append(b, strings.Repeat(" ", k.l.Dummy)...)
	b = append(b, "E"[:k.l.Block]...)
	return k.l.tests(k.l.patient(b, of), of)
}

func (l Layout) patient(b []byte, w *record.Work) []byte {
	sex, name := "0", ""
	if w != nil && w.Patient != nil {
		if s := strings.ToUpper(w.Patient.Sex); s == "M" || s == "F" {
			sex = s
		}
		name = strings.TrimSpace(w.Patient.Name.Family + " " + w.Patient.Name.Middle + " " + w.Patient.Name.Given)
	}
	b = append(b, sex[:l.Sex]...)
	b = append(b, strings.Repeat("0", l.Years+l.Months)...)
	return append(b, l.Names.Pad(strings.Join(strings.Fields(name), " "), l.Patient)...)
}

// tests are the online test numbers with zeros before them. A part of an order is not
// handed out.
func (l Layout) tests(b []byte, w *record.Work) ([]byte, error) {
	if w == nil {
		return b, nil
	}
	for _, code := range w.Tests {
		if code == "" || len(code) > l.Test || strings.Trim(code, "0123456789") != "" {
			return nil, fmt.Errorf("the order has a code that is no online test number of %d digits", l.Test)
		}
		b = append(b, strings.Repeat("0", l.Test-len(code))+code...)
		b = append(b, strings.Repeat("0", l.Dilution)...)
	}
	return b, nil
}

// TimedOut sends the answer when the analyser can receive, or gives up.
func (k *Link) TimedOut() []session.Action {
	switch k.state {
	case pausing:
		if k.work && !k.again {
			k.again = true
			return []session.Action{k.ask()}
		}
		return k.send()
	case awaiting:
		if k.sent == attempts {
			return k.drop(fmt.Sprintf("no reply to the answer %d times", attempts))
		}
		return k.send()
	case text, check: // cut: the analyser sends it again after its own time-out
		k.state = neutral
		return k.refuse("a text without an end")
	}
	return nil
}

func (k *Link) send() []session.Action {
	b := append([]byte{stx}, k.answer...)
	b = append(b, etx)
	if k.l.BCC {
		var bcc byte
		for _, c := range b[1:] {
			bcc ^= c
		}
		b = append(b, bcc)
	}
	k.sent++
	if k.l.Class == "A" {
		return append([]session.Action{session.Send{Bytes: b}}, k.taken()...)
	}
	k.state = awaiting
	return []session.Action{session.Send{Bytes: b}, session.Wait{For: replyTime}}
}

func (k *Link) replied(b byte) []session.Action {
	switch {
	case b == ack:
		return k.taken()
	case k.sent == attempts:
		return k.drop(fmt.Sprintf("the answer was refused %d times", attempts))
	}
	return k.send()
}

// taken: the answer is with the analyser.
func (k *Link) taken() []session.Action {
	k.state = neutral
	actions := []session.Action{session.Wait{}}
	if k.work {
		actions = append(actions, session.Sent{})
	}
	return actions
}

// drop gives up an answer that waits or was not taken.
func (k *Link) drop(why string) []session.Action {
	if k.state != pausing && k.state != awaiting {
		return nil
	}
	k.state = neutral
	if !k.work {
		return []session.Action{session.Wait{}}
	}
	return []session.Action{session.Wait{}, session.Unsent{Reason: why}}
}

// Cut hands over what came of a text. A class B analyser sends it again; that of a
// class A would be lost.
func (k *Link) Cut(reason string) []session.Action {
	actions := k.drop(reason)
	if k.state == text || k.state == check {
		actions = append(actions, k.results(reason)...)
	}
	k.state = neutral
	return actions
}

// cut keeps what came of a text of a class A analyser, which sends nothing again.
func (k *Link) cut(reason string) []session.Action {
	if k.l.Class == "B" {
		return nil
	}
	return k.results(reason)
}

// results keeps what came of a text with results, as incomplete.
func (k *Link) results(reason string) []session.Action {
	if len(k.text) == 0 || k.text[0]|0x20 != 'd' {
		return nil
	}
	return []session.Action{session.Incomplete{Message: bytes.Clone(k.text), Reason: reason}}
}
