package e1381_test

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"go.uber.org/goleak"

	"nhip/drivers/astm/e1381"
	"nhip/drivers/transcript"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func transcripts(t *testing.T) map[string][]transcript.Step {
	t.Helper()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	all := map[string][]transcript.Step{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if all[file], err = transcript.Parse(text); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
	}
	return all
}

func TestTranscripts(t *testing.T) {
	for file, steps := range transcripts(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			if _, err := transcript.Play(steps, e1381.NewReceiver(0, 0)); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		})
	}
}

// The receiver does the same in whatever pieces the bytes arrive.
func TestPiecesMakeNoDifference(t *testing.T) {
	for file, steps := range transcripts(t) {
		whole := actions(steps, 1<<20)
		for _, size := range []int{1, 2, 3, 7} {
			if got := actions(steps, size); !reflect.DeepEqual(got, whole) {
				t.Errorf("%s in pieces of %d: %v; whole: %v", file, size, got, whole)
			}
		}
	}
}

// actions is what the receiver does, timer aside, when the device's bytes arrive in
// pieces of a size.
func actions(steps []transcript.Step, size int) (did []e1381.Action) {
	r := e1381.NewReceiver(0, 0)
	var fails []bool // the stores, in their order
	for _, s := range steps {
		if s.Verb == transcript.Store || s.Verb == transcript.Refuse {
			fails = append(fails, s.Verb == transcript.Refuse)
		}
	}
	var do func([]e1381.Action)
	do = func(actions []e1381.Action) {
		for _, a := range actions {
			if _, wait := a.(e1381.Wait); wait {
				continue
			}
			did = append(did, a)
			if _, store := a.(e1381.Store); store {
				failed := fails[0]
				fails = fails[1:]
				if failed {
					do(r.StoreFailed())
					return
				}
			}
		}
	}
	for _, s := range steps {
		switch s.Kind {
		case transcript.Silence:
			do(r.TimedOut())
		case transcript.Cut:
			do(r.Cut("line cut"))
		case transcript.Device:
			for piece := range slices.Chunk(s.Bytes, size) {
				for len(piece) > 0 {
					n, actions := r.Receive(piece)
					piece = piece[n:]
					do(actions)
				}
			}
		}
	}
	return did
}
