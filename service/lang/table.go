package lang

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"github.com/runnel-io/runnel/service/sandbox"
)

// Config of a Table. The zero value knows the shipped rows and no cache.
type Config struct {
	// Rows of the operator.
	Rows []Row
	// Environ is the environment of the probes; its PATH is where programs are
	// looked for.
	Environ []string
	// Dir is for the cache and the warm directories; empty means that there are
	// none.
	Dir string
	// Host runs the warm-up; nil means that there is none.
	Host *sandbox.Host
	// OnChange is told in words what goes on in the background; it may be nil.
	OnChange func(preparing []string)
	// Logger gets what is worth a line; nil means none.
	Logger *slog.Logger
	// CacheMaxBytes bounds the cache. Default: 256 MiB.
	CacheMaxBytes int64
}

// Table knows the languages. It is safe for concurrent use.
type Table struct {
	environ []string
	rows    []*tableRow
	byName  map[string]*tableRow
	cache   *Cache
	warm    *warmer
	memory  *probes
}

// tableRow is a row and what was found of it.
type tableRow struct {
	Row
	mu    sync.Mutex // guards what follows
	found []*Toolchain
	now   *search // nil: nobody looks
}

// New checks the rows; it looks for nothing yet. What an earlier life left
// half-made in Dir is removed. Close ends what goes on in the background.
func New(cfg Config) (*Table, error) {
	t := &Table{environ: cfg.Environ, byName: map[string]*tableRow{}}
	for _, row := range cfg.Rows {
		if err := row.check(); err != nil {
			return nil, fmt.Errorf("cannot use language %q: %w", row.Name, err)
		}
		if err := t.add(row); err != nil {
			return nil, err
		}
	}
	own := len(t.rows)
	for _, row := range shipped {
		replaced := slices.ContainsFunc(t.rows[:own], func(r *tableRow) bool { return r.Name == row.Name })
		if replaced {
			continue
		}
		row.Aliases = slices.DeleteFunc(slices.Clone(row.Aliases), func(name string) bool { return t.byName[name] != nil })
		if err := t.add(row); err != nil {
			return nil, err
		}
	}
	if cfg.Dir == "" {
		return t, nil
	}
	var err error
	if t.cache, err = openCache(cfg.Dir, cfg.CacheMaxBytes); err != nil {
		return nil, err
	}
	t.memory = openProbes(cfg.Dir)
	t.warm, err = openWarmer(cfg)
	return t, err
}

// Close ends what goes on in the background.
func (t *Table) Close() { t.warm.close() }

func (t *Table) add(row Row) error {
	r := &tableRow{Row: row}
	for _, name := range append([]string{row.Name}, row.Aliases...) {
		if other := t.byName[name]; other != nil {
			return fmt.Errorf("cannot use language %q: %q is a name of %s already", row.Name, name, other.Name)
		}
		t.byName[name] = r
	}
	t.rows = append(t.rows, r)
	return nil
}

// Name is the language's own name for a name or alias, whether this host has it
// or not.
func (t *Table) Name(name string) (own string, ok bool) {
	if r := t.byName[strings.ToLower(name)]; r != nil {
		return r.Name, true
	}
	return "", false
}

// Find returns a language by a name and a version, or by the beginning of one;
// no version means the first. The error says what there is instead.
func (t *Table) Find(ctx context.Context, name, version string) (*Toolchain, error) {
	r := t.byName[strings.ToLower(name)]
	if r == nil {
		var names []string
		for _, r := range t.rows {
			names = append(names, r.Name)
		}
		return nil, fmt.Errorf("there is no language %q; this runner knows %s", clip(name), strings.Join(names, ", "))
	}
	found, err := t.look(ctx, r, false)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("language %s: this host has no %s that works", r.Name, strings.Join(r.Programs, ", "))
	}
	for _, tool := range found {
		if version == "" || tool.Version == version || strings.HasPrefix(tool.Version, version+".") {
			return tool, nil
		}
	}
	return nil, fmt.Errorf("language %s: this host has no version %q; it has %s", r.Name, clip(version), strings.Join(versionsOf(found), ", "))
}

// List looks for all languages, one after the other and at low priority, and returns those that this host has, each with
// its versions: "python3 3.12.3 3.11.2".
func (t *Table) List(ctx context.Context) []string {
	var lines []string
	for _, r := range t.rows {
		if found, err := t.look(ctx, r, true); err == nil && len(found) > 0 {
			lines = append(lines, strings.Join(append([]string{r.Name}, versionsOf(found)...), " "))
		}
	}
	slices.Sort(lines)
	t.memory.save()
	return lines
}

func versionsOf(found []*Toolchain) (versions []string) {
	for _, tool := range found {
		versions = append(versions, tool.Version)
	}
	return versions
}

// clip keeps what a caller sent short in an error.
func clip(s string) string {
	if len(s) > 80 {
		return strings.ToValidUTF8(s[:80], "") + "…"
	}
	return s
}

// Cache of compiled programs; nil if there is none.
func (t *Table) Cache() *Cache { return t.cache }
