package scenario

import (
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// demoSite is the configuration of the demonstration; NAME@ is a free address.
const demoSite = `# A gateway for a simulated hospital, written by "hwsim config".
# nhip run --config FILE, then hwsim hospital --config FILE --scenario demo
[site]
id = "demo"
name = "Bệnh viện mô phỏng"
time_zone = "Asia/Ho_Chi_Minh"
data = "DATA"

[console]
listen = "CONSOLE@"
[dicom]
listen = "DICOM@"
ae_title = "NHIP"
[hl7]
listen = "HL7@"
[mqtt]
listen = "MQTT@"

[[hl7_peer]]                     # orders for the analysers that take them
name = "his"
address = "127.0.0.1"
application = "HIS"

[[analyser]]                     # connects to the gateway
name = "xn-1"
profile = "sysmex-xn-l"
port = "tcp-listen://XN@"
to = ["lis"]

[[analyser]]                     # asks for its orders; what has none goes on, marked
name = "xn-2"
profile = "sysmex-xn-l"
port = "tcp-listen://XN2@"
orders = "warn"
sections = ["HM"]
to = ["lis"]

[[analyser]]                     # asks by HL7; what has no order is held
name = "bs-1"
profile = "mindray-bs"
port = "mllp-listen://BS@"
orders = "required"
sections = ["CH"]
to = ["lis"]

[[analyser]]                     # is sent its orders, and told of cancels
name = "gen-1"
profile = "generic-astm"
port = "tcp-listen://GEN@"
orders = "required"
send = "download"
sections = ["GE"]
to = ["lis"]

[[analyser]]
name = "e411-1"
profile = "roche-cobas-e411"
port = "tcp-listen://E411@"
to = ["lis"]

[[analyser]]                     # the gateway connects to it
name = "erba-1"
profile = "erba-xl"
port = "tcp-dial://ERBA@"
to = ["lis"]

[[analyser]]                     # speaks HL7
name = "bc-1"
profile = "mindray-bc-5380"
port = "mllp-listen://BC@"
to = ["lis"]

[[order_code]]                   # what the HIS calls a blood count
analyser = "xn-2"
order = "CTM"
tests = ["WBC", "RBC", "HGB", "PLT"]

[[order_code]]
analyser = "xn-2"
order = "HCT"
tests = ["HCT"]

[[modality]]
name = "ct-1"
ae_title = "CT1"
address = "127.0.0.1"
to = ["pacs"]

[[modality]]
name = "mr-1"
ae_title = "MR1"
address = "127.0.0.1"
to = ["pacs"]

[[monitor]]
name = "bed-12"
unit = "icu"
profile = "hl7-pcd01"
port = "mllp-listen://BED@"
class = "record"

[[monitor]]
name = "oximeter-1"
unit = "icu"
profile = "masimo-ascii1"
port = "OXIMETER"
class = "live"

[[mqtt_user]]
name = "ward-display"
password_file = "ward-display.pw"
subscribe = ["v1/#"]

[[destination]]
name = "lis"
kind = "hl7"
address = "LIS@"

[[destination]]
name = "pacs"
kind = "dicom"
address = "PACS@"
called_ae_title = "SIMPACS"
`

// WriteConfig writes the demonstration's gateway configuration to file, with
// ports that are free now, and the MQTT user's password beside it. data is the
// gateway's data folder, "" for one beside the file. With serial the oximeter
// is on a pseudo terminal, which is there only while the hospital is played; a
// gateway that starts before says that the device is absent, and finds it.
func WriteConfig(file, data string, serial bool) error {
	folder, err := filepath.Abs(filepath.Dir(file))
	if err != nil {
		return err
	}
	if data == "" {
		data = filepath.Join(folder, "data")
	} else if data, err = filepath.Abs(data); err != nil {
		return err
	}
	oximeter := "tcp-listen://OXI@"
	if serial {
		if runtime.GOOS != "linux" {
			return fmt.Errorf("pseudo terminals are used on Linux only")
		}
		oximeter = "serial://" + filepath.ToSlash(filepath.Join(folder, "oximeter")) + "?baud=9600"
	}
	text := strings.NewReplacer("DATA", filepath.ToSlash(data), "OXIMETER", oximeter).Replace(demoSite)
	if err := os.WriteFile(filepath.Join(folder, "ward-display.pw"), []byte(rand.Text()+"\n"), 0o600); err != nil {
		return err
	}
	return addressed(file, text)
}

// WriteLaboratory writes the gateway configuration of the laboratory that works both
// ways to file, with ports that are free now. data is as for WriteConfig. The serial
// lines are pseudo terminals beside the file while the hospital is played (Linux).
func WriteLaboratory(file, data string) error {
	folder, err := filepath.Abs(filepath.Dir(file))
	if err != nil {
		return err
	}
	if data == "" {
		data = filepath.Join(folder, "data")
	} else if data, err = filepath.Abs(data); err != nil {
		return err
	}
	if runtime.GOOS != "linux" {
		return errors.New("pseudo terminals are used on Linux only")
	}
	return addressed(file, strings.NewReplacer("DATA", filepath.ToSlash(data), "TTY-", filepath.ToSlash(folder)+"/tty-").Replace(labSite))
}

// addressed writes a configuration with a free address for each NAME@. The ports are
// below those of outgoing connections, one of which could take them in between.
func addressed(file, text string) error {
	var free []net.Listener // held until all are chosen, so that they differ
	defer func() {
		for _, l := range free {
			l.Close()
		}
	}()
	for tries := 0; ; tries++ {
		at := strings.Index(text, "@")
		if at < 0 {
			break
		}
		start := strings.LastIndexAny(text[:at], `/"`) + 1
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10000+mathrand.IntN(22000)))
		if err != nil {
			if tries > 1000 {
				return err
			}
			continue
		}
		free = append(free, l)
		text = text[:start] + l.Addr().String() + text[at+1:]
	}
	return os.WriteFile(file, []byte(text), 0o600)
}
