package config

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"nhip/drivers/port"
	"nhip/drivers/profile"
)

var testEnv = Env{
	Profiles:        map[string]string{"sysmex-xn-l": "astm", "mindray-bc5380": "hl7"},
	MonitorProfiles: map[string]string{"hl7-pcd01": "hl7", "nonin-ascii": "serial"},
	ParsePort:       func(string) error { return nil }, // drivers/port has its own tests
}

// load writes the text to a folder of its own and loads it.
func load(t *testing.T, text string, env Env) (*Config, []Problem) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "ward-display.pw"), []byte("s3cret\r\nsecond line\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "site.toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return Load(file, env)
}

func TestSampleLoadsWithoutAProblem(t *testing.T) {
	profiles, err := profile.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	env := Env{Profiles: map[string]string{}, MonitorProfiles: testEnv.MonitorProfiles}
	for id, p := range profiles {
		env.Profiles[id] = p.Protocol()
	}
	env.ParsePort = func(s string) error { _, err := port.Parse(s); return err }
	c, problems := load(t, string(Sample), env)
	for _, p := range problems {
		t.Error(p)
	}
	if t.Failed() {
		return
	}
	if got := c.Analysers[0].To; !reflect.DeepEqual(got, []string{"lis"}) {
		t.Errorf("to is %v", got)
	}
	if got, err := c.MQTTUsers[0].Password(); got != "s3cret" || err != nil {
		t.Errorf("password is %q, %v", got, err)
	}
	if got := c.Site.Data; got != filepath.Join(filepath.Dir(c.File), "data") {
		t.Errorf("data is %q: not relative to the file's folder", got)
	}
	if c.Destinations[1].CallingAETitle != "NHIP" {
		t.Errorf("calling AE title is %q", c.Destinations[1].CallingAETitle)
	}
}

// Every key of the structs stands in the sample, with the default that the
// program has; and no block of the sample lacks a reason.
func TestSampleShowsEveryKeyWithItsDefault(t *testing.T) {
	sample := map[string][]string{} // block.key -> comment lines above
	block, comment := "", []string{}
	for _, line := range strings.Split(string(Sample), "\n") {
		key, _, isKey := strings.Cut(line, " = ")
		switch {
		case strings.HasPrefix(line, "["):
			block, comment = strings.Trim(line, "[]"), nil
		case strings.HasPrefix(line, "#"):
			comment = append(comment, strings.TrimPrefix(line, "#"))
		case isKey:
			if at := block + "." + key; sample[at] == nil {
				sample[at] = comment
			}
			if next := comment; next != nil && key != "receiving_application" {
				comment = nil
			}
		default:
			comment = nil
		}
	}
	root := reflect.TypeFor[Config]()
	for i := range root.NumField() {
		name, typ := root.Field(i).Tag.Get("toml"), root.Field(i).Type
		if name == "" || name == "-" {
			continue
		}
		if typ.Kind() == reflect.Slice {
			typ = typ.Elem()
		}
		for j := range typ.NumField() {
			f := typ.Field(j)
			checkSampled(t, name+"."+f.Tag.Get("toml"), f, sample)
		}
	}
}

var (
	statedDefault = regexp.MustCompile(`Default ("[^"]*"|\S+?)\. `)
	otherDefault  = regexp.MustCompile(`Default: `)
)

func checkSampled(t *testing.T, at string, f reflect.StructField, sample map[string][]string) {
	comment, ok := sample[at]
	if !ok || len(comment) == 0 {
		t.Errorf("%s: not in the sample, or without a reason", at)
		return
	}
	text := strings.TrimSpace(strings.Join(comment, "")) + " "
	if f.Tag.Get("need") != "" || at == "destination.called_ae_title" {
		if !strings.HasPrefix(text, "Required") {
			t.Errorf("%s: the sample does not say that it is required", at)
		}
		return
	}
	if otherDefault.MatchString(text) {
		return
	}
	m := statedDefault.FindStringSubmatch(text)
	if m == nil {
		t.Errorf("%s: the sample states no default: %s", at, text)
		return
	}
	if stated := strings.Trim(m[1], `"[]`); stated != f.Tag.Get("default") {
		t.Errorf("%s: the sample states default %q, the program has %q", at, stated, f.Tag.Get("default"))
	}
}

