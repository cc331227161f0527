package lis

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"nhip/hardware-sim/wire"
)

// A Shape is how a hospital's system writes an order.
type Shape string

// The shapes.
const (
	ORM        Shape = "ORM^O01" // 2.3.1; imaging: accession number in OBR-18, Study Instance UID in ZDS
	OML        Shape = "OML^O21" // 2.5.1, by order
	OML33      Shape = "OML^O33" // 2.5.1, by specimen
	OMG        Shape = "OMG^O19" // 2.5.1
	OMI        Shape = "OMI^O23" // 2.5.1, with IPC
	Vietnamese Shape = "vn"      // OMI^O23 of 2.7 without IPC: accession number in OBR-2.2, whole name in PID-5.1, cancelled under the same MSH-10
)

// answers is the message that answers each shape.
var answers = map[Shape]string{ORM: "ORR^O02^ORR_O02", OML: "ORL^O22^ORL_O22", OML33: "ORL^O34^ORL_O34", OMG: "ORG^O20^ORG_O20", OMI: "ORI^O24^ORI_O24", Vietnamese: "ORI^O24^ORI_O24"}

// A Patient is one in the ground truth.
type Patient struct {
	ID, Citizen, Insurance, Visit string // hospital number; citizen number; insurance card; visit
	Family, Given                 string
	Born                          string // YYYY or YYYYMMDD
	Sex                           string
}

// An Order is one in the ground truth: what was asked for, and whether it still holds.
type Order struct {
	Placer   string // order number of the hospital's system
	Filler   string // of the laboratory's, where it has one already
	Specimen string // of the laboratory
	Patient  Patient
	Tests    [][2]string // code and name; an OBR each
	Urgent   bool
	Section  string    // of the laboratory, OBR-24
	Taken    time.Time // when the specimen was collected; zero: not said

	Accession, StudyUID, Modality, Station string // of imaging
	Start                                  time.Time

	Cancelled bool
}

// A Reply is what the gateway answered, and what is wrong with it as HL7.
type Reply struct {
	Code      string   `json:"code"`             // MSA-1 of the application acknowledgement; of the accept acknowledgement where no other was asked for
	Accept    string   `json:"accept,omitempty"` // MSA-1 of the accept acknowledgement, "" where none came
	Text      string   `json:"text,omitempty"`   // MSA-3
	ControlID string   `json:"control_id"`       // MSH-10 of the message that was sent
	Message   []byte   `json:"-"`                // the answer as it came
	Faults    []string `json:"faults,omitempty"`
}

// HISOptions are those of a HIS.
type HISOptions struct {
	Name    string // MSH-3
	Address string // of the gateway
	Shape   Shape
	// Accept and Application are MSH-15 and MSH-16.
	Accept, Application string
	General             bool // the gateway is told to answer with ACK always
	Release2            bool // MLLP of release 2
	Now                 func() time.Time
	Timeout             time.Duration // for an answer; 20 s
	Again               time.Duration // an order without an answer, or rejected, is sent again after it, the same bytes; 0: never
	Dial                func(ctx context.Context) (net.Conn, error)
}

// A HIS plays the system of a hospital that places orders and keeps patients, with one
// connection for what it sends. It writes and reads by hand. It is the ground truth:
// Orders are those that the gateway has accepted, as they are now.
type HIS struct {
	o HISOptions

	mu     sync.Mutex
	conn   net.Conn
	reader *bufio.Reader
	serial int
	orders map[string]Order
	sent   map[string]string // Placer: MSH-10 of the new order
}

// NewHIS returns a HIS that is not connected yet.
func NewHIS(o HISOptions) *HIS {
	if o.Timeout == 0 {
		o.Timeout = 20 * time.Second
	}
	if o.Dial == nil {
		o.Dial = func(ctx context.Context) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", o.Address)
		}
	}
	return &HIS{o: o, orders: map[string]Order{}, sent: map[string]string{}}
}

