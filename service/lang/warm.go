package lang

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/runnel-io/runnel/service/limits"
	"github.com/runnel-io/runnel/service/sandbox"
	"github.com/runnel-io/runnel/service/workdir"
)

// warmer makes warm directories: for each toolchain one a stage of its row's warm-up, in the
// background, when a program first needs it. They stay on the disk for later lives.
type warmer struct {
	dir    string
	host   *sandbox.Host
	log    *slog.Logger
	told   func([]string)
	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup
	turn   sync.Mutex // held by the stage that is being made

	mu    sync.Mutex // guards what follows
	byKey map[string]*warmth
}

// warmth is a toolchain's; mu of the warmer guards it.
type warmth struct {
	ready  chan struct{} // closed when there is a directory, or will be none for now
	dir    string
	doing  string    // in words; empty: nothing
	built  int       // packages, files or whatever the compiler tells line by line
	failed time.Time // zero: it did not
}

// Times of a warm-up.
const (
	stageTime  = 20 * time.Minute // a whole standard library on a small and busy machine
	retryAfter = 10 * time.Minute
)

const warmNice = 19

const unfinished = ".new"

func openWarmer(cfg Config) (*warmer, error) {
	w := &warmer{dir: filepath.Join(cfg.Dir, "warm"), host: cfg.Host, log: cfg.Logger, told: cfg.OnChange, byKey: map[string]*warmth{}}
	if w.log == nil {
		w.log = slog.New(slog.DiscardHandler)
	}
	if w.told == nil {
		w.told = func([]string) {}
	}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	err := os.MkdirAll(w.dir, 0o700)
	if err == nil {
		err = w.removeUnfinished()
	}
	if err != nil {
		return nil, fmt.Errorf("cannot make the directory for warm caches: %w", err)
	}
	return w, nil
}

func (w *warmer) removeUnfinished() error {
	entries, err := os.ReadDir(w.dir)
	for _, entry := range entries {
		if strings.HasSuffix(entry.Name(), unfinished) {
			err = errors.Join(err, workdir.Remove(w.dir, entry.Name()))
		}
	}
	return err
}

func (w *warmer) close() {
	if w != nil {
		w.cancel()
		w.work.Wait()
	}
}

// IsWarm says that a compile step need not wait: there is a warm directory, or there will be none.
func (t *Toolchain) IsWarm() bool {
	w := t.table.warm
	if len(t.stages()) == 0 || w == nil || w.host == nil {
		return true
	}
	select {
	case <-w.start(t).ready:
		return true
	default:
		return false
	}
}

// AwaitWarm waits until IsWarm is true, or until done is closed.
func (t *Toolchain) AwaitWarm(done <-chan struct{}) {
	if t.IsWarm() {
		return
	}
	select {
	case <-t.table.warm.start(t).ready:
	case <-done:
	}
}

// WarmDir is the toolchain's warm directory, or empty where there is none.
func (t *Toolchain) WarmDir() string {
	w := t.table.warm
	if !t.IsWarm() || len(t.stages()) == 0 || w == nil || w.host == nil {
		return ""
	}
	one := w.start(t)
	w.mu.Lock()
	defer w.mu.Unlock()
	return one.dir
}

// preparing says in words what is being made.
func (w *warmer) preparing() (texts []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, one := range w.byKey {
		if one.doing != "" {
			texts = append(texts, fmt.Sprintf("%s, %d packages so far", one.doing, one.built))
		}
	}
	slices.Sort(texts)
	return texts
}

// start returns a toolchain's warmth, and begins to make it if nobody has.
func (w *warmer) start(t *Toolchain) *warmth {
	w.mu.Lock()
	defer w.mu.Unlock()
	key := t.warmKey()
	one := w.byKey[key]
	if one != nil && (one.failed.IsZero() || time.Since(one.failed) < retryAfter) {
		return one
	}
	one = &warmth{ready: make(chan struct{})}
	w.byKey[key] = one
	last := len(t.stages()) - 1
	for stage := last; stage >= 0; stage-- {
		dir := w.stageDir(key, stage)
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			one.dir = dir
			close(one.ready)
			if stage == last {
				return one
			}
			break
		}
	}
	w.work.Go(func() { w.make(t, key, one) })
	return one
}

func (w *warmer) stageDir(key string, stage int) string {
	return filepath.Join(w.dir, fmt.Sprintf("%s.%d", key, stage))
}

// warmKey names a toolchain as it is now: another file of the same name is another one.
func (t *Toolchain) warmKey() string {
	h := sha256.New()
	fmt.Fprintln(h, t.Name, t.Version, t.Path, t.Show, t.stages(), t.Warm, t.Env)
	if info, err := os.Stat(t.Path); err == nil {
		fmt.Fprintln(h, info.Size(), info.ModTime().UnixNano())
	}
	return t.Name + "-" + strings.ReplaceAll(t.Version, "/", "_") + "-" + hex.EncodeToString(h.Sum(nil)[:6])
}

