package commands

import (
	"errors"
	"regexp"
	"strings"

	"github.com/runnel-io/runnel/cmd/runnel/internal/cli"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/store"
)

// fieldFlags are the flags that set the fields of a request. Those of limits have
// the field's own words: memoryMax is --memory-max.
var fieldFlags = map[string]string{
	"metadata.id": "--id", "metadata": "--id",
	"spec.task.timeout": "--timeout", "spec.task.grace": "--grace", "spec.task.expires": "--expires",
	"spec.task.dir": "--dir", "spec.task.user": "--as", "spec.task.name": "--name", "spec.task.tags": "--tag",
	"spec.task.isolation": "--isolation", "spec.task.network": "--network",
	"spec.task.params": "--param", "spec.task.stdin": "--stdin", "spec.task.file.content": "--file",
	"spec.task.commands": "--command", "spec.task.argv": "PROGRAM",
	"spec.task.log.width": "--width", "spec.task.log.pack": "--pack", "spec.task.log.maxBytes": "--max-output",
	"spec.task.log.overflow": "--overflow", "spec.task.log.merge": "--merge",
	"spec.task.language.name": "--language", "spec.task.language.version": "--version",
	"spec.task.retries": "--retries", "spec.task.delay": "--delay", "spec.task.notBefore": "--not-before", "spec.task.concurrency": "--concurrency",
	"spec.query.limit": "--limit", "spec.query.states": "--state", "spec.query.tags": "--tag",
	"spec.glance.dir.path": "DIRECTORY", "spec.glance.file.path": "FILE",
}

// fieldName finds the name of a field of a request, with its indexes.
var fieldName = regexp.MustCompile(`\b(?:spec|metadata)(?:\.[a-zA-Z]+(?:\[\d+\])?)+`)

var index = regexp.MustCompile(`\[\d+\]`)

// withFlags says in place of a field of the wire which flag sets it.
func withFlags(text string) string {
	return fieldName.ReplaceAllStringFunc(text, func(field string) string {
		name := index.ReplaceAllString(field, "")
		if limit, ok := strings.CutPrefix(name, "spec.task.limits."); ok {
			return "--" + cli.FlagName(limit)
		}
		for rest := name; rest != ""; rest = rest[:max(0, strings.LastIndex(rest, "."))] {
			if flag, ok := fieldFlags[rest]; ok {
				return flag
			}
		}
		return field
	})
}

// advise says an error in the words of the command line: flags in place of
// fields, and the command that helps. The libraries below know neither.
func advise(err error) error {
	if exit := (*cli.ExitError)(nil); err == nil || errors.As(err, &exit) && exit.Message == "" {
		return err
	} else if exit != nil {
		return &cli.ExitError{Code: exit.Code, Message: withFlags(exit.Message), Hurried: exit.Hurried}
	}
	text := withFlags(err.Error())
	switch {
	case strings.Contains(text, `unexpected token Operator("=")`):
		text = `cannot read the selector of --where: to compare, write ==, as in 'labels.env == "prod"'`
	case strings.Contains(text, "runnel ls"):
	case errors.Is(err, client.ErrOffline), errors.Is(err, client.ErrUnknownRunner), errors.Is(err, client.ErrNoMatch):
		text += " (runnel ls)"
	case errors.Is(err, store.ErrNoFleet) && !strings.Contains(text, "runnel serve"):
		text += "; runnel serve starts one"
	}
	if text == err.Error() {
		return err
	}
	return &advised{text, err}
}

// advised is an error in other words.
type advised struct {
	text string
	err  error
}

func (e *advised) Error() string { return e.text }
func (e *advised) Unwrap() error { return e.err }
