package hl7

import "testing"

func TestSegmentsAreRemovedAndInserted(t *testing.T) {
	const text = "MSH|^~\\&|A||B||20260101||ORU^R01|1|P|2.5.1\rPID|1\rNTE|1||x\rOBX|1"
	m, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Remove(m.Segments("MSH")[0]); err == nil {
		t.Error("MSH was removed")
	}
	if err := m.Remove(m.Segments("NTE")[0]); err != nil {
		t.Fatal(err)
	}
	z, err := m.Insert(m.Segments("OBX")[0], "ZDS")
	if err != nil {
		t.Fatal(err)
	}
	if err := z.Set("1", "1.2.3"); err != nil {
		t.Fatal(err)
	}
	if err := m.Segments("PID")[0].SetRaw("3", []byte("7^^^HIS")); err != nil {
		t.Fatal(err)
	}
	const want = "MSH|^~\\&|A||B||20260101||ORU^R01|1|P|2.5.1\rPID|1||7^^^HIS\rOBX|1\rZDS|1.2.3\r"
	if got := string(m.Bytes()); got != want {
		t.Errorf("%q", got)
	}
	for _, name := range []string{"MSH", "zds", "ZD", "ZDSS", "Z|S"} {
		if _, err := m.Insert(z, name); err == nil {
			t.Errorf("%q was inserted", name)
		}
	}
	if err := z.SetRaw("x", nil); err == nil {
		t.Error("a wrong path was taken")
	}
	again, err := Parse([]byte(text))
	if err != nil || string(again.Bytes()) != text {
		t.Errorf("the bytes that were parsed have changed: %v %q", err, again.Bytes())
	}
}
