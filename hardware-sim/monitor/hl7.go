package monitor

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"nhip/hardware-sim/truth"
	"nhip/hardware-sim/wire"
)

// Options of a monitor.
type Options struct {
	Name     string    // of the connection; stands in the topic
	Seed     uint64    // equal seeds and names give equal readings
	Start    time.Time // of the run; makes message control IDs of runs differ
	Every    time.Duration
	Limit    int            // messages or lines in all; 0 is no limit
	Zone     *time.Location // of the device's clock
	Watchers []string       // who must see the observations; see Watcher
	Watching func() bool    // whether they can now; nil: always
	Truth    *truth.Log
	Log      *slog.Logger
}

// offer announces the readings of one moment.
func (o Options) offer(items []truth.Item) {
	for _, i := range items {
		o.Truth.Offer(i)
	}
}

// acknowledge says that the gateway has them. Nobody can blame the gateway for
// what the watcher could not see.
func (o Options) acknowledge(items []truth.Item) {
	watching := o.Watching == nil || o.Watching()
	for _, i := range items {
		o.Truth.Acknowledge(i.ID)
		if !watching {
			o.Truth.Excuse(i.ID, "the subscriber was not connected")
		}
	}
}

// A Monitor sends ORU^R01 of HL7 2.6 in the shape of IHE PCD-01, each message
// until it is answered AA or CA.
type Monitor struct {
	o    Options
	walk *walk

	mu      sync.Mutex
	sent    int
	cuts    int
	faults  Faults
	stopped bool
}

// New returns a monitor that is not connected yet.
func New(o Options) *Monitor { return &Monitor{o: o, walk: newWalk(o.Seed, o.Name, metrics)} }

// Stop ends the measuring: Run returns after the message it is sending.
func (m *Monitor) Stop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stopped = true
}

// Faults of a monitor.
type Faults struct {
	CutLine int `toml:"cut_line" name:"cut-line" help:"The line breaks after the next message was sent." placeholder:"N"`
}

// Inject adds faults to those that are still due.
func (m *Monitor) Inject(f Faults) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faults.CutLine += f.CutLine
}

// cut reports whether the line is to be cut now, and counts it.
func (m *Monitor) cut() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.faults.CutLine == 0 {
		return false
	}
	m.faults.CutLine--
	m.cuts++
	return true
}

// Sent is the number of messages that were acknowledged.
func (m *Monitor) Sent() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.sent
}

// Counters says how often each fault was done.
func (m *Monitor) Counters() map[string]int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return map[string]int{"line cut": m.cuts}
}

func (m *Monitor) done(number int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.stopped || m.o.Limit > 0 && number >= m.o.Limit
}

const (
	answerTime = 10 * time.Second
	redial     = 500 * time.Millisecond
)

// Run sends a message every so often until ctx ends or it is stopped. A monitor
// has no memory: while there is no line, readings are not made.
func (m *Monitor) Run(ctx context.Context, connect func(context.Context) (wire.Line, error)) {
	number := 0
	var pending *message
	for ctx.Err() == nil && (pending != nil || !m.done(number)) {
		c, err := connect(ctx)
		if err == nil {
			err = m.converse(ctx, c, &number, &pending)
			c.Close()
		}
		if err == nil {
			return
		}
		m.o.Log.Debug("line", "monitor", m.o.Name, "state", err)
		wire.Wait(ctx, redial)
	}
}

type message struct {
	id    string
	bytes []byte
	items []truth.Item
}

func (m *Monitor) converse(ctx context.Context, c wire.Line, number *int, pending **message) error {
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	in := bufio.NewReader(c)
	tick := time.NewTicker(m.o.Every)
	defer tick.Stop()
	for {
		if *pending == nil {
			if m.done(*number) {
				return nil
			}
			p := m.message(*number, time.Now())
			m.o.offer(p.items)
			*number++
			*pending = &p
		}
		if err := m.exchange(c, in, **pending); err != nil {
			return err
		}
		m.o.acknowledge((*pending).items)
		*pending = nil
		m.mu.Lock()
		m.sent++
		m.mu.Unlock()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// exchange sends a message once and awaits its answer; whatever else happens
// breaks the line.
func (m *Monitor) exchange(c wire.Line, in *bufio.Reader, p message) error {
	until := time.Now().Add(answerTime)
	if err := errors.Join(c.SetWriteDeadline(until), c.SetReadDeadline(until)); err != nil {
		return err
	}
	if _, err := c.Write(wire.Block(p.bytes)); err != nil {
		return err
	}
	if m.cut() {
		return errors.New("cut by the simulator")
	}
	for {
		block, err := wire.ReadBlock(in)
		if err != nil {
			return err
		}
		msa := wire.First(wire.Split(block), "MSA")
		if msa == nil || msa.Field(2) != p.id {
			continue
		}
		if code := msa.Field(1); code != "AA" && code != "CA" {
			return errors.New("answered " + code)
		}
		return nil
	}
}

// message is the readings of one moment. The patient in it is made up, and must
// not come out again.
func (m *Monitor) message(number int, now time.Time) message {
	at := now.In(m.o.Zone).Truncate(time.Millisecond)
	stamp := at.Format("20060102150405.000-0700")
	p := message{id: fmt.Sprintf("%x%06d", m.o.Start.Unix(), number+1)}
	segments := []string{
		fmt.Sprintf(`MSH|^~\&|HWSIM^0009FB0000000001^EUI-64||NHIP||%s||ORU^R01^ORU_R01|%s|P|2.6|||NE|AL||UNICODE UTF-8|||IHE_PCD_001^IHE PCD^1.3.6.1.4.1.19376.1.6.1.1.1^ISO`, stamp, p.id),
		fmt.Sprintf("PID|||%s^^^HWSIM^PI||%s^Minh^^^^^L||19600101|M", patientID, patientName),
		"PV1||I|ICU^^" + wire.Escape(m.o.Name),
		fmt.Sprintf("OBR|1|%s^HWSIM|%s^HWSIM|182777000^monitoring of patient^SCT|||%s", p.id, p.id, stamp),
		"OBX|1||69965^MDC_DEV_MON_PHYSIO_MULTI_PARAM_MDS^MDC|1.0.0.0|||||||X|||" + stamp + "||||0009FB0000000001^^0009FB0000000001^EUI-64",
	}
	for n, value := range m.walk.next(metrics) {
		x := metrics[n]
		segments = append(segments, fmt.Sprintf("OBX|%d|NM|%d^%s^MDC|1.1.%d.%d|%s|%d^%s^MDC|||||R|||%s||||0009FB0000000001^^0009FB0000000001^EUI-64",
			n+2, x.code, x.mdc, n+1, x.code, value, x.unit, x.mdcUnit, stamp))
		p.items = append(p.items, observation(m.o.Name, number+1, x, value, at, m.o.Watchers))
	}
	p.bytes = []byte(strings.Join(segments, "\r") + "\r")
	return p
}

// The patient of every monitor.
const (
	patientID   = "HWSIM-88412"
	patientName = "Secretname"
)
