//go:build unix

package glance_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/user"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/glance"
	"github.com/runnel-io/runnel/service/policy"
)

// list follows next to the end.
func list(t testing.TB, g *glance.Glancer, path string, limit int64) (all []*pb.Entry, pages int) {
	t.Helper()
	for next := ""; ; {
		d := look(t, g, &pb.Glance{Dir: &pb.DirQuery{Path: path, Limit: limit, Next: next}}).Dir
		all = append(all, d.Entries...)
		pages++
		if next = d.Next; next == "" {
			return all, pages
		}
		if pages > 300000 {
			t.Fatal("no end of pages")
		}
	}
}

func namesOf(entries []*pb.Entry) []string {
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name
	}
	return names
}

func TestDirEntries(t *testing.T) {
	dir := t.TempDir()
	stamp := time.Date(2021, 3, 4, 5, 6, 7, 999, time.Local)
	write(t, dir+"/file", []byte("12345"))
	write(t, dir+"/sub/x", nil)
	for _, err := range []error{
		os.Chmod(dir+"/file", 0o640), os.Chtimes(dir+"/file", stamp, stamp), os.Symlink("sub", dir+"/link"), os.Symlink("/nope", dir+"/dangling"),
		syscall.Mkfifo(dir+"/fifo", 0o644), os.Chmod(dir+"/fifo", 0o644), os.Mkdir(dir+"/sticky", 0o777), os.Chmod(dir+"/sticky", 0o777|os.ModeSticky),
		os.Chmod(dir+"/sub", 0o755), os.Chmod(dir, 0o700),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	all, _ := list(t, newGlancer(t, policy.Policy{}), dir, 0)
	if got, want := namesOf(all), []string{".", "..", "dangling", "fifo", "file", "link", "sticky", "sub"}; !slices.Equal(got, want) {
		t.Fatalf("got %q, want %q", got, want)
	}
	modes := map[string]string{}
	for _, e := range all {
		modes[e.Name] = fmt.Sprint(e.Mode, e.IsDir)
	}
	delete(modes, "..")
	want := map[string]string{
		".": "drwx------true", "dangling": "Lrwxrwxrwxfalse", "fifo": "prw-r--r--false", "file": "-rw-r-----false",
		"link": "Lrwxrwxrwxfalse", "sticky": "dtrwxrwxrwxtrue", "sub": "drwxr-xr-xtrue",
	}
	if d := cmp.Diff(want, modes); d != "" {
		t.Errorf("want -, got +\n%s", d)
	}
	me, err := user.Current()
	if err != nil {
		t.Skip(err)
	}
	if f := all[4]; f.Size != 5 || f.Time != "2021-03-04 05:06:07" || f.User != me.Username {
		t.Errorf("got %v, want 5 bytes, 2021-03-04 05:06:07, user %s", f, me.Username)
	}
	// The same as the standard library says, for every entry.
	for _, e := range all[2:] {
		info, err := os.Lstat(dir + "/" + e.Name)
		if err != nil || info.Mode().String() != e.Mode || info.Size() != e.Size || info.ModTime().Format("2006-01-02 15:04:05") != e.Time {
			t.Errorf("got %v, want %v %d %v (%v)", e, info.Mode(), info.Size(), info.ModTime(), err)
		}
	}
}

func TestModesAreAsGoPrintsThem(t *testing.T) {
	g := newGlancer(t, policy.Policy{})
	for _, dir := range []string{"/dev", "/tmp", "/usr/bin", "/run", "/etc", "/proc/self/"} {
		all, _ := list(t, g, dir, 0)
		for _, e := range all {
			if info, err := os.Lstat(dir + "/" + e.Name); err == nil && info.Mode().String() != e.Mode && e.Mode != "?---------" {
				t.Errorf("%s/%s: got %s, want %s", dir, e.Name, e.Mode, info.Mode())
			}
		}
	}
}

func TestWhatIsNoDir(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/file", nil)
	_ = os.Symlink(dir, dir+"/link")
	_ = syscall.Mkfifo(dir+"/fifo", 0o644)
	g := newGlancer(t, policy.Policy{})
	for name, want := range map[string]string{"file": "invalid dir", "link": "invalid dir", "fifo": "invalid dir", "file/x": "invalid dir", "nope": "no such file or directory", "nope/x": "no such file or directory"} {
		wantError(t, g, &pb.Glance{Dir: &pb.DirQuery{Path: dir + "/" + name}}, 400, want)
	}
	wantError(t, g, &pb.Glance{Dir: &pb.DirQuery{Path: "relative"}}, 400, "absolute")
	wantError(t, g, &pb.Glance{Dir: &pb.DirQuery{}}, 400, "dir.path is missing")
	wantError(t, g, &pb.Glance{File: &pb.FileQuery{}}, 400, "file.path is missing")
}

func TestDirPages(t *testing.T) {
	dir := t.TempDir()
	names := []string{".", "..", "!", "-x", "...", "A", "Z", "a", "aa", "b", "é", "with blank", "new\nline", "q\"uote", "\xff\xfe", "\xff\xff", "~"}
	for _, n := range names[2:] {
		write(t, dir+"/"+n, nil)
	}
	slices.Sort(names[2:])
	g := newGlancer(t, policy.Policy{})
	for limit := int64(1); limit < 20; limit++ {
		all, pages := list(t, g, dir, limit)
		var want []string
		for _, n := range names {
			want = append(want, strings.ToValidUTF8(n, "\uFFFD"))
		}
		if got := namesOf(all); !slices.Equal(got, want) {
			t.Errorf("limit %d: got %q, want %q", limit, got, want)
		}
		if want := (len(names) + int(limit) - 1) / int(limit); pages != want {
			t.Errorf("limit %d: got %d pages, want %d", limit, pages, want)
		}
	}
}

func TestDirOf100000(t *testing.T) {
	dir := t.TempDir()
	const count = 100_000
	fill(t, dir, count)
	g := newGlancer(t, policy.Policy{})
	start := time.Now()
	first := look(t, g, &pb.Glance{Dir: &pb.DirQuery{Path: dir}}).Dir
	if len(first.Entries) != glance.DefaultDirLimit || first.Next == "" {
		t.Errorf("got %d entries, next %q", len(first.Entries), first.Next)
	}
	t.Logf("the first page took %s", time.Since(start))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	look(t, g, &pb.Glance{Dir: &pb.DirQuery{Path: dir}})
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 8<<20 {
		t.Errorf("a page allocated %d bytes", used)
	}
	all, pages := list(t, g, dir, 1<<40)
	names := namesOf(all)
	if len(names) != count+2 || !slices.IsSorted(names[2:]) || len(slices.Compact(names)) != count+2 {
		t.Errorf("got %d entries, sorted %v", len(names), slices.IsSorted(names[2:]))
	}
	t.Logf("%d pages of what fits", pages)
}

// fill makes empty files in an order that is not theirs.
func fill(t testing.TB, dir string, count int) {
	t.Helper()
	for _, i := range rand.Perm(count) {
		fd, err := syscall.Open(fmt.Sprintf("%s/file-%06d", dir, i), syscall.O_CREAT|syscall.O_WRONLY|syscall.O_CLOEXEC, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		syscall.Close(fd)
	}
}

func TestEntriesThatVanishAreSkipped(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/keep", nil)
	g := newGlancer(t, policy.Policy{})
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			default:
			}
			name := fmt.Sprintf("%s/temp-%d", dir, i%50)
			_ = os.WriteFile(name, nil, 0o644)
			_ = os.Remove(name)
		}
	}()
	for range 300 {
		all, _ := list(t, g, dir, 0)
		for _, e := range all {
			if e.Mode == "" || strings.HasPrefix(e.Mode, "?") || e.Time == "" {
				t.Fatalf("half an entry: %v", e)
			}
		}
		if !slices.Contains(namesOf(all), "keep") {
			t.Fatal("keep is missing")
		}
	}
	close(done)
	<-stopped
}

