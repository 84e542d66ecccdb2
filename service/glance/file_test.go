//go:build unix

package glance_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/glance"
	"github.com/runnel-io/runnel/service/policy"
)

func TestFileBySize(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/ten", []byte("123456789\n"))
	write(t, dir+"/empty", nil)
	g := newGlancer(t, policy.Policy{})
	for _, row := range []struct {
		name    string
		maxSize int64
		want    string
		err     string
	}{
		{"ten", 10, "123456789\n", ""},
		{"ten", 11, "123456789\n", ""},
		{"ten", 1 << 62, "123456789\n", ""},
		{"ten", 9, "", "invalid size"},
		{"ten", 0, "", "invalid size"},
		{"ten", -1, "", "invalid size"},
		{"empty", 0, "", ""},
		{"empty", 5, "", ""},
		{"nope", 5, "", "no such file or directory"},
		{"nope/x", 5, "", "no such file or directory"},
		{"ten/x", 5, "", "not a directory"},
	} {
		q := &pb.Glance{File: &pb.FileQuery{Path: dir + "/" + row.name, MaxSize: row.maxSize}}
		if row.err != "" {
			wantError(t, g, q, 400, row.err)
			continue
		}
		f := look(t, g, q).File
		if got := bytesOf(t, f); got != row.want || !f.Readable || f.Size != int64(len(row.want)) || f.Offset != 0 {
			t.Errorf("%s, maxSize %d: got %v", row.name, row.maxSize, f)
		}
	}
}

func TestFirstLineMustBeText(t *testing.T) {
	dir := t.TempDir()
	g := newGlancer(t, policy.Policy{})
	for content, want := range map[string]string{
		"plain\n\xff\xfe":        "",
		"é €\n":                  "",
		"no newline é":           "",
		"\x00\x01 but UTF-8\n":   "",
		"\n\xff":                 "",
		"\xff\n":                 "invalid text",
		"\x7fELF\x02\x80\n":      "invalid text",
		"cut \xe2\x82":           "invalid text",
		"latin1 \xe9t\xe9\nmore": "invalid text",
	} {
		path := write(t, dir+"/f", []byte(content))
		q := &pb.Glance{File: &pb.FileQuery{Path: path, MaxSize: 100}}
		if want != "" {
			// A text's last rune may be cut by reading only where reading was cut.
			wantError(t, g, q, 400, want)
			q.File.Length = ptr(int64(100))
		}
		if got := bytesOf(t, look(t, g, q).File); got != content {
			t.Errorf("%q: got %q", content, got)
		}
	}
}

func TestPieces(t *testing.T) {
	path := write(t, t.TempDir()+"/f", []byte("0123456789"))
	g := newGlancer(t, policy.Policy{})
	for _, row := range []struct {
		offset, length *int64
		maxSize        int64
		want           string
		start          int64
	}{
		{ptr(int64(2)), ptr(int64(3)), 100, "234", 2},
		{ptr(int64(2)), nil, 100, "23456789", 2},
		{ptr(int64(2)), nil, 4, "2345", 2},
		{nil, ptr(int64(3)), 100, "012", 0},
		{ptr(int64(0)), nil, 5, "01234", 0},
		{ptr(int64(-3)), nil, 100, "789", 7},
		{ptr(int64(-3)), ptr(int64(2)), 100, "78", 7},
		{ptr(int64(-30)), nil, 100, "0123456789", 0},
		{ptr(int64(10)), nil, 100, "", 10},
		{ptr(int64(50)), nil, 100, "", 50},
		{ptr(int64(5)), ptr(int64(0)), 0, "", 5},
		{ptr(int64(1<<63 - 1)), ptr(int64(1<<63 - 1)), 1<<63 - 1, "", 1<<63 - 1},
		{ptr(int64(-1 << 63)), ptr(int64(1<<63 - 1)), 1<<63 - 1, "0123456789", 0},
	} {
		f := look(t, g, &pb.Glance{File: &pb.FileQuery{Path: path, MaxSize: row.maxSize, Offset: row.offset, Length: row.length}}).File
		if got := bytesOf(t, f); got != row.want || f.Offset != row.start || f.Size != 10 || !f.Readable {
			t.Errorf("offset %v, length %v, maxSize %d: got %q at %d, want %q at %d", row.offset, row.length, row.maxSize, got, f.Offset, row.want, row.start)
		}
	}
	wantError(t, g, &pb.Glance{File: &pb.FileQuery{Path: path, Length: ptr(int64(-1))}}, 400, "invalid size")
	wantError(t, g, &pb.Glance{File: &pb.FileQuery{Path: path, Length: ptr(int64(5))}}, 400, "invalid size")
}

