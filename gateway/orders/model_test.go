package orders

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"nhip/gateway/record"
)

// A modelItem is one service of an order as the rules of this package's documentation
// have it, written down without the package.
type modelItem struct {
	content string
	state   string // open, hold, ended, done
	end     int    // when the end was said; 0: not said
}

type modelOrder struct {
	items map[string]*modelItem
	last  int // the latest time that was said
}

type model map[string]*modelOrder

func (o *modelOrder) open() bool {
	for _, i := range o.items {
		if i.state == "open" || i.state == "hold" {
			return true
		}
	}
	return false
}

func (o *modelOrder) begins(said int) bool {
	for _, i := range o.items {
		if said == 0 || i.state == "done" && i.end == 0 || i.end == 0 || said <= i.end {
			return false
		}
	}
	return true
}

// do applies a request, and reports whether it was refused.
func (m model) do(what, number, content string, said int, codes []string) (refused bool) {
	o := m[number]
	switch {
	case o == nil && (what == "NW" || what == "XO"):
		m[number] = newModelOrder(content, said, codes)
		return false
	case o == nil && what == "CA":
		o = newModelOrder(content, said, codes)
		if len(codes) == 0 {
			o.items[""] = &modelItem{}
		}
		for _, i := range o.items {
			i.state, i.end = "ended", said
		}
		m[number] = o
		return true
	case o == nil:
		return what != "SC"
	case what == "CA":
		return o.cancel(said, codes)
	case !o.open() && what == "NW" && o.begins(said):
		m[number] = newModelOrder(content, said, codes)
		return false
	case !o.open():
		return what != "SC"
	case said != 0 && said < o.last:
		return true
	}
	return o.change(what, content, said, codes)
}

func newModelOrder(content string, said int, codes []string) *modelOrder {
	o := &modelOrder{items: map[string]*modelItem{}, last: said}
	for _, c := range codes {
		o.items[c] = &modelItem{content: content, state: "open"}
	}
	return o
}

func (o *modelOrder) cancel(said int, codes []string) (refused bool) {
	if len(codes) == 0 || o.items[""] != nil { // nothing is known of a cancelled one but that
		codes = slices.Collect(maps.Keys(o.items))
	}
	found, ended, done, moved := 0, 0, 0, false
	for _, c := range codes {
		i := o.items[c]
		if i == nil {
			continue
		}
		found++
		switch i.state {
		case "done":
			done++
		case "ended":
			if i.end != 0 && (said > i.end || said == 0) {
				i.end, moved = said, true
			}
		default:
			i.state, i.end = "ended", said
			ended++
		}
	}
	if ended > 0 || moved {
		o.last = max(o.last, said)
	}
	return found == 0 || ended == 0 && !moved && done > 0
}

func (o *modelOrder) change(what, content string, said int, codes []string) (refused bool) {
	acted := 0
	switch what {
	case "NW":
		over := 0
		for _, c := range codes {
			switch i := o.items[c]; {
			case i == nil:
				o.items[c] = &modelItem{content: content, state: "open"}
				acted++
			case i.state == "open" || i.state == "hold":
				if i.content != content {
					acted++
				}
				i.content = content
			default:
				over++
			}
		}
		refused = acted == 0 && over > 0
	case "XO":
		if len(o.items) == 1 && len(codes) == 1 {
			for c, i := range o.items {
				delete(o.items, c)
				i.content, acted = content, 1
				o.items[codes[0]] = i
			}
			break
		}
		live := 0
		for _, c := range codes {
			if i := o.items[c]; i == nil || i.state == "open" || i.state == "hold" {
				live++
			}
		}
		if live == 0 {
			return true
		}
		acted = 1
		for c, i := range o.items {
			if !slices.Contains(codes, c) && (i.state == "open" || i.state == "hold") {
				i.state, i.end = "ended", said
			}
		}
		for _, c := range codes {
			switch i := o.items[c]; {
			case i == nil:
				o.items[c] = &modelItem{content: content, state: "open"}
			case i.state == "open" || i.state == "hold":
				i.content = content
			}
		}
	case "HD", "RL":
		from, to := "open", "hold"
		if what == "RL" {
			from, to = "hold", "open"
		}
		over := 0
		for _, i := range o.items {
			switch i.state {
			case from:
				i.state, acted = to, acted+1
			case "ended", "done":
				over++
			}
		}
		refused = acted == 0 && over > 0
	case "SC":
		for _, i := range o.items {
			if i.state == "open" || i.state == "hold" {
				i.state, i.end, acted = "done", said, acted+1
			}
		}
	}
	if acted > 0 {
		o.last = max(o.last, said)
	}
	return refused
}

