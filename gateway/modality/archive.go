package modality

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"nhip/dicom"
	"nhip/dicom/dimse"
	"nhip/dicom/find"
	"nhip/dicom/retrieve"
	"nhip/dicom/service"
	"nhip/dicom/tag"
	"nhip/gateway/intake"
	"nhip/storage"
)

// An Archive answers queries and retrievals from the objects that the gateway still
// holds, PS3.4 annex C. It is find.Source and retrieve.Source. The gateway is no
// archive: what retention has removed is not found. Held objects that are not the first
// of their SOP Instance UID are not shown.
type Archive struct {
	Store *storage.Store
	Log   *slog.Logger
	// Connections are the names of those whose objects are found.
	Connections []string
	AETitle     string // from which they are retrieved
	// Open opens the object of an entry after it was checked; Peek without.
	Open, Peek func(storage.Ref) (intake.Entry, File, error)
}

// MostObjects is how many objects one query looks at.
const MostObjects = 200_000

// A held object.
type object struct {
	ref storage.Ref
	e   intake.Entry
}

func (o object) attr(name string) string { return o.e.Attrs[name] }

// tooWide is the answer to a query that would have to look at more.
var tooWide = &service.StatusError{Status: dimse.Status{
	Code: dimse.OutOfResources, Comment: fmt.Sprintf("more than %d objects to look at: name a patient or a study", MostObjects),
}}

// objects lists what a query may come to: by the first of the keys that the index has,
// else all there is.
func (a *Archive) objects(ctx context.Context, keys *dicom.Dataset) ([]object, error) {
	for _, x := range []struct {
		t    tag.Tag
		kind intake.Identifier
	}{{tag.StudyInstanceUID, intake.Study}, {tag.PatientID, intake.Patient}, {tag.AccessionNumber, intake.Accession}} {
		values := keys.Texts(x.t)
		if len(values) == 0 || slices.ContainsFunc(values, func(v string) bool { return v == "" || strings.ContainsAny(v, "*?") }) {
			continue
		}
		found, err := a.indexed(ctx, x.kind, values)
		if err != nil || len(found) > 0 || x.kind != intake.Study {
			return found, err
		}
		break // an object of before there was an index of studies
	}
	return a.all(ctx)
}

func (a *Archive) indexed(ctx context.Context, kind intake.Identifier, values []string) (found []object, err error) {
	for _, v := range values {
		prefix := intake.IndexKeys(intake.IndexName(kind, v))
		keys, err := a.Store.Keys(prefix, MostObjects+1)
		if err != nil {
			return nil, err
		}
		if len(found)+len(keys) > MostObjects {
			return nil, tooWide
		}
		for _, key := range keys {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			ref, err := storage.ParseRef(strings.TrimPrefix(key, prefix))
			if err != nil {
				continue // of an object that is in conflict with another
			}
			raw, err := a.Store.Read(ref)
			if errors.Is(err, storage.ErrTrimmed) {
				continue
			}
			if err != nil {
				return nil, err
			}
			if e, err := intake.DecodeEntry(raw); err == nil && shown(e) && slices.Contains(a.Connections, e.Connection) {
				found = append(found, object{ref, e})
			}
		}
	}
	return found, nil
}

func (a *Archive) all(ctx context.Context) (found []object, err error) {
	seen := 0
	for _, name := range a.Connections {
		stop := error(nil)
		err := a.Store.Range(intake.Channel(name), 1, 0, false, func(ref storage.Ref, b []byte) bool {
			if seen++; seen > MostObjects {
				stop = tooWide
			} else {
				stop = ctx.Err()
			}
			if e, err := intake.DecodeEntry(b); err == nil && shown(e) && stop == nil {
				found = append(found, object{ref, e})
			}
			return stop == nil
		})
		var damaged *storage.DamagedError
		if stop != nil {
			return nil, stop
		}
		if err != nil && !errors.As(err, &damaged) { // damage is an alarm already
			return nil, err
		}
	}
	return found, nil
}

func shown(e intake.Entry) bool {
	return e.Kind == intake.KindDICOM && e.Fate == intake.Received && e.Spool != nil
}

// groups puts objects together by attributes, in the order of the first of each.
func groups(all []object, attrs ...string) [][]object {
	at := map[string]int{}
	var list [][]object
	for _, o := range all {
		var key strings.Builder
		for _, a := range attrs {
			fmt.Fprintf(&key, "%q", o.attr(a))
		}
		i, ok := at[key.String()]
		if !ok {
			i = len(list)
			at[key.String()], list = i, append(list, nil)
		}
		list[i] = append(list[i], o)
	}
	return list
}

// level is what the objects of one entity have in common.
var level = map[find.Level][]string{
	find.Patient: {intake.AttrPatient},
	find.Study:   {intake.AttrStudy},
	find.Series:  {intake.AttrStudy, intake.AttrSeries},
	find.Image:   {intake.AttrSOPInstance},
}

// Entities is find.Source. Each entity has the attributes of the first of its objects,
// and what is counted of all of them.
func (a *Archive) Entities(ctx context.Context, q find.Query) iter.Seq2[*dicom.Dataset, error] {
	return func(yield func(*dicom.Dataset, error) bool) {
		all, err := a.objects(ctx, q.Identifier)
		if err != nil {
			yield(nil, err)
			return
		}
		for _, group := range groups(narrow(all, q), level[q.Level]...) {
			if ctx.Err() != nil {
				return
			}
			d, err := a.entity(group, q.Level)
			if err != nil {
				a.Log.Warn("query: an object cannot be read, and is left out", "entry", group[0].ref.String(), "error", err)
				continue
			}
			if !yield(d, nil) {
				return
			}
		}
	}
}

