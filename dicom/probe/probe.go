// Package probe asks an application entity what it accepts: presentation contexts,
// each transfer syntax by itself, maximum length, roles, asynchronous operations
// window, implementation, and how long it takes. It proposes associations and
// sends nothing over them but a C-ECHO.
package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"time"

	"nhip/dicom/association"
	"nhip/dicom/echo"
	"nhip/dicom/uid"
	"nhip/dicom/ul"
)

// Options say what is asked, and as whom. What is empty has a default.
type Options struct {
	Calling, Called  string   // AE titles; "NHIP" and "ANY-SCP"
	SOPClasses       []string // all of PS3.6
	TransferSyntaxes []string // all of PS3.6, the uncompressed ones first
	TLS              *tls.Config
	Timeouts         association.Timeouts
}

// A Report is what an application entity accepts.
type Report struct {
	Address, Calling, Called string

	ImplementationClassUID    string
	ImplementationVersionName string
	MaximumLength             uint32                      // of P-DATA-TF PDUs to it; 0: no limit
	Window                    *ul.AsyncWindow             // its answer to an unlimited one; nil: none, which is 1,1
	TLS                       bool                        // the association was secured
	Classes                   []Class                     // the accepted ones, in the order of the question
	Refused                   map[string]ul.ContextResult // why the others are not, by SOP class UID
	Associations              int                         // that were asked for
	Problems                  []error                     // in words of those that failed, where others did not

	Connect, Echo, Release time.Duration // of the first association; Echo is 0 where C-ECHO is not accepted
}

// A Class is a SOP class that is accepted.
type Class struct {
	UID              string
	TransferSyntaxes []string // each accepted where it is proposed alone, in the order of the question
	Preferred        string   // of the first twenty that hold one, proposed together
	SCU, SCP         bool     // roles that the requestor may have where it proposes both
}

// Probe asks the application entity at host:port. The error is for one that cannot
// be reached or accepts no association at all, see association.RejectedError; what
// goes wrong later is among the problems of the report.
func Probe(ctx context.Context, address string, o Options) (Report, error) {
	p := &prober{ctx: ctx, Options: o.withDefaults()}
	p.r = Report{Address: address, Calling: p.Calling, Called: p.Called, TLS: o.TLS != nil, Refused: map[string]ul.ContextResult{}}
	if err := p.first(); err != nil {
		return p.r, err
	}
	var questions []question
	for _, class := range p.Options.SOPClasses {
		for some := range slices.Chunk(p.Options.TransferSyntaxes, together) {
			questions = append(questions, question{class, some})
		}
	}
	p.ask(questions, p.any)
	questions = nil
	for _, c := range p.r.Classes {
		for _, ts := range p.Options.TransferSyntaxes {
			questions = append(questions, question{c.UID, []string{ts}})
		}
	}
	p.ask(questions, p.single)
	p.roles()
	return p.r, ctx.Err()
}

func (o Options) withDefaults() Options {
	if o.Calling == "" {
		o.Calling = "NHIP"
	}
	if o.Called == "" {
		o.Called = "ANY-SCP"
	}
	if o.SOPClasses == nil {
		o.SOPClasses = uid.SOPClasses()
	}
	if o.TransferSyntaxes == nil {
		plain := []string{uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian}
		o.TransferSyntaxes = append(plain, slices.DeleteFunc(uid.TransferSyntaxes(), func(ts string) bool { return slices.Contains(plain, ts) })...)
	}
	return o
}

// together is how many transfer syntaxes are proposed in one presentation context:
// DCMTK 3.6.7 is silent where there are more than about fifty.
const together = 20

// A question is one presentation context.
type question struct {
	class            string
	transferSyntaxes []string
}

type prober struct {
	ctx context.Context
	Options
	r Report
}

// dial establishes an association with the contexts.
func (p *prober) dial(proposal association.Proposal) (*association.Association, error) {
	p.r.Associations++
	proposal.Calling, proposal.Called, proposal.TLS, proposal.Timeouts = p.Calling, p.Called, p.Options.TLS, p.Timeouts
	return association.Dial(p.ctx, p.r.Address, proposal)
}

