package association

import (
	"errors"
	"fmt"
	"io"
	"sync"
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

	cancelled chan struct{} // of a request
	once      sync.Once
	placed    bool // the request takes a place of Association.performed
}

// Cancelled returns a channel that is closed when the peer cancels the operation
// that the message requests (C-CANCEL), and when the association ends or is
// released: there is nobody left to be answered.
func (m *Message) Cancelled() <-chan struct{} { return m.cancelled }

func (m *Message) cancel() { m.once.Do(func() { close(m.cancelled) }) }

// receive awaits the next message. ErrReleased ends the association in order.
func (a *Association) receive() (*Message, error) {
	var set []byte
	m := &Message{}
	first, awaited := time.Duration(untilIdle), "the next message"
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
		m.DataSet = &DataSet{a: a, context: m.Context.ID, done: make(chan struct{}), mu: newGate()}
	}
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

// A DataSet is the data set of a message that is being received. One goroutine
// reads it. Nothing else is read from the association until it is at its end: a
// response of the peer is awaited only after it.
type DataSet struct {
	a       *Association
	context byte
	done    chan struct{} // closed when err is set

	mu       gate
	fragment []byte
	last     bool
	empty    int
	over     bool  // nobody is to read the rest but the association itself
	err      error // io.EOF at the end
}

// errOver is what the reader of a data set gets that has been read over.
var errOver = errors.New("dicom/association: data set read after its message was over")

// Read implements io.Reader.
func (d *DataSet) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.over {
		return 0, errOver
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
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.over {
		return 0, errOver
	}
	return d.writeTo(w)
}

func (d *DataSet) writeTo(w io.Writer) (written int64, err error) {
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
			d.a.inside = false
			d.end(io.EOF)
			break
		}
		v, err := d.a.nextPDV(d.a.timeouts.DIMSE, "the rest of a data set")
		if err != nil && d.a.Err() == nil {
			err = d.a.cutShort(d.a.in.ctx) // the server stops
		}
		if err == nil {
			err = d.check(v)
		}
		if err != nil {
			d.end(err)
			break
		}
		d.fragment, d.last = v.Fragment, v.Last
	}
	return d.err == nil
}

func (d *DataSet) end(err error) {
	d.err = err
	close(d.done)
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
	d.mu.Lock()
	defer d.mu.Unlock()
	_, err := d.writeTo(io.Discard)
	return err
}

// abandon reads the rest over; who still reads gets an error.
func (d *DataSet) abandon() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err == nil {
		d.over = true
		d.writeTo(io.Discard)
	}
}

// run reads messages until the association ends, and returns when it is closed.
func (a *Association) run() {
	for {
		m, err := a.receive()
		if err == nil {
			err = a.dispatch(m)
		}
		if err == nil {
			continue
		}
		if a.Err() == nil { // the server stops: what it works on is answered
			a.stop(err)
			a.work.Wait()
			a.cutShort(a.in.ctx)
		}
		a.finish()
		return
	}
}

// dispatch hands a message over, and returns once its data set has been read.
func (a *Association) dispatch(m *Message) error {
	var err error
	switch {
	case m.Command.Field == dimse.CCancelRQ:
		a.cancel(m.Command.MessageIDBeingRespondedTo)
		if m.DataSet != nil {
			m.DataSet.abandon()
		}
	case m.Command.Field.Response():
		return a.deliver(m)
	case a.state() != ul.Sta6: // we release: PS3.8 action AR-6, and no way to answer
		if m.DataSet != nil {
			m.DataSet.abandon()
		}
	default:
		err = a.serve(m)
	}
	if err != nil || m.DataSet == nil {
		return err
	}
	select {
	case <-m.DataSet.done:
	case <-a.ended:
		m.DataSet.abandon()
	}
	return nil
}

// cancel tells the handler of a request that the peer does not want it any more;
// a request that is answered already is none: PS3.7 section 9.3.2.3.
func (a *Association) cancel(id uint16) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if m := a.serving[id]; m != nil {
		m.cancel()
	}
}

