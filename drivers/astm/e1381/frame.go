package e1381

import (
	"bytes"
	"strings"
)

// A Frame is the text of one frame and its end, ETB or ETX. E1381 section 6.3.1.2.
type Frame struct {
	Text []byte
	End  byte
}

// Checksum is the sum modulo 256 of the characters from the frame number to ETB or
// ETX inclusive, E1381 section 6.3.
func Checksum(block []byte) byte {
	var sum byte
	for _, b := range block {
		sum += b
	}
	return sum
}

const hexDigits = "0123456789ABCDEF"

// Append appends the frame with its frame number (0 to 7) as it goes on the line:
// <STX> FN text <ETB|ETX> C1 C2 <CR> <LF>.
func (f Frame) Append(b []byte, number int) []byte {
	return Dialect{}.append(b, f, number)
}

// hexValue is the value of a checksum digit, in upper or (not the standard's, but
// sent) lower case; -1 for anything else.
func hexValue(b byte) int {
	if 'a' <= b && b <= 'f' {
		b -= 'a' - 'A'
	}
	return strings.IndexByte(hexDigits, b)
}

// Packing is how a message is cut into frames.
type Packing int

const (
	PerRecord  Packing = iota // each record in its own frame, ETX; E1381 section 6.3.1.2
	PerMessage                // the whole message as one text, as many analysers do
)

// Frames cuts a message into frames of at most maxText characters of text; ETB ends
// a frame whose text goes on in the next. maxText below 1 is MaxText95.
func Frames(message []byte, p Packing, maxText int) []Frame {
	if maxText < 1 {
		maxText = MaxText95
	}
	texts := [][]byte{message}
	if p == PerRecord {
		texts = bytes.SplitAfter(message, []byte{CR})
	}
	var frames []Frame
	for _, text := range texts {
		for len(text) > maxText {
			frames = append(frames, Frame{text[:maxText], ETB})
			text = text[maxText:]
		}
		if len(text) > 0 {
			frames = append(frames, Frame{text, ETX})
		}
	}
	return frames
}
