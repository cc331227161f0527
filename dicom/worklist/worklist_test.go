package worklist_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"nhip/dicom"
	"nhip/dicom/association"
	"nhip/dicom/dimse"
	"nhip/dicom/find"
	"nhip/dicom/service"
	"nhip/dicom/service/servicetest"
	"nhip/dicom/tag"
	"nhip/dicom/worklist"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// step is a scheduled procedure step of our own.
func step(t testing.TB, n int, name, station, date, clock string) *dicom.Dataset {
	t.Helper()
	d, item := dicom.NewDataset(), dicom.NewDataset()
	text := func(to *dicom.Dataset, tg tag.Tag, v ...string) {
		if err := to.SetText(tg, v...); err != nil {
			t.Fatal(err)
		}
	}
	text(d, tag.SpecificCharacterSet, "ISO_IR 192")
	if err := d.SetItems(tag.ScheduledProcedureStepSequence, item); err != nil {
		t.Fatal(err)
	}
	text(d, tag.PatientName, name)
	text(d, tag.PatientID, fmt.Sprintf("P-%d", n))
	text(d, tag.StudyInstanceUID, fmt.Sprintf("1.2.826.%d", n))
	text(d, tag.AccessionNumber, fmt.Sprintf("A%d", n))
	text(d, tag.RequestedProcedureID, fmt.Sprintf("R%d", n))
	text(item, tag.Modality, "CT")
	text(item, tag.ScheduledStationAETitle, station)
	text(item, tag.ScheduledProcedureStepStartDate, date)
	text(item, tag.ScheduledProcedureStepStartTime, clock)
	text(item, tag.ScheduledProcedureStepDescription, "Chụp ngực")
	text(item, tag.ScheduledProcedureStepID, fmt.Sprintf("S%d", n))
	return d
}

func list(t testing.TB) worklist.List {
	return worklist.List{
		step(t, 1, "Nguyễn^Thị Hoa", "CT1", "20260114", "080000"),
		step(t, 2, "Trần^Văn An", "CT1", "20260114", "170000"),
		step(t, 3, "DOE^JOHN", "CT2", "20260115", "090000"),
	}
}

