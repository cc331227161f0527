// Package ris reads and writes the HL7 messages of radiology: what an imaging order
// says of a requested procedure and its scheduled procedure steps (IHE RAD TF-2
// sections 4.4 and 4.13), with IPC segments from 2.5 on, with OBR and ZDS before,
// and as orders come that have neither.
package ris

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"nhip/gateway/lis"
	"nhip/gateway/record"
	"nhip/hl7"
)

// What is done about an order without a Study Instance UID.
const (
	MissingGenerate  = "generate"  // one is made, and stays with the order
	MissingAccession = "accession" // one is made of the accession number, always the same
	MissingRefuse    = "refuse"    // the order is refused
)

// What is done about an accession number that is longer than its VR (SH, 16
// characters).
const (
	LongRefuse = "refuse"
	LongKeep   = "keep" // given to modalities as it is
	LongCut    = "cut"  // cut for modalities; the order keeps it
)

// Kinds of orders that a link may say it sends in ORM and OMG.
const (
	KindAuto       = "auto" // see Imaging
	KindLaboratory = "laboratory"
	KindImaging    = "imaging"
)

// DefaultAccession is where an accession number is looked for: IPC-1 from 2.5 on,
// OBR-18 before (IHE RAD TF-2 table 4.4-6), and OBR-2.2, where orders without IPC have
// it that give the placer order number no authority.
var DefaultAccession = []string{"IPC-1", "OBR-18", "OBR-2.2"}

// Rules are what a link says about its imaging orders.
type Rules struct {
	lis.OrderRules
	Kind      string   // KindAuto …; empty: auto
	Accession []string // as DefaultAccession, which holds where there is none
	Missing   string   // empty: MissingGenerate
	Long      string   // empty: LongRefuse
	Modality  string   // of an order that names none
	Site      string   // what UIDs of accession numbers are of besides
	// Known reports whether an AE title is that of a modality: ORC-18 is one then.
	Known func(aeTitle string) bool
}

// modalities are what OBR-24 says of images: the codes of table 0074 that mean one
// modality, with the defined term of (0008,0060).
var modalities = map[string]string{
	"CT": "CT", "NMR": "MR", "NMS": "NM", "RUS": "US", "VUS": "US", "OUS": "US", "CUS": "US", "EC": "ECG",
}

// terms are the defined terms of Modality (0008,0060), PS3.3 section C.7.3.1.1.1,
// by which an order in ORM or OMG is one for images, but for PT and OT, which are
// physical and occupational therapy in table 0074; and its sections that make images.
var terms = strings.Fields("AR BI BMD CR CT DG DX ECG EPS ES GM HD IO IVOCT IVUS KER LEN LS MG MR NM OAM OCT OP OPM OPT OPV OSS PX RF RG SM SRF TG US VA XA XC")

var sections = strings.Fields("RAD RX XRC RT RUS VUS OUS CUS NMR NMS CT EC")

// Imaging reports whether an order is for images: OMI always is and OML never; of ORM
// and OMG those with a ZDS or IPC segment, or whose OBR-24 says a modality or a
// section that makes images, unless the link says it.
func Imaging(m *hl7.Message, g lis.OrderGroup, kind string) bool {
	code, _, _ := m.Type()
	switch {
	case code == "OMI":
		return true
	case code == "OML", kind == KindLaboratory:
		return false
	case kind == KindImaging:
		return true
	}
	return slices.ContainsFunc(g.Requests, func(r lis.RequestGroup) bool {
		s := strings.ToUpper(strings.TrimSpace(r.OBR.Get("24")))
		return len(r.ZDS) > 0 || len(r.IPC) > 0 || slices.Contains(sections, s) || slices.Contains(terms, s)
	})
}

// laboratory are the sections of table 0074 that are of a laboratory.
var laboratory = strings.Fields("BG BLB CG CH CP GE HM IMM LAB MB MCB MYC OSL SP SR TX UR VR")

// KindOf says what an order is for: see Imaging; what is neither for images nor of
// a laboratory's message, section or specimen is of no kind that is offered to
// anything.
func KindOf(m *hl7.Message, g lis.OrderGroup, o record.Order, kind string) record.OrderKind {
	code, _, _ := m.Type()
	if Imaging(m, g, kind) {
		return record.ImagingOrder
	}
	if code == "OML" || kind == KindLaboratory {
		return record.LaboratoryOrder
	}
	for _, s := range o.Services {
		if len(s.Specimens) > 0 || slices.Contains(laboratory, strings.ToUpper(s.Section)) {
			return record.LaboratoryOrder
		}
	}
	return record.OtherOrder
}

