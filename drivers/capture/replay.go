package capture

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"nhip/drivers/transcript"
)

// A Line is a connection that a recording is played on.
type Line interface {
	io.ReadWriter
	SetReadDeadline(time.Time) error
}

// Replay options.
type Replay struct {
	As     Side          // which end to play; Device where it is Unknown
	Speed  float64       // 1: as recorded, 10: ten times as fast, 0: without pauses
	Answer time.Duration // how long the other end is waited for; 15 s where it is 0 (E1381 section 6.5.2.4)
	Said   func(from Side, b []byte)
}

// maxPause bounds a pause of the recording: a night between two sessions is not waited for.
const maxPause = 30 * time.Second

// A Difference is where the other end said something else than in the recording.
type Difference struct {
	Chunk     int // of the conversation, from 0
	Want, Got []byte
}

func (d Difference) String() string {
	if len(d.Got) == 0 {
		return fmt.Sprintf("chunk %d: no answer, in the recording it is %s", d.Chunk+1, transcript.Text(d.Want))
	}
	return fmt.Sprintf("chunk %d: the answer is %s, in the recording %s", d.Chunk+1, transcript.Text(d.Got), transcript.Text(d.Want))
}

// Play plays one end of a conversation on a line: it says what this end said, after
// the pauses that the recording has, and waits for the other end where the recording
// has it speak. What is answered otherwise is collected, not obeyed. The error is of
// the line; the end of the line by the other end wraps io.EOF.
func (r Replay) Play(ctx context.Context, line Line, c Conversation) ([]Difference, error) {
	if r.As == Unknown {
		r.As = Device
	}
	if r.Answer <= 0 {
		r.Answer = 15 * time.Second
	}
	var differences []Difference
	var last time.Time
	for i, k := range c.Chunks {
		if k.From == Unknown {
			k.From = Device
		}
		if k.From == r.As {
			if err := r.pause(ctx, last, k.At); err != nil {
				return differences, err
			}
			if _, err := line.Write(k.Bytes); err != nil {
				return differences, fmt.Errorf("capture: replay: chunk %d: %w", i+1, err)
			}
			r.said(k.From, k.Bytes)
		} else {
			got, err := r.hear(ctx, line, len(k.Bytes))
			r.said(k.From, got)
			if !bytes.Equal(got, k.Bytes) {
				differences = append(differences, Difference{i, k.Bytes, got})
			}
			if err != nil {
				return differences, fmt.Errorf("capture: replay: chunk %d: %w", i+1, err)
			}
		}
		last = k.At
	}
	return differences, nil
}

func (r Replay) said(from Side, b []byte) {
	if r.Said != nil && len(b) > 0 {
		r.Said(from, b)
	}
}

// pause waits as long as the recording did, by Speed.
func (r Replay) pause(ctx context.Context, last, at time.Time) error {
	if r.Speed <= 0 || last.IsZero() || !at.After(last) {
		return ctx.Err()
	}
	t := time.NewTimer(min(time.Duration(float64(at.Sub(last))/r.Speed), maxPause))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// hear reads as many bytes as the recording has. Silence is no error.
func (r Replay) hear(ctx context.Context, line Line, n int) ([]byte, error) {
	if err := line.SetReadDeadline(time.Now().Add(r.Answer)); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { line.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	b := make([]byte, n)
	got, err := io.ReadFull(line, b)
	if ctx.Err() != nil {
		return b[:got], ctx.Err()
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = nil
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.EOF
	}
	return b[:got], err
}

// Tap hands bytes both ways between a device and a host, as they come, and writes
// what is said to w as a transcript with times, flushed as it comes. It ends when one
// of the two closes, or ctx ends. now is the clock.
func Tap(ctx context.Context, device, host io.ReadWriteCloser, w io.Writer, now func() time.Time) error {
	type heard struct {
		from Side
		b    []byte
		at   time.Time
		err  error
	}
	said := make(chan heard)
	done := make(chan struct{})
	defer close(done)
	read := func(from Side, c io.Reader) {
		for {
			b := make([]byte, 32<<10)
			n, err := c.Read(b)
			if n == 0 && err == nil {
				continue
			}
			select {
			case said <- heard{from, b[:n], now(), err}:
			case <-done:
				return
			}
			if err != nil {
				return
			}
		}
	}
	go read(Device, device)
	go read(Host, host)
	stop := context.AfterFunc(ctx, func() { device.Close(); host.Close() })
	defer stop()
	defer device.Close()
	defer host.Close()
	for {
		h := <-said
		if len(h.b) > 0 {
			if _, err := w.Write(Transcript(Conversation{Chunks: []Chunk{{At: h.at, From: h.from, Bytes: h.b}}})); err != nil {
				return fmt.Errorf("capture: record: %w", err)
			}
			to := host
			if h.from == Host {
				to = device
			}
			if _, err := to.Write(h.b); err != nil {
				return ended(ctx, err)
			}
		}
		if h.err != nil {
			return ended(ctx, h.err)
		}
	}
}

func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil || errors.Is(err, io.EOF) {
		return nil
	}
	return fmt.Errorf("capture: record: %w", err)
}
