package lis

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"nhip/hardware-sim/truth"
	"nhip/hardware-sim/wire"
)

const oru = "MSH|^~\\&|NHIP|LAB|lis||20260114081500+0700||ORU^R01^ORU_R01|ab12000001|P|2.5.1||||||UNICODE UTF-8\r" +
	"PID|||37182||Nguyễn^An\r" +
	"OBR|1||27|sysmex-xn-l^XN-550^L\r" +
	"OBX|1|NM|WBC^White cells^99XN^6690-2^^LN||6.41|10*3/uL||H|||F|||20260114081000+0700|||||20260114081000+0700\r" +
	"OBX|2|ST|HBs^^99E||-1\\S\\0.325|COI||N|||F\r" +
	"SPM|1|27||^^^^^^^^unknown\r"

// play starts a LIS on one end of a pipe and returns the other.
func play(t *testing.T, l *LIS) (net.Conn, *bufio.Reader) {
	ours, theirs := net.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer theirs.Close()
		l.serve(ctx, theirs)
	}()
	t.Cleanup(func() { cancel(); ours.Close(); <-done })
	return ours, bufio.NewReader(ours)
}

func newLIS(received *[]truth.Delivery) *LIS {
	return New(Options{
		Name: "lis", Log: slog.New(slog.DiscardHandler), Now: time.Now, Zone: time.UTC,
		Received: func(d truth.Delivery) { *received = append(*received, d) },
	})
}

func TestAResultIsRecordedAndAnsweredWithItsControlID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []truth.Delivery
		c, r := play(t, newLIS(&got))
		c.Write(wire.Block([]byte(oru)))
		answer, err := wire.ReadBlock(r)
		if err != nil {
			t.Fatal(err)
		}
		msa := wire.First(wire.Split(answer), "MSA")
		if msa.Field(1) != "AA" || msa.Field(2) != "ab12000001" || !strings.HasSuffix(string(answer), "\r") {
			t.Errorf("answer %q", answer)
		}
		synctest.Wait()
		if len(got) != 1 {
			t.Fatalf("%d messages recorded", len(got))
		}
		d := got[0]
		if d.Key != "27" || d.Name != "ab12000001" || d.Outcome != truth.Accepted || d.Patient != "37182 An Nguyễn" || len(d.Faults) != 0 {
			t.Errorf("%+v", d)
		}
		at := time.Date(2026, 1, 14, 1, 10, 0, 0, time.UTC)
		w := d.Results[0]
		if w.Code != "WBC" || w.Value != "6.41" || w.Unit != "10*3/uL" || w.Flag != "H" || w.Status != "F" || len(w.Times) != 2 || !w.Times[0].Equal(at) {
			t.Errorf("%+v", w)
		}
		if v := d.Results[1].Value; v != "-1^0.325" {
			t.Errorf("escaped value is %q", v)
		}
	})
}

func TestEachFaultIsGivenOnceAndCounted(t *testing.T) {
	for _, c := range []struct {
		name    string
		faults  Faults
		outcome truth.Outcome
		answer  string // what the answer contains; "" none
	}{
		{"AE", Faults{AE: 1}, truth.Refused, "MSA|AE|ab12000001\r"},
		{"AR", Faults{AR: 1}, truth.Refused, "MSA|AR|ab12000001\r"},
		{"silence", Faults{Silence: 1}, truth.Unanswered, ""},
		{"close", Faults{Close: 1}, truth.Unanswered, ""},
		{"wrong MSA-2", Faults{WrongID: 1}, truth.Unanswered, "MSA|AA|0ab12000001\r"},
		{"garbage", Faults{Garbage: 1}, truth.Unanswered, "I am not HL7"},
		{"late", Faults{Late: 1, LateBy: wire.Duration(time.Minute)}, truth.Accepted, "MSA|AA|ab12000001\r"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var got []truth.Delivery
				l := newLIS(&got)
				l.Inject(c.faults)
				conn, r := play(t, l)
				conn.Write(wire.Block([]byte(oru)))
				began := time.Now()
				conn.SetReadDeadline(began.Add(2 * time.Minute))
				answer, err := wire.ReadBlock(r)
				switch {
				case c.answer != "" && !strings.Contains(string(answer), c.answer):
					t.Errorf("answer %q, %v", answer, err)
				case c.name == "close" && err != io.EOF:
					t.Errorf("not closed: %v", err)
				case c.name == "silence" && (err == nil || err == io.EOF):
					t.Errorf("not silent: %q %v", answer, err)
				case c.name == "late" && time.Since(began) < time.Minute:
					t.Error("not late")
				}
				synctest.Wait()
				if len(got) != 1 || got[0].Outcome != c.outcome || l.Counters()[c.name] != 1 {
					t.Fatalf("%+v %v", got, l.Counters())
				}
				if c.name == "close" {
					return
				}
				conn.SetReadDeadline(time.Time{})
				conn.Write(wire.Block([]byte(oru)))
				if answer, _ := wire.ReadBlock(r); !strings.Contains(string(answer), "MSA|AA|ab12000001\r") {
					t.Errorf("the next answer is %q", answer)
				}
			})
		})
	}
}

func TestWhatBreaksTheContractIsSaid(t *testing.T) {
	for name, c := range map[string][2]string{
		"structure":         {"ORU^R01^ORU_R01", "ORU^R01"},
		"version":           {"|2.5.1|", "|2.5|"},
		"character set":     {"UNICODE UTF-8", ""},
		"long control ID":   {"ab12000001", "ab1234567890123456789"},
		"specimen in OBR-2": {"OBR|1||27", "OBR|1|27|27"},
		"specimen in SPM-2": {"SPM|1|27", "SPM|1|28"},
		"NM without number": {"OBX|2|ST|", "OBX|2|NM|"},
		"value not escaped": {`-1\S\0.325`, "-1^0.325"},
	} {
		text := strings.Replace(oru, c[0], c[1], 1)
		if d := read(wire.Split([]byte(text)), time.UTC); len(d.Faults) != 1 {
			t.Errorf("%s: %v", name, d.Faults)
		}
	}
	if d := read(wire.Split([]byte("MSH|^~\\&|x||||||ADT^A01|1|P|2.5.1\r")), time.UTC); d.Kind != "" {
		t.Error("an ADT message is no result")
	}
}
