package reason

import "regexp"

// details are what parsers of messages say is wrong, which is stored in English in
// the place of a Reason; and the same in Vietnamese.
var details = []struct {
	english    *regexp.Regexp
	vietnamese string
}{
	// package hl7
	{regexp.MustCompile(`the answer has no MSA segment`), "trả lời không có segment MSA"},
	{regexp.MustCompile(`the message does not begin with MSH`), "bản tin không bắt đầu bằng MSH"},
	{regexp.MustCompile(`the message is longer than (\d+) bytes`), "bản tin dài hơn $1 byte"},
	{regexp.MustCompile(`the field separator is not a punctuation character`), "ký tự phân cách trường không phải là dấu câu"},
	{regexp.MustCompile(`(\d+) encoding characters`), "có $1 ký tự mã hóa"},
	{regexp.MustCompile(`an encoding character is not a punctuation character`), "một ký tự mã hóa không phải là dấu câu"},
	{regexp.MustCompile(`a line after MSH that is no segment`), "sau MSH có một dòng không phải là segment"},
	{regexp.MustCompile(`a second MSH segment`), "có segment MSH thứ hai"},
	{regexp.MustCompile(`more than (\d+) segments`), "có hơn $1 segment"},
	{regexp.MustCompile(`more than (\d+) fields`), "có hơn $1 trường"},
	{regexp.MustCompile(` at ([A-Z][A-Z0-9]{2}(\[\d+\])?(-[\d.]+)?)\b`), " tại $1"},
	{regexp.MustCompile(`\b([A-Z][A-Z0-9]{2}) has a character that (.+) does not have`), "$1 có ký tự mà $2 không có"},
	// package hl7/mllp
	{regexp.MustCompile(`the certificate is for another name`), "chứng thư số thuộc về tên khác"},
	{regexp.MustCompile(`the certificate was not signed by a CA that this link trusts`), "chứng thư số không do CA mà kết nối này tin cậy ký"},
	{regexp.MustCompile(`the certificate has expired or is not valid yet; or a clock is wrong`), "chứng thư số đã hết hạn hoặc chưa có hiệu lực; hoặc đồng hồ sai"},
	{regexp.MustCompile(`the certificate cannot be verified`), "không xác minh được chứng thư số"},
	{regexp.MustCompile(`the peer does not speak TLS`), "bên kia không dùng TLS"},
	{regexp.MustCompile(`the peer refused the handshake: it wants another certificate or another version of TLS`), "bên kia từ chối bắt tay TLS: cần chứng thư số khác hoặc phiên bản TLS khác"},
	// package e1394
	{regexp.MustCompile(`message does not begin with an H record`), "bản tin không bắt đầu bằng bản ghi H"},
	// package monitor
	{regexp.MustCompile(`the message is no ORU\^R01`), "bản tin không phải là ORU^R01"},
	// package storage
	{regexp.MustCompile(`a spooled message is damaged: its SHA-256 is not the stored one`), "bản tin trong spool bị hỏng: SHA-256 không trùng với bản đã lưu"},
	{regexp.MustCompile(`queue item without a journal entry`), "mục trong hàng đợi không có bản ghi nhật ký"},
}

// inVietnamese is what a parser says, as far as it is known; the rest stays.
func inVietnamese(detail string) string {
	for _, d := range details {
		detail = d.english.ReplaceAllString(detail, d.vietnamese)
	}
	return detail
}
