package mllp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"nhip/hl7"
	"nhip/hl7/ack"
)

// A receiver is a whole receiving system over a real socket: Serve, and a handler
// with the verdicts of a system that takes ORU^R01 of the versions that there are.
type receiver struct {
	address string
	log     safeBuffer
	stored  chan string // message control IDs
	junk    chan int
	ended   chan error
	mode    ack.Mode
	device  atomic.Bool // the sender is a device, which need not number its messages
}

type safeBuffer struct {
	sync.Mutex
	bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.Lock()
	defer b.Unlock()
	return b.Buffer.Write(p)
}

func (b *safeBuffer) String() string {
	b.Lock()
	defer b.Unlock()
	return b.Buffer.String()
}

func listen(t *testing.T) *receiver {
	t.Helper()
	return listenAs(t, ack.ByMessage)
}

func listenAs(t *testing.T, mode ack.Mode) *receiver {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &receiver{mode: mode, address: l.Addr().String(), stored: make(chan string, 1000), junk: make(chan int, 1000), ended: make(chan error, 100)}
	var connections sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	connections.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			connections.Go(func() {
				r.ended <- Serve(ctx, conn, ServeOptions{
					Handler: r.handle, MaxFrame: 1 << 20, TooLong: tooLong,
					Junk: func(n int) { r.junk <- n },
					Log:  slog.New(slog.NewTextHandler(&r.log, nil)),
				})
			})
		}
	})
	t.Cleanup(func() { l.Close(); cancel(); connections.Wait() })
	return r
}

func tooLong(head []byte) []byte {
	m, _ := hl7.Parse(head)
	if m == nil {
		return nil
	}
	return hl7.Ack(m, hl7.ApplicationReject, hl7.AckOptions{ControlID: "N", Errors: []hl7.Error{{Code: hl7.ErrorApplication}}})
}

func (r *receiver) handle(_ context.Context, frame []byte) ([]byte, error) {
	m, err := hl7.Parse(frame)
	if m == nil {
		return nil, err
	}
	v := ack.Verdict{Code: hl7.ApplicationAccept, Errors: verdict(m, err, r.device.Load())}
	if len(v.Errors) > 0 {
		v.Code = hl7.AckCode(code("A", v.Errors))
	}
	stored := v.Good()
	if stored && !m.IsAcknowledgement() {
		r.stored <- m.ControlID()
	}
	var answers [][]byte
	for _, a := range (ack.Options{Mode: r.mode, Confirm: hl7.Always}).Answers(m, stored, v, func() string { return "N" }, time.Now(), nil) {
		answers = append(answers, a.Message)
	}
	return Join(answers), nil
}

func verdict(m *hl7.Message, parseError error, device bool) []hl7.Error {
	if parseError != nil {
		return []hl7.Error{{Code: hl7.ErrorSegmentSequence}}
	}
	required := []string{"MSH-9.1", "MSH-12", "MSH-10"}
	if device {
		required = required[:2]
	}
	if missing := m.Required(required...); missing != nil {
		return missing
	}
	code, event, _ := m.Type()
	switch {
	case m.IsAcknowledgement():
		return nil
	case code != "ORU":
		return []hl7.Error{{Location: "MSH-9.1", Code: hl7.ErrorType}}
	case event != "R01":
		return []hl7.Error{{Location: "MSH-9.2", Code: hl7.ErrorEvent}}
	case !hl7.KnownVersion(m.Version()):
		return []hl7.Error{{Location: "MSH-12", Code: hl7.ErrorVersion}}
	}
	return nil
}

func code(family string, errs []hl7.Error) hl7.AckCode {
	switch {
	case len(errs) == 0:
		return hl7.AckCode(family + "A")
	case errs[0].Code >= "200":
		return hl7.AckCode(family + "R")
	}
	return hl7.AckCode(family + "E")
}

// A sender is a socket that writes bytes and reads answers.
type sender struct {
	*net.TCPConn
	receiver *Receiver
	frames   []string
}

