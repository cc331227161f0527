package monitor

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"nhip/gateway/record"
)

func lines(t testing.TB, profile string) *Lines {
	t.Helper()
	p, ok := Lookup(profile)
	if !ok {
		t.Fatalf("no profile %s", profile)
	}
	return p.Lines(Source{Device: record.Device{Connection: "ox"}, Unit: "icu", Zone: time.FixedZone("", 7*3600)})
}

var lineCases = []struct {
	profile, line string
	kind          LineKind
	want          []string
}{
	{"nonin-ascii", "SPO2=098 HR=072", LineReading, []string{"150456 MDC_PULS_OXIM_SAT_O2=098 % @- valid", "149530 MDC_PULS_OXIM_PULS_RATE=072 /min @- valid"}},
	{"nonin-ascii", "SPO2=100 HR=110 F", LineReading, []string{"150456 MDC_PULS_OXIM_SAT_O2=100 % @- valid", "149530 MDC_PULS_OXIM_PULS_RATE=110 /min @- valid"}},
	{"nonin-ascii", "12:30:01 SPO2= 98 HR= 72*", LineReading, []string{"150456 MDC_PULS_OXIM_SAT_O2=98 % @- valid", "149530 MDC_PULS_OXIM_PULS_RATE=72 /min @- valid"}},
	{"nonin-ascii", "SPO2=--- HR=---", LineReading, []string{
		"150456 MDC_PULS_OXIM_SAT_O2= % @- unavailable (the device sends no value)", "149530 MDC_PULS_OXIM_PULS_RATE= /min @- unavailable (the device sends no value)"}},
	{"nonin-ascii", "SPO2=098 HR=07", LineUnreadable, nil}, // a digit was lost
	{"nonin-ascii", "SPO2=188 HR=072", LineUnreadable, nil},
	{"nonin-ascii", "SPO2=098 HR=0S2", LineUnreadable, nil},
	{"nonin-ascii", "SPO2=098 HR=999", LineUnreadable, nil},
	{"nonin-ascii", "SPO2=098 SPO2=098 HR=072", LineUnreadable, nil},
	{"nonin-ascii", "\x80SPO2=098 HR=072", LineUnreadable, nil},
	{"nonin-ascii", "NONIN 9600 12:30:00", LineHeader, nil},
	{"masimo-ascii1", "11/21/26 12:00:01 SN=0000070986 SPO2=098% BPM=072 PI=02.35% SPCO=01.2% SPMET=00.6% DESAT=00 PIDELTA=+00 PVI=014 ALARM=000000 EXC=000000", LineReading, []string{
		"150456 MDC_PULS_OXIM_SAT_O2=098 % @2026-11-21T12:00:01+07:00 valid",
		"149530 MDC_PULS_OXIM_PULS_RATE=072 /min @2026-11-21T12:00:01+07:00 valid",
		"150488 MDC_BLD_PERF_INDEX=02.35 % @2026-11-21T12:00:01+07:00 valid",
		"0 SPCO=01.2 % @2026-11-21T12:00:01+07:00 valid",
		"0 SPMET=00.6 % @2026-11-21T12:00:01+07:00 valid",
		"0 PVI=014  @2026-11-21T12:00:01+07:00 valid"}},
	{"masimo-ascii1", "11/21/26 12:00:01 SN=---------- SPO2=---% BPM=--- PI=--.--% SPCO=--.-% SPMET=--.-% DESAT=-- PIDELTA=+-- PVI=--- ALARM=0000 EXC=000020", LineReading, []string{
		"150456 MDC_PULS_OXIM_SAT_O2= % @2026-11-21T12:00:01+07:00 unavailable (the device sends no value)",
		"149530 MDC_PULS_OXIM_PULS_RATE= /min @2026-11-21T12:00:01+07:00 unavailable (the device sends no value)",
		"150488 MDC_BLD_PERF_INDEX= % @2026-11-21T12:00:01+07:00 unavailable (the device sends no value)",
		"0 SPCO= % @2026-11-21T12:00:01+07:00 unavailable (the device sends no value)",
		"0 SPMET= % @2026-11-21T12:00:01+07:00 unavailable (the device sends no value)",
		"0 PVI=  @2026-11-21T12:00:01+07:00 unavailable (the device sends no value)"}},
	{"masimo-ascii1", "11/21/26 12:00:01 SPO2=000% BPM=000", LineReading, []string{
		"150456 MDC_PULS_OXIM_SAT_O2= % @2026-11-21T12:00:01+07:00 unavailable (the device sends its sign for no value)",
		"149530 MDC_PULS_OXIM_PULS_RATE= /min @2026-11-21T12:00:01+07:00 unavailable (the device sends its sign for no value)"}},
	{"masimo-ascii1", "11/21/26 12:00:01 SN=1 SPO2=98% BPM=072", LineUnreadable, nil}, // a digit was lost
	{"masimo-ascii1", "11/21/26 12:00:01 SN=1 SPO2=098 BPM=072", LineUnreadable, nil},
	{"masimo-ascii1", "11/21/26 12:00:01 SN=1 SPO2=098%", LineUnreadable, nil},
	{"masimo-ascii1", "11/21/26 12:00:01 SPO2=098% BPM=0711/21/26 12:00:02 SPO2=097% BPM=070", LineUnreadable, nil},
	{"masimo-ascii1", "SPO2=098% BPM=072", LineUnreadable, nil},
	{"masimo-ascii1", "11/21/26 12:00:01 SN=\x801 SPO2=098% BPM=072", LineUnreadable, nil},
	{"nellcor-n595", "21-NOV-26 14:00:05   100    120    50", LineReading, []string{
		"150456 MDC_PULS_OXIM_SAT_O2=100 % @2026-11-21T14:00:05+07:00 valid",
		"149530 MDC_PULS_OXIM_PULS_RATE=120 /min @2026-11-21T14:00:05+07:00 valid",
		"0 PA=50  @2026-11-21T14:00:05+07:00 valid"}},
	{"nellcor-n595", " 21-Nov-26 14:00:05    84*   190*    50  PH SL LB", LineReading, []string{
		"150456 MDC_PULS_OXIM_SAT_O2=84 % @2026-11-21T14:00:05+07:00 valid",
		"149530 MDC_PULS_OXIM_PULS_RATE=190 /min @2026-11-21T14:00:05+07:00 valid",
		"0 PA=50  @2026-11-21T14:00:05+07:00 valid"}},
	{"nellcor-n595", "21-NOV-26 14:00:05   ---    ---   ---   SD", LineReading, []string{
		"150456 MDC_PULS_OXIM_SAT_O2= % @2026-11-21T14:00:05+07:00 unavailable (the device sends no value)",
		"149530 MDC_PULS_OXIM_PULS_RATE= /min @2026-11-21T14:00:05+07:00 unavailable (the device sends no value)",
		"0 PA=  @2026-11-21T14:00:05+07:00 unavailable (the device sends no value)"}},
	{"nellcor-n595", "21-NOV-26 14:00:05    98     72    20   SO", LineReading, []string{
		"150456 MDC_PULS_OXIM_SAT_O2= % @2026-11-21T14:00:05+07:00 unavailable (the sensor is off the patient)",
		"149530 MDC_PULS_OXIM_PULS_RATE= /min @2026-11-21T14:00:05+07:00 unavailable (the sensor is off the patient)",
		"0 PA=  @2026-11-21T14:00:05+07:00 unavailable (the sensor is off the patient)"}},
	{"nellcor-n595", "21-NOV-26 14:00:05    98     72    20   AO PS", LineReading, []string{
		"150456 MDC_PULS_OXIM_SAT_O2= % @2026-11-21T14:00:05+07:00 questionable (the device is searching the pulse)",
		"149530 MDC_PULS_OXIM_PULS_RATE= /min @2026-11-21T14:00:05+07:00 questionable (the device is searching the pulse)",
		"0 PA=  @2026-11-21T14:00:05+07:00 questionable (the device is searching the pulse)"}},
	{"nellcor-n595", "N-595 VERSION 1.00.00 CRC:XXXX SpO2 Limit: 85-100% PR Limit: 40-170BPM", LineHeader, nil},
	{"nellcor-n595", "TIME    %SpO2   BPM    PA    Status", LineHeader, nil},
	{"nellcor-n595", "21-NOV-26 14:00:05   100    120", LineUnreadable, nil},
	{"nellcor-n595", "21-NOV-26 14:00:05   101    120    50", LineUnreadable, nil},
}

