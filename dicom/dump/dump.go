// Package dump prints DICOM files as text for people, an element a line, as dcmdump
// of DCMTK does: nested, with VRs, names and the beginning of each value; and as
// JSON. It reads a file as a stream and holds no value beyond its limit.
package dump

import (
	"bufio"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"unicode"

	"nhip/dicom"
	"nhip/dicom/charset"
	"nhip/dicom/tag"
	"nhip/dicom/uid"
)

// Options say what is printed.
type Options struct {
	Whole bool // values are not cut, up to 1 MiB each
}

const (
	mostText  = 64      // characters of a text that is cut
	mostBytes = 24      // bytes of a binary value that is cut
	held      = 1 << 20 // bytes of a value that is printed whole
)

// Text prints a file. What was read before an error is printed.
func Text(w io.Writer, r io.Reader, o Options) error {
	p := &printer{out: bufio.NewWriterSize(w, 32<<10), options: o, levels: []level{{}}}
	err := dicom.WalkFile(r, dicom.Limits{}, p.node)
	if ferr := p.out.Flush(); err == nil {
		err = ferr
	}
	return err
}

// JSON prints a file in the DICOM JSON model, PS3.18 annex F. Values of more than 64
// KiB stay in the file: a BulkDataURI names the file, the offset and the length.
func JSON(w io.Writer, f io.ReaderAt, size int64, name string) error {
	file, err := dicom.OpenFile(f, size, dicom.Limits{})
	if err != nil {
		return err
	}
	j := dicom.JSON{BulkData: func(_ string, e dicom.Element) string {
		at, n, ok := e.InFile()
		if !ok {
			return ""
		}
		path := filepath.ToSlash(name)
		u := url.URL{Scheme: "file", Path: path, OmitHost: !strings.HasPrefix(path, "/"), RawQuery: fmt.Sprintf("offset=%d&length=%d", at, n)}
		return u.String()
	}}
	b, err := j.Append(nil, file.Dataset)
	if err != nil {
		return err
	}
	_, err = w.Write(append(b, '\n'))
	return err
}

// A level is what is known of the data set or the item that is being printed.
type level struct {
	charset  *charset.Set
	creators map[tag.Tag]string
	signed   bool // Pixel Representation is 1
}

type printer struct {
	out     *bufio.Writer
	options Options
	levels  []level // by depth
	data    bool    // the data set has begun
	err     error
}

func (p *printer) node(n *dicom.Node) error {
	for len(p.levels) > n.Depth+1 {
		p.levels = p.levels[:len(p.levels)-1]
	}
	switch n.Kind {
	case dicom.ElementNode:
		p.element(n)
	case dicom.ItemNode:
		p.levels = append(p.levels[:n.Depth], level{charset: p.levels[n.Depth-1].charset, signed: p.levels[n.Depth-1].signed})
		p.line(4*n.Depth-2, tag.Item, "na", "(Item with "+lengthWord(n)+" length)", n.Length, 1, "Item")
	case dicom.FragmentNode:
		value := "(no value available)"
		if n.Length > 0 {
			value, _ = p.value(n, dicom.OB)
		}
		p.line(4*n.Depth-2, tag.Item, "pi", value, n.Length, 1, "Item")
	}
	return p.err
}

func lengthWord(n *dicom.Node) string {
	if n.Length < 0 {
		return "undefined"
	}
	return "explicit"
}

func (p *printer) element(n *dicom.Node) {
	l := &p.levels[len(p.levels)-1]
	group := n.Tag.Group()
	if n.Depth == 0 && group != 2 && !p.data {
		p.data = true
		p.printf("\n# Data set\n")
	} else if n.Depth == 0 && group == 2 && n.Tag == 0x00020000 {
		p.printf("# File Meta Information\n")
	}
	vr, name := p.understand(n, l)
	var value string
	vm := 1
	switch {
	case n.Length < 0 && vr != dicom.OB && vr != dicom.OW:
		vr, value = dicom.SQ, "(Sequence with undefined length)"
	case n.Length < 0:
		value = "(PixelSequence)"
	case vr == dicom.SQ && n.VR == dicom.SQ:
		value = "(Sequence with explicit length)"
	case n.Length == 0:
		value, vm = "(no value available)", 0
	default:
		if vr == dicom.SQ {
			vr = dicom.UN // by the dictionary only
		}
		value, vm = p.value(n, vr)
	}
	p.line(4*n.Depth, n.Tag, vr.String(), value, n.Length, vm, name)
}

// understand returns the VR and the name of an element, and notes what a private
// creator calls itself.
func (p *printer) understand(n *dicom.Node, l *level) (dicom.VR, string) {
	entry, known := tag.Lookup(n.Tag)
	vr, name := n.VR, entry.Keyword
	creator, private := n.Tag.Creator()
	switch {
	case n.Tag&0xFFFF == 0 && !known:
		name = "GenericGroupLength"
	case n.Tag.Private() && !private && n.Tag&0xFFFF >= 0x10:
		name = "PrivateCreator"
	case private:
		entry, known = tag.LookupPrivate(l.creators[creator], n.Tag)
		name = entry.Name
	}
	if vr == dicom.UN && known && len(entry.VR) == 2 && n.Length >= 0 && n.Length < 0xFFFF {
		vr, _ = dicom.ParseVR(entry.VR)
	}
	if n.NoVR && vr == dicom.US && len(entry.VR) > 2 && l.signed {
		vr = dicom.SS // US or SS
	}
	if name == "" {
		name = "Unknown"
	}
	return vr, name
}

