package table

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"nhip/drivers/profile"
)

func TestTablesSayWhatIsBuiltIn(t *testing.T) {
	all, err := profile.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	for name, write := range Documents {
		doc, err := os.ReadFile(filepath.Join("..", "..", "..", name))
		if err != nil {
			t.Fatal(err)
		}
		if want, err := write(doc, all); err != nil {
			t.Errorf("%s: %v", name, err)
		} else if !bytes.Equal(doc, want) {
			t.Errorf("%s: the table of analysers is not that of the profiles; go generate ./drivers/profiles writes it anew", name)
		}
	}
}

func TestDocumentWithoutTheTableIsRefused(t *testing.T) {
	for name, write := range Documents {
		for _, doc := range []string{"", "# Nhịp\n", Heading} {
			if _, err := write([]byte(doc), nil); err == nil {
				t.Errorf("%s: %q is taken", name, doc)
			}
		}
	}
}
