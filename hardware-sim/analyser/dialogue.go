package analyser

import (
	"fmt"
	"strings"
	"time"

	"nhip/hardware-sim/truth"
)

// A Question is one host query.
type Question struct {
	Specimen string
	Number   int    // of the query, from 1
	Name     string // of the connection
	At       time.Time
}

// A Measured is one test that was run.
type Measured struct{ Code, Value string }

// A Run is what an analyser measured of a specimen.
type Run struct {
	Specimen string
	Patient  string // the number that it was told; "" none
	Tests    []Measured
	At       time.Time // in the analyser's zone
	Number   int       // of the run, from 1
}

// A dialogue is how a model asks its host for work, where it reads what it is told,
// and how it reports. The zero numbers are those of LIS02: O.3.1, P.3.
type dialogue struct {
	menu       []string // tests that it is set up for, where the site says nothing of them
	query      func(Question) []byte
	specimenAt [2]int // field and component of O
	testAt     int    // component of O.5; 0: the last
	codeOf     func(string) string
	patientAt  int // field of P
	// report writes a run, as one message or one for each test. The truth of each has
	// the results as the gateway's profile reads them.
	report func(Run) []Message
}

// Menu is the tests that the model is set up for, where the site says nothing of them.
func (m Model) Menu() []string {
	if m.menu != nil {
		return m.menu
	}
	return []string{"11", "12", "13", "14", "15", "16", "17", "18"}
}

// Report is what the model sends of a run. IDs and destinations are the caller's to set.
func (m Model) Report(r Run) []Message {
	all := m.report(r)
	for i := range all {
		all[i].frame, all[i].perRecord = max(m.Frame, 1), m.PerRecord
		all[i].Truth.Kind, all[i].Truth.Key = truth.ORU, r.Specimen
	}
	return all
}

func (r Run) stamp() string { return r.At.Format("20060102150405") }

// result is the truth of one test. at says that the time of it is told.
func (r Run) result(m Measured, unit, flag, status string, at bool) truth.Result {
	x := truth.Result{Code: m.Code, Value: m.Value, Unit: unit, Flag: flag, Status: status}
	if at {
		x.Times = []time.Time{r.At.Truncate(time.Second)}
	}
	return x
}

func one(bytes []byte, results []truth.Result) []Message {
	return []Message{{Bytes: bytes, Truth: truth.Item{Results: results}}}
}

// each writes a record for each test, and its truth.
func (r Run) each(unit string, flag, status string, at bool, write func(n int, m Measured) string) (all []string, results []truth.Result) {
	for i, m := range r.Tests {
		all = append(all, write(i+1, m))
		results = append(results, r.result(m, unit, flag, status, at))
	}
	return all, results
}

