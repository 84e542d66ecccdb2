package commands

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/runnel-io/runnel/service"
)

// One version: what a packager gives is the program's and its runners'.
func TestVersionIsTheRunners(t *testing.T) {
	before := service.Version
	service.Version = "9.8.7-rc1"
	defer func() { service.Version = before }()
	out, _, err := runnel(t, "version")
	if err != nil || !strings.HasPrefix(out, "runnel 9.8.7-rc1 (go") {
		t.Errorf("got %q, %v", out, err)
	}
	out, _, err = runnel(t, "version", "--json")
	var b build
	if err != nil || json.Unmarshal([]byte(out), &b) != nil || b.Version != "9.8.7-rc1" {
		t.Errorf("got %q, %v", out, err)
	}
}

func TestBuildInWords(t *testing.T) {
	b := build{Version: "1.0.0", Commit: "0123456789abcdef", Modified: true, Go: "go1.25", OS: "linux", Arch: "arm64"}
	if got, want := b.String(), "runnel 1.0.0 (go1.25, linux/arm64, commit 0123456789ab with changes)"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