func check(t *testing.T, got Line, raw string, kind LineKind, want []string) {
	t.Helper()
	var obs []string
	for _, o := range got.Observations {
		obs = append(obs, short(o))
	}
	if got.Kind != kind || string(got.Raw) != raw || strings.Join(obs, "\n") != strings.Join(want, "\n") {
		t.Errorf("%q: kind %d, raw %q\n%s\nwant kind %d\n%s", raw, got.Kind, got.Raw, strings.Join(obs, "\n"), kind, strings.Join(want, "\n"))
	}
}

func TestOximeterLines(t *testing.T) {
	for _, c := range lineCases {
		for _, end := range []string{"\r\n", "\r", "\n", "\r\r\n"} {
			l := lines(t, c.profile)
			l.Receive([]byte("\r\n"))
			got := l.Receive([]byte(c.line + end))
			if len(got) != 1 {
				t.Fatalf("%q: %d lines", c.line, len(got))
			}
			check(t, got[0], c.line, c.kind, c.want)
			if len(got[0].Observations) > 0 && got[0].Observations[0].Device.Profile != c.profile {
				t.Errorf("device %+v", got[0].Observations[0].Device)
			}
		}
	}
}

func TestBytesComeOneByOne(t *testing.T) {
	for _, c := range lineCases {
		l := lines(t, c.profile)
		var got []Line
		for _, b := range []byte("\n" + c.line + "\r\n") {
			got = append(got, l.Receive([]byte{b})...)
		}
		if len(got) != 1 {
			t.Fatalf("%q: %d lines", c.line, len(got))
		}
		check(t, got[0], c.line, c.kind, c.want)
	}
}

