package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"nhip/dicom"
	"nhip/dicom/uid"
)

// noDelay turns Nagle's algorithm off in programs made with DCMTK, Orthanc too.
var noDelay = []string{"TCP_NODELAY=1"}

const maxPDU = "131072"

// SOP classes of what is sent.
const (
	ctImage    = "1.2.840.10008.5.1.4.1.1.2"
	multiFrame = "1.2.840.10008.5.1.4.1.1.7.3" // Multi-frame Grayscale Word Secondary Capture
)

// A scp is a program that stores what storescu sends.
type scp struct {
	name   string
	port   int
	stored func() (int, error) // nil: it does not say
	sent   int
	rates  []float64 // objects a second
}

// send sends n objects made of one file in each of so many associations at once, each
// object under its own SOP Instance UID, and notes the rate.
func (s *scp) send(file string, n, associations int, env []string) error {
	syscall.Sync() // nobody pays for another's pages
	began := time.Now()
	failed := make(chan error, associations)
	for range associations {
		go func() { failed <- s.storescu(file, n, env) }()
	}
	var err error
	for range associations {
		err = errors.Join(err, <-failed)
	}
	took := time.Since(began)
	if err != nil {
		return err
	}
	s.rates = append(s.rates, float64(n*associations)/took.Seconds())
	s.sent += n * associations
	if s.stored == nil {
		return nil
	}
	if got, err := s.stored(); err != nil || got != s.sent {
		return fmt.Errorf("%s has stored %d objects of %d: %v", s.name, got, s.sent, err)
	}
	return nil
}

func (s *scp) storescu(file string, n int, env []string) error {
	args := []string{"-aet", "BENCH", "-aec", "NHIP", "-pdu", maxPDU, "-R", "--repeat", strconv.Itoa(n), "+II", "127.0.0.1", strconv.Itoa(s.port), file}
	cmd := exec.Command("storescu", args...)
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("storescu to %s: %w: %s", s.name, err, out[max(0, len(out)-500):])
	}
	return nil
}

func missing(program string) bool {
	_, err := exec.LookPath(program)
	return err != nil
}

// cstore: 400 slices of 512 KB in one association and in four, durable before 0000.
func (b *bench) cstore() error {
	if missing("storescu") {
		b.skip("C-STORE", "storescu (dcmtk) is not installed")
		return nil
	}
	file := b.path("slice.dcm")
	if err := writeObject(file, ctImage, "2.25.1", 1, 512<<10); err != nil {
		return err
	}
	g, err := b.gateway("nhip", true)
	if err != nil {
		return err
	}
	all := []*scp{{name: "nhip", port: g.dicom, stored: g.accepted}}
	if missing("Orthanc") {
		b.skip("C-STORE", "Orthanc is not installed")
	} else {
		_, o, err := b.orthanc()
		if err != nil {
			return err
		}
		all = append(all, o)
	}
	if b.floors == "" {
		b.skip("C-STORE", "the floor dicomfloor is not there")
	} else {
		f := &scp{name: "dicomfloor full", port: freePort()}
		if _, err := b.start("dicomfloor", nil, []int{f.port}, filepath.Join(b.floors, "dicomfloor"),
			"--mode", "full", "--port", strconv.Itoa(f.port), "--dir", b.path("floor-data")); err != nil {
			return err
		}
		all = append(all, f)
	}
	for _, associations := range []int{1, 4} {
		if err := b.slices(g, all, file, associations); err != nil {
			return err
		}
	}
	return nil
}

// slices compares the receivers in turn. What the gateway needs of the processor is
// measured apart from that, where nothing else is received.
func (b *bench) slices(g *gateway, all []*scp, file string, associations int) error {
	const slices = 400
	what := fmt.Sprintf("C-STORE of %d x 512 KB, %d associations", slices, associations)
	limits := map[string]float64{"Orthanc": 1.25, "dicomfloor full": 0.85}
	if associations == 1 {
		what = strings.TrimSuffix(what, "s")
		limits["Orthanc"] = 1.8
	}
	for _, s := range all {
		s.rates = nil
	}
	var used []float64 // ms of processor time an object
	for round := range b.rounds {
		for i := range all {
			s := all[(i+round)%len(all)] // each is first in turn
			before, err := g.settle()
			if err != nil {
				return err
			}
			if err := s.send(file, slices/associations, associations, noDelay); err != nil {
				return err
			}
			after, err := g.settle()
			if err != nil {
				return err
			}
			if s == all[0] {
				used = append(used, float64(after-before)/float64(time.Millisecond)/slices)
			}
		}
	}
	for _, s := range all[1:] {
		b.beside(what, "objects/s", all[0].rates, s.rates, s.name, limits[s.name])
	}
	b.under(what, "ms CPU/object", used, nil, "", 0)
	return nil
}

// orthanc starts Orthanc as its own documents set it up, with the PDU length of
// the others.
func (b *bench) orthanc() (*process, *scp, error) {
	s := &scp{name: "Orthanc", port: freePort()}
	http := freePort()
	s.stored = func() (int, error) { return number(http, "/statistics", "CountInstances") }
	config := b.path("orthanc.json")
	text := fmt.Sprintf(`{"StorageDirectory": %q, "IndexDirectory": %q, "DicomPort": %d, "HttpPort": %d,
"HttpBindAddresses": ["127.0.0.1"], "RemoteAccessAllowed": false, "AuthenticationEnabled": false,
"DicomAlwaysAllowStore": true, "DicomCheckCalledAet": false, "MaximumPduLength": %s}`,
		b.path("orthanc-data"), b.path("orthanc-data"), s.port, http, maxPDU)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, nil, err
	}
	p, err := b.start("Orthanc", noDelay, []int{s.port, http}, "Orthanc", config)
	return p, s, err
}

