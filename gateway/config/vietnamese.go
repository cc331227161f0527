package config

import (
	"fmt"
	"strings"
)

// vietnamese has what is said of a configuration, by its English form: the same
// places in the same order.
var vietnamese = map[string]string{
	"%s %q: an AE title has 1 to 16 ASCII characters, no backslash, no blank at either end": "%s %q: AE title có từ 1 đến 16 ký tự ASCII, không có dấu \\, không có dấu cách ở đầu hay cuối",
	"%s has no meaning for kind %q":                       "%s không có nghĩa với kind %q",
	"%s is %q; it may be %s":                              "%s là %q; chỉ được là %s",
	"%s is already that of %s (line %d)":                  "%s đã được %s dùng (dòng %d)",
	"%s is empty":                                         "%s bị trống",
	"%s must be from %d to %d":                            "%s phải từ %d đến %d",
	"%s: %q is not of the form name@hospital.example":     "%s: %q không có dạng ten@benhvien.example",
	"%s: %s is not a file":                                "%s: %s không phải là tệp",
	"%s: %s: %s":                                          "%s: %s: %s",
	"%s: %v":                                              "%s: %v",
	"%s: it must be longer than 0":                        "%s: phải lớn hơn 0",
	"%s: others than its owner may change %s: chmod 600":  "%s: người khác ngoài chủ sở hữu sửa được %s: hãy chmod 600",
	"%s: others than its owner may read %s: chmod 600":    "%s: người khác ngoài chủ sở hữu đọc được %s: hãy chmod 600",
	"%s: the first line of %s is empty: it is the secret": "%s: dòng đầu của %s bị trống: đó phải là mật khẩu",
	`%s: %q has characters that separate HL7 fields (| \ & ~), or is too long`:                       `%s: %q có ký tự phân cách của HL7 (| \ & ~), hoặc quá dài`,
	`%s: %q is no topic filter: "+" is one whole level, "#" only the last, and none begins with "$"`: `%s: %q không phải là bộ lọc topic: "+" là trọn một cấp, "#" chỉ ở cấp cuối, và không bắt đầu bằng "$"`,
	"a login with starttls = %q would show the password to the network: use \"require\"":             "đăng nhập với starttls = %q sẽ để lộ mật khẩu trên mạng: hãy dùng \"require\"",
	"address: %q must name a host and its port":                                                      "address: %q phải ghi tên máy và cổng",
	"address: %s is everybody: name the device's address or its network":                             "address: %s là tất cả mọi máy: hãy ghi địa chỉ của thiết bị hoặc mạng của nó",
	"address: %s is this gateway itself: what it sends would come back":                              "address: %s chính là cổng kết nối này: những gì gửi đi sẽ quay lại",
	"address: %v":                    "address: %v",
	"ae_title %q is also that of %s": "ae_title %q cũng là của %s",
	"any host that reaches this port may send as this device: name its address = \"…\"": "máy nào tới được cổng này cũng gửi được như thiết bị này: hãy ghi address = \"…\"",
	"cannot listen on %s: %s":                                                "không mở được cổng %s: %s",
	`certificate: [dicom] tls_clients = "none" asks for none`:                `certificate: [dicom] tls_clients = "none" nên không hỏi chứng chỉ`,
	"certificate: there is no [dicom] tls_listen on which it could be shown": "certificate: chưa có [dicom] tls_listen để nhận chứng chỉ này",
	"data is empty: name a folder":                                           "data bị trống: hãy ghi một thư mục",
	"data: %s is not a folder":                                               "data: %s không phải là thư mục",
	"data: %s: %s":                                                           "data: %s: %s",
	"destination %q is gone from the file, and %d messages wait for it: put it back until they are delivered or discarded": "nơi nhận %q không còn trong tệp, mà %d bản tin đang chờ gửi tới đó: hãy ghi lại cho đến khi chúng được gửi hoặc loại bỏ",
	"each must be a table: write [[%s]]":                                                 "mỗi mục phải là một bảng: viết [[%s]]",
	"every must be a minute or longer":                                                   "every phải từ một phút trở lên",
	`expire is under "1h": results would be given up while a system restarts`:            `expire dưới "1h": kết quả sẽ bị bỏ trong lúc hệ thống nhận khởi động lại`,
	"has the same address, application and facility as %s: nobody could tell them apart": "có cùng address, application và facility với %s: không thể phân biệt hai bên",
	"host is empty: name the mail server, or take the other keys away":                   "host bị trống: hãy ghi máy chủ thư, hoặc bỏ các khóa còn lại",
	"hosts: %q is not a bare host name":                                                  "hosts: %q không phải là tên máy",
	"id %q: %s":                                                                          "id %q: %s",
	"listen: %q must begin with an IP address of this machine":                           "listen: %q phải bắt đầu bằng một địa chỉ IP của máy này",
	"listen: %s would be open to the network: %s":                                        "listen: %s sẽ mở ra mạng: %s",
	"listen: %v": "listen: %v",
	`max_message must be from "64 KiB" to "1 GiB"`:        `max_message phải từ "64 KiB" đến "1 GiB"`,
	"may neither subscribe nor publish anything":          "không được phép nhận hay gửi gì",
	"mirror lies in the data folder: choose another disk": "mirror nằm trong thư mục data: hãy chọn ổ đĩa khác",
	"profiles: %v":         "profiles: %v",
	"specimen_pattern: %v": "specimen_pattern: %v",
	"specimen_pattern has more than one group: write (?:…) for those that do not stand for the identifier":       "specimen_pattern có nhiều hơn một nhóm: hãy viết (?:…) cho các nhóm không phải là mã mẫu",
	`send = %q needs orders = "warn" or "required"`:                                                              `send = %q cần orders = "warn" hoặc "required"`,
	`send = %q: the profile %q does not say that the analyser takes orders that it did not ask for; use "query"`: `send = %q: hồ sơ %q không nói rằng máy nhận chỉ định mà máy không hỏi; hãy dùng "query"`,
	"analyser %q is not in the file":             "không có máy %q trong tệp",
	"order %q of this analyser stands in %s too": "chỉ định %q của máy này cũng có trong %s",
	"tests: %q is empty or stands there twice":   "tests: %q bị trống hoặc có hai lần",
	"name %q: %s":                                        "name %q: %s",
	"name has control characters":                        "name có ký tự điều khiển",
	"name has control characters, or over 100 bytes":     "name có ký tự điều khiển, hoặc dài hơn 100 byte",
	"passphrase_file cannot be read: %s":                 "không đọc được passphrase_file: %s",
	"port: %q is not of the form tcp-listen://HOST:PORT": "port: %q không có dạng tcp-listen://HOST:PORT",
	"port: %s is not a serial device":                    "port: %s không phải là cổng nối tiếp",
	"port: %s: %s (is the adapter plugged in?)":          "port: %s: %s (đã cắm bộ chuyển đổi chưa?)",
	"port: %v": "port: %v",
	"port: this profile does not speak HL7: use tcp-listen://, tcp-dial:// or serial://": "port: profile này không dùng HL7: hãy dùng tcp-listen://, tcp-dial:// hoặc serial://",
	"port: this profile reads result files: use file:///FOLDER":                          "port: profile này đọc tệp kết quả: hãy dùng file:///THƯ_MỤC",
	"port: this profile reads no result files: file:// is not for it":                    "port: profile này không đọc tệp kết quả: không dùng file://",
	"port: this profile speaks HL7: use mllp-listen:// or mllp-dial://":                  "port: profile này dùng HL7: hãy dùng mllp-listen:// hoặc mllp-dial://",
	"profile %q is not known%s; there are %s":                                            "không có profile %q%s; hiện có %s",
	"sop_classes: %q is not a UID":                                                       "sop_classes: %q không phải là UID",
	"stands in nobody's to":                                                              "không có mục to nào ghi nơi nhận này",
	"the key %q is missing":                                                              "thiếu khóa %q",
	`the key "called_ae_title" is missing: it is the AE title of the PACS`:               `thiếu khóa "called_ae_title": đó là AE title của PACS`,
	"the name is also that of %s":                                                        "tên này cũng là của %s",
	"there are two destinations of this name":                                            "có hai nơi nhận cùng tên này",
	"there are two people of this name: the audit journal could not tell them apart":     "có hai người cùng tên này: nhật ký kiểm tra không phân biệt được",
	"this name is the gateway's own: choose another":                                     "tên này dành riêng cho cổng kết nối: hãy chọn tên khác",
	"tls: %v":             "tls: %v",
	"tls_certificate: %v": "tls_certificate: %v",
	"tls_listen: %v":      "tls_listen: %v",
	"to is empty: its images are stored, and go nowhere":                          "to bị trống: ảnh được lưu và không gửi đi đâu",
	"to is empty: its results are stored and shown, and go nowhere":               "to bị trống: kết quả được lưu, được hiển thị và không gửi đi đâu",
	"to is empty: name who is to be told":                                         "to bị trống: hãy ghi người nhận",
	"to lies in the data folder: choose another disk, or at least another folder": "to nằm trong thư mục data: hãy chọn ổ đĩa khác, ít nhất là thư mục khác",
	"to: %q stands there twice":                                                   "to: %q được ghi hai lần",
	"to: destination %q is of kind %q; this needs one of kind %q":                 "to: nơi nhận %q thuộc kind %q; ở đây cần kind %q",
	"to: there is no [[destination]] with name = %q%s":                            "to: không có [[destination]] nào với name = %q%s",
	"to: there is no folder %s: no backup is made until there is":                 "to: không có thư mục %s: chưa sao lưu được cho đến khi có",
	"token_sha256 must be 64 hexadecimal digits: `nhip token` prints them":        "token_sha256 phải là 64 chữ số hệ 16: `nhip token` in ra",
	"two people have the same token":                                              "hai người có cùng một mã cá nhân",
	"unit %q: %s":                                                                 "unit %q: %s",
	"unknown key %q%s":                                                            "không có khóa %q%s",
	"url has a user or password in it: use token_file":                            "url có tên hoặc mật khẩu: hãy dùng token_file",
	"url: %q is not of the form https://host/path":                                "url: %q không có dạng https://host/path",
	"url: the token would be shown to the network: use https":                     "url: mã truy cập sẽ bị lộ trên mạng: hãy dùng https",
	"username and password_file belong together":                                  "username và password_file phải đi cùng nhau",
	"write [%s] once, with single brackets":                                       "viết [%s] một lần, với ngoặc vuông đơn",
	"write [[%s]], with double brackets: there may be several":                    "viết [[%s]] với ngoặc vuông kép: có thể có nhiều mục",

	"images, mpps and ian are all false: nothing would be sent to it": "images, mpps và ian đều là false: sẽ không có gì được gửi tới đó",
	"commitment: it gets no images that it could commit itself to":    "commitment: nơi này không nhận ảnh nào để cam kết lưu trữ",
	"password_file needs user: the name that goes with the password":  "password_file cần có user: tên đi cùng mật khẩu",
	"user has control characters, or over 64 characters":              "user có ký tự điều khiển, hoặc dài hơn 64 ký tự",
	"user without password_file: who knows the name is believed":      "user mà không có password_file: ai biết tên cũng được tin",

	// Of links of HL7.
	`%s must be "1s" or longer`: `%s phải từ "1s" trở lên`,
	`%s: no message can be read in %q; write a name of HL7 table 0211 such as "UNICODE UTF-8", "Windows-1252", or "TCVN3", "VNI", "VISCII", "CP1258"`: `%s: không đọc được bản tin nào theo %q; hãy viết tên trong bảng HL7 0211 như "UNICODE UTF-8", "Windows-1252", hoặc "TCVN3", "VNI", "VISCII", "CP1258"`,
	"a listener with TLS needs tls_certificate and tls_key":                                                         "cổng dùng TLS cần có tls_certificate và tls_key",
	`tls_clients = "required" needs tls_ca: what vouches for the certificates of the systems`:                       `tls_clients = "required" cần có tls_ca: nơi bảo chứng cho chứng chỉ của các hệ thống`,
	"tls_certificate, tls_key and tls_ca cannot be used: %s":                                                        "không dùng được tls_certificate, tls_key và tls_ca: %s",
	"certificate: no listener of [hl7] asks for one":                                                                "certificate: không có cổng nào của [hl7] hỏi chứng chỉ",
	"mllp: %s comes from the same address with another release, and the release is needed before the first message": "mllp: %s đến từ cùng địa chỉ với phiên bản khác, mà cần biết phiên bản trước bản tin đầu tiên",
	"acknowledges: there is no [[destination]] with name = %q":                                                      "acknowledges: không có [[destination]] nào với name = %q",
	`acknowledges: destination %q is not one with mode = "enhanced"`:                                                `acknowledges: nơi nhận %q không có mode = "enhanced"`,
	"answer_to: there is no [[destination]] with name = %q":                                                         "answer_to: không có [[destination]] nào với name = %q",
	`answer_to: destination %q is not one of kind "hl7"`:                                                            `answer_to: nơi nhận %q không thuộc kind "hl7"`,
	"folder: there is no folder %s: nothing is read until there is":                                                 "folder: không có thư mục %s: chưa đọc được gì cho đến khi có",
	"folder lies in the data folder: choose another":                                                                "folder nằm trong thư mục data: hãy chọn thư mục khác",
	"folder is also that of %s":                                                                                     "folder cũng là của %s",
	"sequence: numbers need one connection: connections = 1":                                                        "sequence: đánh số cần một kết nối: connections = 1",
	"user and password_file are for an address that is a URL":                                                       "user và password_file chỉ dùng khi address là URL",
	"address: %q is not of the form https://host/path":                                                              "address: %q không có dạng https://host/path",
	"tls: the address says http: write https":                                                                       "tls: address ghi http: hãy viết https",
	"user: the password would be shown to the network: use https":                                                   "user: mật khẩu sẽ bị lộ trên mạng: hãy dùng https",
	"mllp has no meaning for an address that is a URL":                                                              "mllp không có nghĩa khi address là URL",

	// Of the tables of codes.
	"codes: %s cannot be used":                             "codes: không dùng được %s",
	"order %q stands in the code table of %s: that counts": "chỉ định %q có trong bảng mã của %s: bảng mã được dùng",

	// Of names on analysers.
	"names: %q is none of %s": "names: %q không thuộc %s",
	`names: letters of %q are control characters (STX, EOT, ENQ, XON …), which would break the messages on this line; use "tcvn3", "vni", "cp1258" or "utf-8"`: `names: có chữ của %q là ký tự điều khiển (STX, EOT, ENQ, XON …), sẽ làm hỏng bản tin trên đường truyền này; hãy dùng "tcvn3", "vni", "cp1258" hoặc "utf-8"`,
	`names: this profile speaks IHE LAW, which is UTF-8: use "ascii" or "utf-8"`:                                                                               `names: profile này dùng IHE LAW, luôn là UTF-8: hãy dùng "ascii" hoặc "utf-8"`,
	"names has no meaning for POCT1-A: its messages say themselves what they are in":                                                                           "names không có nghĩa với POCT1-A: bản tin tự ghi bảng mã của nó",
	`names: %q needs 8 data bits, and the port has data=%s; use "ascii"`:                                                                                       `names: %q cần 8 bit dữ liệu, mà cổng có data=%s; hãy dùng "ascii"`,

	// Of orders.
	`%s is under "1h": orders would be given up before anybody could do them`: `%s dưới "1h": chỉ định sẽ bị bỏ trước khi có người thực hiện`,
	"%s: %q is no field of an order, such as %q":                              "%s: %q không phải là trường của chỉ định, ví dụ %q",
	`order_modality %q is no modality of DICOM, such as "CT"`:                 `order_modality %q không phải là modality của DICOM, ví dụ "CT"`,

	"also: %q is empty, or has characters that separate HL7 fields":                      "also: %q bị trống, hoặc có ký tự phân cách của HL7",
	"authority: %q is not of the form NAME or TYPE=NAME":                                 "authority: %q không có dạng TÊN hoặc LOẠI=TÊN",
	"authority: two authorities for identifiers of type %q":                              "authority: có hai nơi cấp cho mã loại %q",
	`authority %q is empty, or has characters that separate HL7 fields (| ^ \ & ~) or =`: `authority %q bị trống, hoặc có ký tự phân cách của HL7 (| ^ \ & ~) hoặc dấu =`,
	"%q is also that of %s":                              "%q cũng là của %s",
	"status_of: there is no [[hl7_peer]] with name = %q": "status_of: không có [[hl7_peer]] nào với name = %q",

	// Of one value.
	"it is empty: write [] to switch the listener off": "bị trống: viết [] để tắt cổng này",
	"%q is not of the form HOST:PORT":                  "%q không có dạng HOST:PORT",
	"%q: the port must be a number from 0 to 65535":    "%q: cổng phải là số từ 0 đến 65535",
	"it is not there":                                                    "không có ở đó",
	"this user may not read it":                                          "người dùng này không được đọc",
	"it is larger than %d KiB":                                           "lớn hơn %d KiB",
	"map: %s cannot be used":                                             "map: không dùng được %s",
	"it is larger than %d MiB":                                           "lớn hơn %d MiB",
	`it must be a length of time such as "30s" or "5m"`:                  `phải là khoảng thời gian như "30s" hoặc "5m"`,
	`%s is no time zone; write one as "Asia/Ho_Chi_Minh"`:                `%s không phải là múi giờ; viết như "Asia/Ho_Chi_Minh"`,
	`%s is neither an IP address nor a network such as "192.168.1.0/24"`: `%s không phải là địa chỉ IP hay mạng như "192.168.1.0/24"`,
	"it must be one text in quotes, not %s":                              "phải là một chuỗi trong dấu nháy, không phải %s",
	"it must be true or false, not %s":                                   "phải là true hoặc false, không phải %s",
	"it must be a whole number, not %s":                                  "phải là số nguyên, không phải %s",
	`it must be a size such as "64 MiB", not %s`:                         `phải là dung lượng như "64 MiB", không phải %s`,
	"is not TOML: %v":                                                    "không phải là TOML: %v",
	"column %d is not TOML: %s":                                          "cột %d không phải là TOML: %s",
	"cannot be read: %s":                                                 "không đọc được: %s",
}

