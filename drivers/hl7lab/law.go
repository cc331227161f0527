package hl7lab

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"nhip/gateway/record"
	"nhip/hl7"
)

// law answers QBP^Q11. RSP^K11 only acknowledges; what there is to do follows as a
// message of its own, OML^O33, one for each specimen (PaLM TF-2 3.27.4, 3.28.4).
func (b *builder) law(q record.Query, work []record.Work, ok bool) Answer {
	a := Answer{Messages: [][]byte{b.response()}}
	if !ok {
		return a
	}
	for _, w := range work {
		m, id := b.orders(w)
		a.Messages, a.Orders = append(a.Messages, m), append(a.Orders, id)
	}
	if len(work) == 0 && b.d.Unknown != "nothing" && !q.All {
		a.Messages = append(a.Messages, b.none(q))
	}
	return a
}

// response is RSP^K11: the query comes back in QAK and QPD.
func (b *builder) response() []byte {
	m, _ := b.message("RSP", "K11", "RSP_K11", "2.5.1")
	msh := m.Segments("MSH")[0]
	if !b.d.roche() {
		b.set(msh, "15", "ER")
		b.set(msh, "16", "NE")
	}
	b.set(msh, "18", "UNICODE UTF-8")
	b.raw(msh, "21", b.to.Raw("MSH-21"))
	msa := m.Append("MSA")
	b.set(msa, "1", "AA")
	b.set(msa, "2", b.to.ControlID())
	qak := m.Append("QAK")
	b.raw(qak, "1", b.to.Raw("QPD-2"))
	b.set(qak, "2", "OK")
	b.raw(qak, "3", b.to.Raw("QPD-1"))
	qpd := m.Append("QPD")
	if asked := b.to.Segments("QPD"); len(asked) > 0 {
		for field := 1; field <= asked[0].Fields(); field++ {
			b.raw(qpd, strconv.Itoa(field), asked[0].Raw(strconv.Itoa(field)))
		}
	}
	return m.Bytes()
}

// order begins OML^O33 for a container.
func (b *builder) order(container string) (*hl7.Message, string) {
	m, id := b.message("OML", "O33", "OML_O33", "2.5.1")
	msh := m.Segments("MSH")[0]
	b.set(msh, "15", "NE")
	b.set(msh, "16", "AL")
	b.set(msh, "18", "UNICODE UTF-8")
	name, system, _ := strings.Cut(b.d.OrderProfile, "^")
	if name == "" {
		name, system = "LAB-28", "IHE"
	}
	b.set(msh, "21.1", name)
	b.set(msh, "21.2", system)
	return m, id
}

func (b *builder) specimen(m *hl7.Message, container, kind string) {
	spm := m.Append("SPM")
	b.set(spm, "1", "1")
	if b.d.roche() {
		b.set(spm, "2.1.1", container)
		b.set(spm, "2.1.2", "BARCODE")
		kind = ""
		b.raw(spm, "27", b.to.Raw("QPD-11"))
	}
	if said := b.to.Raw("QPD-10"); b.d.roche() && len(said) > 0 {
		b.raw(spm, "4", said)
	} else if kind == "" {
		b.set(spm, "4.1", hl7.Null)
	} else {
		b.set(spm, "4.1", kind)
		b.set(spm, "4.3", "HL70487")
	}
	b.set(spm, "11.1", "P")
	b.set(spm, "11.3", "HL70369")
	sac := m.Append("SAC")
	b.set(sac, "3.1", container)
	if b.d.roche() {
		b.set(sac, "3.2", "BARCODE")
	}
	// Where the analyser has it comes back: QPD-4 and 5 carrier and position in it, QPD-6
	// and 7 tray and position in it.
	for sacField, qpdField := range map[string]string{"10": "4", "11": "5", "13": "6", "14": "7"} {
		b.set(sac, sacField, b.to.Get("QPD-"+qpdField))
	}
}

// References are what an analyser knows the tests of an order by, the AWOS IDs in OBR-2:
// an ID is not used twice (PaLM TF-2 3.28), so they are made of the control ID.
func References(controlID string, tests int) []string {
	all := make([]string, tests)
	for n := range all {
		all[n] = controlID + "." + strconv.Itoa(n+1)
	}
	return all
}

// orders is the work for one specimen, LAB-28: an analytical work order step for
// each test.
func (b *builder) orders(w record.Work) ([]byte, string) {
	m, id := b.order(w.Specimen)
	b.person(m, w)
	b.specimen(m, w.Specimen, w.SpecimenType)
	for n, reference := range References(id, len(w.Tests)) {
		b.step(m, "NW", w, n, reference)
	}
	return m.Bytes(), id
}

