//go:build ignore

// Report reads the stream of `go test -json` and prints what a person wants to
// see of it: packages with their time, the output of what failed, and at the
// end every test that was skipped with the reason it gave.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// An event is one line of the stream, see `go doc test2json`.
type event struct {
	Action, Package, Test, ImportPath, Output string
	Elapsed                                   float64
	FailedBuild                               string
}

type report struct {
	output                 map[string][]string // package or package/test -> its lines
	skipped, failed        []string
	packages, passed, runs int
}

func main() {
	r := report{output: map[string][]string{}}
	if err := r.read(os.Stdin); err != nil {
		fmt.Println("the stream of go test cannot be read:", err)
		os.Exit(1)
	}
	if !r.print() {
		os.Exit(1)
	}
}

func (r *report) read(in io.Reader) error {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			r.line(line)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (r *report) line(line string) {
	var e event
	if err := json.Unmarshal([]byte(line), &e); err != nil {
		fmt.Print(line) // go itself speaks
		return
	}
	key := e.Package + e.ImportPath
	if e.Test != "" {
		key += " " + e.Test
	}
	switch e.Action {
	case "output", "build-output":
		r.output[key] = append(r.output[key], e.Output)
	case "skip":
		r.skip(e, key)
	case "pass":
		r.pass(e, key)
	case "fail":
		r.fail(e, key)
	}
}

func (r *report) skip(e event, key string) {
	if e.Test != "" {
		r.skipped = append(r.skipped, key+": "+reason(r.output[key]))
	}
	delete(r.output, key)
}

func (r *report) pass(e event, key string) {
	if e.Test != "" {
		r.runs++
	} else {
		r.packages++
		r.passed++
		fmt.Printf("ok    %6.1f s  %s\n", e.Elapsed, e.Package)
	}
	delete(r.output, key)
}

func (r *report) fail(e event, key string) {
	r.failed = append(r.failed, key)
	if e.Test == "" {
		r.packages++
	}
	fmt.Printf("FAIL  %6.1f s  %s\n", e.Elapsed, key)
	for _, k := range []string{e.FailedBuild, key} {
		for _, line := range r.output[k] {
			fmt.Print("    ", line)
		}
		delete(r.output, k)
	}
}

// reason is what a skipped test said.
func reason(output []string) string {
	var said []string
	for _, line := range output {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "===") || strings.HasPrefix(line, "---") {
			continue
		}
		said = append(said, line)
	}
	if len(said) == 0 {
		return "no reason given"
	}
	return strings.Join(said, " ")
}

func (r *report) print() bool {
	if len(r.skipped) > 0 {
		fmt.Printf("skipped %d:\n", len(r.skipped))
		slices.Sort(r.skipped)
		for _, s := range r.skipped {
			fmt.Println("  " + s)
		}
	}
	fmt.Printf("%d of %d packages, %d tests passed, %d skipped, %d failed\n",
		r.passed, r.packages, r.runs, len(r.skipped), len(r.failed))
	for _, f := range r.failed {
		fmt.Println("  FAIL", f)
	}
	return len(r.failed) == 0 && r.packages > 0
}
