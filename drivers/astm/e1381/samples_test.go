package e1381_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"nhip/drivers/astm/e1381"
	"nhip/drivers/astm/e1394"
)

// samples is the folder of captures beside the checkout, which is not part of it.
func samples(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; filepath.Dir(dir) != dir; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
	}
	lab := filepath.Join(dir, "..", "shared", "samples", "lab")
	if _, err := os.Stat(lab); err != nil {
		t.Skip("no samples beside the checkout")
	}
	return lab
}

var block = regexp.MustCompile(`(?s)\x02([0-7][^\x02\x03\x17]*[\x03\x17])([0-9A-F]{2})`)

// Every framed capture goes through the receiver: each frame whose checksum is right
// is acknowledged, and what is stored is the text of the frames, nothing more or less.
func TestFramedSamples(t *testing.T) {
	lab := samples(t)
	files, _ := filepath.Glob(filepath.Join(lab, "*", "*"))
	played := 0
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		blocks := block.FindAllSubmatch(raw, -1)
		if len(blocks) == 0 || !bytes.Contains(raw, []byte("\x021H")) {
			continue
		}
		played++
		name := strings.TrimPrefix(file, lab+"/")
		text, frames := "", 0
		for _, b := range blocks {
			sum := 0
			for _, c := range b[1] {
				sum += int(c)
			}
			if want := fmt.Sprintf("%02X", sum%256); string(b[2]) != want {
				t.Errorf("%s: frame %c has checksum %s, should be %s", name, b[1][0], b[2], want)
			}
			frames++
			text += string(b[1][1 : len(b[1])-1])
		}
		l := newLine()
		if !bytes.Contains(raw[:bytes.IndexByte(raw, e1381.STX)], []byte(enq)) {
			l.send([]byte(enq)) // captured without it
		}
		l.send(raw)
		l.do(l.r.TimedOut())
		l.do(l.r.Cut("end of the capture"))
		if got := bytes.Count(l.replies, []byte(ack)); got != frames+1 || bytes.Contains(l.replies, []byte(nak)) {
			t.Errorf("%s: %d frames, replies %q", name, frames, l.replies)
		}
		if got := strings.Join(append(l.stored, l.incomplete...), ""); got != text {
			t.Errorf("%s: kept %q, sent %q", name, got, text)
		}
		// The VITROS orders of a host are four records with frame numbers in one text:
		// no L record begins a line there.
		if host := strings.Contains(text, "\r2P|"); (len(l.stored) != 1) != host {
			t.Errorf("%s: %d stored, incomplete %q", name, len(l.stored), l.reasons)
		}
		for _, m := range l.stored {
			parsed, err := e1394.Parse([]byte(m))
			if err != nil || parsed.Header().Type() != "H" || parsed.Records[len(parsed.Records)-1].Type() != "L" {
				t.Errorf("%s: %v", name, err)
			}
			if lf := strings.ReplaceAll(m, "\n", "\r"); string(parsed.Bytes()) != lf {
				t.Errorf("%s: the records are not what was sent", name)
			}
		}
	}
	t.Logf("%d captures", played)
	if played < 30 {
		t.Errorf("only %d framed captures", played)
	}
}

// The bare captures are records without frames: sent by our sender in every packing,
// they arrive as they were.
func TestBareSamplesThroughSenderAndReceiver(t *testing.T) {
	lab := samples(t)
	files, _ := filepath.Glob(filepath.Join(lab, "*", "*.astm"))
	if len(files) == 0 {
		t.Fatal("no captures")
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		raw = bytes.ReplaceAll(raw, []byte("\n"), []byte("\r"))
		want := bytes.Count(raw, []byte("\rL|"))
		for _, p := range []e1381.Packing{e1381.PerRecord, e1381.PerMessage} {
			l := newLine()
			l.send([]byte(enq))
			for i, f := range e1381.Frames(raw, p, 240) {
				l.send(f.Append(nil, i+1))
			}
			l.send([]byte(eot))
			if got := strings.Join(l.stored, ""); len(l.stored) != want || got != string(raw) || len(l.incomplete) != 0 {
				t.Errorf("%s: %d messages of %d, incomplete %q", file, len(l.stored), want, l.incomplete)
			}
		}
	}
}
