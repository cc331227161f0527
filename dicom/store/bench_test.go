package store_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"
	"testing"

	"nhip/dicom/association"
	"nhip/dicom/dimse"
	"nhip/dicom/store"
	"nhip/dicom/uid"
)

const ctClass = "1.2.840.10008.5.1.4.1.1.2"

var ctKind = store.Kind{SOPClassUID: ctClass, TransferSyntaxUID: uid.ImplicitVRLittleEndian}

// BenchmarkReceive is our SCU to our SCP over loopback, nothing stored: slices of
// 512 KB over one and four associations, and small objects.
func BenchmarkReceive(b *testing.B) {
	for _, c := range []struct{ size, associations int }{{512 << 10, 1}, {512 << 10, 4}, {10 << 10, 1}} {
		b.Run(fmt.Sprintf("%dKB/%d", c.size>>10, c.associations), func(b *testing.B) {
			address := serve(b, func(_ context.Context, _ store.Request, dataSet io.Reader) dimse.Status {
				io.Copy(io.Discard, dataSet)
				return dimse.Status{}
			})
			benchmarkSend(b, address, c.size, c.associations, association.Window{})
		})
	}
}

// BenchmarkForward is our SCU to storescp, which throws the objects away.
func BenchmarkForward(b *testing.B) {
	need(b, "storescp")
	address := storescpWith(b, b.TempDir(), nil, "--ignore")
	benchmarkSend(b, address, 512<<10, 1, association.Window{})
}

func benchmarkSend(b *testing.B, address string, size, associations int, w association.Window) {
	b.Helper()
	data := make([]byte, size)
	contexts, _ := store.Contexts([]store.Kind{ctKind})
	var open []*association.Association
	for range associations {
		a, err := association.Dial(b.Context(), address, association.Proposal{Calling: "CT1", Called: "NHIP", Contexts: contexts, Window: w})
		if err != nil {
			b.Fatal(err)
		}
		open = append(open, a)
	}
	b.SetBytes(int64(size))
	b.ReportAllocs()
	b.ResetTimer()
	var work sync.WaitGroup
	for i, a := range open {
		work.Go(func() {
			for n := i; n < b.N; n += associations {
				o := store.Object{SOPClassUID: ctKind.SOPClassUID, TransferSyntaxUID: ctKind.TransferSyntaxUID, SOPInstanceUID: fmt.Sprintf("1.2.%d", n), DataSet: bytes.NewReader(data)}
				if status, err := store.Send(b.Context(), a, o); err != nil || status.Code != 0 {
					b.Errorf("%v, %v", status, err)
					return
				}
			}
		})
	}
	work.Wait()
	b.StopTimer()
	for _, a := range open {
		if err := a.Release(b.Context()); err != nil {
			b.Error(err)
		}
	}
}
