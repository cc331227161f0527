package film_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"nhip/dicom"
	"nhip/dicom/association"
	"nhip/dicom/dimse"
	"nhip/dicom/echo"
	"nhip/dicom/film"
	"nhip/dicom/service"
	"nhip/dicom/service/servicetest"
	"nhip/dicom/tag"
	"nhip/dicom/uid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A printer keeps the hashes of what it prints.
type printer struct {
	mu        sync.Mutex
	films     []film.Film
	sums      [][]string // of each film's images by position, "" where there is none
	sinks     int        // that are neither discarded
	fail      int        // bytes after which a sink fails; 0: none does
	answer    dimse.Status
	unprinted int
}

type sink struct {
	p    *printer
	hash interface {
		io.Writer
		Sum([]byte) []byte
	}
	n      int
	closed bool
	gone   bool
}

func (s *sink) Write(b []byte) (int, error) {
	if s.n += len(b); s.p.fail > 0 && s.n > s.p.fail {
		return 0, errors.New("disk full at the image of Jane Doe")
	}
	return s.hash.Write(b)
}

func (s *sink) Close() error { s.closed = true; return nil }

func (s *sink) Discard() {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	if s.gone {
		panic("discarded twice")
	}
	s.gone = true
	s.p.sinks--
}

func (p *printer) Pixels(context.Context, service.Peer, *film.Image) (film.Sink, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sinks++
	return &sink{p: p, hash: sha256.New()}, nil
}

func (p *printer) Print(_ context.Context, _ service.Peer, films []film.Film) dimse.Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range films {
		var sums []string
		for _, i := range f.Images {
			sum := ""
			if i.Image != nil {
				s := i.Image.Pixels.(*sink)
				if !s.closed || s.gone || int64(s.n) != i.Image.Length {
					panic("an image that is not whole")
				}
				sum = fmt.Sprintf("%x", s.hash.Sum(nil))
			}
			sums = append(sums, sum)
		}
		p.films, p.sums = append(p.films, f), append(p.sums, sums)
	}
	return p.answer
}

func (p *printer) Status() film.PrinterStatus {
	return film.PrinterStatus{Name: "FILM", Manufacturer: "nhip", Model: "film"}
}

// left returns how many sinks are not discarded.
func (p *printer) left() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sinks
}

// serve runs a printer; the function it returns waits for the end of what
// associations left.
func serve(t testing.TB, p *printer, l film.Limits) (address string, scp *film.SCP) {
	t.Helper()
	scp = &film.SCP{Printer: p, Limits: l, Unprinted: func(_ service.Peer, n int) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.unprinted += n
	}}
	t.Cleanup(scp.Wait)
	return servicetest.Serve(t, service.Mux{
		{AbstractSyntax: echo.Accepts, Handlers: map[dimse.CommandField]association.Handler{dimse.CEchoRQ: echo.Handle}}, scp.Service(),
	}), scp
}

func dial(t testing.TB, address string, more ...string) *association.Association {
	t.Helper()
	var p association.Proposal
	film.Propose(&p)
	if len(more) > 0 {
		p.Contexts = service.Propose(append([]string{film.GrayscaleMeta, film.ColorMeta, film.LUTClass}, more...)...)
	}
	return servicetest.Dial(t, address, p)
}

