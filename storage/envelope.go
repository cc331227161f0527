package storage

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"
)

// Every record is stored in an envelope: version, checksum, body. The checksum
// is over the key and the body, so that a value found under another key is
// damage too. It also stands for the record in the fingerprints: the sum of the
// checksums of all records of a kind, kept in the same transaction.
const (
	envelopeVersion = 1
	envelope        = 9
)

// seal fills in the envelope of record, whose first bytes are kept free for it,
// and gives its checksum.
func seal(key, record []byte) uint64 {
	record[0] = envelopeVersion
	sum := checksum(key, record[envelope:])
	binary.LittleEndian.PutUint64(record[1:], sum)
	return sum
}

// unseal gives the body of a record, or ok false where it is damaged.
func unseal(key, record []byte) (body []byte, sum uint64, ok bool) {
	if len(record) < envelope {
		return nil, 0, false
	}
	sum = binary.LittleEndian.Uint64(record[1:])
	body = record[envelope:]
	return body, sum, record[0] == envelopeVersion && sum == checksum(key, body)
}

func checksum(key, body []byte) uint64 {
	var d xxhash.Digest
	d.Reset()
	d.Write(key)
	d.Write(body)
	return d.Sum64()
}

// The key spaces. A name ends with a zero byte, so that no name is the prefix of
// another; sequences are big-endian, so that they sort.
const (
	spaceRoot    = 'm'
	spaceChannel = 'c'
	spaceQueue   = 'q'
	spaceCounter = 'n'
	spaceJournal = 'j'
	spaceItem    = 'i'
	spaceState   = 's'
	spaceKey     = 'k'
)

var rootKey = []byte{spaceRoot}

func nameKey(space byte, name string) []byte {
	b := make([]byte, 0, 1+len(name)+1+8)
	b = append(b, space)
	b = append(b, name...)
	return append(b, 0)
}

func seqKey(space byte, name string, seq uint64) []byte {
	return binary.BigEndian.AppendUint64(nameKey(space, name), seq)
}

func keySeq(key []byte) uint64 { return binary.BigEndian.Uint64(key[len(key)-8:]) }

// keyName gives the name in a nameKey.
func keyName(key []byte) string { return string(key[1 : len(key)-1]) }
