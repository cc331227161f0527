package profiletest

import (
	"fmt"
	"strings"
	"time"

	"nhip/drivers/profile"
	"nhip/gateway/record"
)

// An expectation is one message in expected/NAME.json: what was extracted, without
// what is empty.
type expectation struct {
	Reports    []report       `json:"reports,omitempty"`
	Queries    int            `json:"queries,omitempty"`
	Asked      []string       `json:"asked,omitempty"`   // what the queries ask for
	Answer     []string       `json:"answer,omitempty"`  // the records that hand out two tests and a patient
	Unknown    []string       `json:"unknown,omitempty"` // the records for a specimen without orders
	Consumed   map[string]int `json:"consumed,omitempty"`
	Ignored    map[string]int `json:"ignored,omitempty"`
	Undeclared map[string]int `json:"undeclared,omitempty"`
	Problems   []string       `json:"problems,omitempty"`
}

type report struct {
	Device      string   `json:"device"` // model^serial^software
	Patient     string   `json:"patient,omitempty"`
	Specimen    string   `json:"specimen,omitempty"`
	Type        string   `json:"type,omitempty"`
	Rack        string   `json:"rack,omitempty"`
	Collected   string   `json:"collected,omitempty"`
	Order       string   `json:"order,omitempty"`
	Priority    string   `json:"priority,omitempty"`
	Control     bool     `json:"control,omitempty"`
	Calibration bool     `json:"calibration,omitempty"`
	Lot         string   `json:"lot,omitempty"`
	Material    string   `json:"material,omitempty"`
	Level       string   `json:"level,omitempty"`
	MessageID   string   `json:"message_id,omitempty"`
	MessageTime string   `json:"message_time,omitempty"`
	Comments    []string `json:"comments,omitempty"`
	Results     []result `json:"results"`
}

type result struct {
	Code        string   `json:"code"`
	Text        string   `json:"text,omitempty"`
	LOINC       string   `json:"loinc,omitempty"`
	Undeclared  bool     `json:"undeclared,omitempty"`
	Value       string   `json:"value"`
	Comparator  string   `json:"comparator,omitempty"`
	Quantity    string   `json:"quantity,omitempty"`
	Qualitative string   `json:"qualitative,omitempty"`
	Unit        string   `json:"unit,omitempty"`
	UCUM        string   `json:"ucum,omitempty"`
	Range       string   `json:"range,omitempty"`
	Flag        string   `json:"flag,omitempty"`
	Status      string   `json:"status,omitempty"`
	Observed    string   `json:"observed,omitempty"`
	Analysed    string   `json:"analysed,omitempty"`
	Operator    string   `json:"operator,omitempty"`
	Instrument  string   `json:"instrument,omitempty"`
	Comments    []string `json:"comments,omitempty"`
}

func expectationOf(p *profile.Profile, message []byte, e profile.Extraction) (expectation, error) {
	x := expectation{Queries: e.Queries, Consumed: e.Consumed, Ignored: e.Ignored, Undeclared: e.Undeclared, Problems: e.Problems}
	for _, r := range e.Reports {
		x.Reports = append(x.Reports, reportOf(r))
	}
	for _, q := range p.Queries(message) {
		x.Asked = append(x.Asked, askedOf(q))
		if q.Cancel {
			continue
		}
		answer, err := p.Answer(message, q, workFor(q), now)
		if err != nil {
			return x, err
		}
		unknown, err := p.Answer(message, q, nil, now)
		if err != nil {
			return x, err
		}
		x.Answer, x.Unknown = append(x.Answer, lines(answer)...), append(x.Unknown, lines(unknown)...)
	}
	return x, nil
}

// now is when profiles answer.
var now = time.Date(2026, 1, 14, 11, 0, 0, 0, zone)

// lines are the records of a message.
func lines(message []byte) []string {
	if len(message) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(message), "\r"), "\r")
}

// A sending is expected/download.json: what is sent to a model that takes work without
// having asked, and how that work is taken back.
type sending struct {
	Download []string `json:"download"`
	Cancel   []string `json:"cancel,omitempty"`
}

// sendingOf is nil where the profile declares none, and for another protocol than LIS02.
func sendingOf(p *profile.Profile) (*sending, error) {
	if p.Protocol() != profile.ASTM || !p.Downloads() {
		return nil, nil
	}
	work := workFor(record.Query{})
	records, err := p.Download(work, now)
	if err != nil {
		return nil, err
	}
	s := &sending{Download: lines(records)}
	if !p.Cancels() {
		return s, nil
	}
	records, err = p.Cancel(work, now)
	s.Cancel = lines(records)
	return s, err
}

// askedOf shows a query.
func askedOf(q record.Query) string {
	said := []string{"specimens " + strings.Join(q.Specimens, ", ")}
	for _, part := range [][2]string{
		{"rack", q.Rack}, {"position", q.Position}, {"sequence", q.Sequence}, {"type", q.SpecimenType},
		{"container", q.Container}, {"tests", strings.Join(q.Tests, ", ")},
	} {
		if part[1] != "" {
			said = append(said, part[0]+" "+part[1])
		}
	}
	if q.All {
		said = append(said, "all specimens")
	}
	if q.Cancel {
		said = append(said, "withdrawn")
	}
	return strings.Join(said, "; ")
}

// workFor is two tests of one patient for every specimen that is asked for.
func workFor(q record.Query) []record.Work {
	specimens := q.Specimens
	if len(specimens) == 0 {
		specimens = []string{"26019999"}
	}
	var work []record.Work
	for _, id := range specimens {
		work = append(work, record.Work{Specimen: id, Tests: []string{"T1", "T2"}, Patient: &record.Patient{
			ID: "BN-77", Name: record.Name{Family: "Nguyễn", Middle: "Thị", Given: "Ánh"}, Birth: "19880214", Sex: "F",
		}})
	}
	return work
}

func reportOf(r record.Report) report {
	x := report{
		Device:   strings.Join([]string{r.Device.Model, r.Device.Serial, r.Device.Software}, "^"),
		Specimen: r.Specimen.ID, Type: r.Specimen.Type, Rack: r.Specimen.Rack, Collected: timeOf(r.Specimen.Collected),
		Order: r.Order, Priority: r.Priority, Control: r.Control, Calibration: r.Calibration,
		Lot: r.Lot, Material: r.Material, Level: r.Level,
		MessageID: r.MessageID, MessageTime: timeOf(r.MessageTime), Comments: r.Comments,
	}
	if p := r.Patient; p != nil {
		x.Patient = strings.Join([]string{p.ID, p.Name.Family, p.Name.Given, p.Name.Middle, p.Birth, p.Sex}, "^")
	}
	for _, one := range r.Results {
		x.Results = append(x.Results, result{
			Code: one.Code, Text: one.Text, LOINC: one.LOINC, Undeclared: !one.Declared,
			Value: one.Value, Comparator: one.Comparator, Quantity: one.Quantity, Qualitative: one.Qualitative,
			Unit: one.Unit, UCUM: one.UCUM, Range: one.Range, Flag: one.Flag, Status: one.Status,
			Observed: timeOf(one.Observed), Analysed: timeOf(one.Analysed), Operator: one.Operator,
			Instrument: one.Instrument, Comments: one.Comments,
		})
	}
	return x
}

// timeOf shows when it was; a text that is no time is shown as sent.
func timeOf(t record.Time) string {
	if t.Text != "" && t.At.IsZero() {
		return fmt.Sprintf("%s (not read)", t.Text)
	}
	if t.At.IsZero() {
		return ""
	}
	return t.At.Format("2006-01-02T15:04:05.999999999Z07:00")
}
