package capture

import (
	"cmp"
	"fmt"
	"io"
	"strings"

	"nhip/hl7/describe"
)

// Text writes a decoded recording for people: frames and records with their places,
// fields with their numbers and names, results, and what is wrong. lang is "en" or
// "vi". What comes of the device is written so that a terminal does not obey it.
func Text(w io.Writer, o Output, lang string) error {
	t := &printer{w: w, lang: lang}
	t.line("%s %s%s", t.say("protocol", "giao thức"), o.Protocol, prefixed(", ", o.Form))
	for i, m := range o.Messages {
		t.message(i+1, o.Protocol, m)
	}
	if len(o.Problems) == 0 {
		t.line("\n%s", t.say("Nothing is wrong.", "Không có gì sai."))
		return t.err
	}
	t.line("\n%s", t.say("What is wrong:", "Những chỗ sai:"))
	for _, p := range o.Problems {
		t.line("  %s %d%s: %s", t.say("byte", "byte"), p.Offset, where(p.Conversation, p.From), clean(p.In(lang)))
	}
	return t.err
}

type printer struct {
	w    io.Writer
	lang string
	err  error
}

func (t *printer) line(format string, a ...any) {
	if t.err == nil {
		_, t.err = fmt.Fprintf(t.w, format+"\n", a...)
	}
}

func (t *printer) say(english, vietnamese string) string {
	if t.lang == "vi" {
		return vietnamese
	}
	return english
}

func prefixed(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}

func where(conversation, from string) string {
	return prefixed(" ", clean(conversation)) + prefixed(" ", from)
}

// clean makes control characters visible.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7F || 0x80 <= r && r < 0xA0 || r == 0x2028 || r == 0x2029 || 0x202A <= r && r <= 0x202E {
			return '·'
		}
		return r
	}, s)
}

func (t *printer) message(n int, protocol string, m Message) {
	t.line("\n%s %d, %s %d%s", t.say("Message", "Bản tin"), n, t.say("from byte", "từ byte"), m.Offset, where(m.Conversation, m.From))
	for _, f := range m.Frames {
		sum := t.say("checksum right", "checksum đúng")
		if !f.ChecksumOK {
			sum = t.say("CHECKSUM WRONG", "CHECKSUM SAI")
		}
		if f.Repeated {
			sum += ", " + t.say("sent again", "gửi lại")
		}
		t.line("  %s %d, %s %d: %d %s, %s, %s", t.say("frame", "khung"), f.Number, t.say("byte", "byte"), f.Offset, len(f.Text), t.say("characters", "ký tự"), cmp.Or(f.End, t.say("cut", "bị cắt")), sum)
	}
	for _, r := range m.Records {
		t.record(protocol, r)
	}
	for _, x := range m.Results {
		lane := ""
		if x.Control {
			lane = t.say(" [control material]", " [vật liệu nội kiểm]")
		}
		if !x.Declared {
			lane += t.say(" [code not declared]", " [mã chưa khai báo]")
		}
		t.line("  = %s %s %s = %s %s %s%s%s", t.say("specimen", "mẫu"), clean(x.Specimen), clean(x.Code), clean(x.Value), clean(x.Unit), clean(x.Flag), prefixed(" ", clean(x.Observed)), lane)
	}
}

func (t *printer) record(protocol string, r Record) {
	t.line("  %s%s", clean(r.Type), prefixed("  ", RecordName(protocol, r.Type, t.lang)))
	for i, text := range r.Fields {
		if i == 0 || text == "" {
			continue
		}
		path, name := r.Path(protocol, i), r.FieldName(protocol, i, t.lang)
		if runes := []rune(text); len(runes) > maxShown {
			text = string(runes[:maxShown]) + fmt.Sprintf("… (%d)", len(runes))
		}
		t.line("    %-7s %-28s %s", clean(path), name, clean(text))
	}
}

// RecordName is what a record or segment is, in a language; empty: not known.
func RecordName(protocol, recordType, lang string) string {
	if protocol == "hl7" {
		return describe.Segment(recordType).In(lang)
	}
	return recordNames[recordType].in(lang)
}

// Path is the place of Fields[i] as profiles and manuals write it: "R.4", "OBX-5", and
// "R.value" where a driver names the fields.
func (r Record) Path(protocol string, i int) string {
	switch {
	case i < len(r.Names):
		return r.Type + "." + r.Names[i]
	case protocol == "hl7":
		return fmt.Sprintf("%s-%d", r.Type, i)
	}
	return fmt.Sprintf("%s.%d", r.Type, i+1)
}

