package textline

import (
	"fmt"
	"strings"
)

// Bytes are bytes as a transcript writes them: "<STX>", "<CR><LF>", "<x1B>" and
// plain characters.
type Bytes []byte

var controls = strings.Fields(`NUL SOH STX ETX EOT ENQ ACK BEL BS HT LF VT FF CR SO SI
	DLE DC1 DC2 DC3 DC4 NAK SYN ETB CAN EM SUB ESC FS GS RS US`)

// UnmarshalText reads them. A name that is none is an error.
func (b *Bytes) UnmarshalText(text []byte) error {
	*b = nil
	for s := string(text); len(s) > 0; {
		if s[0] != '<' {
			*b = append(*b, s[0])
			s = s[1:]
			continue
		}
		end := strings.IndexByte(s, '>')
		if end < 0 {
			return fmt.Errorf("%q has a < without >", text)
		}
		c, ok := control(s[1:end])
		if !ok {
			return fmt.Errorf("%q is no control character", s[:end+1])
		}
		*b = append(*b, c)
		s = s[end+1:]
	}
	return nil
}

func control(name string) (byte, bool) {
	for value, n := range controls {
		if n == name {
			return byte(value), true
		}
	}
	var c byte
	if len(name) == 3 && name[0] == 'x' {
		if _, err := fmt.Sscanf(name, "x%02X", &c); err == nil {
			return c, true
		}
	}
	return 0, false
}