// Orders are the orders that the gateway has accepted, by number.
func (h *HIS) Orders() []Order {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []Order
	for _, o := range h.orders {
		all = append(all, o)
	}
	slices.SortFunc(all, func(a, b Order) int { return strings.Compare(a.Placer, b.Placer) })
	return all
}

// Place sends a new order.
func (h *HIS) Place(ctx context.Context, o Order) (Reply, error) { return h.order(ctx, "NW", o) }

// Change sends an order again, otherwise.
func (h *HIS) Change(ctx context.Context, o Order) (Reply, error) { return h.order(ctx, "XO", o) }

// Cancel cancels an order.
func (h *HIS) Cancel(ctx context.Context, placer string) (Reply, error) {
	h.mu.Lock()
	o, ok := h.orders[placer]
	h.mu.Unlock()
	if !ok {
		o = Order{Placer: placer}
	}
	o.Cancelled = true
	return h.order(ctx, "CA", o)
}

func (h *HIS) order(ctx context.Context, control string, o Order) (Reply, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	id := h.next()
	if h.o.Shape == Vietnamese && control == "CA" && h.sent[o.Placer] != "" {
		id = h.sent[o.Placer]
	}
	message := h.write(control, id, o)
	reply, err := h.exchange(ctx, id, message, answers[h.o.Shape])
	for h.o.Again > 0 && (err != nil || reply.Code == "AR") && wire.Wait(ctx, h.o.Again) {
		reply, err = h.exchange(ctx, id, message, answers[h.o.Shape])
	}
	if err == nil && (reply.Code == "AA" || reply.Code == "CA") {
		h.orders[o.Placer] = o
		if control == "NW" {
			h.sent[o.Placer] = id
		}
	}
	return reply, err
}

// Update sends the patient as it is now, ADT^A08.
func (h *HIS) Update(ctx context.Context, p Patient) (Reply, error) {
	return h.adt(ctx, "A08", "ADT_A01", p, "")
}

// Merge says that the patient old is the patient p, ADT^A40.
func (h *HIS) Merge(ctx context.Context, p Patient, old string) (Reply, error) {
	reply, err := h.adt(ctx, "A40", "ADT_A39", p, fmt.Sprintf("MRG|%s^^^%s^MR\r", wire.Escape(old), h.o.Name))
	if err == nil && reply.Code == "AA" {
		h.mu.Lock()
		defer h.mu.Unlock()
		for n, o := range h.orders {
			if o.Patient.ID == old {
				o.Patient = p
				h.orders[n] = o
			}
		}
	}
	return reply, err
}

func (h *HIS) adt(ctx context.Context, event, structure string, p Patient, more string) (Reply, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	id := h.next()
	now := h.o.Now().Format(stamp)
	text := h.msh("ADT^"+event+"^"+structure, id, "2.5.1") + "EVN||" + now + "\r" + h.pid(p, false) + more
	return h.exchange(ctx, id, text, "ACK^"+event+"^ACK")
}

// Send sends a message as it is, with its MSH-10 given, and checks the answer against
// MSH-9 wanted.
func (h *HIS) Send(ctx context.Context, id, message, wanted string) (Reply, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.exchange(ctx, id, message, wanted)
}

// Close ends the connection; the next message makes another one.
func (h *HIS) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.drop()
}

func (h *HIS) drop() {
	if h.conn != nil {
		h.conn.Close()
		h.conn = nil
	}
}

func (h *HIS) next() string {
	h.serial++
	return fmt.Sprintf("%s%06d", h.o.Name, h.serial)
}

const stamp = "20060102150405-0700"

func (h *HIS) version() string {
	switch h.o.Shape {
	case ORM:
		return "2.3.1"
	case Vietnamese:
		return "2.7"
	}
	return "2.5.1"
}

