package capture

import (
	"slices"
	"time"

	"nhip/drivers/item"
	"nhip/drivers/profile"
	"nhip/drivers/session"
)

// ownProtocol: messages are neither LIS02 records nor HL7; only the profile says how they
// are read.
func ownProtocol(p *profile.Profile) bool {
	return p != nil && p.Protocol() != profile.ASTM && messages(p) != "hl7"
}

// decodeItems reads what an analyser of a protocol of its own said, as its driver does.
func decodeItems(recording []byte, p *profile.Profile, zone *time.Location) (Output, error) {
	d := &decoder{p: p, zone: zone, out: Output{Protocol: p.Protocol(), Profile: p.ID(), Messages: []Message{}, Problems: []Problem{}}}
	core := p.Core()
	if core == nil { // a file is one message
		d.items(0, recording)
	} else {
		d.stream(core, recording)
	}
	if !slices.ContainsFunc(d.out.Messages, func(m Message) bool { return len(m.Records) > 0 }) {
		return Output{}, ErrUnreadable
	}
	return d.out, nil
}

// stream plays the device's bytes to the driver, which has no work to hand out. A message
// begins where the bytes before it were done with.
func (d *decoder) stream(core session.Core, recording []byte) {
	at, begun := 0, 0
	var do func([]session.Action)
	do = func(actions []session.Action) {
		for _, a := range actions {
			switch a := a.(type) {
			case session.Store:
				for _, message := range a.Messages {
					d.items(begun, message)
				}
				begun = at
			case session.Incomplete:
				d.problem(begun, a.Reason)
				begun = at
			case session.Ask:
				do(core.Answered(nil, true))
			case session.Send:
				if a.Why != "" {
					d.problem(begun, a.Why)
				}
			case session.Close:
				d.problem(at, a.Reason)
			}
		}
	}
	for at < len(recording) {
		n, actions := core.Receive(recording[at:])
		if n == 0 && len(actions) == 0 {
			break
		}
		at += n
		do(actions)
	}
	do(core.TimedOut())
	do(core.Cut("the recording ends"))
}

// items puts out one message of the driver.
func (d *decoder) items(offset int, message []byte) {
	m := Message{Offset: offset, Frames: []Frame{}, Records: []Record{}, Results: []Result{}}
	records, _, err := d.p.Items(message)
	if err != nil {
		d.problem(offset, err.Error())
		d.out.Messages = append(d.out.Messages, m)
		return
	}
	for _, r := range records {
		m.Records = append(m.Records, named(r))
	}
	d.results(&m, message)
	d.out.Messages = append(d.out.Messages, m)
}

// named is a record of a driver, its fields in the order of their names.
func named(r item.Record) Record {
	x := Record{Type: r.Kind, Fields: []string{r.Kind}, Names: []string{""}}
	for name := range r.Fields {
		x.Names = append(x.Names, name)
	}
	slices.Sort(x.Names)
	for _, name := range x.Names[1:] {
		s, _ := text([]byte(r.Fields[name]))
		x.Fields = append(x.Fields, s)
	}
	return x
}
