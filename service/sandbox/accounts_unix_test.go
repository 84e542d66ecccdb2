//go:build unix

package sandbox

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const database = `# comment
root:x:0:0:root:/root:/bin/bash
app:x:1000:1001:App,,,:/srv/app:/usr/bin/zsh
1000:x:5:5::/five:
bare:x:7:8:::
+nis::::::
broken:x:many:1::/:/bin/sh
short:x:1
`

func TestFindEntry(t *testing.T) {
	for key, want := range map[string]passwdEntry{
		"root": {"root", "/root", "/bin/bash", 0, 0}, "0": {"root", "/root", "/bin/bash", 0, 0},
		"app": {"app", "/srv/app", "/usr/bin/zsh", 1000, 1001}, "1000": {"1000", "/five", "/bin/sh", 5, 5}, "bare": {"bare", "/", "/bin/sh", 7, 8},
	} {
		if got, ok := findEntry(database, key); !ok || got != want {
			t.Errorf("%s: got %+v, %v", key, got, ok)
		}
	}
	for _, key := range []string{"nobody", "+nis", "broken", "short", "", "00", "1001"} {
		if got, ok := findEntry(database, key); ok {
			t.Errorf("%q: got %+v", key, got)
		}
	}
}

func TestOnlyFiles(t *testing.T) {
	for text, want := range map[string]bool{
		"passwd: files\n": true, "passwd:\tfiles # ldap\n": true, "group: ldap\n": true, "": true,
		"passwd: files systemd\n": false, "passwd: files [NOTFOUND=return] sss": false, "passwd: files [!UNAVAIL=return]": true,
	} {
		if onlyFilesIn(text, "passwd") != want {
			t.Errorf("%q: not %v", text, want)
		}
	}
}

// directory is a host whose accounts are not in files: getent and id know them.
func directory(t *testing.T, getent, id string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"getent": "#!/bin/sh\n" + getent, "id": "#!/bin/sh\n" + id, "nsswitch.conf": "passwd: files ldap\ngroup: files ldap\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":/bin:/usr/bin")
	before := nsswitchFile
	nsswitchFile = filepath.Join(dir, "nsswitch.conf")
	t.Cleanup(func() { nsswitchFile, answers.known = before, nil })
	answers.known = nil
}

// Accounts that only a directory service knows exist, with all their groups.
func TestAccountOfDirectory(t *testing.T) {
	directory(t, `[ "$2" = ann ] || [ "$2" = 70001 ] || exit 2; echo "ann:*:70001:70000:Ann:/home/ann:/bin/zsh"`, `echo 70000 70002 70003`)
	for _, key := range []string{"ann", "70001"} {
		who, err := findAccount(key, nil)
		want := "HOME=/home/ann USER=ann LOGNAME=ann SHELL=/bin/zsh"
		if err != nil || who.uid != 70001 || who.gid != 70000 || !slices.Equal(who.groups, []uint32{70000, 70002, 70003}) || strings.Join(who.env(), " ") != want {
			t.Errorf("%s: got %+v, %v", key, who, err)
		}
	}
	if _, err := findAccount("bob", nil); err == nil || !strings.Contains(err.Error(), "no such user") {
		t.Errorf("an unknown one: %v", err)
	}
	if who, err := findAccount("70009", nil); err != nil || who.uid != 70009 || who.home != "/" || who.shell != "/bin/sh" {
		t.Errorf("an unknown number: %+v, %v", who, err)
	}
	if who, err := findAccount("root", nil); err != nil || who.uid != 0 {
		t.Errorf("one in the file: %+v, %v", who, err)
	}
}

// A number that is too large is nobody's, whatever getent makes of it.
func TestNumberThatWrapsRound(t *testing.T) {
	directory(t, `echo "root:*:0:0:root:/root:/bin/sh"`, `echo 0`)
	for _, key := range []string{"4294967296", "8589934592", "18446744073709551616"} {
		if who, err := findAccount(key, nil); err == nil || !strings.Contains(err.Error(), "no such user") {
			t.Errorf("%s is %+v, %v", key, who, err)
		}
	}
	if who, err := findAccount("00", nil); err != nil || who.uid != 0 {
		t.Errorf("00 is %+v, %v", who, err)
	}
}

// A directory service that hangs is waited for as long as the run wants it.
func TestDirectoryThatHangs(t *testing.T) {
	directory(t, "exec sleep 1000", "exec sleep 1000")
	done := make(chan struct{})
	time.AfterFunc(50*time.Millisecond, func() { close(done) })
	began := time.Now()
	_, err := findAccount("ann", done)
	if start := (*StartError)(nil); !errors.As(err, &start) || !strings.Contains(err.Error(), "getent does not answer") || time.Since(began) > time.Minute {
		t.Errorf("after %s: %v", time.Since(began), err)
	}
}

// What the environment has stays; the rest is the account's.
func TestOwnVariables(t *testing.T) {
	missing := ownAccount().missingFrom([]string{"HOME=/elsewhere", "PATH=/bin"})
	if len(missing) != 3 || !strings.HasPrefix(missing[0], "USER=") || !strings.HasPrefix(missing[2], "SHELL=/") {
		t.Errorf("got %q", missing)
	}
}