// nagle: small objects from a sender with Nagle's algorithm on. storescp gets
// fewer, since each takes it two delayed acknowledgements.
func (b *bench) nagle() error {
	what := "C-STORE of 300 x 10 KB, Nagle on"
	if missing("storescu") || missing("storescp") {
		b.skip(what, "storescu and storescp (dcmtk) are not installed")
		return nil
	}
	file := b.path("small.dcm")
	if err := writeObject(file, ctImage, "2.25.1", 1, 10<<10); err != nil {
		return err
	}
	g, err := b.gateway("nhip", true)
	if err != nil {
		return err
	}
	ours := &scp{name: "nhip", port: g.dicom, stored: g.accepted}
	theirs := &scp{name: "storescp", port: freePort()}
	if err := os.Mkdir(b.path("storescp-data"), 0o700); err != nil {
		return err
	}
	if _, err := b.start("storescp", nil, []int{theirs.port}, "storescp", "--fork", "-pdu", maxPDU, "-od", b.path("storescp-data"), strconv.Itoa(theirs.port)); err != nil {
		return err
	}
	for range b.rounds {
		if err := ours.send(file, 300, 1, nil); err != nil {
			return err
		}
		if err := theirs.send(file, 40, 1, nil); err != nil {
			return err
		}
	}
	b.beside(what, "objects/s", ours.rates, theirs.rates, "storescp (of 40)", 15)
	return nil
}

// large: what a 2 GB multi-frame object adds to the resident memory.
func (b *bench) large() error {
	const what = "memory for a 2 GB multi-frame object"
	if missing("storescu") {
		b.skip(what, "storescu (dcmtk) is not installed")
		return nil
	}
	file := b.path("large.dcm")
	if err := writeObject(file, multiFrame, "2.25.1", 4096, 2<<30); err != nil {
		return err
	}
	g, err := b.gateway("nhip", true)
	if err != nil {
		return err
	}
	more, err := added(g.process, &scp{name: "nhip", port: g.dicom, stored: g.accepted}, file)
	if err != nil {
		return err
	}
	b.under(what, "MiB more", []float64{more}, nil, "", 32)
	return nil
}

// added is the most that a process had resident while it took a file, less what
// it had before.
func added(p *process, s *scp, file string) (float64, error) {
	if _, err := p.settle(); err != nil {
		return 0, err
	}
	before, err := p.memory("VmRSS")
	if err != nil {
		return 0, err
	}
	if err := s.send(file, 1, 1, noDelay); err != nil {
		return 0, err
	}
	after, err := p.memory("VmHWM")
	return after - before, err
}

// writeObject writes an image without a patient as a DICOM file, with pixel data
// of the given length.
func writeObject(file, sopClass, instance string, frames, length int) error {
	var set []byte
	add := func(group, element uint16, vr, value string) {
		set = binary.LittleEndian.AppendUint16(set, group)
		set = binary.LittleEndian.AppendUint16(set, element)
		set = append(set, vr...)
		if len(value)%2 == 1 {
			value += map[bool]string{true: "\x00", false: " "}[vr == "UI"]
		}
		set = binary.LittleEndian.AppendUint16(set, uint16(len(value)))
		set = append(set, value...)
	}
	short := func(n int) string { return string(binary.LittleEndian.AppendUint16(nil, uint16(n))) }
	side := 512
	if frames == 1 && length < 2*side*side {
		side = 32
	}
	add(0x0008, 0x0016, "UI", sopClass)
	add(0x0008, 0x0018, "UI", instance)
	add(0x0008, 0x0060, "CS", "OT")
	add(0x0010, 0x0010, "PN", "BENCH")
	add(0x0010, 0x0020, "LO", "BENCH")
	add(0x0020, 0x000D, "UI", "2.25.2")
	add(0x0020, 0x000E, "UI", "2.25.3")
	add(0x0020, 0x0010, "SH", "1") // storescu gives these new values too
	add(0x0020, 0x0011, "IS", "1")
	add(0x0020, 0x0013, "IS", "1")
	add(0x0028, 0x0002, "US", short(1))
	add(0x0028, 0x0004, "CS", "MONOCHROME2")
	add(0x0028, 0x0008, "IS", strconv.Itoa(frames))
	add(0x0028, 0x0010, "US", short(length/frames/2/side))
	add(0x0028, 0x0011, "US", short(side))
	add(0x0028, 0x0100, "US", short(16))
	add(0x0028, 0x0101, "US", short(16))
	add(0x0028, 0x0102, "US", short(15))
	add(0x0028, 0x0103, "US", short(0))
	set = append(set, 0xE0, 0x7F, 0x10, 0, 'O', 'W', 0, 0)
	set = binary.LittleEndian.AppendUint32(set, uint32(length))

	var head bytes.Buffer
	if err := dicom.WritePart10Header(&head, sopClass, instance, uid.ExplicitVRLittleEndian); err != nil {
		return err
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(append(head.Bytes(), set...)); err != nil {
		return err
	}
	pixels := make([]byte, min(length, 64<<10))
	for i := range pixels {
		pixels[i] = byte(i * i >> 3)
	}
	for ; length > 0; length -= len(pixels) {
		pixels = pixels[:min(length, len(pixels))]
		if _, err := f.Write(pixels); err != nil {
			return err
		}
	}
	return f.Close()
}
