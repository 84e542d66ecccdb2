package mcp

import (
	"errors"
	"regexp"
	"strings"

	"github.com/runnel-io/runnel/service/mcp/clip"
)

// arguments are those of the tools that set the fields of a request.
var arguments = map[string]string{
	"metadata.id": "id", "spec.task.commands": "command", "spec.task.argv": "argv", "spec.task.params": "env", "spec.task.dir": "dir",
	"spec.task.user": "as", "spec.task.timeout": "timeout_seconds", "spec.task.name": "name", "spec.task.tags": "tags", "spec.task.stdin": "stdin",
	"spec.task.delay": "delay_seconds", "spec.task.expires": "expires_seconds", "spec.task.retries": "retries", "spec.task.concurrency.key": "concurrency_key",
	"spec.task.file.content": "source", "spec.task.language.name": "language", "spec.task.language.version": "version", "spec.task": "command or argv",
	"spec.query.limit": "limit", "spec.query.states": "states", "spec.query.tags": "tags", "spec.query.next": "next",
	"spec.glance.dir.path": "path", "spec.glance.file.path": "path", "spec.glance.dir.next": "next",
}

var (
	fieldName  = regexp.MustCompile(`\b(?:spec|metadata)(?:\.[a-zA-Z]+(?:\[\d+\])?)+`)
	fieldIndex = regexp.MustCompile(`\[\d+\]`)
)

// inArguments says an error in the words of the tools: their arguments in place of
// the fields of a request.
func inArguments(err error) error {
	if err == nil {
		return nil
	}
	text := fieldName.ReplaceAllStringFunc(err.Error(), func(field string) string {
		known := fieldIndex.ReplaceAllString(field, "")
		for known != "" {
			if name, ok := arguments[known]; ok {
				return name
			}
			known = known[:max(0, strings.LastIndexByte(known, '.'))]
		}
		return field
	})
	return errors.New(clip.Short(text, maxError))
}
