// Package retrievetest is a small archive for the tests of query and retrieval.
package retrievetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"iter"
	"slices"
	"sync"
	"testing"

	"nhip/dicom"
	"nhip/dicom/dimse"
	"nhip/dicom/find"
	"nhip/dicom/retrieve"
	"nhip/dicom/store"
	"nhip/dicom/tag"
	"nhip/dicom/uid"
)

// An Object is a composite instance as it is kept.
type Object struct {
	Class, Instance, Syntax string
	Data                    []byte
	Set                     *dicom.Dataset
}

// An Archive keeps objects in memory. It is a find.Source and a retrieve.Source.
type Archive struct {
	mu      sync.Mutex
	objects []*Object
	Origin  []store.Originator // of what was stored
	Refuse  func(instance string) bool
}

// New returns an archive of 9 images of 2 patients in 3 studies and 4 series.
func New(t testing.TB) *Archive {
	t.Helper()
	a := &Archive{}
	n := 0
	for _, s := range []struct {
		patient, name, study, series, modality string
		images                                 int
	}{
		{"P-1", "Nguyễn^Thị Hoa", "1.2.826.1", "1.2.826.1.1", "CT", 3},
		{"P-1", "Nguyễn^Thị Hoa", "1.2.826.1", "1.2.826.1.2", "CT", 3},
		{"P-1", "Nguyễn^Thị Hoa", "1.2.826.2", "1.2.826.2.1", "MR", 2},
		{"P-2", "DOE^JOHN", "1.2.826.3", "1.2.826.3.1", "CT", 1},
	} {
		for i := range s.images {
			n++
			class, syntax := uid.CTImageStorage, uid.ExplicitVRLittleEndian
			if s.modality == "MR" {
				class, syntax = uid.MRImageStorage, uid.ImplicitVRLittleEndian
			}
			d := dicom.NewDataset()
			for _, e := range []struct {
				t tag.Tag
				v string
			}{
				{tag.SpecificCharacterSet, "ISO_IR 192"}, {tag.SOPClassUID, class}, {tag.SOPInstanceUID, fmt.Sprintf("%s.%d", s.series, i+1)},
				{tag.StudyDate, fmt.Sprintf("2026011%d", len(s.study)%3+1)}, {tag.StudyTime, "101500"}, {tag.AccessionNumber, "A" + s.study[len(s.study)-1:]},
				{tag.Modality, s.modality}, {tag.PatientName, s.name}, {tag.PatientID, s.patient}, {tag.PatientBirthDate, "19600101"}, {tag.PatientSex, "O"},
				{tag.StudyInstanceUID, s.study}, {tag.SeriesInstanceUID, s.series}, {tag.StudyID, "1"}, {tag.SeriesNumber, "1"}, {tag.InstanceNumber, fmt.Sprint(i + 1)},
				{tag.PhotometricInterpretation, "MONOCHROME2"}, {tag.ReferringPhysicianName, ""},
			} {
				must(t, d.SetText(e.t, e.v))
			}
			for _, e := range []struct {
				t tag.Tag
				v int64
			}{{tag.SamplesPerPixel, 1}, {tag.Rows, 32}, {tag.Columns, 32}, {tag.BitsAllocated, 16}, {tag.BitsStored, 12}, {tag.HighBit, 11}, {tag.PixelRepresentation, 0}} {
				must(t, d.SetInt(e.t, e.v))
			}
			must(t, d.SetBytes(tag.PixelData, dicom.OW, bytes.Repeat([]byte{byte(n), 0}, 32*32)))
			var b bytes.Buffer
			must(t, d.Write(&b, syntax))
			a.add(class, d.Text(tag.SOPInstanceUID), syntax, b.Bytes())
		}
	}
	return a
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (a *Archive) add(class, instance, syntax string, b []byte) bool {
	d, err := dicom.Parse(b, syntax, dicom.Limits{})
	if err != nil {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.objects = append(a.objects, &Object{class, instance, syntax, b, d})
	return true
}

// Objects returns what is kept.
func (a *Archive) Objects() []*Object {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.objects)
}

// Sums returns SOP instance UIDs with transfer syntaxes and SHA-256 of the data
// sets, sorted.
func (a *Archive) Sums() []string {
	var all []string
	for _, o := range a.Objects() {
		all = append(all, fmt.Sprintf("%s %s %x", o.Instance, o.Syntax, sha256.Sum256(o.Data)))
	}
	slices.Sort(all)
	return all
}

// Store is a store.Handler.
func (a *Archive) Store(ctx context.Context, r store.Request, dataSet io.Reader) dimse.Status {
	b, err := io.ReadAll(dataSet)
	switch {
	case err != nil:
		return dimse.Status{Code: dimse.OutOfResources}
	case a.Refuse != nil && a.Refuse(r.SOPInstanceUID):
		return dimse.Status{Code: dimse.OutOfResources, Comment: "refused by the test"}
	case !a.add(r.SOPClassUID, r.SOPInstanceUID, r.TransferSyntaxUID, b):
		return dimse.Status{Code: dimse.CannotUnderstand}
	}
	a.mu.Lock()
	a.Origin = append(a.Origin, r.Originator)
	a.mu.Unlock()
	return dimse.Status{}
}

// uniqueKey of a level.
func uniqueKey(l find.Level) tag.Tag {
	switch l {
	case find.Patient:
		return tag.PatientID
	case find.Study:
		return tag.StudyInstanceUID
	case find.Series:
		return tag.SeriesInstanceUID
	}
	return tag.SOPInstanceUID
}

// Entities yields one object of each entity of the level.
func (a *Archive) Entities(_ context.Context, q find.Query) iter.Seq2[*dicom.Dataset, error] {
	return func(yield func(*dicom.Dataset, error) bool) {
		seen := map[string]bool{}
		for _, o := range a.Objects() {
			if key := o.Set.Text(uniqueKey(q.Level)); !seen[key] {
				seen[key] = true
				if !yield(o.Set, nil) {
					return
				}
			}
		}
	}
}

// Instances returns the objects that have one of the UIDs of the query.
func (a *Archive) Instances(_ context.Context, q retrieve.Query) ([]retrieve.Instance, error) {
	var found []retrieve.Instance
	for _, o := range a.Objects() {
		if slices.Contains(q.UIDs(), o.Set.Text(uniqueKey(q.Level))) {
			found = append(found, retrieve.Instance{
				SOPClassUID: o.Class, SOPInstanceUID: o.Instance, TransferSyntaxes: []string{o.Syntax},
				Open: func(context.Context, string) (io.ReadCloser, error) {
					return io.NopCloser(bytes.NewReader(o.Data)), nil
				},
			})
		}
	}
	return found, nil
}

// Keys makes an identifier of pairs of tag and value.
func Keys(level find.Level, pairs ...any) *dicom.Dataset {
	d := dicom.NewDataset()
	d.SetText(tag.SpecificCharacterSet, "ISO_IR 192")
	d.SetText(tag.QueryRetrieveLevel, string(level))
	for i := 0; i < len(pairs); i += 2 {
		if v := pairs[i+1].(string); v == "" {
			d.SetEmpty(pairs[i].(tag.Tag))
		} else {
			d.SetText(pairs[i].(tag.Tag), v)
		}
	}
	return d
}
