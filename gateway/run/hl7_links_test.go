package run

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nhip/dicom/service/servicetest"
)

// hl7Listen are the listeners of [hl7] besides the shared one.
func (s *site) hl7Listen() (l struct {
	Listen struct {
		TLS   string `json:"hl7_tls"`
		HTTP  string `json:"hl7_http"`
		HTTPS string `json:"hl7_https"`
	}
}) {
	s.get("/api/v1/status", &l)
	return l
}

// connection is the state of a connection in words.
func (s *site) connection(name string) string {
	for _, c := range s.status().Connections {
		if c.Name == name {
			return c.Words
		}
	}
	return ""
}

// listenLocal listens on a free port until the test ends.
func listenLocal(t *testing.T) (net.Listener, error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err == nil {
		t.Cleanup(func() { l.Close() })
	}
	return l, err
}

func order(application, id, accept, answer string) string {
	return saying(application, "OUL^R22^OUL_R22", id, "2.5.1", accept, answer) + "OBR|1||S" + id + "|GLU\rOBX|1|NM|GLU||5.1|mmol/L|||||F\r"
}

// Two gateways: what a sends in the enhanced mode, b commits at once and answers over a
// connection of its own, and asks a to confirm that.
func TestAnApplicationAnswerComesByTheReturnLinkAndSettles(t *testing.T) {
	t.Parallel()
	back := servicetest.FreePort(t)
	to := servicetest.FreePort(t)
	b := newSite(t, fmt.Sprintf("[hl7]\nlisten = \"127.0.0.1:%s\"\n", to)+systemBlock("his", "acknowledge = \"both\"\nanswer_to = \"back\"\nconfirm = \"AL\"")+
		fmt.Sprintf("[[destination]]\nname = \"back\"\nkind = \"hl7\"\naddress = \"127.0.0.1:%s\"\n", back))
	a := newSite(t, fmt.Sprintf("[hl7]\nlisten = \"127.0.0.1:%s\"\n", back)+systemBlock("his", "to = [\"b\"]")+systemBlock("nhip", "acknowledges = [\"b\"]")+
		fmt.Sprintf("[[destination]]\nname = \"b\"\nkind = \"hl7\"\nmode = \"enhanced\"\naddress = \"127.0.0.1:%s\"\n", to))
	p := newPeer(t, "127.0.0.1", "127.0.0.1:"+back)
	for i := range 20 {
		if got := p.send(t, order("HIS", fmt.Sprint("R", i), "", "")); field(got, "MSA-1") != "AA" {
			t.Fatal(got)
		}
	}
	eventually(t, "all are delivered by the answers that came later, which are confirmed", func() bool {
		return a.status().Counts.Delivered == 20 && b.status().Counts.Delivered == 20
	})
	if n := a.status().Counts.Held + b.status().Counts.Held; n != 0 {
		t.Errorf("%d are held", n)
	}
}

// text is the configuration; restart starts the gateway anew with another one.
func (s *site) text() string {
	b, err := os.ReadFile(s.file)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(b)
}

func (s *site) restart(text string) {
	s.t.Helper()
	s.stop()
	if err := os.WriteFile(s.file, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.start()
}

// A destination in the enhanced mode: CA, and AA by the same connection, later.
func TestAnApplicationAnswerComesByTheSameConnectionLater(t *testing.T) {
	t.Parallel()
	l, err := listenLocal(t)
	if err != nil {
		t.Fatal(err)
	}
	s := newSite(t, systemBlock("his", "to = [\"b\"]")+
		fmt.Sprintf("[[destination]]\nname = \"b\"\nkind = \"hl7\"\nmode = \"enhanced\"\naddress = %q\n", l.Addr()))
	if got := newPeer(t, "127.0.0.1", s.status().Listen.HL7).send(t, order("HIS", "S1", "", "")); field(got, "MSA-1") != "AA" {
		t.Fatal(got)
	}
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(90 * time.Second))
	p := &mllpPeer{c, bufio.NewReader(c)}
	p.answer(t)
	answer := func(code, id, confirm string) string {
		return "\x0bMSH|^~\\&|B||HIS||20260114081500||ACK^R22^ACK|B" + code + "|P|2.5.1|||" + confirm + "|NE\rMSA|" + code + "|" + id + "\r\x1c\r"
	}
	io.WriteString(c, answer("CA", "S1", "NE"))
	eventually(t, "it is committed, and not delivered", func() bool {
		return s.g.workers["b"].Link().State == "idle" && s.status().Counts.Delivered == 0 && s.status().Counts.Queued == 1
	})
	io.WriteString(c, answer("AA", "OTHER", "AL"))
	if a := p.answer(t); field(a, "MSA-1") != "CE" || field(a, "MSA-2") != "BAA" {
		t.Errorf("an acknowledgement of nothing is answered %q", a)
	}
	io.WriteString(c, answer("AA", "S1", "AL"))
	if a := p.answer(t); field(a, "MSA-1") != "CA" || field(a, "MSA-2") != "BAA" {
		t.Errorf("the application acknowledgement is answered %q", a)
	}
	if n := s.status().Counts; n.Delivered != 1 || n.Queued != 0 {
		t.Errorf("%+v", n)
	}
}

