package poct1a_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"nhip/drivers/poct1a"
	"nhip/drivers/session"
	"nhip/drivers/session/sessiontest"
)

func clock() time.Time { return time.Date(2026, 1, 14, 8, 15, 0, 0, time.FixedZone("", 7*3600)) }

func start(d poct1a.Dialect) func() session.Core {
	return func() session.Core { return poct1a.NewLink(d, clock) }
}

func message(name, id, body string) string {
	return `<` + name + `><HDR><HDR.control_id V="` + id + `"/><HDR.version_id V="POCT1"/></HDR>` + body + `</` + name + `>`
}

// host is what we send: our control IDs count from 1.
func host(n int, name, body string) string {
	return fmt.Sprintf(`<%s><HDR><HDR.control_id V="%d"/><HDR.version_id V="POCT1"/><HDR.creation_dttm V="2026-01-14T08:15:00+07:00"/></HDR>%s</%s>`, name, n, body, name)
}

func ack(n int, id string) string {
	return host(n, "ACK.R01", `<ACK><ACK.type_cd V="AA"/><ACK.ack_control_id V="`+id+`"/></ACK>`)
}

var observation = message("OBS.R01", "4", `<SVC><SVC.role_cd V="OBS"/><SVC.observation_dttm V="2026-01-14T08:00:00+07:00"/>`+
	`<PT><PT.patient_id V="P77"/><OBS><OBS.observation_id V="2345-7" SN="LN" DN="Glu"/><OBS.value V="5.4" U="mmol/L"/><OBS.interpretation_cd V="N"/>`+
	`<OBS.normal_lo-hi_limit V="[4;6]"/><NTE><NTE.text V="of a remark"/></NTE></OBS></PT><OPR><OPR.operator_id V="77"/></OPR>`+
	`<SPC><SPC.type_cd V="BLD"/></SPC><NTE><NTE.text V="accepted"/></NTE></SVC>`)

func conversation(wrap func(string) string) string {
	return "> " + wrap(message("HEL.R01", "1", `<DEV><DEV.device_id V="D1"/></DEV>`)) + "\n" +
		"< " + wrap(ack(1, "1")) + "\n" +
		"> " + wrap(message("DST.R01", "2", `<DST><DST.new_observations_qty V="1"/></DST>`)) + "\n" +
		"< " + wrap(ack(2, "2")) + "\n" +
		"< " + wrap(host(3, "REQ.R01", `<REQ><REQ.request_cd V="ROBS"/></REQ>`)) + "\n" +
		"> " + wrap(message("ACK.R01", "3", `<ACK><ACK.type_cd V="AA"/></ACK>`)) + "\n" +
		"> " + wrap(observation) + "\n" +
		"= store " + observation + "\n" +
		"< " + wrap(ack(4, "4")) + "\n" +
		"> " + wrap(message("EOT.R01", "5", `<EOT><EOT.topic_cd V="OBS"/></EOT>`)) + "\n" +
		"< " + wrap(ack(5, "5")) + "\n" +
		"= ended\n"
}

// The elements ACK and EOT are no control characters.
func bare(text string) string {
	return strings.NewReplacer("<ACK>", "<x3C>ACK>", "<EOT>", "<x3C>EOT>").Replace(text)
}

func block(text string) string { return "<VT>" + bare(text) + "<FS><CR>" }

func TestConversations(t *testing.T) {
	for name, wrap := range map[string]func(string) string{"MLLP blocks": block, "bare": bare} {
		t.Run(name, func(t *testing.T) {
			sessiontest.Script{New: start(poct1a.Dialect{}), Text: conversation(wrap) +
				"< " + wrap(host(6, "DTV.R01", `<DTV><DTV.command_cd V="START_CONTINUOUS"/></DTV>`)) + "\n"}.Play(t)
			sessiontest.Script{New: start(poct1a.Dialect{Mode: "basic"}), Text: conversation(wrap) +
				"< " + wrap(host(6, "END.R01", `<TRM><TRM.reason_cd V="NRM"/></TRM>`)) + "\n"}.Play(t)
		})
	}
}

