package hl7_test

import (
	"fmt"
	"strings"
	"testing"

	"nhip/hl7"
)

// oru is a result of about 1.2 KB, as an analyser sends it.
func oru() []byte {
	var b strings.Builder
	b.WriteString(lines(header, "PID|1||T0001^^^BVDK^MR||THỬ^NGHIỆM||19800101|M", "OBR|1||27^XN-L|CBC^Công thức máu^L|||20260114081400+0700"))
	for i := range 10 {
		fmt.Fprintf(&b, "OBX|%d|NM|WBC^White cells^99SYSMEX^6690-2^^LN||6.41|10*3/uL|4.00-10.00|N|||F|||20260114081400+0700\r", i+1)
	}
	return []byte(b.String())
}

// What it takes to accept a message: read the header, decide, build the answer.
func BenchmarkAccept(b *testing.B) {
	message := oru()
	b.SetBytes(int64(len(message)))
	b.ReportAllocs()
	for b.Loop() {
		m, err := hl7.Parse(message)
		if err != nil {
			b.Fatal(err)
		}
		code, event, _ := m.Type()
		if m.Required("MSH-9.1", "MSH-10", "MSH-12") != nil || !hl7.KnownVersion(m.Version()) || code != "ORU" || event != "R01" {
			b.Fatal("refused")
		}
		hl7.AckMode(m)
		hl7.Ack(m, hl7.ApplicationAccept, hl7.AckOptions{ControlID: "N1", Now: now})
	}
}

func BenchmarkParseSetWrite(b *testing.B) {
	for _, size := range []int{1, 100} {
		message := oru()
		message = append(message, strings.Repeat(string(message[strings.Index(string(message), "OBX"):]), size-1)...)
		b.Run(fmt.Sprintf("%dB", len(message)), func(b *testing.B) {
			b.SetBytes(int64(len(message)))
			b.ReportAllocs()
			for b.Loop() {
				m, err := hl7.Parse(message)
				if err != nil {
					b.Fatal(err)
				}
				if err := m.Set("PID-3.1", "T0002"); err != nil {
					b.Fatal(err)
				}
				m.Bytes()
			}
		})
	}
}

func BenchmarkReadResults(b *testing.B) {
	message := oru()
	b.SetBytes(int64(len(message)))
	b.ReportAllocs()
	for b.Loop() {
		m, err := hl7.Parse(message)
		if err != nil {
			b.Fatal(err)
		}
		for _, s := range m.Segments("OBX") {
			if s.Get("3.1") == "" || s.Get("5") == "" || s.Get("6.1") == "" || s.Get("8") == "" || s.Get("11") == "" {
				b.Fatal("missing")
			}
		}
	}
}

// A field of 5 MB, as an embedded document has: in, one field changed, and out.
func BenchmarkLargeField(b *testing.B) {
	message := append(oru(), "OBX|11|ED|PDF||^^PDF^Base64^"+strings.Repeat("QUJD", 5<<20/4)+"\r"...)
	b.SetBytes(int64(len(message)))
	b.ReportAllocs()
	for b.Loop() {
		m, err := hl7.Parse(message)
		if err != nil {
			b.Fatal(err)
		}
		if err := m.Set("PID-3.1", "T0002"); err != nil {
			b.Fatal(err)
		}
		if len(m.Get("OBX[11]-5.5")) != 5<<20 || len(m.Bytes()) < len(message) {
			b.Fatal("cut")
		}
	}
}

// Allocations do not creep in: speed is measured elsewhere, on a quiet machine.
func TestAllocationsPerMessage(t *testing.T) {
	message := oru()
	for name, c := range map[string]struct {
		most float64
		do   func()
	}{
		"parse": {3, func() { hl7.Parse(message) }},
		"parse, set, write": {8, func() {
			m, _ := hl7.Parse(message)
			m.Set("PID-3.1", "T0002")
			m.Bytes()
		}},
		"parse and acknowledge": {12, func() {
			m, _ := hl7.Parse(message)
			hl7.AckMode(m)
			hl7.Ack(m, hl7.ApplicationAccept, hl7.AckOptions{ControlID: "N1", Now: now})
		}},
	} {
		if got := testing.AllocsPerRun(100, c.do); got > c.most {
			t.Errorf("%s: %v allocations, at most %v", name, got, c.most)
		}
	}
}
