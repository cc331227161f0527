package config

import (
	"fmt"
	"net/mail"
	"net/url"
)

func (k *checker) alerts() {
	k.between("alerts.per_hour", "[alerts]", "per_hour", k.Alerts.PerHour, 1, 1000)
}

func (k *checker) smtp() {
	const where = "[smtp]"
	m := k.SMTP
	if m.Host == "" {
		if m.From != "" || len(m.To) > 0 || m.Username != "" || m.PasswordFile != "" {
			k.wrong("smtp", where, "host is empty: name the mail server, or take the other keys away")
		}
		return
	}
	k.between("smtp.port", where, "port", m.Port, 1, 65535)
	k.mailAddress("smtp.from", where, "from", m.From)
	if len(m.To) == 0 {
		k.wrong("smtp", where, "to is empty: name who is to be told")
	}
	for _, to := range m.To {
		k.mailAddress("smtp.to", where, "to", to)
	}
	if (m.Username == "") != (m.PasswordFile == "") {
		k.wrong("smtp.username", where, "username and password_file belong together")
	}
	if m.PasswordFile != "" {
		k.secretFile("smtp.password_file", where, "password_file", m.PasswordFile)
	}
	if m.Username != "" && m.StartTLS != TLSRequire && !loopback(m.Host) {
		k.wrong("smtp.starttls", where, "a login with starttls = %q would show the password to the network: use \"require\"", m.StartTLS)
	}
}

// mailAddress takes a bare address: it stands in commands to the mail server.
func (k *checker) mailAddress(key, where, name, address string) {
	a, err := mail.ParseAddress(address)
	if err != nil || a.Address != address {
		k.wrong(key, where, "%s: %q is not of the form name@hospital.example", name, address)
	}
}

func (k *checker) webhook(i int, w Webhook) {
	key, where := fmt.Sprintf("webhook[%d]", i), label("webhook", nil, i)
	if w.TokenFile != "" {
		k.secretFile(key+".token_file", where, "token_file", w.TokenFile)
	}
	if w.URL == "" {
		return
	}
	u, err := url.Parse(w.URL)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		k.wrong(key+".url", where, "url: %q is not of the form https://host/path", w.URL)
	case u.User != nil:
		k.wrong(key+".url", where, "url has a user or password in it: use token_file")
	case w.TokenFile != "" && u.Scheme == "http" && !loopback(u.Hostname()):
		k.wrong(key+".url", where, "url: the token would be shown to the network: use https")
	}
}
