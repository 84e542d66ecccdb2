package definition

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/runnel-io/runnel/service/schedule/pattern"
)

// maxTimers bounds a pipeline's schedule: each entry is a schedule of the fleet.
const maxTimers = 100

// Object is a mapping of any values as JSON: numbers keep their digits.
type Object json.RawMessage

// MarshalJSON gives it as it is.
func (o Object) MarshalJSON() ([]byte, error) { return json.RawMessage(o).MarshalJSON() }

// UnmarshalJSON keeps the text, without the spaces between its parts.
func (o *Object) UnmarshalJSON(body []byte) error {
	var out bytes.Buffer
	err := json.Compact(&out, body)
	*o = out.Bytes()
	return err
}

// UnmarshalYAML reads a mapping.
func (o *Object) UnmarshalYAML(node ast.Node) error {
	if node.Type() == ast.NullType {
		*o = nil
		return nil
	}
	if _, ok := node.(*ast.MappingNode); !ok {
		return ErrorAt(node.GetToken(), "a mapping is expected, not a %s", KindOf(node))
	}
	value, err := jsonOf(node)
	if err != nil {
		return err
	}
	*o, err = json.Marshal(value)
	return err
}

// jsonOf is what stands for a node in JSON.
func jsonOf(node ast.Node) (any, error) {
	switch n := node.(type) {
	case *ast.MappingNode:
		all := make(map[string]any, len(n.Values))
		for _, entry := range n.Values {
			value, err := jsonOf(entry.Value)
			if err != nil {
				return nil, err
			}
			all[KeyText(entry.Key)] = value
		}
		return all, nil
	case *ast.SequenceNode:
		all := make([]any, len(n.Values))
		for i, item := range n.Values {
			value, err := jsonOf(item)
			if err != nil {
				return nil, err
			}
			all[i] = value
		}
		return all, nil
	case *ast.NullNode:
		return nil, nil
	case *ast.BoolNode:
		return n.Value, nil
	case *ast.IntegerNode:
		return numberOf(node, fmt.Sprint(n.Value)), nil
	case *ast.FloatNode:
		return numberOf(node, Number(n.Value).String()), nil
	}
	switch node.Type() {
	case ast.InfinityType, ast.NanType:
		return nil, ErrorAt(node.GetToken(), "%s is no number that a job's variables can hold", node.GetToken().Value)
	}
	text, _, err := scalar(node)
	return text, err
}

// numberOf is a number with the digits that it was written with, where JSON takes
// them so.
func numberOf(node ast.Node, otherwise string) any {
	if text := node.GetToken().Value; json.Valid([]byte(text)) {
		return json.Number(text)
	}
	return json.Number(otherwise)
}

// Pattern is when the timer is due.
func (t Timer) Pattern() (pattern.Pattern, error) {
	if t.Cron != "" {
		return pattern.Cron(string(t.Cron), string(t.TZ))
	}
	return pattern.Every(time.Duration(t.Every).String())
}

func checkSchedule(l place) error {
	if len(l.p.Schedule) > maxTimers {
		return ErrorAt(l.at("schedule"), "schedule has %d entries, %d at most", len(l.p.Schedule), maxTimers)
	}
	for i, t := range l.p.Schedule {
		if key, err := t.check(); err != nil {
			return ErrorAt(l.at("schedule", fmt.Sprint(i), key), "schedule: %v", err)
		}
	}
	return nil
}

// check says what is wrong with a timer, and with which key of it.
func (t Timer) check() (key string, err error) {
	switch {
	case t.Cron != "" && t.Every != 0:
		return "every", fmt.Errorf("give one of cron and every, not both")
	case t.Cron == "" && t.Every == 0:
		return "", fmt.Errorf("give one of cron and every")
	case t.TZ != "" && t.Cron == "":
		return "tz", fmt.Errorf("a time zone belongs to a cron pattern alone")
	}
	if _, err := t.Pattern(); err != nil {
		key := "every"
		if t.Cron != "" {
			key = "cron"
			if _, withoutZone := pattern.Cron(string(t.Cron), ""); withoutZone == nil {
				key = "tz"
			}
		}
		return key, err
	}
	switch t.Overlap {
	case "", "skip", "allow", "replace":
	default:
		return "overlap", fmt.Errorf("unknown overlap %q: use skip, allow or replace", t.Overlap)
	}
	if len(t.Variables) > MaxVariables {
		return "variables", fmt.Errorf("the variables have %d bytes, %d at most", len(t.Variables), MaxVariables)
	}
	return "", nil
}
