package capture

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"

	"nhip/drivers/transcript"
)

// The forms that a recording may have.
const (
	FormRaw        = "raw"        // the bytes themselves
	FormTranscript = "transcript" // ours, see package transcript
	FormScreen     = "screen"     // copied from a terminal, control characters as ^B
	FormHex        = "hex"        // hexadecimal digits without offsets
	FormDump       = "hex dump"   // xxd, hexdump -C, Wireshark's "Follow TCP stream" as a hex dump
	FormPackets    = "packets"    // Wireshark's and tshark's packet bytes: one hex dump a packet, with its headers
	FormPcap       = "pcap"
	FormPcapNG     = "pcapng"
)

// A Side is an end of a conversation.
type Side byte

const (
	Unknown Side = iota
	Device
	Host
)

func (s Side) String() string { return [...]string{"", "device", "host"}[s] }

// Other is the other end.
func (s Side) Other() Side {
	switch s {
	case Device:
		return Host
	case Host:
		return Device
	}
	return Unknown
}

// A Chunk is what one end said before the other spoke, or paused.
type Chunk struct {
	At    time.Time // zero where the recording has no times
	From  Side
	Bytes []byte
}

// A Conversation is what two ends said to each other. In a raw recording the ends
// are not told apart: all of it is one chunk of Unknown.
type Conversation struct {
	Name   string // the addresses of the two ends; empty where the recording has none
	Chunks []Chunk
}

// Said is what one end said, joined.
func (c Conversation) Said(from Side) []byte {
	var b []byte
	for _, k := range c.Chunks {
		if k.From == from {
			b = append(b, k.Bytes...)
		}
	}
	return b
}

// ErrRecording says that a recording looks like one of the forms, and is not.
var ErrRecording = errors.New("capture: the recording cannot be read")

// Open takes a recording apart by its form. problems say what of it is missing: bytes
// that the recording has lost, packets that were cut. An error wraps ErrRecording.
func Open(recording []byte) (form string, all []Conversation, problems []Problem, err error) {
	switch {
	case isPcap(recording):
		return openPcap(recording)
	case isTranscript(recording):
		c, err := fromTranscript(recording)
		if err != nil {
			return FormTranscript, nil, nil, fmt.Errorf("%w: %w", ErrRecording, err)
		}
		return FormTranscript, []Conversation{c}, nil, nil
	}
	if dump, ok := readDump(recording); ok {
		if dump.packets {
			return fromPackets(dump)
		}
		return FormDump, []Conversation{dump.conversation()}, nil, nil
	}
	if b, ok := readHex(recording); ok {
		return FormHex, []Conversation{{Chunks: []Chunk{{Bytes: b}}}}, nil, nil
	}
	if copied := uncaret(recording); copied != nil {
		return FormScreen, []Conversation{{Chunks: []Chunk{{Bytes: copied.text}}}}, nil, nil
	}
	return FormRaw, []Conversation{{Chunks: []Chunk{{Bytes: recording}}}}, nil, nil
}

// isTranscript: every line has a mark, and at least one is of an end.
func isTranscript(b []byte) bool {
	if len(b) == 0 || !strings.ContainsRune("#><=~\r\n", rune(b[0])) {
		return false
	}
	said := false
	for line := range strings.SplitSeq(string(b), "\n") {
		line = strings.TrimSuffix(line, "\r")
		if line == "" {
			continue
		}
		if !strings.ContainsRune("#><=~", rune(line[0])) || len(line) > 1 && line[0] != '#' && line[1] != ' ' {
			return false
		}
		said = said || line[0] == '>' || line[0] == '<'
	}
	return said
}

// atMark begins the remark that says when the chunk after it came.
const atMark = "# at "

func fromTranscript(text []byte) (Conversation, error) {
	steps, err := transcript.Parse(text)
	if err != nil {
		return Conversation{}, err
	}
	times := chunkTimes(text)
	var c Conversation
	for _, s := range steps {
		from := Unknown
		switch s.Kind {
		case transcript.Device:
			from = Device
		case transcript.Host:
			from = Host
		default:
			continue
		}
		at := times[s.Line]
		if n := len(c.Chunks); n > 0 && c.Chunks[n-1].From == from && at.IsZero() {
			c.Chunks[n-1].Bytes = append(c.Chunks[n-1].Bytes, s.Bytes...)
			continue
		}
		c.Chunks = append(c.Chunks, Chunk{At: at, From: from, Bytes: s.Bytes})
	}
	return c, nil
}

// chunkTimes are the times of the remarks "# at", by the number of the line after.
func chunkTimes(text []byte) map[int]time.Time {
	times := map[int]time.Time{}
	n := 0
	for line := range bytes.SplitSeq(text, []byte("\n")) {
		n++
		rest, ok := bytes.CutPrefix(bytes.TrimSuffix(line, []byte("\r")), []byte(atMark))
		if !ok {
			continue
		}
		if at, err := time.Parse(time.RFC3339Nano, string(rest)); err == nil {
			times[n+1] = at
		}
	}
	return times
}

// Transcript writes a conversation as one of ours, with the time of each chunk in a
// remark before it. Open reads the same conversation again. What came of Unknown is
// the device's.
func Transcript(c Conversation) []byte {
	var b bytes.Buffer
	if c.Name != "" {
		fmt.Fprintf(&b, "# %s\n", c.Name)
	}
	for _, k := range c.Chunks {
		if !k.At.IsZero() {
			fmt.Fprintf(&b, "%s%s\n", atMark, k.At.UTC().Format(time.RFC3339Nano))
		}
		mark := transcript.Device
		if k.From == Host {
			mark = transcript.Host
		}
		b.WriteString(transcript.Step{Kind: mark, Bytes: k.Bytes}.String())
		b.WriteByte('\n')
	}
	return b.Bytes()
}

// guess tells the ends apart where the recording does not: the device is who says
// first what only devices say (a result, a query, a header), else who speaks first.
func (c *Conversation) guess() {
	for _, k := range c.Chunks {
		if k.From == Unknown {
			return
		}
	}
	for _, side := range []Side{Device, Host} {
		said := c.Said(side)
		if bytes.Contains(said, []byte("\rR|")) || bytes.Contains(said, []byte("\rQ|")) || deviceMessage.Match(said) {
			if side == Host && !bytes.Contains(c.Said(Device), []byte("\rR|")) {
				c.swap()
			}
			return
		}
	}
}

func (c *Conversation) swap() {
	for i := range c.Chunks {
		c.Chunks[i].From = c.Chunks[i].From.Other()
	}
}
