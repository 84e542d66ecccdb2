package connect

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/nats-io/jsm.go/natscontext"
)

// What a context names is as secret as the context.
func TestSecretsOfContext(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("XDG_CONFIG_HOME", filepath.Join(home, "config"))
	for name, option := range map[string]natscontext.Option{
		"creds": natscontext.WithCreds("/srv/any-name"), "nkey": natscontext.WithNKey("/srv/any-name"), "key": natscontext.WithKey("/srv/any-name"),
	} {
		options := []natscontext.Option{natscontext.WithServerURL("nats://nats.example"), option}
		if name == "key" { // one half alone is refused
			options = append(options, natscontext.WithCertificate("/srv/any-certificate"))
		}
		saved, err := natscontext.New(name, false, options...)
		if err == nil {
			err = saved.Save(name)
		}
		if err != nil {
			t.Fatal(err)
		}
		settings, err := (&Flags{}).resolve(name)
		if err != nil {
			t.Fatal(err)
		}
		contexts := filepath.Join(home, "config", "nats", "context")
		got := secretsOf(settings, name)
		for _, want := range []string{"/srv/any-name", contexts, filepath.Join(contexts, name+".json")} {
			if !slices.Contains(got, want) {
				t.Errorf("%s: got %v, want %s among them", name, got, want)
			}
		}
	}
	settings, err := (&Flags{Creds: "~/web.creds"}).resolve("")
	if err != nil {
		t.Fatal(err)
	}
	if got := secretsOf(settings, ""); !slices.Contains(got, filepath.Join(home, "web.creds")) {
		t.Errorf("got %v", got)
	}
}
