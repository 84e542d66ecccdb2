//go:build unix

package connect

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/jsm.go/natscontext"
)

// Neither is the seed that a local server has left, once others may write to it.
func TestSeedOfOthersIsRefused(t *testing.T) {
	seed := filepath.Join(t.TempDir(), "user.nk")
	if err := errors.Join(os.WriteFile(seed, []byte("x"), 0o600), os.Chmod(seed, 0o666)); err != nil {
		t.Fatal(err)
	}
	_, err := (&Target{Origin: "the local runnel serve web1", local: &Local{SeedFile: seed}}).Connect()
	if err == nil || !strings.HasPrefix(err.Error(), "cannot trust the credentials of the local runnel serve web1: others may write to "+seed) {
		t.Errorf("got %v", err)
	}
}

// Whatever says who this is, or which server is the right one, is refused where
// somebody else may change it: named by a flag or by a context, the file or its
// directory.
func TestFilesOfOthersAreRefused(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("XDG_CONFIG_HOME", filepath.Join(home, "config"))
	t.Setenv("NATS_CONTEXT", "")
	dir := filepath.Join(home, "dir")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	file := func(name string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	creds, nkey, cert, key, ca := file("creds"), file("nkey"), file("cert"), file("key"), file("ca")
	saved, err := natscontext.New("saved", false, natscontext.WithServerURL("nats://nats.example"), natscontext.WithCA(ca))
	if err == nil {
		err = saved.Save("saved")
	}
	if err != nil {
		t.Fatal(err)
	}
	refusal := func(f *Flags) string {
		f.server, f.Timeout = "nats://nats.example", defaultTimeout
		if f.context != "" {
			f.server = ""
		}
		if _, err := f.Find(Search{}); err != nil {
			return err.Error()
		}
		return ""
	}
	for path, flags := range map[string]func() *Flags{
		creds: func() *Flags { return &Flags{Creds: creds} },
		nkey:  func() *Flags { return &Flags{Nkey: nkey} },
		cert:  func() *Flags { return &Flags{cert: cert, Key: key} },
		key:   func() *Flags { return &Flags{cert: cert, Key: key} },
		ca:    func() *Flags { return &Flags{ca: ca} },
		filepath.Join(home, "config", "nats", "context", "saved.json"): func() *Flags { return &Flags{context: "saved"} },
	} {
		const trust = "cannot trust what "
		if got := refusal(flags()); strings.Contains(got, trust) {
			t.Errorf("%s, private: %s", path, got)
		}
		for _, c := range []struct {
			path           string
			mode, previous os.FileMode
		}{{path, 0o666, 0o600}, {filepath.Dir(path), 0o777, 0o700}} {
			if err := os.Chmod(c.path, c.mode); err != nil {
				t.Fatal(err)
			}
			if got := refusal(flags()); !strings.Contains(got, trust) || !strings.Contains(got, "others may write to "+c.path+" ") {
				t.Errorf("%s: got %q", c.path, got)
			}
			if err := os.Chmod(c.path, c.previous); err != nil {
				t.Fatal(err)
			}
		}
		// Readable for all, as Kubernetes mounts secrets, is nobody's to change.
		if err := os.Chmod(path, 0o644); err != nil {
			t.Fatal(err)
		}
		if got := refusal(flags()); strings.Contains(got, trust) {
			t.Errorf("%s, readable: %s", path, got)
		}
	}
}