// offered is what an analyser may be given: code and content.
func (m model) offered(number string) []string {
	var all []string
	if o := m[number]; o != nil {
		for c, i := range o.items {
			if i.state == "open" {
				all = append(all, c+"="+i.content)
			}
		}
	}
	slices.Sort(all)
	return all
}

var modelActions = map[string]Action{"NW": New, "XO": Changing, "CA": Cancel, "HD": Hold, "RL": Release, "SC": Status}

func modelRequest(what, number, content string, said int, codes []string) Request {
	r := Request{Action: modelActions[what], Control: what, Link: "his", MessageID: content}
	if said > 0 {
		r.Said.Order = at.Add(time.Duration(said) * time.Minute)
	}
	if what == "SC" {
		r.State = record.Completed
	}
	r.Order = record.Order{Kind: record.LaboratoryOrder, Placer: record.OrderNumber{ID: number, Authority: "HIS"}}
	for _, c := range codes {
		r.Order.Services = append(r.Order.Services, record.Service{
			Code: record.Coded{Code: c}, Priority: content, Specimens: []record.OrderSpecimen{{IDs: []string{"S" + number}}},
		})
	}
	return r
}

// Whatever comes in whatever order, late, doubled, over restarts: what is offered is
// what the rules have, so never a cancelled one and never an older version.
func TestWhatIsOfferedIsWhatTheRulesHave(t *testing.T) {
	s, o := openStore(t, t.TempDir())
	defer s.Close()
	run := 0
	rapid.Check(t, func(r *rapid.T) {
		run++
		m := model{}
		var trace []string
		var again []any
		numbers := []string{fmt.Sprintf("A%d", run), fmt.Sprintf("B%d", run)}
		for step := range rapid.IntRange(1, 15).Draw(r, "steps") {
			what := rapid.SampledFrom([]string{"NW", "NW", "XO", "XO", "CA", "HD", "RL", "SC", "restart", "again"}).Draw(r, "what")
			if what == "restart" {
				o = openOrders(t, s)
				continue
			}
			args := []any{what, rapid.SampledFrom(numbers).Draw(r, "number"), fmt.Sprint("v", step), rapid.IntRange(0, 6).Draw(r, "said"), []string(nil)}
			if what == "NW" || what == "XO" || what == "CA" && rapid.Bool().Draw(r, "named") {
				args[4] = slices.Sorted(slices.Values(rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"GLU", "NA", "K"}), 1, 3, rapid.ID[string]).Draw(r, "codes")))
			}
			if what == "again" {
				if again == nil {
					continue
				}
				args = again
			}
			again = args
			what, number, content, said, codes := args[0].(string), args[1].(string), args[2].(string), args[3].(int), args[4].([]string)
			trace = append(trace, fmt.Sprint(args...))
			out := apply(t, s, o, modelRequest(what, number, content, said, codes))
			if refused := m.do(what, number, content, said, codes); refused != out.Problem.Refused() {
				r.Fatalf("refused is %v by the rules, problem %d\n%s", refused, out.Problem, strings.Join(trace, "\n"))
			}
			for _, n := range numbers {
				found, err := o.Specimen(SpecimenQuery{Specimen: "S" + n, At: at})
				if err != nil {
					r.Fatal(err)
				}
				var got []string
				for _, x := range found {
					got = append(got, x.Service.Code.Code+"="+x.Service.Priority)
				}
				slices.Sort(got)
				if wanted := m.offered(n); !slices.Equal(got, wanted) {
					r.Fatalf("offered are %v, by the rules %v\n%s", got, wanted, strings.Join(trace, "\n"))
				}
			}
		}
	})
}