// A Found is what the reading of an order has to say: what refuses it, and what the
// sender is told although the order is taken.
type Found struct{ Refused, Warnings []hl7.Error }

func (f *Found) refuse(location, code, text string) {
	f.Refused = append(f.Refused, hl7.Error{Location: location, Code: code, Severity: hl7.SeverityError, Text: text})
}

func (f *Found) warn(location, code, text string) {
	f.Warnings = append(f.Warnings, hl7.Error{Location: location, Code: code, Severity: hl7.SeverityWarning, Text: text})
}

// Procedures fills in the requested procedure of every service of an imaging order.
// A Study Instance UID that is made is new at each call with MissingGenerate: who
// keeps the order keeps the one it has.
func Procedures(g lis.OrderGroup, o *record.Order, r Rules) (f Found) {
	for i := range o.Services {
		q := g.Requests[i]
		o.Services[i].Imaging = procedure(g, q, &o.Services[i], *o, r, &f)
	}
	return f
}

func procedure(g lis.OrderGroup, q lis.RequestGroup, s *record.Service, o record.Order, r Rules, f *Found) *record.Imaging {
	p := &record.Imaging{
		Procedure: lis.CodedAt(q.OBR, "44"), Performer: text3(q.OBR, "34"),
		PatientState: text(q.OBR, "12"), Transport: text(q.OBR, "30.2"), Alerts: text(q.OBR, "13"),
	}
	if p.Transport == "" {
		p.Transport = text(q.OBR, "30.1")
	}
	if p.Procedure.Empty() {
		p.Procedure = s.Code
	}
	var where string
	p.Accession, where = accession(g, q, r)
	if n := len([]rune(p.Accession)); n > 16 && cmp.Or(r.Long, LongRefuse) == LongRefuse {
		f.refuse(where, hl7.ErrorTooLong, "the accession number has "+strconv.Itoa(n)+" characters, and DICOM has room for 16 (SH)")
	}
	p.ProcedureID = firstOf(at(q.IPC, "2.1"), text(q.OBR, "19"), p.Accession, o.Placer.ID)
	study(q, p, r, f)
	p.Steps = steps(g, q, s, p, r, f)
	return p
}

// accession looks where the link says, and says where it was found.
func accession(g lis.OrderGroup, q lis.RequestGroup, r Rules) (value, where string) {
	paths := r.Accession
	if len(paths) == 0 {
		paths = DefaultAccession
	}
	for _, path := range paths {
		segment, field, _ := strings.Cut(path, "-")
		switch segment {
		case "IPC":
			value = at(q.IPC, component(field))
		case "OBR":
			value = text(q.OBR, component(field))
		case "ORC":
			value = text(g.ORC, component(field))
		}
		if path == "OBR-2.2" && value != "" && value == text(g.ORC, "2.2") && len(r.Accession) == 0 {
			value = "" // the authority of the placer order number
		}
		if value != "" {
			return value, place(segment, q, g) + "-" + field
		}
	}
	return "", ""
}

func component(field string) string {
	if strings.Contains(field, ".") {
		return field
	}
	return field + ".1"
}

// place is a segment with its number among those of its name.
func place(segment string, q lis.RequestGroup, g lis.OrderGroup) string {
	n := q.Number
	if segment == "ORC" {
		n = g.Number
	}
	if n <= 1 || segment == "IPC" {
		return segment
	}
	return segment + "[" + strconv.Itoa(n) + "]"
}

var uidPattern = regexp.MustCompile(`^(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))+$`) // PS3.5 section 9.1

// study finds the Study Instance UID, or makes one by the policy of the link.
func study(q lis.RequestGroup, p *record.Imaging, r Rules, f *Found) {
	where := place("OBR", q, lis.OrderGroup{})
	for _, x := range []struct{ uid, where string }{{at(q.IPC, "3.1"), "IPC-3"}, {at(q.ZDS, "1.1"), "ZDS-1"}} {
		if x.uid == "" {
			continue
		}
		if len(x.uid) > 64 || !uidPattern.MatchString(x.uid) {
			f.refuse(x.where, hl7.ErrorDataType, "the Study Instance UID is no UID: digits and dots, at most 64")
		}
		p.StudyInstanceUID = x.uid
		return
	}
	switch cmp.Or(r.Missing, MissingGenerate) {
	case MissingRefuse:
		f.refuse(where, hl7.ErrorRequiredField, "the order has no Study Instance UID (IPC-3, or ZDS-1 before 2.5)")
	case MissingAccession:
		if p.Accession == "" {
			f.refuse(where, hl7.ErrorRequiredField, "the order has neither a Study Instance UID nor an accession number to make one of")
			return
		}
		p.StudyInstanceUID, p.Made = AccessionUID(r.Site, p.Accession), true
	default:
		p.StudyInstanceUID, p.Made = NewUID(), true
	}
}

