package console

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

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

// apiOrders answers ?specimen=, ?order=, ?accession=, ?patient= or ?id=; without any of them
// the newest open orders.
func (c *Console) apiOrders(w http.ResponseWriter, r *http.Request) {
	q, err := ordersQuery(r)
	if err != nil {
		c.refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	answer, err := c.listOrders(r, q)
	c.json(w, answer, err)
}

// ordersQuery reads the parameters of a search.
func ordersQuery(r *http.Request) (orders.Query, error) {
	v := r.URL.Query()
	q := orders.Query{Limit: maxOrders}
	for name, to := range map[string]*string{"specimen": &q.Specimen, "order": &q.Order, "accession": &q.Accession, "patient": &q.Patient} {
		if *to = strings.TrimSpace(v.Get(name)); len(*to) > maxSpecimen {
			return q, fmt.Errorf("%s has at most %d bytes", name, maxSpecimen)
		}
	}
	if text := v.Get("id"); text != "" {
		var err error
		if q.ID, err = strconv.ParseUint(text, 10, 64); err != nil || q.ID == 0 {
			return q, errors.New("id is the number of an order, from 1")
		}
	}
	return q, nil
}

func (c *Console) listOrders(r *http.Request, q orders.Query) (answer orders.List, err error) {
	answer.Orders = []orders.View{}
	if c.o.Orders == nil {
		return answer, nil
	}
	ctx, cancel := context.WithTimeout(r.Context(), sourceTimeout)
	defer cancel()
	all, more, err := c.o.Orders.List(ctx, q)
	if len(all) > 0 {
		answer.Orders, answer.More = all, more
	}
	return answer, err
}

// maxOrders is how many orders one answer of the API has.
const maxOrders = 100

// An ordersForm is what the page of orders shows.
type ordersForm struct {
	Query  orders.Query
	Wrong  bool
	Orders []orderView
	More   bool
	Act    bool // a person may act here
}

// An orderView is an order of the page.
type orderView struct {
	orders.View
	Received *time.Time
	Number   string // for an act: of the placer, else of the filler
	Rows     []serviceRow
	Turns    []turnView
}

// A serviceRow is a service with its state in words.
type serviceRow struct {
	orders.ServiceView
	Words   string
	Tone    tone
	At      *time.Time
	Devices []givenRow
}

// A givenRow is what an analyser has of a service.
type givenRow struct {
	Device, Words, Why string
	At                 *time.Time
	Tone               tone
}

type turnView struct {
	orders.Turn
	At *time.Time
}

// ordersPage lists the orders that a person looks for, else the newest that are open.
func (c *Console) ordersPage(w http.ResponseWriter, r *http.Request) {
	p, v := c.newPage(r, "orders")
	f := ordersForm{Act: c.o.Acts != nil}
	var err error
	if f.Query, err = ordersQuery(r); err != nil {
		f.Wrong, p.Orders = true, &f
		c.renderStatus(w, v.lang, "orders", p, http.StatusBadRequest)
		return
	}
	list, err := c.listOrders(r, f.Query)
	if err != nil {
		c.o.Log.Warn("the orders have no answer", "error", err)
		p.Down = true
	}
	f.More, f.Orders = list.More, each(list.Orders, v.order)
	p.Orders = &f
	c.render(w, v.lang, "orders", p)
}

func (v viewer) order(o orders.View) orderView {
	number, _, _ := strings.Cut(cmp.Or(o.Placer, o.Filler), "^")
	return orderView{
		View: o, Received: v.at(o.Received), Number: number, Rows: each(o.Services, v.service),
		Turns: each(o.History, func(t orders.Turn) turnView { return turnView{t, v.at(t.At)} }),
	}
}

func (v viewer) service(s orders.ServiceView) serviceRow {
	x := serviceRow{ServiceView: s, Tone: neutral}
	if s.At != nil {
		x.At = v.at(*s.At)
	}
	if s.State == string(record.Open) {
		x.Words = progressTexts[record.Progress(s.Progress)][v.lang]
		if s.By != "" && s.Progress != string(record.Received) {
			x.Words += " · " + s.By
		}
		x.Tone = progressTones[record.Progress(s.Progress)]
	} else {
		x.Words = serviceTexts[record.ServiceState(s.State)][v.lang]
	}
	x.Words = cmp.Or(x.Words, strings.TrimSpace(s.State+" "+s.Progress))
	for _, g := range s.Analysers {
		state := orders.GivenState(g.State)
		x.Devices = append(x.Devices, givenRow{
			Device: g.Device, Words: cmp.Or(givenTexts[state][v.lang], g.State), Why: g.Reason.In(v.lang), At: v.at(g.At), Tone: cmp.Or(givenTones[state], neutral),
		})
	}
	return x
}

var progressTones = map[record.Progress]tone{
	record.Received: neutral, record.Sent: warn, record.Acknowledged: good, record.Queried: good, record.Begun: good, record.Resulted: good,
}

var givenTones = map[orders.GivenState]tone{
	orders.Taken: good, orders.Refused: warn, orders.GivenUp: bad, orders.TakeBack: warn, orders.Dropped: neutral, orders.TooLate: bad,
}

// What is known of a service, in words. An acknowledgement on the link is not that the
// analyser runs it.
var (
	progressTexts = map[record.Progress]text{
		record.Received:     {"received, with no analyser yet", "đã nhận, chưa có ở máy nào"},
		record.Sent:         {"sent to the analyser, not acknowledged", "đã gửi tới máy, máy chưa xác nhận"},
		record.Acknowledged: {"acknowledged by the analyser on the link", "máy đã xác nhận trên đường truyền"},
		record.Queried:      {"asked for by the analyser, and answered", "máy đã hỏi và đã được trả lời"},
		record.Begun:        {"the analyser works on it", "máy đang làm"},
		record.Resulted:     {"a result came", "đã có kết quả"},
	}
	serviceTexts = map[record.ServiceState]text{
		record.OnHold: {"on hold", "tạm ngừng"}, record.Cancelled: {"cancelled", "đã hủy"}, record.Discontinued: {"discontinued", "đã ngừng"},
		record.Replaced: {"replaced by another order", "đã thay bằng chỉ định khác"}, record.Completed: {"completed", "đã hoàn tất"},
		record.Expired: {"expired: nobody did it in its time", "hết hạn: quá thời gian mà chưa làm"},
	}
	givenTexts = map[orders.GivenState]text{
		orders.Taken:    {"has it", "đã có"},
		orders.Refused:  {"refused it; it is tried again", "từ chối; sẽ thử lại"},
		orders.GivenUp:  {"refuses it: a person has to look", "từ chối nhiều lần: cần người xem"},
		orders.TakeBack: {"told to drop it, has not confirmed", "đã báo bỏ, máy chưa xác nhận"},
		orders.Dropped:  {"has dropped it", "đã bỏ"},
		orders.TooLate:  {"CANCELLED TOO LATE: it has it and cannot be told to drop it", "HỦY QUÁ MUỘN: máy đã có và không thể báo bỏ"},
	}
)
