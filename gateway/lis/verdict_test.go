package lis

import (
	"testing"

	"nhip/hl7"
)

func parse(t *testing.T, msh string) *hl7.Message {
	t.Helper()
	m, err := hl7.Parse([]byte(msh + "\rPID|1\r"))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestTypeEventAndVersionAreJudgedAsTheContractSays(t *testing.T) {
	for _, c := range []struct {
		msh, fromSystem, fromDevice string
	}{
		{`MSH|^~\&|A||B||20260101||ORU^R01|1|P|2.3.1`, "AA", "AA"},
		{`MSH|^~\&|A||B||20260101||ORU^R01^ORU_R01|1|P|2.5.1`, "AA", "AA"},
		{`MSH|^~\&|A||B||20260101||OMI^O23|1|P|2.7`, "AA", "AA"},
		{`MSH|^~\&|A||B||20260101||ADT^A40|1|P|2.5`, "AA", "AA"},
		{`MSH|^~\&|A||B||20260101||XXX^Z99|1|P|2.5`, "AR 200", "AR 200"},
		{`MSH|^~\&|A||B||20260101||ZDT^Z01^ZDT_Z01|1|P|2.5`, "AA", "AA"},
		{`MSH|^~\&|A||B||20260101||OMD^O03^OMD_O03|1|P|2.5`, "AA", "AA"},
		{`MSH|^~\&|A||B||20260101|||1|P|2.5`, "AR 200", "AR 200"},
		{`MSH|^~\&|A||B||20260101||ADT^A99|1|P|2.5`, "AR 201", "AR 201"},
		{`MSH|^~\&|A||B||20260101||ORU|1|P|2.5`, "AR 201", "AR 201"},
		{`MSH|^~\&|A||B||20260101||ORU^R01|1|P|9.9`, "AR 203", "AR 203"},
		{`MSH|^~\&|A||B||20260101||ORU^R01|1|P|`, "AR 203", "AA"},
		{`MSH|^~\&|A||B||20260101||ORU^R01||P|2.5`, "AE 101", "AA"},
	} {
		m := parse(t, c.msh)
		for device, want := range map[bool]string{false: c.fromSystem, true: c.fromDevice} {
			v := Judge(m, device, false)
			got := string(v.Code)
			if len(v.Errors) > 0 {
				got += " " + v.Errors[0].Code
			}
			if got != want {
				t.Errorf("%s (device %v): %s, want %s", c.msh, device, got, want)
			}
		}
	}
}

func TestWhatAPartOfTheGatewayTakesIsJudgedByItsVersionAndControlIDOnly(t *testing.T) {
	for msh, want := range map[string]hl7.AckCode{
		`MSH|^~\&|A||B||20260101||QBP^Q11^QBP_Q11|1|P|2.5.1`: hl7.ApplicationAccept,
		`MSH|^~\&|A||B||20260101||QBP^Q11^QBP_Q11|1|P|9.9`:   hl7.ApplicationReject,
		`MSH|^~\&|A||B||20260101||QBP^Q11^QBP_Q11||P|2.5.1`:  hl7.ApplicationError,
	} {
		if v := Judge(parse(t, msh), false, true); v.Code != want {
			t.Errorf("%s: %+v", msh, v)
		}
	}
}

func TestOnlyAPlainDecimalNumberIsNM(t *testing.T) {
	for v, want := range map[string]string{
		"6.41": "NM", "0": "NM", "-1": "NM", "+3": "NM", "007": "NM", "10.0": "NM",
		"": "ST", "1,5": "ST", "<0.01": "ST", "> 20": "ST", "1e3": "ST", "1.": "ST", ".5": "ST", "1.2.3": "ST", "-": "ST",
		"--1": "ST", "-1^0.325": "ST", "----": "ST", "NaN": "ST", "٣": "ST", "12345678901234567": "ST", " 5": "ST",
	} {
		if got := ValueType(v); got != want {
			t.Errorf("%q: %s, want %s", v, got, want)
		}
	}
}
