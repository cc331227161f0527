//go:build ignore

// Figures prints what the durability tests measured as one table, and writes it
// to build/soak.json. Its exit status is 1 where a verdict is bad.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"unicode/utf8"
)

type line struct {
	Test    string `json:"test"`
	Figure  string `json:"figure"`
	Limit   string `json:"limit"`
	Verdict string `json:"verdict"`
}

func main() {
	lines := []line{}
	in, err := os.Open("build/figures.jsonl")
	if err == nil {
		s := bufio.NewScanner(in)
		s.Buffer(nil, 1<<20)
		for s.Scan() {
			var l line
			if err := json.Unmarshal(s.Bytes(), &l); err != nil {
				fmt.Println("a line of build/figures.jsonl cannot be read:", err)
				os.Exit(1)
			}
			lines = append(lines, l)
		}
		in.Close()
	}
	slices.SortStableFunc(lines, func(a, b line) int { return strings.Compare(a.Test, b.Test) })
	b, err := json.MarshalIndent(lines, "", " ")
	if err == nil {
		err = os.WriteFile("build/soak.json", append(b, '\n'), 0o644)
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	if !table(lines) {
		os.Exit(1)
	}
}

func table(lines []line) (good bool) {
	good = true
	head := line{"test", "figure", "limit", "verdict"}
	var width [3]int
	for _, l := range append([]line{head}, lines...) {
		for i, s := range []string{l.Test, l.Figure, l.Limit} {
			width[i] = max(width[i], min(utf8.RuneCountInString(s), 90))
		}
		good = good && l.Verdict != "FAILED"
	}
	for _, l := range append([]line{head}, lines...) {
		fmt.Printf("%-*s  %-*s  %-*s  %s\n", width[0], l.Test, width[1], l.Figure, width[2], l.Limit, l.Verdict)
	}
	return good
}
