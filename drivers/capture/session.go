package capture

import (
	"bytes"
	"fmt"
	"strings"

	"nhip/drivers/transcript"
)

// Session writes decoded messages of one end as a transcript in which they come
// through without a fault: LIS02 records one to a frame, with the acknowledgements of
// the host; HL7 in MLLP blocks. It is what a profile's tests play. Messages that are
// not whole (records without a header, or without an end) are left out; n says how
// many were taken.
func Session(protocol string, messages []Message) (text []byte, n int) {
	var b bytes.Buffer
	if protocol == "hl7" {
		for _, m := range messages {
			if len(m.Records) == 0 || m.Records[0].Type != "MSH" {
				continue
			}
			n++
			fmt.Fprintf(&b, "> %s\n", transcript.Text(append(append([]byte{startBlock}, m.bytes(protocol)...), endBlock, cr)))
		}
		return b.Bytes(), n
	}
	for _, m := range messages {
		last := len(m.Records) - 1
		if last < 1 || m.Records[0].Type != "H" || m.Records[last].Type != "L" {
			continue
		}
		n++
		b.WriteString("> <ENQ>\n< <ACK>\n")
		field := string([]byte{m.delimiter})
		for i, r := range m.Records {
			fmt.Fprintf(&b, "> <STX>%d%s<CR><ETX><sum><CR><LF>\n< <ACK>\n", (i+1)%8, transcript.Text([]byte(strings.Join(r.Fields, field))))
		}
		b.WriteString("> <EOT>\n")
	}
	return b.Bytes(), n
}

// segment is an HL7 segment as it was.
func segment(r Record) []byte {
	sep := "|"
	fields := r.Fields
	if r.Type == "MSH" && len(fields) > 2 {
		sep = fields[1]
		return []byte(fields[0] + sep + strings.Join(fields[2:], sep))
	}
	return []byte(strings.Join(fields, sep))
}
