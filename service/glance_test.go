package service_test

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/service/policy"
)

// glance asks runner web1 for spec.glance.
func (f *fleet) glance(spec string) answer {
	f.t.Helper()
	return f.ask("runner.glance.at.web1", `{"kind":"runner","spec":{"glance":`+spec+`}}`)
}

// list is an array of the reply.
func (a answer) list(path ...string) []any {
	l, _ := a.at(path...).([]any)
	return l
}

// field of an object in a list.
func field(v any, name string) any {
	m, _ := v.(map[string]any)
	return m[name]
}

// column is one field of every object in a list.
func column(list []any, name string) (all []string) {
	for _, v := range list {
		all = append(all, fmt.Sprint(field(v, name)))
	}
	return all
}

// partFails: the part has an error of its own, and, where it was all that was
// asked for, so have the headers, with the parts in the body all the same.
func (a answer) partFails(t *testing.T, part string, code int, text string) {
	t.Helper()
	if a.body["code"] != float64(code) {
		t.Errorf("the body's code is %v", a.body["code"])
	}
	t.Helper()
	if got := a.text(part, "error"); !strings.Contains(got, text) || got == "" {
		t.Errorf("%s.error: got %q, want %q in it", part, got, text)
	}
	if a.Header.Get("Nats-Service-Error-Code") != fmt.Sprint(code) || a.Header.Get("Nats-Service-Error") != a.text("error") || a.text("error") == "" {
		t.Errorf("got headers %v, want code %d and the text of the body: %.300s", a.Header, code, a.Data)
	}
}

func write(t *testing.T, path, content string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o640); err != nil {
		t.Fatal(err)
	}
	return path
}

// An empty glance is an empty success; nobody looks at what was not asked for.
func TestGlanceOfNothing(t *testing.T) {
	f := newFleet(t)
	f.start(service.Config{})
	for _, spec := range []string{`{}`, `{"sys":{}}`, `{"sys":{"enable":false,"processes":true,"top":3,"sort":"nonsense"}}`} {
		a := f.glance(spec).ok(t)
		if string(a.Data) != `{"error":"","runner":"web1"}` {
			t.Errorf("%s: got %s", spec, a.Data)
		}
	}
}

// Every scope is answered by those that are in it.
func TestGlanceScopes(t *testing.T) {
	f := three(t)
	body := `{"kind":"runner","spec":{"glance":{"dir":{"path":"/"}}}}`
	for scope, want := range map[string]string{"all": "a b c", "pool.web.all": "a b"} {
		answers := f.askAll(len(strings.Fields(want)), "runner.glance."+scope, body)
		for name, a := range answers {
			if a.ok(t).text("runner") != name || len(a.list("dir", "entries")) == 0 {
				t.Errorf("%s of %s: got %.200s", name, scope, a.Data)
			}
		}
		if names(answers) != want {
			t.Errorf("%s: got %s, want %s", scope, names(answers), want)
		}
	}
	for scope, want := range map[string]string{"at.b": "b", "pool.db.any": "b", "pool.default.any": "c", "any": "a b c"} {
		if got := f.ask("runner.glance."+scope, body).ok(t).text("runner"); !strings.Contains(want, got) {
			t.Errorf("%s: %s answered", scope, got)
		}
	}
}

