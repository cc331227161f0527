// Package docs is the manual, in English and Vietnamese with equal contents, and the
// DICOM conformance statement. The console serves them under /manual; tests hold them
// against the program.
package docs

import _ "embed"

//go:generate go run ./conformance/gen

// Manual in each language, and the conformance statement, as Markdown.
var (
	//go:embed manual.en.md
	English []byte
	//go:embed manual.vi.md
	Vietnamese []byte
	//go:embed conformance.md
	Conformance []byte
)
