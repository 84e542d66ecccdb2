package source

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/runnel-io/runnel/service/pipeline/definition"
)

// DefaultPattern finds every pipelines.yml below a directory.
const DefaultPattern = "**/pipelines.{yml,yaml}"

// Definitions are the pipelines of a directory.
type Definitions struct {
	// Pipelines by name.
	Pipelines map[string]*definition.Pipeline
	// Source is the path of the file that has a pipeline, by name.
	Source map[string]string
	// Files that were read, sorted.
	Files []string

	texts  map[string][]byte // of the files, as they were read
	newest time.Time         // change of a file, when they had been read
}

// unsettled says whether a file was changed just before a moment, or since: it may
// be half written. A time of the future says nothing.
func (d *Definitions) unsettled(at time.Time) bool {
	return !at.IsZero() && d.newest.After(at.Add(-settle)) && d.newest.Before(time.Now().Add(settle))
}

// skipped are directories that hold other people's files by the thousand.
func skipped(dir string) bool { return dir == "node_modules" || dir == ".git" }

// Load reads every file below dir that matches pattern, in which ** stands for
// any number of directories and {a,b} for either. The errors of all files are
// joined; each is an *Error. A name that stands in two files is an error that
// names both.
func Load(dir, pattern string) (*Definitions, error) {
	if pattern == "" {
		pattern = DefaultPattern
	}
	patterns, err := expand(filepath.ToSlash(pattern))
	if err != nil {
		return nil, fmt.Errorf("cannot use pattern %q: %w", pattern, err)
	}
	defs := &Definitions{Pipelines: map[string]*definition.Pipeline{}, Source: map[string]string{}}
	if err := defs.find(dir, patterns); err != nil {
		return nil, err
	}
	var all []error
	for _, file := range defs.Files {
		// Whoever writes to the directory may have put a pipe there, which would never end.
		if info, err := os.Stat(file); err == nil && !info.Mode().IsRegular() {
			all = append(all, fmt.Errorf("cannot read pipelines: %s is no file", file))
			continue
		}
		all = append(all, defs.add(file))
	}
	return defs, errors.Join(all...)
}

func (d *Definitions) find(dir string, patterns []string) error {
	err := filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			if name == dir {
				return fmt.Errorf("cannot look for pipelines: %w", err)
			}
			return nil // a directory that may not be read has none for us
		}
		if entry.IsDir() {
			if name != dir && skipped(entry.Name()) {
				return filepath.SkipDir
			}
			return nil
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return nil
		}
		if matchesAny(patterns, rel) {
			d.Files = append(d.Files, name)
		}
		return nil
	})
	slices.Sort(d.Files)
	return err
}

func (d *Definitions) add(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("cannot read pipelines: %w", err)
	}
	if d.texts == nil {
		d.texts = map[string][]byte{}
	}
	d.texts[file] = text
	if info, err := os.Stat(file); err == nil && info.ModTime().After(d.newest) {
		d.newest = info.ModTime()
	}
	pipelines, err := definition.Parse(file, text)
	if err != nil {
		return err
	}
	var all []error
	for _, name := range slices.Sorted(maps.Keys(pipelines)) {
		if other, twice := d.Source[name]; twice {
			all = append(all, &definition.Error{Path: file, Text: fmt.Sprintf("pipeline %q is in %s as well", name, other)})
			continue
		}
		d.Pipelines[name], d.Source[name] = pipelines[name], file
	}
	return errors.Join(all...)
}

// matchesAny says whether a path below the directory is one of a pattern's.
func matchesAny(patterns []string, rel string) bool {
	parts := strings.Split(filepath.ToSlash(rel), "/")
	return slices.ContainsFunc(patterns, func(p string) bool { return matches(strings.Split(p, "/"), parts) })
}

// matches compares a path with a pattern, part by part.
func matches(pattern, name []string) bool {
	switch {
	case len(pattern) == 0:
		return len(name) == 0
	case pattern[0] == "**":
		return matches(pattern[1:], name) || len(name) > 0 && matches(pattern, name[1:])
	case len(name) == 0:
		return false
	}
	ok, err := path.Match(pattern[0], name[0])
	return err == nil && ok && matches(pattern[1:], name[1:])
}

// expand writes out the alternatives of a pattern: a.{b,c} is a.b and a.c.
func expand(pattern string) ([]string, error) {
	open := strings.IndexByte(pattern, '{')
	if open < 0 {
		if _, err := path.Match(strings.ReplaceAll(pattern, "**", "*"), ""); err != nil {
			return nil, err
		}
		return []string{pattern}, nil
	}
	end := strings.IndexByte(pattern[open:], '}')
	if end < 0 {
		return nil, errors.New("a { is not closed")
	}
	end += open
	var all []string
	for _, choice := range strings.Split(pattern[open+1:end], ",") {
		rest, err := expand(pattern[:open] + choice + pattern[end+1:])
		if err != nil {
			return nil, err
		}
		all = append(all, rest...)
		if len(all) > 100 {
			return nil, errors.New("it has more than 100 alternatives")
		}
	}
	return all, nil
}

// LoadPath is Load for a directory, or for one file whatever its name.
func LoadPath(path, pattern string) (*Definitions, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read pipelines: %w", err)
	}
	if info.IsDir() {
		return Load(path, pattern)
	}
	defs := &Definitions{Pipelines: map[string]*definition.Pipeline{}, Source: map[string]string{}, Files: []string{path}}
	return defs, defs.add(path)
}
