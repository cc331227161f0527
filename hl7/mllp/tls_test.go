package mllp

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// An authority signs certificates for a test, into files.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	next int64
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir(), next: 1}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a.cert, a.key = template, newKey(t)
	a.cert = a.sign(t, "ca", template)
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// issue makes a certificate that is good for a while from now.
func (a *authority) issue(t *testing.T, name string, until time.Duration) Certificates {
	t.Helper()
	a.next++
	a.sign(t, name, &x509.Certificate{
		SerialNumber: big.NewInt(a.next), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(until),
		DNSNames: []string{name + ".example"}, IPAddresses: []net.IP{net.ParseIP("127.0.0.1")},
		KeyUsage: x509.KeyUsageDigitalSignature,
	})
	return Certificates{Certificate: a.file(name + ".pem"), Key: a.file(name + ".key"), CAs: a.file("ca.pem")}
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

// sign writes a certificate and its key to files of that name.
func (a *authority) sign(t *testing.T, file string, template *x509.Certificate) *x509.Certificate {
	t.Helper()
	key := a.key
	if file != "ca" {
		key = newKey(t)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{file + ".pem": {Type: "CERTIFICATE", Bytes: der}, file + ".key": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(a.file(name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// listenTLS serves echo with the certificates; names gets those of each peer.
func listenTLS(t *testing.T, c Certificates) (address string, names chan []string, refused chan error) {
	t.Helper()
	config, err := c.Server()
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	names, refused = make(chan []string, 10), make(chan error, 10)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- Listen(ctx, l, ListenOptions{
			TLS:     config,
			Refused: func(_ netip.Addr, err error) { refused <- err },
			Handle: func(ctx context.Context, c net.Conn) {
				names <- PeerNames(c)
				Serve(ctx, c, ServeOptions{Handler: echo})
			},
		})
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return l.Addr().String(), names, refused
}

func sendTLS(t *testing.T, address string, c Certificates) error {
	t.Helper()
	config, err := c.Client("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	client := NewClient(ClientOptions{Address: address, TLS: config})
	defer client.Close()
	answer, err := client.Send(t.Context(), []byte(message))
	if err == nil && string(answer) != "ok A-17" {
		t.Errorf("%q", answer)
	}
	return err
}

func TestLinkWithCertificatesOnBothSides(t *testing.T) {
	ours, theirs := newAuthority(t, "Hospital"), newAuthority(t, "Somebody")
	address, names, refused := listenTLS(t, ours.issue(t, "nhip", time.Hour))
	lis := ours.issue(t, "lis", time.Hour)
	if err := sendTLS(t, address, lis); err != nil {
		t.Fatal(err)
	}
	if got := <-names; !slices.Equal(got, []string{"127.0.0.1", "lis", "lis.example"}) {
		t.Errorf("the peer is %q", got)
	}
	stranger := theirs.issue(t, "lis", time.Hour)
	stranger.CAs = ours.file("ca.pem")
	none := Certificates{CAs: ours.file("ca.pem")}
	expired := ours.issue(t, "old", -time.Hour)
	for name, c := range map[string]Certificates{"another authority": stranger, "no certificate": none, "expired": expired} {
		err := sendTLS(t, address, c)
		if err == nil {
			t.Errorf("%s: served", name)
			continue
		}
		why := <-refused
		if TLSReason(why, "en") == "" && name != "no certificate" {
			t.Errorf("%s: no words for %v", name, why)
		}
	}
	for name, c := range map[string]struct {
		with Certificates
		want string
	}{
		"server of another authority": {Certificates{Certificate: lis.Certificate, Key: lis.Key, CAs: theirs.file("ca.pem")}, "not signed by a CA"},
		"server of another name":      {Certificates{Certificate: lis.Certificate, Key: lis.Key, CAs: lis.CAs, Name: "his.example"}, "another name"},
	} {
		err := sendTLS(t, address, c.with)
		if words := TLSReason(err, "en"); !strings.Contains(words, c.want) || TLSReason(err, "vi") == "" {
			t.Errorf("%s: %q for %v", name, words, err)
		}
	}
	if len(names) > 0 {
		t.Error("one of them was served")
	}
}

func TestPlainAndOldPeersOfALinkWithTLS(t *testing.T) {
	a := newAuthority(t, "Hospital")
	server := a.issue(t, "nhip", time.Hour)
	server.CAs = "" // no certificates of clients
	address, names, refused := listenTLS(t, server)
	if err := sendTLS(t, address, Certificates{CAs: a.file("ca.pem"), Name: "nhip.example"}); err != nil {
		t.Fatal(err)
	}
	if got := <-names; len(got) != 0 {
		t.Errorf("the peer is %q", got)
	}
	plain := NewClient(ClientOptions{Address: address})
	defer plain.Close()
	if _, err := plain.Send(t.Context(), []byte(message)); err == nil {
		t.Error("served without TLS")
	}
	if words := TLSReason(<-refused, "en"); words != "the peer does not speak TLS" {
		t.Error(words)
	}
	old := NewClient(ClientOptions{Address: address, TLS: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}})
	defer old.Close()
	if _, err := old.Send(t.Context(), []byte(message)); TLSReason(err, "en") == "" {
		t.Errorf("TLS 1.1: %v", err)
	}
	// A server without TLS.
	r := listen(t)
	if err := sendTLS(t, r.address, Certificates{CAs: a.file("ca.pem")}); err == nil {
		t.Error("a client of TLS takes a plain server")
	}
}

func TestRenewedCertificateIsUsedWithoutARestart(t *testing.T) {
	a := newAuthority(t, "Hospital")
	c := a.issue(t, "nhip", time.Hour)
	config, err := c.Server()
	if err != nil {
		t.Fatal(err)
	}
	serial := func() int64 {
		t.Helper()
		pair, err := config.GetCertificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		return pair.Leaf.SerialNumber.Int64()
	}
	first := serial()
	a.issue(t, "nhip", time.Hour)
	later := time.Now().Add(time.Minute)
	for _, name := range []string{c.Certificate, c.Key} {
		if err := os.Chtimes(name, later, later); err != nil {
			t.Fatal(err)
		}
	}
	second := serial()
	if second == first {
		t.Error("the first certificate is still used")
	}
	if err := os.WriteFile(c.Certificate, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if serial() != second {
		t.Error("a file that cannot be read replaces the certificate")
	}
}

func TestFilesThatAreWrongAreNamed(t *testing.T) {
	a := newAuthority(t, "Hospital")
	good := a.issue(t, "nhip", time.Hour)
	for name, c := range map[string]Certificates{
		"absent.pem": {Certificate: a.file("absent.pem"), Key: good.Key},
		"absent.key": {Certificate: good.Certificate, Key: a.file("absent.key")},
		"absent":     {Certificate: good.Certificate, Key: good.Key, CAs: a.file("absent")},
		"nhip.key":   {Certificate: good.Certificate, Key: good.Key, CAs: good.Key},
	} {
		for side, make := range map[string]func() (*tls.Config, error){"server": c.Server, "client": func() (*tls.Config, error) { return c.Client("x") }} {
			if _, err := make(); err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("%s: %s: %v", side, name, err)
			}
		}
	}
}

// OpenSSL, by way of socat, as the client of a link with certificates.
func TestOpenSSLSends(t *testing.T) {
	program := peerProgram(t, "socat", "Debian package socat")
	a := newAuthority(t, "Hospital")
	address, names, _ := listenTLS(t, a.issue(t, "nhip", time.Hour))
	lis := a.issue(t, "lis", time.Hour)
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	command := exec.CommandContext(ctx, program, "-t30", "-", "OPENSSL:"+address+",cert="+lis.Certificate+",key="+lis.Key+",cafile="+lis.CAs+",commonname=nhip.example")
	command.Stdin = strings.NewReader(frame(message) + frame(message))
	out, err := command.CombinedOutput()
	if err != nil || string(out) != frame("ok A-17")+frame("ok A-17") {
		t.Fatalf("%q, %v", out, err)
	}
	if got := <-names; !slices.Contains(got, "lis") {
		t.Errorf("the peer is %q", got)
	}
}
