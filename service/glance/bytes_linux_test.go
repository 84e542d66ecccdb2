package glance_test

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/policy"
)

// A name that is not UTF-8 can be seen in a list, and asked for by its bytes.
func TestPathsThatAreNotText(t *testing.T) {
	dir := t.TempDir() + "/caf\xe9"
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, dir+"/na\xefve", []byte("text\n"))
	write(t, dir+"/plain", nil)
	g := newGlancer(t, policy.Policy{})
	reply := look(t, g, &pb.Glance{Dir: &pb.DirQuery{PathBytes: []byte(dir)}})
	found := reply.Dir.Entries[2]
	if found.Name != "na\uFFFDve" || string(found.NameBytes) != "na\xefve" || string(found.PathBytes) != dir+"/na\xefve" {
		t.Fatalf("got %q %q %q", found.Name, found.NameBytes, found.PathBytes)
	}
	if plain := reply.Dir.Entries[3]; plain.NameBytes != nil || plain.PathBytes != nil {
		t.Errorf("a name that is text needs no bytes: %v", plain)
	}
	file := look(t, g, &pb.Glance{File: &pb.FileQuery{PathBytes: found.PathBytes, MaxSize: 100}}).File
	if got := bytesOf(t, file); got != "text\n" {
		t.Errorf("got %q", got)
	}
	body, err := json.Marshal(map[string]any{"kind": "runner", "spec": map[string]any{"glance": map[string]any{
		"dir": map[string]any{"pathBytes": base64.StdEncoding.EncodeToString([]byte(dir))}}}})
	if err != nil {
		t.Fatal(err)
	}
	var asked pb.GlanceRequest
	if err := pb.DecodeRequest(body, false, &asked); err != nil || string(asked.Spec.Glance.Dir.PathBytes) != dir {
		t.Errorf("in JSON: %v, %v", &asked, err)
	}
	both := `{"kind":"runner","spec":{"glance":{"file":{"path":"/x","pathBytes":"L3g="}}}}`
	if err := pb.DecodeRequest([]byte(both), false, &asked); err == nil || !strings.Contains(err.Error(), "pathBytes") {
		t.Errorf("both: %v", err)
	}
}

func TestModified(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/file", nil)
	when := time.Date(2006, 1, 2, 15, 4, 5, 0, time.Local)
	if err := os.Chtimes(dir+"/file", when, when); err != nil {
		t.Fatal(err)
	}
	e := look(t, newGlancer(t, policy.Policy{}), &pb.Glance{Dir: &pb.DirQuery{Path: dir}}).Dir.Entries[2]
	if e.Time != "2006-01-02 15:04:05" || e.Modified != when.Format(time.RFC3339) {
		t.Errorf("got %q, %q", e.Time, e.Modified)
	}
}
