// Package profile reads analyser profiles and takes results out of messages with
// them. A profile is a model of analyser as data: a TOML file that says where
// in a LIS02 message (CLSI LIS02-A2, ASTM E1394) or an HL7 ORU^R01 a specimen,
// a code and a value stand, how the model marks control material, which result
// records are no results, and what each of these statements rests on.
//
// Nothing of a site is in a profile, and nothing is guessed: a part that is
// not declared is not extracted, a value is carried as the text that was sent,
// and a result record that is not delivered is counted with its code.
package profile

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"sort"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"nhip/drivers/profiles"
	"nhip/hl7/vncharset"
)

// FileName is the name of a profile in its folder.
const FileName = "profile.toml"

// A Profile is a checked profile. It is immutable and safe for concurrent use.
type Profile struct {
	f         file
	tests     map[string]*test
	perOrder  []*rule // control rules that look at no result
	perResult []*rule // those that do
	calibrate []*rule
	failure   []*rule
	unread    []*rule
	layouts   []string // of the device's times
}

// ID is the profile's identifier, the name of its folder, e.g. "sysmex-xn-l".
func (p *Profile) ID() string { return p.f.ID }

// Name is what people call the model, e.g. "Sysmex XN-L series".
func (p *Profile) Name() string { return p.f.Name }

// Revision is the profile's revision. A published revision never changes.
func (p *Profile) Revision() int { return p.f.Revision }

// Protocol is "astm" (LIS02 records), "hl7", "law", "bci", "beckman-au", "text" or
// "file".
func (p *Profile) Protocol() string { return p.f.Protocol }

// Source is the document or capture that the profile rests on as a whole.
func (p *Profile) Source() string { return p.f.Source }

// Evidence is the best evidence behind the profile: "standard", "capture",
// "vendor example", "manual", or "driver", the public source of a driver that others
// run.
func (p *Profile) Evidence() string { return p.f.Evidence }

// Transport lists how the model is connected: "serial", "tcp-client" (the
// analyser dials), "tcp-server" (the gateway dials), "file".
func (p *Profile) Transport() []string { return p.f.Transport }

// TwoWay says what of orders the profile's sources describe: "query", "download",
// "both", "one-way"; "not verified" where none says.
func (p *Profile) TwoWay() string { return p.f.TwoWay }

// TellsControl reports whether the profile has a rule for control material.
func (p *Profile) TellsControl() bool { return len(p.f.Control) > 0 }

// Codes lists the declared test codes in the order of the file.
func (p *Profile) Codes() []string {
	codes := make([]string, len(p.f.Tests))
	for i, t := range p.f.Tests {
		codes[i] = t.Code
	}
	return codes
}

// SiteCodes reports whether the site, and not the model, defines the codes.
func (p *Profile) SiteCodes() bool { return p.f.Codes == "site" }

// Claims reports whether the sender that a message names is one of this model. A
// profile without a pattern of senders claims nothing.
func (p *Profile) Claims(message []byte) bool {
	if !p.f.Sender.given() {
		return false
	}
	sender, err := p.senderOf(message)
	return err == nil && p.f.Sender.anywhere.MatchString(sender)
}

// A LoadError says where in a profile something is wrong.
type LoadError struct {
	File  string // path of the file
	Place string // key, table or line; empty where the file as a whole is meant
	What  string
}

func (e *LoadError) Error() string {
	if e.Place == "" {
		return fmt.Sprintf("profile: %s: %s", e.File, e.What)
	}
	return fmt.Sprintf("profile: %s: %s: %s", e.File, e.Place, e.What)
}

// Load reads and checks the profile in the folder dir of fsys. An unknown key, a
// duplicate code, a missing source or a pattern that does not compile is an
// error; the error joins a *LoadError for everything that was found.
func Load(fsys fs.FS, dir string) (*Profile, error) {
	name := path.Join(dir, FileName)
	text, err := fs.ReadFile(fsys, name)
	if err != nil {
		return nil, &LoadError{File: name, What: err.Error()}
	}
	return parse(name, path.Base(dir), text)
}

