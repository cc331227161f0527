package modality

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"nhip/dicom"
	"nhip/dicom/association"
	"nhip/dicom/dimse"
	"nhip/dicom/store"
	"nhip/dicom/uid"
	"nhip/gateway/delivery"
	"nhip/gateway/intake"
	"nhip/gateway/reason"
	"nhip/storage"
)

// receiver is a PACS that notes the data sets that it got whole.
func receiver(t *testing.T) (address string, whole chan []byte) {
	t.Helper()
	whole = make(chan []byte, 10)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &association.Server{
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
		Accept: func(association.Request) association.Answer {
			return association.Answer{AbstractSyntax: store.Accepts(), TransferSyntax: func(_, ts string) bool { return store.AcceptsTransferSyntax()(ts) }}
		},
		Handlers: map[dimse.CommandField]association.Handler{dimse.CStoreRQ: store.Handle(
			func(_ context.Context, _ store.Request, dataSet io.Reader) dimse.Status {
				if b, err := io.ReadAll(dataSet); err == nil {
					whole <- b
				}
				return dimse.Status{}
			})},
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); s.Serve(ctx, l) }()
	t.Cleanup(func() { cancel(); <-done })
	return l.Addr().String(), whole
}

// onDisk is an object on disk with its journal entry.
func onDisk(t *testing.T, length int) (e intake.Entry, path string, dataSet []byte) {
	t.Helper()
	const class, instance = "1.2.840.10008.5.1.4.1.1.7", "2.25.1"
	var file bytes.Buffer
	if err := dicom.WritePart10Header(&file, class, instance, uid.ExplicitVRLittleEndian); err != nil {
		t.Fatal(err)
	}
	dataSet = bytes.Repeat([]byte("\x09\x00\x10\x00LO\x02\x00A "), length/10)
	file.Write(dataSet)
	path = filepath.Join(t.TempDir(), "object")
	if err := os.WriteFile(path, file.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(file.Bytes())
	return intake.Entry{Kind: intake.KindDICOM, Fate: intake.Received, SHA256: hex.EncodeToString(sum[:]), Length: int64(file.Len()), Attrs: map[string]string{
		intake.AttrSOPClass: class, intake.AttrSOPInstance: instance, intake.AttrTransferSyntax: uid.ExplicitVRLittleEndian,
	}}, path, dataSet
}

func forwarder(t *testing.T, address string, e intake.Entry, path string) *Forwarder {
	f := NewForwarder(Destination{Address: address, Called: "PACS", Calling: "NHIP", Connect: 10 * time.Second, Answer: 10 * time.Second},
		func(storage.Ref) (intake.Entry, File, error) {
			file, err := os.Open(path)
			return e, file, err
		})
	t.Cleanup(f.Close)
	return f
}

var lengths = []int{1000, mostAtOnce + 100000}

func TestAnObjectIsForwardedAsItIsStored(t *testing.T) {
	for _, length := range lengths {
		t.Run(fmt.Sprint(length), func(t *testing.T) {
			address, whole := receiver(t)
			e, path, dataSet := onDisk(t, length)
			f := forwarder(t, address, e, path)
			for range 2 {
				if got := f.Send(t.Context(), delivery.Item{}); got.Kind != delivery.Accepted {
					t.Fatal(got)
				}
				if got := <-whole; !bytes.Equal(got, dataSet) {
					t.Errorf("%d bytes arrived, not the %d that are stored", len(got), len(dataSet))
				}
			}
		})
	}
}

// Whatever byte of the file is another, the destination gets no whole object, and a
// person is told.
func TestAnObjectThatIsDamagedIsNotForwarded(t *testing.T) {
	for _, length := range lengths {
		for _, from := range []string{"the preamble", "the end"} {
			t.Run(fmt.Sprint(length, " ", from), func(t *testing.T) {
				address, whole := receiver(t)
				e, path, _ := onDisk(t, length)
				b, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				at := 0
				if from == "the end" {
					at = len(b) - 1
				}
				b[at] ^= 1
				if err := os.WriteFile(path, b, 0o600); err != nil {
					t.Fatal(err)
				}
				f := forwarder(t, address, e, path)
				if got := f.Send(t.Context(), delivery.Item{}); got.Kind != delivery.Refused || got.Why.Code != reason.Damaged {
					t.Errorf("%+v", got)
				}
				// The next one goes.
				b[at] ^= 1
				if err := os.WriteFile(path, b, 0o600); err != nil {
					t.Fatal(err)
				}
				if got := f.Send(t.Context(), delivery.Item{}); got.Kind != delivery.Accepted {
					t.Errorf("%+v", got)
				}
				<-whole
				if len(whole) > 0 {
					t.Error("the damaged object arrived whole")
				}
			})
		}
	}
}
