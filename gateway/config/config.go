// Package config reads the one TOML file that describes a site: who the gateway
// is, where it listens, which devices and systems it knows and where their
// records go. It is strict: an unknown key is an error, and every problem is
// told at once, in words, with its line. Nothing here opens a connection except
// Probe, which only tries whether it could.
package config

import (
	_ "embed"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // a site's PC may have no time zone data

	"nhip/dicom/association"
	"nhip/gateway/reason"
)

// Sample is the commented sample file: every key with its default and reason.
//
//go:embed sample.toml
var Sample []byte

// maxFile bounds what is read of a configuration file.
const maxFile = 4 << 20

// A Config is a site. Defaults and required keys are in the tags: `toml:"key"`,
// `default:"…"` as it would be written in the file (a list: one element),
// `need:"yes"` where there is no default, `oneof:"…"` for enumerations.
type Config struct {
	Site         Site          `toml:"site"`
	Console      Console       `toml:"console"`
	DICOM        DICOM         `toml:"dicom"`
	HL7          HL7           `toml:"hl7"`
	MQTT         MQTT          `toml:"mqtt"`
	Orders       Orders        `toml:"orders"`
	Analysers    []Analyser    `toml:"analyser"`
	Modalities   []Modality    `toml:"modality"`
	Monitors     []Monitor     `toml:"monitor"`
	HL7Peers     []HL7Peer     `toml:"hl7_peer"`
	Authorities  []Authority   `toml:"authority"`
	MQTTUsers    []MQTTUser    `toml:"mqtt_user"`
	People       []Person      `toml:"person"`
	Destinations []Destination `toml:"destination"`
	Backup       Backup        `toml:"backup"`
	Alerts       Alerts        `toml:"alerts"`
	SMTP         SMTP          `toml:"smtp"`
	Webhooks     []Webhook     `toml:"webhook"`
	OrderCodes   []OrderCode   `toml:"order_code"`

	// File is the file that was read; empty for Default.
	File string `toml:"-"`

	lines lines
}

// Site is [site].
type Site struct {
	ID       string         `toml:"id" default:"nhip"`
	Name     string         `toml:"name" default:""`
	TimeZone *time.Location `toml:"time_zone" default:"Asia/Ho_Chi_Minh"`
	Data     string         `toml:"data" default:"./data"` // after Load: relative to the working directory

	RetentionDays int `toml:"retention_days" default:"90"` // 0: no limit
	RetentionDisk int `toml:"retention_disk" default:"70"` // percent; 100: no limit

	Mirror     string        `toml:"mirror" default:""`                     // empty: none. After Load: relative to the working directory
	ScrubEvery time.Duration `toml:"scrub_every" default:"24h" never:"yes"` // 0: only on demand
	Profiles   string        `toml:"profiles" default:""`                   // a folder of analyser profiles; empty: those that are built in. After Load: relative to the working directory
}

// Backup is [backup]: backups on a schedule.
type Backup struct {
	To             string        `toml:"to" default:""` // a folder; empty: none are made. After Load: relative to the working directory
	Every          time.Duration `toml:"every" default:"24h"`
	Keep           int           `toml:"keep" default:"14"`
	PassphraseFile string        `toml:"passphrase_file" default:""` // empty: not encrypted. After Load: relative to the working directory
}

// Console is [console]. It listens on loopback only.
type Console struct {
	Listen []string `toml:"listen" default:"127.0.0.1:8080"`
	Hosts  []string `toml:"hosts" default:""` // further names in the Host header
}

// DICOM is [dicom].
type DICOM struct {
	Listen          []string `toml:"listen" default:"127.0.0.1:11112"`
	AETitle         string   `toml:"ae_title" default:"NHIP"`
	MaxAssociations int      `toml:"max_associations" default:"50"`
	MaxPerModality  int      `toml:"max_per_modality" default:"16"` // of one address, and of one AE title
	SOPClasses      []string `toml:"sop_classes" default:""`        // besides the storage SOP classes of PS3.6
	Worklist        string   `toml:"worklist" default:""`           // a folder of worklist files; after Load relative to the working directory

	// PS3.15 sections B.12 and B.13. After Load files are relative to the working directory.
	TLSListen      []string `toml:"tls_listen" default:""`
	TLSCertificate string   `toml:"tls_certificate" default:""`
	TLSKey         string   `toml:"tls_key" default:""`
	TLSCA          string   `toml:"tls_ca" default:""`
	TLSClients     string   `toml:"tls_clients" default:"required" oneof:"required optional none"`
}

