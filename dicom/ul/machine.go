package ul

import "fmt"

// A State of an association, PS3.8 tables 9-1 to 9-5.
type State byte

const (
	Sta1  State = iota + 1 // Idle
	Sta2                   // Transport connection open (awaiting A-ASSOCIATE-RQ PDU)
	Sta3                   // Awaiting local A-ASSOCIATE response primitive
	Sta4                   // Awaiting transport connection opening to complete
	Sta5                   // Awaiting A-ASSOCIATE-AC or A-ASSOCIATE-RJ PDU
	Sta6                   // Association established and ready for data transfer
	Sta7                   // Awaiting A-RELEASE-RP PDU
	Sta8                   // Awaiting local A-RELEASE response primitive
	Sta9                   // Release collision requestor side; awaiting A-RELEASE response primitive
	Sta10                  // Release collision acceptor side; awaiting A-RELEASE-RP PDU
	Sta11                  // Release collision requestor side; awaiting A-RELEASE-RP PDU
	Sta12                  // Release collision acceptor side; awaiting A-RELEASE response primitive
	Sta13                  // Awaiting transport connection close indication
)

func (s State) String() string { return fmt.Sprintf("Sta%d", byte(s)) }

// An Event of the state machine, PS3.8 table 9-10, first column.
type Event byte

const (
	EvtAssociateRequest    Event = iota + 1 // A-ASSOCIATE request primitive
	EvtTransportConfirm                     // transport connect confirmation
	EvtAssociateAC                          // A-ASSOCIATE-AC PDU received
	EvtAssociateRJ                          // A-ASSOCIATE-RJ PDU received
	EvtTransportIndication                  // transport connection indication
	EvtAssociateRQ                          // A-ASSOCIATE-RQ PDU received
	EvtAccept                               // A-ASSOCIATE response primitive (accept)
	EvtReject                               // A-ASSOCIATE response primitive (reject)
	EvtPDataRequest                         // P-DATA request primitive
	EvtPDataTF                              // P-DATA-TF PDU received
	EvtReleaseRequest                       // A-RELEASE request primitive
	EvtReleaseRQ                            // A-RELEASE-RQ PDU received
	EvtReleaseRP                            // A-RELEASE-RP PDU received
	EvtReleaseResponse                      // A-RELEASE response primitive
	EvtAbortRequest                         // A-ABORT request primitive
	EvtAbort                                // A-ABORT PDU received
	EvtTransportClosed                      // transport connection closed indication
	EvtARTIM                                // ARTIM timer expired
	EvtInvalidPDU                           // unrecognized or invalid PDU received
)

func (e Event) String() string { return fmt.Sprintf("Evt%d", byte(e)) }

// An Action of PS3.8 tables 9-6 to 9-9.
type Action byte

const (
	none Action = iota
	AE1
	AE2
	AE3
	AE4
	AE5
	AE6
	AE7
	AE8
	DT1
	DT2
	AR1
	AR2
	AR3
	AR4
	AR5
	AR6
	AR7
	AR8
	AR9
	AR10
	AA1
	AA2
	AA3
	AA4
	AA5
	AA6
	AA7
	AA8
)

// A Do is one thing that an action says to do.
type Do byte

const (
	ConnectTransport  Do = iota + 1 // issue a transport connect request
	AcceptTransport                 // issue a transport connect response
	SendAssociateRQ                 // send the A-ASSOCIATE-RQ PDU
	SendAssociateAC                 // send the A-ASSOCIATE-AC PDU
	SendAssociateRJ                 // send the A-ASSOCIATE-RJ PDU
	SendPDataTF                     // send the P-DATA-TF PDU
	SendReleaseRQ                   // send the A-RELEASE-RQ PDU
	SendReleaseRP                   // send the A-RELEASE-RP PDU
	SendAbort                       // send the A-ABORT PDU, service user source
	SendProviderAbort               // send the A-ABORT PDU, service provider source
	IndicateAssociate               // A-ASSOCIATE indication
	ConfirmAccept                   // A-ASSOCIATE confirmation (accept)
	ConfirmReject                   // A-ASSOCIATE confirmation (reject)
	IndicatePData                   // P-DATA indication
	IndicateRelease                 // A-RELEASE indication
	ConfirmRelease                  // A-RELEASE confirmation
	IndicateAbort                   // A-ABORT or A-P-ABORT indication, by the source in the PDU
	IndicatePAbort                  // A-P-ABORT indication
	StartARTIM                      // start, or restart, the ARTIM timer
	StopARTIM
	CloseTransport
)

