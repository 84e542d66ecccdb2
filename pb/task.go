package pb

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
)

// OwnDir as a task's dir stands for an empty directory that is the run's alone
// and goes with it.
const OwnDir = "@run"

// Bounds of a task.
const (
	DefaultGrace = 10 * time.Second
	DefaultWidth = 500 // runes of a record
	maxTags      = 32
	maxTagBytes  = 256
	maxIDBytes   = 64
)

// DefaultGrace is what a task gets that names no grace: what is written in a
// language has nothing to say at its end.
func (t *Task) DefaultGrace() time.Duration {
	if t.GetLanguage() != nil {
		return 0
	}
	return DefaultGrace
}

// Validate: see Request.
func (r *TaskRequest) Validate() error {
	if err := validateEnvelope(r); err != nil {
		return err
	}
	if id := r.GetMetadata().GetId(); !validID(id) {
		return invalid("metadata.id: %q must be at most %d letters, digits, \"-\" and \"_\"", clip(id), maxIDBytes)
	}
	t := r.GetSpec().GetTask()
	if t == nil {
		return invalid("spec.task is missing")
	}
	if err := t.validateWhat(); err != nil {
		return err
	}
	return t.validateHow()
}

func validID(id string) bool {
	return len(id) <= maxIDBytes && !strings.ContainsFunc(id, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_')
	})
}

// passOverEmpty takes away what says nothing beside what does: clients of the old
// runner send a file and a language with every task.
func (t *Task) passOverEmpty() {
	if t == nil {
		return
	}
	other := len(t.Commands) > 0 || len(t.Argv) > 0
	if f := t.File; f != nil && len(f.GetContent()) == 0 && !f.GetGzip() && (other || len(t.Files) > 0) {
		t.File = nil
	}
	if l := t.Language; l != nil && l.GetName() == "" && l.GetVersion() == "" && (other || t.File != nil) {
		t.Language = nil
	}
}

// validateWhat: exactly one of file, commands and argv, and that one right.
func (t *Task) validateWhat() error {
	for i, arg := range t.GetArgv() {
		if strings.ContainsRune(arg, 0) {
			return invalid("spec.task.argv[%d] has a NUL", i)
		}
	}
	file, commands, argv := t.GetFile() != nil, len(t.GetCommands()) > 0, len(t.GetArgv()) > 0
	switch {
	case file && commands:
		return invalid("file and commands not supported meanwhile")
	case t.GetLanguage() != nil:
		return t.validateLanguage()
	case file && argv || commands && argv:
		return invalid("spec.task: exactly one of file, commands and argv is supported")
	case len(t.GetFiles()) > 0:
		return invalid("spec.task.files goes with language")
	case !file && !commands && !argv:
		return invalid("invalid file: spec.task needs one of file, commands and argv")
	case argv && t.GetArgv()[0] == "":
		return invalid("spec.task.argv[0] is empty: it is the program to run")
	case file:
		return t.GetFile().validate(true)
	}
	for i, c := range t.GetCommands() {
		if strings.ContainsRune(c, 0) {
			return invalid("spec.task.commands[%d] has a NUL", i)
		}
	}
	return nil
}

func (t *Task) validateLanguage() error {
	switch {
	case t.GetLanguage().GetName() == "":
		return invalid("spec.task.language.name is missing")
	case len(t.GetCommands()) > 0:
		return invalid("spec.task.commands doesn't go with language: use argv for the program's arguments")
	case t.GetFile() == nil && len(t.GetFiles()) == 0:
		return invalid("invalid file: a task with language needs its source in file or files")
	}
	if t.GetFile() != nil {
		return t.GetFile().validate(false)
	}
	return nil
}

// validateHow checks what is the same for every kind of task.
func (t *Task) validateHow() error {
	if _, err := Environ(t.GetParams()); err != nil {
		return err
	}
	if strings.ContainsRune(t.GetDir(), 0) || strings.ContainsRune(t.GetUser(), 0) {
		return invalid("spec.task.dir and spec.task.user must not have a NUL")
	}
	for _, d := range []struct{ field, value string }{
		{"timeout", t.GetTimeout()}, {"grace", t.GetGrace()}, {"expires", t.GetExpires()},
	} {
		if _, err := Duration("spec.task."+d.field, d.value, 0); err != nil {
			return err
		}
	}
	if err := t.GetLog().validate(); err != nil {
		return err
	}
	switch t.GetIsolation() {
	case "", "none", "standard", "strict":
	default:
		return invalid("spec.task.isolation: %q must be \"none\", \"standard\" or \"strict\"", clip(t.GetIsolation()))
	}
	if err := t.validateQueue(); err != nil {
		return err
	}
	return validateTags(t.GetTags())
}

func (l *Log) validate() error {
	switch {
	case l.GetPack() < 0:
		return invalid("spec.task.log.pack: %d is negative", l.GetPack())
	case l.GetMaxBytes() < 0:
		return invalid("spec.task.log.maxBytes: %d is negative", l.GetMaxBytes())
	case l.GetOverflow() != "" && l.GetOverflow() != "block" && l.GetOverflow() != "drop":
		return invalid("spec.task.log.overflow: %q must be \"block\" or \"drop\"", clip(l.GetOverflow()))
	}
	return nil
}

func validateTags(tags map[string]string) error {
	if len(tags) > maxTags {
		return invalid("spec.task.tags: %d tags, %d at most", len(tags), maxTags)
	}
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		v := tags[k]
		if k == "" || len(k) > maxTagBytes || len(v) > maxTagBytes {
			return invalid("spec.task.tags: key and value of %q must be at most %d bytes, the key not empty", clip(k), maxTagBytes)
		}
	}
	return nil
}

// Digest tells one request from another: the same for the same request,
// whatever form it came in, and whether it names what is the default or not.
func (r *TaskRequest) Digest() (string, error) {
	log := r.GetSpec().GetTask().GetLog()
	if r.GetApiVersion() != "" || log != nil {
		r = proto.CloneOf(r)
		r.ApiVersion = ""
		if log = r.GetSpec().GetTask().GetLog(); log != nil && (log.GetWidth() <= 0 || log.GetWidth() == DefaultWidth) {
			log.Width = 0
		}
		if log != nil && proto.Size(log) == 0 {
			r.Spec.Task.Log = nil
		}
	}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(r)
	if err != nil {
		return "", fmt.Errorf("cannot digest the request: %w", err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}

// clip keeps what a caller sent short in an error message.
func clip(s string) string {
	if len(s) > 80 {
		return strings.ToValidUTF8(s[:80], "") + "…"
	}
	return s
}