func TestHL7OverTLSWithClientCertificatesInBothDirections(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ours, ourKey := certificate(t, dir, "nhip")
	his, hisKey := certificate(t, dir, "his")
	other, otherKey := certificate(t, dir, "other")
	trusted := vouched(t, dir, ours, his)
	files := fmt.Sprintf("tls_certificate = %q\ntls_key = %q\ntls_ca = %q\n", ours, ourKey, trusted)
	b := newSite(t, "[hl7]\nlisten = []\ntls_listen = \"127.0.0.1:0\"\nhttps_listen = \"127.0.0.1:0\"\n"+files+systemBlock("his", "certificate = \"his\""))
	at := b.hl7Listen().Listen
	send := func(t *testing.T, address, more string, delivered bool) {
		a := newSite(t, systemBlock("his", "to = [\"b\"]")+fmt.Sprintf("[[destination]]\nname = \"b\"\nkind = \"hl7\"\naddress = %q\ntls_ca = %q\n%s", address, trusted, more))
		before := b.status().Counts.Accepted
		if got := newPeer(t, "127.0.0.1", a.status().Listen.HL7).send(t, order("HIS", "T1", "", "")); field(got, "MSA-1") != "AA" {
			t.Fatal(got)
		}
		if delivered {
			eventually(t, "it is delivered", func() bool { return a.status().Counts.Delivered == 1 && b.status().Counts.Accepted == before+1 })
			return
		}
		eventually(t, "the destination is unreachable", func() bool { return a.g.workers["b"].Link().State == "unreachable" })
		if b.status().Counts.Accepted != before {
			t.Error("it was taken")
		}
	}
	cert := func(c, k string) string { return fmt.Sprintf("tls_certificate = %q\ntls_key = %q\n", c, k) }
	t.Run("MLLP", func(t *testing.T) {
		send(t, at.TLS, "tls = \"required\"\ntls_name = \"nhip.hospital.example\"\n"+cert(his, hisKey), true)
	})
	t.Run("HTTP", func(t *testing.T) {
		send(t, "https://"+at.HTTPS+"/hl7", "tls_name = \"nhip.hospital.example\"\n"+cert(his, hisKey), true)
	})
	t.Run("another name than the server's", func(t *testing.T) {
		send(t, at.TLS, "tls = \"required\"\ntls_name = \"lis\"\n"+cert(his, hisKey), false)
	})
	t.Run("a certificate that nobody vouches for", func(t *testing.T) {
		c, k := certificate(t, t.TempDir(), "his")
		conf := clientWith(t, c, k, ours)
		conn, err := tls.Dial("tcp", at.TLS, conf)
		if err == nil {
			_, err = conn.Read(make([]byte, 1)) // TLS 1.3 tells the client with its first read
			conn.Close()
		}
		if err == nil {
			t.Error("let in")
		}
	})
	t.Run("a trusted certificate of another name", func(t *testing.T) {
		both := vouched(t, dir, ours, his, other)
		b.restart(strings.Replace(b.text(), trusted, both, 1))
		at = b.hl7Listen().Listen
		conn, err := tls.Dial("tcp", at.TLS, clientWith(t, other, otherKey, ours))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(90 * time.Second))
		fmt.Fprintf(conn, "\x0b%s\x1c\r", order("HIS", "T9", "", ""))
		if b, err := io.ReadAll(conn); len(b) > 0 {
			t.Errorf("answered %q %v", b, err)
		}
	})
}

