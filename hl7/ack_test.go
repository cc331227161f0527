package hl7_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"nhip/hl7"
)

var (
	zone = time.FixedZone("", 7*3600)
	now  = time.Date(2026, 1, 14, 8, 15, 0, 0, zone)
)

func TestAck(t *testing.T) {
	options := hl7.AckOptions{ControlID: "N1", Now: now}
	full := options
	full.Text = "specimen | unknown"
	full.Expected = "8"
	full.Errors = []hl7.Error{
		{Location: "PID-3[2].4.2", Code: hl7.ErrorTableValue, Text: "Bệnh viện lạ", Diagnostic: "table 0363"},
		{Location: "OBX[12]-5", Code: hl7.ErrorDataType, Severity: hl7.SeverityWarning},
		{Code: hl7.ErrorApplication, Diagnostic: "disk"},
		{Location: "somewhere", Code: "MINE"},
	}
	named := options
	named.Application, named.Facility = "NHIP", "BVDK"
	for _, c := range []struct {
		name, message string
		code          hl7.AckCode
		options       hl7.AckOptions
		want          string
	}{
		{
			"2.5.1: header echoed, sender and receiver exchanged", header, hl7.ApplicationAccept, options,
			lines(`MSH|^~\&|LIS|BV^4.5^ISO|LAB^1.2.3^ISO|HOSP|20260114081500+0700||ACK^R01^ACK|N1|P|2.5.1||||||UNICODE UTF-8`, `MSA|AA|A-17`),
		},
		{
			"enhanced mode", header, hl7.CommitAccept, options,
			lines(`MSH|^~\&|LIS|BV^4.5^ISO|LAB^1.2.3^ISO|HOSP|20260114081500+0700||ACK^R01^ACK|N1|P|2.5.1||||||UNICODE UTF-8`, `MSA|CA|A-17`),
		},
		{
			"errors from 2.5 on", header, hl7.ApplicationError, full,
			lines(`MSH|^~\&|LIS|BV^4.5^ISO|LAB^1.2.3^ISO|HOSP|20260114081500+0700||ACK^R01^ACK|N1|P|2.5.1||||||UNICODE UTF-8`,
				`MSA|AE|A-17|specimen \F\ unknown|8`,
				`ERR||PID^1^3^2^4^2|103^Table value not found^HL70357|E|||table 0363|Bệnh viện lạ`,
				`ERR||OBX^12^5|102^Data type error^HL70357|W`,
				`ERR|||207^Application internal error^HL70357|E|||disk`,
				`ERR||somewhere|MINE|E`),
		},
		{
			"errors before 2.5", `MSH|^~\&|A||B||||ORU^R01|7|P|2.3.1`, hl7.ApplicationReject, full,
			lines(`MSH|^~\&|B||A||20260114081500+0700||ACK^R01^ACK|N1|P|2.3.1`, `MSA|AR|7|specimen \F\ unknown|8||103^Table value not found^HL70357`,
				`ERR|PID^1^3^103&Table value not found&HL70357~OBX^12^5^102&Data type error&HL70357~^^^207&Application internal error&HL70357~^^^MINE`),
		},
		{
			"2.3 has no structure", `MSH|^~\&|A||B||||ORU^R01|7|P|2.3`, hl7.ApplicationAccept, options,
			lines(`MSH|^~\&|B||A||20260114081500+0700||ACK^R01|N1|P|2.3`, `MSA|AA|7`),
		},
		{
			"2.2 has no event", `MSH|^~\&|A||B||||ORU^R01|7|P|2.2`, hl7.ApplicationAccept, options,
			lines(`MSH|^~\&|B||A||20260114081500+0700||ACK|N1|P|2.2`, `MSA|AA|7`),
		},
		{
			"no event", `MSH|^~\&|A||B||||ORU|7|P|2.5`, hl7.ApplicationAccept, options,
			lines(`MSH|^~\&|B||A||20260114081500+0700||ACK|N1|P|2.5`, `MSA|AA|7`),
		},
		{
			"the sender's delimiters", `MSH$%*!@#$A%1$$B@x$$$$ORU%R01$7!F!7$P$2.7`, hl7.ApplicationError, hl7.AckOptions{ControlID: "a$b", Text: "#", Errors: []hl7.Error{{Location: "OBX-5", Code: "103"}}},
			lines(`MSH$%*!@#$B@x$$A%1$$00010101000000+0000$$ACK%R01%ACK$a!F!b$P$2.7`, `MSA$AE$7!F!7$!P!`, `ERR$$OBX%1%5$103%Table value not found%HL70357$E`),
		},
		{
			"message control ID exactly as it came", `MSH|^~\&|A||B||||ORU^R01| 0012^a&b~c\E\ |P|2.5.1`, hl7.ApplicationAccept, options,
			lines(`MSH|^~\&|B||A||20260114081500+0700||ACK^R01^ACK|N1|P|2.5.1`, `MSA|AA| 0012^a&b~c\E\ `),
		},
		{
			"no message control ID, no receiver", `MSH|^~\&|A||||||ORU^R01||P|2.5.1`, hl7.ApplicationAccept, named,
			lines(`MSH|^~\&|NHIP|BVDK|A||20260114081500+0700||ACK^R01^ACK|N1|P|2.5.1`, `MSA|AA|`),
		},
		{
			"nothing but delimiters", `MSH|^~\&`, hl7.ApplicationReject, hl7.AckOptions{Now: now, Errors: []hl7.Error{{Location: "MSH-9", Code: hl7.ErrorRequiredField}}},
			lines(`MSH|^~\&|||||20260114081500+0700||ACK|||`, `MSA|AR|`, `ERR||MSH^1^9|101^Required field missing^HL70357|E`),
		},
		{
			"one encoding character", `MSH|^|A||B||||ORU^R01|7|P|2.3`, hl7.ApplicationError, hl7.AckOptions{ControlID: "N", Now: now, Text: "a|b", Errors: []hl7.Error{{Location: "PID-3", Code: "101"}, {Code: "102"}}},
			lines(`MSH|^|B||A||20260114081500+0700||ACK^R01|N|P|2.3`, `MSA|AE|7|a?b|||101^Required field missing^HL70357`, `ERR|PID^1^3^101`),
		},
		{
			"text in the sender's character set", `MSH|^~\&|A||B||||ORU^R01|7|P|2.5.1||||||8859/1`, hl7.ApplicationError, hl7.AckOptions{ControlID: "N", Now: now, Text: "é ị"},
			lines(`MSH|^~\&|B||A||20260114081500+0700||ACK^R01^ACK|N|P|2.5.1||||||8859/1`, "MSA|AE|7|\xE9 ?"),
		},
		{
			"country, language, scheme and profile come back", `MSH|^~\&|A||B||||ORU^R01|7|P|2.5.1|8|c|AL|AL|VNM|UNICODE UTF-8|vi||LAB-29^IHE`, hl7.ApplicationAccept, options,
			lines(`MSH|^~\&|B||A||20260114081500+0700||ACK^R01^ACK|N1|P|2.5.1|||||VNM|UNICODE UTF-8|vi||LAB-29^IHE`, `MSA|AA|7`),
		},
		{
			"another type, which asks for an answer, and more segments", `MSH$%*!@$A$$B$$$$OML%O21$7$P$2.5.1`, hl7.ApplicationAccept,
			hl7.AckOptions{ControlID: "N", Now: now, Type: "ORL^O22^ORL_O22", AskAccept: hl7.Always, AskApplication: hl7.Never, Segments: []byte("ORC$OK\r")},
			lines(`MSH$%*!@$B$$A$$20260114081500+0700$$ORL%O22%ORL_O22$N$P$2.5.1$$$AL$NE`, `MSA$AA$7`, `ORC$OK`),
		},
		{
			"the first error in words where nothing else is said", `MSH|^~\&|A||B||||ORU^R01|7|P|2.2`, hl7.ApplicationError,
			hl7.AckOptions{ControlID: "N", Now: now, Errors: []hl7.Error{{Location: "PID-3", Code: hl7.ErrorRequiredField}}},
			lines(`MSH|^~\&|B||A||20260114081500+0700||ACK|N|P|2.2`, `MSA|AE|7|PID-3 Required field missing`, `ERR|PID^1^3^101&Required field missing&HL70357`),
		},
		{
			"and not where MSA-3 is withdrawn", `MSH|^~\&|A||B||||ORU^R01|7|P|2.7`, hl7.ApplicationError,
			hl7.AckOptions{ControlID: "N", Now: now, Errors: []hl7.Error{{Location: "PID-3", Code: hl7.ErrorRequiredField}}},
			lines(`MSH|^~\&|B||A||20260114081500+0700||ACK^R01^ACK|N|P|2.7`, `MSA|AE|7`, `ERR||PID^1^3|101^Required field missing^HL70357|E`),
		},
	} {
		m := parse(t, c.message+"\r")
		if got := string(hl7.Ack(m, c.code, c.options)); got != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", c.name, strings.ReplaceAll(got, "\r", "\n"), strings.ReplaceAll(c.want, "\r", "\n"))
		}
	}
}

