package e1381_test

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"nhip/drivers/astm/e1381"
	"nhip/drivers/port"
)

// lateBubble is a line with an outbox in virtual time.
func lateBubble(t *testing.T, do func(box *e1381.Outbox, read, write func(string))) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		box := &e1381.Outbox{}
		ended := make(chan error, 1)
		go func() {
			ended <- e1381.Serve(t.Context(), port.FromNet(there), e1381.ServeOptions{Handler: &journal{}, Outbox: box})
		}()
		do(box, func(want string) {
			t.Helper()
			got := make([]byte, len(want))
			if _, err := io.ReadFull(here, got); err != nil || string(got) != want {
				t.Fatalf("%q, %v, want %q", got, err, want)
			}
		}, func(text string) {
			t.Helper()
			if _, err := here.Write([]byte(text)); err != nil {
				t.Fatal(err)
			}
		})
		here.Close()
		<-ended
	})
}

// What is sent is made when the bid is accepted: after contention (E1381 section
// 6.2.7.1), after NAK to ENQ (6.2), and not before. A frame that is sent again is not
// made again.
func TestFramesAreMadeWhenTheBidIsAccepted(t *testing.T) {
	lateBubble(t, func(box *e1381.Outbox, read, write func(string)) {
		text, made := "old", 0
		done := make(chan error, 1)
		if err := box.Put(e1381.Outgoing{
			Make: func() []e1381.Frame { made++; return []e1381.Frame{{Text: []byte(text + "\r"), End: etx}} },
			Done: func(err error) { done <- err },
		}); err != nil {
			t.Fatal(err)
		}
		read("\x05")
		write("\x05") // contention: 20 s
		began := time.Now()
		read("\x05")
		write("\x15") // busy: 10 s
		read("\x05")
		if d := time.Since(began); d < 30*time.Second || made != 0 {
			t.Errorf("after %v, made %d times", d, made)
		}
		text = "new"
		write(ack)
		read(string(frame(1, "new\r", etx)))
		text = "newer"
		write("\x15")
		read(string(frame(1, "new\r", etx)))
		write(ack)
		read("\x04")
		if err := <-done; err != nil || made != 1 {
			t.Errorf("%v, made %d times", err, made)
		}
	})
}

// Nothing is left to say: the session that was bid for has nothing in it.
func TestNothingIsMade(t *testing.T) {
	lateBubble(t, func(box *e1381.Outbox, read, write func(string)) {
		done := make(chan error, 1)
		box.Put(e1381.Outgoing{Make: func() []e1381.Frame { return nil }, Done: func(err error) { done <- err }})
		read("\x05")
		write(ack)
		read("\x04")
		if err := <-done; err != nil {
			t.Error(err)
		}
		// The line is ready for the instrument.
		write("\x05")
		read(ack)
	})
}

// What waits behind another message may be withdrawn; what is being sent may not.
func TestWhatWaitsMayBeWithdrawn(t *testing.T) {
	lateBubble(t, func(box *e1381.Outbox, read, write func(string)) {
		done := make(chan string, 8)
		var all []*e1381.Waiting
		for _, name := range []string{"a", "b", "c"} {
			w, err := box.Add(e1381.Outgoing{
				Make: func() []e1381.Frame { return []e1381.Frame{{Text: []byte(name + "\r"), End: etx}} },
				Done: func(error) { done <- name },
			})
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, w)
		}
		read("\x05")
		if all[0].Withdraw() || !all[1].Withdraw() || all[1].Withdraw() {
			t.Error("withdrawn is what was begun, or not what waits")
		}
		for _, name := range []string{"a", "c"} {
			if name == "c" {
				read("\x05")
			}
			write(ack)
			read(string(frame(1, name+"\r", etx)))
			write(ack)
			read("\x04")
			if got := <-done; got != name {
				t.Errorf("%s is done, want %s", got, name)
			}
		}
	})
}

// A frame that is refused six times is a refusal; a line that is cut is none.
func TestRefusedIsToldFromCut(t *testing.T) {
	for end, want := range map[string]string{strings.Repeat("\x15", 6): "refused", "": "cut"} {
		done := make(chan error, 1)
		lateBubble(t, func(box *e1381.Outbox, read, write func(string)) {
			box.Put(e1381.Outgoing{Make: func() []e1381.Frame { return []e1381.Frame{{Text: []byte("x\r"), End: etx}} }, Done: func(err error) { done <- err }})
			read("\x05")
			write(ack)
			read(string(frame(1, "x\r", etx)))
			for i := range len(end) {
				write(end[i : i+1])
				if i < len(end)-1 {
					read(string(frame(1, "x\r", etx)))
				}
			}
			if end != "" {
				read("\x04")
			}
		})
		var failed *e1381.FailedError
		if err := <-done; !errors.As(err, &failed) || failed.Refused != (want == "refused") || failed.Cut != (want == "cut") {
			t.Errorf("%s: %#v", want, failed)
		}
	}
}
