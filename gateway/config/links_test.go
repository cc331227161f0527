package config

import (
	"strings"
	"testing"
	"time"
)

// A HIS at line 7, a LIS at line 11.
const linked = `[site]
id = "a"
[hl7]
listen = "127.0.0.1:0"

# systems
[[hl7_peer]]
name = "his"
address = "10.0.0.1"
to = ["lis"]
[[destination]]
name = "lis"
kind = "hl7"
address = "10.0.0.2:2575"
`

func TestEachMistakeOfALinkIsToldInWordsWithItsLine(t *testing.T) {
	for _, test := range []struct {
		name, was, is string
		line          int
		say           string
	}{
		{"TLS without a certificate", "[hl7]", "[hl7]\ntls_listen = \"127.0.0.1:0\"", 4, "needs tls_certificate and tls_key"},
		{"TLS that nothing vouches for", "[hl7]", "[hl7]\nhttps_listen = \"127.0.0.1:0\"\ntls_certificate = \"a\"\ntls_key = \"b\"", 3, `needs tls_ca`},
		{"TLS files that are not there", "[hl7]", "[hl7]\ntls_clients = \"none\"\nhttps_listen = \"127.0.0.1:0\"\ntls_certificate = \"a\"\ntls_key = \"b\"", 6, `tls_certificate, tls_key and tls_ca cannot be used: certificate: `},
		{"unknown acknowledgement", `name = "his"`, "name = \"his\"\nacknowledge = \"sometimes\"", 9, `it may be "message" or "original"`},
		{"character set", `name = "his"`, "name = \"his\"\ncharset = \"KLINGON\"", 9, `no message can be read in "KLINGON"`},
		{"default character set", `name = "his"`, "name = \"his\"\ncharset_default = [\"TCVN3\", \"UTF-16\"]", 9, `no message can be read in "UTF-16"`},
		{"release of MLLP", `name = "his"`, "name = \"his\"\nmllp = 3", 9, `mllp must be from 1 to 2`},
		{"releases of one address", `name = "his"`, "name = \"his\"\nmllp = 2\naddress = \"10.0.0.0/24\"\napplication = \"X\"\n[[hl7_peer]]\nname = \"ris\"", 12, `comes from the same address with another release`},
		{"certificate that nobody asks for", `name = "his"`, "name = \"his\"\ncertificate = \"his\"", 9, `no listener of [hl7] asks for one`},
		{"answers to nobody", `name = "his"`, "name = \"his\"\nanswer_to = \"ris\"", 9, `answer_to: there is no [[destination]] with name = "ris"`},
		{"acknowledgements for the original mode", `name = "his"`, "name = \"his\"\nacknowledges = [\"lis\"]", 9, `destination "lis" is not one with mode = "enhanced"`},
		{"time to complete", `name = "his"`, "name = \"his\"\ncomplete = \"5ms\"", 9, `complete must be "1s" or longer`},
		{"message size of a link", `name = "his"`, "name = \"his\"\nmax_message = 1000", 9, `max_message must be from`},
		{"folder in the data", `name = "his"`, "name = \"his\"\nfolder = \"data/in\"", 9, `folder lies in the data folder`},
		{"numbers over two connections", `kind = "hl7"`, "kind = \"hl7\"\nsequence = true\nconnections = 2", 14, `numbers need one connection`},
		{"user without a URL", `kind = "hl7"`, "kind = \"hl7\"\nuser = \"a\"", 14, `for an address that is a URL`},
		{"URL without a host", `"10.0.0.2:2575"`, `"http:///hl7"`, 14, `is not of the form https://host/path`},
		{"password over the network", `"10.0.0.2:2575"`, "\"http://lis/hl7\"\nuser = \"a\"", 15, `the password would be shown`},
		{"TLS over HTTP", `"10.0.0.2:2575"`, "\"http://lis/hl7\"\ntls = \"required\"", 15, `write https`},
		{"itself by HTTP", `[hl7]`, "[hl7]\nhttp_listen = \"127.0.0.1:8099\"\n[[destination]]\nname = \"me\"\nkind = \"hl7\"\naddress = \"http://127.0.0.1:8099/\"\n[hl7_]", 8, `is this gateway itself`},
		{"mode", `kind = "hl7"`, "kind = \"hl7\"\nmode = \"both\"", 14, `it may be "original" or "enhanced"`},
		{"mode of a PACS", `kind = "hl7"`, "kind = \"dicom\"\ncalled_ae_title = \"X\"\nmode = \"original\"", 15, `mode has no meaning for kind "dicom"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			text := strings.Replace(linked, test.was, test.is, 1)
			if text == linked {
				t.Fatal("the base does not have what is to be replaced")
			}
			_, problems := load(t, text, testEnv)
			for _, p := range problems {
				if p.Line == test.line && !p.Warning && strings.Contains(p.String(), test.say) {
					return
				}
			}
			t.Errorf("no %q at line %d in %v", test.say, test.line, problems)
		})
	}
}

func TestALinkTakesFromHL7WhatItDoesNotSay(t *testing.T) {
	c, problems := load(t, strings.Replace(strings.Replace(linked, "[hl7]", "[hl7]\nidle = \"5m\"\nmax_segments = 500", 1), `name = "his"`, "name = \"his\"\nidle = \"1m\"\nmax_message = \"1 MiB\"", 1), testEnv)
	if !Good(problems) {
		t.Fatal(problems)
	}
	p := c.HL7Peers[0]
	if p.Idle != time.Minute || p.MaxMessage != 1<<20 || p.MaxSegments != 500 || p.Complete != time.Minute || p.MaxConnections != 256 {
		t.Errorf("%+v", p)
	}
	if d := c.Destinations[0]; d.Mode != ModeOriginal || d.ProcessTimeout != time.Hour || d.HTTP() || d.Host() != "10.0.0.2" {
		t.Errorf("%+v", d)
	}
}
