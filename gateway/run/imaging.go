package run

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"

	"nhip/dicom/association"
	"nhip/dicom/dimse"
	"nhip/dicom/echo"
	"nhip/dicom/store"
	"nhip/dicom/uid"
	"nhip/dicom/ul"
	"nhip/gateway/config"
	"nhip/gateway/intake"
	"nhip/gateway/interpret"
	"nhip/gateway/modality"
	"nhip/gateway/reason"
	"nhip/storage"
)

// startDICOM opens the DICOM listener.
func (g *Gateway) startDICOM() {
	if len(g.cfg.DICOM.Listen)+len(g.cfg.DICOM.TLSListen) == 0 {
		return
	}
	for _, m := range g.cfg.Modalities {
		g.states.set(m.Name, interpret.Modality, "waiting", "")
	}
	s := &modality.Storage{
		Intake: g.in, Spool: g.store.Spool(), Room: g.store.Room, Log: g.log,
		Connection: func(r store.Request) string {
			m, _ := g.modality(r.Calling, r.Peer.Addr())
			return m.Name
		},
		Stored: func(connection string, _ intake.ObjectOutcome) { g.states.seen(connection, interpret.Modality) },
	}
	server := &association.Server{
		Accept:          g.accept,
		MaxAssociations: g.cfg.DICOM.MaxAssociations,
		MaxPerPeer:      g.cfg.DICOM.MaxPerModality,
		Known: func(from netip.Addr) bool {
			return slices.ContainsFunc(g.cfg.Modalities, func(m config.Modality) bool { return config.Contains(m.Address, from) })
		},
		Log:   g.log,
		Ended: g.associationEnded,
		Handlers: map[dimse.CommandField]association.Handler{
			dimse.CEchoRQ:  echo.Handle,
			dimse.CStoreRQ: store.Handle(s.Handle),
		},
	}
	if len(g.cfg.DICOM.Listen) > 0 {
		g.keepOpen("dicom", func() ([]string, func(context.Context) error, error) {
			open, err := listenAll(g.cfg.DICOM.Listen)
			if err != nil {
				return nil, nil, err
			}
			return addressesOf(open), func(ctx context.Context) error { return serveDICOM(ctx, server, open) }, nil
		})
	}
	if len(g.cfg.DICOM.TLSListen) > 0 {
		g.keepOpen("dicom tls", func() ([]string, func(context.Context) error, error) { return g.openDICOMTLS(server) })
	}
}

// openDICOMTLS opens the listener for modalities that speak TLS.
func (g *Gateway) openDICOMTLS(server *association.Server) ([]string, func(context.Context) error, error) {
	secured, err := g.cfg.DICOMServer().Server()
	if err != nil {
		return nil, nil, err
	}
	open, err := listenAll(g.cfg.DICOM.TLSListen)
	if err != nil {
		return nil, nil, err
	}
	addresses := addressesOf(open)
	for i, l := range open {
		open[i] = association.Secure(l, secured)
	}
	return addresses, func(ctx context.Context) error { return serveDICOM(ctx, server, open) }, nil
}

func serveDICOM(ctx context.Context, server *association.Server, open []net.Listener) error {
	ended := make(chan error, len(open))
	for _, l := range open {
		go func() { ended <- server.Serve(ctx, l) }()
	}
	err := <-ended
	closeAll(open)
	for range len(open) - 1 {
		<-ended
	}
	return err
}

// accept decides on an association: who calls, from where, and whom.
func (g *Gateway) accept(r association.Request) association.Answer {
	who := config.Stranger{Kind: "dicom", Address: r.Peer.Addr().Unmap().String(), CallingAE: r.Calling, CalledAE: r.Called, CalledIsOurs: r.Called == g.cfg.DICOM.AETitle}
	if !who.CalledIsOurs {
		g.strangers.refused(who, wants(r))
		return association.Answer{Reject: &ul.RejectCalledAETitle}
	}
	m, ok := g.modality(r.Calling, r.Peer.Addr())
	if ok && m.Certificate != "" && !slices.Contains(association.CertificateNames(r.TLS), m.Certificate) {
		g.log.Warn("dicom: the certificate is not that of the modality", "modality", m.Name, "names", association.CertificateNames(r.TLS))
		return association.Answer{Reject: &ul.RejectCallingAETitle}
	}
	if !ok {
		g.strangers.refused(who, wants(r))
		return association.Answer{Reject: &ul.RejectCallingAETitle}
	}
	g.states.set(m.Name, interpret.Modality, "connected", r.Peer.Addr().Unmap().String())
	storage := store.Accepts(g.cfg.DICOM.SOPClasses...)
	syntax := store.AcceptsTransferSyntax()
	return association.Answer{
		AbstractSyntax: func(class string) bool { return echo.Accepts(class) || storage(class) },
		TransferSyntax: func(class, ts string) bool {
			if echo.Accepts(class) {
				return ts == uid.ImplicitVRLittleEndian || ts == uid.ExplicitVRLittleEndian
			}
			return syntax(ts)
		},
	}
}

// associationEnded notes that a modality has left.
func (g *Gateway) associationEnded(r association.Request, _ error) {
	if m, ok := g.modality(r.Calling, r.Peer.Addr()); ok {
		g.states.set(m.Name, interpret.Modality, "heard", r.Peer.Addr().Unmap().String())
	}
}

// wants says what an association is for.
func wants(r association.Request) reason.Reason {
	var names []string
	for _, c := range r.Contexts {
		name := uid.Name(c.AbstractSyntax)
		if slices.Contains(names, name) {
			continue
		}
		if len(names) == 3 {
			names = append(names, "…")
			break
		}
		names = append(names, name)
	}
	return reason.Text(strings.Join(names, ", "))
}

// modality finds who calls: by AE title and address.
func (g *Gateway) modality(calling string, from netip.Addr) (config.Modality, bool) {
	for _, m := range g.cfg.Modalities {
		if m.AETitle == calling && config.Contains(m.Address, from) {
			return m, true
		}
	}
	return config.Modality{}, false
}

// object opens the object of a journal entry, after its bytes were held against
// their hash: a damaged object is never sent.
func (g *Gateway) object(ref storage.Ref) (intake.Entry, modality.File, error) {
	e, err := g.entry(ref)
	if err != nil {
		return e, nil, err
	}
	if e.Spool == nil {
		return e, nil, errNoObject
	}
	if err := g.store.Spool().Verify(*e.Spool); err != nil {
		return e, nil, err
	}
	f, err := g.store.Spool().Open(*e.Spool)
	return e, f, err
}
