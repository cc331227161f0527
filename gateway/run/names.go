package run

import (
	"nhip/drivers/profile"
	"nhip/gateway/config"
	"nhip/gateway/interpret"
	"nhip/gateway/reason"
	"nhip/hl7/vncharset"
)

// profileOf is the profile of an analyser, with the set of characters that the site says
// of this one; nil: there is none.
func (g *Gateway) profileOf(a config.Analyser) *profile.Profile {
	p := g.profiles[a.Profile]
	if p == nil {
		return nil
	}
	with, err := p.WithNames(a.Names)
	if err != nil { // the configuration was checked
		g.log.Error("names", "analyser", a.Name, "error", err)
		return p
	}
	return with
}

// doubted shows on the console, and once in the log, that an analyser writes in other
// characters than it is thought to.
func (g *Gateway) doubted(connection string, d profile.Doubt) {
	why := doubtReason(d)
	if g.states.disagreed(connection, interpret.Analyser, why) {
		g.log.Warn("character set", "connection", connection, "reason", why)
	}
}

func doubtReason(d profile.Doubt) reason.Reason {
	switch {
	case d.Like != "":
		return reason.New(reason.NamesOther, d.Place, d.Like)
	case d.Problem == vncharset.Undeclared:
		return reason.New(reason.NamesUndeclared, d.Place)
	}
	return reason.New(reason.CharsetInvalid, d.Place, d.Set)
}
