package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"syscall"
)

// Probe tries what the check of the text cannot see: whether the ports are
// free, the serial devices there and the data folder usable. Only while no
// gateway runs with this configuration: it would have the ports.
func (c *Config) Probe() []Problem {
	k := &checker{Config: c}
	for block, addresses := range map[string][]string{
		"console": c.Console.Listen, "dicom": c.DICOM.Listen, "hl7": c.HL7.Listen, "mqtt": c.MQTT.Listen,
	} {
		for _, a := range addresses {
			k.probeListen(block+".listen", "["+block+"]", a)
		}
	}
	for _, a := range c.DICOM.TLSListen {
		k.probeListen("dicom.tls_listen", "[dicom]", a)
	}
	for key, addresses := range map[string][]string{
		"hl7.tls_listen": c.HL7.TLSListen, "hl7.http_listen": c.HL7.HTTPListen, "hl7.https_listen": c.HL7.HTTPSListen,
	} {
		for _, a := range addresses {
			k.probeListen(key, "[hl7]", a)
		}
	}
	for i, a := range c.Analysers {
		k.probePort(fmt.Sprintf("analyser[%d].port", i), label("analyser", a.Name, i), a.Port)
	}
	for i, m := range c.Monitors {
		k.probePort(fmt.Sprintf("monitor[%d].port", i), label("monitor", m.Name, i), m.Port)
	}
	k.probeData()
	for i := range k.problems {
		k.problems[i].File = c.File
	}
	sortByLine(k.problems)
	return k.problems
}

func (k *checker) probeListen(key, where, address string) {
	l, err := net.Listen("tcp", address)
	if err == nil {
		l.Close()
		return
	}
	text := err.Error() // the others are in phrases
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		text = "another program on this machine has this port"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		text = "this machine does not have this address"
	case errors.Is(err, fs.ErrPermission):
		text = "this user may not listen on this port (those below 1024 need a privilege)"
	}
	k.wrong(key, where, "cannot listen on %s: %s", address, text)
}

func (k *checker) probePort(key, where, raw string) {
	u, err := url.Parse(raw)
	if err != nil {
		return // Check has said so
	}
	switch u.Scheme {
	case "tcp-listen", "mllp-listen":
		k.probeListen(key, where, u.Host)
	case "serial":
		k.probeDevice(key, where, u.Path)
	}
}

func (k *checker) probeDevice(key, where, name string) {
	info, err := os.Stat(name)
	switch {
	case err != nil:
		k.wrong(key, where, "port: %s: %s (is the adapter plugged in?)", name, unusable(err))
	case info.Mode()&fs.ModeCharDevice == 0:
		k.wrong(key, where, "port: %s is not a serial device", name)
	}
}

func (k *checker) probeData() {
	info, err := os.Stat(k.Site.Data)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		k.wrong("site.data", "[site]", "data: %s: %s", k.Site.Data, unusable(err))
	case !info.IsDir():
		k.wrong("site.data", "[site]", "data: %s is not a folder", k.Site.Data)
	}
}
