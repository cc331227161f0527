package capture

import (
	"bytes"
	"regexp"
)

// A terminal and `cat -v` show control characters as ^B. A recording that was
// copied from there has no STX, but lines such as ^E^B1H|\^&.
var (
	caretFrame = regexp.MustCompile(`(?m)^(?:\^[DEFU])*\^B[0-7][HPORCQMSL]`)
	caretStart = regexp.MustCompile(`^((?:\^[DEFU])*)(\^B)?`)
	caretEnd   = regexp.MustCompile(`\^([CW])([0-9A-Fa-f]{2})(?:\^M)?$`)
)

// uncaret gives such a recording its control characters back. A ^ elsewhere is a
// component delimiter and stays. Line ends inside of a frame become the CR that a
// record has, since copying has changed them; nil: the recording is not of this kind.
func uncaret(recording []byte) *joined {
	if bytes.IndexByte(recording, stx) >= 0 || !bytes.Contains(recording, []byte("^B")) || !caretFrame.Match(recording) {
		return nil
	}
	j := &joined{}
	inFrame := false
	for at := 0; at < len(recording); {
		end, next := len(recording), len(recording)
		if i := bytes.IndexByte(recording[at:], lf); i >= 0 {
			end, next = at+i, at+i+1
		}
		start := at
		if begin := caretStart.FindSubmatch(recording[at:end]); !inFrame && len(begin[0]) > 0 {
			for i := 1; i < len(begin[0]); i += 2 {
				j.add([]byte{begin[0][i] & 0x1F}, at+i-1)
			}
			inFrame = len(begin[2]) > 0
			start += len(begin[0])
		}
		line := bytes.TrimSuffix(bytes.TrimSuffix(recording[start:end], []byte{cr}), []byte("^M"))
		if stop := caretEnd.FindSubmatchIndex(line); stop != nil {
			j.add(line[:stop[0]], start)
			j.add([]byte{line[stop[2]] & 0x1F}, start+stop[0])
			j.add(line[stop[4]:stop[5]], start+stop[4])
			j.add([]byte{cr, lf}, end)
			inFrame = false
		} else {
			j.add(line, start)
			j.add([]byte{cr}, end)
		}
		at = next
	}
	return j
}

// relocate turns offsets in j into those of the recording.
func (d *decoder) relocate(j *joined) {
	for i := range d.out.Problems {
		d.out.Problems[i].Offset = j.offset(d.out.Problems[i].Offset)
	}
	for i := range d.out.Messages {
		m := &d.out.Messages[i]
		m.Offset = j.offset(m.Offset)
		for k := range m.Frames {
			f := &m.Frames[k]
			end := j.offset(f.Offset+f.Length-1) + 1
			f.Offset = j.offset(f.Offset)
			f.Length = end - f.Offset
		}
		for _, r := range m.Records {
			for k := range r.places {
				r.places[k] = j.offset(r.places[k])
			}
		}
	}
	d.out.Problems = append([]Problem{{What: "control characters stand as ^B and the like: a copy from a screen, whose line ends may have been others"}}, d.out.Problems...)
}
