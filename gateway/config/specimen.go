package config

import "nhip/gateway/lab"

// specimens checks how the identifiers of specimens are made.
func (k *checker) specimens(key, where string, a Analyser) {
	if a.SpecimenPattern == "" {
		return
	}
	p, err := lab.Whole(a.SpecimenPattern)
	switch {
	case err != nil:
		k.wrong(key+".specimen_pattern", where, "specimen_pattern: %v", err)
	case p.NumSubexp() > 1:
		k.wrong(key+".specimen_pattern", where, "specimen_pattern has more than one group: write (?:…) for those that do not stand for the identifier")
	}
}

// Specimens is how the identifiers of specimens are made, of a checked analyser.
func (a Analyser) Specimens() lab.Specimens {
	var s lab.Specimens
	if a.SpecimenPattern != "" {
		s.Pattern, _ = lab.Whole(a.SpecimenPattern)
	}
	if a.SpecimenCheck != "none" {
		s.Check = a.SpecimenCheck
	}
	return s
}
