package run

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"nhip/gateway/interpret"
	"nhip/hl7"
	"nhip/hl7/batch"
	"nhip/storage/diskguard"
)

// folderLook is how often a folder is looked at. A file that was the same twice is
// taken.
const folderLook = time.Second

// The folders in a watched folder.
const (
	folderDone    = "done"
	folderBad     = "bad" // an envelope that is wrong, or a message that was refused
	folderAnswers = "answers"
)

// maxFileName bounds the names of files that are taken.
const maxFileName = 200

// watch takes the files of the link's folder, one after the other in the order of
// their names. A file that was taken in part, because the process ended, is taken
// again: its messages are recognised as repeats.
func (l *link) watch(ctx context.Context) error {
	t := time.NewTicker(folderLook)
	defer t.Stop()
	before := map[string]fileState{}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
		now, err := folderFiles(l.peer.Folder)
		if err != nil {
			if before != nil {
				l.g.log.Warn("folder not readable", "connection", l.name, "reason", err)
			}
			before = nil
			continue
		}
		for _, name := range sortedNames(now) {
			if before[name] != now[name] || ctx.Err() != nil || l.g.store.Room(diskguard.Results) != nil {
				continue
			}
			delete(now, name)
			l.g.states.set(l.name, interpret.Peer, "heard", l.peer.Folder)
			if err := l.file(ctx, name); err != nil && ctx.Err() == nil {
				l.g.log.Error("file not taken: tried again", "connection", l.name, "error", nameless(err))
			}
		}
		before = now
	}
}

// A fileState is what tells a file that still grows.
type fileState struct {
	size     int64
	modified time.Time
}

func sortedNames(m map[string]fileState) []string {
	var names []string
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// folderFiles are the files of a folder that may be taken: NAME.hl7, no hidden ones.
func folderFiles(folder string) (map[string]fileState, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	files := map[string]fileState{}
	for _, e := range entries {
		name := e.Name()
		if !e.Type().IsRegular() || strings.HasPrefix(name, ".") || !strings.EqualFold(filepath.Ext(name), ".hl7") || len(name) > maxFileName {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if info.Size() > 0 { // an empty one is about to be written
			files[name] = fileState{info.Size(), info.ModTime()}
		}
	}
	return files, nil
}

// file takes one file, and moves it away with its answers beside it.
func (l *link) file(ctx context.Context, name string) error {
	folder := l.peer.Folder
	for _, sub := range []string{folderDone, folderBad, folderAnswers} {
		if err := os.MkdirAll(filepath.Join(folder, sub), 0o700); err != nil {
			return err
		}
	}
	f, err := os.Open(filepath.Join(folder, name))
	if err != nil {
		return err
	}
	defer f.Close()
	answers, err := os.CreateTemp(filepath.Join(folder, folderAnswers), ".answers-*")
	if err != nil {
		return err
	}
	defer os.Remove(answers.Name())
	defer answers.Close()
	b := &batcher{g: l.g, name: l.name, out: batch.NewWriter(answers), take: func(ctx context.Context, message []byte) ([]byte, error) {
		return l.fromFile(ctx, name, message)
	}, long: l.tooLong}
	switch err := b.run(ctx, batch.NewReader(f, batch.Limits{Message: int(l.peer.MaxMessage)})); {
	case errors.Is(err, batch.ErrTooMany):
		b.problems++
		l.g.log.Warn("file not read to its end", "connection", l.name, "reason", err)
	case err != nil:
		return err
	}
	if err := l.answered(answers, name, b.answers > 0); err != nil {
		return err
	}
	sub := folderDone
	if b.problems+b.refused > 0 {
		sub = folderBad
	}
	l.g.log.Info("file taken", "connection", l.name, "answers", b.answers, "refused", b.refused, "problems", b.problems)
	return os.Rename(filepath.Join(folder, name), freeName(filepath.Join(folder, sub), name))
}

// nameless is an error of the file system without the names of files, which may be
// patients'.
func nameless(err error) error {
	var p *fs.PathError
	var l *os.LinkError
	switch {
	case errors.As(err, &p):
		return fmt.Errorf("%s: %w", p.Op, p.Err)
	case errors.As(err, &l):
		return fmt.Errorf("%s: %w", l.Op, l.Err)
	}
	return err
}

// fromFile takes one message of a file. The folder says who it is from.
func (l *link) fromFile(ctx context.Context, name string, message []byte) ([]byte, error) {
	m, err := hl7.ParseWithin(message, l.limits())
	if m == nil {
		return nil, err
	}
	return l.message(ctx, origin{address: "file " + name}, m, err)
}

// answered puts the answers of a file into their place.
func (l *link) answered(answers *os.File, name string, some bool) error {
	if !some {
		return nil
	}
	if err := answers.Sync(); err != nil {
		return err
	}
	return os.Rename(answers.Name(), freeName(filepath.Join(l.peer.Folder, folderAnswers), name))
}

// freeName is a path in a folder for a name, with the time before it where there is
// such a file already.
func freeName(folder, name string) string {
	path := filepath.Join(folder, name)
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return path
	}
	return filepath.Join(folder, time.Now().UTC().Format("20060102T150405.000000000")+"-"+name)
}
