package association_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"nhip/dicom/association"
	"nhip/dicom/echo"
	"nhip/dicom/ul"
)

// identity writes a self-signed certificate and its key to a folder.
func identity(t *testing.T, dir, name string, key any, public any) (certificate, keyFile string) {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		DNSNames:     []string{name + ".hospital.example"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, keyFile = filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key")
	writePEM(t, certificate, "CERTIFICATE", der)
	writePEM(t, keyFile, "PRIVATE KEY", private)
	return certificate, keyFile
}

func writePEM(t *testing.T, name, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

func elliptical(t *testing.T, dir, name string) (certificate, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return identity(t, dir, name, k, k.Public())
}

// bundle writes what vouches for several peers.
func bundle(t *testing.T, dir string, certificates ...string) string {
	t.Helper()
	var all []byte
	for _, c := range certificates {
		b, err := os.ReadFile(c)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b...)
	}
	name := filepath.Join(dir, "authorities.pem")
	if err := os.WriteFile(name, all, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// A journal is a log that is waited for.
type journal struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.Write(b)
}

func (j *journal) await(t *testing.T, what string) {
	t.Helper()
	for range 2000 {
		j.mu.Lock()
		there := strings.Contains(j.buf.String(), what)
		j.mu.Unlock()
		if there {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("no %q in the log:\n%s", what, j.buf.String())
}

// listenTLS serves on a free port until the test ends.
func listenTLS(t *testing.T, s *association.Server, profile association.TLS) string {
	t.Helper()
	config, err := profile.Server()
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, association.Secure(l, config)) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

func echoTLS(t *testing.T, address string, profile association.TLS) error {
	t.Helper()
	config, err := profile.Client()
	if err != nil {
		t.Fatal(err)
	}
	a, err := association.Dial(t.Context(), address, association.Proposal{Calling: "A", Called: "B", TLS: config, Contexts: []ul.ProposedContext{echo.Context(1)}})
	if err != nil {
		return err
	}
	if err := echo.Send(t.Context(), a); err != nil {
		return err
	}
	return a.Release(t.Context())
}

func TestAssociationOverTLS(t *testing.T) {
	dir := t.TempDir()
	server, serverKey := elliptical(t, dir, "nhip")
	modality, modalityKey := elliptical(t, dir, "ct-1")
	stranger, strangerKey := elliptical(t, dir, "stranger")
	authorities := bundle(t, dir, server, modality)
	s := newServer(nil)
	var mu sync.Mutex
	var names [][]string
	s.Accept = func(r association.Request) association.Answer {
		mu.Lock()
		defer mu.Unlock()
		if r.TLS == nil || r.TLS.Version < tls.VersionTLS12 {
			t.Errorf("%+v", r.TLS)
		}
		names = append(names, association.CertificateNames(r.TLS))
		return acceptAll(r)
	}
	ours := association.TLS{Certificate: server, Key: serverKey, CA: authorities}
	known := association.TLS{Certificate: modality, Key: modalityKey, CA: authorities}
	unknown := association.TLS{Certificate: stranger, Key: strangerKey, CA: authorities}
	none := association.TLS{CA: authorities}
	for _, c := range []struct {
		ask    association.ClientCertificate
		client association.TLS
		ok     bool
		names  []string
	}{
		{association.CertificateRequired, known, true, []string{"ct-1.hospital.example", "ct-1"}},
		{association.CertificateRequired, unknown, false, nil},
		{association.CertificateRequired, none, false, nil},
		{association.CertificateOptional, known, true, []string{"ct-1.hospital.example", "ct-1"}},
		{association.CertificateOptional, unknown, false, nil},
		{association.CertificateOptional, none, true, nil},
		{association.CertificateIgnored, none, true, nil},
	} {
		ours.Clients = c.ask
		mu.Lock()
		names = nil
		mu.Unlock()
		err := echoTLS(t, listenTLS(t, s, ours), c.client)
		if (err == nil) != c.ok {
			t.Errorf("%v, %s: %v", c.ask, c.client.Certificate, err)
		}
		mu.Lock()
		if c.ok && (len(names) != 1 || !slices.Equal(names[0], c.names)) {
			t.Errorf("%v, %s: names %v", c.ask, c.client.Certificate, names)
		}
		mu.Unlock()
	}
}

// The server's certificate has to be vouched for, and to have the name where one
// is demanded.
func TestServerCertificateIsVerified(t *testing.T) {
	dir := t.TempDir()
	server, serverKey := elliptical(t, dir, "nhip")
	other, _ := elliptical(t, dir, "other")
	address := listenTLS(t, newServer(nil), association.TLS{Certificate: server, Key: serverKey, Clients: association.CertificateIgnored})
	for _, c := range []struct {
		profile association.TLS
		ok      bool
	}{
		{association.TLS{CA: server}, true},
		{association.TLS{CA: server, ServerName: "nhip.hospital.example"}, true},
		{association.TLS{CA: server, ServerName: "pacs.hospital.example"}, false},
		{association.TLS{CA: other}, false},
	} {
		if err := echoTLS(t, address, c.profile); (err == nil) != c.ok {
			t.Errorf("%+v: %v", c.profile, err)
		}
	}
}

// Plain bytes on the TLS port and TLS 1.1 are refused, and the log says so; the
// handshake has a deadline.
func TestWhatIsRefusedOnTheTLSPort(t *testing.T) {
	dir := t.TempDir()
	server, serverKey := elliptical(t, dir, "nhip")
	log := &journal{}
	s := newServer(nil)
	s.Log = slog.New(slog.NewTextHandler(log, nil))
	profile := association.TLS{Certificate: server, Key: serverKey, Clients: association.CertificateIgnored}
	address := listenTLS(t, s, profile)

	if _, err := association.Dial(t.Context(), address, association.Proposal{Calling: "A", Called: "B", Contexts: ctContexts}); err == nil {
		t.Error("an association in the clear")
	}
	log.await(t, "the peer does not speak TLS")

	old := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
	if c, err := tls.Dial("tcp", address, old); err == nil {
		c.Close()
		t.Error("TLS 1.1 was taken")
	}
	log.await(t, "unsupported versions")

	weak := &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}}
	if c, err := tls.Dial("tcp", address, weak); err == nil {
		c.Close()
		t.Error("a CBC suite was taken")
	}
	log.await(t, "no cipher suite")

	hasty := newServer(nil)
	hasty.Log, hasty.Timeouts.ARTIM = s.Log, time.Second
	c, err := net.Dial("tcp", listenTLS(t, hasty, profile))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.Write([]byte{22, 3, 1}) // half a ClientHello
	c.SetReadDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.ReadAll(c); err != nil {
		t.Errorf("not closed: %v", err)
	}
	log.await(t, "time-out awaiting the TLS handshake")
}

// TLS on the port in the clear, as class 3 of the bad inputs has it, is aborted
// before anything is awaited.
func TestTLSOnThePortInTheClear(t *testing.T) {
	if _, err := tls.Dial("tcp", listen(t, newServer(nil)), &tls.Config{InsecureSkipVerify: true}); err == nil {
		t.Error("TLS was spoken")
	}
}

// A renewed certificate is used without a restart; a broken one is not.
func TestCertificatesAreReloaded(t *testing.T) {
	dir := t.TempDir()
	server, serverKey := elliptical(t, dir, "nhip")
	address := listenTLS(t, newServer(nil), association.TLS{Certificate: server, Key: serverKey, Clients: association.CertificateIgnored})
	serial := func() string {
		c, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	first := serial()
	if serial() != first {
		t.Error("another certificate without a change")
	}
	elliptical(t, dir, "nhip")
	second := serial()
	if second == first {
		t.Error("the renewed certificate is not used")
	}
	if err := os.WriteFile(server, []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	if serial() != second {
		t.Error("a broken file has changed the certificate")
	}
}

func TestTLSThatCannotBeConfigured(t *testing.T) {
	dir := t.TempDir()
	server, serverKey := elliptical(t, dir, "nhip")
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	weak, weakKey := identity(t, dir, "weak", short, short.Public())
	for name, c := range map[string]association.TLS{
		"no certificate":             {CA: server},
		"no key":                     {Certificate: server, CA: server},
		"no authorities":             {Certificate: server, Key: serverKey},
		"another key":                {Certificate: server, Key: weakKey, CA: server},
		"RSA of 1024 bits":           {Certificate: weak, Key: weakKey, CA: server},
		"a file that is not there":   {Certificate: server + "x", Key: serverKey, CA: server},
		"authorities that are a key": {Certificate: server, Key: serverKey, CA: serverKey},
	} {
		if _, err := c.Server(); err == nil {
			t.Errorf("%s: a server", name)
		}
	}
	if _, err := (association.TLS{}).Client(); err == nil {
		t.Error("a client that verifies nothing")
	}
}
