package profile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Folder loads the profiles of a site: every subfolder of dir that holds a
// profile.toml, and beside them those that are built in. A profile of the site may
// not have the ID of one that is built in: what a name means is the same in every
// hospital. The error joins one for each profile that cannot be loaded; what is
// returned with it holds the others.
func Folder(dir string) (map[string]*Profile, error) {
	all, err := Builtin()
	if err != nil || dir == "" {
		return all, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return all, fmt.Errorf("profile: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return all, fmt.Errorf("profile: %w", err)
	}
	defer root.Close()
	var errs []error
	for _, e := range entries {
		if !e.IsDir() || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		if _, err := root.Stat(filepath.Join(e.Name(), FileName)); errors.Is(err, os.ErrNotExist) {
			continue
		}
		p, err := Load(root.FS(), e.Name())
		switch {
		case err != nil:
			errs = append(errs, err)
		case all[p.ID()] != nil:
			errs = append(errs, &LoadError{File: e.Name() + "/" + FileName, Place: "id", What: fmt.Sprintf("a profile %q is built in: choose another id, and name the folder like it", p.ID())})
		default:
			all[p.ID()] = p
		}
	}
	return all, errors.Join(errs...)
}
