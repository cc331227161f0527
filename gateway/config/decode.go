package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// lines has the line of every key and table by its path, e.g. "analyser[0].port".
type lines map[string]int

// of is the line of the path or of the nearest thing that holds it.
func (l lines) of(path string) int {
	for path != "" {
		if n, ok := l[path]; ok {
			return n
		}
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
	return 0
}

func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxFile {
		return nil, say("it is larger than %d MiB", maxFile>>20)
	}
	return b, nil
}

// parse decodes the text over the defaults. The Config is nil where the text is
// not TOML.
func parse(b []byte, file string) (*Config, []Problem) {
	b = bytes.TrimPrefix(b, []byte("\xEF\xBB\xBF")) // Notepad
	var tree map[string]any
	if err := toml.Unmarshal(b, &tree); err != nil {
		return nil, []Problem{syntax(err)}
	}
	d := decoder{lines: positions(b)}
	c := &Config{lines: d.lines}
	d.table(reflect.ValueOf(c).Elem(), tree, "", "")
	c.complete(file)
	return c, d.problems
}

func syntax(err error) Problem {
	var de *toml.DecodeError
	if !errors.As(err, &de) {
		return problemOf(0, "is not TOML: %v", err)
	}
	row, col := de.Position()
	return problemOf(row, "column %d is not TOML: %s", col, strings.TrimPrefix(de.Error(), "toml: "))
}

// problemOf is a problem of the file as a whole.
func problemOf(line int, text string, args ...any) Problem {
	return Problem{Line: line, Text: fmt.Sprintf(text, args...), vietnamese: inVietnamese(text, args)}
}

// positions walks the text, which is known to be TOML.
func positions(b []byte) lines {
	l := lines{}
	count := map[string]int{} // elements of each array of tables
	p := unstable.Parser{}
	p.Reset(b)
	table := ""
	for p.NextExpression() {
		e := p.Expression()
		path, line := keyPath(&p, e)
		switch e.Kind {
		case unstable.Table:
			table = path
		case unstable.ArrayTable:
			if count[path] == 0 {
				l[path] = line
			}
			table = fmt.Sprintf("%s[%d]", path, count[path])
			count[path]++
		case unstable.KeyValue:
			l[join(table, path)] = line
			continue
		default:
			continue
		}
		l[table] = line
	}
	return l
}

func keyPath(p *unstable.Parser, e *unstable.Node) (path string, line int) {
	for it := e.Key(); it.Next(); {
		n := it.Node()
		path = join(path, string(n.Data))
		if line == 0 {
			line = p.Shape(n.Raw).Start.Line
		}
	}
	return path, line
}

func join(table, key string) string {
	if table == "" {
		return key
	}
	return table + "." + key
}

// A decoder fills the Config from the tree and collects what is wrong.
type decoder struct {
	lines    lines
	problems []Problem
}

func (d *decoder) problem(path, where, text string, args ...any) {
	d.problems = append(d.problems, Problem{Line: d.lines.of(path), Where: where, Text: fmt.Sprintf(text, args...), vietnamese: inVietnamese(text, args)})
}

// table fills the struct v. label names the block for people.
func (d *decoder) table(v reflect.Value, tree map[string]any, path, label string) {
	known := map[string]bool{}
	for i := range v.NumField() {
		f := v.Type().Field(i)
		key := f.Tag.Get("toml")
		if key == "" || key == "-" {
			continue
		}
		known[key] = true
		d.field(v.Field(i), f, tree[key], join(path, key), label, key)
	}
	for key := range tree {
		if !known[key] {
			d.problem(join(path, key), label, "unknown key %q%s", key, meant(key, known))
		}
	}
}

func (d *decoder) field(v reflect.Value, f reflect.StructField, got any, path, label, key string) {
	switch {
	case f.Type.Kind() == reflect.Struct:
		d.block(v, got, path, key)
	case f.Type.Kind() == reflect.Slice && f.Type.Elem().Kind() == reflect.Struct && f.Type.Elem() != prefixType:
		d.blocks(v, got, path, key)
	case got == nil && f.Tag.Get("need") != "":
		d.problem(path, label, "the key %q is missing", key)
	case got == "" && f.Tag.Get("need") != "":
		d.problem(path, label, "%s is empty", key)
	default:
		d.value(v, f, got, path, label, key)
	}
}

func (d *decoder) block(v reflect.Value, got any, path, key string) {
	tree, ok := got.(map[string]any)
	if !ok && got != nil {
		d.problem(path, "", "write [%s] once, with single brackets", key)
	}
	d.table(v, tree, path, "["+key+"]")
}

func (d *decoder) blocks(v reflect.Value, got any, path, key string) {
	list, ok := got.([]any)
	if !ok && got != nil {
		d.problem(path, "", "write [[%s]], with double brackets: there may be several", key)
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(list), len(list)))
	for i, element := range list {
		at := fmt.Sprintf("%s[%d]", path, i)
		tree, ok := element.(map[string]any)
		if !ok {
			d.problem(at, key, "each must be a table: write [[%s]]", key)
			continue
		}
		d.table(v.Index(i), tree, at, label(key, tree["name"], i))
	}
}

// label names the i-th block of a kind for people.
func label(kind string, name any, i int) string {
	if s, ok := name.(string); ok && s != "" {
		return fmt.Sprintf("%s %q", kind, s)
	}
	return fmt.Sprintf("%s %d", kind, i+1)
}

