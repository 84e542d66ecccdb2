package definition

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// MaxDefinition is how large one definition may be, as JSON, in bytes.
const MaxDefinition = 256 << 10

// maxFile bounds a pipelines.yml, in bytes.
const maxFile = 4 << 20

// An Error is what is wrong with a definition, and where.
type Error struct {
	// Path of the file.
	Path string
	// Line and Column, from 1; 0: the whole file.
	Line, Column int
	// Text says what is wrong.
	Text string
	// Excerpt shows the place with a caret, over several lines; it may be empty.
	Excerpt string
}

// Error is one line: path:line:column: text.
func (e *Error) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %s", e.Path, e.Text)
	}
	return fmt.Sprintf("%s:%d:%d: %s", e.Path, e.Line, e.Column, e.Text)
}

// Parse reads the text of a pipelines.yml and validates it. The error is an
// *Error that has path in it.
func Parse(path string, text []byte) (map[string]*Pipeline, error) {
	pipelines, err := parseFile(text)
	if err == nil {
		return pipelines, nil
	}
	return nil, Located(path, err)
}

// Located puts a file's path in front of an error of the YAML library.
func Located(path string, err error) error {
	e := &Error{Path: path, Text: err.Error()}
	var withPlace yaml.Error
	if errors.As(err, &withPlace) {
		e.Text = plainYAML(withPlace.GetMessage())
		if t := withPlace.GetToken(); t != nil && t.Position != nil {
			e.Line, e.Column = t.Position.Line, t.Position.Column
			_, e.Excerpt, _ = strings.Cut(yaml.FormatError(err, false, true), "\n")
		}
	}
	return e
}

// libraryWords are the YAML library's messages that name Go or its own types.
var libraryWords = []struct {
	pattern *regexp.Regexp
	plain   string
}{
	{regexp.MustCompile(`^mapping key "(.*)" already defined at \[(\d+):\d+\]$`), `key "$1" stands here twice, first on line $2`},
	{regexp.MustCompile(`^duplicate key "(.*)"$`), `key "$1" stands here twice`},
	{regexp.MustCompile(`^unknown field "(.*)"$`), `unknown key "$1"`},
	{regexp.MustCompile(`^cannot unmarshal .* into Go (?:struct field \S+|value) of type \S+$`), "a value of another kind is expected"},
	{regexp.MustCompile(`^(\S+) was used where mapping is expected$`), "a mapping is expected, not a $1"},
	{regexp.MustCompile(`^(\S+) was used where sequence is expected$`), "a list is expected, not a $1"},
}

func plainYAML(message string) string {
	for _, w := range libraryWords {
		if w.pattern.MatchString(message) {
			return w.pattern.ReplaceAllString(message, w.plain)
		}
	}
	return message
}

func parseFile(text []byte) (map[string]*Pipeline, error) {
	if len(text) > maxFile {
		return nil, fmt.Errorf("the file has %d bytes, %d at most", len(text), maxFile)
	}
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		return nil, err
	}
	root, err := OneDocument(file)
	if root == nil || err != nil {
		return nil, err
	}
	if root, err = resolve(root); err != nil {
		return nil, err
	}
	top, ok := root.(*ast.MappingNode)
	if !ok {
		return nil, ErrorAt(root.GetToken(), "a mapping with the key pipelines is expected")
	}
	for _, entry := range top.Values {
		switch name := KeyText(entry.Key); {
		case strings.HasPrefix(name, "x-"):
		case name == "pipelines":
			return decodePipelines(top, entry.Value)
		default:
			return nil, ErrorAt(entry.Key.GetToken(), "unknown key %q", name)
		}
	}
	return nil, nil
}

// OneDocument is the file's only document, or nil where it is empty.
func OneDocument(file *ast.File) (ast.Node, error) {
	var root ast.Node
	for _, doc := range file.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.CommentGroupType || doc.Body.Type() == ast.NullType {
			continue
		}
		if doc.Body.Type() == ast.DirectiveType {
			continue
		}
		if root != nil {
			return nil, ErrorAt(doc.Body.GetToken(), "a second document is not read: keep one a file")
		}
		root = doc.Body
	}
	return root, nil
}

func decodePipelines(top *ast.MappingNode, node ast.Node) (map[string]*Pipeline, error) {
	for _, entry := range top.Values {
		if name := KeyText(entry.Key); name != "pipelines" && !strings.HasPrefix(name, "x-") {
			return nil, ErrorAt(entry.Key.GetToken(), "unknown key %q", name)
		}
	}
	if node.Type() == ast.NullType {
		return nil, nil
	}
	list, ok := node.(*ast.MappingNode)
	if !ok {
		return nil, ErrorAt(node.GetToken(), "pipelines: a mapping of pipelines by name is expected, not a %s", KindOf(node))
	}
	all := map[string]*Pipeline{}
	for _, entry := range list.Values {
		p := &Pipeline{}
		if entry.Value.Type() != ast.NullType {
			if err := yaml.NodeToValue(entry.Value, p, yaml.Strict()); err != nil {
				return nil, err
			}
		}
		name := KeyText(entry.Key)
		if err := validate(place{entry, p}, name); err != nil {
			return nil, err
		}
		all[name] = p
	}
	return all, nil
}

// KeyText is a key as it was written, without quotes.
func KeyText(key ast.MapKeyNode) string {
	if s, ok := key.(*ast.StringNode); ok {
		return s.Value
	}
	return key.GetToken().Value
}
