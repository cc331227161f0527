package commitment

import (
	"bytes"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"nhip/dicom/uid"
)

// Any data set of a request or a report: no panic, no more references than the
// limit; and what we write is read as it was.
func FuzzContent(f *testing.F) {
	some := content{"1.2.3", []Reference{{"1.2", "1.3.1"}}, []Failure{{Reference{"1.2", "1.3.22"}, NoSuchInstance}}}
	for _, syntax := range []string{uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian} {
		b, err := io.ReadAll(newContentReader(some, syntax))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, syntax == uid.ExplicitVRLittleEndian)
	}
	f.Fuzz(func(t *testing.T, b []byte, explicit bool) {
		syntax := uid.ImplicitVRLittleEndian
		if explicit {
			syntax = uid.ExplicitVRLittleEndian
		}
		c, err := readContent(bytes.NewReader(b), syntax, 5)
		if len(c.refs)+len(c.failed) > 5 {
			t.Fatalf("%d references", len(c.refs)+len(c.failed))
		}
		if err != nil {
			return
		}
		again, err := readContent(newContentReader(c, syntax), syntax, 5)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c, again, cmp.AllowUnexported(content{}), cmpopts.EquateEmpty()); diff != "" {
			t.Error(diff)
		}
	})
}
