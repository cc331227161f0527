package mqtt

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var users = []User{
	{Name: "bed", Password: "secret-1", Publish: []string{"v1/s/icu/bed/#"}, Subscribe: []string{"v1/s/icu/bed/#"}, Class: ClassRecord},
	{Name: "live", Password: "secret-2", Publish: []string{"v1/s/icu/+/numeric", "v1/s/icu/+/status"}},
	{Name: "ward", Password: "secret-3", Subscribe: []string{"v1/#"}},
}

// start runs a broker on a free port.
func start(t *testing.T, change func(*Options)) *Broker {
	t.Helper()
	o := Options{Listen: []string{"127.0.0.1:0"}, Users: users, OnRecord: func(context.Context, Publish) error { return nil }}
	if change != nil {
		change(&o)
	}
	b, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// strangers collects what was refused.
type strangers struct {
	mu   sync.Mutex
	list []Stranger
}

func (s *strangers) add(x Stranger) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, x)
}

func (s *strangers) all() []Stranger {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Stranger(nil), s.list...)
}

// A wire is a client of version 3.1.1, byte by byte.
type wire struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

func dial(t *testing.T, b *Broker) *wire {
	t.Helper()
	c, err := net.Dial("tcp", b.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(2 * time.Minute))
	return &wire{t, c, bufio.NewReader(c)}
}

func str(s string) []byte { return append(binary.BigEndian.AppendUint16(nil, uint16(len(s))), s...) }

func packet(kind byte, body ...[]byte) []byte {
	p := bytes.Join(body, nil)
	out := []byte{kind}
	for n := len(p); ; {
		d := byte(n & 127)
		if n >>= 7; n > 0 {
			out = append(out, d|128)
			continue
		}
		return append(append(out, d), p...)
	}
}

func connectPacket(user, password, id, willTopic string) []byte {
	flags := byte(2)
	tail := [][]byte{str(id)}
	if willTopic != "" {
		flags |= 4
		tail = append(tail, str(willTopic), str("gone"))
	}
	if user != "" {
		flags |= 0xC0
		tail = append(tail, str(user), str(password))
	}
	return packet(0x10, append([][]byte{str("MQTT"), {4, flags, 0, 60}}, tail...)...)
}

func (w *wire) send(p []byte) {
	w.t.Helper()
	if _, err := w.Write(p); err != nil {
		w.t.Fatal(err)
	}
}

// receive returns the next packet, or the error of a connection that ended.
func (w *wire) receive() (kind byte, body []byte, err error) {
	if kind, err = w.r.ReadByte(); err != nil {
		return 0, nil, err
	}
	n, err := binary.ReadUvarint(w.r)
	if err != nil {
		return 0, nil, err
	}
	body = make([]byte, n)
	_, err = io.ReadFull(w.r, body)
	return kind, body, err
}

func (w *wire) expect(kind byte, body ...byte) {
	w.t.Helper()
	k, b, err := w.receive()
	if err != nil || k != kind || !bytes.Equal(b, body) {
		w.t.Fatalf("received %#x % x, %v; want %#x % x", k, b, err, kind, body)
	}
}

// ended requires that the connection ends with no packet before.
func (w *wire) ended() {
	w.t.Helper()
	k, b, err := w.receive()
	var timeout net.Error
	if err == nil || errors.As(err, &timeout) && timeout.Timeout() {
		w.t.Fatalf("received %#x % x, %v; want the end", k, b, err)
	}
}

func (w *wire) connect(user, password, id string) {
	w.t.Helper()
	w.send(connectPacket(user, password, id, ""))
	w.expect(0x20, 0, 0)
}

func publishPacket(qos byte, id uint16, topic, payload string) []byte {
	var pid []byte
	if qos > 0 {
		pid = binary.BigEndian.AppendUint16(nil, id)
	}
	return packet(0x30|qos<<1, str(topic), pid, []byte(payload))
}

func subscribePacket(id uint16, filters ...string) []byte {
	body := binary.BigEndian.AppendUint16(nil, id)
	for _, f := range filters {
		body = append(append(body, str(f)...), 1)
	}
	return packet(0x82, body)
}

// v5 is a client of eclipse/paho.golang.
type v5 struct {
	*paho.Client
	got        chan *paho.Publish
	disconnect chan byte
}

