package association

import (
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"time"
)

// A ClientCertificate says what a server asks of a client.
type ClientCertificate byte

const (
	CertificateRequired ClientCertificate = iota // verified by TLS.CA
	CertificateOptional                          // verified by TLS.CA where the client has one
	CertificateIgnored                           // not asked for
)

// TLS is how associations are secured: the profiles of PS3.15 sections B.12 (BCP
// 195, RFC 8996 and 9325) and B.13 (the same, modified). TLS 1.2 at least, TLS 1.3
// where the peer has it; cipher suites with ephemeral keys and authenticated
// encryption alone; keys of 2048 bits (RSA) or 256 bits (elliptic curves) at least.
// That meets both profiles with any peer that has an ECDHE suite.
//
// The files are PEM, and are read again when they have changed: a renewed
// certificate is used from the next connection on. Where they cannot be read then,
// what was read last stays.
type TLS struct {
	Certificate, Key string // of ours; a client may have none
	CA               string // the authorities that vouch for the peers, or the peers' own certificates
	Clients          ClientCertificate
	ServerName       string // of a client: the name that the server's certificate has to have; empty: any that CA vouches for
}

// suites are those of TLS 1.2; TLS 1.3 has no others than such.
var suites = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
	tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
}

// Server returns the configuration of an acceptor, for Secure. It is an error
// where a file cannot be used.
func (t TLS) Server() (*tls.Config, error) {
	k := &keys{TLS: t}
	if _, err := k.load(); err != nil {
		return nil, err
	}
	switch {
	case t.Certificate == "":
		return nil, errors.New("dicom/association: TLS: a server needs a certificate and its key")
	case t.CA == "" && t.Clients != CertificateIgnored:
		return nil, errors.New("dicom/association: TLS: certificates of clients cannot be verified without the authorities that vouch for them")
	}
	c := base()
	c.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		now, _ := k.load()
		c := base()
		c.Certificates = []tls.Certificate{*now.certificate}
		c.ClientCAs = now.authorities
		c.VerifyConnection = func(state tls.ConnectionState) error { return strong(state.PeerCertificates) }
		switch t.Clients {
		case CertificateRequired:
			c.ClientAuth = tls.RequireAndVerifyClientCert
		case CertificateOptional:
			c.ClientAuth = tls.VerifyClientCertIfGiven
		}
		return c, nil
	}
	return c, nil
}

// Client returns the configuration of a requestor, for Proposal. It is an error
// where a file cannot be used.
func (t TLS) Client() (*tls.Config, error) {
	k := &keys{TLS: t}
	if _, err := k.load(); err != nil {
		return nil, err
	}
	if t.CA == "" {
		return nil, errors.New("dicom/association: TLS: the certificate of a server cannot be verified without the authorities that vouch for it")
	}
	c := base()
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		if now, _ := k.load(); now.certificate != nil {
			return now.certificate, nil
		}
		return &tls.Certificate{}, nil
	}
	// A DICOM server is found by address, and its certificate has often no name that
	// would be one: the chain is verified here, and the name where one is demanded.
	c.InsecureSkipVerify = true
	c.VerifyConnection = func(state tls.ConnectionState) error {
		now, _ := k.load()
		chain := x509.VerifyOptions{Roots: now.authorities, DNSName: t.ServerName, Intermediates: x509.NewCertPool()}
		for _, c := range state.PeerCertificates[1:] {
			chain.Intermediates.AddCert(c)
		}
		if _, err := state.PeerCertificates[0].Verify(chain); err != nil {
			return err
		}
		return strong(state.PeerCertificates)
	}
	return c, nil
}

func base() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, CipherSuites: suites}
}

// strong refuses a certificate whose key is too short.
func strong(chain []*x509.Certificate) error {
	if len(chain) == 0 {
		return nil
	}
	bits := 256
	switch key := chain[0].PublicKey.(type) {
	case *rsa.PublicKey:
		if bits = key.N.BitLen(); bits < 2048 {
			return fmt.Errorf("dicom/association: TLS: RSA key of %d bits where 2048 are the least", bits)
		}
	case *ecdsa.PublicKey:
		if bits = key.Curve.Params().BitSize; bits < 256 {
			return fmt.Errorf("dicom/association: TLS: elliptic curve of %d bits where 256 are the least", bits)
		}
	}
	return nil
}

// keys are the files of a TLS as they were read last.
type keys struct {
	TLS
	mu     sync.Mutex
	stamps [3]stamp
	loaded loaded
}

type loaded struct {
	certificate *tls.Certificate // nil: none
	authorities *x509.CertPool
}

// A stamp tells whether a file has changed.
type stamp struct {
	modified time.Time
	size     int64
}

// load reads the files where one has changed. With an error it returns what was
// read before.
func (k *keys) load() (loaded, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var now [3]stamp
	for i, name := range []string{k.Certificate, k.Key, k.CA} {
		if name == "" {
			continue
		}
		info, err := os.Stat(name)
		if err != nil {
			return k.loaded, fmt.Errorf("dicom/association: TLS: %w", err)
		}
		now[i] = stamp{info.ModTime(), info.Size()}
	}
	if now == k.stamps {
		return k.loaded, nil
	}
	fresh, err := k.read()
	if err != nil {
		return k.loaded, fmt.Errorf("dicom/association: TLS: %w", err)
	}
	k.loaded, k.stamps = fresh, now
	return fresh, nil
}

func (k *keys) read() (loaded, error) {
	var fresh loaded
	if k.Certificate != "" || k.Key != "" {
		c, err := tls.LoadX509KeyPair(k.Certificate, k.Key)
		if err != nil {
			return fresh, err
		}
		if err := strong([]*x509.Certificate{c.Leaf}); err != nil {
			return fresh, err
		}
		fresh.certificate = &c
	}
	if k.CA != "" {
		pem, err := os.ReadFile(k.CA)
		if err != nil {
			return fresh, err
		}
		fresh.authorities = x509.NewCertPool()
		if !fresh.authorities.AppendCertsFromPEM(pem) {
			return fresh, fmt.Errorf("%s holds no certificate", k.CA)
		}
	}
	return fresh, nil
}

// Secure returns a listener whose connections speak TLS, for Server.Serve.
func Secure(l net.Listener, config *tls.Config) net.Listener { return &secure{l, config} }

type secure struct {
	net.Listener
	config *tls.Config
}

// Accept does no handshake: the server does, with a deadline and beside others.
func (s *secure) Accept() (net.Conn, error) {
	c, err := s.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return tls.Server(quickACK(c), s.config), nil
}

// handshake does the handshake of a connection that speaks TLS.
func handshake(ctx context.Context, c net.Conn, within time.Duration) error {
	t, ok := c.(*tls.Conn)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	err := t.HandshakeContext(ctx)
	var plain tls.RecordHeaderError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &plain):
		return fmt.Errorf("dicom/association: TLS: the peer does not speak TLS: %w", err)
	case errors.Is(err, context.DeadlineExceeded):
		return &TimeoutError{"the TLS handshake"}
	}
	return fmt.Errorf("dicom/association: TLS: %w", err)
}

// CertificateNames returns the names in the certificate of a TLS peer: its common
// name, its DNS names and its addresses. There are none where it has shown none.
func CertificateNames(state *tls.ConnectionState) []string {
	if state == nil || len(state.PeerCertificates) == 0 {
		return nil
	}
	leaf := state.PeerCertificates[0]
	names := slices.Clone(leaf.DNSNames)
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	if leaf.Subject.CommonName != "" {
		names = append(names, leaf.Subject.CommonName)
	}
	return names
}
