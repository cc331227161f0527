package codes

import (
	"bytes"
	"encoding/csv"
	"slices"
	"strconv"
	"strings"

	"nhip/gateway/reason"
)

// separator is what stands between the cells of a table that is written: where the comma
// is the decimal sign, as in Vietnam, a spreadsheet opens no other.
const separator = ';'

// Write is the table as a file: UTF-8 with the mark by which Excel knows it. Reading it
// gives the same table.
func (t *Table) Write(l reason.Language) []byte {
	b := bytes.NewBufferString(bom)
	w := csv.NewWriter(b)
	w.Comma, w.UseCRLF = separator, true
	put := func(cells ...string) {
		for i := range cells[1:] {
			cells[i+1] = guarded(cells[i+1])
		}
		_ = w.Write(cells) // the buffer takes everything
	}
	t.head(put, l)
	var heads []string
	for _, c := range columns {
		heads = append(heads, [...]string{c.english, c.vietnamese}[l])
	}
	put(heads...)
	for _, r := range t.Rows {
		factor, decimals := "", ""
		if r.Factor != "" {
			factor, decimals = "x"+r.Factor, strconv.Itoa(r.Decimals)
		}
		code := guarded(r.Code)
		if strings.HasPrefix(code, "#") { // it is no line about the table
			code = "'" + code
		}
		put(code, r.Unit, r.LIS, r.Name, r.LOINC, r.LISUnit, r.UCUM, factor, decimals, r.From, r.Until, strings.Join(r.Ordered, " "), r.Note)
	}
	w.Flush()
	return b.Bytes()
}

// head writes what is about the table as a whole.
func (t *Table) head(put func(...string), l reason.Language) {
	if t.MaMay != "" {
		put("#ma_may", t.MaMay)
	}
	for _, p := range []struct {
		name, value string
		why         text
	}{
		{"unknown_code", t.UnknownCode, text{"a code of the analyser without a row: hold or pass", "mã máy không có dòng nào: hold (giữ) hoặc pass (cho qua)"}},
		{"unknown_unit", t.UnknownUnit, text{"a unit that no row of the code has", "đơn vị không có ở dòng nào của mã đó"}},
		{"not_number", t.NotNumber, text{"a value that is to be converted and is no number", "giá trị cần quy đổi nhưng không phải là số"}},
		{"duplicate", t.Duplicate, text{"two codes of one report with one LIS code", "hai mã máy trong một phiếu có cùng mã LIS"}},
		{"unknown_lot", t.UnknownLot, text{"control material of a lot without #control_lot", "nội kiểm có số lô không ghi ở #control_lot"}},
	} {
		put("#"+p.name, p.value, p.why[l])
	}
	for _, x := range t.Lots {
		put("#control_lot", x.Lot, x.Name, x.From, x.Until)
	}
	for _, x := range t.Controls {
		put("#control_specimen", x)
	}
}

// months begin what a spreadsheet takes for a day, as MAR1.
var months = []string{"JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"}

// guarded is a cell that a spreadsheet leaves as it is: with an apostrophe before what
// it would take for a number, a day, a truth value or a formula. Plain whole numbers of
// up to eight digits without a leading zero, and decimals and days with them, it leaves.
func guarded(s string) string {
	if s == "" {
		return s
	}
	upper := strings.ToUpper(s)
	switch {
	case strings.ContainsRune("=+-@'.", rune(s[0])), upper == "TRUE", upper == "FALSE":
	case s[0] >= '0' && s[0] <= '9' && (s[0] == '0' && len(s) > 1 || len(s) > 8 || strings.Trim(s, "0123456789") != ""):
	case len(upper) > 3 && slices.Contains(months, upper[:3]) && strings.ContainsAny(s, "0123456789"):
	default:
		return s
	}
	return "'" + s
}

// A Seen is a code in a unit that an analyser has sent.
type Seen struct {
	Code, Unit, Name string
	Example          string
	Times            int
}

// A Declared is a test of the analyser's profile.
type Declared struct{ Code, Name, LOINC string }

// Draft is a first table of what an analyser has sent and what its profile declares. Its
// LIS codes are empty, which leaves the analyser's own: the site fills them in.
func Draft(seen []Seen, declared []Declared) *Table {
	t := &Table{UnknownCode: Hold, UnknownUnit: Hold, NotNumber: Pass, Duplicate: Hold, UnknownLot: Pass}
	had := map[string]bool{}
	for _, s := range seen {
		had[s.Code] = true
		r := Row{Code: s.Code, Unit: s.Unit, Name: s.Name, Note: s.Example}
		if i := slices.IndexFunc(declared, func(d Declared) bool { return d.Code == s.Code }); i >= 0 {
			r.LOINC = declared[i].LOINC
			if r.Name == "" {
				r.Name = declared[i].Name
			}
		}
		t.Rows = append(t.Rows, r)
	}
	for _, d := range declared {
		if !had[d.Code] {
			t.Rows = append(t.Rows, Row{Code: d.Code, Unit: AnyUnit, Name: d.Name, LOINC: d.LOINC})
		}
	}
	t.index()
	return t
}
