package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"nhip/drivers/capture"
	"nhip/drivers/profile"
	"nhip/drivers/profile/profiletest"
	"nhip/drivers/profiles"
)

type profileCommand struct {
	List profileList `cmd:"" help:"List the profiles that are built in, and those of a folder."`
	New  profileNew  `cmd:"" help:"Make a first draft of a profile of recordings, with the codes and units that were seen."`
	Test profileTest `cmd:"" help:"Run the generic tests over profiles. Exit status 0: all pass, 1: one does not."`
}

// Sentences, in English and Vietnamese.
var (
	profileHead  = [2]string{"ID\tANALYSER\tPROTOCOL\tTRANSPORT\tORDERS\tEVIDENCE\tCODES\n", "MÃ\tMÁY\tGIAO THỨC\tĐƯỜNG NỐI\tCHỈ ĐỊNH\tCĂN CỨ\tMÃ XN\n"}
	profileGreen = [2]string{"%d profiles, %d transcripts, %d test codes: all green\n", "%d hồ sơ, %d bản ghi mẫu, %d mã xét nghiệm: đều đạt\n"}
	profileRed   = [2]string{"%d profiles, %d transcripts, %d test codes: %d findings\n", "%d hồ sơ, %d bản ghi mẫu, %d mã xét nghiệm: %d lỗi\n"}
	expectedNew  = [2]string{"the expected files were written: read them like a result, value by value\n", "đã ghi các tệp expected: hãy đọc kỹ từng giá trị như đọc một kết quả\n"}
	draftMade    = [2]string{"%s: a draft with %d codes and %d transcripts. Next:\n  1. read %s and NOTES.md against the maker's manual\n  2. nhip profile test --update %s, and read expected/ value by value\n  3. nhip profile test %s\n",
		"%s: bản nháp có %d mã và %d bản ghi mẫu. Việc tiếp theo:\n  1. đối chiếu %s và NOTES.md với tài liệu của hãng\n  2. nhip profile test --update %s, rồi đọc kỹ từng giá trị trong expected/\n  3. nhip profile test %s\n"}
)

type profileList struct {
	Folder string `help:"A folder of the site's profiles too ([site] profiles)." type:"existingdir" placeholder:"DIR"`
	Lang   string `help:"Language: en or vi; else that of the environment." enum:",en,vi" default:""`
}

func (c *profileList) Run() (int, error) {
	all, err := profile.Folder(c.Folder)
	w := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
	fmt.Fprint(w, profileHead[language(c.Lang)])
	for _, id := range profile.IDs(all) {
		p := all[id]
		codes := fmt.Sprint(len(p.Codes()))
		if p.SiteCodes() {
			codes = "site"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", id, p.Name(), p.Protocol(), strings.Join(p.Transport(), " "), p.TwoWay(), p.Evidence(), codes)
	}
	if err = errors.Join(w.Flush(), err); err != nil {
		return exitBad, err
	}
	return exitGood, nil
}

type profileTest struct {
	Folders []string `arg:"" optional:"" name:"dir" help:"Folders of profiles, or folders with such folders in them; without one, those that are built in." type:"existingdir"`
	Update  bool     `help:"Write expected/ anew, to be read by a person."`
	Lang    string   `help:"Language: en or vi; else that of the environment." enum:",en,vi" default:""`
}

func (c *profileTest) Run() (int, error) {
	lang := language(c.Lang)
	var total tally
	if len(c.Folders) == 0 {
		if c.Update {
			return exitUnreadable, errors.New("--update needs a folder: what is built in cannot be written")
		}
		dirs, err := fs.ReadDir(profiles.Files, ".")
		if err != nil {
			return exitUnreadable, err
		}
		for _, d := range dirs {
			total.check(profiles.Files, d.Name(), profiletest.Options{})
		}
	}
	for _, folder := range c.Folders {
		dirs, err := profileDirs(folder)
		if err != nil {
			return exitUnreadable, err
		}
		for _, dir := range dirs {
			fsys, o := os.DirFS(filepath.Dir(dir)), profiletest.Options{}
			if c.Update {
				o.Update = func(name string, content []byte) error {
					file := filepath.Join(filepath.Dir(dir), filepath.FromSlash(name))
					if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
						return err
					}
					return os.WriteFile(file, content, 0o644)
				}
			}
			total.check(fsys, filepath.Base(dir), o)
		}
	}
	if c.Update {
		fmt.Fprint(os.Stderr, expectedNew[lang])
	}
	if total.findings > 0 {
		fmt.Printf(profileRed[lang], total.models, total.transcripts, total.codes, total.findings)
		return exitBad, nil
	}
	fmt.Printf(profileGreen[lang], total.models, total.transcripts, total.codes)
	return exitGood, nil
}