func TestWithoutAFileItIsOnLoopbackAndKnowsNobody(t *testing.T) {
	c := Default()
	if problems := c.Check(Env{}); len(problems) != 0 {
		t.Error(problems)
	}
	for _, listen := range [][]string{c.Console.Listen, c.DICOM.Listen, c.HL7.Listen, c.MQTT.Listen} {
		if len(listen) != 1 || !strings.HasPrefix(listen[0], "127.0.0.1:") {
			t.Errorf("listens on %v", listen)
		}
	}
	if n := len(c.Analysers) + len(c.Modalities) + len(c.Monitors) + len(c.HL7Peers) + len(c.MQTTUsers) + len(c.Destinations); n != 0 {
		t.Errorf("knows %d", n)
	}
	if c.Site.Data != "data" || c.Site.TimeZone.String() != "Asia/Ho_Chi_Minh" || c.HL7.MaxMessage != 64<<20 {
		t.Errorf("data %q, zone %v, limit %d", c.Site.Data, c.Site.TimeZone, c.HL7.MaxMessage)
	}
}

const minimal = `
[[destination]]
name = "lis"
kind = "hl7"
address = "127.0.0.1:2576"
[[destination]]
name = "pacs"
kind = "dicom"
address = "127.0.0.1:4242"
called_ae_title = "ORTHANC"
[[analyser]]
name = "xn-1"
profile = "sysmex-xn-l"
port = "tcp-listen://127.0.0.1:4001"
to = ["lis"]
[[modality]]
name = "ct-1"
ae_title = "CT1"
address = ["127.0.0.1", "10.1.0.0/16"]
to = "pacs"
`

