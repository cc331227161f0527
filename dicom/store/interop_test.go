package store_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"nhip/dicom"
	"nhip/dicom/association"
	"nhip/dicom/dimse"
	"nhip/dicom/echo"
	"nhip/dicom/store"
	"nhip/dicom/uid"
	"nhip/dicom/ul"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const pydicomTree = "/usr/lib/python3/dist-packages/pydicom/data"

// need skips where a program or a folder is absent; on CI it has to be there.
func need(t testing.TB, programs ...string) {
	t.Helper()
	for _, p := range programs {
		_, err := exec.LookPath(p)
		if strings.HasPrefix(p, "/") {
			_, err = os.Stat(p)
		}
		switch {
		case err == nil:
		case os.Getenv("CI") == "true":
			t.Fatalf("%s is not installed", p)
		default:
			t.Skipf("%s is not installed", p)
		}
	}
}

// dcmtk is a DCMTK program without Nagle's algorithm.
func dcmtk(ctx context.Context, name string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, name, args...)
	c.Env = append(os.Environ(), "TCP_NODELAY=1")
	return c
}

// An object is what is compared: the data set as bytes.
type object struct {
	Class, Instance, Syntax string
	Data                    string // SHA-256
}

// An archive keeps what was stored.
type archive struct {
	mu       sync.Mutex
	objects  []object
	problems int
}

func (a *archive) handler(_ context.Context, r store.Request, dataSet io.Reader) dimse.Status {
	h := sha256.New()
	header := dicom.NewHeaderReader(r.TransferSyntaxUID)
	if _, err := io.Copy(io.MultiWriter(h, header), dataSet); err != nil {
		return dimse.Status{Code: dimse.OutOfResources}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if header.Header().Problem != "" {
		a.problems++
	}
	a.objects = append(a.objects, object{r.SOPClassUID, r.SOPInstanceUID, r.TransferSyntaxUID, fmt.Sprintf("%x", h.Sum(nil))})
	return dimse.Status{}
}

// serve runs our SCP on a free port until the test ends.
func serve(t testing.TB, h store.Handler) string { return serveTLS(t, h, nil) }

func serveTLS(t testing.TB, h store.Handler, config *tls.Config) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if config != nil {
		l = association.Secure(l, config)
	}
	stores, syntaxes := store.Accepts(), store.AcceptsTransferSyntax()
	s := &association.Server{
		Accept: func(r association.Request) association.Answer {
			if r.Called != "NHIP" {
				return association.Answer{Reject: &ul.RejectCalledAETitle}
			}
			return association.Answer{
				AbstractSyntax: func(as string) bool { return echo.Accepts(as) || stores(as) },
				TransferSyntax: func(_, ts string) bool { return syntaxes(ts) },
			}
		},
		Handlers: map[dimse.CommandField]association.Handler{
			dimse.CEchoRQ:  echo.Handle,
			dimse.CStoreRQ: store.Handle(h),
		},
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Serve(ctx, l)
	}()
	t.Cleanup(func() { cancel(); <-done })
	return address
}

// storescp runs DCMTK's SCP, which keeps the bytes, and returns its address.
func storescp(t testing.TB, dir string) string { return storescpWith(t, dir, nil) }