// HL7 is [hl7], the shared MLLP listener.
type HL7 struct {
	Listen     []string `toml:"listen" default:"127.0.0.1:2575"`
	MaxMessage Size     `toml:"max_message" default:"64 MiB"`

	// After Load files are relative to the working directory.
	TLSListen      []string `toml:"tls_listen" default:""`
	HTTPListen     []string `toml:"http_listen" default:""`
	HTTPSListen    []string `toml:"https_listen" default:""`
	TLSCertificate string   `toml:"tls_certificate" default:""`
	TLSKey         string   `toml:"tls_key" default:""`
	TLSCA          string   `toml:"tls_ca" default:""`
	TLSClients     string   `toml:"tls_clients" default:"required" oneof:"required none"`

	MaxSegments    int           `toml:"max_segments" default:"100000"`
	MaxConnections int           `toml:"max_connections" default:"256"`
	MaxPerAddress  int           `toml:"max_per_address" default:"200"` // an interface engine has one address; a port scanner leaves room for others
	Complete       time.Duration `toml:"complete" default:"60s"`        // from the first byte of a message to its last
	Idle           time.Duration `toml:"idle" default:"0" never:"yes"`  // between messages; 0: for ever
}

// MQTT is [mqtt], the broker.
type MQTT struct {
	Listen     []string `toml:"listen" default:"127.0.0.1:1883"`
	MaxClients int      `toml:"max_clients" default:"200"`
}

// States of an analyser: on trial everything is received, stored and shown, and
// nothing reaches a destination.
const (
	Live  = "live"
	Trial = "trial"
)

// Classes of what a monitor or MQTT user sends.
const (
	ClassRecord = "record" // committed before it is acknowledged
	ClassLive   = "live"   // best effort
)

// What an analyser's results need of an order.
const (
	OrdersNone     = "none"
	OrdersWarn     = "warn"
	OrdersRequired = "required"
)

// Kinds of destinations.
const (
	KindHL7   = "hl7"
	KindDICOM = "dicom"
)

// Analyser is one [[analyser]].
type Analyser struct {
	Name     string         `toml:"name" need:"yes"`
	Profile  string         `toml:"profile" need:"yes"`
	Port     string         `toml:"port" need:"yes"`
	State    string         `toml:"state" default:"live" oneof:"live trial"`
	Orders   string         `toml:"orders" default:"none" oneof:"none warn required"`
	Address  []netip.Prefix `toml:"address" default:""`             // who may connect to a listening port; empty: any host
	TimeZone *time.Location `toml:"time_zone" default:""`           // nil: the site's; see Zone
	Silent   time.Duration  `toml:"silent" default:"0" never:"yes"` // no message for so long is an alert; 0: never
	To       []string       `toml:"to" default:""`

	Authority string `toml:"authority" default:""` // of the patient numbers that it says; empty: its own
	Names     string `toml:"names" default:""`     // one of vncharset.NamesWords; empty: the profile's

	OrderWindow time.Duration `toml:"order_window" default:"48h" never:"yes"` // around the time of a specimen; 0: any
	Sections    []string      `toml:"sections" default:""`                    // OBR-24 that it works for; empty: any

	Codes string `toml:"codes" default:""` // file with the table of its codes; empty: none. After Load relative to the working directory
	Send  string `toml:"send" default:"query" oneof:"query download both"`

	SpecimenPattern string `toml:"specimen_pattern" default:""` // a regular expression, see lab.Specimens; empty: any
	SpecimenCheck   string `toml:"specimen_check" default:"none" oneof:"none luhn gs1 mod11-2"`
}