// Cut anywhere, a line is unreadable or a header, or says the same; and the next
// one is read.
func TestALineCutAtEveryByte(t *testing.T) {
	for _, c := range lineCases {
		if c.kind != LineReading {
			continue
		}
		for i := range c.line {
			for _, cut := range []string{c.line[:i], c.line[i:]} {
				l := lines(t, c.profile)
				got := l.Receive([]byte("\r\n" + cut + "\r\n" + c.line + "\r\n"))
				check(t, got[len(got)-1], c.line, LineReading, c.want)
				if len(got) != 2 || c.profile == "nellcor-n595" {
					continue // its columns have no fixed width: a lost digit does not show
				}
				for j, o := range got[0].Observations {
					if short(o) != c.want[j] && o.Observed.Text == "" {
						t.Errorf("%q was read as %s", cut, short(o))
					}
				}
			}
		}
	}
}

func TestNoiseAndLongLines(t *testing.T) {
	l := lines(t, "nonin-ascii")
	got := l.Receive([]byte("=098 HR=072\r\n" + strings.Repeat("\x00\xff", 5000) + "\r\nSPO2=098 HR=072\r\n" + strings.Repeat("A", 5000)))
	if len(got) != 3 || got[0].Kind != LineHeader || got[1].Kind != LineTooLong || len(got[1].Raw) != maxLine || got[2].Kind != LineReading {
		t.Fatalf("%d lines: %v", len(got), got)
	}
	if l.Pending() != maxLine {
		t.Errorf("%d bytes wait", l.Pending())
	}
	if got := l.Receive([]byte("\r\nSPO2=097 HR=072\r\n")); len(got) != 2 || got[1].Kind != LineReading {
		t.Errorf("not in step again: %v", got)
	}
}

