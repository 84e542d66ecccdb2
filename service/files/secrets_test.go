package files_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/runnel-io/runnel/service/files"
)

func TestSecretNames(t *testing.T) {
	dir := t.TempDir()
	f := files.New(files.Config{})
	for _, name := range []string{
		".aws/credentials", ".aws/sso/cache/x.json", ".netrc", "_netrc", ".pgpass", ".docker/config.json", ".env", ".env.production", "prod.env",
		".ssh/deploy", "id_work", "web.key", ".kube/config", ".kube/config.bak", ".my.cnf", ".git-credentials", ".htpasswd", "htpasswd", "sites.htpasswd",
		"wp-config.php", "wp-config.php.bak", ".npmrc", ".pypirc", ".my.cnf.bak", ".envrc", ".Xauthority", ".dockerconfigjson", "app/credentials.json", "gcloud/credentials.db", ".config/gcloud/legacy_credentials/me/adc.json",
		"gcloud/application_default_credentials.json", ".azure/accessTokens.json", ".azure/msal_token_cache.bin", "terraform.tfstate", "terraform.tfstate.backup",
		"prod.tfvars", ".config/nats/context/prod.json", "run/secrets/token", "x.keytab", "chap-secrets", ".cargo/credentials.toml", ".config/gh/hosts.yml", "WEB.KEY",
	} {
		mustWrite(t, filepath.Join(dir, name), "text\n")
		_, err := reads(f, filepath.Join(dir, name))
		wantRule(t, err, "files.deny")
	}
	for _, name := range []string{
		".env.example", ".env.sample", ".aws/config", ".azure/config", "id_map.txt", "id_rsa.pub", ".ssh/known_hosts", ".ssh/config", "docker/config.json",
		"keys.txt", "environment", "notes.md", "settings.xml", "hosts.yml", "credentials.md",
	} {
		mustWrite(t, filepath.Join(dir, name), "text\n")
		if _, err := reads(f, filepath.Join(dir, name)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := os.Mkdir(dir+"/venv.env", 0o700); err != nil {
		t.Fatal(err)
	}
	d, err := f.OpenDir(dir + "/venv.env")
	if err != nil {
		t.Fatal("a directory is no secret by such a name: ", err)
	}
	d.Close()
}

// The shape is looked for at the beginning, wherever the caller reads.
func TestShapeHoldsForPieces(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notes")
	mustWrite(t, path, "text\n-----BEGIN PRIVATE KEY-----\nsecret\n")
	_, err := files.New(files.Config{}).OpenFile(path)
	wantRule(t, err, "files.deny")
}

func TestNoHomes(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can write to /root")
	}
	dir, err := os.MkdirTemp("/root", "runnel-test-")
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	mustWrite(t, dir+"/file", "text\n")
	mustLink(t, dir, t.TempDir()+"/link")
	f := files.New(files.Config{NoHomes: true})
	for _, path := range []string{dir + "/file", "/tmp/../root/" + filepath.Base(dir) + "/file"} {
		_, err := reads(f, path)
		wantRule(t, err, "files.roots")
	}
	_, err = f.OpenDir("/root")
	wantRule(t, err, "files.roots")
	for name, cfg := range map[string]files.Config{
		"unless it is configured": {NoHomes: true, Roots: []string{"/"}}, "also in part": {NoHomes: true, Roots: []string{dir}}, "for others": {},
	} {
		if _, err := reads(files.New(cfg), dir+"/file"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
