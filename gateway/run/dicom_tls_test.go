package run

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"nhip/dicom/association"
	"nhip/dicom/dimse"
	"nhip/dicom/echo"
	"nhip/dicom/store"
	"nhip/dicom/ul"
)

// certificate writes a self-signed certificate and its key, in one file each.
func certificate(t *testing.T, dir, name string) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		DNSNames: []string{name + ".hospital.example"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key")
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// vouched is a file with the certificates.
func vouched(t *testing.T, dir string, certificates ...string) string {
	t.Helper()
	var all []byte
	for _, c := range certificates {
		b, err := os.ReadFile(c)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b...)
	}
	name := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(name, all, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// A modality with a certificate is known only by it, and its image goes to a PACS
// that speaks TLS.
func TestDICOMOverTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ours, ourKey := certificate(t, dir, "nhip")
	ct, ctKey := certificate(t, dir, "ct-1")
	mr, mrKey := certificate(t, dir, "mr-1")
	pacs, pacsKey := certificate(t, dir, "pacs")
	ca := vouched(t, dir, ours, ct, mr, pacs)

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	secured, err := association.TLS{Certificate: pacs, Key: pacsKey, CA: ca}.Server()
	if err != nil {
		t.Fatal(err)
	}
	arrived := make(chan string, 10)
	server := &association.Server{
		Accept: func(r association.Request) association.Answer {
			arrived <- fmt.Sprint(association.CertificateNames(r.TLS))
			return association.Answer{AbstractSyntax: store.Accepts(), TransferSyntax: func(string, string) bool { return true }}
		},
		Handlers: map[dimse.CommandField]association.Handler{dimse.CStoreRQ: store.Handle(func(_ context.Context, r store.Request, dataSet io.Reader) dimse.Status {
			n, err := io.Copy(io.Discard, dataSet)
			arrived <- fmt.Sprint(r.SOPInstanceUID, " ", n, " ", err)
			return dimse.Status{}
		})},
	}
	serving, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); server.Serve(serving, association.Secure(l, secured)) }()
	t.Cleanup(func() { stop(); <-done })

	s := newSite(t, fmt.Sprintf("[dicom]\nlisten = \"127.0.0.1:0\"\ntls_listen = \"127.0.0.1:0\"\ntls_certificate = %q\ntls_key = %q\ntls_ca = %q\n", ours, ourKey, ca)+
		"[[modality]]\nname = \"ct-1\"\nae_title = \"CT1\"\naddress = \"127.0.0.1\"\ncertificate = \"ct-1\"\nto = [\"pacs\"]\n"+
		fmt.Sprintf("[[destination]]\nname = \"pacs\"\nkind = \"dicom\"\naddress = %q\ncalled_ae_title = \"PACS\"\ntls = \"required\"\ntls_name = \"pacs.hospital.example\"\n", l.Addr()))
	var secure, clear string
	eventually(t, "both listeners are open", func() bool {
		open, plain := s.g.states.addresses("dicom tls"), s.g.states.addresses("dicom")
		if len(open) == 1 && len(plain) == 1 {
			secure, clear = open[0], plain[0]
		}
		return secure != ""
	})
	dial := func(address, cert, key string) (*association.Association, error) {
		p := association.Proposal{Calling: "CT1", Called: "NHIP", Contexts: []ul.ProposedContext{echo.Context(1), {ID: 3, AbstractSyntax: ctImage, TransferSyntaxes: []string{implicitLE}}}}
		if cert != "" {
			config, err := association.TLS{Certificate: cert, Key: key, CA: ca}.Client()
			if err != nil {
				t.Fatal(err)
			}
			p.TLS = config
		}
		return association.Dial(t.Context(), address, p)
	}
	var rejected *association.RejectedError
	for _, c := range [][3]string{{clear, "", ""}, {secure, mr, mrKey}} {
		if _, err := dial(c[0], c[1], c[2]); !errors.As(err, &rejected) || rejected.AssociateRJ != ul.RejectCallingAETitle {
			t.Errorf("%v: %v", c, err)
		}
	}
	if _, err := dial(secure, "", ""); err == nil || errors.As(err, &rejected) && rejected.Transient() {
		t.Errorf("in the clear on the TLS port: %v", err)
	}
	a, err := dial(secure, ct, ctKey)
	if err != nil {
		t.Fatal(err)
	}
	data := image("1.2.840.77.5", 100_000)
	status, err := store.Send(t.Context(), a, store.Object{SOPClassUID: ctImage, SOPInstanceUID: "1.2.840.77.5", TransferSyntaxUID: implicitLE, DataSet: bytes.NewReader(data)})
	if err != nil || status.Code != 0 {
		t.Fatalf("%v, %v", status, err)
	}
	if err := a.Release(t.Context()); err != nil {
		t.Error(err)
	}
	for _, want := range []string{"[nhip.hospital.example nhip]", fmt.Sprintf("1.2.840.77.5 %d <nil>", len(data))} {
		select {
		case got := <-arrived:
			if got != want {
				t.Errorf("%s arrived at the PACS, not %s", got, want)
			}
		case <-time.After(time.Minute):
			t.Fatalf("nothing arrived where %s was awaited", want)
		}
	}
}
