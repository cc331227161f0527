package vitals

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"nhip/gateway/record"
)

var (
	zone = time.FixedZone("", 7*3600)
	noon = time.Date(2026, 11, 21, 12, 0, 0, 0, zone)
)

func saturation() record.Observation {
	return record.Observation{
		Device: record.Device{Connection: "bed-12"}, Unit: "icu",
		Code: 150456, MDC: "MDC_PULS_OXIM_SAT_O2", Value: "98", UCUM: "%", RawUnit: "262688^MDC_DIM_PERCENT^MDC",
		State:    record.Valid,
		Observed: record.Time{Text: "20261121115959.25+0700", At: noon.Add(-750 * time.Millisecond)},
	}
}

func TestNumericIsTheContract(t *testing.T) {
	m, err := Numeric("bvdk", saturation(), 17, noon)
	if err != nil {
		t.Fatal(err)
	}
	if m.Topic != "v1/bvdk/icu/bed-12/numeric" || m.Retain {
		t.Errorf("topic %s, retain %v", m.Topic, m.Retain)
	}
	want := `{"code":150456,"mdc":"MDC_PULS_OXIM_SAT_O2","value":"98","unit":"%","device_time":"2026-11-21T11:59:59.250+07:00","gateway_time":"2026-11-21T12:00:00.000+07:00","seq":17,"state":"valid"}`
	if string(m.Payload) != want {
		t.Errorf("payload\n%s\nwant\n%s", m.Payload, want)
	}
}

func TestAReadingThatIsNotValidHasNoValue(t *testing.T) {
	for _, state := range []record.Validity{record.Unavailable, record.Questionable, record.Test} {
		o := saturation()
		o.State, o.Reason, o.UCUM, o.Observed = state, "the device sends ---", "", record.Time{Text: "yesterday"}
		m, err := Numeric("s", o, 1, noon)
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]any
		if err := json.Unmarshal(m.Payload, &got); err != nil {
			t.Fatal(err)
		}
		if got["value"] != "" || got["state"] != string(state) || got["reason"] != "the device sends ---" ||
			got["device_time"] != nil || got["unit"] != "" || got["unit_sent"] != o.RawUnit {
			t.Errorf("%s: %s", state, m.Payload)
		}
		if strings.Contains(string(m.Payload), "98") || strings.Contains(string(m.Payload), "yesterday") {
			t.Errorf("%s: %s", state, m.Payload)
		}
	}
}

func TestANameNeverBecomesALevelOrAWildcard(t *testing.T) {
	seen := map[string]string{}
	for _, name := range []string{"bed-12", "bed/12", "bed%2F12", "#", "+", "", "%", "giường 1", "a\x00b", "$SYS", strings.Repeat("x", 100)} {
		got := NumericTopic("s", "icu", name)
		if strings.Count(got, "/") != 4 || strings.ContainsAny(got, "+#\x00$ ") || !strings.HasPrefix(got, "v1/s/icu/") {
			t.Errorf("%q: %s", name, got)
		}
		if other, ok := seen[got]; ok {
			t.Errorf("%q and %q share %s", name, other, got)
		}
		seen[got] = name
	}
}

