package alert

import (
	"slices"

	"nhip/gateway/reason"
)

// A Code names an alert. It is stored: a code that is in use is never given
// another meaning.
type Code string

// The alerts. In a text {0} is the subject.
const (
	Undelivered  Code = "undelivered"   // {1} how many wait, {2} minutes of the oldest
	Held         Code = "held"          // {1} how many wait for a person
	HeldReceived Code = "held-received" // {1} how many, before they had a destination
	Silent       Code = "silent"        // {1} minutes since the last message
	DiskImages   Code = "disk-images"   // {1} MiB free
	DiskResults  Code = "disk-results"  // {1} MiB free
	Drift        Code = "drift"         // {1} seconds, with sign
	Damaged      Code = "damaged"       // {1} how many findings
	Listener     Code = "listener"      // {1} why
	Balance      Code = "balance"       // {1} the difference
	Untold       Code = "untold"        // {1} why
	Unbacked     Code = "unbacked"      // {1} time of the newest backup
	Untaken      Code = "untaken"       // {1} of how many specimens
)

// texts has every Code in English and Vietnamese.
var texts = map[Code][2]string{
	Undelivered:  {"{0}: {1} are waiting, the oldest for {2} minutes", "{0}: {1} bản tin đang chờ, lâu nhất {2} phút"},
	Held:         {"{0}: {1} held, a person has to decide", "{0}: {1} bản tin bị giữ, cần người quyết định"},
	HeldReceived: {"{1} received messages are held before any destination, a person has to decide", "{1} bản tin đã nhận bị giữ khi chưa có nơi nhận, cần người quyết định"},
	Silent:       {"{0} has sent nothing for {1} minutes", "{0} không gửi gì trong {1} phút"},
	DiskImages:   {"the disk is filling up: {1} MiB free; no images are taken until there is room", "đĩa sắp đầy: còn {1} MiB; ngừng nhận ảnh cho đến khi có chỗ trống"},
	DiskResults:  {"the disk is nearly full: {1} MiB free; nothing is taken until there is room", "đĩa gần hết chỗ: còn {1} MiB; ngừng nhận mọi dữ liệu cho đến khi có chỗ trống"},
	Drift:        {"the clock of {0} differs from ours by {1} s", "đồng hồ của {0} lệch {1} giây so với máy này"},
	Damaged:      {"{1} things are damaged or missing in the store: see the console", "kho lưu trữ có {1} chỗ bị hỏng hoặc thiếu: xem trang theo dõi"},
	Listener:     {"{0} is not open: {1}", "{0} chưa mở được: {1}"},
	Balance:      {"the sum of what was accepted differs by {1}: tell the supplier", "tổng số bản tin đã nhận lệch {1}: hãy báo cho nhà cung cấp"},
	Unbacked:     {"a backup could not be made, and the newest is of {1}: the log says why", "không tạo được bản sao lưu, bản mới nhất là của {1}: xem lý do trong nhật ký"},
	Untaken:      {"{0} does not take the orders of {1} specimens, a person has to look (nhip orders)", "{0} không nhận chỉ định của {1} mẫu, cần người xem lại (nhip orders)"},
	Untold:       {"alerts cannot be sent by {0}: {1}", "không gửi được cảnh báo qua {0}: {1}"},
}

// In is the alert in a language. A code that is not known, which a newer version
// has stored, shows its name and arguments.
func (a Alert) In(l reason.Language) string {
	args := slices.Concat([]string{a.Subject}, a.Args)
	if !a.Why.IsZero() {
		args = append(args, a.Why.In(l))
	}
	t, ok := texts[a.Code]
	if !ok {
		return reason.Text(string(a.Code)).In(l)
	}
	return reason.Fill(t[l], args)
}
