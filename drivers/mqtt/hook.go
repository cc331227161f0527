package mqtt

import (
	"fmt"
	"strings"
	"sync/atomic"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// The hook is where mochi asks. It relies on the order of mochi 2.7.9: a packet
// is read, then the limits and the ACL are checked, then OnPublish, then PUBACK.
type hook struct {
	mochi.HookBase
	b *Broker
}

func (h *hook) ID() string { return "nhip" }

func (h *hook) Provides(what byte) bool {
	switch what {
	case mochi.OnPacketRead, mochi.OnConnect, mochi.OnConnectAuthenticate, mochi.OnACLCheck,
		mochi.OnSubscribe, mochi.OnPublish, mochi.OnQosPublish, mochi.OnPublishDropped,
		mochi.OnWill, mochi.OnDisconnect:
		return true
	}
	return false
}

// of returns the connection of a client; nil for the gateway itself.
func of(cl *mochi.Client) *conn {
	c, _ := cl.Net.Conn.(*conn)
	return c
}

// OnPacketRead sees a packet before mochi acts on it. ErrRejectPacket ends the
// connection, any other error is ignored.
func (h *hook) OnPacketRead(cl *mochi.Client, pk packets.Packet) (packets.Packet, error) {
	c := of(cl)
	switch pk.FixedHeader.Type {
	case packets.Connect:
		// No session outlives a connection. mochi would keep one of version 3.1.1
		// in memory, and resend it in another order.
		if pk.Connect.ClientIdentifier != "" {
			pk.Connect.Clean = true
		}
		pk.Connect.WillProperties.WillDelayInterval = 0
		if pk.ProtocolVersion < 5 {
			pk.Connect.WillQos = min(pk.Connect.WillQos, 1)
		}
	case packets.Publish:
		return pk, h.publishRead(cl, c, pk)
	case packets.Subscribe, packets.Unsubscribe:
		// MQTT 5 section 2.2.1: client and server number their packets
		// independently. mochi keeps both in one table and would refuse.
		cl.State.Inflight.Delete(pk.PacketID)
		if pk.FixedHeader.Type == packets.Subscribe && cl.State.Subscriptions.Len()+len(pk.Filters) > h.b.o.MaxSubscriptions {
			h.b.refuse(c.stranger("subscribe", "too many subscriptions"))
			return pk, h.end(cl, c, packets.ErrQuotaExceeded)
		}
	}
	return pk, nil
}

// publishRead ends the connection where a PUBLISH cannot be answered with a
// PUBACK that refuses it: version 3.1.1, and QoS 0.
func (h *hook) publishRead(cl *mochi.Client, c *conn, pk packets.Packet) error {
	if pk.FixedHeader.Qos > 1 {
		h.b.refuse(c.stranger("publish at QoS 2", "QoS 2 is not offered"))
		return h.end(cl, c, packets.ErrQosNotSupported)
	}
	if pk.TopicName == "" || covered(c.user.Publish, pk.TopicName) {
		return nil // no topic: a protocol error, mochi's to answer
	}
	h.b.refuse(c.stranger("publish to "+pk.TopicName, "outside its access control list"))
	if cl.Properties.ProtocolVersion < 5 || pk.FixedHeader.Qos == 0 {
		return h.end(cl, c, packets.ErrNotAuthorized)
	}
	if strings.HasPrefix(strings.ToUpper(pk.TopicName), mochi.SysPrefix) { // mochi says nothing at all
		return cl.WritePacket(puback(pk.PacketID, packets.ErrNotAuthorized))
	}
	return nil // OnACLCheck says no, and mochi answers PUBACK 0x87
}

func puback(id uint16, code packets.Code) packets.Packet {
	return packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Puback}, PacketID: id, ReasonCode: code.Code}
}

// end closes a connection, in version 5 after a DISCONNECT with the reason. The
// socket is closed rather than the client stopped, so that its will is sent.
func (h *hook) end(cl *mochi.Client, c *conn, code packets.Code) error {
	if cl.Properties.ProtocolVersion >= 5 {
		_ = cl.WritePacket(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Disconnect}, ReasonCode: code.Code})
	}
	c.Close()
	return packets.ErrRejectPacket
}

func (c *conn) stranger(wanted, reason string) Stranger {
	s := Stranger{Address: c.peer, ClientID: c.id, Wanted: wanted, Reason: reason}
	if c.user != nil {
		s.Username = c.user.Name
	}
	return s
}