// Modality is one [[modality]].
type Modality struct {
	Name    string         `toml:"name" need:"yes"`
	AETitle string         `toml:"ae_title" need:"yes"`
	Address []netip.Prefix `toml:"address" need:"yes"`
	// Certificate is a name in the certificate that it shows by TLS; empty: it may come
	// in the clear.
	Certificate string        `toml:"certificate" default:""`
	Silent      time.Duration `toml:"silent" default:"0" never:"yes"`
	To          []string      `toml:"to" default:""`

	Accept   string `toml:"accept" default:"all" oneof:"all destinations"`
	Reports  string `toml:"reports" default:""` // host:port for storage commitment reports
	Worklist string `toml:"worklist" default:"own" oneof:"own all"`
	Texts    string `toml:"worklist_texts" default:"ascii" oneof:"ascii utf-8"`
	Names    string `toml:"worklist_names" default:"first-word" oneof:"first-word last-word whole"` // of a name that came whole
	Query    bool   `toml:"query" default:"false"`                                                  // may ask for and retrieve what the gateway holds
	Print    string `toml:"print" default:"none" oneof:"none send hold"`

	// User and PasswordFile are the identity that it has to give, PS3.7 section D.3.3.7;
	// empty: any or none. After Load the file is relative to the working directory.
	User         string `toml:"user" default:""`
	PasswordFile string `toml:"password_file" default:""`
}

// What a modality may send.
const (
	AcceptAll          = "all"          // every storage SOP class; what a destination does not take is held
	AcceptDestinations = "destinations" // what every destination takes
)

// Monitor is one [[monitor]].
type Monitor struct {
	Name     string         `toml:"name" need:"yes"`
	Unit     string         `toml:"unit" need:"yes"`
	Profile  string         `toml:"profile" need:"yes"`
	Port     string         `toml:"port" need:"yes"`
	Class    string         `toml:"class" default:"record" oneof:"record live"`
	Location string         `toml:"location" default:""` // PV1-3 of the messages that are taken; empty: the first that is named
	Stale    time.Duration  `toml:"stale" default:"60s"` // without a reading for so long the device is shown as stale
	Address  []netip.Prefix `toml:"address" default:""`
	TimeZone *time.Location `toml:"time_zone" default:""`
	Silent   time.Duration  `toml:"silent" default:"0" never:"yes"`
	To       []string       `toml:"to" default:""`
}

// HL7Peer is one [[hl7_peer]]: a system that sends to [hl7].listen.
type HL7Peer struct {
	Name        string         `toml:"name" need:"yes"`
	Address     []netip.Prefix `toml:"address" need:"yes"`
	Application string         `toml:"application" default:""` // MSH-3; empty: any
	Facility    string         `toml:"facility" default:""`    // MSH-4; empty: any
	Silent      time.Duration  `toml:"silent" default:"0" never:"yes"`
	To          []string       `toml:"to" default:""`

	ReceivingApplication string         `toml:"receiving_application" default:""` // MSH-5; empty: any
	ReceivingFacility    string         `toml:"receiving_facility" default:""`    // MSH-6; empty: any
	Certificate          string         `toml:"certificate" default:""`           // a name in the certificate that it shows; empty: any or none
	TimeZone             *time.Location `toml:"time_zone" default:""`

	Acknowledge  string   `toml:"acknowledge" default:"message" oneof:"message original accept application both none"`
	Answer       string   `toml:"answer" default:"specific" oneof:"specific general"`
	AnswerTo     string   `toml:"answer_to" default:""`               // the destination for application answers; empty: the same connection
	Confirm      string   `toml:"confirm" default:"NE" oneof:"NE AL"` // MSH-15 of application answers that are messages of their own
	Acknowledges []string `toml:"acknowledges" default:""`            // the destinations whose application answers come here

	Charset        string   `toml:"charset" default:""`         // whatever MSH-18 says
	CharsetDefault []string `toml:"charset_default" default:""` // where MSH-18 is empty
	Map            string   `toml:"map" default:""`             // of fields; after Load relative to the working directory

	MLLP     int    `toml:"mllp" default:"1"` // the release
	Sequence bool   `toml:"sequence" default:"false"`
	Folder   string `toml:"folder" default:""` // of batch files; after Load relative to the working directory

	Patients  string   `toml:"patients" default:"take" oneof:"take pass"`
	Authority []string `toml:"authority" default:""` // of identifiers that name none: NAME or TYPE=NAME

	Orders         string   `toml:"orders" default:"take" oneof:"take pass"`
	OrderKind      string   `toml:"order_kind" default:"auto" oneof:"auto laboratory imaging"` // of ORM and OMG
	OrderSpecimen  []string `toml:"order_specimen" default:""`                                 // fields, the first that has a value
	OrderAccession []string `toml:"order_accession" default:""`
	OrderStudy     string   `toml:"order_study" default:"generate" oneof:"generate accession refuse"` // without a Study Instance UID
	OrderLong      string   `toml:"order_long_accession" default:"refuse" oneof:"refuse keep cut"`
	OrderModality  string   `toml:"order_modality" default:""` // of an imaging order that names none

	// 0 is that of [hl7].
	MaxMessage     Size          `toml:"max_message" default:""`
	MaxSegments    int           `toml:"max_segments" default:"0"`
	MaxConnections int           `toml:"max_connections" default:"0"`
	Complete       time.Duration `toml:"complete" default:"0" never:"yes"`
	Idle           time.Duration `toml:"idle" default:"0" never:"yes"`
}