// narrow leaves out what the unique keys exclude, so that its file is not opened.
func narrow(all []object, q find.Query) []object {
	wanted := map[string][]string{}
	for attr, t := range map[string]tag.Tag{intake.AttrStudy: tag.StudyInstanceUID, intake.AttrSeries: tag.SeriesInstanceUID, intake.AttrSOPInstance: tag.SOPInstanceUID} {
		if v := q.Identifier.Texts(t); len(v) > 0 && v[0] != "" {
			wanted[attr] = v
		}
	}
	return slices.DeleteFunc(all, func(o object) bool {
		for attr, values := range wanted {
			if have := o.attr(attr); have != "" && !slices.Contains(values, have) {
				return true
			}
		}
		return false
	})
}

// peekLimits bound what is read of an object for a query: values up to the pixel data.
var peekLimits = dicom.Limits{Held: 64 << 10, Total: 64 << 20}

// entity is the data set of a patient, study, series or instance.
func (a *Archive) entity(group []object, l find.Level) (*dicom.Dataset, error) {
	e, f, err := a.Peek(group[0].ref)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	file, err := dicom.OpenFile(f, e.Length, peekLimits)
	if err != nil {
		return nil, err
	}
	d := dicom.NewDataset()
	if set := file.Texts(tag.SpecificCharacterSet); len(set) > 0 {
		if err := d.SetText(tag.SpecificCharacterSet, set...); err != nil {
			return nil, err
		}
	}
	for el := range file.Dataset.All() {
		if el.Tag >= tag.FloatPixelData || el.Len() > peekLimits.Held || el.Tag == tag.SpecificCharacterSet {
			continue
		}
		if err := service.CopyElement(d, file.Dataset, el); err != nil {
			continue // text that cannot be written in its own character set
		}
	}
	return d, a.count(d, group, l)
}

// count adds what is known of all objects of an entity.
func (a *Archive) count(d *dicom.Dataset, group []object, l find.Level) error {
	err := errors.Join(d.SetText(tag.RetrieveAETitle, a.AETitle), d.SetText(tag.InstanceAvailability, "ONLINE"))
	n := func(t tag.Tag, attrs ...string) {
		err = errors.Join(err, d.SetText(t, fmt.Sprint(len(groups(group, attrs...)))))
	}
	switch l {
	case find.Patient:
		n(tag.NumberOfPatientRelatedStudies, intake.AttrStudy)
		n(tag.NumberOfPatientRelatedSeries, intake.AttrStudy, intake.AttrSeries)
		n(tag.NumberOfPatientRelatedInstances, intake.AttrSOPInstance)
	case find.Study:
		n(tag.NumberOfStudyRelatedSeries, intake.AttrSeries)
		n(tag.NumberOfStudyRelatedInstances, intake.AttrSOPInstance)
		modalities, classes := map[string]bool{}, map[string]bool{}
		for _, o := range group {
			modalities[o.attr(intake.AttrModality)] = true
			classes[o.attr(intake.AttrSOPClass)] = true
		}
		delete(modalities, "")
		err = errors.Join(err, d.SetText(tag.ModalitiesInStudy, slices.Sorted(maps.Keys(modalities))...),
			d.SetText(tag.SOPClassesInStudy, slices.Sorted(maps.Keys(classes))...))
	case find.Series:
		n(tag.NumberOfSeriesRelatedInstances, intake.AttrSOPInstance)
	}
	return err
}

// Instances is retrieve.Source.
func (a *Archive) Instances(ctx context.Context, q retrieve.Query) ([]retrieve.Instance, error) {
	all, err := a.objects(ctx, q.Identifier)
	if err != nil {
		return nil, err
	}
	key := map[find.Level]string{find.Patient: intake.AttrPatient, find.Study: intake.AttrStudy, find.Series: intake.AttrSeries, find.Image: intake.AttrSOPInstance}[q.Level]
	asked := q.UIDs()
	var list []retrieve.Instance
	for _, o := range narrow(all, find.Query{Identifier: q.Identifier}) {
		if !slices.Contains(asked, cmp.Or(o.attr(key), a.inFile(o, q.Level))) {
			continue
		}
		list = append(list, retrieve.Instance{
			SOPClassUID: o.attr(intake.AttrSOPClass), SOPInstanceUID: o.attr(intake.AttrSOPInstance),
			TransferSyntaxes: []string{o.attr(intake.AttrTransferSyntax)},
			Open:             func(context.Context, string) (io.ReadCloser, error) { return a.dataSet(o.ref) },
		})
	}
	return list, nil
}

// inFile is the series of an object that came before it was noted.
func (a *Archive) inFile(o object, l find.Level) string {
	if l != find.Series {
		return ""
	}
	d, err := a.entity([]object{o}, find.Image)
	if err != nil {
		return ""
	}
	return d.Text(tag.SeriesInstanceUID)
}

// dataSet opens an object behind its File Meta Information.
func (a *Archive) dataSet(ref storage.Ref) (io.ReadCloser, error) {
	_, f, err := a.Open(ref)
	if err != nil {
		return nil, err
	}
	meta, err := dicom.ReadPart10(f)
	if err == nil {
		_, err = f.Seek(meta.DataSet, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
