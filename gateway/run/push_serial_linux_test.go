package run

import (
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"

	"nhip/drivers/transcript"
)

// Over a serial line, while the LIS is away: orders go down, queries are answered, the
// result waits for the LIS under its order.
func TestOrdersAreSentOverASerialLineWhileTheLISIsAway(t *testing.T) {
	t.Parallel()
	device, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { device.Close(); tty.Close() })
	s, lis := pushSite(t, pusher("a-test-push", "test-push", "serial://"+tty.Name()+"?baud=9600", "both"))
	s.stop()
	text, err := os.ReadFile(s.file)
	if err == nil {
		err = os.WriteFile(s.file, []byte(strings.Replace(string(text), lis.address, "127.0.0.1:1", 1)), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	s.start()
	eventually(t, "the line is open", func() bool {
		for _, c := range s.status().Connections {
			if c.Name == "a-test-push" {
				return c.State == "connected"
			}
		}
		return false
	})
	p := newPeer(t, "127.0.0.1", s.status().Listen.HL7)
	s.order(p, testOrder("M1", "NW", "A1", "P1", "S1", "11"))
	speak(t, device, pushedRecords("Nguyen Thi P1", `S1||^^^11|||||||||||||||||||||O`))
	s.eventuallyGiven("A1", "11 open acknowledged a-test-push taken")
	speak(t, device, queries("Q|1|^S1||ALL")+pushedRecords("Nguyen Thi P1", `S1||^^^11|||||||||||||||||||||Q`))
	speak(t, device, reports("S1", "11", "5.4"))
	s.eventuallyGiven("A1", "11 open resulted a-test-push taken")
	eventually(t, "the result waits", func() bool { return s.status().Counts.Queued == 1 })
}

func speak(t *testing.T, to io.ReadWriter, script string) {
	t.Helper()
	steps, err := transcript.Parse([]byte(script))
	if err == nil {
		err = transcript.Speak(t.Context(), to, steps, time.Second)
	}
	if err != nil {
		t.Fatal(err)
	}
}
