package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"nhip/gateway/config"
	"nhip/gateway/journal"
	"nhip/gateway/reason"
	"nhip/gateway/run"
)

type hl7Test struct {
	Files  []string `arg:"" name:"map" help:"Files with maps of fields." type:"path"`
	Config string   `help:"Configuration file, for the time zone." type:"path" placeholder:"FILE"`
	Lang   string   `help:"Language: en or vi; else that of the environment." enum:",en,vi" default:""`
}

var testedWords = [2]string{"%s is good: map %s, %d tests.\n", "%s dùng được: bảng ánh xạ %s, %d phép thử.\n"}

func (c *hl7Test) Run() (int, error) {
	lang := language(c.Lang)
	cfg, ok := loadIn(lang, c.Config, nil)
	if !ok {
		return exitBad, nil
	}
	status := exitGood
	for _, file := range c.Files {
		m, _, problems := config.LoadMap(file, cfg.Site.TimeZone)
		for _, p := range problems {
			fmt.Fprintln(os.Stderr, p.In(lang))
		}
		if m == nil || !config.Good(problems) {
			status = exitBad
			continue
		}
		fmt.Printf(testedWords[lang], file, m.Name, m.Tests())
	}
	return status, nil
}

type hl7Try struct {
	person
	Link    string   `arg:"" help:"The device or system that sends, or the destination that it goes to: a name of the configuration; from/NAME or to/NAME where two have one."`
	Files   []string `arg:"" optional:"" name:"file" help:"Files with messages; - is the standard input."`
	Map     string   `help:"The map that is tried instead of the one that is live." type:"path" placeholder:"FILE"`
	Journal bool     `help:"Try it on what the journal has, instead of a file."`
	Since   string   `help:"With --journal: of that time or later: 1d, 2h, 08:15, 2026-01-14." default:"1d" placeholder:"TIME"`
	Limit   int      `help:"With --journal: differing messages that are shown." default:"20"`
	Lang    string   `help:"Language: en or vi; else that of the environment." enum:",en,vi" default:""`
	JSON    bool     `help:"Print JSON." name:"json"`
}

func (c *hl7Try) Run() (int, error) {
	text, err := mapText(c.Map)
	if err != nil {
		return exitBad, err
	}
	if c.Journal {
		if len(c.Files) > 0 {
			return exitBad, errors.New("give files or --journal")
		}
		return c.onJournal(text)
	}
	if len(c.Files) == 0 {
		return exitBad, errors.New("name a file with messages, or say --journal")
	}
	messages, err := messagesOf(c.Files)
	if err != nil {
		return exitBad, err
	}
	lang := language(c.Lang)
	for i, m := range messages {
		var a run.TryAnswer
		if err := c.ask("map-try", run.TryRequest{Link: c.Link, Message: m.body, Map: text, Language: int(lang)}, &a); err != nil {
			return exitBad, err
		}
		if c.JSON {
			if err := indented(a); err != nil {
				return exitBad, err
			}
			continue
		}
		if len(messages) > 1 {
			fmt.Printf("%s# %s\n", strings.Repeat("\n", min(i, 1)), onOneLine(m.name))
		}
		printTried(os.Stdout, a, lang)
	}
	return exitGood, nil
}

func mapText(file string) (string, error) {
	if file == "" {
		return "", nil
	}
	b, err := os.ReadFile(file)
	return string(b), err
}

// Words of what is printed.
var (
	outcomes = map[string][2]string{
		"unchanged": {"sent as it is", "gửi nguyên bản"}, "changed": {"sent", "được gửi"},
		"held": {"HELD", "BỊ GIỮ"}, "left out": {"NOT SENT", "KHÔNG GỬI"},
	}
	wordsFrom    = [2]string{"from the system", "từ hệ thống"}
	wordsTo      = [2]string{"to %s", "tới %s"}
	wordsNoMap   = [2]string{"no map", "không có bảng ánh xạ"}
	wordsMap     = [2]string{"map %s", "bảng ánh xạ %s"}
	wordsVersion = [2]string{", version %d", ", phiên bản %d"}
	wordsRule    = [2]string{"rule %s", "quy tắc %s"}
	wordsHeld    = [2]string{"held before any destination", "bị giữ trước khi tới nơi nhận"}
	wordsEnds    = [2]string{"goes nowhere: %s (%d)", "không gửi đi đâu: %s (%d)"}
	wordsNobody  = [2]string{"nothing would be sent", "không có gì được gửi"}
)

