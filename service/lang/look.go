package lang

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Toolchain is one version of a language on this host.
type Toolchain struct {
	*Row
	// Version as it says itself.
	Version string
	// Path is what the row's {program} stands for.
	Path string
	// Show lists the folders that a strict run must see; the first is {home}.
	Show []string

	own   []string // where the program itself is
	table *Table
}

// Bounds of a look: a probe that hangs must not hold up what waits for it.
const (
	probeTimeout = time.Minute // at low priority, on a busy machine
	maxVersions  = 16
	searchTime   = time.Minute // for all programs of a language
	endTime      = time.Second
)

var versionPattern = regexp.MustCompile(`\d+(\.\d+)*`)

// search is one look for a row's versions. It may hang, with a mount that the PATH
// leads to.
type search struct {
	began time.Time
	done  chan struct{}

	// Once it is done.
	found   []*Toolchain
	isWhole bool // else whoever began it has gone
}

// look finds a row's versions. What was found once stays; what was not is
// looked for again when it is asked for, which costs a few stats. A search that
// hangs is one for all, and an error for who asks meanwhile.
func (t *Table) look(ctx context.Context, r *tableRow, idly bool) ([]*Toolchain, error) {
	for {
		r.mu.Lock()
		if r.found != nil {
			defer r.mu.Unlock()
			return r.found, nil
		}
		s := r.now
		if s == nil {
			s = &search{began: time.Now(), done: make(chan struct{})}
			r.now = s
			go t.search(ctx, r, s, idly)
		}
		r.mu.Unlock()
		switch err := s.await(ctx); {
		case err != nil:
			return nil, fmt.Errorf("language %s: %w", r.Name, err)
		case s.isWhole || ctx.Err() != nil:
			return s.found, nil
		}
	}
}

// await waits for the end of a search, but not for longer than one should take.
func (s *search) await(ctx context.Context) error {
	late := time.NewTimer(time.Until(s.began.Add(searchTime)))
	defer late.Stop()
	select {
	case <-s.done:
		return nil
	case <-late.C:
		return fmt.Errorf("the look for its programs in the PATH takes longer than %s; is a file system away?", searchTime)
	case <-ctx.Done():
	}
	last := time.NewTimer(endTime) // what it has started is being killed
	defer last.Stop()
	select {
	case <-s.done:
		return nil
	case <-last.C:
		return context.Cause(ctx)
	}
}

func (t *Table) search(ctx context.Context, r *tableRow, s *search, idly bool) {
	for _, path := range t.programs(r.Programs) {
		tool := t.probe(ctx, &r.Row, path, idly)
		if tool == nil || slices.ContainsFunc(s.found, func(f *Toolchain) bool { return f.Version == tool.Version }) {
			continue
		}
		s.found = append(s.found, tool)
		if len(s.found) == maxVersions {
			break
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now = nil
	if s.isWhole = ctx.Err() == nil; s.isWhole { // else it was not the host that has said no
		r.found = s.found
	}
	close(s.done)
}

// programs are the files in the PATH that patterns match, by pattern and then
// by place in the PATH.
func (t *Table) programs(patterns []string) (paths []string) {
	add := func(path string) {
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 && !slices.Contains(paths, path) {
			paths = append(paths, path)
		}
	}
	for _, pattern := range patterns {
		if filepath.IsAbs(pattern) {
			matches, _ := filepath.Glob(pattern) // the pattern has been checked
			for _, path := range matches {
				add(path)
			}
			continue
		}
		for _, dir := range filepath.SplitList(t.path()) {
			if !filepath.IsAbs(dir) {
				continue // what is found must not depend on where the runner was started
			}
			matches, _ := filepath.Glob(filepath.Join(dir, pattern))
			for _, path := range matches {
				add(path)
			}
		}
	}
	return paths
}

func (t *Table) path() string {
	path := "/usr/local/bin:/usr/bin:/bin"
	for _, entry := range t.environ {
		if value, ok := strings.CutPrefix(entry, "PATH="); ok {
			path = value
		}
	}
	return path
}

const defaultProbe = `"$1" --version`

// probe asks a program what it is; nil if that is nothing of use.
func (t *Table) probe(ctx context.Context, row *Row, path string, idly bool) *Toolchain {
	text := cmp.Or(row.Probe, defaultProbe)
	out, known := t.memory.recall(path, text)
	if !known {
		var err error
		if out, err = t.ask(ctx, text, path, idly); err != nil {
			return nil
		}
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	tool := &Toolchain{Row: row, Version: versionPattern.FindString(lines[0]), Path: path, table: t}
	if tool.Version == "" {
		return nil
	}
	defer tool.findOwn()
	defer func() {
		if !known {
			t.memory.keep(path, text, out, tool.Path)
		}
	}()
	if row.Probe == "" {
		return tool
	}
	if len(lines) > 1 && filepath.IsAbs(lines[1]) {
		tool.Path = lines[1]
	}
	for _, dir := range lines[min(2, len(lines)):] {
		if filepath.IsAbs(dir) && !isBroad(dir) {
			tool.Show = append(tool.Show, filepath.Clean(dir))
		}
	}
	return tool
}

// ask runs a probe; idly: whenever nobody else needs the processor.
func (t *Table) ask(ctx context.Context, text, path string, idly bool) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	argv := []string{"/bin/sh", "-c", text, "sh", path}
	if nice, err := exec.LookPath("nice"); err == nil && idly {
		argv = append([]string{nice, "-n", "19"}, argv...)
	}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env, cmd.Dir, cmd.WaitDelay = t.environ, "/", time.Second
	out, err := cmd.Output()
	return string(out), err
}

// findOwn finds what of the host a run must see to execute the program, should
// it be in a place that is hidden: its folder, and that of the file a link leads to.
func (t *Toolchain) findOwn() {
	paths := []string{t.Path}
	if real, err := filepath.EvalSymlinks(t.Path); err == nil && real != t.Path {
		paths = append(paths, real)
	}
	for _, path := range paths {
		dir := filepath.Dir(path)
		if isBroad(dir) || slices.Contains([]string{"/tmp", "/var/tmp", "/dev/shm"}, dir) {
			dir = path
		}
		if !slices.Contains(t.own, dir) {
			t.own = append(t.own, dir)
		}
	}
}

// isBroad: a folder that would show more than a toolchain.
func isBroad(dir string) bool {
	home, err := os.UserHomeDir()
	return slices.Contains([]string{"/", "/home", "/root"}, filepath.Clean(dir)) || err == nil && filepath.Clean(dir) == filepath.Clean(home)
}

// String is the toolchain for people.
func (t *Toolchain) String() string { return fmt.Sprintf("%s %s", t.Name, t.Version) }
