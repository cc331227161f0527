package config

import (
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"nhip/hl7"
	"nhip/hl7/mllp"
)

// How a destination acknowledges.
const (
	ModeOriginal = "original" // an application acknowledgement at once
	ModeEnhanced = "enhanced" // an accept acknowledgement, then an application acknowledgement
)

// What ends a delivery in the enhanced mode.
const (
	SettledByApplication = "application"
	SettledByAccept      = "accept"
)

// What answers an order or query.
const (
	AnswerSpecific = "specific" // ORL^O22, ORG^O20, RSP^K11 …
	AnswerGeneral  = "general"  // ACK
)

// outgoingKeys are the keys of a destination that have a meaning for kind "hl7" only.
var outgoingKeys = []string{
	"receiving_application", "receiving_facility", "mode", "settled_by", "process_timeout", "charset", "map", "mllp", "sequence",
	"tls_certificate", "tls_key", "user", "password_file",
}

// HTTP reports whether a destination is one of HL7 over HTTP: its address is a URL.
func (d Destination) HTTP() bool {
	return strings.HasPrefix(d.Address, "http://") || strings.HasPrefix(d.Address, "https://")
}

// Certificates are those with which a link to a destination of kind "hl7" speaks TLS.
func (d Destination) Certificates() mllp.Certificates {
	return mllp.Certificates{Certificate: d.TLSCertificate, Key: d.TLSKey, CAs: d.TLSCA, Name: d.TLSName}
}

// Host is the host that is dialled.
func (d Destination) Host() string {
	if u, err := url.Parse(d.Address); d.HTTP() && err == nil {
		return u.Hostname()
	}
	host, _, _ := net.SplitHostPort(d.Address)
	return host
}

// Password is the first line of the password file; "" where there is none.
func (d Destination) Password() (string, error) {
	if d.PasswordFile == "" {
		return "", nil
	}
	return firstLine(d.PasswordFile)
}

// Certificates are those of the listeners of [hl7].
func (h HL7) Certificates() mllp.Certificates {
	c := mllp.Certificates{Certificate: h.TLSCertificate, Key: h.TLSKey, CAs: h.TLSCA}
	if h.TLSClients == CertificateNone {
		c.CAs = ""
	}
	return c
}

// Rule is what a link says about the character sets of its peer.
func (p HL7Peer) Rule() hl7.CharsetRule {
	return hl7.CharsetRule{Force: p.Charset, Default: p.CharsetDefault}
}

// completeLinks resolves the file names of links, and takes what is left to [hl7] from
// there.
func (c *Config) completeLinks(dir string) {
	h := &c.HL7
	for _, file := range []*string{&h.TLSCertificate, &h.TLSKey, &h.TLSCA} {
		*file = under(dir, *file)
	}
	for i := range c.HL7Peers {
		p := &c.HL7Peers[i]
		p.Folder = under(dir, p.Folder)
		p.MaxMessage = orElse(p.MaxMessage, h.MaxMessage)
		p.MaxSegments = orElse(p.MaxSegments, h.MaxSegments)
		p.MaxConnections = orElse(p.MaxConnections, h.MaxConnections)
		p.Complete = orElse(p.Complete, h.Complete)
		p.Idle = orElse(p.Idle, h.Idle)
	}
	for i := range c.Destinations {
		d := &c.Destinations[i]
		if d.Kind != KindHL7 {
			continue
		}
		d.PasswordFile = under(dir, d.PasswordFile)
		d.TLSCertificate, d.TLSKey = under(dir, d.TLSCertificate), under(dir, d.TLSKey)
		if d.TLSCertificate == "" && d.TLSKey == "" {
			d.TLSCertificate, d.TLSKey = h.TLSCertificate, h.TLSKey
		}
		if d.TLSCA == "" {
			d.TLSCA = h.TLSCA
		} else {
			d.TLSCA = under(dir, d.TLSCA)
		}
	}
}

