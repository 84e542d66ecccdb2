package service_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/tests/wire"
)

// A stranger with only a NATS client runs a command and reads its lines.
func TestTaskByAnyClient(t *testing.T) {
	f := newFleet(t)
	f.start(service.Config{})
	reply := f.ask("runner.task.any", `{"kind":"runner","spec":{"task":{"commands":["echo out; echo err >&2; exit 3"]}}}`)
	if reply.Header.Get("Nats-Service-Error") != "" {
		t.Fatalf("refused: %s", reply.Data)
	}
	records := f.log(reply.at("run", "logSubject").(string))
	end := records[len(records)-1]
	if end["tag"] != "EOF" || end["exitCode"] != float64(3) || end["state"] != "COMPLETE" || end["lines"] != float64(2) {
		t.Errorf("got end %v", end)
	}
	var text []string
	for _, r := range records[:len(records)-1] {
		text = append(text, r["message"].(string))
	}
	if got := strings.Join(text, " "); got != "out err" && got != "err out" {
		t.Errorf("got lines %q", got)
	}
}

// log reads a run's records from the stream until EOF, knowing only the wire.
func (f *fleet) log(subject string) []map[string]any {
	f.t.Helper()
	js, err := f.nc.JetStream()
	if err != nil {
		f.t.Fatal(err)
	}
	sub, err := js.SubscribeSync(subject, nats.OrderedConsumer(), nats.BindStream("RUNNER_LOG"))
	if err != nil {
		f.t.Fatal(err)
	}
	defer sub.Unsubscribe()
	var records []map[string]any
	for {
		msg, err := sub.NextMsg(20 * time.Second)
		if err != nil {
			f.t.Fatalf("after %d records of %s: %v", len(records), subject, err)
		}
		for line := range strings.Lines(string(msg.Data)) {
			var r map[string]any
			if err := json.Unmarshal([]byte(line), &r); err != nil {
				f.t.Fatalf("%q: %v", line, err)
			}
			records = append(records, r)
			if r["tag"] == "EOF" {
				return records
			}
		}
	}
}