// actions are PS3.8 tables 9-6 (AE), 9-7 (DT), 9-8 (AR) and 9-9 (AA). What is in
// do is carried out in that order. AE-6 and AR-8 have a second outcome: see Step.
var actions = [...]struct {
	name string
	do   []Do
	next State
}{
	AE1:  {"AE-1", []Do{ConnectTransport}, Sta4},
	AE2:  {"AE-2", []Do{SendAssociateRQ}, Sta5},
	AE3:  {"AE-3", []Do{ConfirmAccept}, Sta6},
	AE4:  {"AE-4", []Do{ConfirmReject, CloseTransport}, Sta1},
	AE5:  {"AE-5", []Do{AcceptTransport, StartARTIM}, Sta2},
	AE6:  {"AE-6", []Do{StopARTIM, IndicateAssociate}, Sta3},
	AE7:  {"AE-7", []Do{SendAssociateAC}, Sta6},
	AE8:  {"AE-8", []Do{SendAssociateRJ, StartARTIM}, Sta13},
	DT1:  {"DT-1", []Do{SendPDataTF}, Sta6},
	DT2:  {"DT-2", []Do{IndicatePData}, Sta6},
	AR1:  {"AR-1", []Do{SendReleaseRQ}, Sta7},
	AR2:  {"AR-2", []Do{IndicateRelease}, Sta8},
	AR3:  {"AR-3", []Do{ConfirmRelease, CloseTransport}, Sta1},
	AR4:  {"AR-4", []Do{SendReleaseRP, StartARTIM}, Sta13},
	AR5:  {"AR-5", []Do{StopARTIM}, Sta1},
	AR6:  {"AR-6", []Do{IndicatePData}, Sta7},
	AR7:  {"AR-7", []Do{SendPDataTF}, Sta8},
	AR8:  {"AR-8", []Do{IndicateRelease}, Sta9},
	AR9:  {"AR-9", []Do{SendReleaseRP}, Sta11},
	AR10: {"AR-10", []Do{ConfirmRelease}, Sta12},
	AA1:  {"AA-1", []Do{SendAbort, StartARTIM}, Sta13},
	AA2:  {"AA-2", []Do{StopARTIM, CloseTransport}, Sta1},
	AA3:  {"AA-3", []Do{IndicateAbort, CloseTransport}, Sta1},
	AA4:  {"AA-4", []Do{IndicatePAbort}, Sta1},
	AA5:  {"AA-5", []Do{StopARTIM}, Sta1},
	AA6:  {"AA-6", nil, Sta13},
	AA7:  {"AA-7", []Do{SendProviderAbort}, Sta13},
	AA8:  {"AA-8", []Do{SendProviderAbort, IndicatePAbort, StartARTIM}, Sta13},
}

func (a Action) String() string { return actions[a].name }

// table is PS3.8 table 9-10: the action for each event (row) in each state
// (column). An empty cell is an event that cannot occur in that state.
var table = [...][13]Action{
	//                         Sta1  Sta2  Sta3  Sta4  Sta5  Sta6  Sta7  Sta8  Sta9  Sta10 Sta11 Sta12 Sta13
	EvtAssociateRequest:    {AE1},
	EvtTransportConfirm:    {none, none, none, AE2},
	EvtAssociateAC:         {none, AA1, AA8, none, AE3, AA8, AA8, AA8, AA8, AA8, AA8, AA8, AA6},
	EvtAssociateRJ:         {none, AA1, AA8, none, AE4, AA8, AA8, AA8, AA8, AA8, AA8, AA8, AA6},
	EvtTransportIndication: {AE5},
	EvtAssociateRQ:         {none, AE6, AA8, none, AA8, AA8, AA8, AA8, AA8, AA8, AA8, AA8, AA7},
	EvtAccept:              {none, none, AE7},
	EvtReject:              {none, none, AE8},
	EvtPDataRequest:        {none, none, none, none, none, DT1, none, AR7},
	EvtPDataTF:             {none, AA1, AA8, none, AA8, DT2, AR6, AA8, AA8, AA8, AA8, AA8, AA6},
	EvtReleaseRequest:      {none, none, none, none, none, AR1},
	EvtReleaseRQ:           {none, AA1, AA8, none, AA8, AR2, AR8, AA8, AA8, AA8, AA8, AA8, AA6},
	EvtReleaseRP:           {none, AA1, AA8, none, AA8, AA8, AR3, AA8, AA8, AR10, AR3, AA8, AA6},
	EvtReleaseResponse:     {none, none, none, none, none, none, none, AR4, AR9, none, none, AR4},
	EvtAbortRequest:        {none, none, AA1, AA2, AA1, AA1, AA1, AA1, AA1, AA1, AA1, AA1},
	EvtAbort:               {none, AA2, AA3, none, AA3, AA3, AA3, AA3, AA3, AA3, AA3, AA3, AA2},
	EvtTransportClosed:     {none, AA5, AA4, AA4, AA4, AA4, AA4, AA4, AA4, AA4, AA4, AA4, AR5},
	EvtARTIM:               {none, AA2, none, none, none, none, none, none, none, none, none, none, AA2},
	EvtInvalidPDU:          {none, AA1, AA8, none, AA8, AA8, AA8, AA8, AA8, AA8, AA8, AA8, AA7},
}

// A Machine is the state machine of one association. The zero value is not
// ready: use NewMachine. A copy is a snapshot.
type Machine struct {
	state     State
	requestor bool
}

// NewMachine returns an idle machine of the association requestor or acceptor.
func NewMachine(requestor bool) Machine { return Machine{Sta1, requestor} }

// State returns the state.
func (m *Machine) State() State { return m.state }

// Step takes an event and returns what is to be done, in order; the slice is
// not to be changed. An event that cannot occur in the state is an error and
// changes nothing: only local events can be, never what a peer sends while the
// transport connection is open.
//
// AE-6 is answered here as acceptable to the service provider; where it is not
// (protocol version, local limit), the caller steps EvtReject at once, which
// sends the same PDU and reaches the same state. AR-8 goes to Sta10 where we
// are the acceptor.
func (m *Machine) Step(e Event) ([]Do, error) {
	a := none
	if int(e) < len(table) {
		a = table[e][m.state-1]
	}
	if a == none {
		return nil, fmt.Errorf("dicom/ul: %v cannot occur in %v", e, m.state)
	}
	m.state = actions[a].next
	if a == AR8 && !m.requestor {
		m.state = Sta10
	}
	return actions[a].do, nil
}
