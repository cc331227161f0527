package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"nhip/dicom/association"
	"nhip/dicom/service/servicetest"
	"nhip/dicom/store"
	"nhip/dicom/ul"
)

// A manager is the socket of a service manager.
type manager struct {
	*net.UnixConn
	t *testing.T
}

// newManager listens as systemd does; programs started by this test tell it.
func newManager(t *testing.T, watchdog time.Duration) manager {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", fmt.Sprint(watchdog.Microseconds()))
	return manager{c, t}
}

// hears reports whether a state is told in time.
func (m manager) hears(state string, within time.Duration) bool {
	m.SetReadDeadline(time.Now().Add(within))
	b := make([]byte, 4096)
	for {
		n, err := m.Read(b)
		if err != nil {
			return false
		}
		if strings.Contains("\n"+string(b[:n])+"\n", "\n"+state+"\n") {
			return true
		}
	}
}

// freePort gives a port of loopback that nobody has now, below those that outgoing
// connections are given (32768 and up, Linux), so that none of another program
// takes it before it is used. Two calls of one process never give the same.
func freePort(t *testing.T) string {
	t.Helper()
	return net.JoinHostPort("127.0.0.1", servicetest.FreePort(t))
}

func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	c, err := net.DialTimeout("tcp", address, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(3 * time.Minute))
	return c
}

// serve starts the gateway with a configuration that has no [console], and waits
// until it answers.
func serve(t *testing.T, file, console string) (c *exec.Cmd, listen map[string]any) {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	c = nhip("run", "--config", file)
	c.Stderr = log
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Process.Kill()
		c.Wait()
		log.Close()
		if b, _ := os.ReadFile(log.Name()); t.Failed() {
			t.Logf("the end of the log:\n%s", b[max(0, len(b)-5000):])
		}
	})
	var st struct{ Listen map[string]any }
	for begun := time.Now(); !ask(console, &st); time.Sleep(20 * time.Millisecond) {
		if time.Since(begun) > 90*time.Second {
			t.Fatal("the gateway does not answer")
		}
	}
	return c, st.Listen
}

// ask reads the status.
func ask(console string, into any) bool {
	rsp, err := http.Get("http://" + console + "/api/v1/status")
	if err != nil {
		return false
	}
	defer rsp.Body.Close()
	return json.NewDecoder(rsp.Body).Decode(into) == nil
}

const elsewhere = "[dicom]\nlisten = \"127.0.0.1:0\"\n[mqtt]\nlisten = \"127.0.0.1:0\"\n[hl7]\nlisten = \"127.0.0.1:0\"\n"

const hisPeer = "[[hl7_peer]]\nname = \"his\"\naddress = \"127.0.0.1\"\nto = []\n"

func message(id string) string {
	return "\x0bMSH|^~\\&|HIS|BV|||20260114081500||ORU^R01^ORU_R01|" + id + "|P|2.5.1\rOBR|1||S1|GLU\rOBX|1|ST|GLU||5.1||||||F\r\x1c\r"
}

func TestManagerHearsReadyWhenTheListenersAreOpenAndThenThatItLives(t *testing.T) {
	m := newManager(t, 400*time.Millisecond)
	ports := []string{freePort(t), freePort(t), freePort(t), freePort(t)}
	file, _ := configuration(t, fmt.Sprintf("[console]\nlisten = %q\n[dicom]\nlisten = %q\n[mqtt]\nlisten = %q\n[hl7]\nlisten = %q\n", ports[0], ports[1], ports[2], ports[3])+hisPeer)
	c := nhip("run", "--config", file)
	var log bytes.Buffer
	c.Stderr = &log
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { c.Process.Kill(); c.Wait() }()
	if !m.hears("READY=1", 90*time.Second) {
		c.Process.Kill()
		c.Wait()
		t.Fatalf("no READY\n%s", &log)
	}
	for _, p := range ports {
		if conn, err := net.Dial("tcp", p); err != nil {
			t.Errorf("READY, and not open: %v", err)
		} else {
			conn.Close()
		}
	}
	for range 3 {
		if !m.hears("WATCHDOG=1", 60*time.Second) {
			t.Fatal("the watchdog is not fed")
		}
	}
	t.Run("not while the committer hangs", func(t *testing.T) { committerHangs(t, m, c.Process.Pid, ports[3]) })
	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if !m.hears("STOPPING=1", 60*time.Second) {
		t.Error("no STOPPING")
	}
	if err := c.Wait(); err != nil {
		t.Errorf("%v\n%s", err, &log)
	}
}

