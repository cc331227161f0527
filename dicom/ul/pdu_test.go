package ul

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// unhex reads captioned bytes: what stands behind # on a line is a caption.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	var digits strings.Builder
	for line := range strings.Lines(s) {
		line, _, _ = strings.Cut(line, "#")
		digits.WriteString(strings.Join(strings.Fields(line), ""))
	}
	b, err := hex.DecodeString(digits.String())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The A-ASSOCIATE bytes are what DCMTK's echoscu 3.6.7 and storescp send, by
// hand from PS3.8 section 9.3 where they have no such item.
var pdus = []struct {
	name  string
	value interface{ Append([]byte) []byte }
	bytes string
}{
	{"A-ASSOCIATE-RQ of echoscu", AssociateRQ{
		ProtocolVersion: 1, Called: "ANY-SCP", Calling: "ECHOSCU",
		ApplicationContext: "1.2.840.10008.3.1.1.1",
		Contexts:           []ProposedContext{{1, "1.2.840.10008.1.1", []string{"1.2.840.10008.1.2"}}},
		User: UserInformation{
			MaximumLength: 16384, ImplementationClassUID: "1.2.276.0.7230010.3.0.3.6.7",
			ImplementationVersionName: "OFFIS_DCMTK_367",
		},
	}, `
		01 00 000000cd                        # type, length 205
		0001 0000                             # version 1
		414e592d534350202020202020202020      # ANY-SCP
		4543484f534355202020202020202020      # ECHOSCU
		0000000000000000000000000000000000000000000000000000000000000000
		10 00 0015 312e322e3834302e31303030382e332e312e312e31
		20 00 002e 01 00 00 00                # presentation context 1
		30 00 0011 312e322e3834302e31303030382e312e31
		40 00 0011 312e322e3834302e31303030382e312e32
		50 00 003a                            # user information
		51 00 0004 00004000
		52 00 001b 312e322e3237362e302e373233303031302e332e302e332e362e37
		55 00 000f 4f464649535f44434d544b5f333637`},
	{"A-ASSOCIATE-RQ with window, roles, two syntaxes", AssociateRQ{
		ProtocolVersion: 1, Called: "A", Calling: "B",
		ApplicationContext: "1.2",
		Contexts:           []ProposedContext{{3, "1.3", []string{"1.4", "1.5"}}},
		User: UserInformation{
			MaximumLength: 0, ImplementationClassUID: "1.6",
			AsyncWindow: &AsyncWindow{0, 1},
			Roles:       []RoleSelection{{"1.3", true, true}},
		},
	}, `
		01 00 0000008e
		0001 0000
		41202020202020202020202020202020
		42202020202020202020202020202020
		0000000000000000000000000000000000000000000000000000000000000000
		10 00 0003 312e32
		20 00 0019 03 00 00 00
		30 00 0003 312e33
		40 00 0003 312e34
		40 00 0003 312e35
		50 00 0022
		51 00 0004 00000000
		52 00 0003 312e36
		53 00 0004 0000 0001
		54 00 0007 0003 312e33 01 01`},
	{"A-ASSOCIATE-RQ with extended negotiation and user identity", AssociateRQ{
		ProtocolVersion: 1, Called: "A", Calling: "B",
		ApplicationContext: "1.2",
		Contexts:           []ProposedContext{{1, "1.3", []string{"1.4"}}},
		User: UserInformation{
			MaximumLength: 1, ImplementationClassUID: "1.6",
			Extended:       []Extended{{"1.3", []byte{1, 0, 1}}},
			CommonExtended: []CommonExtended{{"1.3", "1.7", []string{"1.8", "1.99"}}},
			Identity:       &UserIdentity{IdentityPasscode, true, []byte("an"), []byte("x")},
		},
	}, `
		01 00 000000a8
		0001 0000
		41202020202020202020202020202020
		42202020202020202020202020202020
		0000000000000000000000000000000000000000000000000000000000000000
		10 00 0003 312e32
		20 00 0012 01 00 00 00
		30 00 0003 312e33
		40 00 0003 312e34
		50 00 0043
		51 00 0004 00000001
		52 00 0003 312e36
		56 00 0008 0003 312e33 010001          # SOP class extended negotiation
		57 00 0017 0003 312e33 0003 312e37 000b 0003 312e38 0004 312e3939
		58 00 0009 02 01 0002 616e 0001 78     # username and passcode, response wanted`},
	{"A-ASSOCIATE-AC with a user identity that is believed", AssociateAC{
		ProtocolVersion: 1, Called: "A", Calling: "B",
		ApplicationContext: "1.2",
		Contexts:           []AnsweredContext{{1, ContextAccepted, "1.4"}},
		User:               UserInformation{MaximumLength: 1, ImplementationClassUID: "1.6", IdentityResponse: []byte{}},
	}, `
		02 00 00000073
		0001 0000
		41202020202020202020202020202020
		42202020202020202020202020202020
		0000000000000000000000000000000000000000000000000000000000000000
		10 00 0003 312e32
		21 00 000b 01 00 00 00 40 00 0003 312e34
		50 00 0015
		51 00 0004 00000001
		52 00 0003 312e36
		59 00 0002 0000`},
	{"A-ASSOCIATE-AC", AssociateAC{
		ProtocolVersion: 1, Called: "A", Calling: "B",
		ApplicationContext: "1.2",
		Contexts:           []AnsweredContext{{3, ContextAccepted, "1.4"}, {5, AbstractSyntaxNotSupported, "1.4"}},
		User:               UserInformation{MaximumLength: 131072, ImplementationClassUID: "1.6"},
	}, `
		02 00 0000007c
		0001 0000
		41202020202020202020202020202020
		42202020202020202020202020202020
		0000000000000000000000000000000000000000000000000000000000000000
		10 00 0003 312e32
		21 00 000b 03 00 00 00 40 00 0003 312e34
		21 00 000b 05 00 03 00 40 00 0003 312e34
		50 00 000f
		51 00 0004 00020000
		52 00 0003 312e36`},
	{"A-ASSOCIATE-RJ", RejectCalledAETitle, `03 00 00000004 00 01 01 07`},
	{"A-RELEASE-RQ", ReleaseRQ{}, `05 00 00000004 00000000`},
	{"A-RELEASE-RP", ReleaseRP{}, `06 00 00000004 00000000`},
	{"A-ABORT", Abort{AbortByProvider, ReasonUnexpectedPDU}, `07 00 00000004 00 00 02 02`},
}

