// Command bench measures the gateway beside its peers and beside the floors: what
// the same machine does in the same minute when a program does nothing but the
// durable minimum. It prints every figure as a ratio, medians of interleaved runs,
// since an absolute figure says nothing on a machine that is shared. It runs the
// built program as a user would, on loopback only, and reads /proc: Linux.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
)

func main() {
	log.SetFlags(0)
	b := &bench{}
	flag.StringVar(&b.nhip, "nhip", "build/nhip", "the gateway's program")
	flag.StringVar(&b.floors, "floors", "", "directory of the built floor programs; empty: there are none")
	flag.StringVar(&b.dir, "dir", "build/bench", "directory for data, emptied as it goes")
	flag.IntVar(&b.rounds, "rounds", 5, "interleaved runs of each")
	out := flag.String("out", "build/bench.json", "file for the figures")
	only := flag.String("only", "", "parts to run, separated by commas: cstore, nagle, large, forward, hl7, field, memory, edit, idle, analysers, queries, headers, codecs; empty: all")
	flag.Parse()

	for _, part := range []struct {
		name string
		run  func() error
	}{
		{"cstore", b.cstore}, {"nagle", b.nagle}, {"large", b.large}, {"forward", b.forward},
		{"hl7", b.hl7}, {"field", b.field}, {"memory", b.memory}, {"edit", b.edit},
		{"idle", b.idle}, {"analysers", b.analysers}, {"queries", b.queries}, {"headers", b.headers}, {"codecs", b.codecs},
	} {
		if *only != "" && !slices.Contains(strings.Split(*only, ","), part.name) {
			continue
		}
		log.Printf("measuring %s, load average %s", part.name, loadAverage())
		if err := b.scratch(part.run); err != nil {
			b.failed = append(b.failed, part.name+": "+err.Error())
		}
	}
	b.print()
	if err := b.save(*out); err != nil {
		log.Fatal(err)
	}
	if len(b.failed) > 0 {
		os.Exit(1)
	}
}

// loadAverage tells how much else the machine does: the more, the less the figures say.
func loadAverage() string {
	b, _ := os.ReadFile("/proc/loadavg")
	first, _, _ := strings.Cut(string(b), " ")
	return first
}

type bench struct {
	nhip, floors, dir string
	rounds            int

	rows            []row
	skipped, failed []string
}

// A row is one figure of the gateway, alone against a limit or beside another
// program's figure.
type row struct {
	What   string    `json:"what"`
	Unit   string    `json:"unit"`
	Ours   float64   `json:"ours"`
	Beside string    `json:"beside,omitempty"`
	Theirs float64   `json:"theirs,omitempty"`
	Ratio  float64   `json:"ratio,omitempty"`
	Limit  float64   `json:"limit,omitempty"` // the least ratio, of ours where it is beside nothing
	Most   bool      `json:"most,omitempty"`  // the limit is the most of ours instead
	Runs   []float64 `json:"runs,omitempty"`
	Met    bool      `json:"met"`
}

// beside adds a figure and its ratio to another one; limit is the least ratio, 0
// for one that is only shown.
func (b *bench) beside(what, unit string, ours, theirs []float64, name string, limit float64) {
	r := row{What: what, Unit: unit, Ours: median(ours), Beside: name, Theirs: median(theirs), Limit: limit, Runs: ours}
	r.Ratio = r.Ours / r.Theirs
	r.Met = r.Ratio >= limit
	b.rows = append(b.rows, r)
}

// least adds a figure that must reach a limit.
func (b *bench) least(what, unit string, ours []float64, limit float64) {
	b.rows = append(b.rows, row{What: what, Unit: unit, Ours: median(ours), Limit: limit, Runs: ours, Met: median(ours) >= limit})
}

// under adds a figure that must stay under a limit, 0 for one that is only shown,
// with another program's where there is one: nil for none.
func (b *bench) under(what, unit string, ours, theirs []float64, name string, limit float64) {
	r := row{What: what, Unit: unit, Ours: median(ours), Limit: limit, Most: true, Runs: ours}
	if theirs != nil {
		r.Beside, r.Theirs = name, median(theirs)
		r.Ratio = r.Ours / r.Theirs
	}
	r.Met = limit == 0 || r.Ours < limit
	b.rows = append(b.rows, r)
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(v))
	if len(s)%2 == 1 {
		return s[len(s)/2]
	}
	return (s[len(s)/2-1] + s[len(s)/2]) / 2
}

func (b *bench) skip(what, why string) { b.skipped = append(b.skipped, what+": "+why) }

// scratch runs a part with an empty directory, and stops what it left running.
func (b *bench) scratch(part func() error) error {
	if err := errors.Join(os.RemoveAll(b.dir), os.MkdirAll(b.dir, 0o700)); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	defer stopAll()
	return part()
}

func (b *bench) path(name string) string {
	p, err := filepath.Abs(filepath.Join(b.dir, name))
	if err != nil {
		log.Fatal(err)
	}
	return p
}

func (b *bench) print() {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "what\tunit\tours\tpeer or floor\ttheirs\tratio\tlimit\tverdict")
	for _, r := range b.rows {
		theirs, ratio, limit, verdict := "", "", "", ""
		if r.Beside != "" {
			theirs, ratio = figure(r.Theirs), figure(r.Ratio)
		}
		if r.Limit != 0 {
			limit, verdict = "at least "+figure(r.Limit), "met"
			if r.Most {
				limit = "under " + figure(r.Limit)
			}
			if !r.Met {
				verdict = "MISSED"
			}
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.What, r.Unit, figure(r.Ours), r.Beside, theirs, ratio, limit, verdict)
	}
	w.Flush()
	for _, s := range b.skipped {
		fmt.Println("not compared:", s)
	}
	for _, s := range b.failed {
		fmt.Println("FAILED:", s)
	}
}

func figure(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.3g", v)
}

func (b *bench) save(file string) error {
	j, err := json.MarshalIndent(struct {
		Figures []row    `json:"figures"`
		Skipped []string `json:"not_compared"`
		Failed  []string `json:"failed"`
	}{b.rows, b.skipped, b.failed}, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(j, '\n'), 0o600)
}