// OnConnect admits a client or answers CONNACK with the reason. (mochi asks for
// the password later and can only say that it is wrong.)
func (h *hook) OnConnect(cl *mochi.Client, pk packets.Packet) error {
	c := of(cl)
	c.decided.Store(true)
	c.id = pk.Connect.ClientIdentifier
	refuse := func(wanted, reason string, code packets.Code) error {
		s := c.stranger(wanted, reason)
		s.Username = string(pk.Connect.Username)
		h.b.refuse(s)
		_ = h.b.server.SendConnack(cl, code, false, nil)
		return code
	}
	if pk.Properties.AuthenticationMethod != "" {
		return refuse("connect", "enhanced authentication is not offered", packets.ErrBadAuthenticationMethod)
	}
	if len(pk.Connect.ClientIdentifier) > maxTopicBytes || strings.ContainsAny(pk.Connect.ClientIdentifier, "+#") {
		return refuse("connect", "client identifier too long or with a wildcard", packets.ErrClientIdentifierNotValid)
	}
	if !pk.Connect.UsernameFlag || !pk.Connect.PasswordFlag {
		return refuse("connect", "no user name or password", packets.ErrBadUsernameOrPassword)
	}
	u := h.b.login(pk.Connect.Username, pk.Connect.Password)
	if u == nil {
		return refuse("connect", "unknown user or wrong password", packets.ErrBadUsernameOrPassword)
	}
	if pk.Connect.WillFlag && (strings.ContainsAny(pk.Connect.WillTopic, "+#") || !covered(u.Publish, pk.Connect.WillTopic)) {
		code := packets.ErrNotAuthorized // mochi does not check a will topic
		if pk.ProtocolVersion < 5 {
			code = packets.ErrBadUsernameOrPassword // the same in 3.1.1: return code 5, not authorized
		}
		return refuse("will to "+pk.Connect.WillTopic, "outside its access control list", code)
	}
	c.user, c.client, c.maxQoS = u, cl, 1
	n := h.b.admitted.Add(1)
	c.counted.Store(true)
	h.b.count(u.Name, 1)
	h.b.log.Info("mqtt: connected", "user", u.Name, "peer", c.peer, "version", pk.ProtocolVersion)

	// MQTT 5 section 3.1.4: the older connection of the client ends. mochi's own
	// take-over may throw the new one out of its tables, so its name is unique.
	if c.id != "" {
		if old := h.b.replace(c); old != nil {
			_ = h.end(old.client, old, packets.ErrSessionTakenOver)
		}
	}
	cl.ID = fmt.Sprintf("%s\x00%s\x00%d", u.Name, cl.ID, n)
	cl.Properties.Props.TopicAliasMaximum = 0 // its aliases race between publishers
	// mochi's flow control towards a subscriber leaks and reorders: it is off, and
	// OnQosPublish cuts who has MaxInflight messages open. A client that asks for
	// less at a time gets QoS 0, which needs none.
	cl.State.Inflight.ResetSendQuota(0)
	if r := pk.Properties.ReceiveMaximum; r > 0 && int(r) < h.b.o.MaxInflight {
		c.maxQoS = 0
	}
	h.keepAlive(cl, pk)
	return nil
}

// keepAlive bounds the keep alive: mochi computes one and a half of it in 16
// bits. A client of version 3.1.1 cannot be told; TCP keep-alive finds a dead
// one that has set 0.
func (h *hook) keepAlive(cl *mochi.Client, pk packets.Packet) {
	limit := uint16(min(h.b.o.KeepAlive.Seconds(), 43690))
	switch k := pk.Connect.Keepalive; {
	case pk.ProtocolVersion >= 5 && (k == 0 || k > limit):
		cl.State.Keepalive, cl.State.ServerKeepalive = limit, true
	case k > 43690:
		cl.State.Keepalive = 43690
	}
}

// OnConnectAuthenticate repeats what OnConnect decided.
func (h *hook) OnConnectAuthenticate(cl *mochi.Client, _ packets.Packet) bool {
	c := of(cl)
	return c != nil && c.user != nil
}

// OnACLCheck is asked of every PUBLISH, every filter of a SUBSCRIBE and every
// message before it goes to a subscriber.
func (h *hook) OnACLCheck(cl *mochi.Client, topic string, write bool) bool {
	c := of(cl)
	if c == nil || c.user == nil {
		return false
	}
	if write {
		return covered(c.user.Publish, topic)
	}
	return covered(c.user.Subscribe, topic)
}

