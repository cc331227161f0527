package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"time"

	"nhip/dicom"
	"nhip/dicom/pixel"
	"nhip/dicom/pixel/jpegll"
	"nhip/dicom/pixel/jpegls"
	"nhip/dicom/pixel/raster"
	"nhip/dicom/tag"
	"nhip/dicom/uid"
)

// codecs: JPEG-LS and JPEG lossless beside DCMTK's programs, in processor time, so
// that it is the time of one core whatever else the machine does. From DCMTK's is
// taken what the same program needs for a small picture: its start.
func (b *bench) codecs() error {
	const what = "JPEG-LS and JPEG lossless"
	if missing("dcmcjpls") || missing("dcmdjpls") || missing("dcmcjpeg") || missing("dcmdjpeg") {
		b.skip(what, "dcmtk is not installed")
		return nil
	}
	m := phantom(4096)
	big, small := b.path("big.dcm"), b.path("small.dcm")
	if err := errors.Join(writeNative(big, m), writeNative(small, phantom(16))); err != nil {
		return err
	}
	for _, c := range []codecPair{
		{
			name: "JPEG-LS", encoder: []string{"dcmcjpls"}, decoder: []string{"dcmdjpls"},
			encode: func() ([]byte, error) { return jpegls.Encode(m, jpegls.Options{}) },
			decode: func(b []byte) (*raster.Image, error) { return jpegls.Decode(b, raster.Limits{}) },
		},
		{
			name: "JPEG lossless", encoder: []string{"dcmcjpeg", "+e1"}, decoder: []string{"dcmdjpeg"},
			encode: func() ([]byte, error) { return jpegll.Encode(m, jpegll.Options{}) },
			decode: func(b []byte) (*raster.Image, error) { return jpegll.Decode(b, raster.Limits{}) },
		},
	} {
		if err := b.codec(c, m, big, small); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return nil
}

// A codecPair is a codec of ours and the programs of DCMTK that do the same.
type codecPair struct {
	name             string
	encoder, decoder []string
	encode           func() ([]byte, error)
	decode           func([]byte) (*raster.Image, error)
}

// codec measures both ways, ours and DCMTK's in turn. Both decode what DCMTK coded.
func (b *bench) codec(c codecPair, m *raster.Image, big, small string) error {
	coded, codedSmall, native := b.path("coded.dcm"), b.path("coded-small.dcm"), b.path("native.dcm")
	var ours, theirs [2][]float64
	rate := func(t time.Duration) float64 { return float64(m.Columns*m.Rows) / 1e6 / t.Seconds() }
	for range b.rounds {
		encoding, err := processorTime(func() error { _, err := c.encode(); return err })
		if err != nil {
			return err
		}
		their, err := beyondStart(c.encoder, big, coded, small, codedSmall)
		if err != nil {
			return err
		}
		ours[0], theirs[0] = append(ours[0], rate(encoding)), append(theirs[0], rate(their))
		stream, err := firstFrame(coded)
		if err != nil {
			return err
		}
		decoding, err := processorTime(func() error {
			back, err := c.decode(stream)
			if err == nil && !bytes.Equal(back.Pix, m.Pix) {
				err = errors.New("the picture is not the one that was coded")
			}
			return err
		})
		if err != nil {
			return err
		}
		their, err = beyondStart(c.decoder, coded, native, codedSmall, native)
		if err != nil {
			return err
		}
		ours[1], theirs[1] = append(ours[1], rate(decoding)), append(theirs[1], rate(their))
	}
	b.beside(c.name+", encode", "Mpixel/s", ours[0], theirs[0], c.encoder[0], 0.5)
	b.beside(c.name+", decode", "Mpixel/s", ours[1], theirs[1], c.decoder[0], 0.5)
	return nil
}

// processorTime is what this process takes for f, on all processors: the mean of
// several runs, since the clock of /proc is coarse.
func processorTime(f func() error) (time.Duration, error) {
	const runs = 4
	runtime.GC()
	before, err := cpu("self")
	for i := 0; i < runs && err == nil; i++ {
		err = f()
	}
	after, err2 := cpu("self")
	return (after - before) / runs, errors.Join(err, err2)
}

// beyondStart is the processor time that a program takes more for a big file than
// for a small one.
func beyondStart(program []string, big, bigOut, small, smallOut string) (time.Duration, error) {
	run := func(in, out string) (time.Duration, error) {
		cmd := exec.Command(program[0], append(program[1:], in, out)...)
		if err := cmd.Run(); err != nil {
			return 0, fmt.Errorf("%s: %w", program[0], err)
		}
		return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), nil
	}
	whole, err := run(big, bigOut)
	start, err2 := run(small, smallOut)
	return whole - start, errors.Join(err, err2)
}

// firstFrame is the coded stream of a file's first frame.
func firstFrame(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	file, err := dicom.ReadFile(f, dicom.Limits{})
	if err != nil {
		return nil, err
	}
	r, err := pixel.Open(file.Dataset, file.TransferSyntax(), raster.Limits{})
	if err != nil {
		return nil, err
	}
	return r.Frame(0)
}

// phantom is a square picture of 12 bits like a slice: air, a body of slopes, noise.
func phantom(size int) *raster.Image {
	m := &raster.Image{Columns: size, Rows: size, Samples: 1, BitsAllocated: 16, Precision: 12}
	m.Pix = make([]byte, 0, 2*size*size)
	random := rand.New(rand.NewPCG(1, 2))
	for y := range size {
		for x := range size {
			dx, dy := 2*x-size, 2*y-size
			v := random.IntN(8)
			if r := dx*dx + 2*dy*dy; r < size*size {
				v = 1000 + 400*r/(size*size) + x*y/size%64 + random.IntN(48)
			}
			m.Pix = append(m.Pix, byte(v), byte(v>>8))
		}
	}
	return m
}

// writeNative writes a picture as Secondary Capture.
func writeNative(name string, m *raster.Image) error {
	d := dicom.NewDataset()
	var failed []error
	for t, v := range map[tag.Tag]string{
		tag.SOPClassUID: uid.SecondaryCaptureImageStorage, tag.SOPInstanceUID: "2.25.1", tag.StudyInstanceUID: "2.25.2",
		tag.SeriesInstanceUID: "2.25.3", tag.Modality: "OT", tag.PhotometricInterpretation: "MONOCHROME2",
	} {
		failed = append(failed, d.SetText(t, v))
	}
	for t, v := range map[tag.Tag]int{
		tag.SamplesPerPixel: m.Samples, tag.Rows: m.Rows, tag.Columns: m.Columns, tag.BitsAllocated: m.BitsAllocated,
		tag.BitsStored: m.Precision, tag.HighBit: m.Precision - 1, tag.PixelRepresentation: 0,
	} {
		failed = append(failed, d.SetInt(t, int64(v)))
	}
	failed = append(failed, d.SetBytes(tag.PixelData, dicom.OW, m.Pix))
	file, err := dicom.NewFile(d, uid.ExplicitVRLittleEndian)
	if err := errors.Join(append(failed, err)...); err != nil {
		return err
	}
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(file.Write(f), f.Close())
}
