package capture

import (
	"bytes"
	enchex "encoding/hex"
	"regexp"
	"strconv"
	"strings"
)

// deviceMessage: message types that analysers send, not hosts.
var deviceMessage = regexp.MustCompile(`(?:^|[\r\n\x0b])MSH\|[^\r]{0,300}\|(?:ORU\^|OUL\^|QRY\^|QBP\^|ORU\||QRY\|)`)

// A dumpLine is one line of a hex dump.
type dumpLine struct {
	indent int
	at     int64 // offset
	b      []byte
}

// A dump is a hex dump read.
type dump struct {
	lines   []dumpLine
	packets bool // offsets begin at 0 again and again: packet after packet
}

var dumpStart = regexp.MustCompile(`^([ \t]*)([0-9A-Fa-f]{4,16})(: ?|[ \t]{1,4})((?:[0-9A-Fa-f]{2}){1,16}(?:[ \t-]|$))`)

// followHeader is what tshark writes before the bytes of a stream.
var followHeader = regexp.MustCompile(`^(Follow|Filter|Node [01]): `)

// mostBefore is how many lines of text may stand before a dump.
const mostBefore = 50

// maxDumpLine is how many bytes a line of a dump has at most.
const maxDumpLine = 32

// readDump reads xxd, hexdump -C, od -A x -t x1z, tshark -x, Wireshark's packet bytes
// and its "Follow TCP stream" as a hex dump, where the end that answers is indented.
// ok is false where a line with text is none of a dump's; lines between packets are
// passed over.
func readDump(recording []byte) (dump, bool) {
	var d dump
	if bytes.ContainsFunc(recording, func(r rune) bool { return r < ' ' && r != '\t' && r != '\r' && r != '\n' }) {
		return d, false // a dump has them as digits
	}
	others := 0
	text := strings.Split(string(recording), "\n")
	for _, line := range text {
		line = strings.TrimRight(line, " \t\r")
		if line == "" || strings.HasPrefix(line, "#") || strings.Trim(line, "=*- ") == "" || followHeader.MatchString(line) {
			continue
		}
		l, ok := readDumpLine(line)
		if !ok {
			if others++; others > len(text)/2 || others > mostBefore && len(d.lines) == 0 {
				return d, false
			}
			continue
		}
		d.lines = append(d.lines, l)
	}
	if len(d.lines) == 0 {
		return d, false
	}
	zeros := 0
	for i, l := range d.lines {
		if l.at == 0 {
			zeros++
		}
		// The next offset says how long a line is: its text column may look like digits.
		for _, n := range d.lines[i+1 : min(i+2, len(d.lines))] {
			if length := n.at - l.at; n.indent == l.indent && 0 < length && length < int64(len(l.b)) {
				d.lines[i].b = l.b[:length]
			}
		}
	}
	sides := map[int]int{}
	for _, l := range d.lines {
		if l.at == 0 {
			sides[l.indent]++
		}
	}
	d.packets = len(sides) == 1 && zeros > 1 || looksLikePacket(d.first())
	return d, others == 0 || d.packets || len(d.lines) > 2*others
}

// readDumpLine reads OFFSET, and bytes in pairs or groups, up to the text column.
func readDumpLine(line string) (dumpLine, bool) {
	m := dumpStart.FindStringSubmatch(line)
	if m == nil {
		return dumpLine{}, false
	}
	at, err := strconv.ParseInt(m[2], 16, 64)
	if err != nil {
		return dumpLine{}, false
	}
	l := dumpLine{indent: len(strings.ReplaceAll(m[1], "\t", "    ")), at: at}
	rest := line[len(m[1])+len(m[2])+len(m[3]):]
	for len(l.b) < maxDumpLine {
		end := strings.IndexAny(rest, " \t")
		word := rest
		if end >= 0 {
			word = rest[:end]
		}
		b, err := enchex.DecodeString(strings.ReplaceAll(word, "-", ""))
		if err != nil || len(b) == 0 {
			break
		}
		if l.b = append(l.b, b...); end < 0 {
			break
		}
		rest = rest[end:]
		blanks := len(rest) - len(strings.TrimLeft(rest, " \t"))
		rest = rest[blanks:]
		// One blank stands between bytes, two in the middle of sixteen; before the text
		// column stand more, or it is the end of sixteen.
		if blanks > 2 || blanks == 2 && len(l.b) != 8 || len(l.b) == 16 {
			break
		}
	}
	return l, len(l.b) > 0
}

// first is the first packet.
func (d dump) first() []byte {
	var b []byte
	for i, l := range d.lines {
		if i > 0 && l.at == 0 {
			break
		}
		b = append(b, l.b...)
	}
	return b
}

// looksLikePacket: an Ethernet frame that holds IPv4 or IPv6 with TCP.
func looksLikePacket(b []byte) bool {
	if len(b) < 54 {
		return false
	}
	switch {
	case b[12] == 0x08 && b[13] == 0x00:
		return b[14]>>4 == 4 && b[23] == 6
	case b[12] == 0x86 && b[13] == 0xDD:
		return b[14]>>4 == 6 && b[20] == 6
	}
	return false
}

// conversation: the indented lines are those of the end that answers.
func (d dump) conversation() Conversation {
	indents := map[int]bool{}
	least := d.lines[0].indent
	for _, l := range d.lines {
		indents[l.indent] = true
		least = min(least, l.indent)
	}
	var c Conversation
	for _, l := range d.lines {
		from := Unknown
		if len(indents) > 1 {
			from = Device
			if l.indent > least {
				from = Host
			}
		}
		if n := len(c.Chunks); n > 0 && c.Chunks[n-1].From == from {
			c.Chunks[n-1].Bytes = append(c.Chunks[n-1].Bytes, l.b...)
			continue
		}
		c.Chunks = append(c.Chunks, Chunk{From: from, Bytes: bytes.Clone(l.b)})
	}
	c.guess()
	return c
}

var hexNoise = strings.NewReplacer("0x", " ", "0X", " ", `\x`, " ", `\X`, " ", ",", " ", ";", " ", "{", " ", "}", " ", ":", " ", "-", " ")

// readHex reads digits without offsets: "05 02 31", "050231", "0x05, 0x02", "\x05\x02".
func readHex(recording []byte) ([]byte, bool) {
	if len(recording) < 4 {
		return nil, false
	}
	for _, c := range recording {
		if c < ' ' && c != '\n' && c != '\r' && c != '\t' || c > '~' {
			return nil, false
		}
	}
	var b []byte
	for _, word := range strings.Fields(hexNoise.Replace(string(recording))) {
		part, err := enchex.DecodeString(word)
		if err != nil {
			return nil, false
		}
		b = append(b, part...)
	}
	return b, len(b) > 1
}
