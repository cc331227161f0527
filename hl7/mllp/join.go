package mllp

import "bytes"

// Join makes one answer of several messages: Serve writes them as frames in a
// row, in one Write. An accept acknowledgement with the application
// acknowledgement behind it is such an answer. Of no message it is nil.
func Join(messages [][]byte) []byte {
	return bytes.Join(messages, []byte{endBlock, '\r', startBlock})
}
