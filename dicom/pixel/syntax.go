package pixel

import (
	"strings"

	"nhip/dicom/uid"
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

// isVideo reports whether the fragments are one stream of video, whatever the number
// of frames (PS3.5 annexes A.4.5 to A.4.9).
func isVideo(transferSyntaxUID string) bool {
	return strings.HasPrefix(transferSyntaxUID, "1.2.840.10008.1.2.4.10")
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
	case uid.EncapsulatedUncompressedExplicitVRLittleEndian:
		return nativeScheme
	case uid.DeflatedImageFrameCompression:
		return deflateScheme
	case uid.RLELossless:
		return rleScheme
	case uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLossless, uid.JPEGLosslessSV1, uid.JPEGLSLossless, uid.JPEGLSNearLossless,
		uid.JPEGExtended35, uid.JPEGSpectralSelectionNonHierarchical68, uid.JPEGSpectralSelectionNonHierarchical79, uid.JPEGFullProgressionNonHierarchical1012,
		uid.JPEGFullProgressionNonHierarchical1113, uid.JPEGLosslessNonHierarchical15:
		return jpegScheme
	case uid.JPEG2000Lossless, uid.JPEG2000, uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K:
		return j2kScheme
	}
	if isNative(transferSyntaxUID) {
		return nativeScheme
	}
	return unknownScheme
}