// clientWith is a client that shows a certificate and trusts one.
func clientWith(t *testing.T, certificate, key, trusts string) *tls.Config {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		t.Fatal(err)
	}
	pem, err := os.ReadFile(trusts)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	return &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: pool, ServerName: "nhip.hospital.example"}
}

func TestHL7OverHTTP(t *testing.T) {
	t.Parallel()
	s := newSite(t, "[hl7]\nlisten = \"127.0.0.1:0\"\nhttp_listen = \"127.0.0.1:0\"\n"+systemBlock("his", "")+systemBlock("both", "acknowledge = \"both\""))
	url := "http://" + s.hl7Listen().Listen.HTTP + "/"
	post := func(kind, body string) (int, string) {
		t.Helper()
		r, err := http.Post(url, kind, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		return r.StatusCode, string(b)
	}
	const hl7v2 = "application/hl7-v2"
	for _, c := range []struct {
		kind, body, code string
		status           int
	}{
		{hl7v2, order("HIS", "H1", "", ""), "AA", 200},
		{hl7v2, order("BOTH", "H2", "", ""), "AA", 200},
		{hl7v2, order("HIS", "H3", "AL", "NE"), "CA", 200},
		{hl7v2, order("HIS", "H4", "NE", "NE"), "", 204},
		{hl7v2, saying("HIS", "XXX^Z99", "H5", "2.5.1", "", ""), "AR", 400},
		{hl7v2, order("HIS", "", "", ""), "AE", 500},
		{hl7v2, order("NOBODY", "H6", "", ""), "", 403},
		{hl7v2, "HELLO", "", 400},
		{"text/xml", "<a/>", "", 415},
		{hl7v2 + "; charset=windows-1252", strings.Replace(order("HIS", "H7", "", ""), "UNICODE UTF-8", "", 1) + "NTE|1||\xD4\r", "AA", 200},
	} {
		status, body := post(c.kind, c.body)
		if status != c.status || field(body, "MSA-1") != c.code {
			t.Errorf("%.60q: %d %q, want %d %s", c.body, status, body, c.status, c.code)
		}
	}
	if w := s.connection("his"); strings.Contains(w, "ASCII") {
		t.Errorf("the charset of the Content-Type was not taken: %s", w)
	}
	eventually(t, "all are interpreted", func() bool { return s.status().Counts.Queued == 0 })
	// And as a client, with a user.
	l, err := listenLocal(t)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 10)
	go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		user, password, _ := r.BasicAuth()
		w.Header().Set("Content-Type", hl7v2)
		if user != "nhip" || password != "mat-khau" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		got <- string(b)
		io.WriteString(w, ackFor(field(string(b), "MSH-10")))
	}))
	s.restart(strings.Replace(s.text(), `application = "HIS"`, "application = \"HIS\"\nto = [\"web\"]", 1) +
		fmt.Sprintf("[[destination]]\nname = \"web\"\nkind = \"hl7\"\naddress = \"http://%s/in\"\nuser = \"nhip\"\npassword_file = \"pw\"\n", l.Addr()))
	sent := order("HIS", "H8", "", "")
	if a := newPeer(t, "127.0.0.1", s.status().Listen.HL7).send(t, sent); field(a, "MSA-1") != "AA" {
		t.Fatal(a)
	}
	if b := <-got; b != sent {
		t.Errorf("it was sent %q", b)
	}
	eventually(t, "it is delivered", func() bool { return s.status().Counts.Delivered == 1 })
}

// Release 2 of MLLP: a block is committed before its answer, in both directions.
func TestRelease2OfMLLP(t *testing.T) {
	t.Parallel()
	b := newSite(t, systemBlock("his", "mllp = 2"))
	p := newPeer(t, "127.0.0.1", b.status().Listen.HL7)
	fmt.Fprintf(p, "\x0b%s\x1c\r", order("HIS", "P1", "", ""))
	if c := p.answer(t); c != "\x06" {
		t.Fatalf("committed by %q", c)
	}
	if a := p.answer(t); field(a, "MSA-1") != "AA" {
		t.Fatal(a)
	}
	io.WriteString(p, "\x0b\x06\x1c\r")
	a := newSite(t, systemBlock("his", "to = [\"b\"]")+fmt.Sprintf("[[destination]]\nname = \"b\"\nkind = \"hl7\"\nmllp = 2\naddress = %q\n", b.status().Listen.HL7))
	q := newPeer(t, "127.0.0.1", a.status().Listen.HL7)
	for i := range 10 {
		q.send(t, order("HIS", fmt.Sprint("Q", i), "", ""))
	}
	eventually(t, "all are delivered", func() bool { return a.status().Counts.Delivered == 10 && b.status().Counts.Accepted == 11 })
}

