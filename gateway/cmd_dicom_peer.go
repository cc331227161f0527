package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"nhip/dicom/association"
	"nhip/dicom/echo"
	"nhip/dicom/probe"
	"nhip/dicom/uid"
	"nhip/dicom/ul"
)

// A dicomPeer is the application entity that a command speaks to.
type dicomPeer struct {
	Peer    string        `arg:"" name:"ae@host:port" help:"The peer: its AE title, host and port."`
	Calling string        `help:"Our AE title." default:"NHIP" name:"calling"`
	Timeout time.Duration `help:"For an answer." default:"30s"`
	Lang    string        `help:"Language: en or vi; else that of the environment." enum:",en,vi" default:""`

	TLS         bool   `help:"Secure the association: TLS 1.2 or 1.3, PS3.15 section B.12." name:"tls"`
	CA          string `help:"PEM file with what vouches for the peer's certificate." name:"tls-ca" type:"existingfile" placeholder:"FILE"`
	Certificate string `help:"PEM file with our certificate." name:"tls-certificate" type:"existingfile" placeholder:"FILE"`
	Key         string `help:"PEM file with its key." name:"tls-key" type:"existingfile" placeholder:"FILE"`
}

// address splits AE@HOST:PORT.
func (p *dicomPeer) address() (called, address string, err error) {
	called, address, ok := strings.Cut(p.Peer, "@")
	if _, _, bad := net.SplitHostPort(address); !ok || bad != nil || called == "" || len(called) > 16 {
		return "", "", p.say().errorf("%q is not of the form AE@HOST:PORT, with an AE title of 1 to 16 characters", p.Peer)
	}
	return called, address, nil
}

func (p *dicomPeer) say() speech { return spoken(p.Lang) }

func (p *dicomPeer) secured() (*tls.Config, error) {
	if !p.TLS {
		return nil, nil
	}
	return association.TLS{Certificate: p.Certificate, Key: p.Key, CA: p.CA}.Client()
}

func (p *dicomPeer) timeouts() association.Timeouts {
	return association.Timeouts{ARTIM: p.Timeout, DIMSE: p.Timeout, Response: p.Timeout}
}

// dial establishes an association; the proposal names what it is for.
func (p *dicomPeer) dial(ctx context.Context, o association.Proposal) (*association.Association, error) {
	called, address, err := p.address()
	if err != nil {
		return nil, err
	}
	if o.TLS, err = p.secured(); err != nil {
		return nil, err
	}
	o.Calling, o.Called, o.Timeouts = p.Calling, called, p.timeouts()
	a, err := association.Dial(ctx, address, o)
	return a, p.say().why(err)
}

// interrupted is the context of a command: Ctrl-C ends it.
func interrupted() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
}

type dicomEcho struct {
	dicomPeer
	Count int `help:"How often." default:"1"`
}

func (c *dicomEcho) Run() (int, error) {
	ctx, stop := interrupted()
	defer stop()
	began := time.Now()
	a, err := c.dial(ctx, association.Proposal{Contexts: []ul.ProposedContext{echo.Context(1)}})
	if err != nil {
		return exitBad, err
	}
	say := c.say()
	say.printf("association accepted in %v by %s\n", rounded(time.Since(began)), cmp.Or(a.Implementation, say.sprintf("an implementation without a name")))
	for range c.Count {
		began = time.Now()
		if err := echo.Send(ctx, a); err != nil {
			a.Abort("C-ECHO failed")
			return exitBad, say.why(err)
		}
		say.printf("C-ECHO answered 0000 in %v\n", rounded(time.Since(began)))
	}
	return exitGood, a.Release(ctx)
}

func rounded(d time.Duration) time.Duration { return d.Round(100 * time.Microsecond) }

type dicomProbe struct {
	dicomPeer
	All bool `help:"Name the transfer syntaxes of every SOP class, also where they are the same."`
}

// Run asks what a peer accepts, and says it in words.
func (c *dicomProbe) Run() (int, error) {
	ctx, stop := interrupted()
	defer stop()
	called, address, err := c.address()
	if err != nil {
		return exitBad, err
	}
	secured, err := c.secured()
	if err != nil {
		return exitBad, err
	}
	r, err := probe.Probe(ctx, address, probe.Options{Calling: c.Calling, Called: called, TLS: secured, Timeouts: c.timeouts()})
	say := c.say()
	var rejected *association.RejectedError
	if errors.As(err, &rejected) {
		return exitBad, say.errorf("%s rejected us: %v\nIt may know only AE titles and addresses that its configuration names: ours is %s", called, say.why(err), c.Calling)
	}
	if err != nil {
		return exitBad, say.why(err)
	}
	say.describePeer(r)
	c.describeClasses(r)
	for _, p := range r.Problems {
		say.printf("problem: %v\n", p)
	}
	if len(r.Problems) > 0 {
		return exitBad, nil
	}
	return exitGood, nil
}

