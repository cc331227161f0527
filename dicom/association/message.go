package association

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"nhip/dicom/dimse"
	"nhip/dicom/ul"
)

// A Message is a DIMSE message as it comes in: the command set, and the data set
// as a stream that ends with io.EOF at its last fragment and with another error
// where the association ends before.
type Message struct {
	Context Context
	Command dimse.Command
	DataSet *DataSet // nil: the command has none
}

// Receive awaits the next message: for a request as long as the association may
// be idle. A data set that was left unread is read over first. ErrReleased ends
// the association in order.
func (a *Association) Receive(ctx context.Context) (*Message, error) {
	defer a.await(ctx)()
	return a.receive(a.timeouts.Idle, "the next message")
}

func (a *Association) receive(first time.Duration, awaited string) (*Message, error) {
	if a.current != nil {
		if err := a.current.Drain(); err != nil {
			return nil, err
		}
	}
	var set []byte
	m := &Message{}
	for {
		v, err := a.nextPDV(first, awaited)
		if err != nil {
			return nil, err
		}
		if err := a.checkCommandPDV(v, m, len(set)); err != nil {
			return nil, a.fail(err)
		}
		a.inside = true
		m.Context = a.contexts[v.ContextID]
		set = append(set, v.Fragment...)
		if v.Last {
			break
		}
		first, awaited = a.timeouts.DIMSE, "the rest of a command set"
	}
	var err error
	if m.Command, err = dimse.Parse(set); err != nil {
		return nil, a.fail(err)
	}
	a.inside = m.Command.HasDataSet
	if m.Command.HasDataSet {
		m.DataSet = &DataSet{a: a, context: m.Context.ID}
	}
	a.current = m.DataSet
	return m, nil
}

// checkCommandPDV checks a PDV where a fragment of a command set is expected,
// PS3.8 annex E.2: command and data set in order, no two messages interleaved.
func (a *Association) checkCommandPDV(v ul.PDV, m *Message, have int) error {
	wrong := func(field string, got any, reason ul.AbortReason) error {
		return &ul.ProtocolError{PDU: "P-DATA-TF", Field: field, Got: got, Reason: reason}
	}
	switch {
	case !v.Command:
		return wrong("message control header", "data set where a command set is expected", ul.ReasonUnexpectedParameter)
	case a.inside && m.Context.ID != v.ContextID:
		return wrong("presentation context ID", "another one inside a command set", ul.ReasonUnexpectedParameter)
	case len(v.Fragment) == 0 && !v.Last:
		return wrong("fragment of a command set", "empty", ul.ReasonInvalidParameterValue)
	case have+len(v.Fragment) > maxCommandSet:
		return wrong("length of a command set", have+len(v.Fragment), ul.ReasonInvalidParameterValue)
	}
	return nil
}

// A DataSet is the data set of a message that is being received.
type DataSet struct {
	a        *Association
	context  byte
	fragment []byte
	last     bool
	empty    int
	err      error
}

// Read implements io.Reader.
func (d *DataSet) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	if !d.fill() {
		return 0, d.err
	}
	n := copy(b, d.fragment)
	d.fragment = d.fragment[n:]
	return n, nil
}

// WriteTo implements io.WriterTo: the fragments go to w out of the buffer into
// which they were received.
func (d *DataSet) WriteTo(w io.Writer) (written int64, err error) {
	for d.fill() {
		n, err := w.Write(d.fragment)
		d.fragment = d.fragment[n:]
		written += int64(n)
		if err != nil {
			return written, err
		}
	}
	if d.err == io.EOF {
		return written, nil
	}
	return written, d.err
}

// fill makes d.fragment hold at least a byte, or sets d.err.
func (d *DataSet) fill() bool {
	for len(d.fragment) == 0 && d.err == nil {
		if d.last {
			d.err = io.EOF
			d.a.inside = false
			break
		}
		v, err := d.a.nextPDV(d.a.timeouts.DIMSE, "the rest of a data set")
		if err == nil {
			err = d.check(v)
		}
		if err != nil {
			d.err = err
			break
		}
		d.fragment, d.last = v.Fragment, v.Last
	}
	return d.err == nil
}

func (d *DataSet) check(v ul.PDV) error {
	wrong := func(field string, got any, reason ul.AbortReason) error {
		return d.a.fail(&ul.ProtocolError{PDU: "P-DATA-TF", Field: field, Got: got, Reason: reason})
	}
	switch {
	case v.Command:
		return wrong("message control header", "command set where a data set is expected", ul.ReasonUnexpectedParameter)
	case v.ContextID != d.context:
		return wrong("presentation context ID", "another one than the command set's", ul.ReasonUnexpectedParameter)
	}
	if len(v.Fragment) > 0 {
		d.empty = 0
	} else if d.empty++; d.empty > maxEmptyPDVs {
		return wrong("number of empty fragments in a row", d.empty, ul.ReasonInvalidParameterValue)
	}
	return nil
}