// A file of any size and any bytes comes back by pieces, whatever their size.
func TestPiecesMakeTheFile(t *testing.T) {
	dir := t.TempDir()
	g := newGlancer(t, policy.Policy{})
	rapid.Check(t, func(rt *rapid.T) {
		content := rapid.SliceOfN(rapid.Byte(), 1, 5000).Draw(rt, "content")
		size := rapid.Int64Range(1, 6000).Draw(rt, "piece")
		path := write(t, dir+"/f", content)
		var got []byte
		for int64(len(got)) < int64(len(content)) {
			f := look(t, g, &pb.Glance{File: &pb.FileQuery{Path: path, MaxSize: size, Offset: ptr(int64(len(got)))}}).File
			piece := bytesOf(t, f)
			if len(piece) == 0 {
				rt.Fatal("an empty piece")
			}
			got = append(got, piece...)
		}
		if !bytes.Equal(got, content) {
			rt.Fatal("not the file")
		}
	})
}

func TestWhatDoesNotFitSaysHowToAsk(t *testing.T) {
	content := make([]byte, 3<<20)
	for i := range content {
		content[i] = byte(rand.Uint32())
	}
	content[0] = '\n'
	path := write(t, t.TempDir()+"/f", content)
	g := newGlancer(t, policy.Policy{})
	q := &pb.Glance{File: &pb.FileQuery{Path: path, MaxSize: 4 << 20}, Dir: &pb.DirQuery{Path: "/usr/bin"}, Sys: &pb.SysQuery{Enable: true}}
	reply := look(t, g, q)
	var fits int64
	if _, err := fmt.Sscanf(reply.File.Error[strings.Index(reply.File.Error, "at most"):], "at most %d bytes", &fits); err != nil {
		t.Fatalf("%q: %v", reply.File.Error, err)
	}
	// What the error says does fit, with the other parts beside it.
	q.File.Offset, q.File.Length = ptr(int64(5)), ptr(fits)
	reply = look(t, g, q)
	if got := bytesOf(t, reply.File); got != string(content[5:5+fits]) || len(reply.Dir.Entries) < 10 || len(reply.Sys.Stats.Processes) < 2 {
		t.Errorf("got %d bytes, %d entries, %d processes", len(got), len(reply.Dir.Entries), len(reply.Sys.Stats.Processes))
	}
	*q.File.Length++
	if reply := look(t, g, q); !strings.Contains(reply.File.Error, "offset and length") {
		t.Errorf("one more: got %q", reply.File.Error)
	}
	if fits < 600_000 {
		t.Errorf("only %d bytes fit", fits)
	}
}

func TestFifoNeverBlocks(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mkfifo(dir+"/fifo", 0o644); err != nil {
		t.Fatal(err)
	}
	_ = os.Symlink("fifo", dir+"/link")
	g := newGlancer(t, policy.Policy{})
	start := time.Now()
	wantError(t, g, &pb.Glance{File: &pb.FileQuery{Path: dir + "/fifo", MaxSize: 100}}, 400, "not a regular file")
	wantError(t, g, &pb.Glance{File: &pb.FileQuery{Path: dir + "/link", MaxSize: 100}}, 400, "symbolic link")
	wantError(t, g, &pb.Glance{File: &pb.FileQuery{Path: dir, MaxSize: 100}}, 400, "is a directory")
	wantError(t, g, &pb.Glance{File: &pb.FileQuery{Path: "/dev/zero", MaxSize: 100}}, 400, "not a regular file")
	if took := time.Since(start); took > 30*time.Second {
		t.Errorf("took %s", took)
	}
	// One who waits to write to the fifo goes on waiting, and loses nothing.
	wrote := make(chan error, 1)
	go func() { wrote <- os.WriteFile(dir+"/fifo", []byte("kept"), 0) }()
	for range 20 {
		wantError(t, g, &pb.Glance{File: &pb.FileQuery{Path: dir + "/fifo", MaxSize: 100}}, 400, "not a regular file")
	}
	if got, err := os.ReadFile(dir + "/fifo"); string(got) != "kept" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if err := <-wrote; err != nil {
		t.Error(err)
	}
}

