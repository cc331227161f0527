package run

import (
	"log/slog"
	"testing"

	"nhip/gateway/interpret"
	"nhip/hl7"
)

// TestAMessageForAnotherBedIsRefused: what a monitor's connection brings is one
// bed's, that of its first message.
func TestAMessageForAnotherBedIsRefused(t *testing.T) {
	quiet := slog.New(slog.DiscardHandler)
	d := device{g: &Gateway{log: quiet, strangers: newStrangers(nil, quiet)}, name: "bed-1", kind: interpret.Monitor, bed: &bed{}}
	for _, step := range []struct {
		location string
		want     hl7.AckCode
	}{{"ICU^^1", hl7.ApplicationAccept}, {"ICU^^2", hl7.ApplicationReject}, {"", hl7.ApplicationAccept}, {"ICU^^1", hl7.ApplicationAccept}} {
		m, err := hl7.Parse([]byte("MSH|^~\\&|MON||||20260114||ORU^R01^ORU_R01|1|P|2.6\rPID|1\rPV1|1|I|" + step.location + "\rOBR|1\r"))
		if err != nil {
			t.Fatal(err)
		}
		if v := d.judge(m, true, false, "127.0.0.1:1"); v.Code != step.want {
			t.Errorf("%q: %v, want %v", step.location, v.Code, step.want)
		}
	}
}