// printTried prints what a message would become.
func printTried(to io.Writer, a run.TryAnswer, lang reason.Language) {
	if a.From != nil {
		printOne(to, wordsFrom[lang], *a.From, lang)
	}
	for _, t := range a.Messages {
		printOne(to, fmt.Sprintf(wordsTo[lang], t.Destination), t, lang)
	}
	for _, h := range a.Held {
		fmt.Fprintf(to, "%s: %s\n", wordsHeld[lang], onOneLine(h))
	}
	for kind, n := range a.Consumed {
		fmt.Fprintf(to, wordsEnds[lang]+"\n", kind, n)
	}
	if len(a.Messages) == 0 && len(a.Held) == 0 && len(a.Consumed) == 0 && a.From == nil {
		fmt.Fprintln(to, wordsNobody[lang])
	}
}

func printOne(to io.Writer, where string, t run.Tried, lang reason.Language) {
	by := wordsNoMap[lang]
	if t.Map != "" {
		by = fmt.Sprintf(wordsMap[lang], onOneLine(t.Map))
	}
	if t.Version > 0 {
		by += fmt.Sprintf(wordsVersion[lang], t.Version)
	}
	fmt.Fprintf(to, "%s: %s %s (%s)\n", where, onOneLine(t.What), outcomes[t.Outcome][lang], by)
	if t.Why != "" {
		fmt.Fprintf(to, "  %s\n", onOneLine(t.Why))
	}
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	for _, f := range t.Fired {
		fmt.Fprintf(w, "  "+wordsRule[lang]+"\t%s\t%s\t%s → %s\n", onOneLine(f.Rule), f.Do, f.At, quote(f.Before), quote(f.After))
	}
	w.Flush()
	if t.Outcome != "changed" {
		return
	}
	for _, line := range journal.Lines(t.Message) {
		fmt.Fprintf(to, "  | %s\n", line)
	}
}

// quote is a value of a message for a terminal.
func quote(s string) string {
	if len(s) > 120 {
		s = s[:120] + "…"
	}
	return "«" + onOneLine(strings.ToValidUTF8(s, "·")) + "»"
}

func (c *hl7Try) onJournal(text string) (int, error) {
	_, zone := c.zone()
	since, err := sinceTime(c.Since, zone)
	if err != nil {
		return exitBad, err
	}
	var t run.JournalTry
	if err := c.ask("map-try-journal", run.TryRequest{Link: c.Link, Map: text, Since: since, Limit: c.Limit}, &t); err != nil {
		return exitBad, err
	}
	if c.JSON {
		return exitGood, indented(t)
	}
	printJournalTry(os.Stdout, t, zone, language(c.Lang))
	return exitGood, nil
}

// sinceTime is journal.ParseTime, with days as well: "1d".
func sinceTime(s string, zone *time.Location) (time.Time, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n > 0 && n < 100000 {
			return time.Now().AddDate(0, 0, -n), nil
		}
	}
	return journal.ParseTime(s, zone, time.Now())
}

var (
	wordsSummary = [2]string{
		"%s since %s: %d messages; %d would be as they are, %d not: %d held that are not held now, %d not sent that are sent now, %d sent that are not sent now\n",
		"%s từ %s: %d bản tin; %d không đổi, %d khác đi: %d bị giữ mà nay không bị, %d không gửi mà nay có gửi, %d được gửi mà nay không gửi\n"}
	wordsPlaces  = [2]string{"rule %s would change %d places\n", "quy tắc %s sẽ sửa %d chỗ\n"}
	wordsPartial = [2]string{"there is more in this time than was looked at\n", "trong khoảng này còn nhiều bản tin chưa được xem\n"}
)

func printJournalTry(to io.Writer, t run.JournalTry, zone *time.Location, lang reason.Language) {
	fmt.Fprintf(to, wordsSummary[lang], t.Link, t.Since.In(zone).Format(time.DateTime), t.Messages, t.Same, t.Differ, t.Held, t.LeftOut, t.NowSent)
	for _, rule := range t.ByRule() {
		fmt.Fprintf(to, wordsPlaces[lang], onOneLine(rule), t.Rules[rule])
	}
	if t.Partial {
		fmt.Fprint(to, wordsPartial[lang])
	}
	for _, x := range t.Examples {
		fmt.Fprintf(to, "\n%s %s: %s → %s\n", x.Ref, onOneLine(x.What), outcomes[x.Now][lang], outcomes[x.Then][lang])
		if x.Why != "" {
			fmt.Fprintf(to, "  %s\n", onOneLine(x.Why))
		}
		w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
		for _, d := range x.Differences {
			fmt.Fprintf(w, "  %s\t%s → %s\n", d.At, quote(d.Before), quote(d.After))
		}
		w.Flush()
	}
}

