package config

import (
	"fmt"
	"io"
	"os"
	"slices"

	"nhip/gateway/codes"
	"nhip/gateway/reason"
)

// LoadCodes reads and checks a file with the table of an analyser's codes. The Table is
// nil where there is a problem that is no warning.
func LoadCodes(file string) (*codes.Table, []byte, []Problem) {
	text, err := readCodes(file)
	if err != nil {
		p := problemOf(0, "cannot be read: %s", unusable(err))
		p.File = file
		return nil, nil, []Problem{p}
	}
	t, problems := ReadCodes(text, file)
	return t, text, problems
}

func readCodes(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, codes.MaxSize+1))
}

// ReadCodes is LoadCodes of the text of a file, and its name for what is said of it.
func ReadCodes(text []byte, file string) (*codes.Table, []Problem) {
	t, wrong := codes.Read(text)
	var problems []Problem
	for _, w := range wrong {
		problems = append(problems, Problem{File: file, Line: w.Line, Text: w.In(reason.English), vietnamese: w.In(reason.Vietnamese), Warning: w.Warning})
	}
	return t, problems
}

// codeTables checks the files with the tables of analysers' codes.
func (k *checker) codeTables() {
	for i, a := range k.Analysers {
		if a.Codes == "" {
			continue
		}
		key, where := fmt.Sprintf("analyser[%d].codes", i), label("analyser", a.Name, i)
		t, _, problems := LoadCodes(a.Codes)
		k.problems = append(k.problems, problems...)
		if t == nil {
			k.wrong(key, where, "codes: %s cannot be used", a.Codes)
			continue
		}
		for n, c := range k.OrderCodes {
			if c.Analyser == a.Name && slices.ContainsFunc(t.Rows, func(r codes.Row) bool { return r.LISCode() == c.Order || slices.Contains(r.Ordered, c.Order) }) {
				k.note(fmt.Sprintf("order_code[%d].order", n), label("order_code", c.Analyser+" "+c.Order, n), "order %q stands in the code table of %s: that counts", c.Order, a.Name)
			}
		}
	}
}

// completeCodes resolves the file names of tables of codes.
func (c *Config) completeCodes(dir string) {
	for i := range c.Analysers {
		c.Analysers[i].Codes = under(dir, c.Analysers[i].Codes)
	}
}
