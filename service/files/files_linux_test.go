package files_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/runnel-io/runnel/service/files"
)

const childEnv = "RUNNEL_FILES_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		os.Exit(child())
	}
	os.Exit(m.Run())
}

func bothResolvers(t *testing.T, cfg files.Config, check func(t *testing.T, f *files.Files)) {
	t.Run("openat2", func(t *testing.T) { check(t, files.New(cfg)) })
	t.Run("portable", func(t *testing.T) { check(t, files.Portable(files.New(cfg))) })
}

func TestSecretsAreDenied(t *testing.T) {
	dir := t.TempDir()
	mustLink(t, "/etc/shadow", dir+"/link")
	mustLink(t, "/etc", dir+"/etc-link")
	mustWrite(t, dir+"/data/creds/seed", "SU…")
	mustWrite(t, dir+"/data/x", "x")
	mustLink(t, dir+"/data", dir+"/alias")
	if err := os.Link(dir+"/data/x", dir+"/hard"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"home/a/.ssh/id_ed25519", "home/a/.ssh/id_work", "home/a/.ssh/x.pem", "x/id_rsa", "etc/ssl/private/any", "etc/nginx/ssl/site.key",
		"etc/ssh/ssh_host_rsa_key", "etc/letsencrypt/live/privkey1.pem", "a.p12", "etc/pki/tls/private/localhost.key", "chroot/etc/shadow", "chroot/etc/gshadow-",
		"my.KDBX", "sub/deny/y", "server.key", "my-private.pem", "id_rsa.bak", "my.jks",
	} {
		mustWrite(t, dir+"/"+name, "secret")
	}
	mustWrite(t, dir+"/plain.txt", "-----BEGIN OPENSSH PRIVATE KEY-----\nsecret")
	mustWrite(t, dir+"/cert.pem", "-----BEGIN CERTIFICATE-----\n")
	const key = "-----BEGIN PRIVATE KEY-----\nsecret"
	for name, text := range map[string]string{
		"both": "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n" + key, "ec": "-----BEGIN EC PARAMETERS-----\nx\n-----END EC PARAMETERS-----\n" + key,
		"bag": "Bag Attributes\n    friendlyName: x\n" + key, "blank": "\n\n" + key, "bom": "\xef\xbb\xbf" + key, "age": "# created: now\n# public key: age1x\nAGE-SECRET-KEY-1XYZ\n",
		"creds": "-----BEGIN NATS USER JWT-----\nx\n------END NATS USER JWT------\n\n-----BEGIN USER NKEY SEED-----\nSUA\n", "seed": "SUA" + strings.Repeat("B", 55) + "\n",
	} {
		mustWrite(t, dir+"/keys/"+name, text)
	}
	mustWrite(t, dir+"/keys.go", "var begin = \"-----BEGIN PRIVATE KEY-----\"\n")
	mustWrite(t, dir+"/var/backups/shadow.bak", "secret")
	p := files.Config{Deny: []string{"*.KDBX", dir + "/sub/d*", "/proc/*/maps"}, Own: []string{dir + "/data", dir + "/hardlinked"}}
	pid := os.Getpid()
	bothResolvers(t, p, func(t *testing.T, f *files.Files) {
		for _, path := range []string{
			"/etc/shadow", "/etc/../etc/shadow", "//etc/./shadow", dir + "/etc-link/shadow", "/etc/gshadow",
			"/proc/self/environ", "/proc/thread-self/environ", fmt.Sprintf("/proc/%d/environ", pid), fmt.Sprintf("/proc/%d/task/%d/environ", pid, pid),
			"/proc/1/environ", "/proc/self/mem", "/proc/kcore", "/proc/self/maps",
			"/proc/self/root/etc/shadow", "/proc/self/root/proc/self/environ", "/proc/1/root/etc/shadow", "/proc/self/cwd/../../../../../../../../etc/shadow",
			dir + "/data/x", dir + "/data/creds/seed", dir + "/alias/x", dir + "/data/../data/x", "/proc/self/root" + dir + "/data/x",
			dir + "/home/a/.ssh/id_ed25519", dir + "/home/a/.ssh/id_work", dir + "/home/a/.ssh/x.pem", dir + "/x/id_rsa", dir + "/etc/ssl/private/any", dir + "/etc/nginx/ssl/site.key", dir + "/etc/ssh/ssh_host_rsa_key",
			dir + "/etc/letsencrypt/live/privkey1.pem", dir + "/etc/pki/tls/private/localhost.key",
			dir + "/server.key", dir + "/my-private.pem", dir + "/id_rsa.bak", dir + "/my.jks", dir + "/plain.txt",
			dir + "/keys/both", dir + "/keys/ec", dir + "/keys/bag", dir + "/keys/blank", dir + "/keys/bom", dir + "/keys/age", dir + "/keys/creds", dir + "/keys/seed",
			dir + "/var/backups/shadow.bak",
			dir + "/my.KDBX", dir + "/sub/deny/y", dir + "/a.p12", dir + "/chroot/etc/shadow", dir + "/chroot/etc/gshadow-",
		} {
			if _, err := os.Lstat(path); err != nil {
				continue // not on this host
			}
			got, err := reads(f, path)
			var r *files.Refusal
			switch {
			case err == nil:
				t.Errorf("%s: could be read: %.20q", path, got)
			case errors.As(err, &r) && r.Rule == "files.deny":
			default:
				t.Errorf("%s: got %v, want a refusal by files.deny", path, err)
			}
		}
		for _, path := range []string{dir + "/link", "/proc/self/fd/0", "/proc/self/exe", "/dev/fd/0", "/dev/stdin", "/proc/self/root", "/proc/self/fd/../environ"} {
			if _, err := reads(f, path); err == nil {
				t.Errorf("%s: could be read", path)
			}
		}
		if _, err := f.OpenDir(dir + "/data/creds"); err == nil {
			t.Error("the runner's own folder can be listed")
		}
		if _, err := f.OpenDir(dir + "/data"); err == nil {
			t.Error("the runner's own folder can be listed")
		}
	})
}

