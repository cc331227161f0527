package hl7http

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"time"

	"nhip/hl7"
)

// ClientOptions are the rules for a Client. Zero means the default.
type ClientOptions struct {
	URL            string
	User, Password string        // for basic authentication; empty: none
	Timeout        time.Duration // for the whole exchange; 30 s
	MaxAnswer      int64         // bytes; 16 MiB
	Transport      http.RoundTripper
}

// A StatusError is a response that is no HL7 message. It is never an acknowledgement,
// whatever its status.
type StatusError struct{ Status int }

func (e *StatusError) Error() string {
	return fmt.Sprintf("hl7http: the answer is status %d without an HL7 message", e.Status)
}

// ErrAnswerTooLong is an answer over MaxAnswer.
var ErrAnswerTooLong = errors.New("hl7http: the answer is too long")

// A Client sends messages to one address. It may be used by several goroutines.
type Client struct {
	o    ClientOptions
	http *http.Client
}

// NewClient makes a client. Redirections are not followed: the message would go on as
// a GET, or to somebody else.
func NewClient(o ClientOptions) *Client {
	if o.Timeout == 0 {
		o.Timeout = 30 * time.Second
	}
	if o.MaxAnswer == 0 {
		o.MaxAnswer = 16 << 20
	}
	return &Client{o: o, http: &http.Client{
		Timeout:       o.Timeout,
		Transport:     o.Transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Send sends a message, whose charset parameter is that of its MSH-18, and returns the
// answer, whatever its status: MSA-1 tells. The answer is nil where the peer has none
// to give (204). An error leaves open whether the peer has the message.
func (c *Client) Send(ctx context.Context, message []byte) ([]byte, error) {
	charset := ""
	if m, _ := hl7.Parse(message); m != nil {
		charset = Charset(m)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.o.URL, bytes.NewReader(message))
	if err != nil {
		return nil, fmt.Errorf("hl7http: %w", err)
	}
	request.Header.Set("Content-Type", mediaType(charset))
	request.Header.Set("Accept", ContentType)
	request.Header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	if c.o.User != "" {
		request.SetBasicAuth(c.o.User, c.o.Password)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, fmt.Errorf("hl7http: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusNoContent {
		return nil, nil
	}
	kind, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type"))
	if !contentTypes[kind] {
		return nil, &StatusError{response.StatusCode}
	}
	answer, err := io.ReadAll(io.LimitReader(response.Body, c.o.MaxAnswer+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("hl7http: %w", err)
	case int64(len(answer)) > c.o.MaxAnswer:
		return nil, ErrAnswerTooLong
	case !hl7.IsMessage(answer):
		return nil, &StatusError{response.StatusCode}
	}
	return answer, nil
}

// Close closes the connections that wait for the next message.
func (c *Client) Close() { c.http.CloseIdleConnections() }
