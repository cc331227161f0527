package alert

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/smtp"
	"strconv"
	"strings"
	"time"

	"nhip/gateway/reason"
)

// What a Mail does about STARTTLS, RFC 3207.
const (
	TLSRequire       = "require"       // no mail without it
	TLSOpportunistic = "opportunistic" // where the server offers it; its certificate is not looked at
	TLSNone          = "none"
)

// A Mail sends notices by e-mail, RFC 5321. Authentication is PLAIN, over TLS or
// to this machine only.
type Mail struct {
	Host         string
	Port         int
	From         string // addr-spec
	To           []string
	Username     string
	PasswordFile string
	StartTLS     string
	Site         Site
	Zone         *time.Location // of the times in the text

	roots *x509.CertPool // nil: the system's
}

// Name implements Channel.
func (m *Mail) Name() string { return "smtp" }

var errNoTLS = errors.New("the mail server does not offer STARTTLS")

// Send implements Channel.
func (m *Mail) Send(ctx context.Context, n Notice) error {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", net.JoinHostPort(m.Host, strconv.Itoa(m.Port)))
	if err != nil {
		return err
	}
	defer c.Close()
	if deadline, ok := ctx.Deadline(); ok {
		c.SetDeadline(deadline)
	}
	defer context.AfterFunc(ctx, func() { c.Close() })()
	s, err := smtp.NewClient(c, m.Host)
	if err != nil {
		return err
	}
	if err := m.secure(s); err != nil {
		return err
	}
	if m.Username != "" {
		password, err := firstLine(m.PasswordFile)
		if err != nil {
			return err
		}
		if err := s.Auth(smtp.PlainAuth("", m.Username, password, m.Host)); err != nil {
			return err
		}
	}
	if err := m.transfer(s, m.text(n)); err != nil {
		return err
	}
	_ = s.Quit() // the mail is theirs
	return nil
}

func (m *Mail) secure(s *smtp.Client) error {
	if m.StartTLS == TLSNone {
		return nil
	}
	offered, _ := s.Extension("STARTTLS")
	switch {
	case offered:
		return s.StartTLS(&tls.Config{ServerName: m.Host, MinVersion: tls.VersionTLS12, RootCAs: m.roots, InsecureSkipVerify: m.StartTLS == TLSOpportunistic})
	case m.StartTLS == TLSRequire:
		return errNoTLS
	}
	return nil
}

func (m *Mail) transfer(s *smtp.Client, text []byte) error {
	if err := s.Mail(m.From); err != nil {
		return err
	}
	for _, to := range m.To {
		if err := s.Rcpt(to); err != nil {
			return err
		}
	}
	w, err := s.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write(text); err != nil {
		return err
	}
	return w.Close()
}

// The words of a mail, Vietnamese first.
var mailTexts = map[string][2]string{
	Raised:  {"Alert", "Cảnh báo"},
	Cleared: {"Over", "Đã hết"},
	Summary: {"{0} changes were not told one by one; raised now: {1}", "{0} thay đổi không được báo riêng; đang cảnh báo: {1}"},
}

// text is the message, RFC 5322. The same notice gives the same Message-ID.
func (m *Mail) text(n Notice) []byte {
	at := n.At.In(m.Zone)
	title := mailTexts[n.Kind][reason.Vietnamese] + ": " + n.Alert.In(reason.Vietnamese)
	var body strings.Builder
	for _, l := range []reason.Language{reason.Vietnamese, reason.English} {
		if n.Kind == Summary {
			head := reason.Fill(mailTexts[n.Kind][l], []string{strconv.Itoa(n.Suppressed), strconv.Itoa(len(n.Active))})
			if l == reason.Vietnamese {
				title = head
			}
			body.WriteString(head + "\n")
			for _, a := range n.Active {
				fmt.Fprintf(&body, "- %s (%s)\n", a.In(l), a.Since.In(m.Zone).Format("02/01/2006 15:04:05"))
			}
		} else {
			fmt.Fprintf(&body, "%s: %s (%s)\n", mailTexts[n.Kind][l], n.Alert.In(l), n.Alert.Since.In(m.Zone).Format("02/01/2006 15:04:05"))
		}
		body.WriteString("\n")
	}
	site := m.Site.Name
	if site == "" {
		site = m.Site.ID
	}
	fmt.Fprintf(&body, "Nhịp, %s (%s), %s\n", site, m.Site.ID, at.Format("02/01/2006 15:04:05 -0700"))

	var b bytes.Buffer
	_, domain, _ := strings.Cut(m.From, "@")
	for _, h := range [][2]string{
		{"From", m.From}, {"To", strings.Join(m.To, ", ")}, {"Date", at.Format(time.RFC1123Z)},
		{"Message-ID", "<" + n.ID + "@" + domain + ">"}, {"Subject", mime.QEncoding.Encode("UTF-8", "["+m.Site.ID+"] "+oneLine(title))},
		{"Auto-Submitted", "auto-generated"}, {"MIME-Version", "1.0"},
		{"Content-Type", "text/plain; charset=UTF-8"}, {"Content-Transfer-Encoding", "quoted-printable"},
	} {
		fmt.Fprintf(&b, "%s: %s\r\n", h[0], h[1])
	}
	b.WriteString("\r\n")
	q := quotedprintable.NewWriter(&b)
	q.Write([]byte(strings.ReplaceAll(body.String(), "\n", "\r\n")))
	q.Close()
	return b.Bytes()
}

// oneLine keeps what a system said out of the header's structure.
func oneLine(s string) string {
	return strings.Join(strings.Fields(s), " ")
}