func dial(t *testing.T, r *receiver) *sender {
	t.Helper()
	conn, err := net.Dial("tcp", r.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &sender{TCPConn: conn.(*net.TCPConn), receiver: NewReceiver(1 << 20)}
}

// write makes each text a packet of its own.
func (s *sender) write(t *testing.T, packets ...string) {
	t.Helper()
	for _, p := range packets {
		if _, err := s.Write([]byte(p)); err != nil {
			t.Fatal(err)
		}
		runtime.Gosched()
	}
}

// answer is the next answer; it fails the test where none comes.
func (s *sender) answer(t *testing.T) hl7.Acknowledgement {
	t.Helper()
	return parseAnswer(t, s.raw(t))
}

func (s *sender) raw(t *testing.T) string {
	t.Helper()
	s.SetReadDeadline(time.Now().Add(10 * time.Second))
	for b := make([]byte, 4096); len(s.frames) == 0; {
		n, err := s.Read(b)
		for _, event := range s.receiver.Receive(b[:n]) {
			s.frames = append(s.frames, string(event.(Frame).Content))
		}
		if err != nil && len(s.frames) == 0 {
			t.Fatalf("no answer: %v", err)
		}
	}
	answer := s.frames[0]
	s.frames = s.frames[1:]
	return answer
}

func parseAnswer(t *testing.T, answer string) hl7.Acknowledgement {
	t.Helper()
	a, err := hl7.ParseAck([]byte(answer))
	if err != nil {
		t.Fatalf("%q: %v", answer, err)
	}
	if !strings.HasSuffix(answer, "\r") {
		t.Errorf("%q does not end with CR", answer)
	}
	return a
}

// expect checks the next answers: code and MSA-2, "AA 1".
func (s *sender) expect(t *testing.T, answers ...string) {
	t.Helper()
	for _, want := range answers {
		a := s.answer(t)
		if got := string(a.Code) + " " + a.MessageControlID; got != want {
			t.Errorf("the answer is %s, want %s", got, want)
		}
	}
}

// noMore ends the connection from this side and checks that no answer is left.
func (s *sender) noMore(t *testing.T) {
	t.Helper()
	s.CloseWrite()
	rest, err := io.ReadAll(s)
	if len(rest) > 0 || len(s.frames) > 0 || err != nil {
		t.Errorf("more answers: %q, %v", rest, err)
	}
}

// closed checks that the receiver has closed the connection for the reason, and
// said so in one line.
func (r *receiver) closed(t *testing.T, s *sender, want error) {
	t.Helper()
	select {
	case err := <-r.ended:
		if !errors.Is(err, want) {
			t.Errorf("closed with %v, want %v", err, want)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the connection was not closed")
	}
	if n := strings.Count(r.log.String(), "MLLP connection closed"); n != 1 {
		t.Errorf("%d log lines: %s", n, r.log.String())
	}
	if strings.Contains(r.log.String(), "SECRET") {
		t.Errorf("the log quotes the message: %s", r.log.String())
	}
}

func oru(id string) string { return msh("ORU^R01", id, "2.5.1", "", "") }

func msh(kind, id, version, accept, application string) string {
	return "MSH|^~\\&|LAB||LIS||20260114||" + kind + "|" + id + "|P|" + version + "|||" + accept + "|" + application + "\rPID|1||SECRET\r"
}

// The rows of the table "what other receivers get wrong".
func TestTorture(t *testing.T) {
	row := func(name string, f func(t *testing.T, r *receiver, s *sender)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := listen(t)
			f(t, r, dial(t, r))
		})
	}
	row("two messages in turn", func(t *testing.T, r *receiver, s *sender) {
		for _, id := range []string{"1", "2"} {
			s.write(t, frame(oru(id)))
			s.expect(t, "AA "+id)
		}
		s.noMore(t)
	})
	row("three frames in one write", func(t *testing.T, r *receiver, s *sender) {
		s.write(t, frame(oru("1"))+frame(oru("2"))+frame(oru("3")))
		s.expect(t, "AA 1", "AA 2", "AA 3")
		s.noMore(t)
	})
	row("FS and CR in two packets", func(t *testing.T, r *receiver, s *sender) {
		s.write(t, vt+oru("1")+fs, "\r")
		s.expect(t, "AA 1")
		s.write(t, vt+oru("2")+fs, "\r"+frame(oru("3")))
		s.expect(t, "AA 2", "AA 3")
		s.noMore(t)
	})
	row("one byte a packet", func(t *testing.T, r *receiver, s *sender) {
		s.write(t, strings.Split(frame(oru("1"))+frame(oru("2")), "")...)
		s.expect(t, "AA 1", "AA 2")
		s.noMore(t)
	})
	row("junk before VT", func(t *testing.T, r *receiver, s *sender) {
		s.write(t, "\r\n\x00junk"+frame(oru("1"))+"xx"+frame(oru("2")))
		s.expect(t, "AA 1", "AA 2")
		s.noMore(t)
		n := 0
		for len(r.junk) > 0 {
			n += <-r.junk
		}
		if n != 9 {
			t.Errorf("%d bytes of junk counted", n)
		}
	})
	row("FS without CR, then the next frame", func(t *testing.T, r *receiver, s *sender) {
		s.write(t, vt+oru("1")+fs+frame(oru("2")))
		s.expect(t, "AA 1", "AA 2")
		s.noMore(t)
	})
	row("FS without CR, then silence", func(t *testing.T, r *receiver, s *sender) {
		s.write(t, vt+oru("1")+fs)
		s.expect(t, "AA 1")
		s.noMore(t)
	})
	row("FS without CR, then the end", func(t *testing.T, r *receiver, s *sender) {
		s.write(t, vt+oru("1")+fs)
		s.CloseWrite()
		s.expect(t, "AA 1")
		s.noMore(t)
	})
	row("empty frames", func(t *testing.T, r *receiver, s *sender) {
		s.write(t, frame("")+frame(oru("1"))+frame(""))
		s.expect(t, "AA 1")
		s.noMore(t)
	})
	row("VT within a frame", func(t *testing.T, r *receiver, s *sender) {
		s.write(t, vt+oru("1")[:40]+frame(oru("2")))
		s.expect(t, "AA 2")
		s.noMore(t)
	})
	row("MSH-10 empty", func(t *testing.T, r *receiver, s *sender) {
		s.write(t, frame(oru("")))
		a := s.answer(t)
		if a.Code != "AE" || a.MessageControlID != "" || len(a.Errors) != 1 || a.Errors[0].Code != "101" || a.Errors[0].Location != "MSH-10" {
			t.Errorf("%+v", a)
		}
		s.noMore(t)
	})
	row("MSH-10 empty, from a device", func(t *testing.T, r *receiver, s *sender) {
		r.device.Store(true)
		s.write(t, frame(oru("")))
		if a := s.answer(t); a.Code != "AA" || a.MessageControlID != "" || len(a.Errors) != 0 {
			t.Errorf("%+v", a)
		}
		s.noMore(t)
		if len(r.stored) != 1 {
			t.Errorf("%d messages stored", len(r.stored))
		}
	})
	row("half open", func(t *testing.T, r *receiver, s *sender) {
		s.noMore(t)
		if err := <-r.ended; err != nil {
			t.Error(err)
		}
	})
	row("other delimiters", func(t *testing.T, r *receiver, s *sender) {
		s.write(t, frame("MSH$%*!@$LAB%1.2%ISO$$LIS$$20260114$$ORU%R01%ORU_R01$1$P$2.5.1\r"))
		if answer := s.raw(t); !strings.HasPrefix(answer, "MSH$%*!@$LIS$$LAB%1.2%ISO$$") || !strings.Contains(answer, "$ACK%R01%ACK$N$P$2.5.1\rMSA$AA$1\r") {
			t.Errorf("%q", answer)
		}
		s.noMore(t)
	})
	row("NE and NE gives none, AL and NE gives CA", func(t *testing.T, r *receiver, s *sender) {
		s.write(t, frame(msh("ORU^R01", "1", "2.5.1", "NE", "NE"))+frame(msh("ORU^R01", "2", "2.5.1", "AL", "NE")))
		s.expect(t, "CA 2")
		s.write(t, frame(msh("ORU^R01", "3", "9.9", "AL", "NE"))+frame(msh("ORU^R01", "4", "2.5.1", "ER", "NE"))+frame(msh("ORU^R01", "5", "2.5.1", "NE", "AL")))
		s.expect(t, "CR 3", "AA 5")
		s.noMore(t)
		for _, want := range []string{"1", "2", "4", "5"} {
			if id := <-r.stored; id != want {
				t.Errorf("stored %s, want %s", id, want)
			}
		}
	})
	row("acknowledgement of an acknowledgement", func(t *testing.T, r *receiver, s *sender) {
		s.write(t, frame(msh("ACK^R01^ACK", "1", "2.5.1", "", "")+"MSA|AA|9\r")+frame(oru("2")))
		s.expect(t, "AA 2")
		s.write(t, frame(msh("ACK^R01^ACK", "3", "2.5.1", "AL", "NE")+"MSA|AA|9\r"))
		s.expect(t, "CA 3")
		s.noMore(t)
	})
	row("unknown type, event, version", func(t *testing.T, r *receiver, s *sender) {
		s.write(t, frame(msh("XXX^Z99", "1", "2.5.1", "", ""))+frame(msh("ORU^Z99", "2", "2.5.1", "", ""))+frame(msh("ORU^R01", "3", "9.9", "", "")))
		for _, want := range []string{"AR 1 200", "AR 2 201", "AR 3 203"} {
			a := s.answer(t)
			if got := string(a.Code) + " " + a.MessageControlID + " " + a.Errors[0].Code; got != want {
				t.Errorf("%s, want %s", got, want)
			}
		}
		s.noMore(t)
	})
	row("two messages in one frame", func(t *testing.T, r *receiver, s *sender) {
		s.write(t, frame(oru("1")+oru("2")))
		s.expect(t, "AE 1")
		s.noMore(t)
		if len(r.stored) > 0 {
			t.Error("one of them was stored")
		}
	})
	row("HELLO in a frame", func(t *testing.T, r *receiver, s *sender) {
		s.write(t, frame("HELLO SECRET"))
		r.closed(t, s, ErrNotHL7)
	})
	row("HTTP", func(t *testing.T, r *receiver, s *sender) {
		s.write(t, "GET /SECRET HTTP/1.1\r\nHost: x\r\n\r\n")
		r.closed(t, s, ErrForeign)
	})
	row("TLS ClientHello", func(t *testing.T, r *receiver, s *sender) {
		s.write(t, "\x16\x03\x01\x02\x00\x01\x00\x01\xFC\x03\x03\x0B\x0B")
		r.closed(t, s, ErrForeign)
	})
	row("frame cut by the end of the connection", func(t *testing.T, r *receiver, s *sender) {
		s.write(t, vt+oru("1"))
		s.CloseWrite()
		r.closed(t, s, ErrCut)
		if len(r.stored) > 0 {
			t.Error("it was stored")
		}
	})
	row("message of nearly the limit", func(t *testing.T, r *receiver, s *sender) {
		s.write(t, frame(oru("1")+"OBX|1|ED|X||^^PDF^Base64^"+strings.Repeat("A", 1<<20-200)+"\r"))
		s.expect(t, "AA 1")
		s.noMore(t)
	})
}

