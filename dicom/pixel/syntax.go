package pixel

import "nhip/dicom/uid"

// Transfer syntaxes of encapsulated pixel data, PS3.5 annex A.4.
const (
	encapsulatedUncompressed = "1.2.840.10008.1.2.1.98"
	jpegBaseline             = "1.2.840.10008.1.2.4.50"
	jpegExtended             = "1.2.840.10008.1.2.4.51"
	jpegLossless             = "1.2.840.10008.1.2.4.57"
	jpegLosslessSV1          = "1.2.840.10008.1.2.4.70"
	jpegLSLossless           = "1.2.840.10008.1.2.4.80"
	jpegLSNearLossless       = "1.2.840.10008.1.2.4.81"
	jpeg2000Lossless         = "1.2.840.10008.1.2.4.90"
	jpeg2000                 = "1.2.840.10008.1.2.4.91"
	htj2kLossless            = "1.2.840.10008.1.2.4.201"
	htj2kLosslessRPCL        = "1.2.840.10008.1.2.4.202"
	htj2k                    = "1.2.840.10008.1.2.4.203"
	rleLossless              = "1.2.840.10008.1.2.5"
	deflatedFrame            = "1.2.840.10008.1.2.8.1"
)

// isNative reports whether pixel data in the transfer syntax are native.
func isNative(transferSyntaxUID string) bool {
	switch transferSyntaxUID {
	case uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.DeflatedExplicitVRLittleEndian,
		uid.ExplicitVRBigEndian, uid.Papyrus3ImplicitVRLittleEndian:
		return true
	}
	return false
}

// A scheme is how a frame is coded.
type scheme uint8

const (
	unknownScheme scheme = iota
	nativeScheme
	deflateScheme
	rleScheme
	jpegScheme // and JPEG-LS: the stream says which
	j2kScheme
)

// schemeOf returns how frames are coded in a transfer syntax. The sequential and
// progressive processes of JPEG beyond those that DICOM still has are told apart
// by the stream, and refused there.
func schemeOf(transferSyntaxUID string) scheme {
	switch transferSyntaxUID {
	case encapsulatedUncompressed:
		return nativeScheme
	case deflatedFrame:
		return deflateScheme
	case rleLossless:
		return rleScheme
	case jpegBaseline, jpegExtended, jpegLossless, jpegLosslessSV1, jpegLSLossless, jpegLSNearLossless,
		"1.2.840.10008.1.2.4.52", "1.2.840.10008.1.2.4.53", "1.2.840.10008.1.2.4.54", "1.2.840.10008.1.2.4.55",
		"1.2.840.10008.1.2.4.56", "1.2.840.10008.1.2.4.58":
		return jpegScheme
	case jpeg2000Lossless, jpeg2000, htj2kLossless, htj2kLosslessRPCL, htj2k:
		return j2kScheme
	}
	if isNative(transferSyntaxUID) {
		return nativeScheme
	}
	return unknownScheme
}
