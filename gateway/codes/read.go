package codes

import (
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"nhip/gateway/reason"
)

// The file is CSV because the people who keep such a table keep it in a spreadsheet and
// print it from there. Spreadsheets read more into a cell than it says: 01001 becomes
// 1001, 18.015 becomes 18015 where the point separates thousands, MAR1 becomes a day. So
// it is written such that none of it can be taken for anything else: a code that looks
// like a number or a day has an apostrophe before it, which is no part of the code; a
// factor begins with x; a day is eight digits. A factor without x is refused.

// Limits of a file.
const (
	MaxSize = 1 << 20 // bytes
	maxRows = 5000
	maxCell = 200 // characters
)

// bom is what Excel knows UTF-8 by.
const bom = "\xEF\xBB\xBF"

// A Problem is what is wrong with a table.
type Problem struct {
	Line    int // 0: of the file as a whole
	Warning bool
	text    text
	args    []any
}

// In is the problem in words.
func (p Problem) In(l reason.Language) string { return p.text.in(l, p.args) }

// Good reports whether there are no problems but warnings.
func Good(problems []Problem) bool {
	return !slices.ContainsFunc(problems, func(p Problem) bool { return !p.Warning })
}

// columns by what stands at their head, in English or Vietnamese; and the order in which
// they are written.
var columns = []struct{ name, english, vietnamese string }{
	{"code", "code", "mã máy"}, {"unit", "unit", "đơn vị máy"}, {"lis", "lis_code", "mã lis"}, {"name", "name", "tên"},
	{"loinc", "loinc", "loinc"}, {"lis_unit", "lis_unit", "đơn vị lis"}, {"ucum", "ucum", "ucum"},
	{"factor", "factor", "hệ số"}, {"decimals", "decimals", "số lẻ"}, {"from", "from", "từ ngày"}, {"until", "until", "đến ngày"},
	{"ordered", "ordered_by", "chỉ định bởi"}, {"note", "note", "ghi chú"},
}

func columnOf(head string) string {
	head = strings.ToLower(strings.Join(strings.Fields(head), " "))
	for _, c := range columns {
		if head == c.english || head == c.vietnamese {
			return c.name
		}
	}
	return ""
}

// A parser reads one file.
type parser struct {
	t        *Table
	problems []Problem
	at       []string // names of the columns
	line     int
	set      map[string]bool
}

func (p *parser) wrong(t text, args ...any) {
	p.problems = append(p.problems, Problem{Line: p.line, text: t, args: args})
}

func (p *parser) warn(t text, args ...any) {
	p.problems = append(p.problems, Problem{Line: p.line, Warning: true, text: t, args: args})
}

// Read reads and checks a table: CSV in UTF-8 with a comma, semicolon or tabulator
// between the cells. The Table is nil where there is a problem that is no warning.
func Read(file []byte) (*Table, []Problem) {
	p := &parser{t: &Table{}, set: map[string]bool{}}
	p.read(bytes.TrimPrefix(file, []byte(bom)))
	p.defaults()
	p.t.index()
	p.line = 0
	if Good(p.problems) {
		p.together()
	}
	slices.SortStableFunc(p.problems, func(a, b Problem) int { return a.Line - b.Line })
	if !Good(p.problems) {
		return nil, p.problems
	}
	return p.t, p.problems
}

func (p *parser) read(file []byte) {
	switch {
	case len(file) > MaxSize:
		p.wrong(textTooLarge, MaxSize>>10)
		return
	case !utf8.Valid(file):
		p.wrong(textNotUTF8)
		return
	}
	file, skipped := withoutSep(file)
	separator, ok := separatorOf(file)
	if !ok {
		p.wrong(textNoHeading)
		return
	}
	r := csv.NewReader(bytes.NewReader(file))
	r.Comma, r.FieldsPerRecord, r.LazyQuotes, r.ReuseRecord = separator, -1, true, true
	for {
		cells, err := r.Read()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			p.line = 0
			p.wrong(textNotCSV, err)
			return
		}
		p.line, _ = r.FieldPos(0)
		p.line += skipped
		if !p.cells(cells) {
			return
		}
	}
}

// withoutSep takes away the line by which Excel is told the separator.
func withoutSep(file []byte) (rest []byte, lines int) {
	first, rest, _ := bytes.Cut(file, []byte("\n"))
	if s := strings.ToLower(strings.TrimSpace(string(first))); strings.HasPrefix(strings.Trim(s, `"`), "sep=") {
		return rest, 1
	}
	return file, 0
}

// separatorOf is what stands between the cells: what the line of headings has.
func separatorOf(file []byte) (rune, bool) {
	for line := range bytes.Lines(file) {
		for _, s := range []rune{';', '\t', ','} {
			first, _, found := strings.Cut(strings.TrimRight(string(line), "\r\n"), string(s))
			if found && columnOf(cell(strings.Trim(first, `"`))) == "code" {
				return s, true
			}
		}
	}
	return 0, false
}

