package record

import (
	"strings"
	"time"
)

// An OrderKind says what an order is for.
type OrderKind string

// The kinds of orders.
const (
	LaboratoryOrder OrderKind = "laboratory"
	ImagingOrder    OrderKind = "imaging"
	OtherOrder      OrderKind = "other" // neither is said: kept, and offered to nothing
)

// An OrderNumber is the number of an order with who gave it: data type EI, HL7
// v2.5.1 section 2.A.28.
type OrderNumber struct {
	ID        string `json:"i,omitempty"` // EI.1
	Authority string `json:"a,omitempty"` // EI.2, else EI.3; empty: not said
}

// Empty reports whether there is no number.
func (n OrderNumber) Empty() bool { return n.ID == "" }

// Is reports whether two numbers are the same: by the authority too, where both
// say one.
func (n OrderNumber) Is(m OrderNumber) bool {
	return n.ID != "" && n.ID == m.ID && (n.Authority == m.Authority || n.Authority == "" || m.Authority == "")
}

// A Coded is a code with its text and coding system, and the alternate ones: data
// type CE or CWE, HL7 v2.5.1 section 2.A.13.
type Coded struct {
	Code      string `json:"c,omitempty"`
	Text      string `json:"t,omitempty"`
	System    string `json:"s,omitempty"`
	AltCode   string `json:"ac,omitempty"`
	AltText   string `json:"at,omitempty"`
	AltSystem string `json:"as,omitempty"`
}

// Empty reports whether neither a code nor a text is there.
func (c Coded) Empty() bool {
	return c.Code == "" && c.Text == "" && c.AltCode == "" && c.AltText == ""
}

// A ServiceState says whether a service is to be done. Only an Open one is
// offered to an analyser or modality.
type ServiceState string

// The states of a service.
const (
	Open         ServiceState = "open"
	OnHold       ServiceState = "on hold"
	Cancelled    ServiceState = "cancelled"
	Discontinued ServiceState = "discontinued"
	Replaced     ServiceState = "replaced"
	Completed    ServiceState = "completed"
	Expired      ServiceState = "expired" // by policy: nobody did or cancelled it
)

// Over reports whether nothing more will be done.
func (s ServiceState) Over() bool { return s != Open && s != OnHold }

// A Progress is how far a service is, as far as we know.
type Progress string

// The progress of a service, in its usual order.
const (
	Received     Progress = "received"     // the order was accepted
	Sent         Progress = "sent"         // written to the device
	Acknowledged Progress = "acknowledged" // by the device, on the link
	Queried      Progress = "queried"      // the device asked for it and got it
	Begun        Progress = "begun"        // the device says that it works on it
	Resulted     Progress = "resulted"     // a result came
)

// An Order is what one order number of a system asks for (ORC with its OBR).
type Order struct {
	Kind     OrderKind   `json:"kind"`
	Placer   OrderNumber `json:"placer,omitzero"`  // ORC-2, else OBR-2
	Filler   OrderNumber `json:"filler,omitzero"`  // ORC-3, else OBR-3
	Group    OrderNumber `json:"group,omitzero"`   // ORC-4
	Parent   OrderNumber `json:"parent,omitzero"`  // ORC-8.1: what it replaces or is a part of
	Patient  Person      `json:"patient,omitzero"` // as known now: after merges and updates
	Ordered  Person      `json:"ordered,omitzero"` // as the order's PID said
	Stay     Stay        `json:"stay,omitzero"`
	Orderer  Name        `json:"orderer,omitzero"` // ORC-12, else OBR-16
	Services []Service   `json:"services,omitempty"`
}

// A Stay is what an order says of the patient's visit and condition.
type Stay struct {
	Class     string   `json:"class,omitempty"`     // PV1-2
	Location  string   `json:"location,omitempty"`  // PV1-3, its parts with blanks between them
	Referrer  Name     `json:"referrer,omitzero"`   // PV1-8
	Weight    string   `json:"weight,omitempty"`    // in kg, from an OBX
	Height    string   `json:"height,omitempty"`    // in m, from an OBX
	Pregnant  bool     `json:"pregnant,omitempty"`  // PV1-15 B6
	Allergies []string `json:"allergies,omitempty"` // AL1-3
}

