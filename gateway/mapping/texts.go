package mapping

import (
	"fmt"

	"nhip/gateway/reason"
)

// A text is said of a map, in English and Vietnamese, with {0}, {1} … for its
// arguments.
type text [2]string

func (t text) in(l reason.Language, args []any) string {
	words := make([]string, len(args))
	for i, a := range args {
		words[i] = fmt.Sprint(a)
	}
	return reason.Fill(t[l], words)
}

// What can be wrong with a map.
var (
	textTableTwice   = text{`there are two tables "{0}"`, `có hai bảng "{0}"`}
	textRuleTwice    = text{`there are two rules "{0}"`, `có hai quy tắc "{0}"`}
	textTestTwice    = text{`there are two tests "{0}"`, `có hai phép thử "{0}"`}
	textDefault      = text{`default belongs to unknown = "default", and only to that`, `default đi cùng unknown = "default", và chỉ với nó`}
	textDay          = text{`"{0}" is no day: write it as 2026-01-31`, `"{0}" không phải là ngày: viết như 2026-01-31`}
	textBackwards    = text{`"{0}" ends before it begins`, `"{0}" hết hạn trước khi có hiệu lực`}
	textWidth        = text{`"{0}" has {1} texts in to, the others have {2}`, `"{0}" có {1} chuỗi trong to, các dòng khác có {2}`}
	textRowTwice     = text{`"{0}" stands there twice for the same day`, `"{0}" được ghi hai lần cho cùng một ngày`}
	textType         = text{`"{0}" is no message type: write it as ORU^R01 or ADT`, `"{0}" không phải là loại bản tin: viết như ORU^R01 hoặc ADT`}
	textPlace        = text{`"{0}" is no place: write it as PID-3.1, OBX[*]-5, PID-3[*].4 or, for a segment, NTE[*]`, `"{0}" không phải là một vị trí: viết như PID-3.1, OBX[*]-5, PID-3[*].4 hoặc, với cả segment, NTE[*]`}
	textEach         = text{`"{0}": each is the name of a segment (OBX) or every repetition of a field (PID-3[*])`, `"{0}": each là tên một segment (OBX) hoặc mọi lần lặp của một trường (PID-3[*])`}
	textUntil        = text{`until belongs to an each that is a segment`, `until chỉ đi cùng each là một segment`}
	textSegment      = text{`"{0}" is no segment name`, `"{0}" không phải là tên segment`}
	textKept         = text{`{0} belongs to the gateway: it cannot be changed by a map`, `{0} thuộc về cổng kết nối: bảng ánh xạ không được sửa`}
	textNeeds        = text{`{0} needs the key "{1}"`, `{0} cần khóa "{1}"`}
	textStrange      = text{`{0} has no use for the key "{1}"`, `{0} không dùng khóa "{1}"`}
	textOnePlace     = text{`{0}: "{1}" must be one place, without [*]`, `{0}: "{1}" phải là một vị trí, không có [*]`}
	textPart         = text{`{0}: "{1}" must name a field or a part of one`, `{0}: "{1}" phải nêu một trường hoặc một phần của trường`}
	textDeeper       = text{`{0}: "{1}" cannot be put into "{2}", which is a smaller part`, `{0}: không đặt "{1}" vào "{2}" được vì đó là phần nhỏ hơn`}
	textNoTable      = text{`there is no table "{0}"`, `không có bảng "{0}"`}
	textPlaces       = text{`table "{0}" has {1} texts in a row, and at has {2} places`, `bảng "{0}" có {1} chuỗi một dòng, còn at có {2} vị trí`}
	textOneOf        = text{`{0} is "{1}"; it may be {2}`, `{0} là "{1}"; chỉ được là {2}`}
	textPattern      = text{`"{0}" is no regular expression (RE2): {1}`, `"{0}" không phải là biểu thức chính quy (RE2): {1}`}
	textCondition    = text{`a condition says one or more of is, not, present and matches`, `một điều kiện phải có is, not, present hoặc matches`}
	textTooManyRules = text{`there are {0} rules; at most {1}`, `có {0} quy tắc; tối đa {1}`}
	textTooManyRows  = text{`there are {0} rows; at most {1}`, `có {0} dòng; tối đa {1}`}
	textFactor       = text{`"{0}": factor is a decimal number above 0 such as "0.0555", and needs decimals (0 to 10)`, `"{0}": factor là một số thập phân lớn hơn 0 như "0.0555", và cần decimals (từ 0 đến 10)`}
	textKeep         = text{`"{0}": keep is a field of OBX that is neither its type, code, value, unit nor range: OBX-13`, `"{0}": keep là một trường của OBX, không phải kiểu, mã, giá trị, đơn vị hay khoảng: OBX-13`}
	textTestEnds     = text{`a test says one of out, unchanged, drops and holds`, `mỗi phép thử ghi một trong out, unchanged, drops, holds`}
	textTestRule     = text{`there is no rule "{0}"`, `không có quy tắc "{0}"`}
	textNoTests      = text{`the map has no tests: nobody can see what it does`, `bảng ánh xạ không có phép thử: không ai thấy được nó làm gì`}
)

// What a test of a map found.
var (
	textTestIn      = text{`the message that goes in cannot be read: {0}`, `không đọc được bản tin vào: {0}`}
	textTestOut     = text{`{0} is "{1}", it should be "{2}"`, `{0} là "{1}", đáng lẽ là "{2}"`}
	textTestSent    = text{`it is sent`, `bản tin được gửi`}
	textTestDropped = text{`it is not sent, by rule "{0}"`, `bản tin không được gửi, theo quy tắc "{0}"`}
	textTestHeld    = text{`it is held, by rule "{0}": {1}`, `bản tin bị giữ, theo quy tắc "{0}": {1}`}
)
