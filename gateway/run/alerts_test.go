package run

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"nhip/gateway/alert"
	"nhip/gateway/reason"
)

// A judge is a system that answers as its test says: an MSA-1, or "" for nothing.
type judge struct {
	listener net.Listener
	mu       sync.Mutex
	answer   func(message string) string
	got      []string
	open     []net.Conn
}

func newJudge(t *testing.T, address string, answer func(message string) string) *judge {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	j := &judge{listener: l, answer: answer}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			j.mu.Lock()
			j.open = append(j.open, c)
			j.mu.Unlock()
			wg.Go(func() { defer c.Close(); j.serve(c) })
		}
	})
	t.Cleanup(func() { j.down(); wg.Wait() })
	return j
}

func (j *judge) serve(c net.Conn) {
	r := bufio.NewReader(c)
	for {
		m, err := readBlock(r)
		if err != nil {
			return
		}
		j.mu.Lock()
		j.got = append(j.got, m)
		code := j.answer(m)
		j.mu.Unlock()
		if code != "" {
			fmt.Fprintf(c, "\x0bMSH|^~\\&|LIS||NHIP||20260114081500||ACK|A1|P|2.5.1\rMSA|%s|%s\r\x1c\r", code, field(m, "MSH-10"))
		}
	}
}

// down ends the system: nothing listens there any more.
func (j *judge) down() {
	j.listener.Close()
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, c := range j.open {
		c.Close()
	}
}

func (j *judge) received() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.got)
}

// posted are the notices that a webhook got.
type posted struct {
	mu     sync.Mutex
	bodies []string
}

func (p *posted) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	p.mu.Lock()
	p.bodies = append(p.bodies, r.Header.Get("Authorization")+string(b))
	p.mu.Unlock()
}

// of are the kinds of the notices of an alert, in order.
func (p *posted) of(code alert.Code) (kinds []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, b := range p.bodies {
		var n struct {
			Kind  string
			Alert struct{ Code, Subject string }
		}
		if json.Unmarshal([]byte(strings.TrimPrefix(b, "Bearer bi-mat")), &n) == nil && n.Alert.Code == string(code) {
			kinds = append(kinds, n.Kind+" "+n.Alert.Subject)
		}
	}
	return kinds
}

// TestAlertsAreToldOnceOverARestartAndNameNobody lets a message be held and a
// system fall silent, restarts the gateway, and ends the silence.
func TestAlertsAreToldOnceOverARestartAndNameNobody(t *testing.T) {
	t.Parallel()
	hook := &posted{}
	server := httptest.NewServer(hook)
	t.Cleanup(server.Close)
	lis := newJudge(t, "127.0.0.1:0", func(string) string { return "AE" })
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("bi-mat\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newSite(t, fmt.Sprintf("[alerts]\ndrift = \"1000000h\"\n[[webhook]]\nurl = %q\ntoken_file = %q\n", server.URL, token)+
		fmt.Sprintf("[[destination]]\nname = \"lis\"\nkind = \"hl7\"\naddress = %q\n", lis.listener.Addr())+
		"[[hl7_peer]]\nname = \"his\"\naddress = \"127.0.0.1\"\nsilent = \"4s\"\nto = [\"lis\"]\n")
	p := newPeer(t, "127.0.0.1", s.status().Listen.HL7)
	p.send(t, oru("A1"))
	// (Where the machine was busy for so long that "his" was silent before its
	// first message too, that has been told before.)
	silent := func() int {
		told := hook.of(alert.Silent)
		if len(told) == 0 || told[len(told)-1] != "raised his" {
			return 0
		}
		return len(told)
	}
	raised := func() bool { return slices.Equal(hook.of(alert.Held), []string{"raised lis"}) && silent() > 0 }
	eventually(t, "held and silent are told", raised)
	told := silent()

	var st struct {
		Alerts []struct{ Code, Words, Subject, Since string }
	}
	s.get("/api/v1/status?lang=vi", &st)
	words := fmt.Sprint(st.Alerts)
	for _, want := range []string{"lis: 1 bản tin bị giữ, cần người quyết định", "his không gửi gì trong 0 phút"} {
		if len(st.Alerts) != 2 || !strings.Contains(words, want) {
			t.Errorf("no %q in %s", want, words)
		}
	}
	rsp, err := http.Get("http://" + s.console + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	metrics, _ := io.ReadAll(rsp.Body)
	rsp.Body.Close()
	for _, want := range []string{`nhip_alert{code="held",subject="lis"} 1`, `nhip_alert{code="balance",subject=""} 0`, `nhip_alerts_raised_total{code="silent"} 1`} {
		if !strings.Contains(string(metrics), want+"\n") {
			t.Errorf("no %s", want)
		}
	}

	s.stop()
	s.start()
	eventually(t, "the first look after the restart", func() bool { return len(s.g.alerts.View().Looked) > 0 })
	time.Sleep(3500 * time.Millisecond) // and a second one
	if !raised() || silent() != told || len(s.g.alerts.View().Active) != 2 {
		t.Errorf("after a restart: %v %v %v", hook.of(alert.Held), hook.of(alert.Silent), s.g.alerts.View().Active)
	}
	p = newPeer(t, "127.0.0.1", s.status().Listen.HL7)
	p.send(t, oru("A2"))
	eventually(t, "the end of the silence is told", func() bool {
		return len(hook.of(alert.Silent)) > told && hook.of(alert.Silent)[told] == "cleared his"
	})
	hook.mu.Lock()
	defer hook.mu.Unlock()
	for _, b := range hook.bodies {
		if !strings.HasPrefix(b, "Bearer bi-mat{") {
			t.Errorf("without the token: %s", b)
		}
		for _, name := range append([]string{"A1", "S" + "A1", "GLU"}, patient...) {
			if strings.Contains(b, name) {
				t.Errorf("%s is told outside: %s", name, b)
			}
		}
	}
}

