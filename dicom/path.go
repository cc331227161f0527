package dicom

import (
	"fmt"
	"strconv"
	"strings"

	"nhip/dicom/tag"
)

// A step of a path is an item of a sequence.
type step struct {
	tag  tag.Tag
	item int
}

// parsePath takes "(0040,0100)[0].(0040,0002)" and
// "ScheduledProcedureStepSequence[0].ScheduledProcedureStepStartDate" apart.
func parsePath(path string) ([]step, tag.Tag, error) {
	var steps []step
	parts := strings.Split(path, ".")
	for _, part := range parts[:len(parts)-1] {
		name, rest, ok := strings.Cut(part, "[")
		number, closed := strings.CutSuffix(rest, "]")
		n, err := strconv.ParseUint(number, 10, 31)
		t, terr := tag.Parse(name)
		if !ok || !closed || err != nil || terr != nil {
			return nil, 0, fmt.Errorf("dicom: %q in a path is no item of a sequence, such as (0040,0100)[0]", part)
		}
		steps = append(steps, step{t, int(n)})
	}
	t, err := tag.Parse(parts[len(parts)-1])
	return steps, t, err
}

// Follow returns the item that holds the element of a path, and its tag: of
// "(0040,0100)[0].(0040,0002)" the first item of the sequence (0040,0100), and
// (0040,0002). Tags and keywords may stand in it. A path without a sequence names the
// data set itself. It is an error where there is no such item.
//
//	item, t, err := d.Follow("ScheduledProcedureStepSequence[0].Modality")
//	…
//	err = item.SetText(t, "CT")
func (d *Dataset) Follow(path string) (*Dataset, tag.Tag, error) {
	steps, t, err := parsePath(path)
	if err != nil {
		return nil, 0, err
	}
	for _, s := range steps {
		items := d.Items(s.tag)
		if s.item >= len(items) {
			return nil, 0, fmt.Errorf("dicom: %v has no item %d", s.tag, s.item)
		}
		d = items[s.item]
	}
	return d, t, nil
}

// Make is Follow that adds the sequence where it is missing, and the item where it
// is the next one.
func (d *Dataset) Make(path string) (*Dataset, tag.Tag, error) {
	steps, t, err := parsePath(path)
	if err != nil {
		return nil, 0, err
	}
	for _, s := range steps {
		items := d.Items(s.tag)
		if s.item > len(items) {
			return nil, 0, fmt.Errorf("dicom: %v has %d items: there is no next one %d", s.tag, len(items), s.item)
		}
		if s.item == len(items) {
			items = append(items[:len(items):len(items)], NewDataset())
			if err := d.SetItems(s.tag, items...); err != nil {
				return nil, 0, err
			}
		}
		d = items[s.item]
	}
	return d, t, nil
}

// Private returns the tag of a private element: of the block that the creator has in
// the group, PS3.5 section 7.8.1, and the number of the element in it. It is false
// where the creator has none.
func (d *Dataset) Private(group uint16, creator string, element byte) (tag.Tag, bool) {
	for e := range d.All() {
		if e.Tag.Group() != group || !e.Tag.Private() {
			continue
		}
		if n := uint16(e.Tag); n >= 0x10 && n <= 0xFF && e.Text() == creator {
			return tag.New(group, n<<8|uint16(element)), true
		}
	}
	return 0, false
}

// MakePrivate is Private that reserves a block where the creator has none.
func (d *Dataset) MakePrivate(group uint16, creator string, element byte) (tag.Tag, error) {
	if group%2 == 0 || group <= 8 || group == 0xFFFF {
		return 0, fmt.Errorf("dicom: %04X is no private group", group)
	}
	if creator == "" {
		return 0, fmt.Errorf("dicom: a private creator needs a name")
	}
	if t, ok := d.Private(group, creator, element); ok {
		return t, nil
	}
	for n := uint16(0x10); n <= 0xFF; n++ {
		if t := tag.New(group, n); !d.Has(t) {
			return tag.New(group, n<<8|uint16(element)), d.SetTextAs(t, LO, creator)
		}
	}
	return 0, fmt.Errorf("dicom: group %04X has no free block", group)
}
