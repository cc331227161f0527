// Package mapping changes HL7 messages by rules that are data: maps of fields and
// tables of codes, with tests beside them. A rule takes one of a fixed list of
// steps at places of the message, under conditions; there are no loops, no variables
// and no scripts, so that whoever reads the map knows what it does. Applying a map
// is pure: the same message, received at the same time, becomes the same bytes.
//
// What a map cannot do to a message, such as look up a code that its table does not
// have, is never guessed: the message is held, with the rule and the place.
package mapping

// Steps of a rule.
const (
	Set     = "set"     // a text, or the components of a part
	Copy    = "copy"    // the bytes of a part
	Move    = "move"    // copy, and empty where it was
	Delete  = "delete"  // a segment, a repetition, or what is in a part
	LookUp  = "look-up" // a code in a table
	Split   = "split"   // one text to several places
	Join    = "join"    // several texts to one place
	Letters = "letters" // upper, lower, ASCII
	Pad     = "pad"     // to a width
	Trim    = "trim"    // characters off the ends
	Cut     = "cut"     // to a width
	Replace = "replace" // what a pattern matches
	Add     = "add"     // a segment, where there is none
	Drop    = "drop"    // the message is not sent
	Hold    = "hold"    // the message waits for a person
)

// A Spec is a map as it is written: the TOML file, strictly read (package config).
// `need` and `default` are as there.
type Spec struct {
	Name string `toml:"name" need:"yes"`
	// For are the messages that the map is for, as "ORU^R01" or "ADT"; none: all.
	// Others are sent as they are.
	For    []string `toml:"for" default:""`
	Tables []Table  `toml:"table"`
	Units  []Units  `toml:"units"`
	Rules  []Rule   `toml:"rule"`
	Tests  []Test   `toml:"test"`
}

// What becomes of a code that a table does not have.
const (
	UnknownHold    = "hold"    // the message is held
	UnknownPass    = "pass"    // the code stays as it is
	UnknownDefault = "default" // the table's default is written
)

// A Table translates codes.
type Table struct {
	Name    string   `toml:"name" need:"yes"`
	Unknown string   `toml:"unknown" default:"hold" oneof:"hold pass default"`
	Default []string `toml:"default" default:""`
	Rows    []Row    `toml:"row"`
}

// A Row is one code of a table, and when it holds.
type Row struct {
	From string   `toml:"from" need:"yes"`
	To   []string `toml:"to" need:"yes"` // one for each place that the look-up writes
	// Since and Until are days, "2026-01-01", both included; empty: no limit.
	Since string `toml:"since" default:""`
	Until string `toml:"until" default:""`
}

// A Rule is one step.
type Rule struct {
	Name string   `toml:"name" default:""` // default: its number
	Do   string   `toml:"do" need:"yes" oneof:"set copy move delete look-up split join letters pad trim cut replace add scale drop hold"`
	For  []string `toml:"for" default:""` // as that of the map
	// Each has the rule done once for each segment of a name ("OBX"), with what belongs
	// to it, or once for each repetition of a field ("PID-3[*]").
	Each  string   `toml:"each" default:""`
	Until []string `toml:"until" default:""` // the segments that end what belongs to one of Each
	At    []string `toml:"at" default:""`    // the places that are written
	From  []string `toml:"from" default:""`  // the places that are read; default: At
	// Missing is what is done where the segment of At is not there.
	Missing string `toml:"missing" default:"hold" oneof:"hold skip add"`

	After []string `toml:"after" default:""` // add: behind the last of these; default: at the end

	Value   string   `toml:"value" default:""`     // set: the text; replace: what stands there then, with $1 for a group
	Values  []string `toml:"values" default:""`    // set: the components
	Table   string   `toml:"table" default:""`     // look-up
	On      string   `toml:"on" default:""`        // look-up: the place of the day that decides on validity; default: the time of receipt
	By      string   `toml:"by" default:" "`       // split and join: what stands between
	Last    bool     `toml:"last" default:"false"` // split: from the end
	As      string   `toml:"as" default:""`        // letters: upper, lower, ascii
	Width   int      `toml:"width" default:"0"`    // pad and cut: characters
	With    string   `toml:"with" default:""`      // pad: the character, default 0; trim: the characters, default blanks
	Side    string   `toml:"side" default:""`      // pad: left (default) or right; trim: both (default), left or right; cut: right (default) or left
	Pattern string   `toml:"pattern" default:""`   // replace: RE2
	Why     string   `toml:"why" default:""`       // drop and hold: for people

	Units string `toml:"units" default:""` // scale
	Keep  string `toml:"keep" default:""`  // scale: where the value and unit as they came are written, "OBX-13"

	When []Condition `toml:"when"`
}

// A Condition is what must be so for a rule to be done. Where At names several places,
// one of them is enough, but for Not.
type Condition struct {
	At      string   `toml:"at" need:"yes"`
	Is      []string `toml:"is" default:""`  // one of these texts; "" is an empty place
	Not     []string `toml:"not" default:""` // no place has one of these texts
	Present string   `toml:"present" default:"" oneof:"yes no"`
	Matches string   `toml:"matches" default:""` // RE2
}

// A Test is a message, and what the map makes of it. Of Out, Unchanged, Drops and
// Holds one is given.
type Test struct {
	Name      string `toml:"name" need:"yes"`
	In        string `toml:"in" need:"yes"` // a segment a line
	Out       string `toml:"out" default:""`
	Unchanged bool   `toml:"unchanged" default:"false"`
	Drops     string `toml:"drops" default:""` // the name of the rule
	Holds     string `toml:"holds" default:""` // the name of the rule
	Received  string `toml:"received" default:"2026-01-01"`
}
