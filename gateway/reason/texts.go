package reason

// Why something that came is held before it has a destination.
const (
	Incomplete        Code = "incomplete"          // {0} what the driver said
	IncompleteSilence Code = "incomplete.silence"  // the receiver's timer ran out
	IncompleteEOT     Code = "incomplete.eot"      // EOT without an L record
	IncompleteCut     Code = "incomplete.cut"      // the line broke
	IncompleteClosed  Code = "incomplete.closed"   // the device closed the connection
	IncompleteStopped Code = "incomplete.stopped"  // we stopped
	IncompleteTooLong Code = "incomplete.too-long" // {0} the limit
	IncompleteParts   Code = "incomplete.parts"    // {0} how many
	Unreadable        Code = "unreadable"          // {0} what is wrong
	PartUnread        Code = "unread"              // {0} how many places, {1} the first
	NotConfigured     Code = "not-configured"      // {0} the connection
	WrongKind         Code = "wrong-kind"          // {0} kind of connection, {1} kind of entry
	NoSpecimen        Code = "no-specimen"         // {0} how many results
	NoControlID       Code = "no-control-id"       // MSH-10
	OtherBytes        Code = "other-bytes"         // {0} the journal entry of the first
	TooMuch           Code = "too-much"            // {0} how many messages
	NotRendered       Code = "not-rendered"        // {0} what is wrong
	NotProduction     Code = "not-production"      // {0} MSH-11
	Damaged           Code = "damaged"             // {0} what is wrong

	FilmWithoutPatient Code = "film-without-patient" //
)

// Why the orders do not say whom a result is for. {0} of not-ordered and several-orders
// is a code of the analyser.
const (
	NoOrder         Code = "order.none"             //
	OutsideWindow   Code = "order.outside-window"   //
	OrderOver       Code = "order.over"             // cancelled, completed or expired
	PatientMismatch Code = "order.patient-mismatch" //
	SeveralPatients Code = "order.several-patients" //
	SeveralOrders   Code = "order.several"          // {0}
	NotOrdered      Code = "order.not-ordered"      //
	AlreadyResulted Code = "order.resulted"         //
	OtherSection    Code = "order.other-section"    //
	NearOrder       Code = "order.near"             //
	NotSpecimen     Code = "specimen.form"          //
	WrongCheck      Code = "specimen.check"         //
	Older           Code = "result.older"           // {0}: the tests
)

// Why an analyser does not have, or still has, an order.
const (
	NoCancel      Code = "analyser.no-cancel"      // it knows no way to be told to drop an order
	FramesRefused Code = "analyser.frames-refused" // {0} what the driver said
	AnswerRefused Code = "analyser.answer-refused" // {0} MSA-1
	TestsRefused  Code = "analyser.tests-refused"  // ORC-1 UA
	CancelRefused Code = "analyser.cancel-refused" // ORC-1 UC
	NotWritten    Code = "analyser.not-written"    // {0} what is wrong
)

// Why a map of fields could not make of a message what is sent.
const (
	MapNoCode     Code = "map.no-code"     // {0} the map, {1} its rule, {2} the place, {3} the code table
	MapNoPlace    Code = "map.no-place"    // {0} the map, {1} its rule, {2} the place
	MapNotWritten Code = "map.not-written" // {0} the map, {1} its rule, {2} the place
	MapNoNumber   Code = "map.no-number"   // {0} the map, {1} its rule, {2} the place
	MapHolds      Code = "map.holds"       // {0} the map, {1} its rule, {2} why, in the words of the map
	MapTooMuch    Code = "map.too-much"    // {0} the map, {1} its rule, {2} how many places at most
	MapUnreadable Code = "map.unreadable"  // {0} the map, {1} what is wrong with the message
	MapUnusable   Code = "map.unusable"    // {0} the link, {1} what is wrong with the map
)

// Why the table of an analyser's codes does not say what its results are. {0} is the
// analyser; what the results are is in Said.
const (
	CodeNone      Code = "codes.none"         // {0}
	CodeNotThen   Code = "codes.not-then"     // {0}
	CodeTaken     Code = "codes.taken"        // {0}
	CodeTwice     Code = "codes.twice"        // {0}
	UnitNone      Code = "codes.unit"         // {0}
	NotConverted  Code = "codes.no-number"    // {0}
	CodesUnusable Code = "codes.unusable"     // {0}, {1} what is wrong with the table
	ControlNoRule Code = "codes.control-rule" // {0}
)

