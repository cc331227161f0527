package mqtt

import "strings"

// Limits of a topic name or filter; ours have five levels.
const (
	maxTopicBytes  = 512
	maxTopicLevels = 16
)

// covered reports whether one of the filters that were granted covers want, a
// topic name or a topic filter: everything that want matches is matched by it.
// MQTT 5 section 4.7. Names that begin with $ ($SYS, $share) are never covered.
func covered(granted []string, want string) bool {
	if want == "" || want[0] == '$' || len(want) > maxTopicBytes {
		return false
	}
	levels := strings.Split(want, "/")
	if len(levels) > maxTopicLevels || !validFilter(levels) {
		return false
	}
	for _, g := range granted {
		if covers(strings.Split(g, "/"), levels) {
			return true
		}
	}
	return false
}

func covers(granted, want []string) bool {
	for i, g := range granted {
		switch {
		case g == "#": // also its parent level, MQTT 5 section 4.7.1.2
			return true
		case i >= len(want):
			return false
		case want[i] == "#":
			return false
		case g != "+" && g != want[i]:
			return false
		}
	}
	return len(granted) == len(want)
}

// validFilter is MQTT 5 section 4.7.1: a wildcard stands for a whole level, and
// # for the last.
func validFilter(levels []string) bool {
	for i, l := range levels {
		if l == "+" || l == "#" && i == len(levels)-1 {
			continue
		}
		if strings.ContainsAny(l, "+#\x00") {
			return false
		}
	}
	return true
}