func codes(r Run, form string) string {
	var all []string
	for _, m := range r.Tests {
		all = append(all, fmt.Sprintf(form, m.Code))
	}
	return strings.Join(all, `\`)
}

// xnDialogue: the specimen padded in the third component of O.4, P.5 the patient.
var xnDialogue = dialogue{
	menu:       []string{"WBC", "RBC", "HGB", "HCT", "PLT", "MCV"},
	specimenAt: [2]int{4, 3}, testAt: 5, patientAt: 5,
	query: func(q Question) []byte {
		return records([]string{xnHeader, fmt.Sprintf("Q|1|%d^%d^%22s^B||^^^^WBC|0|||||||N", 1+q.Number/10%99, 1+q.Number%10, q.Specimen), "L|1|N"})
	},
	report: func(r Run) []Message {
		all, results := r.each("", "N", "F", true, func(n int, m Measured) string {
			return fmt.Sprintf("R|%d|^^^^%s^1|%s|||N||F||||%s", n, m.Code, m.Value, r.stamp())
		})
		head := []string{xnHeader, "P|1|||" + r.Patient, fmt.Sprintf(`O|1||3^7^%22s^B|%s|||||||N||||||||||||||F`, r.Specimen, codes(r, "^^^^%s"))}
		return one(records(append(append(head, all...), "L|1|N")), results)
	},
}

const xnHeader = `H|\^&|||    XN-550^00-24^22723^^^^BD634545||||||||E1394-97`

// cobas asks by TSREQ^REAL; it says no patient.
func cobas(sender string) dialogue {
	header := `H|\^&|||` + sender + `|||||host|`
	return dialogue{
		testAt: 4,
		query: func(q Question) []byte {
			return records([]string{header + "TSREQ^REAL|P|1", fmt.Sprintf("Q|1|^^%s^%d^0^%d^^S1^SC||ALL||||||||O", q.Specimen, q.Number, 1+q.Number%5), "L|1|N"})
		},
		report: func(r Run) []Message {
			all, results := r.each("U/l", "N", "F", true, func(n int, m Measured) string {
				return fmt.Sprintf("R|%d|^^^%s/1/not|%s|U/l||N||F||opr001|||E1", n, m.Code, m.Value)
			})
			head := []string{header + "RSUPL^REAL|P|1", "P|1", fmt.Sprintf("O|1|%s|%d^0^1^^S1^SC|%s|R||%s||||N||||1|||||||%s|||F", r.Specimen, r.Number, codes(r, "^^^%s^1"), r.stamp(), r.stamp())}
			return one(records(append(append(head, all...), "L|1|N")), results)
		},
	}
}

// ca1500 asks for the groups that it is set to.
var ca1500 = dialogue{
	menu:       []string{"041", "044", "051", "061"},
	specimenAt: [2]int{3, 3}, testAt: 4, patientAt: 5,
	query: func(q Question) []byte {
		return records([]string{`H|\^&|||CA-1500^00-16^A1234^^^^`, fmt.Sprintf(`Q|1|0001^%02d^%22s^B||^^^041^\^^^044^\^^^051^\^^^061^|0|%s`, 1+q.Number%10, q.Specimen, q.At.Format("20060102150405")), "L|1|N"})
	},
	report: func(r Run) []Message {
		all, results := r.each("s", "N", "", true, func(n int, m Measured) string {
			return fmt.Sprintf("R|%d|^^^%s^CA^100.00^1|%s|s||N||||||%s", n, m.Code, m.Value, r.stamp())
		})
		head := []string{`H|\^&|||CA-1500^00-16^A1234^^^^`, "P|1", fmt.Sprintf("O|1|0001^01^%22s^B||%s|R|%s|||||N", r.Specimen, codes(r, "^^^%s^^100.00"), r.stamp())}
		return one(records(append(append(head, all...), "L|1|N")), results)
	},
}

// vitros writes a test as dilution+test+replicate, a frame for each record.
var vitros = dialogue{
	testAt: 4, codeOf: func(text string) string {
		if parts := strings.Split(text, "+"); len(parts) == 3 {
			return parts[1]
		}
		return text
	},
	query: func(q Question) []byte {
		return records([]string{`H|\^&|||3600901||||||||LIS2-A|` + q.At.Format("20060102150405"), fmt.Sprintf("Q|1|^%s||ALL||||||||O", q.Specimen), "L|1|N"})
	},
	report: func(r Run) []Message {
		all, results := r.each("nmol/L", "", "F", true, func(n int, m Measured) string {
			return fmt.Sprintf("R|%d|^^^1.0000+%s+1.0|%s|nmol/L||||V|||%s|%s|36000901", n, m.Code, m.Value, r.stamp(), r.stamp())
		})
		head := []string{`H|\^&|||3600901||||||||LIS2-A|` + r.stamp(), "P|1|" + r.Patient, fmt.Sprintf("O|1|%s^3^1||%s|R||||||N||||5||||||||||F", r.Specimen, codes(r, "^^^1.0000+%s+1.0"))}
		return one(records(append(append(head, all...), "L|1|N")), results)
	},
}

// maglumi has the token-wise link.
var maglumi = dialogue{
	testAt: 4,
	query: func(q Question) []byte {
		return records([]string{`H|\^&||PSWD|Maglumi User|||||Lis||P|E1394-97|` + q.At.Format("20060102"), fmt.Sprintf("Q|1|^%s||ALL||||||||O", q.Specimen), "L|1|N"})
	},
	report: func(r Run) []Message {
		all, results := r.each("uIU/mL", "N", "", true, func(n int, m Measured) string {
			return fmt.Sprintf("R|%d|^^^%s|%s|uIU/mL|0.4 to 4.5|N||||||%s", n, m.Code, m.Value, r.stamp())
		})
		head := []string{`H|\^&||PSWD|Maglumi User|||||Lis||P|E1394-97|` + r.At.Format("20060102"), "P|1", fmt.Sprintf("O|1|%s||%s", r.Specimen, codes(r, "^^^%s"))}
		return one(records(append(append(head, all...), "L|1|N")), results)
	},
}

// plainDialogue is LIS02 by the book.
var plainDialogue = dialogue{
	query: func(q Question) []byte {
		return fmt.Appendf(nil, "H|\\^&|||%s\rQ|1|^%s||ALL||||||||O\rL|1|N\r", q.Name, q.Specimen)
	},
	report: func(r Run) []Message {
		all, results := r.each("mmol/L", "N", "F", true, func(n int, m Measured) string {
			return fmt.Sprintf("R|%d|^^^%s|%s|mmol/L||N||F||||%s", n, m.Code, m.Value, r.stamp())
		})
		head := []string{`H|\^&|||hwsim^1||||||||P|1|` + r.stamp(), "P|1|" + r.Patient, fmt.Sprintf("O|1|%s||%s|R||||||N||||S||||||||||F", r.Specimen, codes(r, "^^^%s"))}
		return one(records(append(append(head, all...), "L|1|N")), results)
	},
}
