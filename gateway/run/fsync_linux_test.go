package run

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"nhip/gateway/intake"
	"nhip/storage"
	"nhip/storage/storagetest/figures"
)

// TestTheNthFsyncFails runs the real binary under strace, which lets the Nth
// fsync, fdatasync or msync of a thread fail with EIO. Nothing is acknowledged
// for a commit that failed, the process ends with exit status 3 or the start
// fails, and a clean start has all that was acknowledged.
func TestTheNthFsyncFails(t *testing.T) {
	const limit = "0 acknowledged lost, exit 3 or a failed start, clean restart"
	if testing.Short() {
		t.Skip("starts processes under strace")
	}
	strace, err := exec.LookPath("strace")
	if err != nil {
		figures.Skip(t, limit, "strace is not installed")
	}
	binary := filepath.Join(t.TempDir(), "nhip")
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", binary, "nhip/gateway")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if out, err := exec.Command(strace, "-f", "-o", os.DevNull, "true").CombinedOutput(); err != nil {
		figures.Skip(t, limit, "strace may not trace here: "+string(out))
	}
	all := []int{1, 3, 8, 20}
	if figures.Soak() {
		all = nil
		for n := range 60 {
			all = append(all, n+1)
		}
	}
	outcomes := map[string]int{}
	places := map[string]int{}
	var acknowledged, lost int
	for _, n := range all {
		r := failSync(t, strace, binary, n)
		outcomes[r.outcome]++
		for _, p := range r.places {
			places[p]++
		}
		acknowledged += len(r.acknowledged)
		lost += r.lost
	}
	var where []string
	for _, p := range slices.Sorted(maps.Keys(places)) {
		where = append(where, fmt.Sprintf("%s %d", p, places[p]))
	}
	figures.Report(t, fmt.Sprintf("N = 1 to %d (%d runs): %d of %d acknowledged lost; exit 3: %d, failed start: %d, went on: %d, never reached: %d; what failed: %s",
		all[len(all)-1], len(all), lost, acknowledged, outcomes["exit 3"], outcomes["failed start"], outcomes["went on"], outcomes["never reached"], strings.Join(where, ", ")), limit)
}

type syncFailure struct {
	outcome      string
	places       []string // the files whose fsync failed
	acknowledged []string // control IDs and SOP Instance UIDs
	lost         int
}

func failSync(t *testing.T, strace, binary string, n int) (r syncFailure) {
	t.Helper()
	dir := t.TempDir()
	ports := freePorts(t, 4)
	data := filepath.Join(dir, "data")
	text := fmt.Sprintf("[site]\nid = \"bv-fsync\"\nname = \"x\"\ndata = %q\n", data)
	for i, name := range []string{"console", "dicom", "hl7", "mqtt"} {
		text += fmt.Sprintf("[%s]\nlisten = %q\n", name, ports[i])
	}
	text += "[[modality]]\nname = \"ct-1\"\nae_title = \"CT1\"\naddress = \"127.0.0.1\"\nto = []\n" + his
	text = strings.Replace(text, `to = ["lis"]`, "to = []", 1)
	file, trace := filepath.Join(dir, "site.toml"), filepath.Join(dir, "trace")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	c := exec.Command(strace, "-f", "-y", "-qq", "--seccomp-bpf", "-o", trace, "-e", "trace=fsync,fdatasync,msync,mmap,mremap",
		"-e", "inject=fsync,fdatasync,msync:error=EIO:when="+strconv.Itoa(n), binary, "run", "--config", file)
	c.Stderr, c.Stdout = &log, &log
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	kill := func() { syscall.Kill(-c.Process.Pid, syscall.SIGKILL); <-ended }

	r.acknowledged = load(ports[2], ports[1], ended)
	r.places = injected(t, trace)
	var exit *exec.ExitError
	patience := 3 * time.Second // nothing has failed, mostly
	if len(r.places) > 0 {
		patience = 90 * time.Second
	}
	select {
	case err := <-ended:
		ended <- err
		errors.As(err, &exit)
	case <-time.After(patience):
	}
	started := strings.Contains(log.String(), "gateway started")
	switch {
	case exit == nil && len(r.places) == 0:
		r.outcome = "never reached"
		kill()
	case exit == nil:
		r.outcome = "went on"
		t.Errorf("N = %d: it goes on after the fsync of %v failed", n, r.places)
		kill()
	case started && exit.ExitCode() == 3:
		r.outcome = "exit 3"
	case !started && exit.ExitCode() > 0 && len(r.places) > 0:
		r.outcome = "failed start"
	default:
		t.Errorf("N = %d: %v after the fsync of %v failed; the log ends with %s", n, exit, r.places, log.String()[max(0, log.Len()-1500):])
	}
	r.lost = missing(t, data, r.acknowledged)
	if r.lost > 0 || t.Failed() {
		t.Errorf("N = %d: %d of %d acknowledged are gone", n, r.lost, len(r.acknowledged))
	}
	return r
}

