package film

import (
	"fmt"
	"strconv"
	"strings"
)

// A Format is an Image Display Format (2010,0010), PS3.3 section C.13.3: where
// the image boxes of a film are.
type Format struct {
	Text string // as sent
	Rows []int  // image boxes in each row from the top, or in each column from the left
	// Columns says that Rows are columns: the format was COL.
	Columns bool
}

// Boxes is the number of image boxes.
func (f Format) Boxes() int {
	n := 0
	for _, r := range f.Rows {
		n += r
	}
	return n
}

// An Other says how many image boxes a film of the format SLIDE, SUPERSLIDE or
// CUSTOM\i has in rows from the top: that is the printer's business. None means
// that it does not know the format.
type Other func(format, filmSize string) []int

// ParseFormat reads STANDARD\C,R, ROW\R1,R2,… and COL\C1,C2,…; for the others it
// asks, where it can. No film has more than most image boxes. The error is for a
// status comment.
func ParseFormat(text, filmSize string, most int, other Other) (Format, error) {
	kind, rest, _ := strings.Cut(text, `\`)
	kind = strings.TrimSpace(kind)
	f := Format{Text: text}
	switch kind {
	case "STANDARD":
		n, err := counts(rest, most)
		if err != nil {
			return f, err
		}
		if len(n) != 2 {
			return f, fmt.Errorf("display format STANDARD without columns and rows")
		}
		if n[0]*n[1] > most {
			return f, fmt.Errorf("display format of more than %d image boxes", most)
		}
		for range n[1] {
			f.Rows = append(f.Rows, n[0])
		}
	case "ROW", "COL":
		n, err := counts(rest, most)
		if err != nil {
			return f, err
		}
		f.Rows, f.Columns = n, kind == "COL"
	case "SLIDE", "SUPERSLIDE", "CUSTOM":
		if other != nil {
			f.Rows = other(text, filmSize)
		}
		if len(f.Rows) == 0 {
			return f, fmt.Errorf("display format %s is not configured", kind)
		}
	default:
		return f, fmt.Errorf("no such display format")
	}
	if n := f.Boxes(); n < 1 || n > most {
		return f, fmt.Errorf("display format of %d image boxes, at most %d", n, most)
	}
	return f, nil
}

// counts reads positive numbers with commas between them, none of them and no
// more of them than most.
func counts(s string, most int) ([]int, error) {
	var n []int
	for part := range strings.SplitSeq(s, ",") {
		v, err := strconv.Atoi(strings.TrimSpace(part))
		if err != nil || v < 1 || v > most || len(n) == most {
			return nil, fmt.Errorf("display format with a count that is not 1 to %d", most)
		}
		n = append(n, v)
	}
	return n, nil
}