// storescpWith runs it with further arguments; config is for talking to it.
func storescpWith(t testing.TB, dir string, config *tls.Config, args ...string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_, port, _ := net.SplitHostPort(address)
	l.Close()
	ctx, cancel := context.WithCancel(context.Background())
	c := dcmtk(ctx, "storescp", append(args, "+B", "+xa", "+uf", "-od", dir, port)...)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); c.Wait() })
	for end := time.Now().Add(20 * time.Second); ; {
		a, err := association.Dial(t.Context(), address, association.Proposal{Calling: "NHIP", Called: "STORESCP", TLS: config, Contexts: []ul.ProposedContext{echo.Context(1)}})
		if err == nil {
			if err := errors.Join(echo.Send(t.Context(), a), a.Release(t.Context())); err != nil {
				t.Fatal(err)
			}
			return address
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

// files reads the Part 10 files under dir.
func files(t testing.TB, dir string) (objects []object) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		m, err := dicom.ReadPart10(bytes.NewReader(b))
		if err != nil || m.SOPInstanceUID == "" {
			return nil
		}
		objects = append(objects, object{m.SOPClassUID, m.SOPInstanceUID, m.TransferSyntaxUID, fmt.Sprintf("%x", sha256.Sum256(b[m.DataSet:]))})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

func sorted(objects []object) []object {
	slices.SortFunc(objects, func(a, b object) int { return strings.Compare(a.Instance+a.Data, b.Instance+b.Data) })
	return objects
}

func TestEchoscu(t *testing.T) {
	need(t, "echoscu")
	host, port, _ := net.SplitHostPort(serve(t, nil))
	if out, err := dcmtk(t.Context(), "echoscu", "-aec", "NHIP", host, port).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	out, err := dcmtk(t.Context(), "echoscu", "-aec", "STRANGER", host, port).CombinedOutput()
	if err == nil || !bytes.Contains(out, []byte("Called AE Title Not Recognized")) {
		t.Errorf("%v: %s", err, out)
	}
}

// What dcmsend sends of the tree arrives byte for byte as it does at storescp.
func TestDcmsendOfThePydicomTree(t *testing.T) {
	need(t, "dcmsend", "storescp", pydicomTree)
	dir := t.TempDir()
	theirs := storescp(t, dir)
	var a archive
	ours := serve(t, a.handler)
	for _, address := range []string{theirs, ours} {
		host, port, _ := net.SplitHostPort(address)
		out, err := dcmtk(t.Context(), "dcmsend", "-aec", "NHIP", "+sd", "+r", "-nh", "-nuc", host, port, pydicomTree).CombinedOutput()
		if err != nil {
			t.Logf("dcmsend: %v: %s", err, out)
		}
	}
	// DCMTK 3.6.7 does not know Color Palette Storage.
	got := slices.DeleteFunc(slices.Clone(a.objects), func(o object) bool { return o.Class == "1.2.840.10008.5.1.4.39.1" })
	// Two objects have their UIDs in UN, from which dcmsend makes the SOP class
	// "31" of its C-STORE-RQ: that is not the presentation context's, and refused.
	want := slices.DeleteFunc(files(t, dir), func(o object) bool { return o.Class == "31" })
	if diff := cmp.Diff(sorted(want), sorted(got)); diff != "" {
		t.Error(diff)
	}
	t.Logf("%d objects, %d with a problem in the data set", len(a.objects), a.problems)
	if len(got) < 130 {
		t.Errorf("%d objects arrived", len(got))
	}
}

// What we send of the tree arrives at storescp byte for byte.
func TestSendThePydicomTree(t *testing.T) {
	need(t, "storescp", pydicomTree)
	dir := t.TempDir()
	address := storescp(t, dir)
	type file struct {
		meta dicom.Meta
		path string
	}
	var all []file
	var kinds []store.Kind
	filepath.WalkDir(pydicomTree, func(path string, _ fs.DirEntry, _ error) error {
		f, err := os.Open(path)
		if err != nil {
			return nil
		}
		defer f.Close()
		m, err := dicom.ReadPart10(f)
		if err == nil && m.SOPInstanceUID != "" {
			all = append(all, file{m, path})
			kinds = append(kinds, store.Kind{SOPClassUID: m.SOPClassUID, TransferSyntaxUID: m.TransferSyntaxUID})
		}
		return nil
	})
	contexts, rest := store.Contexts(kinds)
	if len(rest) > 0 {
		t.Fatal("more kinds than an association can have")
	}
	dial := func() *association.Association {
		a, err := association.Dial(t.Context(), address, association.Proposal{Calling: "NHIP", Called: "STORESCP", Contexts: contexts})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	a := dial()
	var want []object
	for _, f := range all {
		b, err := os.ReadFile(f.path)
		if err != nil {
			t.Fatal(err)
		}
		b = b[f.meta.DataSet:]
		status, err := store.Send(t.Context(), a, store.Object{
			SOPClassUID: f.meta.SOPClassUID, SOPInstanceUID: f.meta.SOPInstanceUID, TransferSyntaxUID: f.meta.TransferSyntaxUID,
			DataSet: bytes.NewReader(b),
		})
		odd := len(b)%2 == 1
		if odd && f.meta.TransferSyntaxUID == uid.DeflatedExplicitVRLittleEndian {
			b, odd = append(b, 0), false
		}
		var refused *association.NotAcceptedError
		var aborted *association.AbortedError
		switch {
		case errors.As(err, &refused):
		case errors.As(err, &aborted) && odd:
			t.Logf("%s: odd length: %v", filepath.Base(f.path), err)
			a = dial()
		case err != nil:
			t.Fatalf("%s: %v", f.path, err)
		case status.Class() == dimse.ClassSuccess:
			want = append(want, object{f.meta.SOPClassUID, f.meta.SOPInstanceUID, f.meta.TransferSyntaxUID, fmt.Sprintf("%x", sha256.Sum256(b))})
		default:
			t.Logf("%s: %v", filepath.Base(f.path), status)
		}
	}
	if err := a.Release(t.Context()); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(sorted(want), sorted(files(t, dir))); diff != "" {
		t.Error(diff)
	}
	if len(want) < 140 {
		t.Errorf("%d objects were taken", len(want))
	}
}

// A context for each kind, the 129th and later ones for the next association.
func TestContexts(t *testing.T) {
	var kinds []store.Kind
	for i := range 200 {
		kinds = append(kinds, store.Kind{SOPClassUID: fmt.Sprintf("1.2.%d", i%150), TransferSyntaxUID: "1.3"})
	}
	contexts, rest := store.Contexts(kinds)
	if len(contexts) != 128 || len(rest) != 22 || contexts[127].ID != 255 || rest[0].SOPClassUID != "1.2.128" {
		t.Errorf("%d contexts, the last with ID %d; %d kinds left", len(contexts), contexts[len(contexts)-1].ID, len(rest))
	}
}
