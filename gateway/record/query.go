package record

// A Query is what an analyser asks: which work is there for these specimens?
type Query struct {
	// Specimens are the identifiers as the profile finds them. Empty: work for what
	// stands at Rack and Position, or, where All is set, all work there is.
	Specimens []string
	All       bool
	// Rack, Position and Sequence are where the analyser has the specimen, in its own
	// words; an answer repeats them.
	Rack, Position, Sequence string
	SpecimenType             string
	Container                string
	// Tests are the analyser's codes that are asked for; empty: all.
	Tests []string
	// Cancel: an earlier query is withdrawn.
	Cancel bool
	// ID is the query's own identifier, where it has one.
	ID string
}

// A Work is what an analyser is to do with one specimen: the newest, uncancelled
// version of its orders, in the codes of the analyser.
type Work struct {
	Specimen     string
	SpecimenType string // of the order, HL7 table 0487
	Tests        []string
	Priority     string // "S" STAT, "A" as soon as possible, "R" or "" routine
	Patient      *Patient
	Collected    Time
	Order        string // placer order number
	// References are what the analyser knows the tests by, one for each; empty: it knows
	// them by nothing, or is told when they are sent.
	References []string
	// Services are what of the orders it is made of.
	Services []OrderedService
}

// An OrderedService is one service in one version of an order, as it is kept.
type OrderedService struct {
	Order   uint64
	Version int
	Service int
}
