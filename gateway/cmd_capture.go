package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"nhip/drivers/capture"
	"nhip/drivers/port"
	"nhip/gateway/reason"
)

type captureCommand struct {
	Record captureRecord `cmd:"" help:"Stand between an analyser and its host, hand on what both say, and write it down with times."`
	Replay captureReplay `cmd:"" help:"Play a recording as the analyser, or as the host, at any speed. Exit status 0: the answers were those of the recording, 1: not."`
	Scrub  captureScrub  `cmd:"" help:"Replace what names a patient in a recording: names, numbers, dates of birth, free text about them. Lengths stay, checksums are made anew."`
}

// Sentences, in English and Vietnamese.
var (
	recording     = [2]string{"recording to %s: %s on one side, %s on the other; Ctrl-C ends it\n", "đang ghi vào %s: một bên là %s, bên kia là %s; Ctrl-C để dừng\n"}
	recordEnds    = [2]string{"a connection ended; waiting for the next\n", "một kết nối đã kết thúc; đang chờ kết nối tiếp theo\n"}
	conversations = [2]string{"the recording holds %d conversations; choose one with --conversation:\n", "bản ghi có %d cuộc trao đổi; hãy chọn một bằng --conversation:\n"}
	replayed      = [2]string{"%d chunks were played; %d answers were not those of the recording\n", "đã phát %d đoạn; %d câu trả lời không giống bản ghi\n"}
	scrubbed      = [2]string{"%d values replaced, and %d further places where they stood\n", "đã thay %d giá trị, và %d chỗ khác có chứa chúng\n"}
	scrubLook     = [2]string{"look at it before you give it away: nobody can be sure that free text names nobody\n", "hãy xem lại trước khi đưa cho người khác: không ai chắc chắn được rằng phần chữ tự do không nêu tên ai\n"}
)

type captureRecord struct {
	Device string `arg:"" help:"Where the analyser is: tcp-listen://ADDRESS:PORT, tcp-dial://HOST:PORT, serial:///dev/ttyUSB0?baud=9600." placeholder:"PORT"`
	Host   string `arg:"" help:"Where its host is (the gateway, or what it spoke to until now): in the same form." placeholder:"PORT"`
	To     string `help:"The file to write. It must not be there yet: what patients' devices say lies in it." required:"" type:"path" placeholder:"FILE"`
	Lang   string `help:"Language: en or vi; else that of the environment." enum:",en,vi" default:""`
}

func (c *captureRecord) Run() (int, error) {
	lang := language(c.Lang)
	device, err := port.Parse(c.Device)
	if err != nil {
		return exitUnreadable, err
	}
	host, err := port.Parse(c.Host)
	if err != nil {
		return exitUnreadable, err
	}
	file, err := os.OpenFile(c.To, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return exitUnreadable, err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	quiet := slog.New(slog.DiscardHandler)
	left, err := port.Open(ctx, device, port.Options{Log: quiet, MaxConns: 1})
	if err != nil {
		return exitUnreadable, errors.Join(err, file.Close())
	}
	defer left.Close()
	right, err := port.Open(ctx, host, port.Options{Log: quiet, MaxConns: 1})
	if err != nil {
		return exitUnreadable, errors.Join(err, file.Close())
	}
	defer right.Close()
	fmt.Fprintf(os.Stderr, recording[lang], c.To, cmp.Or(left.Addr(), c.Device), cmp.Or(right.Addr(), c.Host))
	err = tap(ctx, left, right, file, func() { fmt.Fprint(os.Stderr, recordEnds[lang]) })
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return exitBad, err
	}
	return exitGood, nil
}

// tap joins each connection of one port with one of the other, one pair at a time,
// until ctx ends.
func tap(ctx context.Context, left, right *port.Port, w io.Writer, ended func()) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	type end struct {
		c    port.Conn
		done chan struct{}
	}
	pair := func(to chan end) port.Handler {
		return func(ctx context.Context, c port.Conn) error {
			e := end{c, make(chan struct{})}
			select {
			case to <- e:
				<-e.done
			case <-ctx.Done():
			}
			return nil
		}
	}
	lefts, rights := make(chan end), make(chan end)
	var wg sync.WaitGroup
	for p, to := range map[*port.Port]chan end{left: lefts, right: rights} {
		wg.Go(func() {
			if err := p.Serve(ctx, pair(to)); err != nil && ctx.Err() == nil {
				cancel(err)
			}
		})
	}
	defer wg.Wait()
	for {
		var l, r end
		for l.c == nil || r.c == nil {
			select {
			case l = <-lefts:
			case r = <-rights:
			case <-ctx.Done():
				for _, e := range []end{l, r} {
					if e.done != nil {
						close(e.done)
					}
				}
				if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
					return err
				}
				return nil
			}
		}
		err := capture.Tap(ctx, l.c, r.c, w, time.Now)
		close(l.done)
		close(r.done)
		var write *os.PathError
		if errors.As(err, &write) {
			cancel(err) // nothing is recorded any more
			continue
		}
		if ctx.Err() == nil {
			ended()
		}
	}
}