func TestUnknownOwnersAreNumbers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: to give a file to an account that doesn't exist")
	}
	dir := t.TempDir()
	write(t, dir+"/f", nil)
	if err := os.Lchown(dir+"/f", 3999999, 3999998); err != nil {
		t.Fatal(err)
	}
	all, _ := list(t, newGlancer(t, policy.Policy{}), dir, 0)
	if f := all[2]; f.User != "3999999" || f.Group != "3999998" {
		t.Errorf("got %s %s", f.User, f.Group)
	}
}

func FuzzDirNext(f *testing.F) {
	f.Add("")
	f.Add("Li4")
	f.Add(glance.DirNext("\xff"))
	f.Fuzz(func(t *testing.T, next string) {
		name, err := glance.DirAfter(next)
		if err == nil && glance.DirNext(name) != next {
			t.Errorf("%q: got %q, which is %q", next, name, glance.DirNext(name))
		}
	})
}

// floor is what the listing can't do without: read the directory and lstat.
func floor(b testing.TB, dir string) int {
	entries, err := os.ReadDir(dir)
	if err != nil {
		b.Fatal(err)
	}
	for _, e := range entries {
		if _, err := e.Info(); err != nil {
			b.Fatal(err)
		}
	}
	return len(entries)
}

const listed = 10_000