func TestSequenceNumbersSurviveARestart(t *testing.T) {
	t.Parallel()
	s := newSite(t, systemBlock("his", "sequence = true"))
	send := func(id, number string) string {
		t.Helper()
		m := strings.Replace(order("HIS", id, "", ""), "|P|2.5.1|", "|P|2.5.1|"+number, 1)
		a := newPeer(t, "127.0.0.1", s.status().Listen.HL7).send(t, m)
		return field(a, "MSA-1") + " " + field(a, "MSA-4")
	}
	for _, c := range [][3]string{
		{"N0", "0", "AA -1"}, {"N1", "7", "AA 7"}, {"N2", "8", "AA 8"}, {"N2", "8", "AA 8"}, {"N3", "10", "AR 9"}, {"N3", "8", "AR 9"}, {"N3", "x", "AR 9"}, {"N9", "", "AA "},
		{"restart"}, {"N0", "0", "AA 9"}, {"N2", "8", "AA 8"}, {"N3", "9", "AA 9"}, {"NX", "-1", "AA -1"}, {"N4", "1", "AA 1"},
	} {
		if c[0] == "restart" {
			s.restart(s.text())
			continue
		}
		if got := send(c[0], c[1]); got != c[2] {
			t.Errorf("%s with number %q is answered %q, want %q", c[0], c[1], got, c[2])
		}
	}
	// And as the sender, to a gateway that counts.
	a := newSite(t, systemBlock("his", "to = [\"b\"]")+fmt.Sprintf("[[destination]]\nname = \"b\"\nkind = \"hl7\"\nsequence = true\naddress = %q\n", s.status().Listen.HL7))
	before := s.status().Counts
	p := newPeer(t, "127.0.0.1", a.status().Listen.HL7)
	for i := range 5 {
		p.send(t, order("HIS", fmt.Sprint("O", i), "", ""))
	}
	eventually(t, "all are delivered", func() bool {
		return a.status().Counts.Delivered == 5 && s.status().Counts.Accepted == before.Accepted+5
	})
	a.restart(a.text())
	newPeer(t, "127.0.0.1", a.status().Listen.HL7).send(t, order("HIS", "O9", "", ""))
	eventually(t, "the next is delivered", func() bool { return a.status().Counts.Delivered == 6 })
	if got := send("N5", "7"); got != "AR 8" {
		t.Errorf("after six messages the answer is %q", got)
	}
}

const (
	partOne   = "OBX|1|FT|x||This is the first "
	partTwo   = "sentence of a long "
	partThree = "message.|||||F\rNTE|1||the end\r"
)

func part(id, pointer, text, next string) string {
	m := strings.Replace(saying("HIS", "ORU^R01^ORU_R01", id, "2.5.1", "", ""), "|P|2.5.1||", "|P|2.5.1||"+pointer, 1)
	if pointer != "" {
		m = m[:strings.Index(m, "\r")+1] + "ADD|"
	}
	m += text
	if next != "" {
		m += "\rADD|\rDSC|" + next + "|F"
	}
	return strings.TrimSuffix(m, "\r") + "\r"
}