// MQTTUser is one [[mqtt_user]].
type MQTTUser struct {
	Name         string        `toml:"name" need:"yes"`
	PasswordFile string        `toml:"password_file" need:"yes"` // after Load: relative to the working directory
	Subscribe    []string      `toml:"subscribe" default:""`
	Publish      []string      `toml:"publish" default:""`
	Class        string        `toml:"class" default:"live" oneof:"live record"`
	Silent       time.Duration `toml:"silent" default:"0" never:"yes"`
}

// Destination is one [[destination]].
type Destination struct {
	Name    string `toml:"name" need:"yes"`
	Kind    string `toml:"kind" need:"yes" oneof:"hl7 dicom"`
	Address string `toml:"address" need:"yes"` // host:port

	ConnectTimeout time.Duration `toml:"connect_timeout" default:"10s"`
	AnswerTimeout  time.Duration `toml:"answer_timeout" default:"30s"`
	MaxReject      int           `toml:"max_reject" default:"20"` // an AR or refusal is retried so often, then held
	Unanswered     string        `toml:"unanswered" default:"retry" oneof:"retry hold"`
	Connections    int           `toml:"connections" default:"1"`
	Expire         time.Duration `toml:"expire" default:"0" never:"0"`

	// kind = "hl7"
	ReceivingApplication string `toml:"receiving_application" default:"" kind:"hl7"` // MSH-5
	ReceivingFacility    string `toml:"receiving_facility" default:"" kind:"hl7"`    // MSH-6

	Results     string   `toml:"results" default:"oru" oneof:"oru oul" kind:"hl7"`
	Comparators string   `toml:"comparators" default:"text" oneof:"text sn" kind:"hl7"`
	Status      string   `toml:"status" default:"none" oneof:"none orm oml" kind:"hl7"` // of orders
	StatusOf    []string `toml:"status_of" default:"" kind:"hl7"`                       // the systems whose orders; empty: all

	Mode           string        `toml:"mode" default:"original" oneof:"original enhanced" kind:"hl7"`
	SettledBy      string        `toml:"settled_by" default:"application" oneof:"application accept" kind:"hl7"` // in the enhanced mode
	ProcessTimeout time.Duration `toml:"process_timeout" default:"1h" kind:"hl7"`                                // from the accept to the application acknowledgement
	Charset        string        `toml:"charset" default:"" kind:"hl7"`                                          // empty: as it came
	Map            string        `toml:"map" default:"" kind:"hl7"`                                              // of fields; after Load relative to the working directory
	MLLP           int           `toml:"mllp" default:"1" kind:"hl7"`                                            // the release
	Sequence       bool          `toml:"sequence" default:"false" kind:"hl7"`
	TLSCertificate string        `toml:"tls_certificate" default:"" kind:"hl7"` // after Load: [hl7].tls_certificate where not set
	TLSKey         string        `toml:"tls_key" default:"" kind:"hl7"`
	User           string        `toml:"user" default:"" kind:"hl7"`          // of HTTP
	PasswordFile   string        `toml:"password_file" default:"" kind:"hl7"` // after Load: relative to the working directory

	// kind = "dicom"
	CalledAETitle  string `toml:"called_ae_title" default:"" kind:"dicom"`
	CallingAETitle string `toml:"calling_ae_title" default:"" kind:"dicom"` // after Load: [dicom].ae_title where not set
	TLS            string `toml:"tls" default:"none" oneof:"none required"`
	TLSCA          string `toml:"tls_ca" default:""`   // after Load: that of [dicom] or [hl7] where not set
	TLSName        string `toml:"tls_name" default:""` // the name that the server's certificate has to have; empty: any, or of HL7 the host of the address
	Images         bool   `toml:"images" default:"true" kind:"dicom"`
	Commitment     bool   `toml:"commitment" default:"false" kind:"dicom"` // it is asked for storage commitment
	MPPS           bool   `toml:"mpps" default:"false" kind:"dicom"`       // performed procedure steps are passed on to it
	IAN            bool   `toml:"ian" default:"false" kind:"dicom"`        // it is told what the other destinations have
}