func TestGlanceDir(t *testing.T) {
	f := newFleet(t)
	f.start(service.Config{})
	dir := t.TempDir()
	file := write(t, filepath.Join(dir, "b"), "12345")
	write(t, filepath.Join(dir, "B"), "")
	write(t, filepath.Join(dir, "\xff"), "") // after all of UTF-8, by its bytes
	for _, err := range []error{
		os.Mkdir(filepath.Join(dir, "a"), 0o755), os.Symlink("a", filepath.Join(dir, "link")), os.Symlink("nowhere", filepath.Join(dir, "dead")),
		os.Chtimes(file, time.Time{}, time.Date(2006, 1, 2, 15, 4, 5, 999, time.Local)),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	a := f.glance(`{"dir":{"path":` + quote(dir) + `}}`).ok(t)
	entries := a.list("dir", "entries")
	if got, want := column(entries, "name"), []string{".", "..", "B", "a", "b", "dead", "link", "\uFFFD"}; !slices.Equal(got, want) {
		t.Fatalf("got %q, want %q", got, want)
	}
	if got := column(entries, "isDir"); !slices.Equal(got, []string{"true", "true", "false", "true", "false", "false", "false", "false"}) {
		t.Errorf("isDir: got %v", got)
	}
	b, link := entries[4], entries[6]
	for name, want := range map[string]any{"size": 5.0, "time": "2006-01-02 15:04:05", "mode": "-rw-r-----"} {
		if got := field(b, name); got != want {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
	if field(b, "user") == "" || field(b, "group") == "" || field(entries[3], "mode") != "drwxr-xr-x" || field(link, "mode") != "Lrwxrwxrwx" {
		t.Errorf("got %v", entries)
	}
	if a.at("dir", "next") != "" || a.at("dir", "error") != "" {
		t.Errorf("got %s", a.Data)
	}
	for path, text := range map[string]string{
		file: "invalid dir", filepath.Join(dir, "link"): "invalid dir", filepath.Join(dir, "dead"): "invalid dir",
		filepath.Join(dir, "nowhere"): "no such file or directory", "": "", "relative": "", "/\x00": "",
	} {
		f.glance(`{"dir":{"path":`+quote(path)+`}}`).partFails(t, "dir", 400, text)
	}
	for _, query := range []string{`"limit":-1`, `"next":"nonsense!"`} {
		f.glance(`{"dir":{"path":`+quote(dir)+`,`+query+`}}`).partFails(t, "dir", 400, "invalid")
	}
}

// Pages have 1,000 entries unless told otherwise, and together every entry once.
func TestGlanceDirInPages(t *testing.T) {
	f := newFleet(t)
	f.start(service.Config{})
	dir := t.TempDir()
	want := []string{".", ".."}
	for i := range 2500 {
		name := fmt.Sprintf("entry-%04d", i)
		write(t, filepath.Join(dir, name), "")
		want = append(want, name)
	}
	for limit, pages := range map[int]int{0: 3, 1: 0, 7: 0, 2502: 1, 100000: 1} {
		if limit == 1 {
			continue // as below, with too many requests for a test
		}
		var got []string
		n, next := 0, ""
		for n == 0 || next != "" {
			a := f.glance(fmt.Sprintf(`{"dir":{"path":%s,"limit":%d,"next":%s}}`, quote(dir), limit, quote(next))).ok(t)
			got = append(got, column(a.list("dir", "entries"), "name")...)
			n, next = n+1, a.text("dir", "next")
		}
		if !slices.Equal(got, want) || pages > 0 && n != pages {
			t.Errorf("limit %d: got %d entries in %d pages, want %d in %d", limit, len(got), n, len(want), pages)
		}
	}
}

func TestGlanceFile(t *testing.T) {
	f := newFleet(t)
	f.start(service.Config{})
	dir := t.TempDir()
	text := write(t, filepath.Join(dir, "text"), "héllo\n\xff\xfe")
	binary := write(t, filepath.Join(dir, "binary"), "\xff\xfe\nhello")
	empty := write(t, filepath.Join(dir, "empty"), "")
	link := filepath.Join(dir, "link")
	if err := os.Symlink(text, link); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ path, query, want string }{
		{text, `"maxSize":9`, "héllo\n\xff\xfe"},
		{text, `"maxSize":1000000`, "héllo\n\xff\xfe"},
		{empty, `"maxSize":0`, ""},
		{empty, `"maxSize":10`, ""},
		{text, `"maxSize":100,"offset":1,"length":2`, "é"},
		{text, `"maxSize":100,"offset":-2`, "\xff\xfe"},
		{text, `"maxSize":100,"offset":-200,"length":1`, "h"},
		{text, `"maxSize":100,"offset":200`, ""},
		{text, `"maxSize":100,"offset":9223372036854775807`, ""},
		{"/proc/version", `"maxSize":100,"offset":9223372036854775807`, ""},
		{"/proc/version", `"maxSize":100,"offset":99999999999999999`, ""},
		{text, `"maxSize":1,"offset":0`, "h"}, // it bounds the piece
		{text, `"maxSize":1,"length":100`, "h"},
		{binary, `"maxSize":100,"offset":0`, "\xff\xfe\nhello"}, // the rule for the first line is for whole files
	} {
		a := f.glance(`{"file":{"path":` + quote(c.path) + `,` + c.query + `}}`).ok(t)
		content, err := base64.StdEncoding.DecodeString(a.text("file", "content"))
		if err != nil || string(content) != c.want || a.at("file", "readable") != true {
			t.Errorf("%s %s: got %q, %v: %s", c.path, c.query, content, err, a.Data)
		}
		info, err := os.Stat(c.path)
		if err != nil || a.at("file", "size") != float64(info.Size()) {
			t.Errorf("%s: got size %v, want %d", c.path, a.at("file", "size"), info.Size())
		}
	}
	for _, c := range []struct{ path, query, text string }{
		{text, `"maxSize":8`, "invalid size"},
		{text, `"maxSize":0`, "invalid size"},
		{text, `"maxSize":-1`, "invalid size"},
		{text, `"maxSize":0,"offset":0`, "invalid size"},
		{text, `"maxSize":9,"length":-1`, "invalid size"},
		{binary, `"maxSize":100`, "invalid text"},
		{filepath.Join(dir, "nowhere"), `"maxSize":1`, "no such file"},
		{dir, `"maxSize":1`, "invalid file"},
		{link, `"maxSize":100`, "symbolic link"},
		{"/dev/null", `"maxSize":100`, ""},
	} {
		a := f.glance(`{"file":{"path":` + quote(c.path) + `,` + c.query + `}}`)
		a.partFails(t, "file", 400, c.text)
		if a.at("file", "readable") != false || a.at("file", "content") != "" {
			t.Errorf("%s %s: got %s", c.path, c.query, a.Data)
		}
	}
}

// One part that fails doesn't lose the others; all that fail are an error.
func TestGlanceParts(t *testing.T) {
	f := newFleet(t)
	f.start(service.Config{})
	file := write(t, filepath.Join(t.TempDir(), "file"), "hello\n")
	a := f.glance(`{"dir":{"path":"/no/where"},"file":{"path":` + quote(file) + `,"maxSize":6},"sys":{"enable":true,"processes":false}}`).ok(t)
	if !strings.Contains(a.text("dir", "error"), "no such file") || a.text("file", "content") != "aGVsbG8K" || a.text("sys", "stats", "cpu", "total") == "" {
		t.Errorf("got %s", a.Data)
	}
	if a.text("error") != a.text("dir", "error") {
		t.Errorf("got error %q, want that of the part", a.text("error"))
	}
	a = f.glance(`{"dir":{"path":"/no/where"},"file":{"path":` + quote(file) + `},"sys":{"enable":true,"sort":"beauty"}}`)
	for part, text := range map[string]string{"dir": "no such file", "file": "invalid size", "sys": "invalid sort"} {
		a.partFails(t, part, 400, text)
		if !strings.Contains(a.text("error"), text) {
			t.Errorf("got error %q, want %q in it", a.text("error"), text)
		}
	}
}

func TestGlanceSys(t *testing.T) {
	f := newFleet(t)
	f.start(service.Config{})
	a := f.glance(`{"sys":{"enable":true}}`).ok(t)
	for path, pattern := range map[string]string{
		"cpu.total": `^\d+(\.\d)? CPU$`, "cpu.used": `^\d+%$`, "memory.total": `^\d+ [MGT]B$`, "memory.used": `^\d+ [MGT]B$`,
		"storage.total": `^\d+ [MGT]B$`, "storage.used": `^\d+ [MGT]B$`, "os": `\S+ \S+`, "host": `^([0-9a-f.:]+)?$`,
	} {
		got, ok := a.at(append([]string{"sys", "stats"}, strings.Split(path, ".")...)...).(string)
		if !ok || !regexp.MustCompile(pattern).MatchString(got) {
			t.Errorf("stats.%s: got %q, want %s", path, got, pattern)
		}
	}
	for _, name := range []string{"milliCPU", "memory", "storage"} {
		all, _ := a.at("sys", "resource", "allocatable", name).(float64)
		busy, isNumber := a.at("sys", "resource", "requested", name).(float64)
		if all <= 0 || !isNumber || busy < 0 || busy > all {
			t.Errorf("%s: got %v of %v", name, busy, all)
		}
	}
	processes := a.list("sys", "stats", "processes")
	self := slices.IndexFunc(processes, func(p any) bool { return field(field(p, "process"), "pid") == float64(os.Getpid()) })
	if self < 0 {
		t.Fatalf("this process is not among %d", len(processes))
	}
	me := field(processes[self], "process")
	if field(me, "memory").(float64) <= 0 || !strings.Contains(fmt.Sprint(field(me, "cmdline")), "service.test") || field(me, "name") == "" {
		t.Errorf("got %v", me)
	}
	if _, isNumber := field(me, "time").(float64); !isNumber || len(field(processes[self], "threads").([]any)) == 0 {
		t.Errorf("got %v", processes[self])
	}
	if a := f.glance(`{"sys":{"enable":true,"processes":false}}`).ok(t); len(a.list("sys", "stats", "processes")) > 0 {
		t.Errorf("got processes that nobody asked for: %.200s", a.Data)
	}
	for sort, key := range map[string]string{"cpu": "time", "memory": "memory", "pid": "pid", "": "pid"} {
		a := f.glance(`{"sys":{"enable":true,"top":3,"sort":` + quote(sort) + `}}`).ok(t)
		var keys []float64
		for _, p := range a.list("sys", "stats", "processes") {
			n, _ := field(field(p, "process"), key).(float64)
			keys = append(keys, n)
		}
		sorted := slices.Sorted(slices.Values(keys))
		if key != "pid" {
			slices.Reverse(sorted)
		}
		if len(keys) > 3 || len(keys) == 0 || !slices.Equal(keys, sorted) {
			t.Errorf("top 3 by %q: got %v", sort, keys)
		}
	}
	for _, query := range []string{`"top":-1`, `"sort":"size"`, `"next":"nonsense!"`} {
		f.glance(`{"sys":{"enable":true,`+query+`}}`).partFails(t, "sys", 400, "invalid")
	}
}

// What the policy refuses is a 403 that names the rule.
func TestGlancePolicy(t *testing.T) {
	f := newFleet(t)
	root, outside := t.TempDir(), t.TempDir()
	write(t, filepath.Join(root, "file"), "yes\n")
	write(t, filepath.Join(root, "notes.kdbx"), "no\n")
	secret := write(t, filepath.Join(outside, "file"), "no\n")
	if err := os.Symlink(outside, filepath.Join(root, "out")); err != nil {
		t.Fatal(err)
	}
	f.start(service.Config{Settings: service.Settings{Policy: &policy.Policy{
		Files:            policy.FileRules{Roots: []string{root}, Deny: []string{"*.kdbx"}},
		HideCommandLines: true,
	}}})
	f.glance(`{"dir":{"path":` + quote(root) + `},"file":{"path":` + quote(root+"/file") + `,"maxSize":100}}`).ok(t)
	for path, rule := range map[string]string{
		secret: "files.roots", root + "/out/file": "files.roots", root + "/../" + filepath.Base(outside) + "/file": "files.roots",
		root + "/notes.kdbx": "files.deny", "/etc/passwd": "files.roots",
	} {
		f.glance(`{"file":{"path":`+quote(path)+`,"maxSize":100}}`).partFails(t, "file", 403, rule)
	}
	for _, path := range []string{outside, root + "/out/", "/"} {
		f.glance(`{"dir":{"path":`+quote(path)+`}}`).partFails(t, "dir", 403, "files.roots")
	}
	a := f.glance(`{"dir":{"path":"/"},"file":{"path":` + quote(root+"/file") + `,"maxSize":100}}`).ok(t)
	if !strings.Contains(a.text("dir", "error"), "files.roots") || a.text("file", "content") != "eWVzCg==" {
		t.Errorf("got %s", a.Data)
	}
	for _, p := range f.glance(`{"sys":{"enable":true}}`).ok(t).list("sys", "stats", "processes") {
		if got := field(field(p, "process"), "cmdline"); got != "" {
			t.Fatalf("got the command line %q", got)
		}
	}
}

// Without any configuration secrets are denied all the same, the runner's own
// among them; a verb that is not served is refused by the rule's name.
func TestGlanceDefaultPolicy(t *testing.T) {
	f := newFleet(t)
	f.start(service.Config{})
	paths := []string{"/etc/shadow", fmt.Sprintf("/proc/%d/environ", os.Getpid()), "/proc/self/environ"}
	own, err := os.ReadDir(f.dataDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range own {
		if !e.IsDir() {
			paths = append(paths, filepath.Join(f.dataDir, e.Name()))
		}
	}
	for _, path := range paths {
		if _, err := os.Lstat(path); err == nil {
			f.glance(`{"file":{"path":`+quote(path)+`,"maxSize":100000}}`).partFails(t, "file", 403, "files.deny")
		}
	}
	f.start(service.Config{Name: "silent", Settings: service.Settings{Policy: &policy.Policy{Verbs: []string{"task"}}}})
	f.refused(403, "verbs", "runner.glance.at.silent", verbs["glance"])
}

// What doesn't fit a reply is a 413 that says how to ask for less; in pieces it
// comes whole.
func TestGlanceTooLarge(t *testing.T) {
	f := newFleet(t)
	f.start(service.Config{})
	want := strings.Repeat("0123456789abcde\n", 200_000)
	path := write(t, filepath.Join(t.TempDir(), "large"), want)
	f.glance(`{"file":{"path":`+quote(path)+`,"maxSize":10000000}}`).partFails(t, "file", 413, "offset and length")
	var got strings.Builder
	for got.Len() < len(want) {
		a := f.glance(fmt.Sprintf(`{"file":{"path":%s,"maxSize":600000,"offset":%d,"length":600000}}`, quote(path), got.Len())).ok(t)
		piece, err := base64.StdEncoding.DecodeString(a.text("file", "content"))
		if err != nil || len(piece) == 0 || a.at("file", "offset") != float64(got.Len()) {
			t.Fatalf("at %d: got %d bytes, %v, offset %v", got.Len(), len(piece), err, a.at("file", "offset"))
		}
		got.Write(piece)
	}
	if got.String() != want {
		t.Error("the pieces together are not the file")
	}
}

// The numbers of the old protocol, both ways.
func TestGlanceProtobuf(t *testing.T) {
	f := newFleet(t)
	f.start(service.Config{})
	dir := t.TempDir()
	write(t, filepath.Join(dir, "file"), "hello\n")
	glance := pbuf{}.message(1, pbuf{}.text(1, dir)).message(2, pbuf{}.text(1, dir+"/file").varint(2, 6)).message(3, pbuf{}.varint(1, 1))
	body := pbuf{}.text(1, "v1").text(2, "runner").message(4, pbuf{}.message(1, glance))
	reply := pbuf(f.noise("runner.glance.at.web1", protobuf, string(body)).Data)
	texts := map[string][]protowire.Number{
		"file": {1, 1, 1}, "2006": {1, 1, 4}, "-rw-r-----": {1, 1, 7}, "aGVsbG8K": {2, 1}, "CPU": {3, 2, 1, 1}, "%": {3, 2, 1, 2},
		"GB": {3, 2, 3, 1}, " GB": {3, 2, 5, 2},
	}
	texts[time.Now().Format("2006")] = texts["2006"]
	delete(texts, "2006")
	for want, path := range texts {
		if got, _ := reply.field(t, path...).([]byte); !strings.Contains(string(got), want) {
			t.Errorf("%v: got %q, want %q", path, got, want)
		}
	}
	for _, c := range []struct {
		want uint64
		path []protowire.Number
	}{{6, []protowire.Number{1, 1, 3}}, {1, []protowire.Number{2, 2}}} {
		if got := reply.field(t, c.path...); got != c.want {
			t.Errorf("%v: got %v, want %d", c.path, got, c.want)
		}
	}
	for _, path := range [][]protowire.Number{{1, 1, 5}, {1, 1, 6}, {3, 1, 1, 1}, {3, 1, 1, 2}, {3, 1, 1, 3}, {3, 2, 4}, {3, 2, 6, 1, 5}} {
		if reply.field(t, path...) == nil {
			t.Errorf("field %v is not there", path)
		}
	}
	// An error of all parts is in the same form, with the headers.
	bad := pbuf{}.text(2, "runner").message(4, pbuf{}.message(1, pbuf{}.message(1, pbuf{}.text(1, "/no/where"))))
	msg := f.noise("runner.glance.at.web1", protobuf, string(bad))
	text, _ := pbuf(msg.Data).field(t, 4).([]byte)
	if msg.Header.Get("Nats-Service-Error-Code") != "400" || string(text) != msg.Header.Get("Nats-Service-Error") || len(text) == 0 {
		t.Errorf("got %v, %q", msg.Header, text)
	}
}