// A message in three parts, with a restart between them, and a repeat of each.
func TestAContinuedMessageIsMadeWholeAcrossARestart(t *testing.T) {
	t.Parallel()
	lis := newLIS(t)
	s := newSite(t, systemBlock("his", "to = [\"lis\"]")+lis.block())
	for i, m := range []string{part("C1", "", partOne, "P1"), part("C2", "P1", partTwo, "P2"), part("C3", "P2", partThree, "")} {
		for range 2 {
			if a := newPeer(t, "127.0.0.1", s.status().Listen.HL7).send(t, m); field(a, "MSA-1") != "AA" || field(a, "MSA-2") != fmt.Sprint("C", i+1) {
				t.Fatalf("part %d is answered %q", i, a)
			}
		}
		if i < 2 {
			s.restart(s.text())
		}
	}
	want := strings.TrimSuffix(part("C1", "", partOne, ""), "\r") + partTwo + partThree
	eventually(t, "it is delivered", func() bool { return len(lis.messages()) == 1 })
	if got := lis.messages()[0]; got != want {
		t.Errorf("delivered\n%q, want\n%q", got, want)
	}
	if a := newPeer(t, "127.0.0.1", s.status().Listen.HL7).send(t, part("C4", "P2", partThree, "")); field(a, "MSA-1") != "AR" || !strings.HasPrefix(field(a, "ERR-3"), "204^") {
		t.Errorf("what continues nothing is answered %q", a)
	}
	eventually(t, "all is counted", func() bool {
		n := s.status().Counts
		return n.Kinds["part"] == 3 && n.Kinds["duplicate"] == 3 && n.Delivered == 1 && n.Accepted == n.Delivered+n.Consumed
	})
}

// What was acknowledged and never became whole is held, not forgotten.
func TestAContinuedMessageThatIsGivenUpIsHeld(t *testing.T) {
	t.Parallel()
	s := newSite(t, systemBlock("his", "to = [\"lis\"]")+newLIS(t).block())
	p := newPeer(t, "127.0.0.1", s.status().Listen.HL7)
	for i := range maxUnfinished + 2 {
		if a := p.send(t, part(fmt.Sprint("G", i), "", partOne, fmt.Sprint("pointer ", i))); field(a, "MSA-1") != "AA" {
			t.Fatalf("part %d is answered %q", i, a)
		}
	}
	eventually(t, "the two oldest are held, and the sum is right", func() bool {
		n := s.status().Counts
		return n.Held == 2 && n.Kinds["part"] == maxUnfinished+2 && n.Accepted == n.Held+n.Consumed
	})
	if a := p.send(t, part("G99", "pointer 0", partThree, "")); field(a, "MSA-1") != "AR" {
		t.Errorf("what continues one that was given up is answered %q", a)
	}
	if why := s.status().Held[0].Reason; !strings.Contains(why, "1 part") {
		t.Errorf("held because %q", why)
	}
}

// The rest of a message that does not come is not waited for without end: what came was
// acknowledged, and nobody would know.
func TestAContinuedMessageWhoseRestDoesNotComeIsHeld(t *testing.T) {
	t.Parallel()
	s := newSite(t, systemBlock("his", "to = [\"lis\"]")+newLIS(t).block())
	p := newPeer(t, "127.0.0.1", s.status().Listen.HL7)
	for i := range 2 {
		if a := p.send(t, part(fmt.Sprint("W", i), "", partOne, fmt.Sprint("pointer ", i))); field(a, "MSA-1") != "AA" {
			t.Fatalf("part %d is answered %q", i, a)
		}
	}
	eventually(t, "the parts are counted", func() bool { return s.status().Counts.Kinds["part"] == 2 })
	open := newParts(s.g.store, s.g.cfg.HL7Peers[0])
	for _, later := range []time.Duration{unfinishedFor / 2, unfinishedFor + time.Minute, 2 * unfinishedFor} {
		if err := open.overdue(t.Context(), "his", time.Now().Add(later), s.g.log); err != nil {
			t.Fatal(err)
		}
		want := 2
		if later < unfinishedFor {
			want = 0
		}
		if n := s.status().Counts; int(n.Held) != want || n.Kinds["part"] != 2 || n.Accepted != n.Held+n.Consumed+n.Queued {
			t.Errorf("after %v: %+v", later, n)
		}
	}
	keys, err := s.g.store.Keys("continuation/his/", 0)
	if err != nil || len(keys) > 0 {
		t.Errorf("%d parts are left, %v", len(keys), err)
	}
}

