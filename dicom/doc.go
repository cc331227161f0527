// Package dicom reads, edits and writes DICOM data sets and files, PS3.5 and PS3.10,
// and the DICOM JSON model, PS3.18 annex F.
//
// A file is read whole by ReadFile, or opened by OpenFile, which leaves long values
// where they are; a bare data set, as P-DATA messages carry it, by Read. Values come
// out by their kind, without type assertions:
//
//	f, err := dicom.ReadFile(r, dicom.Limits{})
//	name := f.Text(tag.PatientName)
//	rows, ok := f.Int(tag.Rows)
//	for _, item := range f.Items(tag.ScheduledProcedureStepSequence) { … }
//
// Text is decoded by the Specific Character Set, of an item by its own. What is set
// has the VR of the dictionary; what was not changed is written byte for byte as it
// came, odd lengths, wrong group lengths and unknown VRs among it. Write converts
// between the uncompressed transfer syntaxes.
//
// WalkFile and Walk tell a visitor of everything in a stream, of any length, and hold
// a window of it only. A HeaderReader finds the identifiers of an object while it
// streams past.
//
// Nothing that a sender writes is believed: lengths are compared with what is there
// before anything is allocated, sequences are followed without recursion to the depth
// that Limits allow, and what a data set costs is bounded by its length: at most
// eight times that and 1 MiB, but for a deflated one, whose growth Limits bound. What
// cannot be followed is a FormatError, and what was read before stands beside it.
//
// For those who know suyashkumar/dicom: Parse and ParseFile read from memory, Find is
// FindElementByTag, Dataset.All ranges over the elements.
//
// The package does no network I/O and knows no pixels: see the packages beside it.
package dicom
