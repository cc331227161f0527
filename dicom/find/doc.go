// Package find is the query part of the DICOM Query/Retrieve service class, PS3.4
// annex C: C-FIND as SCP and as SCU for the patient root and the study root, and
// the matching of attributes of section C.2.2.2, which the worklist shares. Where
// the entities come from is a Source.
package find
