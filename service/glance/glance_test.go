package glance_test

import (
	"context"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/files"
	"github.com/runnel-io/runnel/service/glance"
	"github.com/runnel-io/runnel/service/policy"
	"github.com/runnel-io/runnel/tests/hangfs"
)

func TestMain(m *testing.M) {
	glance.HelperMain()
	hangfs.Main()
	if name := os.Getenv(childEnv); name != "" {
		os.Exit(children[name]())
	}
	goleak.VerifyTestMain(m)
}

const childEnv = "RUNNEL_GLANCE_TEST_CHILD"

// newGlancer looks through a real policy's eyes.
func newGlancer(t testing.TB, p policy.Policy, set ...func(*glance.Config)) *glance.Glancer {
	t.Helper()
	if err := p.Validate(); err != nil {
		t.Fatal(err)
	}
	opener := files.New(files.Config{Roots: p.Files.Roots, Deny: p.Files.Deny, HideCommandLines: p.HideCommandLines})
	cfg := glance.Config{Files: opener, HideCommandLines: p.HideCommandLines, Runner: "r1"}
	for _, f := range set {
		f(&cfg)
	}
	g := glance.New(cfg)
	t.Cleanup(g.Close)
	return g
}

func look(t testing.TB, g *glance.Glancer, q *pb.Glance) *pb.GlanceReply {
	t.Helper()
	reply, err := g.Glance(context.Background(), q)
	if err != nil {
		t.Fatalf("Glance: %v", err)
	}
	checkFits(t, reply, glance.DefaultMaxReplyBytes)
	return reply
}

// checkFits: both forms can be made, and are within the payload limit.
func checkFits(t testing.TB, reply *pb.GlanceReply, limit int) {
	t.Helper()
	for _, isProtobuf := range []bool{false, true} {
		b, err := pb.Encode(reply, isProtobuf)
		if err != nil {
			t.Fatalf("cannot encode: %v", err)
		}
		if len(b) > limit {
			t.Errorf("a reply of %d bytes, more than %d", len(b), limit)
		}
	}
}

func wantError(t testing.TB, g *glance.Glancer, q *pb.Glance, code int, text string) {
	t.Helper()
	reply, err := g.Glance(context.Background(), q)
	var e *glance.Error
	if !errors.As(err, &e) {
		t.Fatalf("%v: got %v, want an error with %q", q, err, text)
	}
	if e.Code != code || !strings.Contains(e.Error(), text) {
		t.Errorf("%.200v: got %d %q, want %d with %q", q, e.Code, e, code, text)
	}
	if !strings.Contains(reply.GetError(), text) {
		t.Errorf("the reply's error is %q", reply.GetError())
	}
	checkFits(t, reply, glance.DefaultMaxReplyBytes)
}