// Builtin loads the profiles that are part of the program, by identifier.
func Builtin() (map[string]*Profile, error) {
	all := make(map[string]*Profile)
	dirs, err := fs.ReadDir(profiles.Files, ".")
	if err != nil {
		return nil, fmt.Errorf("profile: built-in profiles: %w", err)
	}
	for _, dir := range dirs {
		p, err := Load(profiles.Files, dir.Name())
		if err != nil {
			return nil, err
		}
		all[p.ID()] = p
	}
	return all, nil
}

// parse checks the text of a profile. folder is the name its id has to have;
// "." (a folder given by itself) accepts every id.
func parse(name, folder string, text []byte) (*Profile, error) {
	var f file
	decoder := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields()
	if err := decoder.Decode(&f); err != nil {
		return nil, decodeError(name, err)
	}
	if found := f.check(folder); len(found) > 0 {
		errs := make([]error, len(found))
		for i, e := range found {
			e.File = name
			errs[i] = e
		}
		return nil, errors.Join(errs...)
	}
	p := &Profile{f: f, tests: make(map[string]*test, len(f.Tests))}
	p.f.Parts.ownWords()
	if f.OrderResult != nil {
		f.OrderResult.Parts.ownWords()
	}
	names, err := vncharset.ParseNames(f.Names)
	if err != nil {
		return nil, err
	}
	if f.Answer != nil {
		f.Answer.types = f.SpecimenType
	}
	if f.HL7 != nil {
		f.HL7.Types = ownWords(f.SpecimenType)
	}
	p.named(names)
	for i := range f.Tests {
		p.tests[p.f.Tests[i].Code] = &p.f.Tests[i]
	}
	for _, notation := range f.Times {
		p.layouts = append(p.layouts, timeNotation.Replace(notation))
	}
	p.failure, p.unread, p.calibrate = pointers(p.f.Failure), pointers(p.f.Unread), pointers(p.f.Calibration)
	for _, r := range pointers(p.f.Control) {
		if r.Path.ofResult() {
			p.perResult = append(p.perResult, r)
		} else {
			p.perOrder = append(p.perOrder, r)
		}
	}
	return p, nil
}

// words are the words of the model for kinds of specimens, by their codes of HL7.
func ownWords(types []meaning) map[string]string {
	of := make(map[string]string)
	for _, m := range types {
		if of[m.Means] == "" {
			of[m.Means] = m.Is
		}
	}
	return of
}

func pointers(rules []rule) []*rule {
	all := make([]*rule, len(rules))
	for i := range rules {
		all[i] = &rules[i]
	}
	return all
}

// decodeError gives the TOML decoder's errors their lines.
func decodeError(name string, err error) error {
	var unknown *toml.StrictMissingError
	if errors.As(err, &unknown) {
		errs := make([]error, len(unknown.Errors))
		for i := range unknown.Errors {
			row, _ := unknown.Errors[i].Position()
			key := strings.Join(unknown.Errors[i].Key(), ".")
			errs[i] = &LoadError{File: name, Place: fmt.Sprintf("line %d", row), What: fmt.Sprintf("unknown key %q", key)}
		}
		return errors.Join(errs...)
	}
	var syntax *toml.DecodeError
	if errors.As(err, &syntax) {
		row, column := syntax.Position()
		return &LoadError{File: name, Place: fmt.Sprintf("line %d, column %d", row, column), What: syntax.Error()}
	}
	return &LoadError{File: name, What: err.Error()}
}

