package console

import (
	"context"
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics is /metrics: the status of the source at the moment of the scrape,
// and the Go process. No label has anything of a patient.
func metrics(c *Console) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collector{c},
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorHandling:       promhttp.HTTPErrorOnError,
		MaxRequestsInFlight: 4,
		Timeout:             2 * sourceTimeout,
	})
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("nhip_"+name, help, labels, nil)
}

var (
	descInfo       = desc("build_info", "The version, always 1.", "version", "site")
	descStarted    = desc("start_time_seconds", "When the gateway started, in Unix time.")
	descHealthy    = desc("healthy", "1 when it would acknowledge and every listener is open.")
	descAccepted   = desc("messages_accepted_total", "Accepted messages, by destination each.")
	descOutcome    = desc("messages_finished_total", "What became of accepted messages for good.", "outcome")
	descConsumed   = desc("messages_consumed_total", "Accepted messages that go nowhere, by kind.", "kind")
	descNow        = desc("messages", "Accepted messages that are on their way.", "state")
	descRefused    = desc("messages_refused_total", "Refused messages, not among the accepted.")
	descDifference = desc("messages_difference", "Accepted less all that became of them: 0.")
	descDepth      = desc("queue_depth", "Items in the queue, held ones included.", "destination")
	descHeld       = desc("queue_held", "Items that wait for a person.", "destination")
	descBehind     = desc("queue_waiting_behind", "Items that wait behind a held one.", "destination")
	descOldest     = desc("queue_oldest_seconds", "Age of the oldest item.", "destination")
	descConnection = desc("connection_state", "1 for the state that the connection is in.", "name", "kind", "state")
	descReceived   = desc("connection_messages_total", "Messages of the connection.", "name", "kind")
	descCharset    = desc("connection_charset_warnings_total", "Messages whose bytes disagree with the character set that they declare.", "name", "kind")
	descDrift      = desc("connection_drift_seconds", "How far the device's clock is ahead of ours.", "name", "kind")
	descFree       = desc("disk_free_bytes", "Free on the file system of the data.")
	descTotal      = desc("disk_total_bytes", "Size of the file system of the data.")
	descAlarms     = desc("store_alarms", "Alarms of the store.")
	descAlert      = desc("alert", "1 while the alert is raised.", "code", "subject")
	descRaised     = desc("alerts_raised_total", "Alerts raised since the start.", "code")
	descStrangers  = desc("strangers", "Peers that were refused because nobody named them.")
)

type collector struct{ c *Console }

// Describe sends nothing: the collector is unchecked, so that making a console
// does not ask the source.
func (c collector) Describe(chan<- *prometheus.Desc) {}

// Collect is a snapshot. With a source that does not answer the scrape fails,
// so that no old figure looks like a new one.
func (c collector) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), sourceTimeout)
	defer cancel()
	status, err := c.c.o.Source.Status(ctx)
	if err != nil {
		out <- prometheus.NewInvalidMetric(descInfo, err)
		return
	}
	v := viewer{lang: en, zone: c.c.o.Zone, now: c.c.o.Now()}.status(status, c.c.o.Source.Health(ctx))
	gauge := sender(out, prometheus.GaugeValue)
	count := sender(out, prometheus.CounterValue)

	gauge(descInfo, 1, v.Version, v.Site.ID)
	gauge(descStarted, float64(v.Started.Unix()))
	gauge(descHealthy, number01(v.Healthy))
	collectCounts(v.Counts, gauge, count)
	for _, q := range v.Queues {
		gauge(descDepth, float64(q.Depth), q.Destination)
		gauge(descHeld, float64(q.Held), q.Destination)
		gauge(descBehind, float64(q.Behind), q.Destination)
		gauge(descOldest, float64(q.OldestSeconds), q.Destination)
	}
	for _, n := range v.Connections {
		gauge(descConnection, 1, n.Name, n.Kind, n.State)
		count(descReceived, float64(n.Messages), n.Name, n.Kind)
		if n.Charset > 0 {
			count(descCharset, float64(n.Charset), n.Name, n.Kind)
		}
		if n.Drift != nil {
			gauge(descDrift, *n.Drift, n.Name, n.Kind)
		}
	}
	gauge(descFree, float64(v.Disk.Free))
	gauge(descTotal, float64(v.Disk.Total))
	gauge(descAlarms, float64(len(v.Alarms)))
	for _, a := range v.gauges {
		gauge(descAlert, number01(a.Raised), string(a.Code), a.Subject)
	}
	for code, n := range v.raised {
		count(descRaised, float64(n), string(code))
	}
	gauge(descStrangers, float64(len(v.Strangers)))
}

type send func(d *prometheus.Desc, value float64, labels ...string)

func collectCounts(n countsView, gauge, count send) {
	count(descAccepted, float64(n.Accepted))
	count(descOutcome, float64(n.Delivered), "delivered")
	count(descOutcome, float64(n.Discarded), "discarded")
	count(descOutcome, float64(n.Expired), "expired")
	count(descOutcome, float64(n.Consumed), "consumed")
	for kind, value := range n.Kinds {
		count(descConsumed, float64(value), kind)
	}
	gauge(descNow, float64(n.Queued), "queued")
	gauge(descNow, float64(n.Held), "held")
	count(descRefused, float64(n.Refused))
	gauge(descDifference, float64(n.Difference))
}

func sender(out chan<- prometheus.Metric, kind prometheus.ValueType) send {
	return func(d *prometheus.Desc, value float64, labels ...string) {
		for i := range labels {
			labels[i] = strings.ToValidUTF8(labels[i], "\uFFFD")
		}
		m, err := prometheus.NewConstMetric(d, kind, value, labels...)
		if err != nil {
			m = prometheus.NewInvalidMetric(d, err)
		}
		out <- m
	}
}

func number01(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
