package monitor

import "time"

// Protocols of a profile.
const (
	ProtocolHL7  = "hl7"  // ORU^R01 in MLLP: ORU
	ProtocolLine = "line" // ASCII lines: Lines and Serve
)

// A Profile is a kind of device that a configuration may name.
type Profile struct {
	ID       string
	Title    string
	Protocol string
	Serial   string // usual settings of the serial port

	parse func(string, Source) (Reading, LineKind)
}

var profiles = []Profile{
	{ID: "hl7-pcd01", Title: "HL7 ORU^R01, IHE PCD-01 and its dialects", Protocol: ProtocolHL7},
	{ID: "masimo-ascii1", Title: "Masimo Radical-7, ASCII 1", Protocol: ProtocolLine, Serial: "baud=9600&data=8&parity=none&stop=1", parse: parseMasimo},
	{ID: "nellcor-n595", Title: "Nellcor N-595", Protocol: ProtocolLine, Serial: "baud=9600&data=8&parity=none&stop=1", parse: parseNellcor},
	{ID: "nonin-ascii", Title: "Nonin Avant, 8500, 2500, 9847", Protocol: ProtocolLine, Serial: "baud=9600&data=8&parity=none&stop=1", parse: parseNonin},
}

// Profiles are the profiles of monitors, by ID.
func Profiles() []Profile { return append([]Profile(nil), profiles...) }

// Lookup returns the profile with an ID.
func Lookup(id string) (Profile, bool) {
	for _, p := range profiles {
		if p.ID == id {
			return p, true
		}
	}
	return Profile{}, false
}

// Lines returns a line core for one connection; nil for a profile that does not
// speak in lines.
func (p Profile) Lines(s Source) *Lines {
	if p.parse == nil {
		return nil
	}
	if s.Zone == nil {
		s.Zone = time.UTC
	}
	if s.Device.Profile == "" {
		s.Device.Profile = p.ID
	}
	return &Lines{parse: p.parse, source: s}
}
