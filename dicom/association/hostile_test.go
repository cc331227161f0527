package association_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"nhip/dicom/association"
	"nhip/dicom/dimse"
	"nhip/dicom/store"
	"nhip/dicom/uid"
	"nhip/dicom/ul"
)

// Bad input of the classes 1 to 4 that a peer of the DIMSE port has: what it is
// answered with, and that it makes us hold nothing.

// hostile is one bad input and what the peer gets for it.
type hostile struct {
	name   string
	sent   []byte
	answer any // ul.Abort, ul.AssociateRJ or nil: closed without a word
}

func item(kind byte, value ...byte) []byte {
	b := binary.BigEndian.AppendUint16([]byte{kind, 0}, uint16(len(value)))
	return append(b, value...)
}

// request is an A-ASSOCIATE-RQ with items of one's own after the application context.
func requestOf(items ...[]byte) []byte {
	body := append([]byte{0, 1, 0, 0}, fmt.Sprintf("%-16s%-16s", "NHIP", "CT1")...)
	body = append(body, make([]byte, 32)...)
	body = append(body, item(0x10, []byte(uid.DICOMApplicationContext)...)...)
	for _, i := range items {
		body = append(body, i...)
	}
	return append(binary.BigEndian.AppendUint32([]byte{1, 0}, uint32(len(body))), body...)
}

func contextItem(id byte, items ...[]byte) []byte {
	return item(0x20, append([]byte{id, 0, 0, 0}, slices.Concat(items...)...)...)
}

func abstract() []byte { return item(0x30, []byte(ct)...) }

func repeated(n int, one []byte) []byte { return bytes.Repeat(one, n) }

// beforeTheAssociation are classes 1 and 3.
func beforeTheAssociation() []hostile {
	invalid := ul.Abort{Source: ul.AbortByUser} // AA-1
	longest := requestOf(contextItem(1, abstract(), item(0x40, []byte(explicit)...)))
	binary.BigEndian.PutUint32(longest[2:], 1<<20)
	all := []hostile{
		{"PDU length 0xFFFFFFFF", []byte{1, 0, 255, 255, 255, 255}, invalid},
		{"PDU length 0", []byte{1, 0, 0, 0, 0, 0}, invalid},
		{"PDU length 67", append([]byte{1, 0, 0, 0, 0, 67}, make([]byte, 67)...), invalid},
		{"a megabyte is announced, and the rest does not come", longest, nil},
		{"item length past the end", requestOf([]byte{0x20, 0, 255, 255, 1}), invalid},
		{"half an item header", requestOf([]byte{0x20, 0, 1}), invalid},
		{"context without an ID", requestOf(item(0x20)), invalid},
		{"context item past its context", requestOf(contextItem(1, []byte{0x30, 0, 255, 255})), invalid},
		{"user item past its item", requestOf(contextItem(1, abstract()), item(0x50, 0x51, 0, 255, 255)), invalid},
		{"short maximum length", requestOf(contextItem(1, abstract()), item(0x50, item(0x51, 1)...)), invalid},
		{"role UID past its item", requestOf(contextItem(1, abstract()), item(0x50, item(0x54, 255, 255, '1')...)), invalid},
		{"identity past its item", requestOf(contextItem(1, abstract()), item(0x50, item(0x58, 1, 1, 255, 255)...)), invalid},
		{"200 contexts", requestOf(repeated(200, contextItem(1, abstract()))), invalid},
		{"129 contexts", requestOf(func() (b []byte) {
			for i := range 129 {
				b = append(b, contextItem(byte(i), abstract())...)
			}
			return b
		}()), invalid},
		{"a context twice", requestOf(contextItem(1, abstract()), contextItem(1, abstract())), invalid},
		{"no context", requestOf(), invalid},
		{"10,000 transfer syntaxes", requestOf(contextItem(1, abstract(), repeated(10_000, item(0x40)))), invalid},
		{"16,000 roles", requestOf(contextItem(1, abstract()), repeated(15, item(0x50, repeated(8000, item(0x54, 0, 0, 0, 0))...))), invalid},
		{"a megabyte of empty items", requestOf(repeated(250_000, item(0x99))), invalid},
		{"a megabyte of user items", requestOf(contextItem(1, abstract()), repeated(15, item(0x50, repeated(16_000, item(0x99))...))), ul.RejectNoReason},
		{"no application context", func() []byte {
			b := requestOf(contextItem(1, abstract()))
			return slices.Concat(b[:2], []byte{0, 0, 0, byte(len(b) - 6 - 25)}, b[6:74], b[74+25:])
		}(), ul.RejectApplicationContext},
		{"P-DATA-TF", pdata(command(1, storeRQ(1))), invalid},
		{"A-RELEASE-RQ", ul.ReleaseRQ{}.Append(nil), invalid},
		{"A-ABORT", ul.Abort{}.Append(nil), nil},
	}
	for name, greeting := range map[string]string{
		"HTTP": "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP POST": "POST /dicom-web/studies HTTP/1.1\r\nContent-Length: 4294967295\r\n\r\n",
		"TLS": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "SSH": "SSH-2.0-OpenSSH_9.2\r\n",
		"SMB": "\x00\x00\x00\x85\xffSMB\x72\x00\x00\x00\x00", "SMB 2": "\x00\x00\x00\x85\xfeSMB\x40\x00", "RDP": "\x03\x00\x00\x13\x0e\xe0\x00\x00\x00\x00\x00",
		"NUL": strings.Repeat("\x00", 5000), "0xFF": strings.Repeat("\xff", 5000),
	} {
		all = append(all, hostile{name, []byte(greeting), invalid})
	}
	return all
}

