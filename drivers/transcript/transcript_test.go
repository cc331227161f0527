package transcript

import (
	"bytes"
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"nhip/drivers/astm/e1381"
)

const conversation = `# A conversation with every mark.
> <ENQ>
< <ACK>
> <STX>1H|\^&<CR>
> R|1|^^^TSH|<3.00<CR>L|1<CR><ETX><sum><CR><LF>
= refuse H|\^&<CR>R|1|^^^TSH|<3.00<CR>L|1<CR>
< <NAK>
> <STX>1H|\^&<CR>R|1|^^^TSH|<3.00<CR>L|1<CR><ETX><sum><CR><LF>
= store H|\^&<CR>
= + R|1|^^^TSH|<3.00<CR>
= + L|1<CR>
< <ACK>
> <STX>2H|\^&<CR>L|1<CR>H|\^&<CR>L|2<CR><ETX><sum><CR><LF>
= store H|\^&<CR>L|1<CR>
= and H|\^&<CR>L|2<CR>
< <ACK>
> <STX>3H|\^&<CR><ETX><sum><CR><LF>
< <ACK>
~
= incomplete H|\^&<CR>
= reason no frame for 30 s
> <ENQ>
< <ACK>
> <EOT>
= ended
> <ENQ>
< <ACK>
~ cut
`

func parse(t *testing.T, text string) []Step {
	t.Helper()
	steps, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return steps
}

func TestConversationPlays(t *testing.T) {
	stored, err := Play(parse(t, conversation), e1381.NewReceiver(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	if len(stored) != 3 || string(stored[0].Records) != "H|\\^&\rR|1|^^^TSH|<3.00\rL|1\r" {
		t.Errorf("stored %+v", stored)
	}
}

func TestStepsAreWrittenAsTheyAreRead(t *testing.T) {
	steps := parse(t, conversation)
	var lines []string
	for _, s := range steps {
		lines = append(lines, s.String())
	}
	again := parse(t, strings.Join(lines, "\n"))
	if len(again) != len(steps) {
		t.Fatalf("%d steps, were %d", len(again), len(steps))
	}
	for i := range again {
		if again[i].Kind != steps[i].Kind || again[i].Verb != steps[i].Verb || !bytes.Equal(again[i].Bytes, steps[i].Bytes) {
			t.Errorf("%s is not %s", again[i], steps[i])
		}
	}
}

// Any line that is changed, left out or added makes the play fail.
func TestDeviationsAreFound(t *testing.T) {
	for _, change := range [][2]string{
		{"< <ACK>", "< <NAK>"},
		{"< <ACK>\n", ""},
		{"= store H|\\^&<CR>\n", "= store H|\\^&\n"},
		{"= ended\n", ""},
		{"= and ", "= store "},
		{"= reason no frame", "= reason a frame"},
		{"= incomplete H", "= incomplete P"},
		{"> <EOT>\n= ended", "= ended"},
		{"~ cut", "= ended"},
		{"> <STX>2", "> <STX>3"},
	} {
		changed := strings.Replace(conversation, change[0], change[1], 1)
		if changed == conversation {
			t.Fatalf("%q is not in the conversation", change[0])
		}
		_, err := Play(parse(t, changed), e1381.NewReceiver(0, 0))
		if err == nil || !strings.HasPrefix(err.Error(), "line ") {
			t.Errorf("%q for %q: %v", change[1], change[0], err)
		}
	}
}

func TestTranscriptWithoutDemandsIsAboutTheBytes(t *testing.T) {
	stored, err := Play(parse(t, "> <ENQ>\n< <ACK>\n> <STX>1H|\\^&<CR>L|1<CR><ETX><sum><CR><LF>\n< <ACK>\n> <EOT>\n"), e1381.NewReceiver(0, 0))
	if err != nil || len(stored) != 1 {
		t.Errorf("%+v, %v", stored, err)
	}
}

func TestErrorsOfParseNameTheLine(t *testing.T) {
	for text, want := range map[string]string{
		"> <ENQ>\n? x":  "line 2: mark '?' is none of",
		"><ENQ>":        "line 1: no blank after the mark >",
		"= shout":       `line 1: "shout" is nothing that a driver does`,
		"= + H":         "line 1: nothing that + goes on with",
		"\n~ 3":         "line 2: after ~ stands nothing or cut",
		"= store <sum>": "line 1: <sum> stands only in what is sent",
	} {
		_, err := Parse([]byte(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v; want %s", text, err, want)
		}
	}
}

func TestBytesByName(t *testing.T) {
	steps := parse(t, "> <VT>MSH|^~\\&|<xE1><x3C>STX><3.00 < 5 <nul><DEL><FS><CR>\r\n> Đỗ  ")
	if got := string(steps[0].Bytes); got != "\vMSH|^~\\&|\xE1<STX><3.00 < 5 <nul>\x7F\x1C\r" {
		t.Errorf("%q", got)
	}
	if got := string(steps[1].Bytes); got != "Đỗ  " {
		t.Errorf("%q", got)
	}
}

func TestSpeakIsTheDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		device, host := net.Pipe()
		var heard []byte
		done := make(chan struct{})
		go func() {
			defer close(done)
			b := make([]byte, 1)
			for {
				if _, err := host.Read(b); err != nil {
					return
				}
				heard = append(heard, b[0])
				if b[0] == e1381.ENQ {
					host.Write([]byte{e1381.ACK})
				}
			}
		}()
		began := time.Now()
		steps := parse(t, "> <ENQ>\n< <ACK>\n= ended\n~\n> <EOT>\n~ cut\n> never")
		if err := Speak(t.Context(), device, steps, 31*time.Second); err != nil {
			t.Error(err)
		}
		if time.Since(began) != 31*time.Second {
			t.Errorf("silent for %v", time.Since(began))
		}
		err := Speak(t.Context(), device, parse(t, "> <ENQ>\n< <NAK>"), 0)
		if err == nil || !strings.Contains(err.Error(), "line 2: the host says <ACK>, it should say <NAK>") {
			t.Error(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := Speak(ctx, device, steps, time.Hour); err != context.Canceled {
			t.Error(err)
		}
		device.Close()
		<-done
		if string(heard) != "\x05\x04\x05" {
			t.Errorf("heard %q", heard)
		}
		if err := Speak(t.Context(), device, steps, 0); err == nil || !strings.Contains(err.Error(), io.ErrClosedPipe.Error()) {
			t.Error(err)
		}
	})
}

func FuzzText(f *testing.F) {
	f.Add([]byte("\x02<STX>\x03<sum>\xFF<x41>Đ"))
	f.Fuzz(func(t *testing.T, b []byte) {
		steps, err := Parse([]byte("> " + Text(b)))
		if err != nil || !bytes.Equal(steps[0].Bytes, b) {
			t.Errorf("%q became %q: %v", b, Text(b), err)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(conversation))
	f.Fuzz(func(t *testing.T, text []byte) {
		if steps, err := Parse(text); err == nil {
			Play(steps, e1381.NewReceiver(0, 0)) // does not panic
		}
	})
}
