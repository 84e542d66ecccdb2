package service_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/tests/hangfs"
	"github.com/runnel-io/runnel/tests/rig"
)

// threads is how many this process has.
func threads(t *testing.T) int {
	t.Helper()
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	return len(tasks)
}

func dirTask(argv, dir string, more ...string) string {
	return fmt.Sprintf(`{"argv":[%s],"dir":%q%s}`, argv, dir, strings.Join(append([]string{""}, more...), ","))
}

// A mount that answers is as good as any other.
func TestRunsOnARemoteMount(t *testing.T) {
	fs := hangfs.Mount(t)
	f := newFleet(t)
	f.start(service.Config{})
	link := filepath.Join(t.TempDir(), "link")
	script := filepath.Join(t.TempDir(), "script")
	err := os.Symlink(filepath.Join(fs.Dir, "dir"), link)
	if err == nil {
		err = os.WriteFile(script, []byte("#!"+fs.Dir+"/program\n"), 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, task, want string }{
		{"the directory", dirTask(`"pwd"`, fs.Dir+"/dir"), fs.Dir + "/dir\n"},
		{"through a link", dirTask(`"cat","../file"`, link), "hello\n"},
		{"shell", commands("cat file", fmt.Sprintf(`"dir":%q`, fs.Dir)), "hello\n"},
		{"the program", dirTask(fmt.Sprintf("%q", fs.Dir+"/program"), ""), "ran\n"},
		{"a relative program", dirTask(`"./program"`, fs.Dir), "ran\n"},
		{"in the PATH", dirTask(`"program"`, "", fmt.Sprintf(`"params":[{"name":"PATH","value":"/bin:%s"}]`, fs.Dir)), "ran\n"},
		{"with a limit", dirTask(`"cat","file"`, fs.Dir, `"limits":{"openFiles":50}`), "hello\n"},
	} {
		if got := f.run(c.task); got.stdout != c.want || got.end.State != "COMPLETE" {
			t.Errorf("%s: got %q, %+v", c.name, got.stdout, got.end.End)
		}
	}
	for _, c := range []struct{ name, task, want string }{
		{"no such directory", dirTask(`"true"`, fs.Dir+"/nowhere"), `cannot enter directory "` + fs.Dir + `/nowhere": no such directory`},
		{"a file", dirTask(`"true"`, fs.Dir+"/file"), "it is not a directory"},
		{"no such program", dirTask(`"./nope"`, fs.Dir), `cannot find program "./nope": no such program`},
		{"not executable", dirTask(`"./file"`, fs.Dir), "no execute bit"},
	} {
		if got := f.run(c.task); got.end.State != "FAILED" || !strings.Contains(got.end.Error, c.want) {
			t.Errorf("%s: got %+v", c.name, got.end.End)
		}
	}
}

// A runner whose own directory lies where it may hang says so before it tries.
func TestOwnDirectoryOnARemoteMount(t *testing.T) {
	fs := hangfs.Mount(t)
	t.Setenv("TMPDIR", fs.Dir)
	var log rig.Buffer
	newFleet(t).start(service.Config{DataDir: t.TempDir(), Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if text := log.String(); strings.Count(text, "may hang") != 1 || !strings.Contains(text, "temporary directory is on a mount") || !strings.Contains(text, fs.Dir) {
		t.Errorf("the log: %s", text)
	}
}

// A mount that hangs, before or after it has been looked at, holds up nothing
// but the runs there, and those only until their timeout, an abort or the end.
func TestHungMount(t *testing.T) {
	const many = 100
	for name, ops := range map[string][]hangfs.Op{
		"from the start": nil, "at the lookup": {hangfs.Lookup}, "after the stat": {hangfs.Open, hangfs.Read, hangfs.Opendir, hangfs.Access},
	} {
		t.Run(name, func(t *testing.T) {
			fs := hangfs.Mount(t)
			f := newFleet(t)
			s := f.start(service.Config{Settings: service.Settings{Slots: 2 * many}})
			c := f.two()
			if got := f.run(dirTask(`"cat","file"`, fs.Dir)); got.stdout != "hello\n" {
				t.Fatalf("before it hangs: %q", got.stdout)
			}
			fs.Hang(ops...)
			before := threads(t)
			tasks := []string{dirTask(`"./program"`, fs.Dir, `"timeout":"300ms"`, `"grace":"0s"`), dirTask(fmt.Sprintf("%q", fs.Dir+"/program"), "", `"timeout":"300ms"`, `"grace":"0s"`)}
			for i := range many {
				c[i%2].start("at.web1", fmt.Sprint("hung", i), tasks[i%2])
			}
			began := time.Now()
			for i := range 10 {
				if got := f.run(`{"argv":["echo","served"]}`); got.stdout != "served\n" {
					t.Fatalf("another run %d: %q", i, got.stdout)
				}
			}
			if took := time.Since(began); took > 20*time.Second {
				t.Errorf("ten others took %s", took)
			}
			refused := 0
			for i := range many {
				run := c[i%2].final(fmt.Sprint("hung", i))
				switch {
				case run["state"] == "TIMEDOUT":
				case run["state"] == "FAILED" && strings.Contains(fmt.Sprint(run["error"]), fs.Dir) && strings.Contains(fmt.Sprint(run["error"]), "does not answer"):
					refused++
				default:
					t.Fatalf("run %d: got %v", i, run)
				}
			}
			if now := threads(t); now > before+50 {
				t.Errorf("%d threads, %d before", now, before)
			}
			t.Logf("%d of %d were refused", refused, many)
			c[0].start("at.web1", "last", dirTask(`"./program"`, fs.Dir))
			c[1].abort("any", "last", "10s")
			if run := c[0].final("last"); run["state"] != "ABORTED" && run["state"] != "FAILED" {
				t.Errorf("aborted: %v", run)
			}
			ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
			defer cancel()
			began = time.Now()
			s.Drain(ctx)
			s.Close()
			if took := time.Since(began); took > 20*time.Second {
				t.Errorf("it ended after %s", took)
			}
		})
	}
}

// A process that hangs in the kernel outlives its run, not the other way round.
func TestProcessThatHangs(t *testing.T) {
	fs := hangfs.Mount(t)
	f := newFleet(t)
	f.start(service.Config{})
	c := f.two()
	fs.Hang(hangfs.Read)
	c[0].start("any", "main", dirTask(fmt.Sprintf(`"cat",%q`, fs.Dir+"/file"), "/", `"timeout":"200ms"`, `"grace":"100ms"`))
	c[0].start("any", "child", commands(fmt.Sprintf("cat %s/file & echo started", fs.Dir)))
	c[1].start("any", "aborted", dirTask(fmt.Sprintf(`"cat",%q`, fs.Dir+"/file"), "/"))
	c[0].wait("aborted", `"states":["RUNNING"]`)
	c[1].abort("any", "aborted", "0s")
	began := time.Now()
	for id, want := range map[string]string{"main": "TIMEDOUT", "child": "COMPLETE"} {
		if run := c[0].final(id); run["state"] != want {
			t.Errorf("%s: got %v", id, run)
		}
	}
	if run := c[1].final("aborted"); run["state"] != "ABORTED" && run["state"] != "COMPLETE" {
		t.Errorf("got %v", run)
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("they ended after %s", took)
	}
}

// elfOf is a program that is nothing but the name of what loads it.
func elfOf(t *testing.T, loader string) []byte {
	t.Helper()
	machine, known := map[string]uint16{"amd64": 62, "arm64": 183}[runtime.GOARCH]
	if !known {
		t.Skip("no machine number of ", runtime.GOARCH)
	}
	const header, segment, entry = 64, 56, 0x400000
	le := binary.LittleEndian
	out := append([]byte("\x7fELF\x02\x01\x01"), make([]byte, 9)...)
	out = le.AppendUint16(le.AppendUint16(out, 2), machine)
	out = le.AppendUint64(le.AppendUint64(le.AppendUint64(le.AppendUint32(out, 1), entry), header), 0)
	out = le.AppendUint32(out, 0)
	for _, n := range []uint16{header, segment, 1, 0, 0, 0} {
		out = le.AppendUint16(out, n)
	}
	out = le.AppendUint32(le.AppendUint32(out, 3), 4) // PT_INTERP, readable
	size := uint64(len(loader) + 1)
	for _, n := range []uint64{header + segment, entry, entry, size, size, 1} {
		out = le.AppendUint64(out, n)
	}
	return append(append(out, loader...), 0)
}

// A program here whose loader is there hangs in its exec, as if it were there itself.
func TestLoaderOnAHungMount(t *testing.T) {
	fs := hangfs.Mount(t)
	f := newFleet(t)
	f.start(service.Config{})
	c := f.two()
	program := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(program, elfOf(t, fs.Dir+"/loader"), 0o755); err != nil {
		t.Fatal(err)
	}
	if got := f.run(dirTask(fmt.Sprintf("%q", program), "")); got.end.State != "FAILED" {
		t.Fatalf("there is no such loader: %+v", got.end.End)
	}
	fs.Hang()
	c[0].start("any", "hung", dirTask(fmt.Sprintf("%q", program), "", `"timeout":"300ms"`, `"grace":"0s"`))
	if got := f.run(`{"argv":["echo","served"]}`); got.stdout != "served\n" {
		t.Errorf("another run: %q", got.stdout)
	}
	if run := c[1].final("hung"); run["state"] != "TIMEDOUT" {
		t.Errorf("got %v", run)
	}
}
