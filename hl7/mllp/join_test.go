package mllp

import (
	"slices"
	"testing"
)

func TestJoinedAnswersAreFramesInARow(t *testing.T) {
	for _, messages := range [][][]byte{{[]byte("MSH|CA")}, {[]byte("MSH|CA"), []byte("MSH|AA\r")}} {
		var got []string
		for _, e := range NewReceiver(1000).Receive(AppendFrame(nil, Join(messages))) {
			got = append(got, string(e.(Frame).Content))
		}
		var want []string
		for _, m := range messages {
			want = append(want, string(m))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if Join(nil) != nil && len(Join(nil)) != 0 {
		t.Error("an answer of nothing")
	}
}
