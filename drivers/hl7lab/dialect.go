// Package hl7lab is what an analyser that speaks HL7 asks its host, and how it is
// answered: the query of the Mindray BS and CL series (QRY^Q02, QCK^Q02, DSR^Q03), and
// the IHE Laboratory Analytical Workflow (PaLM TF-2: LAB-27 QBP^Q11 and RSP^K11,
// LAB-28 OML^O33 and ORL^O34) with the dialect of Roche. Everything is a function of a
// message; the connection is that of hl7/mllp. Results (ORU^R01, OUL^R22) are read by
// package profile.
//
// Sources: for QRY^Q02 the Mindray BS-200/BS-300/BS-400 host interface manual,
// appendix E (p. 28: QCK; p. 32: DSR with DSP-1 to 28 and "DSP|29||1^^^|||"), as public
// drivers quote it; for LAW, IHE PaLM TF-2 sections 3.27 and 3.28, the host interface
// manual of the cobas x800 (QPD-1 WOS_ROCHE, MSH-21 LAB-27R^ROCHE) as quoted there.
package hl7lab

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"nhip/drivers/textline"
	"nhip/gateway/record"
	"nhip/hl7"
	"nhip/hl7/vncharset"
)

// A Dialect is how a model asks and wants to be answered: [hl7] of a profile.
type Dialect struct {
	Source string `toml:"source"`
	// Form of its queries: "none" (default), "dsr" or "law".
	Form string `toml:"query"`
	// Deadline of the look-up: "5s" is the default.
	Deadline textline.Span `toml:"deadline"`
	// Unknown, of LAW, is what a specimen without orders gets behind RSP^K11: "dc"
	// (default), OML^O33 with the order control DC, or "nothing". In the form "dsr" it
	// always is QAK NF.
	Unknown string `toml:"unknown"`
	// OrderProfile, of LAW, is MSH-21 of OML^O33: "LAB-28^IHE" is the default, Roche
	// has "LAB-28R^ROCHE".
	OrderProfile string `toml:"order_profile"`
	// TestSystem, of LAW, is the coding system of the tests in OBR-4.3.
	TestSystem string `toml:"test_system"`
	// Orders, of LAW, are by the book ("ihe", default), or "roche", as cobas pro and pure
	// have them: the specimen is marked BARCODE, its kind and its tube come back as the
	// query had them (QPD-10, 11), the tests are numbered, and we are called what the
	// query called us. Their query by sequence number
	// (INISEQ) has no specimen in it.
	Orders string `toml:"orders"`
	// Unasked, of LAW, is how work is sent that was not asked for: "none" (default) or
	// "oml", OML^O33 unsolicited (AWOS Broadcast). Retract is how it is taken back:
	// "none" (default) or "ca", OML^O33 with the order control CA for each AWOS.
	Unasked string `toml:"download"`
	Retract string `toml:"cancel"`
	// Types, of the form "dsr", are its words for the kinds of specimens, by their codes
	// of HL7 table 0487: [[specimen_type]] of the profile. What has none is not said.
	Types map[string]string `toml:"-"`
	// Names is the set in which names are written: of the profile, or of the site.
	Names vncharset.Names `toml:"-"`
}

// Downloads reports whether work may be sent that was not asked for.
func (d Dialect) Downloads() bool { return d.Unasked == "oml" }

// Cancels reports whether work can be taken back.
func (d Dialect) Cancels() bool { return d.Retract == "ca" }

const defaultDeadline = 5 * time.Second

// Within is the deadline of the look-up.
func (d Dialect) Within() time.Duration {
	if d.Deadline == 0 {
		return defaultDeadline
	}
	return time.Duration(d.Deadline)
}

// Check says in words what is wrong.
func (d Dialect) Check() []string {
	var found []string
	word := func(name, value string, allowed ...string) {
		if value != "" && !slices.Contains(allowed, value) {
			found = append(found, fmt.Sprintf("%s %q is none of %q", name, value, allowed))
		}
	}
	if d.Source == "" {
		found = append(found, "source is missing")
	}
	word("query", d.Form, "none", "dsr", "law")
	word("unknown", d.Unknown, "dc", "nothing")
	word("orders", d.Orders, "ihe", "roche")
	word("download", d.Unasked, "none", "oml")
	word("cancel", d.Retract, "none", "ca")
	if d.Form != "law" && (d.Downloads() || d.Cancels()) {
		found = append(found, `download = "oml" and cancel = "ca" are for query = "law"`)
	}
	if d.Form != "law" && (d.Unknown != "" || d.OrderProfile != "" || d.TestSystem != "" || d.Orders != "") {
		found = append(found, `unknown, order_profile, orders and test_system are for query = "law"`)
	}
	return found
}

