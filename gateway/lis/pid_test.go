package lis

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"nhip/gateway/record"
	"nhip/hl7"
)

var vietnamRules = AuthorityRules{
	Link:    "his",
	Unnamed: map[string]string{"MR": "BVDK", "NI": "CCCD", "HC": "BHYT", "VN": "BVDK-MA_LK"},
	Names:   map[string]string{"HOSP": "BVDK", "1.2.704.1": "BVDK"},
}

func person(t *testing.T, r AuthorityRules, segments ...string) (record.Person, *hl7.Message) {
	t.Helper()
	m, err := hl7.Parse([]byte("MSH|^~\\&|HIS|BV|NHIP|BV|20260714||ADT^A08|1|P|2.5.1||||||UNICODE UTF-8\r" + strings.Join(segments, "\r") + "\r"))
	if err != nil {
		t.Fatal(err)
	}
	return ReadPerson(m, m.Segments("PID")[0], r), m
}

func TestIdentifiersAreKeptApartByAuthority(t *testing.T) {
	p, _ := person(t, vietnamRules,
		`PID|1||0000123^^^^MR~001060012345^^^^NI~DN4010112345678^^^^HC~77^^^KHAC^MR~88^^^HOSP&1.2.3&ISO^MR~99^^^&1.2.704.1&ISO^MR~55^^^^PI~""^^^HOSP^MR~^^^HOSP^MR||Nguyễn Thị Ánh||1960|F`,
		`PV1|1|I|||||||||||||||||2601234567^^^^VN`)
	want := record.Person{
		Identifiers: []record.Identifier{
			{Value: "0000123", Authority: "BVDK", Type: "MR"}, {Value: "001060012345", Authority: "CCCD", Type: "NI"},
			{Value: "DN4010112345678", Authority: "BHYT", Type: "HC"}, {Value: "77", Authority: "KHAC", Type: "MR"},
			{Value: "88", Authority: "BVDK", Type: "MR"}, {Value: "99", Authority: "BVDK", Type: "MR"},
			{Value: "55", Authority: "~his", Type: "PI"},
		},
		Name: record.Name{Family: "Nguyễn Thị Ánh"}, Birth: "1960", Sex: "F",
		Visit: record.Identifier{Value: "2601234567", Authority: "BVDK-MA_LK", Type: "VN"},
	}
	if d := cmp.Diff(want, p); d != "" {
		t.Error(d)
	}
}

func TestAnAuthorityIsNeverLessThanWhatWasSaid(t *testing.T) {
	a, _ := person(t, AuthorityRules{Link: "his"}, `PID|||1^^^A&B&C^MR~1^^^A^MR~1^^^A\T\B&&C^MR~1^^^^MR~1^^^\R\his^MR~1^^^A\E\T\E\B&&C^MR`)
	seen := map[string]bool{}
	for _, id := range a.Identifiers {
		if seen[id.Authority] {
			t.Errorf("two of authority %q", id.Authority)
		}
		seen[id.Authority] = true
	}
	if len(a.Identifiers) != 6 {
		t.Errorf("%+v", a.Identifiers)
	}
}

func TestAPersonIsWrittenAsRead(t *testing.T) {
	for _, pid := range []string{
		`PID|1||0000123^^^BVDK^MR~001060012345^^^CCCD^NI||Nguyễn^Ánh^Thị||1960|F||||||||||2601^^^BVDK^VN`,
		`PID|1||1^^^A&1.2&ISO^MR||Nguyễn Thị Ánh||19600517|M`,
		`PID|1||1^^^A\T\B^MR~2^^^\R\his^MR~3^^^\E\T\E\^MR||O\T\B||196005|U`,
		`PID|1||1`,
	} {
		p, _ := person(t, AuthorityRules{Link: "his"}, pid)
		m := hl7.NewMessage(hl7.DefaultDelimiters)
		if err := m.Set("MSH-18", "UNICODE UTF-8"); err != nil {
			t.Fatal(err)
		}
		s := m.Append("PID")
		if err := s.Set("1", "1"); err != nil {
			t.Fatal(err)
		}
		if err := WritePerson(s, p); err != nil {
			t.Fatal(err)
		}
		if got := string(s.Bytes()); got != pid {
			t.Errorf("wrote %s\nwant  %s", got, pid)
		}
	}
}

func TestNamesComeInNFC(t *testing.T) {
	p, _ := person(t, AuthorityRules{}, "PID|||1||Nguye\u0302\u0303n^A\u0301nh^Thi\u0323")
	if p.Name != (record.Name{Family: "Nguyễn", Given: "Ánh", Middle: "Thị"}) || p.Name.Whole() != "Nguyễn Thị Ánh" {
		t.Errorf("%+q", p.Name)
	}
}

func TestTheVisitIsThatOfTheSamePatient(t *testing.T) {
	_, m := person(t, AuthorityRules{}, "PID|1||1", "PID|2||2", "PV1|1|I|||||||||||||||||V2")
	pids := m.Segments("PID")
	if p := ReadPerson(m, pids[0], AuthorityRules{}); p.Visit.Value != "" {
		t.Errorf("first: %+v", p.Visit)
	}
	if p := ReadPerson(m, pids[1], AuthorityRules{}); p.Visit.Value != "V2" {
		t.Errorf("second: %+v", p.Visit)
	}
}

// What is read of a patient is written and read again as it is, whatever the bytes.
func FuzzPerson(f *testing.F) {
	for _, pid := range []string{
		`PID|1||0000123^^^^MR~001060012345^^^CCCD^NI||Nguyễn^Ánh^Thị||1960|F||||||||||2601^^^BVDK^VN`,
		`PID|1|5^^^A&1.2&ISO^MR|1^^^A\T\B^MR~""||O\T\B&x||19600000|U`,
		`PID|1||1^^^&^~^^^X||\X41\\.br\`, "PID|||\xff^^^\xfe", "PID",
	} {
		f.Add([]byte("MSH|^~\\&|||||||ADT^A08|1|P|2.5.1||||||UNICODE UTF-8\r" + pid + "\rPV1|1|I\r"))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, _ := hl7.ParseWithin(b, hl7.Limits{Size: 1 << 20, Segments: 1000, Fields: 1000})
		if m == nil || len(m.Segments("PID")) == 0 {
			return
		}
		r := AuthorityRules{Link: "his"}
		p := ReadPerson(m, m.Segments("PID")[0], r)
		out := hl7.NewMessage(hl7.DefaultDelimiters)
		if err := out.Set("MSH-18", "UNICODE UTF-8"); err != nil {
			t.Fatal(err)
		}
		if err := WritePerson(out.Append("PID"), p); err != nil {
			return // a character that no message may hold
		}
		again, err := hl7.Parse(out.Bytes())
		if err != nil {
			t.Fatalf("%v: %q", err, out.Bytes())
		}
		p.Birth = record.BirthDate(p.Birth)
		q := ReadPerson(again, again.Segments("PID")[0], r)
		if len(p.Identifiers) == 0 {
			p.Identifiers = nil
		}
		if d := cmp.Diff(p, q); d != "" {
			t.Fatal(d)
		}
	})
}
