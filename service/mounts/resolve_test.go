package mounts_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/runnel-io/runnel/service/mounts"
)

func parse(t *testing.T, text string) *mounts.Table {
	t.Helper()
	table, err := mounts.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func TestResolve(t *testing.T) {
	table := parse(t, host)
	for path, want := range map[string]string{
		"/":                       "/",
		"/nowhere/./at/../all/":   "/nowhere/all",
		"/mnt/two words/x":        "/mnt/two words/x",
		"/mnt/nfs/x/y":            "/mnt/nfs", // no further
		"/mnt/nfs/../x":           "/mnt/nfs",
		"/../../nowhere":          "/nowhere",
		"/proc/1/../1/status":     "/proc/1/status",
		"/proc/1/task/1/cwd/here": "/proc/1/task/1/cwd",
	} {
		if _, real, err := table.Resolve(path); err != nil || real != want {
			t.Errorf("Resolve(%q) = %q, %v; want %q", path, real, err, want)
		}
	}
}

func TestBelow(t *testing.T) {
	table := parse(t, host+`50 27 0:60 / /mnt/nfs/.. rw - nfs4 x rw
51 32 0:61 / /mnt/two\040words/dead rw - cifs x rw
52 32 0:62 / /mnt/two\040words/fine rw - tmpfs x rw
53 32 0:63 / /mnt/two\040words/deep/dead rw - cifs x rw
54 32 0:64 / /mnt/two\040words/covered rw - tmpfs x rw
55 54 0:65 / /mnt/two\040words/covered rw - ceph x rw
`)
	for dir, want := range map[string]string{
		"/mnt/two words":  "covered dead",
		"/mnt/two words/": "covered dead",
		"/mnt":            "nfs over",
		"/":               "auto back\\slash layers",
		"/srv":            "bind",
		"/etc":            "",
	} {
		if got := strings.Join(slices.Sorted(maps.Keys(table.Below(dir))), " "); got != want {
			t.Errorf("Below(%q) = %q, want %q", dir, got, want)
		}
	}
	if m := table.Below("/mnt/two words")["covered"]; m.Type != "ceph" {
		t.Errorf("got %v, want what lies on top", m)
	}
}

func TestByID(t *testing.T) {
	table := parse(t, host)
	if m, ok := table.ByID(32); !ok || m.Point != "/mnt/two words" || m.Root != "/sub" || m.Device != "8:1" {
		t.Errorf("got %+v, %v", m, ok)
	}
	if m, ok := table.ByID(4711); ok {
		t.Errorf("got %+v", m)
	}
}

// Every type that is not known to be local may hang, those to come too.
func TestTypes(t *testing.T) {
	for kind, hangs := range map[string]bool{
		"ext4": false, "xfs": false, "btrfs": false, "tmpfs": false, "zfs": false, "cgroup2": false, "vfat": false, "squashfs": false, "erofs": false,
		"nfs": true, "nfs4": true, "fuse": true, "fuse.sshfs": true, "fuseblk": true, "cifs": true, "smb3": true, "9p": true, "ceph": true, "glusterfs": true,
		"lustre": true, "afs": true, "autofs": true, "virtiofs": true, "beegfs": true, "gpfs": true, "orangefs": true, "ext5": true, "": true,
	} {
		m, err := parse(t, "1 0 8:1 / / rw - ext4 a rw\n2 1 0:9 / /m rw - "+kind+" x rw\n").Find("/m/x")
		if err != nil || m.Point != "/m" || m.MayHang() != hangs {
			t.Errorf("%q: got %v, hangs %v, %v; want %v", kind, m, m.MayHang(), err, hangs)
		}
	}
}

// A table that contradicts itself is walked to an end all the same.
func TestTablesThatLie(t *testing.T) {
	for _, text := range []string{
		"", "1 1 0:5 / / rw - ext4 a rw\n", "2 3 0:5 / /a rw - ext4 a rw\n3 2 0:5 / /a rw - nfs a rw\n",
		"1 2 0:5 / / rw - ext4 a rw\n2 1 0:5 / / rw - ext4 a rw\n", "1 0 0:5 / / rw - overlay a lowerdir=/:/a,upperdir=/\n",
	} {
		table, _ := mounts.Parse(text)
		if _, err := table.Find("/a/b/../c"); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}