// A file is profile.toml.
type file struct {
	ID       string `toml:"id"`
	Name     string `toml:"name"`
	Revision int    `toml:"revision"`
	Protocol string `toml:"protocol"`
	Evidence string `toml:"evidence"`
	Source   string `toml:"source"`
	// Transport and TwoWay are for people: the table of analysers.
	Transport []string `toml:"transport"`
	TwoWay    string   `toml:"two_way"`
	// Codes is "declared" (default: the model fixes its codes) or "site" (the
	// codes are given to the tests at the site, so none can be declared here).
	Codes       string `toml:"codes"`
	CodesSource string `toml:"codes_source"`
	// CodeForm matches a code with something beside it, as a dilution; its first
	// group is the code.
	CodeForm       pattern `toml:"code_form"`
	CodeFormSource string  `toml:"code_form_source"`
	// SpecimenForm matches an identifier with padding of the analyser's own around it;
	// its one group is the identifier.
	SpecimenForm       pattern `toml:"specimen_form"`
	SpecimenFormSource string  `toml:"specimen_form_source"`
	// Sender matches H.5 or MSH-3. Its named groups model, serial and software
	// describe the device.
	Sender pattern `toml:"sender"`

	// Times is how the device writes a time, where it is not YYYYMMDDhhmmss.
	Times  []string `toml:"times"`
	wires           // what is spoken on the connection
	naming          // in which characters

	Parts    parts  `toml:"parts"`
	PartsWhy string `toml:"parts_source"`

	// OrderResult is for a model that puts a result into the order's own record.
	OrderResult *orderResult `toml:"order_result"`

	Control      []rule    `toml:"control"`
	Calibration  []rule    `toml:"calibration"`
	Failure      []rule    `toml:"failure"`
	Unread       []rule    `toml:"unread"`
	Ignore       []codes   `toml:"ignore"`
	Comment      []codes   `toml:"comment"`
	Remark       []remark  `toml:"remark"`
	Variant      []variant `toml:"variant"`
	Mark         []mark    `toml:"mark"`
	Value        []form    `toml:"value"`
	Status       []meaning `toml:"status"`
	Flag         []meaning `toml:"flag"`
	SpecimenType []meaning `toml:"specimen_type"`
	Unit         []meaning `toml:"unit"`
	Tests        []test    `toml:"tests"`
	// TestsSource is the source of the tests that have none of their own.
	TestsSource string `toml:"tests_source"`
}

// parts says where things stand, as record.field.component of LIS02 ("R.3.5")
// or as an HL7 path ("OBX-3.1"). Alternatives are separated by commas; the
// first that is not empty counts.
type parts struct {
	Specimen     paths `toml:"specimen"`
	SpecimenType paths `toml:"specimen_type"`
	Rack         paths `toml:"rack"`
	Position     paths `toml:"position"`
	Collected    paths `toml:"collected"`
	PatientID    paths `toml:"patient_id"`
	Family       paths `toml:"family"`
	Given        paths `toml:"given"`
	Middle       paths `toml:"middle"`
	Birth        paths `toml:"birth"`
	Sex          paths `toml:"sex"`
	Order        paths `toml:"order"`
	Priority     paths `toml:"priority"`
	MessageID    paths `toml:"message_id"`
	MessageTime  paths `toml:"message_time"`
	Model        paths `toml:"model"`
	Serial       paths `toml:"serial"`
	Software     paths `toml:"software"`
	Sender       paths `toml:"sender"`
	Lot          paths `toml:"control_lot"`
	Material     paths `toml:"control_name"`
	Level        paths `toml:"control_level"`
	Code         paths `toml:"code"`
	Text         paths `toml:"text"`
	LOINC        paths `toml:"loinc"`
	Value        paths `toml:"value"`
	Quantity     paths `toml:"quantity"`
	Qualitative  paths `toml:"qualitative"`
	Unit         paths `toml:"unit"`
	Range        paths `toml:"range"`
	Flag         paths `toml:"flag"`
	Status       paths `toml:"status"`
	Observed     paths `toml:"observed"`
	Analysed     paths `toml:"analysed"`
	Operator     paths `toml:"operator"`
	Instrument   paths `toml:"instrument"`
	Comment      paths `toml:"comment"`
}

