package mqtt

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
)

// Classes of a user: what the answer to a publish promises.
const (
	ClassLive   = "live"   // best effort: to who is subscribed now
	ClassRecord = "record" // OnRecord returned nil before PUBACK
)

// A User may connect. Nobody else may.
type User struct {
	Name, Password     string
	Subscribe, Publish []string // topic filters, MQTT 5 section 4.7; none: nothing
	Class              string   // ClassLive (also when empty) or ClassRecord
}

// A Publish is a message of a user of class record.
type Publish struct {
	User, ClientID  string
	Topic           string
	Payload         []byte
	QoS             byte // 0 or 1; with 0 nobody waits for an answer
	Retain          bool
	Duplicate       bool // the DUP flag: the publisher may have sent it before
	Will            bool // the will message of a connection that broke
	ProtocolVersion byte // 4 (3.1.1) or 5
}

// A Stranger is who was refused, and why.
type Stranger struct {
	Address  string // host:port
	ClientID string
	Username string
	Wanted   string // "connect", "publish to …", "subscribe to …", "will to …"
	Reason   string
}

// Options of a Broker. A limit that is 0 has the default that stands beside it.
type Options struct {
	Listen []string // host:port; port 0 takes a free one
	Users  []User
	Log    *slog.Logger

	// OnRecord makes a publish durable. PUBACK goes out after it returned nil; its
	// error is answered with PUBACK 0x97 (version 5) or a disconnect, and the
	// message is not published. It is called from many goroutines, one at a time
	// per connection.
	OnRecord func(context.Context, Publish) error
	// Online is told how many clients of a user are connected, when that changes;
	// it must not block.
	Online func(user string, clients int)
	// Refused is told of everything that was refused; it must not block.
	Refused func(Stranger)

	ConnectTimeout      time.Duration // 5s: from accept to a whole CONNECT
	CommitTimeout       time.Duration // 10s: for OnRecord
	WriteTimeout        time.Duration // 10s: a peer that takes no byte is cut
	KeepAlive           time.Duration // 10m: the longest keep alive (version 5)
	MaxConnections      int           // 1000, admitted or not
	MaxConnectionsPerIP int           // 128
	MaxPacket           int           // 128 KiB
	MaxInflight         int           // 4096 messages that a subscriber has not acknowledged
	MaxWriteBuffer      int           // 4 MiB that a subscriber has not read
	MaxSubscriptions    int           // 100 of a client
	MaxRetained         int           // 2000 topics by clients and ours
}

func (o *Options) defaults() {
	set(&o.ConnectTimeout, 5*time.Second)
	set(&o.CommitTimeout, 10*time.Second)
	set(&o.WriteTimeout, 10*time.Second)
	set(&o.KeepAlive, 10*time.Minute)
	set(&o.MaxConnections, 1000)
	set(&o.MaxConnectionsPerIP, 128)
	set(&o.MaxPacket, 128<<10)
	set(&o.MaxInflight, 4096)
	set(&o.MaxWriteBuffer, 4<<20)
	set(&o.MaxSubscriptions, 100)
	set(&o.MaxRetained, 2000)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Online == nil {
		o.Online = func(string, int) {}
	}
	if o.Refused == nil {
		o.Refused = func(Stranger) {}
	}
}

