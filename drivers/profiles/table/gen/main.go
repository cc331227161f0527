// Command gen writes the tables of analysers. Its argument is the folder of the module.
package main

import (
	"log"
	"os"
	"path/filepath"

	"nhip/drivers/profile"
	"nhip/drivers/profiles/table"
)

func main() {
	all, err := profile.Builtin()
	if err != nil {
		log.Fatal(err)
	}
	for name, write := range table.Documents {
		file := filepath.Join(os.Args[1], name)
		doc, err := os.ReadFile(file)
		if err != nil {
			log.Fatal(err)
		}
		if doc, err = write(doc, all); err != nil {
			log.Fatalf("%s: %v", file, err)
		}
		if err := os.WriteFile(file, doc, 0o644); err != nil {
			log.Fatal(err)
		}
	}
}
