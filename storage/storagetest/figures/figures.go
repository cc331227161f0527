// Package figures gathers what the durability tests measured: each test writes
// one line {test, figure, limit, verdict}. `make test` and `make soak` print them
// as one table at their end and put them into build/soak.json; what could not
// run stands there too, with the reason. For tests only.
package figures

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// File is where the lines are gathered, in the folder build of the module.
const File = "figures.jsonl"

// The verdicts of a line.
const (
	Good   = "good"
	Failed = "FAILED"
	NotRun = "not run"
)

// A Line is one measured promise.
type Line struct {
	Test    string `json:"test"`
	Figure  string `json:"figure"`
	Limit   string `json:"limit"`
	Verdict string `json:"verdict"`
}

// Report writes the line of a test. Its verdict is whether the test has failed so
// far: call it last.
func Report(t testing.TB, figure, limit string) {
	t.Helper()
	verdict := Good
	if t.Failed() {
		verdict = Failed
	}
	write(t, Line{t.Name(), figure, limit, verdict})
}

// Skip ends a test that cannot run here, and says so in the table.
func Skip(t testing.TB, limit, why string) {
	t.Helper()
	write(t, Line{t.Name(), why, limit, NotRun})
	t.Skip(why)
}

// Soak says whether the long forms were asked for.
func Soak() bool { return os.Getenv("NHIP_SOAK") == "1" }

func write(t testing.TB, l Line) {
	t.Helper()
	t.Logf("%s: %s (limit: %s): %s", l.Test, l.Figure, l.Limit, l.Verdict)
	b, err := json.Marshal(l)
	if err != nil {
		t.Fatal(err)
	}
	root, err := moduleRoot()
	if err == nil {
		err = appendLine(filepath.Join(root, "build"), append(b, '\n'))
	}
	if err != nil {
		t.Logf("the figure could not be written down: %v", err)
	}
}

// appendLine adds one line in one write, so that test programs that run at once
// do not mix theirs.
func appendLine(dir string, line []byte) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(dir, File), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	if _, err := f.Write(line); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", fmt.Errorf("no go.mod above the working directory")
		}
		dir = up
	}
}
