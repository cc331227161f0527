package interpret

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"fmt"
)

// A Series gives out message control IDs: MSH-10 of at most 20 characters, four
// of a hash of the site, two of the epoch, ten of a counter. None is given out
// twice: the counter is committed together with the messages that carry it, and
// a restored store begins a new epoch.
type Series struct {
	site string
	s    series
}

type series struct {
	Epoch int    `json:"epoch"`
	Next  uint64 `json:"next"`
}

// seriesKey is where a Series is stored.
const seriesKey = "control-id"

// NewSeries continues what was stored (nil: begins) for a site.
func NewSeries(site string, stored []byte) (*Series, error) {
	sum := sha256.Sum256([]byte(site))
	c := &Series{site: base32.StdEncoding.EncodeToString(sum[:])[:4], s: series{Epoch: 1, Next: 1}}
	if stored == nil {
		return c, nil
	}
	if err := json.Unmarshal(stored, &c.s); err != nil || c.s.Epoch < 1 || c.s.Next < 1 {
		return nil, fmt.Errorf("interpret: the stored control ID counter cannot be read (%d bytes)", len(stored))
	}
	return c, nil
}

const base36 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"

// Take gives out the next control ID.
func (c *Series) Take() string {
	n := c.s.Next
	c.s.Next++
	e := c.s.Epoch % (36 * 36)
	return fmt.Sprintf("%s%c%c%010d", c.site, base36[e/36], base36[e%36], n)
}

// Encode is the stored form.
func (c *Series) Encode() []byte {
	b, err := json.Marshal(c.s)
	if err != nil {
		panic(err) // no value of this struct fails to marshal
	}
	return b
}