// refusing is a server that would let nobody in, so that what is read is read to
// its end.
func refusing() *association.Server {
	return &association.Server{
		Accept:   func(association.Request) association.Answer { return association.Answer{Reject: &ul.RejectNoReason} },
		Log:      slog.New(slog.DiscardHandler),
		Timeouts: association.Timeouts{ARTIM: 10 * time.Second},
	}
}

// A feed is a connection on which everything has arrived at once; it keeps what is
// sent over it. It allocates nothing for what is read.
type feed struct {
	net.Conn
	mu   sync.Mutex
	left []byte
	sent bytes.Buffer
	end  chan struct{}
	once sync.Once
}

func newFeed(b []byte) *feed {
	f := &feed{left: b, end: make(chan struct{})}
	f.sent.Grow(4 << 10)
	return f
}

func (f *feed) Read(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.left) == 0 {
		return 0, io.EOF
	}
	n := copy(b, f.left)
	f.left = f.left[n:]
	return n, nil
}

func (f *feed) Write(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sent.Write(b)
}

func (f *feed) Close() error                     { f.once.Do(func() { close(f.end) }); return nil }
func (f *feed) SetReadDeadline(time.Time) error  { return nil }
func (f *feed) SetWriteDeadline(time.Time) error { return nil }
func (f *feed) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

// serveFeed serves what has arrived and returns the PDUs that were sent, and how
// much was allocated.
func serveFeed(t *testing.T, s *association.Server, b []byte) (answers []any, allocated uint64) {
	t.Helper()
	f := newFeed(b)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	s.ServeConn(t.Context(), f)
	runtime.ReadMemStats(&after)
	for sent := f.sent.Bytes(); len(sent) > 0; {
		h := ul.ParseHeader(sent)
		p, err := ul.Parse(h, sent[ul.HeaderLength:ul.HeaderLength+int(h.Length)])
		if err != nil {
			t.Fatal(err)
		}
		answers = append(answers, p)
		sent = sent[ul.HeaderLength+int(h.Length):]
	}
	return answers, after.TotalAlloc - before.TotalAlloc
}

