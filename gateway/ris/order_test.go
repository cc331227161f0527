package ris

import (
	"strings"
	"testing"
	"time"

	"nhip/gateway/lis"
	"nhip/gateway/record"
	"nhip/hl7"
)

var hanoi = time.FixedZone("+07", 7*3600)

// procedures reads the first order of a message whose lines end with a line feed.
func procedures(t *testing.T, r Rules, lines string) (record.Order, Found) {
	t.Helper()
	m, err := hl7.Parse([]byte(strings.ReplaceAll(strings.TrimSpace(lines), "\n", "\r") + "\r"))
	if err != nil {
		t.Fatal(err)
	}
	groups, bad := lis.OrderGroups(m)
	if len(bad) > 0 {
		t.Fatal(bad)
	}
	r.Zone = hanoi
	o := lis.ReadOrder(m, groups[0], r.OrderRules)
	if o.Kind = KindOf(m, groups[0], o, r.Kind); o.Kind != record.ImagingOrder {
		t.Fatalf("the order is for %s", o.Kind)
	}
	return o, Procedures(groups[0], &o, r)
}

const omi = `MSH|^~\&|RIS|BV|NHIP|BV|20260114080000||OMI^O23^OMI_O23|1|P|2.5.1
PID|1||BN001^^^BV||Nguyễn^Thị Ánh||1980|F
PV1|1|O|XQ||||||||||||B6
ORC|NW|P1^HIS|F1^RIS||||||20260114075500|||BS1^Trần^Bình
TQ1|1||||||20260115093000||S
OBR|1|P1^HIS|F1^RIS|CTSN^Chụp CT sọ não^L||||||||Đi lại được|Dị ứng thuốc cản quang|||BS1^Trần^Bình||||||||||||||WALK|Đau đầu^Đau đầu kéo dài|||||||||||||RP1^CT sọ não^L
IPC|ACC1|RPID1|1.2.840.99.1|SPS1|CT|PROT1^Sọ não thường quy^L|STN1|LOC1|CT1~CT2
IPC|ACC1|RPID1|1.2.840.99.1|SPS2|CT|PROT2^Xoang^L|||CT1`

func TestImagingOrderWithIPC(t *testing.T) {
	o, found := procedures(t, Rules{}, omi)
	if len(found.Refused)+len(found.Warnings) > 0 {
		t.Error(found)
	}
	p := o.Services[0].Imaging
	if p.Accession != "ACC1" || p.ProcedureID != "RPID1" || p.StudyInstanceUID != "1.2.840.99.1" || p.Made || p.Procedure.Code != "RP1" {
		t.Errorf("the procedure is %+v", p)
	}
	if len(p.Steps) != 2 || p.Steps[1].ID != "SPS2" || p.Steps[0].Modality != "CT" || strings.Join(p.Steps[0].AETitles, " ") != "CT1 CT2" ||
		p.Steps[0].StationName != "STN1" || p.Steps[0].Location != "LOC1" || !p.Steps[0].Start.Equal(time.Date(2026, 1, 15, 9, 30, 0, 0, hanoi)) {
		t.Errorf("the steps are %+v", p.Steps)
	}
	if p.PatientState != "Đi lại được" || p.Alerts != "Dị ứng thuốc cản quang" || p.Transport != "WALK" || o.Services[0].Reason != "Đau đầu kéo dài" || !o.Stay.Pregnant {
		t.Errorf("%+v, %+v", p, o.Stay)
	}
}

func TestImagingOrderOf231(t *testing.T) {
	o, _ := procedures(t, Rules{Known: func(title string) bool { return title == "MR1" }}, `MSH|^~\&|RIS|BV|NHIP|BV|20260114080000||ORM^O01|1|P|2.3.1
PID|1||BN001||NGUYEN^ANH||19800101|F
ORC|NW|P1|F1||||^^^20260114093000^^A|||||||||||MR1
OBR|1|P1|F1|XX^MRI^L^PC^Protokoll^L||||||||||||||ACC9|RP9|SPS9||||NMR
ORC|NW|P2|F2
OBR|2|P2|F2|YY
ZDS|1.2.840.99.2^RIS^Application^DICOM`)
	p := o.Services[0].Imaging
	if p.Accession != "ACC9" || p.ProcedureID != "RP9" || p.StudyInstanceUID != "1.2.840.99.2" {
		t.Errorf("the procedure is %+v", p)
	}
	if s := p.Steps[0]; s.ID != "SPS9" || s.Modality != "MR" || s.Protocol.Code != "PC" || s.AETitles[0] != "MR1" || !s.Start.Equal(time.Date(2026, 1, 14, 9, 30, 0, 0, hanoi)) {
		t.Errorf("the step is %+v", s)
	}
	if o.Services[0].Priority != "A" {
		t.Errorf("priority %q", o.Services[0].Priority)
	}
}

