package main

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"nhip/dicom"
	"nhip/dicom/tag"
	"nhip/dicom/uid"
)

const headerFiles = 10000

// headers: the headers of 10,000 files beside one process of dcmdump, from the page
// cache. Both read every element but the pixel data.
func (b *bench) headers() error {
	what := fmt.Sprintf("headers of %d files", headerFiles)
	if missing("dcmdump") {
		b.skip(what, "dcmdump (dcmtk) is not installed")
		return nil
	}
	dir := b.path("headers")
	if err := writeSlices(dir, headerFiles); err != nil {
		return err
	}
	if _, err := parseHeaders(dir); err != nil { // into the page cache
		return err
	}
	var ours, theirs []float64
	for range b.rounds {
		began := time.Now()
		elements, err := parseHeaders(dir)
		if err != nil {
			return err
		}
		if elements < headerFiles*50 {
			return fmt.Errorf("%d elements in %d files", elements, headerFiles)
		}
		ours = append(ours, headerFiles/time.Since(began).Seconds())
		began = time.Now()
		if out, err := exec.Command("dcmdump", "-q", "-M", "+sd", "+r", dir).Output(); err != nil || len(out) < headerFiles*1000 {
			return fmt.Errorf("dcmdump: %w, %d bytes", err, len(out))
		}
		theirs = append(theirs, headerFiles/time.Since(began).Seconds())
	}
	b.beside(what, "files/s", ours, theirs, "dcmdump", 3)
	return nil
}

// writeSlices writes CT slices of 64 by 64 with a header of a usual length, 200 to a
// folder.
func writeSlices(dir string, n int) error {
	for i := range n {
		folder := filepath.Join(dir, fmt.Sprintf("%03d", i/200))
		if i%200 == 0 {
			if err := os.MkdirAll(folder, 0o700); err != nil {
				return err
			}
		}
		f, err := os.Create(filepath.Join(folder, fmt.Sprintf("%05d.dcm", i)))
		if err != nil {
			return err
		}
		file, err := slice(i)
		if err == nil {
			err = file.Write(f)
		}
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// slice returns a CT slice with 70 elements, some of them in sequences.
func slice(i int) (*dicom.File, error) {
	d := dicom.NewDataset()
	set := func(t tag.Tag, v ...string) {
		if err := d.SetText(t, v...); err != nil {
			panic(err) // of what this function says itself
		}
	}
	set(tag.SpecificCharacterSet, "ISO_IR 192")
	set(tag.ImageType, "ORIGINAL", "PRIMARY", "AXIAL")
	set(tag.SOPClassUID, uid.CTImageStorage)
	set(tag.SOPInstanceUID, fmt.Sprintf("2.25.1.%d", i))
	for _, t := range []tag.Tag{tag.StudyDate, tag.SeriesDate, tag.AcquisitionDate, tag.ContentDate} {
		set(t, "20260101")
	}
	for _, t := range []tag.Tag{tag.StudyTime, tag.SeriesTime, tag.AcquisitionTime, tag.ContentTime} {
		set(t, "101112.131415")
	}
	for _, t := range []tag.Tag{tag.Manufacturer, tag.InstitutionName, tag.InstitutionAddress, tag.StationName, tag.StudyDescription,
		tag.SeriesDescription, tag.ManufacturerModelName, tag.PatientID, tag.PatientComments, tag.BodyPartExamined, tag.ScanOptions,
		tag.DeviceSerialNumber, tag.SoftwareVersions, tag.ProtocolName, tag.ConvolutionKernel, tag.FilterType, tag.PatientPosition,
		tag.StudyID, tag.PositionReferenceIndicator, tag.ImageComments, tag.AccessionNumber, tag.Modality} {
		set(t, "CT 1234567890")
	}
	for _, t := range []tag.Tag{tag.ReferringPhysicianName, tag.PerformingPhysicianName, tag.OperatorsName, tag.PatientName} {
		set(t, "Nguyễn^Văn A")
	}
	for _, t := range []tag.Tag{tag.SliceThickness, tag.KVP, tag.DataCollectionDiameter, tag.ReconstructionDiameter, tag.TableHeight,
		tag.SliceLocation, tag.WindowCenter, tag.WindowWidth, tag.RescaleIntercept, tag.RescaleSlope, tag.PatientWeight} {
		set(t, "123.4567")
	}
	for _, t := range []tag.Tag{tag.ExposureTime, tag.XRayTubeCurrent, tag.Exposure, tag.SeriesNumber, tag.AcquisitionNumber, tag.InstanceNumber} {
		set(t, "123")
	}
	set(tag.ImagePositionPatient, "-158.135803", "-179.035797", "-75.699997")
	set(tag.ImageOrientationPatient, "1.000000", "0.000000", "0.000000", "0.000000", "1.000000", "0.000000")
	set(tag.PixelSpacing, "0.661468", "0.661468")
	for _, t := range []tag.Tag{tag.StudyInstanceUID, tag.SeriesInstanceUID, tag.FrameOfReferenceUID} {
		set(t, "2.25.2")
	}
	set(tag.PhotometricInterpretation, "MONOCHROME2")
	for t, v := range map[tag.Tag]int64{tag.SamplesPerPixel: 1, tag.Rows: 64, tag.Columns: 64, tag.BitsAllocated: 16, tag.BitsStored: 12, tag.HighBit: 11, tag.PixelRepresentation: 0} {
		if err := d.SetInt(t, v); err != nil {
			return nil, err
		}
	}
	for _, t := range []tag.Tag{tag.ReferencedStudySequence, tag.RequestAttributesSequence, tag.AnatomicRegionSequence} {
		item := dicom.NewDataset()
		if err := item.SetText(tag.CodeValue, "T-D4000"); err != nil {
			return nil, err
		}
		if err := item.SetText(tag.CodeMeaning, "Abdomen"); err != nil {
			return nil, err
		}
		if err := d.SetItems(t, item); err != nil {
			return nil, err
		}
	}
	if err := d.SetBytes(tag.PixelData, dicom.OW, make([]byte, 2*64*64)); err != nil {
		return nil, err
	}
	return dicom.NewFile(d, uid.ExplicitVRLittleEndian)
}

// parseHeaders reads the files below a folder and returns how many elements they
// have, with those in items.
func parseHeaders(dir string) (int, error) {
	names := make(chan string, 64)
	var elements atomic.Int64
	var failed atomic.Value
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for name := range names {
				n, err := parseHeader(name)
				if err != nil {
					failed.Store(fmt.Errorf("%s: %w", name, err))
				}
				elements.Add(int64(n))
			}
		})
	}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			names <- path
		}
		return err
	})
	close(names)
	wg.Wait()
	if e, ok := failed.Load().(error); ok && err == nil {
		err = e
	}
	return int(elements.Load()), err
}

func parseHeader(name string) (int, error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	// What is longer than 1 KiB stays in the file.
	file, err := dicom.OpenFile(f, info.Size(), dicom.Limits{Held: 1 << 10})
	if err != nil {
		return 0, err
	}
	return file.Meta.Len() + count(file.Dataset), nil
}

func count(d *dicom.Dataset) int {
	n := d.Len()
	for e := range d.All() {
		for _, item := range e.Items() {
			n += count(item)
		}
	}
	return n
}
