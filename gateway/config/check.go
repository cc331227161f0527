package config

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"nhip/dicom/association"
)

// Env is what the check has to know of the rest of the program. A nil field is
// not checked against.
type Env struct {
	Profiles map[string]string // analyser profile ID -> protocol, "astm" or "hl7"
	// SiteProfiles loads the profiles of [site] profiles, with those that are built in.
	// Its error is about some of them; the others are there.
	SiteProfiles func(folder string) (map[string]string, error)
	// Downloads reports whether a profile, built in or of the folder, takes orders that
	// were not asked for.
	Downloads       func(folder, id string) bool
	MonitorProfiles map[string]string      // monitor profile ID -> protocol, "hl7" or "serial"
	ParsePort       func(url string) error // drivers/port
	Queues          func() map[string]int  // destinations' queues of the store and what waits in them
}

var (
	namePattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$`)
	uidPattern  = regexp.MustCompile(`^(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))+$`) // PS3.5 section 9.1
)

const nameRule = "use lower-case letters a-z, digits and hyphens, 40 at most (it stands in topics and file names)"

// Check says what is wrong with a decoded configuration, all of it.
func (c *Config) Check(env Env) []Problem {
	k := &checker{Config: c, env: env, sources: map[string]string{}, sinks: map[string]Destination{}}
	k.site()
	k.destinations()
	k.listeners()
	for i, a := range c.Analysers {
		k.analyser(i, a)
	}
	titles := map[string]string{}
	for i, m := range c.Modalities {
		k.modality(i, m, titles)
	}
	for i, m := range c.Monitors {
		k.monitor(i, m)
	}
	for i, p := range c.HL7Peers {
		k.hl7Peer(i, p)
	}
	for i, u := range c.MQTTUsers {
		k.mqttUser(i, u)
	}
	k.maps()
	k.orders()
	k.authorities()
	k.orderCodes()
	k.codeTables()
	k.people()
	k.alerts()
	k.smtp()
	for i, w := range c.Webhooks {
		k.webhook(i, w)
	}
	k.endpoints()
	k.queues()
	sortByLine(k.problems)
	return k.problems
}

type checker struct {
	*Config
	env      Env
	problems []Problem
	sources  map[string]string      // name -> label, of everything that sends
	sinks    map[string]Destination // by name
	named    map[string]bool        // destinations that stand in a `to`
	bound    []endpoint
}

// An endpoint is something that only one connection can have.
type endpoint struct {
	where, key string // label and path
	host, port string // host "" is any; port "" for a serial device in host
}

func (k *checker) wrong(key, where, text string, args ...any) {
	k.problems = append(k.problems, Problem{Line: k.lines.of(key), Where: where, Text: fmt.Sprintf(text, args...), vietnamese: inVietnamese(text, args)})
}

func (k *checker) note(key, where, text string, args ...any) {
	k.wrong(key, where, text, args...)
	k.problems[len(k.problems)-1].Warning = true
}

func (k *checker) site() {
	if !namePattern.MatchString(k.Site.ID) {
		k.wrong("site.id", "[site]", "id %q: %s", k.Site.ID, nameRule)
	}
	if !plain(k.Site.Name) {
		k.wrong("site.name", "[site]", "name has control characters")
	}
	if k.Site.Data == "" {
		k.wrong("site.data", "[site]", "data is empty: name a folder")
	}
	k.between("site.retention_days", "[site]", "retention_days", k.Site.RetentionDays, 0, 36500)
	k.between("site.retention_disk", "[site]", "retention_disk", k.Site.RetentionDisk, 10, 100)
	if inside(k.Site.Data, k.Site.Mirror) {
		k.wrong("site.mirror", "[site]", "mirror lies in the data folder: choose another disk")
	}
	if k.Site.Profiles != "" && k.env.SiteProfiles != nil {
		all, err := k.env.SiteProfiles(k.Site.Profiles)
		if err != nil {
			k.wrong("site.profiles", "[site]", "profiles: %v", err)
		}
		k.env.Profiles = all
	}
	k.backups()
}

// inside reports whether a folder is the data folder or lies in it.
func inside(data, folder string) bool {
	if folder == "" {
		return false
	}
	from, err := filepath.Abs(data)
	if err != nil {
		return false
	}
	to, err := filepath.Abs(folder)
	if err != nil {
		return false
	}
	way, err := filepath.Rel(from, to)
	return err == nil && way != ".." && !strings.HasPrefix(way, ".."+string(filepath.Separator))
}

func (k *checker) backups() {
	if k.Backup.To == "" {
		return
	}
	if k.Backup.Every < time.Minute {
		k.wrong("backup.every", "[backup]", "every must be a minute or longer")
	}
	k.between("backup.keep", "[backup]", "keep", k.Backup.Keep, 1, 10000)
	if info, err := os.Stat(k.Backup.To); err != nil || !info.IsDir() {
		k.note("backup.to", "[backup]", "to: there is no folder %s: no backup is made until there is", k.Backup.To)
	}
	if inside(k.Site.Data, k.Backup.To) {
		k.wrong("backup.to", "[backup]", "to lies in the data folder: choose another disk, or at least another folder")
	}
	if k.Backup.PassphraseFile == "" {
		return
	}
	if _, err := os.Stat(k.Backup.PassphraseFile); err != nil {
		k.wrong("backup.passphrase_file", "[backup]", "passphrase_file cannot be read: %s", unusable(err))
	}
}

func (k *checker) listeners() {
	k.listen("console", k.Console.Listen, true, "the console has no users yet and is for this machine only: use 127.0.0.1")
	k.listen("dicom", k.DICOM.Listen, len(k.Modalities) == 0, "it may leave 127.0.0.1 only when a [[modality]] is named")
	k.listen("hl7", k.HL7.Listen, len(k.HL7Peers) == 0, "it may leave 127.0.0.1 only when an [[hl7_peer]] is named")
	k.listen("mqtt", k.MQTT.Listen, len(k.MQTTUsers) == 0, "it may leave 127.0.0.1 only when an [[mqtt_user]] is named")

	for _, h := range k.Console.Hosts {
		if h == "" || strings.ContainsAny(h, "/:@ ") {
			k.wrong("console.hosts", "[console]", "hosts: %q is not a bare host name", h)
		}
	}
	k.aeTitle("dicom.ae_title", "[dicom]", "ae_title", k.DICOM.AETitle)
	k.between("dicom.max_associations", "[dicom]", "max_associations", k.DICOM.MaxAssociations, 1, 1000)
	k.between("dicom.max_per_modality", "[dicom]", "max_per_modality", k.DICOM.MaxPerModality, 1, 1000)
	k.dicomTLS()
	k.hl7Listeners()
	for _, uid := range k.DICOM.SOPClasses {
		if len(uid) > 64 || !uidPattern.MatchString(uid) {
			k.wrong("dicom.sop_classes", "[dicom]", "sop_classes: %q is not a UID", uid)
		}
	}
	if s := k.HL7.MaxMessage; s != 0 && (s < 64<<10 || s > 1<<30) {
		k.wrong("hl7.max_message", "[hl7]", `max_message must be from "64 KiB" to "1 GiB"`)
	}
	k.between("mqtt.max_clients", "[mqtt]", "max_clients", k.MQTT.MaxClients, 1, 10000)
}

// dicomTLS checks the TLS listener of DICOM and what modalities show it.
func (k *checker) dicomTLS() {
	k.listenAt("dicom.tls_listen", "[dicom]", k.DICOM.TLSListen, len(k.Modalities) == 0, "it may leave 127.0.0.1 only when a [[modality]] is named")
	if len(k.DICOM.TLSListen) == 0 {
		if k.DICOM.TLSCertificate != "" || k.DICOM.TLSKey != "" {
			k.keyPair()
		}
		return
	}
	if _, err := k.DICOMServer().Server(); err != nil {
		k.wrong("dicom.tls_listen", "[dicom]", "tls_listen: %v", tlsReason(err))
	}
}

// tlsReason is an error of the TLS files without the name of a package.
func tlsReason(err error) string {
	return strings.TrimPrefix(err.Error(), "dicom/association: TLS: ")
}

// keyPair checks the certificate that only destinations are shown.
func (k *checker) keyPair() {
	t := k.DICOMServer()
	t.CA, t.Clients = "", association.CertificateIgnored
	if _, err := t.Server(); err != nil {
		k.wrong("dicom.tls_certificate", "[dicom]", "tls_certificate: %v", tlsReason(err))
	}
}

// listen checks a listener of the gateway's own; away says why it may not leave
// loopback while loopbackOnly.
func (k *checker) listen(block string, addresses []string, loopbackOnly bool, away string) {
	k.listenAt(block+".listen", "["+block+"]", addresses, loopbackOnly, away)
}

func (k *checker) listenAt(key, where string, addresses []string, loopbackOnly bool, away string) {
	for _, address := range addresses {
		host, port, err := hostPort(address)
		if err != nil {
			k.wrong(key, where, "listen: %v", err)
			continue
		}
		if !loopback(host) {
			if _, err := netip.ParseAddr(host); host != "" && err != nil {
				k.wrong(key, where, "listen: %q must begin with an IP address of this machine", address)
				continue
			}
			if loopbackOnly {
				k.wrong(key, where, "listen: %s would be open to the network: %s", address, away)
			}
		}
		k.bound = append(k.bound, endpoint{where, key, host, port})
	}
}

func (k *checker) destinations() {
	k.named = map[string]bool{}
	for i, d := range k.Destinations {
		key, where := fmt.Sprintf("destination[%d]", i), label("destination", d.Name, i)
		if d.Name != "" {
			k.name(key, where, d.Name)
			if _, taken := k.sinks[d.Name]; taken {
				k.wrong(key+".name", where, "there are two destinations of this name")
			}
			if d.Name == "interpret" {
				k.wrong(key+".name", where, "this name is the gateway's own: choose another")
			}
			k.sinks[d.Name] = d
		}
		if d.Address != "" && !(d.Kind == KindHL7 && d.HTTP()) {
			k.peerAddress(key+".address", where, d.Address)
		}
		k.between(key+".max_reject", where, "max_reject", d.MaxReject, 0, 100000)
		k.between(key+".connections", where, "connections", d.Connections, 1, 16)
		if d.Expire > 0 && d.Expire < time.Hour {
			k.wrong(key+".expire", where, `expire is under "1h": results would be given up while a system restarts`)
		}
		k.kind(key, where, d)
	}
}

// peerAddress checks an address that we connect to.
func (k *checker) peerAddress(key, where, address string) {
	host, port, err := hostPort(address)
	switch {
	case err != nil:
		k.wrong(key, where, "address: %v", err)
	case host == "" || port == "0":
		k.wrong(key, where, "address: %q must name a host and its port", address)
	case k.ownListener(host, port):
		k.wrong(key, where, "address: %s is this gateway itself: what it sends would come back", address)
	}
}

func (k *checker) ownListener(host, port string) bool {
	for _, address := range slices.Concat(k.DICOM.Listen, k.DICOM.TLSListen, k.HL7.Listen, k.HL7.TLSListen, k.HL7.HTTPListen, k.HL7.HTTPSListen) {
		h, p, err := hostPort(address)
		if err == nil && p == port && (h == host || loopback(host) && (loopback(h) || wildcard(h))) {
			return true
		}
	}
	return false
}

// kind checks the keys that belong to one kind of destination only.
func (k *checker) kind(key, where string, d Destination) {
	switch d.Kind {
	case KindHL7:
		k.foreign(key, where, d.Kind, "called_ae_title", "calling_ae_title", "images", "commitment", "mpps", "ian")
		for name, value := range map[string]string{"receiving_application": d.ReceivingApplication, "receiving_facility": d.ReceivingFacility} {
			k.hl7Name(key, where, name, value)
		}
		k.outgoing(key, where, d)
	case KindDICOM:
		k.foreign(key, where, d.Kind, outgoingKeys...)
		if d.CalledAETitle == "" {
			k.wrong(key, where, `the key "called_ae_title" is missing: it is the AE title of the PACS`)
		} else {
			k.aeTitle(key+".called_ae_title", where, "called_ae_title", d.CalledAETitle)
		}
		if _, set := k.lines[key+".calling_ae_title"]; set {
			k.aeTitle(key+".calling_ae_title", where, "calling_ae_title", d.CallingAETitle)
		}
		k.services(key, where, d)
		if t, on := k.DICOMClient(d); on {
			if _, err := t.Client(); err != nil {
				k.wrong(key+".tls", where, "tls: %v", tlsReason(err))
			}
		}
	}
}

func (k *checker) foreign(key, where, kind string, names ...string) {
	for _, name := range names {
		if _, set := k.lines[key+"."+name]; set {
			k.wrong(key+"."+name, where, "%s has no meaning for kind %q", name, kind)
		}
	}
}

func (k *checker) analyser(i int, a Analyser) {
	key, where := fmt.Sprintf("analyser[%d]", i), label("analyser", a.Name, i)
	k.source(key, where, a.Name)
	protocol := k.profile(key, where, a.Profile, k.env.Profiles)
	k.port(key, where, a.Port, protocol, a.Address)
	k.to(key, where, a.To, KindHL7)
	k.sending(key, where, a)
	k.names(key, where, protocol, a)
	k.specimens(key, where, a)
	if len(a.To) == 0 && a.State == Live {
		k.note(key, where, "to is empty: its results are stored and shown, and go nowhere")
	}
}

func (k *checker) modality(i int, m Modality, titles map[string]string) {
	key, where := fmt.Sprintf("modality[%d]", i), label("modality", m.Name, i)
	k.source(key, where, m.Name)
	if m.AETitle != "" {
		k.aeTitle(key+".ae_title", where, "ae_title", m.AETitle)
		if other, taken := titles[m.AETitle]; taken {
			k.wrong(key+".ae_title", where, "ae_title %q is also that of %s", m.AETitle, other)
		}
		titles[m.AETitle] = where
	}
	k.addresses(key, where, m.Address)
	switch {
	case m.Certificate == "":
	case len(k.DICOM.TLSListen) == 0:
		k.wrong(key+".certificate", where, "certificate: there is no [dicom] tls_listen on which it could be shown")
	case k.DICOM.TLSClients == CertificateNone:
		k.wrong(key+".certificate", where, `certificate: [dicom] tls_clients = "none" asks for none`)
	}
	if m.Reports != "" {
		k.peerAddress(key+".reports", where, m.Reports)
	}
	k.identity(key, where, m)
	k.to(key, where, m.To, KindDICOM)
	if len(m.To) == 0 {
		k.note(key, where, "to is empty: its images are stored, and go nowhere")
	}
}

func (k *checker) monitor(i int, m Monitor) {
	key, where := fmt.Sprintf("monitor[%d]", i), label("monitor", m.Name, i)
	k.source(key, where, m.Name)
	if m.Unit != "" && !namePattern.MatchString(m.Unit) {
		k.wrong(key+".unit", where, "unit %q: %s", m.Unit, nameRule)
	}
	protocol := k.profile(key, where, m.Profile, k.env.MonitorProfiles)
	k.port(key, where, m.Port, protocol, m.Address)
	k.to(key, where, m.To, KindHL7)
}

func (k *checker) hl7Peer(i int, p HL7Peer) {
	key, where := fmt.Sprintf("hl7_peer[%d]", i), label("hl7_peer", p.Name, i)
	k.source(key, where, p.Name)
	k.addresses(key, where, p.Address)
	k.hl7Name(key, where, "application", p.Application)
	k.hl7Name(key, where, "facility", p.Facility)
	k.to(key, where, p.To, KindHL7)
	k.incoming(i, key, where, p)
	for j, other := range k.HL7Peers[:i] {
		same := p.Application == other.Application && p.Facility == other.Facility && p.Certificate == other.Certificate &&
			p.ReceivingApplication == other.ReceivingApplication && p.ReceivingFacility == other.ReceivingFacility
		if same && slices.ContainsFunc(p.Address, func(a netip.Prefix) bool { return slices.Contains(other.Address, a) }) {
			k.wrong(key, where, "has the same address, application and facility as %s: nobody could tell them apart", label("hl7_peer", other.Name, j))
		}
	}
}

func (k *checker) mqttUser(i int, u MQTTUser) {
	key, where := fmt.Sprintf("mqtt_user[%d]", i), label("mqtt_user", u.Name, i)
	k.source(key, where, u.Name)
	for _, f := range u.Subscribe {
		k.topicFilter(key+".subscribe", where, "subscribe", f)
	}
	for _, f := range u.Publish {
		k.topicFilter(key+".publish", where, "publish", f)
	}
	if len(u.Subscribe) == 0 && len(u.Publish) == 0 {
		k.note(key, where, "may neither subscribe nor publish anything")
	}
	if u.PasswordFile != "" {
		k.passwordFile(key+".password_file", where, u)
	}
}

var sha256Pattern = regexp.MustCompile(`^[0-9a-fA-F]{64}$`)

func (k *checker) people() {
	names, tokens := map[string]bool{}, map[string]bool{}
	for i, p := range k.People {
		key, where := fmt.Sprintf("person[%d]", i), label("person", p.Name, i)
		switch {
		case !plain(p.Name) || len(p.Name) > 100:
			k.wrong(key+".name", where, "name has control characters, or over 100 bytes")
		case names[p.Name]:
			k.wrong(key+".name", where, "there are two people of this name: the audit journal could not tell them apart")
		}
		token := strings.ToLower(p.TokenSHA256)
		switch {
		case p.TokenSHA256 == "":
		case !sha256Pattern.MatchString(token):
			k.wrong(key+".token_sha256", where, "token_sha256 must be 64 hexadecimal digits: `nhip token` prints them")
		case tokens[token]:
			k.wrong(key+".token_sha256", where, "two people have the same token")
		}
		names[p.Name], tokens[token] = true, true
	}
}

func (k *checker) passwordFile(key, where string, u MQTTUser) {
	k.secretFile(key, where, "password_file", u.PasswordFile)
}

// secretFile checks a file whose first line is a secret.
func (k *checker) secretFile(key, where, name, file string) {
	info, err := os.Stat(file)
	switch {
	case err != nil:
		k.wrong(key, where, "%s: %s: %s", name, file, unusable(err))
		return
	case !info.Mode().IsRegular():
		k.wrong(key, where, "%s: %s is not a file", name, file)
		return
	case info.Mode().Perm()&0o022 != 0:
		k.wrong(key, where, "%s: others than its owner may change %s: chmod 600", name, file)
	case info.Mode().Perm()&0o044 != 0:
		k.note(key, where, "%s: others than its owner may read %s: chmod 600", name, file)
	}
	if p, err := firstLine(file); err != nil {
		k.wrong(key, where, "%s: %s: %s", name, file, unusable(err))
	} else if p == "" {
		k.wrong(key, where, "%s: the first line of %s is empty: it is the secret", name, file)
	}
}

// topicFilter checks a topic filter, MQTT 5.0 section 4.7.
func (k *checker) topicFilter(key, where, name, f string) {
	levels := strings.Split(f, "/")
	bad := f == "" || len(f) > 200 || !plain(f) || strings.HasPrefix(f, "$")
	for i, level := range levels {
		bad = bad || strings.Contains(level, "#") && (level != "#" || i != len(levels)-1)
		bad = bad || strings.Contains(level, "+") && level != "+"
	}
	if bad {
		k.wrong(key, where, `%s: %q is no topic filter: "+" is one whole level, "#" only the last, and none begins with "$"`, name, f)
	}
}

// source checks the name of something that sends. They share one name space:
// the name tells journal channels and pages which it is.
func (k *checker) source(key, where, name string) {
	if name == "" {
		return
	}
	k.name(key, where, name)
	if other, taken := k.sources[name]; taken {
		k.wrong(key+".name", where, "the name is also that of %s", other)
	}
	k.sources[name] = where
}

func (k *checker) name(key, where, name string) {
	if !namePattern.MatchString(name) {
		k.wrong(key+".name", where, "name %q: %s", name, nameRule)
	}
}

func (k *checker) profile(key, where, id string, known map[string]string) (protocol string) {
	protocol, ok := known[id]
	if id == "" || known == nil || ok {
		return protocol
	}
	names := map[string]bool{}
	for name := range known {
		names[name] = true
	}
	k.wrong(key+".profile", where, "profile %q is not known%s; there are %s",
		id, meant(id, names), strings.Join(slices.Sorted(maps.Keys(known)), ", "))
	return ""
}

// port checks the URL of a device's port; the device is named by it.
func (k *checker) port(key, where, raw, protocol string, allowed []netip.Prefix) {
	key += ".port"
	if raw == "" {
		return
	}
	if k.env.ParsePort != nil {
		if err := k.env.ParsePort(raw); err != nil {
			k.wrong(key, where, "port: %v", err)
			return
		}
	}
	u, err := url.Parse(raw)
	if err != nil {
		k.wrong(key, where, "port: %q is not of the form tcp-listen://HOST:PORT", raw)
		return
	}
	mllp := strings.HasPrefix(u.Scheme, "mllp-")
	switch {
	case protocol == "file" && u.Scheme != "file":
		k.wrong(key, where, "port: this profile reads result files: use file:///FOLDER")
	case protocol != "" && protocol != "file" && u.Scheme == "file":
		k.wrong(key, where, "port: this profile reads no result files: file:// is not for it")
	case speaksHL7(protocol) && !mllp && u.Scheme != "serial":
		k.wrong(key, where, "port: this profile speaks HL7: use mllp-listen:// or mllp-dial://")
	case protocol != "" && !speaksHL7(protocol) && mllp:
		k.wrong(key, where, "port: this profile does not speak HL7: use tcp-listen://, tcp-dial:// or serial://")
	}
	if u.Scheme == "serial" {
		k.bound = append(k.bound, endpoint{where, key, path.Clean(u.Path), ""})
		return
	}
	if !strings.HasSuffix(u.Scheme, "-listen") {
		return
	}
	k.bound = append(k.bound, endpoint{where, key, u.Hostname(), u.Port()})
	if !loopback(u.Hostname()) && len(allowed) == 0 {
		k.note(key, where, "any host that reaches this port may send as this device: name its address = \"…\"")
	}
}

// speaksHL7: the profile's protocol is HL7 in MLLP, by the book or by IHE LAW.
func speaksHL7(protocol string) bool { return protocol == "hl7" || protocol == "law" }

func (k *checker) addresses(key, where string, prefixes []netip.Prefix) {
	for _, p := range prefixes {
		if p.Bits() == 0 {
			k.wrong(key+".address", where, "address: %s is everybody: name the device's address or its network", p)
		}
	}
}

func (k *checker) to(key, where string, to []string, kind string) {
	seen := map[string]bool{}
	for _, name := range to {
		k.named[name] = true
		d, ok := k.sinks[name]
		switch {
		case !ok:
			names := map[string]bool{}
			for n := range k.sinks {
				names[n] = true
			}
			k.wrong(key+".to", where, "to: there is no [[destination]] with name = %q%s", name, meant(name, names))
		case seen[name]:
			k.wrong(key+".to", where, "to: %q stands there twice", name)
		case d.Kind != kind && (d.Kind == KindHL7 || d.Kind == KindDICOM):
			k.wrong(key+".to", where, "to: destination %q is of kind %q; this needs one of kind %q", name, d.Kind, kind)
		}
		seen[name] = true
	}
}

// endpoints finds two connections on one port.
func (k *checker) endpoints() {
	for i, a := range k.bound {
		for _, b := range k.bound[:i] {
			if !a.meets(b) {
				continue
			}
			what := "port " + a.port
			if a.port == "" {
				what = a.host
			}
			k.wrong(a.key, a.where, "%s is already that of %s (line %d)", what, b.where, k.lines.of(b.key))
		}
	}
}

func (a endpoint) meets(b endpoint) bool {
	if a.port != b.port || a.port == "0" {
		return false
	}
	return a.host == b.host || a.port != "" && (wildcard(a.host) || wildcard(b.host) || loopback(a.host) && loopback(b.host) && (a.host == "localhost" || b.host == "localhost"))
}

// queues refuses to leave items behind in the queue of a destination that is gone.
func (k *checker) queues() {
	for i, d := range k.Destinations {
		if d.Name != "" && !k.named[d.Name] {
			k.note(fmt.Sprintf("destination[%d]", i), label("destination", d.Name, i), "stands in nobody's to")
		}
	}
	if k.env.Queues == nil {
		return
	}
	for name, depth := range k.env.Queues() {
		if _, ok := k.sinks[name]; !ok && depth > 0 {
			k.wrong("", "", "destination %q is gone from the file, and %d messages wait for it: put it back until they are delivered or discarded", name, depth)
		}
	}
}

// aeTitle checks an AE title: PS3.5 table 6.2-1, AE, without the padding blanks.
func (k *checker) aeTitle(key, where, name, title string) {
	bad := title == "" || len(title) > 16 || strings.TrimSpace(title) != title
	for i := range len(title) {
		bad = bad || title[i] < ' ' || title[i] > '~' || title[i] == '\\'
	}
	if bad {
		k.wrong(key, where, "%s %q: an AE title has 1 to 16 ASCII characters, no backslash, no blank at either end", name, title)
	}
}

// hl7Name checks a part of MSH-3 to MSH-6 that is compared or sent.
func (k *checker) hl7Name(key, where, name, value string) {
	if len(value) > 180 || !plain(value) || strings.ContainsAny(value, `|\&~`) {
		k.wrong(key+"."+name, where, `%s: %q has characters that separate HL7 fields (| \ & ~), or is too long`, name, value)
	}
}

func (k *checker) between(key, where, name string, n, low, high int) {
	if _, set := k.lines[key]; set && (n < low || n > high) {
		k.wrong(key, where, "%s must be from %d to %d", name, low, high)
	}
}

func plain(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

func hostPort(address string) (host, port string, err error) {
	if address == "" {
		return "", "", say("it is empty: write [] to switch the listener off")
	}
	host, port, err = net.SplitHostPort(address)
	if err != nil {
		return "", "", say("%q is not of the form HOST:PORT", address)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return "", "", say("%q: the port must be a number from 0 to 65535", address)
	}
	return host, port, nil
}

func loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}

func wildcard(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "" || err == nil && a.IsUnspecified()
}