// bounded checks the promise: 8 times what arrived and a mebibyte.
func bounded(t *testing.T, arrived int, allocated uint64) {
	t.Helper()
	if limit := uint64(8*arrived + 1<<20); allocated > limit {
		t.Errorf("%d bytes made us allocate %d", arrived, allocated)
	}
}

func TestHostileBytesBeforeTheAssociation(t *testing.T) {
	for _, c := range beforeTheAssociation() {
		t.Run(c.name, func(t *testing.T) {
			answers, allocated := serveFeed(t, refusing(), c.sent)
			bounded(t, len(c.sent), allocated)
			switch {
			case c.answer == nil && len(answers) > 0:
				t.Errorf("answered %v", answers)
			case c.answer != nil && (len(answers) != 1 || answers[0] != c.answer):
				t.Errorf("answered %v, not %v", answers, c.answer)
			}
		})
	}
}

// Every single byte of a good conversation cut off, and changed to each of some
// values: it is served or refused, and nothing is held.
func TestHostileBytesAnywhere(t *testing.T) {
	talk := slices.Concat(proposal().Append(nil), pdata(command(3, storeRQ(1))), pdata(data(3, "01", false), data(3, "23", true)), ul.ReleaseRQ{}.Append(nil))
	serve := func(b []byte) {
		stored := make(chan outcome, 100)
		_, allocated := serveFeed(t, newServer(stored), b)
		bounded(t, len(b), allocated)
	}
	for n := range talk {
		serve(talk[:n])
		for _, v := range []byte{0, 1, 0x7F, 0x80, 0xFF} {
			b := slices.Clone(talk)
			b[n] = v
			serve(b)
		}
	}
}

// inTheAssociation are what class 1 has of it.
func inTheAssociation() []hostile {
	value, parameter := aborted(ul.ReasonInvalidParameterValue), aborted(ul.ReasonUnexpectedParameter)
	user := ul.Abort{Source: ul.AbortByUser}
	none := dimse.Command{Field: dimse.CStoreRQ, MessageID: 1, AffectedSOPClassUID: ct, AffectedSOPInstanceUID: "1.2"}.Append(nil)
	big := make([]byte, 60<<10)
	return []hostile{
		{"PDU length 0xFFFFFFFF", []byte{4, 0, 255, 255, 255, 255}, value},
		{"PDU length 131073", []byte{4, 0, 0, 2, 0, 1}, value},
		{"PDV length 0", []byte{4, 0, 0, 0, 0, 4, 0, 0, 0, 0}, value},
		{"PDV length 1", []byte{4, 0, 0, 0, 0, 5, 0, 0, 0, 1, 1}, value},
		{"PDV length 0xFFFFFFFF", []byte{4, 0, 0, 0, 0, 6, 255, 255, 255, 255, 1, 3}, value},
		{"context that was not accepted", pdata(command(5, storeRQ(1))), value},
		{"data set before a command set", pdata(data(3, "x", true)), parameter},
		{"command set after a part of a data set", pdata(command(3, storeRQ(1)), data(3, "x", false), command(3, storeRQ(2))), parameter},
		{"two messages interleaved", pdata(ul.PDV{ContextID: 1, Command: true, Fragment: storeRQ(1)[:8]}, ul.PDV{ContextID: 3, Command: true, Fragment: storeRQ(2)}), parameter},
		{"no data set is announced, and one comes", slices.Concat(pdata(command(3, none)), pdata(data(3, "x", true))), parameter},
		{"endless fragments of a command set", repeated(100, pdata(ul.PDV{ContextID: 3, Command: true, Fragment: big})), value},
		{"endless empty fragments", pdata(append([]ul.PDV{command(3, storeRQ(1))}, make1001(data(3, "", false))...)...), value},
		{"endless empty P-DATA-TFs", repeated(1100, []byte{4, 0, 0, 0, 0, 0}), value},
		{"A-ASSOCIATE-RQ again", proposal().Append(nil), aborted(ul.ReasonUnexpectedPDU)},
		{"unknown PDU", []byte{8, 0, 0, 0, 0, 0}, aborted(ul.ReasonUnrecognizedPDU)},
		{"empty command set", pdata(command(3, nil)), user},
		{"element of 4 GB", pdata(command(3, []byte{0, 0, 2, 0, 255, 255, 255, 255})), user},
		{"element of another group", pdata(command(3, []byte{8, 0, 24, 0, 0, 0, 0, 0})), user},
		{"command set without a command", pdata(command(3, []byte{0, 0, 0, 1, 0, 0, 0, 0})), user},
		{"response to nothing", pdata(command(3, dimse.Command{Field: dimse.CStoreRSP}.Append(nil))), user},
		{"8,000 elements", pdata(command(3, repeated(8000, []byte{0, 0, 0, 2, 0, 0, 0, 0}))), user},
		{"tags without an end", pdata(command(3, slices.Concat([]byte{0, 0, 5, 16, 0, 240, 0, 0}, make([]byte, 61440)))), user},
	}
}

