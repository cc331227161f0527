package dicom

import (
	"encoding/binary"
	"fmt"
	"io"

	"nhip/dicom/tag"
)

// A Fragment is where a fragment of encapsulated pixel data stands in the value of
// its element: PS3.5 annex A.4. Fragments are not frames.
type Fragment struct{ At, Length int64 }

// Fragments returns the fragments of encapsulated pixel data, the Basic Offset Table
// first; nil for another value.
func (e Element) Fragments() []Fragment {
	if e.e.flags&fragmented == 0 {
		return nil
	}
	src := memory(e.e.value())
	if f := e.e.far(); f != nil {
		src = fileSource(io.NewSectionReader(f.file, f.at, f.n), 0, f.n)
	}
	s := newScanner(src, encoding{}, e.in.limits())
	s.frames = append(s.frames, frame{end: undefined, fragments: true})
	var list []Fragment
	for {
		h, err := s.next()
		if err != nil || h.kind != FragmentNode {
			return list
		}
		list = append(list, Fragment{src.at(), int64(h.length)})
	}
}

// Fragment returns the bytes of a fragment; nil where reading it from a file fails.
func (e Element) Fragment(f Fragment) []byte {
	if far := e.e.far(); far != nil {
		b, _ := readAt(far.file, far.at+f.At, f.Length)
		return b
	}
	return e.e.value()[f.At : f.At+f.Length : f.At+f.Length]
}

// BasicOffsets returns the Basic Offset Table, PS3.5 annex A.4: where frames begin,
// counted from the first fragment behind it. It is empty where the sender left it so.
func (e Element) BasicOffsets() []uint32 {
	list := e.Fragments()
	if len(list) == 0 {
		return nil
	}
	b := e.Fragment(list[0])
	offsets := make([]uint32, 0, len(b)/4)
	for ; len(b) >= 4; b = b[4:] {
		offsets = append(offsets, binary.LittleEndian.Uint32(b))
	}
	return offsets
}

// ExtendedOffsets returns the Extended Offset Table (7FE0,0001) and the lengths of
// the frames (7FE0,0002), PS3.3 section C.7.6.3.1.8; nil where they are not there or
// do not go together.
func (d *Dataset) ExtendedOffsets() (offsets, lengths []uint64) {
	offsets = words(d.Bytes(tag.ExtendedOffsetTable))
	lengths = words(d.Bytes(tag.ExtendedOffsetTableLengths))
	if len(offsets) != len(lengths) {
		return nil, nil
	}
	return offsets, lengths
}

func words(b []byte) []uint64 {
	v := make([]uint64, 0, len(b)/8)
	for ; len(b) >= 8; b = b[8:] {
		v = append(v, binary.LittleEndian.Uint64(b))
	}
	return v
}

// SetFrames sets encapsulated pixel data with one fragment a frame, padded to even
// length, and a Basic Offset Table. Where that cannot hold the offsets, beyond 4 GiB,
// it is empty and an Extended Offset Table says where the frames are. Planar
// configuration, photometric interpretation and the transfer syntax are the caller's.
func (d *Dataset) SetFrames(frames ...[]byte) error {
	at := uint64(0)
	var table, offsets, lengths []byte
	for _, f := range frames {
		if int64(len(f)) >= undefinedLength-1 {
			return fmt.Errorf("dicom: a frame of %d bytes is more than a fragment holds", len(f))
		}
		table = binary.LittleEndian.AppendUint32(table, uint32(at))
		offsets = binary.LittleEndian.AppendUint64(offsets, at)
		lengths = binary.LittleEndian.AppendUint64(lengths, uint64(len(f)))
		at += 8 + uint64(len(f)+len(f)%2)
	}
	d.Delete(tag.ExtendedOffsetTable)
	d.Delete(tag.ExtendedOffsetTableLengths)
	if at > undefinedLength {
		table = nil
		if err := d.SetBytes(tag.ExtendedOffsetTable, OV, offsets); err != nil {
			return err
		}
		if err := d.SetBytes(tag.ExtendedOffsetTableLengths, OV, lengths); err != nil {
			return err
		}
	}
	e := element{tag: tag.PixelData, vr: OB, flags: undefinedLen | fragmented}
	e.raw = make([]byte, 0, 12+8+len(table)+int(at)+8)
	e.raw = appendHead(e.raw, encoding{}, tag.PixelData, OB, undefinedLength)
	e.head = uint8(len(e.raw))
	for _, f := range append([][]byte{table}, frames...) {
		e.raw = encoding{}.appendItemHead(e.raw, tag.Item, uint32(len(f)+len(f)%2))
		e.raw = append(e.raw, f...)
		e.raw = append(e.raw, make([]byte, len(f)%2)...)
	}
	e.raw = encoding{}.appendItemHead(e.raw, tag.SequenceDelimitation, 0)
	d.put(e)
	return nil
}
