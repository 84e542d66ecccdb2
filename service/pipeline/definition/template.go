package definition

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"text/template"

	"github.com/runnel-io/runnel/pb"
)

// MaxVariables is how large a job's variables may be, as JSON, in bytes.
const MaxVariables = pb.MaxVariables

// maxRendered bounds the text that one script may become.
const maxRendered = 8 << 20

// A Scope is what a job's templates can name: the job's variables, the
// environment of the task and __jobID. Values are never rendered themselves.
type Scope map[string]any

// NewScope makes a scope; a variable wins over an environment entry of its name.
func NewScope(jobID string, variables map[string]any, env map[string]string) Scope {
	s := Scope{}
	for name, value := range env {
		s[name] = value
	}
	for name, value := range variables {
		s[name] = value
	}
	s["__jobID"] = jobID
	return s
}

// Render gives the items of a script with their templates replaced. All are
// rendered before the first may run; the error names item, line and variable.
func (s Script) Render(scope Scope) ([]string, error) {
	items, total := make([]string, 0, len(s)), 0
	for i, item := range s {
		t, err := parseTemplate(item.Text)
		if err != nil {
			return nil, fmt.Errorf("cannot render script item %d: %w", i+1, err)
		}
		out := limitedBuffer{most: maxRendered - total}
		if err := t.Execute(&out, map[string]any(scope)); err != nil {
			line, text := templateError(err)
			return nil, fmt.Errorf("cannot render script item %d, line %d: %s", i+1, max(line, 1), text)
		}
		total += out.Len()
		items = append(items, out.String())
	}
	return items, nil
}

// limitedBuffer refuses what would fill the memory.
type limitedBuffer struct {
	bytes.Buffer
	most int
}

func (b *limitedBuffer) Write(p []byte) (int, error) {
	if b.Len()+len(p) > b.most {
		return 0, fmt.Errorf("the script becomes longer than %d MiB", maxRendered>>20)
	}
	return b.Buffer.Write(p)
}

func parseTemplate(text string) (*template.Template, error) {
	return template.New("script").Option("missingkey=error").Funcs(functions).Parse(text)
}

var (
	templatePlace = regexp.MustCompile(`^template: script:(\d+)(?::\d+)?: (?s)(.*)$`)
	executing     = regexp.MustCompile(`^executing "script" at <(?s)(.*?)>: (?s)(.*)$`)
	noKey         = regexp.MustCompile(`map has no entry for key "(.*)"$`)
)

// templateError splits an error of text/template in line and plain text.
func templateError(err error) (line int, text string) {
	m := templatePlace.FindStringSubmatch(err.Error())
	if m == nil {
		return 0, err.Error()
	}
	line, _ = strconv.Atoi(m[1])
	text = m[2]
	if m := executing.FindStringSubmatch(text); m != nil {
		text = fmt.Sprintf("{{ %s }}: %s", m[1], m[2])
	}
	if m := noKey.FindStringSubmatch(text); m != nil {
		text = fmt.Sprintf("the job has no variable %q", m[1])
	}
	return line, text
}

// functions beyond those of text/template. The comparisons and printf take
// numbers of either kind, since JSON does not tell 3 from 3.0.
var functions = template.FuncMap{
	"default":   defaultTo,
	"quote":     func(v any) string { return ShellQuote(TextOf(v)) },
	"json":      ToJSON,
	"join":      join,
	"split":     func(sep, text string) []string { return strings.Split(text, sep) },
	"replace":   func(from, to, text string) string { return strings.ReplaceAll(text, from, to) },
	"contains":  func(part, text string) bool { return strings.Contains(text, part) },
	"hasPrefix": func(part, text string) bool { return strings.HasPrefix(text, part) },
	"hasSuffix": func(part, text string) bool { return strings.HasSuffix(text, part) },
	"lower":     strings.ToLower,
	"upper":     strings.ToUpper,
	"trim":      strings.TrimSpace,
	"eq":        equal,
	"ne":        func(a, b any) (bool, error) { same, err := equal(a, b); return !same, err },
	"lt":        func(a, b any) (bool, error) { c, err := compare(a, b); return c < 0, err },
	"le":        func(a, b any) (bool, error) { c, err := compare(a, b); return c <= 0, err },
	"gt":        func(a, b any) (bool, error) { c, err := compare(a, b); return c > 0, err },
	"ge":        func(a, b any) (bool, error) { c, err := compare(a, b); return c >= 0, err },
	"printf":    printf,
}

// defaultTo gives value, or other where value is missing, null, false, 0 or empty.
func defaultTo(other any, value ...any) any {
	if len(value) == 0 {
		return other
	}
	if truth, _ := template.IsTrue(value[0]); !truth {
		return other
	}
	return value[0]
}

func ToJSON(v any) (string, error) {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return strings.TrimSuffix(out.String(), "\n"), err
}

func join(sep string, list any) (string, error) {
	switch l := list.(type) {
	case []string:
		return strings.Join(l, sep), nil
	case []any:
		parts := make([]string, len(l))
		for i, v := range l {
			parts[i] = TextOf(v)
		}
		return strings.Join(parts, sep), nil
	}
	return "", errors.New("join wants a list")
}

// TextOf is a value as a template prints it.
func TextOf(v any) string {
	if v == nil {
		return ""
	}
	return fmt.Sprint(v)
}

// ShellQuote makes one word of text for any POSIX shell, whatever is in it.
func ShellQuote(text string) string {
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