func TestDevice(t *testing.T) {
	d := Device{Site: "s", Unit: "icu", Name: "bed-12", Limit: 10 * time.Second}
	check := func(what string, got []Message, want ...string) {
		t.Helper()
		if len(got) != len(want) {
			t.Fatalf("%s: %d messages, want %d: %v", what, len(got), len(want), got)
		}
		for i, m := range got {
			if !strings.Contains(string(m.Payload), want[i]) {
				t.Errorf("%s: message %d is %s, want %s", what, i, m.Payload, want[i])
			}
			if isStatus := strings.HasSuffix(m.Topic, "/status"); m.Retain != isStatus {
				t.Errorf("%s: %s is retained: %v", what, m.Topic, m.Retain)
			}
		}
	}
	at := func(s float64) time.Time { return noon.Add(time.Duration(s * float64(time.Second))) }
	if !d.Timer().IsZero() || d.TimedOut(at(100)) != nil {
		t.Error("a device that is not connected has no timer")
	}
	check("begin", d.Disconnected(at(0)), `"status":"offline"`)
	check("again", d.Disconnected(at(1)))
	check("connected", d.Connected(at(2)), `"status":"online"`)
	if !d.Timer().Equal(at(12)) {
		t.Errorf("timer %v", d.Timer())
	}
	o := saturation()
	o.Unit, o.Device.Connection = "other", "other" // the connection's names count
	ms, err := d.Observe([]record.Observation{o, o}, at(3), at(3))
	check("observe", ms, `"seq":1,`, `"seq":2,`)
	if err != nil || ms[0].Topic != "v1/s/icu/bed-12/numeric" {
		t.Errorf("%s, %v", ms[0].Topic, err)
	}
	check("not yet", d.TimedOut(at(12.9)))
	check("stale", d.TimedOut(at(13)), `"status":"stale"`)
	check("stale once", d.TimedOut(at(14)))
	check("still connected", d.Connected(at(14)))
	if !d.Timer().IsZero() {
		t.Error("a stale device has no timer")
	}
	ms, _ = d.Observe([]record.Observation{o}, at(15), at(15))
	check("fresh", ms, `"status":"online"`, `"seq":3,`)
	ms, err = d.Observe(nil, at(16), at(16))
	check("nothing", ms)
	if err != nil || !d.Last.Equal(at(15)) {
		t.Error("no observation is no reading")
	}
	check("cut", d.Disconnected(at(17)), `"last_reading":"2026-11-21T12:00:15.000+07:00"`)
	check("back", d.Connected(at(100)), `"status":"online"`)
	if !d.Timer().Equal(at(110)) {
		t.Errorf("an old reading does not make a new connection stale at once: %v", d.Timer())
	}
}

// The clock of the day jumps while a monitor is silent: its last reading gets
// neither younger nor older by that (T16, T31).
func TestStalenessDoesNotHangOnTheClockOfTheDay(t *testing.T) {
	start := time.Now() // has the monotonic clock
	for _, back := range []time.Duration{0, time.Hour, 87600 * time.Hour} {
		d := Device{Site: "s", Unit: "icu", Name: "bed-12", Limit: 10 * time.Second}
		d.Connected(start)
		received := start.Round(0).Add(-time.Second).Add(back) // as the journal has it; then the clock was set back
		if _, err := d.Observe([]record.Observation{saturation()}, received, start); err != nil {
			t.Fatal(err)
		}
		if m := d.TimedOut(start.Add(5 * time.Second)); m != nil {
			t.Errorf("%v: stale too early", back)
		}
		if m := d.TimedOut(start.Add(10 * time.Second)); len(m) != 1 {
			t.Errorf("%v: not stale after 10 s", back)
		}
	}
	// What waited in the journal is as old as it is.
	d := Device{Site: "s", Unit: "icu", Name: "bed-12", Limit: 10 * time.Second}
	d.Observe([]record.Observation{saturation()}, start.Round(0).Add(-time.Hour), start)
	if m := d.TimedOut(start.Add(time.Second)); len(m) != 1 {
		t.Error("a reading of an hour ago is shown as fresh")
	}
}

// A payload is JSON whatever a device sends.
func FuzzNumeric(f *testing.F) {
	f.Add("98", "MDC_X", "%", int64(0))
	f.Add("\xff\x00", strings.Repeat("ế", 100), "\"", int64(math.MaxInt64))
	f.Fuzz(func(t *testing.T, value, name, unit string, second int64) {
		o := saturation()
		o.Value, o.MDC, o.RawUnit, o.UCUM, o.Observed.At = value, name, unit, "", time.Unix(second%1e10, 0)
		m, err := Numeric("s", o, 1, noon)
		if err != nil {
			t.Fatal(err)
		}
		if !json.Valid(m.Payload) {
			t.Errorf("%s", m.Payload)
		}
	})
}
