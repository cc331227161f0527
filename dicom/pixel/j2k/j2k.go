// Package j2k decodes JPEG 2000 and High-Throughput JPEG 2000 codestreams
// (ISO/IEC 15444-1 and -15) in a helper process: OpenJPEG's opj_decompress
// (Debian: libopenjp2-tools; High-Throughput from version 2.5 on). The process
// works under limits of CPU time, address space and file size, in a folder of its
// own, on file names that are ours, and dies with the context. Nothing here
// interprets more of the codestream than its SIZ marker segment, and nothing is
// encoded.
package j2k

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"nhip/dicom/pixel/raster"
)

// Limits of a helper process.
const (
	cpuSeconds  = 60
	wallTime    = 3 * time.Minute // a loaded machine, and no caller waits for ever
	baseMemory  = 256 << 20       // address space, and perSample bytes for each sample
	perSample   = 24
	maxComplain = 512 // bytes of what it says on standard error
)

// ErrNotInstalled is the answer where there is no helper program.
var ErrNotInstalled = errors.New("j2k: JPEG 2000 and HTJ2K are decoded by the program opj_decompress of OpenJPEG, which is not installed (Debian and Ubuntu: package libopenjp2-tools)")

// Installed reports whether Decode has its helper program.
func Installed() bool {
	_, _, err := helper()
	return err == nil
}

// helper finds the shell, which sets the limits, and the decoder.
func helper() (shell, program string, err error) {
	shell, err = exec.LookPath("sh")
	if err == nil {
		program, err = exec.LookPath("opj_decompress")
	}
	if err != nil {
		return "", "", ErrNotInstalled
	}
	// A relative path would change its meaning in the folder of the helper.
	if program, err = filepath.Abs(program); err != nil {
		return "", "", err
	}
	return shell, program, nil
}

// running bounds the helper processes of this process.
var running = make(chan struct{}, max(2, runtime.NumCPU()))

// Decode decodes a codestream, or the one in a JP2 file, of 1 to 16 bits. The
// components are as the codestream's own colour transform leaves them: RGB, where
// it has one (PS3.5 section 8.2.4). A multiple of l.MaxPixels is never allocated
// before the helper has delivered. The errors are those of raster, ErrNotInstalled,
// or the context's.
func Decode(ctx context.Context, b []byte, l raster.Limits) (*raster.Image, error) {
	b, err := codestream(b)
	if err != nil {
		return nil, err
	}
	h, err := parseSIZ(b)
	if err != nil {
		return nil, err
	}
	m := &raster.Image{Columns: h.Columns, Rows: h.Rows, Samples: h.Samples, BitsAllocated: 8, Precision: h.Precision, Signed: h.Signed}
	switch {
	case h.Precision > 16:
		return nil, &raster.UnsupportedError{Codec: codec, What: fmt.Sprintf("%d bits", h.Precision)}
	case h.Precision > 8:
		m.BitsAllocated = 16
	}
	if err := l.Check(codec, m.Columns, m.Rows, m.Samples, m.BitsAllocated); err != nil {
		return nil, err
	}
	if err := checkTiles(b); err != nil {
		return nil, err
	}
	planes, err := run(ctx, b, int64(m.Columns)*int64(m.Rows)*int64(m.Samples), m.BitsAllocated/8)
	if err != nil {
		return nil, err
	}
	m.Pix = interleave(planes, m.Samples, m.BitsAllocated/8)
	if m.Signed {
		extendSigns(m)
	}
	return m, nil
}

// run gives the codestream to a helper process and returns what it wrote: the
// components one after the other, little endian. The length is checked before
// anything is read.
func run(ctx context.Context, b []byte, samples int64, width int) ([]byte, error) {
	shell, program, err := helper()
	if err != nil {
		return nil, err
	}
	select {
	case running <- struct{}{}:
		defer func() { <-running }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	dir, err := os.MkdirTemp("", "nhip-j2k-") // 0700
	if err != nil {
		return nil, fmt.Errorf("j2k: %w", err)
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "in.j2k"), b, 0o600); err != nil {
		return nil, fmt.Errorf("j2k: %w", err)
	}
	want := samples * int64(width)
	if err := decompress(ctx, dir, shell, program, samples, want); err != nil {
		return nil, err
	}
	return readExactly(filepath.Join(dir, "out.rawl"), want)
}

