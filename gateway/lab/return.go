package lab

import (
	"context"

	"nhip/gateway/orders"
	"nhip/gateway/record"
)

// Return gives the open services of an order to analysers again, as if they had no
// result yet; it says how many. Results that came stay where they are.
func (d *Desk) Return(ctx context.Context, number string) (int, error) {
	e, err := d.Numbered(number)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, s := range e.Order.Services {
		if s.State != record.Open || s.Progress == record.Received {
			continue
		}
		d.Orders.Mark(orders.Mark{Order: e.ID, Version: e.Version, Service: s.ID, Progress: record.Received, Device: returned, At: d.now()})
		n++
	}
	return n, d.Orders.Flush(ctx)
}

// returned stands for the device in the progress of a service that a person gave back.
const returned = "nhip"
