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

// In a real browser a recording is pasted, decoded in place, and decoded again without
// the token being typed anew. A script of the test fills the form in; the policy of the
// page lets in only scripts of its own origin.
func TestBrowserDecodesOnTheWorkbench(t *testing.T) {
	if testing.Short() {
		t.Skip("short: no browser")
	}
	c, _ := benched(t)
	var posts atomic.Int32
	script := `addEventListener("load", () => {
  document.getElementById("bench-text").value = ` + "`" + strings.ReplaceAll(frames(true, xnRecords...), `\`, `\\`) + "`" + `;
  document.getElementById("bench-token").value = "right";
  const decode = document.getElementById("bench-decode");
  decode.click();
  new MutationObserver((_, o) => {
    if (!document.querySelector("#decoded .card") || document.body.dataset.again) return;
    document.body.dataset.again = "yes";
    decode.click();
  }).observe(document.body, { childList: true, subtree: true });
});`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/static/test.js" {
			w.Header().Set("Content-Type", "text/javascript; charset=utf-8")
			w.Write([]byte(script))
			return
		}
		if r.Method == http.MethodPost {
			posts.Add(1)
			c.ServeHTTP(w, r)
			return
		}
		answer := httptest.NewRecorder()
		c.ServeHTTP(answer, r)
		for k, v := range answer.Header() {
			w.Header()[k] = v
		}
		w.WriteHeader(answer.Code)
		w.Write(bytes.Replace(answer.Body.Bytes(), []byte("</head>"), []byte(`<script src="/static/test.js" defer></script></head>`), 1))
	}))
	defer server.Close()
	dom, log := chromium(t, "--virtual-time-budget=8000", "--dump-dom", server.URL+"/workbench?lang=vi")
	for _, want := range []string{"<b>sysmex-xn-l</b> (theo bên gửi)", "checksum sai", "R.3.5", "<mark>", `data-again="yes"`} {
		if !strings.Contains(dom, want) {
			t.Errorf("no %q in %s", want, dom)
		}
	}
	for _, line := range strings.Split(log, "\n") {
		if strings.Contains(line, "CONSOLE") {
			t.Error(line)
		}
	}
	if posts.Load() < 2 {
		t.Errorf("%d recordings were sent", posts.Load())
	}
	if dir := os.Getenv("NHIP_SCREENSHOTS"); dir != "" {
		chromium(t, "--virtual-time-budget=8000", "--window-size=1366,2600", "--screenshot="+filepath.Join(dir, "workbench-vi.png"), server.URL+"/workbench?lang=vi")
	}
}