func (p *printer) printf(format string, args ...any) {
	if _, err := fmt.Fprintf(p.out, format, args...); err != nil && p.err == nil {
		p.err = err
	}
}

func (p *printer) line(indent int, t tag.Tag, vr, value string, length int64, vm int, name string) {
	n := "u/l"
	if length >= 0 {
		n = strconv.FormatInt(length, 10)
	}
	p.printf("%*s(%04x,%04x) %s %-40s #%4s, %d %s\n", indent, "", t.Group(), uint16(t), vr, value, n, vm, name)
}

// value returns the beginning of a value as it is printed, and how many there are.
func (p *printer) value(n *dicom.Node, vr dicom.VR) (string, int) {
	b := make([]byte, min(n.Length, p.most(vr)))
	if _, err := io.ReadFull(n, b); err != nil {
		return "(the file ends here)", 0
	}
	e := n.Element(vr, b)
	l := &p.levels[len(p.levels)-1]
	switch {
	case n.Tag == tag.SpecificCharacterSet:
		l.charset, _ = charset.New(e.Texts()...)
	case n.Tag == tag.PixelRepresentation:
		l.signed = len(e.Ints()) > 0 && e.Ints()[0] == 1
	case n.Tag.Private() && n.Tag&0xFFFF >= 0x10 && n.Tag&0xFFFF <= 0xFF:
		if l.creators == nil || len(l.creators) > 240 {
			l.creators = map[tag.Tag]string{}
		}
		l.creators[n.Tag] = strings.Trim(string(b), " \x00")
	}
	return p.print(e, n.Length, l)
}

// most returns how many bytes of a value are read: of text more, to count the values.
func (p *printer) most(vr dicom.VR) int64 {
	if size(vr) > 0 && !p.options.Whole {
		return 4 * mostText
	}
	return held
}

// size returns the bytes of one value of a binary VR, 0 for text.
func size(vr dicom.VR) int64 {
	switch vr {
	case dicom.OB, dicom.UN:
		return 1
	case dicom.US, dicom.SS, dicom.OW:
		return 2
	case dicom.UL, dicom.SL, dicom.FL, dicom.AT, dicom.OF, dicom.OL:
		return 4
	case dicom.FD, dicom.UV, dicom.SV, dicom.OD, dicom.OV:
		return 8
	}
	return 0
}

// print prints the beginning of a value of so many bytes.
func (p *printer) print(e dicom.Element, length int64, l *level) (string, int) {
	whole := e.Len() == length
	switch e.VR {
	case dicom.OB, dicom.OW, dicom.UN, dicom.OL, dicom.OV, dicom.OF, dicom.OD:
		return p.hex(e, whole), 1
	case dicom.UI:
		values := e.Texts()
		if entry, ok := uid.Lookup(e.Text()); ok && len(values) == 1 && entry.Keyword != "" {
			return "=" + entry.Keyword, 1
		}
		return p.bracketed(strings.Join(values, "\\"), whole), len(values)
	case dicom.AT:
		var list []string
		for _, t := range e.Tags() {
			list = append(list, fmt.Sprintf("(%04x,%04x)", t.Group(), uint16(t)))
		}
		return p.cut(strings.Join(list, "\\"), whole), int(length / 4)
	}
	if n := size(e.VR); n > 0 {
		return p.cut(strings.Join(e.Texts(), "\\"), whole), int(length / n)
	}
	text := strings.TrimRight(e.TextIn(l.charset), " \x00")
	vm := 1
	if e.VR != dicom.LT && e.VR != dicom.ST && e.VR != dicom.UT && e.VR != dicom.UR {
		vm += strings.Count(text, "\\")
	}
	return p.bracketed(text, whole), vm
}

func (p *printer) bracketed(s string, whole bool) string {
	s = p.cut(printable(s), whole)
	if strings.HasSuffix(s, "...") {
		return "[" + s
	}
	return "[" + s + "]"
}

// cut shortens what is long; what was not read to its end is long.
func (p *printer) cut(s string, whole bool) string {
	runes := []rune(s)
	if !p.options.Whole && len(runes) > mostText {
		return string(runes[:mostText]) + "..."
	}
	if !whole {
		return s + "..."
	}
	return s
}

// printable makes what a terminal acts on visible: control characters, and those
// that turn the direction of writing.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r < ' ':
			return 0x2400 + r // ␀ and its like
		case r == 0x7F || unicode.Is(unicode.Cc, r) || unicode.Is(unicode.Bidi_Control, r) || r == 0x2028 || r == 0x2029:
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

// hex prints bytes, and words as the numbers they are.
func (p *printer) hex(e dicom.Element, whole bool) string {
	var out strings.Builder
	most := mostBytes
	if p.options.Whole {
		most = int(e.Len())
	}
	if e.VR == dicom.OW {
		words := e.Ints()
		for i, n := range words[:min(len(words), most/2)] {
			if i > 0 {
				out.WriteByte('\\')
			}
			fmt.Fprintf(&out, "%04x", n)
		}
	} else {
		b := e.Bytes()
		for i, c := range b[:min(len(b), most)] {
			if i > 0 {
				out.WriteByte('\\')
			}
			fmt.Fprintf(&out, "%02x", c)
		}
	}
	if int64(most) < e.Len() || !whole {
		out.WriteString("...")
	}
	return out.String()
}
