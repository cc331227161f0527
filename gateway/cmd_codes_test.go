package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nhip/storage"
)

// From a first table to undo by the command line, of a gateway that does not run.
func TestCodesByTheCommandLine(t *testing.T) {
	config, data := configuration(t, anywhere+"[[analyser]]\nname = \"xn-1\"\nprofile = \"sysmex-xn-l\"\nport = \"tcp-listen://127.0.0.1:0\"\n")
	s, err := storage.Open(t.Context(), storage.Options{Dir: data})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "xn-1.csv")
	run := func(good bool, want string, args ...string) {
		t.Helper()
		out, err := nhip(append(append([]string{"codes"}, args...), "--config", config)...).CombinedOutput()
		if (err == nil) != good || !strings.Contains(string(out), want) {
			t.Errorf("%v: %v, no %q in\n%s", args, err, want, out)
		}
	}
	run(true, "xn-1: no code table", "list", "--lang", "en")
	run(true, file+" is written", "new", "xn-1", file, "--lang", "en")
	run(false, "file exists", "new", "xn-1", file)
	run(true, "mã máy;đơn vị máy;mã lis", "new", "xn-1", "--lang", "vi")
	b, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(b), "\nWBC;*;;") {
		t.Fatalf("%v\n%s", err, b)
	}
	changed := strings.Replace(string(b), "\nWBC;*;;", "\nWBX;*;HC01;", 1)
	if err := os.WriteFile(file, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	run(true, "the profile sysmex-xn-l does not know the code WBX", "check", "xn-1", file, "--lang", "en")
	run(true, "chưa có dòng cho các mã mà hồ sơ sysmex-xn-l khai báo: WBC", "check", "xn-1", file, "--lang", "vi")
	run(false, "there is no [[analyser]]", "check", "nobody", file)
	run(true, "0 messages of xn-1", "try", "xn-1", file, "--lang", "en")
	run(true, "xn-1: version 1, đầu, is live", "apply", "xn-1", file, "--as", "đầu", "--by", "Hoa", "--lang", "en")
	run(true, "* 1  đầu", "versions", "xn-1")
	run(true, "\nWBX;*;HC01;", "show", "xn-1")
	run(true, "xn-1: không có bảng mã", "undo", "xn-1", "--by", "Hoa", "--lang", "vi")
	if err := os.WriteFile(file, []byte("code;unit\n;x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run(false, "xn-1.csv:2: code is empty", "apply", "xn-1", file, "--as", "x", "--lang", "en")
}
