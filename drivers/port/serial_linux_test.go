package port

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// pair opens a pseudo-terminal: the device's end and ours.
func pair(t *testing.T, settings string) (device *os.File, host Conn) {
	t.Helper()
	device, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	name := tty.Name()
	a, err := Parse("serial://" + name + settings)
	if err != nil {
		t.Fatal(err)
	}
	host, err = openSerial(a.serial)
	if err != nil {
		t.Fatal(err)
	}
	tty.Close()
	t.Cleanup(func() { device.Close(); host.Close() })
	return device, host
}

func TestSerialPortPassesEveryByteBothWays(t *testing.T) {
	device, host := pair(t, "")
	var all []byte
	for i := range 256 {
		all = append(all, byte(i))
	}
	for _, way := range []struct {
		from io.Writer
		to   io.Reader
	}{{device, host}, {host, device}} {
		if _, err := way.from.Write(all); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(all))
		if _, err := io.ReadFull(way.to, got); err != nil || !bytes.Equal(got, all) {
			t.Errorf("read %q, %v", got, err)
		}
	}
}

func TestSerialLineIsSet(t *testing.T) {
	for settings, want := range map[string]struct {
		cflag, iflag uint32
		baud         uint32
	}{
		"":                                 {unix.CS8, 0, 9600},
		"?baud=31250&data=7&parity=even":   {unix.CS7 | unix.PARENB, 0, 31250},
		"?data=7&parity=odd&stop=2":        {unix.CS7 | unix.PARENB | unix.PARODD | unix.CSTOPB, 0, 9600},
		"?flow=rtscts&baud=115200":         {unix.CS8 | unix.CRTSCTS, 0, 115200},
		"?flow=xonxoff&baud=1200":          {unix.CS8, unix.IXON | unix.IXOFF, 1200},
		"?parity=mark&baud=600":            {unix.CS8 | unix.PARENB | unix.PARODD | unix.CMSPAR, 0, 600},
		"?parity=space&data=5&baud=921600": {unix.CS5 | unix.PARENB | unix.CMSPAR, 0, 921600},
	} {
		// What is asked for; a pseudo-terminal keeps the size and the parity of its own.
		a, err := Parse("serial:///dev/x" + settings)
		if err != nil {
			t.Fatal(err)
		}
		var asked unix.Termios
		a.serial.apply(&asked)
		const line = unix.CSIZE | unix.PARENB | unix.PARODD | unix.CMSPAR | unix.CSTOPB | unix.CRTSCTS
		if asked.Cflag&line != want.cflag || asked.Iflag&(unix.IXON|unix.IXOFF) != want.iflag {
			t.Errorf("%s: cflag %o, iflag %o", settings, asked.Cflag, asked.Iflag)
		}
		if asked.Cflag&unix.BOTHER == 0 || asked.Ispeed != want.baud || asked.Ospeed != want.baud {
			t.Errorf("%s: %d baud", settings, asked.Ospeed)
		}
		_, host := pair(t, settings)
		host.(*serialConn).control(func(fd int) error {
			got, err := unix.IoctlGetTermios(fd, unix.TCGETS2)
			if err != nil {
				t.Fatal(err)
			}
			const kept = unix.CSTOPB | unix.CRTSCTS
			if got.Ospeed != want.baud || got.Cflag&kept != want.cflag&kept || got.Lflag&(unix.ECHO|unix.ICANON|unix.ISIG) != 0 || got.Oflag&unix.OPOST != 0 {
				t.Errorf("%s: the kernel has %+v", settings, got)
			}
			return nil
		})
	}
}

func TestSerialReadHasADeadline(t *testing.T) {
	_, host := pair(t, "")
	for range 2 {
		host.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		if n, err := host.Read(make([]byte, 1)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%d, %v", n, err)
		}
	}
}

// fill writes until the line takes no more.
func fill(host Conn) error {
	for {
		if _, err := host.Write(make([]byte, 4096)); err != nil {
			return err
		}
	}
}

