package definition

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// Text is a scalar as it was written: 080 stays 080, yes stays yes.
type Text string

// Int is a whole number, in the spellings of YAML 1.1: 0x2, 0b10, 010, 1_000.
type Int int64

// Bool is a boolean, in the spellings of YAML 1.1: yes, no, on, off, y, n.
type Bool bool

// Duration is a Go duration such as 90s.
type Duration time.Duration

// Names is a list of names; one alone may be written without a list.
type Names []string

// Script is a list of items; each is run as one piece of shell.
type Script []Item

// Item is one item of a script and where it stands.
type Item struct {
	Text string
	Line int
}

// ErrorAt is an error at a place of the file.
func ErrorAt(t *token.Token, format string, args ...any) error {
	return &yaml.SyntaxError{Message: fmt.Sprintf(format, args...), Token: t}
}

// scalar is a node's text; tag says whether it was quoted.
func scalar(node ast.Node) (text string, quoted bool, err error) {
	switch n := node.(type) {
	case *ast.LiteralNode:
		return n.Value.Value, true, nil
	case *ast.StringNode:
		return n.Value, n.Token.Type != token.StringType, nil
	case *ast.NullNode:
		return "", false, nil
	case *ast.TagNode:
		return scalar(n.Value)
	case ast.ScalarNode:
		return node.GetToken().Value, false, nil
	}
	return "", false, ErrorAt(node.GetToken(), "one value is expected, not a %s", KindOf(node))
}

// KindOf is what a node is, in a word.
func KindOf(node ast.Node) string {
	switch node.(type) {
	case *ast.SequenceNode:
		return "list"
	case *ast.MappingNode, *ast.MappingValueNode:
		return "mapping"
	}
	return strings.ToLower(node.Type().String())
}

// UnmarshalYAML reads any scalar.
func (t *Text) UnmarshalYAML(node ast.Node) error {
	text, _, err := scalar(node)
	*t = Text(text)
	return err
}

// UnmarshalYAML reads a whole number.
func (i *Int) UnmarshalYAML(node ast.Node) error {
	text, quoted, err := scalar(node)
	if err != nil {
		return err
	}
	if node.Type() == ast.NullType {
		*i = 0
		return nil
	}
	n, err := parseInt(text)
	if quoted || err != nil {
		return ErrorAt(node.GetToken(), "a whole number is expected, not %q", text)
	}
	*i = Int(n)
	return nil
}

// parseInt reads the integers of YAML 1.1 and the 0o of 1.2.
func parseInt(text string) (int64, error) {
	digits := strings.ReplaceAll(text, "_", "")
	if strings.HasPrefix(text, "_") || strings.Contains(text, "__") || strings.HasSuffix(text, "_") {
		return 0, strconv.ErrSyntax
	}
	if n, err := strconv.ParseInt(digits, 0, 64); err == nil {
		return n, nil
	}
	// 3.0 and 1e3 are whole numbers to a reader that knows floats alone.
	f, err := strconv.ParseFloat(digits, 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
		return 0, strconv.ErrSyntax
	}
	return int64(f), nil
}

// UnmarshalYAML reads a boolean.
func (b *Bool) UnmarshalYAML(node ast.Node) error {
	text, quoted, err := scalar(node)
	if err != nil {
		return err
	}
	switch {
	case node.Type() == ast.NullType:
		*b = false
		return nil
	case quoted:
	case isOneOf(text, "y", "yes", "on", "true"):
		*b = true
		return nil
	case isOneOf(text, "n", "no", "off", "false"):
		*b = false
		return nil
	}
	return ErrorAt(node.GetToken(), "true or false is expected, not %q", text)
}

// isOneOf compares as YAML 1.1 does: lower case, Capital or UPPER case.
func isOneOf(text string, words ...string) bool {
	for _, w := range words {
		if text == w || text == strings.ToUpper(w) || text == strings.ToUpper(w[:1])+w[1:] {
			return true
		}
	}
	return false
}

// UnmarshalYAML reads a duration with its unit.
func (d *Duration) UnmarshalYAML(node ast.Node) error {
	text, _, err := scalar(node)
	if err != nil {
		return err
	}
	if text == "" && node.Type() == ast.NullType {
		*d = 0
		return nil
	}
	v, err := time.ParseDuration(text)
	if err != nil {
		return ErrorAt(node.GetToken(), "a duration such as 90s is expected, not %q", text)
	}
	if v < 0 {
		return ErrorAt(node.GetToken(), "a duration must not be negative")
	}
	*d = Duration(v)
	return nil
}

// MarshalJSON gives the duration as Go writes it.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(d).String()) }

// UnmarshalJSON reads what MarshalJSON wrote.
func (d *Duration) UnmarshalJSON(body []byte) error {
	var text string
	if err := json.Unmarshal(body, &text); err != nil {
		return err
	}
	v, err := time.ParseDuration(text)
	*d = Duration(v)
	return err
}

// UnmarshalYAML reads a list of names, or one name.
func (n *Names) UnmarshalYAML(node ast.Node) error {
	items, err := itemsOf(node)
	for _, item := range items {
		*n = append(*n, item.Text)
	}
	return err
}

// UnmarshalYAML reads a list of items, or one item.
func (s *Script) UnmarshalYAML(node ast.Node) error {
	items, err := itemsOf(node)
	*s = items
	return err
}

func itemsOf(node ast.Node) ([]Item, error) {
	list, isList := node.(*ast.SequenceNode)
	if !isList {
		if node.Type() == ast.NullType {
			return nil, nil
		}
		text, _, err := scalar(node)
		return []Item{{text, lineOf(node)}}, err
	}
	items := make([]Item, 0, len(list.Values))
	for _, value := range list.Values {
		text, _, err := scalar(value)
		if err != nil {
			return nil, err
		}
		items = append(items, Item{text, lineOf(value)})
	}
	return items, nil
}

// lineOf is the line on which a scalar's text begins.
func lineOf(node ast.Node) int {
	line := node.GetToken().Position.Line
	if _, isBlock := node.(*ast.LiteralNode); isBlock {
		line++ // below its | or >
	}
	return line
}

// MarshalJSON gives an item as text.
func (i Item) MarshalJSON() ([]byte, error) { return json.Marshal(i.Text) }

// UnmarshalJSON reads what MarshalJSON wrote; the line is not known any more.
func (i *Item) UnmarshalJSON(body []byte) error { return json.Unmarshal(body, &i.Text) }

// UnmarshalYAML reads a number, which is max, or a mapping.
func (r *Retries) UnmarshalYAML(node ast.Node) error {
	if node.Type() != ast.MappingType {
		return r.Max.UnmarshalYAML(node)
	}
	type mapping Retries
	return yaml.NodeToValue(node, (*mapping)(r), yaml.Strict())
}
