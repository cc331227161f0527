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
	if err != nil || a.String() != cell || m.state != want || !slices.Equal(do, actions[a].do) {
		t.Errorf("%v in %v: %v to %v, %v; want %s to %v", e, before.state, a, m.state, err, cell, want)
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