// A root in /proc does not lead out by the kernel's own links.
func TestMagicLinksUnderARoot(t *testing.T) {
	f := files.New(files.Config{Roots: []string{"/proc"}})
	for _, path := range []string{"/proc/self/root/etc/passwd", "/proc/self/cwd/files.go", "/proc/thread-self/root/etc/hostname"} {
		var r *files.Refusal
		if got, err := reads(f, path); !errors.As(err, &r) {
			t.Errorf("%s: got %.20q, %v, want a refusal", path, got, err)
		}
	}
	if _, err := reads(f, "/proc/self/status"); err != nil {
		t.Error(err)
	}
}

func TestTheRestCanBeRead(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a.txt", "ssl/cert.pem", ".ssh/id_rsa.pub", ".ssh/known_hosts", "private/notes", "etc/shadowsocks.json", "monkey.txt", "data2/x", "shadow"} {
		mustWrite(t, dir+"/"+name, "fine")
	}
	mustLink(t, "data2", dir+"/alias")
	mustLink(t, dir+"/data2", dir+"/absolute")
	bothResolvers(t, files.Config{Own: []string{dir + "/data"}}, func(t *testing.T, f *files.Files) {
		for _, name := range []string{"a.txt", "ssl/cert.pem", ".ssh/id_rsa.pub", ".ssh/known_hosts", "private/notes", "etc/shadowsocks.json", "monkey.txt", "data2/x", "shadow", "alias/x", "absolute/x", "data2/../a.txt"} {
			if got, err := reads(f, dir+"/"+name); err != nil || got != "fine" {
				t.Errorf("%s: got %q, %v", name, got, err)
			}
		}
		for _, path := range []string{"/proc/self/status", "/proc/self/cmdline", "/proc/meminfo", "/etc/passwd", "/proc/cmdline"} {
			if got, err := reads(f, path); err != nil || got == "" {
				t.Errorf("%s: got %q, %v", path, got, err)
			}
		}
		for _, path := range []string{"/", "/proc", "/proc/self/", "/proc/self/fd", "/etc", dir, dir + "/", dir + "/alias/.."} {
			d, err := f.OpenDir(path)
			if err != nil {
				t.Errorf("%s: %v", path, err)
				continue
			}
			d.Close()
		}
	})
}

