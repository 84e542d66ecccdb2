package lang

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

// probes remembers what programs said of themselves, by their path, size and time, in a file: a
// runner that starts again does not ask them all again.
type probes struct {
	path string

	mu    sync.Mutex
	known map[string]probed
}

type probed struct {
	Bytes int64  `json:"bytes"`
	Time  int64  `json:"time"` // of the file, Unix nanoseconds
	Probe string `json:"probe"`
	Said  string `json:"said"`
}

func openProbes(dir string) *probes {
	p := &probes{path: filepath.Join(dir, "probes.json"), known: map[string]probed{}}
	text, err := os.ReadFile(p.path)
	if err == nil && json.Unmarshal(text, &p.known) != nil {
		p.known = map[string]probed{} // it is only a memory
	}
	return p
}

// recall is what a program has said to a probe, if it is the same file.
func (p *probes) recall(path, probe string) (said string, ok bool) {
	if p == nil {
		return "", false
	}
	now, there := stamp(path) // it may hang
	p.mu.Lock()
	defer p.mu.Unlock()
	one, ok := p.known[path]
	return one.Said, ok && there && one.Probe == probe && one.Bytes == now.Bytes && one.Time == now.Time
}

// keep remembers it. A program that only chooses another one, as those of version managers do, may
// choose another tomorrow: it is asked again.
func (p *probes) keep(path, probe, said, program string) {
	if p == nil || realPath(path) != realPath(program) {
		return
	}
	if one, there := stamp(path); there {
		one.Probe, one.Said = probe, said
		p.mu.Lock()
		defer p.mu.Unlock()
		p.known[path] = one
	}
}

func realPath(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	return path
}

func stamp(path string) (probed, bool) {
	info, err := os.Stat(path)
	if err != nil {
		return probed{}, false
	}
	return probed{Bytes: info.Size(), Time: info.ModTime().UnixNano()}, true
}

// save writes the memory, less programs that are gone. That it can't be written costs time alone.
func (p *probes) save() {
	if p == nil {
		return
	}
	p.mu.Lock()
	paths := slices.Collect(maps.Keys(p.known))
	p.mu.Unlock()
	paths = slices.DeleteFunc(paths, func(path string) bool { _, there := stamp(path); return there })
	p.mu.Lock()
	for _, path := range paths {
		delete(p.known, path)
	}
	text, err := json.Marshal(p.known)
	p.mu.Unlock()
	if err != nil || os.WriteFile(p.path+".new", text, 0o600) != nil {
		return
	}
	_ = os.Rename(p.path+".new", p.path)
}