// cell is what a cell says: without blanks around it, the apostrophe before it, or the
// form ="01001" of a spreadsheet.
func cell(s string) string {
	s = strings.TrimSpace(s)
	if inner, ok := strings.CutPrefix(s, `="`); ok && strings.HasSuffix(inner, `"`) {
		return strings.TrimSpace(strings.TrimSuffix(inner, `"`))
	}
	return strings.TrimPrefix(s, "'")
}

// cells reads one line; it reports whether the next is to be read.
func (p *parser) cells(all []string) bool {
	empty, directive := true, strings.HasPrefix(strings.TrimSpace(all[0]), "#")
	for i := range all {
		all[i] = cell(all[i])
		empty = empty && all[i] == ""
		if utf8.RuneCountInString(all[i]) > maxCell && !directive || strings.ContainsFunc(all[i], unicode.IsControl) {
			p.wrong(textCell, i+1, maxCell)
			return true
		}
	}
	switch {
	case empty:
	case directive:
		p.directive(all)
	case p.at == nil:
		p.heading(all)
	case len(p.t.Rows) == maxRows:
		p.wrong(textTooManyRows, maxRows)
		return false
	default:
		p.row(all)
	}
	return true
}

func (p *parser) heading(all []string) {
	p.at = make([]string, len(all))
	for i, head := range all {
		if head == "" {
			continue
		}
		name := columnOf(head)
		if name == "" || slices.Contains(p.at, name) {
			p.wrong(textColumn, head)
		}
		p.at[i] = name
	}
	if !slices.Contains(p.at, "code") {
		p.wrong(textNoHeading)
	}
}

// directive reads a line that is about the table as a whole: #unknown_code;hold
func (p *parser) directive(all []string) {
	arg := func(i int) string {
		if i < len(all) {
			return all[i]
		}
		return ""
	}
	name := strings.ToLower(strings.TrimSpace(strings.TrimPrefix(all[0], "#")))
	policies := map[string]*string{"unknown_code": &p.t.UnknownCode, "unknown_unit": &p.t.UnknownUnit, "not_number": &p.t.NotNumber, "duplicate": &p.t.Duplicate, "unknown_lot": &p.t.UnknownLot}
	if policy := policies[name]; policy != nil || name == "ma_may" {
		if p.set[name] {
			p.wrong(textTwice, "#"+name)
		}
		p.set[name] = true
	}
	switch policy := policies[name]; {
	case policy != nil:
		if *policy = strings.ToLower(arg(1)); *policy != Hold && *policy != Pass {
			p.wrong(textPolicy, "#"+name)
		}
	case name == "ma_may":
		p.maMay(arg(1))
	case name == "control_lot":
		l := Lot{Line: p.line, Lot: arg(1), Name: arg(2), From: p.day(arg(3)), Until: p.day(arg(4))}
		if l.Lot == "" {
			p.wrong(textEmpty, "#"+name)
		}
		p.t.Lots = append(p.t.Lots, l)
	case name == "control_specimen":
		if strings.Trim(arg(1), "*") == "" {
			p.wrong(textEmpty, "#"+name)
		}
		p.t.Controls = append(p.t.Controls, arg(1))
	case name == "" || strings.HasPrefix(all[0], "# "): // a remark
	default:
		p.wrong(textDirective, all[0])
	}
}

// maMayForm is XX.n.YYYYY.Z of the annex to the insurance data: the group of machines,
// how it was paid for, the facility, the serial number.
var maMayForm = regexp.MustCompile(`^\p{Lu}{2,3}\.(?:[12]\.[0-9]{5}|3[^.]*(?:\.[0-9]{5})?)\.[^\s]+$`)

// maxMaMay is the length of MA_MAY in the insurance data.
const maxMaMay = 1024

func (p *parser) maMay(code string) {
	p.t.MaMay = code
	switch {
	case code == "":
		p.wrong(textEmpty, "#ma_may")
	case len([]rune(code)) > maxMaMay:
		p.wrong(textCell, 2, maxMaMay)
	case !maMayForm.MatchString(strings.Split(code, ";")[0]):
		p.warn(textMaMay, code)
	}
}

// day reads a day: eight digits, or as in 2026-01-31.
func (p *parser) day(s string) string {
	if s == "" {
		return ""
	}
	for _, form := range []string{day, time.DateOnly} {
		if d, err := time.Parse(form, s); err == nil {
			return d.Format(day)
		}
	}
	p.wrong(textDay, s)
	return ""
}

