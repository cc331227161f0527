package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"nhip/storage"
)

// analyserSeconds is how long each run of the analysers takes.
const analyserSeconds = 8

// analysers: 200 of them, each with a blood count of 20 results a second: how long the
// last frame, or the message, waits for its acknowledgement, which comes after the
// commit.
func (b *bench) analysers() error {
	for i, run := range []struct {
		what           string
		tcp, mllp, pty int
		away, together bool
	}{
		{"200 analysers by TCP", 200, 0, 0, false, false},
		{"200 analysers by TCP, all in one moment", 200, 0, 0, false, true},
		{"200 analysers, 120 TCP, 60 MLLP, 20 ptys", 120, 60, 20, false, false},
		{"200 analysers, 120 TCP, 60 MLLP, 20 ptys, LIS away", 120, 60, 20, true, false},
	} {
		l := &laboratory{b: b, away: run.away, together: run.together}
		if err := l.open(fmt.Sprintf("nhip-%d", i), run.tcp, run.mllp, run.pty); err != nil {
			return errors.Join(err, l.close())
		}
		if err := errors.Join(l.measure(run.what), l.close()); err != nil {
			return err
		}
	}
	return nil
}

// A laboratory is a gateway with analysers and an LIS.
type laboratory struct {
	b              *bench
	away, together bool

	g       *gateway
	lis     *lis
	devices []device
	lines   []func() error // that are to be closed
}

// A device sends one message, and says how long it waited for the acknowledgement.
type device func(n int) (time.Duration, error)

func (l *laboratory) open(name string, tcp, mllp, pty int) error {
	port := freePort()
	if !l.away {
		var err error
		if l.lis, err = newLIS(port); err != nil {
			return err
		}
	}
	var blocks strings.Builder
	fmt.Fprintf(&blocks, "[[destination]]\nname = \"lis\"\nkind = \"hl7\"\naddress = %q\n", address(port))
	add := func(i int, profile, port string) {
		fmt.Fprintf(&blocks, "[[analyser]]\nname = \"a-%d\"\nprofile = %q\nport = %q\nto = [\"lis\"]\n", i, profile, port)
	}
	for i := range tcp + mllp + pty {
		switch {
		case i < tcp:
			add(i, "generic-astm", "tcp-listen://127.0.0.1:0")
		case i < tcp+mllp:
			add(i, "generic-hl7", "mllp-listen://127.0.0.1:0")
		default:
			p, err := openTerminal()
			if err != nil {
				return err
			}
			l.lines = append(l.lines, p.Close)
			add(i, "generic-astm", "serial://"+p.path())
			l.devices = append(l.devices, blood(newInstrument(p), i))
		}
	}
	var err error
	if l.g, err = l.b.gatewayWith(name, false, blocks.String()); err != nil {
		return err
	}
	return l.plug(tcp, mllp)
}

// plug connects the analysers that dial.
func (l *laboratory) plug(tcp, mllp int) error {
	ports, err := l.g.analyserPorts()
	if err != nil {
		return err
	}
	for i := range tcp + mllp {
		to := ports[fmt.Sprintf("a-%d", i)]
		if i < tcp {
			x, err := dialInstrument(to)
			if err != nil {
				return err
			}
			l.lines = append(l.lines, x.c.Close)
			l.devices = append(l.devices, blood(x, i))
			continue
		}
		x, err := dialExchange(to)
		if err != nil {
			return err
		}
		l.lines = append(l.lines, x.c.Close)
		template := message()
		l.devices = append(l.devices, func(n int) (time.Duration, error) {
			began := time.Now()
			err := x.send(template, fmt.Sprintf("M%d-%d", i, n))
			return time.Since(began), err
		})
	}
	return nil
}

func (l *laboratory) close() error {
	for _, end := range l.lines {
		end()
	}
	if l.lis != nil {
		l.lis.l.Close()
	}
	if l.g != nil {
		l.g.stop()
	}
	return nil
}

// blood is an analyser that sends blood counts of 20 results.
func blood(x *instrument, i int) device {
	return func(n int) (time.Duration, error) {
		records := []string{`H|\^&|||BENCH^1|||||||P|1|20260101120000`, "P|1", fmt.Sprintf("O|1|S%03d%05d||^^^CBC|R||20260101113000", i, n)}
		for t := range 20 {
			records = append(records, fmt.Sprintf("R|%d|^^^T%02d|%d.%d|10*3/uL|4.0^10.0|N||F||||20260101115800", t+1, t+1, 4+(n+t)%9, t%10))
		}
		waited, _, err := x.send(append(records, "L|1|N"))
		return waited, err
	}
}