// named lists the parts with their keys, in the order of the struct.
func (p *parts) named() []namedPaths {
	return []namedPaths{
		{"specimen", p.Specimen}, {"specimen_type", p.SpecimenType}, {"rack", p.Rack},
		{"position", p.Position}, {"collected", p.Collected}, {"patient_id", p.PatientID},
		{"family", p.Family}, {"given", p.Given}, {"middle", p.Middle}, {"birth", p.Birth},
		{"sex", p.Sex}, {"order", p.Order}, {"priority", p.Priority}, {"message_id", p.MessageID},
		{"message_time", p.MessageTime}, {"model", p.Model}, {"serial", p.Serial},
		{"software", p.Software}, {"sender", p.Sender}, {"control_lot", p.Lot}, {"control_name", p.Material},
		{"control_level", p.Level}, {"code", p.Code}, {"text", p.Text}, {"loinc", p.LOINC}, {"value", p.Value},
		{"quantity", p.Quantity}, {"qualitative", p.Qualitative},
		{"unit", p.Unit}, {"range", p.Range}, {"flag", p.Flag}, {"status", p.Status},
		{"observed", p.Observed}, {"analysed", p.Analysed}, {"operator", p.Operator},
		{"instrument", p.Instrument}, {"comment", p.Comment},
	}
}

type namedPaths struct {
	key   string
	paths paths
}

// A rule recognises something by the text at a path: equal to Is in one of the
// field's repetitions, or matched as a whole by Matches.
type rule struct {
	Path    paths   `toml:"path"`
	Is      string  `toml:"is"`
	Matches pattern `toml:"matches"`
	Source  string  `toml:"source"`
}

// codes are result records by patterns of their code, of their value and of the
// text at a path; what is not given is not asked.
type codes struct {
	Code    pattern `toml:"code"`
	Value   pattern `toml:"value"`
	Path    paths   `toml:"path"`
	Matches pattern `toml:"matches"`
	Source  string  `toml:"source"`
}

// take reports whether the result record in scope, with this code and value, is
// meant.
func (c *codes) take(in scope, code, value string) bool {
	if c.Code.given() && !c.Code.whole(code) || c.Value.given() && !c.Value.whole(value) {
		return false
	}
	return len(c.Path) == 0 || c.Matches.whole(in.trimmed(c.Path))
}

// A remark is a comment record with a meaning of its own: words (Means), nothing
// to say (neither Means nor Part), or, as its one group, a part of control
// material: control_lot, control_name or control_level.
type remark struct {
	Matches pattern `toml:"matches"`
	Means   string  `toml:"means"`
	Part    string  `toml:"part"`
	Source  string  `toml:"source"`
}

// A variant is a further result of the same test, as an interpretation beside the
// value: its code gets a suffix, so that no two results have one name.
type variant struct {
	Path   paths  `toml:"path"`
	Is     string `toml:"is"`
	Suffix string `toml:"suffix"`
	Source string `toml:"source"`
}

// An orderResult is a result that stands in an O record or OBR itself, as a control
// of the Mindray BS analysers does: when the rule is met, Parts say what stands where.
type orderResult struct {
	When  rule  `toml:"when"`
	Parts parts `toml:"parts"`
}

// A mark is something that a device says of a result in a place of its own, as that
// a person edited it: it becomes a comment.
type mark struct {
	Path    paths  `toml:"path"`
	Is      string `toml:"is"`
	Comment string `toml:"comment"`
	Source  string `toml:"source"`
}

// A form takes a value apart by the groups comparator, quantity and qualitative
// of a pattern. The value itself stays as sent.
type form struct {
	Matches pattern `toml:"matches"`
	Source  string  `toml:"source"`
}

// A meaning translates a text of the device: a status to HL7 table 0085, flags
// to table 0078, a specimen type to table 0487, a unit to UCUM. Comment is
// what is said beside the result where the target has no code for it.
type meaning struct {
	Is      string `toml:"is"`
	Means   string `toml:"means"`
	Comment string `toml:"comment"`
	Source  string `toml:"source"`
}

