package ul

// Parse reads the body of a PDU whose header passed Check. The PDU is one of
// AssociateRQ, AssociateAC, AssociateRJ, PDataTF, ReleaseRQ, ReleaseRP, Abort.
// The fragments of a PDataTF point into body.
func Parse(h Header, body []byte) (any, error) {
	if uint32(len(body)) != h.Length {
		return nil, &ProtocolError{h.Type.String(), "PDU length", h.Length, ReasonInvalidParameterValue}
	}
	switch h.Type {
	case TypeAssociateRQ:
		return ParseAssociateRQ(body)
	case TypeAssociateAC:
		return ParseAssociateAC(body)
	case TypeAssociateRJ:
		return parseAssociateRJ(body), nil
	case TypePDataTF:
		return PDataTF(body), nil
	case TypeReleaseRQ:
		return ReleaseRQ{}, nil
	case TypeReleaseRP:
		return ReleaseRP{}, nil
	case TypeAbort:
		return parseAbort(body), nil
	}
	return nil, &ProtocolError{"PDU", "type", byte(h.Type), ReasonUnrecognizedPDU}
}

// PDataTF is the body of a P-DATA-TF PDU, PS3.8 table 9-22: PDVs to be taken
// one by one with NextPDV.
type PDataTF []byte
