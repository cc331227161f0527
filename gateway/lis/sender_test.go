package lis

import (
	"strings"
	"testing"

	"nhip/gateway/delivery"
)

func TestOnlyAANamingTheMessageSettlesIt(t *testing.T) {
	const head = "MSH|^~\\&|LIS||NHIP||20260101||ACK^R01^ACK|9|P|2.5.1\r"
	for _, c := range []struct {
		name, answer string
		want         delivery.Kind
	}{
		{"AA", head + "MSA|AA|X1\r", delivery.Accepted},
		{"AA without the last CR", head + "MSA|AA|X1", delivery.Accepted},
		{"AA with line feeds", strings.ReplaceAll(head+"MSA|AA|X1\r", "\r", "\r\n"), delivery.Accepted},
		{"AA for another message", head + "MSA|AA|X2\r", delivery.Unclear},
		{"AA for a longer name", head + "MSA|AA|X11\r", delivery.Unclear},
		{"AA for nothing", head + "MSA|AA\r", delivery.Unclear},
		{"CA", head + "MSA|CA|X1\r", delivery.Unclear},
		{"CE", head + "MSA|CE|X1\r", delivery.Refused},
		{"CR", head + "MSA|CR|X1\r", delivery.Unclear},
		{"AE", head + "MSA|AE|X1\rERR||PID^1^3|103^x^HL70357|E\r", delivery.Refused},
		{"AE for another message", head + "MSA|AE|X2\r", delivery.Unclear},
		{"AR", head + "MSA|AR|X1\r", delivery.Rejected},
		{"AR 207", head + "MSA|AR|X1\rERR||MSH^1^9|207^x^HL70357|E\r", delivery.Rejected},
		{"AR 200", head + "MSA|AR|X1\rERR||MSH^1^9|200^x^HL70357|E\r", delivery.Refused},
		{"AR 203", head + "MSA|AR|X1\rERR||MSH^1^12|203^x^HL70357|E\r", delivery.Refused},
		{"NACK of a Vietnamese HIS, no MSA-2", "MSH|^~\\&|||||||ACK||P|2.5\rMSA|AR||text\r", delivery.Unclear},
		{"lower case", head + "MSA|aa|X1\r", delivery.Unclear},
		{"no MSA", head, delivery.Unclear},
		{"our own message come back", "MSH|^~\\&|NHIP||LIS||20260101||ORU^R01|X1|P|2.5.1\r", delivery.Unclear},
		{"rubbish", "HELLO", delivery.Unclear},
		{"nothing", "", delivery.Unclear},
	} {
		e := Settle("X1", []byte(c.answer))
		if e.Kind != c.want {
			t.Errorf("%s: %v, want %v", c.name, e.Kind, c.want)
		}
		if e.Kind != delivery.Accepted && e.Why.IsZero() {
			t.Errorf("%s: no reason", c.name)
		}
	}
}
