package definition

import "strings"

// shebang of a task's script; a task request wants one of bash.
const shebang = "#!/bin/bash\n"

// ShellScript makes one script of rendered items. They run in one shell, so that
// variables, functions and the directory are kept from item to item. The status
// is looked at after each item, as a whole; an item that is not complete shell,
// such as one with an open quote, is its own error and ends the task.
func ShellScript(items []string) string { return ShellScriptAfter("", items) }

// ShellScriptAfter has lines of its own before the first item.
func ShellScriptAfter(prelude string, items []string) string {
	var out strings.Builder
	out.WriteString(shebang)
	out.WriteString(prelude)
	for _, item := range items {
		if strings.TrimSpace(item) == "" {
			continue
		}
		out.WriteString("eval " + ShellQuote(item) + "\n")
		out.WriteString("case $? in 0) ;; *) exit ;; esac\n")
	}
	return out.String()
}

// Blank says whether a script has nothing to run.
func (s Script) Blank() bool {
	for _, item := range s {
		if strings.TrimSpace(item.Text) != "" {
			return false
		}
	}
	return true
}
