//go:build unix

package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A program that is built without C finds only accounts in /etc/passwd and /etc/group. What else knows some (LDAP, SSSD, systemd) is asked through getent and id.

var errNoAccount = errors.New("no such user")

const defaultShell = "/bin/sh"

// passwdEntry is a line of the user database.
type passwdEntry struct {
	name, home, shell string
	uid, gid          int
}

// lookUpAccount finds an account by name, or else by number.
func lookUpAccount(nameOrID string, done <-chan struct{}) (passwdEntry, error) {
	if strings.ContainsAny(nameOrID, ":\n\x00") || strings.HasPrefix(nameOrID, "-") {
		return passwdEntry{}, errNoAccount
	}
	text, err := os.ReadFile(passwdFile)
	if err == nil {
		if entry, found := findEntry(string(text), nameOrID); found {
			return entry, nil
		}
	}
	if onlyFiles("passwd") {
		return lookUpByGo(nameOrID)
	}
	out, err := ask(done, "getent", "passwd", nameOrID)
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit), errors.Is(err, exec.ErrNotFound): // it knows no such name, or is not there
		return lookUpByGo(nameOrID)
	case err != nil:
		return passwdEntry{}, err
	}
	entry, ok := parseEntry(strings.TrimSpace(out))
	if !ok {
		return passwdEntry{}, fmt.Errorf("getent says %.100q", out)
	}
	if entry.name != nameOrID && isNumber(nameOrID) && !isNumberOf(nameOrID, entry) {
		return passwdEntry{}, errNoAccount
	}
	return entry, nil
}

func isNumber(s string) bool { return strings.Trim(s, "0123456789") == "" }

// isNumberOf: getent reads a number into 32 bits, so that 4294967296 is root to it.
func isNumberOf(number string, entry passwdEntry) bool {
	n, err := strconv.ParseUint(number, 10, 31)
	return err == nil && int(n) == entry.uid
}

// lookUpByGo is for systems that have no such file, and for programs built with C.
func lookUpByGo(nameOrID string) (passwdEntry, error) {
	found, err := user.Lookup(nameOrID)
	if errors.As(err, new(user.UnknownUserError)) {
		if found, err = user.LookupId(nameOrID); err != nil {
			return passwdEntry{}, errNoAccount
		}
	}
	if err != nil {
		return passwdEntry{}, err
	}
	entry, ok := parseEntry(strings.Join([]string{found.Username, "", found.Uid, found.Gid, "", found.HomeDir, ""}, ":"))
	if !ok {
		return passwdEntry{}, fmt.Errorf("user id %q or group id %q is not a number", found.Uid, found.Gid)
	}
	return entry, nil
}

const passwdFile = "/etc/passwd"

var nsswitchFile = "/etc/nsswitch.conf" // tests have their own

// findEntry looks for a name, or else a number.
func findEntry(text, nameOrID string) (found passwdEntry, ok bool) {
	for line := range strings.Lines(text) {
		entry, good := parseEntry(strings.TrimSuffix(line, "\n"))
		if good && entry.name == nameOrID {
			return entry, true
		}
		if good && !ok && strconv.Itoa(entry.uid) == nameOrID {
			found, ok = entry, true
		}
	}
	return found, ok
}

func parseEntry(line string) (e passwdEntry, ok bool) {
	fields := strings.Split(line, ":")
	if len(fields) < 7 || fields[0] == "" || strings.ContainsAny(fields[0][:1], "+-#") {
		return e, false
	}
	uid, err1 := strconv.ParseUint(fields[2], 10, 31)
	gid, err2 := strconv.ParseUint(fields[3], 10, 31)
	e = passwdEntry{name: fields[0], home: fields[5], shell: fields[6], uid: int(uid), gid: int(gid)}
	if e.home == "" {
		e.home = "/"
	}
	if e.shell == "" {
		e.shell = defaultShell
	}
	return e, err1 == nil && err2 == nil
}

// groupsOf is an account's groups, its own among them.
func groupsOf(who passwdEntry, done <-chan struct{}) (groups []uint32, err error) {
	out, err := "", exec.ErrNotFound
	if !onlyFiles("group") {
		out, err = ask(done, "id", "-G", "--", who.name)
	}
	names := strings.Fields(out)
	if errors.Is(err, exec.ErrNotFound) || errors.As(err, new(*exec.ExitError)) {
		found := &user.User{Username: who.name, Uid: strconv.Itoa(who.uid), Gid: strconv.Itoa(who.gid)}
		names, err = found.GroupIds()
	}
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		id, err := strconv.ParseUint(name, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("group id %q is not a number", name)
		}
		groups = append(groups, uint32(id))
	}
	return groups, nil
}

// onlyFiles says whether a database is in files alone, as far as that is said; where nobody says it, it is.
func onlyFiles(database string) bool {
	text, err := os.ReadFile(nsswitchFile)
	if err != nil {
		return true
	}
	return onlyFilesIn(string(text), database)
}

func onlyFilesIn(text, database string) bool {
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		name, sources, _ := strings.Cut(line, ":")
		if strings.TrimSpace(name) == database {
			return !slices.ContainsFunc(strings.Fields(sources), func(source string) bool {
				return source != "files" && !strings.HasPrefix(source, "[") && !strings.HasSuffix(source, "]")
			})
		}
	}
	return true
}

// askTime is how long a directory service may take.
const askTime = 5 * time.Second

// answers are kept for a moment: many runs may begin at once.
var answers struct {
	sync.Mutex
	known map[string]answered
}

type answered struct {
	text string
	at   time.Time
}

const answerTime = 10 * time.Second

// ask runs a program that knows accounts.
func ask(done <-chan struct{}, argv ...string) (string, error) {
	question := strings.Join(argv, " ")
	answers.Lock()
	known, ok := answers.known[question]
	answers.Unlock()
	if ok && time.Since(known.at) < answerTime {
		return known.text, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), askTime)
	defer cancel()
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-done:
			cancel()
		case <-stop:
		}
	}()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if ctx.Err() != nil {
		return "", fmt.Errorf("%s does not answer", argv[0])
	}
	if err != nil {
		return "", err
	}
	answers.Lock()
	defer answers.Unlock()
	if answers.known == nil || len(answers.known) > 1000 {
		answers.known = map[string]answered{}
	}
	answers.known[question] = answered{string(out), time.Now()}
	return string(out), nil
}