// Why a message about a patient is not taken. {0} is a place, "MRG-1".
const (
	PatientNone      Code = "patient.none"       //
	PatientNoNumber  Code = "patient.no-number"  //
	PatientTwo       Code = "patient.two"        // {0}
	PatientAmbiguous Code = "patient.ambiguous"  //
	PatientNoPrior   Code = "patient.no-prior"   // {0}
	PatientItself    Code = "patient.itself"     // {0}
	PatientAuthority Code = "patient.authority"  // {0}
	PatientCircle    Code = "patient.circle"     // {0}
	PatientMerged    Code = "patient.merged"     // {0}
	PatientTaken     Code = "patient.taken"      //
	PatientUnknown   Code = "patient.unknown"    //
	PatientNoPair    Code = "patient.no-pair"    //
	PatientNotLinked Code = "patient.not-linked" //
	PatientTooMany   Code = "patient.too-many"   // {0} how many, {1} how many at most
)

// What came of sending something.
const (
	Answered        Code = "answered"         // {0} MSA-1 and, where said, ERR-3 and ERR-2
	NoAnswer        Code = "no-answer"        //
	ConnectionBroke Code = "connection-broke" // {0} what the system said
	NoAcknowledge   Code = "no-acknowledge"   // {0} what is wrong with the answer
	OtherMessage    Code = "other-message"    // MSA-2
	Unframed        Code = "unframed"         // 0B or 1C in the message
	Status          Code = "status"           // {0} the DICOM status with its meaning
	NoSOPClass      Code = "no-sop-class"     // {0} SOP class
	NoSyntax        Code = "no-syntax"        // {0} SOP class, {1} transfer syntax
	NotTaken        Code = "not-taken"        // {0} SOP class, {1} transfer syntax, {2} the answer
	NotOurAE        Code = "not-our-ae"       // {0} called AE title
	UnknownToThem   Code = "unknown-to-them"  // {0} calling AE title
	NoAssociation   Code = "no-association"   // {0} the rejection
	NotCommitted    Code = "not-committed"    // {0} the failure reason of storage commitment
	NoCommitment    Code = "no-commitment"    // {0} how many days
	Restarted       Code = "restarted"        //
	Released        Code = "released"         //
)

// How the bytes of messages disagree with the character set that they declare.
const (
	CharsetUnknown    Code = "charset.unknown"    // {0} MSH-18
	CharsetUndeclared Code = "charset.undeclared" // {0} the place
	CharsetInvalid    Code = "charset.invalid"    // {0} the place, {1} the set
	CharsetOther      Code = "charset.other"      // {0} the place, {1} the set, {2} the set that it looks like
	CharsetControls   Code = "charset.controls"   // {0} the place, {1} the set
	CharsetTwice      Code = "charset.twice"      // {0} the place
	CharsetLost       Code = "charset.lost"       // {0} the place
	NamesUndeclared   Code = "names.undeclared"   // {0} the place
	NamesOther        Code = "names.other"        // {0} the place, {1} the set that it looks like
)

// Why an acknowledged message is not delivered.
const (
	Unprocessed  Code = "unprocessed"   // {0} how long
	NotEncodable Code = "not-encodable" // {0} the character set, {1} the place
	HTTPStatus   Code = "http-status"   // {0} the status
	BlockRefused Code = "block-refused" // of release 2 of MLLP
)

// Why there is no connection to a peer.
const (
	NothingListens Code = "nothing-listens"
	ConnectTimeout Code = "connect-timeout"
	NoRoute        Code = "no-route"
	NoSuchHost     Code = "no-such-host"  // {0} the name
	NoConnection   Code = "no-connection" // {0} what the system said
)

// Why a port of ours is not open.
const (
	PortTaken          Code = "port-taken"
	NoSuchAddress      Code = "no-such-address"
	PortNotPermitted   Code = "port-not-permitted"
	SerialTaken        Code = "serial-taken"
	SerialNotPermitted Code = "serial-not-permitted"
	StrangerRefused    Code = "stranger-refused" // {0} its address
)

// What a stranger wanted.
const (
	SendHL7         Code = "send-hl7"
	UsePort         Code = "use-port" // {0} the device whose port it is
	TooManyFromHere Code = "too-many"
)

// given is for a Reason with Times.
var given = [2]string{"{0} times; the last time: {1}", "{0} lần; lần cuối: {1}"}

