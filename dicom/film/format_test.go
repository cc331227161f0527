package film

import (
	"slices"
	"strings"
	"testing"
)

func TestFormats(t *testing.T) {
	slides := func(format, size string) []int {
		switch {
		case format == "SLIDE" && size == "14INX17IN":
			return []int{5, 5, 5, 5}
		case format == `CUSTOM\3`:
			return []int{1, 2}
		}
		return nil
	}
	for _, c := range []struct {
		text    string
		rows    []int
		columns bool
		boxes   int
	}{
		{`STANDARD\1,1`, []int{1}, false, 1},
		{`STANDARD\2,3`, []int{2, 2, 2}, false, 6},
		{`STANDARD\ 2 , 3 `, []int{2, 2, 2}, false, 6},
		{`STANDARD\10,10`, slices.Repeat([]int{10}, 10), false, 100},
		{`ROW\2,1,2`, []int{2, 1, 2}, false, 5},
		{`COL\1,3`, []int{1, 3}, true, 4},
		{`SLIDE`, []int{5, 5, 5, 5}, false, 20},
		{`CUSTOM\3`, []int{1, 2}, false, 3},
		{`CUSTOM\4`, nil, false, 0},
		{`SUPERSLIDE`, nil, false, 0},
		{`STANDARD`, nil, false, 0},
		{`STANDARD\2`, nil, false, 0},
		{`STANDARD\2,3,4`, nil, false, 0},
		{`STANDARD\0,3`, nil, false, 0},
		{`STANDARD\-1,-1`, nil, false, 0},
		{`STANDARD\11,10`, nil, false, 0},
		{`STANDARD\100,100`, nil, false, 0},
		{`STANDARD\99999999999999999999,1`, nil, false, 0},
		{`ROW\` + strings.Repeat("1,", 100) + "1", nil, false, 0},
		{`ROW\60,60`, nil, false, 0},
		{``, nil, false, 0},
		{`../../etc/passwd`, nil, false, 0},
	} {
		f, err := ParseFormat(c.text, "14INX17IN", 100, slides)
		if (err == nil) != (c.boxes > 0) || err == nil && (!slices.Equal(f.Rows, c.rows) || f.Columns != c.columns || f.Boxes() != c.boxes) {
			t.Errorf("%s: %+v, %v", c.text, f, err)
		}
	}
	if _, err := ParseFormat("SLIDE", "", 100, nil); err == nil {
		t.Error("SLIDE on a printer that has none")
	}
}
