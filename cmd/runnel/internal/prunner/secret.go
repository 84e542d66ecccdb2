package prunner

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/goccy/go-yaml"

	"github.com/runnel-io/runnel/cmd/runnel/internal/cli"
	"github.com/runnel-io/runnel/service/gateway/auth"
)

// settings are what the configuration file holds.
type settings struct {
	Secret string `yaml:"jwt_secret"`
}

// readSecret gives the secret of the flag or its variable, or else of the
// configuration file, which is made when it is missing: other programs read it.
func (c *command) readSecret() (string, error) {
	if c.secret != "" {
		return c.secret, longEnough("--jwt-secret", c.secret)
	}
	text, err := os.ReadFile(c.config)
	if errors.Is(err, fs.ErrNotExist) {
		return c.makeSecret()
	}
	if err != nil {
		return "", fmt.Errorf("cannot read configuration %s: %w", c.config, cli.Cause(err))
	}
	var s settings
	if err := yaml.Unmarshal(text, &s); err != nil {
		return "", fmt.Errorf("cannot use configuration %s: it is no YAML mapping with a jwt_secret", c.config)
	}
	if s.Secret == "" {
		return "", fmt.Errorf("cannot use configuration %s: it has no jwt_secret", c.config)
	}
	return s.Secret, longEnough("the jwt_secret in "+c.config, s.Secret)
}

func longEnough(what, secret string) error {
	if len(secret) < auth.MinSecret {
		return fmt.Errorf("cannot use %s: it has %d characters and must have at least %d", what, len(secret), auth.MinSecret)
	}
	return nil
}

// makeSecret makes the file; another process that makes it at once wins.
func (c *command) makeSecret() (string, error) {
	random := make([]byte, 24)
	_, _ = rand.Read(random) // it never fails
	secret := base64.RawURLEncoding.EncodeToString(random)
	f, err := os.OpenFile(c.config, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return c.readSecret()
	}
	if err == nil {
		_, err = fmt.Fprintf(f, "jwt_secret: %s\n", secret)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		return "", fmt.Errorf("cannot write configuration %s: %w", c.config, cli.Cause(err))
	}
	c.Log.Info("a new secret was made", "config", c.config)
	return secret, nil
}
