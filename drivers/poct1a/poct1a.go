// Package poct1a is the device messaging layer of CLSI POCT1-A2: XML messages of a
// point of care device, each acknowledged by ACK.R01 (connection profile SA). Sources:
// NovaNet DML interface specification 2.59 (12 September 2012) and PixCell HS-IL-00067
// rev. 06 (HemoScreen), as public descriptions and drivers quote them.
//
//	HEL.R01 -> ACK   DST.R01 -> ACK, REQ.R01 (ROBS)
//	OBS.R01, OBS.R02, EVS.R01 … -> stored, ACK   EOT.R01 -> ACK, then END.R01 or DTV.R01
//
// Messages stand in MLLP blocks or follow each other bare: both are read, and answered
// in the same form. Link is the conversation (a session.Core); Records takes an
// observation message apart.
package poct1a

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"nhip/drivers/item"
)

// A Dialect is how a model deviates: [poct1a] of a profile.
type Dialect struct {
	Source string `toml:"source"`
	// AckID is the name of the acknowledged control ID: "ack_control_id" (default) or
	// "control_id".
	AckID string `toml:"ack_id"`
	// Mode is what follows when the device has sent what it had: "continuous" (default:
	// the connection stays, results come as they are made) or "basic": END.R01.
	Mode string `toml:"mode"`
}

// Check says in words what is wrong.
func (d Dialect) Check() []string {
	var found []string
	if d.Source == "" {
		found = append(found, "source is missing")
	}
	if !slices.Contains([]string{"", "ack_control_id", "control_id"}, d.AckID) {
		found = append(found, fmt.Sprintf("ack_id %q is neither ack_control_id nor control_id", d.AckID))
	}
	if !slices.Contains([]string{"", "continuous", "basic"}, d.Mode) {
		found = append(found, fmt.Sprintf("mode %q is neither continuous nor basic", d.Mode))
	}
	return found
}

// Limits of a message.
const (
	maxMessage  = 4 << 20
	maxDepth    = 32
	maxElements = 100_000
)

// An element of a message: <OBS.value V="5.4" U="mmol/L"/>.
type element struct {
	name     string
	v        map[string]string // attributes
	text     string
	children []*element
}

// attribute is an attribute, "V" the value. Where V is empty the text between the
// tags is what is said.
func (e *element) attribute(name string) string {
	if e == nil {
		return ""
	}
	if v := e.v[name]; v != "" || name != "V" {
		return v
	}
	return strings.TrimSpace(e.text)
}

// child is the first child of a name, or nil.
func (e *element) child(name string) *element {
	if e == nil {
		return nil
	}
	for _, c := range e.children {
		if c.name == name {
			return c
		}
	}
	return nil
}

// parse reads a message. Its errors do not quote it.
func parse(message []byte) (*element, error) {
	d := xml.NewDecoder(bytes.NewReader(message))
	d.CharsetReader = func(charset string, input io.Reader) (io.Reader, error) {
		return nil, fmt.Errorf("poct1a: the character set is not UTF-8")
	}
	top := &element{}
	stack := []*element{top}
	for n := 0; ; n++ {
		token, err := d.Token()
		if errors.Is(err, io.EOF) && len(stack) == 1 && len(top.children) == 1 {
			return top.children[0], nil
		}
		if err != nil {
			return nil, errors.New("poct1a: the message is no well-formed XML")
		}
		if n > maxElements || len(stack) > maxDepth {
			return nil, errors.New("poct1a: the message has too many elements, or too deep ones")
		}
		in := stack[len(stack)-1]
		switch t := token.(type) {
		case xml.StartElement:
			e := &element{name: t.Name.Local, v: make(map[string]string, len(t.Attr))}
			for _, a := range t.Attr {
				e.v[a.Name.Local] = a.Value
			}
			in.children = append(in.children, e)
			stack = append(stack, e)
		case xml.EndElement:
			stack = stack[:len(stack)-1]
		case xml.CharData:
			in.text += string(t)
		case xml.Directive: // a DTD: nothing of it is used, and nothing is fetched
		}
	}
}

// Records takes a message apart. H: message (OBS.R01), control_id, creation_dttm. For
// each SVC: P with the fields of PT; O with those of SVC, and of its other objects with
// the object before the name (ord_order_id, spc_type_cd, opr_operator_id, ctc_name,
// ctc_lot_number, rgt_lot_number); R with those of OBS, and observation_name (DN),
// observation_system (SN), unit (U). C has text, behind what it belongs to.
func Records(message []byte) ([]item.Record, []string, error) {
	root, err := parse(message)
	if err != nil {
		return nil, nil, err
	}
	hdr := root.child("HDR")
	records := []item.Record{item.New(item.Header, "message", root.name,
		"control_id", hdr.child("HDR.control_id").attribute("V"), "creation_dttm", hdr.child("HDR.creation_dttm").attribute("V"))}
	if dev := root.child("DEV"); dev != nil {
		fields(records[0].Fields, dev, "DEV.", "dev_")
	}
	for _, svc := range root.children {
		if svc.name == "SVC" {
			records = append(records, service(svc)...)
		}
	}
	return records, nil, nil
}

// service is one SVC: the objects that describe the specimen may stand behind its
// observations.
func service(svc *element) []item.Record {
	patient, order := item.New(item.Patient), item.New(item.Order)
	var comments, results []item.Record
	fields(order.Fields, svc, "SVC.", "")
	for _, o := range svc.children {
		switch o.name {
		case "PT", "CTC": // a patient, or control material
			if o.name == "PT" {
				fields(patient.Fields, o, "PT.", "")
			} else {
				fields(order.Fields, o, "CTC.", "ctc_")
			}
			for _, obs := range o.children {
				if obs.name == "OBS" {
					results = append(results, observation(obs)...)
				}
			}
		case "OBS":
			results = append(results, observation(o)...)
		case "ORD", "SPC", "OPR", "RGT":
			fields(order.Fields, o, o.name+".", strings.ToLower(o.name)+"_")
		case "NTE":
			comments = append(comments, note(o)...)
		}
	}
	all := []item.Record{order}
	if len(patient.Fields) > 0 {
		all = []item.Record{patient, order}
	}
	return append(append(all, comments...), results...)
}

func note(o *element) []item.Record {
	text := o.child("NTE.text").attribute("V")
	if text == "" {
		return nil
	}
	return []item.Record{item.New(item.Comment, "text", text)}
}

func observation(obs *element) []item.Record {
	r := item.New(item.Result)
	fields(r.Fields, obs, "OBS.", "")
	id, value := obs.child("OBS.observation_id"), obs.child("OBS.value")
	for name, text := range map[string]string{
		"observation_name": id.attribute("DN"), "observation_system": id.attribute("SN"), "unit": value.attribute("U"), "null": value.attribute("NULL"),
	} {
		if text != "" {
			r.Fields[name] = text
		}
	}
	all := []item.Record{r}
	for _, o := range obs.children {
		if o.name == "NTE" {
			all = append(all, note(o)...)
		}
	}
	return all
}

// fields puts the fields of an object under their names, with - as _. The first of a
// name counts.
func fields(to map[string]string, object *element, prefix, before string) {
	for _, c := range object.children {
		name, mine := strings.CutPrefix(c.name, prefix)
		if !mine {
			continue
		}
		name = before + strings.ReplaceAll(strings.ToLower(name), "-", "_")
		if text := c.attribute("V"); text != "" && to[name] == "" {
			to[name] = text
		}
	}
}