func write(t testing.TB, path string, content []byte) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func bytesOf(t testing.TB, f *pb.FileReply) string {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(f.GetContent())
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func ptr[T any](v T) *T { return &v }

func TestEmptyGlanceIsAnEmptySuccess(t *testing.T) {
	g := newGlancer(t, policy.Policy{})
	for _, q := range []*pb.Glance{nil, {}, {Sys: &pb.SysQuery{}}, {Sys: &pb.SysQuery{Enable: false, Sort: "nonsense"}}} {
		reply := look(t, g, q)
		if reply.Dir != nil || reply.File != nil || reply.Sys != nil || reply.Error != "" || reply.Runner != "r1" {
			t.Errorf("%v: got %v", q, reply)
		}
	}
}

func TestAPartThatFailsDoesNotLoseTheOthers(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/f", []byte("text\n"))
	g := newGlancer(t, policy.Policy{})
	reply := look(t, g, &pb.Glance{
		Dir:  &pb.DirQuery{Path: dir + "/nope"},
		File: &pb.FileQuery{Path: dir + "/f", MaxSize: 100},
		Sys:  &pb.SysQuery{Enable: true},
	})
	if !strings.Contains(reply.Dir.Error, "no such file or directory") || reply.Error != reply.Dir.Error {
		t.Errorf("dir: got %q, reply %q", reply.Dir.Error, reply.Error)
	}
	if got := bytesOf(t, reply.File); got != "text\n" || reply.File.Error != "" || !reply.File.Readable || reply.File.Size != 5 {
		t.Errorf("file: got %v", reply.File)
	}
	if runtime.GOOS == "linux" && (reply.Sys.Error != "" || reply.Sys.Stats.ProcessCount == 0) {
		t.Errorf("sys: got %q", reply.Sys.Error)
	}
}

func TestCodes(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/id_rsa", []byte("key"))
	write(t, dir+"/big", make([]byte, 2<<20))
	g := newGlancer(t, policy.Policy{Files: policy.FileRules{Roots: []string{dir}}})
	big := &pb.FileQuery{Path: dir + "/big", MaxSize: 4 << 20}
	wantError(t, g, &pb.Glance{File: &pb.FileQuery{Path: dir + "/id_rsa", MaxSize: 10}}, 403, "files.deny")
	wantError(t, g, &pb.Glance{Dir: &pb.DirQuery{Path: "/etc"}}, 403, "files.roots")
	wantError(t, g, &pb.Glance{File: big}, 413, "offset and length")
	wantError(t, g, &pb.Glance{File: &pb.FileQuery{Path: dir + "/nope"}}, 400, "no such file or directory")
	wantError(t, g, &pb.Glance{File: &pb.FileQuery{Path: "/etc/passwd"}, Dir: &pb.DirQuery{Path: "/etc"}}, 403, "files.roots")
	wantError(t, g, &pb.Glance{File: big, Dir: &pb.DirQuery{Path: "/etc"}}, 400, "files.roots")
	wantError(t, g, &pb.Glance{Sys: &pb.SysQuery{Enable: true, Sort: "size"}}, 400, "invalid sort")
	wantError(t, g, &pb.Glance{Sys: &pb.SysQuery{Enable: true, Top: -1}}, 400, "invalid top")
	wantError(t, g, &pb.Glance{Sys: &pb.SysQuery{Enable: true, Next: "!"}}, 400, "invalid next")
	wantError(t, g, &pb.Glance{Dir: &pb.DirQuery{Path: dir, Next: "!"}}, 400, "invalid next")
	wantError(t, g, &pb.Glance{Dir: &pb.DirQuery{Path: dir, Limit: -1}}, 400, "invalid limit")
}

func TestWithoutOpenersNothingIsOpened(t *testing.T) {
	g := glance.New(glance.Config{})
	defer g.Close()
	wantError(t, g, &pb.Glance{File: &pb.FileQuery{Path: "/etc/passwd", MaxSize: 1 << 20}, Dir: &pb.DirQuery{Path: "/"}}, 400, "opens no files")
}

func TestCancelledRequestsEnd(t *testing.T) {
	g := newGlancer(t, policy.Policy{})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	reply, _ := g.Glance(ctx, &pb.Glance{Dir: &pb.DirQuery{Path: "/"}, Sys: &pb.SysQuery{Enable: true}, File: &pb.FileQuery{Path: "/etc/passwd", MaxSize: 1 << 19}})
	if reply.Dir.Error == "" || reply.Sys.Error == "" || reply.File.Error == "" {
		t.Errorf("got %v", reply)
	}
}

func TestOddRequestsAreAnswered(t *testing.T) {
	g := newGlancer(t, policy.Policy{})
	long := "/" + strings.Repeat("\x01\xff\u2028\"", 1<<18)
	for _, path := range []string{"", "x", "\x00", "/\x00", long, "/etc/passwd/x", "/" + strings.Repeat("../", 1000) + "nope"} {
		q := &pb.Glance{Dir: &pb.DirQuery{Path: path, Next: "Li4"}, File: &pb.FileQuery{Path: path, Offset: ptr(int64(-1 << 63)), Length: ptr(int64(1<<63 - 1))}}
		reply, err := g.Glance(context.Background(), q)
		if err == nil || reply.Dir.Error == "" || reply.File.Error == "" || len(reply.Error) > 4000 {
			t.Errorf("%.40q: got %v, %.100v", path, err, reply)
		}
		checkFits(t, reply, glance.DefaultMaxReplyBytes)
	}
}

func FuzzGlance(f *testing.F) {
	f.Add("/etc", int64(0), "", int64(0), int64(0), int64(0), "pid", "")
	f.Add("/proc/self/status", int64(1), "Li4", int64(100), int64(-5), int64(7), "cpu", "Y3B1IDEgMSAw")
	g := newGlancer(f, policy.Policy{})
	f.Fuzz(func(t *testing.T, path string, limit int64, next string, maxSize, offset, length int64, order, sysNext string) {
		reply, err := g.Glance(context.Background(), &pb.Glance{
			Dir:  &pb.DirQuery{Path: path, Limit: limit, Next: next},
			File: &pb.FileQuery{Path: path, MaxSize: maxSize, Offset: &offset, Length: &length},
			Sys:  &pb.SysQuery{Enable: true, Sort: order, Next: sysNext, Processes: ptr(limit%2 == 0), Top: maxSize},
		})
		checkFits(t, reply, glance.DefaultMaxReplyBytes)
		if n := len(bytesOf(t, reply.File)); int64(n) > max(maxSize, 0) {
			t.Errorf("%d bytes, more than %d", n, maxSize)
		}
		_ = err
	})
}
