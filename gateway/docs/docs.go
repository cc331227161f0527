// Package docs is the manual, in English and Vietnamese with equal contents. The
// console serves it under /manual; its tests hold it against the program.
package docs

import _ "embed"

// Manual in each language, as Markdown.
var (
	//go:embed manual.en.md
	English []byte
	//go:embed manual.vi.md
	Vietnamese []byte
)