// serve starts the handler of a request when there is a place for it.
func (a *Association) serve(m *Message) error {
	m.cancelled = make(chan struct{})
	select {
	case a.performed <- struct{}{}:
	case <-a.ended:
		return a.Err()
	}
	h := a.handlers[m.Command.Field]
	if h == nil {
		h = refuse(dimse.Status{Code: dimse.UnrecognizedOperation, Comment: m.Command.Field.String() + " is not served here"})
	}
	a.mu.Lock()
	m.placed = true
	a.working++
	if a.err != nil {
		m.cancel()
	}
	if _, twice := a.serving[m.Command.MessageID]; twice {
		h = refuse(dimse.Status{Code: dimse.DuplicateInvocation, Comment: "the message ID is that of another request"})
	} else {
		a.serving[m.Command.MessageID] = m
	}
	a.mu.Unlock()
	a.work.Go(func() {
		err := h(a.base, a, m)
		if err == nil && m.DataSet != nil {
			err = m.DataSet.Drain()
		}
		a.answered(m)
		a.mu.Lock()
		a.working--
		a.active = time.Now()
		a.mu.Unlock()
		if err != nil && err != ErrReleased { // that is not to be aborted for it
			a.fail(err)
		}
	})
	return nil
}

// answered frees the place and the message ID of a request.
func (a *Association) answered(m *Message) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !m.placed {
		return
	}
	m.placed = false
	<-a.performed
	if a.serving[m.Command.MessageID] == m {
		delete(a.serving, m.Command.MessageID)
	}
}

// deliver hands a response to who awaits it.
func (a *Association) deliver(m *Message) error {
	a.mu.Lock()
	c, final, err := a.awaiting(m.Command)
	if err == nil && final {
		delete(a.calls, c.id)
		<-a.invoked
	}
	a.active = time.Now()
	a.mu.Unlock()
	if err != nil {
		return a.fail(err)
	}
	return a.handOver(c, m)
}

// handOver waits until a response is taken and its data set is read. Who awaited it
// may be gone: at the release, or where it gave up; then it is read over, or the
// association ends after the time that it may be idle.
func (a *Association) handOver(c *Call, m *Message) error {
	patience := time.NewTimer(a.timeouts.Idle)
	defer patience.Stop()
	taken, read := c.responses, (chan struct{})(nil)
	for {
		select {
		case taken <- m:
			if m.DataSet == nil {
				return nil
			}
			taken, read = nil, m.DataSet.done
		case <-read:
			return nil
		case <-patience.C:
			a.fail(&TimeoutError{"the reader of a response"})
		case <-a.ended:
		case <-a.releasing:
		case <-a.in.ctx.Done():
		}
		if a.over() {
			if m.DataSet != nil {
				m.DataSet.abandon()
			}
			return nil
		}
	}
}

// over reports whether nobody is to await a response any more.
func (a *Association) over() bool {
	select {
	case <-a.ended:
	case <-a.releasing:
	case <-a.in.ctx.Done():
	default:
		return false
	}
	return true
}

// awaiting returns whose response it is, and whether it is the last one. a.mu is
// held.
func (a *Association) awaiting(c dimse.Command) (*Call, bool, error) {
	call := a.calls[c.MessageIDBeingRespondedTo]
	if call != nil && call.field.ResponseTo() == c.Field {
		return call, c.Status.Class() != dimse.ClassPending, nil
	}
	why := fmt.Sprintf("%v for message %d", c.Field, c.MessageIDBeingRespondedTo)
	if len(a.calls) == 0 {
		return nil, false, &AbortedError{Why: why + " without a request of ours"}
	}
	for _, other := range a.calls {
		why = fmt.Sprintf("%s where %v for message %d was awaited", why, other.field.ResponseTo(), other.id)
		break
	}
	return nil, false, &AbortedError{Why: why}
}
