package run

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"nhip/gateway/alert"
	"nhip/gateway/delivery"
	"nhip/gateway/intake"
	"nhip/storage"
	"nhip/storage/diskguard"
)

// startAlerts starts what watches the gateway itself.
func (g *Gateway) startAlerts() {
	site := alert.Site{ID: g.cfg.Site.ID, Name: g.cfg.Site.Name}
	var channels []alert.Channel
	for i, w := range g.cfg.Webhooks {
		channels = append(channels, alert.NewWebhook(alert.Webhook{
			Label: fmt.Sprintf("webhook-%d", i+1), URL: w.URL, TokenFile: w.TokenFile, Site: site,
		}))
	}
	if m := g.cfg.SMTP; m.Host != "" {
		channels = append(channels, &alert.Mail{
			Host: m.Host, Port: m.Port, From: m.From, To: m.To, Username: m.Username, PasswordFile: m.PasswordFile,
			StartTLS: m.StartTLS, Site: site, Zone: g.cfg.Site.TimeZone,
		})
	}
	g.alerts = &alert.Keeper{
		Site: g.cfg.Site.ID, Store: smallStates{g.store}, Read: g.readings, Channels: channels, Log: g.log,
		Policy: alert.Policy{Again: g.cfg.Alerts.Again, PerHour: g.cfg.Alerts.PerHour},
	}
	g.goRun("alerts", g.alerts.Run)
}

// putTimeout is how long the alerts wait for room on the disk before they go on.
const putTimeout = 5 * time.Second

// smallStates is the store as alert.Store.
type smallStates struct{ *storage.Store }

func (s smallStates) Put(ctx context.Context, key string, value []byte) error {
	if err := s.Room(diskguard.Draining); err != nil {
		return fmt.Errorf("%w: %w", alert.ErrLater, err)
	}
	wait, cancel := context.WithTimeout(ctx, putTimeout)
	defer cancel()
	b := new(storage.Batch)
	b.Put(key, value)
	_, err := s.Commit(wait, b)
	if wait.Err() != nil && ctx.Err() == nil && errors.Is(err, wait.Err()) {
		return fmt.Errorf("%w: %w", alert.ErrLater, err)
	}
	return err
}

// readings is the gateway as the alerts see it.
func (g *Gateway) readings(now time.Time) []alert.Reading {
	snap := g.store.Snapshot()
	all := []alert.Reading{
		level(alert.HeldReceived, "", snap.Depths[intake.HeldQueue] > 0, fmt.Sprint(snap.Depths[intake.HeldQueue])),
		level(alert.Damaged, "", len(g.store.Alarms()) > 0, fmt.Sprint(len(g.store.Alarms()))),
	}
	difference := counts(snap.Counters).Difference()
	all = append(all, level(alert.Balance, "", difference != 0, fmt.Sprint(difference)))
	for _, d := range g.cfg.Destinations {
		all = append(all, g.queueReadings(now, d.Name, snap)...)
	}
	all = append(all, g.untaken()...)
	all = append(all, g.silence(now)...)
	all = append(all, g.clocks()...)
	all = append(all, diskReadings(g.store.Disk())...)
	if g.backups != nil {
		newest := "-"
		if last := g.backups.State().Last; !last.IsZero() {
			newest = last.In(g.cfg.Site.TimeZone).Format("2006-01-02 15:04")
		}
		all = append(all, level(alert.Unbacked, "", g.backups.Overdue(now), newest))
	}
	return append(all, g.listeners()...)
}

func level(code alert.Code, subject string, bad bool, args ...string) alert.Reading {
	r := alert.Reading{Code: code, Subject: subject, Args: args}
	if bad {
		r.Level = alert.Bad
	}
	return r
}

