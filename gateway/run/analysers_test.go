package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"nhip/drivers/session"
	"nhip/drivers/transcript"
	"nhip/gateway/config"
	"nhip/gateway/record"
)

// A laboratory has work for some specimens, and notes what became of it.
type laboratory struct {
	mu     sync.Mutex
	work   map[string][]string // tests by specimen
	slow   time.Duration
	broken bool
	asked  []record.Query
	handed []string
}

func (l *laboratory) Work(ctx context.Context, q record.Query) ([]record.Work, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked = append(l.asked, q)
	if l.broken {
		return nil, errors.New("the orders cannot be read")
	}
	if l.slow > 0 {
		t := time.NewTimer(l.slow)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	var all []record.Work
	for _, id := range q.Specimens {
		if tests := l.work[id]; tests != nil {
			all = append(all, record.Work{Specimen: id, Tests: tests, Patient: &record.Patient{ID: "P1", Name: record.Name{Family: "Test"}}})
		}
	}
	return all, nil
}

func (l *laboratory) Handed(q record.Query, work []record.Work, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.handed = append(l.handed, fmt.Sprintf("%v %d %v", q.Specimens, len(work), err))
}

func (l *laboratory) said() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.handed)
}

// own are profiles of the site: what an analyser asks with, and how it is answered.
var own = map[string]string{
	"test-astm": `
protocol = "astm"
[parts]
specimen = "O.3.1"
code = "R.3.4"
value = "R.4"
[query]
source = "test"
specimen = "Q.3.2"
rack = "Q.3.4"
position = "Q.3.5"
[answer]
source = "test"
deadline = "60s"
[[answer.field]]
path = "O.3.1"
is = "{specimen}"
[[answer.field]]
path = "O.4.1"
is = "{rack}"
[[answer.field]]
path = "O.4.2"
is = "{position}"
[[answer.field]]
path = "O.5.4"
is = "{test}"
[[answer.field]]
path = "P.6"
is = "{name}"
[[answer.field]]
path = "O.26"
is = "Q"
`,
	"test-tokens": `
protocol = "astm"
[parts]
specimen = "O.3"
code = "R.3.4"
value = "R.4"
[link]
source = "test"
form = "tokens"
[query]
source = "test"
specimen = "Q.3.2"
[answer]
source = "test"
[[answer.field]]
path = "O.3"
is = "{specimen}"
[[answer.field]]
path = "O.5.4"
is = "{test}"
`,
	"test-dsr": `
protocol = "hl7"
[parts]
specimen = "OBR-3"
code = "OBX-3.1"
value = "OBX-5"
[hl7]
source = "test"
query = "dsr"
deadline = "60s"
`,
	"test-law": `
protocol = "law"
[parts]
specimen = "SAC-3, SPM-2"
code = "OBX-3.1"
value = "OBX-5"
[hl7]
source = "test"
query = "law"
test_system = "99TST"
deadline = "60s"
`,
	"test-au": `
protocol = "beckman-au"
[parts]
specimen = "O.specimen"
code = "R.code"
value = "R.value"
[au]
source = "test"
rack = 4
cup = 2
type = 1
sample_no = 4
sample_id = 10
dummy = 4
block = 1
test = 2
result = 6
flags = 2
class = "B"
deadline = "60s"
`,
}

