package config

import (
	"fmt"
	"strings"
)

// A Stranger is a peer that was refused because the configuration does not name
// it. What it said of itself is untrusted.
type Stranger struct {
	Kind         string // "dicom", "hl7", "mqtt"; "analyser" or "monitor" at the port of Device
	Address      string // IP address
	CallingAE    string
	CalledAE     string
	Application  string // MSH-3
	Facility     string // MSH-4
	User         string // MQTT
	CalledIsOurs bool   // the called AE title is [dicom].ae_title
	Location     string // PV1-3 of a monitor's message, for a bed that its connection is not for
	Device       string // whose port it is, for "analyser" and "monitor": a name of the configuration
}

// Admission is the block of configuration that would admit the stranger, to be
// completed by a person; "" where naming it would not help.
func Admission(s Stranger) string {
	switch s.Kind {
	case "dicom":
		if !s.CalledIsOurs {
			return fmt.Sprintf("# It calls %s. Correct that on the device, or in the file:\n[dicom]\nae_title = %s\n", quote(s.CalledAE), quote(s.CalledAE))
		}
		return block("modality", nameFrom(s.CallingAE, "modality"), "ae_title", s.CallingAE, "address", s.Address) + "to = []\n"
	case "hl7":
		return block("hl7_peer", nameFrom(s.Application, "system"), "address", s.Address, "application", s.Application, "facility", s.Facility) + "to = []\n"
	case "mqtt":
		name := nameFrom(s.User, "user")
		return block("mqtt_user", name, "password_file", name+".pw") + "subscribe = []\npublish = []\n"
	case "analyser", "monitor":
		if s.Location != "" {
			return fmt.Sprintf("# In the [[monitor]] with name = %s, if that is its bed:\nlocation = %s\n", quote(s.Device), quote(s.Location))
		}
		return fmt.Sprintf("# In the [[%s]] with name = %s, where its address is listed:\naddress = [%s]\n", s.Kind, quote(s.Device), quote(s.Address))
	}
	return ""
}

func block(kind, name string, pairs ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "[[%s]]\nname = %s\n", kind, quote(name))
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			fmt.Fprintf(&b, "%s = %s\n", pairs[i], quote(pairs[i+1]))
		}
	}
	return b.String()
}

// nameFrom makes a name by the rule of names from what the peer said.
func nameFrom(said, otherwise string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(said) {
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			b.WriteRune(r)
		case b.Len() > 0:
			b.WriteByte('-')
		}
		if b.Len() == 40 {
			break
		}
	}
	if name := strings.Trim(b.String(), "-"); name != "" {
		return name
	}
	return otherwise
}

// quote writes a TOML basic string. Everything but printable ASCII is escaped:
// the text came from a stranger and is to be read and copied by a person.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r >= ' ' && r <= '~':
			b.WriteRune(r)
		default:
			fmt.Fprintf(&b, `\U%08X`, r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
