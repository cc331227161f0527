package hl7lab

import (
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
	if len(work) == 0 && b.d.Unknown != "nothing" && len(q.Specimens) > 0 {
		a.Messages = append(a.Messages, b.none(q.Specimens[0]))
	}
	return a
}

// response is RSP^K11: the query comes back in QAK and QPD.
func (b *builder) response() []byte {
	m, _ := b.message("RSP", "K11", "RSP_K11", "2.5.1")
	msh := m.Segments("MSH")[0]
	b.set(msh, "15", "ER")
	b.set(msh, "16", "NE")
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
	if kind == "" {
		b.set(spm, "4.1", hl7.Null)
	} else {
		b.set(spm, "4.1", kind)
		b.set(spm, "4.3", "HL70487")
	}
	b.set(spm, "11.1", "P")
	b.set(spm, "11.3", "HL70369")
	b.set(m.Append("SAC"), "3", container)
}

// orders is the work for one specimen, LAB-28: an analytical work order step for
// each test.
func (b *builder) orders(w record.Work) ([]byte, string) {
	m, id := b.order(w.Specimen)
	if p := w.Patient; p != nil {
		pid := m.Append("PID")
		b.set(pid, "3.1", b.number(p.ID))
		b.set(pid, "5.1", b.name(p.Name.Family))
		b.set(pid, "5.2", b.name(p.Name.Given))
		b.set(pid, "5.3", b.name(p.Name.Middle))
		b.set(pid, "7", p.Birth)
		b.set(pid, "8", p.Sex)
	}
	b.specimen(m, w.Specimen, w.SpecimenType)
	for n, test := range w.Tests {
		orc := m.Append("ORC")
		b.set(orc, "1", "NW")
		b.set(orc, "9", b.o.Now.Format("20060102150405"))
		tq1 := m.Append("TQ1")
		priority := w.Priority
		if priority == "" {
			priority = "R"
		}
		b.set(tq1, "9.1", priority)
		b.set(tq1, "9.3", "HL70485")
		obr := m.Append("OBR")
		b.set(obr, "2", id+"."+strconv.Itoa(n+1))
		b.set(obr, "4.1", test)
		b.set(obr, "4.3", b.d.TestSystem)
		tcd := m.Append("TCD")
		b.set(tcd, "1.1", test)
		b.set(tcd, "1.3", b.d.TestSystem)
	}
	return m.Bytes(), id
}

// none says that there is nothing to do for a container: the order control DC.
func (b *builder) none(container string) []byte {
	m, _ := b.order(container)
	b.specimen(m, container, "")
	orc := m.Append("ORC")
	b.set(orc, "1", "DC")
	b.set(orc, "9", b.o.Now.Format("20060102150405"))
	return m.Bytes()
}

// Download is the message that brings work which nobody asked for, LAB-28.
func (d Dialect) Download(w record.Work, o Options) (message []byte, controlID string, err error) {
	b := builder{d: d, to: hl7.NewMessage(hl7.DefaultDelimiters), o: o}
	message, controlID = b.orders(w)
	return message, controlID, b.err
}

// Acknowledged reads the analyser's answer to an order: ORL^O34 or ACK^Q03. It gives
// the control ID of the order, and in words why it was not taken.
func Acknowledged(m *hl7.Message) (controlID, refused string) {
	controlID = m.Get("MSA-2")
	if code := m.Get("MSA-1"); code != "AA" && code != "CA" {
		return controlID, "the analyser answered " + strconv.QuoteToASCII(code)
	}
	for _, orc := range m.Segments("ORC") {
		// Table 0119: unable to accept.
		if control := orc.Get("1"); control == "UA" {
			return controlID, "the analyser cannot accept a test of the order (ORC-1 UA)"
		}
	}
	return controlID, ""
}
