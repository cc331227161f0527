package run

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"nhip/dicom/association"
	"nhip/dicom/store"
	"nhip/dicom/ul"
	"nhip/gateway/delivery"
	"nhip/hardware-sim/pacs"
	"nhip/hardware-sim/truth"
	"nhip/storage"
)

// The data of a release, as an orderly stop and as a kill left them. Once 0.1.0
// is released they never change; before, a change of what is stored needs
//
//	go test ./gateway/run -run TestDataOfARelease -update
//
// and after it a folder of the new release beside this one.
const release = "testdata/release-0.1.0"

var update = flag.Bool("update", false, "write "+release+" anew")

// What the release had: written beside its data.
type released struct {
	Version  string
	Counts   map[string]int64
	Queued   string // the message that waits for the LIS, as this release sends it
	Object   string // the digest of the object that waits for the PACS
	Answer   string // to the message HIS-1
	Channels map[string]uint64
}

const (
	hisMessage = "HIS-1"
	objectUID  = "1.2.840.77.9"
)

// releaseBlocks are an analyser, a system and a modality with a LIS and a PACS.
func releaseBlocks(lis, pacs string) string {
	return analyserBlock("xn-1", "generic-astm", "tcp-listen://127.0.0.1:0", "") +
		"[[hl7_peer]]\nname = \"his\"\naddress = \"127.0.0.1\"\nto = [\"lis\"]\n" +
		"[[modality]]\nname = \"ct-1\"\nae_title = \"CT1\"\naddress = \"127.0.0.1\"\nto = [\"pacs\"]\n" +
		fmt.Sprintf("[[destination]]\nname = \"lis\"\nkind = \"hl7\"\naddress = %q\n", lis) +
		fmt.Sprintf("[[destination]]\nname = \"pacs\"\nkind = \"dicom\"\naddress = %q\ncalled_ae_title = \"PACS\"\n", pacs)
}

// fullSize is the size of a file with the zeroes at its end.
const fullSize = "NHIP.size"

// archive packs what a gateway needs of its data.
func archive(t *testing.T, data string) []byte {
	t.Helper()
	var b bytes.Buffer
	z, _ := gzip.NewWriterLevel(&b, gzip.BestCompression)
	w := tar.NewWriter(z)
	err := filepath.WalkDir(data, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !d.Type().IsRegular() || d.Name() == "ballast" || d.Name() == "lock" {
			return err
		}
		name, _ := filepath.Rel(data, path)
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		full := len(content) // a write-ahead log is mostly zeroes behind its end
		content = bytes.TrimRight(content, "\x00")
		if err := w.WriteHeader(&tar.Header{
			Name: filepath.ToSlash(name), Mode: 0o600, Size: int64(len(content)), PAXRecords: map[string]string{fullSize: strconv.Itoa(full)},
		}); err != nil {
			return err
		}
		_, err = w.Write(content)
		return err
	})
	for _, err := range []error{err, w.Close(), z.Close()} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

// unpack makes the data folder of an archive.
func unpack(t *testing.T, file, data string) {
	t.Helper()
	f, err := os.Open(file)
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
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(data, filepath.FromSlash(h.Name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		full, err := strconv.Atoi(h.PAXRecords[fullSize])
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, int64(full)); err != nil {
			t.Fatal(err)
		}
	}
}