// NewUID is a UID made of a random UUID: PS3.5 section B.2.
func NewUID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	return uuidUID(b, 4)
}

// AccessionUID is the UID that is made of an accession number: of a UUID of version 8
// that holds the SHA-256 of the site and the number.
func AccessionUID(site, accession string) string {
	sum := sha256.Sum256([]byte("study\x00" + site + "\x00" + accession))
	return uuidUID([16]byte(sum[:16]), 8)
}

func uuidUID(b [16]byte, version byte) string {
	b[6] = b[6]&0x0f | version<<4
	b[8] = b[8]&0x3f | 0x80
	return "2.25." + new(big.Int).SetBytes(b[:]).String()
}

// steps are the scheduled procedure steps: one for each IPC, or the one that OBR
// describes.
func steps(g lis.OrderGroup, q lis.RequestGroup, s *record.Service, p *record.Imaging, r Rules, f *Found) (all []record.Step) {
	for i, ipc := range q.IPC {
		x := record.Step{
			ID: text(ipc, "4.1"), Modality: term(text(ipc, "5.1")), Protocol: lis.CodedAt(ipc, "6"),
			StationName: firstOf(text(ipc, "7.2"), text(ipc, "7.1")), Location: firstOf(text(ipc, "8.2"), text(ipc, "8.1")), AETitles: aeTitles(ipc, "9"), Start: s.Scheduled,
		}
		if x.ID == "" && p.ProcedureID != "" {
			x.ID = p.ProcedureID
			if len(q.IPC) > 1 {
				x.ID += "-" + strconv.Itoa(i+1)
			}
		}
		all = append(all, x)
	}
	if len(all) == 0 {
		all = []record.Step{{ID: firstOf(text(q.OBR, "20"), p.ProcedureID), Start: s.Scheduled}}
		if ae := text(g.ORC, "18.1"); ae != "" && r.Known != nil && r.Known(ae) {
			all[0].AETitles = []string{ae}
		}
	}
	for i := range all {
		complete(&all[i], q, s, r, f)
	}
	return all
}

// complete fills in what OBR says where IPC does not.
func complete(x *record.Step, q lis.RequestGroup, s *record.Service, r Rules, f *Found) {
	if x.Modality == "" {
		x.Modality = term(text(q.OBR, "24"))
	}
	if x.Modality == "" {
		x.Modality = r.Modality
	}
	if x.Protocol.Empty() {
		x.Protocol = record.Coded{Code: s.Code.AltCode, Text: s.Code.AltText, System: s.Code.AltSystem}
	}
	if x.Protocol.Empty() {
		x.Protocol = s.Code
	}
	if x.Modality == "" {
		f.warn(place("OBR", q, lis.OrderGroup{})+"-24", hl7.ErrorRequiredField, "the order names no modality (IPC-5, OBR-24): a worklist query for one does not find it")
	}
	if x.Start.IsZero() {
		x.Start = s.Collected // OBR-7: when it is, or was, to be done
	}
}

var termPattern = regexp.MustCompile(`^[A-Z0-9 _]{1,16}$`)

// term is the modality that a code means: what is no code string is left out.
func term(code string) string {
	code = strings.ToUpper(code)
	if m, ok := modalities[code]; ok {
		return m
	}
	if !termPattern.MatchString(code) {
		return ""
	}
	return code
}

// aeTitles are the repetitions of a field that are AE titles.
func aeTitles(s hl7.Segment, field string) (all []string) {
	n, _ := strconv.Atoi(field)
	for i := 1; i <= min(s.Repetitions(n), 16); i++ {
		if t := text(s, fmt.Sprintf("%s[%d].1", field, i)); t != "" && len(t) <= 16 && !strings.ContainsAny(t, "\\") {
			all = append(all, t)
		}
	}
	return all
}

func text(s hl7.Segment, path string) string { return lis.Said(s, path) }

// text3 is a person in an NDL (OBR-32 to 35): the first component's subcomponents.
func text3(s hl7.Segment, field string) record.Name {
	n := record.Name{Family: text(s, field+".1.2"), Given: text(s, field+".1.3"), Middle: text(s, field+".1.4")}
	if n.Empty() {
		n = lis.PersonName(s, field)
	}
	return n
}

func at(all []hl7.Segment, path string) string {
	for _, s := range all {
		if t := text(s, path); t != "" {
			return t
		}
	}
	return ""
}

func firstOf(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}