func (h *HIS) msh(kind, id, version string) string {
	return fmt.Sprintf("MSH|^~\\&|%s|HOSPITAL|NHIP|LAB|%s||%s|%s|P|%s|||%s|%s||UNICODE UTF-8\r", wire.Escape(h.o.Name), h.o.Now().Format(stamp), kind, id, version, h.o.Accept, h.o.Application)
}

func (h *HIS) pid(p Patient, whole bool) string {
	ids := fmt.Sprintf("%s^^^%s^MR", wire.Escape(p.ID), h.o.Name)
	if p.Citizen != "" {
		ids += fmt.Sprintf("~%s^^^VNM^NI", p.Citizen)
	}
	if p.Insurance != "" {
		ids += fmt.Sprintf("~%s^^^BHXH^HC", p.Insurance)
	}
	name := wire.Escape(p.Family) + "^" + wire.Escape(p.Given)
	if whole {
		name = wire.Escape(strings.TrimSpace(p.Family + " " + p.Given))
	}
	return fmt.Sprintf("PID|1||%s||%s||%s|%s||||||||||%s\r", ids, name, p.Born, p.Sex, p.Visit)
}

// write is an order in the shape of this hospital, with an OBR for each test.
func (h *HIS) write(control, id string, o Order) string {
	kind := map[Shape]string{ORM: "ORM^O01^ORM_O01", OML: "OML^O21^OML_O21", OML33: "OML^O33^OML_O33", OMG: "OMG^O19^OMG_O19", OMI: "OMI^O23^OMI_O23", Vietnamese: "OMI^O23^OMI_O23"}[h.o.Shape]
	var b strings.Builder
	b.WriteString(h.msh(kind, id, h.version()) + h.pid(o.Patient, h.o.Shape == Vietnamese) + "PV1|1|O|||||||||||||||||" + o.Patient.Visit + "\r")
	priority := map[bool]string{false: "R", true: "S"}[o.Urgent]
	tests := o.Tests
	if len(tests) == 0 {
		tests = [][2]string{{}}
	}
	if h.o.Shape == OML33 {
		b.WriteString("SPM|1|" + wire.Escape(o.Specimen) + "||BLD\r")
	}
	for i, test := range tests {
		start := ""
		if !o.Start.IsZero() {
			start = o.Start.Format("20060102150405")
		}
		timing := ""
		if h.o.Shape == ORM {
			timing = "^^^" + start + "^^" + priority
		}
		fmt.Fprintf(&b, "ORC|%s|%s|%s||||%s||%s\r", control, wire.Escape(o.Placer), wire.Escape(o.Filler), timing, h.o.Now().Format(stamp))
		if h.o.Shape != ORM {
			fmt.Fprintf(&b, "TQ1|1||||||%s||%s\r", start, priority)
		}
		b.WriteString(h.obr(i+1, o, test))
		switch {
		case h.o.Shape == OML:
			fmt.Fprintf(&b, "SPM|1|%s||BLD\r", wire.Escape(o.Specimen))
		case h.o.Shape == OMI:
			fmt.Fprintf(&b, "IPC|%s|%s|%s|%s|%s||%s||%s\r", o.Accession, o.Placer, o.StudyUID, fmt.Sprint(o.Placer, ".", i+1), o.Modality, o.Station, o.Station)
		case h.o.Shape == ORM && o.StudyUID != "":
			fmt.Fprintf(&b, "ZDS|%s^NHIP^Application^DICOM\r", o.StudyUID)
		}
	}
	return b.String()
}

