package run

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"nhip/dicom/association"
	"nhip/dicom/echo"
	"nhip/dicom/ul"
)

// wholeSite knows one peer of each kind, and one that may come from elsewhere.
func wholeSite(t *testing.T, lis *systemLIS, more string) *site {
	t.Helper()
	return newSite(t, more+analyserBlock("astm-1", "generic-astm", "tcp-listen://127.0.0.1:0", "")+
		analyserBlock("guarded", "generic-astm", "tcp-listen://127.0.0.1:0", "address = \"127.0.0.9\"")+
		analyserBlock("bc-1", "mindray-bc-5380", "mllp-listen://127.0.0.1:0", "")+
		"[[modality]]\nname = \"ct-1\"\nae_title = \"CT1\"\naddress = \"127.0.0.1\"\nto = []\n"+
		"[[modality]]\nname = \"ct-far\"\nae_title = \"CTFAR\"\naddress = \"127.0.0.77\"\nto = []\n"+
		monitorBed+his+lis.block())
}

// begin connects as an analyser and begins a session. A port takes two
// connections, the second while the first drains: who is quicker comes again.
func begin(t *testing.T, address string) (l analyserLine) {
	t.Helper()
	eventually(t, "the analyser's port takes a connection", func() bool {
		l = analyserLine{dialFrom(t, "127.0.0.1", address)}
		reply := make([]byte, 1)
		if _, err := l.Write([]byte(enq)); err != nil {
			return false
		}
		n, _ := l.Read(reply)
		return n == 1 && string(reply) == ackByte
	})
	return l
}

// good shows that a good peer of every kind is still served.
func (s *site) good(t *testing.T, lis *systemLIS, n string) {
	t.Helper()
	st := s.status()
	if a := newPeer(t, "127.0.0.1", st.Listen.HL7).send(t, oru("GOOD-"+n)); field(a, "MSA-1") != "AA" || field(a, "MSA-2") != "GOOD-"+n {
		t.Errorf("a good message is answered %q", a)
	}
	if a := newPeer(t, "127.0.0.1", st.Listen.Analyser["bc-1"]).send(t, strings.Replace(oru("BC-"+n), "2.5.1", "2.3.1", 1)); field(a, "MSA-1") != "AA" {
		t.Errorf("a good message of a device is answered %q", a)
	}
	line := begin(t, st.Listen.Analyser["astm-1"])
	line.rest(t, records("ASTM-GOOD-"+n))
	line.Close()
	s.echo(t)
	if code := connack(t, mqttConnect(t, st.Listen.MQTT, 4, "pump", "mat-khau")); code != 0 {
		t.Errorf("a good MQTT client is answered %d", code)
	}
	eventually(t, "good results are at the LIS", func() bool { return len(lis.of("SGOOD-"+n)) == 1 && len(lis.of("ASTM-GOOD-"+n)) == 1 })
}

// echo is a C-ECHO of a modality that is known.
func (s *site) echo(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	a, err := association.Dial(ctx, s.status().Listen.DICOM, association.Proposal{Calling: "CT1", Called: "NHIP", Contexts: []ul.ProposedContext{echo.Context(1)}})
	if err != nil {
		t.Fatalf("a good association: %v", err)
	}
	if err := echo.Send(ctx, a); err != nil {
		t.Errorf("C-ECHO: %v", err)
	}
	if err := a.Release(ctx); err != nil {
		t.Errorf("release: %v", err)
	}
}

