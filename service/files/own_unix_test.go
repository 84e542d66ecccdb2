//go:build unix

package files_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/runnel-io/runnel/service/files"
)

func TestOwn(t *testing.T) {
	for name, c := range map[string]struct {
		parent, dir, file os.FileMode
		ok                bool
	}{
		"private":           {0o700, 0o700, 0o600, true},
		"readable":          {0o755, 0o755, 0o644, true},
		"file for all":      {0o755, 0o755, 0o666, false},
		"directory for all": {0o755, 0o777, 0o600, false},
		"parent for all":    {0o777, 0o755, 0o600, false},
		"like /tmp":         {0o777 | os.ModeSticky, 0o700, 0o600, true},
		"parent like /tmp":  {0o755, 0o777 | os.ModeSticky, 0o600, true},
		"no x for others":   {0o702, 0o700, 0o600, false},
	} {
		t.Run(name, func(t *testing.T) {
			parent := filepath.Join(t.TempDir(), "parent")
			file := filepath.Join(parent, "dir", "file")
			mustWrite(t, file, "text")
			for path, mode := range map[string]os.FileMode{file: c.file, filepath.Dir(file): c.dir, parent: c.parent} {
				if err := os.Chmod(path, mode); err != nil {
					t.Fatal(err)
				}
			}
			if err := files.CheckOwn(file); (err == nil) != c.ok {
				t.Errorf("got %v", err)
			}
			link := filepath.Join(t.TempDir(), "link")
			mustLink(t, file, link)
			if err := files.CheckOwn(link); (err == nil) != c.ok {
				t.Errorf("by a link: got %v", err)
			}
		})
	}
}

// A directory that all may write to is no place for one's own data, sticky or not.
func TestOwnDirectory(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	err := files.CheckOwn(dir)
	if err == nil || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "chmod") {
		t.Errorf("got %v, want what to do about %s", err, dir)
	}
	if err := files.CheckOwn(filepath.Join(dir, "nothing")); !os.IsNotExist(err) {
		t.Errorf("got %v", err)
	}
}

// A link that others can replace is not trusted, wherever it leads.
func TestLinkOfOthers(t *testing.T) {
	dir, target := t.TempDir(), t.TempDir()
	mustLink(t, target, dir+"/link")
	if err := files.CheckOwn(dir + "/link"); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := files.CheckOwn(dir + "/link"); err == nil {
		t.Error("a link in a directory that all may write to is trusted")
	}
}

func TestOthersFiles(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	for name, owned := range map[string]string{"the file": "dir/file", "the directory": "dir", "above": "."} {
		root := filepath.Join(t.TempDir(), "root")
		mustWrite(t, root+"/dir/file", "text")
		if err := files.CheckOwn(root + "/dir/file"); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(filepath.Join(root, owned), 12345, 0); err != nil {
			t.Fatal(err)
		}
		if err := files.CheckOwn(root + "/dir/file"); err == nil || !strings.Contains(err.Error(), "12345") {
			t.Errorf("%s is another's: got %v", name, err)
		}
	}
	dir := t.TempDir()
	if err := os.Chown(dir, 0, 1); err != nil { // daemon
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o770); err != nil {
		t.Fatal(err)
	}
	if err := files.CheckOwn(dir); err == nil {
		t.Error("a directory that another group may write to is trusted")
	}
}

// What is under somebody else's home may be swapped by its owner, however private
// it looks itself.
func TestUnderSomebodyElsesHome(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	home := filepath.Join(t.TempDir(), "home")
	data := filepath.Join(home, "share", "data")
	if err := os.MkdirAll(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := files.CheckOwn(data); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(home, 12345, 12345); err != nil {
		t.Fatal(err)
	}
	err := files.CheckOwn(data)
	if err == nil || !strings.Contains(err.Error(), home+" belongs to account 12345") {
		t.Errorf("got %v, want whose %s is", err, home)
	}
}
