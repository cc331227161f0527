package ul

// ReleaseRQ is the A-RELEASE-RQ PDU, PS3.8 table 9-24.
type ReleaseRQ struct{}

// Append appends the whole PDU.
func (ReleaseRQ) Append(b []byte) []byte {
	return append(appendHeader(b, TypeReleaseRQ, 4), 0, 0, 0, 0)
}

// ReleaseRP is the A-RELEASE-RP PDU, PS3.8 table 9-25.
type ReleaseRP struct{}

// Append appends the whole PDU.
func (ReleaseRP) Append(b []byte) []byte {
	return append(appendHeader(b, TypeReleaseRP, 4), 0, 0, 0, 0)
}
