package store_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"nhip/dicom"
	"nhip/dicom/association"
	"nhip/dicom/store"
)

// certificate writes a self-signed certificate with its key, as the hand-made ones
// of a hospital are.
func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ct-1"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for name, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(k)}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// profiles are DCMTK's options for the profiles of PS3.15 that are not retired.
var profiles = []string{"+py", "+px", "+pz"}

func configs(t *testing.T, profile association.TLS) (server, client *tls.Config) {
	t.Helper()
	server, err := profile.Server()
	if err != nil {
		t.Fatal(err)
	}
	if client, err = profile.Client(); err != nil {
		t.Fatal(err)
	}
	return server, client
}

// DCMTK's SCUs over TLS to our SCP, with client certificates; in the clear they are
// refused, and so is the retired profile.
func TestDCMTKToUsOverTLS(t *testing.T) {
	need(t, "echoscu", "storescu", pydicomTree)
	cert, key := certificate(t)
	server, _ := configs(t, association.TLS{Certificate: cert, Key: key, CA: cert})
	var a archive
	host, port, _ := net.SplitHostPort(serveTLS(t, a.handler, server))
	secured := []string{"+tls", key, cert, "+cf", cert, "-aec", "NHIP"}
	for _, p := range profiles {
		if out, err := dcmtk(t.Context(), "echoscu", append(secured, p, host, port)...).CombinedOutput(); err != nil {
			t.Errorf("echoscu %s: %v: %s", p, err, out)
		}
		if out, err := dcmtk(t.Context(), "storescu", append(secured, p, host, port, pydicomTree+"/test_files/CT_small.dcm")...).CombinedOutput(); err != nil {
			t.Errorf("storescu %s: %v: %s", p, err, out)
		}
	}
	if len(a.objects) != len(profiles) {
		t.Errorf("%d objects arrived", len(a.objects))
	}
	if err := dcmtk(t.Context(), "echoscu", append(secured, "+pa", host, port)...).Run(); err == nil {
		t.Error("the retired AES profile was taken")
	}
	if err := dcmtk(t.Context(), "echoscu", "-aec", "NHIP", "-ta", "20", host, port).Run(); err == nil {
		t.Error("an association in the clear on the TLS port")
	}
	if err := dcmtk(t.Context(), "echoscu", "+tla", "-ic", "-aec", "NHIP", host, port).Run(); err == nil {
		t.Error("an association without a certificate")
	}
}

// Our SCU over TLS to storescp, which verifies our certificate as we do its.
func TestUsToStorescpOverTLS(t *testing.T) {
	need(t, "storescp", pydicomTree)
	cert, key := certificate(t)
	_, client := configs(t, association.TLS{Certificate: cert, Key: key, CA: cert})
	b, err := os.ReadFile(pydicomTree + "/test_files/CT_small.dcm")
	if err != nil {
		t.Fatal(err)
	}
	meta, err := dicom.ReadPart10(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	contexts, _ := store.Contexts([]store.Kind{{SOPClassUID: meta.SOPClassUID, TransferSyntaxUID: meta.TransferSyntaxUID}})
	for _, p := range profiles {
		dir := t.TempDir()
		address := storescpWith(t, dir, client, "+tls", key, cert, "+cf", cert, p)
		a, err := association.Dial(t.Context(), address, association.Proposal{Calling: "NHIP", Called: "STORESCP", TLS: client, Contexts: contexts})
		if err != nil {
			t.Fatal(err)
		}
		status, err := store.Send(t.Context(), a, store.Object{
			SOPClassUID: meta.SOPClassUID, SOPInstanceUID: meta.SOPInstanceUID, TransferSyntaxUID: meta.TransferSyntaxUID, DataSet: bytes.NewReader(b[meta.DataSet:]),
		})
		if err != nil || status.Code != 0 {
			t.Errorf("%s: %v, %v", p, status, err)
		}
		if err := a.Release(t.Context()); err != nil {
			t.Error(err)
		}
		if got := files(t, dir); len(got) != 1 || got[0].Instance != meta.SOPInstanceUID {
			t.Errorf("%s: %v", p, got)
		}
	}
}
