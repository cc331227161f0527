// Package profiles holds the analyser profiles that are part of the program:
// one folder per model with profile.toml, NOTES.md, transcripts/ and expected/.
// Package profile reads them.
package profiles

import "embed"

//go:generate go run ./table/gen ../..

// Files holds one folder per profile, named by its identifier.
//
//go:embed */profile.toml */NOTES.md */transcripts/*.txt */expected/*.json
var Files embed.FS