func set(pairs ...any) *dicom.Dataset {
	d := dicom.NewDataset()
	for i := 0; i < len(pairs); i += 2 {
		t := pairs[i].(tag.Tag)
		var err error
		switch v := pairs[i+1].(type) {
		case string:
			err = d.SetText(t, strings.Split(v, `\`)...)
		case int:
			err = d.SetInt(t, int64(v))
		case []byte:
			err = d.SetBytes(t, dicom.OW, v)
		case *dicom.Dataset:
			err = d.SetItems(t, v)
		}
		if err != nil {
			panic(err)
		}
	}
	return d
}

// format is a film box of a display format, which is one value with backslashes.
func format(text string) *dicom.Dataset {
	d := dicom.NewDataset()
	if len(text)%2 == 1 {
		text += " "
	}
	if err := d.SetBytes(tag.ImageDisplayFormat, dicom.ST, []byte(text)); err != nil {
		panic(err)
	}
	return d
}

func pixels(n int, seed byte) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i) * seed
	}
	return b
}

func sum(b []byte) string { return fmt.Sprintf("%x", sha256.Sum256(b)) }

func picture(position int, rows, columns, stored int, b []byte) film.Picture {
	return film.Picture{Position: position, Rows: rows, Columns: columns, Samples: 1, Stored: stored, Photometric: "MONOCHROME2", Pixels: bytes.NewReader(b)}
}

func TestBothRoles(t *testing.T) {
	p := &printer{}
	address, scp := serve(t, p, film.Limits{})
	a := dial(t, address)
	status, err := film.Status(t.Context(), a)
	if err != nil || status.Status != "NORMAL" || status.Name != "FILM" {
		t.Errorf("%+v, %v", status, err)
	}
	gray, deep, color := pixels(31*33, 3), pixels(2*64*32, 5), pixels(3*16*16, 7)
	rgb := film.Picture{Position: 1, Rows: 16, Columns: 16, Samples: 3, Stored: 8, Photometric: "RGB", Pixels: bytes.NewReader(color)}
	warnings, err := film.Print(t.Context(), a, film.Job{Session: set(tag.NumberOfCopies, "3", tag.FilmSessionLabel, "DOE"), Sheets: []film.Sheet{
		{Box: format(`STANDARD\2,2`), LUT: set(tag.PresentationLUTShape, "IDENTITY"), Pictures: []film.Picture{picture(1, 31, 33, 8, gray), picture(3, 64, 32, 12, deep)}},
		{Box: format(`STANDARD\1,1`), Color: true, Pictures: []film.Picture{rgb}},
		{Box: format(`ROW\1,2`)},
	}})
	if err != nil || len(warnings) != 1 || warnings[0].Code != 0xB603 {
		t.Errorf("%v, %v", warnings, err)
	}
	servicetest.Release(t, a)
	scp.Wait()
	if len(p.films) != 3 || p.left() != 0 || p.unprinted != 0 {
		t.Fatalf("%d films, %d images left, %d films unprinted", len(p.films), p.left(), p.unprinted)
	}
	f := p.films[0]
	if !slices.Equal(p.sums[0], []string{sum(gray), "", sum(deep), ""}) || f.Copies != 3 || f.Color || f.Session.Text(tag.FilmSessionLabel) != "DOE" ||
		f.LUT(f.Box).Text(tag.PresentationLUTShape) != "IDENTITY" || f.Images[2].Image.Allocated != 16 || f.Images[2].Image.Attributes.Text(tag.PhotometricInterpretation) != "MONOCHROME2" {
		t.Errorf("the first film is not as it was sent: %+v", f)
	}
	if f := p.films[1]; !f.Color || !slices.Equal(p.sums[1], []string{sum(color)}) || f.Images[0].Image.Samples != 3 {
		t.Errorf("the second film: %+v", f)
	}
}

// A requestor sends what it wants, one message after another.
type requestor struct {
	t *testing.T
	a *association.Association
}

func (r requestor) do(field dimse.CommandField, class, instance string, d *dicom.Dataset) (dimse.Command, *dicom.Dataset) {
	r.t.Helper()
	c := dimse.Command{Field: field}
	if field == dimse.NCreateRQ {
		c.AffectedSOPClassUID, c.AffectedSOPInstanceUID = class, instance
	} else {
		c.RequestedSOPClassUID, c.RequestedSOPInstanceUID = class, instance
	}
	if field == dimse.NActionRQ {
		c.ActionTypeID = 1
	}
	pc, err := service.Context(r.a, film.GrayscaleMeta)
	if err != nil {
		r.t.Fatal(err)
	}
	rsp, answer, err := service.Request(r.t.Context(), r.a, pc, c, d)
	if err != nil {
		r.t.Fatal(err)
	}
	return rsp, answer
}

func (r requestor) want(what string, code uint16, field dimse.CommandField, class, instance string, d *dicom.Dataset) {
	r.t.Helper()
	if rsp, _ := r.do(field, class, instance, d); rsp.Status.Code != code || code>>12 == 0xC && rsp.Status.Comment == "" {
		r.t.Errorf("%s: %v, want %04X", what, rsp.Status, code)
	}
}

// begin makes a session and a film box and returns its image boxes.
func (r requestor) begin(text string) (images []string) {
	r.t.Helper()
	r.want("session", 0, dimse.NCreateRQ, film.SessionClass, "1.2.1", nil)
	return r.box("1.2.2", text)
}

func (r requestor) box(instance, text string) (images []string) {
	r.t.Helper()
	rsp, d := r.do(dimse.NCreateRQ, film.BoxClass, instance, format(text))
	if rsp.Status.Code != 0 {
		r.t.Fatalf("film box: %v", rsp.Status)
	}
	for _, i := range d.Items(tag.ReferencedImageBoxSequence) {
		images = append(images, i.Text(tag.ReferencedSOPInstanceUID))
	}
	return images
}

// image is the data set of an image box with some attributes changed.
func image(changes ...any) *dicom.Dataset {
	item := set(tag.SamplesPerPixel, 1, tag.PhotometricInterpretation, "MONOCHROME2", tag.Rows, 8, tag.Columns, 8, tag.BitsAllocated, 8, tag.BitsStored, 8,
		tag.HighBit, 7, tag.PixelRepresentation, 0, tag.PixelData, pixels(64, 9))
	for i := 0; i < len(changes); i += 2 {
		if changes[i+1] == nil {
			item.Delete(changes[i].(tag.Tag))
			continue
		}
		for e := range set(changes[i], changes[i+1]).All() {
			item.SetBytes(e.Tag, e.VR, e.Bytes())
		}
	}
	return set(tag.ImageBoxPosition, 1, tag.BasicGrayscaleImageSequence, item)
}

// Class 12 of bad input, one association for all: each is refused in words, and
// the printer goes on.
func TestRequestsThatAreRefused(t *testing.T) {
	p := &printer{}
	address, scp := serve(t, p, film.Limits{Pixels: 1 << 20, Films: 3})
	r := requestor{t, dial(t, address)}
	const session, box, gray = film.SessionClass, film.BoxClass, film.GrayscaleImageClass
	r.want("film box before a session", dimse.NoSuchSOPInstance, dimse.NCreateRQ, box, "", format(`STANDARD\1,1`))
	r.want("print nothing", dimse.NoSuchSOPInstance, dimse.NActionRQ, box, "1.2.2", nil)
	r.want("session with a path", dimse.InvalidSOPInstance, dimse.NCreateRQ, session, "../../etc", nil)
	r.want("session", 0, dimse.NCreateRQ, session, "1.2.1", nil)
	r.want("second session", dimse.DuplicateSOPInstance, dimse.NCreateRQ, session, "1.2.9", nil)
	r.want("session without a film box", 0xC600, dimse.NActionRQ, session, "1.2.1", nil)
	for _, text := range []string{`CUSTOM\1`, `STANDARD\11,10`, `STANDARD\65535,65535`, `SLIDE`, `ROW\`, `x`} {
		r.want(text, dimse.InvalidAttributeValue, dimse.NCreateRQ, box, "", format(text))
	}
	r.want("no format", dimse.MissingAttribute, dimse.NCreateRQ, box, "", nil)
	images := r.box("1.2.2", `STANDARD\10,10`)
	if len(images) != 100 {
		t.Fatalf("%d image boxes", len(images))
	}
	r.want("the same film box", dimse.DuplicateSOPInstance, dimse.NCreateRQ, box, "1.2.2", format(`STANDARD\1,1`))
	r.box("1.2.3", `STANDARD\1,1`)
	r.box("1.2.4", `STANDARD\1,1`)
	r.want("a fourth film box", dimse.ResourceLimitation, dimse.NCreateRQ, box, "1.2.5", format(`STANDARD\1,1`))
	for _, c := range []struct {
		what string
		code uint16
		d    *dicom.Dataset
	}{
		{"16k by 16k in 64 bytes", 0xC605, image(tag.Rows, 16384, tag.Columns, 16384)},
		{"65,535 rows", 0xC603, image(tag.Rows, 65535)},
		{"no rows", dimse.InvalidAttributeValue, image(tag.Rows, 0)},
		{"rows absent", dimse.MissingAttribute, image(tag.Rows, nil)},
		{"32 bits", dimse.InvalidAttributeValue, image(tag.BitsAllocated, 32)},
		{"2 samples", dimse.InvalidAttributeValue, image(tag.SamplesPerPixel, 2)},
		{"too few pixels", dimse.InvalidAttributeValue, image(tag.PixelData, pixels(62, 1))},
		{"no pixels", dimse.MissingAttribute, image(tag.PixelData, nil)},
		{"pixels at the top", dimse.InvalidAttributeValue, set(tag.ImageBoxPosition, 1, tag.PixelData, pixels(64, 1))},
		{"position of another box", dimse.AttributeValueOutOfRange, func() *dicom.Dataset { d := image(); d.SetInt(tag.ImageBoxPosition, 7); return d }()},
		{"no image at all", 0, set(tag.ImageBoxPosition, 1)},
		{"a good one", 0, image()},
		{"a good one again", 0, image()},
	} {
		r.want(c.what, c.code, dimse.NSetRQ, gray, images[0], c.d)
	}
	r.want("no such image box", dimse.NoSuchSOPInstance, dimse.NSetRQ, gray, "1.2.77", image())
	r.want("a colour image for a grayscale box", dimse.ClassInstanceConflict, dimse.NSetRQ, film.ColorImageClass, images[0], image())
	r.want("annotation", dimse.NoSuchSOPClass, dimse.NCreateRQ, "1.2.840.10008.5.1.1.15", "", nil)
	r.want("another format for the box", dimse.InvalidAttributeValue, dimse.NSetRQ, box, "1.2.2", format(`STANDARD\1,1`))
	r.want("attributes of the box", 0, dimse.NSetRQ, box, "1.2.2", set(tag.FilmOrientation, "LANDSCAPE"))
	r.want("print", 0, dimse.NActionRQ, box, "1.2.2", nil)
	r.want("print again", 0, dimse.NActionRQ, box, "1.2.2", nil)
	p.answer = dimse.Status{Code: 0xC602, Comment: "the queue is full"}
	r.want("the printer refuses", 0xC602, dimse.NActionRQ, box, "1.2.2", nil)
	p.answer = dimse.Status{}
	r.want("an empty film", 0xB603, dimse.NActionRQ, box, "1.2.3", nil)
	r.want("the whole session", 0, dimse.NActionRQ, session, "1.2.1", nil)
	r.want("delete", 0, dimse.NDeleteRQ, session, "1.2.1", nil)
	if n := p.left(); n != 0 {
		t.Errorf("%d images are left after the session", n)
	}
	r.want("print what was deleted", dimse.NoSuchSOPInstance, dimse.NActionRQ, box, "1.2.2", nil)
	r.want("the session anew", 0, dimse.NCreateRQ, session, "1.2.1", nil)
	servicetest.Release(t, r.a)
	scp.Wait()
	if len(p.films) != 2+1+1+3 || p.films[1].Printed != 1 || p.films[0].Box.Text(tag.FilmOrientation) != "LANDSCAPE" {
		t.Errorf("%d films", len(p.films))
	}
}

// The requestor is gone before it printed: nothing is left, and that is said.
func TestAbortBeforePrint(t *testing.T) {
	p := &printer{}
	address, scp := serve(t, p, film.Limits{})
	r := requestor{t, dial(t, address)}
	images := r.begin(`STANDARD\1,2`)
	r.want("image", 0, dimse.NSetRQ, film.GrayscaleImageClass, images[0], image())
	r.a.Abort("the test")
	servicetest.Eventually(t, "the images are discarded", func() bool { return p.left() == 0 })
	scp.Wait()
	if p.unprinted != 1 || len(p.films) != 0 {
		t.Errorf("%d unprinted, %d printed", p.unprinted, len(p.films))
	}
}

// A full disk in the middle of an image is a refusal of this image, without the
// words of the error.
func TestDiskFull(t *testing.T) {
	p := &printer{fail: 10}
	address, _ := serve(t, p, film.Limits{})
	r := requestor{t, dial(t, address)}
	images := r.begin(`STANDARD\1,1`)
	rsp, _ := r.do(dimse.NSetRQ, film.GrayscaleImageClass, images[0], image())
	if rsp.Status.Code != 0xC605 || strings.Contains(rsp.Status.Comment, "Doe") || p.left() != 0 {
		t.Errorf("%v, %d left", rsp.Status, p.left())
	}
	p.fail = 0
	r.want("the image again", 0, dimse.NSetRQ, film.GrayscaleImageClass, images[0], image())
	servicetest.Release(t, r.a)
}

// zeros is n bytes without any memory.
type zeros struct{ n int64 }

func (z *zeros) Read(p []byte) (int, error) {
	n := int(min(int64(len(p)), z.n))
	clear(p[:n])
	if z.n -= int64(n); n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// An image of 32 MB, in the long form of 512 MB, goes to its sink in a few MB of
// memory.
func TestALargeImageIsNotHeld(t *testing.T) {
	p := &printer{}
	address, _ := serve(t, p, film.Limits{})
	a := dial(t, address)
	side := 16384
	if testing.Short() || os.Getenv("NHIP_SOAK") == "" {
		side = 4096
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := film.Print(t.Context(), a, film.Job{Sheets: []film.Sheet{{Box: format(`STANDARD\1,1`), Pictures: []film.Picture{
		{Position: 1, Rows: side, Columns: side, Samples: 1, Stored: 12, Photometric: "MONOCHROME2", Pixels: &zeros{int64(2 * side * side)}},
	}}}})
	runtime.ReadMemStats(&after)
	if took := (after.TotalAlloc - before.TotalAlloc) >> 20; err != nil || took > 8 {
		t.Errorf("%d MB allocated: %v", took, err)
	}
	servicetest.Release(t, a)
}

// A print job is made for who has negotiated that it asks for it.
func TestPrintJob(t *testing.T) {
	address, _ := serve(t, &printer{}, film.Limits{})
	r := requestor{t, dial(t, address, film.PrintJobClass)}
	images := r.begin(`STANDARD\1,1`)
	r.want("image", 0, dimse.NSetRQ, film.GrayscaleImageClass, images[0], image())
	_, d := r.do(dimse.NActionRQ, film.BoxClass, "1.2.2", nil)
	jobs := d.Items(tag.ReferencedPrintJobSequence)
	if len(jobs) != 1 {
		t.Fatalf("%d print jobs", len(jobs))
	}
	if _, d := r.do(dimse.NGetRQ, film.PrintJobClass, jobs[0].Text(tag.ReferencedSOPInstanceUID), nil); d.Text(tag.ExecutionStatus) != "DONE" {
		t.Errorf("execution status %q", d.Text(tag.ExecutionStatus))
	}
	servicetest.Release(t, r.a)
}

func TestDcmjsPrints(t *testing.T) {
	p := &printer{}
	name, args := servicetest.Node(t, "testdata/scu.js")
	address, scp := serve(t, p, film.Limits{})
	host, port := servicetest.Split(t, address)
	out, err := servicetest.Run(t, t.TempDir(), name, append(args, host, port)...)
	if err != nil || answers(out) != "printer 0000 session 0000 box 0000 image 0000 image 0000 print 0000 delete 0000" {
		t.Fatalf("%v: %s", err, out)
	}
	scp.Wait()
	if len(p.films) != 1 || p.films[0].Copies != 2 || p.films[0].Format.Text != `STANDARD\1,2` || !slices.Equal(p.sums[0], []string{sum(pixels(1024, 1)), sum(pixels(1024, 2))}) {
		t.Errorf("%+v", p.films)
	}
}

// answers are the lines of two words in the output of the script.
func answers(out string) string {
	var all []string
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) == 2 && len(f[1]) == 4 {
			all = append(all, f...)
		}
	}
	return strings.Join(all, " ")
}

const printConfig = `[[GENERAL]]
[APPLICATION]
LogDirectory = log
[PRINT]
Directory = spool
DeletePrintJobs = false
MinPrintResolution = 256\256
[DATABASE]
Directory = db
[LUT]
Directory = lut
[NETWORK]
aetitle = OLDCT
[[COMMUNICATION]]
[PRN]
Aetitle = PRINTSCP
Description = film printer
Hostname = 127.0.0.1
Port = %s
Type = %s
DisplayFormat=1,1\1,2\2,2
FilmSizeID = 8INX10IN\14INX17IN
MagnificationType = REPLICATE\BILINEAR\CUBIC\NONE
MediumType = PAPER\CLEAR FILM\BLUE FILM
FilmDestination = MAGAZINE\PROCESSOR
MaxPDU = 16384
ImplicitOnly = %s
Supports12Bit = true
SupportsPresentationLUT = true
SupportsTrim = true
`

// printFolder is a folder for DCMTK's print programs.
func printFolder(t *testing.T, port, kind, implicit string) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{"log", "spool", "db", "lut"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "print.cfg"), fmt.Appendf(nil, printConfig, port, kind, implicit), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// ct writes an image as a file that print programs take.
func ct(t *testing.T, path string, n int) {
	t.Helper()
	px := make([]byte, 2*64*64)
	for i := range 64 * 64 {
		binary.LittleEndian.PutUint16(px[2*i:], uint16(i*n)&0x0FFF)
	}
	d := set(tag.SOPClassUID, uid.CTImageStorage, tag.SOPInstanceUID, fmt.Sprintf("1.2.826.3.%d", n), tag.StudyInstanceUID, "1.2.826.1", tag.SeriesInstanceUID, "1.2.826.2",
		tag.Modality, "CT", tag.PatientName, "DOE^JANE", tag.PatientID, "4711", tag.InstanceNumber, "1", tag.SamplesPerPixel, 1, tag.PhotometricInterpretation, "MONOCHROME2",
		tag.Rows, 64, tag.Columns, 64, tag.BitsAllocated, 16, tag.BitsStored, 12, tag.HighBit, 11, tag.PixelRepresentation, 0, tag.WindowCenter, "2048", tag.WindowWidth, "4096",
		tag.RescaleIntercept, "0", tag.RescaleSlope, "1", tag.PixelData, px)
	f, err := dicom.NewFile(d, uid.ExplicitVRLittleEndian)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := f.Write(&b); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

// DCMTK's dcmpsprt makes a film of two images, dcmprscu prints it with us.
func TestDcmprscu(t *testing.T) {
	servicetest.Need(t, "dcmpsprt", "dcmprscu")
	for _, implicit := range []string{"true", "false"} {
		p := &printer{}
		address, scp := serve(t, p, film.Limits{})
		_, port := servicetest.Split(t, address)
		dir := printFolder(t, port, "PRINTER", implicit)
		ct(t, filepath.Join(dir, "a.dcm"), 1)
		ct(t, filepath.Join(dir, "b.dcm"), 3)
		if out, err := servicetest.Run(t, dir, "dcmpsprt", "-c", "print.cfg", "-p", "PRN", "-s", "-l", "1", "2", "--filmsize", "14INX17IN", "a.dcm", "b.dcm"); err != nil {
			t.Fatalf("dcmpsprt: %v: %s", err, out)
		}
		stored, _ := filepath.Glob(filepath.Join(dir, "db", "SP_*.dcm"))
		if len(stored) == 0 {
			t.Fatal("dcmpsprt made no stored print object")
		}
		out, err := servicetest.Run(t, dir, "dcmprscu", append([]string{"-v", "-c", "print.cfg", "-p", "PRN"}, stored...)...)
		if err != nil {
			t.Fatalf("dcmprscu: %v: %s", err, out)
		}
		scp.Wait()
		if len(p.films) != 1 || p.films[0].Format.Text != `STANDARD\1,2` || p.films[0].Box.Text(tag.FilmSizeID) != "14INX17IN" || len(p.films[0].LUTs) != 1 ||
			slices.Contains(p.sums[0], "") || p.sums[0][0] == p.sums[0][1] {
			t.Errorf("implicit VR only %s: %+v: %s", implicit, p.films, out)
		}
	}
}

// As SCU against DCMTK's dcmprscp: what it keeps of each image is what we sent.
func TestDcmprscp(t *testing.T) {
	servicetest.Need(t, "dcmprscp")
	port := servicetest.FreePort(t)
	dir := printFolder(t, port, "LOCALPRINTER", "false")
	servicetest.Start(t, port, dir, "dcmprscp", "-c", "print.cfg", "-p", "PRN")
	var p association.Proposal
	film.Propose(&p)
	p.Calling, p.Called = "OLDCT", "PRINTSCP"
	a := servicetest.Dial(t, "127.0.0.1:"+port, p)
	status, err := film.Status(t.Context(), a)
	if err != nil || status.Status != "NORMAL" {
		t.Errorf("%+v, %v", status, err)
	}
	px := make([]byte, 2*300*260)
	for i := range 300 * 260 {
		binary.LittleEndian.PutUint16(px[2*i:], uint16(i)&0x0FFF)
	}
	box := format(`STANDARD\1,2`)
	box.SetText(tag.FilmSizeID, "14INX17IN")
	warnings, err := film.Print(t.Context(), a, film.Job{Session: set(tag.NumberOfCopies, "1"), Sheets: []film.Sheet{
		{Box: box, LUT: set(tag.PresentationLUTShape, "IDENTITY"), Pictures: []film.Picture{picture(1, 300, 260, 12, px), picture(2, 300, 260, 12, px)}},
	}})
	if err != nil || len(warnings) != 0 {
		t.Fatalf("%v, %v", warnings, err)
	}
	servicetest.Release(t, a)
	kept, _ := filepath.Glob(filepath.Join(dir, "db", "HG_*.dcm"))
	if len(kept) != 2 {
		all, _ := filepath.Glob(filepath.Join(dir, "db", "*"))
		t.Fatalf("hardcopy images %v of %v", kept, all)
	}
	for _, path := range kept {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		f, err := dicom.ParseFile(b, dicom.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(f.Bytes(tag.PixelData), px) {
			t.Errorf("%s has other pixel data", filepath.Base(path))
		}
	}
}

// An old modality: CTN's print client, which asks the printer for attributes of
// other classes.
func TestPrintClientOfCTN(t *testing.T) {
	servicetest.Need(t, "print_client", "dcmconv")
	p := &printer{}
	address, scp := serve(t, p, film.Limits{})
	host, port := servicetest.Split(t, address)
	dir := t.TempDir()
	ct(t, filepath.Join(dir, "a.dcm"), 1)
	if out, err := servicetest.Run(t, dir, "dcmconv", "-F", "+ti", "a.dcm", "a.img"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	out, err := servicetest.Run(t, dir, "print_client", "-i", `STANDARD\1,1`, host, port, "a.img")
	scp.Wait()
	if len(p.films) != 1 || p.sums[0][0] == "" {
		t.Errorf("%v: %d films: %s", err, len(p.films), out)
	}
}
