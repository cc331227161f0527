package alert

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/big"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"nhip/gateway/reason"
)

// A memory is a Store that outlives a Keeper.
type memory struct {
	mu   sync.Mutex
	keys map[string][]byte
	puts int
	err  error
}

func (m *memory) Get(key string) ([]byte, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.keys[key]
	return b, ok, nil
}

func (m *memory) Put(_ context.Context, key string, value []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return m.err
	}
	m.puts++
	if m.keys == nil {
		m.keys = map[string][]byte{}
	}
	m.keys[key] = slices.Clone(value)
	return nil
}

// A teller is a Channel that remembers.
type teller struct {
	name string
	mu   sync.Mutex
	told []string
	ids  map[string]int
	err  error
}

func (c *teller) Name() string { return c.name }

func (c *teller) Send(ctx context.Context, n Notice) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	c.told = append(c.told, n.Kind+" "+n.Alert.Subject)
	if c.ids == nil {
		c.ids = map[string]int{}
	}
	c.ids[n.ID]++
	return nil
}

func (c *teller) fail(err error) { c.mu.Lock(); c.err = err; c.mu.Unlock() }

func (c *teller) heard() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(c.told, ",")
}

// A ward is what the tests' Keepers read.
type ward struct {
	mu     sync.Mutex
	levels map[string]Level
}

func (w *ward) set(subject string, l Level) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.levels == nil {
		w.levels = map[string]Level{}
	}
	w.levels[subject] = l
}

func (w *ward) read(time.Time) (all []Reading) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range slices.Sorted(maps.Keys(w.levels)) {
		all = append(all, Reading{Code: Silent, Subject: s, Level: w.levels[s], Args: []string{"60"}})
	}
	return all
}

func keeper(m *memory, w *ward, channels ...Channel) *Keeper {
	return &Keeper{
		Site: "bv", Store: m, Read: w.read, Channels: channels, Log: slog.New(slog.DiscardHandler),
		Policy: Policy{Again: 15 * time.Minute, PerHour: 20},
	}
}

// run runs a keeper and returns what stops it and waits.
func run(k *Keeper) (stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- k.Run(ctx) }()
	return func() error { cancel(); return <-ended }
}

func TestRaisedIsNotToldAgainAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, w, c := &memory{}, &ward{}, &teller{name: "smtp"}
		w.set("xn-1", Bad)
		k := keeper(m, w, c)
		stop := run(k)
		time.Sleep(time.Minute)
		if c.heard() != "raised xn-1" || len(k.View().Active) != 1 || k.View().Raised[Silent] != 1 || k.View().Looked[0] != (Gauge{Silent, "xn-1", true}) {
			t.Fatal(c.heard(), k.View())
		}
		if m.puts != 2 { // raised, told
			t.Errorf("%d writes for one alert", m.puts)
		}
		stop()

		w.set("xn-1", Between) // nothing is known of it right after the start
		k = keeper(m, w, c)
		stop = run(k)
		time.Sleep(time.Minute)
		w.set("xn-1", Bad)
		time.Sleep(20 * time.Minute)
		if c.heard() != "raised xn-1" || len(k.View().Active) != 1 || m.puts != 2 {
			t.Error("told again:", c.heard(), m.puts)
		}
		w.set("xn-1", Quiet)
		time.Sleep(time.Minute)
		if c.heard() != "raised xn-1,cleared xn-1" || len(k.View().Active) != 0 || len(k.View().Recent) != 2 {
			t.Error(c.heard(), k.View())
		}
		stop()
	})
}

func TestChannelThatFailsIsTriedAgainAndHoldsUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, w := &memory{}, &ward{}
		good, bad := &teller{name: "webhook-1"}, &teller{name: "smtp", err: errors.New("dial tcp: no route")}
		w.set("xn-1", Bad)
		k := keeper(m, w, bad, good)
		stop := run(k)
		time.Sleep(10 * time.Minute)
		if good.heard() != "raised xn-1,raised smtp" { // it says that the other cannot be reached
			t.Error(good.heard())
		}
		if a := k.View().Active; len(a) != 2 || a[0].In(reason.English) != "alerts cannot be sent by smtp: no connection: no route" {
			t.Error(a)
		}
		stop() // what was not told survives
		bad.fail(nil)
		k = keeper(m, w, bad, good)
		stop = run(k)
		time.Sleep(5 * time.Minute)
		if all := "raised xn-1,raised smtp,cleared smtp"; bad.heard() != all || good.heard() != all {
			t.Errorf("smtp %q, webhook %q", bad.heard(), good.heard())
		}
		if k.View().Waiting != 0 || len(k.View().Active) != 1 {
			t.Errorf("%+v", k.View())
		}
		stop()
		for id, n := range bad.ids {
			if n != 1 {
				t.Errorf("%s came %d times", id, n)
			}
		}
	})
}

func TestRetriesBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, attempts := &ward{}, 0
		c := counting{&attempts}
		w.set("xn-1", Bad)
		stop := run(keeper(&memory{}, w, c))
		time.Sleep(time.Hour)
		stop()
		if attempts < 10 || attempts > 25 {
			t.Errorf("%d attempts in an hour", attempts)
		}
	})
}

type counting struct{ n *int }

func (counting) Name() string                         { return "c" }
func (c counting) Send(context.Context, Notice) error { *c.n++; return errors.New("no") }

func TestStateThatCannotBeReadIsBegunAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, stored := range []string{"{", `{"version":2,"active":[{"code":"silent"}]}`} {
			m, w, c := &memory{keys: map[string][]byte{stateKey: []byte(stored)}}, &ward{}, &teller{name: "smtp"}
			w.set("xn-1", Bad)
			stop := run(keeper(m, w, c))
			time.Sleep(time.Minute)
			if stop(); c.heard() != "raised xn-1" {
				t.Errorf("%s: %s", stored, c.heard())
			}
		}
	})
}

func TestStoreThatFailsEndsTheKeeper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &ward{}
		w.set("xn-1", Bad)
		broken := errors.New("broken")
		if err := keeper(&memory{err: broken}, w).Run(context.Background()); !errors.Is(err, broken) {
			t.Error(err)
		}
	})
}

func TestOnAFullDiskItIsToldAndSavedLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, w, c := &memory{err: fmt.Errorf("full: %w", ErrLater)}, &ward{}, &teller{name: "smtp"}
		w.set("xn-1", Bad)
		stop := run(keeper(m, w, c))
		time.Sleep(time.Minute)
		if c.heard() != "raised xn-1" || m.puts != 0 {
			t.Error(c.heard(), m.puts)
		}
		m.mu.Lock()
		m.err = nil
		m.mu.Unlock()
		time.Sleep(time.Minute)
		if stop(); m.puts != 1 || !strings.Contains(string(m.keys[stateKey]), "xn-1") {
			t.Error(m.puts)
		}
	})
}

// --- webhook

var notice = Notice{
	ID: "bv-1-7", Kind: Raised, At: start,
	Alert: Alert{Code: Undelivered, Subject: "lis", Args: []string{"3", "5"}, Since: start},
}

var summary = Notice{
	ID: "bv-1-8", Kind: Summary, At: start, Suppressed: 4,
	Active: []Alert{notice.Alert, {Code: Listener, Subject: "hl7", Why: reason.New(reason.PortTaken), Since: start}},
}

