package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"nhip/hl7"
	"nhip/hl7/describe"
	"nhip/hl7/mllp"
)

type hl7Command struct {
	Show   hl7Show   `cmd:"" help:"Show messages: segments and fields with their names, character set and errors in words. Exit status 0: all can be read, 1: one cannot."`
	Send   hl7Send   `cmd:"" help:"Send messages, each once, and judge what they are answered. Exit status 0: all were accepted, 1: one was not."`
	Listen hl7Listen `cmd:"" help:"Receive messages into a folder and answer them, rightly or not."`
	Try    hl7Try    `cmd:"" help:"What would be sent to each destination and why, of a message or of what came before, with the map that is live or another one."`
	Test   hl7Test   `cmd:"" help:"Check maps of fields and run their tests. Exit status 0: good, 1: not."`
	Map    hl7Map    `cmd:"" help:"The maps of the links: make one live, undo it, look at them."`
}

// maxMessages bounds what is read of files with messages.
const maxMessages = 256 << 20

// A namedMessage is one message of a file.
type namedMessage struct {
	name string // of the file, with the number of the message where there are several
	body []byte
}

// messagesOf reads the messages of files and folders; "-" is the standard input. Batch
// and MLLP envelopes are taken off.
func messagesOf(names []string) ([]namedMessage, error) {
	var all []namedMessage
	total := 0
	for _, name := range names {
		files, err := filesOf(name)
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			b, err := readUpTo(file, maxMessages-total)
			if err != nil {
				return nil, err
			}
			total += len(b)
			messages := splitMessages(b)
			for i, m := range messages {
				shown := file
				if len(messages) > 1 {
					shown = fmt.Sprintf("%s[%d]", file, i+1)
				}
				all = append(all, namedMessage{shown, m})
			}
		}
	}
	return all, nil
}

// filesOf are the files of a folder in their order, or the file.
func filesOf(name string) ([]string, error) {
	if name == "-" {
		return []string{name}, nil
	}
	info, err := os.Stat(name)
	if err != nil || !info.IsDir() {
		return []string{name}, err
	}
	var files []string
	err = filepath.WalkDir(name, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && !strings.HasPrefix(d.Name(), ".") {
			files = append(files, path)
		}
		return err
	})
	slices.Sort(files)
	return files, err
}

func readUpTo(name string, limit int) ([]byte, error) {
	var in io.Reader = os.Stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, int64(limit)+1))
	if err == nil && len(b) > limit {
		err = fmt.Errorf("%s: more than %d MiB of messages", name, maxMessages>>20)
	}
	return b, err
}

// splitMessages takes messages out of their frames and batches. What is no message is
// one of its own, so that somebody says so.
func splitMessages(b []byte) [][]byte {
	if bytes.IndexByte(b, 0x0B) >= 0 {
		var framed [][]byte
		r := mllp.NewReceiver(maxMessages)
		for _, e := range append(r.Receive(b), r.TimedOut()...) {
			if f, ok := e.(mllp.Frame); ok {
				framed = append(framed, f.Content)
			}
		}
		if len(framed) > 0 {
			return framed
		}
	}
	if all := hl7.Split(b); len(all) > 0 {
		return all
	}
	return [][]byte{b}
}

type hl7Show struct {
	Files   []string `arg:"" name:"file" help:"Files and folders; - is the standard input."`
	Charset string   `help:"Read it in this character set, whatever MSH-18 says: of table 0211, or Windows-1252, TCVN3, VNI, VISCII, CP1258." placeholder:"NAME"`
	Lang    string   `help:"Language: en or vi; else that of the environment." enum:",en,vi" default:""`
	Long    int      `help:"Characters of a value that are shown." default:"200"`
	JSON    bool     `help:"Print JSON, an array with an object for each message." name:"json"`
}

func (c *hl7Show) Run() (int, error) {
	messages, err := messagesOf(c.Files)
	if err != nil {
		return exitBad, err
	}
	o := describe.Options{Language: language(c.Lang).String(), Charset: hl7.CharsetRule{Force: c.Charset}, Longest: c.Long}
	status := exitGood
	trees := []describe.Tree{}
	for i, m := range messages {
		if _, err := hl7.Parse(m.body); err != nil {
			status = exitBad
		}
		if c.JSON {
			tree, err := describe.Read(m.body, o)
			if err != nil {
				return exitBad, err
			}
			trees = append(trees, tree)
			continue
		}
		if len(messages) > 1 {
			fmt.Printf("%s# %s\n", strings.Repeat("\n", min(i, 1)), onOneLine(m.name))
		}
		if err := describe.Message(os.Stdout, m.body, o); err != nil {
			return exitBad, err
		}
	}
	if c.JSON {
		return status, indented(trees)
	}
	if len(messages) == 0 {
		return exitBad, errors.New("there is no message")
	}
	return status, nil
}
