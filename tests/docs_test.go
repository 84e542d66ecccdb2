package tests

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/runnel-io/runnel/pb"
)

func document(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile("../docs/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// notOnNATS is the old form of a record.
const notOnNATS = "Line"

// docs/wire.md is all that a client in another language has: it names every
// field of every message, and every state and reason.
func TestWireNamesEveryField(t *testing.T) {
	wire := document(t, "wire.md")
	known := map[string]bool{}
	for _, span := range regexp.MustCompile("`[^`\n]*`|(?s)```.*?```").FindAllString(wire, -1) {
		for _, name := range regexp.MustCompile(`[A-Za-z][A-Za-z0-9-]*`).FindAllString(span, -1) {
			known[name] = true
		}
	}
	for _, file := range []protoreflect.FileDescriptor{
		pb.File_request_proto, pb.File_task_proto, pb.File_run_proto, pb.File_glance_proto, pb.File_maint_proto, pb.File_fleet_proto, pb.File_pipeline_proto,
	} {
		for i := range file.Messages().Len() {
			m := file.Messages().Get(i)
			for j := range m.Fields().Len() {
				if f := m.Fields().Get(j); m.Name() != notOnNATS && !known[f.JSONName()] {
					t.Errorf("docs/wire.md doesn't tell of %s.%s", m.Name(), f.JSONName())
				}
			}
		}
	}
	for state := range pb.State_value {
		if !known[state] {
			t.Errorf("docs/wire.md doesn't tell of state %s", state)
		}
	}
	for _, reason := range strings.Fields("exit signal timeout oom output-limit aborted lost rejected expired compile") {
		if !known[reason] {
			t.Errorf("docs/wire.md doesn't tell of reason %s", reason)
		}
	}
}
