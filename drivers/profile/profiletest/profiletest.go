// Package profiletest proves a profile by its own transcripts: the generic tests
// that every profile passes, as a library, so that the tests of the project and
// a command for profiles outside of the program run the same.
//
//  1. The profile loads: every statement has its source, patterns compile.
//  2. Every transcript plays: link and records, without an unexpected answer.
//  3. What is extracted equals expected/NAME.json.
//  4. Every declared test, rule, pattern and meaning is shown by a transcript,
//     and every code in a transcript is declared.
//  5. With a faulty line (pieces of one byte, every frame corrupted once, every
//     acknowledgement lost once) the records are the same.
package profiletest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"nhip/drivers/astm/e1381"
	"nhip/drivers/astm/tokens"
	"nhip/drivers/profile"
	"nhip/drivers/session"
	"nhip/drivers/transcript"
	"nhip/hl7/mllp"
)

// zone is the zone of the devices' clocks in expected/: that of Việt Nam, which
// has no summer time.
var zone = time.FixedZone("+07", 7*60*60)

// Options of Check.
type Options struct {
	// Update is given the new content of an expected file in place of the
	// comparison, by its path in the file system.
	Update func(name string, content []byte) error
}

// A Finding is something that a profile fails by.
type Finding struct {
	Test int    // 1 to 5, see the package
	File string // where; relative to the profile's folder
	What string
}

func (f Finding) String() string { return fmt.Sprintf("test %d: %s: %s", f.Test, f.File, f.What) }

// Check runs the generic tests over the profile in the folder dir.
func Check(fsys fs.FS, dir string, o Options) []Finding {
	c := &checker{fsys: fsys, dir: dir, o: o}
	var err error
	if c.p, err = profile.Load(fsys, dir); err != nil {
		c.found(1, profile.FileName, "%v", err)
		return c.findings
	}
	if _, err := fs.Stat(fsys, path.Join(dir, "NOTES.md")); err != nil {
		c.found(1, "NOTES.md", "the notes on sources and on what is not verified are missing")
	}
	names, err := fs.Glob(fsys, path.Join(dir, "transcripts", "*.txt"))
	if err != nil || len(names) == 0 {
		c.found(2, "transcripts", "there is no transcript")
	}
	c.shown = c.p.NewCoverage()
	for _, name := range names {
		c.transcript(name)
	}
	c.sending()
	for _, what := range c.shown.Missing() {
		c.found(4, "transcripts", "%s is shown by no transcript", what)
	}
	c.orphans(names)
	return c.findings
}

type checker struct {
	fsys     fs.FS
	dir      string
	o        Options
	p        *profile.Profile
	shown    *profile.Coverage
	findings []Finding
}

func (c *checker) found(test int, file, format string, args ...any) {
	c.findings = append(c.findings, Finding{test, file, fmt.Sprintf(format, args...)})
}

// transcript runs tests 2 to 5 with one transcript.
func (c *checker) transcript(name string) {
	file := strings.TrimPrefix(name, c.dir+"/")
	text, err := fs.ReadFile(c.fsys, name)
	if err != nil {
		c.found(2, file, "%v", err)
		return
	}
	steps, err := transcript.Parse(text)
	if err != nil {
		c.found(2, file, "%v", err)
		return
	}
	messages, err := c.play(steps)
	if err != nil {
		c.found(2, file, "%v", err)
		return
	}
	if len(messages) == 0 {
		c.found(2, file, "no message comes through")
	}
	var all []expectation
	for _, m := range messages {
		e, err := c.p.ExtractShowing(m, zone, c.shown)
		if err != nil {
			c.found(3, file, "%v", err)
			return
		}
		for code := range e.Undeclared {
			c.found(4, file, "test code %q is neither declared nor ignored", code)
		}
		x, err := expectationOf(c.p, m, e)
		if err != nil {
			c.found(3, file, "the answer: %v", err)
		}
		all = append(all, x)
	}
	c.expected(name, all)
	c.faults(file, steps, messages)
}

// play gives the messages that come through, by the protocol's receiver.
func (c *checker) play(steps []transcript.Step) ([][]byte, error) {
	switch protocol := c.p.Protocol(); {
	case protocol == "hl7" || protocol == "law":
		return blocks(steps, len(sent(steps))+1)
	case protocol == "file":
		return [][]byte{sent(steps)}, nil
	case c.core() != nil:
		return converse(steps, c.core(), len(sent(steps))+1)
	}
	stored, err := transcript.Play(steps, e1381.NewReceiver(0, 0))
	return records(stored), err
}

// core is the receiving side of the protocol, where it is one of package session.
func (c *checker) core() session.Core {
	if c.p.Tokens() {
		return tokens.NewLink(tokens.Options{})
	}
	return c.p.Core()
}

// clock is the time at which a POCT1-A message is written, which no transcript knows.
var clock = regexp.MustCompile(`(HDR\.creation_dttm V=)"[^"]*"`)

