package profile

import (
	"fmt"
	"slices"
	"time"

	"nhip/drivers/astm/e1394"
	"nhip/gateway/record"
)

// An unasked is a message like an answer, which a model takes without having asked:
// [answer.download] and [answer.cancel]. Its fields stand in place of the answer's with
// the same path; one that is empty takes that field away.
type unasked struct {
	Source string `toml:"source"`
	// Later, of a download, is what is sent for a specimen of which the model has work
	// already: "whole" (default), all that is to be done, or "added", what is new.
	Later  string `toml:"later"`
	Fields []set  `toml:"field"`
}

func (c *checker) unasked(f *file, a *answer) {
	if f.Link.Form == "tokens" && (a.Download != nil || a.Cancel != nil) {
		c.bad("answer", `download and cancel are not for a link of the form "tokens"`)
	}
	if d := a.Download; d != nil {
		c.needs("answer.download", "source", d.Source)
		c.word("answer.download.later", d.Later, "whole", "added")
		c.sets(d.Fields)
	}
	d := a.Cancel
	if d == nil {
		return
	}
	c.needs("answer.cancel", "source", d.Source)
	if d.Later != "" {
		c.bad("answer.cancel", "later is for [answer.download]")
	}
	if len(d.Fields) == 0 {
		c.bad("answer.cancel", "no [[answer.cancel.field]] tells it from an order")
	}
	c.sets(d.Fields)
}

func (c *checker) sets(all []set) {
	for _, s := range all {
		c.set(s)
	}
}

// Downloads reports whether the model takes work that it did not ask for.
func (p *Profile) Downloads() bool {
	switch p.f.Protocol {
	case ASTM:
		return p.f.Answer != nil && p.f.Answer.Download != nil
	case HL7, LAW:
		return p.HL7Dialect().Downloads()
	}
	return false
}

// Cancels reports whether work that the model was given can be taken back.
func (p *Profile) Cancels() bool {
	switch p.f.Protocol {
	case ASTM:
		return p.f.Answer != nil && p.f.Answer.Cancel != nil
	case HL7, LAW:
		return p.HL7Dialect().Cancels()
	}
	return false
}

// DownloadsWhole reports whether a download has all that is to be done with a specimen,
// and not only what is new.
func (p *Profile) DownloadsWhole() bool {
	return p.f.Protocol == ASTM && p.f.Answer != nil && p.f.Answer.Download != nil && p.f.Answer.Download.Later != "added"
}

// Download is the records, H to L, that hand out work which nobody asked for. now has
// the zone of the site.
func (p *Profile) Download(work []record.Work, now time.Time) ([]byte, error) {
	if p.f.Answer == nil || p.f.Answer.Download == nil {
		return nil, fmt.Errorf("profile: %s does not say how work is sent that was not asked for", p.f.ID)
	}
	return p.f.Answer.varied(p.f.Answer.Download, work, now)
}

// Cancel is the records that take work back, test by test.
func (p *Profile) Cancel(work []record.Work, now time.Time) ([]byte, error) {
	if p.f.Answer == nil || p.f.Answer.Cancel == nil {
		return nil, fmt.Errorf("profile: %s does not say how work is taken back", p.f.ID)
	}
	return p.f.Answer.varied(p.f.Answer.Cancel, work, now)
}

func (a answer) varied(v *unasked, work []record.Work, now time.Time) ([]byte, error) {
	fields := slices.DeleteFunc(slices.Clone(a.Fields), func(s set) bool {
		return slices.ContainsFunc(v.Fields, func(with set) bool { return with.Path == s.Path })
	})
	a.Fields = append(fields, v.Fields...)
	return a.compose(e1394.Record{Delimiters: e1394.Standard}, record.Query{}, work, now)
}
