package glance

import (
	"context"
	"sync"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/mounts"
)

// mountedPatience is how long a list waits for the entries that lie on other
// mounts: those that answer do it in milliseconds.
const mountedPatience = time.Second

// mountsAtOnce is how many mounts in one directory are asked at a time.
const mountsAtOnce = 8

// mountedIn looks at the entries of a directory on which mounts lie that may
// hang, by helpers. Of what doesn't answer in time the name is known and that it
// is a directory.
func (g *Glancer) mountedIn(ctx context.Context, path string, names []string) map[string]*pb.Entry {
	if g.cfg.Helpers == nil {
		return nil
	}
	table, err := mounts.Now()
	if err != nil {
		return nil
	}
	_, real, err := table.Resolve(path)
	if err != nil {
		return nil
	}
	below := table.Below(real)
	if len(below) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, mountedPatience)
	defer cancel()
	entries := make([]*pb.Entry, len(names))
	var looking sync.WaitGroup
	turn := make(chan struct{}, mountsAtOnce)
	for i, name := range names {
		m, ok := below[name]
		if !ok {
			continue
		}
		turn <- struct{}{}
		looking.Go(func() {
			defer func() { <-turn }()
			seen, err := g.aside(ctx, m, listBytes, &pb.Glance{Dir: &pb.DirQuery{PathBytes: []byte(m.Point), Limit: 1}})
			if all := seen.GetDir().GetEntries(); err == nil && len(all) > 0 {
				entries[i] = all[0] // "."
			} else {
				entries[i] = &pb.Entry{IsDir: true, Mode: unknownMode}
			}
		})
	}
	looking.Wait()
	found := map[string]*pb.Entry{}
	for i, e := range entries {
		if e != nil {
			found[names[i]] = e
		}
	}
	return found
}