type tally struct{ models, transcripts, codes, findings int }

func (t *tally) check(fsys fs.FS, dir string, o profiletest.Options) {
	t.models++
	for _, f := range profiletest.Check(fsys, dir, o) {
		t.findings++
		fmt.Printf("%s: %v\n", dir, f)
	}
	if names, err := fs.Glob(fsys, dir+"/transcripts/*.txt"); err == nil {
		t.transcripts += len(names)
	}
	if p, err := profile.Load(fsys, dir); err == nil {
		t.codes += len(p.Codes())
	}
}

// profileDirs are the folders of profiles that a folder is, or has in it.
func profileDirs(folder string) ([]string, error) {
	folder, err := filepath.Abs(folder)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(folder, profile.FileName)); err == nil {
		return []string{folder}, nil
	}
	found, err := filepath.Glob(filepath.Join(folder, "*", profile.FileName))
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("%s: neither a profile nor a folder with profiles in it (%s)", folder, profile.FileName)
	}
	for i := range found {
		found[i] = filepath.Dir(found[i])
	}
	slices.Sort(found)
	return found, err
}

type profileNew struct {
	ID       string   `arg:"" help:"The ID of the new profile: lower-case letters, digits, hyphens."`
	Captures []string `arg:"" name:"capture" help:"Recordings of results, in any form that nhip decode reads. Scrub them first." type:"existingfile"`
	Name     string   `help:"What people call the analyser." placeholder:"NAME"`
	To       string   `help:"The folder in which the profile's own folder is made." default:"." type:"path" placeholder:"DIR"`
	TimeZone string   `help:"Zone of the analyser's clock." default:"Asia/Ho_Chi_Minh" placeholder:"ZONE"`
	Lang     string   `help:"Language: en or vi; else that of the environment." enum:",en,vi" default:""`
}

func (c *profileNew) Run() (int, error) {
	zone, err := time.LoadLocation(c.TimeZone)
	if err != nil {
		return exitUnreadable, err
	}
	var outputs []capture.Output
	var names []string
	transcripts := map[string][]byte{}
	for _, name := range c.Captures {
		b, err := readCapture(name)
		if err != nil {
			return exitUnreadable, err
		}
		out, err := capture.Decode(b, "auto", nil, zone)
		if err != nil {
			return exitUnreadable, fmt.Errorf("%s: %w", name, err)
		}
		for _, p := range out.Problems {
			fmt.Fprintf(os.Stderr, "%s: %d: %s\n", name, p.Offset, p.What)
		}
		outputs, names = append(outputs, out), append(names, filepath.Base(name))
		said := slices.DeleteFunc(slices.Clone(out.Messages), func(m capture.Message) bool { return m.From == "host" })
		if text, n := capture.Session(out.Protocol, said); n > 0 {
			transcripts[fmt.Sprintf("capture-%d.txt", len(names))] = fmt.Appendf(nil, "# Made of %s by nhip profile new.\n%s", filepath.Base(name), text)
		}
	}
	d, err := capture.NewDraft(c.ID, c.Name, names, outputs)
	if err != nil {
		return exitUnreadable, err
	}
	dir := filepath.Join(c.To, c.ID)
	if err := os.MkdirAll(c.To, 0o755); err != nil {
		return exitUnreadable, err
	}
	if err := os.Mkdir(dir, 0o755); err != nil { // never over a profile that is there
		return exitUnreadable, err
	}
	files := map[string][]byte{profile.FileName: []byte(d.Profile), "NOTES.md": []byte(d.Notes)}
	for name, text := range transcripts {
		files[filepath.Join("transcripts", name)] = text
	}
	for name, text := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return exitUnreadable, err
		}
		if err := os.WriteFile(file, text, 0o644); err != nil {
			return exitUnreadable, err
		}
	}
	fmt.Printf(draftMade[language(c.Lang)], dir, len(d.Codes), len(transcripts), profile.FileName, dir, dir)
	return exitGood, nil
}
