package storage

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/cespare/xxhash/v2"
	"github.com/klauspost/compress/zstd"
)

// A backup is a stream of frames: kind, length of the payload in four bytes,
// payload, and eight bytes of a checksum over everything up to there, so that no
// frame is changed, dropped, doubled or moved without notice. The whole is compressed
// (zstd); older ones were not, and are read too.
const (
	framesMagic = "nhip backup\n"
	maxFrame    = 1 << 20

	frameHead    = 'h' // a Mark as JSON
	frameRecord  = 'r' // length of the key in two bytes, key, sealed record
	frameObject  = 'o' // a spool.Ref as JSON; its bytes follow in frames of data
	frameData    = 'd'
	frameClosed  = 'z' // the object ends; SHA-256 of the bytes that were read
	frameProblem = 'p' // something that the store could not give, in words
	frameEnd     = 'e' // a Count as JSON
)

// ErrBackup is wrapped by every error about a file that is no whole backup.
var ErrBackup = errors.New("storage: the backup is damaged")

func badBackup(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrBackup, fmt.Sprintf(format, args...))
}

type frameWriter struct {
	w     *bufio.Writer
	z     *zstd.Encoder
	sum   hash.Hash64
	bytes int64
}

func newFrameWriter(w io.Writer) (*frameWriter, error) {
	z, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(maxWindow))
	if err != nil {
		return nil, err
	}
	f := &frameWriter{w: bufio.NewWriterSize(z, 256<<10), z: z, sum: xxhash.New()}
	_, err = f.w.WriteString(framesMagic)
	return f, err
}

func (f *frameWriter) close() error { return errors.Join(f.w.Flush(), f.z.Close()) }

func (f *frameWriter) frame(kind byte, parts ...[]byte) error {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	head := binary.BigEndian.AppendUint32([]byte{kind}, uint32(n))
	for _, p := range append([][]byte{head}, parts...) {
		f.sum.Write(p)
		if _, err := f.w.Write(p); err != nil {
			return err
		}
	}
	f.bytes += int64(len(head) + n + 8)
	_, err := f.w.Write(binary.BigEndian.AppendUint64(nil, f.sum.Sum64()))
	return err
}

func (f *frameWriter) json(kind byte, value any) error {
	b, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return f.frame(kind, b)
}

type frameReader struct {
	r     *bufio.Reader
	sum   hash.Hash64
	b     []byte // the payload of the last frame
	bytes int64
}

func newFrameReader(r io.Reader) (*frameReader, error) {
	plain, err := decompress(r)
	if err != nil {
		return nil, err
	}
	f := &frameReader{r: bufio.NewReaderSize(plain, 256<<10), sum: xxhash.New()}
	magic := make([]byte, len(framesMagic))
	if _, err := io.ReadFull(f.r, magic); err != nil {
		return nil, f.broken(err)
	}
	if string(magic) != framesMagic {
		return nil, badBackup("it does not begin like a backup")
	}
	return f, nil
}

// maxWindow bounds the memory that reading a compressed backup takes.
const maxWindow = 8 << 20

// decompress gives the plain bytes of a backup.
func decompress(r io.Reader) (io.Reader, error) {
	in := bufio.NewReaderSize(r, 64<<10)
	magic, err := in.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: at its beginning: %w", ErrBackup, err)
	}
	if string(magic) != "\x28\xb5\x2f\xfd" {
		return in, nil
	}
	z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBackup, err)
	}
	return z, nil
}

// next reads a frame. The payload is good until the next call.
func (f *frameReader) next() (kind byte, payload []byte, err error) {
	var head [5]byte
	if _, err := io.ReadFull(f.r, head[:]); err != nil {
		return 0, nil, f.broken(err)
	}
	n := binary.BigEndian.Uint32(head[1:])
	if n > maxFrame {
		return 0, nil, badBackup("a frame of %d bytes at byte %d", n, f.bytes)
	}
	if cap(f.b) < int(n) {
		f.b = make([]byte, n)
	}
	f.b = f.b[:n]
	if _, err := io.ReadFull(f.r, f.b); err != nil {
		return 0, nil, f.broken(err)
	}
	var sum [8]byte
	if _, err := io.ReadFull(f.r, sum[:]); err != nil {
		return 0, nil, f.broken(err)
	}
	f.sum.Write(head[:])
	f.sum.Write(f.b)
	if binary.BigEndian.Uint64(sum[:]) != f.sum.Sum64() {
		return 0, nil, badBackup("the checksum is another at byte %d", f.bytes)
	}
	f.bytes += int64(len(head) + len(f.b) + len(sum))
	return head[0], f.b, nil
}

func (f *frameReader) broken(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return badBackup("it is cut off at byte %d", f.bytes)
	}
	return fmt.Errorf("%w: at byte %d: %w", ErrBackup, f.bytes, err)
}

// ended makes sure that nothing stands behind the last frame.
func (f *frameReader) ended() error {
	_, err := f.r.ReadByte()
	switch {
	case err == nil:
		return badBackup("something stands behind its end")
	case errors.Is(err, io.EOF):
		return nil
	}
	return f.broken(err)
}
