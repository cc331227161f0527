package console

// A Code names a text that the console has in its languages. {0}, {1} … are
// the places of the arguments.
type Code string

// States of connections.
const (
	StateListening Code = "listening" // {0} the address where it is expected
	StateConnected Code = "connected" // {0} the peer
	StateDialling  Code = "dialling"  // {0} the address
	StateAbsent    Code = "absent"    // {0} the serial device
	StateRefused   Code = "refused"   // {0} what the peer or the system said
	StateFailed    Code = "failed"    // {0} what the system said
	StateUnheard   Code = "unheard"   // configured, nothing came yet
	StateHeard     Code = "heard"     // {0} the address it came from
	StateWarned    Code = "warned"    // {0} the peer, {1} what is wrong with its messages
	StateOffline   Code = "offline"   // an MQTT user or device that is not connected now
	StateIdle      Code = "idle"      // a destination without work
	StateSending   Code = "sending"   // a destination at work
	StateUnreached Code = "unreached" // {0} what the system said; a destination
	StateRetrying  Code = "retrying"  // {0} the attempt, {1} what went wrong
	StateHolding   Code = "holding"   // {0} how many items wait for a person
	StatePaused    Code = "paused"    // {0} by whom, {1} how many wait
)

// What is worth a look at a connection.
const (
	TroubleSilent  Code = "trouble.silent"  // it is open, and nothing has come
	TroubleUnread  Code = "trouble.unread"  // bytes came, and no message
	TroubleENQ     Code = "trouble.enq"     // {0} how many of our ENQ it did not answer
	TroubleNAK     Code = "trouble.nak"     // {0} how many NAK in a row we answered
	TroubleHeld    Code = "trouble.held"    // {0} how many of its messages are held, {1} why the oldest is
	TroubleRefused Code = "trouble.refused" // {0} how many are held for {1}, {2} why the oldest is
)

// What became of a message or delivery.
const (
	OutcomeStored    Code = "out.stored"    // on disk, not yet interpreted
	OutcomeQueued    Code = "out.queued"    // {0} the destinations
	OutcomeBehind    Code = "out.behind"    // {0} the destination
	OutcomeDelivered Code = "out.delivered" // {0} the destinations
	OutcomeHeld      Code = "out.held"      // before it has a destination
	OutcomeHeldFor   Code = "out.held-for"  // {0} the destinations
	OutcomeDiscarded Code = "out.discarded" // {0} by whom
	OutcomeExpired   Code = "out.expired"
	OutcomeConsumed  Code = "out.consumed"  // {0} the kind
	OutcomePublished Code = "out.published" // by MQTT, and nowhere else
	OutcomeTrial     Code = "out.trial"
	OutcomeRefused   Code = "out.refused" // {0} the answer given
)

// Kinds of consumed messages: the keys of Counts.Consumed.
const (
	ConsumedQuery           Code = "query"
	ConsumedAcknowledgement Code = "acknowledgement"
	ConsumedDuplicate       Code = "duplicate"
	ConsumedControl         Code = "control"
	ConsumedIgnored         Code = "ignored"
	ConsumedNoDestination   Code = "no_destination"
	ConsumedTrial           Code = "trial"
	ConsumedNoResult        Code = "no_result"
	ConsumedNoObservation   Code = "no_observation"
	ConsumedStep            Code = "step"
	ConsumedCommitment      Code = "commitment"
	ConsumedFiltered        Code = "filtered"
	ConsumedOrder           Code = "order"
	ConsumedPatient         Code = "patient"
)

// Why the gateway is not healthy.
const (
	HealthStarting Code = "health.starting"
	HealthStopping Code = "health.stopping"
	HealthStore    Code = "health.store"
	HealthListener Code = "health.listener" // {0} which, {1} what the system said
	HealthDisk     Code = "health.disk"     // {0} bytes free
	HealthBalance  Code = "health.balance"  // {0} what differs
)

// What the guard of the disk does.
const (
	DiskOpen      Code = "disk.open"
	DiskNoImages  Code = "disk.no_images"
	DiskNoIntake  Code = "disk.no_intake"
	DiskNoWriting Code = "disk.no_writing"
)

// A tone says how a state is to be seen.
type tone string

const (
	good    tone = "good"
	neutral tone = "neutral"
	warn    tone = "warn"
	bad     tone = "bad"
)

// tones of the codes; others are neutral.
var tones = map[Code]tone{
	DiskOpen: good, DiskNoImages: warn, DiskNoIntake: bad, DiskNoWriting: bad,
	StateListening: neutral, StateConnected: good, StateDialling: warn, StateWarned: warn, StateAbsent: bad,
	StateRefused: bad, StateFailed: bad, StateHeard: good, StateIdle: good,
	StateSending: good, StateUnreached: bad, StateRetrying: warn, StateHolding: bad, StatePaused: warn,
	TroubleSilent: warn, TroubleUnread: warn, TroubleENQ: warn, TroubleNAK: bad, TroubleHeld: bad, TroubleRefused: bad,
	OutcomeDelivered: good, OutcomePublished: good, OutcomeHeld: bad, OutcomeHeldFor: bad, OutcomeRefused: bad, OutcomeQueued: warn, OutcomeBehind: warn,
}

func (w Words) tone() tone {
	if t, ok := tones[w.Code]; ok {
		return t
	}
	return neutral
}