func TestCommandLinesCanBeHidden(t *testing.T) {
	f := files.New(files.Config{HideCommandLines: true})
	for _, path := range []string{"/proc/self/cmdline", "/proc/1/cmdline", "/proc/self/task/" + fmt.Sprint(os.Getpid()) + "/cmdline"} {
		_, err := reads(f, path)
		wantRule(t, err, "files.deny")
	}
	if _, err := reads(f, "/proc/cmdline"); err != nil {
		t.Errorf("the kernel's own: %v", err)
	}
}

func TestRoots(t *testing.T) {
	dir := t.TempDir()
	mustWrite(t, dir+"/root/in", "in")
	mustWrite(t, dir+"/root/sub/deep", "deep")
	mustWrite(t, dir+"/outside/out", "out")
	mustWrite(t, dir+"/rootless/out", "out")
	mustLink(t, "../outside", dir+"/root/leads-out")
	mustLink(t, dir+"/outside", dir+"/root/leads-out-absolutely")
	mustLink(t, "/proc/self/root", dir+"/root/magic")
	mustLink(t, "sub", dir+"/root/stays")
	mustLink(t, "sub/deep", dir+"/root/file-link")
	p := files.Config{Roots: []string{dir + "/root", dir + "/root/sub/"}}
	bothResolvers(t, p, func(t *testing.T, f *files.Files) {
		for path, want := range map[string]string{"in": "in", "sub/deep": "deep", "stays/deep": "deep", "./in": "in", "sub/../in": "in", "/in": "in"} {
			if got, err := reads(f, dir+"/root/"+path); err != nil || got != want {
				t.Errorf("%s: got %q, %v, want %q", path, got, err, want)
			}
		}
		for _, path := range []string{
			"leads-out/out", "leads-out-absolutely/out", "../outside/out", "sub/../../outside/out", "stays/../../outside/out", "../rootless/out",
			"magic" + dir + "/outside/out", "magic/etc/passwd",
		} {
			_, err := reads(f, dir+"/root/"+path)
			wantRule(t, err, "files.roots")
		}
		for _, path := range []string{"/etc/passwd", dir + "/rootless/out", dir, "/"} {
			_, err := reads(f, path)
			wantRule(t, err, "files.roots")
			_, err = f.OpenDir(path)
			wantRule(t, err, "files.roots")
		}
		if _, err := reads(f, dir+"/root/file-link"); !errors.Is(err, syscall.ELOOP) {
			t.Errorf("a link: got %v, want ELOOP", err)
		}
		if d, err := f.OpenDir(dir + "/root"); err != nil {
			t.Error(err)
		} else {
			d.Close()
		}
		if _, err := f.OpenDir(dir + "/root/stays"); !errors.Is(err, syscall.ENOTDIR) && !errors.Is(err, syscall.ELOOP) {
			t.Errorf("a link to a directory: got %v", err)
		}
	})
}

// A link that flips between inside and outside while it is followed never leads out.
func TestRootsHoldWhileLinksChange(t *testing.T) {
	dir := t.TempDir()
	mustWrite(t, dir+"/root/a/f", "in")
	mustWrite(t, dir+"/b/f", "out")
	done := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			default:
			}
			_ = os.Symlink([]string{"a", "../b"}[i%2], dir+"/tmp")
			_ = os.Rename(dir+"/tmp", dir+"/root/l")
		}
	}()
	bothResolvers(t, files.Config{Roots: []string{dir + "/root"}}, func(t *testing.T, f *files.Files) {
		for range 2000 {
			if got, err := reads(f, dir+"/root/l/f"); err == nil && got != "in" {
				t.Fatalf("got %q", got)
			}
		}
	})
	close(done)
	<-stopped
}

