package capture

import "regexp"

// In is what is wrong in a language, "en" or "vi". Of what the packages below say, the
// sentences that a person meets often are there; others stay in English.
func (p Problem) In(lang string) string {
	if lang != "vi" {
		return p.What
	}
	for _, s := range sentences {
		if s.english.MatchString(p.What) {
			return s.english.ReplaceAllString(p.What, s.vietnamese)
		}
	}
	return p.What
}

// sentences are those of Problems.
var sentences = []struct {
	english    *regexp.Regexp
	vietnamese string
}{
	{regexp.MustCompile(`^(\d+) bytes between frames$`), "$1 byte nằm giữa các khung"},
	{regexp.MustCompile(`^the frame has no frame number$`), "khung không có số thứ tự"},
	{regexp.MustCompile(`^the frame is cut: neither ETX nor ETB$`), "khung bị cắt: không có ETX hay ETB"},
	{regexp.MustCompile(`^the checksum is missing, should be (.+)$`), "thiếu checksum, phải là $1"},
	{regexp.MustCompile(`^checksum is (.+), should be (.+)$`), "checksum là $1, phải là $2"},
	{regexp.MustCompile(`^frame number (\d) again with another text$`), "khung số $1 gửi lại với nội dung khác"},
	{regexp.MustCompile(`^frame number is (\d), should be (\d)$`), "số khung là $1, phải là $2"},
	{regexp.MustCompile(`^frame number (\d) stands before the record, without STX$`), "số khung $1 đứng trước bản ghi mà không có STX"},
	{regexp.MustCompile(`^the message before has no L record$`), "bản tin trước không có bản ghi L"},
	{regexp.MustCompile(`^the message has no L record$`), "bản tin không có bản ghi L"},
	{regexp.MustCompile(`^records outside of a message: no H record before them$`), "bản ghi nằm ngoài bản tin: trước đó không có bản ghi H"},
	{regexp.MustCompile(`^text that is not UTF-8 (?:is shown|was read) as ISO 8859-1$`), "chữ không phải UTF-8 được đọc theo ISO 8859-1"},
	{regexp.MustCompile(`^control characters stand as \^B and the like: .*$`), "ký tự điều khiển được ghi là ^B, ^C…: bản chép từ màn hình, ký tự xuống dòng có thể đã khác"},
	{regexp.MustCompile(`^an empty block$`), "khối rỗng"},
	{regexp.MustCompile(`^FS without VT$`), "có FS mà không có VT"},
	{regexp.MustCompile(`^the block is cut: no FS$`), "khối bị cắt: không có FS"},
	{regexp.MustCompile(`^only the first (\d+) packets were read$`), "chỉ đọc $1 gói tin đầu"},
	{regexp.MustCompile(`^only the first (\d+) connections were read$`), "chỉ đọc $1 kết nối đầu"},
	{regexp.MustCompile(`^packet (\d+) and what follows cannot be read: .*$`), "không đọc được gói tin $1 và phần sau"},
	{regexp.MustCompile(`^packet (\d+) of TCP was cut by the recording: (\d+) of (\d+) bytes$`), "gói TCP $1 bị bản ghi cắt: còn $2 trong $3 byte"},
	{regexp.MustCompile(`^(.*): (\d+) bytes were not recorded$`), "$1: $2 byte không được ghi lại"},
	{regexp.MustCompile(`^what was said here is no message that can be read: nothing of it was replaced$`), "nội dung ở đây không phải bản tin đọc được: chưa thay gì trong đó"},
	{regexp.MustCompile(`^OBX-5 holds a picture or a document: .*$`), "OBX-5 chứa hình hoặc tài liệu: hãy xem có tên người không"},
	{regexp.MustCompile(`^record (\d+) is of no type that LIS02 knows$`), "bản ghi $1 thuộc loại mà LIS02 không có"},
	{regexp.MustCompile(`^the sender that the message names is not one of profile (.+)$`), "bên gửi nêu trong bản tin không phải máy của hồ sơ $1"},
	{regexp.MustCompile(`^order (\d+): results without an order record$`), "chỉ định $1: có kết quả mà không có bản ghi chỉ định"},
	{regexp.MustCompile(`^order (\d+): the analyser could not read the specimen identifier$`), "chỉ định $1: máy không đọc được mã bệnh phẩm"},
	{regexp.MustCompile(`^order (\d+): no specimen identifier$`), "chỉ định $1: không có mã bệnh phẩm"},
	{regexp.MustCompile(`^order (\d+): a result without a test code$`), "chỉ định $1: kết quả không có mã xét nghiệm"},
	{regexp.MustCompile(`^test code (".*") is not declared in profile (.+)$`), "mã xét nghiệm $1 chưa khai báo trong hồ sơ $2"},
	{regexp.MustCompile(`^result status (".*") is not explained in profile (.+)$`), "trạng thái kết quả $1 chưa được giải thích trong hồ sơ $2"},
	{regexp.MustCompile(`^e1394: message does not begin with an H record$`), "bản tin không bắt đầu bằng bản ghi H"},
	{regexp.MustCompile(`^what is wrong from here on is not listed$`), "những chỗ sai từ đây về sau không được liệt kê"},
	{regexp.MustCompile(`^the recording ends$`), "bản ghi kết thúc"},
}
