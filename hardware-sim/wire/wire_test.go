package wire

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestBlocksAreReadAsTheyAreWritten(t *testing.T) {
	long := strings.Repeat("x", 9000) // more than a bufio buffer
	r := bufio.NewReader(bytes.NewReader(append(Block([]byte("MSH|1\r")), Block([]byte(long))...)))
	for _, want := range []string{"MSH|1\r", long} {
		got, err := ReadBlock(r)
		if err != nil || string(got) != want {
			t.Fatalf("%.20q, %v", got, err)
		}
	}
	if _, err := ReadBlock(r); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
}

func TestWhatIsNoBlockIsRefused(t *testing.T) {
	for name, text := range map[string]string{
		"no VT":            "MSH|\x1c\r",
		"FS without CR":    "\x0bMSH|\x1c\x0b",
		"HTTP":             "GET / HTTP/1.1\r\n",
		"over the maximum": "\x0b" + strings.Repeat("x", MaxBlock+1) + "\x1c\r",
	} {
		if _, err := ReadBlock(bufio.NewReader(strings.NewReader(text))); !errors.Is(err, ErrBlock) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ReadBlock(bufio.NewReader(strings.NewReader("\x0bMSH|"))); err != io.ErrUnexpectedEOF {
		t.Errorf("cut: %v", err)
	}
}

func TestFieldsAreCountedAsHL7CountsThem(t *testing.T) {
	all := Split([]byte("MSH|^~\\&|BC-5380|Mindray|||20260114081500||ORU^R01|17|P|2.3.1\rOBX|1|ST|x^y||-1\\S\\0.325||||||F\r"))
	msh, obx := First(all, "MSH"), First(all, "OBX")
	for name, c := range map[string][2]string{
		"MSH-1": {msh.Field(1), "|"}, "MSH-3": {msh.Field(3), "BC-5380"}, "MSH-9.2": {msh.Component(9, 2), "R01"},
		"MSH-10": {msh.Field(10), "17"}, "OBX-5": {obx.Component(5, 1), "-1^0.325"}, "OBX-99": {obx.Field(99), ""},
	} {
		if c[0] != c[1] {
			t.Errorf("%s is %q, want %q", name, c[0], c[1])
		}
	}
	if First(all, "PID") != nil {
		t.Error("there is no PID")
	}
	for _, text := range []string{`a|b^c&d~e\f`, `\S\`, ""} {
		if got := Unescape(Escape(text)); got != text {
			t.Errorf("%q became %q", text, got)
		}
	}
}

func TestTimesCarryTheirZone(t *testing.T) {
	zone := time.FixedZone("", 7*3600)
	want := time.Date(2026, 1, 14, 8, 15, 0, 0, zone)
	for _, text := range []string{"20260114081500+0700", "20260114081500", "202601140815", "20260114011500.000+0000"} {
		if got, ok := Time(text, zone); !ok || !got.Equal(want) {
			t.Errorf("%s: %v %v", text, got, ok)
		}
	}
	if _, ok := Time("yesterday", zone); ok {
		t.Error("a word is no time")
	}
}

func TestAServiceThatIsDownRefusesAndComesBackOnItsAddress(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var s Service
	ready := make(chan string, 1)
	done := make(chan error, 1)
	go func() {
		done <- s.Run(ctx, "127.0.0.1:0", func(a net.Addr) { ready <- a.String() }, func(ctx context.Context, l net.Listener) error {
			return Accept(ctx, l, func(_ context.Context, c net.Conn) { io.Copy(c, c) })
		})
	}()
	address := <-ready
	echo := func() error {
		c, err := net.Dial("tcp", address)
		if err != nil {
			return err
		}
		defer c.Close()
		c.Write([]byte("x"))
		_, err = io.ReadFull(c, make([]byte, 1))
		return err
	}
	if err := echo(); err != nil {
		t.Fatal(err)
	}
	open, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	s.Down(2 * time.Second)
	if _, err := open.Read(make([]byte, 1)); err == nil {
		t.Error("the open connection was not cut")
	}
	if err := echo(); err == nil {
		t.Error("a service that is down answered")
	}
	for deadline := time.Now().Add(60 * time.Second); echo() != nil; {
		if time.Now().After(deadline) {
			t.Fatal("it did not come back")
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestAPTYIsReadAsItIsWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "oximeter")
	p, err := OpenPTY(path)
	if err != nil {
		t.Skip("no pseudo terminals here: ", err)
	}
	defer p.Close()
	p.Write([]byte("\r\n"))
	until(t, "nobody reads, and nothing is unread", func() bool { return !p.Taken() })
	other, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	r := bufio.NewReader(other)
	if s, err := r.ReadString('\n'); s != "\r\n" || err != nil {
		t.Fatalf("%q %v", s, err)
	}
	until(t, "all is read, and something is unread", p.Taken)
	p.Write([]byte("SPO2=098%\r\n"))
	if s, err := r.ReadString('\n'); s != "SPO2=098%\r\n" || err != nil {
		t.Errorf("%q %v", s, err)
	}
	other.Write([]byte{0x06})
	p.SetReadDeadline(time.Now().Add(time.Minute))
	if n, err := p.Read(make([]byte, 8)); n != 1 || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
	p.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	if _, err := p.Read(make([]byte, 8)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a read that times out: %v", err)
	}
}

// until polls: the kernel moves the bytes of a pty in its own time.
func until(t *testing.T, otherwise string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !done(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal(otherwise)
		}
	}
}