// Drain reads what is left of the data set. It returns the error that ended the
// association where the data set did not come to its end.
func (d *DataSet) Drain() error {
	_, err := d.WriteTo(io.Discard)
	return err
}

// Send sends a message. The data set is read until io.EOF and goes out in
// P-DATA-TF PDUs of the length that the peer takes, each in one Write; the
// command set goes out with the first of them. An error of dataSet aborts the
// association: half a message cannot be taken back.
func (a *Association) Send(ctx context.Context, contextID byte, c dimse.Command, dataSet io.Reader) error {
	if a.err != nil {
		return a.err
	}
	defer a.await(ctx)()
	c.HasDataSet = dataSet != nil
	if err := a.appendCommand(contextID, c); err != nil {
		return a.fail(err)
	}
	if dataSet == nil {
		return a.flush()
	}
	return a.sendDataSet(contextID, dataSet)
}

func (a *Association) appendCommand(contextID byte, c dimse.Command) error {
	if _, err := a.machine.Step(ul.EvtPDataRequest); err != nil {
		return err
	}
	set := c.Append(nil)
	a.out = a.out[:0]
	for {
		n := min(len(set), a.maxSend-ul.PDVHeaderLength)
		a.out = ul.AppendPDataHeader(a.out, ul.PDV{ContextID: contextID, Command: true, Last: n == len(set)}, n)
		a.out = append(a.out, set[:n]...)
		if set = set[n:]; len(set) == 0 {
			return nil
		}
	}
}

// sendDataSet reads each fragment to where it is sent from, and a byte more:
// whether a fragment is the last one shows only there.
func (a *Association) sendDataSet(contextID byte, dataSet io.Reader) error {
	size := (a.maxSend - ul.PDVHeaderLength) &^ 1
	var ahead []byte
	for {
		start := len(a.out)
		a.out = ul.AppendPDataHeader(a.out, ul.PDV{ContextID: contextID}, size)
		data := len(a.out)
		a.out = slices.Grow(append(a.out, ahead...), size+1)
		n, err := io.ReadFull(dataSet, a.out[len(a.out):data+size+1])
		n += len(ahead)
		last := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !last {
			return a.fail(fmt.Errorf("dicom/association: reading the data set to be sent: %w", err))
		}
		if last {
			ul.AppendPDataHeader(a.out[:start], ul.PDV{ContextID: contextID, Last: true}, n)
			a.out = a.out[:data+n]
			return a.flush()
		}
		ahead = []byte{a.out[:data+size+1][data+size]}
		a.out = a.out[:data+size]
		if err := a.flush(); err != nil {
			return err
		}
	}
}

// flush sends what is in a.out. Where the peer takes no more, it may have said
// why before.
func (a *Association) flush() error {
	if a.in.ctx.Err() != nil {
		return a.fail(context.Cause(a.in.ctx))
	}
	err := a.write(a.out)
	if err == nil {
		return nil
	}
	if a.in.ctx.Err() != nil {
		return a.fail(errors.Join(ErrLost, context.Cause(a.in.ctx)))
	}
	var late *TimeoutError
	if !errors.As(err, &late) {
		var aborted *AbortedError
		if _, why := a.read(time.Second, "the reason"); errors.As(why, &aborted) && aborted.Peer {
			return why
		}
	}
	return a.fail(errors.Join(ErrLost, err))
}

// Request sends a request and awaits its response, whose message ID has to be
// the request's. Responses with a data set are not expected here.
func (a *Association) Request(ctx context.Context, contextID byte, c dimse.Command, dataSet io.Reader) (dimse.Command, error) {
	if err := a.Send(ctx, contextID, c, dataSet); err != nil {
		return dimse.Command{}, err
	}
	defer a.await(ctx)()
	m, err := a.receive(a.timeouts.Response, "the "+c.Field.ResponseTo().String())
	if err != nil {
		return dimse.Command{}, err
	}
	got := m.Command
	if got.Field != c.Field.ResponseTo() || got.MessageIDBeingRespondedTo != c.MessageID || got.HasDataSet {
		return got, a.fail(&AbortedError{Why: fmt.Sprintf("%v for message %d where %v for message %d was awaited",
			got.Field, got.MessageIDBeingRespondedTo, c.Field.ResponseTo(), c.MessageID)})
	}
	return got, nil
}

// Respond answers a request: the response repeats its message ID and its SOP
// class and instance.
func (a *Association) Respond(ctx context.Context, m *Message, s dimse.Status) error {
	return a.Send(ctx, m.Context.ID, dimse.Command{
		Field:                     m.Command.Field.ResponseTo(),
		MessageIDBeingRespondedTo: m.Command.MessageID,
		AffectedSOPClassUID:       m.Command.AffectedSOPClassUID,
		AffectedSOPInstanceUID:    m.Command.AffectedSOPInstanceUID,
		Status:                    s,
	}, nil)
}