func TestABatchIsAnsweredWithABatch(t *testing.T) {
	t.Parallel()
	s := newSite(t, systemBlock("his", ""))
	p := newPeer(t, "127.0.0.1", s.status().Listen.HL7)
	batch := "FHS|^~\\&|HIS|BV|NHIP||20260114||f.hl7||F1\rBHS|^~\\&|HIS|BV|NHIP||20260114||||B1\r" +
		order("HIS", "1", "", "") + order("HIS", "2", "NE", "NE") + saying("HIS", "XXX^Z99", "3", "2.5.1", "", "") + "BTS|3\rFTS|1\r"
	got := p.send(t, batch)
	lines := strings.Split(strings.TrimSuffix(got, "\r"), "\r")
	if len(lines) < 6 || !strings.HasPrefix(lines[0], "FHS|^~\\&|NHIP||HIS|BV|") || !strings.HasPrefix(lines[1], "BHS|^~\\&|NHIP||HIS|BV|") || !strings.HasSuffix(lines[1], "|B1") ||
		lines[len(lines)-2] != "BTS|2" || lines[len(lines)-1] != "FTS|1" || strings.Count(got, "\rMSA|AA|1\r") != 1 || strings.Count(got, "\rMSA|AR|3|") != 1 {
		t.Errorf("answered %q", got)
	}
	if n := s.status().Counts; n.Accepted != 2 {
		t.Errorf("%+v", n)
	}
	fmt.Fprintf(p, "\x0bBHS|^~\\&|HIS\r%sBTS|1\r\x1c\r\x0b%s\x1c\r", order("HIS", "4", "NE", "NE"), order("HIS", "5", "", ""))
	if a := p.answer(t); field(a, "MSA-2") != "5" {
		t.Errorf("a batch that asks for nothing is answered %q", a)
	}
}

func TestFilesOfAFolderAreTakenAnsweredAndMovedAway(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	lis := newLIS(t)
	s := newSite(t, systemBlock("his", fmt.Sprintf("folder = %q\nto = [\"lis\"]", folder))+lis.block())
	put := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("good.hl7", "FHS|^~\\&|HIS\rBHS|^~\\&|HIS||||||||B7\r"+order("HIS", "1", "", "")+order("HIS", "2", "", "")+"BTS|2\rFTS|1\r")
	put("plain.HL7", strings.ReplaceAll(order("HIS", "3", "", ""), "\r", "\r\n"))
	put("bad.hl7", order("HIS", "4", "", "")+saying("HIS", "XXX^Z99", "5", "2.5.1", "", ""))
	put("notes.txt", "no HL7")
	there := func(parts ...string) bool {
		_, err := os.Stat(filepath.Join(append([]string{folder}, parts...)...))
		return err == nil
	}
	eventually(t, "the files are moved away", func() bool {
		return there("done", "good.hl7") && there("done", "plain.HL7") && there("bad", "bad.hl7") && !there("good.hl7") && there("notes.txt")
	})
	eventually(t, "the messages are delivered", func() bool { return len(lis.messages()) == 4 })
	b, err := os.ReadFile(filepath.Join(folder, "answers", "good.hl7"))
	if err != nil || !strings.HasPrefix(string(b), "FHS|") || strings.Count(string(b), "\rMSA|AA|") != 2 || !strings.Contains(string(b), "|B7\r") {
		t.Errorf("%q %v", b, err)
	}
	put("again.hl7", order("HIS", "1", "", ""))
	eventually(t, "a file that was taken before is one of repeats", func() bool { return there("done", "again.hl7") })
	if n := s.status().Counts.Kinds["duplicate"]; n != 1 {
		t.Errorf("%d repeats", n)
	}
}