var (
	factorForm  = regexp.MustCompile(`^[xX×*] ?([0-9]{1,30}(?:\.[0-9]{1,30})?)$`)
	bareNumber  = regexp.MustCompile(`^[0-9.,]+$`)
	loincForm   = regexp.MustCompile(`^[0-9]{1,7}-[0-9]$`)
	spoiltForm  = regexp.MustCompile(`^[0-9](?:[.,][0-9]+)?E[+-][0-9]+$|^#(?:N/A|NAME\?|REF!|VALUE!)$`)
	ucumForm    = regexp.MustCompile(`^[!-~]+$`)
	maxDecimals = 10
)

func (p *parser) row(all []string) {
	before := len(p.problems)
	get := func(name string) string {
		if i := slices.Index(p.at, name); i >= 0 && i < len(all) {
			return all[i]
		}
		return ""
	}
	if extra := all[min(len(p.at), len(all)):]; strings.Join(extra, "") != "" {
		p.wrong(textMore, len(p.at))
	}
	r := Row{
		Line: p.line, Code: get("code"), Unit: get("unit"), LIS: get("lis"), Name: get("name"), LOINC: get("loinc"), LISUnit: get("lis_unit"),
		UCUM: get("ucum"), From: p.day(get("from")), Until: p.day(get("until")), Ordered: strings.Fields(get("ordered")), Note: get("note"),
	}
	p.factor(&r, get("factor"), get("decimals"))
	switch {
	case r.Code == "":
		p.wrong(textEmpty, "code")
	case spoiltForm.MatchString(r.Code), spoiltForm.MatchString(r.LIS):
		p.warn(textSpoilt, r.Code)
	}
	if r.LOINC != "" && !loinc(r.LOINC) {
		p.wrong(textLOINC, r.LOINC)
	}
	if r.UCUM != "" && !ucumForm.MatchString(r.UCUM) {
		p.wrong(textUCUM, r.UCUM)
	}
	if r.From != "" && r.Until != "" && r.Until < r.From {
		p.wrong(textBackwards, r.Code)
	}
	if len(p.problems) == before || Good(p.problems[before:]) {
		p.t.Rows = append(p.t.Rows, r)
	}
}

func (p *parser) factor(r *Row, factor, decimals string) {
	if factor == "" {
		if decimals != "" {
			p.wrong(textDecimalsAlone)
		}
		return
	}
	m := factorForm.FindStringSubmatch(factor)
	n, err := strconv.Atoi(decimals)
	switch {
	case m == nil && bareNumber.MatchString(factor):
		p.wrong(textBare, factor)
		return
	case m == nil:
		p.wrong(textFactor, factor)
		return
	case err != nil || n < 0 || n > maxDecimals:
		p.wrong(textDecimals, maxDecimals)
		return
	}
	r.Factor, r.Decimals = m[1], n
	r.factor, _ = new(big.Rat).SetString(m[1])
	switch {
	case r.factor.Sign() == 0:
		p.wrong(textFactor, factor)
	case r.LISUnit == "":
		p.wrong(textNoUnit)
	case r.Unit == AnyUnit:
		p.wrong(textAnyUnit)
	}
}

// loinc reports whether the check digit of a LOINC code is right: mod 10, LOINC users'
// guide, annex C.
func loinc(code string) bool {
	if !loincForm.MatchString(code) {
		return false
	}
	digits := strings.ReplaceAll(code, "-", "")
	sum := 0
	for i := range len(digits) {
		d := int(digits[len(digits)-1-i] - '0')
		if i%2 == 1 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return sum%10 == 0
}

func (p *parser) defaults() {
	or := func(policy *string, otherwise string) {
		if *policy == "" {
			*policy = otherwise
		}
	}
	unknown := Pass
	if len(p.t.Rows) > 0 {
		unknown = Hold
	}
	or(&p.t.UnknownCode, unknown)
	or(&p.t.UnknownUnit, Hold)
	or(&p.t.NotNumber, Pass)
	or(&p.t.Duplicate, Hold)
	or(&p.t.UnknownLot, Pass)
}

// together checks the rows against each other.
func (p *parser) together() {
	for _, at := range p.t.byCode {
		for n, i := range at {
			for _, j := range at[:n] {
				if a, b := p.t.Rows[i], p.t.Rows[j]; a.Unit == b.Unit && a.overlaps(b) {
					p.line = a.Line
					p.wrong(textRowTwice, a.Code, b.Line)
				}
			}
		}
	}
	for order, at := range p.t.byLIS {
		for n, i := range at {
			for _, j := range at[:n] {
				a, b := p.t.Rows[i], p.t.Rows[j]
				if a.LISCode() == order && b.LISCode() == order && a.Code != b.Code && a.overlaps(b) {
					p.line = a.Line
					p.warn(textSameLIS, order, b.Line)
				}
			}
		}
	}
	if p.t.UnknownLot == Hold && len(p.t.Lots) == 0 {
		p.line = 0
		p.warn(textNoLots)
	}
}
