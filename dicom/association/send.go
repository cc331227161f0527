package association

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"nhip/dicom/dimse"
	"nhip/dicom/ul"
)

// write sends whole PDUs in one Write. Only the last PDU of an association is
// sent after its end.
func (a *Association) write(b []byte, last bool) error {
	a.writing.Lock()
	defer a.writing.Unlock()
	if a.broken {
		return ErrLost
	}
	if !last {
		a.conn.SetWriteDeadline(time.Now().Add(a.timeouts.PDU))
		if err := a.Err(); err != nil {
			return err
		}
	} else if a.Err() == nil {
		a.conn.SetWriteDeadline(time.Now().Add(a.timeouts.PDU))
	}
	_, err := a.conn.Write(b)
	a.broken = err != nil
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return &TimeoutError{"the peer to take what is sent"}
	}
	return err
}

// send sends a message. The data set is read until io.EOF and goes out in
// P-DATA-TF PDUs of the length that the peer takes, as many short ones in a Write
// as a long one has bytes; the command set goes out with the first of them. An error of dataSet aborts the
// association, and so does the end of ctx: half a message cannot be taken back.
func (a *Association) send(ctx context.Context, contextID byte, c dimse.Command, dataSet io.Reader) error {
	a.message.Lock()
	defer a.message.Unlock()
	if ctx.Err() != nil {
		return a.cutShort(ctx)
	}
	if a.requestor || !c.Field.Response() {
		stop := context.AfterFunc(ctx, func() { a.cutShort(ctx) })
		defer stop()
	}
	c.HasDataSet = dataSet != nil
	a.appendCommand(contextID, c)
	if dataSet == nil {
		return a.flush()
	}
	return a.sendDataSet(contextID, dataSet)
}

