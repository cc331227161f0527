package ul

import (
	"slices"
	"strings"
	"testing"
)

// standard is PS3.8 table 9-10 as printed: a row per event, a column per state.
const standard = `
        Sta1  Sta2  Sta3  Sta4  Sta5  Sta6  Sta7  Sta8  Sta9  Sta10 Sta11 Sta12 Sta13
Evt1    AE-1  -     -     -     -     -     -     -     -     -     -     -     -
Evt2    -     -     -     AE-2  -     -     -     -     -     -     -     -     -
Evt3    -     AA-1  AA-8  -     AE-3  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-6
Evt4    -     AA-1  AA-8  -     AE-4  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-6
Evt5    AE-5  -     -     -     -     -     -     -     -     -     -     -     -
Evt6    -     AE-6  AA-8  -     AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-7
Evt7    -     -     AE-7  -     -     -     -     -     -     -     -     -     -
Evt8    -     -     AE-8  -     -     -     -     -     -     -     -     -     -
Evt9    -     -     -     -     -     DT-1  -     AR-7  -     -     -     -     -
Evt10   -     AA-1  AA-8  -     AA-8  DT-2  AR-6  AA-8  AA-8  AA-8  AA-8  AA-8  AA-6
Evt11   -     -     -     -     -     AR-1  -     -     -     -     -     -     -
Evt12   -     AA-1  AA-8  -     AA-8  AR-2  AR-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-6
Evt13   -     AA-1  AA-8  -     AA-8  AA-8  AR-3  AA-8  AA-8  AR-10 AR-3  AA-8  AA-6
Evt14   -     -     -     -     -     -     -     AR-4  AR-9  -     -     AR-4  -
Evt15   -     -     AA-1  AA-2  AA-1  AA-1  AA-1  AA-1  AA-1  AA-1  AA-1  AA-1  -
Evt16   -     AA-2  AA-3  -     AA-3  AA-3  AA-3  AA-3  AA-3  AA-3  AA-3  AA-3  AA-2
Evt17   -     AA-5  AA-4  AA-4  AA-4  AA-4  AA-4  AA-4  AA-4  AA-4  AA-4  AA-4  AR-5
Evt18   -     AA-2  -     -     -     -     -     -     -     -     -     -     AA-2
Evt19   -     AA-1  AA-8  -     AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-7
`

// next is the last column of PS3.8 tables 9-6 to 9-9.
var next = map[string]State{
	"AE-1": Sta4, "AE-2": Sta5, "AE-3": Sta6, "AE-4": Sta1, "AE-5": Sta2, "AE-6": Sta3, "AE-7": Sta6, "AE-8": Sta13,
	"DT-1": Sta6, "DT-2": Sta6,
	"AR-1": Sta7, "AR-2": Sta8, "AR-3": Sta1, "AR-4": Sta13, "AR-5": Sta1, "AR-6": Sta7, "AR-7": Sta8, "AR-9": Sta11, "AR-10": Sta12,
	"AA-1": Sta13, "AA-2": Sta1, "AA-3": Sta1, "AA-4": Sta1, "AA-5": Sta1, "AA-6": Sta13, "AA-7": Sta13, "AA-8": Sta13,
}

// effects is the second column of the same tables, in the words of this package, in
// the order in which the standard has them; what is sent goes before what is closed.
var effects = map[string]string{
	"AE-1":  "connect",
	"AE-2":  "send A-ASSOCIATE-RQ",
	"AE-3":  "confirm accept",
	"AE-4":  "confirm reject, close",
	"AE-5":  "take connection, start ARTIM",
	"AE-6":  "stop ARTIM, indicate associate",
	"AE-7":  "send A-ASSOCIATE-AC",
	"AE-8":  "send A-ASSOCIATE-RJ, start ARTIM",
	"DT-1":  "send P-DATA-TF",
	"DT-2":  "indicate P-DATA",
	"AR-1":  "send A-RELEASE-RQ",
	"AR-2":  "indicate release",
	"AR-3":  "confirm release, close",
	"AR-4":  "send A-RELEASE-RP, start ARTIM",
	"AR-5":  "stop ARTIM",
	"AR-6":  "indicate P-DATA",
	"AR-7":  "send P-DATA-TF",
	"AR-8":  "indicate release",
	"AR-9":  "send A-RELEASE-RP",
	"AR-10": "confirm release",
	"AA-1":  "send A-ABORT of the user, start ARTIM",
	"AA-2":  "stop ARTIM, close",
	"AA-3":  "indicate abort, close",
	"AA-4":  "indicate provider abort",
	"AA-5":  "stop ARTIM",
	"AA-6":  "",
	"AA-7":  "send A-ABORT of the provider",
	"AA-8":  "send A-ABORT of the provider, indicate provider abort, start ARTIM",
}

