package glance_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/glance"
	"github.com/runnel-io/runnel/service/helper"
	"github.com/runnel-io/runnel/service/mounts"
	"github.com/runnel-io/runnel/service/policy"
	"github.com/runnel-io/runnel/tests/hangfs"
)

// withHelpers looks as a runner does.
func withHelpers(t *testing.T, p policy.Policy) *glance.Glancer {
	t.Helper()
	pool := helper.NewPool(&mounts.Budget{}, glance.Serve)
	t.Cleanup(pool.Close)
	return newGlancer(t, p, func(cfg *glance.Config) { cfg.Helpers = pool })
}

func fileAt(path string) *pb.Glance {
	return &pb.Glance{File: &pb.FileQuery{Path: path, MaxSize: 1000}}
}

func dirAt(path string) *pb.Glance { return &pb.Glance{Dir: &pb.DirQuery{Path: path}} }

// threads of this process, which a system call that hangs keeps.
func threads(t *testing.T) int {
	t.Helper()
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	return len(tasks)
}

func TestForeignMountThatAnswers(t *testing.T) {
	fs := hangfs.Mount(t)
	g := withHelpers(t, policy.Policy{})
	for range 3 {
		reply := look(t, g, &pb.Glance{File: fileAt(fs.Dir + "/file").File, Dir: dirAt(fs.Dir).Dir})
		if text := bytesOf(t, reply.File); text != "hello\n" || reply.File.Size != 6 || !reply.File.Readable {
			t.Errorf("got %q, %v", text, reply.File)
		}
		var names []string
		for _, e := range reply.Dir.Entries {
			names = append(names, e.Name)
		}
		if strings.Join(names, " ") != ". .. dir file program" {
			t.Errorf("got %v", names)
		}
	}
	for path, want := range map[string]string{
		fs.Dir + "/nothing": "no such file", fs.Dir + "/dir": "is a directory",
	} {
		if reply, err := g.Glance(t.Context(), fileAt(path)); err == nil || !strings.Contains(reply.File.Error, want) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, err := g.Glance(t.Context(), dirAt(fs.Dir+"/file")); err == nil || !strings.Contains(err.Error(), "invalid dir") {
		t.Errorf("a file listed: %v", err)
	}
	refusing := withHelpers(t, policy.Policy{Files: policy.FileRules{Deny: []string{fs.Dir + "/file"}}})
	_, err := refusing.Glance(t.Context(), fileAt(fs.Dir+"/file"))
	if failed, ok := errors.AsType[*glance.Error](err); !ok || failed.Code != 403 || !strings.Contains(err.Error(), "files.deny") {
		t.Errorf("a helper keeps no rule: %v", err)
	}
}

// Whatever request the mount stops to answer, a glance ends in time, the ones
// after it at once, and none of them keeps a thread of this process.
func TestMountThatHangs(t *testing.T) {
	for name, ops := range map[string][]hangfs.Op{
		"everything": nil, "lookup": {hangfs.Lookup}, "getattr": {hangfs.Getattr}, "open": {hangfs.Open, hangfs.Opendir}, "read": {hangfs.Read, hangfs.Readdir},
	} {
		t.Run(name, func(t *testing.T) {
			fs := hangfs.Mount(t)
			g := withHelpers(t, policy.Policy{})
			before := threads(t)
			fs.Hang(ops...)
			var all sync.WaitGroup
			for i := range 200 {
				all.Go(func() {
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					defer cancel()
					q := fileAt(fs.Dir + "/program")
					if i%2 == 0 {
						q = dirAt(fs.Dir)
					}
					_, err := g.Glance(ctx, q)
					if name == "everything" {
						wantSilent(t, err, fs.Dir)
					}
				})
			}
			all.Wait()
			if now := threads(t); now > before+4*mounts.DefaultHelpers {
				t.Errorf("%d threads, %d before", now, before)
			}
			began := time.Now()
			_, _ = g.Glance(t.Context(), fileAt("/etc/hostname")) // whether it is there or not
			if took := time.Since(began); took > 20*time.Second {
				t.Errorf("a local file took %v", took)
			}
			if name != "everything" {
				return
			}
			began = time.Now()
			_, err := g.Glance(t.Context(), dirAt(fs.Dir))
			if took := time.Since(began); took > 20*time.Second {
				t.Errorf("refusing took %v", took)
			}
			wantSilent(t, err, fs.Dir)
			fs.Answer()
			fs.Release()
		})
	}
}

func wantSilent(t *testing.T, err error, mount string) {
	t.Helper()
	failed, ok := errors.AsType[*glance.Error](err)
	if !ok || failed.Code != 503 || !strings.Contains(err.Error(), mount) || !strings.Contains(err.Error(), "does not answer") {
		t.Errorf("got %v, want a 503 that names %s", err, mount)
	}
}

// `ls` of the directory that a dead mount is in must not hang, and has the rest.
func TestListAroundHungMount(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"dead", "alive", "plain"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	alive := hangfs.MountAt(t, dir+"/alive")
	dead := hangfs.MountAt(t, dir+"/dead")
	dead.Hang()
	g := withHelpers(t, policy.Policy{})
	began := time.Now()
	reply := look(t, g, dirAt(dir))
	if took := time.Since(began); took > time.Minute {
		t.Errorf("took %v", took)
	}
	modes := map[string]string{}
	for _, e := range reply.Dir.Entries {
		modes[e.Name] = fmt.Sprint(e.IsDir, " ", e.Mode)
	}
	if modes["dead"] != "true ?---------" || modes["alive"] != "true drwxr-xr-x" || modes["plain"] != "true drwx------" {
		t.Errorf("got %v", modes)
	}
	alive.Release()
}

// A rule about a path on a dead mount must not make every other glance hang.
func TestRuleOnHungMount(t *testing.T) {
	fs := hangfs.Mount(t)
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("text\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	fs.Hang()
	g := withHelpers(t, policy.Policy{Files: policy.FileRules{Deny: []string{fs.Dir + "/file", "/nowhere"}}})
	if text := bytesOf(t, look(t, g, fileAt(path)).File); text != "text\n" {
		t.Errorf("got %q", text)
	}
}

// The list of processes has all there are, also when one of them hangs, and
// costs no thread.
func TestProcessesBesideHungOne(t *testing.T) {
	fs := hangfs.Mount(t)
	g := withHelpers(t, policy.Policy{})
	fs.Hang(hangfs.Read)
	hung := make(chan struct{})
	go func() {
		defer close(hung)
		_, _ = os.ReadFile(fs.Dir + "/file") // this very process is one that hangs
	}()
	reply := look(t, g, &pb.Glance{Sys: &pb.SysQuery{Enable: true}})
	me := find(t, reply.Sys.Stats.Processes, os.Getpid())
	if len(me.Threads) == 0 || reply.Sys.Error != "" {
		t.Errorf("got %v, %q", me, reply.Sys.Error)
	}
	fs.Release()
	<-hung
}
