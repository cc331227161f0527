package monitor

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/eclipse/paho.golang/paho"

	"nhip/hardware-sim/truth"
	"nhip/hardware-sim/wire"
)

// WatcherOptions of a Watcher.
type WatcherOptions struct {
	Name     string // of the destination in the truth
	Address  func() (string, error)
	User     string
	Password string
	Topics   []string
	Received func(truth.Delivery)
	Lost     func() // called when the connection is lost; may be nil
	Log      *slog.Logger
}

// A Watcher subscribes to a broker, QoS 1, and records the observations that
// come out of it: topic v1/{site}/{unit}/{device}/numeric.
type Watcher struct {
	o WatcherOptions

	mu        sync.Mutex
	connected bool
	received  int
	other     int
}

// NewWatcher returns a watcher that is not connected yet.
func NewWatcher(o WatcherOptions) *Watcher { return &Watcher{o: o} }

// Connected reports whether it is subscribed.
func (w *Watcher) Connected() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.connected
}

// Received is the number of observations that came, repeats too.
func (w *Watcher) Received() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.received
}

// Run connects and subscribes, again whenever the connection is lost, until ctx
// ends.
func (w *Watcher) Run(ctx context.Context) {
	for ctx.Err() == nil {
		if err := w.watch(ctx); err != nil && ctx.Err() == nil {
			w.o.Log.Debug("mqtt", "user", w.o.User, "state", err)
		}
		w.mu.Lock()
		was := w.connected
		w.connected = false
		w.mu.Unlock()
		if was && w.o.Lost != nil && ctx.Err() == nil {
			w.o.Lost()
		}
		wire.Wait(ctx, redial)
	}
}

func (w *Watcher) watch(ctx context.Context) error {
	address, err := w.o.Address()
	if err != nil {
		return err
	}
	conn, err := (&net.Dialer{Timeout: answerTime}).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	client := paho.NewClient(paho.ClientConfig{
		Conn: conn,
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(p paho.PublishReceived) (bool, error) {
			w.publish(p.Packet)
			return true, nil
		}},
	})
	opening, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	_, err = client.Connect(opening, &paho.Connect{
		ClientID: "hwsim-" + w.o.User, KeepAlive: 10, CleanStart: true,
		Username: w.o.User, UsernameFlag: true, Password: []byte(w.o.Password), PasswordFlag: true,
	})
	if err != nil {
		return err
	}
	var topics []paho.SubscribeOptions
	for _, t := range w.o.Topics {
		topics = append(topics, paho.SubscribeOptions{Topic: t, QoS: 1})
	}
	if _, err := client.Subscribe(opening, &paho.Subscribe{Subscriptions: topics}); err != nil {
		return err
	}
	w.mu.Lock()
	w.connected = true
	w.mu.Unlock()
	select {
	case <-ctx.Done():
		client.Disconnect(&paho.Disconnect{})
		return ctx.Err()
	case <-client.Done():
		return fmt.Errorf("connection lost")
	}
}

// A payload is what the gateway publishes.
type payload struct {
	Code       int       `json:"code"`
	MDC        string    `json:"mdc"`
	Value      string    `json:"value"`
	Unit       string    `json:"unit"`
	DeviceTime time.Time `json:"device_time"`
	Received   string    `json:"gateway_time"`
	Seq        int64     `json:"seq"`
	State      string    `json:"state"`
}

// publish records one message. A retained one is from before the subscription
// and says nothing new.
func (w *Watcher) publish(p *paho.Publish) {
	parts := strings.Split(p.Topic, "/")
	if p.Retain || len(parts) != 5 || parts[4] != "numeric" {
		w.mu.Lock()
		w.other++
		w.mu.Unlock()
		return
	}
	w.mu.Lock()
	w.received++
	w.mu.Unlock()
	if d, ok := read(parts[3], p.Topic, p.Payload); ok {
		d.Destination = w.o.Name
		w.o.Received(d)
	}
}

// read is what a published message says. An observation without a value is a
// state, not a reading: it is not compared.
func read(device, topic string, body []byte) (truth.Delivery, bool) {
	var o payload
	d := truth.Delivery{Kind: truth.Observation, Key: device, Outcome: truth.Accepted, Answer: "PUBACK"}
	sum := sha256.Sum256(body)
	d.Digest = hex.EncodeToString(sum[:])
	if err := json.Unmarshal(body, &o); err != nil {
		d.Name, d.Faults = d.Digest, []string{"the payload cannot be read: " + err.Error()}
		return d, true
	}
	if o.Value == "" {
		return d, false
	}
	d.Name = fmt.Sprintf("%s seq %d of %s code %d", device, o.Seq, o.Received, o.Code) // seq begins anew with the gateway
	d.Key = key(device, o.Code, o.DeviceTime)
	for _, secret := range []string{patientID, patientName} {
		if strings.Contains(topic, secret) || strings.Contains(string(body), secret) {
			d.Faults = append(d.Faults, "it names the patient")
		}
	}
	d.Results = []truth.Result{{Code: fmt.Sprint(o.Code), Value: o.Value, Unit: unit(o.Unit), Status: o.State}}
	return d, true
}

var annotation = regexp.MustCompile(`\{[^}]*\}`)

// unit is a UCUM unit without annotations, which mean nothing: {beat}/min is
// /min.
func unit(ucum string) string { return annotation.ReplaceAllString(ucum, "") }