// Every field of a task, and what comes of it.
func TestTaskFields(t *testing.T) {
	t.Parallel() // its timeouts are waited for
	dir := t.TempDir()
	f := newFleet(t)
	f.start(service.Config{})
	for _, c := range []struct {
		name, task, stdout, stderr string
		end                        wire.End
	}{
		{"commands are joined with a space", `{"commands":["echo","a   b"]}`, "a b\n", "", wire.End{}},
		{"commands are shell text", `{"commands":["echo $((1+2)) |","tr 3 x;","exit 4"]}`, "x\n", "", wire.End{ExitCode: 4}},
		{"argv is exact", `{"argv":["printf","%s|","a   b","$x","*",""]}`, "a   b|$x|*||", "", wire.End{}},
		{"commands that begin with a dash", `{"commands":["-c","echo"]}`, "", "bash: line 1: -c: command not found\n", wire.End{ExitCode: 127}},
		{"names with an underscore", `{"argv":["env"],"params":[{"name":"PATH","value":"/bin:/usr/bin"},{"name":"a_b","value":"c_d"}],"tags":{"x_y":"z_"},"user":""}`, "*", "", wire.End{}},
		{"dir is PWD", `{"argv":["sh","-c","env | grep ^PWD="],"dir":` + quote(dir) + `}`, "PWD=" + dir + "\n", "", wire.End{}},
		{"dir", `{"argv":["pwd"],"dir":` + quote(dir) + `}`, dir + "\n", "", wire.End{}},
		{"stdin is empty by default", `{"argv":["cat"]}`, "", "", wire.End{}},
		{"stdin", `{"argv":["cat"],"stdin":"AAH/Cg=="}`, "\x00\x01\xff\n", "", wire.End{}},
		{"stdin that nobody reads", `{"argv":["true"],"stdin":"` + strings.Repeat("AAAA", 200000) + `"}`, "", "", wire.End{}},
		{"stderr", `{"commands":["echo out; echo err >&2"]}`, "out\n", "err\n", wire.End{}},
		{"exit code", `{"commands":["exit 255"]}`, "", "", wire.End{ExitCode: 255}},
		{"a signal", `{"commands":["kill -TERM $$"]}`, "", "", wire.End{Reason: "signal", Signal: "SIGTERM"}},
		{"a shell's word for a signal is an exit code", `{"commands":["sh -c 'kill -9 $$'; exit $?"]}`, "", "bash: line 1:*", wire.End{ExitCode: 137}},
		{"timeout keeps the output", `{"commands":["echo before; sleep 1000"],"timeout":"1500ms"}`, "before\n", "", wire.End{State: "TIMEDOUT", Reason: "timeout", Signal: "SIGTERM"}},
		{"SIGTERM first", `{"commands":["trap 'echo bye; exit 3' TERM; echo go; while :; do sleep 0.01; done"],"timeout":"1500ms"}`, "go\nbye\n", "*", wire.End{State: "TIMEDOUT", Reason: "timeout", ExitCode: 3}},
		{"SIGKILL after the grace", `{"commands":["trap '' TERM; echo go; while :; do sleep 0.01; done"],"timeout":"1500ms","grace":"100ms"}`, "go\n", "", wire.End{State: "TIMEDOUT", Reason: "timeout", Signal: "SIGKILL"}},
		{"limits.wallTime, shorter than the timeout", `{"commands":["echo go; sleep 1000"],"timeout":"1h","limits":{"wallTime":"1500ms"}}`, "go\n", "", wire.End{State: "TIMEDOUT", Reason: "timeout", Signal: "SIGKILL"}},
		{"a timeout that isn't reached", `{"commands":["echo quick"],"timeout":"1h30m"}`, "quick\n", "", wire.End{}},
		{"a child that holds the pipes", `{"commands":["sleep 1000 & echo main"]}`, "main\n", "", wire.End{}},
		{"a child in a session of its own", `{"commands":["setsid sleep 1000 & echo main"]}`, "main\n", "", wire.End{}},
		{"output of the children until the end", `{"commands":["(echo child) & wait; echo main"]}`, "child\nmain\n", "", wire.End{}},
		{"isolation none", `{"commands":["echo"],"isolation":"none"}`, "\n", "", wire.End{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := *f
			g.t = t
			if c.end.State == "" {
				c.end.State = "COMPLETE"
			}
			if c.end.Reason == "" {
				c.end.Reason = "exit"
			}
			got := g.run(c.task)
			end := got.end.End
			end.Lines, end.Bytes, end.SHA256 = 0, 0, ""
			if c.stdout == "*" && strings.Contains(got.stdout, "a_b=c_d\n") {
				got.stdout = c.stdout
			}
			if prefix, ok := strings.CutSuffix(c.stderr, "*"); ok && strings.HasPrefix(got.stderr, prefix) {
				got.stderr = c.stderr
			}
			if got.stdout != c.stdout || got.stderr != c.stderr || end != c.end {
				t.Errorf("got %q, %q, %+v\nwant %q, %q, %+v", got.stdout, got.stderr, end, c.stdout, c.stderr, c.end)
			}
			record := g.record(got.id)
			for field, want := range map[string]any{
				"state": c.end.State, "reason": c.end.Reason, "exitCode": float64(c.end.ExitCode), "signal": c.end.Signal,
				"lines": float64(got.end.Lines), "bytes": float64(got.end.Bytes), "sha256": got.end.SHA256, "logComplete": true,
				"runner": "web1", "logStream": "RUNNER_LOG", "logSubject": "runner.log.web1." + got.id,
			} {
				if record[field] != want {
					t.Errorf("the record's %s is %v, want %v", field, record[field], want)
				}
			}
		})
	}
}

// What only the host shows is a run that ends FAILED in plain words, with a log
// that has only its EOF record.
func TestStartFailures(t *testing.T) {
	f := newFleet(t)
	f.start(service.Config{})
	notExecutable := t.TempDir() + "/file"
	if err := os.WriteFile(notExecutable, []byte("#!/bin/sh\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, text, task string }{
		{"no such program", `"no-such-program"`, `{"argv":["no-such-program"]}`},
		{"no such path", "/no/such/program", `{"argv":["/no/such/program"]}`},
		{"not executable", notExecutable, `{"argv":[` + quote(notExecutable) + `]}`},
		{"a directory", "/tmp", `{"argv":["/tmp"]}`},
		{"arguments too long", "argument", `{"argv":["true","` + strings.Repeat("x", 300000) + `"]}`},
		{"no such directory", "/no/such/dir", `{"argv":["true"],"dir":"/no/such/dir"}`},
		{"no such user", "no-such-user", `{"argv":["true"],"user":"no-such-user"}`},
		{"no such interpreter", "/bin/bashful", fileTask([]byte("#!/bin/bashful\n"), false)},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := *f
			g.t = t
			got := g.run(c.task)
			if len(got.records) != 1 || got.end.State != "FAILED" || got.end.Reason != "rejected" || !strings.Contains(got.end.Error, c.text) {
				t.Errorf("got %d records, %+v", len(got.records), got.end.End)
			}
			if record := g.record(got.id); record["state"] != "FAILED" || record["error"] != got.end.Error || record["logComplete"] != true {
				t.Errorf("the record is %v", record)
			}
		})
	}
}