func TestServe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		defer here.Close()
		var got []Line
		done := make(chan error)
		go func() {
			done <- Serve(t.Context(), here, lines(t, "nonin-ascii"), 30*time.Second, func(_ context.Context, l Line) error {
				got = append(got, l)
				return nil
			})
		}()
		for range 3 {
			there.Write([]byte("SPO2=098 HR=072\r"))
			time.Sleep(20 * time.Second)
			there.Write([]byte("\n"))
		}
		begin := time.Now()
		if err := <-done; !errors.Is(err, ErrSilent) || time.Since(begin) != 30*time.Second {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		if len(got) != 3 {
			t.Errorf("%d lines", len(got))
		}
		there.Close()
	})
}

func TestServeEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full := errors.New("disk is full")
		for _, c := range []struct {
			name   string
			end    func(cancel func(), there net.Conn)
			handle error
			want   error
		}{
			{"context", func(cancel func(), _ net.Conn) { cancel() }, nil, context.Canceled},
			{"line cut", func(_ func(), there net.Conn) { there.Close() }, nil, io.EOF},
			{"not stored", func(_ func(), there net.Conn) { there.Write([]byte("SPO2=098 HR=072\r")) }, full, full},
		} {
			here, there := net.Pipe()
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error)
			go func() {
				done <- Serve(ctx, here, lines(t, "nonin-ascii"), 0, func(context.Context, Line) error { return c.handle })
			}()
			synctest.Wait()
			c.end(cancel, there)
			if err := <-done; !errors.Is(err, c.want) {
				t.Errorf("%s: %v", c.name, err)
			}
			cancel()
			here.Close()
			there.Close()
		}
	})
}

func TestProfiles(t *testing.T) {
	var ids []string
	for _, p := range Profiles() {
		ids = append(ids, p.ID)
		if (p.Lines(Source{}) != nil) != (p.Protocol == ProtocolLine) || (p.Serial != "") != (p.Protocol == ProtocolLine) || p.Title == "" {
			t.Errorf("%+v", p)
		}
	}
	if got := strings.Join(ids, " "); got != "hl7-pcd01 masimo-ascii1 nellcor-n595 nonin-ascii" {
		t.Error(got)
	}
	if _, ok := Lookup("x"); ok {
		t.Error("a profile that is not there")
	}
}

func FuzzLine(f *testing.F) {
	for _, c := range lineCases {
		f.Add([]byte(c.line+"\r\n"), 3)
	}
	f.Fuzz(func(t *testing.T, b []byte, split int) {
		for _, p := range Profiles() {
			l := p.Lines(source)
			if l == nil {
				continue
			}
			one := l.Receive(b)
			l = p.Lines(source)
			var two []Line
			cut := max(0, min(split, len(b)))
			two = append(append(two, l.Receive(b[:cut])...), l.Receive(b[cut:])...)
			if len(one) != len(two) {
				t.Fatalf("%s: %d lines at once, %d in two parts", p.ID, len(one), len(two))
			}
			for i := range one {
				if one[i].Kind != two[i].Kind || string(one[i].Raw) != string(two[i].Raw) || len(one[i].Raw) > maxLine {
					t.Fatalf("%s: line %d differs", p.ID, i)
				}
				if (one[i].Kind == LineReading) != (len(one[i].Observations) > 0) {
					t.Fatalf("%s: kind %d with %d observations", p.ID, one[i].Kind, len(one[i].Observations))
				}
				for _, o := range one[i].Observations {
					checkObservation(t, o)
				}
			}
			if l.Pending() > maxLine {
				t.Fatalf("%s: %d bytes wait", p.ID, l.Pending())
			}
		}
	})
}