func TestWebhookPostsJSONWithTheToken(t *testing.T) {
	var got []byte
	var header http.Header
	status := http.StatusNoContent
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header = r.Header
		got, _ = io.ReadAll(r.Body)
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(status)
	}))
	defer server.Close()
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("bi-mat\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w := NewWebhook(Webhook{Label: "webhook-1", URL: server.URL, TokenFile: token, Site: Site{"bv", "Bệnh viện"}})
	if err := w.Send(t.Context(), notice); err != nil {
		t.Fatal(err)
	}
	if header.Get("Authorization") != "Bearer bi-mat" || header.Get("Content-Type") != "application/json" || header.Get("Idempotency-Key") != "bv-1-7" {
		t.Error(header)
	}
	want := `{"id":"bv-1-7","kind":"raised","at":"2026-01-14T08:30:00Z","site":{"id":"bv","name":"Bệnh viện"},` +
		`"alert":{"code":"undelivered","subject":"lis","since":"2026-01-14T08:30:00Z",` +
		`"words":{"en":"lis: 3 are waiting, the oldest for 5 minutes","vi":"lis: 3 bản tin đang chờ, lâu nhất 5 phút"}}}`
	if string(got) != want {
		t.Errorf("%s", got)
	}
	if err := w.Send(t.Context(), summary); err != nil {
		t.Fatal(err)
	}
	var s struct {
		Kind       string
		Suppressed int
		Active     []struct{ Code string }
		Alert      *json.RawMessage
	}
	if err := json.Unmarshal(got, &s); err != nil || s.Kind != "summary" || s.Suppressed != 4 || len(s.Active) != 2 || s.Alert != nil {
		t.Error(err, string(got))
	}
	for _, status = range []int{301, 302, 307, 400, 401, 500} {
		if err := w.Send(t.Context(), notice); err == nil {
			t.Errorf("%d counts as told", status)
		}
	}
	server.Close()
	if err := w.Send(t.Context(), notice); err == nil {
		t.Error("nobody was there, and it counts as told")
	}
}

// --- mail

// A mailServer speaks as much SMTP as is needed, RFC 5321.
type mailServer struct {
	address string
	tls     *tls.Config // offered where not nil
	refuse  string      // the command that is refused

	mu    sync.Mutex
	mails []string
	said  []string // commands, those after STARTTLS with a +
}

func newMailServer(t *testing.T, config *tls.Config) *mailServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &mailServer{address: l.Addr().String(), tls: config}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				c.SetDeadline(time.Now().Add(10 * time.Second))
				s.serve(c)
			})
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return s
}

func (s *mailServer) serve(c net.Conn) {
	secured := ""
	r := bufio.NewReader(c)
	fmt.Fprint(c, "220 mail ESMTP\r\n")
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimSpace(line)
		command := strings.ToUpper(strings.Fields(line + " .")[0])
		s.mu.Lock()
		s.said = append(s.said, secured+line)
		s.mu.Unlock()
		switch {
		case command == s.refuse:
			fmt.Fprint(c, "550 no\r\n")
		case command == "EHLO":
			fmt.Fprint(c, "250-mail\r\n")
			if s.tls != nil && secured == "" {
				fmt.Fprint(c, "250-STARTTLS\r\n")
			}
			fmt.Fprint(c, "250 AUTH PLAIN\r\n")
		case command == "STARTTLS":
			fmt.Fprint(c, "220 go\r\n")
			t := tls.Server(c, s.tls)
			if t.Handshake() != nil {
				return
			}
			c, r, secured = t, bufio.NewReader(t), "+"
		case command == "AUTH":
			fmt.Fprint(c, "235 welcome\r\n")
		case command == "DATA":
			fmt.Fprint(c, "354 go\r\n")
			var b strings.Builder
			for {
				line, err := r.ReadString('\n')
				if err != nil {
					return
				}
				if line == ".\r\n" {
					break
				}
				b.WriteString(line)
			}
			s.mu.Lock()
			s.mails = append(s.mails, b.String())
			s.mu.Unlock()
			fmt.Fprint(c, "250 taken\r\n")
		case command == "QUIT":
			fmt.Fprint(c, "221 bye\r\n")
			return
		default:
			fmt.Fprint(c, "250 ok\r\n")
		}
	}
}

func (s *mailServer) mail(t *testing.T, startTLS string) *Mail {
	host, port, _ := net.SplitHostPort(s.address)
	var n int
	fmt.Sscan(port, &n)
	return &Mail{
		Host: host, Port: n, From: "nhip@bv.example", To: []string{"it@bv.example", "xn@bv.example"}, StartTLS: startTLS,
		Site: Site{"bv", "Bệnh viện"}, Zone: time.FixedZone("+07", 7*3600),
	}
}

// certificate is one for 127.0.0.1 that only the pool trusts.
func certificate(t *testing.T) (*tls.Config, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, pool
}

