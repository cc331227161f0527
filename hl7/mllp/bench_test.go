package mllp

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"nhip/hl7"
	"nhip/hl7/ack"
)

// result is an ORU^R01 of about 1.2 KB.
func result() string {
	return oru("A-17") + strings.Repeat("OBX|1|NM|WBC^White cells^99SYSMEX^6690-2^^LN||6.41|10*3/uL|4.00-10.00|N|||F|||20260114081400+0700\r", 11)
}

// Everything but the store: received, parsed, judged, acknowledged, with so many
// connections that send in turn.
func BenchmarkServe(b *testing.B) {
	for _, connections := range []int{1, 8, 64} {
		b.Run(fmt.Sprint(connections), func(b *testing.B) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			ctx, cancel := context.WithCancel(b.Context())
			ended := make(chan error, 1)
			go func() {
				ended <- Listen(ctx, l, ListenOptions{Log: slog.New(slog.DiscardHandler), Handle: func(ctx context.Context, c net.Conn) {
					Serve(ctx, c, ServeOptions{Handler: accept, Log: slog.New(slog.DiscardHandler)})
				}})
			}()
			message := AppendFrame(nil, []byte(result()))
			b.SetBytes(int64(len(message)))
			b.ReportAllocs()
			var left atomic.Int64
			left.Store(int64(b.N))
			var senders sync.WaitGroup
			for range connections {
				c, err := net.Dial("tcp", l.Addr().String())
				if err != nil {
					b.Fatal(err)
				}
				defer c.Close()
				senders.Go(func() {
					answer := make([]byte, 4096)
					for left.Add(-1) >= 0 {
						if _, err := c.Write(message); err != nil {
							b.Error(err)
						}
						if n, err := c.Read(answer); err != nil || answer[n-1] != '\r' {
							b.Error(err)
						}
					}
				})
			}
			senders.Wait()
			cancel()
			<-ended
		})
	}
}

func accept(_ context.Context, frame []byte) ([]byte, error) {
	m, err := hl7.Parse(frame)
	if err != nil {
		return nil, err
	}
	a, _ := ack.Options{}.Answer(m, ack.Verdict{Code: hl7.ApplicationAccept}, "N1", time.Time{}, nil)
	return a.Message, nil
}

// A frame that comes in one piece is copied once.
func BenchmarkReceive(b *testing.B) {
	stream := AppendFrame(nil, []byte(result()))
	r := NewReceiver(1 << 20)
	b.SetBytes(int64(len(stream)))
	b.ReportAllocs()
	for b.Loop() {
		if len(r.Receive(stream)) != 1 {
			b.Fatal("no frame")
		}
	}
}

// A frame of 5 MB comes in pieces of 16 KiB.
func BenchmarkReceiveLarge(b *testing.B) {
	stream := AppendFrame(nil, []byte(oru("1")+strings.Repeat("A", 5<<20)))
	b.SetBytes(int64(len(stream)))
	b.ReportAllocs()
	for b.Loop() {
		r := NewReceiver(64 << 20)
		frames := 0
		for rest := stream; len(rest) > 0; {
			n := min(len(rest), 16<<10)
			frames += len(r.Receive(rest[:n]))
			rest = rest[n:]
		}
		if frames != 1 {
			b.Fatal("no frame")
		}
	}
}
