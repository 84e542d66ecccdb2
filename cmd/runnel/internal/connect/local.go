package connect

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"time"

	"github.com/nats-io/jsm.go/natscontext"

	"github.com/runnel-io/runnel/service/files"
	"github.com/runnel-io/runnel/service/lockfile"
)

// Local is what a `runnel serve` with a NATS server of its own leaves for
// the commands of the same user: where the server is and what lets them in. It
// is a file of mode 0600 in the user's data directory, one a server, and it
// counts for as long as the server holds its lock, so that nobody has to clear
// up after a crash.
type Local struct {
	Name     string    `json:"name"`
	URL      string    `json:"url"`
	SeedFile string    `json:"seedFile"`
	Lock     string    `json:"lock"`
	Prefix   string    `json:"prefix,omitempty"`
	PID      int       `json:"pid"`
	Started  time.Time `json:"started"`

	path string // of the file that it has left
}

// UserDataDir is where Runnel keeps a user's data, unless told otherwise:
// $XDG_DATA_HOME/runnel, by default ~/.local/share/runnel.
func UserDataDir() (string, error) {
	base := os.Getenv("XDG_DATA_HOME")
	if !filepath.IsAbs(base) { // as the standard has it
		base = ""
	}
	if base == "" && runtime.GOOS == "windows" {
		base = os.Getenv("LOCALAPPDATA")
	}
	if base == "" {
		home, err := HomeDir()
		if err != nil {
			return "", fmt.Errorf("cannot find the user's data directory: %w", err)
		}
		base = filepath.Join(home, ".local", "share")
	}
	return filepath.Join(base, "runnel"), nil
}

// HomeDir is the user's, also where the environment doesn't name it, as that of a
// systemd service.
func HomeDir() (string, error) {
	home, err := os.UserHomeDir()
	if err == nil && filepath.IsAbs(home) {
		return home, nil
	}
	if who, lookErr := user.Current(); lookErr == nil && filepath.IsAbs(who.HomeDir) {
		return who.HomeDir, nil
	}
	if err == nil {
		err = fmt.Errorf("the home directory %q is not an absolute path", home)
	}
	return "", err
}

// localDir is where the files of local servers are.
func localDir() (string, error) {
	dir, err := UserDataDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "local"), nil
}

// Leave writes the file, whole or not at all.
func (l *Local) Leave() error {
	dir, err := localDir()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := files.CheckOwn(dir); err != nil {
		return err
	}
	text, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return err
	}
	l.path = filepath.Join(dir, l.Name+".json")
	if other, err := readLocal(l.path); err == nil && other.Lock != l.Lock {
		if alive, err := lockfile.Locked(other.Lock); err == nil && alive {
			// It keeps its own, and is found again when this one has ended.
			l.path = filepath.Join(dir, fmt.Sprintf("%s-%d.json", l.Name, l.PID))
		}
	}
	return writeFile(l.path, append(text, '\n'))
}

// TakeAway removes the file, unless a later server of that name has written its
// own.
func (l *Local) TakeAway() error {
	path := l.path
	if path == "" {
		return nil // none was left
	}
	found, err := readLocal(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && found.PID != l.PID {
		return nil
	}
	if err != nil {
		return err
	}
	return os.Remove(path)
}

// FindLocal is the local server that is running, nil if there is none; of
// several, the one that was started last.
func FindLocal() (latest *Local, others int, err error) {
	err = eachLocal(func(found *Local) {
		if latest != nil {
			others++
		}
		if latest == nil || found.Started.After(latest.Started) {
			latest = found
		}
	})
	return latest, others, err
}

// isLocalAlive says whether a running local server has this URL.
func isLocalAlive(url string) bool {
	alive := false
	_ = eachLocal(func(l *Local) { alive = alive || l.URL == url })
	return alive
}

// eachLocal calls each for every local server that is running.
func eachLocal(each func(*Local)) error {
	dir, err := localDir()
	if err != nil {
		return nil // a user without a home has no server there
	}
	paths, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return err
	}
	for _, path := range paths {
		found, err := readLocal(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it has just ended
		}
		if err != nil {
			return fmt.Errorf("cannot read what runnel serve left in %s: %w", path, err)
		}
		if alive, err := lockfile.Locked(found.Lock); err == nil && alive {
			each(found) // else it is not ours to use, or a crash left it
		}
	}
	return nil
}

func readLocal(path string) (*Local, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	// It says which seed to prove oneself with, and where.
	if err := files.CheckOwn(path); err != nil {
		return nil, err
	}
	l := &Local{}
	return l, json.Unmarshal(text, l)
}

// ContextName is the name of the context for the `nats` command.
func ContextName(runner string) string { return "runnel-" + runner }

// natsContextMark tells our contexts from those that somebody made by hand.
const natsContextMark = "written by runnel serve"

// WriteNATSContext writes a context for the `nats` command. It is never
// selected: what `nats` does without --context is its user's business.
func (l *Local) WriteNATSContext() (name string, err error) {
	name = ContextName(l.Name)
	if natscontext.IsKnown(name) {
		old, err := natscontext.New(name, true)
		switch {
		case err != nil:
		case old.Description() != natsContextMark:
			return "", fmt.Errorf("there is a nats context %s of another making", name)
		case old.ServerURL() != l.URL && isLocalAlive(old.ServerURL()):
			return "", fmt.Errorf("the nats context %s is that of another runnel serve, which is running", name)
		}
	}
	settings, err := natscontext.New(name, false,
		natscontext.WithServerURL(l.URL), natscontext.WithNKey(l.SeedFile), natscontext.WithDescription(natsContextMark))
	if err != nil {
		return "", err
	}
	return name, settings.Save(name)
}

// writeFile replaces a file by one of mode 0600, whole or not at all.
func writeFile(path string, text []byte) error {
	temp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name())
	_, err = temp.Write(text)
	if err := errors.Join(err, temp.Sync(), temp.Close()); err != nil {
		return err
	}
	return os.Rename(temp.Name(), path)
}
