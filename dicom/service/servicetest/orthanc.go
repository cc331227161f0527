package servicetest

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// An Orthanc is a running Orthanc of AE title ORTHANC.
type Orthanc struct {
	t       testing.TB
	Address string // of DICOM
	URL     string // of its REST interface
}

// StartOrthanc runs Orthanc with further settings until the test ends.
func StartOrthanc(t testing.TB, settings map[string]any) *Orthanc {
	t.Helper()
	Need(t, "Orthanc")
	dir := t.TempDir()
	dicomPort, httpPort := FreePort(t), FreePort(t)
	config := map[string]any{
		"Name": "test", "StorageDirectory": dir, "IndexDirectory": dir,
		"DicomAet": "ORTHANC", "DicomPort": json.Number(dicomPort), "HttpPort": json.Number(httpPort),
		"HttpBindAddresses": []string{"127.0.0.1"}, "RemoteAccessAllowed": false, "AuthenticationEnabled": false,
		"DicomAlwaysAllowEcho": true, "DicomAlwaysAllowStore": true, "DicomAlwaysAllowFind": true, "DicomAlwaysAllowMove": true,
		"DicomAlwaysAllowGet": true, "DicomAlwaysAllowFindWorklist": true, "DicomCheckCalledAet": false, "UnknownSopClassAccepted": true,
		"DefaultEncoding": "Utf8", "StableAge": 1, "HttpThreadsCount": 4,
	}
	maps.Copy(config, settings)
	b, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "orthanc.json")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	Start(t, dicomPort, dir, "Orthanc", path)
	o := &Orthanc{t, "127.0.0.1:" + dicomPort, "http://127.0.0.1:" + httpPort}
	Eventually(t, "Orthanc answers", func() bool {
		rsp, err := http.Get(o.URL + "/system")
		if err != nil {
			return false
		}
		rsp.Body.Close()
		return rsp.StatusCode == http.StatusOK
	})
	http.DefaultClient.CloseIdleConnections()
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	return o
}

// Post posts a body as JSON, or a []byte as it is, and decodes the answer into v,
// unless v is nil.
func (o *Orthanc) Post(path string, body, v any) {
	o.t.Helper()
	b, ok := body.([]byte)
	if !ok {
		var err error
		if b, err = json.Marshal(body); err != nil {
			o.t.Fatal(err)
		}
	}
	rsp, err := http.Post(o.URL+path, "application/json", bytes.NewReader(b))
	o.answer(path, rsp, err, v)
}

// Get decodes what is at a path.
func (o *Orthanc) Get(path string, v any) {
	o.t.Helper()
	rsp, err := http.Get(o.URL + path)
	o.answer(path, rsp, err, v)
}

func (o *Orthanc) answer(path string, rsp *http.Response, err error, v any) {
	o.t.Helper()
	if err != nil {
		o.t.Fatal(err)
	}
	defer rsp.Body.Close()
	b, err := io.ReadAll(rsp.Body)
	if err != nil {
		o.t.Fatal(err)
	}
	if rsp.StatusCode != http.StatusOK {
		o.t.Fatalf("Orthanc %s: %s: %s", path, rsp.Status, b)
	}
	if v == nil {
		return
	}
	if err := json.Unmarshal(b, v); err != nil {
		o.t.Fatalf("Orthanc %s: %v: %s", path, err, b)
	}
}

// Eventually polls until ok holds.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("not within two minutes: %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
