package qc

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"strconv"
	"testing"
	"time"

	"nhip/gateway/record"
	"nhip/storage"
)

func open(t *testing.T) *storage.Store {
	t.Helper()
	s, err := storage.Open(t.Context(), storage.Options{Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func control(lot, level, code, value string, at time.Time) record.Report {
	return record.Report{Control: true, Lot: lot, Level: level, Material: "XN-L CHECK", Results: []record.Result{{Code: code, Value: value, Unit: "g/dL", Observed: record.Time{At: at}}}}
}

func commit(t *testing.T, s *storage.Store, fill func(*storage.Batch)) {
	t.Helper()
	b := new(storage.Batch)
	fill(b)
	if _, err := s.Commit(context.Background(), b); err != nil {
		t.Fatal(err)
	}
}

func add(t *testing.T, s *storage.Store, analyser string, reports ...record.Report) {
	t.Helper()
	commit(t, s, func(b *storage.Batch) {
		for _, r := range reports {
			if err := Add(b, analyser, r, "in/xn-1/1", time.Unix(1, 0)); err != nil {
				t.Fatal(err)
			}
		}
	})
}

var day = time.Date(2026, 1, 14, 8, 15, 0, 0, time.UTC)

func TestChartHasMeanAndStandardDeviationOfItsNumbers(t *testing.T) {
	s := open(t)
	for i, v := range []string{"12.0", "12.4", "11.6", "12.2", "11.8"} {
		add(t, s, "xn-1", control("5312", "L1", "HGB", v, day.Add(time.Duration(i)*24*time.Hour)))
	}
	all, err := List(s, "xn-1")
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	c := all[0]
	if err := c.Fill(s, time.Time{}, 0); err != nil {
		t.Fatal(err)
	}
	// 0, 0.4, -0.4, 0.2, -0.2 around 12: squares sum to 0.4, over 4 is 0.1.
	if c.N != 5 || math.Abs(*c.Mean-12) > 1e-9 || math.Abs(*c.SD-math.Sqrt(0.1)) > 1e-9 || math.Abs(*c.CV-100*math.Sqrt(0.1)/12) > 1e-9 {
		t.Errorf("n %d mean %v SD %v CV %v", c.N, *c.Mean, *c.SD, *c.CV)
	}
	if p := c.Points[1]; p.Value != "12.4" || math.Abs(*p.Z-0.4/math.Sqrt(0.1)) > 1e-9 || !p.At.Equal(day.Add(24*time.Hour)) || p.Entry != "in/xn-1/1" {
		t.Errorf("%+v", p)
	}
}

func TestLotsLevelsTestsAndMachinesAreChartsOfTheirOwn(t *testing.T) {
	s := open(t)
	add(t, s, "xn-1", control("1", "L1", "HGB", "12", day), control("2", "L1", "HGB", "12", day), control("1", "L2", "HGB", "12", day), control("1", "L1", "WBC", "12", day))
	add(t, s, "xn-2", control("1", "L1", "HGB", "12", day))
	for analyser, want := range map[string]int{"": 5, "xn-1": 4, "xn-2": 1, "xn": 0} {
		if all, err := List(s, analyser); err != nil || len(all) != want {
			t.Errorf("%q: %d charts, want %d, %v", analyser, len(all), want, err)
		}
	}
}

func TestWhatIsNoNumberIsShownAndNotCounted(t *testing.T) {
	s := open(t)
	failed := control("1", "L1", "HGB", "9.9", day.Add(5*time.Minute))
	failed.Results[0].Status = "X"
	above := control("1", "L1", "HGB", ">20", day.Add(6*time.Minute))
	above.Results[0].Comparator, above.Results[0].Quantity = ">", "20"
	add(t, s, "xn-1", control("1", "L1", "HGB", "12", day), control("1", "L1", "HGB", "----", day.Add(time.Minute)), control("1", "L1", "HGB", "NaN", day.Add(2*time.Minute)),
		control("1", "L1", "HGB", "1e999", day.Add(3*time.Minute)), control("1", "L1", "HGB", "12,5", day.Add(4*time.Minute)), failed, above)
	all, _ := List(s, "")
	c := all[0]
	if err := c.Fill(s, time.Time{}, 0); err != nil || len(c.Points) != 7 || c.N != 1 || *c.Mean != 12 || c.SD != nil {
		t.Errorf("%+v %v", c, err)
	}
}

func TestResultThatIsSentAgainIsOnePoint(t *testing.T) {
	s := open(t)
	for range 3 {
		add(t, s, "xn-1", control("1", "L1", "HGB", "12", day))
	}
	add(t, s, "xn-1", control("1", "L1", "HGB", "12.1", day)) // another value of the same minute
	all, _ := List(s, "")
	if err := all[0].Fill(s, time.Time{}, 0); err != nil || len(all[0].Points) != 2 {
		t.Errorf("%d points, %v", len(all[0].Points), err)
	}
}

func TestPointsAreTrimmedByNumberAndAge(t *testing.T) {
	s := open(t)
	for part := range 11 {
		var reports []record.Report
		for i := range 100 {
			n := part*100 + i
			reports = append(reports, control("1", "L1", "HGB", strconv.Itoa(n), day.Add(time.Duration(n)*time.Minute)))
		}
		add(t, s, "xn-1", reports...)
	}
	add(t, s, "xn-1", control("old", "L1", "HGB", "12", day.Add(-MaxAge-time.Hour)))
	if err := Trim(t.Context(), s, day.Add(24*time.Hour)); err != nil {
		t.Fatal(err)
	}
	all, _ := List(s, "")
	if len(all) != 1 {
		t.Fatalf("%d series: the old one is gone", len(all))
	}
	if err := all[0].Fill(s, time.Time{}, 0); err != nil || len(all[0].Points) != MaxPoints || all[0].Points[0].Value != "100" {
		t.Errorf("%d points from %v, %v", len(all[0].Points), all[0].Points[0].Value, err)
	}
	c := all[0]
	c.Points, c.N = nil, 0
	if err := c.Fill(s, day.Add(1095*time.Minute), 3); err != nil || len(c.Points) != 3 || c.Points[2].Value != "1099" {
		t.Errorf("%+v %v", c.Points, err)
	}
}

func TestLongTextsOfADeviceAreCut(t *testing.T) {
	s := open(t)
	long := fmt.Sprintf("%0300d", 7)
	add(t, s, "xn-1", control(long, long, long, long, day))
	all, err := List(s, "")
	if err != nil || len(all) != 1 || len(all[0].Lot) != maxText {
		t.Error(all, err)
	}
}