func ask(t *testing.T, o worklist.Options, q worklist.Query) (found []string, status dimse.Status, complete bool) {
	t.Helper()
	a := servicetest.Dial(t, servicetest.Serve(t, service.Mux{worklist.SCP(list(t), o)}), association.Proposal{Contexts: service.Propose(worklist.Class)})
	status, complete, err := worklist.Find(t.Context(), a, q, func(d *dicom.Dataset) bool {
		for _, item := range d.Items(tag.ScheduledProcedureStepSequence) {
			found = append(found, d.Text(tag.AccessionNumber)+" "+item.Text(tag.ScheduledProcedureStepDescription))
		}
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	servicetest.Release(t, a)
	return found, status, complete
}

func TestQueries(t *testing.T) {
	for _, c := range []struct {
		q    worklist.Query
		o    worklist.Options
		want string
	}{
		{q: worklist.Query{}, want: "A1 A2 A3"},
		{q: worklist.Query{StationAETitle: "CT1"}, want: "A1 A2"},
		{q: worklist.Query{StationAETitle: "CT1", StartDate: "20260114", StartTime: "1200-"}, want: "A2"},
		{q: worklist.Query{StartDate: "20260114-20260115", StartTime: "1200-0800"}, want: "A2"},
		{q: worklist.Query{StartDate: "20260114-20260115", StartTime: "1200-1000"}, want: "A2 A3"},
		{q: worklist.Query{PatientName: "nguyễn*"}, want: "A1"},
		{q: worklist.Query{PatientName: "NGUYEN*"}, want: ""},
		{q: worklist.Query{PatientName: "NGUYEN*"}, o: worklist.Options{IgnoreAccents: true}, want: "A1"},
		{q: worklist.Query{AccessionNumber: "A3", Modality: "CT"}, want: "A3"},
		{q: worklist.Query{Modality: "MR"}, want: ""},
		{q: worklist.Query{PatientName: "Hôn^", CharacterSet: "ISO_IR 100"}, want: ""},
	} {
		found, status, complete := ask(t, c.o, c.q)
		for i, f := range found {
			a, description, _ := strings.Cut(f, " ")
			if found[i] = a; description != "Chụp ngực" {
				t.Errorf("%+v: %q", c.q, f)
			}
		}
		if strings.Join(found, " ") != c.want || status.Code != dimse.Success || !complete {
			t.Errorf("%+v: %q, %v, %v", c.q, found, status, complete)
		}
	}
}

func TestAnswersAreLimited(t *testing.T) {
	var o worklist.Options
	o.Limits.Answers = 2
	found, status, _ := ask(t, o, worklist.Query{})
	if len(found) != 2 || status.Code != dimse.OutOfResources {
		t.Errorf("%q, %v", found, status)
	}
	// A modality that asks for everything gets 500 where nothing else is said.
	many := slices.Repeat(list(t)[:1], 501)
	a := servicetest.Dial(t, servicetest.Serve(t, service.Mux{worklist.SCP(many, worklist.Options{})}), association.Proposal{Contexts: service.Propose(worklist.Class)})
	n := 0
	status, _, err := worklist.Find(t.Context(), a, worklist.Query{}, func(*dicom.Dataset) bool { n++; return true })
	if err != nil || n != 500 || status.Code != dimse.OutOfResources {
		t.Errorf("%d answers, %v, %v", n, status, err)
	}
	servicetest.Release(t, a)
}

// Class 9 of bad input: an AE title is a name for nothing; who may see what is
// the source's to decide.
func TestCalledAETitleIsNoPath(t *testing.T) {
	address := servicetest.Serve(t, service.Mux{worklist.SCP(list(t), worklist.Options{})})
	for _, called := range []string{"../OTHER", "a/b", "$(reboot)", "..", "X|Y;Z"} {
		a := servicetest.Dial(t, address, association.Proposal{Called: called, Contexts: service.Propose(worklist.Class)})
		n := 0
		status, _, err := worklist.Find(t.Context(), a, worklist.Query{}, func(*dicom.Dataset) bool { n++; return true })
		if err != nil || status.Code != dimse.Success || n != 3 {
			t.Errorf("%s: %d answers, %v, %v", called, n, status, err)
		}
		servicetest.Release(t, a)
	}
}

const examples = "/usr/share/doc/dcmtk/examples"

// dump2dcm makes a DICOM file of a dump of DCMTK's examples.
func dump2dcm(t *testing.T, from, to string) {
	t.Helper()
	if out, err := servicetest.Run(t, "", "dump2dcm", "+te", from, to); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

func read(t *testing.T, path string) *dicom.Dataset {
	t.Helper()
	r, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	f, err := dicom.ReadFile(r, dicom.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return f.Dataset
}

// answers asks a worklist by findscu and returns the answers in words: the
// attributes that the query asks for, each with its values.
func answers(t *testing.T, address, called, query string) []string {
	t.Helper()
	dir := t.TempDir()
	host, port := servicetest.Split(t, address)
	out, err := servicetest.Run(t, dir, "findscu", "-W", "-X", "-aec", called, host, port, query)
	if err != nil {
		t.Fatalf("findscu: %v: %s", err, out)
	}
	files, _ := filepath.Glob(filepath.Join(dir, "rsp*.dcm"))
	var all []string
	for _, path := range files {
		all = append(all, words(read(t, query), read(t, path)))
	}
	slices.Sort(all)
	return all
}

// askedByUs asks a worklist as SCU, with the same result.
func askedByUs(t *testing.T, address, called string, keys *dicom.Dataset) []string {
	t.Helper()
	a := servicetest.Dial(t, address, association.Proposal{Called: called, Contexts: service.Propose(worklist.Class)})
	var all []string
	status, _, err := find.Find(t.Context(), a, worklist.Class, keys, func(d *dicom.Dataset) bool {
		all = append(all, words(keys, d))
		return true
	})
	if err != nil || status.Code != dimse.Success {
		t.Errorf("%s: %v, %v", called, status, err)
	}
	servicetest.Release(t, a)
	slices.Sort(all)
	return all
}

func words(keys, d *dicom.Dataset) string {
	var b strings.Builder
	for e := range keys.All() {
		switch {
		case e.Tag == tag.SpecificCharacterSet:
		case e.Tag == tag.PregnancyStatus: // wlmscpfs makes an absent one 4, unknown
		case e.VR != dicom.SQ:
			fmt.Fprintf(&b, "%v=%s\n", e.Tag, strings.Join(d.Texts(e.Tag), `\`))
		default:
			for _, item := range d.Items(e.Tag) {
				if in := keys.Items(e.Tag); len(in) > 0 && in[0].Len() > 0 {
					fmt.Fprintf(&b, "%v>%s", e.Tag, words(in[0], item))
				}
			}
		}
	}
	return b.String()
}

// DCMTK's ten worklist files and thirteen queries, and queries of our own: the
// same answers as wlmscpfs and Orthanc give.
func TestWlmscpfsAndOrthanc(t *testing.T) {
	servicetest.Need(t, "wlmscpfs", "findscu", "dump2dcm", "Orthanc", examples)
	dir := t.TempDir()
	db := filepath.Join(dir, "db", "OFFIS")
	if err := os.MkdirAll(db, 0o700); err != nil {
		t.Fatal(err)
	}
	var steps worklist.List
	for i := range 10 {
		path := filepath.Join(db, fmt.Sprintf("wklist%d.wl", i+1))
		dump2dcm(t, fmt.Sprintf("%s/wlistdb/OFFIS/wklist%d.dump", examples, i+1), path)
		steps = append(steps, read(t, path))
	}
	if err := os.WriteFile(filepath.Join(db, "lockfile"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	port := servicetest.FreePort(t)
	servicetest.Start(t, port, dir, "wlmscpfs", "-dfp", filepath.Dir(db), port)
	orthanc := servicetest.StartOrthanc(t, map[string]any{
		"Plugins":   []string{"/usr/share/orthanc/plugins"},
		"Worklists": map[string]any{"Enable": true, "Database": db, "FilterIssuerAet": false, "LimitAnswers": 0},
	})
	ours := servicetest.Serve(t, service.Mux{worklist.SCP(steps, worklist.Options{})})

	queries, keys := map[string]int{}, map[string]*dicom.Dataset{}
	ask := func(address, called, query string) []string {
		if k := keys[query]; k != nil {
			return askedByUs(t, address, called, k)
		}
		return answers(t, address, called, query)
	}
	want := map[int]int{0: 10, 1: 10, 3: 10, 10: 10, 11: 10, 5: 6}
	for i := range 13 {
		path := filepath.Join(dir, fmt.Sprintf("query%d.dcm", i))
		dump2dcm(t, fmt.Sprintf("%s/wlistqry/wlistqry%d.dump", examples, i), path)
		queries[path] = want[i]
	}
	except := map[string]string{} // a query to which a peer's answers are others
	for i, q := range []struct {
		q      worklist.Query
		n      int
		except string
	}{
		{worklist.Query{PatientName: "VIVALDI*"}, 3, ""},
		{worklist.Query{PatientName: "v*"}, 3, "wlmscpfs"},     // is case-sensitive, as a name may be
		{worklist.Query{StationAETitle: "AA32"}, 2, "Orthanc"}, // does not look at the second of two values
		{worklist.Query{StationAETitle: "AA33"}, 1, "Orthanc"},
		{worklist.Query{Modality: "MR"}, 2, ""},
		{worklist.Query{StartDate: "19951015"}, 1, ""},
		{worklist.Query{StartDate: "19951015-19961231"}, 8, ""},
		{worklist.Query{StartDate: "-19951231"}, 4, ""},
		{worklist.Query{StartDate: "19960101-"}, 6, ""},
		{worklist.Query{PatientID: "AV35674"}, 3, ""},
		{worklist.Query{StartTime: "085607"}, 1, ""},
		{worklist.Query{StartTime: "-120000"}, 4, ""},
		{worklist.Query{AccessionNumber: "0000?"}, 10, ""},
		{worklist.Query{PerformingPhysician: "JOHN*"}, 3, ""},
	} {
		except[fmt.Sprintf("own%d.dcm", i)] = q.except
		d, err := q.q.Identifier()
		if err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprintf("own%d.dcm", i)
		queries[name], keys[name] = q.n, d
	}
	total := 0
	for path, n := range queries {
		name := filepath.Base(path)
		got := ask(ours, "NHIP", path)
		if len(got) != n {
			t.Errorf("%s: %d answers, %d expected", name, len(got), n)
		}
		total += len(got)
		for peer, address := range map[string]string{"wlmscpfs": "127.0.0.1:" + port, "Orthanc": orthanc.Address} {
			theirs := ask(address, "OFFIS", path)
			if diff := cmp.Diff(theirs, got); (diff != "") != (except[name] == peer) {
				t.Errorf("%s: %s gives %d answers, we %d: %s", name, peer, len(theirs), len(got), diff)
			}
		}
	}
	t.Logf("%d answers to %d queries", total, len(queries))
}

// As SCU against wlmscpfs.
func TestFindAtWlmscpfs(t *testing.T) {
	servicetest.Need(t, "wlmscpfs", "dump2dcm", examples)
	db := filepath.Join(t.TempDir(), "OFFIS")
	if err := os.Mkdir(db, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(db, "lockfile"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	dump2dcm(t, examples+"/wlistdb/OFFIS/wklist1.dump", filepath.Join(db, "1.wl"))
	port := servicetest.FreePort(t)
	servicetest.Start(t, port, db, "wlmscpfs", "-dfp", filepath.Dir(db), port)
	a := servicetest.Dial(t, "127.0.0.1:"+port, association.Proposal{Called: "OFFIS", Contexts: service.Propose(worklist.Class)})
	var found []string
	status, _, err := worklist.Find(t.Context(), a, worklist.Query{PatientName: "VIVALDI*"}, func(d *dicom.Dataset) bool {
		found = append(found, d.Text(tag.PatientName), d.Items(tag.ScheduledProcedureStepSequence)[0].Text(tag.ScheduledProcedureStepID))
		return true
	})
	if err != nil || status.Code != dimse.Success || !slices.Equal(found, []string{"VIVALDI^ANTONIO", "SPD3445"}) {
		t.Errorf("%q, %v, %v", found, status, err)
	}
	servicetest.Release(t, a)
}

// An old modality: CTN's query. Without a file it asks for nothing, which is
// refused in words.
func TestMwlQueryOfCTN(t *testing.T) {
	servicetest.Need(t, "mwlQuery")
	dir := t.TempDir()
	d, err := worklist.Query{PatientName: "DOE*"}.Identifier()
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(dir, "query"))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Write(f, "1.2.840.10008.1.2"); err != nil {
		t.Fatal(err)
	}
	f.Close()
	host, port := servicetest.Split(t, servicetest.Serve(t, service.Mux{worklist.SCP(list(t), worklist.Options{})}))
	for _, c := range []struct {
		args []string
		want string
	}{{[]string{"-f", f.Name()}, "DOE^JOHN"}, {nil, "the identifier is empty"}} {
		out, err := servicetest.Run(t, dir, "mwlQuery", append(c.args, host, port)...)
		if !strings.Contains(out, c.want) {
			t.Errorf("mwlQuery %v: %v: %s", c.args, err, out)
		}
	}
}