func orElse[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// hl7Listeners checks the listeners of [hl7] besides `listen`.
func (k *checker) hl7Listeners() {
	alone, away := len(k.HL7Peers) == 0, "it may leave 127.0.0.1 only when an [[hl7_peer]] is named"
	k.listenAt("hl7.tls_listen", "[hl7]", k.HL7.TLSListen, alone, away)
	k.listenAt("hl7.http_listen", "[hl7]", k.HL7.HTTPListen, alone, away)
	k.listenAt("hl7.https_listen", "[hl7]", k.HL7.HTTPSListen, alone, away)
	k.between("hl7.max_segments", "[hl7]", "max_segments", k.HL7.MaxSegments, 100, 1_000_000)
	k.between("hl7.max_connections", "[hl7]", "max_connections", k.HL7.MaxConnections, 1, 10_000)
	k.between("hl7.max_per_address", "[hl7]", "max_per_address", k.HL7.MaxPerAddress, 1, 10_000)
	k.atLeast("hl7.complete", "[hl7]", "complete", k.HL7.Complete)
	k.atLeast("hl7.idle", "[hl7]", "idle", k.HL7.Idle)
	if len(k.HL7.TLSListen) == 0 && len(k.HL7.HTTPSListen) == 0 {
		return
	}
	if k.HL7.TLSCertificate == "" || k.HL7.TLSKey == "" {
		k.wrong("hl7.tls_listen", "[hl7]", "a listener with TLS needs tls_certificate and tls_key")
		return
	}
	if k.HL7.TLSClients == CertificateRequired && k.HL7.TLSCA == "" {
		k.wrong("hl7.tls_clients", "[hl7]", `tls_clients = "required" needs tls_ca: what vouches for the certificates of the systems`)
		return
	}
	if _, err := k.HL7.Certificates().Server(); err != nil {
		k.wrong("hl7.tls_certificate", "[hl7]", "tls_certificate, tls_key and tls_ca cannot be used: %s", filesReason(err))
	}
}

// filesReason is an error of the TLS files without the name of a package.
func filesReason(err error) string { return strings.TrimPrefix(err.Error(), "mllp: ") }

// atLeast checks a limit of time that may be 0.
func (k *checker) atLeast(key, where, name string, d time.Duration) {
	if _, set := k.lines[key]; set && d > 0 && d < time.Second {
		k.wrong(key, where, `%s must be "1s" or longer`, name)
	}
}

// incoming checks the link of a system that sends to us.
func (k *checker) incoming(i int, key, where string, p HL7Peer) {
	k.hl7Name(key, where, "receiving_application", p.ReceivingApplication)
	k.hl7Name(key, where, "receiving_facility", p.ReceivingFacility)
	if p.Certificate != "" && (len(k.HL7.TLSListen) == 0 && len(k.HL7.HTTPSListen) == 0 || k.HL7.TLSClients == CertificateNone) {
		k.wrong(key+".certificate", where, "certificate: no listener of [hl7] asks for one")
	}
	k.charsets(key+".charset", where, "charset", p.Charset)
	k.charsets(key+".charset_default", where, "charset_default", p.CharsetDefault...)
	k.between(key+".mllp", where, "mllp", p.MLLP, 1, 2)
	k.between(key+".max_segments", where, "max_segments", p.MaxSegments, 100, 1_000_000)
	k.between(key+".max_connections", where, "max_connections", p.MaxConnections, 1, 10_000)
	k.atLeast(key+".complete", where, "complete", p.Complete)
	k.atLeast(key+".idle", where, "idle", p.Idle)
	if p.MaxMessage < 64<<10 || p.MaxMessage > 1<<30 {
		k.wrong(key+".max_message", where, `max_message must be from "64 KiB" to "1 GiB"`)
	}
	k.answersOf(key, where, p)
	k.folder(i, key, where, p.Folder)
	for j, other := range k.HL7Peers[:i] {
		if p.MLLP != other.MLLP && shareAddress(p.Address, other.Address) {
			k.wrong(key+".mllp", where, "mllp: %s comes from the same address with another release, and the release is needed before the first message", label("hl7_peer", other.Name, j))
		}
	}
}

// shareAddress reports whether something may come from both.
func shareAddress(a, b []netip.Prefix) bool {
	return slices.ContainsFunc(a, func(x netip.Prefix) bool { return slices.ContainsFunc(b, x.Overlaps) })
}

// answersOf checks where answers go to and come from.
func (k *checker) answersOf(key, where string, p HL7Peer) {
	if d, ok := k.sinks[p.AnswerTo]; p.AnswerTo != "" && !ok {
		k.wrong(key+".answer_to", where, "answer_to: there is no [[destination]] with name = %q", p.AnswerTo)
	} else if ok && d.Kind != KindHL7 {
		k.wrong(key+".answer_to", where, `answer_to: destination %q is not one of kind "hl7"`, p.AnswerTo)
	}
	k.named[p.AnswerTo] = true
	for _, name := range p.Acknowledges {
		d, ok := k.sinks[name]
		switch {
		case !ok:
			k.wrong(key+".acknowledges", where, "acknowledges: there is no [[destination]] with name = %q", name)
		case d.Kind != KindHL7 || d.Mode != ModeEnhanced:
			k.wrong(key+".acknowledges", where, `acknowledges: destination %q is not one with mode = "enhanced"`, name)
		}
	}
}

// folder checks a folder of batch files.
func (k *checker) folder(i int, key, where, folder string) {
	if folder == "" {
		return
	}
	if info, err := os.Stat(folder); err != nil || !info.IsDir() {
		k.note(key+".folder", where, "folder: there is no folder %s: nothing is read until there is", folder)
	}
	if inside(k.Site.Data, folder) {
		k.wrong(key+".folder", where, "folder lies in the data folder: choose another")
	}
	for j, other := range k.HL7Peers[:i] {
		if other.Folder == folder {
			k.wrong(key+".folder", where, "folder is also that of %s", label("hl7_peer", other.Name, j))
		}
	}
}

// charsets checks names of character sets.
func (k *checker) charsets(key, where, name string, sets ...string) {
	for _, set := range sets {
		if set != "" && hl7.CheckCharset(set) != nil {
			k.wrong(key, where, `%s: no message can be read in %q; write a name of HL7 table 0211 such as "UNICODE UTF-8", "Windows-1252", or "TCVN3", "VNI", "VISCII", "CP1258"`, name, set)
		}
	}
}

// outgoing checks a destination of kind "hl7".
func (k *checker) outgoing(key, where string, d Destination) {
	k.charsets(key+".charset", where, "charset", d.Charset)
	k.between(key+".mllp", where, "mllp", d.MLLP, 1, 2)
	if d.Sequence && d.Connections != 1 {
		k.wrong(key+".sequence", where, "sequence: numbers need one connection: connections = 1")
	}
	if d.PasswordFile != "" {
		k.secretFile(key+".password_file", where, "password_file", d.PasswordFile)
	}
	if d.HTTP() {
		k.hl7HTTP(key, where, d)
	} else if d.User != "" || d.PasswordFile != "" {
		k.wrong(key+".user", where, "user and password_file are for an address that is a URL")
	}
	if d.TLS == CertificateNone && !strings.HasPrefix(d.Address, "https://") {
		return
	}
	if _, err := d.Certificates().Client(d.Host()); err != nil {
		k.wrong(key+".tls", where, "tls_certificate, tls_key and tls_ca cannot be used: %s", filesReason(err))
	}
}

// hl7HTTP checks a destination of HL7 over HTTP.
func (k *checker) hl7HTTP(key, where string, d Destination) {
	u, err := url.Parse(d.Address)
	switch {
	case err != nil || u.Hostname() == "" || u.User != nil || u.Fragment != "":
		k.wrong(key+".address", where, "address: %q is not of the form https://host/path", d.Address)
		return
	case u.Scheme == "http" && d.TLS != CertificateNone:
		k.wrong(key+".tls", where, "tls: the address says http: write https")
	case u.Scheme == "http" && d.User != "" && !loopback(u.Hostname()):
		k.wrong(key+".user", where, "user: the password would be shown to the network: use https")
	case d.MLLP != 1:
		k.wrong(key+".mllp", where, "mllp has no meaning for an address that is a URL")
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	if k.ownListener(u.Hostname(), port) {
		k.wrong(key+".address", where, "address: %s is this gateway itself: what it sends would come back", d.Address)
	}
}
