// Package files opens the files of this host that may be looked at, and refuses all
// others.
//
// A path is first resolved, beneath a root where there are roots, without
// following a link in its last name and without /proc's magic links. Then the
// decision is made on the file that is open: where the kernel says that it is,
// which file it is (device and inode), and where it is in its own file system,
// which a bind mount doesn't change. So a denied file stays denied through
// links, "..", /proc/*/root, hard links and bind mounts.
//
// Hidden, whatever the configuration: password files (shadow); keys and credentials by
// the names and folders they usually have, and by what their first 64 KiB look like;
// what /proc tells of a process's environment and memory; and the runner's own files.
package files

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Files opens files for reading. Any number of goroutines may use it at once.
type Files struct {
	cfg          Config
	roots        []string
	deny         []pattern
	own          []string
	hideCommands bool
	resolve      resolver
}

// ErrNotRegular is the cause when OpenFile finds something that is neither a
// regular file nor a link nor a directory.
var ErrNotRegular = errors.New("not a regular file")

// homes are where systems keep the homes of people, and root's.
var homes = []string{"/home", "/root", "/Users", "/var/root", "/var/home", "/export/home"}

// Config of Files. The zero value allows everything but secrets.
type Config struct {
	// Roots that everything opened must be beneath, absolute. Empty: everywhere.
	Roots []string
	// Deny has patterns that CheckPattern accepts.
	Deny []string
	// Own are the runner's own folders and credentials, absolute.
	Own []string
	// NoHomes refuses the homes of people, where there are no Roots.
	NoHomes bool
	// HideCommandLines makes /proc/*/cmdline unreadable.
	HideCommandLines bool
}

// New returns Files with this configuration.
func New(cfg Config) *Files {
	f := &Files{cfg: cfg, own: slices.Clone(cfg.Own), hideCommands: cfg.HideCommandLines, resolve: newResolver()}
	for _, root := range cfg.Roots {
		f.roots = append(f.roots, filepath.Clean(root))
	}
	// The innermost root first: what it allows needs no other.
	slices.SortFunc(f.roots, func(a, b string) int { return len(b) - len(a) })
	for _, d := range cfg.Deny {
		f.deny = append(f.deny, newPattern(d))
	}
	return f
}

// Config gives what New was given.
func (f *Files) Config() Config { return f.cfg }

// Refusal is the answer to what the configuration doesn't allow: a 403.
type Refusal struct {
	// Rule is the key of the rule in the configuration, such as "files.deny".
	Rule string
	// Reason says what of the request it refuses.
	Reason string
}

func (r *Refusal) Error() string {
	return fmt.Sprintf("refused by the policy rule %s: %s", r.Rule, r.Reason)
}

// Code of a refusal on the wire.
func (r *Refusal) Code() int { return 403 }

// OpenDir opens a directory. What is none, by lstat, is syscall.ENOTDIR.
func (f *Files) OpenDir(path string) (*os.File, error) { return f.open(path, true) }

// OpenFile opens a regular file so that reading it never blocks. A link is
// syscall.ELOOP, a directory syscall.EISDIR, a fifo or a device ErrNotRegular:
// those are not even opened, because that alone may do something.
func (f *Files) OpenFile(path string) (*os.File, error) { return f.open(path, false) }

