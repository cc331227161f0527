package storage

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/badger/v4/table"
	"google.golang.org/protobuf/proto"
)

// Where the fsync of its manifest fails, Badger takes the flush or compaction for
// failed and removes the tables that it had written. But the manifest names them
// already, and no longer those that went into them: the store could not be
// opened, or Badger would remove at the next start the tables that hold all. So
// a change of the manifest whose tables are not there is taken back before Badger
// sees it: what it had replaced, tables or write-ahead log, is still there.

// recentChanges is how many of the last changes may be taken back: after one has
// failed the process ends at once. An older table that is gone is a loss.
const recentChanges = 8

// repairManifest takes back the changes of the manifest that failed.
func (s *Store) repairManifest(dir string) error {
	path := filepath.Join(dir, badger.ManifestFilename)
	manifest, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	changes, ok := parseManifest(manifest)
	if !ok {
		return nil // opening says it
	}
	kept := changes
	for range recentChanges {
		i := failedChange(kept, func(id uint64) bool {
			_, err := os.Stat(filepath.Join(dir, table.IDToFilename(id)))
			return !errors.Is(err, fs.ErrNotExist)
		})
		if i < 0 {
			break
		}
		if len(kept)-i > recentChanges {
			return nil // opening says which table is gone
		}
		kept = append(append([]manifestChange(nil), kept[:i]...), kept[i+1:]...)
	}
	if len(kept) == len(changes) {
		return nil
	}
	s.alarm("a write of the manifest had failed: it was taken back, and every table is kept aside", "store/"+badger.ManifestFilename)
	all, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil {
		return err
	}
	for _, table := range append(all, path) {
		s.keepAside(table)
	}
	repaired := append([]byte(nil), manifest[:manifestHeader]...)
	for _, c := range kept {
		repaired = append(repaired, c.bytes...)
	}
	return replaceFile(path, repaired)
}

// A manifestChange is one record of the manifest: tables made and removed
// together.
type manifestChange struct {
	bytes           []byte // with length and checksum
	made, destroyed []uint64
}

const manifestHeader = 8

// parseManifest reads Badger's manifest, version 8: a header, then records of
// length, CRC-32C and a ManifestChangeSet. A torn end is left out.
func parseManifest(b []byte) (changes []manifestChange, ok bool) {
	if len(b) < manifestHeader {
		return nil, false
	}
	for b = b[manifestHeader:]; len(b) >= 8; {
		n := uint64(binary.BigEndian.Uint32(b))
		if n > uint64(len(b)-8) {
			break
		}
		body := b[8 : 8+n]
		var set pb.ManifestChangeSet
		if crc32.Checksum(body, castagnoli) != binary.BigEndian.Uint32(b[4:]) || proto.Unmarshal(body, &set) != nil {
			return nil, false
		}
		c := manifestChange{bytes: b[:8+n]}
		for _, x := range set.Changes {
			if x.Op == pb.ManifestChange_CREATE {
				c.made = append(c.made, x.Id)
			} else {
				c.destroyed = append(c.destroyed, x.Id)
			}
		}
		changes = append(changes, c)
		b = b[8+n:]
	}
	return changes, true
}

// failedChange gives the last change that made a table which is named to the end
// and not there, or -1.
func failedChange(changes []manifestChange, there func(id uint64) bool) int {
	madeBy := map[uint64]int{}
	for i, c := range changes {
		for _, id := range c.made {
			madeBy[id] = i
		}
		for _, id := range c.destroyed {
			delete(madeBy, id)
		}
	}
	last := -1
	for id, i := range madeBy {
		if i > last && !there(id) {
			last = i
		}
	}
	return last
}

// replaceFile writes a file durably in place of another one.
func replaceFile(path string, b []byte) error {
	temporary := path + ".new"
	f, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(temporary, path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
