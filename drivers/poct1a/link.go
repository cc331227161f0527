package poct1a

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"strconv"
	"strings"
	"time"

	"nhip/drivers/session"
	"nhip/gateway/record"
)

const (
	vt = 0x0B
	fs = 0x1C

	messageTime = 60 * time.Second // from its beginning to its end
)

// Link is the host's side of a conversation, a session.Core.
type Link struct {
	d    Dialect
	now  func() time.Time
	text []byte // that has come and is not taken yet
	mllp bool   // the device uses MLLP blocks
	next int    // our control IDs

	root   *element // the message whose Store is being carried out
	raw    []byte
	topic  bool // we asked for observations
	unseen session.Unseen
}

var _ session.Core = (*Link)(nil)

// NewLink returns a link before HEL. now is the clock for HDR.creation_dttm.
func NewLink(d Dialect, now func() time.Time) *Link { return &Link{d: d, now: now} }

// Idle is true between two messages.
func (k *Link) Idle() bool { return len(k.text) == 0 }

// Receive takes bytes up to the first that needs actions.
func (k *Link) Receive(p []byte) (int, []session.Action) {
	for n, b := range p {
		if len(k.text) == 0 && b != vt && b != '<' { // white space, CR behind FS
			continue
		}
		k.text = append(k.text, b)
		if message := k.whole(); message != nil {
			k.text = nil
			return n + 1, append([]session.Action{session.Wait{}}, k.message(message)...)
		}
		if len(k.text) > maxMessage {
			k.text = nil
			return n + 1, []session.Action{session.Close{Reason: fmt.Sprintf("message over %d characters", maxMessage)}}
		}
	}
	if len(k.text) > 0 {
		return len(p), []session.Action{session.Wait{For: messageTime}}
	}
	return len(p), nil
}

// whole is the message, once its end has come: FS of a block, or the end tag of the
// first element.
func (k *Link) whole() []byte {
	last := k.text[len(k.text)-1]
	if k.text[0] == vt {
		if last != fs {
			return nil
		}
		k.mllp = true
		return k.text[1 : len(k.text)-1]
	}
	if last != '>' {
		return nil
	}
	k.mllp = false
	name := rootName(k.text)
	if name == "" {
		return nil
	}
	if bytes.HasSuffix(k.text, []byte("</"+name+">")) {
		return k.text
	}
	return nil
}

// rootName is the name of the first element behind a declaration, comments and
// white space; empty while it has not come.
func rootName(text []byte) string {
	for {
		text = bytes.TrimSpace(text)
		if len(text) < 2 || text[0] != '<' {
			return ""
		}
		if text[1] != '?' && text[1] != '!' {
			break
		}
		end := bytes.IndexByte(text, '>')
		if end < 0 {
			return ""
		}
		text = text[end+1:]
	}
	end := bytes.IndexAny(text, " \t\r\n/>")
	if end < 1 {
		return ""
	}
	return string(text[1:end])
}

// message answers a message.
func (k *Link) message(text []byte) []session.Action {
	root, err := parse(text)
	if err != nil {
		return []session.Action{
			session.Incomplete{Message: bytes.Clone(text), Reason: err.Error()},
			session.Send{Bytes: k.acknowledge("", "AE", "not well-formed"), Why: err.Error()},
		}
	}
	id := root.child("HDR").child("HDR.control_id").attribute("V")
	switch root.name {
	case "ACK.R01": // of what we sent
		return nil
	case "DST.R01":
		return k.status(root, id)
	case "EOT.R01":
		return k.endOfTopic(id)
	case "END.R01":
		return []session.Action{k.ack(id), session.Ended{}, session.Close{Reason: "the device ended the conversation"}}
	case "HEL.R01", "KPA.R01":
		return []session.Action{k.ack(id)}
	}
	// Observations, events and what else it has to say: kept first.
	k.root, k.raw = root, bytes.Clone(text)
	actions := k.unseen.Before(k.raw)
	return append(actions, session.Store{Messages: [][]byte{k.raw}}, k.ack(id))
}

// StoreFailed refuses the message; the device keeps it.
func (k *Link) StoreFailed() []session.Action {
	id := k.root.child("HDR").child("HDR.control_id").attribute("V")
	return []session.Action{session.Send{Bytes: k.acknowledge(id, "AE", "not stored"), Why: "not stored"}}
}

// status asks for the observations that the device has.
func (k *Link) status(root *element, id string) []session.Action {
	actions := []session.Action{k.ack(id)}
	if n, err := strconv.Atoi(root.child("DST").child("DST.new_observations_qty").attribute("V")); err == nil && n == 0 {
		return append(actions, k.further()...)
	}
	k.topic = true
	return append(actions, k.send("REQ.R01", `<REQ><REQ.request_cd V="ROBS"/></REQ>`))
}

func (k *Link) endOfTopic(id string) []session.Action {
	actions := []session.Action{k.ack(id), session.Ended{}}
	k.unseen.Forget()
	if !k.topic {
		return actions
	}
	k.topic = false
	return append(actions, k.further()...)
}

// further is what follows when the device has nothing more.
func (k *Link) further() []session.Action {
	if k.d.Mode == "basic" {
		return []session.Action{k.send("END.R01", `<TRM><TRM.reason_cd V="NRM"/></TRM>`)}
	}
	return []session.Action{k.send("DTV.R01", `<DTV><DTV.command_cd V="START_CONTINUOUS"/></DTV>`)}
}

func (k *Link) ack(id string) session.Send { return session.Send{Bytes: k.acknowledge(id, "AA", "")} }

func (k *Link) acknowledge(id, code, note string) []byte {
	name := k.d.AckID
	if name == "" {
		name = "ack_control_id"
	}
	body := `<ACK><ACK.type_cd V="` + code + `"/><ACK.` + name + ` V="` + escape(id) + `"/>`
	if note != "" {
		body += `<ACK.note_txt V="` + escape(note) + `"/>`
	}
	return k.wrap("ACK.R01", body+`</ACK>`)
}

func (k *Link) send(name, body string) session.Send { return session.Send{Bytes: k.wrap(name, body)} }

func (k *Link) wrap(name, body string) []byte {
	k.next++
	text := `<` + name + `><HDR><HDR.control_id V="` + strconv.Itoa(k.next) + `"/><HDR.version_id V="POCT1"/>` +
		`<HDR.creation_dttm V="` + k.now().Format("2006-01-02T15:04:05-07:00") + `"/></HDR>` + body + `</` + name + `>`
	if !k.mllp {
		return []byte(text)
	}
	b := append([]byte{vt}, text...)
	return append(b, fs, '\r')
}

func escape(text string) string {
	var b strings.Builder
	if err := xml.EscapeText(&b, []byte(text)); err != nil { // a Builder takes everything
		return ""
	}
	return b.String()
}

// TimedOut gives up a message whose end did not come.
func (k *Link) TimedOut() []session.Action { return k.Cut("no end of the message for 60 s") }

// Cut hands over what came of a message.
func (k *Link) Cut(reason string) []session.Action {
	text := bytes.Trim(k.text, "\v \r\n")
	k.text = nil
	if len(text) == 0 {
		return nil
	}
	return []session.Action{session.Incomplete{Message: bytes.Clone(text), Reason: reason}}
}

// Answered: nothing is asked.
func (k *Link) Answered([]record.Work, bool) []session.Action { return nil }
