package run

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"

	"nhip/gateway/control"
)

// startControl opens the socket by which the command line acts on this gateway.
// All handlers are registered before.
func (g *Gateway) startControl() {
	g.keepOpen("control", func() ([]string, func(context.Context) error, error) {
		l, err := control.Listen(g.cfg.Site.Data)
		if err != nil {
			return nil, nil, err
		}
		return []string{control.Socket}, func(ctx context.Context) error { return g.acts.Serve(ctx, l, 5*time.Second) }, nil
	})
}

// person is whose token it is. The configuration holds hashes of tokens only.
func (g *Gateway) person(token string) (name string, known bool) {
	sum := sha256.Sum256([]byte(token))
	hash := hex.EncodeToString(sum[:])
	for _, p := range g.cfg.People {
		if strings.ToLower(p.TokenSHA256) == hash {
			name, known = p.Name, true
		}
	}
	return name, known
}
