package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"nhip/gateway/codes"
	"nhip/gateway/config"
	"nhip/gateway/reason"
	"nhip/gateway/run"
)

type codesCommand struct {
	List     codesList     `cmd:"" default:"1" help:"Which analysers have a table of codes, and which version is live."`
	New      codesNew      `cmd:"" help:"Write a first table of an analyser's codes: those that it has sent and those that its profile declares."`
	Check    codesCheck    `cmd:"" help:"Check a table, in words, also against the analyser's profile. Exit status 0: good, 1: not."`
	Try      codesTry      `cmd:"" help:"Show what a table would change of the newest messages in the journal. Nothing is sent or stored."`
	Apply    codesApply    `cmd:"" help:"Make a table live, as a version with a name. It is tried on the journal first."`
	Show     codesShow     `cmd:"" help:"Print a version of the table as it was written."`
	Versions codesVersions `cmd:"" help:"The versions of a table: when, by whom, which is live."`
	Undo     codesUndo     `cmd:"" help:"Make the version live again that was live before the one that is."`
}

// inLanguage is the language of what is printed.
type inLanguage struct {
	Lang string `help:"Language: en or vi; else that of the environment." enum:",en,vi" default:""`
}

func (l inLanguage) language() reason.Language { return language(l.Lang) }

// Words of what is printed.
var (
	wordsCodesNone  = [2]string{"%s: no code table\n", "%s: không có bảng mã\n"}
	wordsCodesLive  = [2]string{"%s: version %d, %s, is live\n", "%s: phiên bản %d, %s, đang có hiệu lực\n"}
	wordsCodesGood  = [2]string{"%s is good: %d rows\n", "%s dùng được: %d dòng\n"}
	wordsCodesTried = [2]string{
		"the newest %d messages of %s: %d reports, %d results; %d results would be as they are now, %d not; %d reports would be held that are not now, %d would go on that are held now\n",
		"%d bản tin mới nhất của %s: %d phiếu, %d kết quả; %d kết quả không đổi, %d khác đi; %d phiếu sẽ bị giữ mà nay không bị, %d phiếu sẽ được gửi mà nay bị giữ\n"}
	wordsCodesTimes   = [2]string{"%d results", "%d kết quả"}
	wordsCodesBroken  = [2]string{"  cannot be used, its results are held: %s\n", "  không dùng được, kết quả bị giữ: %s\n"}
	wordsCodesWritten = [2]string{"%s is written: fill in the LIS codes, then `nhip codes check %s %s`\n", "đã ghi %s: hãy điền mã LIS, rồi chạy `nhip codes check %s %s`\n"}
	wordsCodesOf      = [2]string{"what the table does not have: %s", "bảng mã không có: %s"}
)

func printCodes(to io.Writer, a run.CodesAnswer, lang reason.Language) {
	if a.Version == 0 || a.Name == "" {
		fmt.Fprintf(to, wordsCodesNone[lang], a.Analyser)
		return
	}
	fmt.Fprintf(to, wordsCodesLive[lang], a.Analyser, a.Version, onOneLine(a.Name))
	if a.Broken != "" {
		fmt.Fprintf(to, wordsCodesBroken[lang], onOneLine(a.Broken))
	}
}

type codesList struct {
	person
	inLanguage
	JSON bool `help:"Print JSON." name:"json"`
}

func (c *codesList) Run() (int, error) {
	var l run.CodesList
	if err := c.ask("codes-list", struct{}{}, &l); err != nil {
		return exitBad, err
	}
	if c.JSON {
		return exitGood, indented(l)
	}
	for _, a := range l.Analysers {
		printCodes(os.Stdout, a, c.language())
	}
	return exitGood, nil
}

type codesNew struct {
	person
	inLanguage
	Analyser string `arg:"" help:"The [[analyser]]."`
	File     string `arg:"" optional:"" help:"The file to write, which must not exist; the standard output without it." type:"path"`
	Last     int    `help:"How many of the newest messages are looked at." default:"2000"`
}