// Asks reports whether a message is a query of this dialect.
func (d Dialect) Asks(m *hl7.Message) bool {
	code, event, _ := m.Type()
	switch d.Form {
	case "dsr":
		return code == "QRY" && event == "Q02"
	case "law":
		return code == "QBP" && event == "Q11"
	}
	return false
}

// Query reads a query.
func (d Dialect) Query(m *hl7.Message) (record.Query, error) {
	if d.Form == "law" {
		return d.lawQuery(m)
	}
	q := record.Query{ID: m.Get("QRD-4"), Cancel: m.Get("QRD-9.1") == "CAN"}
	if id := strings.TrimSpace(m.Get("QRD-8.1")); id != "" {
		q.Specimens = []string{id}
		return q, nil
	}
	if q.Cancel {
		return q, nil
	}
	return q, fmt.Errorf("hl7lab: QRD-8 is empty: a query for all samples is not answered")
}

func (d Dialect) lawQuery(m *hl7.Message) (record.Query, error) {
	q := record.Query{ID: m.Get("QPD-2"), Rack: m.Get("QPD-4"), Position: m.Get("QPD-5")}
	if q.Rack == "" && q.Position == "" {
		q.Rack, q.Position = m.Get("QPD-6"), m.Get("QPD-7")
	}
	switch id := strings.TrimSpace(m.Get("QPD-3")); {
	case m.Get("QPD-1.1") == "WOS_ALL":
		q.All = true
	case id != "" && !d.sequence(m):
		q.Specimens = []string{id}
	case q.Rack == "" && q.Position == "" && !d.sequence(m):
		return q, fmt.Errorf("hl7lab: QPD names no container, rack or tray")
	}
	return q, nil
}

// sequence reports whether a query names a specimen by its number in the analyser's own
// row, which is nobody's identifier.
func (d Dialect) sequence(m *hl7.Message) bool {
	return d.roche() && m.Get("QPD-1.1") == "INISEQ"
}

func (d Dialect) roche() bool { return d.Orders == "roche" }

// An Answer is what is sent back, in this order.
type Answer struct {
	Messages [][]byte
	// Orders are the control IDs of those that carry work: the analyser acknowledges
	// each (ACK^Q03, ORL^O34).
	Orders []string
}

// Options of Answer.
type Options struct {
	ControlID func() string
	Now       time.Time // in the zone of the site
	// Application and Facility are the analyser's own (its MSH-3 and 4), for what it did
	// not ask for; empty: not known.
	Application, Facility string
}

// Answer answers a query. ok is false where the orders could not be read in time:
// then a LAW query is acknowledged and no order follows, and a QRY^Q02 is not answered
// at all, for NF would say that there is no order.
func (d Dialect) Answer(m *hl7.Message, q record.Query, work []record.Work, ok bool, o Options) (Answer, error) {
	work = slices.DeleteFunc(slices.Clone(work), func(w record.Work) bool { return len(w.Tests) == 0 })
	for _, w := range work {
		if len(q.Specimens) > 0 && !slices.Contains(q.Specimens, w.Specimen) {
			return Answer{}, fmt.Errorf("hl7lab: work for a specimen that was not asked for")
		}
	}
	b := builder{d: d, to: m, o: o}
	if d.Form == "law" {
		return b.law(q, work, ok), b.err
	}
	return b.dsr(q, work, ok), b.err
}

// builder writes the messages of one answer.
type builder struct {
	d   Dialect
	to  *hl7.Message
	o   Options
	err error
}

func (b *builder) set(s hl7.Segment, path, value string) {
	if value == "" || b.err != nil {
		return
	}
	b.err = s.Set(path, value)
}

func (b *builder) raw(s hl7.Segment, path string, value []byte) {
	if b.err == nil {
		b.err = s.SetRaw(path, value)
	}
}

// message begins a message to the analyser, with its own delimiters.
func (b *builder) message(code, event, structure, version string) (*hl7.Message, string) {
	m := hl7.NewMessage(b.to.Delimiters())
	if !b.d.Names.Automatic() && b.err == nil {
		b.err = m.UseCharset(hl7.CharsetRule{Force: b.d.Names.Charset()})
	}
	msh := m.Segments("MSH")
	id := b.o.ControlID()
	sender := "NHIP"
	if b.d.roche() {
		sender = cmp.Or(b.to.Get("MSH-5"), sender) // as it calls the host
	}
	for path, value := range map[string]string{
		"3": sender, "5": b.to.Get("MSH-3"), "6": b.to.Get("MSH-4"), "7": b.o.Now.Format("20060102150405"),
		"9.1": code, "9.2": event, "9.3": structure, "10": id, "11": "P", "12": version,
	} {
		b.set(msh[0], path, value)
	}
	return m, id
}

