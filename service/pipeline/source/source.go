package source

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/runnel-io/runnel/service/client"
)

// Files is a directory with pipelines.yml files whose definitions are put in
// the fleet and kept as the files are.
type Files struct {
	// Dir that is looked through. Required.
	Dir string
	// Pattern of the files. Default: DefaultPattern.
	Pattern string
	// EnvFiles hold environment for all tasks, the later ones above the earlier.
	// One that does not exist is passed over.
	EnvFiles []string
	// Host that the definitions show as theirs. Default: the host's name.
	Host string
	// Logger gets a line for each reload. Default: none.
	Logger *slog.Logger
}

// Apply reads the files and puts their pipelines in; those of files that are
// gone are taken out. A file that is broken changes nothing.
func (s *Files) Apply(ctx context.Context, c *client.Client) (*Definitions, error) {
	dir, err := filepath.Abs(s.Dir)
	if err != nil {
		return nil, err
	}
	defs, err := Load(dir, s.Pattern)
	if err != nil {
		return defs, err
	}
	return defs, s.apply(ctx, c, defs)
}

// apply is Apply for what was read.
func (s *Files) apply(ctx context.Context, c *client.Client, defs *Definitions) error {
	dir, err := filepath.Abs(s.Dir)
	if err != nil {
		return err
	}
	env, err := readEnvFiles(s.EnvFiles)
	if err != nil {
		return err
	}
	have, err := c.Pipelines(ctx)
	if err != nil {
		return err
	}
	for _, p := range have {
		file, ours := strings.CutPrefix(p.GetSource(), s.sourceOf(""))
		if !ours || p.GetRemoved() || !within(dir, file) {
			continue
		}
		switch now := defs.Source[p.GetName()]; {
		case now != "" && now != file: // it has moved to another file, which must not find it here
			err = c.RemovePipeline(ctx, p.GetName())
		case !slices.Contains(defs.Files, file):
			_, err = c.Apply(ctx, "", client.ApplyOptions{Source: p.GetSource(), Prune: true})
		}
		if err != nil {
			return err
		}
	}
	for _, file := range defs.Files {
		if _, err := c.Apply(ctx, string(defs.texts[file]), client.ApplyOptions{Source: s.sourceOf(file), Prune: true, Env: env}); err != nil {
			return err
		}
	}
	return nil
}

func within(dir, file string) bool {
	rel, err := filepath.Rel(dir, file)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

func (s *Files) sourceOf(file string) string {
	host := s.Host
	if host == "" {
		host, _ = os.Hostname()
	}
	return host + ":" + file
}

// settle is how long files have to be left alone before they are read again: an
// editor writes one in several steps.
const settle = 200 * time.Millisecond

// Watch applies the files again whenever one changes, or when reload says so,
// until ctx ends. What is wrong with them is logged, and the definitions stay.
func (s *Files) Watch(ctx context.Context, c *client.Client, reload <-chan struct{}) error {
	log := s.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	w, err := s.watched()
	if err != nil {
		return fmt.Errorf("cannot watch %s: %w", s.Dir, err)
	}
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("cannot watch %s: %w", s.Dir, err)
	}
	defer watcher.Close()
	w.add(watcher, log)
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	defer timer.Stop()
	var began time.Time // of what a timer has asked for
	for {
		select {
		case <-ctx.Done():
			return nil
		case event, open := <-watcher.Events:
			if !open {
				return errors.New("cannot watch: the system gave up")
			}
			if w.concerns(event) {
				timer.Reset(settle)
			}
			continue
		case err := <-watcher.Errors:
			log.Warn("cannot see every change of the pipelines' files", "error", err)
			timer.Reset(settle)
			continue
		case <-reload:
			began = time.Time{} // whatever there is now
		case <-timer.C:
			began = time.Now()
		}
		w.add(watcher, log)
		defs, err := Load(w.dir, s.Pattern)
		if defs != nil && defs.unsettled(began) {
			timer.Reset(settle)
			continue
		}
		if err == nil {
			err = s.apply(ctx, c, defs)
		}
		if err != nil {
			log.Error("pipelines stay as they were", "error", err)
			continue
		}
		log.Info("pipelines were read again", "files", len(defs.Files), "pipelines", len(defs.Pipelines))
	}
}

// watched is what a watch looks at: whole paths, so that one directory has one name.
type watched struct {
	dir      string
	patterns []string
	envFiles []string
}

func (s *Files) watched() (w watched, err error) {
	if w.dir, err = filepath.Abs(s.Dir); err != nil {
		return w, err
	}
	if w.patterns, err = expand(filepath.ToSlash(cmp.Or(s.Pattern, DefaultPattern))); err != nil {
		return w, err
	}
	for _, file := range s.EnvFiles {
		if file, err = filepath.Abs(file); err != nil {
			return w, err
		}
		w.envFiles = append(w.envFiles, file)
	}
	return w, nil
}

// concerns says whether a change can be one of definitions.
func (w watched) concerns(event fsnotify.Event) bool {
	if event.Op == fsnotify.Chmod {
		return false
	}
	if slices.Contains(w.envFiles, event.Name) {
		return true
	}
	rel, err := filepath.Rel(w.dir, event.Name)
	if err != nil || !within(w.dir, event.Name) {
		return false // beside an env file
	}
	info, err := os.Stat(event.Name)
	if err != nil || info.IsDir() {
		return true // gone, or a directory that may hold some
	}
	return matchesAny(w.patterns, rel)
}

// add has the directories watched, also those that are new.
func (w watched) add(watcher *fsnotify.Watcher, log *slog.Logger) {
	add := func(dir string) {
		if err := watcher.Add(dir); err != nil {
			log.Warn("cannot watch a directory", "dir", dir, "error", err)
		}
	}
	for _, file := range w.envFiles {
		if dir := filepath.Dir(file); !within(w.dir, dir) {
			add(dir)
		}
	}
	_ = filepath.WalkDir(w.dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return nil
		}
		if name != w.dir && skipped(entry.Name()) {
			return filepath.SkipDir
		}
		add(name)
		return nil
	})
}

// readEnvFiles reads files of NAME=value lines, as a shell would write them.
func readEnvFiles(files []string) (map[string]string, error) {
	env := map[string]string{}
	for _, file := range files {
		f, err := os.Open(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("cannot read environment: %w", err)
		}
		one, err := readEnv(bufio.NewScanner(f))
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("cannot read environment: %s:%w", file, err)
		}
		maps.Copy(env, one)
	}
	return env, nil
}

func readEnv(lines *bufio.Scanner) (map[string]string, error) {
	env := map[string]string{}
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		name, value, found := strings.Cut(strings.TrimPrefix(line, "export "), "=")
		name = strings.TrimSpace(name)
		if !found || name == "" || strings.ContainsAny(name, " \t") {
			return nil, fmt.Errorf("%d: NAME=value is expected", n)
		}
		env[name] = envValue(strings.TrimSpace(value))
	}
	return env, lines.Err()
}

// envValue takes the quotes off, or a comment after a value without any.
func envValue(value string) string {
	if len(value) >= 2 && (value[0] == '"' || value[0] == '\'') && value[len(value)-1] == value[0] {
		inner := value[1 : len(value)-1]
		if value[0] == '"' {
			inner = strings.NewReplacer(`\n`, "\n", `\"`, `"`, `\\`, `\`).Replace(inner)
		}
		return inner
	}
	value, _, _ = strings.Cut(value, " #")
	return strings.TrimSpace(value)
}
