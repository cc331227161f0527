package move_test

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"nhip/dicom"
	"nhip/dicom/association"
	"nhip/dicom/dimse"
	"nhip/dicom/find"
	"nhip/dicom/get"
	"nhip/dicom/move"
	"nhip/dicom/retrieve"
	"nhip/dicom/retrieve/retrievetest"
	"nhip/dicom/service"
	"nhip/dicom/service/servicetest"
	"nhip/dicom/store"
	"nhip/dicom/tag"
	"nhip/dicom/uid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ways are the two retrievals of all images of patient P-1, with what comes
// going to an archive.
var ways = map[string]func(t *testing.T, from, to *retrievetest.Archive, keys *dicom.Dataset, progress func(dimse.SubOperations) bool) retrieve.Result{
	"move": func(t *testing.T, from, to *retrievetest.Archive, keys *dicom.Dataset, progress func(dimse.SubOperations) bool) retrieve.Result {
		address := servicetest.Serve(t, archiveSCP(from, map[string]string{"DEST": servicetest.Serve(t, archiveSCP(to, nil))}))
		a := servicetest.Dial(t, address, association.Proposal{Calling: "WS1", Contexts: service.Propose(find.PatientRoot.Move())})
		r, err := move.Move(t.Context(), a, find.PatientRoot, "DEST", keys, progress)
		if err != nil {
			t.Fatal(err)
		}
		servicetest.Release(t, a)
		return r
	},
	"get": func(t *testing.T, from, to *retrievetest.Archive, keys *dicom.Dataset, progress func(dimse.SubOperations) bool) retrieve.Result {
		var p association.Proposal
		get.Propose(&p, find.PatientRoot, []store.Kind{
			{SOPClassUID: uid.CTImageStorage, TransferSyntaxUID: uid.ExplicitVRLittleEndian}, {SOPClassUID: uid.MRImageStorage, TransferSyntaxUID: uid.ImplicitVRLittleEndian},
		}, to.Store)
		a := servicetest.Dial(t, servicetest.Serve(t, archiveSCP(from, nil)), p)
		r, err := get.Get(t.Context(), a, find.PatientRoot, keys, progress)
		if err != nil {
			t.Fatal(err)
		}
		servicetest.Release(t, a)
		return r
	},
}

func each(t *testing.T, test func(t *testing.T, from, to *retrievetest.Archive, retrieve func(*dicom.Dataset, func(dimse.SubOperations) bool) retrieve.Result)) {
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			from, to := retrievetest.New(t), &retrievetest.Archive{}
			test(t, from, to, func(keys *dicom.Dataset, progress func(dimse.SubOperations) bool) retrieve.Result {
				return way(t, from, to, keys, progress)
			})
		})
	}
}

var patient = retrievetest.Keys(find.Patient, tag.PatientID, "P-1")

func TestEveryInstanceArrivesAsItIsKept(t *testing.T) {
	each(t, func(t *testing.T, from, to *retrievetest.Archive, retrieve func(*dicom.Dataset, func(dimse.SubOperations) bool) retrieve.Result) {
		var progress []dimse.SubOperations
		r := retrieve(patient, func(n dimse.SubOperations) bool { progress = append(progress, n); return true })
		want := slices.DeleteFunc(from.Sums(), func(s string) bool { return strings.HasPrefix(s, "1.2.826.3") })
		if r.Status.Code != dimse.Success || r.Completed != 8 || !slices.Equal(to.Sums(), want) {
			t.Errorf("%+v: %q", r, to.Sums())
		}
		if len(progress) != 7 || progress[2] != (dimse.SubOperations{Remaining: 5, Completed: 3}) {
			t.Errorf("%+v", progress)
		}
	})
}

func TestTheDestinationIsToldWhoMoves(t *testing.T) {
	from, to := retrievetest.New(t), &retrievetest.Archive{}
	ways["move"](t, from, to, patient, nil)
	if len(to.Origin) != 8 || to.Origin[7].AETitle != "WS1" || to.Origin[7].MessageID == 0 {
		t.Errorf("%+v", to.Origin)
	}
}

func TestFailedInstancesAreListed(t *testing.T) {
	each(t, func(t *testing.T, from, to *retrievetest.Archive, retrieve func(*dicom.Dataset, func(dimse.SubOperations) bool) retrieve.Result) {
		to.Refuse = func(instance string) bool { return strings.HasSuffix(instance, ".2") }
		r := retrieve(patient, nil)
		if r.Status.Code != dimse.SomeSubOperationsFailed || r.SubOperations != (dimse.SubOperations{Completed: 5, Failed: 3}) ||
			!slices.Equal(r.FailedUIDs, []string{"1.2.826.1.1.2", "1.2.826.1.2.2", "1.2.826.2.1.2"}) {
			t.Errorf("%+v", r)
		}
	})
	each(t, func(t *testing.T, from, to *retrievetest.Archive, retrieve func(*dicom.Dataset, func(dimse.SubOperations) bool) retrieve.Result) {
		to.Refuse = func(string) bool { return true }
		if r := retrieve(patient, nil); r.Status.Code != dimse.CannotPerformSubOps || r.Failed != 8 || len(r.FailedUIDs) != 8 {
			t.Errorf("%+v", r)
		}
	})
}