func (say speech) describePeer(r probe.Report) {
	say.printf("%s at %s\n", r.Called, r.Address)
	say.printf("  implementation    %s (%s)\n", cmp.Or(r.ImplementationVersionName, say.sprintf("no version name")), cmp.Or(r.ImplementationClassUID, say.sprintf("no class UID")))
	say.printf("  secured by TLS    %s\n", say.yes(r.TLS))
	if r.MaximumLength == 0 {
		say.printf("  PDU length        no limit\n")
	} else {
		say.printf("  PDU length        at most %d bytes\n", r.MaximumLength)
	}
	if w := r.Window; w == nil {
		say.printf("  window            one operation at a time: it does not negotiate\n")
	} else {
		say.printf("  window            we may invoke %s at a time, it may %s\n", say.operations(w.Invoked), say.operations(w.Performed))
	}
	say.printf("  connect           %v\n", rounded(r.Connect))
	if r.Echo > 0 {
		say.printf("  C-ECHO            %v\n", rounded(r.Echo))
	} else {
		say.printf("  C-ECHO            not accepted\n")
	}
	say.printf("  release           %v\n", rounded(r.Release))
	say.printf("  asked with        %d associations\n", r.Associations)
}

func (say speech) operations(n uint16) string {
	if n == 0 {
		return say.sprintf("any number")
	}
	return fmt.Sprint(n)
}

func (say speech) yes(b bool) string {
	if b {
		return say.sprintf("yes")
	}
	return say.sprintf("no")
}

// describeClasses lists the SOP classes; those with the same transfer syntaxes
// stand together.
func (c *dicomProbe) describeClasses(r probe.Report) {
	say := c.say()
	if len(r.Classes) == 0 {
		say.printf("It accepts no SOP class that we know.\n")
		return
	}
	say.printf("It accepts %d SOP classes:\n", len(r.Classes))
	var order []string
	same := map[string][]probe.Class{}
	for _, k := range r.Classes {
		key := strings.Join(k.TransferSyntaxes, " ")
		if c.All {
			key = k.UID
		}
		if same[key] == nil {
			order = append(order, key)
		}
		same[key] = append(same[key], k)
	}
	for _, key := range order {
		group := same[key]
		for _, k := range group {
			fmt.Printf("  %s%s\n", named(k.UID), say.roles(k))
		}
		for _, ts := range group[0].TransferSyntaxes {
			mark := ""
			if ts == group[0].Preferred && len(group[0].TransferSyntaxes) > 1 {
				mark = say.sprintf(", which it takes first")
			}
			say.printf("      in %s%s\n", named(ts), mark)
		}
	}
}

func (say speech) roles(k probe.Class) string {
	switch {
	case k.SCU && k.SCP:
		return say.sprintf(", in both roles")
	case k.SCP:
		return say.sprintf(", and we may be SCP")
	}
	return ""
}

// named is a UID with its name.
func named(u string) string {
	if n := uid.Name(u); n != u {
		return n + " (" + u + ")"
	}
	return u
}

// syntaxNames are the transfer syntaxes that a person can ask for by a name.
var syntaxNames = map[string]string{
	"implicit": uid.ImplicitVRLittleEndian, "explicit": uid.ExplicitVRLittleEndian, "rle": uid.RLELossless,
	"jpeg-lossless": uid.JPEGLosslessSV1, "jpeg-ls": uid.JPEGLSLossless,
}

// syntax is the transfer syntax of a name or UID.
func (say speech) syntax(name string) (string, error) {
	if u, ok := syntaxNames[name]; ok {
		return u, nil
	}
	if uid.IsTransferSyntax(name) {
		return name, nil
	}
	names := make([]string, 0, len(syntaxNames))
	for n := range syntaxNames {
		names = append(names, n)
	}
	slices.Sort(names)
	return "", say.errorf("%q is no transfer syntax: write a UID or one of %s", name, strings.Join(names, ", "))
}