// What the request alone shows to be wrong is refused.
func TestTaskRefused(t *testing.T) {
	f := newFleet(t)
	f.start(service.Config{})
	tags := func(n, bytes int) string {
		var list []string
		for i := range n {
			list = append(list, fmt.Sprintf(`"%d":"%s"`, i, strings.Repeat("v", bytes)))
		}
		return `{"commands":["true"],"tags":{` + strings.Join(list, ",") + `}}`
	}
	for _, c := range []struct{ text, task string }{
		{"argv[0]", `{"argv":[""]}`},
		{"argv[1]", `{"argv":["a","\u0000"]}`},
		{"commands[0]", `{"commands":["\u0000"]}`},
		{"NUL", `{"commands":["true"],"dir":"/\u0000"}`},
		{"NUL", `{"commands":["true"],"user":"\u0000"}`},
		{"timeout", `{"commands":["true"],"timeout":"90"}`},
		{"timeout", `{"commands":["true"],"timeout":"0"}`},
		{"timeout", `{"commands":["true"],"timeout":"-1s"}`},
		{"timeout", `{"commands":["true"],"timeout":"soon"}`},
		{"timeout", `{"commands":["true"],"timeout":90}`},
		{"grace", `{"commands":["true"],"grace":"1"}`},
		{"expires", `{"commands":["true"],"expires":"1"}`},
		{"log.pack", `{"commands":["true"],"log":{"pack":-1}}`},
		{"log.maxBytes", `{"commands":["true"],"log":{"maxBytes":-1}}`},
		{"log.overflow", `{"commands":["true"],"log":{"overflow":"wait"}}`},
		{"isolation", `{"commands":["true"],"isolation":"some"}`},
		{"tags", tags(33, 1)},
		{"tags", tags(1, 257)},
		{"tags", `{"commands":["true"],"tags":{"":"x"}}`},
		{"tags", `{"commands":["true"],"tags":{"` + strings.Repeat("k", 257) + `":"x"}}`},
		{"width", `{"commands":["true"],"log":{"width":"many"}}`},
	} {
		f.refused(400, c.text, "runner.task.any", `{"kind":"runner","spec":{"task":`+c.task+`}}`)
	}
	if got := f.run(tags(32, 256)); got.end.State != "COMPLETE" {
		t.Errorf("32 tags of 256 bytes: got %+v", got.end)
	} else if record := f.record(got.id); record["state"] != "COMPLETE" || len(record["tags"].(map[string]any)) != 32 {
		t.Errorf("32 tags of 256 bytes: the record is %v", record)
	}
}

// The reply comes at once and the lines while the task runs.
func TestTaskAnswersAtOnce(t *testing.T) {
	f := newFleet(t)
	f.start(service.Config{})
	began := time.Now()
	reply := f.ask("runner.task.any", `{"kind":"runner","metadata":{"name":"nightly","id":"r1"},"spec":{"task":{
		"commands":["echo first; sleep 1000"],"tags":{"team":"a","job":"7"}}}}`).ok(t)
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("the reply took %s", took)
	}
	for path, want := range map[string]any{
		"id": "r1", "runner": "web1", "state": "RUNNING", "name": "nightly",
		"logStream": "RUNNER_LOG", "logSubject": "runner.log.web1.r1", "group": "",
	} {
		if got := reply.at("run", path); got != want {
			t.Errorf("run.%s is %v, want %v", path, got, want)
		}
	}
	if line := f.firstLine(reply); line != "first" {
		t.Errorf("got %q", line)
	}
	if f.kv("r1")["state"] != "RUNNING" {
		t.Error("the line came after the end")
	}
	find := func(query string) int {
		t.Helper()
		reply := f.ask("runner.query.any", `{"kind":"runner","spec":{"query":`+query+`}}`).ok(t)
		return len(reply.at("runs").([]any))
	}
	for query, want := range map[string]int{
		`{"all":true,"tags":{"team":"a"}}`:                                1,
		`{"all":true,"tags":{"team":"a","job":"7"},"states":["RUNNING"]}`: 1,
		`{"all":true,"tags":{"team":"b"}}`:                                0,
		`{"runs":["r1"],"tags":{"team":"a"},"states":["COMPLETE"]}`:       0,
	} {
		if got := find(query); got != want {
			t.Errorf("%s finds %d, want %d", query, got, want)
		}
	}
	aborted := f.ask("runner.abort.any", `{"kind":"runner","spec":{"abort":{"run":"r1","wait":"20s"}}}`).ok(t)
	if aborted.text("run", "state") != "ABORTED" || aborted.at("run", "tags", "team") != "a" {
		t.Errorf("got %s", aborted.Data)
	}
	if end := f.over(reply).end; end.State != "ABORTED" || end.Reason != "aborted" {
		t.Errorf("got %+v", end)
	}
	if find(`{"all":true,"tags":{"job":"7"},"states":["ABORTED"]}`) != 1 {
		t.Error("tags are not on the final record")
	}
}

