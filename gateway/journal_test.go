package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nhip/drivers/astm/e1381"
	"nhip/gateway/intake"
	"nhip/gateway/journal"
	"nhip/storage"
)

// The journal of a gateway that does not run is read from its store.
func TestJournalOfAStoppedGateway(t *testing.T) {
	dir := t.TempDir()
	data, file := filepath.Join(dir, "data"), filepath.Join(dir, "site.toml")
	if err := os.WriteFile(file, fmt.Appendf(nil, "[site]\nid = \"bv\"\nname = \"BV\"\ndata = %q\n", data), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := nhip("journal", "--config", file).CombinedOutput(); err == nil || !strings.Contains(string(out), "there is no data") {
		t.Errorf("without data: %v %s", err, out)
	}
	s, err := storage.Open(context.Background(), storage.Options{Dir: data})
	if err != nil {
		t.Fatal(err)
	}
	records := "H|\\^&\rP|1||\x1b[31mX\rL|1|N\r"
	a := intake.New(s, slog.New(slog.DiscardHandler)).ASTM("xn-1", "10.0.0.1:1")
	if err := a.Store(t.Context(), []e1381.Message{{Records: []byte(records)}}); err != nil {
		t.Fatal(err)
	}
	if err := a.Incomplete(t.Context(), e1381.Message{Records: []byte("H|\r")}, "line cut"); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) string {
		t.Helper()
		out, err := nhip(append([]string{"journal"}, args...)...).Output()
		if err != nil {
			t.Errorf("%v: %v", args, err)
		}
		return string(out)
	}
	list := run("--config", file)
	if !strings.Contains(list, "in/xn-1/1") || !strings.Contains(list, "stored") || !strings.Contains(list, "held, incomplete") || strings.Count(list, "\n") != 2 {
		t.Errorf("%s", list)
	}
	if one := run("--config", file, "--state", "incomplete", "--from", "1h"); strings.Contains(one, "in/xn-1/1") || !strings.Contains(one, "in/xn-1/2") {
		t.Errorf("%s", one)
	}
	var page journal.Page
	if err := json.Unmarshal([]byte(run("--config", file, "--json", "--connection", "xn-1", "--limit", "1")), &page); err != nil || len(page.Entries) != 1 || page.Older.IsZero() {
		t.Errorf("%v %+v", err, page)
	}
	if raw := run("show", "in/xn-1/1", "--config", file, "--raw"); raw != records {
		t.Errorf("%q", raw)
	}
	if hex := run("show", "in/xn-1/1", "--config", file, "--hex"); !strings.HasPrefix(hex, "00000000  48 7c 5c 5e 26 0d") {
		t.Errorf("%q", hex)
	}
	if shown := run("show", "in/xn-1/1", "--config", file); strings.Contains(shown, "\x1b") || !strings.Contains(shown, "P|1||⟨ESC⟩[31mX⟨CR⟩\n") || !strings.Contains(shown, "SHA-256") {
		t.Errorf("%s", shown)
	}
	for _, args := range [][]string{{"--config", file, "--state", "lost"}, {"--config", file, "--limit=-1"}, {"show", "in/xn-1/9", "--config", file}, {"--config", file, "--from", "then"}} {
		if out, err := nhip(append([]string{"journal"}, args...)...).CombinedOutput(); err == nil {
			t.Errorf("%v: %s", args, out)
		}
	}
}
