package analyser

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"nhip/hardware-sim/truth"
	"nhip/hardware-sim/wire"
)

// mindrayBS asks by QRY^Q02 and sends one ORU^R01 for each test.
var mindrayBS = dialogue{
	query: func(q Question) []byte {
		at := q.At.Format("20060102150405")
		return records([]string{
			fmt.Sprintf(`MSH|^~\&|Mindray|BS-480|||%s||QRY^Q02|Q%d|P|2.3.1||||||ASCII|||`, at, q.Number),
			fmt.Sprintf("QRD|%s|R|D|%d|||RD|%s|OTH|||T|", at, q.Number, q.Specimen),
			fmt.Sprintf("QRF|BS-480|%s|%s|||RCT|COR|ALL||", at, at),
		})
	},
	report: func(r Run) []Message {
		var all []Message
		for n, m := range r.Tests {
			all = append(all, Message{Truth: truth.Item{Results: []truth.Result{r.result(m, "mg/dL", "N", "F", true)}}, Bytes: records([]string{
				fmt.Sprintf(`MSH|^~\&|Mindray|BS-480|||%s||ORU^R01|R%d.%d|P|2.3.1||||0||ASCII|||`, r.stamp(), r.Number, n+1),
				"PID|1|" + r.Patient,
				fmt.Sprintf("OBR|1|%s|%d|Mindray^BS-480|N||%s||||||||serum", r.Specimen, r.Number%1000, r.stamp()),
				fmt.Sprintf("OBX|1|NM|%s|T%s|%s|mg/dL|70-100|N|||F|||%s||TECH1", m.Code, m.Code, m.Value, r.stamp()),
			})})
		}
		return all
	},
}

// cobas5800 is IHE LAW in the dialect of the x800 Data Manager: QBP^Q11, OML^O33,
// OUL^R22.
var cobas5800 = dialogue{
	query: func(q Question) []byte {
		return records([]string{
			fmt.Sprintf(`MSH|^~\&|X800 DM||HOST||%s||QBP^Q11^QBP_Q11|Q%d|P|2.5.1|||NE|AL||UNICODE UTF-8|||LAB-27R^ROCHE`, q.At.Format("20060102150405-0700"), q.Number),
			fmt.Sprintf("QPD|WOS_ROCHE^Work Order Step Roche Extension^ROCHE|t%d|%s|S54|14", q.Number, q.Specimen),
			"RCP|I||R^Real Time^HL70394",
		})
	},
	report: func(r Run) []Message {
		all := []string{
			fmt.Sprintf(`MSH|^~\&|X800 DM||HOST||%s||OUL^R22^OUL_R22|R%d|P|2.5.1|||NE|AL||UNICODE UTF-8|||LAB-29^IHE`, r.At.Format("20060102150405-0700"), r.Number),
			fmt.Sprintf("SPM|1|%s&ROCHE||PLAS^plasma^HL70487|||||||P^^HL70369", r.Specimen),
			fmt.Sprintf("SAC|||%s|||||||S08|6", r.Specimen), "OBR||||70241-5^HIV^LN", "ORC|SC||||CM",
		}
		obx, results := r.each("10*-1.{copies}/mL", "N", "F", true, func(n int, m Measured) string {
			return fmt.Sprintf("OBX|%d|NM|%s^%s^99ROC|1|%s|10*-1.{copies}/mL^^UCUM||VAL^^99ROC|||F|||||tech1||c5800^Roche|%s||5-2709||||||||RSLT", n, m.Code, m.Code, m.Value, r.stamp())
		})
		return one(records(append(all, obx...)), results)
	},
}

// hearHL7 takes what the host sends of itself.
func (c *conversation) hearHL7(within time.Duration) error {
	until := time.Now().Add(within)
	for {
		if err := c.line.SetReadDeadline(until); err != nil {
			return err
		}
		if _, err := c.in.Peek(1); errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		}
		if err := c.line.SetReadDeadline(until.Add(c.timing.Reply)); err != nil {
			return err
		}
		block, err := wire.ReadBlock(c.in)
		if err != nil {
			return err
		}
		c.told(block)
	}
}

// told takes a message of the host that is an order or says that there is none, and
// answers it; false: it is an answer to something of ours.
func (c *conversation) told(block []byte) bool {
	began := time.Now()
	all := wire.Split(block)
	msh := wire.First(all, "MSH")
	if msh == nil {
		return false
	}
	var a Answer
	answer := ""
	switch msh.Component(9, 1) {
	case "QCK":
		a.Nothing = wire.First(all, "QAK").Field(2) == "NF"
	case "DSR":
		a.Orders, answer = []Order{display(all)}, "ACK^Q03"
	case "OML":
		a, answer = workOrders(all), "ORL^O34^ORL_O42"
	default:
		return false
	}
	a.Records, a.Began = block, began
	if answer != "" {
		code := "AA"
		if c.faults.take("host refused", refuse) {
			code = "AE"
		}
		if c.faults.take("line cut while the host sent", cutTaking) {
			c.line.Close()
			return true
		}
		if c.faults.take("host's frame not answered", ignoreFrame) {
			code = ""
		}
		if code != "" {
			reply := fmt.Sprintf("MSH|^~\\&|%s|%s|||%s||%s|A%s|P|%s\rMSA|%s|%s\r", msh.Field(5), msh.Field(6), began.Format("20060102150405"), answer, msh.Field(10), msh.Field(12), code, msh.Field(10))
			c.write(context.Background(), wire.Block([]byte(reply))) // a line that broke is seen at the next read
		}
		if code == "AE" {
			return true
		}
	}
	if c.take != nil && (a.Nothing || len(a.Orders) > 0) {
		c.take(a)
	}
	return answer != ""
}

// display is the order in the lines of DSR^Q03: 1 the patient, 21 the bar code, from
// 29 on the tests.
func display(all []wire.Segment) (o Order) {
	for _, s := range all {
		if s.Name() != "DSP" {
			continue
		}
		switch n, _ := strconv.Atoi(s.Field(1)); {
		case n == 1:
			o.Patient = s.Component(3, 1)
		case n == 21:
			o.Specimen = s.Component(3, 1)
		case n >= 29:
			if code := s.Component(3, 1); code != "" {
				o.Tests = append(o.Tests, code)
			}
		}
	}
	return o
}

// workOrders are the steps of OML^O33 for one container; ORC-1 DC: there are none.
func workOrders(all []wire.Segment) (a Answer) {
	o := Order{}
	if pid := wire.First(all, "PID"); pid != nil {
		o.Patient = pid.Component(3, 1)
	}
	for _, s := range all {
		switch s.Name() {
		case "SAC":
			o.Specimen = s.Component(3, 1)
		case "ORC":
			o.Action = s.Field(1)
		case "OBR":
			if code := s.Component(4, 1); code != "" {
				o.Tests = append(o.Tests, code)
			}
		}
	}
	return Answer{Orders: []Order{o}, Nothing: o.Action == "DC" && len(o.Tests) == 0}
}
