package storagetest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"nhip/storage"
	"nhip/storage/storagetest/figures"
)

// A power cut: a file system on a loop device is shut down without its log being
// flushed, so that everything is gone that was not fsynced. The process is
// stopped first: else a commit can run into the shutdown itself, which no power
// cut does.

const (
	shutdown        = 0x8004587d // EXT4_IOC_SHUTDOWN, XFS_IOC_GOINGDOWN
	withoutLogFlush = 2
)

func TestPowerCutStoreHasAllThatWasAcknowledged(t *testing.T) {
	for _, c := range []struct {
		fs          string
		short, long int
	}{{"ext4", 3, 50}, {"xfs", 1, 20}} {
		t.Run(c.fs, func(t *testing.T) {
			cuts := c.short
			if figures.Soak() {
				cuts = c.long
			}
			cutPower(t, c.fs, cuts)
		})
	}
}

// perStore is how many cuts one store goes through before it is read whole and a
// new one is begun, so that the disk stays small.
const perStore = 10

func cutPower(t *testing.T, kind string, cuts int) {
	d := newLoopDisk(t, kind, "0 lost")
	var lost, total uint64
	for done := 0; done < cuts && !t.Failed(); {
		data := filepath.Join(d.dir, fmt.Sprint("data", done))
		acknowledged := map[string]uint64{}
		for range min(perStore, cuts-done) {
			c := start(t, data, acknowledged, 64, 0)
			c.wait(t, 700)
			d.cut(t, c)
			done++
		}
		s := open(t, storage.Options{Dir: data})
		mustBeWhole(t, s, acknowledged)
		l, n := losses(s, acknowledged)
		lost, total = lost+l, total+n
		if err := errors.Join(s.Close(), os.RemoveAll(data)); err != nil {
			t.Fatal(err)
		}
	}
	if total == 0 {
		t.Error("nothing was acknowledged")
	}
	figures.Report(t, fmt.Sprintf("%d power cuts on %s, 64 producers: %d of %d acknowledged lost, every open at the first try", cuts, kind, lost, total), "0 lost")
}

// A loopDisk is a file system of its own in a file.
type loopDisk struct{ image, dir string }

func newLoopDisk(t *testing.T, kind, limit string) *loopDisk {
	t.Helper()
	if os.Getuid() != 0 {
		figures.Skip(t, limit, "not root: no file system can be mounted")
	}
	mkfs, err := exec.LookPath("mkfs." + kind)
	if err != nil {
		figures.Skip(t, limit, "mkfs."+kind+" is not installed")
	}
	dir := t.TempDir()
	d := &loopDisk{image: filepath.Join(dir, "disk"), dir: filepath.Join(dir, "mnt")}
	if err := os.WriteFile(d.image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Truncate(d.image, 2<<30), os.Mkdir(d.dir, 0o700)); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(mkfs, "-q", d.image).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := d.mount(); err != nil {
		figures.Skip(t, limit, "no loop device can be mounted here: "+err.Error())
	}
	t.Cleanup(func() { exec.Command("umount", d.dir).Run() })
	return d
}

func (d *loopDisk) mount() error {
	if out, err := exec.Command("mount", "-o", "loop", d.image, d.dir).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// cut stops the child, takes the power from the disk, and gives it back.
func (d *loopDisk) cut(t *testing.T, c *child) {
	t.Helper()
	if err := c.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	time.Sleep(150 * time.Millisecond) // what is in the system ends
	dir, err := os.Open(d.dir)
	if err != nil {
		t.Fatal(err)
	}
	how := uint32(withoutLogFlush)
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, dir.Fd(), shutdown, uintptr(unsafe.Pointer(&how)))
	dir.Close()
	c.kill(t)
	if errno != 0 {
		figures.Skip(t, "0 lost", "the file system cannot be shut down: "+errno.Error())
	}
	for range 50 { // the last of the process's mappings go with it
		if err = exec.Command("umount", d.dir).Run(); err == nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err == nil {
		err = d.mount()
	}
	if err != nil {
		t.Fatal(err)
	}
}