func TestEachMistakeIsToldInWordsWithItsLine(t *testing.T) {
	if _, problems := load(t, minimal, testEnv); len(problems) != 0 {
		t.Fatalf("the base has problems: %v", problems)
	}
	tests := []struct {
		name, was, is string
		line          int
		say           string
	}{
		{"unknown key", `called_ae_title =`, `called_ae_titel =`, 10, `unknown key "called_ae_titel": did you mean "called_ae_title"?`},
		{"unknown block", `[[analyser]]`, `[[analyzer]]`, 11, `unknown key "analyzer": did you mean "analyser"?`},
		{"not TOML", `name = "lis"`, `name = lis`, 3, `is not TOML`},
		{"key twice", `kind = "hl7"`, "kind = \"hl7\"\nkind = \"hl7\"", 5, `is not TOML`},
		{"single brackets", "[[modality]]", "[modality]", 16, `write [[modality]], with double brackets`},
		{"missing key", `profile = "sysmex-xn-l"`, ``, 11, `analyser "xn-1": the key "profile" is missing`},
		{"empty key", `name = "ct-1"`, `name = ""`, 17, `name is empty`},
		{"wrong type", `ae_title = "CT1"`, `ae_title = 1`, 18, `ae_title: it must be one text in quotes, not 1`},
		{"unknown profile", `"sysmex-xn-l"`, `"sysmex-xnl"`, 13, `profile "sysmex-xnl" is not known: did you mean "sysmex-xn-l"?; there are mindray-bc5380, sysmex-xn-l`},
		{"unknown destination", `to = ["lis"]`, `to = ["lsi"]`, 15, `there is no [[destination]] with name = "lsi": did you mean "lis"?`},
		{"destination twice", `to = ["lis"]`, `to = ["lis", "lis"]`, 15, `stands there twice`},
		{"destination of the wrong kind", `to = ["lis"]`, `to = ["pacs"]`, 15, `of kind "dicom"; this needs one of kind "hl7"`},
		{"two of one name", `name = "ct-1"`, `name = "xn-1"`, 17, `the name is also that of analyser "xn-1"`},
		{"two destinations of one name", `name = "pacs"`, `name = "lis"`, 7, `two destinations of this name`},
		{"name of the gateway's own", `name = "pacs"`, `name = "interpret"`, 7, `the gateway's own`},
		{"bad name", `name = "xn-1"`, `name = "Máy 1"`, 12, `lower-case letters`},
		{"AE title too long", `"CT1"`, `"CT1CT1CT1CT1CT1CT1"`, 18, `1 to 16 ASCII characters`},
		{"AE title with a backslash", `"CT1"`, `'CT\1'`, 18, `no backslash`},
		{"AE title of two", `[[modality]]`, "[[modality]]\nname=\"ct-0\"\nae_title=\"CT1\"\naddress=\"10.0.0.1\"\nto=\"pacs\"\n[[modality]]", 23, `ae_title "CT1" is also that of modality "ct-0"`},
		{"no address", `"10.1.0.0/16"`, `"ct.local"`, 19, `"ct.local" is neither an IP address nor a network`},
		{"everybody", `"10.1.0.0/16"`, `"0.0.0.0/0"`, 19, `is everybody`},
		{"destination without a port", `"127.0.0.1:2576"`, `"127.0.0.1"`, 5, `not of the form HOST:PORT`},
		{"destination is the gateway itself", `"127.0.0.1:2576"`, `"127.0.0.1:2575"`, 5, `is this gateway itself`},
		{"unknown kind", `kind = "dicom"`, `kind = "pacs"`, 8, `kind is "pacs"; it may be "hl7" or "dicom"`},
		{"no called AE title", `called_ae_title = "ORTHANC"`, ``, 6, `"called_ae_title" is missing`},
		{"key of another kind", `kind = "hl7"`, "kind = \"hl7\"\ncalled_ae_title = \"X\"", 5, `has no meaning for kind "hl7"`},
		{"control characters", `kind = "hl7"`, "kind = \"hl7\"\nreceiving_facility = \"a\\u000db\"", 5, `receiving_facility`},
		{"duration", `kind = "hl7"`, "kind = \"hl7\"\nanswer_timeout = 30", 5, `a length of time such as "30s"`},
		{"port twice", `tcp-listen://127.0.0.1:4001`, `tcp-listen://127.0.0.1:2575`, 14, `port 2575 is already that of [hl7]`},
		{"port twice by wildcard", `tcp-listen://127.0.0.1:4001`, `tcp-listen://0.0.0.0:11112`, 14, `port 11112 is already that of [dicom]`},
		{"HL7 port for an ASTM profile", `tcp-listen://127.0.0.1:4001`, `mllp-listen://127.0.0.1:4001`, 14, `this profile does not speak HL7`},
		{"ASTM port for an HL7 profile", `"sysmex-xn-l"`, `"mindray-bc5380"`, 14, `this profile speaks HL7`},
		{"no such state", `to = ["lis"]`, "to = [\"lis\"]\nstate = \"off\"", 16, `state is "off"; it may be "live" or "trial"`},
		{"no such zone", `to = ["lis"]`, "to = [\"lis\"]\ntime_zone = \"Hanoi\"", 16, `"Hanoi" is no time zone`},
		{"zone of the machine", `to = ["lis"]`, "to = [\"lis\"]\ntime_zone = \"Local\"", 16, `"Local" is no time zone`},
		{"site id", "\n[[destination]]\nname = \"lis\"", "[site]\nid = \"Gia Bình\"\n[[destination]]\nname = \"lis\"", 2, `id "Gia Bình": use lower-case`},
		{"console off loopback", "\n[[destination]]\nname = \"lis\"", "[console]\nlisten = \"0.0.0.0:8080\"\n[[destination]]\nname = \"lis\"", 2, `would be open to the network`},
		{"MLLP off loopback, nobody named", "\n[[destination]]\nname = \"lis\"", "[hl7]\nlisten = \":2575\"\n[[destination]]\nname = \"lis\"", 2, `may leave 127.0.0.1 only when an [[hl7_peer]] is named`},
		{"MQTT off loopback, nobody named", "\n[[destination]]\nname = \"lis\"", "[mqtt]\nlisten = [\"127.0.0.1:1883\", \"10.0.0.1:1883\"]\n[[destination]]\nname = \"lis\"", 2, `only when an [[mqtt_user]] is named`},
		{"size", "\n[[destination]]\nname = \"lis\"", "[hl7]\nmax_message = \"64 MB\"\n[[destination]]\nname = \"lis\"", 2, `a size such as "64 MiB", not "64 MB"`},
		{"topic filter", "\n[[destination]]\nname = \"lis\"", "[[mqtt_user]]\nname = \"w\"\npassword_file = \"ward-display.pw\"\nsubscribe = [\"v1/#/x\"]\n[[destination]]\nname = \"lis\"", 4, `is no topic filter`},
		{"no password file", "\n[[destination]]\nname = \"lis\"", "[[mqtt_user]]\nname = \"w\"\npassword_file = \"w.pw\"\nsubscribe = [\"v1/#\"]\n[[destination]]\nname = \"lis\"", 3, `it is not there`},
		{"mail without a server", "\n[[destination]]\nname = \"lis\"", "[smtp]\nfrom = \"a@b.vn\"\n[[destination]]\nname = \"lis\"", 1, `host is empty`},
		{"mail to nobody", "\n[[destination]]\nname = \"lis\"", "[smtp]\nhost = \"mail\"\nfrom = \"a@b.vn\"\n[[destination]]\nname = \"lis\"", 1, `to is empty`},
		{"mail address", "\n[[destination]]\nname = \"lis\"", "[smtp]\nhost = \"mail\"\nfrom = \"Nhip <a@b.vn>\"\nto = \"it@b.vn\"\n[[destination]]\nname = \"lis\"", 3, `from: "Nhip <a@b.vn>" is not of the form`},
		{"mail password over the network", "\n[[destination]]\nname = \"lis\"", "[smtp]\nhost = \"mail\"\nfrom = \"a@b.vn\"\nto = \"it@b.vn\"\nusername = \"a\"\npassword_file = \"ward-display.pw\"\nstarttls = \"opportunistic\"\n[[destination]]\nname = \"lis\"", 7, `would show the password to the network`},
		{"mail login without a password", "\n[[destination]]\nname = \"lis\"", "[smtp]\nhost = \"mail\"\nfrom = \"a@b.vn\"\nto = \"it@b.vn\"\nusername = \"a\"\n[[destination]]\nname = \"lis\"", 5, `username and password_file belong together`},
		{"webhook of no web", "\n[[destination]]\nname = \"lis\"", "[[webhook]]\nurl = \"ftp://x/\"\n[[destination]]\nname = \"lis\"", 2, `is not of the form https://host/path`},
		{"password in a URL", "\n[[destination]]\nname = \"lis\"", "[[webhook]]\nurl = \"https://a:b@x/\"\n[[destination]]\nname = \"lis\"", 2, `use token_file`},
		{"token over the network", "\n[[destination]]\nname = \"lis\"", "[[webhook]]\nurl = \"http://x/\"\ntoken_file = \"ward-display.pw\"\n[[destination]]\nname = \"lis\"", 2, `the token would be shown`},
		{"no token file", "\n[[destination]]\nname = \"lis\"", "[[webhook]]\nurl = \"https://x/\"\ntoken_file = \"t.pw\"\n[[destination]]\nname = \"lis\"", 3, `it is not there`},
		{"TLS without a certificate", "\n[[destination]]\nname = \"lis\"", "[dicom]\ntls_listen = \"127.0.0.1:2762\"\n[[destination]]\nname = \"lis\"", 2, `a server needs a certificate`},
		{"certificate that is not there", "\n[[destination]]\nname = \"lis\"", "[dicom]\ntls_certificate = \"no.pem\"\ntls_key = \"no.key\"\n[[destination]]\nname = \"lis\"", 2, `tls_certificate: `},
		{"certificate of a modality without TLS", "ae_title = \"CT1\"", "ae_title = \"CT1\"\ncertificate = \"ct-1\"", 19, `there is no [dicom] tls_listen`},
		{"TLS to a PACS that nothing vouches for", "called_ae_title = \"ORTHANC\"", "called_ae_title = \"ORTHANC\"\ntls = \"required\"", 11, `tls: the certificate of a server cannot be verified without the authorities`},
		{"TLS to a LIS with an authority that is not there", "kind = \"hl7\"", "kind = \"hl7\"\ntls = \"required\"\ntls_ca = \"no.pem\"", 5, `tls_certificate, tls_key and tls_ca cannot be used: `},
		{"silence", `to = ["lis"]`, "to = [\"lis\"]\nsilent = 12", 16, `a length of time such as "30s"`},
		{"ward in a topic", "\n[[destination]]\nname = \"lis\"", "[[monitor]]\nname = \"b\"\nunit = \"a/b\"\nprofile = \"nonin-ascii\"\nport = \"serial:///dev/ttyUSB0\"\n[[destination]]\nname = \"lis\"", 3, `unit "a/b"`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			text := strings.Replace(minimal, test.was, test.is, 1)
			if text == minimal {
				t.Fatal("the base does not have what is to be replaced")
			}
			_, problems := load(t, text, testEnv)
			if Good(problems) {
				t.Fatalf("accepted: %v", problems)
			}
			for _, p := range problems {
				if p.Line == test.line && strings.Contains(p.String(), test.say) {
					return
				}
			}
			t.Errorf("want line %d: … %s\ngot %v", test.line, test.say, problems)
		})
	}
}