// first establishes an association as any SCU does, and verifies it.
func (p *prober) first() error {
	begun := time.Now()
	a, err := p.dial(association.Proposal{Contexts: []ul.ProposedContext{echo.Context(1)}})
	if err != nil {
		return err
	}
	p.r.Connect = time.Since(begun)
	p.r.ImplementationClassUID = a.User.ImplementationClassUID
	p.r.ImplementationVersionName = a.User.ImplementationVersionName
	p.r.MaximumLength = a.User.MaximumLength
	if len(a.Contexts()) > 0 {
		begun = time.Now()
		if err := echo.Send(p.ctx, a); err != nil {
			p.problem("C-ECHO", err)
		}
		p.r.Echo = time.Since(begun)
	}
	begun = time.Now()
	p.end(a, "the first association")
	p.r.Release = time.Since(begun)
	return nil
}

func (p *prober) problem(where string, err error) {
	p.r.Problems = append(p.r.Problems, fmt.Errorf("%s: %w", where, err))
}

func (p *prober) end(a *association.Association, where string) {
	if err := a.Release(p.ctx); err != nil && !errors.Is(err, association.ErrReleased) {
		p.problem("releasing "+where, err)
	}
}

// ask proposes the questions, as many as an association can have at a time.
func (p *prober) ask(questions []question, answered func(question, association.Answered)) {
	for part := range slices.Chunk(questions, ul.MaxPresentationContexts) {
		if p.ctx.Err() != nil {
			return
		}
		a, err := p.dial(association.Proposal{Contexts: contexts(part)})
		var rejected *association.RejectedError
		if errors.As(err, &rejected) && !rejected.Transient() {
			// It accepts associations: of these contexts it has none (so wlmscpfs).
			for _, q := range part {
				answered(q, association.Answered{Result: ul.ContextNoReason})
			}
			continue
		}
		if err != nil {
			p.problem(fmt.Sprintf("proposing %d presentation contexts, %s the first", len(part), part[0].class), err)
			continue
		}
		for i, answer := range a.Answers() {
			answered(part[i], answer)
		}
		p.end(a, "an association")
	}
}

func contexts(questions []question) []ul.ProposedContext {
	var list []ul.ProposedContext
	for i, q := range questions {
		list = append(list, ul.ProposedContext{ID: byte(2*i + 1), AbstractSyntax: q.class, TransferSyntaxes: q.transferSyntaxes})
	}
	return list
}

// any takes the answer to a SOP class with some transfer syntaxes.
func (p *prober) any(q question, a association.Answered) {
	accepted := slices.ContainsFunc(p.r.Classes, func(c Class) bool { return c.UID == q.class })
	switch {
	case accepted:
		return
	case a.Result != ul.ContextAccepted:
		p.r.Refused[q.class] = a.Result
		return
	}
	delete(p.r.Refused, q.class)
	p.r.Classes = append(p.r.Classes, Class{UID: q.class, Preferred: a.TransferSyntax, SCU: true})
}

// single takes the answer to a SOP class with one transfer syntax.
func (p *prober) single(q question, a association.Answered) {
	if a.Result != ul.ContextAccepted {
		return
	}
	i := slices.IndexFunc(p.r.Classes, func(c Class) bool { return c.UID == q.class })
	p.r.Classes[i].TransferSyntaxes = append(p.r.Classes[i].TransferSyntaxes, a.TransferSyntax)
}

// roles proposes both roles for every accepted class, and an unlimited window: in
// associations of their own, since there are peers that bear neither.
func (p *prober) roles() {
	for part := range slices.Chunk(p.r.Classes, ul.MaxPresentationContexts) {
		if p.ctx.Err() != nil {
			return
		}
		var questions []question
		var roles []ul.RoleSelection
		for _, c := range part {
			questions = append(questions, question{c.UID, []string{c.Preferred}})
			roles = append(roles, ul.RoleSelection{SOPClassUID: c.UID, SCU: true, SCP: true})
		}
		a, err := p.dial(association.Proposal{Contexts: contexts(questions), Roles: roles, Window: association.Unlimited})
		if err != nil {
			p.problem("proposing roles and an asynchronous window", err)
			continue
		}
		for _, c := range a.Contexts() {
			part[c.ID/2].SCU, part[c.ID/2].SCP = c.SCU, c.SCP
		}
		p.r.Window = a.User.AsyncWindow
		p.end(a, "an association with roles")
	}
}
