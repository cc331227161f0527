package lis

import (
	"strconv"
	"strings"

	"golang.org/x/text/unicode/norm"

	"nhip/gateway/record"
	"nhip/hl7"
)

// AuthorityRules say who has given an identifier: what a link declares for
// senders that do not say it themselves, or say it in several ways. Without rules
// an identifier that names no authority belongs to its link alone.
type AuthorityRules struct {
	Link string
	// Unnamed has the authority of identifiers whose CX.4 is empty, by CX.5; under ""
	// that of all others.
	Unnamed map[string]string
	// Names has the authority by what CX.4 says: its namespace ID, its universal ID,
	// or both as they stand there.
	Names map[string]string
}

// maxIdentifiers is how many repetitions of PID-3 are read.
const maxIdentifiers = 50

// authority is who gave an identifier with this CX.4 (namespace ID, universal ID,
// type of it) and CX.5.
func (r AuthorityRules) authority(cx4 [3]string, cx5 string) string {
	whole := strings.TrimRight(strings.Join(cx4[:], "&"), "&")
	if whole == "" {
		for _, kind := range []string{cx5, ""} {
			if a := r.Unnamed[kind]; a != "" {
				return a
			}
		}
		return record.LinkAuthority(r.Link)
	}
	for _, name := range []string{whole, cx4[0], cx4[1]} {
		if a := r.Names[name]; name != "" && a != "" {
			return a
		}
	}
	return whole
}

// Identifier is a number that came without authority and type, as analysers say
// them.
func (r AuthorityRules) Identifier(value string) record.Identifier {
	return record.Identifier{Value: norm.NFC.String(value), Authority: r.authority([3]string{}, "")}
}

// In an authority the parts of CX.4 stand with & between them, and one that begins with
// ~ is a link's own: no part of CX.4 may look like either.
var (
	inAuthority    = strings.NewReplacer(`\`, `\E\`, "&", `\T\`, "~", `\R\`)
	outOfAuthority = strings.NewReplacer(`\E\`, `\`, `\T\`, "&", `\R\`, "~")
)

// ReadIdentifier reads data type CX (HL7 v2.5.1 section 2.A.14) of a field, path as
// "3" or "3[2]". ok is false where it is empty or null.
func ReadIdentifier(s hl7.Segment, path string, r AuthorityRules) (id record.Identifier, ok bool) {
	value, kind := said(s, path+".1"), said(s, path+".5")
	if value == "" {
		return id, false
	}
	var cx4 [3]string
	for i := range cx4 {
		cx4[i] = inAuthority.Replace(said(s, path+".4."+strconv.Itoa(i+1)))
	}
	return record.Identifier{Value: value, Authority: r.authority(cx4, kind), Type: kind}, true
}

// ReadIdentifiers reads the repetitions of a field, the first 50.
func ReadIdentifiers(s hl7.Segment, field int, r AuthorityRules) []record.Identifier {
	var all []record.Identifier
	for i := 1; i <= min(s.Repetitions(field), maxIdentifiers); i++ {
		if id, ok := ReadIdentifier(s, strconv.Itoa(field)+"["+strconv.Itoa(i)+"]", r); ok {
			all = append(all, id)
		}
	}
	return all
}

// ReadPerson reads a PID segment of a message, and the visit of the PV1 segment
// behind it. What is empty or null stays empty. Before 2.7 a patient may be named
// in PID-2 alone.
func ReadPerson(m *hl7.Message, pid hl7.Segment, r AuthorityRules) record.Person {
	p := record.Person{
		Identifiers: ReadIdentifiers(pid, 3, r),
		Name:        record.Name{Family: said(pid, "5.1.1"), Given: said(pid, "5.2"), Middle: said(pid, "5.3")},
		Birth:       said(pid, "7.1"), Sex: said(pid, "8.1"),
	}
	if len(p.Identifiers) == 0 {
		p.Identifiers = ReadIdentifiers(pid, 2, r)
	}
	if pv1, ok := VisitOf(m, pid); ok {
		p.Visit, ok = ReadIdentifier(pv1, "19", r)
		if ok {
			return p
		}
	}
	p.Visit, _ = ReadIdentifier(pid, "18", r)
	return p
}

// ReadName reads data type XPN (HL7 v2.5.1 section 2.A.89) of a field, its first
// repetition.
func ReadName(s hl7.Segment, field int) record.Name {
	f := strconv.Itoa(field)
	return record.Name{Family: said(s, f+".1.1"), Given: said(s, f+".2"), Middle: said(s, f+".3")}
}

// VisitOf is the PV1 segment that belongs to a PID segment: the first behind it and
// before the next PID.
func VisitOf(m *hl7.Message, pid hl7.Segment) (hl7.Segment, bool) {
	for _, s := range m.Segments("PID", "PV1") {
		switch {
		case s.Index <= pid.Index:
			continue
		case s.Name == "PV1":
			return s, true
		}
		break
	}
	return hl7.Segment{}, false
}

// said is a text in normalization form C; empty where it is null.
func said(s hl7.Segment, path string) string {
	t := strings.TrimSpace(norm.NFC.String(s.Get(path)))
	if t == hl7.Null {
		return ""
	}
	return t
}

// WritePerson writes PID-3, PID-5, PID-7, PID-8 and PID-18 of an empty PID segment. An
// authority that is a link's own is not written: its sender named none.
func WritePerson(s hl7.Segment, p record.Person) error {
	w := &writer{s: s}
	w.person(p)
	return w.err
}

func (w *writer) person(p record.Person) {
	for i, id := range p.Identifiers {
		w.identifier("3["+strconv.Itoa(i+1)+"]", id)
	}
	w.set("5.1", p.Name.Family)
	w.set("5.2", p.Name.Given)
	w.set("5.3", p.Name.Middle)
	w.set("7", record.BirthDate(p.Birth))
	w.set("8", p.Sex)
	w.identifier("18", p.Visit)
}

// identifier writes data type CX.
func (w *writer) identifier(path string, id record.Identifier) {
	w.set(path+".1", id.Value)
	if id.Value == "" {
		return
	}
	if !record.OfLink(id.Authority) {
		for i, part := range strings.SplitN(id.Authority, "&", 3) {
			w.set(path+".4."+strconv.Itoa(i+1), outOfAuthority.Replace(part))
		}
	}
	w.set(path+".5", id.Type)
}
