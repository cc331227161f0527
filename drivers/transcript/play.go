package transcript

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"nhip/drivers/astm/e1381"
)

// Play plays a transcript against a receiver: the device's bytes are fed to it, and
// its replies are compared with those of the host. Where the transcript has a line
// with the mark =, everything else that the receiver does is compared too; a
// transcript without any is only about the bytes. It returns the messages that were
// stored. The error names the line.
func Play(steps []Step, r *e1381.Receiver) ([]e1381.Message, error) {
	p := &player{steps: steps, r: r, strict: slices.ContainsFunc(steps, func(s Step) bool { return s.Kind == Expect })}
	for p.at < len(steps) {
		step := steps[p.at]
		p.at++
		var err error
		switch step.Kind {
		case Device:
			err = p.receive(step.Bytes)
		case Silence:
			err = p.do(r.TimedOut())
		case Cut:
			err = p.do(r.Cut("line cut"))
		default:
			err = fmt.Errorf("the driver does nothing, it should: %s", step)
		}
		if err != nil {
			return p.stored, fmt.Errorf("line %d: %w", step.Line, err)
		}
	}
	return p.stored, nil
}

type player struct {
	steps  []Step
	at     int
	r      *e1381.Receiver
	strict bool
	stored []e1381.Message
}

func (p *player) receive(b []byte) error {
	for len(b) > 0 {
		n, actions := p.r.Receive(b)
		b = b[n:]
		if err := p.do(actions); err != nil {
			return err
		}
	}
	return nil
}

func (p *player) do(actions []e1381.Action) error {
	for _, a := range actions {
		switch a := a.(type) {
		case e1381.Send:
			if _, err := p.match(Step{Kind: Host, Bytes: a.Bytes}); err != nil {
				return fmt.Errorf("%w %s", err, a.Why)
			}
		case e1381.Store:
			failed, err := p.store(a)
			if err != nil {
				return err
			}
			if failed {
				return p.do(p.r.StoreFailed())
			}
		case e1381.Incomplete:
			if err := p.incomplete(a); err != nil {
				return err
			}
		case e1381.Ended:
			if p.strict {
				if _, err := p.match(Step{Kind: Expect, Verb: Ended}); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// match compares what the driver does with the next step; or are verbs that are good
// too. It returns the step.
func (p *player) match(did Step, or ...Verb) (Step, error) {
	if p.at == len(p.steps) {
		return Step{}, fmt.Errorf("the driver goes on after the last line: %s", did)
	}
	want := p.steps[p.at]
	p.at++
	verb := want.Verb == did.Verb || slices.Contains(or, want.Verb)
	if want.Kind != did.Kind || !verb || !bytes.Equal(want.Bytes, did.Bytes) {
		return want, fmt.Errorf("the driver does: %s\nline %d says: %s", did, want.Line, want)
	}
	return want, nil
}

func (p *player) store(a e1381.Store) (failed bool, err error) {
	if !p.strict {
		p.stored = append(p.stored, a.Messages...)
		return false, nil
	}
	verb := Store
	for _, m := range a.Messages {
		step, err := p.match(Step{Kind: Expect, Verb: verb, Bytes: m.Records}, alternatives(verb)...)
		if err != nil {
			return false, err
		}
		failed = failed || step.Verb == Refuse
		verb = And
	}
	if !failed {
		p.stored = append(p.stored, a.Messages...)
	}
	return failed, nil
}

func alternatives(v Verb) []Verb {
	if v == Store {
		return []Verb{Refuse}
	}
	return nil
}

func (p *player) incomplete(a e1381.Incomplete) error {
	if !p.strict {
		return nil
	}
	if _, err := p.match(Step{Kind: Expect, Verb: Incomplete, Bytes: a.Fragment.Records}); err != nil {
		return err
	}
	if p.at < len(p.steps) && p.steps[p.at].Verb == Reason {
		_, err := p.match(Step{Kind: Expect, Verb: Reason, Bytes: []byte(a.Reason)})
		return err
	}
	return nil
}

// Speak plays a transcript as the device on a connection: it sends the device's
// lines and reads the host's, which must be those of the transcript. In a line "~" it
// is silent for the given time; at "~ cut" it ends. Lines with the mark = are for
// others. Blocked reads and writes are freed by closing or by deadlines of rw.
func Speak(ctx context.Context, rw io.ReadWriter, steps []Step, silence time.Duration) error {
	for _, step := range steps {
		if err := ctx.Err(); err != nil {
			return err
		}
		if step.Kind == Cut {
			return nil
		}
		if err := speak(ctx, rw, step, silence); err != nil {
			return fmt.Errorf("line %d: %w", step.Line, err)
		}
	}
	return nil
}

func speak(ctx context.Context, rw io.ReadWriter, step Step, silence time.Duration) error {
	switch step.Kind {
	case Device:
		_, err := rw.Write(step.Bytes)
		return err
	case Host:
		b := make([]byte, len(step.Bytes))
		n, err := io.ReadFull(rw, b)
		if err == nil && !bytes.Equal(b, step.Bytes) || n > 0 && err != nil {
			return fmt.Errorf("the host says %s, it should say %s", Text(b[:n]), Text(step.Bytes))
		}
		return err
	case Silence:
		t := time.NewTimer(silence)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
