package main

import (
	"errors"
	"fmt"
	"net"
	"os"

	"nhip/dicom/association"
	"nhip/dicom/uid"
	"nhip/dicom/ul"
	"nhip/gateway/reason"
)

// A speech says what `nhip dicom` has to say in a language.
type speech reason.Language

// spoken is the speech of a --lang.
func spoken(lang string) speech { return speech(language(lang)) }

func (l speech) sprintf(format string, args ...any) string {
	if reason.Language(l) == reason.Vietnamese {
		if v, ok := dicomVietnamese[format]; ok {
			format = v
		}
	}
	return fmt.Sprintf(format, args...)
}

// printf prints to the standard output, warnf to the standard error.
func (l speech) printf(format string, args ...any) { fmt.Print(l.sprintf(format, args...)) }
func (l speech) warnf(format string, args ...any)  { fmt.Fprint(os.Stderr, l.sprintf(format, args...)) }

func (l speech) errorf(format string, args ...any) error {
	return errors.New(l.sprintf(format, args...))
}

// why is an error of an association in words; one that has none stays as it is.
func (l speech) why(err error) error {
	var rejected *association.RejectedError
	var not *association.NotAcceptedError
	var broken net.Error
	switch {
	case err == nil || reason.Language(l) == reason.English:
		return err
	case errors.As(err, &rejected):
		return l.errorf("%s rejects the association: %s (%d/%d/%d)", rejected.Called, l.rejection(rejected.AssociateRJ), rejected.Result, rejected.Source, rejected.Reason)
	case errors.As(err, &not) && not.TransferSyntax == "":
		return l.errorf("the peer does not take %s", named(not.AbstractSyntax))
	case errors.As(err, &not):
		return l.errorf("the peer does not take %s in %s", uid.Name(not.AbstractSyntax), uid.Name(not.TransferSyntax))
	case errors.As(err, &broken):
		return errors.New(reason.Network(err).In(reason.Language(l)))
	}
	return err
}

// rejection is why an association was rejected, PS3.8 table 9-21.
func (l speech) rejection(r ul.AssociateRJ) string {
	switch r {
	case ul.RejectCalledAETitle:
		return l.sprintf("it is not this AE title")
	case ul.RejectCallingAETitle:
		return l.sprintf("it does not know our AE title, or not from this address")
	case ul.RejectTemporaryCongestion, ul.RejectLocalLimitExceeded:
		return l.sprintf("it is busy for now")
	case ul.RejectApplicationContext, ul.RejectProtocolVersion:
		return l.sprintf("it speaks another protocol")
	}
	return l.sprintf("no reason given")
}

// dicomVietnamese has what is said, by its English form: the same places in the same
// order.
var dicomVietnamese = map[string]string{
	"%q is not of the form AE@HOST:PORT, with an AE title of 1 to 16 characters": "%q không có dạng AE@HOST:PORT, với AE title từ 1 đến 16 ký tự",
	"association accepted in %v by %s\n":                                         "association được chấp nhận sau %v bởi %s\n",
	"an implementation without a name":                                           "một phần mềm không ghi tên",
	"C-ECHO answered 0000 in %v\n":                                               "C-ECHO trả lời 0000 sau %v\n",
	"%s rejected us: %v\nIt may know only AE titles and addresses that its configuration names: ours is %s": "%s từ chối: %v\nCó thể nơi đó chỉ biết những AE title và địa chỉ đã khai báo: AE title của ta là %s",
	"problem: %v\n":                          "vấn đề: %v\n",
	"%s at %s\n":                             "%s tại %s\n",
	"no version name":                        "không ghi tên phiên bản",
	"no class UID":                           "không ghi class UID",
	"  implementation    %s (%s)\n":          "  phần mềm          %s (%s)\n",
	"  secured by TLS    %s\n":               "  bảo mật TLS       %s\n",
	"  PDU length        no limit\n":         "  độ dài PDU        không giới hạn\n",
	"  PDU length        at most %d bytes\n": "  độ dài PDU        tối đa %d byte\n",
	"  window            one operation at a time: it does not negotiate\n": "  cửa sổ            mỗi lần một thao tác: nơi này không thương lượng\n",
	"  window            we may invoke %s at a time, it may %s\n":          "  cửa sổ            ta được gọi %s thao tác cùng lúc, nơi này %s\n",
	"  connect           %v\n":                "  kết nối           %v\n",
	"  C-ECHO            %v\n":                "  C-ECHO            %v\n",
	"  C-ECHO            not accepted\n":      "  C-ECHO            không nhận\n",
	"  release           %v\n":                "  kết thúc          %v\n",
	"  asked with        %d associations\n":   "  đã hỏi bằng       %d association\n",
	"any number":                              "bao nhiêu cũng được",
	"yes":                                     "có",
	"no":                                      "không",
	"It accepts no SOP class that we know.\n": "Nơi này không nhận SOP class nào mà ta biết.\n",
	"It accepts %d SOP classes:\n":            "Nơi này nhận %d SOP class:\n",
	", which it takes first":                  ", được chọn trước",
	"      in %s%s\n":                         "      với %s%s\n",
	", in both roles":                         ", ở cả hai vai trò",
	", and we may be SCP":                     ", và ta được làm SCP",
	"%q is no transfer syntax: write a UID or one of %s": "%q không phải là transfer syntax: hãy viết UID hoặc một trong %s",
	"nothing can be changed to %s":                       "không đổi sang %s được",
	"%d objects":                                         "%d đối tượng",
	"%d of %d objects sent\n":                            "đã gửi %d trên %d đối tượng\n",
	"not sent: %v":                                       "chưa gửi: %v",
	"refused: %v":                                        "bị từ chối: %v",
	"it has no SOP Class UID or no valid SOP Instance UID":           "không có SOP Class UID, hoặc không có SOP Instance UID hợp lệ",
	"it has no File Meta Information that names its transfer syntax": "không có File Meta Information ghi transfer syntax",
	"%v; again in %v\n": "%v; thử lại sau %v\n",
	"answered %v":       "trả lời %v",
	"%d matches\n":      "%d kết quả\n",
	"the peer did not match every key: some of these may not be what was asked for\n": "nơi này không so hết mọi khóa: có thể một số kết quả không đúng với câu hỏi\n",
	"%d kinds of objects find no place in one association\n":                          "%d loại đối tượng không còn chỗ trong một association\n",
	"%d objects in %s\n":        "%d đối tượng trong %s\n",
	"did not come: %s\n":        "chưa nhận được: %s\n",
	"--instance needs --series": "--instance cần có --series",
	"JSON is printed of files only, not of the standard input": "JSON chỉ in được từ tệp, không từ đầu vào chuẩn",
	"%s rejects the association: %s (%d/%d/%d)":                "%s từ chối association: %s (%d/%d/%d)",
	"the peer does not take %s":                                "nơi này không nhận %s",
	"the peer does not take %s in %s":                          "nơi này không nhận %s với %s",
	"it is not this AE title":                                  "nơi đó không mang AE title này",
	"it does not know our AE title, or not from this address":  "nơi đó không biết AE title của ta, hoặc không biết từ địa chỉ này",
	"it is busy for now":                                       "nơi đó đang bận",
	"it speaks another protocol":                               "nơi đó dùng giao thức khác",
	"no reason given":                                          "không nêu lý do",
}
