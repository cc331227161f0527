package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// forwarded is how many slices are forwarded in a run.
const forwarded = 300

// forward: slices to storescp, sent by the gateway and by dcmsend. Both have all of
// them before the first is sent, and the rate is that at which storescp writes its
// files: neither the start of a program nor the wait for the next attempt counts.
func (b *bench) forward() error {
	what := fmt.Sprintf("forwarding of %d x 512 KB to storescp", forwarded)
	if missing("storescu") || missing("storescp") || missing("dcmsend") {
		b.skip(what, "storescu, storescp and dcmsend (dcmtk) are not installed")
		return nil
	}
	file, dir := b.path("slice.dcm"), b.path("slices")
	if err := errors.Join(writeObject(file, ctImage, "2.25.1", 1, 512<<10), os.Mkdir(dir, 0o700)); err != nil {
		return err
	}
	for i := range forwarded {
		if err := writeObject(filepath.Join(dir, strconv.Itoa(i)), ctImage, fmt.Sprintf("2.25.1.%d", i+1), 1, 512<<10); err != nil {
			return err
		}
	}
	g, err := b.gateway("nhip", true)
	if err != nil {
		return err
	}
	in := &scp{name: "nhip", port: g.dicom, stored: g.accepted}
	var ours, theirs []float64
	for range b.rounds {
		if err := in.send(file, forwarded, 1, noDelay); err != nil {
			return err
		}
		if ours, err = b.arrives(ours, g.pacs, func() error { return nil }); err != nil {
			return err
		}
		port := freePort()
		theirs, err = b.arrives(theirs, port, func() error {
			cmd := exec.Command("dcmsend", "-aet", "BENCH", "-pdu", maxPDU, "+sd", "127.0.0.1", strconv.Itoa(port), dir)
			cmd.Env = append(os.Environ(), noDelay...)
			out, err := cmd.CombinedOutput()
			if err != nil {
				return fmt.Errorf("dcmsend: %w: %s", err, out[max(0, len(out)-500):])
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	b.beside(what, "objects/s", ours, theirs, "dcmsend", 0.8)
	return nil
}

// arrives runs storescp, lets send send, and adds the rate at which the objects came.
func (b *bench) arrives(rates []float64, port int, send func() error) ([]float64, error) {
	dir := b.path("arrived")
	if err := errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o700)); err != nil {
		return nil, err
	}
	syscall.Sync()
	p, err := b.start("storescp", noDelay, []int{port}, "storescp", "-pdu", maxPDU, "+B", "+uf", "-od", dir, strconv.Itoa(port))
	if err != nil {
		return nil, err
	}
	defer p.stop()
	if err := send(); err != nil {
		return nil, err
	}
	for late := time.Now().Add(5 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
		first, last, n, err := written(dir)
		switch {
		case err != nil:
			return nil, err
		case n == forwarded:
			return append(rates, float64(n-1)/last.Sub(first).Seconds()), nil
		case n > forwarded:
			return nil, fmt.Errorf("storescp has %d objects, and %d were sent", n, forwarded)
		case time.Now().After(late):
			return nil, fmt.Errorf("storescp has %d objects of %d", n, forwarded)
		}
	}
}

// written is when the first and the last file of a directory were written.
func written(dir string) (first, last time.Time, n int, err error) {
	files, err := os.ReadDir(dir)
	for _, f := range files {
		info, e := f.Info()
		if e != nil {
			return first, last, n, e
		}
		at := info.ModTime()
		if n == 0 || at.Before(first) {
			first = at
		}
		if at.After(last) {
			last = at
		}
		n++
	}
	return first, last, n, err
}
