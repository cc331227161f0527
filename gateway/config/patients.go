package config

import (
	"fmt"
	"regexp"
	"strings"
)

// Authority is one [[authority]]: who gives numbers to patients or visits.
type Authority struct {
	Name string   `toml:"name" need:"yes"` // as it stands in PID-3.4 of what we make
	Also []string `toml:"also" default:""` // what senders write for it: a namespace ID, a universal ID, or both with & between
}

// What becomes of the patients that a system tells of.
const (
	PatientsTake = "take" // kept: merges reach orders
	PatientsPass = "pass" // handed on only
)

// What a destination gets of laboratory results.
const (
	ResultsORU = "oru" // ORU^R01
	ResultsOUL = "oul" // OUL^R22
)

// How a value with a comparator, ">100", is sent.
const (
	ComparatorsText = "text" // OBX-2 ST
	ComparatorsSN   = "sn"   // OBX-2 SN
)

// What a destination gets of the state of orders.
const (
	StatusNone = "none"
	StatusORM  = "orm" // ORM^O01, version 2.3.1
	StatusOML  = "oml" // OML^O21 and OMI^O23, version 2.5.1
)

// identifierType is CX.5 of a rule, table 0203 and local types.
var identifierType = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,20}$`)

// IdentifierRule is one of authority = […]: the authority of identifiers that name
// none, of one type, or of any where it has none.
func IdentifierRule(rule string) (kind, authority string) {
	if kind, authority, ok := strings.Cut(rule, "="); ok {
		return kind, authority
	}
	return "", rule
}

func (k *checker) authorities() {
	names := map[string]string{} // what stands in CX.4 -> label
	claim := func(key, where, name string) {
		if other, taken := names[name]; taken && other != where {
			k.wrong(key, where, "%q is also that of %s", name, other)
		}
		names[name] = where
	}
	for i, a := range k.Authorities {
		key, where := fmt.Sprintf("authority[%d]", i), label("authority", a.Name, i)
		k.authorityName(key+".name", where, a.Name)
		if _, taken := names[a.Name]; taken && a.Name != "" {
			k.wrong(key+".name", where, "the name is also that of %s", names[a.Name])
		}
		claim(key+".name", where, a.Name)
		for _, also := range a.Also {
			if also == "" || !plain(also) || strings.ContainsAny(also, `|^~\`) {
				k.wrong(key+".also", where, "also: %q is empty, or has characters that separate HL7 fields", also)
				continue
			}
			claim(key+".also", where, also)
		}
	}
	for i, p := range k.HL7Peers {
		key, where := fmt.Sprintf("hl7_peer[%d].authority", i), label("hl7_peer", p.Name, i)
		seen := map[string]bool{}
		for _, rule := range p.Authority {
			kind, authority := IdentifierRule(rule)
			if strings.Contains(rule, "=") && !identifierType.MatchString(kind) {
				k.wrong(key, where, "authority: %q is not of the form NAME or TYPE=NAME", rule)
			}
			if seen[kind] {
				k.wrong(key, where, "authority: two authorities for identifiers of type %q", kind)
			}
			seen[kind] = true
			k.authorityName(key, where, authority)
		}
	}
	for i, a := range k.Analysers {
		if a.Authority != "" {
			k.authorityName(fmt.Sprintf("analyser[%d].authority", i), label("analyser", a.Name, i), a.Authority)
		}
	}
	for i, d := range k.Destinations {
		if d.Kind == KindDICOM {
			k.foreign(fmt.Sprintf("destination[%d]", i), label("destination", d.Name, i), d.Kind, "results", "comparators", "status", "status_of")
		}
		if d.Status != StatusNone {
			k.named[d.Name] = true
		}
		for _, name := range d.StatusOf {
			if k.sources[name] == "" || !strings.HasPrefix(k.sources[name], "hl7_peer") {
				k.wrong(fmt.Sprintf("destination[%d].status_of", i), label("destination", d.Name, i), "status_of: there is no [[hl7_peer]] with name = %q", name)
			}
		}
	}
}

// authorityName checks what is written to PID-3.4.
func (k *checker) authorityName(key, where, name string) {
	if name == "" || len(name) > 180 || !plain(name) || strings.ContainsAny(name, `|^\&~=`) {
		k.wrong(key, where, `authority %q is empty, or has characters that separate HL7 fields (| ^ \ & ~) or =`, name)
	}
}