func TestRefusalsOfAnAnalysersLine(t *testing.T) {
	t.Parallel()
	lis := newLIS(t)
	s := wholeSite(t, lis, "")
	address := s.status().Listen.Analyser["astm-1"]
	dial := func(t *testing.T) analyserLine { return begin(t, address) }
	n := 0
	each := func(name string, f func(t *testing.T, mark int)) {
		t.Run(name, func(t *testing.T) {
			f(t, len(s.log.String()))
			n++
			s.good(t, lis, fmt.Sprint(n))
		})
	}

	each("wrong checksum", func(t *testing.T, mark int) {
		l := dial(t)
		frame := astmFrame(1, records("SUM-1"))
		wrong := []byte(frame)
		wrong[20] ^= 1
		l.want(t, string(wrong), nak)
		s.logged(mark, "frame refused", "checksum")
		l.want(t, frame, ackByte)
		l.Write([]byte(eot))
		eventually(t, "the repeated frame is delivered", func() bool { return len(lis.of("SUM-1")) == 1 })
	})
	each("frame cut anywhere", func(t *testing.T, mark int) {
		text := records("CUT-1")
		frame := astmFrame(1, text)
		before := s.status().Counts.Accepted
		// Up to the first character of the checksum the frame is not whole.
		for cut := 0; cut < len(frame)-3; cut += 7 {
			l := dial(t)
			l.Write([]byte(frame[:cut]))
			l.Close()
		}
		l := dial(t)
		l.rest(t, text)
		eventually(t, "the whole message is delivered", func() bool { return len(lis.of("CUT-1")) == 1 })
		if got := s.status().Counts.Accepted; got != before+1 {
			t.Errorf("%d were accepted of cut frames that nobody acknowledged", got-before-1)
		}
	})
	each("message cut in its second frame", func(t *testing.T, mark int) {
		text := records("CUT-2")
		half := strings.Index(text, "O|1|")
		before := len(s.heldBy("astm-1"))
		second := astmFrame(2, text[half:])
		cuts := 0
		for cut := 0; cut < len(second)-3; cut += 11 {
			l := dial(t)
			l.want(t, astmFrame(1, text[:half]), ackByte)
			l.Write([]byte(second[:cut]))
			l.Close()
			cuts++
		}
		eventually(t, "what was acknowledged of each is held", func() bool { return len(s.heldBy("astm-1")) == before+cuts })
		s.logged(mark, "incomplete")
		if len(lis.of("CUT-2")) != 0 {
			t.Error("a part of a message was delivered")
		}
	})
	each("noise between frames", func(t *testing.T, mark int) {
		text := records("NOISE-1")
		half := strings.Index(text, "O|1|")
		l := dial(t)
		l.Write([]byte(eot + "\x00\xff\x11before ENQ"))
		l.want(t, enq, ackByte)
		l.Write([]byte("\x00\x7f~~ \r\n"))
		l.want(t, astmFrame(1, text[:half]), ackByte)
		l.Write([]byte("\xff\xfe\x13"))
		l.want(t, astmFrame(2, text[half:]), ackByte)
		l.Write([]byte("\x00\x00" + eot))
		l.Close()
		eventually(t, "the message is delivered", func() bool { return len(lis.of("NOISE-1")) == 1 })
		s.logged(mark, "ignored", "bytes=")
	})
	each("EOT without L", func(t *testing.T, mark int) {
		text, _, _ := strings.Cut(records("EOT-1"), "L|1|N")
		before := len(s.heldBy("astm-1"))
		l := dial(t)
		l.want(t, astmFrame(1, text), ackByte)
		l.Write([]byte(eot))
		eventually(t, "it is held as incomplete", func() bool {
			h := s.heldBy("astm-1")
			return len(h) == before+1 && strings.Contains(h[len(h)-1].Reason, "EOT")
		})
		s.logged(mark, "incomplete", "EOT")
		if len(s.results("EOT-1")) != 0 || len(lis.of("EOT-1")) != 0 {
			t.Error("a fragment is a result")
		}
	})
	each("frame over 64,000 characters", func(t *testing.T, mark int) {
		l := dial(t)
		l.want(t, "\x021H|\\^&|||"+strings.Repeat("x", 64000), nak)
		s.logged(mark, "frame refused", "64000")
		l.Write([]byte(eot))
		l.want(t, enq, ackByte)
		l.rest(t, records("AFTER-FRAME"))
		eventually(t, "the next message is delivered", func() bool { return len(lis.of("AFTER-FRAME")) == 1 })
	})
	each("message over 16 MiB", func(t *testing.T, mark int) {
		l := dial(t)
		number, text := 1, "H|\\^&|||"
		for sent := 0; ; number = (number + 1) & 7 {
			text += strings.Repeat("y", 63000-len(text)) + "\r"
			reply := l.ask(t, astmFrame(number, text))
			sent += len(text)
			if reply == nak && sent > 15<<20 {
				break
			}
			if reply != ackByte || sent > 17<<20 {
				t.Fatalf("after %d bytes: %q", sent, reply)
			}
			text = "C|1|"
		}
		s.logged(mark, "frame refused", "16777216")
	})
	each("stranger", func(t *testing.T, mark int) {
		c := dialFrom(t, "127.0.0.1", s.status().Listen.Analyser["guarded"])
		if b := closedByPeer(t, c); len(b) > 0 {
			t.Errorf("a stranger is answered %q", b)
		}
		s.listed("analyser", "127.0.0.1", `name = "guarded"`, `"127.0.0.1"`)
		s.logged(mark, "stranger refused")
		known := analyserLine{dialFrom(t, "127.0.0.9", s.status().Listen.Analyser["guarded"])}
		known.session(t, records("KNOWN-9"))
	})
}