// The matrix of MSH-15 and MSH-16 over a socket: codes for a message that is taken and
// for one whose version is refused. A refused accept acknowledgement is the end.
func TestAcknowledgementMatrixOverASocket(t *testing.T) {
	matrix := []struct{ accept, application, good, bad string }{
		{"", "", "AA", "AR"},
		{"", "NE", "", ""}, {"", "AL", "AA", "AR"}, {"", "ER", "", "AR"}, {"", "SU", "AA", ""},
		{"NE", "", "", ""}, {"NE", "NE", "", ""}, {"NE", "AL", "AA", "AR"}, {"NE", "ER", "", "AR"}, {"NE", "SU", "AA", ""},
		{"AL", "", "CA", "CR"}, {"AL", "NE", "CA", "CR"}, {"AL", "AL", "CA AA", "CR"}, {"AL", "ER", "CA", "CR"}, {"AL", "SU", "CA AA", "CR"},
		{"ER", "", "", "CR"}, {"ER", "NE", "", "CR"}, {"ER", "AL", "AA", "CR"}, {"ER", "ER", "", "CR"}, {"ER", "SU", "AA", "CR"},
		{"SU", "", "CA", ""}, {"SU", "NE", "CA", ""}, {"SU", "AL", "CA AA", "AR"}, {"SU", "ER", "CA", "AR"}, {"SU", "SU", "CA AA", ""},
	}
	r := listen(t)
	s := dial(t, r)
	for i, c := range matrix {
		for version, want := range map[string]string{"2.5.1": c.good, "9.9": c.bad} {
			id := fmt.Sprintf("%d-%s", i, version)
			s.write(t, frame(msh("ORU^R01", id, version, c.accept, c.application))+frame(oru("last")))
			for _, code := range strings.Fields(want) {
				s.expect(t, code+" "+id)
			}
			s.expect(t, "AA last") // and nothing between
		}
	}
	s.noMore(t)
	for mode, want := range map[ack.Mode][2]string{
		ack.Original: {"AA", "AR"}, ack.Application: {"AA", "AR"}, ack.Accept: {"CA", "CR"}, ack.Both: {"CA AA", "CR"}, ack.None: {"", ""},
	} {
		r := listenAs(t, mode)
		s := dial(t, r)
		for _, c := range matrix {
			for i, version := range []string{"2.5.1", "9.9"} {
				s.write(t, frame(msh("ORU^R01", "1", version, c.accept, c.application)))
				for _, code := range strings.Fields(want[i]) {
					s.expect(t, code+" 1")
				}
			}
		}
		s.noMore(t)
	}
}