// Whole files take each other's place by rename: what comes back is one of them.
func TestFileThatIsReplacedWhileItIsRead(t *testing.T) {
	dir := t.TempDir()
	letters := "abcdefgh"
	put := func(i int) {
		content := bytes.Repeat([]byte{letters[i%8]}, 50_000+i%8*10_000)
		if err := os.WriteFile(dir+"/new", content, 0o644); err == nil {
			_ = os.Rename(dir+"/new", dir+"/f")
		}
	}
	put(0)
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			default:
				put(i)
				if i%10 == 0 { // now and then it is something else altogether
					_ = os.Remove(dir + "/f")
					_ = syscall.Mkfifo(dir+"/f", 0o644)
				}
			}
		}
	}()
	g := newGlancer(t, policy.Policy{})
	read := 0
	for deadline := time.Now().Add(time.Minute); read < 500 && time.Now().Before(deadline); {
		reply, err := g.Glance(context.Background(), &pb.Glance{File: &pb.FileQuery{Path: dir + "/f", MaxSize: 500_000}})
		var e *glance.Error
		if errors.As(err, &e) {
			continue // it was not there, or a fifo
		}
		read++
		got := bytesOf(t, reply.File)
		if want := 50_000 + strings.IndexByte(letters, got[0])*10_000; len(got) != want || strings.Trim(got, got[:1]) != "" || reply.File.Size != int64(want) {
			t.Fatalf("%d bytes of %q, size %d", len(got), got[0], reply.File.Size)
		}
	}
	close(done)
	<-stopped
	if read < 500 {
		t.Errorf("read %d times only", read)
	}
}

func TestFileThatGrowsIsReadAsItWas(t *testing.T) {
	path := write(t, t.TempDir()+"/f", bytes.Repeat([]byte("x"), 1000))
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		defer f.Close()
		for n := 0; n < 400_000; n += 100 {
			select {
			case <-done:
				return
			default:
				_, _ = f.Write(bytes.Repeat([]byte("y"), 100))
			}
		}
	}()
	g := newGlancer(t, policy.Policy{})
	for range 500 {
		f := look(t, g, &pb.Glance{File: &pb.FileQuery{Path: path, MaxSize: 500_000}}).File
		if n := len(bytesOf(t, f)); int64(n) != f.Size {
			t.Fatalf("%d bytes, size %d", n, f.Size)
		}
	}
	close(done)
	<-stopped
}

func TestPolicyHoldsForFiles(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/root/in", []byte("in"))
	write(t, dir+"/out", []byte("out"))
	for link, to := range map[string]string{"up": "..", "abs": dir, "etc": "/etc"} {
		if err := os.Symlink(to, dir+"/root/"+link); err != nil {
			t.Fatal(err)
		}
	}
	g := newGlancer(t, policy.Policy{Files: policy.FileRules{Roots: []string{dir + "/root"}}})
	if got := bytesOf(t, look(t, g, &pb.Glance{File: &pb.FileQuery{Path: dir + "/root/in", MaxSize: 10}}).File); got != "in" {
		t.Errorf("got %q", got)
	}
	for _, path := range []string{"up/out", "abs/out", "../out", "etc/passwd"} {
		wantError(t, g, &pb.Glance{File: &pb.FileQuery{Path: dir + "/root/" + path, MaxSize: 1 << 16}}, 403, "files.roots")
	}
	for _, path := range []string{"up/.", "abs/.", "..", "etc/."} {
		wantError(t, g, &pb.Glance{Dir: &pb.DirQuery{Path: dir + "/root/" + path}}, 403, "files.roots")
	}
}
