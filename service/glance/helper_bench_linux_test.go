package glance_test

import (
	"testing"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/files"
	"github.com/runnel-io/runnel/service/glance"
	"github.com/runnel-io/runnel/service/helper"
	"github.com/runnel-io/runnel/service/mounts"
	"github.com/runnel-io/runnel/service/policy"
)

// What the helpers cost where nothing hangs: a local file not much more than the
// look at its mount, a list of processes one way over a socket.
func BenchmarkHelpers(b *testing.B) {
	pool := helper.NewPool(&mounts.Budget{}, glance.Serve)
	b.Cleanup(pool.Close)
	for name, set := range map[string]func(*glance.Config){"with": func(cfg *glance.Config) { cfg.Helpers = pool }, "without": func(*glance.Config) {},
		"with, root's": func(cfg *glance.Config) { cfg.Helpers, cfg.Files = pool, files.New(files.Config{NoHomes: true}) }} {
		g := newGlancer(b, policy.Policy{}, set)
		for what, q := range map[string]*pb.Glance{
			"file": {File: &pb.FileQuery{Path: "/etc/passwd", MaxSize: 1 << 20}}, "dir": {Dir: &pb.DirQuery{Path: "/etc"}}, "processes": {Sys: &pb.SysQuery{Enable: true}},
		} {
			b.Run(what+"/"+name, func(b *testing.B) {
				for b.Loop() {
					if _, err := g.Glance(b.Context(), q); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
