package codes

import (
	"fmt"

	"nhip/gateway/reason"
)

// A text is said of a table, in English and Vietnamese, with {0}, {1} … for its
// arguments.
type text [2]string

func (t text) in(l reason.Language, args []any) string {
	words := make([]string, len(args))
	for i, a := range args {
		words[i] = fmt.Sprint(a)
	}
	return reason.Fill(t[l], words)
}

// What can be wrong with a table.
var (
	textTooLarge      = text{`the file is larger than {0} KiB`, `tệp lớn hơn {0} KiB`}
	textNotUTF8       = text{`the file is not UTF-8: in the spreadsheet choose "CSV UTF-8" when saving`, `tệp không phải UTF-8: khi lưu trong bảng tính hãy chọn "CSV UTF-8"`}
	textNotCSV        = text{`this is not CSV: {0}`, `không phải CSV: {0}`}
	textNoHeading     = text{`there is no line of headings that begins with "code" and has a comma, semicolon or tabulator behind it`, `không có dòng tiêu đề bắt đầu bằng "code" (hoặc "mã máy") và có dấu phẩy, chấm phẩy hoặc tab phía sau`}
	textCell          = text{`column {0} has control characters, or over {1} characters`, `cột {0} có ký tự điều khiển, hoặc dài hơn {1} ký tự`}
	textColumn        = text{`the heading "{0}" is not known, or stands there twice`, `tiêu đề cột "{0}" không có, hoặc được ghi hai lần`}
	textMore          = text{`there is something behind the {0} columns of the headings`, `có dữ liệu nằm ngoài {0} cột có tiêu đề`}
	textTooManyRows   = text{`there are more than {0} rows`, `có hơn {0} dòng`}
	textDirective     = text{`"{0}" is not known: there are #ma_may, #unknown_code, #unknown_unit, #not_number, #duplicate, #unknown_lot, #control_lot, #control_specimen, and # followed by a blank for a remark`, `không có "{0}": chỉ có #ma_may, #unknown_code, #unknown_unit, #not_number, #duplicate, #unknown_lot, #control_lot, #control_specimen, và # rồi dấu cách cho ghi chú`}
	textTwice         = text{`"{0}" stands there twice`, `"{0}" được ghi hai lần`}
	textPolicy        = text{`{0}: write hold or pass behind it`, `{0}: hãy ghi hold (giữ) hoặc pass (cho qua) ở ô sau`}
	textEmpty         = text{`{0} is empty`, `{0} bị trống`}
	textMaMay         = text{`MA_MAY "{0}" does not follow the rule XX.n.YYYYY.Z (group of machines, 1 to 3, code of the facility, serial number); it is sent as it is`, `MA_MAY "{0}" không theo nguyên tắc XX.n.YYYYY.Z (nhóm máy, 1 đến 3, mã cơ sở, số sê-ri); vẫn được gửi nguyên như vậy`}
	textDay           = text{`"{0}" is no day: write it as 20260131, which no spreadsheet changes`, `"{0}" không phải là ngày: hãy viết 20260131, dạng mà bảng tính không tự đổi`}
	textBackwards     = text{`"{0}" ends before it begins`, `"{0}" hết hạn trước khi có hiệu lực`}
	textBare          = text{`factor "{0}": write x before it, as x0.0555, so that no spreadsheet takes it for another number`, `hệ số "{0}": hãy viết x phía trước, như x0.0555, để bảng tính không hiểu thành số khác`}
	textFactor        = text{`factor "{0}": it is x and a number above 0 with a decimal point, as x0.0555`, `hệ số "{0}": phải là x rồi một số lớn hơn 0 dùng dấu chấm thập phân, như x0.0555`}
	textDecimals      = text{`a factor needs decimals, 0 to {0}`, `có hệ số thì phải ghi số lẻ, từ 0 đến {0}`}
	textDecimalsAlone = text{`decimals without a factor: a value that is not converted stays as the analyser sent it`, `có số lẻ mà không có hệ số: giá trị không quy đổi được giữ nguyên như máy gửi`}
	textNoUnit        = text{`a factor needs lis_unit: the unit that it converts to`, `có hệ số thì phải ghi đơn vị LIS: đơn vị sau khi quy đổi`}
	textAnyUnit       = text{`a factor needs the unit that it converts from, not *`, `có hệ số thì phải ghi rõ đơn vị máy, không dùng *`}
	textLOINC         = text{`"{0}" is no LOINC code: its check digit is wrong`, `"{0}" không phải là mã LOINC: sai số kiểm tra`}
	textUCUM          = text{`"{0}" is no UCUM code: it has blanks or letters that are not ASCII`, `"{0}" không phải là mã UCUM: có dấu cách hoặc chữ ngoài ASCII`}
	textSpoilt        = text{`"{0}" looks like something that a spreadsheet has made of a code: write an apostrophe before such a code`, `"{0}" giống như mã đã bị bảng tính tự đổi: hãy viết dấu nháy đơn trước mã như vậy`}
	textRowTwice      = text{`"{0}" stands in line {1} too, with the same unit and for the same day`, `"{0}" cũng có ở dòng {1}, cùng đơn vị và cùng ngày`}
	textSameLIS       = text{`LIS code "{0}" is that of another code of the analyser too (line {1}): a report with both is held, see #duplicate`, `mã LIS "{0}" cũng là của một mã máy khác (dòng {1}): phiếu có cả hai sẽ bị giữ, xem #duplicate`}
	textNoLots        = text{`#unknown_lot is hold and there is no #control_lot: all control material is held`, `#unknown_lot là hold mà không có #control_lot nào: mọi kết quả nội kiểm đều bị giữ`}
)
