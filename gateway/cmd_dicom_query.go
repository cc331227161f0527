package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"unicode"

	"nhip/dicom"
	"nhip/dicom/association"
	"nhip/dicom/dimse"
	"nhip/dicom/dump"
	"nhip/dicom/find"
	"nhip/dicom/get"
	"nhip/dicom/service"
	"nhip/dicom/store"
	"nhip/dicom/tag"
	"nhip/dicom/uid"
	"nhip/dicom/worklist"
)

type dicomFind struct {
	dicomPeer
	Level string   `help:"PATIENT, STUDY, SERIES or IMAGE." enum:"PATIENT,STUDY,SERIES,IMAGE" default:"STUDY"`
	Root  string   `help:"Information model: study or patient." enum:"study,patient" default:"study"`
	Keys  []string `short:"k" name:"key" help:"An attribute, with a value or without one: PatientID=4711, StudyDate=20260101-, ModalitiesInStudy, (0010,0010)=NGUYEN*." placeholder:"KEY[=VALUE]" sep:"none"`
	Limit int      `help:"Stop after so many matches; 0: none." default:"0"`
	JSON  bool     `help:"Print the DICOM JSON model, one line a match." name:"json"`
}

// defaultKeys are asked for where a query names none.
var defaultKeys = map[string][]tag.Tag{
	"PATIENT": {tag.PatientName, tag.PatientID, tag.PatientBirthDate, tag.PatientSex},
	"STUDY":   {tag.StudyDate, tag.StudyTime, tag.AccessionNumber, tag.PatientName, tag.PatientID, tag.StudyInstanceUID, tag.StudyDescription, tag.ModalitiesInStudy},
	"SERIES":  {tag.Modality, tag.SeriesNumber, tag.SeriesInstanceUID, tag.SeriesDescription},
	"IMAGE":   {tag.InstanceNumber, tag.SOPInstanceUID, tag.SOPClassUID},
}

func (c *dicomFind) Run() (int, error) {
	q := dicom.NewDataset()
	if err := q.SetText(tag.QueryRetrieveLevel, c.Level); err != nil {
		return exitBad, err
	}
	for _, t := range defaultKeys[c.Level] {
		if err := q.SetEmpty(t); err != nil {
			return exitBad, err
		}
	}
	if err := setKeys(q, c.Keys); err != nil {
		return exitBad, err
	}
	class := uid.StudyRootQueryRetrieveInformationModelFind
	if c.Root == "patient" {
		class = uid.PatientRootQueryRetrieveInformationModelFind
	}
	return c.query(class, q, c.Limit, c.JSON)
}

// setKeys writes the keys of a query.
func setKeys(q *dicom.Dataset, keys []string) error {
	if strings.ContainsFunc(strings.Join(keys, ""), func(r rune) bool { return r > unicode.MaxASCII }) {
		if err := q.SetText(tag.SpecificCharacterSet, "ISO_IR 192"); err != nil {
			return err
		}
	}
	for _, k := range keys {
		path, value, set := strings.Cut(k, "=")
		d, t, err := q.Make(strings.TrimSpace(path))
		if err != nil {
			return fmt.Errorf("%q: %w", k, err)
		}
		if !set {
			err = d.SetEmpty(t)
		} else {
			err = d.SetText(t, value)
		}
		if err != nil {
			return fmt.Errorf("%q: %w", k, err)
		}
	}
	return nil
}

// query prints what matches.
func (p *dicomPeer) query(class string, q *dicom.Dataset, limit int, asJSON bool) (int, error) {
	ctx, stop := interrupted()
	defer stop()
	a, err := p.dial(ctx, association.Proposal{Contexts: service.Propose(class)})
	if err != nil {
		return exitBad, err
	}
	n := 0
	var printed error
	status, complete, err := find.Find(ctx, a, class, q, func(d *dicom.Dataset) bool {
		n++
		printed = printMatch(d, n, asJSON)
		return printed == nil && (limit == 0 || n < limit)
	})
	if err = errors.Join(err, printed); err != nil {
		a.Abort("the query failed")
		return exitBad, p.say().why(err)
	}
	_ = a.Release(ctx) // every answer is there
	if status.Class() == dimse.ClassFailure {
		return exitBad, p.say().errorf("answered %v", status)
	}
	if !asJSON {
		p.say().printf("%d matches\n", n)
	}
	if !complete {
		p.say().warnf("the peer did not match every key: some of these may not be what was asked for\n")
	}
	return exitGood, nil
}

