package ul

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// MaxPresentationContexts is how many presentation contexts an association can
// have: the odd numbers from 1 to 255, PS3.8 section 9.3.2.2.
const MaxPresentationContexts = 128

// What no peer needs more of: an empty item takes more memory than it has bytes.
const (
	maxTransferSyntaxes = 256 // of a presentation context
	maxNegotiations     = 1024
)

// associateFixedLength is what an A-ASSOCIATE-RQ or -AC has before its items.
const associateFixedLength = 68

// Item types, PS3.8 sections 9.3.2 and 9.3.3, PS3.7 annex D.3.3.
const (
	itemApplicationContext    = 0x10
	itemPresentationContextRQ = 0x20
	itemPresentationContextAC = 0x21
	itemAbstractSyntax        = 0x30
	itemTransferSyntax        = 0x40
	itemUserInformation       = 0x50
	itemMaximumLength         = 0x51
	itemImplementationClass   = 0x52
	itemAsyncWindow           = 0x53
	itemRoleSelection         = 0x54
	itemImplementationVersion = 0x55
	itemExtended              = 0x56
	itemCommonExtended        = 0x57
	itemUserIdentityRQ        = 0x58
	itemUserIdentityAC        = 0x59
)

// A ProposedContext is a presentation context of an A-ASSOCIATE-RQ.
type ProposedContext struct {
	ID               byte // odd
	AbstractSyntax   string
	TransferSyntaxes []string
}

// A ContextResult is the answer to a proposed presentation context, PS3.8 table 9-18.
type ContextResult byte

const (
	ContextAccepted            ContextResult = 0
	ContextUserRejection       ContextResult = 1
	ContextNoReason            ContextResult = 2
	AbstractSyntaxNotSupported ContextResult = 3
	TransferSyntaxNotSupported ContextResult = 4
)

func (r ContextResult) String() string {
	switch r {
	case ContextAccepted:
		return "accepted"
	case ContextUserRejection:
		return "rejected by the user"
	case ContextNoReason:
		return "rejected without a reason"
	case AbstractSyntaxNotSupported:
		return "abstract syntax not supported"
	case TransferSyntaxNotSupported:
		return "transfer syntaxes not supported"
	}
	return fmt.Sprintf("rejected with result %d", byte(r))
}

// An AnsweredContext is a presentation context of an A-ASSOCIATE-AC. The
// transfer syntax means something only where the result is ContextAccepted.
type AnsweredContext struct {
	ID             byte
	Result         ContextResult
	TransferSyntax string
}

// AsyncWindow is the asynchronous operations window, PS3.7 section D.3.3.3.
// Zero is unlimited.
type AsyncWindow struct{ Invoked, Performed uint16 }

// RoleSelection is an SCP/SCU role selection item, PS3.7 section D.3.3.4.
type RoleSelection struct {
	SOPClassUID string
	SCU, SCP    bool
}

// UserInformation is the user information item, PS3.8 annex D and PS3.7 annex
// D.3.3. What is not known is read over.
type UserInformation struct {
	MaximumLength             uint32 // of P-DATA-TF PDUs received; 0: no limit
	ImplementationClassUID    string
	ImplementationVersionName string       // up to 16 characters
	AsyncWindow               *AsyncWindow // nil: 1,1
	Roles                     []RoleSelection
	Extended                  []Extended
	CommonExtended            []CommonExtended
	Identity                  *UserIdentity // of an A-ASSOCIATE-RQ
	IdentityResponse          []byte        // of an A-ASSOCIATE-AC; nil: none, empty: the identity is believed
}

// AssociateRQ is the A-ASSOCIATE-RQ PDU, PS3.8 table 9-11.
type AssociateRQ struct {
	ProtocolVersion    uint16 // bit 0 is version 1
	Called, Calling    string // AE titles without the padding
	ApplicationContext string
	Contexts           []ProposedContext
	User               UserInformation
}

// AssociateAC is the A-ASSOCIATE-AC PDU, PS3.8 table 9-17. Its AE title fields
// repeat those of the request and are not to be tested when received.
type AssociateAC struct {
	ProtocolVersion    uint16
	Called, Calling    string
	ApplicationContext string
	Contexts           []AnsweredContext
	User               UserInformation
}