func (f *Files) open(path string, isDir bool) (*os.File, error) {
	if !filepath.IsAbs(path) || strings.ContainsRune(path, 0) {
		return nil, &fs.PathError{Op: "open", Path: path, Err: errors.New("not an absolute path")}
	}
	file, err := f.openUnderRoots(path, isDir)
	if errors.Is(err, fs.ErrPermission) {
		return nil, cmp.Or(f.checkUnreadable(path), err)
	}
	if err != nil {
		return nil, err
	}
	at, err := locate(file, path)
	if err != nil {
		err = &Refusal{"files.deny", fmt.Sprintf("cannot tell where %s is: %s", path, err)}
	} else {
		err = f.check(at, path)
	}
	if err == nil && !isDir && at.info.Size() > 0 {
		err = checkShape(file, path, at.info.Size())
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// checkUnreadable: what the host didn't let the runner open is safe; but it is
// the policy's no where there is one, whatever account the runner has.
func (f *Files) checkUnreadable(path string) error {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil
	}
	info, err := os.Lstat(real)
	if err != nil {
		return nil
	}
	return f.check(unopened(real, info), path)
}

func (f *Files) openUnderRoots(path string, isDir bool) (*os.File, error) {
	if len(f.roots) == 0 {
		return f.resolve.open("/", path, isDir)
	}
	refused := &Refusal{"files.roots", fmt.Sprintf("%s is not under %s", path, strings.Join(f.roots, ", "))}
	var err error = refused
	for _, root := range f.roots {
		rel, ok := beneath(root, path)
		if !ok {
			continue
		}
		var file *os.File
		if file, err = f.resolve.open(root, rel, isDir); err == nil {
			return file, nil
		}
		if !isEscape(err) {
			return nil, err
		}
		err = &Refusal{"files.roots", path + " leads out of " + root}
	}
	return nil, err
}

// beneath gives a path's part below a root, by spelling: as it is, so that
// "link/.." means what it means to the kernel, or cleaned where only that shows
// that it is below.
func beneath(root, path string) (rel string, ok bool) {
	for _, p := range []string{path, filepath.Clean(path)} {
		if p == root {
			return ".", true
		}
		below := strings.TrimSuffix(root, string(filepath.Separator)) + string(filepath.Separator)
		if rest, ok := strings.CutPrefix(p, below); ok {
			if rest = strings.TrimLeft(rest, string(filepath.Separator)); rest == "" {
				rest = "."
			}
			return rest, true
		}
	}
	return "", false
}

// check decides on the open file.
func (f *Files) check(at *location, path string) error {
	for _, name := range at.names() {
		if what := at.secret(name, f.hideCommands); what != "" {
			return &Refusal{"files.deny", fmt.Sprintf("%s is %s", path, what)}
		}
	}
	for _, p := range f.deny {
		if p.matches(at) || p.isLiteral() && at.isIn(p.text) {
			return &Refusal{"files.deny", fmt.Sprintf("%s is denied by %q", path, p.text)}
		}
	}
	if f.cfg.NoHomes && len(f.roots) == 0 {
		for _, home := range homes {
			if at.isIn(home) {
				return &Refusal{"files.roots", fmt.Sprintf("%s is in a home, and this runner is root's; name the directories that may be seen in policy.files.roots, [/] for all", path)}
			}
		}
	}
	for _, own := range f.own {
		if at.isIn(own) {
			return &Refusal{"files.deny", path + " belongs to the runner itself"}
		}
	}
	for _, s := range passwordFiles {
		if at.isIn(s) {
			return &Refusal{"files.deny", path + " is a password file"}
		}
	}
	return nil
}

// isIn says whether the open file is the one at path or lies below it.
func (at *location) isIn(path string) bool {
	if within(at.real, path) {
		return true
	}
	if at.isElsewhere(path) {
		return false
	}
	info, err := os.Stat(path)
	if err != nil {
		return false // nothing is there now, so nothing of it can be open
	}
	if os.SameFile(info, at.info) {
		return true
	}
	if real, err := filepath.EvalSymlinks(path); err == nil && within(at.real, real) {
		return true
	}
	return info.IsDir() && at.isInOtherMount(path)
}

// within compares names by whole components.
func within(name, folder string) bool {
	folder = strings.TrimSuffix(filepath.Clean(folder), string(filepath.Separator))
	rest, ok := strings.CutPrefix(name, folder)
	return ok && (rest == "" || rest[0] == filepath.Separator)
}

// isEscape: the kernel's and os.Root's words for a path that leads out.
func isEscape(err error) bool {
	return errors.Is(err, syscall.EXDEV) || strings.Contains(err.Error(), "path escapes from parent")
}