func TestFifoIsNotOpened(t *testing.T) {
	fifo := t.TempDir() + "/fifo"
	if err := syscall.Mkfifo(fifo, 0o644); err != nil {
		t.Fatal(err)
	}
	bothResolvers(t, files.Config{}, func(t *testing.T, f *files.Files) {
		start := time.Now()
		if _, err := f.OpenFile(fifo); !errors.Is(err, files.ErrNotRegular) {
			t.Errorf("got %v, want ErrNotRegular", err)
		}
		if _, err := f.OpenFile("/dev/zero"); !errors.Is(err, files.ErrNotRegular) {
			t.Errorf("/dev/zero: got %v, want ErrNotRegular", err)
		}
		if took := time.Since(start); took > 30*time.Second {
			t.Errorf("took %s", took)
		}
	})
}

func TestOddPaths(t *testing.T) {
	bothResolvers(t, files.Config{}, func(t *testing.T, f *files.Files) {
		for _, path := range []string{"", "etc/passwd", "../x", "/a\x00b", "/" + strings.Repeat("x", 300), "/" + strings.Repeat("x/", 5000), "/etc/passwd/x", "/nope", ".", "~"} {
			if _, err := f.OpenFile(path); err == nil {
				t.Errorf("file %.20q: no error", path)
			}
			if _, err := f.OpenDir(path); err == nil {
				t.Errorf("dir %.20q: no error", path)
			}
		}
	})
}

// The runner's folder under another name by bind mounts, of the whole and of a
// part: in a mount namespace of its own.
func TestBindMounts(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: a bind mount in a mount namespace of its own")
	}
	dir := t.TempDir()
	mustWrite(t, dir+"/data/sub/seed", "seed")
	mustWrite(t, dir+"/fine/f", "fine")
	for _, d := range []string{"whole", "part", "proc", "other"} {
		mustWrite(t, dir+"/"+d+"/empty", "")
	}
	mustWrite(t, dir+"/shadowed", "")
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), childEnv+"="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	out, err := cmd.CombinedOutput()
	if err != nil && strings.Contains(string(out), "cannot mount") {
		t.Skipf("cannot mount here: %s", out)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func child() int {
	dir := os.Getenv(childEnv)
	mount := func(from, to, kind string, flags uintptr) {
		if err := syscall.Mount(from, to, kind, flags, ""); err != nil {
			fmt.Printf("cannot mount %s: %v\n", to, err)
			os.Exit(1)
		}
	}
	mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE)
	mount(dir+"/data", dir+"/whole", "", syscall.MS_BIND)
	mount(dir+"/data/sub", dir+"/part", "", syscall.MS_BIND)
	mount("proc", dir+"/proc", "proc", 0)
	mount(dir+"/fine", dir+"/other", "", syscall.MS_BIND)
	mount("/etc/shadow", dir+"/shadowed", "", syscall.MS_BIND)
	f := files.New(files.Config{Own: []string{dir + "/data"}})
	code := 0
	for _, path := range []string{"whole/sub/seed", "part/seed", "proc/self/environ", "shadowed", "data/sub/seed"} {
		if _, err := reads(f, dir+"/"+path); !errors.As(err, new(*files.Refusal)) {
			fmt.Printf("%s: got %v, want a refusal\n", path, err)
			code = 1
		}
	}
	if got, err := reads(f, dir+"/other/f"); err != nil || got != "fine" {
		fmt.Printf("other/f: got %q, %v\n", got, err)
		code = 1
	}
	return code
}

func TestNothingStaysOpen(t *testing.T) {
	dir := t.TempDir()
	mustWrite(t, dir+"/f", "x")
	mustWrite(t, dir+"/data/x", "x")
	count := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	before := count()
	bothResolvers(t, files.Config{Own: []string{dir + "/data"}}, func(t *testing.T, f *files.Files) {
		for range 100 {
			for _, path := range []string{dir + "/f", dir + "/data/x", "/etc/shadow", "/nope", "/dev/zero", dir, "/proc/self/root/etc/shadow"} {
				_, _ = reads(f, path)
			}
			if d, err := f.OpenDir(dir); err == nil {
				d.Close()
			}
		}
	})
	if after := count(); after > before+10 {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}