// writeProfiles puts the profiles of the test into a folder.
func writeProfiles(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	own := maps.Clone(own)
	own["test-push"] = own["test-astm"] + pushed
	own["test-push-law"] = strings.Replace(own["test-law"], "[hl7]\n", "[hl7]\ndownload = \"oml\"\ncancel = \"ca\"\n", 1)
	own["test-names"] = strings.Replace(own["test-astm"], "[parts]\n", "[parts]\nfamily = \"P.6\"\ncomment = \"C.4\"\noperator = \"R.11\"\n", 1)
	own["test-au-names"] = strings.Replace(own["test-au"], "block = 1\n", "block = 1\npatient = 8\n", 1)
	own["test-quick"] = strings.Replace(own["test-astm"], `deadline = "60s"`, `deadline = "2s"`, 1)
	for id, text := range own {
		head := fmt.Sprintf("id = %q\nname = %q\nrevision = 1\nevidence = \"standard\"\nsource = \"test\"\ncodes = \"site\"\ncodes_source = \"test\"\nparts_source = \"test\"\ntransport = [\"tcp-client\"]\ntwo_way = \"query\"\n", id, id)
		if err := os.MkdirAll(filepath.Join(dir, id), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, id, "profile.toml"), []byte(head+text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// analyserSite is a gateway with a LIS, a laboratory and these analysers by profile.
func analyserSite(t *testing.T, lab *laboratory, ports map[string]string) (*site, *systemLIS) {
	t.Helper()
	lis := newLIS(t)
	var b strings.Builder
	for profile, address := range ports {
		fmt.Fprintf(&b, "[[analyser]]\nname = %q\nprofile = %q\nport = %q\norders = \"warn\"\nto = [\"lis\"]\n", "a-"+profile, profile, address)
	}
	s := newSite(t, fmt.Sprintf("[[destination]]\nname = \"lis\"\nkind = \"hl7\"\naddress = %q\n", lis.address))
	s.stop()
	text, err := os.ReadFile(s.file)
	if err != nil {
		t.Fatal(err)
	}
	with := strings.Replace(string(text), "[site]\n", fmt.Sprintf("[site]\nprofiles = %q\n", writeProfiles(t)), 1)
	if err := os.WriteFile(s.file, []byte(with+b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	s.work = func(config.Analyser) session.Orders { return lab }
	s.start()
	return s, lis
}

func tcp(profile string) map[string]string {
	return map[string]string{profile: "tcp-listen://127.0.0.1:0"}
}

// plug connects to the analyser's port.
func (s *site) plug(profile string) net.Conn {
	s.t.Helper()
	var address string
	eventually(s.t, "the port is open", func() bool {
		address = s.status().Listen.Analyser["a-"+profile]
		return address != ""
	})
	return dialFrom(s.t, "127.0.0.1", address)
}

// say writes what the device says, in the notation of transcripts, and reads what the
// host has to say.
func say(t *testing.T, c net.Conn, script string) {
	t.Helper()
	steps, err := transcript.Parse([]byte(script))
	if err != nil {
		t.Fatal(err)
	}
	if err := transcript.Speak(t.Context(), c, steps, time.Second); err != nil {
		t.Fatal(err)
	}
}

// retry is say on a connection of its own, again where the machine was too busy for
// the two or three seconds that the analyser gives its host.
func (s *site) retry(profile, script string) {
	s.t.Helper()
	steps, err := transcript.Parse([]byte(script))
	if err != nil {
		s.t.Fatal(err)
	}
	for range 10 {
		c := s.plug(profile)
		err = transcript.Speak(s.t.Context(), c, steps, time.Second)
		c.Close()
		if err == nil {
			return
		}
	}
	s.t.Fatal(err)
}

func readAll(t *testing.T, c net.Conn, end string) string {
	t.Helper()
	var b []byte
	one := make([]byte, 1)
	for !strings.HasSuffix(string(b), end) {
		if _, err := io.ReadFull(c, one); err != nil {
			t.Fatalf("%q, then %v", b, err)
		}
		b = append(b, one[0])
	}
	return string(b)
}

func (l *laboratory) handedTo(t *testing.T, want string) {
	t.Helper()
	eventually(t, "the laboratory hears "+want, func() bool { return slices.Contains(l.said(), want) })
}

// TestQueriesOfEveryProtocolAreAnswered: an analyser asks for a specimen with orders
// and for one without, in each protocol that has a query.
func TestQueriesOfEveryProtocolAreAnswered(t *testing.T) {
	lab := &laboratory{work: map[string][]string{"S1": {"11", "12"}}}
	ports := map[string]string{"test-dsr": "mllp-listen://127.0.0.1:0", "test-law": "mllp-listen://127.0.0.1:0"}
	for _, p := range []string{"test-astm", "test-tokens", "test-au"} {
		ports[p] = tcp(p)[p]
	}
	s, _ := analyserSite(t, lab, ports)

	c := s.plug("test-astm")
	say(t, c, `
> <ENQ>
< <ACK>
> <STX>1H|\^&<CR>Q|1|^S1^^R5^3||ALL<CR>Q|2|^S9^^R5^4||ALL<CR>L|1|N<CR><ETX><sum><CR><LF>
< <ACK>
> <EOT>
< <ENQ>
> <ACK>
< <STX>1H|\^&<CR><ETX><sum><CR><LF>
> <ACK>
< <STX>2P|1||||Test<CR><ETX><sum><CR><LF>
> <ACK>
< <STX>3O|1|S1|R5^3|^^^11\^^^12|||||||||||||||||||||Q<CR><ETX><sum><CR><LF>
> <ACK>
< <STX>4L|1|N<CR><ETX><sum><CR><LF>
> <ACK>
< <EOT>
`)
	lab.handedTo(t, "[S1] 1 <nil>")

	s.retry("test-tokens", `
> <ENQ><STX>H|\^&<CR>Q|1|^S1||ALL<CR>L|1|N<CR><ETX><EOT>
< <ACK><ACK><ACK><ACK><ENQ>
> <ACK>
< <STX>
> <ACK>
< H|\^&<CR>O|1|S1||^^^11\^^^12<CR>L|1|N<CR><ETX>
> <ACK>
< <EOT>
> <ACK>
`)

	s.retry("test-au", `
> <STX>RB<ETX>
< <ACK>
> <STX>R 000301 0007        S1<ETX>
< <ACK><STX>S 000301 0007        S1    E1112<ETX>
> <ACK>
> <STX>RE<ETX>
< <ACK>
`)
	taken := func() (n int) {
		for _, said := range lab.said() {
			if said == "[S1] 1 <nil>" {
				n++
			}
		}
		return n
	}
	eventually(t, "three answers were taken", func() bool { return taken() >= 3 })
	before := taken()

	c = s.plug("test-dsr")
	fmt.Fprint(c, "\vMSH|^~\\&|Mindray|BS|||20260114||QRY^Q02|7|P|2.3.1||||||ASCII\rQRD|20260114|R|D|2|||RD|S1|OTH|||T\rQRF|BS\r\x1c\r")
	if got := readAll(t, c, "\x1c\r"); !strings.Contains(got, "QCK^Q02") || !strings.Contains(got, "QAK|SR|OK") {
		t.Errorf("%q", got)
	}
	dsr := readAll(t, c, "\x1c\r")
	if !strings.Contains(dsr, "DSP|29||11^^^|||\rDSP|30||12^^^|||\rDSC||\r") {
		t.Errorf("%q", dsr)
	}
	id := strings.Split(strings.Split(dsr, "\r")[0], "|")[9]
	fmt.Fprintf(c, "\vMSH|^~\\&|Mindray|BS|||20260114||ACK^Q03|8|P|2.3.1\rMSA|AA|%s\r\x1c\r", id)
	fmt.Fprint(c, "\vMSH|^~\\&|Mindray|BS|||20260114||QRY^Q02|9|P|2.3.1||||||ASCII\rQRD|20260114|R|D|2|||RD|S9|OTH|||T\rQRF|BS\r\x1c\r")
	if got := readAll(t, c, "\x1c\r"); !strings.Contains(got, "QAK|SR|NF") {
		t.Errorf("%q", got)
	}

	c = s.plug("test-law")
	fmt.Fprint(c, "\vMSH|^~\\&|BA|Bio|Host||20260114||QBP^Q11^QBP_Q11|7|P|2.5.1|||ER|AL||UNICODE UTF-8|||LAB-27^IHE\rQPD|WOS^Work Order Step^IHE_LABTF|t|S1\rRCP|I||R\r\x1c\r")
	if got := readAll(t, c, "\x1c\r"); !strings.Contains(got, "RSP^K11^RSP_K11") {
		t.Errorf("%q", got)
	}
	oml := readAll(t, c, "\x1c\r")
	if !strings.Contains(oml, "OML^O33^OML_O33") || strings.Count(oml, "\rOBR|") != 2 {
		t.Errorf("%q", oml)
	}
	id = strings.Split(strings.Split(oml, "\r")[0], "|")[9]
	fmt.Fprintf(c, "\vMSH|^~\\&|BA||||20260114||ORL^O34^ORL_O42|8|P|2.5.1\rMSA|AA|%s\r\x1c\r", id)
	// What the analyser says of itself is kept and acknowledged.
	fmt.Fprint(c, "\vMSH|^~\\&|BA||||20260114||ESU^U01^ESU_U01|10|P|2.5.1\rEQU|BA|20260114|OP\r\x1c\r")
	if got := readAll(t, c, "\x1c\r"); !strings.Contains(got, "\rMSA|AA|10") {
		t.Errorf("%q", got)
	}
	eventually(t, "two more answers were taken", func() bool { return taken() >= before+2 })
	// Every query was kept and counted.
	eventually(t, "the queries are consumed", func() bool {
		st := s.status()
		return st.Counts.Kinds["query"] >= 5 && st.Counts.Queued == 0
	})
}

// TestNoAnswerWhenNobodyKnows: orders that cannot be read, or not in time, are no
// answer; the analyser goes on and its results come in.
func TestNoAnswerWhenNobodyKnows(t *testing.T) {
	lab := &laboratory{broken: true}
	s, lis := analyserSite(t, lab, tcp("test-quick"))
	c := s.plug("test-quick")
	const query = `
> <ENQ>
< <ACK>
> <STX>1H|\^&<CR>Q|1|^S1^^R5^3||ALL<CR>L|1|N<CR><ETX><sum><CR><LF>
< <ACK>
> <EOT>
`
	say(t, c, query)
	s.logged(0, "query not answered", "cannot be read")
	lab.mu.Lock()
	lab.broken, lab.slow = false, 30*time.Second
	lab.mu.Unlock()
	mark := len(s.log.String())
	say(t, c, query)
	say(t, c, `
> <ENQ>
< <ACK>
> <STX>1H|\^&<CR>P|1<CR>O|1|S7<CR>R|1|^^^GLU|5.1|mmol/L<CR>L|1|N<CR><ETX><sum><CR><LF>
< <ACK>
> <EOT>
`)
	s.logged(mark, "query not answered", "deadline")
	eventually(t, "the result is with the LIS", func() bool {
		return slices.ContainsFunc(lis.messages(), func(m string) bool { return strings.Contains(m, "|S7|") })
	})
	if said := lab.said(); len(said) != 0 {
		t.Errorf("handed: %q", said)
	}
}

// TestAnswerThatIsNotTakenIsSaid: an analyser that is switched off before it
// has taken the answer.
func TestAnswerThatIsNotTakenIsSaid(t *testing.T) {
	lab := &laboratory{work: map[string][]string{"S1": {"11"}}}
	s, _ := analyserSite(t, lab, tcp("test-astm"))
	c := s.plug("test-astm")
	say(t, c, `
> <ENQ>
< <ACK>
> <STX>1H|\^&<CR>Q|1|^S1^^R5^3||ALL<CR>L|1|N<CR><ETX><sum><CR><LF>
< <ACK>
> <EOT>
< <ENQ>
> <ACK>
< <STX>1H|\^&<CR><ETX><sum><CR><LF>
`)
	c.Close()
	eventually(t, "the laboratory hears that it was not sent", func() bool {
		said := lab.said()
		return len(said) == 1 && strings.HasPrefix(said[0], "[S1] 1 e1381: line cut")
	})
}

// TestResultsOfEveryProtocol plays the transcripts of built-in profiles over a socket:
// every report for a patient's specimen reaches the LIS.
func TestResultsOfEveryProtocol(t *testing.T) {
	models := []string{"sysmex-kx-21n", "sysmex-uc-1000", "beckman-au480", "biomerieux-mini-vidas"}
	ports := map[string]string{"sysmex-xt-2000i-csv": "file://" + filepath.ToSlash(t.TempDir()) + "?match=*.csv"}
	for _, m := range models {
		ports[m] = tcp(m)[m]
	}
	s, lis := analyserSite(t, &laboratory{}, ports)
	arrived := func(specimen string) {
		t.Helper()
		eventually(t, "specimen "+specimen+" is with the LIS", func() bool {
			return slices.ContainsFunc(lis.messages(), func(m string) bool { return strings.Contains(m, "|"+specimen+"|") })
		})
	}
	for _, m := range models {
		text, err := os.ReadFile(filepath.Join("..", "..", "drivers", "profiles", m, "transcripts", "results.txt"))
		if err != nil {
			t.Fatal(err)
		}
		c := s.plug(m)
		say(t, c, string(text))
		for _, specimen := range expected(t, m) {
			arrived(specimen)
		}
	}
	// The file, as a transcript has it.
	text, err := os.ReadFile(filepath.Join("..", "..", "drivers", "profiles", "sysmex-xt-2000i-csv", "transcripts", "results.txt"))
	if err != nil {
		t.Fatal(err)
	}
	steps, err := transcript.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	var content []byte
	for _, step := range steps {
		content = append(content, step.Bytes...)
	}
	folder := strings.TrimSuffix(strings.TrimPrefix(ports["sysmex-xt-2000i-csv"], "file://"), "?match=*.csv")
	if err := os.WriteFile(filepath.Join(folder, "run.csv"), content, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, specimen := range expected(t, "sysmex-xt-2000i-csv") {
		arrived(specimen)
	}
	eventually(t, "the file is moved aside", func() bool {
		_, err := os.Stat(filepath.Join(folder, "taken", "run.csv"))
		return err == nil
	})
	if st := s.status(); st.Counts.Refused != 0 {
		t.Errorf("%+v", st.Counts)
	}
}

// expected are the specimens of patients in a profile's expected results.
func expected(t *testing.T, model string) (specimens []string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "drivers", "profiles", model, "expected", "results.json"))
	if err != nil {
		t.Fatal(err)
	}
	var all []struct {
		Reports []struct {
			Specimen string
			Control  bool
		}
	}
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		for _, r := range m.Reports {
			if !r.Control && r.Specimen != "" {
				specimens = append(specimens, r.Specimen)
			}
		}
	}
	if len(specimens) == 0 {
		t.Fatalf("%s expects no specimen", model)
	}
	return specimens
}