// A test is a declared test code.
type test struct {
	Code   string `toml:"code"`
	Name   string `toml:"name"`
	LOINC  string `toml:"loinc"`
	Source string `toml:"source"`
}

// A pattern is a regular expression (RE2).
type pattern struct {
	anywhere *regexp.Regexp // as written
	entire   *regexp.Regexp // anchored at both ends
}

// UnmarshalText compiles the pattern.
func (p *pattern) UnmarshalText(text []byte) error {
	anywhere, err := regexp.Compile(string(text))
	if err != nil {
		return fmt.Errorf("bad pattern: %w", err)
	}
	entire, err := regexp.Compile(`\A(?:` + string(text) + `)\z`)
	if err != nil {
		return fmt.Errorf("bad pattern: %w", err)
	}
	p.anywhere, p.entire = anywhere, entire
	return nil
}

func (p pattern) given() bool { return p.anywhere != nil }

func (p pattern) String() string {
	if p.anywhere == nil {
		return ""
	}
	return p.anywhere.String()
}

// whole reports whether the pattern matches the whole text.
func (p pattern) whole(text string) bool { return p.entire.MatchString(text) }

var (
	idForm    = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	loincForm = regexp.MustCompile(`^[0-9]{1,7}-[0-9]$`)
	evidences = map[string]bool{"standard": true, "capture": true, "vendor example": true, "manual": true, "driver": true}
)

// check returns everything that is wrong with the file.
func (f *file) check(folder string) []*LoadError {
	c := &checker{protocol: f.Protocol}
	c.head(f, folder)
	c.parts("parts", &f.Parts)
	if r := f.OrderResult; r != nil {
		c.rules("order_result.when", []rule{r.When})
		c.parts("order_result.parts", &r.Parts)
	}
	c.rules("control", f.Control)
	c.rules("calibration", f.Calibration)
	c.rules("failure", f.Failure)
	c.rules("unread", f.Unread)
	c.codes("ignore", f.Ignore)
	c.codes("comment", f.Comment)
	c.remarks(f.Remark)
	c.variants(f.Variant)
	c.forms(f.Value)
	for i, m := range f.Mark {
		place := fmt.Sprintf("[[mark]] number %d", i+1)
		c.needs(place, "is", m.Is)
		c.needs(place, "comment", m.Comment)
		c.needs(place, "source", m.Source)
		if len(m.Path) == 0 {
			c.bad(place, "path is missing")
		}
		c.paths(place+".path", m.Path)
	}
	c.meanings("status", f.Status, true)
	c.meanings("flag", f.Flag, false)
	c.meanings("specimen_type", f.SpecimenType, true)
	c.meanings("unit", f.Unit, true)
	c.tests(f)
	c.naming(f)
	return c.found
}

type checker struct {
	protocol string
	found    []*LoadError
}

func (c *checker) bad(place, format string, args ...any) {
	c.found = append(c.found, &LoadError{Place: place, What: fmt.Sprintf(format, args...)})
}

func (c *checker) needs(place, key, value string) {
	if value == "" {
		c.bad(place, "%s is missing", key)
	}
}

