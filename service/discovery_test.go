package service_test

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service"
)

// What "nats service ls" and "nats service info" show is enough: the runner's name
// is in the list, and each endpoint has an example that works and is not cut.
func TestDiscovery(t *testing.T) {
	const widest = 80 // nats cuts longer ones where it doesn't know the width
	f := newFleet(t)
	f.start(service.Config{Name: "web-1", Pools: []string{"db", "web"}})
	var info struct {
		Description string
		Endpoints   []struct {
			Subject  string
			Metadata map[string]string
		}
	}
	if err := json.Unmarshal(f.ask("$SRV.INFO.runner", "").Data, &info); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(info.Description, "web-1") || !strings.Contains(info.Description, "db, web") {
		t.Errorf("the description is %q", info.Description)
	}
	for _, e := range info.Endpoints {
		for key, value := range e.Metadata {
			if utf8.RuneCountInString(value) > widest {
				t.Errorf("%s: %s is cut: %s", e.Subject, key, value)
			}
		}
		if strings.HasPrefix(e.Subject, "runner.maint.") { // would ask servers far away
			if err := pb.DecodeRequest([]byte(e.Metadata["request"]), false, &pb.MaintRequest{}); err != nil {
				t.Errorf("%s: %v", e.Subject, err)
			}
			continue
		}
		code := f.ask(e.Subject, e.Metadata["request"]).Header.Get("Nats-Service-Error-Code")
		if code != "" && code != "404" { // there is no run to abort
			t.Errorf("%s: the example %s is a %s", e.Subject, e.Metadata["request"], code)
		}
		for _, key := range []string{"about", "reply", "request"} {
			if e.Metadata[key] == "" {
				t.Errorf("%s has no %s", e.Subject, key)
			}
		}
	}
}