func timeless(b []byte) []byte { return clock.ReplaceAll(b, []byte(`$1""`)) }

// converse plays the device against a core and gives what it stores; its replies
// have to be those of the transcript. The device's bytes come in pieces.
func converse(steps []transcript.Step, core session.Core, size int) ([][]byte, error) {
	var stored [][]byte
	var replies, expected []byte
	do := func(actions []session.Action) {
		for _, a := range actions {
			switch a := a.(type) {
			case session.Send:
				replies = append(replies, timeless(a.Bytes)...)
			case session.Store:
				stored = append(stored, a.Messages...)
			}
		}
	}
	for _, step := range steps {
		switch step.Kind {
		case transcript.Host:
			expected = append(expected, timeless(step.Bytes)...)
		case transcript.Silence:
			do(core.TimedOut())
		case transcript.Device:
			for piece := range slices.Chunk(step.Bytes, size) {
				for len(piece) > 0 {
					n, actions := core.Receive(piece)
					piece = piece[n:]
					do(actions)
				}
			}
			if !bytes.HasPrefix(replies, expected) {
				return stored, fmt.Errorf("line %d: the driver's replies are %s, not %s", step.Line, transcript.Text(replies), transcript.Text(expected))
			}
		default:
			return stored, fmt.Errorf("line %d: the mark %c is for LIS01", step.Line, step.Kind)
		}
	}
	if !bytes.Equal(replies, expected) {
		return stored, fmt.Errorf("the driver's replies are %s, not %s", transcript.Text(replies), transcript.Text(expected))
	}
	if !core.Idle() {
		return stored, errors.New("the last message has no end")
	}
	return stored, nil
}

func records(stored []e1381.Message) [][]byte {
	all := make([][]byte, len(stored))
	for i, m := range stored {
		all[i] = m.Records
	}
	return all
}

// sent is everything that the device sends.
func sent(steps []transcript.Step) []byte {
	var b []byte
	for _, s := range steps {
		if s.Kind == transcript.Device {
			b = append(b, s.Bytes...)
		}
	}
	return b
}

// blocks gives the contents of the MLLP blocks, received in pieces.
func blocks(steps []transcript.Step, size int) ([][]byte, error) {
	r := mllp.NewReceiver(1 << 20)
	var messages [][]byte
	for piece := range slices.Chunk(sent(steps), size) {
		for _, event := range r.Receive(piece) {
			f, ok := event.(mllp.Frame)
			if !ok {
				return nil, fmt.Errorf("the receiver says %T, which is no message", event)
			}
			messages = append(messages, bytes.Clone(f.Content))
		}
	}
	if r.Unfinished() {
		return nil, errors.New("the last block has no end")
	}
	return messages, nil
}

// expected is test 3.
func (c *checker) expected(name string, all []expectation) {
	base := strings.TrimSuffix(path.Base(name), ".txt")
	c.equal(path.Join("expected", base+".json"), all)
}

// downloads is the expected file that belongs to no transcript.
const downloads = "download.json"

// sending compares what is sent to a model that did not ask, and taken back.
func (c *checker) sending() {
	s, err := sendingOf(c.p)
	if err != nil {
		c.found(3, profile.FileName, "[answer.download]: %v", err)
		return
	}
	if s != nil {
		c.equal(path.Join("expected", downloads), s)
	}
}

// equal compares a value with an expected file, or writes it.
func (c *checker) equal(file string, value any) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(value); err != nil {
		c.found(3, file, "%v", err)
		return
	}
	got := text.Bytes()
	if c.o.Update != nil {
		if err := c.o.Update(path.Join(c.dir, file), got); err != nil {
			c.found(3, file, "%v", err)
		}
		return
	}
	want, err := fs.ReadFile(c.fsys, path.Join(c.dir, file))
	if err != nil {
		c.found(3, file, "%v", err)
		return
	}
	if line, ok := differ(string(want), string(got)); ok {
		c.found(3, file, "%s", line)
	}
}

// differ is the first line that differs.
func differ(want, got string) (string, bool) {
	if want == got {
		return "", false
	}
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range max(len(w), len(g)) {
		var a, b string
		if i < len(w) {
			a = w[i]
		}
		if i < len(g) {
			b = g[i]
		}
		if a != b {
			return fmt.Sprintf("line %d is %q, extracted is %q", i+1, strings.TrimSpace(a), strings.TrimSpace(b)), true
		}
	}
	return "", false
}

// orphans are expected files without a transcript.
func (c *checker) orphans(transcripts []string) {
	names, err := fs.Glob(c.fsys, path.Join(c.dir, "expected", "*.json"))
	if err != nil {
		return
	}
	for _, name := range names {
		of := path.Join(c.dir, "transcripts", strings.TrimSuffix(path.Base(name), ".json")+".txt")
		if path.Base(name) == downloads && c.p.Downloads() {
			continue
		}
		if !slices.Contains(transcripts, of) {
			c.found(3, strings.TrimPrefix(name, c.dir+"/"), "belongs to no transcript")
		}
	}
}
