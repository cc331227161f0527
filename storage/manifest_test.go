package storage

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/pb"
	"google.golang.org/protobuf/proto"
)

// A change of the manifest whose fsync failed: Badger has removed the tables that
// it names, and the next start would remove those that it had replaced.
func TestAChangeOfTheManifestThatFailedIsTakenBack(t *testing.T) {
	for _, replaces := range []bool{false, true} {
		t.Run(fmt.Sprintf("replaces %t", replaces), func(t *testing.T) {
			dir := t.TempDir()
			s, err := Open(t.Context(), Options{Dir: dir})
			if err != nil {
				t.Fatal(err)
			}
			b := new(Batch)
			b.Append("c", []byte("value"))
			if _, err := s.Commit(t.Context(), b); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, "store", badger.ManifestFilename)
			failChange(t, path, replaces)

			s, err = Open(t.Context(), Options{Dir: dir})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if v, err := s.Read(Ref{"c", 1}); err != nil || string(v) != "value" {
				t.Errorf("%q %v", v, err)
			}
			if a := s.Alarms(); len(a) != 1 || !strings.Contains(a[0].What, "manifest") {
				t.Errorf("alarms: %v", a)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if s, err = Open(t.Context(), Options{Dir: dir}); err != nil || len(s.Alarms()) > 0 {
				t.Errorf("and once more: %v %v", err, s.Alarms())
			}
			s.Close()
		})
	}
}

// failChange adds a change to the manifest that makes a table which is not there.
func failChange(t *testing.T, path string, replaces bool) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	set := &pb.ManifestChangeSet{Changes: []*pb.ManifestChange{{Id: 999, Op: pb.ManifestChange_CREATE, Level: 6}}}
	if replaces {
		changes, ok := parseManifest(b)
		if !ok {
			t.Fatal("the manifest cannot be read")
		}
		live := map[uint64]bool{}
		for _, c := range changes {
			for _, id := range c.made {
				live[id] = true
			}
			for _, id := range c.destroyed {
				delete(live, id)
			}
		}
		if len(live) == 0 {
			t.Fatal("no table")
		}
		for id := range live {
			set.Changes = append(set.Changes, &pb.ManifestChange{Id: id, Op: pb.ManifestChange_DELETE})
		}
	}
	body, err := proto.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(body)))
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(body, castagnoli))
	if err := os.WriteFile(path, append(b, body...), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestATableThatIsLongGoneIsNotTakenBack(t *testing.T) {
	var changes []manifestChange
	for id := range uint64(20) {
		changes = append(changes, manifestChange{made: []uint64{id}})
	}
	there := func(gone uint64) func(uint64) bool { return func(id uint64) bool { return id != gone } }
	if i := failedChange(changes, there(3)); i != 3 || len(changes)-i <= recentChanges {
		t.Errorf("%d", i)
	}
	changes = append(changes, manifestChange{destroyed: []uint64{3}})
	if i := failedChange(changes, there(3)); i != -1 {
		t.Errorf("a table that was removed later: %d", i)
	}
}