func (c *codesNew) Run() (int, error) {
	lang := c.language()
	var a run.CodesAnswer
	if err := c.ask("codes-new", run.CodesRequest{Analyser: c.Analyser, Last: c.Last, Language: int(lang)}, &a); err != nil {
		return exitBad, err
	}
	if c.File == "" {
		_, err := os.Stdout.WriteString(a.Text)
		return exitGood, err
	}
	f, err := os.OpenFile(c.File, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return exitBad, err
	}
	_, err = f.WriteString(a.Text)
	if err = errors.Join(err, f.Close()); err != nil {
		return exitBad, err
	}
	fmt.Printf(wordsCodesWritten[lang], c.File, c.Analyser, c.File)
	return exitGood, nil
}

// codesFile reads a table; what is wrong with it is printed. ok is false where it cannot
// be used.
func codesFile(file string, lang reason.Language) (t *codes.Table, text string, ok bool) {
	t, b, problems := config.LoadCodes(file)
	for _, p := range problems {
		fmt.Fprintln(os.Stderr, p.In(lang))
	}
	return t, string(b), t != nil
}

type codesCheck struct {
	person
	inLanguage
	Analyser string `arg:"" help:"The [[analyser]]."`
	File     string `arg:"" help:"The table." type:"path"`
}

func (c *codesCheck) Run() (int, error) {
	lang := c.language()
	t, text, ok := codesFile(c.File, lang)
	if !ok {
		return exitBad, nil
	}
	var a run.CodesAnswer
	if err := c.ask("codes-check", run.CodesRequest{Analyser: c.Analyser, Text: text, Language: int(lang)}, &a); err != nil {
		return exitBad, err
	}
	for _, p := range a.Problems {
		fmt.Println(onOneLine(p))
	}
	fmt.Printf(wordsCodesGood[lang], c.File, len(t.Rows))
	return exitGood, nil
}

type codesTry struct {
	person
	inLanguage
	Analyser string `arg:"" help:"The [[analyser]]."`
	File     string `arg:"" help:"The table." type:"path"`
	Last     int    `help:"How many of the newest messages are looked at." default:"200"`
	Limit    int    `help:"Results that are shown one by one." default:"20"`
	JSON     bool   `help:"Print JSON." name:"json"`
}

func (c *codesTry) Run() (int, error) {
	lang := c.language()
	_, text, ok := codesFile(c.File, lang)
	if !ok {
		return exitBad, nil
	}
	var t run.CodesTry
	if err := c.ask("codes-try", run.CodesRequest{Analyser: c.Analyser, Text: text, Last: c.Last, Limit: c.Limit, Language: int(lang)}, &t); err != nil {
		return exitBad, err
	}
	if c.JSON {
		return exitGood, indented(t)
	}
	printCodesTry(os.Stdout, t, lang)
	return exitGood, nil
}

func printCodesTry(to io.Writer, t run.CodesTry, lang reason.Language) {
	fmt.Fprintf(to, wordsCodesTried[lang], t.Messages, t.Analyser, t.Reports, t.Results, t.Same, t.Differ, t.Held, t.Sent)
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	for _, x := range t.ByCode {
		fmt.Fprintf(w, "%s\t"+wordsCodesTimes[lang]+"\t%s\t→ %s\n", onOneLine(inUnit(x.Code, x.Unit)), x.Results, onOneLine(codedWords(x.Now, lang)), onOneLine(codedWords(x.Then, lang)))
	}
	w.Flush()
	for _, x := range t.Examples {
		fmt.Fprintf(to, "\n%s, %d: %s = %s\n  %s\n  → %s\n", x.Ref, x.Report, onOneLine(inUnit(x.Code, x.Unit)), onOneLine(x.Value), onOneLine(codedWords(x.Now, lang)), onOneLine(codedWords(x.Then, lang)))
	}
}

func inUnit(code, unit string) string {
	if unit == "" {
		return code
	}
	return code + " [" + unit + "]"
}