func printMatch(d *dicom.Dataset, n int, asJSON bool) error {
	if asJSON {
		b, err := json.Marshal(d)
		if err == nil {
			_, err = fmt.Printf("%s\n", b)
		}
		return err
	}
	fmt.Printf("# %d\n", n)
	b, err := d.Encode(uid.ExplicitVRLittleEndian)
	if err != nil {
		return err
	}
	return dump.Text(os.Stdout, strings.NewReader(string(b)), dump.Options{})
}

type dicomWorklist struct {
	dicomPeer
	Date     string   `help:"Scheduled date: 20260114, a range 20260114-20260116, or empty for all."`
	Station  string   `help:"Scheduled station AE title."`
	Modality string   `help:"Modality: CT, MR, US …"`
	Patient  string   `help:"Patient ID."`
	Name     string   `help:"Patient name; * and ? are wild cards."`
	Keys     []string `short:"k" name:"key" help:"A further attribute, as in find." placeholder:"KEY[=VALUE]" sep:"none"`
	JSON     bool     `help:"Print the DICOM JSON model, one line a step." name:"json"`
}

func (c *dicomWorklist) Run() (int, error) {
	q, err := worklist.Query{PatientName: c.Name, PatientID: c.Patient, StationAETitle: c.Station, Modality: c.Modality, StartDate: c.Date}.Identifier()
	if err != nil {
		return exitBad, err
	}
	if err := setKeys(q, c.Keys); err != nil {
		return exitBad, err
	}
	return c.query(worklist.Class, q, 0, c.JSON)
}

type dicomGet struct {
	dicomPeer
	Study    string `help:"Study Instance UID." required:""`
	Series   string `help:"Series Instance UID."`
	Instance string `help:"SOP Instance UID."`
	Out      string `help:"Folder for the objects, made where it is not there." default:"." type:"path"`

	mu   sync.Mutex
	n    int
	root *os.Root
}

// Run retrieves into a folder: a file an object, numbered as they come, since what
// a peer sends names no file.
func (c *dicomGet) Run() (int, error) {
	if err := os.MkdirAll(c.Out, 0o700); err != nil {
		return exitBad, err
	}
	var err error
	if c.root, err = os.OpenRoot(c.Out); err != nil {
		return exitBad, err
	}
	defer c.root.Close()
	q, err := c.identifier()
	if err != nil {
		return exitBad, err
	}
	ctx, stop := interrupted()
	defer stop()
	classes, err := c.classes(ctx)
	if err != nil {
		return exitBad, err
	}
	var p association.Proposal
	if rest := get.Propose(&p, find.StudyRoot, classes, c.keep); len(rest) > 0 {
		c.say().warnf("%d kinds of objects find no place in one association\n", len(rest))
	}
	a, err := c.dial(ctx, p)
	if err != nil {
		return exitBad, err
	}
	r, err := get.Get(ctx, a, find.StudyRoot, q, func(dimse.SubOperations) bool { return ctx.Err() == nil })
	if err != nil {
		a.Abort("C-GET failed")
		return exitBad, c.say().why(err)
	}
	_ = a.Release(ctx) // every object has its answer
	c.say().printf("%d objects in %s\n", c.n, c.Out)
	for _, u := range r.FailedUIDs {
		c.say().warnf("did not come: %s\n", u)
	}
	if r.Status.Code != dimse.Success {
		return exitBad, c.say().errorf("answered %v", r.Status)
	}
	return exitGood, nil
}

