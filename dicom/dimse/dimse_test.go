package dimse

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"nhip/dicom/tag"
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
		AffectedSOPInstanceUID: "1.24", Status: Status{Code: OutOfResources, Comment: "full"}}, `
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
	{"C-MOVE-RQ", Command{Field: CMoveRQ, MessageID: 2, Priority: PriorityHigh, HasDataSet: true, AffectedSOPClassUID: "1.23", MoveDestination: "WS1"}, `
		00000000 04000000 40000000
		00000200 04000000 312e3233
		00000001 02000000 2100
		00001001 02000000 0200
		00000006 04000000 57533120
		00000007 02000000 0100
		00000008 02000000 0100`},
	{"C-GET-RSP pending", Command{Field: CGetRSP, MessageIDBeingRespondedTo: 2, SubOperations: &SubOperations{4, 3, 2, 1}, Status: Status{Code: Pending}}, `
		00000000 04000000 50000000
		00000001 02000000 1080
		00002001 02000000 0200
		00000008 02000000 0101
		00000009 02000000 00ff
		00002010 02000000 0400
		00002110 02000000 0300
		00002210 02000000 0200
		00002310 02000000 0100`},
	{"C-GET-RSP final", Command{Field: CGetRSP, MessageIDBeingRespondedTo: 2, SubOperations: &SubOperations{Completed: 3}}, `
		00000000 04000000 46000000
		00000001 02000000 1080
		00002001 02000000 0200
		00000008 02000000 0101
		00000009 02000000 0000
		00002110 02000000 0300
		00002210 02000000 0000
		00002310 02000000 0000`},
	{"N-EVENT-REPORT-RQ", Command{Field: NEventReportRQ, MessageID: 9, HasDataSet: true, AffectedSOPClassUID: "1.23", AffectedSOPInstanceUID: "1.24", EventTypeID: 2}, `
		00000000 04000000 40000000
		00000200 04000000 312e3233
		00000001 02000000 0001
		00001001 02000000 0900
		00000008 02000000 0100
		00000010 04000000 312e3234
		00000210 02000000 0200`},
	{"N-GET-RQ", Command{Field: NGetRQ, MessageID: 9, RequestedSOPClassUID: "1.23", RequestedSOPInstanceUID: "1.24", Attributes: []tag.Tag{0x00100010, 0x21100010}}, `
		00000000 04000000 46000000
		00000300 04000000 312e3233
		00000001 02000000 1001
		00001001 02000000 0900
		00000008 02000000 0101
		00000110 04000000 312e3234
		00000510 08000000 1000100010211000`},
	{"N-SET-RSP refused", Command{Field: NSetRSP, MessageIDBeingRespondedTo: 9, AffectedSOPClassUID: "1.23", AffectedSOPInstanceUID: "1.24",
		Status: Status{ProcessingFailure, "no", 0xA710}, OffendingElements: []tag.Tag{0x00400252}}, `
		00000000 04000000 60000000
		00000200 04000000 312e3233
		00000001 02000000 2081
		00002001 02000000 0900
		00000008 02000000 0101
		00000009 02000000 1001
		00000109 04000000 40005202
		00000209 02000000 6e6f
		00000309 02000000 10a7
		00000010 04000000 312e3234`},
	{"N-ACTION-RQ", Command{Field: NActionRQ, MessageID: 1, HasDataSet: true, RequestedSOPClassUID: "1.23", RequestedSOPInstanceUID: "1.24", ActionTypeID: 1}, `
		00000000 04000000 40000000
		00000300 04000000 312e3233
		00000001 02000000 3001
		00001001 02000000 0100
		00000008 02000000 0100
		00000110 04000000 312e3234
		00000810 02000000 0100`},
	{"N-CREATE-RQ", Command{Field: NCreateRQ, MessageID: 1, HasDataSet: true, AffectedSOPClassUID: "1.23"}, `
		00000000 04000000 2a000000
		00000200 04000000 312e3233
		00000001 02000000 4001
		00001001 02000000 0100
		00000008 02000000 0100`},
	{"N-DELETE-RQ", Command{Field: NDeleteRQ, MessageID: 1, RequestedSOPClassUID: "1.23", RequestedSOPInstanceUID: "1.24"}, `
		00000000 04000000 36000000
		00000300 04000000 312e3233
		00000001 02000000 5001
		00001001 02000000 0100
		00000008 02000000 0101
		00000110 04000000 312e3234`},
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
	if err != nil || !cmp.Equal(c, want) {
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
		{0x0107, ClassWarning, "0107H attribute list error"},
		{0xB000, ClassWarning, "B000H coercion of data elements"},
		{0xB006, ClassWarning, "B006H elements discarded"},
		{0xB123, ClassWarning, "B123H warning"},
		{0xA700, ClassFailure, "A700H out of resources"},
		{0xA701, ClassFailure, "A701H out of resources: unable to calculate the number of matches"},
		{0xA900, ClassFailure, "A900H data set does not match SOP class"},
		{0xC123, ClassFailure, "C123H cannot understand"},
		{0x0110, ClassFailure, "0110H processing failure"},
		{0x0111, ClassFailure, "0111H duplicate SOP instance"},
		{0x0124, ClassFailure, "0124H not authorized"},
		{0xFE00, ClassCancel, "FE00H cancelled"},
		{0xFF00, ClassPending, "FF00H pending"},
		{0xFF01, ClassPending, "FF01H pending, some optional keys were not matched"},
	} {
		s := Status{Code: c.code}
		if s.Class() != c.class || s.String() != c.words {
			t.Errorf("%04X: class %d, %q", c.code, s.Class(), s)
		}
	}
}

// (0000,0902) is LO: 64 characters of the default repertoire, no backslash.
func TestCommentIsCutToLO(t *testing.T) {
	c := Command{Field: CStoreRSP, Status: Status{Code: 0xA700, Comment: strings.Repeat("đĩa\\x", 20)}}
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
