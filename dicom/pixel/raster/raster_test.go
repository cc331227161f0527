package raster

import (
	"errors"
	"testing"
)

func TestCheckNamesWhatIsWrong(t *testing.T) {
	good := Image{Columns: 2, Rows: 1, Samples: 1, BitsAllocated: 16, Precision: 12, Pix: []byte{0xFF, 0x0F, 0, 0}}
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Image){
		"no rows":            func(m *Image) { m.Rows = 0 },
		"negative":           func(m *Image) { m.Columns = -2 },
		"too many columns":   func(m *Image) { m.Columns = 65536 },
		"five samples":       func(m *Image) { m.Samples = 5 },
		"twelve allocated":   func(m *Image) { m.BitsAllocated = 12 },
		"no precision":       func(m *Image) { m.Precision = 0 },
		"precision too much": func(m *Image) { m.Precision = 17 },
		"short":              func(m *Image) { m.Pix = m.Pix[:3] },
		"thirteen bits":      func(m *Image) { m.Pix = []byte{0, 0x10, 0, 0} },
		"sign not extended":  func(m *Image) { m.Signed = true; m.Pix = []byte{0, 0x08, 0, 0} },
		"less than -2048":    func(m *Image) { m.Signed = true; m.Pix = []byte{0xFF, 0xF7, 0, 0} },
	} {
		m := good
		change(&m)
		if m.Check() == nil {
			t.Errorf("%s: no error", name)
		}
	}
	signed := good
	signed.Signed = true
	signed.Pix = []byte{0x00, 0xF8, 0xFF, 0x07} // -2048, 2047
	if err := signed.Check(); err != nil {
		t.Error(err)
	}
}

func TestCheckOfEightAndThirtyTwoBits(t *testing.T) {
	for _, c := range []struct {
		image Image
		good  bool
	}{
		{Image{BitsAllocated: 8, Precision: 7, Pix: []byte{0x7F}}, true},
		{Image{BitsAllocated: 8, Precision: 7, Pix: []byte{0x80}}, false},
		{Image{BitsAllocated: 8, Precision: 7, Signed: true, Pix: []byte{0xC0}}, true},
		{Image{BitsAllocated: 8, Precision: 8, Pix: []byte{0xFF}}, true},
		{Image{BitsAllocated: 32, Precision: 20, Pix: []byte{0xFF, 0xFF, 0x0F, 0}}, true},
		{Image{BitsAllocated: 32, Precision: 20, Pix: []byte{0xFF, 0xFF, 0x1F, 0}}, false},
		{Image{BitsAllocated: 32, Precision: 20, Signed: true, Pix: []byte{0, 0, 0xF8, 0xFF}}, true},
		{Image{BitsAllocated: 32, Precision: 20, Signed: true, Pix: []byte{0, 0, 0x08, 0}}, false},
	} {
		m := c.image
		m.Columns, m.Rows, m.Samples = 1, 1, 1
		if err := m.Check(); (err == nil) != c.good {
			t.Errorf("%+v: %v", m, err)
		}
	}
}

func TestLimits(t *testing.T) {
	for _, c := range []struct {
		limits                     Limits
		columns, rows, samples, by int
		good                       bool
	}{
		{Limits{}, 16384, 16384, 1, 16, true},
		{Limits{}, 65535, 65535, 1, 8, false},
		{Limits{}, 16384, 16384, 3, 16, false},
		{Limits{MaxPixels: 100}, 10, 10, 1, 8, true},
		{Limits{MaxPixels: 100}, 10, 11, 1, 8, false},
		{Limits{MaxBytes: 100}, 10, 5, 1, 16, true},
		{Limits{MaxBytes: 100}, 10, 5, 3, 16, false},
	} {
		err := c.limits.Check("codec", c.columns, c.rows, c.samples, c.by)
		var limit *LimitError
		if (err == nil) != c.good || err != nil && !errors.As(err, &limit) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