// writeRelease runs a gateway and leaves of it: a message delivered, one held,
// one queued, half a message held, an object queued, and a stored answer.
func writeRelease(t *testing.T) {
	nobody := freePorts(t, 1)[0]
	lis := newJudge(t, "127.0.0.1:0", func(m string) string {
		if strings.Contains(m, "GIU") {
			return "AE"
		}
		return "AA"
	})
	s := newSite(t, releaseBlocks(lis.listener.Addr().String(), nobody))
	want := released{Version: "0.1.0", Channels: map[string]uint64{}}
	his := newPeer(t, "127.0.0.1", s.status().Listen.HL7)
	want.Answer = his.send(t, oru(hisMessage))
	line := analyserLine{dialFrom(t, "127.0.0.1", s.status().Listen.Analyser["xn-1"])}
	line.session(t, records("GIU-1"))
	eventually(t, "delivered and held", func() bool { c := s.status().Counts; return c.Delivered == 1 && c.Held == 1 })
	lis.down()
	line.session(t, records("CHO-1"))
	line.want(t, enq, ackByte)
	line.want(t, astmFrame(1, "H|\\^&|||ANALYSER-9\rO|1|NUA-1\r"), ackByte)
	line.Close()
	a, err := association.Dial(t.Context(), s.status().Listen.DICOM, association.Proposal{Calling: "CT1", Called: "NHIP", Contexts: []ul.ProposedContext{{ID: 1, AbstractSyntax: ctImage, TransferSyntaxes: []string{implicitLE}}}})
	if err != nil {
		t.Fatal(err)
	}
	status, err := store.Send(t.Context(), a, store.Object{SOPClassUID: ctImage, SOPInstanceUID: objectUID, TransferSyntaxUID: implicitLE, DataSet: bytes.NewReader(image(objectUID, 1000))})
	if err != nil || status.Code != 0 {
		t.Fatal(status, err)
	}
	a.Release(t.Context())
	eventually(t, "queued and half a message held", func() bool {
		c := s.status().Counts
		return c.Queued == 2 && c.Held == 2 && s.g.store.Last("out/lis") == 2 && s.g.store.Depth(delivery.Queue("pacs")) == 1
	})
	killed := archive(t, s.data)
	for k, n := range s.g.store.Counters() {
		want.Counts = put(want.Counts, k, n)
	}
	for _, c := range s.g.store.Channels() {
		want.Channels[c] = s.g.store.Last(c)
	}
	s.stop()
	stopped := archive(t, s.data)

	got := deliverRelease(t, s.data, nil)
	want.Queued, want.Object = got.queued, got.object
	text, err := json.MarshalIndent(want, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(release, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"killed.tar.gz": killed, "stopped.tar.gz": stopped, "release.json": text} {
		if err := os.WriteFile(filepath.Join(release, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d bytes", name, len(b))
	}
}

func put(m map[string]int64, k string, n int64) map[string]int64 {
	if m == nil {
		m = map[string]int64{}
	}
	m[k] = n
	return m
}

// siteOn starts a gateway on data that are there.
func siteOn(t *testing.T, data, blocks string) *site {
	t.Helper()
	s := &site{t: t, data: data, file: filepath.Join(t.TempDir(), "site.toml"), log: &capture{}}
	text := fmt.Sprintf("[site]\nid = \"bv-test\"\nname = \"Bệnh viện\"\ndata = %q\n", data)
	for _, n := range []string{"console", "dicom", "hl7", "mqtt"} {
		text += fmt.Sprintf("[%s]\nlisten = \"127.0.0.1:0\"\n", n)
	}
	if err := os.WriteFile(s.file, []byte(text+blocks), 0o600); err != nil {
		t.Fatal(err)
	}
	s.start()
	t.Cleanup(s.stop)
	return s
}

// delivered is what came of the data of a release.
type delivered struct{ queued, object string }

// deliverRelease runs this program on the data with LIS and PACS there again.
// check looks at the running gateway.
func deliverRelease(t *testing.T, data string, check func(*site)) (d delivered) {
	t.Helper()
	lis := newJudge(t, "127.0.0.1:0", func(string) string { return "AA" })
	var mu sync.Mutex
	archive := pacs.New(pacs.Options{Name: "pacs", AETitle: "PACS", Log: slog.New(slog.DiscardHandler), Received: func(x truth.Delivery) {
		mu.Lock()
		defer mu.Unlock()
		d.object = x.Name + " " + x.Digest
	}})
	address := freePorts(t, 1)[0]
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); archive.Run(ctx, address, nil) }()
	defer func() { cancel(); <-ended }()
	s := siteOn(t, data, releaseBlocks(lis.listener.Addr().String(), address))
	defer s.stop()
	eventually(t, "what was queued arrives", func() bool {
		c := s.status().Counts
		return c.Queued == 0 && c.Delivered == 3 && c.Held == 2 && archive.Received() == 1
	})
	for _, m := range lis.received() {
		d.queued += m
	}
	if check != nil {
		check(s)
	}
	mu.Lock()
	defer mu.Unlock()
	return d
}

// TestDataOfARelease starts this program on data that the release left: nothing
// is lost, and what waited goes out as it would have.
func TestDataOfARelease(t *testing.T) {
	if *update {
		writeRelease(t)
	}
	b, err := os.ReadFile(filepath.Join(release, "release.json"))
	if err != nil {
		t.Fatal(err)
	}
	var want released
	if err := json.Unmarshal(b, &want); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"stopped", "killed"} {
		t.Run(name, func(t *testing.T) {
			data := filepath.Join(t.TempDir(), "data")
			unpack(t, filepath.Join(release, name+".tar.gz"), data)

			st, err := storage.Open(t.Context(), storage.Options{Dir: data})
			if err != nil {
				t.Fatal(err)
			}
			if a := st.Alarms(); len(a) > 0 {
				t.Error(a)
			}
			counters := st.Counters()
			for k, n := range want.Counts {
				if counters[k] != n {
					t.Errorf("counter %s is %d, was %d", k, counters[k], n)
				}
			}
			for c, last := range want.Channels {
				entries := uint64(0)
				if err := st.Range(c, 1, int(last)+1, false, func(storage.Ref, []byte) bool { entries++; return true }); err != nil || entries != last {
					t.Errorf("channel %s: %d of %d entries, %v", c, entries, last, err)
				}
			}
			if err := st.Close(); err != nil {
				t.Fatal(err)
			}

			got := deliverRelease(t, data, func(s *site) {
				for specimen, values := range map[string]int{"GIU-1": 1, "CHO-1": 1} {
					if r := s.results(specimen); len(r) != values {
						t.Errorf("%d results of %s", len(r), specimen)
					}
				}
				held := map[string]bool{}
				for _, h := range s.status().Held {
					held[h.Reason] = true
				}
				if len(held) != 2 || !held["the destination answered AE"] || !held["the device closed the connection in the middle of a message"] {
					t.Errorf("held: %v", held)
				}
				his := newPeer(t, "127.0.0.1", s.status().Listen.HL7)
				if again := his.send(t, oru(hisMessage)); again != want.Answer {
					t.Errorf("a repeat is answered %q, was %q", again, want.Answer)
				}
				if c := s.status().Counts; c.Kinds["duplicate"] != want.Counts["consumed/duplicate"]+1 {
					t.Errorf("the repeat of a message of the release is not known: %+v", c)
				}
			})
			if got.queued != want.Queued {
				t.Errorf("the queued message is sent as\n%q\nand was\n%q", got.queued, want.Queued)
			}
			if got.object != want.Object {
				t.Errorf("the object: %s, was %s", got.object, want.Object)
			}
		})
	}
}