func set[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

// Stats is a snapshot of counters since the start.
type Stats struct {
	Connections int   // open now, admitted or not
	Admitted    int64 // CONNECTs that were accepted
	Refused     int64 // everything that Refused was told of
	Received    int64 // PUBLISH packets of clients within their ACL
	Recorded    int64 // of them committed by OnRecord
	Failed      int64 // of them that OnRecord refused
	Published   int64 // messages of Publish
	Sent        int64 // PUBLISH packets to subscribers
	Slow        int64 // subscribers cut because they did not keep up
	Panics      int64 // connections ended by a fault of the codec
	Retained    int   // topics with a retained message
}

// A Broker is the MQTT server of the gateway.
type Broker struct {
	o      Options
	log    *slog.Logger
	users  map[string]*user
	server *mochi.Server
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	addrs  []net.Addr

	mu      sync.Mutex
	conns   map[*conn]struct{}
	clients map[clientKey]*conn
	online  map[string]int // connections by user
	perIP   map[netip.Addr]int
	closing bool

	sys atomic.Int64 // $SYS topics

	admitted, refused, received, recorded, failed, published, slow, panics atomic.Int64
}

// A clientKey names a client: the identifier counts within its user, so that
// nobody takes over the connection of another.
type clientKey struct{ user, id string }

type user struct {
	User
	password [sha256.Size]byte
}

// New checks the options; Start opens the ports.
func New(o Options) (*Broker, error) {
	o.defaults()
	if o.MaxInflight > 65535 || o.MaxPacket > 256<<20 {
		return nil, fmt.Errorf("mqtt: a limit is out of range: inflight %d, packet %d", o.MaxInflight, o.MaxPacket)
	}
	b := &Broker{o: o, log: o.Log, users: map[string]*user{}, clients: map[clientKey]*conn{}, online: map[string]int{}, conns: map[*conn]struct{}{}, perIP: map[netip.Addr]int{}}
	for _, u := range o.Users {
		if err := checkUser(u); err != nil {
			return nil, err
		}
		if b.users[u.Name] != nil {
			return nil, fmt.Errorf("mqtt: user %q is there twice", u.Name)
		}
		if u.Class == ClassRecord && o.OnRecord == nil {
			return nil, fmt.Errorf("mqtt: user %q is of class record, and there is nothing that records", u.Name)
		}
		b.users[u.Name] = &user{User: u, password: sha256.Sum256([]byte(u.Password))}
	}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	return b, nil
}

func checkUser(u User) error {
	switch {
	case u.Name == "" || strings.ContainsRune(u.Name, 0):
		return fmt.Errorf("mqtt: %q is no user name", u.Name)
	case u.Password == "":
		return fmt.Errorf("mqtt: user %q has no password", u.Name)
	case u.Class != "" && u.Class != ClassLive && u.Class != ClassRecord:
		return fmt.Errorf("mqtt: class of user %q is %q, neither live nor record", u.Name, u.Class)
	}
	for _, f := range append(append([]string{}, u.Subscribe...), u.Publish...) {
		if f == "" || f[0] == '$' || len(f) > maxTopicBytes || !validFilter(strings.Split(f, "/")) {
			return fmt.Errorf("mqtt: %q of user %q is no topic filter that can be granted", f, u.Name)
		}
	}
	return nil
}

// Start opens the ports, so that a taken one is an error now, and serves until
// Close.
func (b *Broker) Start() error {
	c := mochi.NewDefaultServerCapabilities()
	c.MaximumClients = int64(b.o.MaxConnections)
	c.MaximumMessageExpiryInterval = 0 // else a retained status vanishes after a day
	c.MaximumClientWritesPending = int32(b.o.MaxInflight)
	c.MaximumSessionExpiryInterval = 0
	c.MaximumPacketSize = uint32(b.o.MaxPacket)
	c.MaximumInflight = uint16(b.o.MaxInflight)
	c.TopicAliasMaximum = 0 // an alias would reach the ACL as topic ""
	c.SharedSubAvailable = 0
	c.MinimumProtocolVersion = 4
	c.MaximumQos = 1
	c.Compatibilities.NoInheritedPropertiesOnAck = true
	server := mochi.New(&mochi.Options{
		Capabilities:           c,
		Logger:                 slog.New(slog.DiscardHandler), // it logs payloads; the hooks below log
		SysTopicResendInterval: 24 * 60 * 60,
		InlineClient:           true,
	})
	if err := server.AddHook(&hook{b: b}, nil); err != nil {
		return fmt.Errorf("mqtt: %w", err)
	}
	if err := b.listen(server); err != nil {
		return err
	}
	if err := server.Serve(); err != nil {
		return fmt.Errorf("mqtt: %w", err)
	}
	for topic := range server.Topics.Retained.GetAll() {
		if strings.HasPrefix(topic, mochi.SysPrefix) {
			b.sys.Add(1)
		}
	}
	return nil
}

// retained counts the topics with a retained message but for those of mochi,
// which nobody can read.
func (b *Broker) retained() int { return b.server.Topics.Retained.Len() - int(b.sys.Load()) }

// listen opens the ports, all or none.
func (b *Broker) listen(server *mochi.Server) error {
	var open []net.Listener
	for i, address := range b.o.Listen {
		l, err := net.Listen("tcp", address)
		if err == nil {
			open = append(open, l)
			err = server.AddListener(&listener{id: fmt.Sprint(i), net: l, b: b, done: make(chan struct{})})
		}
		if err != nil {
			for _, l := range open {
				l.Close()
			}
			return fmt.Errorf("mqtt: listen on %s: %w", address, err)
		}
		b.addrs = append(b.addrs, l.Addr())
	}
	b.server = server
	return nil
}

// Addrs are the addresses in the order of Options.Listen.
func (b *Broker) Addrs() []net.Addr { return b.addrs }

// ErrClosed is what Publish returns before Start and after Close.
var ErrClosed = errors.New("mqtt: the broker is not running")

// Publish publishes a message of the gateway to the subscribers of topic: at
// QoS qos (0 or 1) or at that of the subscription where it is lower. An error
// means that nobody got it; nil does not mean that anybody did.
func (b *Broker) Publish(topic string, payload []byte, qos byte, retain bool) error {
	if topic == "" || topic[0] == '$' || len(topic) > maxTopicBytes || strings.ContainsAny(topic, "+#\x00") {
		return fmt.Errorf("mqtt: %q is no topic name", topic)
	}
	if qos > 1 {
		return fmt.Errorf("mqtt: QoS %d", qos)
	}
	if len(payload) > b.o.MaxPacket {
		return fmt.Errorf("mqtt: a payload of %d bytes is over the limit of %d", len(payload), b.o.MaxPacket)
	}
	b.mu.Lock()
	closed := b.closing || b.server == nil
	b.mu.Unlock()
	if closed {
		return ErrClosed
	}
	if err := b.server.Publish(topic, payload, retain, qos); err != nil {
		return fmt.Errorf("mqtt: publish: %w", err)
	}
	b.published.Add(1)
	return nil
}

// Stats returns the counters.
func (b *Broker) Stats() Stats {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := Stats{
		Connections: len(b.conns),
		Admitted:    b.admitted.Load(), Refused: b.refused.Load(), Received: b.received.Load(),
		Recorded: b.recorded.Load(), Failed: b.failed.Load(), Published: b.published.Load(),
		Slow: b.slow.Load(), Panics: b.panics.Load(),
	}
	if b.server != nil {
		s.Sent = atomic.LoadInt64(&b.server.Info.MessagesSent)
		s.Retained = b.retained()
	}
	return s
}

// Close ends every connection (version 5: DISCONNECT 0x8B) and waits for what
// it started. A publish whose OnRecord has not returned is not acknowledged
// unless that still succeeds.
func (b *Broker) Close() error {
	b.mu.Lock()
	if b.closing {
		b.mu.Unlock()
		return nil
	}
	b.closing = true
	b.mu.Unlock()
	b.cancel()
	if b.server == nil {
		return nil
	}
	err := b.server.Close() // it closes the listeners, and they their connections
	b.wg.Wait()
	return err
}

// closeConns ends every connection after what waits to be written.
func (b *Broker) closeConns() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.conns {
		c.Close()
	}
}

