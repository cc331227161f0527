package capture

import (
	"strings"

	"nhip/drivers/profile"
)

// Recognise lists the profiles whose model is the sender of the first message of the
// device, by ID. None: no profile claims it, or messages do not name their sender.
func Recognise(o Output, all map[string]*profile.Profile) (ids []string) {
	for _, m := range o.Messages {
		if m.From == Host.String() || len(m.Records) == 0 {
			continue
		}
		message := m.bytes(o.Protocol)
		for _, id := range profile.IDs(all) {
			if p := all[id]; !ownProtocol(p) && messages(p) == o.Protocol && p.Claims(message) {
				ids = append(ids, id)
			}
		}
		return ids
	}
	return nil
}

// bytes is the message in UTF-8.
func (m Message) bytes(protocol string) []byte {
	var b []byte
	for _, r := range m.Records {
		if protocol == "hl7" {
			b = append(b, segment(r)...)
		} else {
			b = append(b, strings.Join(r.Fields, string([]byte{m.delimiter}))...)
		}
		b = append(b, cr)
	}
	return b
}