// committerHangs lets every msync of a process take long, as on a dying disk.
func committerHangs(t *testing.T, m manager, pid int, address string) {
	if _, err := exec.LookPath("strace"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("strace is not installed")
		}
		t.Skip("strace is not installed")
	}
	trace := exec.Command("strace", "-f", "-p", fmt.Sprint(pid), "-e", "trace=msync", "-e", "inject=msync:delay_enter=4000000")
	said, err := trace.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := trace.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(said)
	if line, err := lines.ReadString('\n'); err != nil || !strings.Contains(line, "attached") {
		trace.Wait()
		t.Skipf("strace may not attach here: %s", line)
	}
	drained := make(chan struct{})
	go func() { io.Copy(io.Discard, lines); close(drained) }()
	conn := dial(t, address)
	if _, err := io.WriteString(conn, message("M1")); err != nil {
		t.Fatal(err)
	}
	// What was told before the commit comes first. The commit takes four seconds.
	for end := time.Now().Add(time.Minute); m.hears("WATCHDOG=1", 1500*time.Millisecond); {
		if time.Now().After(end) {
			t.Fatal("the watchdog is fed while nothing is committed")
		}
	}
	trace.Process.Signal(syscall.SIGTERM) // it lets go
	<-drained
	trace.Wait()
	if !m.hears("WATCHDOG=1", 90*time.Second) {
		t.Error("not fed again when the disk works again")
	}
	if answer, err := bufio.NewReader(conn).ReadString(0x1c); err != nil || !strings.Contains(answer, "MSA|AA|M1") {
		t.Errorf("%q %v", answer, err)
	}
}

// A deaf destination accepts, reads and never says anything.
func deaf(t *testing.T) (address string, heard func() int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	n := 0
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { c.Close() })
			go func() {
				b := make([]byte, 4096)
				for {
					k, err := c.Read(b)
					if err != nil {
						return
					}
					mu.Lock()
					n += k
					mu.Unlock()
				}
			}()
		}
	}()
	t.Cleanup(func() { l.Close() })
	return l.Addr().String(), func() int { mu.Lock(); defer mu.Unlock(); return n }
}

const (
	ctImage    = "1.2.840.10008.5.1.4.1.1.2"
	explicitLE = "1.2.840.10008.1.2.1"
)

// dataSet is a CT image whose pixel data never end.
type dataSet struct {
	head  *bytes.Reader
	wrote chan<- struct{}
	end   <-chan struct{}
}

func newDataSet(uid string, wrote chan<- struct{}, end <-chan struct{}) *dataSet {
	var b bytes.Buffer
	element := func(group, number uint16, vr, value string) {
		if len(value)%2 == 1 {
			value += "\x00"
		}
		binary.Write(&b, binary.LittleEndian, []uint16{group, number})
		b.WriteString(vr)
		binary.Write(&b, binary.LittleEndian, uint16(len(value)))
		b.WriteString(value)
	}
	element(8, 0x16, "UI", ctImage)
	element(8, 0x18, "UI", uid)
	element(0x20, 0x0d, "UI", uid+".1")
	element(0x20, 0x0e, "UI", uid+".2")
	binary.Write(&b, binary.LittleEndian, []uint16{0x7fe0, 0x10})
	b.WriteString("OW\x00\x00")
	binary.Write(&b, binary.LittleEndian, uint32(64<<20))
	b.Write(make([]byte, 1<<20))
	return &dataSet{bytes.NewReader(b.Bytes()), wrote, end}
}

func (d *dataSet) Read(b []byte) (int, error) {
	if d.head.Len() > 0 {
		return d.head.Read(b)
	}
	select {
	case d.wrote <- struct{}{}:
	default:
	}
	<-d.end
	return 0, io.ErrUnexpectedEOF
}