func TestMailIsOneThatAReaderShows(t *testing.T) {
	s := newMailServer(t, nil)
	m := s.mail(t, TLSNone)
	for range 2 {
		if err := m.Send(t.Context(), notice); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.mails) != 2 || s.mails[0] != s.mails[1] {
		t.Fatal("a repeat is not the same mail:", s.mails)
	}
	msg, err := mail.ReadMessage(strings.NewReader(s.mails[0]))
	if err != nil {
		t.Fatal(err)
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(msg.Header.Get("Subject"))
	if err != nil || subject != "[bv] Cảnh báo: lis: 3 bản tin đang chờ, lâu nhất 5 phút" {
		t.Error(err, subject)
	}
	if to, err := msg.Header.AddressList("To"); err != nil || len(to) != 2 {
		t.Error(to, err)
	}
	if date, err := msg.Header.Date(); err != nil || !date.Equal(start) {
		t.Error(date, err)
	}
	if id := msg.Header.Get("Message-Id"); id != "<bv-1-7@bv.example>" {
		t.Error(id)
	}
	body, _ := io.ReadAll(quotedprintable.NewReader(msg.Body))
	if want := "Cảnh báo: lis: 3 bản tin đang chờ, lâu nhất 5 phút (14/01/2026 15:30:00)\r\n\r\nAlert: lis: 3 are waiting, the oldest for 5 minutes (14/01/2026 15:30:00)\r\n"; !strings.HasPrefix(string(body), want) {
		t.Errorf("%q", body)
	}
	for line := range strings.Lines(s.mails[0]) {
		if len(line) > 998 || !strings.HasSuffix(line, "\r\n") {
			t.Errorf("%q", line)
		}
	}
	if err := m.Send(t.Context(), summary); err != nil {
		t.Fatal(err)
	}
	msg, _ = mail.ReadMessage(strings.NewReader(s.mails[2]))
	body, _ = io.ReadAll(quotedprintable.NewReader(msg.Body))
	for _, want := range []string{"4 thay đổi không được báo riêng; đang cảnh báo: 2", "- hl7 is not open: the port is taken"} {
		if !strings.Contains(string(body), want) {
			t.Errorf("no %q in %s", want, body)
		}
	}
}

func TestMailAndTLS(t *testing.T) {
	config, pool := certificate(t)
	password := filepath.Join(t.TempDir(), "pw")
	if err := os.WriteFile(password, []byte("bi-mat\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	secret := base64.StdEncoding.EncodeToString([]byte("\x00nhip\x00bi-mat"))
	for _, test := range []struct {
		name     string
		offered  *tls.Config
		roots    *x509.CertPool
		startTLS string
		sent     bool
		secured  bool
	}{
		{"required and there", config, pool, TLSRequire, true, true},
		{"required, certificate of nobody", config, nil, TLSRequire, false, false},
		{"required and not there", nil, nil, TLSRequire, false, false},
		{"opportunistic and there", config, nil, TLSOpportunistic, true, true},
		{"opportunistic and not there", nil, nil, TLSOpportunistic, true, false},
		{"none", config, nil, TLSNone, true, false},
	} {
		s := newMailServer(t, test.offered)
		m := s.mail(t, test.startTLS)
		m.roots, m.Username, m.PasswordFile = test.roots, "nhip", password
		err := m.Send(t.Context(), notice)
		s.mu.Lock()
		secured := slices.ContainsFunc(s.said, func(l string) bool { return strings.HasPrefix(l, "+MAIL") })
		login := slices.ContainsFunc(s.said, func(l string) bool { return strings.TrimPrefix(l, "+") == "AUTH PLAIN "+secret })
		if (err == nil) != test.sent || (len(s.mails) == 1) != test.sent || secured != test.secured || login != test.sent {
			t.Errorf("%s: %v, secured %v, login %v, %q", test.name, err, secured, login, s.said)
		}
		s.mu.Unlock()
	}
}

func TestMailThatIsRefusedIsNotTold(t *testing.T) {
	for _, command := range []string{"MAIL", "RCPT", "DATA"} {
		s := newMailServer(t, nil)
		s.refuse = command
		if err := s.mail(t, TLSNone).Send(t.Context(), notice); err == nil {
			t.Error(command, "is refused, and the mail counts as told")
		}
	}
}

func TestMailServerThatSaysNothingIsLeft(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := &mailServer{address: l.Addr().String()}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := s.mail(t, TLSNone).Send(ctx, notice); err == nil {
		t.Error("told by silence")
	}
}