func BenchmarkDir(b *testing.B) {
	dir := b.TempDir()
	fill(b, dir, listed)
	b.Run("floor", func(b *testing.B) {
		for b.Loop() {
			floor(b, dir)
		}
	})
	g := newGlancer(b, policy.Policy{}, func(c *glance.Config) { c.MaxReplyBytes = 16 << 20 })
	for name, limit := range map[string]int64{"one page": listed + 2, "pages of 1000": 0} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if all, _ := listQuietly(b, g, dir, limit); all != listed+2 {
					b.Fatal(all)
				}
			}
		})
	}
}

func listQuietly(t testing.TB, g *glance.Glancer, path string, limit int64) (count, pages int) {
	for next := ""; ; {
		reply, err := g.Glance(context.Background(), &pb.Glance{Dir: &pb.DirQuery{Path: path, Limit: limit, Next: next}})
		if err != nil {
			t.Fatal(err)
		}
		count, pages = count+len(reply.Dir.Entries), pages+1
		if next = reply.Dir.Next; next == "" {
			return count, pages
		}
	}
}

func TestListingCostsNoMoreThanTwiceTheFloor(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("measures time")
	}
	dir := t.TempDir()
	fill(t, dir, listed)
	g := newGlancer(t, policy.Policy{}, func(c *glance.Config) { c.MaxReplyBytes = 16 << 20 })
	if r := ratio(t, "one page", func() { floor(t, dir) }, func() { listQuietly(t, g, dir, listed+2) }); r > 2 {
		t.Errorf("listing costs %.2f times the floor, want 2 at most", r)
	}
	// Each page reads the whole directory again: what small pages cost.
	ratio(t, "pages of 1,000", func() { floor(t, dir) }, func() { listQuietly(t, g, dir, 0) })
}

// ratio compares medians of interleaved rounds, so that what else the machine
// does meets both.
func ratio(t *testing.T, what string, floor, ours func()) float64 {
	t.Helper()
	const rounds = 15
	var a, b []time.Duration
	for range rounds {
		for f, to := range map[*func()]*[]time.Duration{&floor: &a, &ours: &b} {
			start := time.Now()
			(*f)()
			*to = append(*to, time.Since(start))
		}
	}
	slices.Sort(a)
	slices.Sort(b)
	r := float64(b[rounds/2]) / float64(a[rounds/2])
	t.Logf("%s: %s, the floor %s: %.2f", what, b[rounds/2], a[rounds/2], r)
	return r
}
