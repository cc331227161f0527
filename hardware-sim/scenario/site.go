// Package scenario plays a whole simulated hospital around a running gateway:
// it reads the gateway's own configuration to know which peers to play, and a
// scenario file (TOML) that says how fast, and what goes wrong when.
package scenario

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // a spare PC may have no time zone data

	"github.com/pelletier/go-toml/v2"
)

// A Site is what a simulated hospital needs of the gateway's configuration. Keys
// that it does not need are passed over; the gateway checks them.
type Site struct {
	Identity struct {
		ID       string `json:"id"`
		TimeZone string `json:"time_zone"`
	} `json:"site"`
	Console struct {
		Listen addresses `json:"listen"`
	} `json:"console"`
	DICOM struct {
		Listen  addresses `json:"listen"`
		AETitle string    `json:"ae_title"`
	} `json:"dicom"`
	MQTT struct {
		Listen addresses `json:"listen"`
	} `json:"mqtt"`
	Analysers []struct {
		Name     string   `json:"name"`
		Profile  string   `json:"profile"`
		Port     string   `json:"port"`
		State    string   `json:"state"`
		TimeZone string   `json:"time_zone"`
		To       []string `json:"to"`
		Orders   string   `json:"orders"`
		Send     string   `json:"send"`
		Sections []string `json:"sections"`
		Window   string   `json:"order_window"`
	} `json:"analyser"`
	OrderCodes []struct {
		Analyser string   `json:"analyser"`
		Order    string   `json:"order"`
		Tests    []string `json:"tests"`
	} `json:"order_code"`
	HL7 struct {
		Listen addresses `json:"listen"`
	} `json:"hl7"`
	HL7Peers []struct {
		Name        string   `json:"name"`
		Application string   `json:"application"`
		Specimen    []string `json:"order_specimen"`
	} `json:"hl7_peer"`
	Modalities []struct {
		Name    string   `json:"name"`
		AETitle string   `json:"ae_title"`
		To      []string `json:"to"`
	} `json:"modality"`
	Monitors []struct {
		Name     string `json:"name"`
		Profile  string `json:"profile"`
		Port     string `json:"port"`
		TimeZone string `json:"time_zone"`
	} `json:"monitor"`
	MQTTUsers []struct {
		Name         string   `json:"name"`
		PasswordFile string   `json:"password_file"`
		Subscribe    []string `json:"subscribe"`
	} `json:"mqtt_user"`
	Destinations []struct {
		Name          string `json:"name"`
		Kind          string `json:"kind"`
		Address       string `json:"address"`
		CalledAETitle string `json:"called_ae_title"`
	} `json:"destination"`

	folder string
	status string // URL of the gateway's status; "" where there is no console
}

// addresses is one address or a list of them.
type addresses []string

// UnmarshalJSON takes either.
func (a *addresses) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*a = addresses{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(a))
}

func (a addresses) first() string {
	if len(a) == 0 {
		return ""
	}
	return a[0]
}

// LoadSite reads the gateway's configuration file. status is the URL of its
// status page, "" for that of [console].
func LoadSite(file, status string) (*Site, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	s := &Site{folder: filepath.Dir(file)}
	s.Console.Listen, s.DICOM.Listen, s.MQTT.Listen = addresses{"127.0.0.1:8080"}, addresses{"127.0.0.1:11112"}, addresses{"127.0.0.1:1883"}
	s.HL7.Listen = addresses{"127.0.0.1:2575"}
	s.DICOM.AETitle, s.Identity.ID, s.Identity.TimeZone = "NHIP", "nhip", "Asia/Ho_Chi_Minh"
	if err := decode(b, s); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	s.status = status
	if console := s.Console.Listen.first(); status == "" && console != "" {
		s.status = "http://" + reachable(console) + "/api/v1/status"
	}
	return s, nil
}

// decode decodes TOML by way of JSON, where a key may have either of two shapes.
func decode(b []byte, into any) error {
	var all map[string]any
	if err := toml.Unmarshal(b, &all); err != nil {
		return err
	}
	b, err := json.Marshal(all)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, into)
}

// zone is the zone of a device's clock.
func (s *Site) zone(device string) (*time.Location, error) {
	if device == "" {
		device = s.Identity.TimeZone
	}
	return time.LoadLocation(device)
}

// password is the first line of a user's password file.
func (s *Site) password(file string) (string, error) {
	if !filepath.IsAbs(file) {
		file = filepath.Join(s.folder, file)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return strings.TrimSuffix(line, "\r"), nil
}

// of keeps the destinations of that kind.
func (s *Site) of(kind string, names []string) []string {
	var kept []string
	for _, d := range s.Destinations {
		if d.Kind == kind && slices.Contains(names, d.Name) {
			kept = append(kept, d.Name)
		}
	}
	return kept
}

// reachable is where a listen address is reached from this machine.
func reachable(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return listen
	}
	if host == "" || host == "0.0.0.0" || host == "::" {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

// address returns where to reach the gateway's listener: as configured or, where
// that has port 0, as its status says. find looks the listener up there.
func (s *Site) address(configured string, find func(Listen) string) func() (string, error) {
	at := reachable(configured)
	if _, port, err := net.SplitHostPort(at); err == nil && port != "0" {
		return func() (string, error) { return at, nil }
	}
	return func() (string, error) {
		l, err := s.Listen()
		if err != nil {
			return "", err
		}
		found := find(l)
		if found == "" {
			return "", errors.New("the gateway does not listen there yet")
		}
		return reachable(found), nil
	}
}

// Listen is where the gateway really listens.
type Listen struct {
	DICOM    addresses         `json:"dicom"`
	HL7      addresses         `json:"hl7"`
	MQTT     addresses         `json:"mqtt"`
	Analyser map[string]string `json:"analyser"`
	Monitor  map[string]string `json:"monitor"`
}

var client = http.Client{Timeout: 5 * time.Second}

// Listen asks the gateway where it listens.
func (s *Site) Listen() (Listen, error) {
	status, err := s.ask()
	return status.Listen, err
}

// A status is what is asked of the gateway's.
type status struct {
	Listen Listen `json:"listen"`
	Counts struct {
		Held int `json:"held"` // messages that wait for a person
	} `json:"counts"`
}

func (s *Site) ask() (found status, err error) {
	if s.status == "" {
		return found, errors.New("no console to ask: give --status URL")
	}
	r, err := client.Get(s.status)
	if err != nil {
		return found, err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return found, fmt.Errorf("%s: %s", s.status, r.Status)
	}
	return found, json.NewDecoder(r.Body).Decode(&found)
}

// A port is a device's port as the gateway's configuration writes it.
type port struct {
	scheme string // tcp-listen, tcp-dial, mllp-listen, mllp-dial, serial
	at     string // host:port, or the path of a serial device
}

func parsePort(text string) (port, error) {
	u, err := url.Parse(text)
	if err != nil {
		return port{}, fmt.Errorf("port %q: %w", text, err)
	}
	switch u.Scheme {
	case "tcp-listen", "tcp-dial", "mllp-listen", "mllp-dial":
		return port{u.Scheme, u.Host}, nil
	case "serial":
		return port{u.Scheme, u.Path}, nil
	}
	return port{}, fmt.Errorf("port %q is of no kind that can be played", text)
}

// listens reports whether the gateway listens there, so that the peer connects.
func (p port) listens() bool { return strings.HasSuffix(p.scheme, "-listen") }