func TestNothingToRetrieveIsNoError(t *testing.T) {
	each(t, func(t *testing.T, from, to *retrievetest.Archive, retrieve func(*dicom.Dataset, func(dimse.SubOperations) bool) retrieve.Result) {
		if r := retrieve(retrievetest.Keys(find.Patient, tag.PatientID, "P-9"), nil); r.Status.Code != dimse.Success || r.SubOperations != (dimse.SubOperations{}) {
			t.Errorf("%+v", r)
		}
	})
}

// many has the same instance several thousand times.
type many struct{ of *retrievetest.Archive }

func (s many) Instances(ctx context.Context, q retrieve.Query) ([]retrieve.Instance, error) {
	one, err := s.of.Instances(ctx, q)
	return slices.Repeat(one[:1], 5000), err
}

// The peer cancels after the second instance: the sub-operation that is under way
// ends, and no more than a few begin before the cancel has come.
func TestRetrievalIsCancelled(t *testing.T) {
	from, to := retrievetest.New(t), &retrievetest.Archive{}
	stop := func(n dimse.SubOperations) bool { return n.Completed < 2 }
	check := func(t *testing.T, r retrieve.Result, err error) {
		if err != nil || r.Status.Code != dimse.Cancelled || r.Completed < 2 || r.Remaining == 0 || r.Completed+r.Remaining != 5000 {
			t.Errorf("%+v, %v", r, err)
		}
	}
	t.Run("get", func(t *testing.T) {
		var p association.Proposal
		get.Propose(&p, find.PatientRoot, []store.Kind{{SOPClassUID: uid.CTImageStorage, TransferSyntaxUID: uid.ExplicitVRLittleEndian}}, to.Store)
		a := servicetest.Dial(t, servicetest.Serve(t, service.Mux{(&get.SCP{Source: many{from}}).Service(find.PatientRoot)}), p)
		r, err := get.Get(t.Context(), a, find.PatientRoot, patient, stop)
		check(t, r, err)
		servicetest.Release(t, a)
	})
	t.Run("move", func(t *testing.T) {
		address := servicetest.Serve(t, archiveSCP(to, nil))
		scp := &move.SCP{Source: many{from}, Destination: func(context.Context, retrieve.Query) (move.Destination, bool) {
			return move.Destination{Address: address, Proposal: association.Proposal{Calling: "A", Called: "B"}}, true
		}}
		a := servicetest.Dial(t, servicetest.Serve(t, service.Mux{scp.Service(find.PatientRoot)}), association.Proposal{Contexts: service.Propose(find.PatientRoot.Move())})
		r, err := move.Move(t.Context(), a, find.PatientRoot, "B", patient, stop)
		check(t, r, err)
		servicetest.Release(t, a)
	})
}

func TestADestinationThatIsAwayIsNamed(t *testing.T) {
	scp := archiveSCP(retrievetest.New(t), map[string]string{"DEST": "127.0.0.1:1"})
	a := servicetest.Dial(t, servicetest.Serve(t, scp), association.Proposal{Contexts: service.Propose(find.PatientRoot.Move())})
	r, err := move.Move(t.Context(), a, find.PatientRoot, "DEST", patient, nil)
	if err != nil || r.Status.Code != dimse.CannotPerformSubOps || r.Status.Comment != "no association with the destination" || len(r.FailedUIDs) != 8 {
		t.Errorf("%+v, %v", r, err)
	}
	servicetest.Release(t, a)
}

// A requestor that does not ask for the role of SCP gets no object, and is told.
func TestGetWithoutTheRole(t *testing.T) {
	var p association.Proposal
	var to retrievetest.Archive
	get.Propose(&p, find.PatientRoot, []store.Kind{{SOPClassUID: uid.CTImageStorage, TransferSyntaxUID: uid.ExplicitVRLittleEndian}}, to.Store)
	p.Roles = nil
	a := servicetest.Dial(t, servicetest.Serve(t, archiveSCP(retrievetest.New(t), nil)), p)
	r, err := get.Get(t.Context(), a, find.PatientRoot, patient, nil)
	if err != nil || r.Status.Code != dimse.CannotPerformSubOps || r.Failed != 8 || len(to.Objects()) != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	servicetest.Release(t, a)
}

