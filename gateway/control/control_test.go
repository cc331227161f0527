package control

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func serving(t *testing.T, dir string, a *Acts) {
	t.Helper()
	l, err := Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := a.Serve(ctx, l, time.Second); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// Who acts is the user at the other end of the socket, whatever the request says.
func TestWhoActsIsSaidByTheSystem(t *testing.T) {
	a := New(quiet())
	a.Register("who", func(_ context.Context, who Actor, r json.RawMessage) (any, error) {
		return []string{who.User, who.By, who.Via, string(r)}, nil
	})
	dir := t.TempDir()
	serving(t, dir, a)
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	err = Call(t.Context(), dir, "Nguyễn Thị Hoa", "who", map[string]string{"user": "root2", "by": "another"}, &got)
	if err != nil || got[0] != me.Username || got[1] != "Nguyễn Thị Hoa" || got[2] != ViaSocket || got[3] != `{"by":"another","user":"root2"}` {
		t.Errorf("%q, %v", got, err)
	}
	if err := Call(t.Context(), dir, strings.Repeat("x", 101), "who", nil, nil); err == nil {
		t.Error("a name of 101 bytes")
	}
}

func TestTheSocketIsForItsUserOnly(t *testing.T) {
	dir := t.TempDir()
	serving(t, dir, New(quiet()))
	st, err := os.Stat(filepath.Join(dir, Socket))
	if err != nil || st.Mode().Perm() != 0o600 || st.Mode()&fs.ModeSocket == 0 {
		t.Errorf("%v, %v", st, err)
	}
}

func TestErrorsComeBackAsTheyAre(t *testing.T) {
	a := New(quiet())
	a.Register("bad", func(context.Context, Actor, json.RawMessage) (any, error) { return nil, Bad("no %d", 7) })
	a.Register("unknown", func(context.Context, Actor, json.RawMessage) (any, error) { return nil, Unknown("nobody") })
	a.Register("broken", func(context.Context, Actor, json.RawMessage) (any, error) { return nil, errors.New("disk") })
	dir := t.TempDir()
	serving(t, dir, a)
	for path, want := range map[string]Error{"bad": {400, "no 7"}, "unknown": {404, "nobody"}, "broken": {500, "disk"}, "nothing": {404, "there is nothing here"}} {
		err := Call(t.Context(), dir, "", path, nil, nil)
		var e *Error
		if !errors.As(err, &e) || *e != want {
			t.Errorf("%s: %v", path, err)
		}
	}
	if err := Call(t.Context(), dir, "", "bad", strings.Repeat("x", maxRequest), nil); err == nil {
		t.Error("a request over 1 MiB")
	}
}

func TestWithoutAGatewayItSaysSo(t *testing.T) {
	dir := t.TempDir()
	if err := Call(t.Context(), dir, "", "x", nil, nil); !errors.Is(err, ErrNotRunning) {
		t.Error(err)
	}
	l, err := Listen(dir) // a gateway that was killed leaves its socket
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if _, err := os.Stat(filepath.Join(dir, Socket)); err != nil {
		t.Fatal(err)
	}
	if err := Call(t.Context(), dir, "", "x", nil, nil); !errors.Is(err, ErrNotRunning) {
		t.Error(err)
	}
	serving(t, dir, New(quiet())) // and the next one takes its place
	if err := Call(t.Context(), dir, "", "x", nil, nil); err == nil || errors.Is(err, ErrNotRunning) {
		t.Error(err)
	}
}

func TestADataFolderWithALongName(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("x", 120))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	a := New(quiet())
	a.Register("ok", func(context.Context, Actor, json.RawMessage) (any, error) { return 1, nil })
	serving(t, dir, a)
	if err := Call(t.Context(), dir, "", "ok", nil, nil); err != nil {
		t.Error(err)
	}
}

func TestOnlyPOSTAndOnlySoManyAtOnce(t *testing.T) {
	a := New(quiet())
	var did bool
	a.Register("act", func(context.Context, Actor, json.RawMessage) (any, error) { did = true; return 1, nil })
	dir := t.TempDir()
	serving(t, dir, a)
	dial := func() net.Conn {
		c, err := net.Dial("unix", filepath.Join(dir, Socket))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	client := &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return dial(), nil }, DisableKeepAlives: true}}
	r, err := client.Get("http://nhip/api/v1/act")
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if r.StatusCode != http.StatusMethodNotAllowed || did {
		t.Error(r.Status)
	}
	var open []net.Conn
	for range maxActs {
		open = append(open, dial())
	}
	buffer := make([]byte, 1)
	closed := dial()
	closed.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := closed.Read(buffer); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("connection %d is kept: %v", maxActs+1, err)
	}
	for _, c := range append(open, closed) {
		c.Close()
	}
}

func TestWhatTakesAPathIsOnTheSocketOnly(t *testing.T) {
	a := New(quiet())
	a.Register("here", nil)
	a.RegisterLocal("backup", nil)
	if got := a.Paths(); len(got) != 1 || got[0] != "here" {
		t.Error(got)
	}
}
