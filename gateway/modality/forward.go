package modality

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"slices"
	"time"

	"nhip/dicom"
	"nhip/dicom/association"
	"nhip/dicom/dimse"
	"nhip/dicom/store"
	"nhip/dicom/uid"
	"nhip/dicom/ul"
	"nhip/gateway/delivery"
	"nhip/gateway/intake"
	"nhip/gateway/reason"
	"nhip/storage"
)

// A Destination is an application entity that takes objects.
type Destination struct {
	Address         string // host:port
	Called, Calling string // AE titles
	Connect, Answer time.Duration
	TLS             func() (*tls.Config, error) // nil: in the clear
}

// A File is a stored object.
type File interface {
	io.ReadSeekCloser
	io.ReaderAt
}

// A Forwarder is the C-STORE SCU of one destination, a delivery.Sender. It
// keeps an association while there is something to send, and proposes every kind
// of object that it has had to send so far, each in the transfer syntax that it
// is stored in.
type Forwarder struct {
	d      Destination
	open   func(storage.Ref) (intake.Entry, File, error)
	kinds  []store.Kind // newest last
	buffer []byte       // of a short object, nil while nothing is sent
	a      *association.Association
	idle   *time.Timer
	lock   chan struct{} // held while the association is in use
}

// idleRelease is how long an association is kept with nothing to send.
const idleRelease = 5 * time.Second

// NewForwarder returns a Forwarder; open opens the object of a journal entry, as it is
// on disk: the Forwarder holds it against its hash.
func NewForwarder(d Destination, open func(storage.Ref) (intake.Entry, File, error)) *Forwarder {
	f := &Forwarder{d: d, open: open, lock: make(chan struct{}, 1)}
	f.idle = time.AfterFunc(time.Hour, func() {
		f.lock <- struct{}{}
		defer func() { <-f.lock }()
		f.buffer = nil
		f.release()
	})
	f.idle.Stop()
	return f
}

// Send is delivery.Sender.
func (f *Forwarder) Send(ctx context.Context, it delivery.Item) delivery.Event {
	f.lock <- struct{}{}
	defer func() { <-f.lock }()
	f.idle.Stop()
	defer f.idle.Reset(idleRelease)
	e, file, err := f.open(it.About)
	if err != nil {
		return delivery.Event{Kind: delivery.Refused, Why: reason.New(reason.Damaged, err.Error())}
	}
	defer file.Close()
	dataSet, err := f.dataSet(file, e)
	if err != nil {
		return delivery.Event{Kind: delivery.Refused, Why: reason.New(reason.Damaged, err.Error())}
	}
	o := store.Object{
		SOPClassUID: e.Attrs[intake.AttrSOPClass], SOPInstanceUID: e.Attrs[intake.AttrSOPInstance],
		TransferSyntaxUID: e.Attrs[intake.AttrTransferSyntax], DataSet: dataSet,
	}
	if event, ok := f.associate(ctx, store.Kind{SOPClassUID: o.SOPClassUID, TransferSyntaxUID: o.TransferSyntaxUID}); !ok {
		return event
	}
	late, end := delivery.Late(ctx)
	defer end()
	sending, cancel := context.WithTimeout(late, f.answerTime(e.Length))
	defer cancel()
	status, err := store.Send(sending, f.a, o)
	var not *association.NotAcceptedError
	switch {
	case dataSet.err != nil: // the association was aborted before the last fragment
		f.a = nil
		return delivery.Event{Kind: delivery.Refused, Why: reason.New(reason.Damaged, dataSet.err.Error())}
	case errors.As(err, &not):
		return delivery.Event{Kind: delivery.Refused, Why: notTaken(not)}
	case err != nil:
		f.drop("the object was not answered")
		return delivery.Event{Kind: delivery.Unclear, Why: reason.Broken(err)}
	}
	event := Settle(status)
	event.Answer = delivery.Answered([]byte("C-STORE-RSP " + status.String()))
	return event
}

// mostAtOnce is the longest object that is read and held against its hash before the
// first of it is sent: most are slices. A longer one is while it is sent.
const mostAtOnce = 1 << 20

// dataSet reads over what stands before the data set of a stored object.
func (f *Forwarder) dataSet(file File, e intake.Entry) (*verified, error) {
	if e.Length > mostAtOnce {
		return verifying(file, e.SHA256)
	}
	if f.buffer == nil {
		f.buffer = make([]byte, mostAtOnce)
	}
	b := f.buffer[:e.Length]
	if _, err := io.ReadFull(file, b); err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != e.SHA256 {
		return nil, errChanged
	}
	meta, err := dicom.ReadPart10(bytes.NewReader(b))
	return &verified{Reader: bytes.NewReader(b[meta.DataSet:])}, err
}

var errChanged = errors.New("the SHA-256 of the object is another")

// A verified is the data set of a stored object. Where it has a hash, it ends with
// io.EOF only if all bytes of the file, those before the data set too, have the one
// that was noted when they came: with any other error the peer does not get the end of
// the object, and so has none.
type verified struct {
	io.Reader
	hash hash.Hash // nil: the file was held against it before
	want string
	err  error // of the file
}

