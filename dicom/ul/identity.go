package ul

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// An IdentityType is how a user identifies itself, PS3.7 table D.3-14.
type IdentityType byte

const (
	IdentityUsername IdentityType = 1
	IdentityPasscode IdentityType = 2 // username and passcode
	IdentityKerberos IdentityType = 3
	IdentitySAML     IdentityType = 4
	IdentityJWT      IdentityType = 5
)

func (t IdentityType) String() string {
	switch t {
	case IdentityUsername:
		return "username"
	case IdentityPasscode:
		return "username and passcode"
	case IdentityKerberos:
		return "Kerberos service ticket"
	case IdentitySAML:
		return "SAML assertion"
	case IdentityJWT:
		return "JSON Web Token"
	}
	return fmt.Sprintf("user identity type %d", byte(t))
}

// A UserIdentity is a user identity item of an A-ASSOCIATE-RQ, PS3.7 section
// D.3.3.7.1. Its fields are secrets: it has no words but its type.
type UserIdentity struct {
	Type             IdentityType
	PositiveResponse bool   // an acceptor that believes it is to say so
	Primary          []byte // username, ticket, assertion or token
	Secondary        []byte // passcode
}

// String keeps the secrets out of logs.
func (u UserIdentity) String() string { return u.Type.String() }

// GoString keeps the secrets out of logs.
func (u UserIdentity) GoString() string { return u.String() }

func (r *reader) userIdentity() UserIdentity {
	u := UserIdentity{Type: IdentityType(r.byte("user identity type"))}
	u.PositiveResponse = r.byte("positive response requested") == 1
	u.Primary = bytes.Clone(r.field("primary field of a user identity")) // the buffer is the reader's
	u.Secondary = bytes.Clone(r.field("secondary field of a user identity"))
	return u
}

func (u UserIdentity) append(b []byte) []byte {
	b = append(b, byte(u.Type), flag(u.PositiveResponse))
	b = appendField(b, u.Primary)
	return appendField(b, u.Secondary)
}

// An Extended is the SOP class extended negotiation of a SOP class, PS3.7 section
// D.3.3.5. What the information means is the service class's.
type Extended struct {
	SOPClassUID string
	Information []byte
}

func (r *reader) extended() Extended {
	e := Extended{SOPClassUID: uidText(r.field("UID of an extended negotiation"))}
	e.Information = append(e.Information, r.b...)
	r.b = nil
	return e
}

// A CommonExtended is the SOP class common extended negotiation of a SOP class,
// PS3.7 section D.3.3.6: its service class, and the general SOP classes as one of
// which its instances can be taken. It is of the A-ASSOCIATE-RQ alone.
type CommonExtended struct {
	SOPClassUID, ServiceClassUID string
	RelatedGeneral               []string
}

func (r *reader) commonExtended() CommonExtended {
	c := CommonExtended{
		SOPClassUID:     uidText(r.field("UID of a common extended negotiation")),
		ServiceClassUID: uidText(r.field("service class UID of a common extended negotiation")),
	}
	related := &reader{pdu: r.pdu, b: r.field("related general SOP classes"), err: r.err}
	for related.more() {
		c.RelatedGeneral = append(c.RelatedGeneral, uidText(related.field("related general SOP class")))
	}
	r.err = related.err
	return c
}

func (c CommonExtended) append(b []byte) []byte {
	b = appendField(b, []byte(c.SOPClassUID))
	b = appendField(b, []byte(c.ServiceClassUID))
	var related []byte
	for _, u := range c.RelatedGeneral {
		related = appendField(related, []byte(u))
	}
	return appendField(b, related)
}

// field takes a value that its 16-bit length precedes.
func (r *reader) field(name string) []byte {
	return r.take(int(r.uint16(name)), name)
}

func appendField(b, value []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(value)))
	return append(b, value...)
}