// The shape of Vietnamese HIS: OMI^O23 of 2.7 without IPC, the whole name in PID-5.1.
const vietnamese = `MSH|^~\&|HIS|BV|NHIP|BV|20260114080000||OMI^O23^OMI_O23|1|P|2.7
PID|1||0000012345||NGUYỄN THỊ ÁNH||19800101|F
PV1|1|O|KKB
ORC|NW|CD2601140001||||||||||BS1^Trần Văn Bình
OBR|1|CD2601140001^SP26011400010001||CT001^Chụp CLVT sọ não||||||||||||||||||||CT`

func TestOrderWithoutIPC(t *testing.T) {
	o, found := procedures(t, Rules{}, vietnamese)
	p := o.Services[0].Imaging
	if p.Accession != "SP26011400010001" || p.ProcedureID != p.Accession || p.Steps[0].ID != p.Accession || p.Steps[0].Modality != "CT" {
		t.Errorf("the procedure is %+v", p)
	}
	if !strings.HasPrefix(p.StudyInstanceUID, "2.25.") || len(p.StudyInstanceUID) > 64 || !p.Made || len(found.Refused) > 0 {
		t.Errorf("the study is %q, %v", p.StudyInstanceUID, found)
	}
	if o.Placer.ID != "CD2601140001" || o.Ordered.Name.Family != "NGUYỄN THỊ ÁNH" {
		t.Errorf("the order is %+v", o)
	}
	// Where OBR-2.2 says who gave the number it is no accession number.
	o, _ = procedures(t, Rules{}, strings.NewReplacer("ORC|NW|CD2601140001|", "ORC|NW|CD2601140001^HIS|", "^SP26011400010001", "^HIS").Replace(vietnamese))
	if a := o.Services[0].Imaging.Accession; a != "" {
		t.Errorf("the accession number is %q", a)
	}
	// Another shape has it in ORC-2.
	o, _ = procedures(t, Rules{Accession: []string{"ORC-2"}}, vietnamese)
	if a := o.Services[0].Imaging.Accession; a != "CD2601140001" {
		t.Errorf("the accession number is %q", a)
	}
}

func TestPoliciesForAMissingStudyInstanceUID(t *testing.T) {
	uid := func(r Rules, lines string) (string, Found) {
		o, found := procedures(t, r, lines)
		return o.Services[0].Imaging.StudyInstanceUID, found
	}
	a, _ := uid(Rules{Missing: MissingGenerate}, vietnamese)
	b, _ := uid(Rules{Missing: MissingGenerate}, vietnamese)
	if a == b || !uidPattern.MatchString(a) {
		t.Errorf("made %q and %q", a, b)
	}
	a, _ = uid(Rules{Missing: MissingAccession, Site: "bv"}, vietnamese)
	b, _ = uid(Rules{Missing: MissingAccession, Site: "bv"}, vietnamese)
	c, _ := uid(Rules{Missing: MissingAccession, Site: "other"}, vietnamese)
	if a != b || a == c || !uidPattern.MatchString(a) || len(a) > 64 {
		t.Errorf("made %q, %q, %q", a, b, c)
	}
	if _, found := uid(Rules{Missing: MissingAccession}, strings.Replace(vietnamese, "^SP26011400010001", "", 1)); len(found.Refused) != 1 || found.Refused[0].Code != "101" {
		t.Errorf("without an accession number: %v", found)
	}
	if _, found := uid(Rules{Missing: MissingRefuse}, vietnamese); len(found.Refused) != 1 || found.Refused[0].Code != "101" || found.Refused[0].Location != "OBR" {
		t.Errorf("refused: %v", found)
	}
	if _, found := uid(Rules{}, strings.Replace(omi, "1.2.840.99.1", "1.2.840.x", 1)); len(found.Refused) != 1 || found.Refused[0].Code != "102" {
		t.Errorf("no UID: %v", found)
	}
}

