package config

import (
	"fmt"
	"slices"
)

// OrderCode is one [[order_code]]: what the code of a system is on an analyser.
type OrderCode struct {
	Analyser string   `toml:"analyser" need:"yes"`
	Order    string   `toml:"order" need:"yes"` // OBR-4.1, or its alternate code
	Tests    []string `toml:"tests" need:"yes"` // the analyser's codes
}

func (k *checker) orderCodes() {
	said := map[[2]string]string{}
	for i, c := range k.OrderCodes {
		key, where := fmt.Sprintf("order_code[%d]", i), label("order_code", c.Analyser+" "+c.Order, i)
		if c.Analyser != "" && !slices.ContainsFunc(k.Analysers, func(a Analyser) bool { return a.Name == c.Analyser }) {
			k.wrong(key+".analyser", where, "analyser %q is not in the file", c.Analyser)
		}
		at := [2]string{c.Analyser, c.Order}
		if other, ok := said[at]; ok {
			k.wrong(key+".order", where, "order %q of this analyser stands in %s too", c.Order, other)
		}
		said[at] = where
		for n, x := range c.Tests {
			if x == "" || slices.Index(c.Tests, x) < n {
				k.wrong(key+".tests", where, "tests: %q is empty or stands there twice", x)
			}
		}
	}
}