type captureReplay struct {
	File         string        `arg:"" help:"The recording, in any form that nhip decode reads." type:"existingfile"`
	Port         string        `arg:"" help:"Where to play it: tcp-dial://HOST:PORT, tcp-listen://ADDRESS:PORT, serial:///dev/ttyUSB0." placeholder:"PORT"`
	As           string        `help:"Which end to play." enum:"device,host" default:"device"`
	Speed        float64       `help:"1: as recorded, 10: ten times as fast, 0: without pauses." default:"1"`
	Answer       time.Duration `help:"How long an answer is waited for." default:"15s"`
	Conversation int           `help:"Which conversation, where the recording has several." default:"0" placeholder:"N"`
	Lang         string        `help:"Language: en or vi; else that of the environment." enum:",en,vi" default:""`
}

func (c *captureReplay) Run() (int, error) {
	lang := language(c.Lang)
	said, err := chosen(c.File, c.Conversation, lang)
	if err != nil {
		return exitUnreadable, err
	}
	address, err := port.Parse(c.Port)
	if err != nil {
		return exitUnreadable, err
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	p, err := port.Open(ctx, address, port.Options{Log: slog.New(slog.DiscardHandler), MaxConns: 1})
	if err != nil {
		return exitUnreadable, err
	}
	defer p.Close()
	r := capture.Replay{As: capture.Device, Speed: c.Speed, Answer: c.Answer, Said: func(from capture.Side, b []byte) {
		os.Stdout.Write(capture.Transcript(capture.Conversation{Chunks: []capture.Chunk{{From: from, Bytes: b}}}))
	}}
	if c.As == "host" {
		r.As = capture.Host
	}
	ctx, done := context.WithCancel(ctx)
	defer done()
	var differences []capture.Difference
	var once sync.Once
	served := p.Serve(ctx, func(ctx context.Context, line port.Conn) error {
		once.Do(func() {
			differences, err = r.Play(ctx, line, said)
			line.Close()
			done()
		})
		return nil
	})
	if err != nil {
		return exitBad, err
	}
	if served != nil && !errors.Is(served, context.Canceled) && ctx.Err() == nil {
		return exitBad, served
	}
	for _, d := range differences {
		fmt.Fprintln(os.Stderr, d)
	}
	fmt.Fprintf(os.Stderr, replayed[lang], len(said.Chunks), len(differences))
	if len(differences) > 0 {
		return exitBad, nil
	}
	return exitGood, nil
}

// chosen is a conversation of a recording, by its number from 1; 0 is the only one.
func chosen(name string, n int, lang reason.Language) (capture.Conversation, error) {
	b, err := readCapture(name)
	if err != nil {
		return capture.Conversation{}, err
	}
	_, all, problems, err := capture.Open(b)
	for _, p := range problems {
		fmt.Fprintln(os.Stderr, p.What)
	}
	switch {
	case err != nil:
		return capture.Conversation{}, err
	case n == 0 && len(all) == 1:
		return all[0], nil
	case n < 1 || n > len(all):
		text := fmt.Sprintf(conversations[lang], len(all))
		for i, c := range all {
			text += fmt.Sprintf("  %d  %s\n", i+1, c.Name)
		}
		return capture.Conversation{}, errors.New(text)
	}
	return all[n-1], nil
}

// readCapture reads a recording; - is the standard input.
func readCapture(name string) ([]byte, error) {
	var in io.Reader = os.Stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, maxCapture+1))
	if err == nil && len(b) > maxCapture {
		err = fmt.Errorf("the capture is longer than %d bytes", maxCapture)
	}
	return b, err
}

type captureScrub struct {
	File         string `arg:"" help:"The recording; - reads standard input."`
	To           string `help:"The file to write, a transcript; without it the standard output." type:"path" placeholder:"FILE"`
	Conversation int    `help:"Which conversation, where the recording has several." default:"0" placeholder:"N"`
	Lang         string `help:"Language: en or vi; else that of the environment." enum:",en,vi" default:""`
}

func (c *captureScrub) Run() (int, error) {
	lang := language(c.Lang)
	said, err := chosen(c.File, c.Conversation, lang)
	if err != nil {
		return exitUnreadable, err
	}
	key := make([]byte, 32)
	rand.Read(key)
	clean, done := capture.Scrub(said, key)
	text := capture.Transcript(clean)
	if c.To == "" {
		_, err = os.Stdout.Write(text)
	} else {
		err = os.WriteFile(c.To, text, 0o600)
	}
	if err != nil {
		return exitUnreadable, err
	}
	fmt.Fprintf(os.Stderr, scrubbed[lang], done.Values, done.Again)
	for _, p := range done.Problems {
		fmt.Fprintln(os.Stderr, p.What)
	}
	fmt.Fprint(os.Stderr, scrubLook[lang])
	if len(done.Problems) > 0 {
		return exitBad, nil
	}
	return exitGood, nil
}
