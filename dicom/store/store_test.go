package store

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// PS3.5 annex A.5: a deflated data set is of even length.
func TestPadded(t *testing.T) {
	for _, n := range []int{0, 1, 2, 511, 512, 513} {
		whole := strings.Repeat("x", n)
		for name, r := range map[string]io.Reader{
			"whole":      strings.NewReader(whole),
			"bytes":      iotest.OneByteReader(strings.NewReader(whole)),
			"end inside": iotest.DataErrReader(strings.NewReader(whole)),
		} {
			got, err := io.ReadAll(&padded{r: r})
			if err != nil || string(got) != whole+strings.Repeat("\x00", n%2) {
				t.Errorf("%d bytes, %s: %d bytes, %v", n, name, len(got), err)
			}
		}
	}
	broken := errors.New("broken")
	if _, err := io.ReadAll(&padded{r: iotest.ErrReader(broken)}); err != broken {
		t.Error(err)
	}
}
