package console

import (
	"slices"
	"strings"

	"nhip/gateway/reason"
)

// A lang is a language of the console.
type lang = reason.Language

const (
	en = reason.English
	vi = reason.Vietnamese
)

// A text is one text in each language.
type text [2]string

// codeTexts has every Code.
var codeTexts = map[Code]text{
	StateListening: {"waiting for it to connect to {0}", "đang chờ thiết bị kết nối tới {0}"},
	StateConnected: {"connected with {0}", "đang kết nối với {0}"},
	StateWarned:    {"messages come from {0}, but {1}", "nhận được bản tin từ {0}, nhưng {1}"},
	StateDialling:  {"connecting to {0}; it is tried again by itself", "đang kết nối tới {0}; sẽ tự thử lại"},
	StateAbsent:    {"{0} is not there: is the adapter plugged in?", "không thấy {0}: đã cắm bộ chuyển đổi chưa?"},
	StateRefused:   {"refused: {0}", "bị từ chối: {0}"},
	StateFailed:    {"cannot work: {0}", "không hoạt động được: {0}"},
	StateUnheard:   {"nothing received from it yet", "chưa nhận được gì từ thiết bị"},
	StateHeard:     {"last came from {0}", "lần gần nhất đến từ {0}"},
	StateOffline:   {"not connected", "chưa kết nối"},
	StateIdle:      {"ready; nothing waits", "sẵn sàng; không có gì chờ"},
	StateSending:   {"sending", "đang gửi"},
	StateUnreached: {"cannot be reached: {0}; it is tried again by itself", "không kết nối được: {0}; sẽ tự thử lại"},
	StateRetrying:  {"attempt {0} failed: {1}; it is tried again by itself", "lần gửi {0} không được: {1}; sẽ tự gửi lại"},
	StatePaused:    {"paused by {0}: {1} wait in the queue", "{0} đã tạm dừng: {1} bản tin chờ trong hàng đợi"},
	StateHolding:   {"{0} held: a person has to decide", "{0} bản tin bị giữ: cần người quyết định"},

	OutcomeStored:    {"stored", "đã lưu"},
	OutcomeQueued:    {"waits for {0}", "đang chờ gửi tới {0}"},
	OutcomeBehind:    {"waits behind a held one for {0}", "chờ sau một bản tin bị giữ, gửi tới {0}"},
	OutcomeDelivered: {"delivered to {0}", "đã gửi tới {0}"},
	OutcomeHeld:      {"held", "bị giữ"},
	OutcomeHeldFor:   {"held for {0}", "bị giữ, chưa gửi tới {0}"},
	OutcomeDiscarded: {"discarded by {0}", "đã được {0} loại bỏ"},
	OutcomeExpired:   {"expired", "đã hết hạn"},
	OutcomeConsumed:  {"stored, goes nowhere: {0}", "đã lưu, không gửi đi: {0}"},
	OutcomePublished: {"published by MQTT", "đã phát qua MQTT"},
	OutcomeTrial:     {"on trial: stored, never sent", "chạy thử: đã lưu, không gửi đi"},
	OutcomeRefused:   {"refused: {0}", "đã từ chối: {0}"},

	ConsumedQuery:           {"host queries", "truy vấn từ máy"},
	ConsumedAcknowledgement: {"acknowledgements", "bản tin xác nhận"},
	ConsumedDuplicate:       {"repeats of what was already stored", "bản lặp của bản tin đã lưu"},
	ConsumedControl:         {"control material", "mẫu nội kiểm (QC)"},
	ConsumedIgnored:         {"codes that the profile ignores", "mã mà hồ sơ máy bỏ qua"},
	ConsumedOrder:           {"orders that the gateway keeps", "chỉ định do cổng kết nối lưu giữ"},
	ConsumedPatient:         {"what was told of patients, and is kept", "thông tin người bệnh do cổng kết nối lưu giữ"},
	ConsumedNoDestination:   {"no destination configured (vitals: by MQTT only)", "chưa khai báo nơi nhận (chỉ số theo dõi: chỉ qua MQTT)"},
	ConsumedTrial:           {"received on trial", "nhận khi chạy thử"},
	ConsumedNoResult:        {"messages without a result", "bản tin không có kết quả"},
	ConsumedNoObservation:   {"messages without an observation", "bản tin không có chỉ số theo dõi"},
	ConsumedStep:            {"performed procedure steps", "bước thủ thuật đã thực hiện (MPPS)"},
	ConsumedCommitment:      {"requests for storage commitment", "yêu cầu cam kết lưu trữ"},
	ConsumedFiltered:        {"not sent by a map of fields", "bảng ánh xạ không gửi"},

	HealthStarting: {"the gateway is starting", "cổng kết nối đang khởi động"},
	HealthStopping: {"the gateway is stopping", "cổng kết nối đang dừng"},
	HealthStore:    {"the store has failed: nothing is acknowledged", "kho lưu trữ bị lỗi: không xác nhận bản tin nào"},
	HealthListener: {"{0} is not open: {1}", "{0} chưa mở được: {1}"},
	DiskOpen:       {"everything is taken in", "tiếp nhận tất cả"},
	DiskNoImages:   {"images are refused: the disk is nearly full", "từ chối hình ảnh: đĩa sắp đầy"},
	DiskNoIntake:   {"nothing is taken in: the disk is too full; what was accepted is delivered", "không tiếp nhận gì: đĩa quá đầy; dữ liệu đã nhận vẫn được gửi đi"},
	DiskNoWriting:  {"the disk is full: nothing is taken in and nothing delivered", "đĩa đầy: không tiếp nhận và không gửi đi"},

	HealthBalance: {"the sum does not fit: {0}", "tổng không khớp: {0}"},
	HealthDisk:    {"the disk is too full: {0} bytes free", "đĩa gần đầy: còn {0} byte"},
}

