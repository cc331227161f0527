package scenario

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"nhip/hardware-sim/analyser"
	"nhip/hardware-sim/lis"
	"nhip/hardware-sim/modality"
	"nhip/hardware-sim/monitor"
	"nhip/hardware-sim/pacs"
	"nhip/hardware-sim/wire"
)

// peersOfEachKind are peers for events to be bound to.
func peersOfEachKind() []peer {
	return []peer{
		{name: "xn-1", profile: "sysmex-xn-l", kind: kindAnalyser, part: analyser.New(analyser.Options{})},
		{name: "ct-1", kind: kindModality, part: modality.New(modality.Options{})},
		{name: "bed-12", profile: "hl7-pcd01", kind: kindMonitor, part: monitor.New(monitor.Options{})},
		{name: "oxi", profile: "masimo-ascii1", kind: kindMonitor, part: monitor.NewOximeter(monitor.Options{})},
		{name: "his", kind: kindLIS, part: lis.New(lis.Options{})},
		{name: "archive", kind: kindPACS, part: pacs.New(pacs.Options{})},
	}
}

func TestTheDemoIsAScenarioThatEveryKindUnderstands(t *testing.T) {
	s, err := Load("demo")
	if err != nil {
		t.Fatal(err)
	}
	if s.Seconds != 30 || time.Duration(s.Drain) != 90*time.Second || len(s.Events) < 8 {
		t.Errorf("%+v", s)
	}
	for _, e := range s.Events {
		if do, err := e.bindAll(peersOfEachKind()); err != nil || len(do) == 0 {
			t.Errorf("%s: %d peers, %v", e, len(do), err)
		}
	}
	if !slices.IsSortedFunc(s.Events, func(a, b Event) int { return int(a.At - b.At) }) {
		t.Error("the events are not in order")
	}
	if s.every(peer{name: "bed-12", profile: "hl7-pcd01", kind: kindMonitor}) != 500*time.Millisecond {
		t.Error("a profile's interval does not stand before its kind's")
	}
}

func TestWhatIsWrongWithAScenarioIsSaid(t *testing.T) {
	for text, want := range map[string]string{
		"sekonds = 3":                                         "sekonds",
		"seconds = \"x\"":                                     "string",
		"[every]\nanalyser = \"0s\"":                          "no interval",
		"drain = \"soon\"":                                    "soon",
		"[[event]]\nat = \"1s\"\npeer = \"lis\"":              "one of down, burst and faults",
		"[[event]]\npeer = \"lis\"\ndown = \"1s\"\nburst = 2": "one of down, burst and faults",
	} {
		if _, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestAnEventMustMeanSomebodyWhoKnowsIt(t *testing.T) {
	for _, c := range []struct {
		event Event
		peers int
		err   string
	}{
		{Event{Peer: "analyser", Faults: map[string]any{"noise": 1}}, 1, ""},
		{Event{Peer: "monitor", Faults: map[string]any{"cut_line": 1}}, 1, ""}, // the oximeter has no faults
		{Event{Peer: "masimo-ascii1", Faults: map[string]any{"cut_line": 1}}, 0, "cannot happen"},
		{Event{Peer: "his", Down: wire.Duration(time.Second)}, 1, ""},
		{Event{Peer: "xn-1", Down: wire.Duration(time.Second)}, 1, ""},
		{Event{Peer: "ct-1", Down: wire.Duration(time.Second)}, 0, "cannot happen"},
		{Event{Peer: "ct-2", Burst: 3}, 0, `no "ct-2"`},
		{Event{Peer: "sysmex-xn-l", Burst: 3}, 1, ""},
		{Event{Peer: "pacs", Faults: map[string]any{"noise": 1}}, 0, "noise"},
	} {
		do, err := c.event.bindAll(peersOfEachKind())
		if len(do) != c.peers || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%+v: %d peers, %v", c.event, len(do), err)
		}
	}
}

func TestTheWrittenConfigurationIsOneThatCanBePlayed(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "site.toml")
	if err := WriteConfig(file, "", false); err != nil {
		t.Fatal(err)
	}
	s, err := LoadSite(file, "")
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Analysers) != 7 || len(s.Modalities) != 2 || len(s.Monitors) != 2 || len(s.Destinations) != 2 || len(s.MQTTUsers) != 1 {
		t.Errorf("%+v", s)
	}
	seen := map[string]bool{}
	for _, address := range []string{s.Console.Listen.first(), s.DICOM.Listen.first(), s.MQTT.Listen.first(), s.Destinations[0].Address, s.Destinations[1].Address} {
		if _, port, err := net.SplitHostPort(address); err != nil || port == "0" || seen[port] {
			t.Errorf("address %q: %v", address, err)
		} else {
			seen[port] = true
		}
	}
	for _, a := range s.Analysers {
		if _, known := analyser.Models[a.Profile]; !known {
			t.Errorf("no model of %s", a.Profile)
		}
		if p, err := parsePort(a.Port); err != nil || seen[p.at] {
			t.Errorf("%s: %v", a.Port, err)
		}
	}
	info, err := os.Stat(filepath.Join(folder, "ward-display.pw"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the password file: %v %v", info, err)
	}
	if p, err := s.password("ward-display.pw"); err != nil || len(p) < 16 {
		t.Errorf("password of %d characters, %v", len(p), err)
	}
	if b, _ := os.ReadFile(file); strings.Contains(string(b), "@") {
		t.Error("an address was left out")
	}
}

func TestListenMayBeOneAddressOrAList(t *testing.T) {
	file := filepath.Join(t.TempDir(), "site.toml")
	os.WriteFile(file, []byte("[dicom]\nlisten = [\"0.0.0.0:104\", \"[::1]:104\"]\n[mqtt]\nlisten = []\n[console]\nlisten = \"127.0.0.1:0\"\n[unknown]\nkey = 1\n"), 0o600)
	s, err := LoadSite(file, "http://127.0.0.1:9/api/v1/status")
	if err != nil {
		t.Fatal(err)
	}
	if s.DICOM.Listen.first() != "0.0.0.0:104" || s.MQTT.Listen.first() != "" || s.DICOM.AETitle != "NHIP" || s.status != "http://127.0.0.1:9/api/v1/status" {
		t.Errorf("%+v", s)
	}
	if at, err := s.address("0.0.0.0:104", nil)(); at != "127.0.0.1:104" || err != nil {
		t.Errorf("%s %v", at, err)
	}
}

func TestPortsAreReadAsTheGatewayReadsThem(t *testing.T) {
	for text, want := range map[string]port{
		"tcp-listen://127.0.0.1:4001":            {"tcp-listen", "127.0.0.1:4001"},
		"mllp-dial://10.0.0.7:5000":              {"mllp-dial", "10.0.0.7:5000"},
		"serial:///dev/ttyUSB0?baud=9600&data=8": {"serial", "/dev/ttyUSB0"},
	} {
		if got, err := parsePort(text); got != want || err != nil {
			t.Errorf("%s: %v %v", text, got, err)
		}
	}
	if _, err := parsePort("udp://127.0.0.1:1"); err == nil {
		t.Error("udp is no port")
	}
}