// What becomes of a message that was sent and not answered.
const (
	UnansweredRetry = "retry" // sent again, the same bytes
	UnansweredHold  = "hold"  // held for a person
)

// Person is one [[person]]: who may act through the console's API.
type Person struct {
	Name        string `toml:"name" need:"yes"`
	TokenSHA256 string `toml:"token_sha256" need:"yes"` // in hexadecimal, of the token's text
}

// Alerts is [alerts]: when people are told, and how often.
type Alerts struct {
	Oldest  time.Duration `toml:"oldest" default:"5m"`   // the oldest message that waits for a destination and is not held
	Drift   time.Duration `toml:"drift" default:"60s"`   // a device's clock against ours
	Again   time.Duration `toml:"again" default:"15m"`   // the same alert is told again no sooner
	PerHour int           `toml:"per_hour" default:"20"` // messages, over all alerts
}

// What [dicom] tls_clients asks of a modality, and what a destination's tls may be.
const (
	CertificateRequired = "required"
	CertificateOptional = "optional"
	CertificateNone     = "none"
)

// DICOMServer is how [dicom] tls_listen is secured.
func (c *Config) DICOMServer() association.TLS {
	clients := map[string]association.ClientCertificate{
		CertificateRequired: association.CertificateRequired,
		CertificateOptional: association.CertificateOptional,
		CertificateNone:     association.CertificateIgnored,
	}[c.DICOM.TLSClients]
	return association.TLS{Certificate: c.DICOM.TLSCertificate, Key: c.DICOM.TLSKey, CA: c.DICOM.TLSCA, Clients: clients}
}

// DICOMClient is how associations with a destination are secured, if they are.
func (c *Config) DICOMClient(d Destination) (association.TLS, bool) {
	return association.TLS{Certificate: c.DICOM.TLSCertificate, Key: c.DICOM.TLSKey, CA: d.TLSCA, ServerName: d.TLSName}, d.TLS != CertificateNone
}

// What [smtp] does about STARTTLS.
const (
	TLSRequire       = "require"
	TLSOpportunistic = "opportunistic"
	TLSNone          = "none"
)

// SMTP is [smtp]: alerts by e-mail. Without a host there are none.
type SMTP struct {
	Host         string   `toml:"host" default:""`
	Port         int      `toml:"port" default:"587"`
	From         string   `toml:"from" default:""`
	To           []string `toml:"to" default:""`
	Username     string   `toml:"username" default:""`
	PasswordFile string   `toml:"password_file" default:""` // after Load: relative to the working directory
	StartTLS     string   `toml:"starttls" default:"require" oneof:"require opportunistic none"`
}

// Webhook is one [[webhook]]: alerts by HTTP POST.
type Webhook struct {
	URL       string `toml:"url" need:"yes"`
	TokenFile string `toml:"token_file" default:""` // after Load: relative to the working directory
}

// A Size is a number of bytes, written "64 MiB", "512 KiB" or "1000".
type Size int64

// A Problem is something wrong with a configuration.
type Problem struct {
	File    string // empty where there is none
	Line    int    // 0 where it has none
	Where   string // the block, e.g. `analyser "xn-1"`, and key
	Text    string // what is wrong and what to do about it
	Warning bool   // worth saying; the gateway starts nevertheless

	vietnamese string // the Text
}