// codedWords is a result as it would be sent, on one line.
func codedWords(x run.Coded, lang reason.Language) string {
	if x.Held != "" {
		return outcomes["held"][lang] + ": " + x.Held
	}
	all := []string{x.Code, x.Name, x.Value, x.Unit}
	for _, p := range [][2]string{{"LOINC", x.LOINC}, {"UCUM", x.UCUM}, {"MA_MAY", x.MaMay}, {"", x.Range}} {
		if p[1] != "" {
			all = append(all, strings.TrimSpace(p[0]+" "+p[1]))
		}
	}
	if x.Why != "" {
		all = append(all, "("+fmt.Sprintf(wordsCodesOf[lang], x.Why)+")")
	}
	return strings.Join(strings.Fields(strings.Join(all, " ")), " ")
}

type codesApply struct {
	person
	inLanguage
	Analyser string `arg:"" help:"The [[analyser]]."`
	File     string `arg:"" help:"The table." type:"path"`
	As       string `help:"Name of the version." required:"" placeholder:"NAME"`
	Reason   string `help:"Why."`
	Last     int    `help:"How many of the newest messages it is tried on first; 0: none." default:"200"`
	Accept   bool   `help:"Make it live although reports would be held that are sent now."`
}

func (c *codesApply) Run() (int, error) {
	lang := c.language()
	_, text, ok := codesFile(c.File, lang)
	if !ok {
		return exitBad, nil
	}
	var a run.CodesAnswer
	err := c.ask("codes-apply", run.CodesChange{Analyser: c.Analyser, Name: c.As, Text: text, Reason: c.Reason, Last: c.Last, Accept: c.Accept, Language: int(lang)}, &a)
	if err != nil {
		return exitBad, err
	}
	for _, p := range a.Problems {
		fmt.Println(onOneLine(p))
	}
	if a.Tried != nil {
		a.Tried.Examples = nil
		printCodesTry(os.Stdout, *a.Tried, lang)
	}
	printCodes(os.Stdout, a, lang)
	return exitGood, nil
}

type codesShow struct {
	person
	Analyser string `arg:"" help:"The [[analyser]]."`
	Version  int    `arg:"" optional:"" help:"Its number; the one that is live without it."`
	JSON     bool   `help:"Print JSON." name:"json"`
}

func (c *codesShow) Run() (int, error) {
	var a run.CodesAnswer
	if err := c.ask("codes-show", run.CodesRequest{Analyser: c.Analyser, Version: c.Version}, &a); err != nil {
		return exitBad, err
	}
	if c.JSON {
		return exitGood, indented(a)
	}
	_, err := os.Stdout.WriteString(a.Text)
	return exitGood, err
}

type codesVersions struct {
	person
	Analyser string `arg:"" help:"The [[analyser]]."`
	JSON     bool   `help:"Print JSON." name:"json"`
}

func (c *codesVersions) Run() (int, error) {
	var a run.CodesAnswer
	if err := c.ask("codes-versions", run.CodesRequest{Analyser: c.Analyser}, &a); err != nil {
		return exitBad, err
	}
	if c.JSON {
		return exitGood, indented(a)
	}
	_, zone := c.zone()
	printVersions(os.Stdout, a.History, zone)
	return exitGood, nil
}

// printVersions prints the history of a map or table, one version a line.
func printVersions(to io.Writer, all []run.MapVersion, zone *time.Location) {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	for _, v := range all {
		mark, name := " ", v.Name
		if v.Live {
			mark = "*"
		}
		if v.None {
			name = "-"
		}
		fmt.Fprintf(w, "%s %d\t%s\t%s\t%s %s\t%s\n", mark, v.Version, onOneLine(name), v.At.In(zone).Format(time.DateTime), onOneLine(v.User), onOneLine(v.By), onOneLine(v.Why))
	}
	w.Flush()
}

type codesUndo struct {
	person
	inLanguage
	Analyser string `arg:"" help:"The [[analyser]]."`
	Reason   string `help:"Why."`
}

func (c *codesUndo) Run() (int, error) {
	var a run.CodesAnswer
	if err := c.ask("codes-undo", run.CodesChange{Analyser: c.Analyser, Reason: c.Reason}, &a); err != nil {
		return exitBad, err
	}
	printCodes(os.Stdout, a, c.language())
	return exitGood, nil
}