// The same id and request again returns the first run, whoever is asked; another
// request under that id is a conflict.
func TestSameID(t *testing.T) {
	f := newFleet(t)
	f.start(service.Config{Name: "web1"})
	f.start(service.Config{Name: "web2"})
	count := t.TempDir() + "/count"
	body := `{"kind":"runner","metadata":{"id":"once"},"spec":{"task":{"argv":["sh","-c",` + quote("echo x >> "+count+"; sleep 0.3") + `]}}}`
	// At the same moment, to two runners, by four connections.
	replies := make(chan *nats.Msg, 40)
	var wg sync.WaitGroup
	for c := range 4 {
		nc := f.connect()
		for i := range 10 {
			wg.Go(func() {
				reply, err := nc.Request([]string{"runner.task.at.web1", "runner.task.at.web2", "runner.task.any"}[(c+i)%3], []byte(body), time.Minute)
				if err != nil {
					t.Error(err)
					return
				}
				replies <- reply
			})
		}
	}
	wg.Wait()
	close(replies)
	subjects := map[string]bool{}
	for reply := range replies {
		a := answer{Msg: reply}
		if err := json.Unmarshal(reply.Data, &a.body); err != nil {
			t.Fatal(err)
		}
		if a.ok(t).text("run", "id") != "once" {
			t.Errorf("got %s", reply.Data)
		}
		subjects[a.text("run", "logSubject")] = true
	}
	if len(subjects) != 1 {
		t.Errorf("got runs on %v", subjects)
	}
	f.record("once")
	again := f.ask("runner.task.any", body).ok(t)
	if again.text("run", "state") != "COMPLETE" {
		t.Errorf("got %s", again.Data)
	}
	f.refused(409, "once", "runner.task.any", `{"kind":"runner","metadata":{"id":"once"},"spec":{"task":{"argv":["true"]}}}`)
	if ran, err := os.ReadFile(count); err != nil || string(ran) != "x\n" {
		t.Errorf("it ran %q times, %v", ran, err)
	}
}

// None of those that ask for the same run at once needs a place but the first.
func TestSameIDWithoutPlaces(t *testing.T) {
	f := newFleet(t)
	for round := range 10 {
		name := fmt.Sprint("w", round) // with no place taken
		f.start(service.Config{Name: name, Settings: service.Settings{Slots: 1, Backlog: -1}})
		task := func(argv string) string {
			return fmt.Sprintf(`{"kind":"runner","metadata":{"id":"r%d"},"spec":{"task":{"argv":[%q]}}}`, round, argv)
		}
		codes := make(chan string, 16)
		for i := range cap(codes) {
			go func() {
				reply, err := f.nc.Request("runner.task.at."+name, []byte(task([]string{"true", "false"}[i%2])), time.Minute)
				if err != nil {
					codes <- err.Error()
					return
				}
				codes <- reply.Header.Get("Nats-Service-Error-Code")
			}()
		}
		got := map[string]int{}
		for range cap(codes) {
			got[<-codes]++
		}
		if got[""] != 8 || got["409"] != 8 {
			t.Errorf("got %v", got)
		}
		f.record(fmt.Sprint("r", round))
	}
}

// The account of a task.
func TestUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can become somebody else")
	}
	f := newFleet(t)
	f.start(service.Config{})
	for _, task := range []string{
		`{"commands":["id -un; echo $HOME $USER"],"user":"nobody"}`,
		strings.Replace(fileTask([]byte("#!/bin/bash\nid -un; cat $0 >/dev/null || exit 9"), false), `{`, `{"user":"nobody",`, 1),
	} {
		if got := f.run(task); !strings.HasPrefix(got.stdout, "nobody\n") || got.end.ExitCode != 0 {
			t.Errorf("%s: got %q %q %+v", task, got.stdout, got.stderr, got.end.End)
		}
	}
	number := fmt.Sprintf(`{"commands":["id -u"],"user":"%d"}`, 65534)
	if got := f.run(number); got.stdout != "65534\n" {
		t.Errorf("by number: got %q %+v", got.stdout, got.end.End)
	}
}