func (b *builder) name(text string) string {
	return b.d.Names.Text(text)
}

// number is an identifier of a patient as it is, or nothing where the machine does not
// have its characters: none is better than another.
func (b *builder) number(id string) string {
	if _, ok := b.d.Names.Exactly(id); !ok {
		return ""
	}
	return id
}

// dsr answers QRY^Q02: QCK^Q02 says whether there is an order, DSR^Q03 brings it.
func (b *builder) dsr(q record.Query, work []record.Work, ok bool) Answer {
	if !ok {
		return Answer{}
	}
	found := "OK"
	if len(work) == 0 && !q.Cancel {
		found = "NF"
	}
	a := Answer{Messages: [][]byte{b.acknowledged("QCK", "Q02", found)}}
	if q.Cancel || len(work) == 0 {
		return a
	}
	m, id := b.head("DSR", "Q03", "OK")
	for _, name := range []string{"QRD", "QRF"} {
		for _, asked := range b.to.Segments(name)[:min(1, len(b.to.Segments(name)))] {
			s := m.Append(name)
			for field := 1; field <= asked.Fields(); field++ {
				b.raw(s, strconv.Itoa(field), asked.Raw(strconv.Itoa(field)))
			}
		}
	}
	b.display(m, work[0])
	m.Append("DSC")
	a.Messages = append(a.Messages, b.padded(m))
	a.Orders = []string{id}
	return a
}

// head begins an answer with MSA, ERR and QAK, as the Mindray manual has them.
func (b *builder) head(code, event, found string) (*hl7.Message, string) {
	m, id := b.message(code, event, "", b.to.Get("MSH-12.1"))
	b.set(m.Segments("MSH")[0], "18", b.to.Get("MSH-18"))
	msa := m.Append("MSA")
	b.set(msa, "1", "AA")
	b.set(msa, "2", b.to.ControlID())
	b.set(msa, "3", "Message accepted")
	b.set(msa, "6", "0")
	b.set(m.Append("ERR"), "1", "0")
	qak := m.Append("QAK")
	b.set(qak, "1", "SR")
	b.set(qak, "2", found)
	return m, id
}

func (b *builder) acknowledged(code, event, found string) []byte {
	m, _ := b.head(code, event, found)
	return b.padded(m)
}

// bars are how many field delimiters the segments of the manual's examples have. There
// are analysers that refuse a message with fewer.
var bars = map[string]int{"MSH": 20, "MSA": 7, "ERR": 2, "QAK": 3, "QRD": 13, "DSP": 6, "DSC": 2}

// padded is the message with the delimiters behind the last field that the manual's
// examples have.
func (b *builder) padded(m *hl7.Message) []byte {
	field := m.Delimiters().Field
	var out []byte
	for s := range bytes.SplitAfterSeq(m.Bytes(), []byte{'\r'}) {
		if len(s) < 4 {
			continue
		}
		text := bytes.TrimSuffix(s, []byte{'\r'})
		for range bars[string(s[:3])] - bytes.Count(text, []byte{field}) {
			text = append(text[:len(text):len(text)], field)
		}
		out = append(append(out, text...), '\r')
	}
	return out
}

// display writes the lines of the display: 1 to 28 always, with what is known, then
// a line for each test, by its code alone.
func (b *builder) display(m *hl7.Message, w record.Work) {
	lines := make([]string, 28)
	if p := w.Patient; p != nil {
		lines[0] = b.number(p.ID)
		lines[2] = b.name(strings.Join(strings.Fields(p.Name.Family+" "+p.Name.Middle+" "+p.Name.Given), " "))
		lines[3], lines[4] = p.Birth, p.Sex
	}
	lines[20] = w.Specimen
	if !w.Collected.At.IsZero() {
		lines[22] = w.Collected.At.In(b.o.Now.Location()).Format("20060102150405")
	}
	lines[23] = "N"
	if w.Priority == "S" || w.Priority == "STAT" {
		lines[23] = "Y"
	}
	lines[25] = b.d.Types[w.SpecimenType]
	for n, text := range lines {
		s := m.Append("DSP")
		b.set(s, "1", strconv.Itoa(n+1))
		b.set(s, "3", text)
	}
	for n, test := range w.Tests {
		s := m.Append("DSP")
		b.set(s, "1", strconv.Itoa(len(lines)+n+1))
		b.set(s, "3.1", test)
		if d := b.to.Delimiters(); b.err == nil {
			b.raw(s, "3", append(slices.Clone(s.Raw("3")), d.Component, d.Component, d.Component))
		}
	}
}