func TestEndlessFrameIsAnsweredAndClosedInBoundedMemory(t *testing.T) {
	r := listen(t)
	s := dial(t, r)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	s.write(t, vt+oru("1"))
	chunk := bytes.Repeat([]byte("OBX|1|TX|X||SECRET\r"), 4096)
	for sent := 0; sent < 96<<20; sent += len(chunk) {
		if _, err := s.Write(chunk); err != nil {
			break // closed after 1 MiB
		}
	}
	r.closed(t, s, ErrTooLong)
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 16<<20 {
		t.Errorf("%d MiB allocated", grown>>20)
	}
}

func TestFrameOverTheLimitIsAnsweredWith207(t *testing.T) {
	r := listen(t)
	s := dial(t, r)
	s.write(t, vt+oru("1")+strings.Repeat("A", 32<<20)) // all of it, before it reads
	a := s.answer(t)
	if a.Code != "AR" || a.MessageControlID != "1" || a.Errors[0].Code != "207" {
		t.Errorf("%+v", a)
	}
	s.CloseWrite()
	r.closed(t, s, ErrTooLong)
}

func TestClientOverRealSockets(t *testing.T) {
	r := listen(t)
	c := NewClient(ClientOptions{Address: r.address})
	defer c.Close()
	for _, id := range []string{"1", "2", "3"} {
		answer, err := c.Send(t.Context(), []byte(oru(id)))
		if err != nil {
			t.Fatal(err)
		}
		m, err := hl7.Parse([]byte(oru(id)))
		if err != nil {
			t.Fatal(err)
		}
		if !hl7.Settles(m, parseAnswer(t, string(answer))) {
			t.Errorf("%q does not settle %s", answer, id)
		}
	}
	c.Close()
	if _, err := c.Send(t.Context(), []byte(oru("4"))); err != nil {
		t.Errorf("after Close: %v", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if _, err := NewClient(ClientOptions{Address: l.Addr().String()}).Send(t.Context(), []byte(oru("5"))); err == nil {
		t.Error("an answer where nobody listens")
	}
}

// peerProgram finds a program of another project that a test speaks to. Where it is
// not installed the test is skipped by name; on CI, which has it, it fails.
func peerProgram(t *testing.T, name, from string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	switch {
	case err == nil:
		return path
	case os.Getenv("CI") == "true":
		t.Fatalf("%s (%s) is not installed, and this is CI", name, from)
	}
	t.Skipf("%s (%s) is not installed", name, from)
	return ""
}

func TestPythonHL7Sends(t *testing.T) {
	program := peerProgram(t, "mllp_send", "Debian package python3-hl7")
	r := listen(t)
	_, port, err := net.SplitHostPort(r.address)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "messages.hl7")
	text := strings.ReplaceAll(oru("1")+oru("2")+msh("XXX^Z99", "3", "2.5.1", "", ""), "\r", "\r\n")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, "--loose", "--file", file, "-p", port, "127.0.0.1").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, want := range []string{"MSA|AA|1\r", "MSA|AA|2\r", "MSA|AR|3|MSH-9.1 Unsupported message type\r"} {
		if !bytes.Contains(out, []byte(want)) {
			t.Errorf("no %q in what it received: %q", want, out)
		}
	}
	for _, want := range []string{"1", "2"} {
		if id := <-r.stored; id != want {
			t.Errorf("stored %s, want %s", id, want)
		}
	}
}