func (b *builder) person(m *hl7.Message, w record.Work) {
	p := w.Patient
	if p == nil {
		return
	}
	pid := m.Append("PID")
	b.set(pid, "3.1", b.number(p.ID))
	b.set(pid, "5.1", b.name(p.Name.Family))
	b.set(pid, "5.2", b.name(p.Name.Given))
	b.set(pid, "5.3", b.name(p.Name.Middle))
	b.set(pid, "7", p.Birth)
	b.set(pid, "8", p.Sex)
}

// step is one analytical work order step.
func (b *builder) step(m *hl7.Message, control string, w record.Work, n int, reference string) {
	test := w.Tests[n]
	orc := m.Append("ORC")
	b.set(orc, "1", control)
	b.set(orc, "9", b.o.Now.Format("20060102150405"))
	tq1 := m.Append("TQ1")
	b.set(tq1, "9.1", cmp.Or(strings.TrimSuffix(w.Priority, "TAT"), "R"))
	b.set(tq1, "9.3", "HL70485")
	obr := m.Append("OBR")
	if b.d.roche() {
		b.set(obr, "1", strconv.Itoa(n+1))
	}
	b.set(obr, "2", reference)
	b.set(obr, "4.1", test)
	b.set(obr, "4.3", b.d.TestSystem)
	tcd := m.Append("TCD")
	b.set(tcd, "1.1", test)
	b.set(tcd, "1.3", b.d.TestSystem)
}

// none says that there is nothing to do for what a query asks for: the order control DC.
func (b *builder) none(q record.Query) []byte {
	container := ""
	if len(q.Specimens) > 0 {
		container = q.Specimens[0]
	}
	m, _ := b.order(container)
	b.specimen(m, container, "")
	orc := m.Append("ORC")
	b.set(orc, "1", "DC")
	b.set(orc, "9", b.o.Now.Format("20060102150405"))
	return m.Bytes()
}

// Download is the message that brings work which nobody asked for, LAB-28 (AWOS
// Broadcast). The analyser knows its tests by References.
func (d Dialect) Download(w record.Work, o Options) (message []byte, controlID string, err error) {
	b := unasked(d, o)
	message, controlID = b.orders(w)
	return message, controlID, b.err
}

// Cancel is the message that takes work back, LAB-28 with the order control CA for each
// test, under the reference that it was given.
func (d Dialect) Cancel(w record.Work, o Options) (message []byte, controlID string, err error) {
	if len(w.References) != len(w.Tests) {
		return nil, "", fmt.Errorf("hl7lab: the references (OBR-2) under which the work was given are not known")
	}
	b := unasked(d, o)
	m, id := b.order(w.Specimen)
	b.person(m, w)
	b.specimen(m, w.Specimen, w.SpecimenType)
	for n := range w.Tests {
		b.step(m, "CA", w, n, w.References[n])
	}
	return m.Bytes(), id, b.err
}

func unasked(d Dialect, o Options) *builder {
	b := &builder{d: d, to: hl7.NewMessage(hl7.DefaultDelimiters), o: o}
	msh := b.to.Segments("MSH")[0]
	b.set(msh, "3", o.Application)
	b.set(msh, "4", o.Facility)
	return b
}

// A Refusal is why an analyser did not take an order, or did not drop it.
type Refusal struct {
	Answer  string // MSA-1, where it refuses the message
	Control string // else ORC-1: UA unable to accept, UC unable to cancel (table 0119)
	// References are those of the tests that are refused (ORC-2, else OBR-2), where they
	// are said.
	References []string
}

// Error is the refusal in words.
func (r *Refusal) Error() string {
	switch r.Control {
	case "UA":
		return "the analyser cannot accept a test of the order (ORC-1 UA)"
	case "UC":
		return "the analyser cannot cancel a test of the order (ORC-1 UC)"
	}
	return "the analyser answered " + strconv.QuoteToASCII(r.Answer)
}

// Acknowledged reads the analyser's answer to an order: ORL^O34 or ACK^Q03. It gives
// the control ID of the order, and why it was not taken; nil: it was.
func Acknowledged(m *hl7.Message) (controlID string, refused *Refusal) {
	controlID = m.Get("MSA-2")
	if code := m.Get("MSA-1"); code != "AA" && code != "CA" {
		return controlID, &Refusal{Answer: code}
	}
	orders, services := m.Segments("ORC"), m.Segments("OBR")
	for n, orc := range orders {
		control := orc.Get("1")
		if control != "UA" && control != "UC" {
			continue
		}
		if refused == nil {
			refused = &Refusal{Control: control}
		}
		reference := orc.Get("2.1")
		if reference == "" && len(services) == len(orders) {
			reference = services[n].Get("2.1")
		}
		if reference != "" {
			refused.References = append(refused.References, reference)
		}
	}
	return controlID, refused
}