func TestHostileBytesInTheAssociation(t *testing.T) {
	for _, c := range inTheAssociation() {
		t.Run(c.name, func(t *testing.T) {
			stored := make(chan outcome, 10)
			b := append(proposal().Append(nil), c.sent...)
			answers, allocated := serveFeed(t, newServer(stored), b)
			bounded(t, len(b), allocated)
			if len(answers) < 2 || answers[len(answers)-1] != c.answer {
				t.Errorf("answered %v, not %v", answers, c.answer)
			}
			close(stored)
			for o := range stored {
				if o.err == nil {
					t.Error("the handler was told that the object is whole")
				}
			}
		})
	}
}

// Class 2: the connection is reset after the last PDV and before the response. The
// object is whole and stored, the response is lost, and it is sent again.
func TestResetBeforeTheResponse(t *testing.T) {
	var mu sync.Mutex
	stored := map[string]int{}
	working, reset := make(chan struct{}, 1), make(chan struct{})
	ended := make(chan error, 1)
	s := newServer(nil)
	s.Ended = func(_ association.Request, err error) { ended <- err }
	s.Handlers[dimse.CStoreRQ] = store.Handle(func(_ context.Context, r store.Request, dataSet io.Reader) dimse.Status {
		if n, err := io.Copy(io.Discard, dataSet); n != 4 || err != nil {
			t.Errorf("%d bytes, %v", n, err)
		}
		working <- struct{}{}
		<-reset
		mu.Lock()
		defer mu.Unlock()
		stored[r.SOPInstanceUID]++
		return dimse.Status{}
	})
	address := listen(t, s)
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	p := peer{t, c}
	p.associate(proposal())
	p.send(slices.Concat(pdata(command(3, storeRQ(1))), pdata(data(3, "0123", true))))
	<-working
	c.(*net.TCPConn).SetLinger(0)
	c.Close()
	close(reset)
	if err := <-ended; !errors.Is(err, association.ErrLost) {
		t.Error(err)
	}
	a, err := association.Dial(t.Context(), address, association.Proposal{Calling: "CT1", Called: "NHIP", Contexts: ctContexts})
	if err != nil {
		t.Fatal(err)
	}
	status, err := store.Send(t.Context(), a, ctObject("0123"))
	if err != nil || status.Code != 0 {
		t.Errorf("%v, %v", status, err)
	}
	if err := a.Release(t.Context()); err != nil {
		t.Error(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if stored["1.2.3.4"] != 2 {
		t.Errorf("%v", stored)
	}
}

// Class 4: AE titles go to Accept as text and to the log quoted; they are no names
// of anything.
func TestHostileAETitles(t *testing.T) {
	for _, title := range []string{"../../etc/passwd", "a|rm -rf /", "$(reboot)", "x;y", "A B", "ct1", "C\x00T1", "CT1\n level=ERR", "<script>", "B\xe1\xbb\x87nh vi\xe1\xbb\x87n", "\xff\xfe", ""} {
		synctest.Test(t, func(t *testing.T) {
			var log bytes.Buffer
			s := newServer(nil)
			s.Log = slog.New(slog.NewTextHandler(&log, nil))
			s.Accept = func(r association.Request) association.Answer {
				if r.Calling != strings.Trim(title, " \x00") {
					t.Errorf("%q is %q", title, r.Calling)
				}
				return association.Answer{Reject: &ul.RejectCallingAETitle}
			}
			rq := proposal()
			rq.Calling = title
			p := connect(t, s)
			p.send(rq.Append(nil))
			p.expect(ul.RejectCallingAETitle)
			p.Close()
			synctest.Wait()
			for line := range strings.Lines(log.String()) {
				if !strings.HasPrefix(line, "time=") || strings.ContainsAny(strings.TrimSuffix(line, "\n"), "\x00\n\xff") {
					t.Errorf("%q", line)
				}
			}
		})
	}
}

// Class 4: what is no UID names no object; what is odd and common does.
func TestHostileInstanceUIDs(t *testing.T) {
	for instance, want := range map[string]uint16{
		"":                             dimse.CannotUnderstand,
		"../../../etc/passwd":          dimse.InvalidSOPInstance,
		"1.2/3":                        dimse.InvalidSOPInstance,
		"1.2.3;rm -rf":                 dimse.InvalidSOPInstance,
		"..":                           dimse.InvalidSOPInstance,
		"1..2":                         dimse.InvalidSOPInstance,
		"1.2\x003":                     dimse.InvalidSOPInstance,
		"1." + strings.Repeat("1", 63): dimse.InvalidSOPInstance,
		"1." + strings.Repeat("1", 62): dimse.Success,
		"1.02.3":                       dimse.Success,
		"1.2.3 ":                       dimse.Success,
		"1.2.3\x00\x00":                dimse.Success,
	} {
		synctest.Test(t, func(t *testing.T) {
			stored := make(chan outcome, 1)
			p := connect(t, newServer(stored))
			p.associate(proposal())
			rq := dimse.Command{Field: dimse.CStoreRQ, MessageID: 1, HasDataSet: true, AffectedSOPClassUID: ct, AffectedSOPInstanceUID: instance}
			p.send(slices.Concat(pdata(command(3, rq.Append(nil))), pdata(data(3, "x", true))))
			if c := p.response(); c.Status.Code != want || want != 0 && c.Status.Comment == "" {
				t.Errorf("%q: %v", instance, c.Status)
			}
		})
	}
}

// FuzzAssociation: whatever a peer sends, the server ends, answers with whole PDUs
// and is not told that half an object is one.
func FuzzAssociation(f *testing.F) {
	open := proposal().Append(nil)
	for _, c := range beforeTheAssociation() {
		if len(c.sent) < 4096 {
			f.Add(c.sent)
		}
	}
	for _, c := range inTheAssociation() {
		if len(c.sent) < 4096 {
			f.Add(append(slices.Clone(open), c.sent...))
		}
	}
	f.Add(slices.Concat(open, pdata(command(3, storeRQ(1))), pdata(data(3, "01", false), data(3, "23", true)), ul.ReleaseRQ{}.Append(nil)))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := &association.Server{
			Accept: acceptAll,
			Handlers: map[dimse.CommandField]association.Handler{
				dimse.CStoreRQ: store.Handle(func(_ context.Context, _ store.Request, dataSet io.Reader) dimse.Status {
					io.Copy(io.Discard, dataSet)
					return dimse.Status{}
				}),
				dimse.CFindRQ: find,
			},
			Log: slog.New(slog.DiscardHandler),
		}
		answers, _ := serveFeed(t, s, b)
		for _, a := range answers {
			if _, ok := a.(ul.AssociateRQ); ok {
				t.Fatal("an acceptor has sent an A-ASSOCIATE-RQ")
			}
		}
	})
}
