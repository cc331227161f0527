package j2k

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nhip/dicom/pixel/raster"
	"nhip/dicom/pixel/raster/rastertest"
)

// picture returns an image with structure and noise.
func picture(columns, rows, samples, precision int, signed bool) *raster.Image {
	m := &raster.Image{Columns: columns, Rows: rows, Samples: samples, BitsAllocated: 8, Precision: precision, Signed: signed}
	if precision > 8 {
		m.BitsAllocated = 16
	}
	noise := uint32(1)
	for i := range columns * rows * samples {
		noise = noise*1664525 + 1013904223
		v := (i<<precision/(columns*rows*samples) + int(noise>>28)) & (1<<precision - 1)
		if signed {
			v -= 1 << (precision - 1)
		}
		m.Pix = append(m.Pix, byte(v))
		if m.BitsAllocated == 16 {
			m.Pix = append(m.Pix, byte(v>>8))
		}
	}
	return m
}

// compress encodes an image without loss with OpenJPEG's encoder.
func compress(t testing.TB, m *raster.Image, suffix string, args ...string) []byte {
	t.Helper()
	rastertest.Need(t, "opj_compress", "opj_decompress")
	width := m.BitsAllocated / 8
	planes := make([]byte, 0, len(m.Pix))
	for s := range m.Samples {
		for i := s * width; i < len(m.Pix); i += m.Samples * width {
			planes = append(planes, m.Pix[i:i+width]...)
		}
	}
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in.rawl"), filepath.Join(dir, "out"+suffix)
	if err := os.WriteFile(in, planes, 0o600); err != nil {
		t.Fatal(err)
	}
	sign := "u"
	if m.Signed {
		sign = "s"
	}
	args = append(args, "-i", in, "-o", out, "-n", "3", "-F", fmt.Sprintf("%d,%d,%d,%d,%s", m.Columns, m.Rows, m.Samples, m.Precision, sign))
	if text, err := exec.Command("opj_compress", args...).CombinedOutput(); err != nil {
		t.Fatalf("opj_compress %v: %v\n%s", args, err, text)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func same(t *testing.T, got, want *raster.Image) {
	t.Helper()
	if got.Columns != want.Columns || got.Rows != want.Rows || got.Samples != want.Samples ||
		got.BitsAllocated != want.BitsAllocated || got.Precision != want.Precision || got.Signed != want.Signed {
		t.Fatalf("decoded %d×%d×%d of %d bits in %d (signed: %v)", got.Columns, got.Rows, got.Samples, got.Precision, got.BitsAllocated, got.Signed)
	}
	if !bytes.Equal(got.Pix, want.Pix) {
		t.Fatal("other samples")
	}
}

func TestLosslessIsDecodedAsItWas(t *testing.T) {
	for _, precision := range []int{4, 8, 10, 12, 16} {
		for _, samples := range []int{1, 3} {
			for _, signed := range []bool{false, true} {
				t.Run(fmt.Sprintf("%d bits, %d samples, signed %v", precision, samples, signed), func(t *testing.T) {
					want := picture(61, 47, samples, precision, signed)
					got, err := Decode(t.Context(), compress(t, want, ".j2k"), raster.Limits{})
					if err != nil {
						t.Fatal(err)
					}
					same(t, got, want)
				})
			}
		}
	}
}

func TestCodestreamInsideAJP2File(t *testing.T) {
	want := picture(32, 20, 3, 8, false)
	b := compress(t, want, ".jp2")
	got, err := Decode(t.Context(), b, raster.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, want)
	for n := range b {
		if _, err := ParseHeader(b[:n]); err == nil && n < bytes.Index(b, startOfCodestream)+42+9 {
			t.Fatalf("a JP2 file of %d bytes has a header", n)
		}
	}
}

func TestTiles(t *testing.T) {
	want := picture(90, 70, 1, 12, false)
	got, err := Decode(t.Context(), compress(t, want, ".j2k", "-t", "32,32"), raster.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, want)
}

func TestHighThroughput(t *testing.T) {
	rastertest.Need(t, "ojph_compress", "opj_decompress")
	want := picture(64, 48, 1, 8, false)
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in.pgm"), filepath.Join(dir, "out.j2c")
	if err := os.WriteFile(in, append([]byte("P5\n64 48\n255\n"), want.Pix...), 0o600); err != nil {
		t.Fatal(err)
	}
	if text, err := exec.Command("ojph_compress", "-i", in, "-o", out, "-reversible", "true").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Decode(t.Context(), b, raster.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, want)
}

// siz is a codestream that ends after its header.
func siz(x, y, x0, y0 uint32, components ...byte) []byte {
	be := binary.BigEndian
	b := append([]byte{}, startOfCodestream...)
	b = be.AppendUint16(b, uint16(38+len(components)))
	b = be.AppendUint16(b, 0)
	for _, v := range []uint32{x, y, x0, y0, x, y, 0, 0} {
		b = be.AppendUint32(b, v)
	}
	b = be.AppendUint16(b, uint16(len(components)/3))
	return append(b, components...)
}

func TestHeaderIsCheckedBeforeTheHelperRuns(t *testing.T) {
	t.Setenv("PATH", fake(t, "touch ran\nexit 0"))
	for name, c := range map[string]struct {
		b    []byte
		want error
	}{
		"65535²":         {siz(65535, 65535, 0, 0, 7, 1, 1), new(raster.LimitError)},
		"no area":        {siz(10, 10, 10, 0, 7, 1, 1), new(raster.FormatError)},
		"too wide":       {siz(0xFFFFFFFF, 10, 0, 0, 7, 1, 1), new(raster.FormatError)},
		"no component":   {siz(10, 10, 0, 0), new(raster.FormatError)},
		"five":           {siz(10, 10, 0, 0, 7, 1, 1, 7, 1, 1, 7, 1, 1, 7, 1, 1, 7, 1, 1), new(raster.UnsupportedError)},
		"subsampled":     {siz(10, 10, 0, 0, 7, 1, 1, 7, 2, 2, 7, 2, 2), new(raster.UnsupportedError)},
		"mixed":          {siz(10, 10, 0, 0, 7, 1, 1, 8, 1, 1, 7, 1, 1), new(raster.UnsupportedError)},
		"38 bits":        {siz(10, 10, 0, 0, 37, 1, 1), new(raster.UnsupportedError)},
		"cut":            {siz(10, 10, 0, 0, 7, 1, 1)[:40], new(raster.FormatError)},
		"no codestream":  {[]byte("\xFF\xD8\xFF\xC0 a JPEG"), new(raster.FormatError)},
		"nothing":        {nil, new(raster.FormatError)},
		"empty JP2":      {jp2Signature, new(raster.FormatError)},
		"box of 0 bytes": {append(bytes.Clone(jp2Signature), 0, 0, 0, 1, 'j', 'p', '2', 'c'), new(raster.FormatError)},
	} {
		_, err := Decode(t.Context(), c.b, raster.Limits{})
		if err == nil || fmt.Sprintf("%T", err) != fmt.Sprintf("%T", c.want) {
			t.Errorf("%s: %T %v", name, err, err)
		}
	}
}

func TestDamagedCodestreamIsAnError(t *testing.T) {
	b := compress(t, picture(64, 64, 1, 8, false), ".j2k")
	for _, n := range []int{51, 80, len(b) / 2} {
		if _, err := Decode(t.Context(), b[:n], raster.Limits{}); err == nil {
			t.Errorf("%d of %d bytes are decoded", n, len(b))
		}
	}
	lying := bytes.Clone(b)
	binary.BigEndian.PutUint32(lying[24:], 1) // tiles of one column: 4,096 of them
	binary.BigEndian.PutUint32(lying[28:], 1)
	if _, err := Decode(t.Context(), lying, raster.Limits{}); err == nil {
		t.Error("a codestream whose tiles are missing is decoded")
	}
	tiles := compress(t, picture(90, 70, 1, 12, false), ".j2k", "-t", "32,32")
	last := bytes.LastIndex(tiles, []byte{0xFF, 0x90, 0, 10})
	if _, err := Decode(t.Context(), append(bytes.Clone(tiles[:last]), 0xFF, 0xD9), raster.Limits{}); err == nil {
		t.Error("a codestream without its last tile is decoded")
	}
}

// fake puts a script in the place of the decoder and returns a PATH with it.
func fake(t testing.TB, script string) string {
	t.Helper()
	rastertest.Need(t, "sh")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "opj_decompress"), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir + ":/usr/bin:/bin"
}

// small is a codestream of 16 by 16 pixels with one empty tile-part.
var small = append(siz(16, 16, 0, 0, 7, 1, 1), 0xFF, 0x90, 0, 10, 0, 0, 0, 0, 0, 14, 0, 1, 0xFF, 0x93, 0xFF, 0xD9)

func TestHelperWorksUnderLimitsOnNamesThatAreOurs(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	t.Setenv("SECRET", "of the parent")
	t.Setenv("PATH", fake(t, `echo "$@ t=$(ulimit -t) v=$(ulimit -v) f=$(ulimit -f) c=$(ulimit -c) s=$SECRET $(stat -c %a . in.j2k | tr '\n' ' ')" >&2; exit 3`))
	_, err := Decode(t.Context(), small, raster.Limits{})
	if err == nil {
		t.Fatal("no error")
	}
	want := fmt.Sprintf("-i in.j2k -o out.rawl t=60 v=%d f=2 c=0 s= 700 600", (256<<20+24*256)>>10)
	if !strings.Contains(err.Error(), want) {
		t.Errorf("%v\nwant %s", err, want)
	}
	left, _ := os.ReadDir(os.Getenv("TMPDIR"))
	if len(left) != 0 {
		t.Errorf("%d files are left", len(left))
	}
}

func TestHelperCannotFillTheDisk(t *testing.T) {
	t.Setenv("PATH", fake(t, "exec cat /dev/zero >out.rawl"))
	_, err := Decode(t.Context(), small, raster.Limits{})
	var format *raster.FormatError
	if !errors.As(err, &format) {
		t.Fatalf("%v", err)
	}
}

func TestWhatTheHelperWroteIsCheckedBeforeItIsRead(t *testing.T) {
	for name, script := range map[string]string{
		"nothing": "exit 0",
		"less":    "head -c 255 /dev/zero >out.rawl",
		"more":    "head -c 257 /dev/zero >out.rawl",
	} {
		t.Setenv("PATH", fake(t, script))
		_, err := Decode(t.Context(), small, raster.Limits{})
		var format *raster.FormatError
		if !errors.As(err, &format) {
			t.Errorf("%s: %v", name, err)
		}
	}
	t.Setenv("PATH", fake(t, "head -c 256 /dev/zero >out.rawl"))
	if _, err := Decode(t.Context(), small, raster.Limits{}); err != nil {
		t.Error(err)
	}
}

func TestHelperDiesWithTheContext(t *testing.T) {
	dir := t.TempDir()
	started := filepath.Join(dir, "pid")
	t.Setenv("PATH", fake(t, "echo $$ >"+started+"; exec sleep 600"))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := Decode(ctx, small, raster.Limits{})
		done <- err
	}()
	var pid string
	for pid == "" {
		b, _ := os.ReadFile(started)
		pid = strings.TrimSpace(string(b))
		select {
		case err := <-done:
			t.Fatalf("it ended by itself: %v", err)
		case <-time.After(time.Millisecond):
		}
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Fatalf("%v", err)
	}
	if _, err := os.Stat("/proc/" + pid); err == nil {
		t.Error("the helper lives on")
	}
}

func TestAbsentHelperIsSaidInWords(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if Installed() {
		t.Fatal("found in an empty folder")
	}
	_, err := Decode(t.Context(), small, raster.Limits{})
	if !errors.Is(err, ErrNotInstalled) || !strings.Contains(err.Error(), "libopenjp2-tools") {
		t.Fatalf("%v", err)
	}
}

func FuzzParseHeader(f *testing.F) {
	f.Add(small)
	f.Add(siz(100, 80, 3, 5, 0x8B, 1, 1, 0x8B, 1, 1, 0x8B, 1, 1))
	f.Add(append(bytes.Clone(jp2Signature), append([]byte{0, 0, 0, 0, 'j', 'p', '2', 'c'}, small...)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := ParseHeader(b)
		if err != nil {
			return
		}
		if b, err := codestream(b); err == nil {
			checkTiles(b)
		}
		if h.Columns < 1 || h.Rows < 1 || h.Columns > 65535 || h.Rows > 65535 || h.Samples < 1 || h.Samples > 4 || h.Precision < 1 {
			t.Fatalf("%+v", h)
		}
	})
}