// phrases are what goes into the places and is no name.
var phrases = map[string]string{
	nameRule:  "chỉ dùng chữ thường a-z, chữ số và dấu gạch nối, tối đa 40 ký tự (tên này có trong topic và tên tệp)",
	"a list":  "một danh sách",
	"a table": "một bảng",
	"another program on this machine has this port":                             "chương trình khác trên máy này đang dùng cổng này",
	"this machine does not have this address":                                   "máy này không có địa chỉ này",
	"this user may not listen on this port (those below 1024 need a privilege)": "người dùng này không được mở cổng này (cổng dưới 1024 cần quyền riêng)",
}

// A said is an error with the places of its sentence, so that it can be said in
// another language too.
type said struct {
	format string
	args   []any
}

func say(format string, args ...any) error { return &said{format, args} }

func (s *said) Error() string { return fmt.Sprintf(s.format, s.args...) }

// inVietnamese is a sentence in Vietnamese; what nobody has translated stays as it
// is.
func inVietnamese(format string, args []any) string {
	if f, ok := vietnamese[format]; ok {
		format = f
	}
	all := make([]any, len(args))
	for i, a := range args {
		all[i] = a
		switch a := a.(type) {
		case *said:
			all[i] = inVietnamese(a.format, a.args)
		case string:
			if v, ok := phrases[a]; ok {
				all[i] = v
			} else if rest, ok := strings.CutPrefix(a, ": did you mean "); ok {
				all[i] = ": có phải là " + rest
			}
		}
	}
	return fmt.Sprintf(format, all...)
}