// String is the problem as one line, in English.
func (p Problem) String() string { return p.In(reason.English) }

// In is the problem as one line in a language.
func (p Problem) In(l reason.Language) string {
	note, text := "note: ", p.Text
	if l == reason.Vietnamese {
		note, text = "lưu ý: ", p.vietnamese
	}
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File)
		if p.Line > 0 {
			b.WriteString(":" + strconv.Itoa(p.Line))
		}
		b.WriteString(": ")
	}
	if p.Warning {
		b.WriteString(note)
	}
	if p.Where != "" {
		b.WriteString(p.Where + ": ")
	}
	return b.String() + text
}

// Good reports whether there are no problems but warnings.
func Good(problems []Problem) bool {
	for _, p := range problems {
		if !p.Warning {
			return false
		}
	}
	return true
}

// Default is the configuration of a gateway without a file: on loopback, it
// knows nobody, data in ./data.
func Default() *Config {
	c, _ := parse(nil, "")
	return c
}

// Load reads, completes and checks the file. With problems that are not
// warnings the Config must not be used (it may be nil).
func Load(file string, env Env) (*Config, []Problem) {
	b, err := readFile(file)
	if err != nil {
		problem := problemOf(0, "cannot be read: %s", unusable(err))
		problem.File = file
		return nil, []Problem{problem}
	}
	c, problems := parse(b, file)
	if c != nil {
		problems = append(problems, c.Check(env)...)
	}
	for i := range problems {
		problems[i].File = orElse(problems[i].File, file) // else that of a map
	}
	sortByLine(problems)
	return c, problems
}

// Location is the zone in which the device writes its times.
func (c *Config) Location(device *time.Location) *time.Location {
	if device != nil {
		return device
	}
	return c.Site.TimeZone
}

// Password is the user's password: the first line of the password file.
func (u MQTTUser) Password() (string, error) { return firstLine(u.PasswordFile) }

// firstLine is the secret in a file.
func firstLine(file string) (string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return strings.TrimSuffix(line, "\r"), nil
}

// Contains reports whether one of the prefixes contains the address. An IPv4
// address that is mapped into IPv6 counts as what it is.
func Contains(prefixes []netip.Prefix, a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	for _, p := range prefixes {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// complete derives what the file leaves to other keys and resolves file names.
func (c *Config) complete(file string) {
	dir := filepath.Dir(file)
	c.File = file
	c.Site.Data = under(dir, c.Site.Data)
	c.Site.Mirror = under(dir, c.Site.Mirror)
	c.Site.Profiles = under(dir, c.Site.Profiles)
	c.Backup.To = under(dir, c.Backup.To)
	c.Backup.PassphraseFile = under(dir, c.Backup.PassphraseFile)
	for i := range c.Modalities {
		c.Modalities[i].PasswordFile = under(dir, c.Modalities[i].PasswordFile)
	}
	for i := range c.MQTTUsers {
		c.MQTTUsers[i].PasswordFile = under(dir, c.MQTTUsers[i].PasswordFile)
	}
	for _, file := range []*string{&c.DICOM.Worklist, &c.DICOM.TLSCertificate, &c.DICOM.TLSKey, &c.DICOM.TLSCA} {
		*file = under(dir, *file)
	}
	c.completeLinks(dir)
	c.completeMaps(dir)
	c.completeCodes(dir)
	c.SMTP.PasswordFile = under(dir, c.SMTP.PasswordFile)
	for i := range c.Webhooks {
		c.Webhooks[i].TokenFile = under(dir, c.Webhooks[i].TokenFile)
	}
	for i := range c.Destinations {
		d := &c.Destinations[i]
		if d.Kind == KindDICOM && d.CallingAETitle == "" {
			d.CallingAETitle = c.DICOM.AETitle
		}
		if d.TLSCA = under(dir, d.TLSCA); d.TLSCA == "" && d.Kind == KindDICOM {
			d.TLSCA = c.DICOM.TLSCA
		}
	}
}

func under(dir, name string) string {
	if name == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(dir, name)
}
