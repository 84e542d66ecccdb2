package files

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"
	"unicode/utf16"
)

const pemHead = "-----BEGIN RSA PRIVATE KEY-----\n"

var body = strings.Repeat("MIIEowIBAAKCAQEAx", 20)

func seed() string { return "SU" + strings.Repeat("ABCDEFG234567", 4) + "WXYZ" }

func TestSecretText(t *testing.T) {
	if len(seed()) != seedBytes {
		t.Fatal(len(seed()))
	}
	for name, text := range map[string]string{
		"PEM":                   pemHead + body,
		"after comments":        "# deployed by hand\n\n; see wiki\n" + pemHead + body,
		"in a comment":          "# " + pemHead + body,
		"CR only":               "key of web1\r-----BEGIN PRIVATE KEY-----\r" + body,
		"CR LF":                 "x\r\n-----BEGIN PRIVATE KEY-----\r\n" + body,
		"encrypted":             "Proc\n-----BEGIN ENCRYPTED PRIVATE KEY-----\n" + body,
		"PGP":                   "x\n-----BEGIN PGP PRIVATE KEY BLOCK-----\n\n" + body,
		"SSH2":                  "---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\nx",
		"indented in YAML":      "data:\n  key: |\n    -----BEGIN EC PRIVATE KEY-----\n    " + body,
		"in JSON":               `{"private_key": "-----BEGIN PRIVATE KEY-----\n` + body + `\n"}`,
		"in one line of shell":  `export KEY="-----BEGIN PRIVATE KEY-----` + body + `"`,
		"deep":                  strings.Repeat("x\n", 20000) + pemHead + body,
		"UTF-16":                string(wide(pemHead + body)),
		"seed on a later line":  "# user of web1\n\n" + seed() + "\n",
		"seed in JSON":          `{"user_seed":"` + seed() + `"}`,
		"seed without newline":  "x " + seed(),
		"creds":                 "x\n-----BEGIN NATS USER JWT-----\neyJ\n------END NATS USER JWT------\n",
		"seed in PEM":           "x\n-----BEGIN USER NKEY SEED-----\nSU\n",
		"age":                   "# created\nAGE-SECRET-KEY-1QQQ\n",
		"putty":                 "PuTTY-User-Key-File-3: ssh-ed25519\n",
		"wireguard":             "[Interface]\nPrivateKey = " + strings.Repeat("A", 43) + "=\n",
		"kubeconfig":            "users:\n- user:\n    client-key-data: " + body,
		"kubeconfig in JSON":    `{"client-key-data":"` + body + `"}`,
		"kubeconfig with token": "apiVersion: v1\nkind: Config\ncurrent-context: x\nusers:\n- user:\n    token: abcdefghijk\n",
		"kubeconfig, all JSON":  `{"apiVersion":"v1","kind":"Config","users":[{"user":{"token":"abcdefghijk"}}]}`,
		"key in base64":         "data:\n  tls.key: " + base64.StdEncoding.EncodeToString([]byte("-----BEGIN PRIVATE KEY-----\n"+body)),
		"RSA key in base64":     base64.StdEncoding.EncodeToString([]byte(pemHead + body)),
		"ssh key in base64":     "KEY=" + base64.StdEncoding.EncodeToString([]byte("-----BEGIN OPENSSH PRIVATE KEY-----\n"+body)),
		"token of GitHub":       "url = https://ghp_" + strings.Repeat("a1B2", 9) + "@github.com/x",
		"token of GitLab":       "token: glpat-" + strings.Repeat("a", 20),
		"token of Slack":        `{"t":"xoxb-123456789012-` + strings.Repeat("a", 24) + `"}`,
		"token of Vault":        "hvs." + strings.Repeat("aB3", 30),
		"key of Stripe":         "STRIPE=sk_live_" + strings.Repeat("a", 24),
		"token of npm":          "//registry/:_authToken=npm_" + strings.Repeat("a", 36),
		"AWS":                   "[default]\naws_access_key_id = AKIAIOSFODNN7EXAMPLE\naws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\n",
		"AWS in shell":          `export AWS_SECRET_ACCESS_KEY="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"`,
		"AWS in CSV":            "Access key ID,Secret access key\nAKIAIOSFODNN7EXAMPLE,wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\n",
		"AWS in JSON":           `{"AccessKeyId":"ASIAX","SecretAccessKey":"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}`,
		"netrc":                 "machine example.com login me password x\n",
		"netrc in lines":        "machine example.com\n  login me\n  password x\n",
		"docker":                `{"auths":{"registry":{"auth":"dXNlcjpwYXNzd29yZA=="}}}`,
		"gcloud":                `{"client_id":"x","client_secret":"d-FL95Q19q7MQmFp","refresh_token":"1//0abcdef","type":"authorized_user"}`,
		"shadow":                "root:$y$j9T$abc$def:19000:0:99999:7:::\n",
		"htpasswd":              "# users\nme:$apr1$abc$def\n",
		"token":                 "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJrdWJlIn0.c2lnbmF0dXJl\n",
	} {
		if secretShape([]byte(text)) == "" {
			t.Errorf("%s: not seen", name)
		}
	}
}

func wide(s string) []byte {
	out := []byte{0xff, 0xfe}
	for _, c := range utf16.Encode([]rune(s)) {
		out = append(out, byte(c), byte(c>>8))
	}
	return out
}

