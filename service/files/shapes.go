package files

import (
	"bytes"
	"io"
	"regexp"
)

// shapeBytes is how far into a file a secret is looked for, wherever the caller
// wants to begin to read.
const shapeBytes = 64 << 10

// shape is how a secret looks. A word that must be there is looked for first: that
// costs microseconds, and most files have none.
type shape struct {
	what    string
	words   []string // one of them, in lower case
	pattern *regexp.Regexp
}

// shapes in text. A PEM header counts where a line begins with it, perhaps after
// a mark of a comment or a quote, and where base64 follows it, as in JSON; so
// source code that only names the header may be read.
var shapes = []shape{
	{"a private key", []string{"private key"}, regexp.MustCompile(`(?m)^[\s#;/*>|"'+-]{0,20}-{4,5} ?BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY`)},
	{"a private key", []string{"private key"}, regexp.MustCompile(`-{4,5} ?BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY[A-Z ]{0,10}-{4,5}(?:\\[nr]|[\s"'+,])*[A-Za-z0-9+/]{32}`)},
	// The same in base64, as a Secret of Kubernetes or a variable of CI has it.
	{"a private key", []string{"ls0tls1crudjti"}, regexp.MustCompile(`LS0tLS1CRUdJTi(?:BQUklWQVRF|BSU0EgUFJJVkFUR|BFQyBQUklWQVRF|BPUEVOU1NIIFBSSVZBVE|BFTkNSWVBURUQgUFJJVkFUR|BEU0EgUFJJVkFUR)`)},
	{"a seed of NATS", []string{"nkey seed"}, regexp.MustCompile(`-{3,6}BEGIN [A-Z ]{0,20}NKEY SEED-{3,6}`)},
	{"credentials of NATS", []string{" jwt-----"}, regexp.MustCompile(`-{3,6}BEGIN NATS [A-Z ]{0,20}JWT-{3,6}`)},
	{"a private key", []string{"age-secret-key-1"}, regexp.MustCompile(`(?m)(?:^|["'=:\s])AGE-SECRET-KEY-1[A-Z0-9]`)},
	{"a private key", []string{"putty-user-key-file-"}, regexp.MustCompile(`(?m)^\s*PuTTY-User-Key-File-\d`)},
	{"a private key", []string{"privatekey", "presharedkey"}, regexp.MustCompile(`(?m)^\s*(?:PrivateKey|PresharedKey)\s*=\s*[A-Za-z0-9+/]{43}=`)},
	{"credentials of Kubernetes", []string{"client-key-data"}, regexp.MustCompile(`client-key-data["']?\s*:\s*["']?[A-Za-z0-9+/=]{16}`)},
	{"credentials of Kubernetes", []string{"current-context", "kind: config"}, regexp.MustCompile(`(?m)^\s*-?\s*["']?(?:token|password|id-token|refresh-token)["']?\s*:\s*["']?\S{8}`)},
	{"credentials of Kubernetes", []string{`"kind":"config"`, `"kind": "config"`}, regexp.MustCompile(`"(?:token|password|id-token|refresh-token)"\s*:\s*"[^"\s]{8}`)},
	// What services begin their tokens with, so that they are found in files.
	{"a token", []string{"ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"}, regexp.MustCompile(`\b(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{40})`)},
	{"a token", []string{"glpat-", "hvs.", "npm_", "sk_live_", "rk_live_"}, regexp.MustCompile(`\b(?:glpat-[A-Za-z0-9_-]{20}|hvs\.[A-Za-z0-9_-]{24}|npm_[A-Za-z0-9]{36}|[sr]k_live_[A-Za-z0-9]{24})`)},
	{"a token", []string{"xoxa-", "xoxb-", "xoxe-", "xoxp-", "xoxr-", "xoxs-"}, regexp.MustCompile(`\bxox[abeprs]-[A-Za-z0-9-]{20}`)},
	{"credentials of AWS", []string{"secret"}, regexp.MustCompile(`(?i)aws_?(?:secret_?access_?key|secret_?key|session_?token)["']?\s*[:=]\s*["']?[A-Za-z0-9/+=]{16}`)},
	{"credentials of AWS", []string{"secretaccesskey", "sessiontoken"}, regexp.MustCompile(`(?i)["'](?:secretaccesskey|sessiontoken)["']\s*:\s*["'][A-Za-z0-9/+=]{16}`)},
	{"credentials of AWS", []string{"akia", "asia"}, regexp.MustCompile(`\b(?:AKIA|ASIA)[A-Z0-9]{16}\b["']?(?:[\s,;:|"'=]{1,8}|.{0,60}?\s*[=:,]\s*["']?)[A-Za-z0-9/+]{40}(?:[^A-Za-z0-9/+]|$)`)},
	{"credentials", []string{"refresh_token", "client_secret"}, regexp.MustCompile(`["'](?:refresh_token|client_secret)["']\s*:\s*["'][^"'\s]{8}`)},
	{"credentials of a registry", []string{`"auths"`}, regexp.MustCompile(`"(?:auth|identitytoken|password)"\s*:\s*"[^"\s]{8}`)},
	{"credentials", []string{"password "}, regexp.MustCompile(`(?m)^\s*(?:machine\s+\S+|default)\s+(?:login|user)\s+\S+\s+(?:account\s+\S+\s+)?password\s+\S`)},
	{"hashes of passwords", []string{":$"}, regexp.MustCompile(`(?m)^[^\s:#]{1,64}:\$(?:apr1|[1-7]|2[abxy]|y|gy|argon2[a-z]{1,2}|sha1)\$`)},
	{"hashes of passwords", []string{":{sha}"}, regexp.MustCompile(`(?m)^[^\s:#]{1,64}:\{SHA\}[A-Za-z0-9+/]{27}=`)},
}