func parseWhole(b []byte) (any, error) {
	h := ParseHeader(b)
	if err := h.Check(1<<20, 1<<20); err != nil {
		return nil, err
	}
	return Parse(h, b[HeaderLength:])
}

func TestPDUsBothWays(t *testing.T) {
	for _, c := range pdus {
		t.Run(c.name, func(t *testing.T) {
			want := unhex(t, c.bytes)
			if got := c.value.Append(nil); !bytes.Equal(got, want) {
				t.Errorf("Append:\n got %x\nwant %x", got, want)
			}
			got, err := parseWhole(want)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(any(c.value), got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A PDU cut at any byte, with its length made true to that, is refused: either
// a field is missing, or what is there ends inside an item.
func TestPDUCutAtAnyByteIsRefused(t *testing.T) {
	for _, c := range pdus {
		whole := unhex(t, c.bytes)
		for n := HeaderLength; n < len(whole); n++ {
			cut := bytes.Clone(whole[:n])
			cut = append(appendHeader(nil, Type(cut[0]), n-HeaderLength), cut[HeaderLength:]...)
			p, err := parseWhole(cut)
			if err == nil && !betweenItems(whole, n) {
				t.Errorf("%s cut at %d parsed as %v", c.name, n, p)
			}
			if _, err := Parse(ParseHeader(whole), whole[HeaderLength:n]); err == nil {
				t.Errorf("%s cut at %d parsed with its old length", c.name, n)
			}
		}
	}
}

// betweenItems reports whether the top-level items end at n, which makes a PDU
// that is whole; it needs one presentation context to be an A-ASSOCIATE-RQ.
func betweenItems(b []byte, n int) bool {
	contexts := Type(b[0]) == TypeAssociateAC
	for at := HeaderLength + associateFixedLength; at <= n; {
		if at == n {
			return contexts
		}
		contexts = contexts || b[at] == itemPresentationContextRQ
		at += 4 + int(b[at+2])<<8 + int(b[at+3])
	}
	return false
}

func TestHeaderIsRefusedBeforeItsBodyIsAwaited(t *testing.T) {
	for _, c := range []struct {
		name   string
		header string
		reason AbortReason
	}{
		{"length 0xFFFFFFFF", "04 00 ffffffff", ReasonInvalidParameterValue},
		{"one byte more than offered", "04 00 00020001", ReasonInvalidParameterValue},
		{"A-ASSOCIATE-RQ too long", "01 00 00100001", ReasonInvalidParameterValue},
		{"A-ASSOCIATE-RQ too short", "01 00 00000043", ReasonInvalidParameterValue},
		{"A-ABORT of 5 bytes", "07 00 00000005", ReasonInvalidParameterValue},
		{"A-RELEASE-RQ of 0 bytes", "05 00 00000000", ReasonInvalidParameterValue},
		{"type 8", "08 00 00000004", ReasonUnrecognizedPDU},
		{"type 0", "00 00 00000004", ReasonUnrecognizedPDU},
		{"HTTP GET", "474554202f20", ReasonUnrecognizedPDU},
		{"TLS client hello", "160301020001", ReasonUnrecognizedPDU},
	} {
		err := ParseHeader(unhex(t, c.header)).Check(131072, 1<<20)
		var p *ProtocolError
		if !errors.As(err, &p) || p.Reason != c.reason {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if err := ParseHeader(unhex(t, "04 00 00020000")).Check(131072, 1<<20); err != nil {
		t.Error(err)
	}
}

func manyContexts(n int, step byte) AssociateRQ {
	rq := pdus[1].value.(AssociateRQ)
	rq.Contexts = nil
	for i := range n {
		rq.Contexts = append(rq.Contexts, ProposedContext{byte(i)*step + 1, "1.3", []string{"1.4"}})
	}
	return rq
}

func TestAssociateRQLimits(t *testing.T) {
	tenThousand := manyContexts(1, 2)
	tenThousand.Contexts[0].TransferSyntaxes = make([]string, 10000)
	most := manyContexts(1, 2)
	most.Contexts[0].TransferSyntaxes = make([]string, maxTransferSyntaxes)
	roles := manyContexts(1, 2)
	roles.User.Roles = make([]RoleSelection, maxNegotiations+1)
	inner := pdus[1].value.Append(nil)
	inner[HeaderLength+associateFixedLength+7+3]++ // presentation context longer than its items
	role := pdus[1].value.Append(nil)
	role[len(role)-6]++ // the UID of the role selection reaches over the roles
	for _, c := range []struct {
		name string
		pdu  []byte
		ok   bool
	}{
		{"128 contexts", manyContexts(128, 2).Append(nil), true},
		{"200 contexts", manyContexts(200, 1).Append(nil), false},
		{"context twice", manyContexts(129, 2).Append(nil), false},
		{"no context", manyContexts(0, 2).Append(nil), false},
		{"even context, as old modalities send", manyContexts(2, 1).Append(nil), true},
		{"item length past the PDU", inner, false},
		{"role selection past its item", role, false},
		{"256 transfer syntaxes", most.Append(nil), true},
		{"10,000 transfer syntaxes", tenThousand.Append(nil), false},
		{"1,025 role selections", roles.Append(nil), false},
	} {
		if _, err := parseWhole(c.pdu); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// A user identity is a secret: no log may show it.
func TestIdentityHasNoWordsButItsType(t *testing.T) {
	u := UserIdentity{IdentityPasscode, true, []byte("secret"), []byte("secret")}
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		if s := fmt.Sprintf(format, &u); s != "username and passcode" {
			t.Errorf("%s: %s", format, s)
		}
		if s := fmt.Sprintf(format, u); s != "username and passcode" {
			t.Errorf("%s: %s", format, s)
		}
	}
}

func TestUserInformationThatDoesNotFit(t *testing.T) {
	long := make([]byte, 65530)
	for name, u := range map[string]UserInformation{
		"token":   {Identity: &UserIdentity{Type: IdentityJWT, Primary: long}},
		"many":    {Extended: []Extended{{"1.2", long[:40000]}, {"1.3", long[:40000]}}},
		"related": {CommonExtended: []CommonExtended{{"1.2", "1.3", slices.Repeat([]string{string(long[:64])}, 1000)}}},
	} {
		if u.Fits() {
			t.Error(name)
		}
	}
	if !(UserInformation{}).Fits() {
		t.Error("an empty one does not fit")
	}
}

func TestNextPDV(t *testing.T) {
	body := unhex(t, `
		00000004 01 03 aabb
		00000002 03 00
		00000003 05 02 cc`)
	want := []PDV{{1, true, true, []byte{0xaa, 0xbb}}, {3, false, false, []byte{}}, {5, false, true, []byte{0xcc}}}
	for i, w := range want {
		v, rest, err := NextPDV(body)
		if err != nil || !cmp.Equal(v, w) {
			t.Fatalf("PDV %d: %v, %v", i, v, err)
		}
		made := append(AppendPDataHeader(nil, v, len(v.Fragment)), v.Fragment...)
		if !bytes.Equal(made[HeaderLength:], body[:len(body)-len(rest)]) {
			t.Errorf("PDV %d is written as %x", i, made)
		}
		body = rest
	}
	for _, bad := range []string{"00000000", "00000001 01", "00000003 01 03", "ffffffff 01 03", "000000", "00000002 01"} {
		if v, _, err := NextPDV(unhex(t, bad)); err == nil {
			t.Errorf("%s is PDV %v", bad, v)
		}
	}
}

func TestRejectionAndAbortInWords(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{RejectCalledAETitle.String(), "rejected permanently by the application: called AE title not recognized (1/1/7)"},
		{RejectTemporaryCongestion.String(), "rejected for now by the presentation layer: temporary congestion (2/3/1)"},
		{AssociateRJ{9, 9, 9}.String(), "rejected unknown by unknown: unknown (9/9/9)"},
		{Abort{AbortByUser, 0}.String(), "aborted by the application (0)"},
		{Abort{AbortByProvider, ReasonInvalidParameterValue}.String(), "aborted by the upper layer: invalid PDU parameter value (2/6)"},
	} {
		if c.got != c.want {
			t.Errorf("%q, want %q", c.got, c.want)
		}
	}
}

// FuzzPDU: no panic; what parses is written and parsed to the same again.
func FuzzPDU(f *testing.F) {
	for _, c := range pdus {
		f.Add(unhex(f, c.bytes))
	}
	f.Add(unhex(f, "04 00 0000000e 00000004 01 03 aabb 00000002 03 00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < HeaderLength {
			return
		}
		p, err := parseWhole(b)
		if err != nil {
			return
		}
		if body, ok := p.(PDataTF); ok {
			for len(body) > 0 {
				_, rest, err := NextPDV(body)
				if err != nil {
					return
				}
				if len(rest) >= len(body) {
					t.Fatal("no progress")
				}
				body = rest
			}
			return
		}
		switch p := p.(type) { // several items may come to more than one can hold
		case AssociateRQ:
			if !p.User.Fits() {
				return
			}
		case AssociateAC:
			if !p.User.Fits() {
				return
			}
		}
		again, err := parseWhole(p.(interface{ Append([]byte) []byte }).Append(nil))
		if err != nil {
			t.Fatalf("%v written does not parse: %v", p, err)
		}
		if diff := cmp.Diff(p, again); diff != "" {
			t.Fatal(diff)
		}
	})
}
