package service

import (
	"slices"
	"strings"
)

// Variables of the runner that its tasks don't get: what it connects with, and
// what a service manager gave to it alone.
var (
	secretPrefixes = []string{"NATS_", "RUNNEL_", "LISTEN_", "WATCHDOG_"}
	secretNames    = []string{"NOTIFY_SOCKET", "CREDENTIALS_DIRECTORY", "INVOCATION_ID", "JOURNAL_STREAM", "PRUNNER_JWT_SECRET"}
)

// taskEnviron is the runner's own environment, less its secrets.
func taskEnviron(environ []string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return slices.Contains(secretNames, name) ||
			slices.ContainsFunc(secretPrefixes, func(p string) bool { return strings.HasPrefix(name, p) })
	})
}
