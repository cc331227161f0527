package j2k

import (
	"encoding/binary"
	"fmt"
	"io"

	"nhip/dicom/pixel/raster"
)

// Markers that delimit, ISO/IEC 15444-1 table A.2.
const (
	startOfTilePart = 0xFF90 // SOT
	endOfCodestream = 0xFFD9 // EOC
)

// checkTiles follows the tile-parts and says whether every tile of the image has
// one (ISO/IEC 15444-1 annexes A.4.2 and B.3), whole: OpenJPEG leaves a tile that
// is missing black and reports success, and here a picture is whole or refused.
func checkTiles(b []byte) error {
	be := binary.BigEndian
	tiles, err := countTiles(b)
	if err != nil {
		return err
	}
	at := 4 + int(be.Uint16(b[4:]))
	for ; at+4 <= len(b) && be.Uint16(b[at:]) != startOfTilePart; at += 2 + int(be.Uint16(b[at+2:])) {
		if b[at] != 0xFF {
			return &raster.FormatError{Codec: codec, What: "the main header holds something that is no marker segment"}
		}
	}
	found := 0
	seen := make([]bool, tiles)
	for at+12 <= len(b) && be.Uint16(b[at:]) == startOfTilePart {
		tile, length := int(be.Uint16(b[at+4:])), uint64(be.Uint32(b[at+6:]))
		if tile >= tiles {
			return &raster.FormatError{Codec: codec, What: fmt.Sprintf("tile %d of an image of %d", tile, tiles)}
		}
		if !seen[tile] {
			seen[tile] = true
			found++
		}
		if length == 0 { // the last one, to the end of the codestream
			at = len(b)
			break
		}
		if length < 14 || length > uint64(len(b)-at) {
			return &raster.FormatError{Codec: codec, What: "the stream ends inside a tile-part", Err: io.ErrUnexpectedEOF}
		}
		at += int(length)
	}
	if found < tiles {
		return &raster.FormatError{Codec: codec, What: fmt.Sprintf("%d tiles of %d are there", found, tiles), Err: io.ErrUnexpectedEOF}
	}
	if at+2 <= len(b) && be.Uint16(b[at:]) != endOfCodestream {
		return &raster.FormatError{Codec: codec, What: "something else than a tile-part where one is expected"}
	}
	return nil
}

// countTiles returns the number of tiles, at most what Isot can number.
func countTiles(b []byte) (int, error) {
	at := func(i int) uint64 { return uint64(binary.BigEndian.Uint32(b[i:])) }
	width, height, x0, y0 := at(24), at(28), at(32), at(36)
	if width == 0 || height == 0 || x0 > at(16) || y0 > at(20) {
		return 0, &raster.FormatError{Codec: codec, What: "the tiles do not cover the image"}
	}
	n := ((at(8) - x0 + width - 1) / width) * ((at(12) - y0 + height - 1) / height)
	if n == 0 || n > 65535 {
		return 0, &raster.FormatError{Codec: codec, What: fmt.Sprintf("%d tiles", n)}
	}
	return int(n), nil
}
