package e1381

import "fmt"

// A Check is how a frame is checked.
type Check int

const (
	Sum      Check = iota // the standard's, E1381 section 6.3: sum from the frame number to ETB or ETX, two hexadecimal digits
	SumSTX                // the same with STX in the sum
	XOR                   // exclusive or from the frame number to ETB or ETX, two hexadecimal digits
	Nibbles               // the standard's sum, each half as the character 0x30 + half
	NoChecks              // ETB or ETX is followed by CR LF, or by nothing
)

// A Dialect is how a model deviates from LIS01. The zero value is the standard.
type Dialect struct {
	Check Check
	// Unnumbered: frames have no number. A frame that comes again at once, because
	// our ACK was lost, is known by its bytes.
	Unnumbered bool
	// Open: sessions are not closed by EOT. A frame may come without ENQ, and ENQ in
	// the middle of a session begins another one.
	Open bool
}

// Receiver returns a receiver of this dialect in the neutral state. Limits of zero
// are MaxFrame and MaxMessage.
func (d Dialect) Receiver(maxFrame, maxMessage int) *Receiver {
	r := NewReceiver(maxFrame, maxMessage)
	r.dialect = d
	return r
}

// Sender returns a sender of this dialect in the neutral state.
func (d Dialect) Sender(role Role) *Sender { return &Sender{role: role, dialect: d} }

// Digits are what stands behind the block, which goes from the frame number to ETB
// or ETX; nothing where frames are not checked.
func (d Dialect) Digits(block []byte) []byte {
	sum := Checksum(block)
	switch d.Check {
	case NoChecks:
		return nil
	case SumSTX:
		sum += STX
	case XOR:
		sum = 0
		for _, b := range block {
			sum ^= b
		}
	case Nibbles:
		return []byte{'0' + sum>>4, '0' + sum&15}
	}
	return []byte{hexDigits[sum>>4], hexDigits[sum&15]}
}

// wrong says in words what is wrong with the checksum of a block, if anything is.
// Hexadecimal digits are good in lower case too.
func (d Dialect) wrong(block []byte, digits [2]byte) string {
	want := d.Digits(block)
	if want == nil {
		return ""
	}
	if d.Check == Nibbles {
		if digits[0] != want[0] || digits[1] != want[1] {
			return "checksum is wrong"
		}
		return ""
	}
	high, low := hexValue(digits[0]), hexValue(digits[1])
	if high < 0 || low < 0 {
		return "checksum is not two hexadecimal digits"
	}
	if hexDigits[high] != want[0] || hexDigits[low] != want[1] {
		return fmt.Sprintf("checksum is %02X, should be %s", high<<4|low, want)
	}
	return ""
}

// append appends a frame as it goes on the line.
func (d Dialect) append(b []byte, f Frame, number int) []byte {
	b = append(b, STX)
	start := len(b)
	if !d.Unnumbered {
		b = append(b, '0'+byte(number&7))
	}
	b = append(append(b, f.Text...), f.End)
	b = append(b, d.Digits(b[start:])...)
	return append(b, CR, LF)
}