// texts has every Code in English and Vietnamese; the empty one shows its
// arguments.
var texts = map[Code][2]string{
	"": {"{0}", "{0}"},

	Incomplete:         {"the transmission broke off before its end: {0}", "đường truyền bị ngắt khi bản tin chưa kết thúc: {0}"},
	IncompleteSilence:  {"the device fell silent for 30 s in the middle of a message", "máy ngừng gửi quá 30 giây khi bản tin chưa kết thúc"},
	IncompleteEOT:      {"the device ended the transmission (EOT) without the L record that ends a message", "máy kết thúc phiên truyền (EOT) mà chưa gửi bản ghi L kết thúc bản tin"},
	IncompleteCut:      {"the line was cut in the middle of a message", "đường truyền bị đứt khi bản tin chưa kết thúc"},
	IncompleteClosed:   {"the device closed the connection in the middle of a message", "máy đóng kết nối khi bản tin chưa kết thúc"},
	IncompleteStopped:  {"the gateway was stopped in the middle of a message", "cổng kết nối dừng khi bản tin chưa kết thúc"},
	IncompleteParts:    {"only {0} part(s) of a continued message came (DSC): the rest is missing", "chỉ nhận được {0} phần của một bản tin nhiều phần (DSC): phần còn lại không tới"},
	IncompleteTooLong:  {"the message is too long: {0}", "bản tin quá dài: {0}"},
	PartUnread:         {"{0} places of it cannot be read, and results beside them may have slipped: {1}", "có {0} chỗ không đọc được, các kết quả bên cạnh có thể bị lệch: {1}"},
	Unreadable:         {"it cannot be read: {0}", "không đọc được: {0}"},
	NotConfigured:      {"{0} is no longer in the configuration", "{0} không còn trong tệp cấu hình"},
	WrongKind:          {"a connection of kind {0} sends nothing of kind {1}", "kết nối loại {0} không gửi dữ liệu loại {1}"},
	NoOrder:            {"there is no order for this specimen", "không có chỉ định cho mẫu này"},
	OutsideWindow:      {"the order for this specimen is of another day", "chỉ định của mẫu này thuộc ngày khác"},
	OrderOver:          {"the order for this specimen was cancelled or is over", "chỉ định của mẫu này đã hủy hoặc đã kết thúc"},
	PatientMismatch:    {"the analyser names another patient than the order", "máy ghi người bệnh khác với chỉ định"},
	SeveralPatients:    {"orders of several patients have this specimen identifier", "chỉ định của nhiều người bệnh có cùng mã mẫu này"},
	SeveralOrders:      {"several orders ask for test {0} on this specimen", "nhiều chỉ định cùng yêu cầu xét nghiệm {0} trên mẫu này"},
	NotOrdered:         {"none of these tests was ordered for this specimen", "không có xét nghiệm nào trong số này được chỉ định cho mẫu này"},
	AlreadyResulted:    {"the order has its result already, and is of another day: the identifier may have been used again", "chỉ định đã có kết quả và thuộc ngày khác: mã mẫu có thể đã được dùng lại"},
	NoCancel:           {"the analyser cannot be told to drop it", "không thể báo máy bỏ chỉ định này"},
	FramesRefused:      {"the analyser refuses it: {0}", "máy từ chối: {0}"},
	AnswerRefused:      {"the analyser answered {0}", "máy trả lời {0}"},
	TestsRefused:       {"the analyser cannot do a test of it (ORC-1 UA)", "máy không làm được một xét nghiệm trong chỉ định (ORC-1 UA)"},
	CancelRefused:      {"the analyser cannot drop it any more (ORC-1 UC)", "máy không bỏ được nữa (ORC-1 UC)"},
	NotWritten:         {"it cannot be written for the analyser: {0}", "không viết được cho máy: {0}"},
	OtherSection:       {"the order for this specimen is of another section of the laboratory", "chỉ định của mẫu này thuộc bộ phận khác của khoa xét nghiệm"},
	NearOrder:          {"there is no order for this specimen identifier, but one that differs from it only in case, zeros, blanks, look-alike letters or two characters that changed places: it may be mistyped", "không có chỉ định cho mã mẫu này, nhưng có chỉ định mà mã mẫu chỉ khác ở chữ hoa, số 0, dấu cách, chữ giống số hoặc hai ký tự đổi chỗ: có thể gõ nhầm"},
	NotSpecimen:        {"the specimen identifier is not of the form that the site's specimens have", "mã mẫu không đúng dạng mã mẫu của đơn vị"},
	WrongCheck:         {"the check digit of the specimen identifier is wrong: it was mistyped or misread", "chữ số kiểm tra của mã mẫu sai: mã đã bị gõ nhầm hoặc đọc nhầm"},
	Older:              {"a newer result of {0} has gone out already; released once more, this older one goes out after it, marked", "đã gửi đi kết quả mới hơn của {0}; cho qua thêm một lần nữa thì kết quả cũ này vẫn được gửi sau, có ghi chú"},
	NoSpecimen:         {"{0} results without a specimen identifier", "{0} kết quả không có mã bệnh phẩm"},
	NoControlID:        {"its message control ID (MSH-10) is empty", "mã điều khiển bản tin (MSH-10) bị trống"},
	OtherBytes:         {"other bytes under a SOP Instance UID that came before ({0}); both are kept", "nội dung khác dưới một SOP Instance UID đã nhận trước đó ({0}); cả hai đều được lưu"},
	TooMuch:            {"it would become {0} messages at once, more than one commit holds", "sẽ thành {0} bản tin cùng lúc, vượt quá một lần ghi"},
	NotRendered:        {"no message can be made of it: {0}", "không tạo được bản tin để gửi: {0}"},
	NotProduction:      {"it says of itself that it is for training or debugging (MSH-11 {0}); released, it is sent all the same", "bản tin tự ghi là để tập huấn hoặc gỡ lỗi (MSH-11 {0}); cho qua thì vẫn được gửi"},
	FilmWithoutPatient: {"a printed film that names no patient; released, it is sent all the same", "phim in không ghi bệnh nhân nào; cho qua thì vẫn được gửi"},

	Damaged: {"the stored copy cannot be read: {0}", "không đọc được bản lưu trên đĩa: {0}"},

	MapNoCode:     {"the map {0}, rule {1}: the code at {2} is not in the table {3}", "bảng ánh xạ {0}, quy tắc {1}: mã tại {2} không có trong bảng {3}"},
	MapNoPlace:    {"the map {0}, rule {1}: the message has no {2}", "bảng ánh xạ {0}, quy tắc {1}: bản tin không có {2}"},
	MapNotWritten: {"the map {0}, rule {1}: what belongs at {2} cannot be written in the character set or with the delimiters of the message", "bảng ánh xạ {0}, quy tắc {1}: không ghi được giá trị tại {2} bằng bảng mã hoặc ký tự phân cách của bản tin"},
	MapNoNumber:   {"the map {0}, rule {1}: the value at {2} is no number that can be converted", "bảng ánh xạ {0}, quy tắc {1}: giá trị tại {2} không phải là số quy đổi được"},
	MapHolds:      {"the map {0}, rule {1}, holds it: {2}", "bảng ánh xạ {0}, quy tắc {1}, giữ lại: {2}"},
	MapTooMuch:    {"the map {0}, rule {1}: it would change more than {2} places", "bảng ánh xạ {0}, quy tắc {1}: phải sửa hơn {2} chỗ"},
	MapUnreadable: {"the map {0} cannot be applied: {1}", "không áp dụng được bảng ánh xạ {0}: {1}"},
	MapUnusable:   {"the map of {0} cannot be used: {1}", "không dùng được bảng ánh xạ của {0}: {1}"},

	CodeNone:      {"the code table of {0} has no row for this code", "bảng mã của {0} không có dòng cho mã này"},
	CodeNotThen:   {"the code table of {0} has no row for this code on that day", "bảng mã của {0} không có dòng cho mã này vào ngày đó"},
	CodeTaken:     {"the code table of {0} has no row for this code, which is another test at the LIS", "bảng mã của {0} không có dòng cho mã này, mà ở LIS mã đó là xét nghiệm khác"},
	CodeTwice:     {"two tests of {0} in one report have the same code at the LIS", "hai xét nghiệm của {0} trong một phiếu có cùng mã ở LIS"},
	UnitNone:      {"the code table of {0} has no row for this code in this unit", "bảng mã của {0} không có dòng cho mã này với đơn vị này"},
	NotConverted:  {"the code table of {0} converts the unit, and the value is no number that can be converted", "bảng mã của {0} quy đổi đơn vị, mà giá trị không phải là số quy đổi được"},
	CodesUnusable: {"the code table of {0} cannot be used: {1}", "không dùng được bảng mã của {0}: {1}"},
	ControlNoRule: {"control material of {0}, of a lot that its code table does not have", "nội kiểm của {0} có số lô không ghi trong bảng mã"},

	CharsetUnknown:    {"the character set {0} (MSH-18) is not known: texts are read as UTF-8", "không biết bảng mã {0} (MSH-18): văn bản được đọc theo UTF-8"},
	CharsetUndeclared: {"no character set is declared (MSH-18), and {0} has characters that are not ASCII", "không khai báo bảng mã (MSH-18), mà {0} có ký tự ngoài ASCII"},
	CharsetInvalid:    {"{0} has bytes that are no characters of {1}", "{0} có byte không phải là ký tự của {1}"},
	CharsetOther:      {"{0} is declared as {1} and reads as {2}", "{0} được khai báo là {1} nhưng đọc được theo {2}"},
	CharsetControls:   {"{0} has control characters of {1}, which are letters in a Windows set", "{0} có ký tự điều khiển của {1}, là chữ trong bảng mã Windows"},
	CharsetTwice:      {"{0} was encoded as UTF-8 twice", "{0} bị mã hóa UTF-8 hai lần"},
	CharsetLost:       {"{0} has replacement characters: the sender has lost letters", "{0} có ký tự thay thế: bên gửi đã làm mất chữ"},
	NamesUndeclared:   {"{0} is not UTF-8 and was read as Latin-1: say with names = \"…\" what this analyser writes", "{0} không phải UTF-8 và được đọc theo Latin-1: hãy ghi names = \"…\" đúng bảng mã của máy này"},
	NamesOther:        {"{0} looks like {1}: write names = \"{1}\" for this analyser, if its screen shows it so", "{0} trông giống {1}: hãy ghi names = \"{1}\" cho máy này, nếu màn hình máy hiện như vậy"},

	Unprocessed:  {"the destination has it (CA), and said for {0} not what became of it; released, it is sent again", "nơi nhận đã giữ bản tin (CA) nhưng sau {0} vẫn chưa báo kết quả xử lý; cho qua thì gửi lại"},
	NotEncodable: {"{1} has a character that {0} does not have", "{1} có ký tự mà {0} không có"},
	HTTPStatus:   {"the destination answered HTTP status {0} without an HL7 message", "nơi nhận trả lời trạng thái HTTP {0} mà không có bản tin HL7"},
	BlockRefused: {"the destination did not commit the block (NAK)", "nơi nhận không ghi nhận khối dữ liệu (NAK)"},

	Answered:        {"the destination answered {0}", "nơi nhận trả lời {0}"},
	NoAnswer:        {"no answer in time", "quá thời gian chờ mà không có trả lời"},
	ConnectionBroke: {"the connection broke before the answer: {0}", "kết nối bị đứt trước khi có trả lời: {0}"},
	NoAcknowledge:   {"the answer is no acknowledgement: {0}", "trả lời không phải là bản tin xác nhận: {0}"},
	OtherMessage:    {"the answer is for another message: its MSA-2 is not our MSH-10", "trả lời dành cho bản tin khác: MSA-2 không trùng MSH-10 đã gửi"},
	Unframed:        {"the message holds bytes that delimit MLLP frames (0B or 1C)", "bản tin chứa byte phân cách khung MLLP (0B hoặc 1C)"},
	Status:          {"the destination answered with status {0}", "nơi nhận trả lời trạng thái {0}"},
	NoSOPClass:      {"the destination does not take SOP class {0}", "nơi nhận không hỗ trợ SOP class {0}"},
	NoSyntax:        {"the destination does not take SOP class {0} in transfer syntax {1}", "nơi nhận không hỗ trợ SOP class {0} với transfer syntax {1}"},
	NotTaken:        {"the destination does not take SOP class {0} in transfer syntax {1}: {2}", "nơi nhận không chấp nhận SOP class {0} với transfer syntax {1}: {2}"},
	NotOurAE:        {"the destination says that it is not AE title {0}: correct called_ae_title", "nơi nhận báo nó không phải AE title {0}: hãy sửa called_ae_title"},
	UnknownToThem:   {"the destination does not know AE title {0}: enter this gateway there", "nơi nhận không biết AE title {0}: hãy khai báo cổng kết nối này tại đó"},
	NoAssociation:   {"no association: {0}", "không lập được association: {0}"},
	NotCommitted:    {"the destination has accepted it, and then did not commit itself to it: {0}", "nơi nhận đã nhận nhưng sau đó không cam kết lưu trữ: {0}"},
	NoCommitment:    {"the destination has accepted it, and has not said in {0} days whether it commits itself to it", "nơi nhận đã nhận nhưng sau {0} ngày vẫn chưa trả lời có cam kết lưu trữ hay không"},
	Restarted:       {"sent again after a restart", "gửi lại sau khi khởi động lại"},
	Released:        {"released by a person", "đã được người dùng cho gửi lại"},

	NothingListens: {"nothing listens there (connection refused)", "không có chương trình nào nghe tại đó (connection refused)"},
	ConnectTimeout: {"no answer to the connection in time", "quá thời gian chờ kết nối"},
	NoRoute:        {"no way to that address: network cable, address or router", "không có đường mạng tới địa chỉ đó: kiểm tra dây mạng, địa chỉ, bộ định tuyến"},
	NoSuchHost:     {"the name {0} is not known", "không tìm thấy tên máy {0}"},
	NoConnection:   {"no connection: {0}", "không có kết nối: {0}"},

	PortTaken:          {"the port is taken by another program", "cổng đã bị chương trình khác sử dụng"},
	NoSuchAddress:      {"this machine does not have that address", "máy tính này không có địa chỉ đó"},
	PortNotPermitted:   {"the port may not be opened by this user (ports below 1024 need CAP_NET_BIND_SERVICE)", "người dùng này không được mở cổng đó (cổng dưới 1024 cần quyền CAP_NET_BIND_SERVICE)"},
	SerialTaken:        {"the serial port is in use by another program", "cổng nối tiếp đang bị chương trình khác sử dụng"},
	SerialNotPermitted: {"the serial port may not be opened by this user: is it in the group dialout?", "người dùng này không được mở cổng nối tiếp: đã ở trong nhóm dialout chưa?"},

	StrangerRefused: {"{0} is not allowed here, or there are too many connections; it may be listed under refused strangers", "{0} không được phép kết nối tại đây, hoặc đã có quá nhiều kết nối; xem mục thiết bị lạ bị từ chối"},

	SendHL7:         {"send HL7", "gửi HL7"},
	UsePort:         {"connect to the port of {0}", "kết nối tới cổng của {0}"},
	TooManyFromHere: {"more connections than are allowed", "mở nhiều kết nối hơn mức cho phép"},

	PatientNone:      {"the message has no PID segment", "bản tin không có đoạn PID"},
	PatientNoNumber:  {"PID-3 has no patient number", "PID-3 không có mã người bệnh"},
	PatientTwo:       {"the numbers in {0} are those of two patients: a merge (A40) has to make them one first", "các mã trong {0} thuộc về hai người bệnh: cần gộp hồ sơ (A40) trước"},
	PatientAmbiguous: {"the citizen or insurance numbers in PID-3 stand for several patients, and there is no patient number", "số định danh hoặc thẻ bảo hiểm trong PID-3 đang ghi cho nhiều người bệnh, và không có mã người bệnh"},
	PatientNoPrior:   {"{0} is missing: it names what is merged, changed or moved", "thiếu {0}: đó là mã được gộp, đổi hoặc chuyển"},
	PatientItself:    {"{0} and PID-3 name the same patient", "{0} và PID-3 là cùng một người bệnh"},
	PatientAuthority: {"{0} and PID-3 have no numbers of the same authority and type: patients are merged within one authority", "{0} và PID-3 không có mã cùng nơi cấp và cùng loại: chỉ gộp hồ sơ trong cùng một nơi cấp"},
	PatientCircle:    {"the patient of PID-3 was merged into the patient of {0} before: the merges would go in a circle; unmerge (A37) first", "người bệnh trong PID-3 đã được gộp vào người bệnh trong {0}: việc gộp sẽ thành vòng tròn; hãy tách (A37) trước"},
	PatientMerged:    {"the patient of {0} was merged into somebody else before; unmerge (A37) first", "người bệnh trong {0} đã được gộp vào người khác; hãy tách (A37) trước"},
	PatientTaken:     {"the new number in PID-3 is another patient's: only a merge (A40) makes two patients one", "mã mới trong PID-3 là của người bệnh khác: chỉ việc gộp (A40) mới nhập hai hồ sơ làm một"},
	PatientUnknown:   {"the patient of PID-3 is not known", "không có người bệnh trong PID-3"},
	PatientNoPair:    {"the message must have PID segments in pairs", "bản tin phải có các đoạn PID theo từng cặp"},
	PatientNotLinked: {"the two patients are neither linked nor merged", "hai người bệnh không được liên kết và cũng không được gộp"},
	PatientTooMany:   {"{0} at once, and {1} are the most", "có {0} cùng lúc, và nhiều nhất là {1}"},
}
