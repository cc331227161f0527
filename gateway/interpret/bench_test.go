package interpret

import (
	"testing"
	"time"

	"nhip/hl7"
)

func BenchmarkIdentify(b *testing.B) {
	body := []byte("MSH|^~\\&|HIS|BV|||20260114081500||OML^O21|M1|P|2.5.1\rPID|1||BN1^^^BV~CC1^^^ID||A^B\rORC|NW|YL1\rOBR|1|YL1||GLU^^L\rSPM|1|S1&X\r")
	m, _ := hl7.Parse(body)
	b.ReportAllocs()
	for b.Loop() {
		var o outcome
		o.identify(m, time.UTC)
	}
}
