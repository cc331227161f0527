// Package vitals turns what monitors observe into messages for MQTT: a topic
// and a JSON payload for each observation, and a retained status for each
// device. It does no I/O and has no clock; who publishes and stores is its
// caller. No topic and no payload has an identifier of a patient in it.
//
// Nhịp is no alarm system: a status says that readings are missing, and nobody
// is called.
package vitals

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"nhip/gateway/record"
)

// A Message is what is to be published at QoS 1.
type Message struct {
	Topic   string
	Payload []byte
	Retain  bool
}

// Classes of topic: the last level.
const (
	classNumeric = "numeric"
	classStatus  = "status"
)

// NumericTopic and StatusTopic are the topics of a device,
// v1/{site}/{unit}/{device}/numeric and …/status.
func NumericTopic(site, unit, device string) string { return topic(site, unit, device, classNumeric) }
func StatusTopic(site, unit, device string) string  { return topic(site, unit, device, classStatus) }

func topic(site, unit, device, class string) string {
	return "v1/" + level(site) + "/" + level(unit) + "/" + level(device) + "/" + class
}

// level writes a name as one topic level: letters, digits, - _ . and ~ as they
// are, every other byte as %XX, so that two names never share a topic and none
// brings in a wildcard or a level of its own. An empty name is "%".
func level(name string) string {
	if name == "" {
		return "%"
	}
	var b strings.Builder
	for i := range len(name) {
		c := name[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-_.~", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		fmt.Fprintf(&b, "%%%02X", c)
	}
	return b.String()
}

// numeric is the payload of an observation. An empty value is one that the
// device does not have; the reason stands beside it.
type numeric struct {
	Code        int             `json:"code"` // 0: not an MDC code that we know
	MDC         string          `json:"mdc"`
	Value       string          `json:"value"`
	Unit        string          `json:"unit"` // UCUM; empty: not known
	UnitSent    string          `json:"unit_sent,omitempty"`
	DeviceTime  *string         `json:"device_time"` // null: the device sent none that can be read
	GatewayTime string          `json:"gateway_time"`
	Seq         uint64          `json:"seq"`
	State       record.Validity `json:"state"`
	Reason      string          `json:"reason,omitempty"`
}

const timeForm = "2006-01-02T15:04:05.000Z07:00"

// maxName is for the device's own name of a quantity or unit.
const maxName = 64

// Numeric returns the message of an observation that the gateway received at
// received; seq is the device's, see Device.
func Numeric(site string, o record.Observation, seq uint64, received time.Time) (Message, error) {
	n := numeric{
		Code: o.Code, MDC: cut(o.MDC), Value: o.Value, Unit: o.UCUM,
		GatewayTime: received.Format(timeForm), Seq: seq, State: o.State, Reason: o.Reason,
	}
	if o.UCUM == "" {
		n.UnitSent = cut(o.RawUnit)
	}
	if o.State != record.Valid {
		n.Value = "" // never a number that could be read as a reading
	}
	if !o.Observed.At.IsZero() {
		at := o.Observed.At.Format(timeForm)
		n.DeviceTime = &at
	}
	payload, err := json.Marshal(n)
	if err != nil {
		return Message{}, fmt.Errorf("vitals: %s: %w", o.Device.Connection, err)
	}
	return Message{Topic: NumericTopic(site, o.Unit, o.Device.Connection), Payload: payload}, nil
}

func cut(s string) string {
	if r := []rune(s); len(r) > maxName {
		return string(r[:maxName])
	}
	return s
}
