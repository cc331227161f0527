// Command gen writes conformance.md into the current folder.
package main

import (
	"log"
	"os"

	"nhip/gateway/docs/conformance"
)

func main() {
	text, err := conformance.Generate()
	if err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile("conformance.md", text, 0o644); err != nil {
		log.Fatal(err)
	}
}