// limited runs its arguments under limits: CPU seconds, KiB of address space,
// 512-byte blocks of a file (the units of POSIX ulimit -t, -v and -f).
const limited = `ulimit -c 0 && ulimit -t "$1" && ulimit -v "$2" && ulimit -f "$3" && shift 3 && exec "$@"`

func decompress(ctx context.Context, dir, shell, program string, samples, size int64) error {
	ctx, cancel := context.WithTimeout(ctx, wallTime)
	defer cancel()
	memory := (baseMemory + perSample*samples) >> 10
	c := exec.CommandContext(ctx, shell, "-c", limited, "sh",
		strconv.Itoa(cpuSeconds), strconv.FormatInt(memory, 10), strconv.FormatInt(size/512+2, 10),
		program, "-i", "in.j2k", "-o", "out.rawl")
	c.Dir = dir
	c.Env = []string{"LC_ALL=C", "PATH=/usr/bin:/bin"}
	complaint := &head{}
	c.Stderr = complaint
	c.WaitDelay = 5 * time.Second
	err := c.Run()
	if cause := ctx.Err(); cause != nil {
		return fmt.Errorf("j2k: the decoder was stopped: %w", cause)
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return &raster.FormatError{Codec: codec, What: fmt.Sprintf("opj_decompress: %v%s", exit, complaint)}
	}
	if err != nil {
		return fmt.Errorf("j2k: opj_decompress cannot be run: %w", err)
	}
	return nil
}

// A head keeps the first bytes that are written to it.
type head struct{ b []byte }

func (h *head) Write(b []byte) (int, error) {
	h.b = append(h.b, b[:min(len(b), maxComplain-len(h.b))]...)
	return len(b), nil
}

// String returns the first line, printable ASCII only, after a colon.
func (h *head) String() string {
	line, _, _ := bytes.Cut(bytes.TrimSpace(h.b), []byte("\n"))
	if len(line) == 0 {
		return ""
	}
	return ": " + strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, string(line))
}

// readExactly reads a file that has to have the size.
func readExactly(name string, size int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, &raster.FormatError{Codec: codec, What: "opj_decompress wrote nothing"}
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("j2k: %w", err)
	}
	if info.Size() != size {
		return nil, &raster.FormatError{Codec: codec, What: fmt.Sprintf("opj_decompress wrote %d bytes, not %d: the codestream is not what its header says", info.Size(), size)}
	}
	b := make([]byte, size)
	if _, err := io.ReadFull(f, b); err != nil {
		return nil, fmt.Errorf("j2k: %w", err)
	}
	return b, nil
}

// interleave turns planes into samples side by side.
func interleave(planes []byte, samples, width int) []byte {
	if samples == 1 {
		return planes
	}
	b := make([]byte, len(planes))
	plane := len(planes) / samples
	for s := range samples {
		from := planes[s*plane : (s+1)*plane]
		for i := 0; i < plane; i += width {
			copy(b[i*samples+s*width:][:width], from[i:i+width])
		}
	}
	return b
}

// extendSigns extends the sign of samples of fewer bits than are allocated: the
// helper writes the bits of the precision alone.
func extendSigns(m *raster.Image) {
	shift := m.BitsAllocated - m.Precision
	if m.BitsAllocated == 8 {
		for i, v := range m.Pix {
			m.Pix[i] = byte(int8(v<<shift) >> shift)
		}
		return
	}
	for i := 0; i+1 < len(m.Pix); i += 2 {
		v := int16((uint16(m.Pix[i])|uint16(m.Pix[i+1])<<8)<<shift) >> shift
		m.Pix[i], m.Pix[i+1] = byte(v), byte(uint16(v)>>8)
	}
}
