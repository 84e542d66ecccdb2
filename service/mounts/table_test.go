package mounts_test

import (
	"strings"
	"testing"

	"github.com/runnel-io/runnel/service/mounts"
)

const host = `22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 27 0:40 / /mnt/nfs rw shared:7 master:1 - nfs4 server:/export/a\040b rw,vers=4.2
31 30 0:41 / /mnt/nfs/local rw - tmpfs tmpfs rw
32 27 8:1 /sub /mnt/two\040words rw - ext4 /dev/sda1 rw
33 27 0:50 / /mnt/over rw - tmpfs old rw
34 33 0:51 / /mnt/over rw - fuse.sshfs me@host: rw
35 27 0:52 / /mnt/hidden/in rw - cifs //server/share rw
36 27 0:53 / /mnt/hidden rw - tmpfs hides rw
37 27 0:54 / /auto rw - autofs systemd-1 rw,fd=5
38 27 0:55 / /layers rw - overlay overlay rw,lowerdir=/mnt/nfs/lower:/var/x,upperdir=/var/u,workdir=/var/w
39 27 0:56 / /plain rw - overlay overlay rw,lowerdir=/var/l,upperdir=/var/u
40 27 0:57 / /back\134slash rw - 9p share rw
41 27 0:40 /sub /srv/bind rw - nfs4 server:/export/a\040b rw
`

func TestFind(t *testing.T) {
	table, err := mounts.Parse(host)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path, point string
		hangs       bool
	}{
		{"/etc/passwd", "/", false},
		{"/", "/", false},
		{"//", "/", false},
		{"/../..", "/", false},
		{"/mnt/nfs", "/mnt/nfs", true},
		{"/mnt/nfsx", "/", false},
		{"/mnt/../mnt/./nfs/x", "/mnt/nfs", true},
		{"/mnt/nfs/../x", "/mnt/nfs", true}, // the way leads through it
		{"/mnt/nfs/local/x", "/mnt/nfs", true},
		{"/mnt/two words/x", "/mnt/two words", false},
		{"/mnt/over/x", "/mnt/over", true},
		{"/mnt/hidden/in/x", "/mnt/hidden", false},
		{"/auto", "/auto", true},
		{"/layers/x", "/layers", true},
		{"/plain/x", "/plain", false},
		{`/back\slash/x`, `/back\slash`, true},
		{"/srv/bind/x", "/srv/bind", true},
		{"/proc/1/cwd/x", "/proc", true},
		{"/proc/1/task/1/root", "/proc", true},
		{"/proc/1/fd/3", "/proc", true},
		{"/proc/1/exe", "/proc", true},
		{"/proc/1/status", "/proc", false},
		{"/proc/1/fd", "/proc", false},
		{"/proc/meminfo", "/proc", false},
	} {
		m, err := table.Find(c.path)
		if err != nil || m.Point != c.point || m.MayHang() != c.hangs {
			t.Errorf("Find(%q) = %v, hangs %v, %v; want %s, %v", c.path, m, m.MayHang(), err, c.point, c.hangs)
		}
	}
	for _, bad := range []string{"", "etc", "./x", "/" + strings.Repeat("x/", 3000)} {
		if m, err := table.Find(bad); err == nil {
			t.Errorf("Find(%.20q) = %v without an error", bad, m)
		}
	}
}

func TestMountInWords(t *testing.T) {
	table, err := mounts.Parse(host)
	if err != nil {
		t.Fatal(err)
	}
	m, err := table.Find("/mnt/nfs")
	if err != nil || m.String() != "/mnt/nfs (nfs4)" || m.Source != "server:/export/a b" || m.Device != "0:40" {
		t.Errorf("%+v, %v", m, err)
	}
}

// In a chroot that is no mount point, the file system of "/" is not listed.
func TestChroot(t *testing.T) {
	table, err := mounts.Parse("50 27 0:5 / /dev rw - devtmpfs udev rw\n51 27 0:6 / /data rw - nfs s:/ rw\n")
	if err != nil {
		t.Fatal(err)
	}
	if m, err := table.Find("/etc"); err != nil || m.MayHang() || m.Point != "/" {
		t.Errorf("/etc: %v, %v", m, err)
	}
	if m, err := table.Find("/data/x"); err != nil || !m.MayHang() {
		t.Errorf("/data/x: %v, %v", m, err)
	}
}

// What the process itself lives on hangs with it: a helper would help nobody.
func TestRemoteRoot(t *testing.T) {
	table, err := mounts.Parse("1 0 0:5 / / rw - virtiofs root rw\n2 1 0:6 / /data rw - virtiofs data rw\n")
	if err != nil {
		t.Fatal(err)
	}
	if m, err := table.Find("/etc"); err != nil || m.MayHang() {
		t.Errorf("/etc: %v, %v", m, err)
	}
	if m, err := table.Find("/data"); err != nil || !m.MayHang() {
		t.Errorf("/data: %v, %v", m, err)
	}
}

func TestBadLines(t *testing.T) {
	for _, line := range []string{
		"x", "1 0 0:5 / / rw ext4 a", "a 0 0:5 / / rw - ext4 a rw", "1 -1 0:5 / / rw - ext4 a", "1 0 0:5 / relative rw - ext4 a", "1 0 0:5 / / rw - ext4",
		"99999999999 0 0:5 / / rw - ext4 a rw",
	} {
		table, err := mounts.Parse(line + "\n" + host)
		if err == nil {
			t.Errorf("no error for %q", line)
		}
		if m, err := table.Find("/mnt/nfs/x"); err != nil || !m.MayHang() {
			t.Errorf("the other lines are lost beside %q: %v, %v", line, m, err)
		}
	}
}

func TestUnescape(t *testing.T) {
	for in, want := range map[string]string{
		`a\040b`: "a b", `\011\012\134`: "\t\n\\", `\134040`: `\040`, `\04`: `\04`, `\`: `\`, `\999`: `\999`, `\777`: `\777`, `\043`: "#", "": "",
	} {
		if got := mounts.Unescape(in); got != want {
			t.Errorf("Unescape(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(host, "/mnt/nfs/../x")
	f.Add("1 1 0:5 / / rw - ext4 a rw\n1 1 0:5 / /a rw - nfs a rw", "/a/b")
	f.Add("2 3 0:5 / /a rw - ext4 a rw\n3 2 0:5 / /a rw - nfs a rw", "/a")
	f.Add("5 5 0:5 / / rw - overlay a lowerdir=/:/,upperdir=/\\040", "/proc/1/fd/3")
	f.Fuzz(func(t *testing.T, text, path string) {
		table, _ := mounts.Parse(text)
		m, err := table.Find(path)
		if err == nil && m.Point == "" {
			t.Errorf("Find(%q) found a mount without a point", path)
		}
	})
}