// OnSubscribe lowers the QoS to what is offered and reports what will be refused.
func (h *hook) OnSubscribe(cl *mochi.Client, pk packets.Packet) packets.Packet {
	c := of(cl)
	for i, f := range pk.Filters {
		pk.Filters[i].Qos = min(f.Qos, c.maxQoS)
		if !covered(c.user.Subscribe, f.Filter) {
			h.b.refuse(c.stranger("subscribe to "+f.Filter, "outside its access control list"))
		}
	}
	return pk
}

// OnPublish runs before PUBACK. mochi acknowledges as success whatever error it
// returns but these: ErrRejectPacket (nothing is sent), and in version 5 at QoS
// 1 a packets.Code.
func (h *hook) OnPublish(cl *mochi.Client, pk packets.Packet) (packets.Packet, error) {
	c := of(cl)
	if c == nil {
		return pk, nil
	}
	h.b.received.Add(1)
	if pk.FixedHeader.Retain && len(pk.Payload) > 0 && h.b.retained() >= h.b.o.MaxRetained {
		if _, ok := h.b.server.Topics.Retained.Get(pk.TopicName); !ok {
			h.b.refuse(c.stranger("publish to "+pk.TopicName, "too many retained messages"))
			return pk, h.reject(cl, c, pk)
		}
	}
	if c.user.Class != ClassRecord {
		return pk, nil
	}
	if err := h.b.record(c, Publish{
		User: c.user.Name, ClientID: c.id, Topic: pk.TopicName, Payload: pk.Payload, QoS: pk.FixedHeader.Qos,
		Retain: pk.FixedHeader.Retain, Duplicate: pk.FixedHeader.Dup, ProtocolVersion: cl.Properties.ProtocolVersion,
	}); err != nil {
		return pk, h.reject(cl, c, pk)
	}
	return pk, nil
}

// reject refuses a publish that we cannot take now: PUBACK 0x97, or the end of
// the connection where there is no such answer.
func (h *hook) reject(cl *mochi.Client, c *conn, pk packets.Packet) error {
	if cl.Properties.ProtocolVersion < 5 || pk.FixedHeader.Qos == 0 {
		return h.end(cl, c, packets.ErrQuotaExceeded)
	}
	if err := cl.WritePacket(puback(pk.PacketID, packets.ErrQuotaExceeded)); err != nil {
		c.Close()
	}
	return packets.ErrRejectPacket
}

// OnQosPublish is told that a message waits for the PUBACK of a subscriber. The
// last that fits is the end: the next would be dropped without a word.
func (h *hook) OnQosPublish(cl *mochi.Client, pk packets.Packet, _ int64, _ int) {
	if c := of(cl); c != nil && pk.FixedHeader.Type == packets.Publish && cl.State.Inflight.Len() >= h.b.o.MaxInflight {
		h.cut(c)
	}
}

// OnPublishDropped is told that the queue towards a subscriber is full.
func (h *hook) OnPublishDropped(cl *mochi.Client, _ packets.Packet) {
	if c := of(cl); c != nil {
		h.cut(c)
	}
}

// cut ends a subscriber that does not keep up; OnDisconnect counts it.
func (h *hook) cut(c *conn) {
	c.slow.Store(true)
	c.Close()
}

// OnWill is the last word of a connection that broke.
func (h *hook) OnWill(cl *mochi.Client, w mochi.Will) (mochi.Will, error) {
	if c := of(cl); c != nil && c.user != nil && c.user.Class == ClassRecord && atomic.LoadUint32(&cl.Properties.Will.Flag) == 1 {
		// Nobody waits for an answer; a failure is logged and counted.
		_ = h.b.record(c, Publish{User: c.user.Name, ClientID: c.id, Topic: w.TopicName, Payload: w.Payload, QoS: w.Qos, Retain: w.Retain, Will: true, ProtocolVersion: cl.Properties.ProtocolVersion})
	}
	return w, nil
}

// OnDisconnect is told the end of a client that was admitted.
func (h *hook) OnDisconnect(cl *mochi.Client, err error, _ bool) {
	c := of(cl)
	if c == nil || c.user == nil {
		return
	}
	if c.counted.CompareAndSwap(true, false) {
		h.b.count(c.user.Name, -1)
	}
	if c.slow.Load() {
		h.b.slow.Add(1)
		h.b.log.Warn("mqtt: a subscriber that does not keep up was cut", "user", c.user.Name, "peer", c.peer)
		return
	}
	h.b.log.Info("mqtt: disconnected", "user", c.user.Name, "peer", c.peer, "error", err)
}
