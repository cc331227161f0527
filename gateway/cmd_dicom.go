package main

import (
	"fmt"
	"os"
	"path/filepath"

	"nhip/dicom/dump"
)

type dicomCommand struct {
	Dump     dicomDump     `cmd:"" help:"Print DICOM files, an element a line. Exit status 0: all were read, 1: one was not, or not to its end."`
	Echo     dicomEcho     `cmd:"" help:"Ask a peer whether it is there (C-ECHO). Exit status 0: it answered."`
	Probe    dicomProbe    `cmd:"" help:"Ask a peer what it accepts: SOP classes, transfer syntaxes, PDU length, roles, timing, in words."`
	Send     dicomSend     `cmd:"" help:"Send files and folders (C-STORE). Exit status 0: all were taken, 1: one was not."`
	Find     dicomFind     `cmd:"" help:"Query patients, studies, series or instances (C-FIND). Exit status 0: the query was answered."`
	Worklist dicomWorklist `cmd:"" help:"Query the modality worklist (C-FIND). Exit status 0: the query was answered."`
	Get      dicomGet      `cmd:"" help:"Retrieve a study, series or instance into a folder (C-GET). Exit status 0: all of it came."`
}

type dicomDump struct {
	Files []string `arg:"" name:"file" help:"Files; - is the standard input." type:"path"`
	JSON  bool     `help:"Print the DICOM JSON model, one line a file; long values are named by their place in the file." name:"json"`
	Lang  string   `help:"Language: en or vi; else that of the environment." enum:",en,vi" default:""`
	Whole bool     `help:"Print values whole, up to 1 MiB each."`
}

func (c *dicomDump) Run() (int, error) {
	status := exitGood
	for _, name := range c.Files {
		if len(c.Files) > 1 && !c.JSON {
			fmt.Printf("# %s\n", name)
		}
		if err := c.file(name); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
			status = exitBad
		}
	}
	return status, nil
}

func (c *dicomDump) file(name string) error {
	if filepath.Base(name) == "-" {
		if c.JSON {
			return spoken(c.Lang).errorf("JSON is printed of files only, not of the standard input")
		}
		return dump.Text(os.Stdout, os.Stdin, dump.Options{Whole: c.Whole})
	}
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if !c.JSON {
		return dump.Text(os.Stdout, f, dump.Options{Whole: c.Whole})
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return dump.JSON(os.Stdout, f, info.Size(), name)
}
