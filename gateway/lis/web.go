package lis

import (
	"context"
	"net"
	"net/http"

	"nhip/hl7/hl7http"
)

// A web is the transport of HL7 over HTTP.
type web struct{ client *hl7http.Client }

func newWeb(o SenderOptions, dial func(ctx context.Context, network, address string) (net.Conn, error)) web {
	return web{hl7http.NewClient(hl7http.ClientOptions{
		URL: o.Address, User: o.User, Password: o.Password, Timeout: o.Connect + o.Answer,
		Transport: &http.Transport{DialContext: dial, DialTLSContext: dial, MaxIdleConnsPerHost: 1},
	})}
}

// Connect does nothing: Send tells a system that is away.
func (web) Connect(context.Context) error { return nil }

func (w web) Send(ctx context.Context, message []byte) ([]byte, error) {
	return w.client.Send(ctx, message)
}

func (w web) Post(ctx context.Context, message []byte) error {
	_, err := w.client.Send(ctx, message)
	return err
}

func (w web) Close() error {
	w.client.Close()
	return nil
}
