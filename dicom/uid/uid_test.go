package uid

import (
	"slices"
	"strings"
	"testing"
)

func TestRegistryIsSorted(t *testing.T) {
	for i := range registry[1:] {
		if registry[i].UID >= registry[i+1].UID {
			t.Fatalf("%s before %s", registry[i].UID, registry[i+1].UID)
		}
	}
}

func TestConstantsAreRegistered(t *testing.T) {
	for uid, keyword := range map[string]string{
		DICOMApplicationContext:        "DICOMApplicationContext",
		Verification:                   "Verification",
		ImplicitVRLittleEndian:         "ImplicitVRLittleEndian",
		ExplicitVRLittleEndian:         "ExplicitVRLittleEndian",
		DeflatedExplicitVRLittleEndian: "DeflatedExplicitVRLittleEndian",
		ExplicitVRBigEndian:            "ExplicitVRBigEndian",
		Papyrus3ImplicitVRLittleEndian: "Papyrus3ImplicitVRLittleEndian",
		JPIPReferencedDeflate:          "JPIPReferencedDeflate",
		JPIPHTJ2KReferencedDeflate:     "JPIPHTJ2KReferencedDeflate",
	} {
		if e, ok := Lookup(uid); !ok || e.Keyword != keyword {
			t.Errorf("%s is %+v", uid, e)
		}
	}
}

func TestStorageClasses(t *testing.T) {
	all := StorageClasses()
	for uid, storage := range map[string]bool{
		"1.2.840.10008.5.1.4.1.1.2":     true,  // CT
		"1.2.840.10008.5.1.4.1.1.6":     true,  // Ultrasound, retired
		"1.2.840.10008.5.1.4.1.1.12.77": true,  // retired without a name
		"1.2.840.10008.5.1.1.29":        true,  // Hardcopy Grayscale, retired
		"1.2.840.10008.5.1.4.38.1":      true,  // Hanging Protocol
		"1.2.840.10008.5.1.4.34.7":      true,  // RT Beams Delivery Instruction
		"1.2.840.10008.5.1.4.1.1.66.8":  true,  // Height Map Segmentation, 2024
		"1.2.840.10008.5.1.4.1.1.201.1": true,  // Inventory
		"1.2.840.10008.5.1.4.1.1.501.1": true,  // DICOS
		"1.2.840.10008.5.1.4.1.1.200.4": false, // Protocol Approval FIND
		"1.2.840.10008.5.1.4.1.2.1.1":   false, // Patient Root FIND
		"1.2.840.10008.1.20.1":          false, // Storage Commitment
		"1.2.840.10008.1.3.10":          false, // Media Storage Directory
		"1.2.840.10008.4.2":             false, // Storage Service Class
		"1.2.840.10008.1.1":             false,
		"1.2.840.10008.1.2":             false,
	} {
		if IsStorageClass(uid) != storage || slices.Contains(all, uid) != storage {
			t.Errorf("%s %s: storage is %t", uid, Name(uid), !storage)
		}
	}
	for _, uid := range all {
		if e, _ := Lookup(uid); e.Name != "" && !strings.Contains(e.Name, "Storage") {
			t.Errorf("%s %s", uid, e.Name)
		}
	}
	if len(all) < 190 {
		t.Errorf("%d storage SOP classes", len(all))
	}
}

func TestTransferSyntaxes(t *testing.T) {
	all := TransferSyntaxes()
	for _, uid := range []string{"1.2.840.10008.1.2", "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.203", "1.2.840.10008.1.2.4.111", "1.2.840.10008.1.2.4.52", "1.2.840.10008.1.20"} {
		if !IsTransferSyntax(uid) || !slices.Contains(all, uid) {
			t.Errorf("%s is none", uid)
		}
	}
	if IsTransferSyntax("1.2.840.10008.1.1") || len(all) != 63 {
		t.Errorf("%d transfer syntaxes", len(all))
	}
}

func TestValid(t *testing.T) {
	for s, want := range map[string]bool{
		"1.2.840.10008.1.1": true, "0": true, "2.25.0": true, strings.Repeat("1", 64): true,
		"": false, "1..2": false, ".1": false, "1.": false, "1.02": false, "1.a": false, "../etc": false,
		"1.2 ": false, strings.Repeat("1", 65): false,
	} {
		if Valid(s) != want {
			t.Errorf("%q: %t", s, !want)
		}
	}
	if Name("1.2.3") != "1.2.3" || Name("1.2.840.10008.1.1") != "Verification SOP Class" {
		t.Error("Name")
	}
}
