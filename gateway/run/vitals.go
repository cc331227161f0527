package run

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"nhip/drivers/mqtt"
	"nhip/gateway/config"
	"nhip/gateway/intake"
	"nhip/gateway/interpret"
	"nhip/gateway/reason"
	"nhip/gateway/record"
	"nhip/gateway/vitals"
	"nhip/storage"
)

// vitalsOut publishes what monitors observe. Topics and payloads are of package
// vitals; the numbers of a device go on over a restart, because they are
// committed together with what is published under them.
type vitalsOut struct {
	log *slog.Logger

	mu      sync.Mutex
	broker  *mqtt.Broker // nil while it is not open
	devices map[string]*vitals.Device
}

// startVitals opens the broker.
func (g *Gateway) startVitals() error {
	v := &vitalsOut{log: g.log, devices: map[string]*vitals.Device{}}
	for _, m := range g.cfg.Monitors {
		d := &vitals.Device{Site: g.cfg.Site.ID, Unit: m.Unit, Name: m.Name, Limit: m.Stale}
		var err error
		if d.Seq, err = vitals.LastSeq(g.store, m.Name); err != nil {
			return err
		}
		v.devices[m.Name] = d
	}
	g.vitals = v
	g.goRun("vitals", v.watch)
	if len(g.cfg.MQTT.Listen) == 0 {
		return nil
	}
	users, err := g.mqttUsers()
	if err != nil {
		return err
	}
	g.keepOpen("mqtt", func() ([]string, func(context.Context) error, error) { return g.openBroker(users) })
	return nil
}

func (g *Gateway) mqttUsers() ([]mqtt.User, error) {
	var users []mqtt.User
	for _, u := range g.cfg.MQTTUsers {
		password, err := u.Password()
		if err != nil {
			return nil, fmt.Errorf("mqtt_user %s: %w", u.Name, err)
		}
		users = append(users, mqtt.User{Name: u.Name, Password: password, Subscribe: u.Subscribe, Publish: u.Publish, Class: u.Class})
		g.states.set(u.Name, interpret.MQTTUser, "offline", "")
	}
	return users, nil
}

func (g *Gateway) openBroker(users []mqtt.User) ([]string, func(context.Context) error, error) {
	b, err := mqtt.New(mqtt.Options{
		Listen: g.cfg.MQTT.Listen, Users: users, Log: g.log, MaxConnections: g.cfg.MQTT.MaxClients,
		OnRecord: func(ctx context.Context, p mqtt.Publish) error {
			g.states.seen(p.User, interpret.MQTTUser)
			return g.in.Observation(ctx, intake.KindMQTT, p.User, "", p.Payload, map[string]string{"topic": p.Topic})
		},
		Online: func(user string, clients int) {
			if clients == 0 {
				g.states.set(user, interpret.MQTTUser, "offline", "")
				return
			}
			g.states.set(user, interpret.MQTTUser, "connected", fmt.Sprintf("MQTT (%d)", clients))
		},
		Refused: func(s mqtt.Stranger) {
			g.strangers.refused(config.Stranger{Kind: "mqtt", Address: host(s.Address), User: s.Username}, reason.Text(s.Wanted+": "+s.Reason))
		},
	})
	if err != nil {
		return nil, nil, err
	}
	if err := b.Start(); err != nil {
		return nil, nil, err
	}
	var addresses []string
	for _, a := range b.Addrs() {
		addresses = append(addresses, a.String())
	}
	g.vitals.use(b)
	return addresses, func(ctx context.Context) error {
		<-ctx.Done()
		g.vitals.use(nil)
		return b.Close()
	}, nil
}

// use takes a broker into use and gives it the status of every device.
func (v *vitalsOut) use(b *mqtt.Broker) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.broker = b
	if b == nil {
		return
	}
	for _, d := range v.devices {
		if d.State == "" {
			d.State, d.Since = vitals.Offline, time.Now()
		}
		v.send(d.Status())
	}
}

// send publishes to whoever is subscribed now. Nobody's being there is no
// failure: MQTT is no store.
func (v *vitalsOut) send(messages ...vitals.Message) {
	for _, m := range messages {
		if v.broker == nil {
			return
		}
		if err := v.broker.Publish(m.Topic, m.Payload, 1, m.Retain); err != nil && !errors.Is(err, mqtt.ErrClosed) {
			v.log.Error("not published", "topic", m.Topic, "error", err)
		}
	}
}

// publish is interpret.Worker.Publish.
func (v *vitalsOut) publish(b *storage.Batch, connection string, received time.Time, obs []record.Observation) {
	seq := v.observed(connection, received, obs)
	b.Put(vitals.SeqKey(connection), strconv.AppendUint(nil, seq, 10))
}

// observed publishes and says the last number that was used.
func (v *vitalsOut) observed(connection string, received time.Time, obs []record.Observation) uint64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	d := v.devices[connection]
	messages, err := d.Observe(obs, received, time.Now())
	if err != nil {
		v.log.Error("not published", "monitor", connection, "error", err)
	}
	v.send(messages...)
	return d.Seq
}

// connected tells what became of a device's connection.
func (v *vitalsOut) connected(connection string, yes bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	d := v.devices[connection]
	if yes {
		v.send(d.Connected(time.Now())...)
		return
	}
	v.send(d.Disconnected(time.Now())...)
}

// watch makes devices stale whose readings are missing.
func (v *vitalsOut) watch(ctx context.Context) error {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case now := <-t.C:
			v.mu.Lock()
			for _, d := range v.devices {
				v.send(d.TimedOut(now)...)
			}
			v.mu.Unlock()
		}
	}
}