func TestAllProblemsAreToldAtOnce(t *testing.T) {
	text := strings.NewReplacer(`"CT1"`, `""`, `["lis"]`, `["lsi", 7]`, `"hl7"`, `"fhir"`, `address = ["127`, `adress = ["127`).Replace(minimal)
	_, problems := load(t, text, testEnv)
	var got []string
	for _, p := range problems {
		if !p.Warning {
			got = append(got, p.Where+": "+p.Text)
		}
	}
	want := []string{
		`destination "lis": kind is "fhir"; it may be "hl7" or "dicom"`,
		`analyser "xn-1": to: it must be one text in quotes, not 7`,
		`modality "ct-1": the key "address" is missing`,
		`modality "ct-1": ae_title is empty`,
		`modality "ct-1": unknown key "adress": did you mean "address"?`,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestListenerMayLeaveLoopbackForANamedPeer(t *testing.T) {
	text := "[dicom]\nlisten = [\"127.0.0.1:11112\", \"192.168.1.5:104\"]\n" + minimal
	if _, problems := load(t, text, testEnv); len(problems) != 0 {
		t.Error(problems)
	}
}

func TestListenerCanBeSwitchedOff(t *testing.T) {
	c, problems := load(t, "[mqtt]\nlisten = []\n"+minimal, testEnv)
	if len(problems) != 0 || len(c.MQTT.Listen) != 0 {
		t.Errorf("listens on %v, %v", c.MQTT.Listen, problems)
	}
}

func TestFileFromNotepadIsRead(t *testing.T) {
	c, problems := load(t, "\uFEFF"+strings.ReplaceAll(minimal, "\n", "\r\n"), testEnv)
	if len(problems) != 0 || len(c.Analysers) != 1 {
		t.Error(problems)
	}
}

func TestPortParserIsAsked(t *testing.T) {
	env := testEnv
	env.ParsePort = func(u string) error { return &net.AddrError{Err: "no such parity", Addr: u} }
	_, problems := load(t, minimal, env)
	if Good(problems) || !strings.Contains(problems[0].String(), "no such parity") || problems[0].Line != 14 {
		t.Error(problems)
	}
}

func TestDestinationWithWaitingMessagesCannotBeRemoved(t *testing.T) {
	env := testEnv
	env.Queues = func() map[string]int { return map[string]int{"lis": 3, "old-lis": 12, "empty": 0} }
	_, problems := load(t, minimal, env)
	if len(problems) != 1 || problems[0].Warning || !strings.Contains(problems[0].Text, `"old-lis" is gone from the file, and 12 messages wait`) {
		t.Error(problems)
	}
}

func TestPasswordThatOthersMayChangeIsRefused(t *testing.T) {
	dir := t.TempDir()
	pw, file := filepath.Join(dir, "w.pw"), filepath.Join(dir, "site.toml")
	text := "[[mqtt_user]]\nname = \"w\"\npassword_file = \"w.pw\"\nsubscribe = [\"v1/#\"]\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for mode, good := range map[os.FileMode]bool{0o600: true, 0o400: true, 0o644: true, 0o666: false} {
		os.Remove(pw)
		os.WriteFile(pw, []byte("x\n"), 0o600)
		os.Chmod(pw, mode)
		_, problems := Load(file, testEnv)
		if Good(problems) != good {
			t.Errorf("%o: %v", mode, problems)
		}
		if mode == 0o644 && len(problems) != 1 {
			t.Errorf("%o: no note: %v", mode, problems)
		}
	}
	os.Chmod(pw, 0o600)
	os.WriteFile(pw, []byte("\n"), 0o600)
	if _, problems := Load(file, testEnv); Good(problems) {
		t.Error("an empty password is accepted")
	}
}

func TestMissingFileIsSaidInWords(t *testing.T) {
	_, problems := Load(filepath.Join(t.TempDir(), "no.toml"), testEnv)
	if len(problems) != 1 || !strings.Contains(problems[0].String(), "no.toml: cannot be read: it is not there") {
		t.Error(problems)
	}
}

func TestProbeSeesATakenPortAndAMissingDevice(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	text := "[console]\nlisten=\"127.0.0.1:0\"\n[dicom]\nlisten=[]\n[mqtt]\nlisten=[]\n[hl7]\nlisten = \"" + taken.Addr().String() + "\"\n" +
		strings.Replace(minimal, "tcp-listen://127.0.0.1:4001", "serial:///dev/nhip-no-such-device?baud=9600", 1)
	c, problems := load(t, text, testEnv)
	if !Good(problems) {
		t.Fatal(problems)
	}
	problems = c.Probe()
	if len(problems) != 2 || problems[0].Line != 8 || !strings.Contains(problems[0].Text, "another program") ||
		!strings.Contains(problems[1].Text, "/dev/nhip-no-such-device: it is not there") {
		t.Error(problems)
	}
	taken.Close()
	if problems := c.Probe(); len(problems) != 1 {
		t.Error(problems)
	}
}

func TestAddressesOfPeers(t *testing.T) {
	c, problems := load(t, minimal, testEnv)
	if len(problems) != 0 {
		t.Fatal(problems)
	}
	for address, want := range map[string]bool{"127.0.0.1": true, "::ffff:127.0.0.1": true, "10.1.255.1": true, "10.2.0.1": false, "::1": false} {
		if got := Contains(c.Modalities[0].Address, netip.MustParseAddr(address)); got != want {
			t.Errorf("%s: %v", address, got)
		}
	}
}

func TestLocationOfADevice(t *testing.T) {
	c, _ := load(t, strings.Replace(minimal, `to = ["lis"]`, "to = [\"lis\"]\ntime_zone = \"UTC\"", 1), testEnv)
	if got := c.Location(c.Analysers[0].TimeZone); got != time.UTC && got.String() != "UTC" {
		t.Error(got)
	}
	if got := c.Location(nil).String(); got != "Asia/Ho_Chi_Minh" {
		t.Error(got)
	}
}

func TestAdmissionAdmitsTheStranger(t *testing.T) {
	const hostile = "A\"]\n[site]\nid=\"x\u202e\\"
	for _, s := range []Stranger{
		{Kind: "dicom", Address: "10.0.0.7", CallingAE: "MR 2", CalledAE: "NHIP", CalledIsOurs: true},
		{Kind: "hl7", Address: "10.0.0.8", Application: "HIS", Facility: "BV"},
		{Kind: "mqtt", User: "ward-display"},
		{Kind: "hl7", Address: "10.0.0.8", Application: "Bệnh án", Facility: ""},
	} {
		c, problems := load(t, minimal+Admission(s), testEnv)
		if !Good(problems) {
			t.Errorf("%+v: %v\n%s", s, problems, Admission(s))
			continue
		}
		if len(c.Modalities)+len(c.HL7Peers)+len(c.MQTTUsers) != 2 {
			t.Errorf("%+v: not admitted by\n%s", s, Admission(s))
		}
	}
	for _, s := range []Stranger{
		{Kind: "dicom", Address: "10.0.0.7", CallingAE: hostile, CalledIsOurs: true},
		{Kind: "dicom", Address: "10.0.0.7", CallingAE: "X", CalledAE: hostile},
		{Kind: "analyser", Address: "10.0.0.9", Device: hostile},
		{Kind: "hl7", Address: "10.0.0.8", Application: hostile, Facility: "\xff"},
		{Kind: "mqtt", User: hostile},
	} {
		text := Admission(s)
		c, _ := parse([]byte(text), "site.toml")
		if c == nil || c.Site.ID != "nhip" {
			t.Errorf("%+v breaks out of its text:\n%s", s, text)
		}
		for _, r := range text {
			if r != '\n' && (r < ' ' || r > '~') {
				t.Errorf("%+v: %U stands in the lines", s, r)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(string(Sample))
	f.Add(minimal)
	f.Add("analyser = 1\nsite = []\n[[console]]\n")
	f.Add("analyser = [1, {name = 2}]\ndestination = [[{}]]\n")
	f.Add("[site]\n\"a.b[0]\" = 1\nx.y.z = { a = [ { b = 1 } ] }\n")
	f.Fuzz(func(t *testing.T, text string) {
		c, problems := parse([]byte(text), "")
		if c == nil && len(problems) == 0 {
			t.Fatal("neither a configuration nor a problem")
		}
		if c != nil {
			problems = append(problems, c.Check(testEnv)...)
		}
		for _, p := range problems {
			if p.Text == "" || p.Line < 0 || utf8.ValidString(text) && !utf8.ValidString(p.String()) {
				t.Errorf("%+v", p)
			}
		}
	})
}
