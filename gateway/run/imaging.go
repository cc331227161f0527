package run

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"nhip/dicom/association"
	"nhip/dicom/commitment"
	"nhip/dicom/dimse"
	"nhip/dicom/mpps"
	"nhip/dicom/service"
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
	ae, err := g.imagingServices()
	if err != nil {
		g.log.Error("dicom is not served", "error", err)
		g.states.failed("dicom", reason.Text(err.Error()))
		return
	}
	server := &association.Server{
		Accept:          func(r association.Request) association.Answer { return g.accept(ae, r) },
		MaxAssociations: g.cfg.DICOM.MaxAssociations,
		MaxPerPeer:      g.cfg.DICOM.MaxPerModality,
		Known: func(from netip.Addr) bool {
			return slices.ContainsFunc(g.cfg.Modalities, func(m config.Modality) bool { return config.Contains(m.Address, from) }) ||
				slices.ContainsFunc(g.cfg.Destinations, func(d config.Destination) bool { return d.Commitment && isAt(d.Address, from) })
		},
		Log:      g.log,
		Ended:    g.associationEnded,
		Handlers: ae.all().Handlers(),
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

// imagingServices are the services of our application entity.
func (g *Gateway) imagingServices() (*entity, error) {
	s := &modality.Storage{
		Intake: g.in, Spool: g.store.Spool(), Room: g.store.Room, Log: g.log,
		Connection: func(r store.Request) string {
			m, _ := g.modality(r.Calling, r.Peer.Addr())
			return m.Name
		},
		Stored: func(connection string, _ intake.ObjectOutcome) { g.states.seen(connection, interpret.Modality) },
	}
	g.storage = service.Service{
		AbstractSyntax: store.Accepts(g.cfg.DICOM.SOPClasses...), TransferSyntax: store.AcceptsTransferSyntax(),
		Handlers: map[dimse.CommandField]association.Handler{dimse.CStoreRQ: store.Handle(s.Handle)},
	}
	steps := &mpps.SCP{Keeper: &modality.Steps{Intake: g.in, Store: g.store, Log: g.log, Connection: g.caller, Performed: g.performed}}
	commitments := modality.NewCommitments(modality.CommitmentOptions{
		Intake: g.in, Store: g.store, Log: g.log, Now: time.Now, Connection: g.caller, To: g.reporter,
	})
	g.goRun("storage commitment", commitments.Run)
	g.askWhatDestinationsTake()
	ae := &entity{
		echo:    echoService(),
		common:  service.Mux{g.storage, steps.Service(), commitments.SCP().Service()},
		query:   g.queryServices(),
		reports: service.Mux{(&commitment.SCU{Take: g.committed}).Service()},
	}
	if source := g.worklistSource(); source != nil {
		ae.common = append(ae.common, g.worklistService(source))
	}
	var err error
	ae.print, err = g.printServices()
	return ae, err
}

// askWhatDestinationsTake asks those on which it depends what a modality may send.
func (g *Gateway) askWhatDestinationsTake() {
	g.takes = &modality.Takes{Log: g.log, Destinations: map[string]modality.Destination{}}
	for _, d := range g.cfg.Destinations {
		asks := func(m config.Modality) bool {
			return m.Accept == config.AcceptDestinations && slices.Contains(m.To, d.Name)
		}
		if d.Kind == config.KindDICOM && d.Images && slices.ContainsFunc(g.cfg.Modalities, asks) {
			g.takes.Destinations[d.Name] = g.imagingDestination(d)
		}
	}
	g.goRun("what destinations take", g.takes.Run)
}

// caller names the modality of an association.
func (g *Gateway) caller(p service.Peer) string {
	m, _ := g.modality(p.Calling, p.Address.Addr())
	return m.Name
}

// reporter is where a modality takes reports of storage commitment.
func (g *Gateway) reporter(name string) (modality.Reporter, bool) {
	for _, m := range g.cfg.Modalities {
		if m.Name == name {
			r := modality.Reporter{Address: m.Reports, Called: m.AETitle, Calling: g.cfg.DICOM.AETitle}
			if m.Certificate != "" {
				r.TLS = g.cfg.ReportsTLS(m).Client
			}
			return r, true
		}
	}
	return modality.Reporter{}, false
}

// imagingDestination is a destination as C-STORE SCP.
func (g *Gateway) imagingDestination(d config.Destination) modality.Destination {
	to := modality.Destination{
		Address: d.Address, Called: d.CalledAETitle, Calling: d.CallingAETitle,
		Connect: d.ConnectTimeout, Answer: d.AnswerTimeout,
	}
	if t, on := g.cfg.DICOMClient(d); on {
		to.TLS = t.Client
	}
	return to
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
func (g *Gateway) accept(ae *entity, r association.Request) association.Answer {
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
	reports := len(g.reporters(r.Calling, r.Peer.Addr(), r.TLS != nil)) > 0
	if !ok && !reports {
		g.strangers.refused(who, wants(r))
		return association.Answer{Reject: &ul.RejectCallingAETitle}
	}
	services := ae.of(m, ok, reports)
	answer := services.Answer(r)
	if !ok {
		return answer
	}
	if answer.IdentityResponse, ok = g.believed(m, r.Identity); !ok {
		g.log.Warn("dicom: the user identity is not that of the modality", "modality", m.Name, "given", r.Identity)
		return association.Answer{Reject: &ul.RejectUserIdentity}
	}
	g.states.set(m.Name, interpret.Modality, "connected", r.Peer.Addr().Unmap().String())
	if m.Accept == config.AcceptDestinations {
		answer.AbstractSyntax = func(class string) bool {
			return services.AbstractSyntax(class) && (!g.storage.AbstractSyntax(class) || g.takes.Take(m.To, class, ""))
		}
		answer.TransferSyntax = func(class, ts string) bool {
			return services.TransferSyntax(class, ts) && (!g.storage.AbstractSyntax(class) || g.takes.Take(m.To, class, ts))
		}
	}
	return answer
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

// object opens the object of a journal entry as it is on disk.
func (g *Gateway) object(ref storage.Ref) (intake.Entry, modality.File, error) {
	e, err := g.entry(ref)
	if err != nil {
		return e, nil, err
	}
	if e.Spool == nil {
		return e, nil, errNoObject
	}
	f, err := g.store.Spool().Open(*e.Spool)
	return e, f, err
}
