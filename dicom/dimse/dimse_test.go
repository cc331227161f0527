package dimse

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

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

var commands = []struct {
	name    string
	command Command
	bytes   string
}{
	{"C-ECHO-RQ", Command{Field: CEchoRQ, MessageID: 1, AffectedSOPClassUID: "1.2.840.10008.1.1"}, `
		00000000 04000000 38000000
		00000200 12000000 312e322e3834302e31303030382e312e3100
		00000001 02000000 3000
		00001001 02000000 0100
		00000008 02000000 0101`},
	{"C-ECHO-RSP", Command{Field: CEchoRSP, MessageIDBeingRespondedTo: 1, AffectedSOPClassUID: "1.2.840.10008.1.1"}, `
		00000000 04000000 42000000
		00000200 12000000 312e322e3834302e31303030382e312e3100
		00000001 02000000 3080
		00002001 02000000 0100
		00000008 02000000 0101
		00000009 02000000 0000`},
	{"C-STORE-RQ", Command{Field: CStoreRQ, MessageID: 258, Priority: PriorityLow, HasDataSet: true,
		AffectedSOPClassUID: "1.2", AffectedSOPInstanceUID: "1.2.34"}, `
		00000000 04000000 42000000
		00000200 04000000 312e3200
		00000001 02000000 0100
		00001001 02000000 0201
		00000007 02000000 0200
		00000008 02000000 0100
		00000010 06000000 312e322e3334`},
	{"C-STORE-RQ by C-MOVE", Command{Field: CStoreRQ, MessageID: 1, HasDataSet: true, AffectedSOPClassUID: "1.23",
		AffectedSOPInstanceUID: "1.24", MoveOriginatorAETitle: "WS1", MoveOriginatorMessageID: 7}, `
		00000000 04000000 56000000
		00000200 04000000 312e3233
		00000001 02000000 0100
		00001001 02000000 0100
		00000007 02000000 0000
		00000008 02000000 0100
		00000010 04000000 312e3234
		00003010 04000000 57533120
		00003110 02000000 0700`},
	{"C-STORE-RSP with comment", Command{Field: CStoreRSP, MessageIDBeingRespondedTo: 258, AffectedSOPClassUID: "1.23",
		AffectedSOPInstanceUID: "1.24", Status: Status{OutOfResources, "full"}}, `
		00000000 04000000 4c000000
		00000200 04000000 312e3233
		00000001 02000000 0180
		00002001 02000000 0201
		00000008 02000000 0101
		00000009 02000000 00a7
		00000209 04000000 66756c6c
		00000010 04000000 312e3234`},
	{"C-CANCEL-RQ", Command{Field: CCancelRQ, MessageIDBeingRespondedTo: 3}, `
		00000000 04000000 1e000000
		00000001 02000000 ff0f
		00002001 02000000 0300
		00000008 02000000 0101`},
}