// levels are the readings of a code by subject.
func levels(all []alert.Reading, code alert.Code) map[string]alert.Reading {
	by := map[string]alert.Reading{}
	for _, r := range all {
		if r.Code == code {
			by[r.Subject] = r
		}
	}
	return by
}

// TestWhatIsHeldDoesNotHideThatADestinationIsAway holds one specimen; then the
// system goes away, and what waits for it is older than it may be.
func TestWhatIsHeldDoesNotHideThatADestinationIsAway(t *testing.T) {
	t.Parallel()
	lis := newJudge(t, "127.0.0.1:0", func(string) string { return "AE" })
	s := newSite(t, fmt.Sprintf("[[destination]]\nname = \"lis\"\nkind = \"hl7\"\naddress = %q\n", lis.listener.Addr())+
		"[[hl7_peer]]\nname = \"his\"\naddress = \"127.0.0.1\"\nto = [\"lis\"]\n")
	p := newPeer(t, "127.0.0.1", s.status().Listen.HL7)
	p.send(t, oru("B1"))
	eventually(t, "held", func() bool { return s.status().Counts.Held == 1 })
	later := func() map[string]alert.Reading {
		return levels(s.g.readings(time.Now().Add(time.Hour)), alert.Undelivered)
	}
	if r := later()["lis"]; r.Level != alert.Quiet {
		t.Errorf("held an hour ago: %+v", r)
	}
	lis.down()
	p.send(t, oru("B2"))
	eventually(t, "undelivered", func() bool { return later()["lis"].Level == alert.Bad })
	if r := later()["lis"]; fmt.Sprint(r.Args) != "[1 60]" {
		t.Errorf("%+v", r)
	}
	if r := levels(s.g.readings(time.Now()), alert.Undelivered)["lis"]; r.Level != alert.Quiet {
		t.Errorf("just now: %+v", r)
	}
	if r := levels(s.g.readings(time.Now()), alert.Held)["lis"]; r.Level != alert.Bad {
		t.Errorf("held: %+v", r)
	}
}

func TestReadingsOfClocksListenersAndSilence(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	s := newSite(t, fmt.Sprintf("[hl7]\nlisten = %q\n", taken.Addr())+
		"[[hl7_peer]]\nname = \"his\"\naddress = \"127.0.0.1\"\nsilent = \"1h\"\nto = []\n"+
		"[[hl7_peer]]\nname = \"ris\"\naddress = \"127.0.0.2\"\nto = []\n")
	now := time.Now()
	s.g.states.told("his", now, now.Add(-3*time.Minute))
	s.g.states.told("ris", now, now.Add(2*time.Second))
	all := s.g.readings(now)
	clocks := levels(all, alert.Drift)
	if clocks["his"].Level != alert.Bad || fmt.Sprint(clocks["his"].Args) != "[-180]" || clocks["ris"].Level != alert.Quiet {
		t.Errorf("%+v", clocks)
	}
	listeners := levels(all, alert.Listener)
	if r := listeners["hl7"]; r.Level != alert.Bad || r.Why.Code != reason.PortTaken || listeners["console"].Level != alert.Quiet {
		t.Errorf("%+v", listeners)
	}
	silent := func(after time.Duration) alert.Level {
		return levels(s.g.readings(now.Add(after)), alert.Silent)["his"].Level
	}
	if silent(0) != alert.Between || silent(59*time.Minute) != alert.Between || silent(61*time.Minute) != alert.Bad {
		t.Error("nothing since the start:", silent(0), silent(59*time.Minute), silent(61*time.Minute))
	}
	s.g.states.seen("his", "hl7_peer")
	if silent(time.Minute) != alert.Quiet || silent(62*time.Minute) != alert.Bad {
		t.Error("after a message:", silent(time.Minute), silent(62*time.Minute))
	}
	if _, ok := levels(all, alert.Silent)["ris"]; ok {
		t.Error("silence of ris is nobody's business")
	}
	if got := s.g.Words(); !strings.Contains(got, "hl7 is not open: the port is taken") {
		t.Error(got)
	}
	if err := s.g.Alive(t.Context()); err != nil {
		t.Error("a taken port is not cured by a restart:", err)
	}
	s.stop()
	if s.g.Alive(t.Context()) == nil {
		t.Error("alive after its end")
	}
}
