package mllp

import (
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

// Certificates are the files with which a link speaks TLS, all in PEM. Certificate
// and Key are read anew when they have changed, so that they can be renewed without a
// restart; CAs is read once.
type Certificates struct {
	Certificate, Key string // ours; a client may have none
	// CAs are those whose certificates are accepted: of clients, which then must have
	// one, or of the server. Empty: a server asks for none, a client takes those of the
	// system.
	CAs  string
	Name string // the name that the server's certificate must have; default the host that is dialled
}

// Server is the configuration of a listener: TLS 1.2 or later. The error says which
// file is wrong.
func (c Certificates) Server() (*tls.Config, error) {
	pair := &pair{c: c}
	if _, err := pair.load(); err != nil {
		return nil, err
	}
	pool, err := c.pool()
	if err != nil {
		return nil, err
	}
	config := &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return pair.load() },
	}
	if pool != nil {
		config.ClientCAs, config.ClientAuth = pool, tls.RequireAndVerifyClientCert
	}
	return config, nil
}

// Client is the configuration of a client of the server at host: TLS 1.2 or later.
func (c Certificates) Client(host string) (*tls.Config, error) {
	pool, err := c.pool()
	if err != nil {
		return nil, err
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool, ServerName: host}
	if c.Name != "" {
		config.ServerName = c.Name
	}
	if c.Certificate == "" && c.Key == "" {
		return config, nil
	}
	pair := &pair{c: c}
	if _, err := pair.load(); err != nil {
		return nil, err
	}
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return pair.load() }
	return config, nil
}

// pool is nil where no CAs are named.
func (c Certificates) pool() (*x509.CertPool, error) {
	if c.CAs == "" {
		return nil, nil
	}
	b, err := os.ReadFile(c.CAs)
	if err != nil {
		return nil, fmt.Errorf("mllp: CA certificates: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("mllp: CA certificates: %s has none in PEM", c.CAs)
	}
	return pool, nil
}

// A pair is a certificate with its key, as the files are now; where they have become
// unreadable, as they were.
type pair struct {
	c       Certificates
	mu      sync.Mutex
	changed [2]time.Time
	loaded  *tls.Certificate
}

func (p *pair) load() (*tls.Certificate, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var changed [2]time.Time
	for i, name := range [2]string{p.c.Certificate, p.c.Key} {
		info, err := os.Stat(name)
		if err != nil {
			return p.before(err)
		}
		changed[i] = info.ModTime()
	}
	if p.loaded != nil && changed == p.changed {
		return p.loaded, nil
	}
	loaded, err := tls.LoadX509KeyPair(p.c.Certificate, p.c.Key)
	if err != nil {
		return p.before(err)
	}
	p.loaded, p.changed = &loaded, changed
	return p.loaded, nil
}

func (p *pair) before(err error) (*tls.Certificate, error) {
	if p.loaded != nil {
		return p.loaded, nil
	}
	return nil, fmt.Errorf("mllp: certificate: %w", err)
}

// PeerNames are the names that the certificate of the peer is for: its common name
// and its alternative names. They are empty where the connection has no TLS or the
// peer showed no certificate; those that Certificates accepts are verified.
func PeerNames(c any) []string {
	secured, ok := c.(interface{ ConnectionState() tls.ConnectionState })
	if !ok {
		return nil
	}
	chains := secured.ConnectionState().VerifiedChains
	if len(chains) == 0 {
		return nil
	}
	leaf := chains[0][0]
	names := append([]string{leaf.Subject.CommonName}, leaf.DNSNames...)
	names = append(names, leaf.EmailAddresses...)
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	names = slices.DeleteFunc(names, func(s string) bool { return s == "" })
	slices.Sort(names)
	return slices.Compact(names)
}

// TLSReason says in words why a handshake failed; lang is "vi" or anything else for
// English. It is empty for any other error.
func TLSReason(err error, lang string) string {
	for _, r := range tlsReasons {
		if r.is(err) {
			if lang == "vi" {
				return r.vi
			}
			return r.en
		}
	}
	return ""
}

func of[E error](err error) bool {
	var e E
	return errors.As(err, &e)
}

var tlsReasons = []struct {
	is     func(error) bool
	en, vi string
}{
	{of[x509.HostnameError], "the certificate is for another name", "chứng thư số thuộc về tên khác"},
	{of[x509.UnknownAuthorityError], "the certificate was not signed by a CA that this link trusts", "chứng thư số không do CA mà kết nối này tin cậy ký"},
	{func(err error) bool {
		var e x509.CertificateInvalidError
		return errors.As(err, &e) && e.Reason == x509.Expired
	}, "the certificate has expired or is not valid yet; or a clock is wrong", "chứng thư số đã hết hạn hoặc chưa có hiệu lực; hoặc đồng hồ sai"},
	{of[*tls.CertificateVerificationError], "the certificate cannot be verified", "không xác minh được chứng thư số"},
	{of[tls.RecordHeaderError], "the peer does not speak TLS", "bên kia không dùng TLS"},
	{func(err error) bool {
		var e *net.OpError // which holds the alert that came
		return errors.As(err, &e) && e.Op == "remote error"
	}, "the peer refused the handshake: it wants another certificate or another version of TLS", "bên kia từ chối bắt tay TLS: cần chứng thư số khác hoặc phiên bản TLS khác"},
}