// What is passed on keeps its bytes; a destination with a character set of its own gets
// the same characters in that one.
func TestCharacterSetsOfLinks(t *testing.T) {
	t.Parallel()
	asItCame, unicode := newLIS(t), newLIS(t)
	s := newSite(t, systemBlock("his", "charset = \"TCVN3\"\nto = [\"lis\", \"utf8\"]")+systemBlock("ris", "charset_default = [\"UNICODE UTF-8\", \"Windows-1252\"]\nto = [\"lis\", \"utf8\"]")+
		systemBlock("emr", "to = [\"lis\", \"utf8\"]")+asItCame.block()+strings.Replace(unicode.block(), `"lis"`, `"utf8"`, 1)+"charset = \"UNICODE UTF-8\"\n")
	p := newPeer(t, "127.0.0.1", s.status().Listen.HL7)
	msh := func(application, id, set string) string {
		return fmt.Sprintf("MSH|^~\\&|%s|BV|NHIP||20260114||ORU^R01^ORU_R01|%s|P|2.5.1||||||%s\r", application, id, set)
	}
	for _, c := range []struct{ sent, want string }{
		{msh("HIS", "1", "8859/1") + "NTE|1||huy\xD5t \xAE\xAD\xEDc\r", msh("HIS", "1", "UNICODE UTF-8") + "NTE|1||huyết đước\r"},
		{msh("RIS", "2", "") + "NTE|1||caf\xE9\r", msh("RIS", "2", "UNICODE UTF-8") + "NTE|1||café\r"},
		{msh("RIS", "3", "") + "NTE|1||huyết\r", msh("RIS", "3", "UNICODE UTF-8") + "NTE|1||huyết\r"},
		{msh("EMR", "4", "UNICODE UTF-8") + "NTE|1||huyết\r", msh("EMR", "4", "UNICODE UTF-8") + "NTE|1||huyết\r"},
	} {
		if a := p.send(t, c.sent); field(a, "MSA-1") != "AA" {
			t.Fatal(a)
		}
		id := "|" + field(c.sent, "MSH-10") + "|"
		eventually(t, "both have it", func() bool { return len(asItCame.of(id)) == 1 && len(unicode.of(id)) == 1 })
		if got := asItCame.of(id)[0]; got != c.sent {
			t.Errorf("passed on as %q, want %q", got, c.sent)
		}
		if got := unicode.of(id)[0]; got != c.want {
			t.Errorf("transcoded to %q, want %q", got, c.want)
		}
	}
	// Bytes that are not what is declared: shown, counted, once in the log; the destination
	// with a set of its own does not get a message with letters lost.
	for i := range 3 {
		p.send(t, msh("EMR", fmt.Sprint("W", i), "UNICODE UTF-8")+"NTE|1||huy\xD5t \xAE\xAD\xEDc\r")
	}
	eventually(t, "it is shown", func() bool { return strings.Contains(s.connection("emr"), "reads as TCVN3") })
	if n := strings.Count(s.log.String(), `msg="character set" connection=emr`); n != 1 {
		t.Errorf("%d lines in the log", n)
	}
	rsp, err := http.Get("http://" + s.console + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer rsp.Body.Close()
	if b, _ := io.ReadAll(rsp.Body); !bytes.Contains(b, []byte(`nhip_connection_charset_warnings_total{kind="hl7_peer",name="emr"} 3`)) {
		t.Error("not counted")
	}
	eventually(t, "what cannot be carried over is held for that destination", func() bool {
		n := s.status().Counts
		return n.Held == 3 && n.Queued == 0 && len(asItCame.of("|W")) == 3 && len(unicode.of("|W")) == 0
	})
}

func TestLimitsOfALink(t *testing.T) {
	t.Parallel()
	s := newSite(t, systemBlock("his", "max_connections = 2\nmax_message = \"64 KiB\"\nmax_segments = 100\nidle = \"5s\"")+systemBlock("ris", "complete = \"1s\""))
	shared := s.status().Listen.HL7
	one, two := newPeer(t, "127.0.0.1", shared), newPeer(t, "127.0.0.1", shared)
	one.send(t, order("HIS", "1", "", ""))
	two.send(t, order("HIS", "2", "", ""))
	three := newPeer(t, "127.0.0.1", shared)
	fmt.Fprintf(three, "\x0b%s\x1c\r", order("HIS", "3", "", ""))
	if b := closedByPeer(t, three); len(b) > 0 {
		t.Errorf("a third connection is answered %q", b)
	}
	if a := one.send(t, order("HIS", "4", "", "")+strings.Repeat("NTE|1\r", 100)); field(a, "MSA-1") != "AR" {
		t.Errorf("101 segments are answered %q", a)
	}
	if a := one.send(t, order("HIS", "5", "", "")+"NTE|1||"+strings.Repeat("x", 64<<10)+"\r"); field(a, "MSA-1") != "AR" || !strings.HasPrefix(field(a, "ERR-3"), "207^") {
		t.Errorf("over 64 KiB is answered %q", a)
	}
	if a := newPeer(t, "127.0.0.1", shared).send(t, order("RIS", "6", "", "")+"NTE|1||"+strings.Repeat("x", 64<<10)+"\r"); field(a, "MSA-1") != "AA" {
		t.Errorf("another link is answered %.200q", a)
	}
	// The address is that of two links: the longer of their times holds.
	s.restart(strings.Replace(s.text(), "[[hl7_peer]]\nname = \"ris\"", "[[hl7_peer]]\nname = \"ris\"\nidle = \"5s\"", 1))
	quiet := newPeer(t, "127.0.0.1", s.status().Listen.HL7)
	quiet.send(t, order("HIS", "7", "", ""))
	closedByPeer(t, quiet)
	s.logged(0, "nothing came for too long")
}

// Links of one address are told apart by MSH-3 to MSH-6: the one that says most counts.
func TestPeersAreToldApartByMSH3To6(t *testing.T) {
	t.Parallel()
	s := newSite(t, systemBlock("his", "")+"[[hl7_peer]]\nname = \"his-lab\"\naddress = \"127.0.0.1\"\napplication = \"HIS\"\nreceiving_application = \"LAB\"\n"+
		"[[hl7_peer]]\nname = \"his-lab-2\"\naddress = \"127.0.0.1\"\napplication = \"HIS\"\nreceiving_application = \"LAB\"\nreceiving_facility = \"CS2\"\n"+
		"[[hl7_peer]]\nname = \"any\"\naddress = \"127.0.0.1\"\nfacility = \"BV2\"\n")
	p := newPeer(t, "127.0.0.1", s.status().Listen.HL7)
	for i, c := range []struct{ msh, link string }{
		{"HIS|BV|NHIP|BV", "his"}, {"HIS|BV|LAB|BV", "his-lab"}, {"HIS|BV|LAB|CS2", "his-lab-2"}, {"RIS|BV2|LAB|CS2", "any"}, {"HIS|BV2|X|", "his"},
	} {
		m := strings.Replace(order("HIS", fmt.Sprint("E", i), "", ""), "HIS|BV|NHIP|BV", c.msh, 1)
		before := s.g.store.Last("in/" + c.link)
		if a := p.send(t, m); field(a, "MSA-1") != "AA" {
			t.Errorf("%s: %q", c.msh, a)
		}
		if s.g.store.Last("in/"+c.link) != before+1 {
			t.Errorf("%s is not of %s", c.msh, c.link)
		}
	}
	p.Write([]byte("\x0b" + strings.Replace(order("HIS", "E9", "", ""), "HIS|BV|", "RIS|BV|", 1) + "\x1c\r"))
	if b := closedByPeer(t, p); len(b) > 0 {
		t.Errorf("a stranger is answered %q", b)
	}
}

// The same link, MSH-10 and bytes are a repeat; where MSH-7 alone differs it is another
// message (contract, "What is committed before the ACK").
func TestARepeatGetsTheStoredAnswerAndAnotherTimeIsAnotherMessage(t *testing.T) {
	t.Parallel()
	lis := newLIS(t)
	s := newSite(t, systemBlock("his", "acknowledge = \"both\"\nto = [\"lis\"]")+systemBlock("ris", "to = [\"lis\"]")+lis.block())
	send := func(m string) string {
		p := newPeer(t, "127.0.0.1", s.status().Listen.HL7)
		fmt.Fprintf(p, "\x0b%s\x1c\r", m)
		return p.answer(t) + p.answer(t)
	}
	first := send(order("HIS", "1", "", ""))
	s.restart(s.text())
	if again := send(order("HIS", "1", "", "")); again != first {
		t.Errorf("a repeat is answered %q, want %q", again, first)
	}
	if other := send(strings.Replace(order("HIS", "1", "", ""), "|20260114081500+0700|", "|20260114081501+0700|", 1)); other == first {
		t.Error("another time is a repeat")
	}
	if a := newPeer(t, "127.0.0.1", s.status().Listen.HL7).send(t, order("RIS", "1", "", "")); field(a, "MSA-1") != "AA" {
		t.Error(a)
	}
	eventually(t, "three are delivered", func() bool { return s.status().Counts.Delivered == 3 })
	if n := s.status().Counts; n.Kinds["duplicate"] != 1 || n.Accepted != 4 {
		t.Errorf("%+v", n)
	}
}