func TestCommandSetsBothWays(t *testing.T) {
	for _, c := range commands {
		t.Run(c.name, func(t *testing.T) {
			want := unhex(t, c.bytes)
			if got := c.command.Append(nil); !bytes.Equal(got, want) {
				t.Errorf("Append:\n got %x\nwant %x", got, want)
			}
			got, err := Parse(want)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.command, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Cut inside an element there is no command set; cut between two, there is one
// only where the rest was not needed.
func TestCommandSetCutAtAnyByte(t *testing.T) {
	for _, c := range commands {
		whole := unhex(t, c.bytes)
		ends := map[int]bool{}
		for at := 0; at < len(whole); at += 8 + int(whole[at+4]) {
			ends[at] = true
		}
		for n := range whole {
			got, err := Parse(whole[:n])
			if err == nil && (!ends[n] || got.Field != c.command.Field || got.HasDataSet != c.command.HasDataSet) {
				t.Errorf("%s cut at %d parsed as %v", c.name, n, got)
			}
		}
	}
}

func TestBadCommandSets(t *testing.T) {
	ok := unhex(t, commands[0].bytes)
	for _, c := range []struct{ name, bytes, what string }{
		{"nothing", "", "is missing"},
		{"element longer than what is left", "00000201 ffffffff 0000", "4294967295 bytes long where 2 are left"},
		{"an element of group 0008", hex.EncodeToString(ok) + "08001600 02000000 3100", "is not of group 0000"},
		{"command field of 4 bytes", "00000001 04000000 30000000", "has 4 bytes instead of 2"},
		{"an element twice", hex.EncodeToString(ok) + "00001001 02000000 0100", "is there twice"},
		{"response without status", "00000001 02000000 3080 00002001 02000000 0100 00000008 02000000 0101", "(0000,0900) Status is missing"},
		{"request without message ID", "00000001 02000000 3000 00000008 02000000 0101", "(0000,0110) MessageID is missing"},
	} {
		_, err := Parse(unhex(t, c.bytes))
		var p *ParseError
		if !errors.As(err, &p) || !strings.Contains(err.Error(), c.what) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// Old senders write a wrong group length, retired elements, and any data set
// type but 0101H for "there is one".
func TestLeniency(t *testing.T) {
	c, err := Parse(unhex(t, `
		00000000 04000000 00000000
		00000100 04000000 00000000   # Command Length to End, retired
		00000200 04000000 312e3320   # a UID padded with a space
		00000001 02000000 0100
		00001001 02000000 0500
		00000008 02000000 fe00`))
	want := Command{Field: CStoreRQ, MessageID: 5, HasDataSet: true, AffectedSOPClassUID: "1.3"}
	if err != nil || c != want {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestStatusClasses(t *testing.T) {
	for _, c := range []struct {
		code  uint16
		class StatusClass
		words string
	}{
		{0x0000, ClassSuccess, "0000H success"},
		{0x0001, ClassWarning, "0001H warning"},
		{0x0107, ClassWarning, "0107H warning"},
		{0xB000, ClassWarning, "B000H coercion of data elements"},
		{0xB006, ClassWarning, "B006H elements discarded"},
		{0xB123, ClassWarning, "B123H warning"},
		{0xA700, ClassFailure, "A700H out of resources"},
		{0xA701, ClassFailure, "A701H out of resources"},
		{0xA900, ClassFailure, "A900H data set does not match SOP class"},
		{0xC123, ClassFailure, "C123H cannot understand"},
		{0x0110, ClassFailure, "0110H processing failure"},
		{0x0111, ClassFailure, "0111H duplicate SOP instance"},
		{0x0124, ClassFailure, "0124H not authorized"},
		{0xFE00, ClassCancel, "FE00H cancelled"},
		{0xFF00, ClassPending, "FF00H pending"},
		{0xFF01, ClassPending, "FF01H pending"},
	} {
		s := Status{Code: c.code}
		if s.Class() != c.class || s.String() != c.words {
			t.Errorf("%04X: class %d, %q", c.code, s.Class(), s)
		}
	}
}

// (0000,0902) is LO: 64 characters of the default repertoire, no backslash.
func TestCommentIsCutToLO(t *testing.T) {
	c := Command{Field: CStoreRSP, Status: Status{0xA700, strings.Repeat("đĩa\\x", 20)}}
	got, err := Parse(c.Append(nil))
	if err != nil || len(got.Status.Comment) != 64 || strings.ContainsAny(got.Status.Comment, "đ\\") {
		t.Errorf("%q, %v", got.Status.Comment, err)
	}
}

// FuzzCommandSet: no panic; what parses is written and parsed to the same.
func FuzzCommandSet(f *testing.F) {
	for _, c := range commands {
		f.Add(unhex(f, c.bytes))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := Parse(b)
		if err != nil {
			return
		}
		again, err := Parse(c.Append(nil))
		if err != nil {
			t.Fatalf("%+v written does not parse: %v", c, err)
		}
		if again.Field != c.Field || again.HasDataSet != c.HasDataSet || again.AffectedSOPInstanceUID != c.AffectedSOPInstanceUID {
			t.Fatalf("%+v became %+v", c, again)
		}
	})
}
