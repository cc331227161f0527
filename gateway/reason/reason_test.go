package reason

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"net"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func TestEveryCodeHasBothLanguagesWithTheSamePlaces(t *testing.T) {
	places := regexp.MustCompile(`\{\d\}`)
	for code, pair := range texts {
		en, vi := places.FindAllString(pair[English], -1), places.FindAllString(pair[Vietnamese], -1)
		slices.Sort(en)
		slices.Sort(vi)
		if strings.TrimSpace(pair[English]) == "" || strings.TrimSpace(pair[Vietnamese]) == "" || !slices.Equal(en, vi) {
			t.Errorf("%q: %q", code, pair)
		}
		if code != "" && pair[English] == pair[Vietnamese] {
			t.Errorf("%q is not translated", code)
		}
	}
	f, err := parser.ParseFile(token.NewFileSet(), "texts.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	declared := 0
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if name, ok := spec.Type.(*ast.Ident); ok && name.Name == "Code" {
			declared++
			if code := Code(strings.Trim(spec.Values[0].(*ast.BasicLit).Value, `"`)); texts[code] == [2]string{} {
				t.Errorf("code %q has no text", code)
			}
		}
		return true
	})
	if declared != len(texts)-1 || declared == 0 {
		t.Errorf("%d codes, %d texts", declared, len(texts)-1)
	}
}

func TestWhatThePeerSaidIsForPeopleAndNotForTheLog(t *testing.T) {
	r := Reason{Code: Answered, Args: []string{"AE 204 PID-3"}, Said: "unknown patient NGUYEN", Times: 20}
	if got := r.String(); got != "20 times; the last time: the destination answered AE 204 PID-3" {
		t.Error(got)
	}
	if got := r.In(Vietnamese); got != "20 lần; lần cuối: nơi nhận trả lời AE 204 PID-3: unknown patient NGUYEN" {
		t.Error(got)
	}
}

func TestStoredReasonIsReadAgainAlsoByAnOlderVersion(t *testing.T) {
	r := Reason{Code: Answered, Args: []string{"AR"}, Said: "x", Times: 3}
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var back Reason
	if err := json.Unmarshal(b, &back); err != nil || !reflect.DeepEqual(back, r) {
		t.Error(back, err)
	}
	if err := json.Unmarshal([]byte(`{"code":"of-a-newer-version","args":["a","b"],"more":1}`), &back); err != nil {
		t.Fatal(err)
	}
	if got := New("of-a-newer-version", "a", "b").In(Vietnamese); got != "of-a-newer-version a b" {
		t.Error(got)
	}
	if b, _ := json.Marshal(Reason{}); string(b) != "{}" || !(Reason{}).IsZero() || (Reason{}).String() != "" {
		t.Errorf("%s", b)
	}
}

func TestErrorsOfTheSystemHaveTheirCode(t *testing.T) {
	dial := func(err error) error { return fmt.Errorf("a: %w", &net.OpError{Op: "dial", Net: "tcp", Err: err}) }
	for _, test := range []struct {
		got  Reason
		code Code
	}{
		{Network(dial(os.NewSyscallError("connect", syscall.ECONNREFUSED))), NothingListens},
		{Network(dial(os.NewSyscallError("connect", syscall.EHOSTUNREACH))), NoRoute},
		{Network(dial(os.NewSyscallError("connect", syscall.ETIMEDOUT))), ConnectTimeout},
		{Network(dial(os.ErrDeadlineExceeded)), ConnectTimeout},
		{Network(dial(&net.DNSError{Name: "lis.local", IsNotFound: true})), NoSuchHost},
		{Network(dial(io.ErrUnexpectedEOF)), NoConnection},
		{Listen(dial(syscall.EADDRINUSE)), PortTaken},
		{Listen(dial(syscall.EADDRNOTAVAIL)), NoSuchAddress},
		{Listen(dial(syscall.EACCES)), PortNotPermitted},
		{Listen(errors.New("as it is")), ""},
	} {
		if test.got.Code != test.code {
			t.Errorf("%q, want %q", test.got.Code, test.code)
		}
	}
	if got := Network(dial(io.ErrUnexpectedEOF)).String(); got != "no connection: unexpected EOF" {
		t.Error(got)
	}
}

func TestPlacesAreFilledOnce(t *testing.T) {
	if got := Fill("{0} and {1} of {9}", []string{"{1}", "x"}); got != "{1} and x of" {
		t.Errorf("%q", got)
	}
}