type hl7Map struct {
	Activate mapActivate `cmd:"" help:"Make a map live on a link, as a version with a name. It is tried on the journal first."`
	Undo     mapUndo     `cmd:"" help:"Make the version live again that was live before the one that is."`
	List     mapList     `cmd:"" help:"The versions of a link's map: when, by whom, which is live."`
	Show     mapShow     `cmd:"" help:"Print a version as it was written."`
}

type mapActivate struct {
	person
	Link   string `arg:"" help:"The [[hl7_peer]] or [[destination]]: its name, or from/NAME, to/NAME."`
	File   string `arg:"" help:"The map." type:"path"`
	As     string `help:"Name of the version." required:"" placeholder:"NAME"`
	Reason string `help:"Why."`
	Since  string `help:"What came since then is tried first: 1d, 2h, 2026-01-14; 0: nothing is." default:"1d" placeholder:"TIME"`
	Accept bool   `help:"Make it live although messages would be held or not sent that are sent now."`
	Lang   string `help:"Language: en or vi; else that of the environment." enum:",en,vi" default:""`
}

var (
	wordsLive   = [2]string{"%s: version %d, %s, is live.\n", "%s: phiên bản %d, %s, đang có hiệu lực.\n"}
	wordsNoLive = [2]string{"%s has no map now.\n", "%s hiện không có bảng ánh xạ.\n"}
)

func (c *mapActivate) Run() (int, error) {
	lang := language(c.Lang)
	cfg, ok := loadIn(lang, c.Config, nil)
	if !ok {
		return exitBad, nil
	}
	m, text, problems := config.LoadMap(c.File, cfg.Site.TimeZone)
	for _, p := range problems {
		fmt.Fprintln(os.Stderr, p.In(lang))
	}
	if m == nil || !config.Good(problems) {
		return exitBad, nil
	}
	r := run.MapChange{Link: c.Link, Name: c.As, Text: string(text), Reason: c.Reason, Accept: c.Accept}
	if c.Since != "0" {
		since, err := sinceTime(c.Since, cfg.Site.TimeZone)
		if err != nil {
			return exitBad, err
		}
		r.Since = since
	}
	var a run.MapAnswer
	if err := c.ask("map-activate", r, &a); err != nil {
		return exitBad, err
	}
	if a.Tried != nil {
		a.Tried.Examples = nil
		printJournalTry(os.Stdout, *a.Tried, cfg.Site.TimeZone, lang)
	}
	fmt.Printf(wordsLive[lang], a.Link, a.Version, a.Name)
	return exitGood, nil
}

type mapUndo struct {
	person
	Link   string `arg:"" help:"The [[hl7_peer]] or [[destination]]."`
	Reason string `help:"Why."`
	Lang   string `help:"Language: en or vi; else that of the environment." enum:",en,vi" default:""`
}

func (c *mapUndo) Run() (int, error) {
	var a run.MapAnswer
	if err := c.ask("map-undo", run.MapChange{Link: c.Link, Reason: c.Reason}, &a); err != nil {
		return exitBad, err
	}
	if a.Version == 0 || a.Name == "" {
		fmt.Printf(wordsNoLive[language(c.Lang)], a.Link)
		return exitGood, nil
	}
	fmt.Printf(wordsLive[language(c.Lang)], a.Link, a.Version, a.Name)
	return exitGood, nil
}

type mapList struct {
	person
	Link string `arg:"" help:"The [[hl7_peer]] or [[destination]]."`
	JSON bool   `help:"Print JSON." name:"json"`
}

func (c *mapList) Run() (int, error) {
	var a run.MapAnswer
	if err := c.ask("map-list", run.MapRequest{Link: c.Link}, &a); err != nil {
		return exitBad, err
	}
	if c.JSON {
		return exitGood, indented(a)
	}
	_, zone := c.zone()
	printVersions(os.Stdout, a.History, zone)
	return exitGood, nil
}

type mapShow struct {
	person
	Link    string `arg:"" help:"The [[hl7_peer]] or [[destination]]."`
	Version int    `arg:"" optional:"" help:"Its number; the one that is live without it."`
}

func (c *mapShow) Run() (int, error) {
	var a run.MapAnswer
	if err := c.ask("map-show", run.MapRequest{Link: c.Link, Version: c.Version}, &a); err != nil {
		return exitBad, err
	}
	_, err := os.Stdout.WriteString(a.Text)
	if err != nil {
		return exitBad, err
	}
	return exitGood, nil
}
