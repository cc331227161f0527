package intake

import "strings"

// goneObject begins the value under the key of a SOP Instance UID whose object was
// removed by retention; its hash follows. So other bytes under the UID are still
// held, and the same bytes are taken as new: they are not here any more.
const goneObject = "gone "

// Keep says what stays under a key of a journal entry that retention removes: nil
// for nothing.
func Keep(key string, e Entry) []byte {
	if e.Kind == KindDICOM && e.Fate == Received && key == instanceKey(e.Attrs[AttrSOPInstance]) {
		return []byte(goneObject + e.SHA256)
	}
	return nil
}

// gone gives the hash of an object that was removed.
func gone(value []byte) (sha256 string, ok bool) {
	return strings.CutPrefix(string(value), goneObject)
}
