// Package profiles holds the analyser profiles that are part of the program:
// one folder per model with profile.toml, NOTES.md, transcripts/ and expected/.
// Package profile reads them.
package profiles

import "embed"

// Files holds one folder per profile, named by its identifier.
//
//go:embed all:generic-astm all:generic-hl7 all:sysmex-xn-l all:roche-cobas-e411 all:erba-xl all:mindray-bc-5380
var Files embed.FS