// replace makes c the connection of its client and returns the one that was.
func (b *Broker) replace(c *conn) (old *conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	key := clientKey{c.user.Name, c.id}
	old = b.clients[key]
	b.clients[key] = c
	return old
}

// count notes that a client of a user has come or gone. Online is told under
// the lock, so that it hears the changes in their order.
func (b *Broker) count(user string, change int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.online[user] += change
	b.o.Online(user, b.online[user])
}

// login returns the user of a name and password, or nil. It takes the same time
// for a name that is not known.
func (b *Broker) login(name, password []byte) *user {
	u := b.users[string(name)]
	want := [sha256.Size]byte{}
	if u != nil {
		want = u.password
	}
	got := sha256.Sum256(password)
	if subtle.ConstantTimeCompare(got[:], want[:]) != 1 || u == nil {
		return nil
	}
	return u
}

// refuse counts and reports what was refused. The log has no topic: a stranger
// may have written anything into it.
func (b *Broker) refuse(s Stranger) {
	b.refused.Add(1)
	s.ClientID, s.Username, s.Wanted = short(s.ClientID), short(s.Username), short(s.Wanted)
	wanted, _, _ := strings.Cut(s.Wanted, " ")
	b.log.Warn("mqtt: refused", "peer", s.Address, "wanted", wanted, "reason", s.Reason)
	b.o.Refused(s)
}

func short(s string) string {
	if len(s) > 128 {
		return s[:128] + "…"
	}
	return s
}

// record hands a publish to OnRecord.
func (b *Broker) record(c *conn, p Publish) error {
	ctx, cancel := context.WithTimeout(b.ctx, b.o.CommitTimeout)
	defer cancel()
	if err := b.o.OnRecord(ctx, p); err != nil {
		b.failed.Add(1)
		b.log.Error("mqtt: a publish of class record was not stored and is not acknowledged", "user", c.user.Name, "peer", c.peer, "error", err)
		return err
	}
	b.recorded.Add(1)
	return nil
}