// make makes the stages that are not there, one after the other: the first is what most programs
// need, and what comes after it replaces it.
func (w *warmer) make(t *Toolchain, key string, one *warmth) {
	for stage := range t.stages() {
		dir := w.stageDir(key, stage)
		if _, err := os.Stat(dir); err == nil {
			continue
		}
		w.turn.Lock()
		err := w.ctx.Err()
		if err == nil {
			w.tell(one, t.String()+": compiling its standard library")
			began := time.Now()
			w.log.Info("compiling a standard library, once", "language", t.String(), "stage", stage+1, "of", len(t.stages()))
			err = w.fill(t, one, key, stage)
			if err == nil {
				w.log.Info("standard library compiled", "language", t.String(), "stage", stage+1, "seconds", int(time.Since(began).Seconds()))
			}
		}
		w.turn.Unlock()
		w.tell(one, "")
		w.mu.Lock()
		first := one.dir == ""
		if err == nil {
			one.dir = dir
		} else if first {
			one.failed = time.Now()
		}
		w.mu.Unlock()
		if first {
			close(one.ready)
		}
		if err != nil {
			if w.ctx.Err() == nil {
				w.log.Warn("cannot compile a standard library: each program will compile what it needs", "language", t.String(), "error", err)
			}
			return
		}
	}
	w.removeOld(t, key)
}

func (w *warmer) tell(one *warmth, doing string) {
	w.mu.Lock()
	one.doing, one.built = doing, 0
	w.mu.Unlock()
	w.told(w.preparing())
}

// fill runs a stage's command line and keeps what it made, if all went well.
func (w *warmer) fill(t *Toolchain, one *warmth, key string, stage int) error {
	name := key + unfinished
	dir := filepath.Join(w.dir, name)
	defer func() { _ = workdir.Remove(w.dir, name) }() // else the next start does
	dirs := Dirs{Source: filepath.Join(dir, "work"), Out: filepath.Join(dir, "work"), Cache: filepath.Join(dir, "cache")}
	for _, path := range []string{dir, dirs.Source, dirs.Cache} {
		err := os.Mkdir(path, 0o700)
		if err == nil && path != dir {
			// The step's account may be another one; nobody else gets through to here.
			err = os.Chmod(path, 0o777)
		}
		if err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(dirs.Source, t.Source), []byte(t.Warm), 0o644); err != nil {
		return err
	}
	if err := w.run(t.warmSpec(t.stages()[stage], dirs, w.host), one); err != nil {
		return err
	}
	err := workdir.Share(dirs.Cache, 0o644)
	if err == nil {
		err = os.Chmod(dirs.Cache, 0o755)
	}
	if err == nil {
		err = os.Rename(dirs.Cache, w.stageDir(key, stage))
	}
	return err
}

// warmSpec is a step that sees no stranger's code, at low priority.
func (t *Toolchain) warmSpec(argv []string, dirs Dirs, host *sandbox.Host) sandbox.Spec {
	source := filepath.Join(dirs.Source, t.Source)
	words := t.words(dirs, "{source}", source, "{stem}", stem(source))
	spec := sandbox.Spec{
		ID: "warm." + t.warmKey(), Isolation: sandbox.Strict, Nice: warmNice,
		ReadOnly: slices.Concat(t.Show, t.own), Writable: []string{dirs.Source, dirs.Cache},
	}
	for _, word := range argv {
		spec.Argv = append(spec.Argv, words.Replace(word))
	}
	for name, value := range t.Env {
		spec.Params = append(spec.Params, name+"="+words.Replace(value))
	}
	usual, _ := compileLimits.Parse()
	spec.Limits = usual.Only(func(limit string) bool {
		return host.Holds(limit) && limit != limits.WallTime && limit != limits.OutputBytes
	})
	return spec
}

func (w *warmer) run(spec sandbox.Spec, one *warmth) error {
	p, err := w.host.Start(spec)
	if err != nil {
		return err
	}
	defer context.AfterFunc(w.ctx, p.Kill)()
	timer := time.AfterFunc(stageTime, p.Kill)
	defer timer.Stop()
	var said []byte
	status, err := p.Pump(func(_ int, data []byte) error {
		w.mu.Lock()
		one.built += bytes.Count(data, []byte("\n"))
		w.mu.Unlock()
		w.told(w.preparing())
		said = append(said, data...)
		said = said[max(0, len(said)-500):]
		return nil
	}, nil)
	if err == nil && (status.ExitCode != 0 || status.Signal != 0) {
		err = fmt.Errorf("exit %d %s: %s", status.ExitCode, status.SignalName(), bytes.TrimSpace(said))
	}
	return errors.Join(w.ctx.Err(), err)
}

// removeOld removes what earlier states of a toolchain have left, and the stages that were replaced:
// not those of this life, which a compile step may have before it.
func (w *warmer) removeOld(t *Toolchain, key string) {
	prefix := t.Name + "-" + strings.ReplaceAll(t.Version, "/", "_") + "-"
	entries, _ := os.ReadDir(w.dir)
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), prefix) && !strings.HasPrefix(entry.Name(), key) {
			_ = workdir.Remove(w.dir, entry.Name()) // the next one tries again
		}
	}
}
