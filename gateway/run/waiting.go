package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"nhip/gateway/config"
	"nhip/gateway/modality"
	"nhip/storage"
)

const queuePrefix = "to/"

// Waiting says what waits for each destination, for the check of a changed
// configuration: from the gateway that runs on it, else from its store. running
// says which.
func Waiting(cfg *config.Config) (queues map[string]int, running bool, err error) {
	if _, err := os.Stat(cfg.Site.Data); errors.Is(err, os.ErrNotExist) {
		return nil, false, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	s, err := storage.Open(ctx, storage.Options{Dir: cfg.Site.Data, ReadOnly: true, Log: slog.New(slog.DiscardHandler)})
	if errors.Is(err, storage.ErrInUse) || errors.Is(err, context.DeadlineExceeded) {
		queues, err = askRunning(cfg)
		return queues, true, err
	}
	if err != nil {
		return nil, false, err
	}
	defer s.Close()
	return waitingIn(s), false, nil
}

func waitingIn(s *storage.Store) map[string]int {
	queues := map[string]int{}
	for _, q := range s.Queues() {
		if name, ok := strings.CutPrefix(q, queuePrefix); ok {
			queues[name] += s.Depth(q)
		}
		if name, ok := strings.CutPrefix(q, modality.CommitQueues); ok {
			queues[name] += s.Depth(q)
		}
	}
	return queues
}

// askRunning asks the console of a running gateway.
func askRunning(cfg *config.Config) (map[string]int, error) {
	client := http.Client{Timeout: 2 * time.Second}
	for _, address := range cfg.Console.Listen {
		rsp, err := client.Get("http://" + address + "/api/v1/status")
		if err != nil {
			continue
		}
		defer rsp.Body.Close()
		if rsp.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("a gateway is running on this data, and its console answers %s", rsp.Status)
		}
		var st struct {
			Queues []struct {
				Destination string
				Depth       int
			}
		}
		if err := json.NewDecoder(io.LimitReader(rsp.Body, 16<<20)).Decode(&st); err != nil {
			return nil, err
		}
		queues := map[string]int{}
		for _, q := range st.Queues {
			queues[q.Destination] = q.Depth
		}
		return queues, nil
	}
	return nil, errors.New("a gateway is running on this data, and its console does not answer")
}

// unclaimed refuses to start while something waits for a destination that the
// configuration no longer names.
func unclaimed(cfg *config.Config, s *storage.Store) error {
	named := map[string]bool{}
	for _, d := range cfg.Destinations {
		named[d.Name] = true
	}
	for name, n := range waitingIn(s) {
		if n > 0 && !named[name] {
			return fmt.Errorf("%d messages wait for destination %q, which is no longer in the configuration: name it again, under its old name, until they are delivered", n, name)
		}
	}
	return nil
}
