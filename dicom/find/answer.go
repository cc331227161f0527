package find

import (
	"slices"

	"nhip/dicom"
	"nhip/dicom/tag"
)

// Answer returns what a response says of an entity: the attributes that the keys
// ask for, each with the entity's value or empty, PS3.4 section C.2.2.1. Of a
// sequence it holds the items that match, with the attributes of the keys' item;
// the whole items where the keys have none. all says that every key is
// supported, or was not to be matched: the response is FF00H, else FF01H.
//
// The text is in the first of the character sets that can hold it: the one of
// the identifier, since its sender understands it; the entity's; ISO_IR 192. A
// value that cannot be written in any is left out.
func (m Matching) Answer(keys, entity *dicom.Dataset) (answer *dicom.Dataset, all bool) {
	sets := [][]string{keys.Texts(tag.SpecificCharacterSet), entity.Texts(tag.SpecificCharacterSet), {"ISO_IR 192"}}
	for i, set := range sets {
		answer, all = dicom.NewDataset(), true
		if len(set) > 0 && answer.SetText(tag.SpecificCharacterSet, set...) != nil {
			continue
		}
		if m.fill(answer, keys, entity, nil, &all, i == len(sets)-1) == nil {
			break
		}
	}
	return answer, all
}

// fill stops at the first error, unless what cannot be written is to be left out.
func (m Matching) fill(answer, keys, entity *dicom.Dataset, path []tag.Tag, all *bool, whatever bool) error {
	for key := range keys.All() {
		switch {
		case key.Tag == tag.SpecificCharacterSet, key.Tag&0xFFFF == 0:
			continue
		case key.Tag == tag.QueryRetrieveLevel, key.Tag == tag.QueryRetrieveView:
			if err := answer.SetText(key.Tag, keys.Texts(key.Tag)...); err != nil {
				return err
			}
			continue
		}
		here := append(path, key.Tag)
		if key.VR != dicom.SQ && (key.Tag.Private() || !m.supports(here)) && !universal(keys.Text(key.Tag)) {
			*all = false
		}
		if err := m.attribute(answer, keys, entity, key, here, all, whatever); err != nil && !whatever {
			return err
		}
	}
	return nil
}

func (m Matching) attribute(answer, keys, entity *dicom.Dataset, key dicom.Element, path []tag.Tag, all *bool, whatever bool) error {
	e, ok := entity.Find(key.Tag)
	if !ok || e.VR != dicom.SQ || key.VR != dicom.SQ {
		if !ok {
			return setEmpty(answer, key)
		}
		return copyElement(answer, entity, e)
	}
	wanted := keys.Items(key.Tag)
	whole := len(wanted) == 0 || wanted[0].Len() == 0
	var items []*dicom.Dataset
	for _, item := range entity.Items(key.Tag) {
		if whole || m.match(wanted[0], item, path) {
			items = append(items, item)
		}
	}
	parts, err := addItems(answer, key.Tag, len(items))
	if err != nil {
		return err
	}
	for i, item := range items {
		if whole {
			err = copyAll(parts[i], item)
		} else {
			err = m.fill(parts[i], wanted[0], item, path, all, whatever)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// addItems adds a sequence of empty items, which text can be put into in the
// character set of the data set.
func addItems(d *dicom.Dataset, t tag.Tag, n int) ([]*dicom.Dataset, error) {
	items := make([]*dicom.Dataset, n)
	for i := range items {
		items[i] = dicom.NewDataset()
	}
	return items, d.SetItems(t, items...)
}

// copyElement copies an element with its text in the character set of the data
// set that it comes into.
func copyElement(to, from *dicom.Dataset, e dicom.Element) error {
	switch e.VR {
	case dicom.SQ:
		items := from.Items(e.Tag)
		parts, err := addItems(to, e.Tag, len(items))
		if err != nil {
			return err
		}
		for i, item := range items {
			if err := copyAll(parts[i], item); err != nil {
				return err
			}
		}
		return nil
	case dicom.AE, dicom.AS, dicom.CS, dicom.DA, dicom.DS, dicom.DT, dicom.IS, dicom.LO, dicom.LT, dicom.PN, dicom.SH, dicom.ST,
		dicom.TM, dicom.UC, dicom.UI, dicom.UR, dicom.UT:
		return to.SetTextAs(e.Tag, e.VR, slices.Clone(from.Texts(e.Tag))...)
	}
	return to.SetBytes(e.Tag, e.VR, from.Bytes(e.Tag))
}

func copyAll(to, from *dicom.Dataset) error {
	for e := range from.All() {
		if e.Tag&0xFFFF == 0 || e.Tag == tag.SpecificCharacterSet {
			continue
		}
		if err := copyElement(to, from, e); err != nil {
			return err
		}
	}
	return nil
}

func setEmpty(d *dicom.Dataset, key dicom.Element) error {
	if key.VR == dicom.SQ {
		return d.SetItems(key.Tag)
	}
	return d.SetBytes(key.Tag, key.VR, nil)
}
