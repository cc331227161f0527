package console

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// chromium runs a headless browser on the address and gives what it wrote.
func chromium(t *testing.T, args ...string) (stdout, stderr string) {
	t.Helper()
	program, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("chromium is not installed")
		}
		t.Skip("chromium is not installed: the pages were not seen by a browser")
	}
	var out, log bytes.Buffer
	cmd := exec.CommandContext(t.Context(), program, append([]string{
		"--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-default-apps",
		"--user-data-dir=" + t.TempDir(), "--window-size=1366,768", "--hide-scrollbars", "--lang=en", "--enable-logging=stderr",
	}, args...)...)
	cmd.Stdout, cmd.Stderr = &out, &log
	if err := cmd.Run(); err != nil {
		t.Fatalf("chromium: %v\n%s", err, log.String())
	}
	return out.String(), log.String()
}

// A real browser shows the pages in both languages, finds nothing to complain
// of (the content security policy would), runs no text of a device, and
// refreshes the page by itself. NHIP_SCREENSHOTS names a folder for pictures of
// them, for a person to look at.
func TestBrowserShowsThePages(t *testing.T) {
	if testing.Short() {
		t.Skip("short: no browser")
	}
	var refreshed atomic.Int32
	f := hospital()
	f.status.Connections[0].Name = `xn-1<script>document.title="hijacked"</script>`
	c := console(f)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/live" {
			refreshed.Add(1)
		}
		c.ServeHTTP(w, r)
	}))
	defer server.Close()

	for target, wants := range map[string][]string{
		"/?lang=en":                            {`lang="en"`, "Connections", "attempt 7 failed"},
		"/?lang=vi":                            {`lang="vi"`, "Kết nối", "lần gửi 7 không được"},
		"/results?lang=vi&specimen=2601140027": {"NGUYỄN THỊ ÁNH", "chưa được duyệt"},
	} {
		dom, log := chromium(t, "--virtual-time-budget=8000", "--dump-dom", server.URL+target)
		for _, want := range wants {
			if !strings.Contains(dom, want) {
				t.Errorf("%s: no %q", target, want)
			}
		}
		if strings.Contains(dom, "<title>hijacked") {
			t.Errorf("%s: a script of a device ran", target)
		}
		for _, line := range strings.Split(log, "\n") {
			if strings.Contains(line, "CONSOLE") {
				t.Errorf("%s: %s", target, line)
			}
		}
	}
	if dir := os.Getenv("NHIP_SCREENSHOTS"); dir != "" {
		for name, target := range map[string]string{"overview-en": "/?lang=en", "overview-vi": "/?lang=vi", "result-vi": "/results?lang=vi&specimen=2601140027"} {
			chromium(t, "--screenshot="+filepath.Join(dir, name+".png"), server.URL+target)
			chromium(t, "--no-pdf-header-footer", "--print-to-pdf="+filepath.Join(dir, name+".pdf"), server.URL+target)
		}
	}
	if refreshed.Load() == 0 {
		t.Error("the page did not refresh itself")
	}
}
