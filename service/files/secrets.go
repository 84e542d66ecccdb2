package files

import (
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// passwordFiles are denied by what they are, so also by a hard link or a bind
// mount of another name; secret denies them in other roots as well.
var passwordFiles = []string{
	"/etc/shadow", "/etc/shadow-", "/etc/gshadow", "/etc/gshadow-",
	"/etc/security/opasswd", "/etc/master.passwd", "/etc/spwd.db",
}

var keyNames = []string{
	"id_rsa", "id_dsa", "id_ecdsa", "id_ed25519", "id_ecdsa_sk", "id_ed25519_sk",
	"id_rsa.*", "id_dsa.*", "id_ecdsa.*", "id_ed25519.*", "privkey*.pem", "*private*.pem", "*key.pem", "*.key", "*.p12", "*.pfx", "*.ppk", "*.jks",
	"*.keystore", "*.nk", "*.creds", "ssh_host_*_key", "secring.gpg",
}

// procSecrets of a process or one of its threads.
var procSecrets = map[string]string{
	"environ": "the environment of a process",
	"mem":     "the memory of a process",
}

// secret says what a file is that nobody may read through glance, "" for other
// files. Name is absolute, as the kernel or the file system has it.
func secret(name string, isProc, hideCommands bool) string {
	parts := strings.Split(strings.Trim(strings.ToLower(filepath.ToSlash(name)), "/"), "/")
	base, folders := parts[len(parts)-1], parts[:len(parts)-1]
	folder := ""
	if len(folders) > 0 {
		folder = folders[len(folders)-1]
	}
	switch {
	case isProc:
		return procSecret(base, len(folders) > 0, hideCommands)
	case (folder == "etc" || folder == "backups") && (base == "shadow" || base == "gshadow" || hasOneOf(base, "shadow-", "shadow.", "gshadow-", "gshadow.")),
		folder == "etc" && (base == "master.passwd" || base == "spwd.db"), folder == "security" && base == "opasswd":
		return "a password file"
	case isPublic(base):
		return ""
	case slices.ContainsFunc(keyNames, func(p string) bool { return matchName(p, base) }), isKeyIn(folders, base):
		return "a private key or a credential"
	}
	return ""
}

// procSecret: inProcess tells /proc/1/cmdline from /proc/cmdline, the kernel's.
func procSecret(base string, inProcess, hideCommands bool) string {
	switch {
	case inProcess && procSecrets[base] != "":
		return procSecrets[base]
	case inProcess && hideCommands && base == "cmdline":
		return "a command line, and command lines are hidden (hideCommandLines)"
	case base == "kcore":
		return "the memory of the kernel"
	case base == "kmsg":
		return "a queue that reading would empty"
	}
	return ""
}

func isPublic(base string) bool {
	return strings.HasSuffix(base, ".pub") || strings.HasSuffix(base, ".crt")
}

func isKeyIn(folders []string, base string) bool {
	in := func(names ...string) bool {
		return slices.ContainsFunc(folders, func(f string) bool { return slices.Contains(names, f) })
	}
	switch {
	case in(".ssh") && !slices.Contains([]string{"config", "environment", "rc"}, base) && !hasOneOf(base, "known_hosts", "authorized_keys"):
		return true // whatever name a key has there
	case in("private") && in("ssl", "tls", "pki", "letsencrypt"), in("private-keys-v1.d"):
		return true
	case in("letsencrypt") && in("keys"):
		return true
	}
	return false
}

func hasOneOf(s string, prefixes ...string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(s, p) })
}

// pattern is one entry of Config.Deny.
type pattern struct {
	text  string
	parts []string // of an absolute one
}

func newPattern(text string) pattern {
	p := pattern{text: text}
	if filepath.IsAbs(text) {
		p.text = filepath.Clean(text)
		p.parts = strings.Split(strings.Trim(filepath.ToSlash(p.text), "/"), "/")
	}
	return p
}

// CheckPattern says what is wrong with an entry of Config.Deny.
func CheckPattern(text string) error {
	switch _, err := path.Match(text, ""); {
	case err != nil:
		return fmt.Errorf("%q: %w", text, err)
	case text == "":
		return fmt.Errorf("an entry is empty")
	case !filepath.IsAbs(text) && strings.ContainsAny(text, `/\`):
		return fmt.Errorf("%q is neither an absolute path nor a name", text)
	}
	return nil
}

// isLiteral: a path without wildcards, which is also known by its inode.
func (p pattern) isLiteral() bool { return p.parts != nil && !strings.ContainsAny(p.text, `*?[\`) }

// matches the open file, or something above it. A path is one of this host, not
// of a file system that is mounted somewhere.
func (p pattern) matches(at *location) bool {
	parts := strings.Split(strings.Trim(filepath.ToSlash(at.real), "/"), "/")
	if p.parts == nil {
		return slices.ContainsFunc(parts, func(n string) bool { return matchName(p.text, n) })
	}
	if len(parts) < len(p.parts) {
		return false
	}
	for i, want := range p.parts {
		if !matchName(want, parts[i]) {
			return false
		}
	}
	return true
}

func matchName(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return ok && err == nil
}
