package cli

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"unicode"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
	"github.com/spf13/pflag"
)

// A configuration file sets the flags of a command. A key is a flag's name in
// the spelling of the wire (drainTimeout for --drain-timeout); a flag that may
// be repeated takes a list or a map, and its plural for a name. So whatever a
// flag can say a file can, and no third list of settings has to be kept.
// Sections, such as policy, are what no flag says.
//
// The command line and the environment come before the file.

// ApplyConfig reads a file into the flags and the sections. An error names the
// line and column.
func ApplyConfig(path string, flags *pflag.FlagSet, sections map[string]any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("cannot read configuration %s: %w", path, Cause(err))
	}
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		return configError(path, err)
	}
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		if err := applyDocument(doc.Body, flags, sections); err != nil {
			return configError(path, err)
		}
	}
	return nil
}

// configError puts the file in front of an error of the YAML library, which
// begins with [line:column] and ends with the place in the source.
func configError(path string, err error) error {
	var located yaml.Error
	if !errors.As(err, &located) || located.GetToken() == nil {
		if bad, ok := strings.CutPrefix(err.Error(), "time: "); ok { // it names the text, and no place
			err = fmt.Errorf("%s: %s", bad, aDuration)
		}
		return fmt.Errorf("cannot use configuration %s: %w", path, err)
	}
	at := located.GetToken().Position
	source := strings.TrimRight(located.FormatError(false, true), "\n")
	_, source, _ = strings.Cut(source, "\n") // the message is on the first line
	return fmt.Errorf("cannot use configuration %s:%d:%d: %s\n%s", path, at.Line, at.Column, inWords(located.GetMessage()), source)
}

// inWords says what a value is to be, where the YAML library names types of Go.
func inWords(message string) string {
	_, kind, ok := strings.Cut(message, " into Go struct field ")
	_, kind, typed := strings.Cut(kind, " of type ")
	switch {
	case !ok || !typed:
		return message
	case strings.HasSuffix(kind, "time.Duration"):
		return aDuration
	case strings.HasSuffix(kind, "bool"):
		return "it is true or false, without quotes"
	case strings.HasSuffix(kind, "string"):
		return "it is a text"
	}
	return "it is not of the kind that is expected here"
}

func errorAt(t *token.Token, format string, args ...any) error {
	return &yaml.SyntaxError{Message: fmt.Sprintf(format, args...), Token: t}
}

func applyDocument(body ast.Node, flags *pflag.FlagSet, sections map[string]any) error {
	switch body.Type() {
	case ast.NullType, ast.CommentGroupType:
		return nil // an empty file
	}
	mapping, ok := body.(ast.MapNode)
	if !ok {
		return errorAt(body.GetToken(), "a mapping of settings is expected")
	}
	for entries := mapping.MapRange(); entries.Next(); {
		if err := applyEntry(entries.Key(), entries.Value(), flags, sections); err != nil {
			return err
		}
	}
	return nil
}

func applyEntry(key ast.MapKeyNode, value ast.Node, flags *pflag.FlagSet, sections map[string]any) error {
	name := key.GetToken().Value
	if section, ok := sections[name]; ok {
		return yaml.NodeToValue(value, section, yaml.Strict())
	}
	f := FlagOfKey(flags, name)
	if f == nil {
		return errorAt(key.GetToken(), "unknown setting %q", name)
	}
	if value.Type() == ast.NullType {
		return nil
	}
	values, err := flagValues(value, repeatable(f))
	if err != nil {
		return err
	}
	if f.Changed { // what comes before the file hides its value, not a mistake in it
		return tryValues(f, name, values)
	}
	for _, v := range values {
		if err := flags.Set(f.Name, v.Value); err != nil {
			return errorAt(v, "%s: %v", name, plainFlagError(err))
		}
	}
	return nil
}

// tryValues says what is wrong with the values of a flag, which keeps its own.
func tryValues(f *pflag.Flag, name string, values []*token.Token) error {
	if repeatable(f) {
		return nil // any text will do
	}
	before := f.Value.String()
	for _, v := range values {
		err := f.Value.Set(v.Value)
		if back := f.Value.Set(before); back != nil { // it was taken before
			return back
		}
		if err != nil {
			return errorAt(v, "%s: %v", name, plainFlagError(err))
		}
	}
	return nil
}

// FlagOfKey finds the flag that a key means.
func FlagOfKey(flags *pflag.FlagSet, key string) *pflag.Flag {
	if strings.ContainsAny(key, "-_") || key == "help" || key == "config" {
		return nil // one spelling; and no file within the file
	}
	if f := flags.Lookup(FlagName(key)); f != nil {
		return f
	}
	for _, plural := range []string{"s", "es"} {
		if f := flags.Lookup(FlagName(strings.TrimSuffix(key, plural))); f != nil && repeatable(f) {
			return f
		}
	}
	return nil
}

// FlagName spells drainTimeout drain-timeout.
func FlagName(key string) string {
	var name strings.Builder
	for _, r := range key {
		if unicode.IsUpper(r) {
			name.WriteByte('-')
		}
		name.WriteRune(unicode.ToLower(r))
	}
	return name.String()
}

func repeatable(f *pflag.Flag) bool {
	return strings.HasPrefix(f.Value.Type(), "string") && f.Value.Type() != "string"
}

// flagValues are the values to set a flag to, one after the other. The tokens
// keep their place in the file.
func flagValues(value ast.Node, many bool) ([]*token.Token, error) {
	switch node := value.(type) {
	case *ast.SequenceNode:
		if !many {
			return nil, errorAt(value.GetToken(), "one value is expected, not a list")
		}
		var all []*token.Token
		for _, item := range node.Values {
			one, err := flagValues(item, false)
			if err != nil {
				return nil, err
			}
			all = append(all, one...)
		}
		return all, nil
	case ast.MapNode:
		if !many {
			return nil, errorAt(value.GetToken(), "one value is expected, not a mapping")
		}
		return pairs(node)
	case ast.ScalarNode:
		t := value.GetToken()
		text := *t
		text.Value = scalarText(node)
		return []*token.Token{&text}, nil
	}
	return nil, errorAt(value.GetToken(), "one value is expected")
}

// pairs are the entries of a mapping as key=value.
func pairs(node ast.MapNode) ([]*token.Token, error) {
	var all []*token.Token
	for entries := node.MapRange(); entries.Next(); {
		one, err := flagValues(entries.Value(), false)
		if err != nil {
			return nil, err
		}
		one[0].Value = entries.Key().GetToken().Value + "=" + one[0].Value
		all = append(all, one[0])
	}
	return all, nil
}

// scalarText is a scalar as it was written, but for quotes.
func scalarText(node ast.ScalarNode) string {
	if s, ok := node.GetValue().(string); ok {
		return s
	}
	return node.GetToken().Value
}
