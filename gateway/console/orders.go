package console

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"nhip/gateway/orders"
	"nhip/gateway/record"
)

// Orders gives what systems have ordered: see package orders.
type Orders interface {
	// List answers a query, the newest first; more says that there are others.
	List(ctx context.Context, q orders.Query) (all []orders.View, more bool, err error)
	// OpenByKind is how many orders are open.
	OpenByKind() map[record.OrderKind]int
}

// An ordersView is how many orders are open.
type ordersView struct {
	Laboratory int `json:"laboratory"`
	Imaging    int `json:"imaging"`
	Other      int `json:"other"`
}

// Any reports whether one is.
func (o ordersView) Any() bool { return o != ordersView{} }

func (c *Console) openOrders() ordersView {
	if c.o.Orders == nil {
		return ordersView{}
	}
	n := c.o.Orders.OpenByKind()
	return ordersView{n[record.LaboratoryOrder], n[record.ImagingOrder], n[record.OtherOrder]}
}

// apiOrders answers ?specimen=, ?order=, ?accession= or ?patient=; without any of them
// the newest open orders.
func (c *Console) apiOrders(w http.ResponseWriter, r *http.Request) {
	v := r.URL.Query()
	q := orders.Query{Limit: maxOrders}
	for name, to := range map[string]*string{"specimen": &q.Specimen, "order": &q.Order, "accession": &q.Accession, "patient": &q.Patient} {
		if *to = strings.TrimSpace(v.Get(name)); len(*to) > maxSpecimen {
			c.refuse(w, http.StatusBadRequest, fmt.Sprintf("%s has at most %d bytes", name, maxSpecimen))
			return
		}
	}
	answer := orders.List{Orders: []orders.View{}}
	var err error
	if c.o.Orders != nil {
		ctx, cancel := context.WithTimeout(r.Context(), sourceTimeout)
		defer cancel()
		var all []orders.View
		if all, answer.More, err = c.o.Orders.List(ctx, q); len(all) > 0 {
			answer.Orders = all
		}
	}
	c.json(w, answer, err)
}

// maxOrders is how many orders one answer of the API has.
const maxOrders = 100