func TestParseAck(t *testing.T) {
	for _, c := range []struct {
		name, answer string
		want         hl7.Acknowledgement
	}{
		{"positive", lines(`MSH|^~\&|LIS||LAB||2026||ACK^R01^ACK|9|P|2.5.1`, `MSA|AA|A-17`),
			hl7.Acknowledgement{Code: "AA", MessageControlID: "A-17", ControlID: "9"}},
		{"line feeds, other delimiters", "MSH$%*!@$LIS$$$$$$ACK$9$P$2.3\nMSA$AE$A-17$a!F!b$8\n",
			hl7.Acknowledgement{Code: "AE", MessageControlID: "A-17", ControlID: "9", Text: "a$b", Expected: "8"}},
		{"no MSA-2", lines(`MSH|^~\&|||||||ACK||P|2.5`, `MSA|AR||không có`),
			hl7.Acknowledgement{Code: "AR", Text: "không có"}},
		{"errors from 2.5 on", lines(`MSH|^~\&|||||||ACK|9|P|2.5.1`, `MSA|AE|A-17`, `ERR||PID^1^3^2^4^2|103^Table value not found|E|||d|t`, `ERR||OBX^12|207|I`, `ERR|||101`),
			hl7.Acknowledgement{Code: "AE", MessageControlID: "A-17", ControlID: "9", Errors: []hl7.Error{
				{Location: "PID-3[2].4.2", Code: "103", Severity: "E", Diagnostic: "d", Text: "t"},
				{Location: "OBX^12", Code: "207", Severity: "I"},
				{Code: "101"},
			}}},
		{"MSA-6 alone", lines(`MSH|^~\&|||||||ACK|9|P|2.3`, `MSA|AR|A-17||||207^busy`),
			hl7.Acknowledgement{Code: "AR", MessageControlID: "A-17", ControlID: "9", Errors: []hl7.Error{{Code: "207", Text: "busy"}}}},
		{"errors before 2.5", lines(`MSH|^~\&|||||||ACK|9|P|2.3`, `MSA|AE|A-17`, `ERR|PID^1^3^101&Required~OBX^2^5^102~free text`),
			hl7.Acknowledgement{Code: "AE", MessageControlID: "A-17", ControlID: "9", Errors: []hl7.Error{
				{Location: "PID-3", Code: "101", Text: "Required"},
				{Location: "OBX[2]-5", Code: "102"},
				{Location: "free text", Text: "free text"},
			}}},
	} {
		got, err := hl7.ParseAck([]byte(c.answer))
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, %v, want %+v", c.name, got, err, c.want)
		}
	}
	for _, answer := range []string{"", "HELLO", lines(`MSH|^~\&|||||||ACK|9|P|2.5`), lines(`MSA|AA|A-17`)} {
		var parseError *hl7.ParseError
		if _, err := hl7.ParseAck([]byte(answer)); !errors.As(err, &parseError) {
			t.Errorf("%q: %v", answer, err)
		}
	}
}

