package run

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"nhip/dicom"
	"nhip/dicom/association"
	"nhip/dicom/dimse"
	"nhip/dicom/store"
)

// pydicomTree is Debian's python3-pydicom.
const pydicomTree = "/usr/lib/python3/dist-packages/pydicom/data"

// dcmtk is a DCMTK program without Nagle's algorithm.
func dcmtk(ctx context.Context, name string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, name, args...)
	c.Env = append(os.Environ(), "TCP_NODELAY=1")
	return c
}

// startPeer runs a program that listens until the test ends. build makes it for
// ports that were free, ready says that it answers there. A port that somebody
// else took in between is given up for another.
func startPeer(t *testing.T, n int, build func(ports []string) *exec.Cmd, ready func(ports []string) bool) (ports []string) {
	t.Helper()
	for end := time.Now().Add(90 * time.Second); time.Now().Before(end); {
		ports = freePorts(t, n)
		c := build(ports)
		var out bytes.Buffer
		c.Stdout, c.Stderr = &out, &out
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		ended := startWait(c)
		t.Cleanup(func() {
			c.Process.Kill()
			<-ended
			if t.Failed() {
				t.Logf("the end of what %s wrote:\n%s", c.Args[0], out.Bytes()[max(0, out.Len()-3000):])
			}
		})
		for alive := true; alive && time.Now().Before(end); {
			if ready(ports) {
				return ports
			}
			select {
			case <-ended:
				alive = false
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
	t.Fatal("a real peer does not answer")
	return nil
}

func startWait(c *exec.Cmd) <-chan struct{} {
	ended := make(chan struct{})
	go func() { c.Wait(); close(ended) }()
	return ended
}

// storescp runs DCMTK's SCP, which keeps the bytes.
func storescp(t *testing.T, dir string) (address string) {
	t.Helper()
	return startPeer(t, 1, func(ports []string) *exec.Cmd {
		_, port, _ := net.SplitHostPort(ports[0])
		return dcmtk(context.Background(), "storescp", "+B", "+xa", "+uf", "-od", dir, port)
	}, func(ports []string) bool {
		host, port, _ := net.SplitHostPort(ports[0])
		return dcmtk(t.Context(), "echoscu", "-to", "5", host, port).Run() == nil
	})[0]
}

// orthanc runs an Orthanc; both addresses.
func orthanc(t *testing.T, dir string) (dimse, rest string) {
	t.Helper()
	number := func(a string) int {
		_, p, _ := net.SplitHostPort(a)
		n, _ := strconv.Atoi(p)
		return n
	}
	ports := startPeer(t, 2, func(ports []string) *exec.Cmd {
		cfg, _ := json.Marshal(map[string]any{
			"Name": "pacs", "StorageDirectory": dir, "IndexDirectory": dir, "DicomAet": "ORTHANC",
			"DicomPort": number(ports[0]), "HttpPort": number(ports[1]), "RemoteAccessAllowed": false, "HttpBindAddresses": []string{"127.0.0.1"},
			"AuthenticationEnabled": false, "DicomAlwaysAllowEcho": true, "DicomAlwaysAllowStore": true, "DicomCheckCalledAet": true,
			"UnknownSopClassAccepted": true, "Plugins": []string{},
		})
		file := filepath.Join(dir, "orthanc.json")
		if err := os.WriteFile(file, cfg, 0o600); err != nil {
			t.Fatal(err)
		}
		return dcmtk(context.Background(), "Orthanc", file)
	}, func(ports []string) bool {
		rsp, err := http.Get("http://" + ports[1] + "/system")
		if err != nil {
			return false
		}
		rsp.Body.Close()
		return rsp.StatusCode == http.StatusOK
	})
	return ports[0], "http://" + ports[1]
}

// A dataSet is what is compared: the bytes by their hash, and how they are encoded.
type dataSet struct{ syntax, sum string }

type object struct {
	instance string
	dataSet
}

// objects reads the Part 10 files under a folder.
func objects(t *testing.T, dir string) (all []object) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		m, err := dicom.ReadPart10(bytes.NewReader(b))
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		all = append(all, object{m.SOPInstanceUID, dataSet{m.TransferSyntaxUID, fmt.Sprintf("%x", sha256.Sum256(b[m.DataSet:]))}})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// dcmsend sends a folder and says how many objects were answered 0000.
func dcmsend(t *testing.T, address, called, dir string) int {
	t.Helper()
	host, port, _ := net.SplitHostPort(address)
	report := filepath.Join(t.TempDir(), "report.txt")
	c := dcmtk(t.Context(), "dcmsend", "-v", "-aec", called, "+sd", "+r", "-nh", "-nuc", "+crf", report, host, port, dir)
	if out, err := c.CombinedOutput(); err != nil && c.ProcessState.ExitCode() < 0 {
		t.Fatalf("%v: %s", err, out)
	}
	b, err := os.ReadFile(report)
	if err != nil {
		t.Fatal(err)
	}
	return len(regexp.MustCompile(`(?m)^DIMSE Status *: *0x0000`).FindAll(b, -1))
}

func TestDcmsendOfThePydicomTreeThroughTheGateway(t *testing.T) {
	need(t, "dcmsend", "storescp", "echoscu", "Orthanc", pydicomTree)
	t.Parallel()
	direct, through, pacs := t.TempDir(), t.TempDir(), t.TempDir()
	dcmsend(t, storescp(t, direct), "STORESCP", pydicomTree)
	scp := storescp(t, through)
	dimse, rest := orthanc(t, pacs)
	s := newSite(t, fmt.Sprintf(`
[[modality]]
name = "ct-1"
ae_title = "DCMSEND"
address = "127.0.0.1"
to = ["storescp", "orthanc"]
[[destination]]
name = "storescp"
kind = "dicom"
address = %q
called_ae_title = "STORESCP"
[[destination]]
name = "orthanc"
kind = "dicom"
address = %q
called_ae_title = "ORTHANC"
`, scp, dimse))
	answered := dcmsend(t, s.g.states.addresses("dicom")[0], "NHIP", pydicomTree)
	// Two objects have their UIDs in UN, from which dcmsend makes the SOP class
	// "31" of its C-STORE-RQ. That is not the presentation context's: storescp does
	// not look, we answer 0122.
	want := slices.DeleteFunc(objects(t, direct), func(o object) bool { return o.instance == "31" })
	t.Logf("%d objects answered 0000; storescp got %d of them directly", answered, len(want))
	if answered < 100 || answered < len(want) {
		t.Errorf("%d objects were answered 0000; storescp got %d directly", answered, len(want))
	}

	var st status
	within(t, 3*time.Minute, "nothing is on its way any more", func() bool {
		st = s.status()
		for _, q := range st.Queues {
			if q.Depth != q.Held+q.Behind {
				return false
			}
		}
		return st.Counts.Accepted >= int64(answered) && s.g.store.Depth("interpret") == 0
	})
	// By destination: what is held, with its status in words, and what waits behind.
	held := map[string]map[string]bool{}
	conflicts := 0
	for _, h := range st.Held {
		switch {
		case h.Destination == "":
			conflicts++
			if h.Connection != "ct-1" || !strings.Contains(h.Reason, "SOP Instance UID") || !strings.Contains(h.Reason, "both are kept") {
				t.Errorf("held: %+v", h)
			}
			continue
		case h.Reason != "the destination does not take SOP class Color Palette Storage": // DCMTK 3.6.7 does not know it
			t.Errorf("held: %+v", h)
		}
		if held[h.Destination] == nil {
			held[h.Destination] = map[string]bool{}
		}
		f := strings.Fields(h.Subject)
		held[h.Destination][f[len(f)-1]] = true
	}
	// What came to the gateway and what storescp got directly are the same bytes.
	// The data set is compared, not its UIDs: storescp reads some wrongly.
	instance := map[dataSet]string{}
	contents := map[string]map[dataSet]bool{}
	for _, o := range objects(t, filepath.Join(s.data, "spool")) {
		instance[o.dataSet] = o.instance
		if contents[o.instance] == nil {
			contents[o.instance] = map[dataSet]bool{}
		}
		contents[o.instance][o.dataSet] = true
	}
	for _, o := range want {
		if instance[o.dataSet] == "" {
			t.Errorf("SOP instance %s is not stored with the bytes that storescp gets directly", o.instance)
		}
	}
	several := 0
	for _, c := range contents {
		if len(c) > 1 {
			several++
		}
	}
	repeats := int(st.Counts.Kinds["duplicate"])
	t.Logf("%d SOP Instance UIDs, %d of them with several contents; %d objects held for that, %d repeats", len(contents), several, conflicts, repeats)
	if several < 9 || conflicts < several {
		t.Errorf("%d SOP Instance UIDs have several contents, %d objects are held for it", several, conflicts)
	}
	if answered != len(contents)+conflicts+repeats {
		t.Errorf("%d answered 0000 are not %d first ones, %d held and %d repeats", answered, len(contents), conflicts, repeats)
	}

	// Behind the gateway: of each SOP Instance UID one object, with the same bytes.
	arrived := map[string]int{}
	for _, o := range objects(t, through) {
		if instance[o.dataSet] == "" {
			t.Errorf("SOP instance %s has other bytes behind the gateway", o.instance)
		}
		arrived[instance[o.dataSet]]++
	}
	behind := map[string]int{}
	for _, q := range st.Queues {
		behind[q.Destination] = q.Behind
	}
	check := func(destination string, arrived map[string]int) {
		t.Helper()
		missing := 0
		for instance := range contents {
			switch {
			case arrived[instance] > 1:
				t.Errorf("%s: %s arrived %d times", destination, instance, arrived[instance])
			case arrived[instance] == 0 && !held[destination][instance]:
				missing++
			case arrived[instance] == 1 && held[destination][instance]:
				t.Errorf("%s: %s arrived and is held", destination, instance)
			}
		}
		if missing > 0 {
			t.Errorf("%s: %d objects answered 0000 are neither there nor held; %d wait behind held ones", destination, missing, behind[destination])
		}
	}
	check("storescp", arrived)
	check("orthanc", orthancHas(t, rest))
}

// orthancHas asks Orthanc for its instances.
func orthancHas(t *testing.T, rest string) map[string]int {
	t.Helper()
	rsp, err := http.Get(rest + "/instances?expand&since=0&limit=100000")
	if err != nil {
		t.Fatal(err)
	}
	defer rsp.Body.Close()
	var list []struct{ MainDicomTags map[string]string }
	if err := json.NewDecoder(rsp.Body).Decode(&list); err != nil {
		t.Fatal(err)
	}
	has := map[string]int{}
	for _, i := range list {
		has[i.MainDicomTags["SOPInstanceUID"]]++
	}
	t.Logf("Orthanc has %d instances", len(has))
	return has
}

// TestWhatADestinationRefusesIsHeldWithItsStatus: A900 is held, what comes behind
// it of the same study waits, A700 is tried again.
func TestWhatADestinationRefusesIsHeldWithItsStatus(t *testing.T) {
	need(t, "dcmsend", pydicomTree)
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	got := map[string]int{}
	handler := func(_ context.Context, r store.Request, dataSet io.Reader) dimse.Status {
		mu.Lock()
		defer mu.Unlock()
		got[r.SOPInstanceUID]++
		switch {
		case len(got) == 1:
			return dimse.Status{Code: 0xA900, Comment: "PT-770077 does not match"}
		case got[r.SOPInstanceUID] == 1:
			return dimse.Status{Code: 0xA700}
		}
		return dimse.Status{}
	}
	server := &association.Server{
		Accept: func(association.Request) association.Answer {
			return association.Answer{AbstractSyntax: store.Accepts(), TransferSyntax: func(string, string) bool { return true }}
		},
		Handlers: map[dimse.CommandField]association.Handler{dimse.CStoreRQ: store.Handle(handler)},
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); server.Serve(ctx, l) }()
	t.Cleanup(func() { cancel(); <-done })

	s := newSite(t, modalities(`"pacs"`)+fmt.Sprintf("[[destination]]\nname = \"pacs\"\nkind = \"dicom\"\naddress = %q\ncalled_ae_title = \"PACS\"\n", l.Addr()))
	dir := filepath.Join(pydicomTree, "test_files", "dicomdirtests", "77654033")
	if n := dcmsend(t, s.g.states.addresses("dicom")[0], "NHIP", dir); n < 3 {
		t.Fatalf("%d objects were answered 0000", n)
	}
	var st status
	eventually(t, "one object is held and the rest waits behind it, or was delivered", func() bool {
		st = s.status()
		q := st.Queues[0]
		return q.Held == 1 && q.Depth == q.Held+q.Behind && s.g.store.Depth("interpret") == 0
	})
	if h := st.Held[0]; len(st.Held) != 1 || h.Destination != "pacs" || !strings.Contains(h.Reason, "A900") {
		t.Errorf("held: %+v", st.Held)
	}
	if st.Counts.Delivered == 0 && st.Queues[0].Behind == 0 {
		t.Errorf("%+v", st)
	}
	mu.Lock()
	defer mu.Unlock()
	t.Logf("%+v; the destination got %v", st.Queues, got)
}

// modalities is the configuration of DCMTK's tools as modalities.
func modalities(to string) string {
	return fmt.Sprintf("[[modality]]\nname = \"ct-1\"\nae_title = \"DCMSEND\"\naddress = \"127.0.0.1\"\nto = [%s]\n", to)
}