func TestRefusalsOfHL7(t *testing.T) {
	t.Parallel()
	lis := newLIS(t)
	s := wholeSite(t, lis, "")
	st := s.status()
	shared, device := st.Listen.HL7, st.Listen.Analyser["bc-1"]
	n := 0
	each := func(name string, f func(t *testing.T, mark int)) {
		t.Run(name, func(t *testing.T) {
			f(t, len(s.log.String()))
			n++
			s.good(t, lis, fmt.Sprint(n))
		})
	}
	// refuses counts what is refused: the store's counter follows each second.
	refuses := func(name string, least int64, f func(t *testing.T, mark int)) {
		each(name, func(t *testing.T, mark int) {
			before := s.status().Counts.Refused
			f(t, mark)
			eventually(t, "the refusals are counted", func() bool { return s.status().Counts.Refused >= before+least })
		})
	}
	closed := func(t *testing.T, address, sent string) {
		t.Helper()
		c := dialFrom(t, "127.0.0.1", address)
		c.Write([]byte(sent))
		if b := closedByPeer(t, c); len(b) > 0 {
			t.Errorf("%q is answered %q", sent, b)
		}
	}

	refuses("without MSH", 6, func(t *testing.T, mark int) {
		for _, address := range []string{shared, device} {
			closed(t, address, "\x0bPID|1||PT-770077||TRAN^BIMAT\r\x1c\r")
			closed(t, address, "\x0bHELLO\x1c\r")
			closed(t, address, "\x0b<?xml version=\"1.0\"?><ORU_R01/>\x1c\r")
		}
		s.logged(mark, "closed", "no HL7 message")
	})
	refuses("HTTP on the MLLP port", 4, func(t *testing.T, mark int) {
		for _, address := range []string{shared, device} {
			closed(t, address, "GET / HTTP/1.1\r\nHost: nhip\r\nX-Patient: BIMAT\r\n\r\n")
			closed(t, address, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
		}
		s.logged(mark, "closed", "HTTP")
		s.logged(mark, "closed", "TLS")
	})
	each("bytes before VT", func(t *testing.T, mark int) {
		p := newPeer(t, "127.0.0.1", shared)
		p.Write([]byte("noise BIMAT\r\n\x00"))
		if a := p.send(t, oru("JUNK-1")); field(a, "MSA-2") != "JUNK-1" || field(a, "MSA-1") != "AA" {
			t.Errorf("answered %q", a)
		}
		s.logged(mark, "skipped", "bytes=14")
	})
	refuses("96 MB without an end block", 1, func(t *testing.T, mark int) {
		var before, m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		c := dialFrom(t, "127.0.0.1", shared)
		answered := make(chan string, 1)
		go func() {
			a, _ := readBlock(bufio.NewReader(c))
			answered <- a
		}()
		c.Write([]byte("\x0b" + strings.TrimSuffix(oru("BIG-1"), "\r") + "|"))
		chunk := bytes.Repeat([]byte("x"), 1<<20)
		var peak uint64
		for range 96 {
			if _, err := c.Write(chunk); err != nil {
				break // refused already
			}
			runtime.ReadMemStats(&m)
			peak = max(peak, m.HeapInuse)
		}
		a := <-answered
		if field(a, "MSA-1") != "AR" || field(a, "MSA-2") != "BIG-1" || !strings.Contains(field(a, "ERR-3"), "207") {
			t.Errorf("answered %q", a)
		}
		if grown := int64(peak) - int64(before.HeapInuse); grown > 256<<20 {
			t.Errorf("%d MiB of memory for a message over 64 MiB", grown>>20)
		}
		s.logged(mark, "closed", "too long")
	})
	ar := func(name, message, code string) {
		refuses(name, 2, func(t *testing.T, mark int) {
			for _, address := range []string{shared, device} {
				before := s.status().Counts.Accepted
				a := newPeer(t, "127.0.0.1", address).send(t, message)
				if field(a, "MSA-1") != "AR" || field(a, "MSA-2") != "REF-1" || !strings.HasPrefix(field(a, "ERR-3"), code) && !strings.Contains(field(a, "ERR-1"), code) {
					t.Errorf("answered %q", a)
				}
				if got := s.status().Counts.Accepted; got != before {
					t.Error("a refused message was accepted")
				}
			}
			s.logged(mark, "refused")
		})
	}
	ar("unknown type", strings.Replace(oru("REF-1"), "ORU^R01^ORU_R01", "XXX^Z99", 1), "200")
	each("a type that is patient data", func(t *testing.T, mark int) { // the fields have slipped
		for _, message := range []string{
			strings.Replace(oru("REF-1"), "ORU^R01^ORU_R01", "BIMAT^DIACHI", 1),
			strings.Replace(oru("REF-1"), "ORU^R01^ORU_R01", "ORU^BIMAT", 1),
			strings.Replace(oru("REF-1"), "2.5.1", "BIMAT", 1),
			strings.Replace(oru("REF-1"), "|HIS|", "|BIMAT|", 1),
		} {
			p := newPeer(t, "127.0.0.1", shared)
			p.Write([]byte("\x0b" + message + "\x1c\r"))
			readBlock(p.r) // or closed; that the log has none of it is checked at the end
		}
		s.logged(mark, "refused")
	})
	ar("unknown event", strings.Replace(oru("REF-1"), "ORU^R01^ORU_R01", "ORU^Z99", 1), "201")
	ar("unknown version", strings.Replace(oru("REF-1"), "2.5.1", "9.9", 1), "203")
	each("MSH-10 empty, from a device", func(t *testing.T, mark int) {
		before := s.status().Counts.Accepted
		a := newPeer(t, "127.0.0.1", device).send(t, strings.Replace(oru(""), "|S|", "|SEMPTY|", 1))
		if field(a, "MSA-1") != "AA" || field(a, "MSA-2") != "" {
			t.Errorf("answered %q", a)
		}
		eventually(t, "it is stored and delivered", func() bool { return s.status().Counts.Accepted > before && len(lis.of("SEMPTY")) == 1 })
	})
	each("MSH-10 empty, from a system", func(t *testing.T, mark int) {
		before := len(s.heldBy("his"))
		a := newPeer(t, "127.0.0.1", shared).send(t, strings.Replace(oru(""), "|S|", "|SNOID|", 1))
		if field(a, "MSA-1") != "AE" || !strings.HasPrefix(field(a, "ERR-3"), "101") {
			t.Errorf("answered %q", a)
		}
		h := s.heldBy("his")
		if len(h) != before+1 || !strings.Contains(h[len(h)-1].Reason, "MSH-10") {
			t.Errorf("held: %+v", h)
		}
		s.logged(mark, "held", "MSH-10")
		if len(lis.of("SNOID")) > 0 {
			t.Error("delivered")
		}
	})
	each("an acknowledgement on an input", func(t *testing.T, mark int) {
		for _, address := range []string{shared, device} {
			p := newPeer(t, "127.0.0.1", address)
			for _, code := range []string{"AA", "AR", "CA"} {
				p.Write([]byte("\x0bMSH|^~\\&|HIS|BV|NHIP||20260114081500||ACK^R01^ACK|K1|P|2.5.1|||AL|AL\rMSA|" + code + "|X9\r\x1c\r"))
			}
			// The first answer is that of the message behind it.
			if a := p.send(t, oru("BEHIND-ACK")); field(a, "MSA-2") != "BEHIND-ACK" {
				t.Errorf("an acknowledgement is answered %q", a)
			}
		}
		s.logged(mark, "acknowledgement")
	})
	each("FS without CR", func(t *testing.T, mark int) {
		p := newPeer(t, "127.0.0.1", shared)
		p.Write([]byte("\x0b" + oru("FS-1") + "\x1c\x0b" + oru("FS-2") + "\x1c"))
		for _, id := range []string{"FS-1", "FS-2"} {
			if a := p.answer(t); field(a, "MSA-2") != id || field(a, "MSA-1") != "AA" {
				t.Errorf("%s is answered %q", id, a)
			}
		}
	})
	each("three frames in one write, and delimiters of its own", func(t *testing.T, mark int) {
		p := newPeer(t, "127.0.0.1", shared)
		p.Write([]byte("\x0b" + oru("W-1") + "\x1c\r\x0b" + oru("W-2") + "\x1c\r\x0b" + oru("W-3") + "\x1c\r"))
		for _, id := range []string{"W-1", "W-2", "W-3"} {
			if a := p.answer(t); field(a, "MSA-2") != id {
				t.Errorf("%s is answered %q", id, a)
			}
		}
		a := p.send(t, strings.NewReplacer("|", "#", "^", "*").Replace(oru("DELIM-1")))
		if !strings.HasPrefix(a, "MSH#*~\\&#") || !strings.Contains(a, "MSA#AA#DELIM-1") {
			t.Errorf("answered %q", a)
		}
	})
	refuses("stranger by address", 1, func(t *testing.T, mark int) {
		c := dialFrom(t, "127.0.0.5", shared)
		if b := closedByPeer(t, c); len(b) > 0 {
			t.Errorf("a stranger is answered %q", b)
		}
		s.listed("hl7", "127.0.0.5", "[[hl7_peer]]", `address = "127.0.0.5"`)
		s.logged(mark, "stranger refused", "kind=hl7")
	})
	refuses("stranger by MSH-3", 1, func(t *testing.T, mark int) {
		closed(t, shared, "\x0b"+strings.Replace(oru("ST-1"), "|HIS|", "|RIS|", 1)+"\x1c\r")
		s.listed("hl7", "127.0.0.1", "[[hl7_peer]]", `application = "RIS"`, `address = "127.0.0.1"`)
		if len(lis.of("SST-1")) > 0 {
			t.Error("delivered")
		}
	})
	each("half a message on the line", func(t *testing.T, mark int) {
		c := dialFrom(t, "127.0.0.1", shared)
		c.Write([]byte("\x0b" + oru("HALF-1")[:60]))
		c.Close()
		s.logged(mark, "closed", "within a frame")
	})
}

func TestAConfigurationWithATakenPortAndAMissingDeviceRuns(t *testing.T) {
	t.Parallel()
	var taken []net.Listener
	for range 2 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		taken = append(taken, l)
	}
	t.Cleanup(func() { closeAll(taken) })
	lis := newLIS(t)
	s := newSite(t, fmt.Sprintf("[hl7]\nlisten = %q\n", taken[0].Addr())+
		analyserBlock("astm-1", "generic-astm", "tcp-listen://127.0.0.1:0", "")+
		analyserBlock("astm-2", "generic-astm", "tcp-listen://"+taken[1].Addr().String(), "")+
		analyserBlock("astm-3", "generic-astm", "serial:///dev/nhip-is-not-there?baud=9600", "")+
		"[[modality]]\nname = \"ct-1\"\nae_title = \"CT1\"\naddress = \"127.0.0.1\"\nto = []\n"+lis.block())
	health := func() (int, string) {
		rsp, err := http.Get("http://" + s.console + "/healthz?lang=en")
		if err != nil {
			t.Fatal(err)
		}
		defer rsp.Body.Close()
		b, _ := io.ReadAll(rsp.Body)
		return rsp.StatusCode, string(b)
	}
	code, text := health()
	if code != http.StatusServiceUnavailable || !strings.Contains(text, "hl7") || !strings.Contains(text, "astm-2") || !strings.Contains(text, "taken") {
		t.Errorf("%d %s", code, text)
	}
	eventually(t, "the missing serial device is shown", func() bool { return s.stateOf("astm-3") == "absent" })
	if strings.Contains(text, "astm-3") {
		t.Errorf("a missing device is no listener: %s", text)
	}
	s.logged(0, "not open", "hl7", "taken")
	// The others work.
	s.echo(t)
	analyserLine{dialFrom(t, "127.0.0.1", s.status().Listen.Analyser["astm-1"])}.session(t, records("TAKEN-1"))
	eventually(t, "a result is delivered", func() bool { return len(lis.of("TAKEN-1")) == 1 })
	// And the port, once it is free.
	closeAll(taken)
	eventually(t, "the port that is free again is open", func() bool { code, _ := health(); return code == http.StatusOK })
	if l := s.status().Listen; l.HL7 != taken[0].Addr().String() || l.Analyser["astm-2"] != taken[1].Addr().String() {
		t.Errorf("%+v", l)
	}
}

