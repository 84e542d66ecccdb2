package definition

import (
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// maxNodes bounds what aliases may unfold to: a few lines of aliases of aliases
// would otherwise fill the memory.
const maxNodes = 200_000

// resolver replaces aliases by what they stand for and merges << keys. The
// library's decoder does both only within the part that it is given.
type resolver struct {
	anchors map[string]ast.Node
	nodes   int
}

// resolve returns a document without aliases, anchors and merge keys, in which
// a mapping is always a MappingNode.
func resolve(root ast.Node) (ast.Node, error) {
	r := resolver{anchors: map[string]ast.Node{}}
	return r.node(root)
}

func (r *resolver) node(node ast.Node) (ast.Node, error) {
	if r.nodes++; r.nodes > maxNodes {
		return nil, ErrorAt(node.GetToken(), "aliases unfold to more than %d values", maxNodes)
	}
	switch n := node.(type) {
	case *ast.AnchorNode:
		value, err := r.node(n.Value)
		if err == nil {
			r.anchors[n.Name.GetToken().Value] = value
		}
		return value, err
	case *ast.AliasNode:
		value, known := r.anchors[n.Value.GetToken().Value]
		if !known {
			return nil, ErrorAt(n.GetToken(), "unknown alias %q", n.Value.GetToken().Value)
		}
		return r.node(value) // counted again
	case *ast.TagNode:
		return r.tagged(n)
	case *ast.MappingValueNode:
		return r.mapping(ast.Mapping(n.Start, false, n))
	case *ast.MappingNode:
		return r.mapping(n)
	case *ast.SequenceNode:
		list := ast.Sequence(n.Start, n.IsFlowStyle)
		for _, value := range n.Values {
			v, err := r.node(value)
			if err != nil {
				return nil, err
			}
			list.Values = append(list.Values, v)
		}
		return list, nil
	}
	return node, nil
}

// tagged drops the tags of YAML's own types, and refuses the others.
func (r *resolver) tagged(n *ast.TagNode) (ast.Node, error) {
	switch token.ReservedTagKeyword(n.Start.Value) {
	case token.StringTag, token.IntegerTag, token.FloatTag, token.BooleanTag, token.MappingTag, token.SequenceTag, token.NullTag:
		return r.node(n.Value)
	}
	return nil, ErrorAt(n.Start, "tag %s is not read here", n.Start.Value)
}

// mapping resolves the values and merges what << names; a key of the mapping's
// own wins over a merged one, and the first of several merged ones.
func (r *resolver) mapping(n *ast.MappingNode) (ast.Node, error) {
	out := ast.Mapping(n.Start, n.IsFlowStyle)
	seen := map[string]bool{}
	for _, entry := range n.Values {
		if entry.Key.IsMergeKey() {
			continue
		}
		name := KeyText(entry.Key)
		if seen[name] {
			return nil, ErrorAt(entry.Key.GetToken(), "key %q stands here twice", name)
		}
		seen[name] = true
		value, err := r.node(entry.Value)
		if err != nil {
			return nil, err
		}
		out.Values = append(out.Values, ast.MappingValue(entry.Start, entry.Key, value))
	}
	for _, entry := range n.Values {
		if !entry.Key.IsMergeKey() {
			continue
		}
		value, err := r.node(entry.Value)
		if err != nil {
			return nil, err
		}
		if err := merge(out, seen, value); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func merge(out *ast.MappingNode, seen map[string]bool, value ast.Node) error {
	switch v := value.(type) {
	case *ast.MappingNode:
		for _, entry := range v.Values {
			if name := KeyText(entry.Key); !seen[name] {
				seen[name] = true
				out.Values = append(out.Values, entry)
			}
		}
		return nil
	case *ast.SequenceNode:
		for _, item := range v.Values {
			if err := merge(out, seen, item); err != nil {
				return err
			}
		}
		return nil
	}
	return ErrorAt(value.GetToken(), "<< merges a mapping or a list of mappings")
}