// queueReadings are those of one destination. What waits for a person counts as
// held and not as undelivered: it would hide that the destination is away.
func (g *Gateway) queueReadings(now time.Time, name string, snap storage.Snapshot) []alert.Reading {
	w, queue := g.workers[name], delivery.Queue(name)
	held, behind, _ := w.Counts()
	age, err := g.oldest(now, w, queue)
	if err != nil {
		g.log.Warn("the oldest of a queue is not readable", "destination", name, "error", err)
	}
	undelivered := level(alert.Undelivered, name, age >= g.cfg.Alerts.Oldest,
		fmt.Sprint(snap.Depths[queue]-held-behind), strconv.Itoa(int(age/time.Minute)))
	if age < g.cfg.Alerts.Oldest && age >= g.cfg.Alerts.Oldest/2 {
		undelivered.Level = alert.Between
	}
	return []alert.Reading{undelivered, level(alert.Held, name, held > 0, fmt.Sprint(held))}
}

// oldest is how long what waits longest for a destination has waited, by the
// monotonic clock; 0 for nothing.
func (g *Gateway) oldest(now time.Time, w *delivery.Worker, queue string) (time.Duration, error) {
	head, ok, err := g.store.Head(queue)
	if err != nil || !ok {
		return 0, err
	}
	seq, ok := w.Oldest(head.Seq)
	if !ok {
		return 0, nil
	}
	return w.Age(seq, now), nil
}

// silence reads the connections that are expected to send. Nothing is known of
// one between the start and its first message: then an alert stays as it was.
func (g *Gateway) silence(now time.Time) []alert.Reading {
	last := map[string]time.Time{}
	for _, s := range g.states.list() {
		last[s.Name] = s.Last
	}
	var all []alert.Reading
	limits := g.silent()
	for _, name := range slices.Sorted(maps.Keys(limits)) {
		since := last[name]
		heard := since.After(g.started)
		waited := now.Sub(g.started)
		if heard {
			waited = now.Sub(since)
		}
		said := waited
		if !since.IsZero() {
			said = max(waited, now.Sub(since))
		}
		r := level(alert.Silent, name, waited >= limits[name], strconv.Itoa(int(said/time.Minute)))
		if !heard && r.Level != alert.Bad {
			r.Level = alert.Between
		}
		all = append(all, r)
	}
	return all
}

// silent are the connections whose silence is an alert, and after how long.
func (g *Gateway) silent() map[string]time.Duration {
	limits := map[string]time.Duration{}
	add := func(name string, after time.Duration) {
		if after > 0 {
			limits[name] = after
		}
	}
	for _, c := range g.cfg.Analysers {
		add(c.Name, c.Silent)
	}
	for _, c := range g.cfg.Modalities {
		add(c.Name, c.Silent)
	}
	for _, c := range g.cfg.Monitors {
		add(c.Name, c.Silent)
	}
	for _, c := range g.cfg.HL7Peers {
		add(c.Name, c.Silent)
	}
	for _, c := range g.cfg.MQTTUsers {
		add(c.Name, c.Silent)
	}
	return limits
}

// clocks reads how far devices' clocks are from ours. One that has told no time
// since the start leaves its alert as it was.
func (g *Gateway) clocks() []alert.Reading {
	var all []alert.Reading
	for _, s := range g.states.list() {
		r := alert.Reading{Code: alert.Drift, Subject: s.Name, Level: alert.Between}
		if s.Drift != nil {
			r.Args = []string{fmt.Sprintf("%+d", int64(*s.Drift/time.Second))}
			switch d := s.Drift.Abs(); {
			case d >= g.cfg.Alerts.Drift:
				r.Level = alert.Bad
			case d < g.cfg.Alerts.Drift*3/4:
				r.Level = alert.Quiet
			}
		}
		all = append(all, r)
	}
	return all
}

// diskReadings follow the guard, which has its own hysteresis.
func diskReadings(d diskguard.Status) []alert.Reading {
	free := fmt.Sprint(d.Free >> 20)
	nothing := d.State == diskguard.NoIntake || d.State == diskguard.NoWriting
	return []alert.Reading{
		level(alert.DiskImages, "", d.State == diskguard.NoImages || nothing, free),
		level(alert.DiskResults, "", nothing, free),
	}
}

// listeners reads all that were ever open or failed to open.
func (g *Gateway) listeners() []alert.Reading {
	var all []alert.Reading
	closed := g.states.problems()
	for _, name := range g.states.listeners() {
		r := level(alert.Listener, name, false)
		if why, bad := closed[name]; bad {
			r.Level, r.Why = alert.Bad, why
		}
		all = append(all, r)
	}
	return all
}
