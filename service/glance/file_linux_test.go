package glance_test

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/policy"

	"github.com/runnel-io/runnel/tests/rig"
)

func TestFilesOfProc(t *testing.T) {
	g := newGlancer(t, policy.Policy{})
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	f := look(t, g, &pb.Glance{File: &pb.FileQuery{Path: "/proc/self/status", MaxSize: 1 << 20}}).File
	if got := bytesOf(t, f); !strings.HasPrefix(got, "Name:\t") || len(got) < len(status)/2 || f.Size != 0 {
		t.Errorf("got %d bytes, size %d: %.40q", len(got), f.Size, got)
	}
	// Never more than maxSize, though stat says 0.
	for _, most := range []int64{0, 1, 7, 100} {
		f := look(t, g, &pb.Glance{File: &pb.FileQuery{Path: "/proc/self/status", MaxSize: most}}).File
		if got := bytesOf(t, f); int64(len(got)) != most || got != string(status[:most]) && most < 20 {
			t.Errorf("maxSize %d: got %q", most, got)
		}
	}
	f = look(t, g, &pb.Glance{File: &pb.FileQuery{Path: "/proc/self/status", MaxSize: 4, Offset: ptr(int64(2))}}).File
	if got := bytesOf(t, f); got != string(status[2:6]) || f.Offset != 2 {
		t.Errorf("a piece: got %q", got)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	q := &pb.FileQuery{Path: "/proc/self/mounts", MaxSize: 1 << 18, Offset: ptr(int64(-5))}
	if got := bytesOf(t, look(t, g, &pb.Glance{File: q}).File); got != string(mounts[len(mounts)-5:]) {
		t.Errorf("a tail: got %q", got)
	}
	q.Length = ptr(int64(2))
	if got := bytesOf(t, look(t, g, &pb.Glance{File: q}).File); got != string(mounts[len(mounts)-5:len(mounts)-3]) {
		t.Errorf("a piece of a tail: got %q", got)
	}
	q.MaxSize = 10
	wantError(t, g, &pb.Glance{File: q}, 400, "invalid size")
	wantError(t, g, &pb.Glance{File: &pb.FileQuery{Path: "/proc/self/environ", MaxSize: 1 << 18}}, 403, "files.deny")
	wantError(t, g, &pb.Glance{File: &pb.FileQuery{Path: "/proc/self/root/etc/shadow", MaxSize: 1 << 18}}, 403, "files.deny")
}

// Every file of /proc and /sys/kernel that can be found: an answer, in time.
func TestNoFileOfProcHangs(t *testing.T) {
	g := newGlancer(t, policy.Policy{})
	tried := 0
	for _, dir := range []string{"/proc", "/proc/self/", "/proc/self/net", "/proc/sys/kernel", "/sys/kernel", "/proc/1"} {
		all, _ := list(t, g, dir, 0)
		for _, e := range all {
			if e.IsDir {
				continue
			}
			tried++
			ctx, cancel := context.WithTimeout(context.Background(), tooLong)
			reply, err := g.Glance(ctx, &pb.Glance{File: &pb.FileQuery{Path: dir + "/" + e.Name, MaxSize: 5000}})
			if ctx.Err() != nil {
				t.Errorf("%s/%s hangs", dir, e.Name)
			}
			cancel()
			checkFits(t, reply, 1<<20)
			_ = err
		}
	}
	t.Logf("%d files", tried)
}

func openDescriptors(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestHundredRequestsLeaveNoDescriptorOpen(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/f", []byte("x"))
	g := newGlancer(t, policy.Policy{})
	before := openDescriptors(t)
	for range 100 {
		for _, path := range []string{dir, dir + "/f", "/nope", "/etc/shadow", "/dev/zero", "/proc/self/status"} {
			_, _ = g.Glance(context.Background(), &pb.Glance{Dir: &pb.DirQuery{Path: path}, File: &pb.FileQuery{Path: path, MaxSize: 10}, Sys: &pb.SysQuery{Enable: true}})
		}
	}
	after := 0
	if !rig.HappensIn(rig.Patience, func() bool { after = openDescriptors(t); return after <= before+10 }) {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}
