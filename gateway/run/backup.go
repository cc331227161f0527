package run

import (
	"context"
	"encoding/json"
	"path/filepath"
	"time"

	"nhip/gateway/backup"
	"nhip/gateway/control"
)

// A BackupRequest is what the command line asks of a running gateway.
type BackupRequest struct {
	To         string `json:"to"` // absolute
	Passphrase string `json:"passphrase,omitempty"`
}

// BackupAct is the act that takes a BackupRequest and gives a backup.Report.
const BackupAct = "backup"

// startBackup registers the act and begins the schedule of the configuration.
func (g *Gateway) startBackup() {
	g.acts.RegisterLocal(BackupAct, func(ctx context.Context, who control.Actor, request json.RawMessage) (any, error) {
		var r BackupRequest
		if err := json.Unmarshal(request, &r); err != nil {
			return nil, control.Bad("the request cannot be read")
		}
		if !filepath.IsAbs(r.To) {
			return nil, control.Bad("the place of the backup must be an absolute path")
		}
		report, err := backup.Write(ctx, g.store, g.cfg.Site.ID, r.To, r.Passphrase, time.Now())
		if err != nil {
			return nil, err
		}
		g.log.Info("backup made", "file", report.File, "commit", report.Mark.Commit, "user", who.User, "by", who.By)
		return report, nil
	})
	b := g.cfg.Backup
	if b.To == "" {
		return
	}
	g.backups = &backup.Schedule{
		Store: g.store, Site: g.cfg.Site.ID, To: b.To, Every: b.Every, Keep: b.Keep, PassphraseFile: b.PassphraseFile, Log: g.log,
	}
	g.goRun("backup", g.backups.Run)
}