// checkShape refuses a file that looks like a secret, whatever its name.
func checkShape(file io.ReaderAt, path string, size int64) error {
	head := make([]byte, min(size, shapeBytes))
	n, _ := file.ReadAt(head, 0) // what can't be read is no secret
	if what := secretShape(head[:n]); what != "" {
		return &Refusal{"files.deny", path + " looks like " + what}
	}
	return nil
}

// secretShape says which secret the beginning of a file looks like, "" if none.
func secretShape(head []byte) string {
	if isKeyInBinary(head) {
		return "a private key"
	}
	text := plainText(head)
	lower := bytes.ToLower(text)
	for _, s := range shapes {
		for _, word := range s.words {
			if bytes.Contains(lower, []byte(word)) && s.pattern.Match(text) {
				return s.what
			}
		}
	}
	switch {
	case hasSeed(text):
		return "a seed of NATS"
	case isToken(text):
		return "a token"
	}
	return ""
}

// plainText makes lines end with a newline, and UTF-16 readable.
func plainText(head []byte) []byte {
	head = bytes.TrimPrefix(head, []byte("\xef\xbb\xbf"))
	if bytes.HasPrefix(head, []byte("\xff\xfe")) || bytes.HasPrefix(head, []byte("\xfe\xff")) || bytes.Contains(head, []byte("-\x00-\x00")) {
		head = bytes.ReplaceAll(head, []byte{0}, nil)
	}
	if bytes.IndexByte(head, '\r') >= 0 {
		head = bytes.ReplaceAll(bytes.ReplaceAll(head, []byte("\r\n"), []byte("\n")), []byte("\r"), []byte("\n"))
	}
	return head
}

// seedBytes is the length of an nkey's seed: "S", its kind, and base 32.
const seedBytes = 58

// hasSeed looks for a seed that stands alone, on whatever line.
func hasSeed(text []byte) bool {
	run := 0
	isWord := func(c byte) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_'
	}
	for i := 0; i <= len(text); i++ {
		if i < len(text) && isWord(text[i]) {
			run++
			continue
		}
		if run == seedBytes && isSeed(text[i-run:i]) {
			return true
		}
		run = 0
	}
	return false
}

func isSeed(word []byte) bool {
	if word[0] != 'S' || bytes.IndexByte([]byte("AUONCX"), word[1]) < 0 {
		return false
	}
	for _, c := range word {
		if (c < 'A' || c > 'Z') && (c < '2' || c > '7') {
			return false
		}
	}
	return true
}

var jwt = regexp.MustCompile(`^eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*$`)

// isToken says whether the whole file is one JSON web token.
func isToken(text []byte) bool {
	text = bytes.TrimSpace(text)
	return bytes.HasPrefix(text, []byte("eyJ")) && jwt.Match(text)
}
