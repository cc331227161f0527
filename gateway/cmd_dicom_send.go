package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/schollz/progressbar/v3"

	"nhip/dicom"
	"nhip/dicom/association"
	"nhip/dicom/dimse"
	"nhip/dicom/pixel"
	"nhip/dicom/pixel/raster"
	"nhip/dicom/store"
	"nhip/dicom/tag"
	"nhip/dicom/uid"
)

type dicomSend struct {
	dicomPeer
	Paths    []string `arg:"" name:"path" help:"Files, or folders with everything in them." type:"existingpath"`
	As       string   `help:"Transfer syntax to send in: stored (as it is), implicit, explicit, rle, jpeg-lossless, jpeg-ls, or a UID. What is already compressed otherwise stays as it is." default:"stored"`
	Retries  int      `help:"How often an object is tried again after a broken association or 'out of resources'." default:"5"`
	Quiet    bool     `help:"No progress bar."`
	failures []string
}

// A sending is one object that is to be sent.
type sending struct {
	path     string
	size     int64
	class    string
	instance string
	stored   string // transfer syntax of the file
	to       string // transfer syntax to send in
}

func (s sending) kind() store.Kind {
	return store.Kind{SOPClassUID: s.class, TransferSyntaxUID: s.to}
}

// Run sends the objects. Exit status 0: all were answered with success.
func (c *dicomSend) Run() (int, error) {
	if _, _, err := c.address(); err != nil {
		return exitBad, err
	}
	target := ""
	if c.As != "stored" {
		var err error
		if target, err = c.say().syntax(c.As); err != nil {
			return exitBad, err
		}
		if !pixel.Encodes(target) {
			return exitBad, c.say().errorf("nothing can be changed to %s", named(target))
		}
	}
	all, bytes := c.list(target)
	ctx, stop := interrupted()
	defer stop()
	var bar *progressbar.ProgressBar
	if c.Quiet {
		bar = progressbar.DefaultBytesSilent(bytes)
	} else {
		bar = progressbar.DefaultBytes(bytes, c.say().sprintf("%d objects", len(all)))
	}
	sent := c.sendAll(ctx, all, bar)
	_ = bar.Finish() // only what is shown
	c.say().printf("%d of %d objects sent\n", sent, len(all))
	for _, f := range c.failures {
		fmt.Fprintln(os.Stderr, f)
	}
	if len(c.failures) > 0 || ctx.Err() != nil {
		return exitBad, nil
	}
	return exitGood, nil
}

func (c *dicomSend) failed(path string, format string, args ...any) {
	c.failures = append(c.failures, path+": "+c.say().sprintf(format, args...))
}

// list finds the objects. What is no object is named, and fails the command.
func (c *dicomSend) list(target string) (all []sending, total int64) {
	for _, path := range c.Paths {
		err := filepath.WalkDir(path, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				c.failed(path, "%v", err)
				return nil
			}
			if !d.Type().IsRegular() {
				return nil
			}
			s, err := c.object(path, target)
			if err != nil {
				c.failed(path, "not sent: %v", err)
				return nil
			}
			all, total = append(all, s), total+s.size
			return nil
		})
		if err != nil {
			c.failed(path, "%v", err)
		}
	}
	return all, total
}

