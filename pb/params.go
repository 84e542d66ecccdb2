package pb

import "strings"

// Environ turns params into "NAME=value" entries, in order, one a name: the
// last of two params with a name wins. A value that is wholly "$NAME" becomes
// the value of the first param called NAME, and so on along the chain;
// everything else is literal. (pipego)
func Environ(params []*Param) ([]string, error) {
	first := make(map[string]string, len(params))
	for i, p := range params {
		name, value := p.GetName(), p.GetValue()
		switch {
		case name == "":
			return nil, invalid("spec.task.params[%d].name is empty", i)
		case strings.ContainsAny(name, "=\x00"):
			return nil, invalid("spec.task.params[%d].name: %q must not have \"=\" or a NUL", i, clip(name))
		case strings.ContainsRune(value, 0):
			return nil, invalid("spec.task.params[%d].value (%s) has a NUL", i, clip(name))
		}
		if _, ok := first[name]; !ok {
			first[name] = value
		}
	}
	var env []string
	at := make(map[string]int, len(params))
	known := make(map[string]string, len(params))
	for _, p := range params {
		value, err := resolve(p, first, known)
		if err != nil {
			return nil, err
		}
		entry := p.GetName() + "=" + value
		if i, ok := at[p.GetName()]; ok {
			env[i] = entry
			continue
		}
		at[p.GetName()] = len(env)
		env = append(env, entry)
	}
	return env, nil
}

// resolve follows the chain of references that begins with p's value. known is
// what the params on chains before have come to: a long chain is walked once.
func resolve(p *Param, first, known map[string]string) (string, error) {
	value := p.GetValue()
	var chain []string
	seen := map[string]bool{}
	for {
		name, ok := reference(value)
		next, exists := first[name]
		if !ok || !exists {
			break
		}
		if end, ok := known[name]; ok {
			value = end
			break
		}
		chain = append(chain, name)
		if seen[name] {
			return "", invalid("spec.task.params: %s refers to itself: $%s", clip(p.GetName()), clip(strings.Join(chain, " → $")))
		}
		seen[name] = true
		value = next
	}
	for _, name := range chain {
		known[name] = value
	}
	return value, nil
}

// reference reads "$NAME"; "$$x" and "${x}" are text for a shell.
func reference(value string) (name string, ok bool) {
	name, ok = strings.CutPrefix(value, "$")
	if !ok || name == "" || name[0] == '$' || name[0] == '{' {
		return "", false
	}
	return name, true
}
