package lang

import (
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/runnel-io/runnel/service/workdir"
)

// warmDirs has a directory for each toolchain whose row has something to warm.
type warmDirs struct {
	dir string

	mu     sync.Mutex
	byName map[string]*warmth
}

// warmth is one of them. turn holds whoever may fill it; mu of warmDirs guards
// the rest.
type warmth struct {
	turn   chan struct{}
	dir    string
	failed bool
}

func openWarm(dir string) (*warmDirs, error) {
	w := &warmDirs{dir: filepath.Join(dir, "warm"), byName: map[string]*warmth{}}
	return w, emptyDir(w.dir)
}

// WarmDir returns the toolchain's warm directory, or nothing where there is none
// to be had. The first who asks has it filled: fill must compile the program,
// with the directory as a Cache that can be written to, and be done with it. The
// others wait, until done is closed.
func (t *Toolchain) WarmDir(done <-chan struct{}, fill func(p *Program, dir string) error) string {
	if t.Row.Warm == "" || t.table.warm == nil {
		return ""
	}
	w := t.table.warm
	one := w.of(t)
	if dir, failed := w.state(one); dir != "" || failed {
		return dir
	}
	select {
	case one.turn <- struct{}{}:
		defer func() { <-one.turn }()
	case <-done:
		return ""
	}
	if dir, failed := w.state(one); dir != "" || failed {
		return dir
	}
	dir, err := w.fill(t, fill)
	failed := err != nil
	select {
	case <-done: // by its run's end, perhaps: the next one may try again
		failed = false
	default:
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	one.dir, one.failed = dir, failed
	return dir
}

func (w *warmDirs) of(t *Toolchain) *warmth {
	w.mu.Lock()
	defer w.mu.Unlock()
	name := t.Name + "-" + strings.ReplaceAll(t.Version, "/", "_")
	if w.byName[name] == nil {
		w.byName[name] = &warmth{turn: make(chan struct{}, 1)}
	}
	return w.byName[name]
}

func (w *warmDirs) state(one *warmth) (dir string, failed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return one.dir, one.failed
}

func (w *warmDirs) fill(t *Toolchain, fill func(*Program, string) error) (dir string, err error) {
	p, err := t.Program(Source{Main: textOf([]byte(t.Row.Warm)), HasMain: true})
	if err != nil {
		return "", err
	}
	if dir, err = os.MkdirTemp(w.dir, t.Name+"-"); err != nil {
		return "", err
	}
	// The step's account may be another one; nobody else gets through to here.
	if err = os.Chmod(dir, 0o777); err == nil {
		err = fill(p, dir)
	}
	if err == nil {
		err = workdir.Share(dir, 0o644)
	}
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		_ = workdir.Remove(filepath.Dir(dir), filepath.Base(dir)) // else the next start does
		return "", err
	}
	return dir, nil
}
