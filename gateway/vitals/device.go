package vitals

import (
	"encoding/json"
	"fmt"
	"time"

	"nhip/gateway/record"
)

// A State is what is known of a device.
type State string

// States of a device.
const (
	Offline State = "offline" // no connection
	Online  State = "online"  // connected, and readings are fresh or not due yet
	Stale   State = "stale"   // connected, and the last reading is older than the limit
)

// A Device is the state machine of one monitor's messages: its sequence and its
// status. It is a plain value; one goroutine owns it. A new one begins offline
// with sequence 0.
type Device struct {
	Site, Unit, Name string
	Limit            time.Duration // a device without a reading for that long is stale; 0: never

	State State // empty: nothing was published yet
	Seq   uint64
	Since time.Time // of State
	Last  time.Time // when the last reading was received, by the clock of the day

	fresh time.Time // since when no reading was received, by the monotonic clock
}

// status is the retained payload of a device.
type status struct {
	Status      State   `json:"status"`
	Since       string  `json:"since"`
	LastReading *string `json:"last_reading"` // gateway time; null: none since the start
	Limit       float64 `json:"limit_seconds,omitempty"`
	Seq         uint64  `json:"seq"`
}

// Observe returns the messages of observations that were received at received:
// each with the next number of the sequence, before them the status where it changed. The
// sequence has no gap while the process lives (a new one begins at 1); who
// misses a number missed a reading.
//
// now is a reading of the monotonic clock too (time.Now): how old the last
// reading is does not change when the clock of the day is set. Readings that
// waited in the journal are as old as that clock says; one that was set back
// meanwhile makes no reading newer than now.
func (d *Device) Observe(observations []record.Observation, received, now time.Time) ([]Message, error) {
	if len(observations) == 0 {
		return nil, nil
	}
	d.Last = received
	messages := d.enter(Online, now)
	d.fresh = now.Add(-max(0, now.Sub(received)))
	for _, o := range observations {
		o.Unit, o.Device.Connection = d.Unit, d.Name
		m, err := Numeric(d.Site, o, d.Seq+1, received)
		if err != nil {
			return messages, err
		}
		d.Seq++
		messages = append(messages, m)
	}
	return messages, nil
}

// Connected and Disconnected tell what became of the connection.
func (d *Device) Connected(now time.Time) []Message {
	if d.State == Online || d.State == Stale {
		return nil
	}
	return d.enter(Online, now)
}

func (d *Device) Disconnected(now time.Time) []Message { return d.enter(Offline, now) }

// Timer is when TimedOut has to be called; zero: not before something happens.
func (d *Device) Timer() time.Time {
	if d.State != Online || d.Limit == 0 {
		return time.Time{}
	}
	return d.fresh.Add(d.Limit)
}

// TimedOut makes a device stale whose last reading is older than Limit.
func (d *Device) TimedOut(now time.Time) []Message {
	if t := d.Timer(); t.IsZero() || now.Before(t) {
		return nil
	}
	return d.enter(Stale, now)
}

func (d *Device) enter(s State, now time.Time) []Message {
	if d.State == s {
		return nil
	}
	d.State, d.Since, d.fresh = s, now, now
	return []Message{d.Status()}
}

// Status is the retained message of the state that is.
func (d *Device) Status() Message {
	s := status{Status: d.State, Since: d.Since.Format(timeForm), Limit: d.Limit.Seconds(), Seq: d.Seq}
	if !d.Last.IsZero() {
		last := d.Last.Format(timeForm)
		s.LastReading = &last
	}
	payload, err := json.Marshal(s)
	if err != nil { // strings and numbers only
		panic(fmt.Sprintf("vitals: %v", err))
	}
	return Message{Topic: StatusTopic(d.Site, d.Unit, d.Name), Payload: payload, Retain: true}
}