// measure has all analysers send, each once a second, spread over it or in one moment.
func (l *laboratory) measure(what string) error {
	if err := l.run(1); err != nil { // every line and channel has been used
		return err
	}
	start, err := l.g.settle()
	if err != nil {
		return err
	}
	waits, took, err := l.play(analyserSeconds)
	if err != nil {
		return err
	}
	end, err := l.g.cpu()
	if err != nil {
		return err
	}
	resident, err := l.g.memory("VmRSS")
	if err != nil {
		return err
	}
	if _, err := l.g.settle(); err != nil {
		return err
	}
	if err := l.whole(len(waits) + len(l.devices)); err != nil {
		return err
	}
	took = max(took, analyserSeconds*time.Second)
	slices.Sort(waits)
	l.b.under(what+", acknowledged, p99", "ms", []float64{percentile(waits, 99)}, nil, "", 250)
	l.b.under(what+", acknowledged, p50", "ms", []float64{percentile(waits, 50)}, nil, "", 0)
	l.b.under(what+", messages a second", "messages/s", []float64{float64(len(waits)) / took.Seconds()}, nil, "", 0)
	l.b.under(what+", processor", "% of a core", []float64{100 * (end - start).Seconds() / took.Seconds()}, nil, "", 0)
	l.b.under(what+", resident memory", "MiB", []float64{resident}, nil, "", 0)
	l.g.stop()
	commits, err := commitsOf(l.g.data)
	if err == nil {
		l.b.under(what+", commits", "a message", []float64{float64(commits) / float64(len(waits)+len(l.devices))}, nil, "", 0)
	}
	return err
}

// whole reports an error unless every message was accepted and has arrived, or waits.
func (l *laboratory) whole(sent int) error {
	arrived := "delivered"
	if l.away {
		arrived = "queued"
	}
	for _, count := range []string{"accepted", arrived} {
		n, err := number(l.g.console, "/api/v1/status", "counts", count)
		if err == nil && n != sent {
			err = fmt.Errorf("%d messages were acknowledged, %d are %s", sent, n, count)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// run sends so many messages of each analyser, one after the other.
func (l *laboratory) run(each int) error {
	for i, d := range l.devices {
		for n := range each {
			if _, err := d(n); err != nil {
				return fmt.Errorf("analyser %d: %w", i, err)
			}
		}
	}
	return nil
}

// play has every analyser send once a second, and gives what each message waited.
func (l *laboratory) play(seconds int) (waits []time.Duration, took time.Duration, err error) {
	var all sync.WaitGroup
	var mu sync.Mutex
	begin := time.Now().Add(100 * time.Millisecond)
	for i, d := range l.devices {
		first := begin
		if !l.together {
			first = begin.Add(time.Second * time.Duration(i) / time.Duration(len(l.devices)))
		}
		all.Go(func() {
			for n := range seconds {
				time.Sleep(time.Until(first.Add(time.Duration(n) * time.Second)))
				waited, e := d(n + 1)
				mu.Lock()
				waits, err = append(waits, waited), errors.Join(err, e)
				mu.Unlock()
				if e != nil {
					return
				}
			}
		})
	}
	all.Wait()
	return waits, time.Since(begin), err
}

// percentile is of what is sorted, in ms.
func percentile(sorted []time.Duration, p int) float64 {
	return float64(sorted[(len(sorted)-1)*p/100]) / float64(time.Millisecond)
}

// commitsOf is how many transactions a store has seen.
func commitsOf(data string) (uint64, error) {
	s, err := storage.Open(context.Background(), storage.Options{Dir: data, ReadOnly: true})
	if err != nil {
		return 0, err
	}
	defer s.Close()
	return s.Commits(), nil
}

// analyserPorts are the addresses on which the analysers are awaited.
func (g *gateway) analyserPorts() (map[string]string, error) {
	rsp, err := http.Get("http://" + address(g.console) + "/api/v1/status")
	if err != nil {
		return nil, err
	}
	defer rsp.Body.Close()
	var status struct {
		Listen struct {
			Analyser map[string]string `json:"analyser"`
		} `json:"listen"`
	}
	err = json.NewDecoder(rsp.Body).Decode(&status)
	return status.Listen.Analyser, err
}

// onDisk is what the files below a folder take, without their holes, in MiB.
func onDisk(dir string) (float64, error) {
	var blocks int64
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			blocks += info.Sys().(*syscall.Stat_t).Blocks
		}
		return err
	})
	return float64(blocks) * 512 / (1 << 20), err
}