// object reads what is to be known of a file.
func (c *dicomSend) object(path, target string) (sending, error) {
	f, err := os.Open(path)
	if err != nil {
		return sending{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return sending{}, err
	}
	d, err := dicom.OpenFile(f, info.Size(), dicom.Limits{})
	if err != nil {
		return sending{}, err
	}
	s := sending{path: path, size: info.Size(), class: d.Text(tag.SOPClassUID), instance: d.Text(tag.SOPInstanceUID), stored: d.TransferSyntax()}
	switch {
	case s.class == "" || !uid.Valid(s.instance):
		return sending{}, c.say().errorf("it has no SOP Class UID or no valid SOP Instance UID")
	case d.Bare || s.stored == "":
		return sending{}, c.say().errorf("it has no File Meta Information that names its transfer syntax")
	}
	s.to = s.stored
	if target != "" && (pixel.Decodes(s.stored) && !d.Has(tag.LossyImageCompression) || uncompressed(s.stored)) && d.Has(tag.PixelData) {
		s.to = target
	}
	return s, nil
}

func uncompressed(ts string) bool {
	return ts == uid.ImplicitVRLittleEndian || ts == uid.ExplicitVRLittleEndian
}

// sendAll sends over as many associations as it needs. It returns how many were
// answered with success or a warning.
func (c *dicomSend) sendAll(ctx context.Context, all []sending, bar *progressbar.ProgressBar) (sent int) {
	tries := 0
	for len(all) > 0 && ctx.Err() == nil {
		kinds := kindsOf(all)
		contexts, rest := store.Contexts(kinds)
		a, err := c.dial(ctx, association.Proposal{Contexts: contexts})
		if err == nil {
			done := c.sendSome(ctx, a, &all, rest, bar)
			sent += done.sent
			if done.progress {
				tries = 0
			}
			err = done.err
			if err == nil {
				_ = a.Release(ctx) // every object has its answer
				continue
			}
			a.Abort("sending failed")
		}
		if tries++; tries > c.Retries || ctx.Err() != nil {
			for _, s := range all {
				c.failed(s.path, "not sent: %v", err)
			}
			return sent
		}
		wait := min(time.Second<<(tries-1), time.Minute)
		c.say().warnf("%v; again in %v\n", err, wait)
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
	return sent
}

func kindsOf(all []sending) (kinds []store.Kind) {
	for _, s := range all {
		if !slices.Contains(kinds, s.kind()) {
			kinds = append(kinds, s.kind())
		}
	}
	return kinds
}

type sentSome struct {
	sent     int
	progress bool
	err      error // of the association
}

// sendSome sends what one association has contexts for, and leaves the others in
// all.
func (c *dicomSend) sendSome(ctx context.Context, a *association.Association, all *[]sending, rest []store.Kind, bar *progressbar.ProgressBar) (r sentSome) {
	var later []sending
	for i, s := range *all {
		if slices.Contains(rest, s.kind()) {
			later = append(later, s)
			continue
		}
		status, err := c.send(ctx, a, s)
		var not *association.NotAcceptedError
		var local *localError
		switch {
		case errors.As(err, &not):
			c.failed(s.path, "not sent: %v", c.say().why(err))
		case errors.As(err, &local):
			c.failed(s.path, "not sent: %v", local.err)
		case err != nil:
			r.err = c.say().why(err)
			*all = append(later, (*all)[i:]...)
			return r
		case status.Code>>8 == 0xA7:
			r.err = c.say().errorf("answered %v", status)
			*all = append(later, (*all)[i:]...)
			return r
		case status.Class() == dimse.ClassFailure:
			c.failed(s.path, "refused: %v", status)
		default:
			r.sent++
		}
		r.progress = true
		_ = bar.Add64(s.size) // only what is shown
	}
	*all = later
	return r
}

// A localError is of the file, not of the association.
type localError struct{ err error }

func (e *localError) Error() string { return e.err.Error() }

// send sends one object, in its own transfer syntax or changed on the way.
func (c *dicomSend) send(ctx context.Context, a *association.Association, s sending) (dimse.Status, error) {
	if _, err := a.ContextFor(s.class, s.to); err != nil {
		return dimse.Status{}, err
	}
	f, err := os.Open(s.path)
	if err != nil {
		return dimse.Status{}, &localError{err}
	}
	defer f.Close()
	if s.to != s.stored {
		if f, err = transcoded(ctx, f, s); err != nil {
			return dimse.Status{}, &localError{err}
		}
		defer f.Close()
	}
	meta, err := dicom.ReadPart10(f)
	if err != nil {
		return dimse.Status{}, &localError{err}
	}
	if _, err := f.Seek(meta.DataSet, io.SeekStart); err != nil {
		return dimse.Status{}, &localError{err}
	}
	return store.Send(ctx, a, store.Object{SOPClassUID: s.class, SOPInstanceUID: s.instance, TransferSyntaxUID: s.to, DataSet: f})
}

// transcoded is the file in another transfer syntax, in a temporary file that is
// gone when it is closed.
func transcoded(ctx context.Context, f *os.File, s sending) (*os.File, error) {
	d, err := dicom.OpenFile(f, s.size, dicom.Limits{})
	if err != nil {
		return nil, err
	}
	to, err := os.CreateTemp("", "nhip-*.dcm")
	if err != nil {
		return nil, err
	}
	err = errors.Join(os.Remove(to.Name()), pixel.Transcode(ctx, to, d, s.to, raster.Limits{}))
	if err == nil {
		_, err = to.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(err, to.Close())
	}
	return to, nil
}
