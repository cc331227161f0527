package live_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"nhip/gateway/config"
	"nhip/gateway/control"
	"nhip/gateway/mapping"
	"nhip/gateway/mapping/live"
	"nhip/storage"
)

func parse(text []byte) (*mapping.Map, error) {
	m, problems := config.ReadMap(text, "", time.UTC)
	if !config.Good(problems) {
		return nil, fmt.Errorf("%s", problems[0])
	}
	return m, nil
}

func text(name string) []byte { return []byte("name = \"" + name + "\"\n") }

type stored struct {
	t   *testing.T
	dir string
	s   *storage.Store
	*live.Maps
}

func (x *stored) open() {
	x.t.Helper()
	var err error
	if x.s, err = storage.Open(context.Background(), storage.Options{Dir: x.dir, Log: slog.New(slog.DiscardHandler)}); err != nil {
		x.t.Fatal(err)
	}
	if x.Maps, err = live.Open(x.s, parse, []live.Link{live.To("lis"), live.From("his")}); err != nil {
		x.t.Fatal(err)
	}
}

func (x *stored) again() {
	x.t.Helper()
	if err := x.s.Close(); err != nil {
		x.t.Fatal(err)
	}
	x.open()
}

func (x *stored) expect(l live.Link, name string, version int) {
	x.t.Helper()
	got := x.Live(l)
	switch {
	case got == nil && name == "":
	case got == nil || got.Broken != nil || got.Map.Name != name || got.Version != version:
		x.t.Errorf("live is %+v, not %s version %d", got, name, version)
	}
}

var now = time.Date(2026, 1, 14, 8, 0, 0, 0, time.UTC)

// The map of the configuration, then one that a person makes live, which stays until
// the file changes; and back, step by step.
func TestWhatIsLiveOutlivesARestart(t *testing.T) {
	ctx := context.Background()
	x := &stored{t: t, dir: t.TempDir()}
	x.open()
	defer func() { x.s.Close() }()
	lis := live.To("lis")
	configure := func(m string) {
		t.Helper()
		var b []byte
		if m != "" {
			b = text(m)
		}
		if err := x.Configure(ctx, lis, "lis.toml", b, now); err != nil {
			t.Fatal(err)
		}
	}
	configure("")
	x.expect(lis, "", 0)
	configure("one")
	x.expect(lis, "one", 1)
	x.again()
	configure("one")
	x.expect(lis, "one", 1)

	who := control.Actor{User: "root", By: "Hoa", Via: control.ViaSocket}
	v, err := x.Activate(ctx, who, lis, "mới", "the LIS has changed", text("two"), now)
	if err != nil || v.Number != 2 || v.Before != 1 || v.By != "Hoa" {
		t.Fatalf("%+v %v", v, err)
	}
	x.expect(lis, "two", 2)
	x.expect(live.From("his"), "", 0)
	x.again()
	configure("one")
	x.expect(lis, "two", 2)
	if _, err := x.Activate(ctx, who, lis, "bad", "", []byte("nonsense = 1"), now); err == nil {
		t.Error("a map that is wrong went live")
	}
	x.expect(lis, "two", 2)
	configure("three")
	x.expect(lis, "three", 3)

	for _, want := range []struct {
		name    string
		version int
	}{{"two", 2}, {"one", 1}, {"", 0}} {
		v, err := x.Undo(ctx, who, lis, "", now)
		if err != nil || v.Number != want.version {
			t.Errorf("%+v %v", v, err)
		}
		x.again()
		configure("three") // as the file is still
		x.expect(lis, want.name, want.version)
	}
	if _, err := x.Undo(ctx, who, lis, "", now); !errors.Is(err, live.ErrNoMap) {
		t.Error(err)
	}
	configure("")
	versions, current, err := x.History(lis)
	if err != nil || len(versions) != 4 || current != 4 || !versions[0].None || versions[2].Name != "mới" {
		t.Errorf("%d %+v %v", current, versions, err)
	}
	if b, err := versions[2].Text(); err != nil || string(b) != string(text("two")) {
		t.Errorf("%q %v", b, err)
	}
	var acts []string
	if err := x.s.Range(control.AuditChannel, 1, 0, false, func(_ storage.Ref, b []byte) bool {
		a, err := control.DecodeAudit(b)
		if err != nil {
			t.Fatal(err)
		}
		acts = append(acts, a.Act+" by "+a.By+": "+a.What)
		return true
	}); err != nil {
		t.Fatal(err)
	}
	if len(acts) != 7 || acts[1] != "activate map by Hoa: to/lis version 2 mới" || acts[3] != "undo map by Hoa: to/lis version 3 lis.toml" {
		t.Errorf("%q", acts)
	}
}

// A text that this program cannot read any more stops the link, and does not send
// without the map.
func TestAMapThatCannotBeReadAnyMoreIsSaid(t *testing.T) {
	dir := t.TempDir()
	s, err := storage.Open(context.Background(), storage.Options{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	lis := live.To("lis")
	m, err := live.Open(s, parse, []live.Link{lis})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Configure(context.Background(), lis, "lis.toml", text("one"), now); err != nil {
		t.Fatal(err)
	}
	newer := func([]byte) (*mapping.Map, error) { return nil, errors.New("not any more") }
	if m, err = live.Open(s, newer, []live.Link{lis}); err != nil {
		t.Fatal(err)
	}
	if got := m.Live(lis); got == nil || got.Broken == nil {
		t.Errorf("%+v", got)
	}
}
