package run

import (
	"context"
	"crypto/subtle"
	"net"
	"net/netip"
	"slices"
	"time"

	"nhip/dicom/association"
	"nhip/dicom/commitment"
	"nhip/dicom/dimse"
	"nhip/dicom/echo"
	"nhip/dicom/service"
	"nhip/dicom/ul"
	"nhip/gateway/config"
)

// An entity is our application entity: its services, by who may use them.
type entity struct {
	echo    service.Service
	common  service.Mux // for every modality
	print   service.Mux // for those that print
	query   service.Mux // for those that may ask for what the gateway holds
	reports service.Mux // for destinations that are asked for storage commitment
}

// all are the services, for the handlers of the server.
func (e *entity) all() service.Mux {
	all := service.Mux{e.echo}
	for _, m := range []service.Mux{e.common, e.print, e.query, e.reports} {
		all = append(all, m...)
	}
	return all
}

// of are the services of a caller.
func (e *entity) of(m config.Modality, known, reports bool) service.Mux {
	of := service.Mux{e.echo}
	if known {
		of = append(of, e.common...)
		if m.Print != config.PrintNone {
			of = append(of, e.print...)
		}
		if m.Query {
			of = append(of, e.query...)
		}
	}
	if reports {
		of = append(of, e.reports...)
	}
	return of
}

func echoService() service.Service {
	return service.Service{AbstractSyntax: echo.Accepts, Handlers: map[dimse.CommandField]association.Handler{dimse.CEchoRQ: echo.Handle}}
}

// believed judges the user identity that a modality gives, PS3.7 section D.3.3.7. One
// that has to give none may give any. The response is for who wants one.
func (g *Gateway) believed(m config.Modality, id *ul.UserIdentity) (response []byte, ok bool) {
	if m.User == "" {
		return nil, true
	}
	password, err := m.Password()
	if err != nil {
		g.log.Error("dicom: the password of a modality cannot be read", "modality", m.Name, "error", err)
		return nil, false
	}
	want := ul.IdentityUsername
	if m.PasswordFile != "" {
		want = ul.IdentityPasscode
	}
	if id == nil || id.Type != want && id.Type != ul.IdentityPasscode {
		return nil, false
	}
	same := subtle.ConstantTimeCompare(id.Primary, []byte(m.User))
	if want == ul.IdentityPasscode {
		same &= subtle.ConstantTimeCompare(id.Secondary, []byte(password))
	}
	return []byte{}, same == 1
}

// reporters are the destinations that may report storage commitment from here under
// this AE title.
func (g *Gateway) reporters(calling string, from netip.Addr, secured bool) (names []string) {
	for _, d := range g.cfg.Destinations {
		if !d.Commitment || d.CalledAETitle != calling || d.TLS != config.CertificateNone && !secured {
			continue
		}
		if at(d.Address, from) {
			names = append(names, d.Name)
		}
	}
	return names
}

// lookUp is how long the name of a destination may take to be found.
const lookUp = 2 * time.Second

// at reports whether host:port is at an address. A name is looked up.
func at(hostPort string, from netip.Addr) bool {
	name, _, err := net.SplitHostPort(hostPort)
	if err != nil {
		return false
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return isAt(hostPort, from)
	}
	ctx, cancel := context.WithTimeout(context.Background(), lookUp)
	defer cancel()
	all, err := net.DefaultResolver.LookupNetIP(ctx, "ip", name)
	return err == nil && slices.ContainsFunc(all, func(a netip.Addr) bool { return same(a, from) })
}

// isAt is at for an address that is written as such: it waits for nothing.
func isAt(hostPort string, from netip.Addr) bool {
	a, err := netip.ParseAddrPort(hostPort)
	return err == nil && same(a.Addr(), from)
}

func same(a, b netip.Addr) bool { return a.Unmap().WithZone("") == b.Unmap().WithZone("") }

// committed takes a report of storage commitment over an association that a
// destination has begun. Its address and AE title were looked at when it was accepted.
func (g *Gateway) committed(ctx context.Context, r commitment.Received) dimse.Status {
	answer := commitment.Unknown
	for _, d := range g.cfg.Destinations {
		c := g.committers[d.Name]
		if c == nil || d.CalledAETitle != r.SCP || !at(d.Address, r.Address.Addr()) {
			continue
		}
		if answer = c.Take(ctx, r); answer.Code == dimse.Success {
			break
		}
	}
	return answer
}
