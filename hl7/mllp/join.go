package mllp

import "bytes"

// Join makes one answer of several messages: Serve writes them as frames in a
// row, in one Write. An accept acknowledgement with the application
// acknowledgement behind it is such an answer. Of no message it is nil.
func Join(messages [][]byte) []byte {
	return bytes.Join(messages, []byte{endBlock, '\r', startBlock})
}

// Split takes apart what Join made: the messages in their order. Of nothing it is nil.
func Split(joined []byte) [][]byte {
	if len(joined) == 0 {
		return nil
	}
	return bytes.Split(joined, []byte{endBlock, '\r', startBlock})
}