// A Service is one thing that is asked for: one OBR, a test or panel of the
// laboratory or a requested procedure.
type Service struct {
	ID       int          `json:"id"`            // within the order, from 1; never given twice
	State    ServiceState `json:"state"`         //
	Progress Progress     `json:"progress"`      //
	By       string       `json:"by,omitempty"`  // the device that Progress is of
	At       time.Time    `json:"at,omitzero"`   // of Progress
	Placer   OrderNumber  `json:"p,omitzero"`    // OBR-2, where it is not the order's
	Filler   OrderNumber  `json:"f,omitzero"`    // OBR-3, where it is not the order's
	Code     Coded        `json:"code,omitzero"` // OBR-4
	Section  string       `json:"section,omitempty"`
	Priority string       `json:"priority,omitempty"` // table 0485: S STAT, A as soon as possible, R routine …

	Specimens []OrderSpecimen `json:"specimens,omitempty"`
	Collected time.Time       `json:"collected,omitzero"` // OBR-7, SPM-17; zero: not said
	Scheduled time.Time       `json:"scheduled,omitzero"` // TQ1-7, ORC-7.4, OBR-27.4 or OBR-36; zero: not said

	Reason   string   `json:"reason,omitempty"`   // OBR-31
	Comments []string `json:"comments,omitempty"` // NTE

	Imaging *Imaging `json:"imaging,omitempty"`
}

// An OrderSpecimen is a specimen that a service is to be done on.
type OrderSpecimen struct {
	IDs       []string  `json:"ids,omitempty"`      // SPM-2, SAC-3, or what the link says
	Type      string    `json:"type,omitempty"`     // SPM-4, else OBR-15
	Collected time.Time `json:"collected,omitzero"` // SPM-17
}

// An Imaging is the requested procedure of a Service.
type Imaging struct {
	Accession        string `json:"accession,omitempty"`
	StudyInstanceUID string `json:"study,omitempty"`
	Made             bool   `json:"made,omitempty"` // the Study Instance UID is ours: the order had none
	ProcedureID      string `json:"procedure,omitempty"`
	Procedure        Coded  `json:"code,omitzero"` // OBR-44, else OBR-4
	Performer        Name   `json:"performer,omitzero"`

	PatientState string `json:"state,omitempty"`     // OBR-12
	Alerts       string `json:"alerts,omitempty"`    // OBR-13
	Transport    string `json:"transport,omitempty"` // OBR-30

	Steps []Step `json:"steps,omitempty"`
}

// A Step is a scheduled procedure step: IPC, or OBR and ZDS before 2.5.
type Step struct {
	ID          string    `json:"id,omitempty"`
	Modality    string    `json:"modality,omitempty"`
	Protocol    Coded     `json:"protocol,omitzero"`
	StationName string    `json:"station,omitempty"`
	Location    string    `json:"location,omitempty"`
	AETitles    []string  `json:"ae,omitempty"`
	Start       time.Time `json:"start,omitzero"`
	Done        bool      `json:"done,omitempty"` // performed, or given up: it is on no worklist
}

// Open reports whether something of the order is open or on hold.
func (o Order) Open() bool {
	for _, s := range o.Services {
		if !s.State.Over() {
			return true
		}
	}
	return false
}

// Has reports whether the specimen has an identifier, blanks around it apart.
func (s OrderSpecimen) Has(id string) bool {
	for _, x := range s.IDs {
		if strings.TrimSpace(x) == strings.TrimSpace(id) {
			return true
		}
	}
	return false
}

// Clone is the order in memory of its own.
func (o Order) Clone() Order {
	o.Patient.Identifiers = append([]Identifier(nil), o.Patient.Identifiers...)
	o.Ordered.Identifiers = append([]Identifier(nil), o.Ordered.Identifiers...)
	o.Stay.Allergies = append([]string(nil), o.Stay.Allergies...)
	services := o.Services
	o.Services = nil
	for _, s := range services {
		s.Comments = append([]string(nil), s.Comments...)
		s.Specimens = append([]OrderSpecimen(nil), s.Specimens...)
		if s.Imaging != nil {
			i := *s.Imaging
			i.Steps = append([]Step(nil), i.Steps...)
			s.Imaging = &i
		}
		o.Services = append(o.Services, s)
	}
	return o
}
