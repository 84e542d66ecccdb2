package mcp

import (
	"errors"
	"testing"
)

// Errors name what an agent has given, not the fields of a request that it never saw.
func TestErrorsAreInArguments(t *testing.T) {
	for text, want := range map[string]string{
		"spec.task.timeout: \"x\" is no duration":     "timeout_seconds: \"x\" is no duration",
		"spec.task.commands[0] is empty":              "command is empty",
		"spec.task: one of commands and argv":         "command or argv: one of commands and argv",
		"spec.task.params[2]: no =":                   "env: no =",
		"spec.task.concurrency.key is too long":       "concurrency_key is too long",
		"spec.task.language.name is unknown":          "language is unknown",
		"spec.query.limit must be 1 to 1000":          "limit must be 1 to 1000",
		"metadata.id: bad; spec.task.dir: not a path": "id: bad; dir: not a path",
		"spec.glance.file.path is relative":           "path is relative",
		"spec.pipeline.name":                          "spec.pipeline.name",
		"nothing of the kind":                         "nothing of the kind",
		"a myspec.task.dir":                           "a myspec.task.dir",
	} {
		if got := inArguments(errors.New(text)); got.Error() != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
	if inArguments(nil) != nil {
		t.Error("nothing is an error")
	}
}
