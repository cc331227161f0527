package config

import (
	"fmt"
	"regexp"
	"slices"
	"time"

	"nhip/gateway/ris"
)

// Orders is [orders]: how long orders stay, and what performed procedure steps do to
// them.
type Orders struct {
	LaboratoryExpire time.Duration `toml:"laboratory_expire" default:"168h" never:"yes"` // 0: never
	ImagingExpire    time.Duration `toml:"imaging_expire" default:"720h" never:"yes"`
	KeepDays         int           `toml:"keep_days" default:"30"`
	MostOpen         int           `toml:"most_open" default:"200000"`
	Discontinued     string        `toml:"discontinued" default:"keep" oneof:"keep remove"`
	DoneBy           string        `toml:"done_by" default:"result" oneof:"result query"`
}

// What becomes of the orders of a system.
const (
	OrdersTake = "take" // kept, and answered order by order
	OrdersPass = "pass" // handed on only
)

// What a discontinued performed procedure step does to its worklist entry.
const (
	DiscontinuedKeep   = "keep"
	DiscontinuedRemove = "remove"
)

// What the texts of a modality's worklist are like.
const (
	WorklistASCII = "ascii"
	WorklistUTF8  = "utf-8"
)

// orderPath is a field of an order that may hold an identifier.
var orderPath = regexp.MustCompile(`^(ORC|OBR|SPM|SAC|IPC)-[1-9][0-9]?(\.[1-9][0-9]?)?$`)

func (k *checker) orders() {
	const where = "[orders]"
	for _, x := range []struct {
		name string
		d    time.Duration
	}{{"laboratory_expire", k.Orders.LaboratoryExpire}, {"imaging_expire", k.Orders.ImagingExpire}} {
		if x.d > 0 && x.d < time.Hour {
			k.wrong("orders."+x.name, where, `%s is under "1h": orders would be given up before anybody could do them`, x.name)
		}
	}
	k.between("orders.keep_days", where, "keep_days", k.Orders.KeepDays, 1, 3650)
	k.between("orders.most_open", where, "most_open", k.Orders.MostOpen, 100, 1_000_000)
	for i, p := range k.HL7Peers {
		k.orderPaths(fmt.Sprintf("hl7_peer[%d]", i), label("hl7_peer", p.Name, i), p)
	}
}

func (k *checker) orderPaths(key, where string, p HL7Peer) {
	for _, x := range []struct {
		name     string
		paths    []string
		segments []string
	}{
		{"order_specimen", p.OrderSpecimen, []string{"SPM", "SAC", "OBR", "ORC"}},
		{"order_accession", p.OrderAccession, []string{"IPC", "OBR", "ORC"}},
	} {
		for _, path := range x.paths {
			if !orderPath.MatchString(path) || !slices.Contains(x.segments, path[:3]) {
				k.wrong(key+"."+x.name, where, "%s: %q is no field of an order, such as %q", x.name, path, x.segments[0]+"-2")
			}
		}
	}
	if m := p.OrderModality; len(m) > 16 || m != "" && !regexp.MustCompile(`^[A-Z0-9_ ]+$`).MatchString(m) {
		k.wrong(key+".order_modality", where, "order_modality %q is no modality of DICOM, such as \"CT\"", m)
	}
}

// OrderRules are what the link says about its orders, but for where it stands.
func (p HL7Peer) OrderRules() ris.Rules {
	r := ris.Rules{Kind: p.OrderKind, Accession: p.OrderAccession, Missing: p.OrderStudy, Long: p.OrderLong, Modality: p.OrderModality}
	r.Specimen = p.OrderSpecimen
	return r
}
