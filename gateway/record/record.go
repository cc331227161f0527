// Package record is what moves through the gateway, in no wire format: what an
// analyser reports of a specimen, what a monitor observes, what a modality
// stores. It imports the standard library only. Text is carried as the device
// sent it, decoded to UTF-8; nothing here is rounded, converted or guessed.
package record

import "time"

// A Device is where a record comes from.
type Device struct {
	Connection string // the name in the configuration
	Profile    string // profile ID, e.g. "sysmex-xn-l"
	Model      string // as the device names itself, e.g. "XN-550"
	Serial     string // as the device names itself
	Software   string
	MaMay      string `json:",omitempty"` // the site's code of the machine (MA_MAY); empty: none
}

// A Patient is the patient as the device named one. Nothing is matched here.
type Patient struct {
	ID    string // identifier as sent
	Name  Name
	Birth string // as sent (YYYYMMDD or shorter)
	Sex   string // as sent
}

// A Name is a person's name by components. A device that sends one string has
// it in Family.
type Name struct {
	Family string `json:"f,omitempty"`
	Given  string `json:"g,omitempty"`
	Middle string `json:"m,omitempty"`
}

// Empty reports whether no part of the name is known.
func (n Name) Empty() bool { return n == Name{} }

// A Specimen is the material that was examined.
type Specimen struct {
	ID        string // exactly as the profile finds it, blanks that pad the field removed
	Type      string // as sent, or as the profile declares; empty: unknown
	Rack      string // rack and position as sent, for display
	Collected Time
}

// A Time is a time as the device sent it and what it means.
type Time struct {
	Text string    // as sent
	At   time.Time // zero where Text could not be read
}

// A Report is what one message of an analyser says of one specimen.
type Report struct {
	Device      Device
	Patient     *Patient // nil where the device named none
	Specimen    Specimen
	Order       string // the order's universal service identifier, where the device repeats one
	Priority    string // "S" STAT, "A" as soon as possible, "R" routine, "" not said (LIS02 O.6, OBR-27, TQ1-9)
	Control     bool   // control material: never in the patient lane
	Calibration bool   `json:",omitempty"` // of a calibration; Control is true too
	Lot         string `json:",omitempty"` // of the control material, as sent
	Material    string `json:",omitempty"` // its name, as sent
	Level       string `json:",omitempty"` // its level, as sent
	MessageID   string // the device's own message control ID, if any
	MessageTime Time
	Results     []Result
	Comments    []string // comments that belong to the order or patient
}

// Stat reports whether the report overtakes others.
func (r Report) Stat() bool { return r.Priority == "S" || r.Priority == "STAT" }

// A Result is one value of a Report.
type Result struct {
	Code     string // the device's test code, or the site's for it
	System   string `json:",omitempty"` // the coding system of a code of the site's; empty: the code is the device's
	Text     string // its name where known
	LOINC    string // from the profile; empty: not mapped
	Declared bool   // the profile knows the code
	Value    string // the device's text, unchanged
	// The parts of Value, where the profile or its form tells them apart: "<", "0.05",
	// "negative". All empty: not told apart.
	Comparator  string `json:",omitempty"`
	Quantity    string `json:",omitempty"`
	Qualitative string `json:",omitempty"`
	Unit        string // as sent
	UCUM        string // from the profile; empty: not mapped
	Range       string // reference range as sent
	Flag        string // abnormal flags as sent (LIS02 R.7, HL7 table 0078)
	Status      string // HL7 table 0085: F final, P preliminary, C corrected, X cancelled …
	Observed    Time   // when the test was completed
	Analysed    Time
	Operator    string
	Instrument  string
	Comments    []string
}

// A Validity says whether a reading may be used.
type Validity string

// The validities of an observation.
const (
	Valid        Validity = "valid"
	Unavailable  Validity = "unavailable"  // the device says that it has no value
	Questionable Validity = "questionable" // the device doubts it
	Test         Validity = "test"         // demonstration or test data
)

// An Observation is one reading of a monitor.
type Observation struct {
	Device   Device
	Unit     string // hospital unit (ward), from the configuration
	Code     int    // MDC code, partition*65536+term; 0: not known
	MDC      string // reference identifier, e.g. MDC_PULS_OXIM_SAT_O2; or the device's own name of it
	Value    string // as sent; empty when State is not valid
	UCUM     string // unit
	RawUnit  string // unit as sent
	State    Validity
	Reason   string // why it is not valid, in words
	Observed Time   // device time; zero where the device has none
}

// An Object is one SOP instance on its way.
type Object struct {
	SOPClassUID, SOPInstanceUID, TransferSyntaxUID string
	StudyInstanceUID, SeriesInstanceUID            string
	Modality, AccessionNumber, PatientID           string
	CharacterSet                                   string
}
