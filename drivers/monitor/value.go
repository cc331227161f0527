package monitor

import (
	"strconv"
	"strings"

	"nhip/gateway/record"
)

// maxValue is the longest text that can be a number.
const maxValue = 32

// sentinels are numbers that say "no value": 11073 NaN, NRes and infinities of a
// 24 bit mantissa, the ends of a 16 bit word and GE's invalid range below them,
// and -100.
func isSentinel(v float64) bool {
	switch v {
	case -100, 32767, 8388607, 8388606, -8388606, -8388608:
		return true
	}
	return v >= -32767 && v <= -32762
}

// judge says whether a text is a reading, and if not why. The value is returned
// as it is, or empty.
func judge(text string) (value string, state record.Validity, reason string) {
	trimmed := strings.TrimSpace(text)
	if trimmed == `""` || strings.Trim(trimmed, "-*?_.") == "" {
		return "", record.Unavailable, "the device sends no value"
	}
	if !isNumber(trimmed) {
		return "", record.Questionable, "the value is not a number"
	}
	if v, err := strconv.ParseFloat(trimmed, 64); err != nil || isSentinel(v) {
		return "", record.Unavailable, "the device sends its sign for no value"
	}
	return trimmed, record.Valid, ""
}

// isNumber is a plain decimal number: no exponent, no grouping, no other sign.
func isNumber(s string) bool {
	if len(s) > maxValue {
		return false
	}
	if s != "" && (s[0] == '+' || s[0] == '-') {
		s = s[1:]
	}
	whole, fraction, point := strings.Cut(s, ".")
	if point && fraction == "" {
		return false
	}
	return whole+fraction != "" && isDigits(whole) && isDigits(fraction)
}