func TestATrialDeviceIsShownAndNothingIsDelivered(t *testing.T) {
	t.Parallel()
	lis := newLIS(t)
	s := newSite(t, analyserBlock("new-1", "generic-astm", "tcp-listen://127.0.0.1:0", "state = \"trial\"")+
		analyserBlock("astm-1", "generic-astm", "tcp-listen://127.0.0.1:0", "")+lis.block())
	l := s.status().Listen.Analyser
	analyserLine{dialFrom(t, "127.0.0.1", l["new-1"])}.session(t, records("TRIAL-1"))
	eventually(t, "it is received on trial", func() bool { return s.status().Counts.Kinds["trial"] == 1 })
	r := s.results("TRIAL-1")
	if len(r) != 1 || r[0]["on_trial"] != true || r[0]["specimen"] != "TRIAL-1" {
		t.Fatalf("%+v", r)
	}
	value := r[0]["values"].([]any)[0].(map[string]any)
	if value["code"] != "GLU" || value["value"] != "5.1" || value["unit"] != "mmol/L" {
		t.Errorf("%+v", value)
	}
	analyserLine{dialFrom(t, "127.0.0.1", l["astm-1"])}.session(t, records("LIVE-1"))
	eventually(t, "the live device's result is delivered", func() bool { return len(lis.of("LIVE-1")) == 1 })
	if len(lis.messages()) != 1 {
		t.Error("a result of a device on trial was delivered")
	}
	// Nor after a restart.
	s.stop()
	s.start()
	analyserLine{dialFrom(t, "127.0.0.1", s.status().Listen.Analyser["astm-1"])}.session(t, records("LIVE-2"))
	eventually(t, "the live device's second result is delivered", func() bool { return len(lis.of("LIVE-2")) == 1 })
	if len(lis.messages()) != 2 || slices.ContainsFunc(lis.messages(), func(m string) bool { return strings.Contains(m, "TRIAL") }) {
		t.Error("a result of a device on trial was delivered")
	}
	if len(s.results("TRIAL-1")) != 1 {
		t.Error("the result of the device on trial is gone")
	}
}