func TestPoliciesForALongAccessionNumber(t *testing.T) {
	long := strings.ReplaceAll(omi, "ACC1", "12345678901234567")
	_, found := procedures(t, Rules{}, long)
	if len(found.Refused) != 1 || found.Refused[0].Code != "104" || found.Refused[0].Location != "IPC-1" {
		t.Errorf("refused: %v", found)
	}
	for _, policy := range []string{LongKeep, LongCut} {
		o, found := procedures(t, Rules{Long: policy}, long)
		if len(found.Refused) > 0 || o.Services[0].Imaging.Accession != "12345678901234567" {
			t.Errorf("%s: %v", policy, found)
		}
	}
	if _, found := procedures(t, Rules{}, strings.ReplaceAll(omi, "ACC1", "Mười sáu ký tự Đ")); len(found.Refused) > 0 {
		t.Error("16 characters are not 16 bytes: ", found)
	}
}

func TestOrderWithoutAModalityIsTakenWithAWarning(t *testing.T) {
	lines := `MSH|^~\&|RIS|BV|NHIP|BV|20260114080000||ORM^O01|1|P|2.5
PID|1||BN001
ORC|NW|P1
OBR|1|P1||XX^CT^L
ZDS|1.2.840.99.2`
	o, found := procedures(t, Rules{}, lines)
	if len(found.Refused) > 0 || len(found.Warnings) != 1 || found.Warnings[0].Location != "OBR-24" || o.Services[0].Imaging.Steps[0].Modality != "" {
		t.Errorf("%v %+v", found, o.Services[0].Imaging)
	}
	o, found = procedures(t, Rules{Modality: "US"}, lines)
	if len(found.Warnings) > 0 || o.Services[0].Imaging.Steps[0].Modality != "US" {
		t.Errorf("%v %+v", found, o.Services[0].Imaging)
	}
}

func TestWhatAnOrderIsFor(t *testing.T) {
	for _, c := range []struct {
		rest, kind string
		want       record.OrderKind
	}{
		{"OMI^O23|1|P|2.5\nORC|NW|1\nOBR|1|||X", "", record.ImagingOrder},
		{"OML^O21|1|P|2.5\nORC|NW|1\nOBR|1|||X||||||||||||||||||||CT", "imaging", record.LaboratoryOrder},
		{"ORM^O01|1|P|2.3\nORC|NW|1\nOBR|1|||X||||||||||||||||||||CT", "", record.ImagingOrder},
		{"ORM^O01|1|P|2.3\nORC|NW|1\nOBR|1|||X||||||||||||||||||||RUS", "", record.ImagingOrder},
		{"ORM^O01|1|P|2.3\nORC|NW|1\nOBR|1|||X||||||||||||||||||||CH", "", record.LaboratoryOrder},
		{"ORM^O01|1|P|2.3\nORC|NW|1\nOBR|1||S1|X", "", record.LaboratoryOrder},
		{"ORM^O01|1|P|2.3\nORC|NW|1\nOBR|1|||X||||||||||||||||||||PT", "", record.OtherOrder},
		{"ORM^O01|1|P|2.3\nORC|NW|1\nOBR|1|||X", "imaging", record.ImagingOrder},
		{"OMG^O19|1|P|2.5\nORC|NW|1\nOBR|1|||X\nIPC|A", "", record.ImagingOrder},
		{"OMG^O19|1|P|2.5\nORC|NW|1\nOBR|1|||X\nSPM|1|S1", "", record.LaboratoryOrder},
	} {
		m, err := hl7.Parse([]byte(strings.ReplaceAll(`MSH|^~\&|||||||`+c.rest+"\n", "\n", "\r")))
		if err != nil {
			t.Fatal(err)
		}
		groups, _ := lis.OrderGroups(m)
		o := lis.ReadOrder(m, groups[0], lis.OrderRules{})
		if got := KindOf(m, groups[0], o, c.kind); got != c.want {
			t.Errorf("%s is for %s, want %s", c.rest, got, c.want)
		}
	}
}
