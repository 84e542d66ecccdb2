//go:build unix

package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// defaultPath is what execvp searches when the environment has no PATH.
const defaultPath = "/bin:/usr/bin"

// lookProgram finds the file to execute as the task would: in the task's own PATH, whose relative entries, like a relative program, count from dir. What the task's account
// may not execute is passed over, as execvp does: root's PATH may begin in root's home.
func lookProgram(name, dir string, env []string, who account) (string, error) {
	op := fmt.Sprintf("find program %q", name)
	if name == "" {
		return "", startErrorf("find program", "its name is empty")
	}
	if strings.Contains(name, "/") {
		full := within(dir, name)
		if err := executable(full); err != nil {
			return "", startErrorf(op, "%w", err)
		}
		return full, nil
	}
	path, ok := lookupEnv(env, "PATH")
	if !ok {
		path = defaultPath
	}
	var denied error
	for _, entry := range filepath.SplitList(path) {
		full := filepath.Join(within(dir, entry), name)
		err := executable(full)
		if err == nil && !mayExecute(full, who) {
			err = plainError{"permission denied for user " + who.name, fs.ErrPermission}
		}
		if err == nil {
			return full, nil
		}
		if denied == nil && errors.Is(err, fs.ErrPermission) {
			denied = fmt.Errorf("%s: %w", full, err)
		}
	}
	if denied != nil {
		return "", startErrorf(op, "%w", denied)
	}
	return "", startErrorf(op, "%w in $PATH", errNoProgram)
}

// mayExecute says whether an account may execute a file, as its mode has it. It costs a few looks where all may.
func mayExecute(path string, who account) bool {
	if who.cred == nil {
		return true
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return false
	}
	const owner, group, other = 0o100, 0o010, 0o001
	class := other
	switch {
	case int(st.Uid) == who.uid:
		class = owner
	case int(st.Gid) == who.gid || slices.Contains(who.groups, st.Gid):
		class = group
	}
	if int(st.Mode)&class == 0 {
		return false
	}
	for parent := filepath.Dir(path); ; parent = filepath.Dir(parent) {
		if err := unix.Stat(parent, &st); err != nil || int(st.Mode)&other == 0 {
			return mayEnter(filepath.Dir(path), who)
		}
		if parent == filepath.Dir(parent) {
			return true
		}
	}
}

// executable says in plain words why the file at path can't be a program. What the account may do is the kernel's to say, at exec.
func executable(path string) error {
	var st unix.Stat_t
	err := unix.Stat(path, &st) // os.Stat makes six objects for each directory of a PATH that has not the program
	switch {
	case err == unix.ENOENT:
		return errNoProgram
	case err != nil:
		return err
	case st.Mode&unix.S_IFMT == unix.S_IFDIR:
		return errors.New("it is a directory")
	case st.Mode&0o111 == 0:
		return errNotExecutable
	}
	return nil
}

var (
	errNoProgram     = plainError{"no such program", fs.ErrNotExist}
	errNotExecutable = plainError{"permission denied: it has no execute bit", fs.ErrPermission}
)

// plainError has its own words and is still found by errors.Is.
type plainError struct {
	words string
	is    error
}

func (e plainError) Error() string { return e.words }
func (e plainError) Unwrap() error { return e.is }

// within is path as seen from dir. An empty dir is this process's own.
func within(dir, path string) string {
	if path == "" {
		path = "."
	}
	if filepath.IsAbs(path) || dir == "" {
		if abs, err := filepath.Abs(path); err == nil {
			return abs
		}
		return path
	}
	return filepath.Join(dir, path)
}

func lookupEnv(env []string, name string) (value string, ok bool) {
	for i := len(env) - 1; i >= 0; i-- {
		if key, value, ok := strings.Cut(env[i], "="); ok && key == name {
			return value, true
		}
	}
	return "", false
}

// mergeEnv joins lists of NAME=value; of two with one name the last stays, in its place.
func mergeEnv(lists ...[]string) []string {
	total := 0
	for _, list := range lists {
		total += len(list)
	}
	last := make(map[string]int, total)
	n := 0
	for _, list := range lists {
		for _, entry := range list {
			name, _, _ := strings.Cut(entry, "=")
			last[name] = n
			n++
		}
	}
	merged := make([]string, 0, len(last)+1)
	n = 0
	for _, list := range lists {
		for _, entry := range list {
			name, _, _ := strings.Cut(entry, "=")
			if last[name] == n {
				merged = append(merged, entry)
			}
			n++
		}
	}
	return merged
}