// value sets one key: to its default, then to what the file says.
func (d *decoder) value(v reflect.Value, f reflect.StructField, got any, path, label, key string) {
	if def := f.Tag.Get("default"); def != "" {
		if err := set(v, fromTag(v, def)); err != nil {
			panic("config: default of " + path + ": " + err.Error()) // a test loads the defaults
		}
	}
	if got == nil {
		return
	}
	if err := set(v, got); err != nil {
		d.problem(path, label, "%s: %v", key, err)
		return
	}
	if v.Type() == durationType && v.IsZero() && f.Tag.Get("never") == "" {
		d.problem(path, label, "%s: it must be longer than 0", key)
	}
	if words := strings.Fields(f.Tag.Get("oneof")); len(words) > 0 && !slices.Contains(words, v.String()) {
		d.problem(path, label, "%s is %q; it may be %s", key, v.String(), quoted(words))
	}
}

func fromTag(v reflect.Value, def string) any {
	switch v.Kind() {
	case reflect.Int:
		n, _ := strconv.ParseInt(def, 10, 64)
		return n
	case reflect.Bool:
		return def == "true"
	}
	return def
}

var (
	durationType = reflect.TypeFor[time.Duration]()
	locationType = reflect.TypeFor[*time.Location]()
	prefixType   = reflect.TypeFor[netip.Prefix]()
	sizeType     = reflect.TypeFor[Size]()
)

// set stores a value of the TOML tree in a field.
func set(v reflect.Value, got any) error {
	if v.Kind() == reflect.Slice {
		return setList(v, got)
	}
	text, isText := got.(string)
	switch v.Type() {
	case durationType:
		n, err := time.ParseDuration(text)
		if !isText || err != nil || n < 0 || n == 0 && text != "0" {
			return say(`it must be a length of time such as "30s" or "5m"`)
		}
		v.SetInt(int64(n))
		return nil
	case sizeType:
		n, err := parseSize(got)
		if err == nil {
			v.SetInt(int64(n))
		}
		return err
	case locationType:
		zone, err := time.LoadLocation(text)
		if !isText || err != nil || text == "" || text == "Local" {
			return say(`%s is no time zone; write one as "Asia/Ho_Chi_Minh"`, show(got))
		}
		v.Set(reflect.ValueOf(zone))
		return nil
	case prefixType:
		p, err := parsePrefix(text)
		if !isText || err != nil {
			return say(`%s is neither an IP address nor a network such as "192.168.1.0/24"`, show(got))
		}
		v.Set(reflect.ValueOf(p))
		return nil
	}
	return setPlain(v, got)
}

func setPlain(v reflect.Value, got any) error {
	switch v.Kind() {
	case reflect.String:
		s, ok := got.(string)
		if !ok {
			return say("it must be one text in quotes, not %s", show(got))
		}
		v.SetString(s)
	case reflect.Int:
		n, ok := got.(int64)
		if !ok {
			return say("it must be a whole number, not %s", show(got))
		}
		v.SetInt(n)
	case reflect.Bool:
		on, ok := got.(bool)
		if !ok {
			return say("it must be true or false, not %s", show(got))
		}
		v.SetBool(on)
	default:
		panic("config: no rule for a field of type " + v.Type().String())
	}
	return nil
}

// setList takes one value or a list of them.
func setList(v reflect.Value, got any) error {
	list, ok := got.([]any)
	if !ok {
		list = []any{got}
	}
	out := reflect.MakeSlice(v.Type(), len(list), len(list))
	for i, element := range list {
		if err := set(out.Index(i), element); err != nil {
			return err
		}
	}
	v.Set(out)
	return nil
}

func parsePrefix(s string) (netip.Prefix, error) {
	if p, err := netip.ParsePrefix(s); err == nil {
		return p.Masked(), nil
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}, err
	}
	a = a.Unmap().WithZone("")
	return netip.PrefixFrom(a, a.BitLen()), nil
}

func parseSize(got any) (Size, error) {
	wrong := say(`it must be a size such as "64 MiB", not %s`, show(got))
	text, ok := got.(string)
	if n, isInt := got.(int64); isInt {
		text, ok = strconv.FormatInt(n, 10), true
	}
	if !ok {
		return 0, wrong
	}
	unit := Size(1)
	for suffix, u := range map[string]Size{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30} {
		if s, found := strings.CutSuffix(text, suffix); found {
			text, unit = s, u
		}
	}
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 32)
	if err != nil || n <= 0 {
		return 0, wrong
	}
	return Size(n) * unit, nil
}

func show(got any) string {
	switch got := got.(type) {
	case string:
		return strconv.Quote(got)
	case []any:
		return "a list"
	case map[string]any:
		return "a table"
	}
	return fmt.Sprint(got)
}

func quoted(words []string) string {
	q := make([]string, len(words))
	for i, w := range words {
		q[i] = strconv.Quote(w)
	}
	return strings.Join(q, " or ")
}

// meant suggests a known key that is at most two edits away.
func meant(key string, known map[string]bool) string {
	best, distance := "", 3
	for k := range known {
		if n := edits(key, k); n < distance || n == distance && n < 3 && k < best {
			best, distance = k, n
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(": did you mean %q?", best)
}

// edits is the Levenshtein distance.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		corner := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := corner
			if a[i] != b[j] {
				change++
			}
			corner = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

func sortByLine(problems []Problem) {
	slices.SortStableFunc(problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Where, b.Where), cmp.Compare(a.Text, b.Text))
	})
}

// unusable is why a file cannot be used, without its name.
func unusable(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return say("it is not there")
	case errors.Is(err, fs.ErrPermission):
		return say("this user may not read it")
	}
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}