// In is the text in the language.
func (w Words) in(l lang) string {
	t, ok := codeTexts[w.Code]
	if !ok {
		return strings.Join(w.Args, " ")
	}
	args := w.Args
	if w.Code == OutcomeConsumed && len(args) > 0 {
		args = []string{consumedKind(args[0], l)}
	}
	if !w.Why.IsZero() {
		args = append(slices.Clip(args), w.Why.In(l))
	}
	return reason.Fill(t[l], args)
}

// consumedKind is the text of a key of Counts.Consumed.
func consumedKind(kind string, l lang) string {
	if t, ok := codeTexts[Code(kind)]; ok {
		return t[l]
	}
	return kind
}

// kindTexts are the kinds of connections.
var kindTexts = map[string]text{
	"analyser":    {"analyser", "máy xét nghiệm"},
	"modality":    {"modality", "máy chẩn đoán hình ảnh"},
	"monitor":     {"monitor", "máy theo dõi"},
	"hl7_peer":    {"HL7 system", "hệ thống HL7"},
	"mqtt_user":   {"MQTT user", "người dùng MQTT"},
	"destination": {"destination", "nơi nhận"},
}

// pageTexts are those of the pages, by the key in the templates.
var pageTexts = map[string]text{
	"accepted":           {"accepted", "đã nhận"},
	"accession":          {"Accession number", "Số accession"},
	"act":                {"Decide", "Quyết định"},
	"act-discard":        {"Discard", "Loại bỏ"},
	"act-how":            {"Release: it goes on as it is; what reached no destination is interpreted once more. Discard: it is never sent; its bytes stay in the journal. Both stand in the audit journal with your name.", "Cho qua: gửi tiếp như hiện có; bản tin chưa có nơi nhận sẽ được đọc lại. Loại bỏ: không bao giờ gửi; nội dung vẫn còn trong nhật ký. Cả hai được ghi vào nhật ký kiểm tra cùng tên của bạn."},
	"act-match":          {"It is of this order", "Thuộc chỉ định này"},
	"act-match-how":      {"It is of this order: the result goes on under the order that you name, whatever its specimen says; a reason is needed.", "Thuộc chỉ định này: kết quả được gửi theo chỉ định bạn nêu, dù mã mẫu ghi gì; cần ghi lý do."},
	"act-no-order":       {"There is no order with the number “{0}”, or what was held is gone.", "Không có chỉ định số “{0}”, hoặc mục bị giữ không còn nữa."},
	"act-order":          {"Order number, where you know it", "Số chỉ định, nếu biết"},
	"act-pause":          {"Pause", "Tạm dừng"},
	"act-pause-how":      {"While it is paused nothing is sent to it; what comes waits in the queue. The pause lasts until somebody ends it, over a restart too.", "Khi tạm dừng, không gửi gì tới nơi nhận này; dữ liệu mới chờ trong hàng đợi. Tạm dừng kéo dài đến khi có người cho chạy lại, kể cả qua khởi động lại."},
	"act-reason":         {"Reason", "Lý do"},
	"act-reason-missing": {"Say why: this needs a reason.", "Hãy ghi lý do: việc này cần có lý do."},
	"act-release":        {"Release", "Cho qua"},
	"act-resume":         {"Resume", "Chạy lại"},
	"act-return":         {"Give to the analysers again", "Đưa lại cho máy"},
	"act-return-how":     {"The open tests of this order are given to the analysers again, as if they had no result; results that came stay where they are. A reason is needed; it stands in the audit journal with your name.", "Các xét nghiệm đang mở của chỉ định này được đưa lại cho máy như chưa có kết quả; kết quả đã nhận vẫn giữ nguyên. Cần ghi lý do; được ghi vào nhật ký kiểm tra cùng tên của bạn."},
	"act-token":          {"Your token", "Mã cá nhân của bạn"},
	"act-token-wrong":    {"Nobody has this token. “nhip token” makes one; it belongs into the configuration as [[person]].", "Không ai có mã này. “nhip token” tạo mã; mã cần được khai báo trong cấu hình tại [[person]]."},
	"admit":              {"Lines that would admit it", "Các dòng cấu hình để cho phép"},
	"admit-how":          {"Add them to the configuration, complete them, run “nhip check”, restart.", "Thêm vào tệp cấu hình, điền đủ, chạy “nhip check”, rồi khởi động lại."},
	"alarms":             {"Alarms of the store", "Cảnh báo của kho lưu trữ"},
	"alert-over":         {"over", "đã hết"},
	"alerts":             {"Alerts", "Cảnh báo"},
	"alerts-recent":      {"Last alerts", "Cảnh báo gần đây"},
	"analysed-by":        {"Analyser", "Máy xét nghiệm"},
	"answer-of":          {"Answer of {0}", "Trả lời của {0}"},
	"answered":           {"Our answer", "Trả lời của cổng"},
	"at":                 {"Time", "Thời gian"},
	"balance":            {"What was accepted, and what became of it", "Đã nhận bao nhiêu và đã xử lý ra sao"},
	"balance-bad":        {"The sum differs by {0}: tell the supplier.", "Tổng lệch {0}: hãy báo cho nhà cung cấp."},
	"balance-good":       {"The sum is right.", "Tổng khớp."},
	"behind":             {"waiting behind", "chờ phía sau"},
	"bench":              {"Workbench", "Bàn thử bản ghi"},
	"bench-again":        {"sent again", "gửi lại"},
	"bench-auto":         {"automatic", "tự nhận"},
	"bench-busy":         {"Another recording is being read: try again in a moment.", "Đang đọc một bản ghi khác: hãy thử lại sau giây lát."},
	"bench-by":           {"Profile", "Hồ sơ máy"},
	"bench-clean":        {"Nothing is wrong.", "Không có gì sai."},
	"bench-control":      {"Control material: it goes to the charts, and to no laboratory system.", "Vật liệu nội kiểm: chỉ vào biểu đồ nội kiểm, không gửi tới LIS."},
	"bench-cut":          {"cut", "bị cắt"},
	"bench-decode":       {"Decode", "Giải mã"},
	"bench-device":       {"analyser", "máy xét nghiệm"},
	"bench-empty":        {"There is nothing to read: paste a recording or choose a file.", "Chưa có gì để đọc: hãy dán bản ghi hoặc chọn tệp."},
	"bench-field":        {"Field", "Trường"},
	"bench-file":         {"or a file", "hoặc tệp"},
	"bench-form":         {"The form cannot be read.", "Không đọc được biểu mẫu."},
	"bench-found":        {"by the sender", "theo bên gửi"},
	"bench-frame":        {"frame", "khung"},
	"bench-host":         {"host", "phía chủ (LIS)"},
	"bench-how":          {"A recording of an analyser: bytes as they came, hexadecimal, a hex dump, pcap or pcapng, Wireshark's text, a transcript of ours. It is read in memory: nothing of it is stored or logged.", "Bản ghi đường truyền của máy xét nghiệm: byte gốc, số hex, hex dump, pcap hoặc pcapng, văn bản của Wireshark, bản ghi theo mẫu của Nhịp. Chỉ đọc trong bộ nhớ: không lưu và không ghi nhật ký."},
	"bench-long":         {"The recording is longer than {0}: “nhip decode” reads it.", "Bản ghi dài hơn {0}: hãy dùng “nhip decode”."},
	"bench-message":      {"Message", "Bản tin"},
	"bench-more":         {"{0} more are not shown: “nhip decode” shows all.", "Còn {0} mục không hiện: “nhip decode” cho xem tất cả."},
	"bench-none":         {"none, so that there are no results: choose one", "chưa có, nên không có kết quả: hãy chọn"},
	"bench-paste":        {"Paste", "Dán vào đây"},
	"bench-place":        {"Place", "Vị trí"},
	"bench-problems":     {"What is wrong", "Những chỗ sai"},
	"bench-profile":      {"There is no such profile.", "Không có hồ sơ máy này."},
	"bench-protocol":     {"The recording is of another protocol than the profile: choose another, or automatic.", "Bản ghi thuộc giao thức khác với hồ sơ máy: hãy chọn hồ sơ khác hoặc tự nhận."},
	"bench-protocol-is":  {"Protocol", "Giao thức"},
	"bench-recording":    {"The recording looks like one of the known forms, and cannot be read as it.", "Bản ghi giống một dạng đã biết nhưng không đọc được."},
	"bench-scrub":        {"Remove patients, download", "Xóa thông tin người bệnh, tải về"},
	"bench-scrub-how":    {"Names, numbers, dates of birth and free text about patients are replaced by others of the same length. Look at the file before you give it away.", "Họ tên, mã số, ngày sinh và ghi chú về người bệnh được thay bằng chữ số khác cùng độ dài. Hãy xem lại tệp trước khi đưa cho người khác."},
	"bench-scrub-look":   {"Not scrubbed, since a person has to look first: {0}. “nhip capture scrub” writes it all the same.", "Chưa xóa, vì cần người xem trước: {0}. “nhip capture scrub” vẫn ghi được tệp."},
	"bench-sent":         {"As the laboratory system would get it", "LIS sẽ nhận được như sau"},
	"bench-sent-how":     {"Without an order, and before the maps of a destination.", "Khi không có chỉ định, và trước bảng ánh xạ của nơi nhận."},
	"bench-several":      {"several claim the sender, choose one:", "có nhiều hồ sơ nhận bên gửi này, hãy chọn:"},
	"bench-sum-bad":      {"checksum wrong", "checksum sai"},
	"bench-sum-good":     {"checksum right", "checksum đúng"},
	"bench-unreadable":   {"Neither records nor messages were found. Bytes of an analyser with a protocol of its own need its profile: choose it.", "Không tìm thấy bản ghi hay bản tin nào. Máy có giao thức riêng cần đúng hồ sơ của máy: hãy chọn."},
	"born":               {"born", "sinh"},
	"bytes":              {"Bytes", "Nội dung gốc"},
	"bytes-more":         {"{0} bytes more: download them.", "Còn {0} byte nữa: hãy tải về."},
	"bytes-object":       {"An object: download it.", "Đối tượng hình ảnh: hãy tải về."},
	"bytes-repeat":       {"A repeat: its bytes are those of the entry above.", "Bản lặp: nội dung là của mục nêu trên."},
	"clock-back":         {"our clock had been set back", "đồng hồ của cổng đã bị chỉnh lùi"},
	"collected":          {"collected", "lấy mẫu"},
	"comments":           {"Comments of the analyser", "Ghi chú của máy"},
	"connection":         {"Connection", "Kết nối"},
	"connections":        {"Connections", "Kết nối"},
	"consumed":           {"stored only", "chỉ lưu"},
	"consumed-kinds":     {"Stored only, by kind", "Chỉ lưu, theo loại"},
	"contents":           {"Contents", "Mục lục"},
	"control":            {"CONTROL MATERIAL", "MẪU NỘI KIỂM"},
	"control-id":         {"Control ID or object", "Mã điều khiển hoặc đối tượng"},
	"control-note":       {"not a patient's result", "không phải kết quả của người bệnh"},
	"damaged":            {"This entry is damaged:", "Mục này bị hỏng:"},
	"delivered":          {"delivered", "đã gửi"},
	"delivery":           {"Delivery", "Gửi đi"},
	"destination":        {"Destination", "Nơi nhận"},
	"device-said":        {"as the device named the patient", "theo thông tin máy gửi"},
	"device-time":        {"Time by the device", "Giờ theo thiết bị"},
	"discarded":          {"discarded", "đã loại bỏ"},
	"disk":               {"Disk", "Đĩa"},
	"disk-free":          {"{0} free of {1}", "còn trống {0} trên {1}"},
	"download":           {"download", "tải về"},
	"drift":              {"clock {0}", "đồng hồ {0}"},
	"drift-title":        {"How far the device's clock is ahead of ours (−: behind)", "Đồng hồ thiết bị nhanh hơn cổng bao nhiêu (−: chậm hơn)"},
	"expired":            {"expired", "hết hạn"},
	"flag":               {"Flag", "Cờ"},
	"from":               {"From", "Từ"},
	"held":               {"held", "bị giữ"},
	"held-title":         {"Held: a person has to decide", "Bị giữ: cần người quyết định"},
	"journal":            {"Journal", "Nhật ký"},
	"orders":             {"Orders", "Chỉ định"},
	"orders-analysers":   {"Analysers", "Máy xét nghiệm"},
	"orders-history":     {"Versions", "Các phiên bản"},
	"orders-how":         {"Without a number: the newest open orders. Identifiers are looked for exactly. What a state says is what the gateway knows: acknowledged on the link is not yet that the analyser runs it.", "Không nhập gì: các chỉ định đang mở mới nhất. Mã số được tìm chính xác. Trạng thái là điều cổng kết nối biết: máy xác nhận trên đường truyền chưa có nghĩa là máy sẽ chạy."},
	"orders-more":        {"There are more: look for one by its number.", "Còn nữa: hãy tìm theo số."},
	"orders-version":     {"version", "phiên bản"},
	"orders-wrong":       {"Not understood: a number of at most 200 characters.", "Không hiểu: mã số dài tối đa 200 ký tự."},
	"orders-imaging":     {"Imaging", "Chẩn đoán hình ảnh"},
	"orders-laboratory":  {"Laboratory", "Xét nghiệm"},
	"orders-other":       {"Other", "Khác"},
	"orders-title":       {"Open orders", "Chỉ định đang mở"},
	"qc":                 {"Control material", "Nội kiểm"},
	"qc-note":            {"Mean and standard deviation are of the results shown: for looking at. Nothing is judged or held by them.", "Trung bình và độ lệch chuẩn là của các kết quả đang hiện: chỉ để xem. Không có gì được đánh giá hay giữ lại theo đó."},
	"qc-more":            {"There are more charts: choose an analyser with ?analyser=NAME.", "Còn biểu đồ khác: chọn máy bằng ?analyser=TÊN."},
	"qc-none":            {"No result of control material in the last 30 days.", "Không có kết quả nội kiểm nào trong 30 ngày qua."},
	"qc-material":        {"Control material", "Vật liệu nội kiểm"},
	"qc-lot":             {"lot", "lô"},
	"qc-level":           {"level", "mức"},
	"qc-mean":            {"Mean", "Trung bình"},
	"qc-sd":              {"SD", "SD"},
	"qc-last":            {"Last", "Gần nhất"},
	"journal-empty":      {"Nothing found.", "Không tìm thấy gì."},
	"journal-partial":    {"Not searched to the end: go on with older entries, or narrow the search.", "Chưa tìm hết: hãy xem mục cũ hơn hoặc thu hẹp tìm kiếm."},
	"last":               {"Last message", "Bản tin cuối"},
	"listening":          {"Listening on", "Đang nghe tại"},
	"journal-wrong":      {"Not understood. Times are written 2026-01-14 08:15, or 08:15 for today, or 2h for two hours ago.", "Không hiểu. Giờ ghi là 2026-01-14 08:15, hoặc 08:15 cho hôm nay, hoặc 2h cho hai giờ trước."},
	"made":               {"Made", "Tạo lúc"},
	"made-of":            {"Made of, or repeat of", "Tạo từ, hoặc lặp lại của"},
	"manual":             {"Manual", "Hướng dẫn"},
	"messages":           {"Last messages", "Bản tin gần đây"},
	"name":               {"Name", "Tên"},
	"never":              {"not since the start", "chưa có từ khi chạy"},
	"no-connections":     {"No device is configured yet. Whoever tries to connect is listed below.", "Chưa khai báo thiết bị nào. Ai thử kết nối sẽ được liệt kê bên dưới."},
	"no-destinations":    {"No destination is configured.", "Chưa khai báo nơi nhận."},
	"no-messages":        {"Nothing received yet.", "Chưa nhận được bản tin nào."},
	"no-patient":         {"The device named no patient.", "Máy không gửi tên người bệnh."},
	"no-results":         {"No result of specimen {0} is stored here. The whole identifier is needed, as it stands on the label.", "Không có kết quả của bệnh phẩm {0}. Cần nhập đầy đủ mã như trên nhãn."},
	"no-trial":           {"No device on trial has reported a result.", "Chưa có kết quả từ thiết bị chạy thử."},
	"nobody":             {"Nobody was refused.", "Chưa từ chối ai."},
	"not-found":          {"There is no such page.", "Không có trang này."},
	"not-healthy":        {"Not accepting", "Không nhận được"},
	"nothing-held":       {"Nothing is held.", "Không có gì bị giữ."},
	"older":              {"Older", "Cũ hơn"},
	"oldest":             {"Oldest", "Lâu nhất"},
	"on-trial":           {"ON TRIAL", "CHẠY THỬ"},
	"on-trial-note":      {"never sent to a destination", "không gửi tới nơi nhận nào"},
	"order":              {"Order number", "Số chỉ định"},
	"outcome":            {"What became of it", "Xử lý"},
	"overview":           {"Overview", "Tổng quan"},
	"patient":            {"Patient", "Người bệnh"},
	"patient-id":         {"Patient identifier", "Mã người bệnh"},
	"print":              {"Print", "In"},
	"printed":            {"Printed", "In lúc"},
	"queued":             {"queued", "đang chờ"},
	"queues":             {"Queues", "Hàng đợi"},
	"range":              {"Reference range", "Khoảng tham chiếu"},
	"raw-note":           {"Raw result of the analyser, not verified: for use while the LIS is away.", "Kết quả thô của máy xét nghiệm, chưa được duyệt: dùng khi LIS gián đoạn."},
	"received":           {"received", "nhận lúc"},
	"record":             {"Record", "Bản ghi"},
	"refused":            {"refused", "từ chối"},
	"resent":             {"sent again by the operator", "người vận hành gửi lại"},
	"result-status":      {"Status", "Trạng thái"},
	"results":            {"Results", "Kết quả"},
	"search":             {"Find", "Tìm"},
	"search-hint":        {"Specimen identifier", "Mã bệnh phẩm"},
	"search-how":         {"Scan or type the specimen identifier of the label.", "Quét hoặc nhập mã bệnh phẩm trên nhãn."},
	"sex":                {"sex", "giới tính"},
	"since":              {"Since", "Từ lúc"},
	"size":               {"Bytes", "Số byte"},
	"specimen":           {"Specimen", "Bệnh phẩm"},
	"stale":              {"The gateway does not answer. What you see is from {0}.", "Cổng kết nối không trả lời. Nội dung đang xem là lúc {0}."},
	"started":            {"running since", "chạy từ"},
	"state":              {"State", "Trạng thái"},
	"strangers":          {"Refused strangers", "Thiết bị lạ bị từ chối"},
	"subject":            {"Specimen or object", "Bệnh phẩm hoặc đối tượng"},
	"test":               {"Test", "Xét nghiệm"},
	"to":                 {"Until", "Đến"},
	"trial":              {"trial", "chạy thử"},
	"trial-results":      {"Results on trial", "Kết quả chạy thử"},
	"trial-title":        {"Last results of devices on trial", "Kết quả gần đây của thiết bị chạy thử"},
	"unanswered":         {"sent, not answered", "đã gửi, chưa có trả lời"},
	"uncommitted":        {"delivered, not committed yet", "đã gửi, nơi nhận chưa cam kết lưu trữ"},
	"unavailable":        {"The gateway cannot say at the moment.", "Cổng kết nối chưa trả lời được lúc này."},
	"undeclared":         {"not in the profile", "chưa có trong hồ sơ máy"},
	"unit":               {"Unit", "Đơn vị"},
	"updated":            {"updated", "cập nhật"},
	"value":              {"Value", "Giá trị"},
	"waiting":            {"waiting", "đang chờ"},
	"wanted":             {"wanted", "muốn"},
	"working":            {"Working", "Hoạt động tốt"},
}

// say is a text of the pages with its places filled.
func say(l lang, key string, args ...string) string {
	return reason.Fill(pageTexts[key][l], args)
}
