// Package service joins service classes to one application entity: which
// abstract syntaxes it accepts, and which handler a request goes to when several
// classes use the same command. It also holds what the packages of the service
// classes have in common: data sets of messages, and requests that are answered
// with one.
package service

import (
	"context"
	"crypto/rand"
	"math/big"
	"net/netip"
	"slices"
	"sync"
	"time"

	"nhip/dicom/association"
	"nhip/dicom/dimse"
	"nhip/dicom/uid"
	"nhip/dicom/ul"
)

// A Service is a service class as an association.Server serves it.
type Service struct {
	// AbstractSyntax says whether a SOP class or meta SOP class is served;
	// TransferSyntax in what. nil is Uncompressed.
	AbstractSyntax func(abstractSyntax string) bool
	TransferSyntax func(transferSyntax string) bool
	// SCP says of which of them the peer may be SCP, where it proposes so: we send
	// requests to it on its own association. nil: of none.
	SCP func(abstractSyntax string) bool
	// Extended, if set, answers the SOP class extended negotiation of an abstract
	// syntax: the service class application information, nil where there is none.
	Extended func(abstractSyntax string, proposed []byte) []byte
	Handlers map[dimse.CommandField]association.Handler
}

// Uncompressed reports whether a transfer syntax is one that data sets without
// pixel data come in: little endian, implicit or explicit.
func Uncompressed(transferSyntax string) bool {
	return transferSyntax == uid.ImplicitVRLittleEndian || transferSyntax == uid.ExplicitVRLittleEndian
}

// A Mux is several services at one application entity. More than one may serve an
// abstract syntax: a request goes to the first of them that has its command.
type Mux []Service

// AbstractSyntax is for association.Answer.
func (m Mux) AbstractSyntax(abstractSyntax string) bool {
	return slices.ContainsFunc(m, func(s Service) bool { return s.AbstractSyntax(abstractSyntax) })
}

// TransferSyntax is for association.Answer.
func (m Mux) TransferSyntax(abstractSyntax, transferSyntax string) bool {
	return slices.ContainsFunc(m, func(s Service) bool {
		takes := s.TransferSyntax
		if takes == nil {
			takes = Uncompressed
		}
		return s.AbstractSyntax(abstractSyntax) && takes(transferSyntax)
	})
}

// Role is for association.Answer: every peer may be SCU, and SCP where a service
// says so.
func (m Mux) Role(abstractSyntax string) (scu, scp bool) {
	return true, slices.ContainsFunc(m, func(s Service) bool { return s.SCP != nil && s.SCP(abstractSyntax) })
}

// Answer accepts an association for all services.
func (m Mux) Answer(r association.Request) association.Answer {
	answer := association.Answer{AbstractSyntax: m.AbstractSyntax, TransferSyntax: m.TransferSyntax, Role: m.Role}
	for _, e := range r.Extended {
		for _, s := range m {
			if s.Extended == nil || !s.AbstractSyntax(e.SOPClassUID) {
				continue
			}
			if b := s.Extended(e.SOPClassUID, e.Information); b != nil {
				answer.Extended = append(answer.Extended, ul.Extended{SOPClassUID: e.SOPClassUID, Information: b})
				break
			}
		}
	}
	return answer
}

// Handlers is for association.Server and association.Proposal: each request goes
// to the service of its presentation context. A command that it does not have is
// answered 0211H, unrecognized operation.
func (m Mux) Handlers() map[dimse.CommandField]association.Handler {
	all := map[dimse.CommandField]association.Handler{}
	for _, s := range m {
		for field := range s.Handlers {
			all[field] = m.handle
		}
	}
	return all
}

func (m Mux) handle(ctx context.Context, a *association.Association, msg *association.Message) error {
	for _, s := range m {
		if h := s.Handlers[msg.Command.Field]; h != nil && s.AbstractSyntax(msg.Context.AbstractSyntax) {
			return h(ctx, a, msg)
		}
	}
	return Refuse(ctx, a, msg, dimse.Status{Code: dimse.UnrecognizedOperation, Comment: msg.Command.Field.String() + " is not of this SOP class"})
}

// A Peer is who is at the other end.
type Peer struct {
	Calling, Called string // AE titles of the association, not to be trusted as names for anything
	Address         netip.AddrPort
	Implementation  string
}

// PeerOf returns the peer of an association.
func PeerOf(a *association.Association) Peer {
	return Peer{a.Calling, a.Called, a.Peer, a.Implementation}
}

// Until returns a context for the work of a request: it ends when the time is
// over, and when the peer cancels the request or nobody is left to be answered.
func Until(ctx context.Context, m *association.Message, limit time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	done := make(chan struct{})
	go func() {
		select {
		case <-m.Cancelled():
			cancel()
		case <-done:
		}
	}()
	return ctx, sync.OnceFunc(func() { cancel(); close(done) })
}

// Cancelled reports whether the peer has cancelled a request, or nobody is left
// to be answered.
func Cancelled(m *association.Message) bool {
	select {
	case <-m.Cancelled():
		return true
	default:
		return false
	}
}

// NewUID returns a UID under 2.25 of 122 random bits, PS3.5 annex B.2.
func NewUID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0F|0x40, b[8]&0x3F|0x80
	return "2.25." + new(big.Int).SetBytes(b[:]).String()
}