// identifier names what is wanted, by the deepest UID that is given.
func (c *dicomGet) identifier() (*dicom.Dataset, error) {
	q, level := dicom.NewDataset(), "STUDY"
	if c.Series != "" {
		level = "SERIES"
	}
	if c.Instance != "" {
		level = "IMAGE"
		if c.Series == "" {
			return nil, c.say().errorf("--instance needs --series")
		}
	}
	err := errors.Join(q.SetText(tag.QueryRetrieveLevel, level), q.SetText(tag.StudyInstanceUID, c.Study))
	if c.Series != "" {
		err = errors.Join(err, q.SetText(tag.SeriesInstanceUID, c.Series))
	}
	if c.Instance != "" {
		err = errors.Join(err, q.SetText(tag.SOPInstanceUID, c.Instance))
	}
	return q, err
}

// syntaxesOfGet are proposed for each SOP class: what is stored comes as it is.
var syntaxesOfGet = []string{
	uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian,
}

// classes asks which SOP classes there are, so that an association has room for
// them; a peer that does not say is proposed the ones that are common.
func (c *dicomGet) classes(ctx context.Context) ([]store.Kind, error) {
	found := map[string]bool{}
	each := func(level string, keys map[tag.Tag]string, answer func(*dicom.Dataset)) error {
		q := dicom.NewDataset()
		err := q.SetText(tag.QueryRetrieveLevel, level)
		for t, v := range keys {
			if v == "" {
				err = errors.Join(err, q.SetEmpty(t))
			} else {
				err = errors.Join(err, q.SetText(t, v))
			}
		}
		if err != nil {
			return err
		}
		a, err := c.dial(ctx, association.Proposal{Contexts: service.Propose(uid.StudyRootQueryRetrieveInformationModelFind)})
		if err != nil {
			return err
		}
		_, _, err = find.Find(ctx, a, uid.StudyRootQueryRetrieveInformationModelFind, q, func(d *dicom.Dataset) bool { answer(d); return true })
		if err != nil {
			a.Abort("the query failed")
			return err
		}
		_ = a.Release(ctx) // every answer is there
		return nil
	}
	series := []string{c.Series}
	if c.Series == "" {
		series = nil
		if err := each("SERIES", map[tag.Tag]string{tag.StudyInstanceUID: c.Study, tag.SeriesInstanceUID: ""}, func(d *dicom.Dataset) {
			series = append(series, d.Text(tag.SeriesInstanceUID))
		}); err != nil {
			return nil, err
		}
	}
	for _, s := range series {
		keys := map[tag.Tag]string{tag.StudyInstanceUID: c.Study, tag.SeriesInstanceUID: s, tag.SOPInstanceUID: c.Instance, tag.SOPClassUID: ""}
		if err := each("IMAGE", keys, func(d *dicom.Dataset) {
			if class := d.Text(tag.SOPClassUID); class != "" {
				found[class] = true
			}
		}); err != nil {
			return nil, err
		}
	}
	if len(found) == 0 {
		for _, class := range uid.StorageClasses()[:60] {
			found[class] = true
		}
	}
	var kinds []store.Kind
	for class := range found {
		for _, ts := range append(slices.Clone(syntaxesOfGet), compressed...) {
			kinds = append(kinds, store.Kind{SOPClassUID: class, TransferSyntaxUID: ts})
		}
	}
	return kinds, nil
}

// compressed are the transfer syntaxes that objects may be stored in besides.
var compressed = []string{uid.RLELossless, uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLossless, uid.JPEGLosslessSV1, uid.JPEGLSLossless, uid.JPEGLSNearLossless, uid.JPEG2000Lossless, uid.JPEG2000}

// keep is store.Handler.
func (c *dicomGet) keep(_ context.Context, r store.Request, dataSet io.Reader) dimse.Status {
	c.mu.Lock()
	c.n++
	name := fmt.Sprintf("%06d.dcm", c.n)
	c.mu.Unlock()
	f, err := c.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return dimse.Status{Code: dimse.OutOfResources, Comment: "the file cannot be made"}
	}
	if err = dicom.WritePart10Header(f, r.SOPClassUID, r.SOPInstanceUID, r.TransferSyntaxUID); err == nil {
		_, err = io.Copy(f, dataSet)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", filepath.Join(c.Out, name), err)
		return dimse.Status{Code: dimse.OutOfResources, Comment: "the object cannot be written"}
	}
	fmt.Printf("%s %s\n", name, r.SOPInstanceUID)
	return dimse.Status{Code: dimse.Success}
}
