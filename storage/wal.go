package storage

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
)

// Badger replays a write-ahead log up to the first entry that fails its checksum
// and cuts the file off there. It cannot tell the torn end that a power cut
// leaves, which nobody was promised, from a damage in the middle. This can: only
// the last transaction may be torn, so whole transactions behind the first bad
// entry mean that committed ones are lost.

// The layout of Badger's log, v4: a header of the file, then entries of meta,
// user meta, key length, value length, expiry, key, value and CRC-32C. Every
// transaction ends with an entry under txnEnd.
const (
	walHeader   = 20
	metaTxnEnd  = 1 << 7
	txnEndStamp = 8 // bytes of the version behind the key
)

var (
	txnEnd     = []byte("!badger!txn")
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// damagedLogs gives the logs among paths that are damaged in the middle. They
// are named by number; only the newest may have a torn end.
func damagedLogs(paths []string) (damaged []string, err error) {
	paths = slices.Sorted(slices.Values(paths))
	for i, path := range paths {
		log, err := os.ReadFile(path)
		if err != nil {
			return damaged, err
		}
		torn := 0
		if i == len(paths)-1 {
			torn = 1
		}
		if endsBehindDamage(log) > torn {
			damaged = append(damaged, filepath.Base(path))
		}
	}
	return damaged, nil
}

// endsBehindDamage counts the ends of transactions behind the first entry that
// is not whole.
func endsBehindDamage(log []byte) int {
	if len(log) < walHeader {
		return 0
	}
	rest := log[walHeader:]
	for {
		n, _ := entry(rest)
		if n == 0 {
			break
		}
		rest = rest[n:]
	}
	ends := 0
	for {
		i := bytes.Index(rest, txnEnd)
		if i < 0 {
			return ends
		}
		// Meta, user meta, lengths below 128 and no expiry: one byte each.
		if i >= 5 {
			if n, end := entry(rest[i-5:]); n > 0 && end {
				ends++
			}
		}
		rest = rest[i+len(txnEnd):]
	}
}

// entry gives the length of the whole entry at the beginning of b, 0 for none,
// and whether it ends a transaction.
func entry(b []byte) (n int, end bool) {
	if len(b) < 5 {
		return 0, false
	}
	at := 2
	var lengths [3]uint64 // key, value, expiry
	for i := range lengths {
		v, n := binary.Uvarint(b[at:])
		if n <= 0 {
			return 0, false
		}
		lengths[i] = v
		at += n
	}
	left := uint64(len(b) - at)
	if lengths[0] == 0 || lengths[0] > left || lengths[1] > left || lengths[0]+lengths[1]+4 > left {
		return 0, false
	}
	key := b[at : at+int(lengths[0])]
	body := at + int(lengths[0]+lengths[1])
	if crc32.Checksum(b[:body], castagnoli) != binary.BigEndian.Uint32(b[body:]) {
		return 0, false
	}
	end = b[0]&metaTxnEnd != 0 && len(key) == len(txnEnd)+txnEndStamp && bytes.HasPrefix(key, txnEnd)
	return body + 4, end
}
