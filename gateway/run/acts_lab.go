package run

import (
	"context"
	"errors"
	"strings"
	"time"

	"nhip/gateway/control"
	"nhip/gateway/delivery"
	"nhip/gateway/intake"
	"nhip/gateway/lab"
	"nhip/storage"
)

// The requests of the acts of the laboratory.
type (
	// MatchRequest is of "match": a held result is of this order, says a person.
	MatchRequest struct {
		ID     string `json:"id"`
		Order  string `json:"order"` // placer or filler number
		Reason string `json:"reason,omitempty"`
	}
	// ReturnRequest is of "return": the services of an order are given to analysers again.
	ReturnRequest struct {
		Order  string `json:"order"`
		Reason string `json:"reason,omitempty"`
	}
)

// maxNumber bounds the number of an order in a request, in bytes.
const maxNumber = 200

// number is the number of an order that is there.
func (d *desk) number(text string) (string, error) {
	text = strings.TrimSpace(text)
	if text == "" || len(text) > maxNumber {
		return "", control.Bad("the number of the order is empty or longer than %d bytes", maxNumber)
	}
	_, err := d.lab.Numbered(text)
	if errors.Is(err, lab.ErrNoSuchOrder) {
		return "", control.Unknown("there is no order with the number %q", text)
	}
	return text, err
}

// match lets a held result go on under the order that a named person says.
func (d *desk) match(ctx context.Context, who control.Actor, r MatchRequest) (any, error) {
	queue, seq, err := itemID(ItemRequest{ID: r.ID, Reason: r.Reason})
	if err == nil {
		err = delivery.Named(who, r.Reason)
	}
	if err == nil && queue != intake.HeldQueue {
		err = control.Bad("%q waits for a destination: only what is held before it has one is matched", r.ID)
	}
	if err != nil {
		return nil, err
	}
	order, err := d.number(r.Order)
	if err != nil {
		return nil, err
	}
	n, err := d.interpretAgain(ctx, who, seq, r.Reason, order)
	return ActAnswer{n}, err
}

// giveBack lets analysers ask again for the services of an order that have a result.
func (d *desk) giveBack(ctx context.Context, who control.Actor, r ReturnRequest) (any, error) {
	err := shortReason(r.Reason)
	if err == nil {
		err = delivery.Named(who, r.Reason)
	}
	if err != nil {
		return nil, err
	}
	order, err := d.number(r.Order)
	if err != nil {
		return nil, err
	}
	b := new(storage.Batch)
	control.Of(who, "return", order, r.Reason, time.Now()).Write(b)
	if _, err := d.store.Commit(ctx, b); err != nil { // who did it stands before it is done
		return nil, err
	}
	n, err := d.lab.Return(ctx, order)
	return ActAnswer{n}, err
}