// What Ack writes, ParseAck reads, for every version and form.
func TestAckBothWays(t *testing.T) {
	errs := []hl7.Error{{Location: "PID-3", Code: "101", Severity: "E"}, {Location: "OBX[3]-5", Code: "102", Severity: "E"}}
	for _, version := range []string{"2.1", "2.2", "2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.9", "9.9", ""} {
		m := parse(t, `MSH|^~\&|A||B||||ORU^R01|7|P|`+version)
		a, err := hl7.ParseAck(hl7.Ack(m, hl7.ApplicationError, hl7.AckOptions{ControlID: "N", Text: "t", Errors: errs}))
		if err != nil || a.Code != "AE" || a.MessageControlID != "7" || a.ControlID != "N" || a.Text != "t" || len(a.Errors) != 2 {
			t.Errorf("%s: %+v, %v", version, a, err)
			continue
		}
		for i, e := range a.Errors {
			if e.Location != errs[i].Location || e.Code != errs[i].Code {
				t.Errorf("%s: %+v", version, e)
			}
		}
	}
}

func TestSettles(t *testing.T) {
	m := parse(t, result)
	for _, c := range []struct {
		code    hl7.AckCode
		id      string
		settles bool
	}{
		{"AA", "A-17", true}, {"CA", "A-17", true}, {"AE", "A-17", false}, {"AR", "A-17", false}, {"CR", "A-17", false},
		{"AA", "A-18", false}, {"AA", "a-17", false}, {"AA", "A-17 ", false}, {"AA", "", false}, {"", "A-17", false},
	} {
		if got := hl7.Settles(m, hl7.Acknowledgement{Code: c.code, MessageControlID: c.id}); got != c.settles {
			t.Errorf("%s for %q: %v", c.code, c.id, got)
		}
	}
	if hl7.Settles(parse(t, `MSH|^~\&|A||B||||ORU^R01||P|2.3`), hl7.Acknowledgement{Code: "AA"}) {
		t.Error("an answer to nothing settles a message without a control ID")
	}
}

