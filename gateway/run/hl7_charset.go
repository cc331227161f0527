package run

import (
	"nhip/gateway/reason"
	"nhip/hl7"
)

// charsetReasons are the ways in which bytes and declaration disagree, in words.
var charsetReasons = map[hl7.CharsetProblem]reason.Code{
	hl7.CharsetUnknown:    reason.CharsetUnknown,
	hl7.CharsetUndeclared: reason.CharsetUndeclared,
	hl7.CharsetInvalid:    reason.CharsetInvalid,
	hl7.CharsetOther:      reason.CharsetOther,
	hl7.CharsetControls:   reason.CharsetControls,
	hl7.CharsetTwice:      reason.CharsetTwice,
	hl7.CharsetLost:       reason.CharsetLost,
}

func charsetReason(w hl7.CharsetWarning) reason.Reason {
	switch {
	case w.Problem == hl7.CharsetUnknown:
		return reason.New(reason.CharsetUnknown, w.Declared)
	case w.Like != "" && (w.Problem == hl7.CharsetInvalid || w.Problem == hl7.CharsetControls):
		return reason.New(reason.CharsetOther, w.Location, w.Declared, w.Like)
	}
	return reason.New(charsetReasons[w.Problem], w.Location, w.Declared, w.Like)
}

// warnCharset shows on the console, and once in the log, that the bytes of a message
// and its declaration disagree. The message is taken all the same.
func (d device) warnCharset(m *hl7.Message) {
	warnings := m.CharsetWarnings()
	if len(warnings) == 0 {
		return
	}
	why := charsetReason(warnings[0])
	if d.g.states.disagreed(d.name, d.kind, why) {
		d.g.log.Warn("character set", "connection", d.name, "reason", why)
	}
}
