package find_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"nhip/dicom"
	"nhip/dicom/association"
	"nhip/dicom/dimse"
	"nhip/dicom/find"
	"nhip/dicom/service"
	"nhip/dicom/service/servicetest"
	"nhip/dicom/tag"
	"nhip/dicom/uid"
	"nhip/dicom/ul"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// set makes a data set of pairs of tag and value; a []*dicom.Dataset is a
// sequence.
func set(pairs ...any) *dicom.Dataset {
	d := dicom.NewDataset()
	if err := d.SetText(tag.SpecificCharacterSet, "ISO_IR 192"); err != nil {
		panic(err)
	}
	for i := 0; i < len(pairs); i += 2 {
		put(d, pairs[i].(tag.Tag), pairs[i+1])
	}
	return d
}

func put(d *dicom.Dataset, t tag.Tag, v any) {
	var err error
	switch v := v.(type) {
	case string:
		if v == "" {
			err = d.SetEmpty(t)
		} else {
			err = d.SetText(t, strings.Split(v, `\`)...)
		}
	case []any: // one item
		item := dicom.NewDataset()
		err = d.SetItems(t, item)
		for i := 0; i < len(v); i += 2 {
			put(item, v[i].(tag.Tag), v[i+1])
		}
	case nil:
		err = d.SetItems(t)
	}
	if err != nil {
		panic(err)
	}
}

var step = set(
	tag.AccessionNumber, "A1", tag.PatientName, "Nguyễn^Thị Hoa", tag.PatientID, "P-1", tag.PatientBirthDate, "19600101",
	tag.Modality, "CT", tag.PatientComments, "a*b", tag.PatientWeight, "62.50", tag.InstanceNumber, "007",
	tag.StudyInstanceUID, "1.2.3", tag.ModalitiesInStudy, `CT\SR`, tag.NumberOfStudyRelatedInstances, "12",
	tag.ReferringPhysicianName, "",
	tag.ScheduledProcedureStepSequence, []any{
		tag.Modality, "CT", tag.ScheduledStationAETitle, `CT1\CT2`, tag.ScheduledProcedureStepStartDate, "20260114",
		tag.ScheduledProcedureStepStartTime, "101500", tag.ScheduledProcedureStepDescription, "Chụp CT ngực",
	},
)

func TestMatching(t *testing.T) {
	sps := func(pairs ...any) *dicom.Dataset { return set(tag.ScheduledProcedureStepSequence, pairs) }
	for _, c := range []struct {
		name string
		keys *dicom.Dataset
		m    find.Matching
		want bool
	}{
		{name: "universal", keys: set(tag.AccessionNumber, "", tag.PatientName, "*", tag.InstitutionName, ""), want: true},
		{name: "single value", keys: set(tag.AccessionNumber, "A1"), want: true},
		{name: "another value", keys: set(tag.AccessionNumber, "A2"), want: false},
		{name: "case", keys: set(tag.AccessionNumber, "a1"), want: false},
		{name: "absent attribute", keys: set(tag.InstitutionName, "X"), want: false},
		{name: "empty attribute", keys: set(tag.ReferringPhysicianName, "X*"), want: false},
		{name: "empty attribute, asterisks", keys: set(tag.ReferringPhysicianName, "**"), want: true},
		{name: "person name in another case", keys: set(tag.PatientName, "NGUYỄN^THỊ HOA"), want: true},
		{name: "accents count", keys: set(tag.PatientName, "NGUYEN*"), want: false},
		{name: "accents do not count", keys: set(tag.PatientName, "NGUYEN*"), m: find.Matching{IgnoreAccents: true}, want: true},
		{name: "wild card", keys: set(tag.PatientID, "P?1"), want: true},
		{name: "list of UIDs", keys: set(tag.StudyInstanceUID, `1.2.9\1.2.3`), want: true},
		{name: "no wild card in UIDs", keys: set(tag.StudyInstanceUID, `1.2.?`), want: false},
		{name: "one of several values", keys: set(tag.ModalitiesInStudy, "SR"), want: true},
		{name: "number", keys: set(tag.InstanceNumber, "7", tag.PatientWeight, "62.5", tag.NumberOfStudyRelatedInstances, "12"), want: true},
		{name: "another number", keys: set(tag.InstanceNumber, "70"), want: false},
		{name: "date range", keys: set(tag.PatientBirthDate, "19500101-19601231"), want: true},
		{name: "date out of range", keys: set(tag.PatientBirthDate, "19610101-"), want: false},
		{name: "sequence without an item", keys: set(tag.ScheduledProcedureStepSequence, nil), want: true},
		{name: "sequence with an empty item", keys: sps(), want: true},
		{name: "sequence", keys: sps(tag.ScheduledStationAETitle, "CT2", tag.Modality, ""), want: true},
		{name: "sequence that does not match", keys: sps(tag.ScheduledStationAETitle, "CT3"), want: false},
		{name: "absent sequence, universal", keys: set(tag.RequestedProcedureCodeSequence, []any{tag.CodeValue, ""}), want: true},
		{name: "absent sequence", keys: set(tag.RequestedProcedureCodeSequence, []any{tag.CodeValue, "1"}), want: false},
		{name: "dates and times apart", keys: sps(tag.ScheduledProcedureStepStartDate, "20260113-20260115", tag.ScheduledProcedureStepStartTime, "1100-1200"), want: false},
		{name: "dates and times combined", m: find.Matching{Combined: true},
			keys: sps(tag.ScheduledProcedureStepStartDate, "20260113-20260115", tag.ScheduledProcedureStepStartTime, "1100-1200"), want: true},
		{name: "combined and before", m: find.Matching{Combined: true},
			keys: sps(tag.ScheduledProcedureStepStartDate, "20260114-20260115", tag.ScheduledProcedureStepStartTime, "1100-1200"), want: false},
		{name: "not supported", m: find.Matching{Supported: func(path []tag.Tag) bool { return path[len(path)-1] != tag.InstitutionName }},
			keys: set(tag.InstitutionName, "X"), want: true},
		{name: "private", keys: func() *dicom.Dataset {
			d := set()
			d.SetTextAs(0x00090010, dicom.LO, "X")
			d.SetTextAs(0x00091001, dicom.LO, "Y")
			return d
		}(), want: true},
	} {
		if got := c.m.Match(c.keys, step); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestAnswerHasTheKeysAndNoMore(t *testing.T) {
	keys := set(tag.PatientName, "", tag.InstitutionName, "", tag.QueryRetrieveLevel, "STUDY",
		tag.ScheduledProcedureStepSequence, []any{tag.Modality, "CT", tag.ScheduledProcedureStepDescription, ""})
	d, all := find.Matching{}.Answer(keys, step)
	item := d.Items(tag.ScheduledProcedureStepSequence)
	if !all || d.Len() != 5 || d.Text(tag.PatientName) != "Nguyễn^Thị Hoa" || !d.Has(tag.InstitutionName) || d.Text(tag.QueryRetrieveLevel) != "STUDY" ||
		len(item) != 1 || item[0].Len() != 2 || item[0].Text(tag.ScheduledProcedureStepDescription) != "Chụp CT ngực" {
		t.Errorf("%d elements, %d items", d.Len(), len(item))
	}
	unsupported := find.Matching{Supported: func(p []tag.Tag) bool { return p[0] != tag.PatientName }}
	if d, all = unsupported.Answer(keys, step); !all || d.Text(tag.PatientName) != "Nguyễn^Thị Hoa" {
		t.Error("a key that is not supported, and not to be matched")
	}
	if d, all = unsupported.Answer(set(tag.PatientName, "X"), step); all || d.Text(tag.PatientName) != "Nguyễn^Thị Hoa" {
		t.Error("a key that is not supported")
	}
	d, _ = find.Matching{}.Answer(set(tag.ScheduledProcedureStepSequence, nil), step)
	if items := d.Items(tag.ScheduledProcedureStepSequence); len(items) != 1 || items[0].Len() != 5 {
		t.Error("a sequence without an item asks for all of it")
	}
}

// The answer is in the character set of who asks where that holds it.
func TestAnswerCharacterSet(t *testing.T) {
	for _, c := range []struct{ asks, name, set string }{
		{"ISO_IR 100", "Müller", "ISO_IR 100"},
		{"ISO_IR 100", "Nguyễn", "ISO_IR 192"},
		{"", "Mueller", ""},
		{"", "Müller", "ISO_IR 192"},
	} {
		keys := dicom.NewDataset()
		if c.asks != "" {
			keys.SetText(tag.SpecificCharacterSet, c.asks)
		}
		keys.SetEmpty(tag.PatientName)
		d, _ := find.Matching{}.Answer(keys, set(tag.PatientName, c.name))
		if d.Text(tag.PatientName) != c.name || d.Text(tag.SpecificCharacterSet) != c.set {
			t.Errorf("%s for %q: %q in %q", c.name, c.asks, d.Text(tag.PatientName), d.Text(tag.SpecificCharacterSet))
		}
	}
}

func TestLevels(t *testing.T) {
	const study, series = tag.StudyInstanceUID, tag.SeriesInstanceUID
	for _, c := range []struct {
		name                  string
		keys                  *dicom.Dataset
		root                  find.Root
		relational, retrieval bool
		want                  find.Level
	}{
		{"no level", set(), find.StudyRoot, false, false, ""},
		{"patient", set(tag.QueryRetrieveLevel, "PATIENT"), find.PatientRoot, false, false, find.Patient},
		{"patient in the study root", set(tag.QueryRetrieveLevel, "PATIENT"), find.StudyRoot, false, false, ""},
		{"lower case", set(tag.QueryRetrieveLevel, "study"), find.StudyRoot, false, false, ""},
		{"study", set(tag.QueryRetrieveLevel, "STUDY"), find.StudyRoot, false, false, find.Study},
		{"study without patient", set(tag.QueryRetrieveLevel, "STUDY"), find.PatientRoot, false, false, ""},
		{"study of a patient", set(tag.QueryRetrieveLevel, "STUDY", tag.PatientID, "1"), find.PatientRoot, false, false, find.Study},
		{"study of some patients", set(tag.QueryRetrieveLevel, "STUDY", tag.PatientID, "1*"), find.PatientRoot, false, false, ""},
		{"study of some patients, relational", set(tag.QueryRetrieveLevel, "STUDY", tag.PatientID, "1*"), find.PatientRoot, true, false, find.Study},
		{"series of two studies", set(tag.QueryRetrieveLevel, "SERIES", study, `1.2\1.3`), find.StudyRoot, false, false, ""},
		{"image", set(tag.QueryRetrieveLevel, "IMAGE", study, "1.2", series, "1.3"), find.StudyRoot, false, false, find.Image},
		{"retrieval of studies", set(tag.QueryRetrieveLevel, "STUDY", study, `1.2\1.3`), find.StudyRoot, false, true, find.Study},
		{"retrieval of everything", set(tag.QueryRetrieveLevel, "STUDY"), find.StudyRoot, false, true, ""},
		{"retrieval by wild card", set(tag.QueryRetrieveLevel, "STUDY", study, "*"), find.StudyRoot, false, true, ""},
		{"retrieval of a path", set(tag.QueryRetrieveLevel, "IMAGE", study, "1.2", series, "1.3", tag.SOPInstanceUID, "../../x"), find.StudyRoot, false, true, ""},
		{"retrieval of a patient", set(tag.QueryRetrieveLevel, "PATIENT", tag.PatientID, "1"), find.PatientRoot, false, true, find.Patient},
		{"retrieval of patients", set(tag.QueryRetrieveLevel, "PATIENT", tag.PatientID, "*"), find.PatientRoot, false, true, ""},
	} {
		got, s := find.LevelOf(c.keys, c.root, c.relational, c.retrieval)
		if got != c.want || (got == "") != (s.Code == dimse.DataSetDoesNotMatchClass) {
			t.Errorf("%s: %q, %v", c.name, got, s)
		}
	}
}

// studies is a source of n studies.
type studies struct {
	n     int
	pause func(ctx context.Context, i int)
	err   error
}

func (s studies) Entities(ctx context.Context, q find.Query) iter.Seq2[*dicom.Dataset, error] {
	return func(yield func(*dicom.Dataset, error) bool) {
		for i := range s.n {
			if s.pause != nil {
				s.pause(ctx, i)
			}
			if !yield(set(tag.StudyInstanceUID, fmt.Sprintf("1.2.%d", i), tag.PatientName, "Nguyễn^Hoa"), nil) {
				return
			}
		}
		if s.err != nil {
			yield(nil, s.err)
		}
	}
}

var allStudies = set(tag.QueryRetrieveLevel, "STUDY", tag.StudyInstanceUID, "", tag.PatientName, "")

func query(t *testing.T, scp *find.SCP, keys *dicom.Dataset, answer func(*dicom.Dataset) bool) (dimse.Status, bool) {
	t.Helper()
	a := servicetest.Dial(t, servicetest.Serve(t, service.Mux{scp.Service(find.StudyRoot)}),
		association.Proposal{Contexts: service.Propose(find.StudyRoot.Find())})
	status, complete, err := find.Find(t.Context(), a, find.StudyRoot.Find(), keys, answer)
	if err != nil {
		t.Fatal(err)
	}
	servicetest.Release(t, a)
	return status, complete
}

func TestFind(t *testing.T) {
	var got []string
	status, complete := query(t, &find.SCP{Source: studies{n: 3}}, allStudies, func(d *dicom.Dataset) bool {
		got = append(got, d.Text(tag.StudyInstanceUID)+" "+d.Text(tag.PatientName))
		return true
	})
	want := []string{"1.2.0 Nguyễn^Hoa", "1.2.1 Nguyễn^Hoa", "1.2.2 Nguyễn^Hoa"}
	if status.Code != dimse.Success || !complete || !slices.Equal(got, want) {
		t.Errorf("%v %v %q", status, complete, got)
	}
}

func TestUnsupportedKeysAreSaid(t *testing.T) {
	scp := &find.SCP{Source: studies{n: 1}, Matching: find.Matching{Supported: func(p []tag.Tag) bool { return p[0] == tag.StudyInstanceUID }}}
	named := set(tag.QueryRetrieveLevel, "STUDY", tag.StudyInstanceUID, "", tag.PatientName, "X")
	status, complete := query(t, scp, named, func(*dicom.Dataset) bool { return true })
	if status.Code != dimse.Success || complete {
		t.Errorf("%v, complete %v", status, complete)
	}
}

// Class 9 of bad input: everything, too much, too long, no dates, cancelled.
func TestFindIsLimited(t *testing.T) {
	noDate := set(tag.QueryRetrieveLevel, "STUDY")
	noDate.SetBytes(tag.StudyDate, dicom.DA, []byte("yesterday "))
	for _, c := range []struct {
		name   string
		scp    find.SCP
		keys   *dicom.Dataset
		answer int // answers that are taken
		status uint16
		words  string
	}{
		{"more matches than the limit", find.SCP{Source: studies{n: 1000}, Limits: find.Limits{Answers: 10}}, allStudies, 100, dimse.OutOfResources, "more than 10 matches"},
		{"a key of 1 MB", find.SCP{Source: studies{n: 1}},
			set(tag.QueryRetrieveLevel, "STUDY", tag.TextValue, strings.Repeat("*a", 1<<19)), 0, dimse.OutOfResources, "data set of more than 65536 bytes"},
		{"a key of 8 KB", find.SCP{Source: studies{n: 1}},
			set(tag.QueryRetrieveLevel, "STUDY", tag.TextValue, strings.Repeat("*a", 1<<12)), 0, dimse.OutOfResources, "a key of more than 4096 bytes"},
		{"no date", find.SCP{Source: studies{n: 1}},
			noDate, 0, dimse.DataSetDoesNotMatchClass, "no date or time"},
		{"no level", find.SCP{Source: studies{n: 1}}, set(tag.StudyInstanceUID, ""), 0, dimse.DataSetDoesNotMatchClass, "no query/retrieve level"},
		{"a source that fails", find.SCP{Source: studies{n: 1, err: fmt.Errorf("disk of patient Hoa")}}, allStudies, 1, 0xC001, "could not be processed"},
		{"a source that says why", find.SCP{Source: studies{err: &service.StatusError{Status: dimse.Status{Code: dimse.OutOfResources, Comment: "busy"}}}},
			allStudies, 0, dimse.OutOfResources, "busy"},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := 0
			status, _ := query(t, &c.scp, c.keys, func(*dicom.Dataset) bool { n++; return n < 100 })
			if status.Code != c.status || !strings.Contains(status.Comment, c.words) || c.answer < 100 && n != c.answer || strings.Contains(status.Comment, "Hoa") {
				t.Errorf("%v after %d answers", status, n)
			}
		})
	}
}

func TestIdentifiersThatCannotBeRead(t *testing.T) {
	open := []byte("\x40\x00\x00\x01\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff")
	level := []byte("\x08\x00\x52\x00\x06\x00\x00\x00STUDY ")
	a := servicetest.Dial(t, servicetest.Serve(t, service.Mux{(&find.SCP{Source: studies{n: 1}}).Service(find.StudyRoot)}),
		association.Proposal{Contexts: []ul.ProposedContext{{ID: 1, AbstractSyntax: find.StudyRoot.Find(), TransferSyntaxes: []string{uid.ImplicitVRLittleEndian}}}})
	for name, b := range map[string][]byte{
		"nested 1,100 deep":        slices.Concat(level, bytes.Repeat(open, 1100)),
		"longer than what is left": slices.Concat(level, []byte("\x10\x00\x10\x00\xff\xff\xff\x7fA ")),
		"cut":                      slices.Concat(level, []byte("\x10\x00\x10\x00\x08\x00\x00\x00A ")),
		"empty":                    {},
	} {
		rsp, err := a.Request(t.Context(), 1, dimse.Command{Field: dimse.CFindRQ, AffectedSOPClassUID: find.StudyRoot.Find()}, bytes.NewReader(b))
		if err != nil || rsp.Status.Class() != dimse.ClassFailure || rsp.Status.Comment == "" {
			t.Errorf("%s: %v, %v", name, rsp.Status, err)
		}
	}
	servicetest.Release(t, a)
}

// A query is cancelled in the middle; a cancel of one that is over does nothing.
func TestCancel(t *testing.T) {
	endless := studies{n: 1 << 30, pause: func(ctx context.Context, i int) {
		if i > 20 {
			<-ctx.Done()
		}
	}}
	n := 0
	status, _ := query(t, &find.SCP{Source: endless}, allStudies, func(*dicom.Dataset) bool { n++; return n < 5 })
	if status.Code != dimse.Cancelled || n != 5 {
		t.Errorf("%v after %d answers", status, n)
	}
}

// Relational queries and combined dates and times are agreed on where they are
// proposed, and the second is done then alone.
func TestExtendedNegotiation(t *testing.T) {
	class := find.StudyRoot.Find()
	address := servicetest.Serve(t, service.Mux{(&find.SCP{Source: one{}, Relational: true}).Service(find.StudyRoot)})
	keys := set(tag.QueryRetrieveLevel, "STUDY", tag.StudyInstanceUID, "", tag.StudyDate, "20260113-20260115", tag.StudyTime, "1100-1200")
	for _, c := range []struct{ proposed, agreed []byte }{{nil, nil}, {[]byte{1, 0}, []byte{1, 0}}, {[]byte{1, 1, 1, 1, 1}, []byte{1, 1, 0, 0}}} {
		p := association.Proposal{Contexts: service.Propose(class)}
		if c.proposed != nil {
			p.Extended = []ul.Extended{{SOPClassUID: class, Information: c.proposed}}
		}
		a := servicetest.Dial(t, address, p)
		var agreed []byte
		for _, e := range a.User.Extended {
			agreed = e.Information
		}
		n := 0
		if _, _, err := find.Find(t.Context(), a, class, keys, func(*dicom.Dataset) bool { n++; return true }); err != nil {
			t.Fatal(err)
		}
		want := 0
		if len(c.agreed) > 1 && c.agreed[1] == 1 {
			want = 1
		}
		if !bytes.Equal(agreed, c.agreed) || n != want {
			t.Errorf("%v: %v agreed, %d answers", c.proposed, agreed, n)
		}
		series := set(tag.QueryRetrieveLevel, "SERIES", tag.SeriesInstanceUID, "")
		if s, _, err := find.Find(t.Context(), a, class, series, func(*dicom.Dataset) bool { return true }); err != nil || s.Code != dimse.Success {
			t.Errorf("%v: series of every study: %v, %v", c.proposed, s, err)
		}
		servicetest.Release(t, a)
	}
}

// one is a source of a study on a morning.
type one struct{}

func (one) Entities(context.Context, find.Query) iter.Seq2[*dicom.Dataset, error] {
	return func(yield func(*dicom.Dataset, error) bool) {
		yield(set(tag.StudyInstanceUID, "1.2.3", tag.StudyDate, "20260114", tag.StudyTime, "080000"), nil)
	}
}

// Cancels of what was never asked or is over are no requests and end nothing.
func TestCancelStorm(t *testing.T) {
	a := servicetest.Dial(t, servicetest.Serve(t, service.Mux{(&find.SCP{Source: studies{n: 1}}).Service(find.StudyRoot)}),
		association.Proposal{Contexts: service.Propose(find.StudyRoot.Find())})
	body, err := service.Encode(allStudies, uid.ExplicitVRLittleEndian)
	if err != nil {
		t.Fatal(err)
	}
	call, err := a.Start(t.Context(), 1, dimse.Command{Field: dimse.CFindRQ, AffectedSOPClassUID: find.StudyRoot.Find()}, body)
	if err != nil {
		t.Fatal(err)
	}
	for range 5000 {
		if err := call.Cancel(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for {
		if _, err := call.Next(t.Context()); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	status, _, err := find.Find(t.Context(), a, find.StudyRoot.Find(), allStudies, func(*dicom.Dataset) bool { return true })
	if err != nil || status.Code != dimse.Success {
		t.Errorf("%v, %v", status, err)
	}
	servicetest.Release(t, a)
}

func TestTimeLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := studies{n: 1 << 30, pause: func(ctx context.Context, i int) {
			select {
			case <-ctx.Done():
			case <-time.After(10 * time.Second):
			}
		}}
		scp := &find.SCP{Source: slow, Limits: find.Limits{Time: 35 * time.Second}}
		n := 0
		status := piped(t, scp, func(*dicom.Dataset) bool { n++; return true })
		if status.Code != dimse.OutOfResources || n != 3 || !strings.Contains(status.Comment, "35s") {
			t.Errorf("%v after %d answers", status, n)
		}
	})
}

// piped asks an SCP over a pipe.
func piped(t *testing.T, scp *find.SCP, answer func(*dicom.Dataset) bool) dimse.Status {
	ours, theirs := net.Pipe()
	m := service.Mux{scp.Service(find.StudyRoot)}
	s := association.Server{
		Accept: m.Answer, Handlers: m.Handlers(),
		Log: slog.New(slog.DiscardHandler),
	}
	done := make(chan struct{})
	go func() { defer close(done); s.ServeConn(context.Background(), theirs) }()
	a, err := association.Establish(t.Context(), ours, association.Proposal{
		Calling: "A", Called: "B", Contexts: service.Propose(find.StudyRoot.Find()),
	})
	if err != nil {
		t.Fatal(err)
	}
	status, _, err := find.Find(t.Context(), a, find.StudyRoot.Find(), allStudies, answer)
	if err != nil {
		t.Fatal(err)
	}
	servicetest.Release(t, a)
	<-done
	return status
}
