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

// secretNames are last names that files with keys or credentials usually have,
// in lower case.
var secretNames = []string{
	"id_rsa.*", "id_dsa.*", "id_ecdsa.*", "id_ed25519.*", "ssh_host_*_key", "privkey*.pem", "*private*.pem", "*key.pem",
	"*.key", "*.p8", "*.p12", "*.pfx", "*.pkcs12", "*.ppk", "*.jks", "*.bks", "*.keystore", "*.keytab", "*.nk", "*.creds", "*.kdbx", "*.ovpn", "secring.gpg",
	".netrc", "_netrc", ".pgpass", "pgpass.conf", ".my.cnf*", ".mylogin.cnf", ".envrc", ".xauthority", ".dockerconfigjson", "credentials.json", "debian.cnf", ".git-credentials", ".npmrc", ".pypirc", ".dockercfg",
	".s3cfg", ".boto", "rclone.conf", ".vault-token", ".fetchmailrc", ".msmtprc", "*htpasswd", "*htdigest", "wp-config*.php*",
	"*.tfstate", "*.tfstate.*", "*.tfvars", "kubeconfig", "*.kubeconfig", "*-secrets", "ipsec.secrets", "*.nmconnection",
	"application_default_credentials.json", "credentials.tfrc.json", "client_secret*.json", "secrets.yml", "secrets.yaml",
}

// secretsIn are names that hold a secret in certain folders only.
var secretsIn = map[string][]string{
	".aws":              {"credentials*"},
	".docker":           {"config.json*"},
	"containers":        {"auth.json"},
	".kube":             {"config*"},
	"gcloud":            {"credentials.db", "access_tokens.db", "adc.json"},
	"gh":                {"hosts.yml"},
	"glab-cli":          {"config.yml"},
	".cargo":            {"credentials*"},
	".gem":              {"credentials*"},
	".m2":               {"settings*.xml"},
	".gradle":           {"gradle.properties"},
	".composer":         {"auth.json"},
	"composer":          {"auth.json"},
	"private-keys-v1.d": {"*"},
	"wireguard":         {"*.conf"},
	"wpa_supplicant":    {"*.conf"},
}

// procSecrets of a process or one of its threads.
var procSecrets = map[string]string{
	"environ": "the environment of a process",
	"mem":     "the memory of a process",
}

// secret says what a file is that nobody may read through glance, "" for other
// files. Name is absolute, as the kernel or the file system has it.
func (at *location) secret(name string, hideCommands bool) string {
	parts := strings.Split(strings.Trim(strings.ToLower(filepath.ToSlash(name)), "/"), "/")
	base, folders := parts[len(parts)-1], parts[:len(parts)-1]
	folder := ""
	if len(folders) > 0 {
		folder = folders[len(folders)-1]
	}
	switch {
	case at.isProc:
		return procSecret(base, len(folders) > 0, hideCommands)
	case (folder == "etc" || folder == "backups") && (base == "shadow" || base == "gshadow" || hasOneOf(base, "shadow-", "shadow.", "gshadow-", "gshadow.")),
		folder == "etc" && (base == "master.passwd" || base == "spwd.db"), folder == "security" && base == "opasswd":
		return "a password file"
	case isPublic(base):
		return ""
	case !at.info.IsDir() && isSecretName(base, folder), isKeyIn(folders, base):
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

func isSecretName(base, folder string) bool {
	matches := func(p string) bool { return matchName(p, base) }
	switch {
	case slices.ContainsFunc(secretNames, matches), slices.ContainsFunc(secretsIn[folder], matches):
		return true
	case strings.HasPrefix(base, "id_"): // a key of ssh's has no extension
		return !strings.Contains(base, ".")
	case base == ".env", strings.HasPrefix(base, ".env."), strings.HasSuffix(base, ".env"):
		return !slices.ContainsFunc([]string{"example", "sample", "template", "dist"}, func(s string) bool { return strings.Contains(base, s) })
	}
	return false
}

// isKeyIn knows folders whose files are secret whatever their names are.
func isKeyIn(folders []string, base string) bool {
	in := func(names ...string) bool {
		return slices.ContainsFunc(folders, func(f string) bool { return slices.Contains(names, f) })
	}
	inRow := func(outer, inner string) bool {
		i := slices.Index(folders, outer)
		return i >= 0 && i+1 < len(folders) && folders[i+1] == inner
	}
	switch {
	case in(".ssh") && !slices.Contains([]string{"config", "environment", "rc"}, base) && !hasOneOf(base, "known_hosts", "authorized_keys"):
		return true
	case in("private") && in("ssl", "tls", "pki", "letsencrypt"), in("private-keys-v1.d"), in("letsencrypt") && in("keys"):
		return true
	case in(".azure") && base != "config", inRow(".aws", "sso"), inRow(".aws", "cli"), in("legacy_credentials"):
		return true
	case inRow("run", "secrets"), inRow("nats", "context"):
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