func (a *Association) appendCommand(contextID byte, c dimse.Command) {
	set := c.Append(nil)
	a.out = a.out[:0]
	for {
		n := min(len(set), a.maxSend-ul.PDVHeaderLength)
		a.out = ul.AppendPDataHeader(a.out, ul.PDV{ContextID: contextID, Command: true, Last: n == len(set)}, n)
		a.out = append(a.out, set[:n]...)
		if set = set[n:]; len(set) == 0 {
			return
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
		ahead = append(ahead[:0], a.out[:data+size+1][data+size])
		a.out = a.out[:data+size]
		if len(a.out)+size < DefaultMaxPDU {
			continue
		}
		if err := a.flush(); err != nil {
			return err
		}
		a.out = a.out[:0]
	}
}

// flush sends the PDUs in a.out. Where the peer takes no more, it may have said
// why before, and the goroutine that reads comes to it.
func (a *Association) flush() error {
	a.mu.Lock()
	_, err := a.machine.Step(ul.EvtPDataRequest)
	switch {
	case a.err != nil:
		err = a.err
	case err != nil:
		err = ErrReleased // we are about to: a message only begins before
	}
	a.mu.Unlock()
	if err != nil {
		return err
	}
	err = a.write(a.out, false)
	if err == nil {
		return nil
	}
	var late *TimeoutError
	if !errors.As(err, &late) {
		select {
		case <-a.ended:
		case <-time.After(time.Second):
		}
	}
	return a.fail(errors.Join(ErrLost, err))
}

// A Call is a request of ours whose responses are awaited.
type Call struct {
	a         *Association
	context   byte
	id        uint16
	field     dimse.CommandField
	responses chan *Message
	current   *Message
	last      bool
}

// pendingResponses without a data set may wait to be taken.
const pendingResponses = 64

// Start sends a request, as soon as the asynchronous operations window lets us,
// and returns when it is sent. A message ID of 0 stands for the next free one. The
// end of ctx before the request begins to be sent leaves the association alone.
//
// The role of SCU has to be ours for all but N-EVENT-REPORT: that is not looked
// at, since there are peers that take one and answer no role selection.
func (a *Association) Start(ctx context.Context, contextID byte, c dimse.Command, dataSet io.Reader) (*Call, error) {
	pc, ok := a.contexts[contextID]
	if !ok || !pc.SCU && c.Field != dimse.NEventReportRQ {
		return nil, &NotAcceptedError{AbstractSyntax: pc.AbstractSyntax, TransferSyntax: pc.TransferSyntax, Role: ok}
	}
	select {
	case a.invoked <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-a.ended:
		return nil, a.Err()
	case <-a.stopped:
		return nil, a.stopping
	}
	call := &Call{a: a, context: contextID, field: c.Field, responses: make(chan *Message, pendingResponses)}
	a.mu.Lock()
	if c.MessageID == 0 {
		c.MessageID = a.nextMessageID()
	}
	_, taken := a.calls[c.MessageID]
	if !taken {
		a.calls[c.MessageID] = call
	}
	a.mu.Unlock()
	if taken {
		<-a.invoked
		return nil, fmt.Errorf("dicom/association: message ID %d is that of a request without its response", c.MessageID)
	}
	call.id = c.MessageID
	if err := a.send(ctx, contextID, c, dataSet); err != nil {
		return nil, err
	}
	return call, nil
}

// MessageID returns the message ID of the request.
func (c *Call) MessageID() uint16 { return c.id }

// Next awaits the next response, reading over what is left of the last one's data
// set; io.EOF after the one that is not pending. Where no response comes in time
// the association is aborted, as it is at the end of ctx. While a response with a
// data set waits to be taken, nothing else is read from the association.
func (c *Call) Next(ctx context.Context) (*Message, error) {
	if c.current != nil && c.current.DataSet != nil {
		if err := c.current.DataSet.Drain(); err != nil {
			return nil, err
		}
	}
	c.current = nil
	if c.last {
		return nil, io.EOF
	}
	m, err := c.await(ctx)
	if err != nil {
		return nil, err
	}
	c.current = m
	c.last = m.Command.Status.Class() != dimse.ClassPending
	return m, nil
}

func (c *Call) await(ctx context.Context) (*Message, error) {
	late := time.NewTimer(c.a.timeouts.Response)
	defer late.Stop()
	select {
	case m := <-c.responses:
		return m, nil
	default:
	}
	select {
	case m := <-c.responses:
		return m, nil
	case <-c.a.ended:
	case <-c.a.stopped:
		if c.a.Err() == nil {
			return nil, c.a.stopping
		}
	case <-ctx.Done():
		return nil, c.a.cutShort(ctx)
	case <-late.C:
		return nil, c.a.fail(&TimeoutError{"the " + c.field.ResponseTo().String()})
	}
	select {
	case m := <-c.responses: // it came before the end
		return m, nil
	default:
		return nil, c.a.Err()
	}
}

// Cancel asks the peer to cancel the operation, PS3.7 section 9.3.2.3. Its
// responses still come, the last one perhaps with the status FE00H.
func (c *Call) Cancel(ctx context.Context) error {
	return c.a.send(ctx, c.context, dimse.Command{Field: dimse.CCancelRQ, MessageIDBeingRespondedTo: c.id}, nil)
}

// Request sends a request and awaits its response, of an operation that has one
// and no data set in it.
func (a *Association) Request(ctx context.Context, contextID byte, c dimse.Command, dataSet io.Reader) (dimse.Command, error) {
	call, err := a.Start(ctx, contextID, c, dataSet)
	if err != nil {
		return dimse.Command{}, err
	}
	m, err := call.Next(ctx)
	if err != nil {
		return dimse.Command{}, err
	}
	if !call.last || m.DataSet != nil {
		return m.Command, a.fail(&AbortedError{Why: fmt.Sprintf("%v for message %d is pending or has a data set", m.Command.Field, call.id)})
	}
	return m.Command, nil
}

// Respond answers a request with a status.
func (a *Association) Respond(ctx context.Context, m *Message, s dimse.Status) error {
	return a.RespondWith(ctx, m, dimse.Command{Status: s}, nil)
}

// RespondWith answers a request: the command field and the message ID are the
// request's, and so are the SOP class and instance where rsp names none. What is
// left of the request's data set is read over first. Of an operation with several
// responses, all but the last have a pending status.
func (a *Association) RespondWith(ctx context.Context, m *Message, rsp dimse.Command, dataSet io.Reader) error {
	if m.DataSet != nil {
		if err := m.DataSet.Drain(); err != nil {
			return err
		}
	}
	rsp.Field = m.Command.Field.ResponseTo()
	rsp.MessageIDBeingRespondedTo = m.Command.MessageID
	fill := func(to *string, from ...string) {
		for _, s := range from {
			if *to == "" {
				*to = s
			}
		}
	}
	fill(&rsp.AffectedSOPClassUID, m.Command.AffectedSOPClassUID, m.Command.RequestedSOPClassUID)
	fill(&rsp.AffectedSOPInstanceUID, m.Command.AffectedSOPInstanceUID, m.Command.RequestedSOPInstanceUID)
	if rsp.Status.Class() != dimse.ClassPending {
		a.answered(m) // the peer may ask anew as soon as it has the response
	}
	return a.send(ctx, m.Context.ID, rsp, dataSet)
}

// refuse answers a request with a status.
func refuse(s dimse.Status) Handler {
	return func(ctx context.Context, a *Association, m *Message) error {
		return a.Respond(ctx, m, s)
	}
}
