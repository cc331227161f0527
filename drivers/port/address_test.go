package port

import (
	"strings"
	"testing"
)

func TestAddressesAreRead(t *testing.T) {
	for text, want := range map[string]Address{
		"tcp-listen://127.0.0.1:4001":  {scheme: "tcp-listen", host: "127.0.0.1:4001"},
		"tcp-listen://[::1]:0":         {scheme: "tcp-listen", host: "[::1]:0"},
		"tcp-dial://gem-3500:1182":     {scheme: "tcp-dial", host: "gem-3500:1182"},
		"mllp-listen://127.0.0.1:4101": {scheme: "mllp-listen", host: "127.0.0.1:4101"},
		"mllp-dial://10.0.0.5:54000":   {scheme: "mllp-dial", host: "10.0.0.5:54000"},
		"serial:///dev/ttyUSB0":        {scheme: "serial", serial: serialMode{"/dev/ttyUSB0", 9600, 8, "none", 1, "none"}},
		"serial:///dev/serial/by-id/usb-x?baud=31250&data=7&parity=even&stop=2&flow=rtscts": {scheme: "serial", serial: serialMode{"/dev/serial/by-id/usb-x", 31250, 7, "even", 2, "rtscts"}},
		"serial:///COM3?parity=space&flow=xonxoff":                                          {scheme: "serial", serial: serialMode{"COM3", 9600, 8, "space", 1, "xonxoff"}},
	} {
		got, err := Parse(text)
		want.text = text
		if err != nil || got != want {
			t.Errorf("Parse(%q) = %+v, %v", text, got, err)
		}
		if got.String() != text {
			t.Errorf("String is %q", got)
		}
	}
	a, _ := Parse("mllp-dial://h:1")
	if !a.MLLP() || a.Listens() || a.Serial() || a.HostPort() != "h:1" {
		t.Errorf("%+v", a)
	}
}

func TestWhatIsWrongWithAnAddressIsSaidInWords(t *testing.T) {
	for text, word := range map[string]string{
		"":                                       "no scheme",
		"127.0.0.1:4001":                         "is not an address",
		"tcp://127.0.0.1:1":                      `scheme "tcp" is not known`,
		"tcp-listen://127.0.0.1":                 "needs HOST:PORT",
		"tcp-listen://:4001":                     "has no host",
		"tcp-listen://127.0.0.1:65536":           "from 0 to 65535",
		"tcp-dial://127.0.0.1:0":                 "from 1 to 65535",
		"tcp-dial://127.0.0.1:1/x":               "after HOST:PORT",
		"tcp-dial://u@127.0.0.1:1":               "must not have a user",
		"serial://dev/ttyUSB0":                   "three slashes",
		"serial:///":                             "names no device",
		"serial:///dev/ttyS0?baud=fast":          "baud=fast; it is a number from 50",
		"serial:///dev/ttyS0?baud=9600&baud=1":   "baud twice",
		"serial:///dev/ttyS0?data=9":             "from 5 to 8",
		"serial:///dev/ttyS0?stop=1.5":           "from 1 to 2",
		"serial:///dev/ttyS0?parity=N":           "one of none, odd, even",
		"serial:///dev/ttyS0?flow=hard":          "one of none, rtscts",
		"serial:///dev/ttyS0?speed=9600":         `unknown setting "speed"`,
		"serial:///dev/ttyS0?baud=9600;parity=n": "cannot be read",
	} {
		_, err := Parse(text)
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("Parse(%q): %v; want the words %q", text, err, word)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("tcp-listen://127.0.0.1:4001")
	f.Add("serial:///dev/ttyUSB0?baud=9600&data=8&parity=none&stop=1")
	f.Fuzz(func(t *testing.T, s string) {
		a, err := Parse(s)
		if err == nil && a.Serial() == (a.Device() == "") {
			t.Errorf("%q: %+v", s, a)
		}
	})
}