func TestSerialWriteThatIsHeldHasADeadline(t *testing.T) {
	_, host := pair(t, "")
	host.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
	if err := fill(host); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
}

func TestCloseFreesBlockedReadAndWrite(t *testing.T) {
	_, host := pair(t, "")
	host.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
	fill(host) // the next write blocks
	host.SetWriteDeadline(time.Time{})
	freed := make(chan error, 2)
	entered := make(chan struct{}, 2)
	go func() { entered <- struct{}{}; _, err := host.Read(make([]byte, 1)); freed <- err }()
	go func() { entered <- struct{}{}; freed <- fill(host) }()
	<-entered
	<-entered
	host.Close()
	for range 2 {
		select {
		case err := <-freed:
			if !errors.Is(err, os.ErrClosed) {
				t.Error(err)
			}
		case <-time.After(patience):
			t.Fatal("still blocked")
		}
	}
}

func TestHangUpIsEndOfFile(t *testing.T) {
	device, host := pair(t, "")
	device.Write([]byte("last"))
	got := make([]byte, 4)
	io.ReadFull(host, got)
	device.Close()
	if n, err := host.Read(got); n != 0 || err != io.EOF {
		t.Errorf("%d, %v", n, err)
	}
}

func TestSecondOpenIsRefusedInWords(t *testing.T) {
	_, host := pair(t, "")
	p := start(t, "serial://"+host.Peer(), Options{}, echo)
	if s := p.await("failed"); s.Words != host.Peer()+" is in use by another program" {
		t.Errorf("%+v", s)
	}
	host.Close()
	p.await("connected")
}

func TestAbsentDeviceAndWrongDeviceAreSaidInWords(t *testing.T) {
	p := start(t, "serial:///dev/nhip-not-there", Options{}, echo)
	if s := p.await("absent"); s.Words != "/dev/nhip-not-there is not there; it is opened when it is plugged in" {
		t.Errorf("%+v", s)
	}
	p = start(t, "serial:///dev/null", Options{}, echo)
	if s := p.await("failed"); s.Words == "" {
		t.Errorf("%+v", s)
	}
}

// socat plugs a pair of ptys in: the links device and host in dir.
func socat(t *testing.T, dir string) (unplug func()) {
	t.Helper()
	cmd := exec.Command("socat",
		"pty,rawer,link="+filepath.Join(dir, "device"), "pty,rawer,link="+filepath.Join(dir, "host"))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	unplugged := false
	unplug = func() {
		if !unplugged {
			unplugged = true
			cmd.Process.Kill()
			cmd.Wait()
		}
	}
	t.Cleanup(unplug)
	return unplug
}

func needSocat(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("socat"); err == nil {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("socat is missing: install the package socat")
	}
	t.Skip("socat is not installed")
}

func TestUSBAdapterIsPulledOutAndComesBack(t *testing.T) {
	needSocat(t)
	dir := t.TempDir()
	p := start(t, "serial://"+dir+"/host?baud=19200", Options{}, echo)
	p.await("absent")
	for range 3 {
		unplug := socat(t, dir)
		p.await("connected")
		device, err := os.OpenFile(filepath.Join(dir, "device"), os.O_RDWR|unix.O_NOCTTY, 0)
		if err != nil {
			t.Fatal(err)
		}
		exchange(t, device, "results")
		device.Close()
		unplug()
		// SIGKILL leaves the links of socat behind; a real device's name goes away.
		os.Remove(filepath.Join(dir, "host"))
		os.Remove(filepath.Join(dir, "device"))
		if s := p.await("absent"); s.Words == "" {
			t.Errorf("%+v", s)
		}
	}
}

func TestStoppingFreesASerialReader(t *testing.T) {
	device, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer device.Close()
	defer tty.Close()
	p := start(t, "serial://"+tty.Name(), Options{}, func(ctx context.Context, c Conn) error {
		_, err := c.Read(make([]byte, 1))
		if ctx.Err() == nil {
			t.Errorf("read ended before the port was stopped: %v", err)
		}
		return err
	})
	p.await("connected")
	p.stop()
}
