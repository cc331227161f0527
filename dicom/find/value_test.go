package find

import (
	"strings"
	"testing"
	"time"

	"nhip/dicom"
)

func TestWildcard(t *testing.T) {
	for _, c := range []struct {
		key, value string
		want       bool
	}{
		{"", "", true}, {"a", "", false}, {"*", "", true}, {"?", "", false}, {"?", "é", true}, {"??", "é", false},
		{"CT*", "CT1", true}, {"CT*", "CT", true}, {"*T1", "CT1", true}, {"C*1", "CT21", true}, {"C*1", "CT2", false},
		{"*A*B*C*", "xxAyyBzzC", true}, {"*A*B*C*", "xxByyAzzC", false}, {"a?c", "abc", true}, {"a?c", "ac", false},
		{"**a", "ba", true}, {"Nguyễn*", "Nguyễn^Thị", true}, {"N?uy?n*", "Nguyễn^Thị", true}, {"[a-z]+", "abc", false}, {"a.c", "abc", false},
		{"(a+)+$", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!", false},
	} {
		if got := wildcard(c.key, c.value); got != c.want {
			t.Errorf("%q on %q: %v", c.key, c.value, got)
		}
	}
}

// A key that would take a backtracking matcher for ever.
func TestWildcardIsNotExponential(t *testing.T) {
	key := strings.Repeat("*a", 500) + "b"
	if wildcard(key, strings.Repeat("a", 100_000)) {
		t.Error("matched")
	}
}

func TestPersonName(t *testing.T) {
	for _, c := range []struct {
		key, value   string
		exact, plain bool // plain: accents are not looked at
	}{
		{"DOE^JANE", "Doe^Jane", true, true},
		{"DOE*", "Doe^Jane^^^", true, true},
		{"Doe^Jane", "Doe^Jane^^", true, true},
		{"Doe^Jane^^^", "Doe^Jane", true, true},
		{"Doe", "Doe^Jane", false, false},
		{"NGUYEN^THI HOA", "Nguyễn^Thị Hoa", false, true},
		{"nguyễn*", "NGUYỄN^THỊ HOA", true, true},
		{"DANG*", "Đặng^Văn", false, true},
		{"山田*", "Yamada^Tarou=山田^太郎=やまだ^たろう", true, true},
		{"Yamada*=山田*", "Yamada^Tarou=山田^太郎", true, true},
		{"Yamada*=田中*", "Yamada^Tarou=山田^太郎", false, false},
		{"=山田^太郎", "Yamada^Tarou=山田^太郎", true, true},
		{"Yamada*=x", "Yamada^Tarou", false, false},
	} {
		if got := person(c.key, c.value, false); got != c.exact {
			t.Errorf("%q on %q: %v", c.key, c.value, got)
		}
		if got := person(c.key, c.value, true); got != c.plain {
			t.Errorf("%q on %q without accents: %v", c.key, c.value, got)
		}
	}
}

func TestRanges(t *testing.T) {
	for _, c := range []struct {
		vr, key string
		in, out []string
		invalid bool
	}{
		{vr: "DA", key: "20260114", in: []string{"20260114", "2026.01.14"}, out: []string{"20260113", "", "x", "20260115", "202601"}},
		{vr: "DA", key: "20260101-20260131", in: []string{"20260101", "20260131"}, out: []string{"20251231", "20260201"}},
		{vr: "DA", key: "-20260131", in: []string{"19000101", "20260131"}, out: []string{"20260201"}},
		{vr: "DA", key: "20260131-", in: []string{"20260131", "21000101"}, out: []string{"20260130"}},
		{vr: "DA", key: "2026.01.01 - 2026.01.31", in: []string{"20260115"}, out: []string{"20260201"}},
		{vr: "DA", key: "20260230", invalid: true},
		{vr: "DA", key: "20261301", invalid: true},
		{vr: "DA", key: "-", invalid: true},
		{vr: "DA", key: "tomorrow", invalid: true},
		{vr: "TM", key: "1000-1030", in: []string{"10", "100000", "1030", "103059.9", "10:15"}, out: []string{"0959", "1031", "103100"}},
		{vr: "TM", key: "10", in: []string{"1000", "105959"}, out: []string{"11", "095959"}},
		{vr: "TM", key: "103000", in: []string{"1030", "103000.000"}, out: []string{"103001"}},
		{vr: "TM", key: "235960", in: []string{"235960"}},
		{vr: "TM", key: "103000.1234567", invalid: true},
		{vr: "TM", key: "2500", invalid: true},
		{vr: "DT", key: "2026", in: []string{"2026", "20260714", "20261231235959.999999"}, out: []string{"2025", "2027"}},
		{vr: "DT", key: "2020-2021", in: []string{"20201231", "20211231"}, out: []string{"2019", "2022"}},
		{vr: "DT", key: "2020-1000", in: []string{"20200101100000+0000"}, out: []string{"20200101095959+0000"}},
		{vr: "DT", key: "20260114080000+0700", in: []string{"20260114010000+0000", "20260114010000"}, out: []string{"20260114080000"}},
		{vr: "DT", key: "20260114080000-0500-20260114090000-0500", in: []string{"20260114133000+0000"}, out: []string{"20260114083000+0000"}},
		{vr: "DT", key: "20260114080000-0500-", in: []string{"20260114130000"}, out: []string{"20260114125959"}},
		{vr: "DT", key: "2026+1500", invalid: true},
	} {
		vr, _ := dicom.ParseVR(c.vr)
		r, ok := parseRange(vr, c.key, time.UTC)
		if ok == c.invalid {
			t.Errorf("%s %q: valid is %v", c.vr, c.key, ok)
			continue
		}
		for _, v := range c.in {
			if m, ok := parseMoment(vr, v, time.UTC); !ok || !r.Contains(m.Time) {
				t.Errorf("%s %q does not match %q", c.vr, c.key, v)
			}
		}
		for _, v := range c.out {
			if m, ok := parseMoment(vr, v, time.UTC); ok && r.Contains(m.Time) {
				t.Errorf("%s %q matches %q", c.vr, c.key, v)
			}
		}
	}
}

// The note of PS3.4 section C.2.2.2.5: a study date of 20060705-20060707 and a
// study time of 1000-1800 combined are one interval of 56 hours.
func TestCombinedRange(t *testing.T) {
	date, _ := parseRange(dicom.DA, "20060705-20060707", nil)
	clock, _ := parseRange(dicom.TM, "1000-1800", nil)
	r, ok := combined(date, clock)
	if !ok {
		t.Fatal("not combined")
	}
	for value, want := range map[string]bool{
		"200607050959": false, "200607051000": true, "200607060100": true, "200607071800": true, "200607071801": false,
	} {
		if m, _ := parseMoment(dicom.DT, value, time.UTC); r.Contains(m.Time) != want {
			t.Errorf("%s: %v", value, !want)
		}
	}
	for _, c := range [][2]string{{"20060705", "1000-"}, {"20060705-", "-1800"}, {"20060705-20060707", "1000"}} {
		date, _ := parseRange(dicom.DA, c[0], nil)
		clock, _ := parseRange(dicom.TM, c[1], nil)
		if _, ok := combined(date, clock); ok {
			t.Errorf("%v are combined", c)
		}
	}
}