// TestSIGTERMEndsWithinTenSeconds stops a gateway that has its hands full: fifty
// connections of all kinds in the middle of something, an object half received,
// and destinations that take and never answer.
func TestSIGTERMEndsWithinTenSeconds(t *testing.T) {
	lis, heard := deaf(t)
	pacs, _ := deaf(t)
	var b strings.Builder
	console := freePort(t)
	fmt.Fprintf(&b, "[console]\nlisten = %q\n", console)
	b.WriteString(elsewhere + "[[hl7_peer]]\nname = \"his\"\naddress = \"127.0.0.1\"\nto = [\"lis\"]\n")
	b.WriteString("[[modality]]\nname = \"ct-1\"\nae_title = \"CT1\"\naddress = \"127.0.0.1\"\nto = [\"pacs\"]\n")
	fmt.Fprintf(&b, "[[destination]]\nname = \"lis\"\nkind = \"hl7\"\naddress = %q\n", lis)
	fmt.Fprintf(&b, "[[destination]]\nname = \"pacs\"\nkind = \"dicom\"\naddress = %q\ncalled_ae_title = \"PACS\"\n", pacs)
	for i := range 10 {
		fmt.Fprintf(&b, "[[analyser]]\nname = \"xn-%d\"\nprofile = \"sysmex-xn-l\"\nport = \"tcp-listen://127.0.0.1:0\"\nto = [\"lis\"]\n", i)
	}
	file, _ := configuration(t, b.String())
	c, listen := serve(t, file, console)

	var open []net.Conn
	add := func(address any, said string) net.Conn {
		conn := dial(t, address.(string))
		if said != "" {
			if _, err := io.WriteString(conn, said); err != nil {
				t.Fatal(err)
			}
		}
		open = append(open, conn)
		return conn
	}
	analysers := listen["analyser"].(map[string]any)
	for i := range 10 { // half a message each, acknowledged so far
		conn := add(analysers[fmt.Sprintf("xn-%d", i)], "\x05")
		if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, "\x021H|\\^&|||XN-550")
	}
	for i := range 15 {
		add(listen["hl7"], []string{"", "\x0bMSH|^~\\&|HIS|BV|||20260114", "\x0b"}[i%3])
	}
	for i := range 12 {
		add(listen["console"], []string{"", "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n", "GET / HTTP/1.1\r\n"}[i%3])
	}
	for i := range 8 {
		add(listen["mqtt"], []string{"", "\x10"}[i%2])
	}
	for i := range 5 {
		add(listen["dicom"], []string{"", "\x01\x00\x00\x00"}[i%2])
	}
	if len(open) < 50 {
		t.Fatal(len(open))
	}
	for i := range 3 { // accepted, for the destination that does not answer
		conn := dial(t, listen["hl7"].(string))
		io.WriteString(conn, message(fmt.Sprint("Q", i)))
		if a, err := bufio.NewReader(conn).ReadString(0x1c); err != nil || !strings.Contains(a, "MSA|AA") {
			t.Fatalf("%q %v", a, err)
		}
	}
	wrote, end := make(chan struct{}, 1), make(chan struct{})
	sent := make(chan error, 1)
	a, err := association.Dial(t.Context(), listen["dicom"].(string), association.Proposal{
		Calling: "CT1", Called: "NHIP",
		Contexts: []ul.ProposedContext{{ID: 1, AbstractSyntax: ctImage, TransferSyntaxes: []string{explicitLE}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		_, err := store.Send(context.Background(), a, store.Object{
			SOPClassUID: ctImage, SOPInstanceUID: "1.2.840.99.1", TransferSyntaxUID: explicitLE, DataSet: newDataSet("1.2.840.99.1", wrote, end),
		})
		sent <- err
	}()
	<-wrote
	for start := time.Now(); heard() == 0; time.Sleep(5 * time.Millisecond) {
		if time.Since(start) > 90*time.Second {
			t.Fatal("nothing was sent to the LIS")
		}
	}

	begun := time.Now()
	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	select {
	case err := <-ended:
		if took := time.Since(begun); err != nil || took > 10*time.Second {
			t.Errorf("it ended after %v: %v", took, err)
		}
		t.Logf("SIGTERM with %d connections, an object half received and two deaf destinations: ended after %v", len(open)+1, time.Since(begun).Round(10*time.Millisecond))
	case <-time.After(time.Minute):
		t.Fatal("it does not end")
	}
	close(end)
	if err := <-sent; err == nil {
		t.Error("half an object was acknowledged")
	}

	// What was accepted is there after the next start, and nothing else.
	serve(t, file, console)
	var st struct {
		Counts struct{ Accepted, Queued, Held, Consumed int }
		Held   []struct{ Code string }
	}
	if ask(console, &st); st.Counts.Queued != 3 || st.Counts.Accepted != st.Counts.Queued+st.Counts.Held+st.Counts.Consumed {
		t.Errorf("%+v", st)
	}
}

// TestOlderProgramRefusesANewerStore and says so, with the exit status after which
// a supervisor does not try again.
func TestOlderProgramRefusesANewerStore(t *testing.T) {
	file, data := configuration(t, anywhere)
	f, err := os.Open("../storage/testdata/newer.tar.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeDir {
			continue
		}
		b, err := io.ReadAll(r)
		path := filepath.Join(data, filepath.FromSlash(h.Name))
		if err := errors.Join(err, os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, b, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{{"run", "--config", file}, {"journal", "search", "--config", file, "--specimen", "X"}} {
		c := nhip(args...)
		out, err := c.CombinedOutput()
		if err == nil || !strings.Contains(string(out), "was written by a newer version of nhip; use that version or a newer one") {
			t.Errorf("%s: %v: %s", args[0], err, out)
		}
		if args[0] == "run" && c.ProcessState.ExitCode() != 1 {
			t.Errorf("exit status %d", c.ProcessState.ExitCode())
		}
	}
}