var effectWords = map[Do]string{
	ConnectTransport: "connect", AcceptTransport: "take connection",
	SendAssociateRQ: "send A-ASSOCIATE-RQ", SendAssociateAC: "send A-ASSOCIATE-AC", SendAssociateRJ: "send A-ASSOCIATE-RJ",
	SendPDataTF: "send P-DATA-TF", SendReleaseRQ: "send A-RELEASE-RQ", SendReleaseRP: "send A-RELEASE-RP",
	SendAbort: "send A-ABORT of the user", SendProviderAbort: "send A-ABORT of the provider",
	IndicateAssociate: "indicate associate", ConfirmAccept: "confirm accept", ConfirmReject: "confirm reject",
	IndicatePData: "indicate P-DATA", IndicateRelease: "indicate release", ConfirmRelease: "confirm release",
	IndicateAbort: "indicate abort", IndicatePAbort: "indicate provider abort",
	StartARTIM: "start ARTIM", StopARTIM: "stop ARTIM", CloseTransport: "close",
}

func inWords(do []Do) string {
	var words []string
	for _, d := range do {
		words = append(words, effectWords[d])
	}
	return strings.Join(words, ", ")
}

const events = EvtInvalidPDU

func TestEveryCellIsTheStandards(t *testing.T) {
	used := map[Action]bool{}
	lines := strings.Split(strings.TrimSpace(standard), "\n")[1:]
	if len(lines) != int(events) {
		t.Fatalf("%d rows", len(lines))
	}
	for e := Event(1); e <= events; e++ {
		cells := strings.Fields(lines[e-1])
		if cells[0] != e.String() {
			t.Fatalf("row %v is %s", e, cells[0])
		}
		for s := Sta1; s <= Sta13; s++ {
			for _, requestor := range []bool{true, false} {
				checkCell(t, e, Machine{s, requestor}, cells[s], used)
			}
		}
	}
	for a := AE1; a <= AA8; a++ {
		if !used[a] {
			t.Errorf("%v is used nowhere", a)
		}
	}
}

func checkCell(t *testing.T, e Event, m Machine, cell string, used map[Action]bool) {
	before := m
	do, err := m.Step(e)
	if cell == "-" {
		if err == nil || m != before {
			t.Errorf("%v in %v: %v, %v; want an error and no change", e, before.state, do, m.state)
		}
		return
	}
	a := table[e][before.state-1]
	used[a] = true
	want := next[cell]
	if cell == "AR-8" {
		want = map[bool]State{true: Sta9, false: Sta10}[m.requestor]
	}
	if err != nil || a.String() != cell || m.state != want || inWords(do) != effects[cell] {
		t.Errorf("%v in %v: %v (%s) to %v, %v; want %s (%s) to %v", e, before.state, a, inWords(do), m.state, err, cell, effects[cell], want)
	}
}

// What a peer can send, or do to the connection, while that is open.
var fromPeer = []Event{EvtAssociateAC, EvtAssociateRJ, EvtAssociateRQ, EvtPDataTF, EvtReleaseRQ, EvtReleaseRP, EvtAbort, EvtTransportClosed, EvtInvalidPDU}

func TestPeerCannotCauseUndefinedEvent(t *testing.T) {
	for s := Sta2; s <= Sta13; s++ {
		if s == Sta4 {
			continue // not connected
		}
		for _, e := range fromPeer {
			m := Machine{state: s}
			if _, err := m.Step(e); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestClosedTransportLeadsToIdle(t *testing.T) {
	for s := Sta2; s <= Sta13; s++ {
		m := Machine{state: s}
		if _, err := m.Step(EvtTransportClosed); err != nil || m.state != Sta1 {
			t.Errorf("%v: %v, %v", s, m.state, err)
		}
	}
}

// Contract: before the association AA-1, source user; later AA-8, source
// provider.
func TestWhoAborts(t *testing.T) {
	for _, e := range []Event{EvtPDataTF, EvtInvalidPDU} {
		m := Machine{state: Sta2}
		if do, _ := m.Step(e); !slices.Equal(do, []Do{SendAbort, StartARTIM}) {
			t.Errorf("%v in Sta2: %v", e, do)
		}
	}
	m := Machine{state: Sta6}
	if do, _ := m.Step(EvtInvalidPDU); !slices.Equal(do, []Do{SendProviderAbort, IndicatePAbort, StartARTIM}) {
		t.Error(do)
	}
}

func TestUnknownEventIsAnError(t *testing.T) {
	m := NewMachine(true)
	if _, err := m.Step(200); err == nil {
		t.Error("event 200 was taken")
	}
}