func TestAckModeByMSH15And16(t *testing.T) {
	for _, c := range []struct {
		accept, application         string
		wantAccept, wantApplication hl7.Condition
	}{
		{"", "", hl7.Never, hl7.Always},
		{"NE", "NE", hl7.Never, hl7.Never},
		{"AL", "NE", hl7.Always, hl7.Never},
		{"ER", "SU", hl7.OnError, hl7.OnSuccess},
		{"NE", "AL", hl7.Never, hl7.Always},
		{"AL", "", hl7.Always, hl7.Never},
		{"", "AL", hl7.Never, hl7.Always},
		{"al", " er ", hl7.Always, hl7.OnError},
		{"764", "", hl7.Never, hl7.Always},
		{"AL", "AL", hl7.Always, hl7.Always},
	} {
		m := parse(t, `MSH|^~\&|A||B||||ORU^R01|7|P|2.5.1|||`+c.accept+"|"+c.application)
		accept, application := hl7.AckMode(m)
		if accept != c.wantAccept || application != c.wantApplication {
			t.Errorf("%q, %q: %s, %s", c.accept, c.application, accept, application)
		}
	}
}

func TestAcknowledgementIsNeverAnsweredUnlessItAsks(t *testing.T) {
	for _, c := range []struct {
		message string
		accept  hl7.Condition
	}{
		{`MSH|^~\&|A||B||||ACK^R01^ACK|7|P|2.5.1` + "\rMSA|AA|1", hl7.Never},
		{`MSH|^~\&|A||B||||ACK|7|P|2.5.1`, hl7.Never},
		{`MSH|^~\&|A||B||||ORL^O22^ORL_O22|7|P|2.5.1|||AL|AL` + "\rmsa|AA|1", hl7.Always},
		{`MSH|^~\&|A||B||||ACK^R01^ACK|7|P|2.5.1|||ER|AL` + "\rMSA|AA|1", hl7.OnError},
	} {
		m := parse(t, c.message)
		if !m.IsAcknowledgement() {
			t.Errorf("%q is no acknowledgement", c.message)
		}
		if accept, application := hl7.AckMode(m); accept != c.accept || application != hl7.Never {
			t.Errorf("%q: %s, %s", c.message, accept, application)
		}
	}
	if parse(t, result).IsAcknowledgement() {
		t.Error("a result is taken for an acknowledgement")
	}
}

func TestCondition(t *testing.T) {
	for c, want := range map[hl7.Condition][2]bool{hl7.Always: {true, true}, hl7.Never: {false, false}, hl7.OnSuccess: {true, false}, hl7.OnError: {false, true}} {
		if got := [2]bool{c.Wants(true), c.Wants(false)}; got != want {
			t.Errorf("%s: %v", c, got)
		}
	}
}

func TestKnownVersion(t *testing.T) {
	for v, want := range map[string]bool{"2.1": true, "2.3.1": true, "2.5.1": true, "2.9": true, "": false, "9.9": false, "2": false, "3.0": false, "1": false} {
		if hl7.KnownVersion(v) != want {
			t.Errorf("version %q", v)
		}
	}
}
