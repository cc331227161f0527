package port

import (
	"fmt"
	"net"
	"net/url"
	"path"
	"strconv"
	"strings"
)

// An Address says where a device is plugged in. It is made by Parse.
type Address struct {
	scheme string // one of schemes
	host   string // HOST:PORT
	folder string // of result files
	match  string // the pattern of their names
	serial serialMode
	text   string // as it was given
}

// serialMode is the setting of a serial line.
type serialMode struct {
	device string
	baud   int
	data   int    // 5 to 8
	parity string // none, odd, even, mark, space
	stop   int    // 1 or 2
	flow   string // none, rtscts, xonxoff
}

const schemes = "tcp-listen, tcp-dial, mllp-listen, mllp-dial, serial, file"

// Parse reads an address:
//
//	tcp-listen://HOST:PORT    we listen (port 0: any free one), the device connects
//	tcp-dial://HOST:PORT      the device listens, we connect
//	mllp-listen://, mllp-dial://  the same, and HL7 in MLLP is spoken there
//	serial:///dev/ttyUSB0?baud=9600&data=8&parity=none&stop=1&flow=none
//	file:///FOLDER?match=*.csv   result files are put into a folder (Windows: file:///C:/FOLDER)
//
// The settings of a serial line have these defaults; parity is none, odd, even, mark
// or space, flow is none, rtscts or xonxoff. On Windows: serial:///COM3. The error
// says in words what is wrong.
func Parse(text string) (Address, error) {
	a, err := parse(text)
	if err != nil {
		return Address{}, fmt.Errorf("port %q: %w", text, err)
	}
	return a, nil
}

func parse(text string) (Address, error) {
	u, err := url.Parse(text)
	if err != nil {
		return Address{}, fmt.Errorf("is not an address: %w", unwrapURL(err))
	}
	if u.User != nil || u.Fragment != "" {
		return Address{}, fmt.Errorf("must not have a user or a fragment")
	}
	a := Address{scheme: u.Scheme, text: text}
	switch u.Scheme {
	case "tcp-listen", "mllp-listen":
		a.host, err = hostPort(u, 0)
	case "tcp-dial", "mllp-dial":
		a.host, err = hostPort(u, 1)
	case "serial":
		a.serial, err = parseSerial(u)
	case "file":
		a.folder, a.match, err = parseFolder(u)
	case "":
		err = fmt.Errorf("has no scheme; one of %s is needed", schemes)
	default:
		err = fmt.Errorf("scheme %q is not known; it is one of %s", u.Scheme, schemes)
	}
	return a, err
}

func unwrapURL(err error) error {
	if e, ok := err.(*url.Error); ok {
		return e.Err
	}
	return err
}

func hostPort(u *url.URL, lowest uint64) (string, error) {
	if strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		return "", fmt.Errorf("has something after HOST:PORT")
	}
	host, number, err := net.SplitHostPort(u.Host)
	if err != nil {
		return "", fmt.Errorf("needs HOST:PORT after %s://", u.Scheme)
	}
	if host == "" {
		return "", fmt.Errorf("has no host; 0.0.0.0 would be every interface")
	}
	n, err := strconv.ParseUint(number, 10, 16)
	if err != nil || n < lowest {
		return "", fmt.Errorf("has port %q; it is a number from %d to 65535", number, lowest)
	}
	return u.Host, nil
}

func parseSerial(u *url.URL) (serialMode, error) {
	m := serialMode{device: u.Path, baud: 9600, data: 8, parity: "none", stop: 1, flow: "none"}
	if u.Host != "" {
		return m, fmt.Errorf("needs three slashes before the device: serial:///dev/ttyUSB0")
	}
	if name, ok := strings.CutPrefix(m.device, "/COM"); ok && !strings.Contains(name, "/") {
		m.device = "COM" + name
	}
	if strings.Trim(m.device, "/") == "" {
		return m, fmt.Errorf("names no device")
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return m, fmt.Errorf("has settings that cannot be read: %w", err)
	}
	for key, values := range query {
		if len(values) > 1 {
			return m, fmt.Errorf("has %s twice", key)
		}
		switch key {
		case "baud":
			m.baud, err = between(key, values[0], 50, 4_000_000)
		case "data":
			m.data, err = between(key, values[0], 5, 8)
		case "stop":
			m.stop, err = between(key, values[0], 1, 2)
		case "parity":
			m.parity, err = oneOf(key, values[0], "none", "odd", "even", "mark", "space")
		case "flow":
			m.flow, err = oneOf(key, values[0], "none", "rtscts", "xonxoff")
		default:
			err = fmt.Errorf("has the unknown setting %q; known are baud, data, parity, stop, flow", key)
		}
		if err != nil {
			return m, err
		}
	}
	return m, nil
}

func parseFolder(u *url.URL) (folder, match string, err error) {
	if u.Host != "" || strings.Trim(u.Path, "/") == "" {
		return "", "", fmt.Errorf("needs three slashes and a folder: file:///FOLDER")
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return "", "", fmt.Errorf("has settings that cannot be read: %w", err)
	}
	for key, values := range query {
		if key != "match" || len(values) > 1 {
			return "", "", fmt.Errorf("has the unknown setting %q; known is match, once", key)
		}
		match = values[0]
		if _, err := path.Match(match, "x"); err != nil {
			return "", "", fmt.Errorf("has match=%s, which is no pattern of file names", match)
		}
	}
	folder = u.Path
	if len(folder) > 2 && folder[2] == ':' { // /C:/FOLDER
		folder = folder[1:]
	}
	return folder, match, nil
}

func between(key, value string, low, high int) (int, error) {
	n, err := strconv.Atoi(value)
	if err != nil || n < low || n > high {
		return 0, fmt.Errorf("has %s=%s; it is a number from %d to %d", key, value, low, high)
	}
	return n, nil
}

func oneOf(key, value string, allowed ...string) (string, error) {
	for _, a := range allowed {
		if value == a {
			return a, nil
		}
	}
	return "", fmt.Errorf("has %s=%s; it is one of %s", key, value, strings.Join(allowed, ", "))
}

// String is the address as it was given.
func (a Address) String() string { return a.text }

// MLLP: HL7 in MLLP is spoken there.
func (a Address) MLLP() bool { return strings.HasPrefix(a.scheme, "mllp-") }

// Serial: it is a serial port.
func (a Address) Serial() bool { return a.scheme == "serial" }

// Listens: the device connects to us.
func (a Address) Listens() bool { return strings.HasSuffix(a.scheme, "-listen") }

// Device is the serial device, empty for TCP.
func (a Address) Device() string { return a.serial.device }

// Folder is the folder of result files, empty for all other addresses; Match the
// pattern of their names, empty for all.
func (a Address) Folder() string { return a.folder }

// Match is the pattern of the names of result files.
func (a Address) Match() string { return a.match }

// HostPort is the TCP address, empty for a serial port.
func (a Address) HostPort() string { return a.host }
