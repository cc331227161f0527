package find

import (
	"context"

	"nhip/dicom"
	"nhip/dicom/association"
	"nhip/dicom/dimse"
	"nhip/dicom/service"
)

// Find asks the peer for what matches the identifier, by C-FIND with a SOP class
// that service.Propose proposed, and calls answer for each match. Where answer
// returns false the query is cancelled; answers that were under way are not
// passed on. The status is the last one: success, FE00H when cancelled, or a
// failure. complete is false where the peer did not support all keys of a match,
// FF01H. An answer that cannot be read ends the query with an error.
func Find(ctx context.Context, a *association.Association, class string, identifier *dicom.Dataset, answer func(*dicom.Dataset) bool) (status dimse.Status, complete bool, err error) {
	c, err := service.Context(a, class)
	if err != nil {
		return dimse.Status{}, false, err
	}
	body, err := service.Encode(identifier, c.TransferSyntax)
	if err != nil {
		return dimse.Status{}, false, err
	}
	call, err := a.Start(ctx, c.ID, dimse.Command{Field: dimse.CFindRQ, AffectedSOPClassUID: class}, body)
	if err != nil {
		return dimse.Status{}, false, err
	}
	complete = true
	var unread error
	for wanted := true; ; {
		rsp, err := call.Next(ctx)
		if err != nil {
			return dimse.Status{}, false, err
		}
		if rsp.Command.Status.Class() != dimse.ClassPending {
			return rsp.Command.Status, complete, unread
		}
		complete = complete && rsp.Command.Status.Code != dimse.PendingKeysUnsupported
		if !wanted {
			continue
		}
		d, err := service.Read(rsp, maxAnswer)
		if err != nil {
			unread = err
		}
		if wanted = err == nil && answer(d); !wanted {
			if err := call.Cancel(ctx); err != nil {
				return dimse.Status{}, false, err
			}
		}
	}
}

// maxAnswer is the longest data set of a response, in bytes.
const maxAnswer = 1 << 20
