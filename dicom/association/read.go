package association

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"time"

	"nhip/dicom/ul"
)

// A pduReader takes whole PDUs from a connection in a buffer of its own, so that
// a fragment goes from there to where it is stored without another copy.
//
// The buffer begins small and grows only as far as bytes have really arrived.
type pduReader struct {
	conn     net.Conn
	ctx      context.Context // an acceptor stops reading at its end
	cut      chan struct{}   // closed once that has cut a read short
	ended    chan struct{}   // closed when the association has ended
	maxPData uint32
	buf      []byte
	r, w     int       // what is unread is buf[r:w]
	since    time.Time // when the first byte at r arrived
}

const (
	firstBuffer = 4 << 10
	fullBuffer  = 2*(DefaultMaxPDU+ul.HeaderLength) + 4<<10 // two of the longest PDUs and a command set: then hardly any is moved
)

// next returns the next PDU; the body is valid until the next call. The first
// byte is awaited for the duration first, the rest of the PDU for whole from
// when its first byte was here. Before the association (opening) one deadline is
// for both, and a PDU that is no A-ASSOCIATE-RQ is returned without its body.
func (p *pduReader) next(first, whole time.Duration, opening bool, awaited string) (ul.Header, []byte, error) {
	deadline := time.Now().Add(first)
	if !opening && p.r < p.w {
		deadline, awaited = p.since.Add(whole), "the rest of a PDU"
	}
	need := ul.HeaderLength
	var h ul.Header
	for {
		if p.w-p.r >= need {
			if need > ul.HeaderLength || h.Type != 0 {
				break
			}
			h = ul.ParseHeader(p.buf[p.r:])
			if err := h.Check(p.maxPData, maxAssociate); err != nil {
				return h, nil, err
			}
			if opening && h.Type != ul.TypeAssociateRQ {
				p.r = p.w
				return h, nil, nil
			}
			need += int(h.Length)
			continue
		}
		empty := p.r == p.w
		if err := p.fill(need, deadline); err != nil {
			return h, nil, p.failure(err, awaited)
		}
		if empty {
			p.since = time.Now()
			if !opening {
				deadline, awaited = p.since.Add(whole), "the rest of a PDU"
			}
		}
	}
	body := p.buf[p.r+ul.HeaderLength : p.r+need]
	p.r += need
	if p.r < p.w {
		p.since = time.Now()
	}
	return h, body, nil
}

// begun reports whether a part of a PDU is here.
func (p *pduReader) begun() bool { return p.r < p.w }

// fill reads once. What is unread moves to the front where the PDU would not fit
// behind it; a full buffer is doubled, up to what the PDU needs or fullBuffer.
func (p *pduReader) fill(need int, deadline time.Time) error {
	if p.r == p.w {
		p.r, p.w = 0, 0
	}
	switch {
	case p.buf == nil:
		p.buf = make([]byte, firstBuffer)
	case p.r > 0 && p.r+need > len(p.buf):
		p.w = copy(p.buf, p.buf[p.r:p.w])
		p.r = 0
	}
	if p.w == len(p.buf) {
		bigger := make([]byte, min(2*len(p.buf), max(need, fullBuffer)))
		p.w = copy(bigger, p.buf[:p.w])
		p.buf = bigger
	}
	p.conn.SetReadDeadline(deadline)
	select {
	case <-p.ended:
		return net.ErrClosed
	case <-p.ctx.Done():
		return p.ctx.Err()
	default:
	}
	n, err := p.conn.Read(p.buf[p.w:])
	p.w += n
	if n > 0 {
		return nil
	}
	return err
}

func (p *pduReader) failure(err error, awaited string) error {
	switch {
	case p.ctx.Err() != nil:
		return context.Cause(p.ctx)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &TimeoutError{awaited}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrClosedPipe), errors.Is(err, net.ErrClosed):
		return ErrLost
	}
	return errors.Join(ErrLost, err)
}

// release gives the buffer back.
func (p *pduReader) release() { p.buf, p.r, p.w = nil, 0, 0 }