func TestNothingNewIsNotAskedFor(t *testing.T) {
	sessiontest.Script{New: start(poct1a.Dialect{Mode: "basic", AckID: "control_id"}), Text: `
> ` + message("DST.R01", "2", `<DST><DST.new_observations_qty V="0"/></DST>`) + `
< ` + bare(strings.Replace(ack(1, "2"), "ack_control_id", "control_id", 1)) + `
< ` + host(2, "END.R01", `<TRM><TRM.reason_cd V="NRM"/></TRM>`) + `
> ` + message("END.R01", "3", ``) + `
< ` + bare(strings.Replace(ack(3, "3"), "ack_control_id", "control_id", 1)) + `
= ended
= close the device ended the conversation
`}.Play(t)
}

// What is no XML is kept and refused; what was cut is kept.
func TestBadMessages(t *testing.T) {
	r := &sessiontest.Run{Core: start(poct1a.Dialect{})()}
	if err := r.Device([]byte("\v<OBS.R01><x></OBS.R01>\x1c\r")); err != nil {
		t.Fatal(err)
	}
	if len(r.Stored) != 0 || len(r.Incomplete) != 1 || !strings.Contains(string(r.Sent[0]), `ACK.type_cd V="AE"`) {
		t.Errorf("%q", r.Log)
	}
	if err := r.Device([]byte("\v" + observation[:40])); err != nil {
		t.Fatal(err)
	}
	if err := r.Cut("line cut"); err != nil || len(r.Incomplete) != 2 || string(r.Incomplete[1]) != observation[:40] {
		t.Errorf("%q %v", r.Log, err)
	}
}

func TestEveryByteDroppedDoubledFlipped(t *testing.T) {
	const short = `<OBS.R01><HDR><HDR.control_id V="4"/></HDR><SVC><PT><OBS><OBS.value V="5.4"/></OBS></PT></SVC></OBS.R01>`
	s := sessiontest.Script{New: start(poct1a.Dialect{}), Text: "> " + block(`<HEL.R01/>`) + "\n> " + block(short) + "\n"}
	s.Faults(t, false)
	s.Disk(t)
}

func TestRecords(t *testing.T) {
	records, problems, err := poct1a.Records([]byte(observation))
	if err != nil || len(problems) > 0 {
		t.Fatal(problems, err)
	}
	var kinds []string
	for _, r := range records {
		kinds = append(kinds, r.Kind)
	}
	if strings.Join(kinds, "") != "HPOCRC" {
		t.Fatalf("%q", kinds)
	}
	for _, c := range []struct {
		record     int
		name, want string
	}{
		{0, "message", "OBS.R01"}, {0, "control_id", "4"}, {1, "patient_id", "P77"}, {2, "role_cd", "OBS"}, {2, "observation_dttm", "2026-01-14T08:00:00+07:00"},
		{2, "opr_operator_id", "77"}, {2, "spc_type_cd", "BLD"}, {3, "text", "accepted"}, {4, "observation_id", "2345-7"}, {4, "observation_name", "Glu"},
		{4, "value", "5.4"}, {4, "unit", "mmol/L"}, {4, "interpretation_cd", "N"}, {4, "normal_lo_hi_limit", "[4;6]"}, {5, "text", "of a remark"},
	} {
		if got := records[c.record].Get(c.name); got != c.want {
			t.Errorf("record %d, %s is %q, want %q", c.record, c.name, got, c.want)
		}
	}
	for _, bad := range []string{"", "x", "<a>", "<a/><b/>", strings.Repeat("<a>", 100) + strings.Repeat("</a>", 100), `<?xml version="1.0" encoding="KOI8-R"?><a/>`} {
		if _, _, err := poct1a.Records([]byte(bad)); err == nil {
			t.Errorf("%q is read", bad)
		}
	}
}

func FuzzLink(f *testing.F) {
	f.Add([]byte("\v" + observation + "\x1c\r\v" + message("EOT.R01", "5", "") + "\x1c\r"))
	f.Add([]byte(message("HEL.R01", "1", "") + observation))
	f.Add([]byte(`<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>`))
	f.Fuzz(func(t *testing.T, line []byte) {
		r := &sessiontest.Run{Core: start(poct1a.Dialect{})()}
		if err := r.Device(line); err != nil {
			t.Fatal(err)
		}
		if err := r.Silence(); err != nil {
			t.Fatal(err)
		}
		for _, m := range r.Stored {
			if !strings.Contains(string(line), string(m)) {
				t.Fatalf("stored %q", m)
			}
			poct1a.Records(m) // does not panic
		}
	})
}