// ParseAssociateRQ reads the body of an A-ASSOCIATE-RQ.
func ParseAssociateRQ(b []byte) (AssociateRQ, error) {
	r := &reader{pdu: "A-ASSOCIATE-RQ", b: b}
	var p AssociateRQ
	p.ProtocolVersion, p.Called, p.Calling = r.associateFixed()
	seen := map[byte]bool{}
	for r.more() {
		kind, value := r.item()
		switch kind {
		case itemApplicationContext:
			p.ApplicationContext = uidText(value)
		case itemPresentationContextRQ:
			c := r.proposedContext(value)
			if seen[c.ID] {
				r.fail("presentation context ID", fmt.Sprintf("%d twice", c.ID))
			}
			seen[c.ID] = true
			p.Contexts = append(p.Contexts, c)
			if len(p.Contexts) > MaxPresentationContexts {
				r.fail("number of presentation contexts", len(p.Contexts))
			}
		case itemUserInformation:
			p.User = r.userInformation(value, p.User)
		}
	}
	if r.err == nil && len(p.Contexts) == 0 {
		r.fail("presentation contexts", "none")
	}
	return p, r.err
}

// ParseAssociateAC reads the body of an A-ASSOCIATE-AC.
func ParseAssociateAC(b []byte) (AssociateAC, error) {
	r := &reader{pdu: "A-ASSOCIATE-AC", b: b}
	var p AssociateAC
	p.ProtocolVersion, p.Called, p.Calling = r.associateFixed()
	for r.more() {
		kind, value := r.item()
		switch kind {
		case itemApplicationContext:
			p.ApplicationContext = uidText(value)
		case itemPresentationContextAC:
			p.Contexts = append(p.Contexts, r.answeredContext(value))
			if len(p.Contexts) > MaxPresentationContexts {
				r.fail("number of presentation contexts", len(p.Contexts))
			}
		case itemUserInformation:
			p.User = r.userInformation(value, p.User)
		}
	}
	return p, r.err
}

// Bytes 7 to 74: version, reserved, called and calling AE title, reserved.
func (r *reader) associateFixed() (version uint16, called, calling string) {
	version = r.uint16("protocol version")
	r.take(2, "reserved")
	called = aeTitle(r.take(16, "called AE title"))
	calling = aeTitle(r.take(16, "calling AE title"))
	r.take(32, "reserved")
	return version, called, calling
}

// proposedContext takes an even ID too: it is a fault of the peer, but old
// modalities send it and DCMTK and Orthanc take it.
func (r *reader) proposedContext(b []byte) ProposedContext {
	in := &reader{pdu: r.pdu, b: b, err: r.err}
	c := ProposedContext{ID: in.byte("presentation context ID")}
	in.take(3, "presentation context")
	for in.more() {
		kind, value := in.item()
		switch kind {
		case itemAbstractSyntax:
			c.AbstractSyntax = uidText(value)
		case itemTransferSyntax:
			c.TransferSyntaxes = append(c.TransferSyntaxes, uidText(value))
			in.atMost(maxTransferSyntaxes, len(c.TransferSyntaxes), "number of transfer syntaxes")
		}
	}
	r.err = in.err
	return c
}

func (r *reader) answeredContext(b []byte) AnsweredContext {
	in := &reader{pdu: r.pdu, b: b, err: r.err}
	c := AnsweredContext{ID: in.byte("presentation context ID")}
	in.take(1, "presentation context")
	c.Result = ContextResult(in.byte("presentation context result"))
	in.take(1, "presentation context")
	for in.more() {
		if kind, value := in.item(); kind == itemTransferSyntax {
			c.TransferSyntax = uidText(value)
		}
	}
	r.err = in.err
	return c
}

// userInformation adds what is in an item to what was in those before it.
func (r *reader) userInformation(b []byte, u UserInformation) UserInformation {
	in := &reader{pdu: r.pdu, b: b, err: r.err}
	for in.more() {
		kind, value := in.item()
		sub := &reader{pdu: r.pdu, b: value, err: in.err}
		switch kind {
		case itemMaximumLength:
			u.MaximumLength = sub.uint32("maximum length")
		case itemImplementationClass:
			u.ImplementationClassUID = uidText(value)
		case itemAsyncWindow:
			u.AsyncWindow = &AsyncWindow{sub.uint16("operations invoked"), sub.uint16("operations performed")}
		case itemRoleSelection:
			role := RoleSelection{SOPClassUID: uidText(sub.field("UID of a role selection"))}
			role.SCU = sub.byte("SCU role") == 1
			role.SCP = sub.byte("SCP role") == 1
			u.Roles = append(u.Roles, role)
		case itemImplementationVersion:
			u.ImplementationVersionName = strings.TrimSpace(string(value))
		case itemExtended:
			u.Extended = append(u.Extended, sub.extended())
		case itemCommonExtended:
			u.CommonExtended = append(u.CommonExtended, sub.commonExtended())
		case itemUserIdentityRQ:
			identity := sub.userIdentity()
			u.Identity = &identity
		case itemUserIdentityAC:
			u.IdentityResponse = append([]byte{}, sub.field("server response to a user identity")...)
		}
		sub.atMost(maxNegotiations, len(u.Roles)+len(u.Extended)+len(u.CommonExtended), "number of negotiation items")
		in.err = sub.err
	}
	r.err = in.err
	return u
}