func verifying(file File, want string) (*verified, error) {
	meta, err := dicom.ReadPart10(file)
	if err != nil {
		return nil, err
	}
	v := &verified{Reader: file, hash: sha256.New(), want: want}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	_, err = io.CopyN(v.hash, file, meta.DataSet)
	return v, err
}

func (v *verified) Read(b []byte) (int, error) {
	n, err := v.Reader.Read(b)
	if v.hash != nil {
		v.hash.Write(b[:n])
		if err == io.EOF && hex.EncodeToString(v.hash.Sum(nil)) != v.want {
			err = errChanged
		}
	}
	if err != nil && err != io.EOF {
		v.err = err
	}
	return n, err
}

// answerTime is how long an object may take: the configured time for the
// answer, and the time of its bytes at 64 kB/s.
func (f *Forwarder) answerTime(length int64) time.Duration {
	return f.d.Answer + time.Duration(length/64000)*time.Second
}

// Settle says what a C-STORE status means (PS3.4 section B.2.3): success and
// warnings are delivered, out of resources is tried again, any other failure is
// held with its status.
func Settle(s dimse.Status) delivery.Event {
	why := reason.Reason{Code: reason.Status, Args: []string{dimse.Status{Code: s.Code}.String()}, Said: s.Comment}
	switch {
	case s.Class() == dimse.ClassSuccess, s.Class() == dimse.ClassWarning:
		return delivery.Event{Kind: delivery.Accepted}
	case s.Code>>8 == 0xA7, s.Code == 0x0213: // out of resources, resource limitation
		return delivery.Event{Kind: delivery.Rejected, Why: why}
	}
	return delivery.Event{Kind: delivery.Refused, Why: why}
}

// associate makes sure that there is an association with a context for a kind,
// or says what is in the way.
func (f *Forwarder) associate(ctx context.Context, k store.Kind) (delivery.Event, bool) {
	if f.a != nil && f.a.Err() != nil {
		f.a = nil // the peer has ended it
	}
	if f.a != nil {
		if slices.Contains(f.kinds, k) {
			return delivery.Event{}, true
		}
		f.release()
	}
	if i := slices.Index(f.kinds, k); i >= 0 {
		f.kinds = slices.Delete(f.kinds, i, i+1)
	}
	f.kinds = append(f.kinds, k)
	if n := len(f.kinds) - ul.MaxPresentationContexts; n > 0 {
		f.kinds = slices.Delete(f.kinds, 0, n)
	}
	contexts, _ := store.Contexts(f.kinds)
	var secured *tls.Config
	if f.d.TLS != nil {
		var err error
		if secured, err = f.d.TLS(); err != nil {
			return delivery.Event{Kind: delivery.NotSent, Why: reason.Network(err)}, false
		}
	}
	a, err := association.Dial(ctx, f.d.Address, association.Proposal{
		Calling: f.d.Calling, Called: f.d.Called, Contexts: contexts, TLS: secured,
		Timeouts: association.Timeouts{ARTIM: f.d.Connect, DIMSE: f.d.Answer, Response: f.d.Answer},
	})
	var rejected *association.RejectedError
	switch {
	case errors.As(err, &rejected):
		return delivery.Event{Kind: delivery.NotSent, Why: noAssociation(rejected)}, false
	case err != nil:
		return delivery.Event{Kind: delivery.NotSent, Why: reason.Network(err)}, false
	}
	f.a = a
	return delivery.Event{}, true
}

// release ends the association in order.
func (f *Forwarder) release() {
	if f.a == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_ = f.a.Release(ctx) // nothing depends on how it ends
	f.a = nil
}

func (f *Forwarder) drop(why string) {
	f.a.Abort(why)
	f.a = nil
}

// Close is delivery.Sender.
func (f *Forwarder) Close() {
	f.lock <- struct{}{}
	defer func() { <-f.lock }()
	f.idle.Stop()
	f.release()
}

// notTaken says why there is no presentation context for an object.
func notTaken(e *association.NotAcceptedError) reason.Reason {
	class, syntax := uid.Name(e.AbstractSyntax), uid.Name(e.TransferSyntax)
	switch e.Result {
	case ul.AbstractSyntaxNotSupported:
		return reason.New(reason.NoSOPClass, class)
	case ul.TransferSyntaxNotSupported:
		return reason.New(reason.NoSyntax, class, syntax)
	}
	return reason.New(reason.NotTaken, class, syntax, e.Result.String())
}

// noAssociation says why an association was rejected; what a person can correct
// has its own words.
func noAssociation(e *association.RejectedError) reason.Reason {
	switch e.AssociateRJ {
	case ul.RejectCalledAETitle:
		return reason.New(reason.NotOurAE, e.Called)
	case ul.RejectCallingAETitle:
		return reason.New(reason.UnknownToThem, e.Calling)
	}
	return reason.New(reason.NoAssociation, e.AssociateRJ.String())
}