func (h *HIS) obr(n int, o Order, test [2]string) string {
	fields := make([]string, 45)
	fields[0], fields[1], fields[2], fields[3], fields[24] = "OBR", fmt.Sprint(n), wire.Escape(o.Placer), wire.Escape(o.Filler), o.Section
	if !o.Taken.IsZero() {
		fields[7] = o.Taken.Format(stamp)
	}
	fields[4] = wire.Escape(test[0]) + "^" + wire.Escape(test[1]) + "^L"
	switch h.o.Shape {
	case Vietnamese:
		fields[2] += "^" + o.Accession
		fields[24] = o.Modality
	case ORM:
		fields[18], fields[19], fields[20] = o.Accession, o.Placer, fmt.Sprint(o.Placer, ".", n)
		if o.Modality != "" {
			fields[24] = o.Modality
		}
		if o.Accession == "" {
			fields[18], fields[15] = "", wire.Escape(o.Specimen)
		}
	}
	return strings.TrimRight(strings.Join(fields, "|"), "|") + "\r"
}

// exchange sends a message and waits for the acknowledgements that it asks for. It is
// called with the lock held.
func (h *HIS) exchange(ctx context.Context, id, message, wanted string) (Reply, error) {
	if h.conn == nil {
		c, err := h.o.Dial(ctx)
		if err != nil {
			return Reply{}, err
		}
		h.conn, h.reader = c, bufio.NewReader(c)
	}
	reply, err := h.ask(id, message, wanted)
	if err != nil {
		h.drop()
	}
	return reply, err
}

func (h *HIS) ask(id, message, wanted string) (Reply, error) {
	reply := Reply{ControlID: id}
	h.conn.SetDeadline(time.Now().Add(h.o.Timeout))
	if _, err := h.conn.Write(wire.Block([]byte(message))); err != nil {
		return reply, err
	}
	if h.o.Release2 {
		block, err := wire.ReadBlock(h.reader)
		if _, ok := wire.IsCommit(block); err != nil || !ok {
			return reply, fmt.Errorf("the message was not committed: %w", err)
		}
	}
	if h.o.Accept == "AL" {
		if err := h.answer(&reply, id, message, "ACK"); err != nil {
			return reply, err
		}
		reply.Accept = reply.Code
	}
	if original := h.o.Accept == "" && h.o.Application == ""; !original && h.o.Application != "AL" || reply.Accept != "" && reply.Accept != "CA" {
		return reply, nil
	}
	if h.o.General {
		wanted = "ACK"
	}
	return reply, h.answer(&reply, id, message, wanted)
}

// answer reads one answer and looks for what is wrong with it.
func (h *HIS) answer(reply *Reply, id, message, wanted string) error {
	block, err := wire.ReadBlock(h.reader)
	if err != nil {
		return err
	}
	if h.o.Release2 {
		if _, err := h.conn.Write(wire.Committed); err != nil {
			return err
		}
	}
	sent := wire.First(wire.Split([]byte(message)), "MSH")
	all := wire.Split(block)
	msh, msa := wire.First(all, "MSH"), wire.First(all, "MSA")
	if msh == nil || msa == nil {
		return fmt.Errorf("an answer without MSH or MSA")
	}
	reply.Message, reply.Code, reply.Text = block, msa.Field(1), wire.Unescape(msa.Field(3))
	want := func(what, got, want string) {
		if got != want {
			reply.Faults = append(reply.Faults, fmt.Sprintf("%s is %q, want %q", what, got, want))
		}
	}
	want("MSA-2", msa.Field(2), id)
	want("MSH-5", msh.Field(5), sent.Field(3))
	want("MSH-6", msh.Field(6), sent.Field(4))
	want("MSH-11", msh.Field(11), sent.Field(11))
	want("MSH-12", msh.Field(12), sent.Field(12))
	want("MSH-18", msh.Field(18), sent.Field(18))
	if kind := msh.Field(9); kind != wanted && !strings.HasPrefix(kind, wanted+"^") {
		want("MSH-9", kind, wanted)
	}
	if msh.Field(10) == "" || msh.Field(10) == id {
		reply.Faults = append(reply.Faults, fmt.Sprintf("MSH-10 %q is not its own", msh.Field(10)))
	}
	if !bytes.HasSuffix(block, []byte{'\r'}) {
		reply.Faults = append(reply.Faults, "the last segment does not end with CR")
	}
	return nil
}