func TestMoreThanTheLimitIsRefused(t *testing.T) {
	scp := &get.SCP{Source: retrievetest.New(t), Limits: retrieve.Limits{Instances: 7}}
	var p association.Proposal
	get.Propose(&p, find.PatientRoot, nil, (&retrievetest.Archive{}).Store)
	a := servicetest.Dial(t, servicetest.Serve(t, service.Mux{scp.Service(find.PatientRoot)}), p)
	r, err := get.Get(t.Context(), a, find.PatientRoot, patient, nil)
	if err != nil || r.Status.Code != dimse.CannotCalculateMatches || !strings.Contains(r.Status.Comment, "8 instances, at most 7") {
		t.Errorf("%+v, %v", r, err)
	}
	r, err = get.Get(t.Context(), a, find.PatientRoot, retrievetest.Keys(find.Patient, tag.PatientID, "*"), nil)
	if err != nil || r.Status.Code != dimse.DataSetDoesNotMatchClass {
		t.Errorf("everything: %+v, %v", r, err)
	}
	servicetest.Release(t, a)
}

// failing has instances that cannot be opened, or are of no SOP class that can
// be proposed.
type failing struct{}

func (failing) Instances(context.Context, retrieve.Query) ([]retrieve.Instance, error) {
	gone := func(context.Context, string) (io.ReadCloser, error) { return nil, fmt.Errorf("gone") }
	return []retrieve.Instance{
		{SOPClassUID: "", SOPInstanceUID: "1.2.1", TransferSyntaxes: []string{uid.ImplicitVRLittleEndian}, Open: gone},
		{SOPClassUID: uid.CTImageStorage, SOPInstanceUID: "1.2.2", TransferSyntaxes: nil, Open: gone},
		{SOPClassUID: uid.CTImageStorage, SOPInstanceUID: "1.2.3", TransferSyntaxes: []string{uid.ImplicitVRLittleEndian}, Open: gone},
		{SOPClassUID: uid.CTImageStorage, SOPInstanceUID: "../../etc", TransferSyntaxes: []string{"x"}, Open: gone},
	}, nil
}

func TestInstancesThatCannotBeSent(t *testing.T) {
	to := servicetest.Serve(t, archiveSCP(&retrievetest.Archive{}, nil))
	scp := &move.SCP{Source: failing{}, Destination: func(context.Context, retrieve.Query) (move.Destination, bool) {
		return move.Destination{Address: to, Proposal: association.Proposal{Calling: "A", Called: "B"}}, true
	}}
	a := servicetest.Dial(t, servicetest.Serve(t, service.Mux{scp.Service(find.PatientRoot)}), association.Proposal{Contexts: service.Propose(find.PatientRoot.Move())})
	r, err := move.Move(t.Context(), a, find.PatientRoot, "B", patient, nil)
	if err != nil || r.Status.Code != dimse.CannotPerformSubOps || r.Failed != 4 {
		t.Errorf("%+v, %v", r, err)
	}
	servicetest.Release(t, a)
}

// One association carries all sub-operations; where it ends, a new one goes on.
func TestOneAssociationToTheDestination(t *testing.T) {
	for _, dies := range []bool{false, true} {
		var associations, objects atomic.Int32
		handler := func(ctx context.Context, r store.Request, dataSet io.Reader) dimse.Status { return dimse.Status{} }
		s := &association.Server{
			Accept: func(association.Request) association.Answer {
				associations.Add(1)
				return association.Answer{AbstractSyntax: store.Accepts(), TransferSyntax: func(_, ts string) bool { return uid.IsTransferSyntax(ts) }}
			},
			Handlers: map[dimse.CommandField]association.Handler{dimse.CStoreRQ: func(ctx context.Context, a *association.Association, m *association.Message) error {
				if objects.Add(1) == 3 && dies {
					return fmt.Errorf("the destination dies")
				}
				return store.Handle(handler)(ctx, a, m)
			}},
		}
		scp := archiveSCP(retrievetest.New(t), map[string]string{"DEST": servicetest.Server(t, s)})
		a := servicetest.Dial(t, servicetest.Serve(t, scp), association.Proposal{Contexts: service.Propose(find.PatientRoot.Move())})
		r, err := move.Move(t.Context(), a, find.PatientRoot, "DEST", patient, nil)
		if err != nil {
			t.Fatal(err)
		}
		servicetest.Release(t, a)
		want, n := dimse.SubOperations{Completed: 8}, int32(1)
		if dies {
			want, n = dimse.SubOperations{Completed: 7, Failed: 1}, 2
		}
		if r.SubOperations != want || associations.Load() != n {
			t.Errorf("%+v over %d associations", r, associations.Load())
		}
	}
}
