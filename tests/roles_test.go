package tests

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/runnel-io/runnel/service/roles"
	"github.com/runnel-io/runnel/subjects"
)

var update = flag.Bool("update", false, "write the generated parts of the documents")

// exampleUsers are those of docs/subjects.md.
var exampleUsers = []roles.User{
	{Name: "vera", Role: roles.Viewer},
	{Name: "tom", Role: roles.Task, Pools: []string{"web"}},
	{Name: "olga", Role: roles.Operator},
	{Name: "web1", Role: roles.Runner, Pools: []string{"web"}},
	{Name: "gate1", Role: roles.Gateway},
	{Name: "ann", Role: roles.Admin},
}

// docs/subjects.md has the lists of package roles, which are tested against a
// server there. go test ./tests -run DocsRoles -update writes them.
func TestDocsRoles(t *testing.T) {
	space, err := subjects.New("")
	if err != nil {
		t.Fatal(err)
	}
	var conf strings.Builder
	conf.WriteString("authorization {\n  users = [\n")
	for _, user := range exampleUsers {
		list, err := roles.For(space, user)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&conf, "    # %s: its inbox prefix is %s\n", user.Role, list.Inbox)
		fmt.Fprintf(&conf, "    {user: %s, password: change-me, permissions: %s}\n", user.Name, list.Conf("    "))
	}
	conf.WriteString("  ]\n}\n")
	doc := document(t, "subjects.md")
	block := regexp.MustCompile("(?s)```conf\n(.*?)```")
	if *update {
		doc = block.ReplaceAllLiteralString(doc, "```conf\n"+conf.String()+"```")
		if err := os.WriteFile("../docs/subjects.md", []byte(doc), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	found := block.FindStringSubmatch(doc)
	if found == nil || found[1] != conf.String() {
		t.Error("the lists in docs/subjects.md are not those of package roles: go test ./tests -run DocsRoles -update")
	}
}