// Append appends the whole PDU. The AE titles are cut to 16 characters.
func (p AssociateRQ) Append(b []byte) []byte {
	body := appendAssociateFixed(nil, p.ProtocolVersion, p.Called, p.Calling, p.ApplicationContext)
	for _, c := range p.Contexts {
		item := []byte{c.ID, 0, 0, 0}
		item = appendItem(item, itemAbstractSyntax, []byte(c.AbstractSyntax))
		for _, ts := range c.TransferSyntaxes {
			item = appendItem(item, itemTransferSyntax, []byte(ts))
		}
		body = appendItem(body, itemPresentationContextRQ, item)
	}
	body = p.User.append(body)
	return append(appendHeader(b, TypeAssociateRQ, len(body)), body...)
}

// Append appends the whole PDU.
func (p AssociateAC) Append(b []byte) []byte {
	body := appendAssociateFixed(nil, p.ProtocolVersion, p.Called, p.Calling, p.ApplicationContext)
	for _, c := range p.Contexts {
		item := appendItem([]byte{c.ID, 0, byte(c.Result), 0}, itemTransferSyntax, []byte(c.TransferSyntax))
		body = appendItem(body, itemPresentationContextAC, item)
	}
	body = p.User.append(body)
	return append(appendHeader(b, TypeAssociateAC, len(body)), body...)
}

func appendAssociateFixed(b []byte, version uint16, called, calling, application string) []byte {
	b = binary.BigEndian.AppendUint16(b, version)
	b = append(b, 0, 0)
	b = appendAETitle(b, called)
	b = appendAETitle(b, calling)
	b = append(b, make([]byte, 32)...)
	return appendItem(b, itemApplicationContext, []byte(application))
}

func (u UserInformation) append(b []byte) []byte {
	return appendItem(b, itemUserInformation, u.items())
}

func (u UserInformation) items() []byte {
	body := appendItem(nil, itemMaximumLength, binary.BigEndian.AppendUint32(nil, u.MaximumLength))
	body = appendItem(body, itemImplementationClass, []byte(u.ImplementationClassUID))
	if w := u.AsyncWindow; w != nil {
		v := binary.BigEndian.AppendUint16(nil, w.Invoked)
		body = appendItem(body, itemAsyncWindow, binary.BigEndian.AppendUint16(v, w.Performed))
	}
	for _, role := range u.Roles {
		v := appendField(nil, []byte(role.SOPClassUID))
		body = appendItem(body, itemRoleSelection, append(v, flag(role.SCU), flag(role.SCP)))
	}
	if u.ImplementationVersionName != "" {
		body = appendItem(body, itemImplementationVersion, []byte(u.ImplementationVersionName))
	}
	for _, e := range u.Extended {
		body = appendItem(body, itemExtended, append(appendField(nil, []byte(e.SOPClassUID)), e.Information...))
	}
	for _, c := range u.CommonExtended {
		body = appendItem(body, itemCommonExtended, c.append(nil))
	}
	if u.Identity != nil {
		body = appendItem(body, itemUserIdentityRQ, u.Identity.append(nil))
	}
	if u.IdentityResponse != nil {
		body = appendItem(body, itemUserIdentityAC, appendField(nil, u.IdentityResponse))
	}
	return body
}

// maxItem is the longest value of an item.
const maxItem = 0xFFFF

// Fits reports whether the item, and each that it is made of, can hold what it is
// to hold.
func (u UserInformation) Fits() bool {
	for _, c := range u.CommonExtended {
		if len(c.append(nil)) > maxItem {
			return false
		}
	}
	if u.Identity != nil && len(u.Identity.Primary)+len(u.Identity.Secondary)+6 > maxItem {
		return false
	}
	return len(u.items()) <= maxItem
}

func flag(on bool) byte {
	if on {
		return 1
	}
	return 0
}

// aeTitle removes the padding: leading and trailing spaces are not significant
// (PS3.5 section 6.2); some senders pad with NUL.
func aeTitle(b []byte) string { return strings.Trim(string(b), " \x00") }

func appendAETitle(b []byte, title string) []byte {
	const spaces = "                "
	return append(b, (title + spaces)[:16]...)
}

// uidText removes what peers pad UIDs with, PS3.5 section 9.1 (NUL) and habit
// (space).
func uidText(b []byte) string { return strings.TrimRight(string(b), " \x00") }
