package e1381

import "bytes"

// join adds the text of a frame to the session and takes out the messages that it
// completes. A message is H to L. The L record counts only when it has ended: by
// CR (or LF), or by ETX, never by ETB, for its last fields may be in the next
// frame. What stands outside of H to L stays in stray.
func (s *session) join(text []byte, etx bool) []Message {
	fresh := len(s.text) // before it there is no end of the open record
	if s.bare && len(s.text) > 0 {
		s.text = append(s.text, CR)
	}
	s.text = append(s.text, text...)
	s.frames++
	s.bare = etx && len(s.text) > 0 && !lineEnd(s.text[len(s.text)-1])

	var messages []Message
	base := 0 // where the message being received begins in text
	for s.record < len(s.text) {
		from := max(s.record, fresh)
		length := bytes.IndexAny(s.text[from:], "\r\n")
		end := from + length
		if length < 0 {
			if !etx {
				break
			}
			end = len(s.text)
		}
		record := s.text[s.record:end]
		switch {
		case isHeader(record):
			s.stray = append(s.stray, s.text[base:s.record]...)
			base = s.record
			s.open, s.field = true, record[1]
		case s.open && isTerminator(record, s.field):
			for end < len(s.text) && lineEnd(s.text[end]) {
				end++
			}
			messages = append(messages, Message{bytes.Clone(s.text[base:end]), s.frames})
			s.open, s.frames = false, 1
			base = end
			s.record = end
			continue
		}
		s.record = min(end+1, len(s.text))
	}
	if base > 0 {
		s.text = bytes.Clone(s.text[base:])
		s.record -= base
	}
	if len(s.text) == 0 {
		s.frames = 0
	}
	return messages
}

func lineEnd(b byte) bool { return b == CR || b == LF }

// isHeader: H and the delimiter definition, LIS02-A2. A letter or digit
// is no delimiter.
func isHeader(record []byte) bool {
	return len(record) > 1 && record[0] == 'H' && !alphanumeric(record[1])
}

// isTerminator: L, alone or with fields, LIS02-A2.
func isTerminator(record []byte, field byte) bool {
	return len(record) > 0 && record[0] == 'L' && (len(record) == 1 || record[1] == field)
}

func alphanumeric(b byte) bool {
	return 'a' <= b|0x20 && b|0x20 <= 'z' || '0' <= b && b <= '9'
}