func TestNoSecretText(t *testing.T) {
	for name, text := range map[string]string{
		"empty":        "",
		"source":       "var begin = \"-----BEGIN PRIVATE KEY-----\"\nif !strings.Contains(s, `-----BEGIN RSA PRIVATE KEY-----`) {}\n",
		"certificate":  "-----BEGIN CERTIFICATE-----\n" + body + "\n-----END CERTIFICATE-----\n",
		"public key":   "-----BEGIN PUBLIC KEY-----\n" + body,
		"log":          "2026-01-01 cannot read private key: no such file\nlogin failed for user root, password wrong\n",
		"nkey":         "user U" + strings.Repeat("ABCDEFG234567", 4) + "XYZ\n",
		"part of word": "x" + seed() + "\n" + seed() + "x\n",
		"passwd":       "root:x:0:0:root:/root:/bin/bash\n",
		"aws config":   "[default]\nregion = eu-central-1\naws_access_key_id = AKIAIOSFODNN7EXAMPLE\n",
		"kubernetes":   "kind: Deployment\nspec:\n  template: {}\n",
		"prefixes":     "npm_config_cache=/tmp/npm_cache_of_the_whole_organisation_abc\nstrings.HasPrefix(t, \"ghp_\") // glpat- and xoxb- too\n",
		"cert, base64": base64.StdEncoding.EncodeToString([]byte("-----BEGIN CERTIFICATE-----\n" + body)),
		"docs":         "Set aws_secret_access_key in the file; client-key-data: (base64)\n",
	} {
		if what := secretShape([]byte(text)); what != "" {
			t.Errorf("%s: seen as %s", name, what)
		}
	}
}

func TestSecretBinary(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	must := func(b []byte, err error) []byte {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "x"}, NotAfter: time.Now()}
	certificate := must(x509.CreateCertificate(rand.Reader, template, template, &rsaKey.PublicKey, rsaKey))
	for name, b := range map[string][]byte{
		"PKCS 1":  x509.MarshalPKCS1PrivateKey(rsaKey),
		"PKCS 8":  must(x509.MarshalPKCS8PrivateKey(rsaKey)),
		"EC in 8": must(x509.MarshalPKCS8PrivateKey(ecKey)),
		"Ed25519": must(x509.MarshalPKCS8PrivateKey(edKey)),
		"SEC 1":   must(x509.MarshalECPrivateKey(ecKey)),
		// openssl pkcs8 -topk8 -outform DER, and openssl pkcs12 -export: how they begin
		"encrypted":       must(base64.StdEncoding.DecodeString("MIIFNTBfBgkqhkiG9w0BBQ0wUjAxBgkqhkiG9w0BBQwwJAQQ")),
		"PKCS 12":         must(base64.StdEncoding.DecodeString("MIIKAQIBAzCCCa8GCSqGSIb3DQEHAaCCCaAEggmcMIIJmDCC")),
		"PKCS 12 in BER":  {0x30, 0x80, 0x02, 0x01, 0x03, 0x30, 0x80, 0x06, 0x09, 0x2a, 0x86},
		"JKS":             {0xfe, 0xed, 0xfe, 0xed, 0, 0, 0, 2, 0, 0},
		"OpenPGP":         {0x95, 0x03, 0xc6, 0x04, 0x5f, 0x00, 0x00, 0x00, 0x01, 0x08, 0x00},
		"OpenPGP Ed25519": {0x94, 0x58, 0x04, 0x5f, 0x00, 0x00, 0x00, 0x16, 0x09, 0x2b, 0x06},
	} {
		if secretShape(b) == "" {
			t.Errorf("%s: not seen", name)
		}
	}
	for name, b := range map[string][]byte{
		"certificate":   certificate,
		"public key":    must(x509.MarshalPKIXPublicKey(&rsaKey.PublicKey)),
		"PKCS 1 public": x509.MarshalPKCS1PublicKey(&rsaKey.PublicKey),
		"PEM of it":     pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate}),
		"gzip":          {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1, 2},
		"ELF":           []byte("\x7fELF\x02\x01\x01\x00\x00\x00"),
		"zeros":         make([]byte, 4096),
	} {
		if what := secretShape(b); what != "" {
			t.Errorf("%s: seen as %s", name, what)
		}
	}
}

// Nobody makes looking slow by what they write into a file.
func TestShapesInBoundedTime(t *testing.T) {
	for name, unit := range map[string]string{
		"dashes": "-----BEGIN ", "words": "private key nkey seed password machine akia secret ", "blanks": "\n   ", "starts": "\nmachine x login ",
		"keys": "AKIAIOSFODNN7EXAMPLE ", "tokens": `"auths" "token": `, "seeds": "SUABCDEFG", "carriage returns": "\r", "NUL": "-\x00",
	} {
		text := bytes.Repeat([]byte(unit), shapeBytes/len(unit))
		began := time.Now()
		secretShape(text)
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("%s: %v", name, took)
		}
	}
}

func FuzzSecretShape(f *testing.F) {
	f.Add([]byte(pemHead + body))
	f.Add([]byte{0x30, 0x84, 1, 2})
	f.Add([]byte{0x95, 1, 2, 4, 0, 0, 0, 0, 1, 1})
	f.Add(wide(pemHead))
	f.Fuzz(func(t *testing.T, head []byte) {
		before := bytes.Clone(head)
		secretShape(head)
		if !bytes.Equal(before, head) {
			t.Error("the text was changed")
		}
	})
}
