package journal

import (
	"context"
	"encoding/json"
	"errors"
	"io"

	"nhip/gateway/control"
)

// The paths of the acts on a running gateway. Looking changes nothing.
const (
	PathSearch = "journal"
	PathShow   = "journal/show"
	PathBytes  = "journal/bytes"
)

// maxCarried is the largest body that goes over the socket; larger ones are
// had from the console.
const maxCarried = 64 << 20

// A Request names one entry.
type Request struct {
	Ref string `json:"ref"`
}

// Register adds the acts to those of a running gateway, for who has its socket.
func (j *Journal) Register(a *control.Acts) {
	a.RegisterLocal(PathSearch, func(ctx context.Context, _ control.Actor, request json.RawMessage) (any, error) {
		var q Query
		if err := json.Unmarshal(request, &q); err != nil {
			return nil, control.Bad("the request cannot be read")
		}
		if err := q.Check(); err != nil {
			return nil, control.Bad("%v", err)
		}
		return j.Search(ctx, q)
	})
	a.RegisterLocal(PathShow, func(_ context.Context, _ control.Actor, request json.RawMessage) (any, error) {
		var r Request
		if err := json.Unmarshal(request, &r); err != nil {
			return nil, control.Bad("the request cannot be read")
		}
		d, err := j.Show(r.Ref)
		return d, unknown(err)
	})
	a.RegisterLocal(PathBytes, func(_ context.Context, _ control.Actor, request json.RawMessage) (any, error) {
		var r Request
		if err := json.Unmarshal(request, &r); err != nil {
			return nil, control.Bad("the request cannot be read")
		}
		b, err := j.body(r.Ref)
		return b, unknown(err)
	})
}

func unknown(err error) error {
	if errors.Is(err, ErrUnknown) {
		return control.Unknown("%v", err)
	}
	return err
}

func (j *Journal) body(ref string) ([]byte, error) {
	r, n, err := j.Bytes(ref)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if n > maxCarried {
		return nil, control.Bad("the entry has %d bytes: download it from the console", n)
	}
	return io.ReadAll(r)
}

// A Reader is a journal to look at: that of a running gateway, or a store.
type Reader interface {
	Search(ctx context.Context, q Query) (Page, error)
	Show(ctx context.Context, ref string) (Detail, error)
	Bytes(ctx context.Context, ref string) ([]byte, error)
}

// Running looks at the journal of the gateway that runs on a data folder.
type Running struct{ Data string }

// Search, Show and Bytes ask it. control.ErrNotRunning: there is none.
func (r Running) Search(ctx context.Context, q Query) (p Page, err error) {
	return p, control.Call(ctx, r.Data, "", PathSearch, q, &p)
}

func (r Running) Show(ctx context.Context, ref string) (d Detail, err error) {
	return d, control.Call(ctx, r.Data, "", PathShow, Request{ref}, &d)
}

func (r Running) Bytes(ctx context.Context, ref string) (b []byte, err error) {
	return b, control.Call(ctx, r.Data, "", PathBytes, Request{ref}, &b)
}

// Stopped looks at a store that no gateway runs on.
type Stopped struct{ *Journal }

// Show reads one entry.
func (s Stopped) Show(_ context.Context, ref string) (Detail, error) { return s.Journal.Show(ref) }

// Bytes reads the bytes of one entry.
func (s Stopped) Bytes(_ context.Context, ref string) ([]byte, error) { return s.Journal.body(ref) }
