package lab

import (
	"context"
	"slices"

	"nhip/gateway/orders"
	"nhip/gateway/record"
)

// Return gives the open services of an order to analysers again, as if they had no
// result yet and had been given to none; it says how many. Results that came stay where they are.
func (d *Desk) Return(ctx context.Context, number string) (int, error) {
	e, err := d.Numbered(number)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, s := range e.Order.Services {
		told := slices.ContainsFunc(e.Given, func(g orders.Given) bool { return g.Service == s.ID })
		if s.State != record.Open || s.Progress == record.Received && !told {
			continue
		}
		d.Orders.Mark(orders.Mark{Order: e.ID, Version: e.Version, Service: s.ID, Progress: record.Received, Device: returned, At: d.now()})
		n++
	}
	return n, d.Orders.Flush(ctx)
}

// returned stands for the device in the progress of a service that a person gave back.
const returned = "nhip"
