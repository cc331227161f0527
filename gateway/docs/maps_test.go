package docs

import (
	"testing"
	"time"

	"nhip/gateway/config"
)

// The map of fields of the manual is read, and passes its own tests; it is the same in
// both languages.
func TestTheMapOfTheManualIsGood(t *testing.T) {
	en, vi := fences(manuals["en"], "map"), fences(manuals["vi"], "map")
	if len(en) != 1 || len(vi) != 1 || en[0] != vi[0] {
		t.Fatalf("%d and %d maps", len(en), len(vi))
	}
	m, problems := config.ReadMap([]byte(en[0]), "map.toml", time.UTC)
	if len(problems) > 0 || m.Tests() != 2 {
		t.Error(problems)
	}
}
