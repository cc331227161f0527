package capture

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// host answers on a line as the session's host does, n times.
func answerer(line net.Conn, answer string) {
	b := make([]byte, 4096)
	for {
		n, err := line.Read(b)
		if err != nil {
			return
		}
		if n == 1 && b[0] == 0x04 {
			line.Close()
			return
		}
		if _, err := io.WriteString(line, answer); err != nil {
			return
		}
	}
}

func TestRecordingIsPlayedWithItsPauses(t *testing.T) {
	for speed, want := range map[float64]time.Duration{1: 3 * time.Second, 2: 1500 * time.Millisecond, 0: 0} {
		synctest.Test(t, func(t *testing.T) {
			device, host := net.Pipe()
			go answerer(host, "\x06")
			begun := time.Now()
			differences, err := Replay{Speed: speed}.Play(t.Context(), device, Conversation{Chunks: shortSession()})
			if err != nil || len(differences) != 0 {
				t.Error(differences, err)
			}
			// The host of the recording took a second for each answer; ours takes none.
			if took := time.Since(begun); took != want {
				t.Errorf("speed %v took %v, want %v", speed, took, want)
			}
			device.Close()
		})
	}
}

func TestAnswerThatIsNotTheRecordingsIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		device, host := net.Pipe()
		go answerer(host, "\x15")
		differences, err := Replay{}.Play(t.Context(), device, Conversation{Chunks: shortSession()})
		if err != nil || len(differences) != 3 || !strings.Contains(differences[0].String(), "the answer is <NAK>, in the recording <ACK>") {
			t.Error(differences, err)
		}
		device.Close()
	})
}

func TestSilenceIsWaitedForFifteenSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		device, host := net.Pipe()
		go io.Copy(io.Discard, host)
		begun := time.Now()
		differences, err := Replay{}.Play(t.Context(), device, Conversation{Chunks: shortSession()[:2]})
		if err != nil || len(differences) != 1 || time.Since(begun) != 15*time.Second {
			t.Error(differences, err, time.Since(begun))
		}
		device.Close()
		host.Close()
	})
}

func TestReplayEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		device, host := net.Pipe()
		defer host.Close()
		go io.Copy(io.Discard, host)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := (Replay{}).Play(ctx, device, Conversation{Chunks: shortSession()}); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		device.Close()
	})
}

// What is recorded can be replayed, and is then recorded alike.
func TestLiveLineIsRecordedWhileItWorks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		device, left := net.Pipe()
		right, host := net.Pipe()
		go answerer(host, "\x06")
		var w bytes.Buffer
		recorded := make(chan error, 1)
		go func() { recorded <- Tap(t.Context(), left, right, &w, time.Now) }()
		differences, err := Replay{Speed: 1}.Play(t.Context(), device, Conversation{Chunks: shortSession()})
		if err != nil || len(differences) != 0 {
			t.Error(differences, err)
		}
		device.Close()
		if err := <-recorded; err != nil {
			t.Error(err)
		}
		form, all, _, err := Open(w.Bytes())
		if err != nil || form != FormTranscript {
			t.Fatal(form, err)
		}
		if diff := cmp.Diff(said(shortSession(), Device), said(all[0].Chunks, Device)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(said(shortSession(), Host), said(all[0].Chunks, Host)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if pause := all[0].Chunks[2].At.Sub(all[0].Chunks[0].At); pause != time.Second {
			t.Errorf("the pause of the recording is %v", pause)
		}
	})
}