func dial5(t *testing.T, b *Broker, c *paho.Connect) (*v5, *paho.Connack, error) {
	t.Helper()
	conn, err := net.Dial("tcp", b.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	v := &v5{got: make(chan *paho.Publish, 10000), disconnect: make(chan byte, 1)}
	v.Client = paho.NewClient(paho.ClientConfig{
		Conn:               conn,
		OnPublishReceived:  []func(paho.PublishReceived) (bool, error){func(p paho.PublishReceived) (bool, error) { v.got <- p.Packet; return true, nil }},
		OnServerDisconnect: func(d *paho.Disconnect) { v.disconnect <- d.ReasonCode },
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ack, err := v.Connect(ctx, c)
	t.Cleanup(func() {
		v.Disconnect(&paho.Disconnect{})
		conn.Close()
		<-v.Done()
	})
	return v, ack, err
}

func connect5(user, password string) *paho.Connect {
	return &paho.Connect{ClientID: "c-" + user, CleanStart: true, KeepAlive: 30, Username: user, UsernameFlag: user != "", Password: []byte(password), PasswordFlag: password != ""}
}

func must5(t *testing.T, b *Broker, user, password string) *v5 {
	t.Helper()
	v, _, err := dial5(t, b, connect5(user, password))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func (v *v5) wait(t *testing.T) *paho.Publish {
	t.Helper()
	select {
	case p := <-v.got:
		return p
	case <-time.After(time.Minute):
		t.Fatal("no message within 10 s")
		return nil
	}
}

func TestWithoutACredentialNobodyIsAdmitted(t *testing.T) {
	var s strangers
	b := start(t, func(o *Options) { o.Refused = s.add })
	for _, c := range []struct{ user, password string }{{"", ""}, {"bed", "wrong"}, {"nobody", "secret-1"}, {"bed", "secret-2"}} {
		w := dial(t, b)
		w.send(connectPacket(c.user, c.password, "x", ""))
		w.expect(0x20, 0, 5) // not authorized
		w.ended()
		_, ack, err := dial5(t, b, connect5(c.user, c.password))
		if err == nil || ack == nil || ack.ReasonCode != 0x86 {
			t.Errorf("%q %q: version 5 answered %v, %v", c.user, c.password, ack, err)
		}
	}
	if n := len(s.all()); n != 8 {
		t.Errorf("%d refusals reported, want 8", n)
	}
	if got := s.all()[2]; got.Username != "bed" || got.ClientID != "x" || got.Wanted != "connect" || got.Address == "" {
		t.Errorf("reported %+v", got)
	}
	if st := b.Stats(); st.Admitted != 0 || st.Refused != 8 {
		t.Errorf("stats %+v", st)
	}
}

func TestUsersThatCannotBeChecked(t *testing.T) {
	for name, o := range map[string]Options{
		"no password":             {Users: []User{{Name: "a"}}},
		"no name":                 {Users: []User{{Password: "x"}}},
		"twice":                   {Users: []User{{Name: "a", Password: "x"}, {Name: "a", Password: "y"}}},
		"class":                   {Users: []User{{Name: "a", Password: "x", Class: "gold"}}},
		"record without OnRecord": {Users: []User{{Name: "a", Password: "x", Class: ClassRecord}}},
		"filter":                  {Users: []User{{Name: "a", Password: "x", Subscribe: []string{"v1/#/x"}}}},
		"$SYS":                    {Users: []User{{Name: "a", Password: "x", Subscribe: []string{"$SYS/#"}}}},
	} {
		if _, err := New(o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestATakenPortIsAnError(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	b, err := New(Options{Listen: []string{"127.0.0.1:0", l.Addr().String()}})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Start(); err == nil {
		t.Error("no error")
	}
	b.Close()
}

func TestPublishOutsideTheACL(t *testing.T) {
	var s strangers
	b := start(t, func(o *Options) { o.Refused = s.add })
	for _, topic := range []string{"v1/s/icu/other/numeric", "v1", "x", "$SYS/broker/x", "$share/g/v1/s/icu/bed/x", strings.Repeat("v1/", 40)} {
		for qos := byte(0); qos <= 1; qos++ {
			w := dial(t, b)
			w.connect("bed", "secret-1", "w")
			w.send(publishPacket(qos, 7, topic, "{}"))
			w.ended()
		}
		v := must5(t, b, "bed", "secret-1")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		r, err := v.Publish(ctx, &paho.Publish{Topic: topic, QoS: 1, Payload: []byte("{}")})
		cancel()
		if err == nil || r == nil || r.ReasonCode != 0x87 {
			t.Errorf("%s: version 5 answered %v, %v", topic, r, err)
		}
		if _, err := v.Publish(t.Context(), &paho.Publish{Topic: "v1/s/icu/bed/numeric", QoS: 1, Payload: []byte("{}")}); err != nil {
			t.Errorf("%s: the connection did not survive a refused publish: %v", topic, err)
		}
		if _, err := v.Publish(t.Context(), &paho.Publish{Topic: topic, QoS: 0}); err != nil {
			t.Fatal(err)
		}
		if code := <-v.disconnect; code != 0x87 {
			t.Errorf("%s: DISCONNECT %#x", topic, code)
		}
	}
	if got := s.all(); len(got) != 24 || got[0].Wanted != "publish to v1/s/icu/other/numeric" || got[0].Username != "bed" {
		t.Errorf("%d reported, first %+v", len(got), got[0])
	}
	if st := b.Stats(); st.Received != 6 || st.Recorded != 6 {
		t.Errorf("stats %+v", st)
	}
}

func TestAliasedPublishDoesNotPassTheACL(t *testing.T) {
	b := start(t, nil)
	v := must5(t, b, "live", "secret-2")
	alias := uint16(1)
	v.Publish(t.Context(), &paho.Publish{Topic: "v1/s/icu/bed/numeric", QoS: 0, Properties: &paho.PublishProperties{TopicAlias: &alias}})
	if code := <-v.disconnect; code != 0x94 {
		t.Errorf("DISCONNECT %#x, want 0x94 topic alias invalid", code)
	}
	if st := b.Stats(); st.Recorded != 0 || st.Sent != 0 {
		t.Errorf("stats %+v", st)
	}
}

func TestWillToAForbiddenTopicIsRefusedAtConnect(t *testing.T) {
	b := start(t, nil)
	for _, topic := range []string{"v1/s/icu/other/status", "$SYS/x", "v1/s/icu/bed/#"} {
		w := dial(t, b)
		w.send(connectPacket("bed", "secret-1", "w", topic))
		w.expect(0x20, 0, 5)
		w.ended()
		c := connect5("bed", "secret-1")
		c.WillMessage = &paho.WillMessage{Topic: topic, Payload: []byte("gone")}
		if _, ack, err := dial5(t, b, c); err == nil || ack.ReasonCode != 0x87 {
			t.Errorf("%s: version 5 answered %v, %v", topic, ack, err)
		}
	}
}

func TestWillIsRecordedAndPublished(t *testing.T) {
	wills := make(chan Publish, 1)
	b := start(t, func(o *Options) { o.OnRecord = func(_ context.Context, p Publish) error { wills <- p; return nil } })
	ward := must5(t, b, "ward", "secret-3")
	subscribe(t, ward, "v1/#", 1)
	w := dial(t, b)
	w.send(connectPacket("bed", "secret-1", "w", "v1/s/icu/bed/status"))
	w.expect(0x20, 0, 0)
	w.Close()
	if p := <-wills; !p.Will || p.Topic != "v1/s/icu/bed/status" || string(p.Payload) != "gone" || p.User != "bed" {
		t.Errorf("recorded %+v", p)
	}
	if p := ward.wait(t); p.Topic != "v1/s/icu/bed/status" {
		t.Errorf("published %+v", p)
	}
}

func subscribe(t *testing.T, v *v5, filter string, qos byte) *paho.Suback {
	t.Helper()
	ack, err := v.Subscribe(t.Context(), &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: filter, QoS: qos}}})
	if ack == nil {
		t.Fatalf("subscribe to %s: %v", filter, err)
	}
	return ack
}

func TestSubscribeOutsideTheACL(t *testing.T) {
	var s strangers
	b := start(t, func(o *Options) { o.Refused = s.add })
	v := must5(t, b, "bed", "secret-1")
	w := dial(t, b)
	w.connect("bed", "secret-1", "w")
	for i, f := range []string{"#", "v1/#", "v1/s/icu/+/numeric", "+/s/icu/bed/x", "$SYS/#", "$SYS/broker/version", "$share/g/v1/s/icu/bed/#", "v1/s/icu/bed/#/x", "v1/s/icu/bed/a+"} {
		if code := subscribe(t, v, f, 1).Reasons[0]; code != 0x87 && code != 0x8F {
			t.Errorf("%s: SUBACK %#x", f, code)
		}
		w.send(subscribePacket(uint16(i+1), f))
		w.expect(0x90, 0, byte(i+1), 0x80)
	}
	if code := subscribe(t, v, "v1/s/icu/bed/+", 2).Reasons[0]; code != 1 {
		t.Errorf("within the ACL: SUBACK %#x, want QoS 1", code)
	}
	if n := len(s.all()); n != 18 {
		t.Errorf("%d reported", n)
	}
}

func TestSysTopicsReachNobody(t *testing.T) {
	b := start(t, func(o *Options) {
		o.Users = []User{{Name: "all", Password: "x", Subscribe: []string{"#"}}}
	})
	v := must5(t, b, "all", "x")
	if code := subscribe(t, v, "#", 1).Reasons[0]; code != 1 {
		t.Fatalf("SUBACK %#x", code)
	}
	if err := b.Publish("v1/a", []byte("x"), 1, false); err != nil {
		t.Fatal(err)
	}
	if p := v.wait(t); p.Topic != "v1/a" {
		t.Errorf("received %s", p.Topic)
	}
}

func TestAFailedRecordIsNeverAcknowledgedAsSuccess(t *testing.T) {
	fail := errors.New("disk is full")
	for _, how := range []error{fail, fmt.Errorf("wrapped: %w", context.DeadlineExceeded)} {
		b := start(t, func(o *Options) { o.OnRecord = func(context.Context, Publish) error { return how } })
		ward := must5(t, b, "ward", "secret-3")
		subscribe(t, ward, "v1/#", 1)

		v := must5(t, b, "bed", "secret-1")
		r, err := v.Publish(t.Context(), &paho.Publish{Topic: "v1/s/icu/bed/numeric", QoS: 1, Retain: true, Payload: []byte("{}")})
		if err == nil || r == nil || r.ReasonCode != 0x97 {
			t.Errorf("version 5 answered %v, %v", r, err)
		}
		v.Publish(t.Context(), &paho.Publish{Topic: "v1/s/icu/bed/numeric", QoS: 0, Payload: []byte("{}")})
		if code := <-v.disconnect; code != 0x97 {
			t.Errorf("QoS 0: DISCONNECT %#x", code)
		}
		for qos := byte(0); qos <= 1; qos++ {
			w := dial(t, b)
			w.connect("bed", "secret-1", "w")
			w.send(publishPacket(qos, 9, "v1/s/icu/bed/numeric", "{}"))
			w.ended()
		}
		if st := b.Stats(); st.Failed != 4 || st.Recorded != 0 || st.Retained != 0 {
			t.Errorf("stats %+v", st)
		}
		if err := b.Publish("v1/end", []byte("x"), 1, false); err != nil {
			t.Fatal(err)
		}
		if p := ward.wait(t); p.Topic != "v1/end" {
			t.Errorf("a publish that was not stored was published: %s", p.Topic)
		}
		b.Close()
	}
}

func TestCommitStandsBeforePUBACK(t *testing.T) {
	committing, commit := make(chan Publish), make(chan struct{})
	b := start(t, func(o *Options) {
		o.OnRecord = func(_ context.Context, p Publish) error { committing <- p; <-commit; return nil }
	})
	w := dial(t, b)
	w.connect("bed", "secret-1", "w")
	w.send(publishPacket(1, 300, "v1/s/icu/bed/numeric", `{"a":1}`))
	if p := <-committing; p.Topic != "v1/s/icu/bed/numeric" || string(p.Payload) != `{"a":1}` || p.QoS != 1 || p.ClientID != "w" || p.ProtocolVersion != 4 {
		t.Errorf("recorded %+v", p)
	}
	w.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	var timeout net.Error
	if k, _, err := w.receive(); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Fatalf("answered %#x before the commit, %v", k, err)
	}
	close(commit)
	w.SetReadDeadline(time.Now().Add(time.Minute))
	w.expect(0x40, 300>>8, 300&255)
}

func TestQoS0OfClassRecordIsCommittedToo(t *testing.T) {
	got := make(chan Publish, 1)
	b := start(t, func(o *Options) { o.OnRecord = func(_ context.Context, p Publish) error { got <- p; return nil } })
	w := dial(t, b)
	w.connect("bed", "secret-1", "w")
	w.send(publishPacket(0, 0, "v1/s/icu/bed/numeric", "x"))
	if p := <-got; p.QoS != 0 || string(p.Payload) != "x" {
		t.Errorf("recorded %+v", p)
	}
}

func TestQoS2IsRefusedNotReduced(t *testing.T) {
	b := start(t, nil)
	w := dial(t, b)
	w.connect("bed", "secret-1", "w")
	w.send(publishPacket(2, 1, "v1/s/icu/bed/numeric", "x"))
	w.ended()
	_, ack, err := dial5(t, b, connect5("bed", "secret-1"))
	if err != nil || ack.Properties.MaximumQoS == nil || *ack.Properties.MaximumQoS != 1 {
		t.Errorf("CONNACK %+v, %v", ack, err)
	}
	if st := b.Stats(); st.Recorded != 0 {
		t.Errorf("stats %+v", st)
	}
}

func TestAConnectionWithoutCONNECTIsCut(t *testing.T) {
	var s strangers
	b := start(t, func(o *Options) { o.ConnectTimeout, o.Refused = 150*time.Millisecond, s.add })
	silent, partial, slow, web := dial(t, b), dial(t, b), dial(t, b), dial(t, b)
	p := connectPacket("bed", "secret-1", "w", "")
	partial.send(p[:len(p)-1])
	web.send([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
	done := make(chan struct{})
	go func() { // a byte at a time does not buy time
		defer close(done)
		for _, c := range p {
			if _, err := slow.Write([]byte{c}); err != nil {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	}()
	for _, w := range []*wire{silent, partial, slow, web} {
		w.ended()
	}
	<-done
	b.Close()
	if got := s.all(); len(got) != 4 {
		t.Errorf("reported %+v", got)
	}
}

func TestClientIdentifiers(t *testing.T) {
	b := start(t, nil)
	for _, id := range []string{"#", "a+b", "a/#", strings.Repeat("x", 600)} {
		w := dial(t, b)
		w.send(connectPacket("bed", "secret-1", id, ""))
		w.expect(0x20, 0, 2) // identifier rejected
		w.ended()
	}
	first := must5(t, b, "bed", "secret-1")
	other := connect5("ward", "secret-3")
	other.ClientID = "c-bed"
	if _, _, err := dial5(t, b, other); err != nil {
		t.Fatal(err)
	}
	if _, err := first.Publish(t.Context(), &paho.Publish{Topic: "v1/s/icu/bed/x", QoS: 1}); err != nil {
		t.Errorf("another user took the connection over: %v", err)
	}
	second := must5(t, b, "bed", "secret-1")
	if code := <-first.disconnect; code != 0x8E {
		t.Errorf("the older connection ended with %#x", code)
	}
	subscribe(t, second, "v1/s/icu/bed/#", 1)
	b.Publish("v1/s/icu/bed/y", []byte("1"), 1, false)
	if p := second.wait(t); p.Topic != "v1/s/icu/bed/y" || p.QoS != 1 {
		t.Errorf("received %+v", p)
	}
}

func TestLimitsOfSize(t *testing.T) {
	b := start(t, func(o *Options) { o.MaxPacket, o.MaxSubscriptions, o.MaxRetained = 1000, 100, 3 })
	w := dial(t, b)
	w.connect("bed", "secret-1", "w")
	w.send([]byte{0x30, 0xFF, 0xFF, 0xFF, 0x7F}) // 256 MiB
	w.ended()
	w = dial(t, b)
	w.connect("bed", "secret-1", "w")
	w.send(publishPacket(1, 1, "v1/s/icu/bed/x", strings.Repeat("x", 1100)))
	w.ended()

	w = dial(t, b) // 10,000 subscriptions
	w.connect("ward", "secret-3", "w")
	n := 0
	for i := range 10000 {
		if _, err := w.Write(subscribePacket(uint16(i+1), fmt.Sprintf("v1/%d", i))); err != nil {
			break
		}
		if _, _, err := w.receive(); err != nil {
			break
		}
		n++
	}
	if n != 100 {
		t.Errorf("%d subscriptions were granted, want 100", n)
	}

	v := must5(t, b, "live", "secret-2")
	for i := range 5 {
		r, err := v.Publish(t.Context(), &paho.Publish{Topic: fmt.Sprintf("v1/s/icu/%d/status", i), QoS: 1, Retain: true, Payload: []byte("x")})
		if want := i < 3; (err == nil) != want {
			t.Errorf("retained topic %d: %v, %v", i, r, err)
		}
	}
}

func TestConnectionsPerAddress(t *testing.T) {
	var s strangers
	b := start(t, func(o *Options) { o.MaxConnectionsPerIP, o.Refused = 3, s.add })
	for range 3 {
		dial(t, b).connect("bed", "secret-1", "")
	}
	dial(t, b).ended()
	if got := s.all(); len(got) != 1 || !strings.Contains(got[0].Reason, "this address") {
		t.Errorf("reported %+v", got)
	}
}

func TestAnEmptyRetainedPayloadClears(t *testing.T) {
	b := start(t, nil)
	before := b.Stats().Retained
	b.Publish("v1/a", []byte("x"), 1, true)
	if n := b.Stats().Retained; n != before+1 {
		t.Fatalf("%d retained", n)
	}
	b.Publish("v1/a", nil, 1, true)
	if n := b.Stats().Retained; n != before {
		t.Errorf("%d retained", n)
	}
}

func TestPublishChecksItsTopic(t *testing.T) {
	b := start(t, func(o *Options) { o.MaxPacket = 100 })
	for _, topic := range []string{"", "a/+", "#", "$SYS/x", "a\x00b", strings.Repeat("x", 600)} {
		if b.Publish(topic, nil, 0, false) == nil {
			t.Errorf("%q: no error", topic)
		}
	}
	if b.Publish("a", make([]byte, 101), 0, false) == nil || b.Publish("a", nil, 2, false) == nil {
		t.Error("no error")
	}
	b.Close()
	if err := b.Publish("a", nil, 0, false); err != ErrClosed {
		t.Errorf("after Close: %v", err)
	}
}

// A subscriber that stops reading must neither stop the publisher nor lose
// something out of the middle: it is cut.
func TestASlowSubscriberIsCutAndStopsNobody(t *testing.T) {
	b := start(t, func(o *Options) { o.MaxInflight, o.MaxWriteBuffer, o.WriteTimeout = 65535, 256<<10, 5*time.Minute })
	quick := must5(t, b, "ward", "secret-3")
	subscribe(t, quick, "v1/quick", 1)
	stuck := dial(t, b)
	stuck.connect("ward", "secret-3", "stuck")
	stuck.send(subscribePacket(1, "v1/#"))
	stuck.expect(0x90, 0, 1, 1)
	payload := bytes.Repeat([]byte("x"), 1000)
	begin := time.Now()
	for i := 0; b.Stats().Slow == 0; i++ {
		if time.Since(begin) > 2*time.Minute {
			t.Fatalf("not cut after %d messages", i)
		}
		at := time.Now()
		b.Publish("v1/stuck", payload, 1, false)
		if d := time.Since(at); d > time.Minute {
			t.Fatalf("the publisher was held up for %v", d)
		}
	}
	b.Publish("v1/quick", []byte("x"), 1, false)
	quick.wait(t)
	last := 0
	for { // what it got is without a gap in its packet identifiers
		k, p, err := stuck.receive()
		if err != nil {
			break
		}
		if k&0xF0 == 0x30 {
			id := int(binary.BigEndian.Uint16(p[2+len("v1/stuck"):]))
			if id != last+1 {
				t.Fatalf("message %d after %d", id, last)
			}
			last = id
		}
	}
	if last == 0 {
		t.Error("it got nothing at all")
	}
}

func TestASubscriberThatNeverAcknowledgesIsCut(t *testing.T) {
	b := start(t, func(o *Options) { o.MaxInflight = 50 })
	w := dial(t, b)
	w.connect("ward", "secret-3", "w")
	w.send(subscribePacket(1, "v1/#"))
	w.expect(0x90, 0, 1, 1)
	for range 60 {
		b.Publish("v1/a", []byte("x"), 1, false)
	}
	n := 0
	for ; ; n++ {
		if _, _, err := w.receive(); err != nil {
			break
		}
	}
	if n > 50 {
		t.Errorf("%d messages", n)
	}
	b.Close()
	if b.Stats().Slow != 1 {
		t.Errorf("stats %+v", b.Stats())
	}
}

func TestAConnectedSubscriberGetsEverythingInOrder(t *testing.T) {
	b := start(t, nil)
	ward := must5(t, b, "ward", "secret-3")
	subscribe(t, ward, "v1/#", 1)
	small, _, err := dial5(t, b, func() *paho.Connect {
		c := connect5("ward", "secret-3")
		c.ClientID = "small"
		n := uint16(5)
		c.Properties = &paho.ConnectProperties{ReceiveMaximum: &n}
		return c
	}())
	if err != nil {
		t.Fatal(err)
	}
	if code := subscribe(t, small, "v1/#", 1).Reasons[0]; code != 0 {
		t.Errorf("a small Receive Maximum was granted QoS %d", code)
	}
	const n = 3000
	for i := range n {
		if err := b.Publish("v1/a", fmt.Append(nil, i), 1, false); err != nil {
			t.Fatal(err)
		}
		if i%500 == 0 {
			for _, v := range []*v5{ward, small} {
				for len(v.got) < i/2 {
					time.Sleep(time.Millisecond)
				}
			}
		}
	}
	for i := range n {
		for _, v := range []*v5{ward, small} {
			if p := v.wait(t); string(p.Payload) != fmt.Sprint(i) {
				t.Fatalf("message %d is %s", i, p.Payload)
			}
		}
	}
}

// mochi keeps the packet identifiers of both directions in one table.
func TestPacketIdentifiersOfBothDirectionsDoNotMix(t *testing.T) {
	b := start(t, nil)
	w := dial(t, b)
	w.connect("bed", "secret-1", "w")
	w.send(subscribePacket(9, "v1/s/icu/bed/a"))
	w.expect(0x90, 0, 9, 1)
	b.Publish("v1/s/icu/bed/a", []byte("x"), 1, false)
	_, p, _ := w.receive()
	id := binary.BigEndian.Uint16(p[2+len("v1/s/icu/bed/a"):])
	w.send(subscribePacket(id, "v1/s/icu/bed/b")) // not acknowledged, and the identifier used again
	w.expect(0x90, byte(id>>8), byte(id), 1)
}

func TestMosquittoClients(t *testing.T) {
	for _, program := range []string{"mosquitto_pub", "mosquitto_sub"} {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatalf("%s is not installed (Debian: mosquitto-clients)", program)
			}
			t.Skipf("%s is not installed (Debian: mosquitto-clients)", program)
		}
	}
	var mu sync.Mutex
	var recorded []string
	b := start(t, func(o *Options) {
		o.OnRecord = func(_ context.Context, p Publish) error {
			mu.Lock()
			defer mu.Unlock()
			recorded = append(recorded, string(p.Payload))
			return nil
		}
	})
	_, port, _ := net.SplitHostPort(b.Addrs()[0].String())
	run := func(program, version, user, password string, args ...string) (string, error) {
		args = append([]string{"-h", "127.0.0.1", "-p", port, "-V", version, "-u", user, "-P", password}, args...)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		out, err := exec.CommandContext(ctx, program, args...).CombinedOutput()
		return string(out), err
	}
	for _, version := range []string{"mqttv311", "mqttv5"} {
		if err := b.Publish("v1/s/icu/bed/status", []byte("online"), 1, true); err != nil {
			t.Fatal(err)
		}
		out, err := run("mosquitto_sub", version, "ward", "secret-3", "-q", "1", "-t", "v1/+/icu/bed/status", "-C", "1", "-W", "10")
		if err != nil || strings.TrimSpace(out) != "online" {
			t.Errorf("%s: subscribed: %q, %v", version, out, err)
		}
		if out, err := run("mosquitto_pub", version, "bed", "secret-1", "-q", "1", "-t", "v1/s/icu/bed/numeric", "-m", version); err != nil {
			t.Errorf("%s: publish: %q, %v", version, out, err)
		}
		if out, err := run("mosquitto_pub", version, "bed", "nonsense", "-q", "1", "-t", "v1/s/icu/bed/numeric", "-m", "x"); err == nil {
			t.Errorf("%s: wrong password: %q", version, out)
		}
		out, _ = run("mosquitto_sub", version, "bed", "secret-1", "-q", "1", "-t", "v1/#", "-W", "2")
		if !strings.Contains(out, "denied") {
			t.Errorf("%s: subscribe outside the ACL: %q", version, out)
		}
	}
	// In version 5 the refusal has a reason; in 3.1.1 the connection ends.
	if out, _ := run("mosquitto_pub", "mqttv5", "bed", "secret-1", "-q", "1", "-t", "v1/s/icu/other/numeric", "-m", "x"); !strings.Contains(strings.ToLower(out), "not authorized") {
		t.Errorf("outside the ACL, version 5: %q", out)
	}
	mu.Lock()
	defer mu.Unlock()
	if got := strings.Join(recorded, " "); got != "mqttv311 mqttv5" {
		t.Errorf("recorded %q", got)
	}
}

func TestCovered(t *testing.T) {
	for _, c := range []struct {
		granted, want string
		ok            bool
	}{
		{"#", "a/b", true}, {"#", "#", true}, {"#", "$SYS/x", false}, {"#", "$share/g/a", false},
		{"a/#", "a", true}, {"a/#", "a/+/c", true}, {"a/#", "#", false}, {"a/#", "+/b", false}, {"a/#", "ab", false},
		{"a/+", "a/b", true}, {"a/+", "a/+", true}, {"a/+", "a/#", false}, {"a/+", "a", false}, {"a/+", "a/b/c", false},
		{"a/b", "a/b", true}, {"a/b", "a/+", false}, {"a/b", "a", false}, {"a/b", "a/b/", false}, {"a/b", "A/b", false},
		{"+/b", "a/b", true}, {"+/#", "a", true}, {"+", "", false}, {"a/#", "a/x+", false}, {"a/#", "a/#/b", false},
	} {
		if got := covered([]string{c.granted}, c.want); got != c.ok {
			t.Errorf("covered(%q, %q) = %v", c.granted, c.want, got)
		}
	}
}

func TestNoSessionOutlivesItsConnection(t *testing.T) {
	b := start(t, nil)
	connect := connectPacket("ward", "secret-3", "w", "")
	connect[9] &^= 2 // clean session 0
	for range 2 {
		w := dial(t, b)
		w.send(connect)
		w.expect(0x20, 0, 0) // session present 0
		w.send(ping)
		w.expect(0xD0)
		w.send(subscribePacket(1, "v1/#"))
		w.expect(0x90, 0, 1, 1)
		w.Close()
		for b.Stats().Connections > 0 {
			time.Sleep(time.Millisecond)
		}
		b.Publish("v1/while/away", []byte("x"), 1, false)
		if n, m := len(b.server.Topics.Subscribers("v1/x").Subscriptions), b.server.Clients.Len(); n != 0 || m != 1 {
			t.Errorf("%d subscriptions and %d clients are left; the gateway itself is one client", n, m)
		}
	}
	expiry := uint32(3600)
	c := connect5("ward", "secret-3")
	c.CleanStart, c.Properties = false, &paho.ConnectProperties{SessionExpiryInterval: &expiry}
	_, ack, err := dial5(t, b, c)
	if err != nil || ack.SessionPresent || ack.Properties.SessionExpiryInterval == nil || *ack.Properties.SessionExpiryInterval != 0 {
		t.Errorf("CONNACK %+v, %v", ack, err)
	}
}

var ping = []byte{0xC0, 0}

func TestKeepAlive(t *testing.T) {
	b := start(t, func(o *Options) { o.KeepAlive = time.Minute })
	for asked, want := range map[uint16]uint16{0: 60, 30: 0, 65535: 60} {
		c := connect5("ward", "secret-3")
		c.KeepAlive = asked
		_, ack, err := dial5(t, b, c)
		if err != nil {
			t.Fatal(err)
		}
		var got uint16
		if k := ack.Properties.ServerKeepAlive; k != nil {
			got = *k
		}
		if got != want {
			t.Errorf("keep alive %d: the server says %d, want %d", asked, got, want)
		}
	}
	// 43691 and a half of it is over 16 bits: the connection would end at once.
	w := dial(t, b)
	p := connectPacket("ward", "secret-3", "w", "")
	p[10], p[11] = 0xAA, 0xAB // 43691
	w.send(p)
	w.expect(0x20, 0, 0)
	w.SetReadDeadline(time.Now().Add(1500 * time.Millisecond))
	var timeout net.Error
	if _, _, err := w.receive(); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("%v", err)
	}
}

// mochi 2.7.9 reads beyond the end of a SUBSCRIBE of version 5 that ends before
// its options.
func TestAPanicOfTheCodecEndsItsConnectionOnly(t *testing.T) {
	wills := make(chan Publish, 1)
	online := make(chan int, 10) // connections of the user "bed"
	b := start(t, func(o *Options) {
		o.OnRecord = func(_ context.Context, p Publish) error { wills <- p; return nil }
		o.Online = func(user string, clients int) {
			if user == "bed" {
				online <- clients
			}
		}
	})
	ward := must5(t, b, "ward", "secret-3")
	subscribe(t, ward, "v1/#", 1)
	w := dial(t, b)
	none := []byte{0} // properties
	w.send(packet(0x10, str("MQTT"), []byte{5, 0xC6, 0, 60}, none, str("w"), none, str("v1/s/icu/bed/status"), str("gone"), str("bed"), str("secret-1")))
	if kind, body, err := w.receive(); err != nil || kind != 0x20 || len(body) < 2 || body[1] != 0 {
		t.Fatalf("CONNACK %#x % x %v", kind, body, err)
	}
	w.send(packet(0x82, []byte{0, 1}, none, str("v1/s/icu/bed/x"), []byte{1}))
	if kind, body, err := w.receive(); err != nil || kind != 0x90 || body[len(body)-1] != 1 {
		t.Fatalf("SUBACK %#x % x %v", kind, body, err)
	}
	w.send(packet(0x82, []byte{0, 2}, none, str("v1/s/icu/bed/y")))
	w.ended()
	if p := <-wills; !p.Will || string(p.Payload) != "gone" {
		t.Errorf("recorded %+v", p)
	}
	if p := ward.wait(t); p.Topic != "v1/s/icu/bed/status" {
		t.Errorf("received %s", p.Topic)
	}
	for _, want := range []int{1, 0} {
		select {
		case n := <-online:
			if n != want {
				t.Errorf("%d connections of the user are told, want %d", n, want)
			}
		case <-time.After(time.Minute):
			t.Fatalf("it is not told that the user has %d connections", want)
		}
	}
	for b.Stats().Connections > 1 {
		time.Sleep(time.Millisecond)
	}
	if st := b.Stats(); st.Panics != 1 {
		t.Errorf("the codec did not panic: %+v", st)
	}
	if n := len(b.server.Topics.Subscribers("v1/s/icu/bed/x").Subscriptions); n != 1 {
		t.Errorf("%d subscriptions, want that of the ward only", n)
	}
	b.Publish("v1/s/icu/bed/x", []byte("x"), 1, false)
	if p := ward.wait(t); p.Topic != "v1/s/icu/bed/x" {
		t.Errorf("received %s", p.Topic)
	}
}

func TestWhoIsConnectedIsTold(t *testing.T) {
	type change struct {
		user    string
		clients int
	}
	changes := make(chan change, 10)
	b := start(t, func(o *Options) { o.Online = func(user string, clients int) { changes <- change{user, clients} } })
	want := func(clients int) {
		t.Helper()
		select {
		case got := <-changes:
			if got != (change{"ward", clients}) {
				t.Errorf("%+v, want ward %d", got, clients)
			}
		case <-time.After(time.Minute):
			t.Fatal("nothing was told")
		}
	}
	first := dial(t, b)
	first.send(connectPacket("ward", "secret-3", "x", ""))
	first.expect(0x20, 0, 0)
	want(1)
	second := dial(t, b)
	second.send(connectPacket("ward", "secret-3", "y", ""))
	second.expect(0x20, 0, 0)
	want(2)
	refused := dial(t, b)
	refused.send(connectPacket("ward", "wrong", "z", ""))
	refused.expect(0x20, 0, 5)
	first.Close()
	want(1)
	again := dial(t, b) // takes over from y
	again.send(connectPacket("ward", "secret-3", "y", ""))
	again.expect(0x20, 0, 0)
	want(2)
	want(1)
	again.Close()
	want(0)
}
