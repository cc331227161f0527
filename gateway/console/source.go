package console

import (
	"context"
	"time"

	"nhip/gateway/alert"
	"nhip/gateway/config"
	"nhip/gateway/reason"
	"nhip/gateway/record"
)

// A Source tells the console what there is to show. Its methods are called from
// many goroutines and answer from what is in memory or near it: each call has a
// deadline of a few seconds.
type Source interface {
	// Status is one snapshot; its counts are those of one committed state.
	Status(ctx context.Context) (Status, error)
	// Messages are the last messages, the newest first, at most limit.
	Messages(ctx context.Context, limit int) ([]Message, error)
	// Results are what analysers reported, the newest first.
	Results(ctx context.Context, q Query) ([]Result, error)
	// Health is why the gateway would not acknowledge or cannot be reached;
	// empty when it would and every listener is open.
	Health(ctx context.Context) []Words
}

// Words is a text that the console has in its languages: a code of this package
// and what goes into its places, the reason into the last one. An unknown code
// shows the arguments as they are.
type Words struct {
	Code Code
	Args []string
	Why  reason.Reason
}

// Say makes Words, SayWhy those with a reason.
func Say(code Code, args ...string) Words { return Words{Code: code, Args: args} }
func SayWhy(code Code, why reason.Reason, args ...string) Words {
	return Words{Code: code, Args: args, Why: why}
}

// Status is the state of the gateway.
type Status struct {
	SiteID, SiteName string
	Version          string
	Started          time.Time
	Listen           Listen
	Connections      []Connection
	Queues           []Queue
	Held             []Held
	Counts           Counts
	Disk             Disk
	Alarms           []Alarm
	Alerts           alert.View
	Strangers        []Stranger
}

// Listen has the real addresses of the open listeners.
type Listen struct {
	Console, DICOM, DICOMTLS, HL7, MQTT []string
	HL7TLS, HL7HTTP, HL7HTTPS           []string
	Analyser, Monitor                   map[string]string // by name in the configuration
}

// A Connection is a device, a system or a destination of the configuration.
type Connection struct {
	Name     string
	Kind     string // "analyser", "modality", "monitor", "hl7_peer", "mqtt_user" or "destination"
	State    Words  // one of the State… codes
	Since    time.Time
	Last     time.Time // last message from it or acknowledgement by it; zero: none
	Profile  string
	OnTrial  bool
	Messages int64 // since start, or as the store has it
	Charset  int64 // messages since the start whose bytes disagreed with the character set that they declare
	// Drift is how far the device's clock is ahead of ours; nil: it told no time.
	Drift *time.Duration
	// Trouble is what is worth a look, of the Trouble… codes.
	Trouble []Words
}

// A Queue is what waits for a destination.
type Queue struct {
	Destination string
	Depth       int // all items, those held included
	Held        int // wait for a person
	Behind      int // wait behind a held item of the same specimen, study or patient
	Unanswered  int // were sent and not answered
	Uncommitted int // were delivered, and the destination has not committed itself to them yet
	Paused      bool
	Oldest      time.Time
}

// Held is an item that waits for a person.
type Held struct {
	ID          string
	Destination string // empty: it reached no queue of a destination
	Connection  string // where it came from
	Subject     string // specimen, SOP Instance UID, control ID: what a person would look for
	Reason      reason.Reason
	Since       time.Time
	Behind      int // items that wait behind it
}

// Counts are messages by destination, so that Accepted is the sum of the others
// but Refused.
type Counts struct {
	Accepted, Delivered, Queued, Held, Discarded, Expired int64
	Consumed                                              map[string]int64 // by kind, see the Consumed… codes
	Refused                                               int64
}

// ConsumedSum is the sum over the kinds.
func (c Counts) ConsumedSum() (n int64) {
	for _, v := range c.Consumed {
		n += v
	}
	return n
}

// Difference is accepted less everything that became of it: 0.
func (c Counts) Difference() int64 {
	return c.Accepted - c.Delivered - c.Queued - c.Held - c.Discarded - c.Expired - c.ConsumedSum()
}

// Disk is the file system of the data.
type Disk struct {
	Free, Total uint64 // bytes
	State       string // "open", "no images", "no intake", "no writing"; "" for not guarded
	Words       Words  // the state for people
	Since       time.Time

	ImagesBelow, ResultsBelow uint64 // free bytes below which they are refused
}

// An Alarm is something that the store found wrong.
type Alarm struct {
	What, Where string
	At          time.Time
}

// A Stranger was refused because the configuration does not name it.
type Stranger struct {
	config.Stranger
	Wanted reason.Reason
	Count  int64
	Last   time.Time
}

// A Message is one message that was received.
type Message struct {
	Ref        string // of the journal
	At         time.Time
	Connection string
	Kind       string // "astm", "hl7", "dicom", "mqtt", "serial"
	Subject    string // specimen, SOP Instance UID, …
	Bytes      int64
	OnTrial    bool
	Outcome    Words // one of the Outcome… codes
}

// A Query asks for results: of a specimen, or the last of devices on trial.
type Query struct {
	Specimen string // exactly; empty: any
	OnTrial  bool   // those of devices on trial only
	Limit    int
}

// A Result is what one message of an analyser says of one specimen.
type Result struct {
	Ref        string
	Received   time.Time
	OnTrial    bool
	Resent     bool // the operator sent it again
	Report     record.Report
	Deliveries []Delivery
}

// A Delivery is where a result is on its way to one destination.
type Delivery struct {
	Destination string
	Outcome     Words
	At          time.Time
}
