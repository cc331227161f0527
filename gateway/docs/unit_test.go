package docs

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// unit is the unit file with a program that is there.
func unit(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("systemd-analyze is not installed")
		}
		t.Skip("systemd-analyze is not installed")
	}
	b, err := os.ReadFile("nhip.service")
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "nhip.service")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(string(b), "/usr/local/bin/nhip", program)), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// newer are the keys that systemd before 254 does not know, says so and goes on.
var newer = regexp.MustCompile(`(?m)^.*Unknown key '(RestartSteps|RestartMaxDelaySec)' in section \[Service\], ignoring\.\n`)

func TestUnitFileIsGood(t *testing.T) {
	out, err := exec.Command("systemd-analyze", "verify", unit(t)).CombinedOutput()
	if said := newer.ReplaceAllString(string(out), ""); err != nil || strings.Contains(said, "nhip") {
		t.Errorf("%v\n%s", err, said)
	}
}

func TestUnitFileConfinesTheGateway(t *testing.T) {
	out, _ := exec.Command("systemd-analyze", "security", "--offline=true", "--no-pager", unit(t)).Output()
	m := regexp.MustCompile(`exposure level for nhip.service: ([0-9.]+)`).FindSubmatch(out)
	if m == nil {
		t.Skipf("this systemd-analyze says nothing of a file: %s", out)
	}
	if exposure, err := strconv.ParseFloat(string(m[1]), 64); err != nil || exposure > 2.0 {
		t.Errorf("exposure %s: over 2.0", m[1])
	}
	t.Logf("exposure %s", m[1])
}