func (c *checker) head(f *file, folder string) {
	switch {
	case !idForm.MatchString(f.ID):
		c.bad("id", "%q is not of the form maker-model (lower case letters, digits, hyphens)", f.ID)
	case folder != "." && f.ID != folder:
		c.bad("id", "%q differs from the name of the folder, %q", f.ID, folder)
	}
	c.needs("name", "name", f.Name)
	if f.Revision < 1 {
		c.bad("revision", "%d is not a revision; the first is 1", f.Revision)
	}
	if families[f.Protocol] == unknownFamily {
		c.bad("protocol", `%q is none of %s`, f.Protocol, strings.Join(slices.Sorted(maps.Keys(families)), ", "))
	}
	if !evidences[f.Evidence] {
		c.bad("evidence", `%q is none of "standard", "capture", "vendor example", "manual", "driver"`, f.Evidence)
	}
	c.needs("source", "source", f.Source)
	c.wire(f)
	c.link(f)
	switch f.Codes {
	case "", "declared":
		if len(f.Tests) == 0 {
			c.bad("tests", `no test is declared, and codes is not "site"`)
		}
	case "site":
		c.needs("codes_source", "the source of codes = \"site\"", f.CodesSource)
		if len(f.Tests) > 0 {
			c.bad("tests", `tests are declared although codes = "site"`)
		}
	default:
		c.bad("codes", `%q is neither "declared" nor "site"`, f.Codes)
	}
	if f.Sender.given() {
		for _, group := range f.Sender.anywhere.SubexpNames() {
			if group != "" && group != "model" && group != "serial" && group != "software" {
				c.bad("sender", "group %q is none of model, serial, software", group)
			}
		}
	}
	if f.CodeForm.given() {
		c.needs("code_form_source", "the source of code_form", f.CodeFormSource)
		if f.CodeForm.anywhere.NumSubexp() != 1 {
			c.bad("code_form", "needs one group, the code")
		}
	}
	if f.SpecimenForm.given() {
		c.needs("specimen_form_source", "the source of specimen_form", f.SpecimenFormSource)
		if f.SpecimenForm.anywhere.NumSubexp() != 1 {
			c.bad("specimen_form", "needs one group, the identifier")
		}
	}
	c.needs("parts_source", "the source of [parts]", f.PartsWhy)
}

// wire checks what the table of analysers says of the connection.
func (c *checker) wire(f *file) {
	if len(f.Transport) == 0 {
		c.bad("transport", "is missing")
	}
	for _, t := range f.Transport {
		if !slices.Contains([]string{"serial", "tcp-client", "tcp-server", "file"}, t) {
			c.bad("transport", `%q is none of "serial", "tcp-client", "tcp-server", "file"`, t)
		}
	}
	if !slices.Contains([]string{"query", "download", "both", "one-way", "not verified"}, f.TwoWay) {
		c.bad("two_way", `%q is none of "query", "download", "both", "one-way", "not verified"`, f.TwoWay)
	}
}

func (c *checker) parts(table string, p *parts) {
	for _, part := range p.named() {
		c.paths(table+"."+part.key, part.paths)
	}
	for _, part := range []namedPaths{{"specimen", p.Specimen}, {"code", p.Code}, {"value", p.Value}} {
		if len(part.paths) == 0 {
			c.bad(table+"."+part.key, "is missing")
		}
	}
	for _, l := range p.Sender {
		if l.record != "H" && l.record != "MSH" {
			c.bad("parts.sender", "%q is not of the header", l.text)
		}
	}
}

// paths checks that the paths are of the profile's protocol.
func (c *checker) paths(place string, all paths) {
	for _, one := range all {
		for _, l := range append([]location{one}, one.more...) {
			if l.family() != families[c.protocol] {
				c.bad(place, "%q is not a path of protocol %q", l.text, c.protocol)
			}
		}
	}
}

func (c *checker) rules(table string, rules []rule) {
	for i, r := range rules {
		place := fmt.Sprintf("[[%s]] number %d", table, i+1)
		if len(r.Path) == 0 {
			c.bad(place, "path is missing")
		}
		c.paths(place+".path", r.Path)
		if (r.Is == "") != r.Matches.given() {
			c.bad(place, "needs one of is and matches")
		}
		c.needs(place, "source", r.Source)
	}
}

func (c *checker) codes(table string, all []codes) {
	seen := make(map[string]bool)
	for i, one := range all {
		place := fmt.Sprintf("[[%s]] number %d", table, i+1)
		if !one.Code.given() && len(one.Path) == 0 {
			c.bad(place, "needs code or path")
			continue
		}
		if (len(one.Path) > 0) != one.Matches.given() {
			c.bad(place, "path and matches belong together")
		}
		c.paths(place+".path", one.Path)
		key := fmt.Sprint(one.Code, "\x00", one.Value, "\x00", one.Path, "\x00", one.Matches)
		if seen[key] {
			c.bad(place, "code %q stands here twice", one.Code)
		}
		seen[key] = true
		c.needs(place, "source", one.Source)
	}
}