// load sends messages and objects until the process ends, and says what was
// acknowledged. 400 messages are enough for a thread to come to its 60th fsync.
func load(hl7, dicom string, ended chan error) (acknowledged []string) {
	dial := func(address string) net.Conn {
		for range 3000 {
			if c, err := net.Dial("tcp", address); err == nil {
				c.SetDeadline(time.Now().Add(90 * time.Second))
				return c
			}
			select {
			case err := <-ended:
				ended <- err
				return nil
			case <-time.After(20 * time.Millisecond):
			}
		}
		return nil
	}
	c := dial(hl7)
	if c == nil {
		return nil
	}
	defer c.Close()
	ct := dial(dicom)
	if ct == nil {
		return nil
	}
	defer ct.Close()
	ct.Write(associateRQ("NHIP", "CT1"))
	if _, err := readAny(ct); err != nil {
		return nil
	}
	answers := bufio.NewReader(c)
	for i := range 400 {
		id := fmt.Sprint("F-", i)
		if _, err := c.Write([]byte("\x0b" + oru(id) + "\x1c\r")); err != nil {
			return acknowledged
		}
		a, err := readBlock(answers)
		if err != nil {
			return acknowledged
		}
		if field(a, "MSA-1") == "AA" && field(a, "MSA-2") == id {
			acknowledged = append(acknowledged, id)
		}
		if i%8 != 0 {
			continue
		}
		instance := fmt.Sprint("1.2.3.", i)
		ct.Write(pdv(3, storeRQ(instance)))
		ct.Write(pdv(2, image(instance, 1000)))
		rsp, err := readAny(ct)
		if err != nil {
			return acknowledged
		}
		if bytes.Contains(rsp, []byte{0, 0, 0, 9, 2, 0, 0, 0, 0, 0}) { // (0000,0900) is 0000
			acknowledged = append(acknowledged, instance)
		}
	}
	return acknowledged
}

// readAny reads one PDU.
func readAny(c net.Conn) ([]byte, error) {
	b := make([]byte, 64<<10)
	n, err := c.Read(b)
	return b[:n], err
}

var (
	call     = regexp.MustCompile(`^(\d+) +(mmap|mremap|fsync|fdatasync|msync)\((.*)`)
	moved    = regexp.MustCompile(`^(0x[0-9a-f]+), .*MREMAP_MAYMOVE.* = (0x[0-9a-f]+)`)
	fileAt   = regexp.MustCompile(`<(.+)>, 0(?:x0)?\) += (0x[0-9a-f]+)`)
	filename = regexp.MustCompile(`^\d+<(.+?)>`)
	address  = regexp.MustCompile(`^(0x[0-9a-f]+),`)
)

// injected says which files' fsync was made to fail.
func injected(t *testing.T, trace string) (places []string) {
	t.Helper()
	b, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	at := map[uint64]string{}     // file by address
	latest := map[string]string{} // file that a thread was syncing
	for line := range strings.Lines(string(b)) {
		if c := call.FindStringSubmatch(line); c != nil {
			thread, arguments := c[1], c[3]
			if m := fileAt.FindStringSubmatch(arguments); m != nil {
				at[number(m[2])] = m[1]
			}
			if m := moved.FindStringSubmatch(arguments); m != nil {
				at[number(m[2])] = at[number(m[1])]
			}
			if m := filename.FindStringSubmatch(arguments); m != nil {
				latest[thread] = m[1]
			}
			if m := address.FindStringSubmatch(arguments); m != nil {
				latest[thread] = covering(at, number(m[1]))
			}
		}
		if strings.Contains(line, "(INJECTED)") {
			thread, _, _ := strings.Cut(line, " ")
			places = append(places, place(latest[thread]))
		}
	}
	return places
}

func number(hex string) uint64 {
	n, _ := strconv.ParseUint(hex, 0, 64)
	return n
}

// covering gives the file that is mapped at an address or closest below it.
func covering(at map[uint64]string, address uint64) string {
	var best uint64
	for base := range at {
		if base <= address {
			best = max(best, base)
		}
	}
	return at[best]
}

// place names a file of the data directory by its kind.
func place(path string) string {
	if strings.Contains(path, "/spool") {
		return "spool"
	}
	if ext := filepath.Ext(path); ext != "" {
		return "*" + ext
	}
	return filepath.Base(path)
}

// missing opens the store that was left, and counts what of the acknowledged it
// does not have, whole.
func missing(t *testing.T, data string, acknowledged []string) (lost int) {
	t.Helper()
	s, err := storage.Open(t.Context(), storage.Options{Dir: data, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Errorf("the next open: %v", err)
		return len(acknowledged)
	}
	defer s.Close()
	for _, a := range s.Alarms() {
		if !strings.Contains(a.What, "a write of the manifest had failed") { // which is so
			t.Errorf("alarm: %v", a)
		}
	}
	there := map[string]bool{}
	for _, channel := range []string{intake.Channel("his"), intake.Channel("ct-1")} {
		err := s.Range(channel, 1, 0, false, func(_ storage.Ref, b []byte) bool {
			e, err := intake.DecodeEntry(b)
			if err != nil {
				t.Error(err)
				return true
			}
			if e.Spool == nil {
				there[field(string(e.Body), "MSH-10")] = true
			} else if err := s.Spool().Verify(*e.Spool); err != nil {
				t.Error(err)
			} else {
				there[e.Attrs[intake.AttrSOPInstance]] = true
			}
			return true
		})
		if err != nil {
			t.Error(err)
		}
	}
	for _, id := range acknowledged {
		if !there[id] {
			lost++
		}
	}
	return lost
}
