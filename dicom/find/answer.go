package find

import (
	"nhip/dicom"
	"nhip/dicom/service"
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
		return service.CopyElement(answer, entity, e)
	}
	wanted := keys.Items(key.Tag)
	whole := len(wanted) == 0 || wanted[0].Len() == 0
	var items []*dicom.Dataset
	for _, item := range entity.Items(key.Tag) {
		if whole || m.match(wanted[0], item, path) {
			items = append(items, item)
		}
	}
	parts, err := service.AddItems(answer, key.Tag, len(items))
	if err != nil {
		return err
	}
	for i, item := range items {
		if whole {
			err = service.CopyAll(parts[i], item)
		} else {
			err = m.fill(parts[i], wanted[0], item, path, all, whatever)
		}
		if err != nil {
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
