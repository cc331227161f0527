package hl7lab_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"nhip/drivers/hl7lab"
	"nhip/gateway/record"
	"nhip/hl7"
	"nhip/hl7/mllp"
)

// disturbed are the ways in which one byte of a conversation may come.
func disturbed(line []byte, at int) (all [][]byte) {
	all = append(all, slices.Delete(bytes.Clone(line), at, at+1), slices.Insert(bytes.Clone(line), at, line[at]), line[:at])
	for _, b := range []byte{line[at] ^ 0x01, line[at] ^ 0x80, 0x0b, 0x1c, '\r', '|', 0} {
		other := bytes.Clone(line)
		other[at] = b
		all = append(all, other)
	}
	return all
}

// Every byte of a query dropped, doubled, flipped, and the line cut at it: it is answered
// for the specimen that it then asks for or not at all, and the next query is answered.
func TestEveryByteOfAQueryDroppedDoubledFlipped(t *testing.T) {
	for name, c := range map[string]struct {
		dialect  hl7lab.Dialect
		query    string
		specimen string
	}{"QRY^Q02": {dsr, qry, "0019"}, "QBP^Q11": {law, qbp, "32899042"}} {
		frame := mllp.AppendFrame(nil, []byte(strings.ReplaceAll(c.query, "\n", "\r")))
		ours := work[0]
		ours.Specimen = c.specimen
		// answered is how many orders a conversation is answered with.
		answered := func(line []byte) (n int) {
			r := mllp.NewReceiver(8 << 10)
			for _, e := range r.Receive(line) {
				f, ok := e.(mllp.Frame)
				if !ok {
					continue
				}
				m, err := hl7.Parse(f.Content)
				if err != nil || !c.dialect.Asks(m) {
					continue
				}
				q, err := c.dialect.Query(m)
				if err != nil {
					continue
				}
				var found []record.Work
				if slices.Contains(q.Specimens, c.specimen) {
					found = []record.Work{ours}
				}
				a, err := c.dialect.Answer(m, q, found, true, options())
				if err != nil {
					continue
				}
				for _, b := range a.Messages {
					out, err := hl7.Parse(b)
					if err != nil {
						t.Errorf("%s: answered with what is no message: %v", name, err)
						continue
					}
					if code, _, _ := out.Type(); len(found) == 0 && strings.Contains(string(b), "Nguyen") {
						t.Errorf("%s: %s of a patient whom nobody asked for", name, code)
					}
				}
				if len(found) > 0 {
					n++
				}
			}
			return n
		}
		if answered(frame) != 1 {
			t.Fatalf("%s is not answered", name)
		}
		for at := range frame {
			for _, line := range disturbed(frame, at) {
				alone := answered(line)
				if both := answered(slices.Concat(line, frame, frame)); alone > 1 || both < 1 || both > 3 {
					t.Errorf("%s: byte %d: %d answers alone, %d with two more behind it", name, at, alone, both)
				}
			}
		}
	}
}

// Every byte of the acknowledgement of an order: it is taken for accepted only where it
// says so of that order.
func TestEveryByteOfAnAcknowledgementDroppedDoubledFlipped(t *testing.T) {
	text := []byte("MSH|^~\\&|Mindray||||20070723||ACK^Q03|8|P|2.3.1\rMSA|AA|N2|Message accepted|||0|\r")
	for at := range text {
		for _, b := range disturbed(text, at) {
			m, err := hl7.Parse(b)
			if err != nil {
				continue
			}
			id, refused := hl7lab.Acknowledged(m)
			if code := m.Get("MSA-1"); id == "N2" && refused == nil && code != "AA" && code != "CA" {
				t.Errorf("byte %d: MSA-1 is %q, and the order counts as taken: %q", at, code, b)
			}
		}
	}
}