func (c *checker) remarks(all []remark) {
	for i, r := range all {
		place := fmt.Sprintf("[[remark]] number %d", i+1)
		switch {
		case !r.Matches.given():
			c.bad(place, "matches is missing")
		case r.Part != "" && !slices.Contains([]string{"control_lot", "control_name", "control_level"}, r.Part):
			c.bad(place, "part %q is none of control_lot, control_name, control_level", r.Part)
		case r.Part != "" && r.Matches.entire.NumSubexp() != 1:
			c.bad(place, "matches needs one group, the %s", r.Part)
		case r.Part != "" && r.Means != "":
			c.bad(place, "has both part and means")
		}
		c.needs(place, "source", r.Source)
	}
}

func (c *checker) variants(all []variant) {
	for i, v := range all {
		place := fmt.Sprintf("[[variant]] number %d", i+1)
		c.needs(place, "is", v.Is)
		c.needs(place, "suffix", v.Suffix)
		c.needs(place, "source", v.Source)
		if len(v.Path) == 0 {
			c.bad(place, "path is missing")
		}
		c.paths(place+".path", v.Path)
	}
}

func (c *checker) forms(all []form) {
	for i, f := range all {
		place := fmt.Sprintf("[[value]] number %d", i+1)
		c.needs(place, "source", f.Source)
		if !f.Matches.given() {
			c.bad(place, "matches is missing")
			continue
		}
		groups := 0
		for _, name := range f.Matches.entire.SubexpNames()[1:] {
			if !slices.Contains([]string{"comparator", "quantity", "qualitative"}, name) {
				c.bad(place, "group %q is none of comparator, quantity, qualitative", name)
			}
			groups++
		}
		if groups == 0 {
			c.bad(place, "has no group")
		}
	}
}

func (c *checker) meanings(table string, all []meaning, meansNeeded bool) {
	seen := make(map[string]bool)
	for i, m := range all {
		place := fmt.Sprintf("[[%s]] number %d", table, i+1)
		c.needs(place, "is", m.Is)
		if meansNeeded {
			c.needs(place, "means", m.Means)
		} else if m.Means == "" && m.Comment == "" {
			c.bad(place, "needs means or comment")
		}
		if seen[m.Is] {
			c.bad(place, "%q stands here twice", m.Is)
		}
		seen[m.Is] = true
		c.needs(place, "source", m.Source)
	}
}

func (c *checker) tests(f *file) {
	seen := make(map[string]int)
	for i, t := range f.Tests {
		place := fmt.Sprintf("[[tests]] number %d (code %q)", i+1, t.Code)
		c.needs(place, "code", t.Code)
		if first, again := seen[t.Code]; again {
			c.bad(place, "duplicate code, first in number %d", first)
		} else {
			seen[t.Code] = i + 1
		}
		c.needs(place, "source", t.Source+f.TestsSource)
		if t.LOINC != "" && !loincForm.MatchString(t.LOINC) {
			c.bad(place, "%q is not a LOINC code", t.LOINC)
		}
		for _, all := range [][]codes{f.Ignore, f.Comment} {
			for _, one := range all {
				if one.Code.given() && !one.Value.given() && len(one.Path) == 0 && one.Code.whole(t.Code) {
					c.bad(place, "is a test and matched by %q as no result", one.Code)
				}
			}
		}
	}
}

// IDs lists the identifiers of profiles in order.
func IDs(all map[string]*Profile) []string {
	ids := make([]string, 0, len(all))
	for id := range all {
		ids = append(ids, id)
	}
	sort.Strings(ids)
	return ids
}