// FieldName is what Fields[i] is by the standard, in a language; empty: not known.
func (r Record) FieldName(protocol string, i int, lang string) string {
	switch {
	case len(r.Names) > 0:
		return ""
	case protocol == "hl7":
		return describe.Field(r.Type, i).In(lang)
	}
	return fieldNames[r.Path(protocol, i)].in(lang)
}

// maxShown is how many characters of a field are shown.
const maxShown = 200

type label struct{ english, vietnamese string }

func (l label) in(lang string) string {
	if lang == "vi" {
		return l.vietnamese
	}
	return l.english
}

// recordNames are the record types of LIS02-A2 section 6.
var recordNames = map[string]label{
	"H": {"header", "tiêu đề"}, "P": {"patient", "bệnh nhân"}, "O": {"order", "chỉ định"}, "R": {"result", "kết quả"},
	"C": {"comment", "ghi chú"}, "Q": {"request for information", "truy vấn"}, "M": {"manufacturer", "của hãng"},
	"S": {"scientific", "khoa học"}, "L": {"terminator", "kết thúc"},
}

// fieldNames are the fields of LIS02-A2 sections 6 to 13; field 1 is the record type.
var fieldNames = map[string]label{
	"H.2": {"delimiters", "ký tự phân cách"}, "H.3": {"message control ID", "mã bản tin"}, "H.5": {"sender", "bên gửi"}, "H.10": {"receiver", "bên nhận"},
	"H.11": {"comment", "ghi chú"}, "H.12": {"processing ID", "chế độ xử lý"}, "H.13": {"version", "phiên bản"}, "H.14": {"date and time", "ngày giờ"},
	"P.2": {"sequence number", "số thứ tự"}, "P.3": {"practice patient ID", "mã bệnh nhân (cơ sở)"}, "P.4": {"laboratory patient ID", "mã bệnh nhân (xét nghiệm)"}, "P.5": {"patient ID no. 3", "mã bệnh nhân thứ ba"},
	"P.6": {"patient name", "họ tên"}, "P.8": {"date of birth", "ngày sinh"}, "P.9": {"sex", "giới tính"}, "P.11": {"address", "địa chỉ"}, "P.13": {"telephone", "điện thoại"}, "P.14": {"physician", "bác sĩ"}, "P.26": {"location", "khoa phòng"},
	"O.2": {"sequence number", "số thứ tự"}, "O.3": {"specimen ID", "mã mẫu"}, "O.4": {"instrument specimen ID", "mã mẫu trên máy"}, "O.5": {"universal test ID", "mã xét nghiệm"}, "O.6": {"priority", "mức ưu tiên"},
	"O.7": {"ordered", "giờ chỉ định"}, "O.8": {"collected", "giờ lấy mẫu"}, "O.12": {"action code", "mã hành động"}, "O.15": {"received", "giờ nhận mẫu"}, "O.16": {"specimen descriptor", "loại mẫu"}, "O.17": {"ordering physician", "bác sĩ chỉ định"},
	"O.23": {"reported", "giờ báo kết quả"}, "O.26": {"report type", "loại báo cáo"},
	"R.2": {"sequence number", "số thứ tự"}, "R.3": {"universal test ID", "mã xét nghiệm"}, "R.4": {"value", "giá trị"}, "R.5": {"unit", "đơn vị"}, "R.6": {"reference range", "khoảng tham chiếu"}, "R.7": {"abnormal flags", "cờ bất thường"},
	"R.8": {"nature of abnormality", "loại kiểm tra bất thường"}, "R.9": {"result status", "trạng thái kết quả"}, "R.11": {"operator", "người vận hành"}, "R.12": {"test started", "giờ bắt đầu"}, "R.13": {"test completed", "giờ hoàn thành"}, "R.14": {"instrument", "máy"},
	"C.2": {"sequence number", "số thứ tự"}, "C.3": {"source", "nguồn"}, "C.4": {"text", "nội dung"}, "C.5": {"type", "loại"},
	"Q.2": {"sequence number", "số thứ tự"}, "Q.3": {"starting range ID", "từ mã"}, "Q.4": {"ending range ID", "đến mã"}, "Q.5": {"universal test ID", "mã xét nghiệm"}, "Q.13": {"status codes", "mã trạng thái"},
	"L.2": {"sequence number", "số thứ tự"}, "L.3": {"termination code", "mã kết thúc"},
}
