package pb

import (
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// refused decodes requests of one verb, each of which is wrong in one way.
func refused(t *testing.T, blank func() Request, bodies map[string]string) {
	t.Helper()
	for body, want := range bodies {
		err := DecodeRequest([]byte(body), false, blank())
		var bad *InvalidError
		if !errors.As(err, &bad) || err.Error() != want {
			t.Errorf("%s\n got %v\nwant %s", body, err, want)
		}
	}
}

// taken decodes requests that are right, in both forms.
func taken(t *testing.T, blank func() Request, bodies ...string) {
	t.Helper()
	for _, body := range bodies {
		first, second := blank(), blank()
		if err := DecodeRequest([]byte(body), false, first); err != nil {
			t.Errorf("%s: %v", body, err)
			continue
		}
		packed, err := Encode(first, true)
		if err != nil {
			t.Fatal(err)
		}
		if err := DecodeRequest(packed, true, second); err != nil || !proto.Equal(first, second) {
			t.Errorf("%s: as protobuf: got %v, %v", body, second, err)
		}
		text, err := Encode(first, false)
		if err != nil {
			t.Fatal(err)
		}
		third := blank()
		if err := DecodeRequest(text, false, third); err != nil || !proto.Equal(first, third) {
			t.Errorf("%s: written and read again as %s: got %v, %v", body, text, third, err)
		}
	}
}

func TestTasks(t *testing.T) {
	blank := func() Request { return new(TaskRequest) }
	task := func(fields string) string { return `{"kind":"runner","spec":{"task":{` + fields + `}}}` }
	long := strings.Repeat("x", 65)
	refused(t, blank, map[string]string{
		task(`"argv":[""]`):                                                                 "spec.task.argv[0] is empty: it is the program to run",
		task(`"argv":["a","b\u0000"]`):                                                      "spec.task.argv[1] has a NUL",
		task(`"commands":["a","b\u0000"]`):                                                  "spec.task.commands[1] has a NUL",
		task(`"argv":["a"],"dir":"/\u0000"`):                                                "spec.task.dir and spec.task.user must not have a NUL",
		task(`"argv":["a"],"user":"a\u0000"`):                                               "spec.task.dir and spec.task.user must not have a NUL",
		task(`"argv":["a"],"files":[{"name":"x"}]`):                                         "spec.task.files goes with language",
		task(`"language":{"name":"c"}`):                                                     "invalid file: a task with language needs its source in file or files",
		task(`"language":{"version":"1"},"files":[{"name":"x"}]`):                           "spec.task.language.name is missing",
		task(`"language":{"name":"c"},"files":[{}],"commands":["x"]`):                       "spec.task.commands doesn't go with language: use argv for the program's arguments",
		task(`"file":{"content":"IyEvYmluL3No"}`):                                           `invalid type: the first line of a script must begin with "#!/bin/bash" or "#!/usr/bin/env bash"`,
		task(`"argv":["a"],"isolation":"heavy"`):                                            `spec.task.isolation: "heavy" must be "none", "standard" or "strict"`,
		task(`"argv":["a"],"expires":"0"`):                                                  `spec.task.expires: "0" is not a duration with a unit, such as "90s" or "1h30m"`,
		task(`"argv":["a"],"timeout":"-1ms"`):                                               `spec.task.timeout: "-1ms" is negative`,
		task(`"argv":["a"],"log":{"pack":-1}`):                                              "spec.task.log.pack: -1 is negative",
		task(`"argv":["a"],"log":{"maxBytes":-5}`):                                          "spec.task.log.maxBytes: -5 is negative",
		task(`"argv":["a"],"log":{"overflow":"spill"}`):                                     `spec.task.log.overflow: "spill" must be "block" or "drop"`,
		task(`"argv":["a"],"tags":{"":"x"}`):                                                `spec.task.tags: key and value of "" must be at most 256 bytes, the key not empty`,
		task(`"argv":["a"],"params":[{"name":"A","value":"$A"}]`):                           "spec.task.params: A refers to itself: $A → $A",
		task(`"argv":["a"],"retries":"many"`):                                               "spec.task.retries: it must be a number or an object with max, backoff and on",
		`{"kind":"runner","metadata":{"id":"` + long + `"},"spec":{"task":{"argv":["a"]}}}`: `metadata.id: "` + long + `" must be at most 64 letters, digits, "-" and "_"`,
		`{"kind":"runner","metadata":{"id":"ä"},"spec":{"task":{"argv":["a"]}}}`:            `metadata.id: "ä" must be at most 64 letters, digits, "-" and "_"`,
	})
	taken(t, blank,
		task(`"argv":["a"]`),
		task(`"argv":["a",""]`),
		task(`"commands":["echo a","echo b"],"params":[{"name":"A","value":"1"}],"timeout":"90s","grace":"0s"`),
		task(`"file":{"content":"IyEvYmluL2Jhc2gKeA=="}`),
		task(`"language":{"name":"python3"},"files":[{"name":"a.py","content":"x"}],"argv":["one"]`),
		task(`"argv":["a"],"isolation":"strict","tags":{"a":"1","b":""},"log":{"width":1,"pack":1,"maxBytes":1,"overflow":"drop","merge":true}`),
		task(`"argv":["a"],"limits":{"memoryMax":"64M","pidsMax":3}`),
	)
}

func TestTagsOfATask(t *testing.T) {
	tags := map[string]string{}
	for i := range 32 {
		tags[strings.Repeat("k", i+1)] = "v"
	}
	if err := validateTags(tags); err != nil {
		t.Errorf("32 tags: %v", err)
	}
	tags["one more"] = ""
	if err := validateTags(tags); err == nil || err.Error() != "spec.task.tags: 33 tags, 32 at most" {
		t.Errorf("33 tags: got %v", err)
	}
	for name, pair := range map[string][2]string{"a key": {strings.Repeat("k", 257), ""}, "a value": {"k", strings.Repeat("v", 257)}} {
		if err := validateTags(map[string]string{pair[0]: pair[1]}); err == nil || len(err.Error()) > 250 {
			t.Errorf("%s of 257 bytes: got %v, want a short error", name, err)
		}
	}
	if err := validateTags(map[string]string{strings.Repeat("k", 256): strings.Repeat("v", 256)}); err != nil {
		t.Errorf("256 bytes: %v", err)
	}
	// Of several that are wrong it is always the same one that is named.
	bad := map[string]string{}
	for _, key := range []string{"c", "a", "e", "b", "d"} {
		bad[key] = strings.Repeat("v", 300)
	}
	for range 20 {
		if got := validateTags(bad).Error(); !strings.HasPrefix(got, `spec.task.tags: key and value of "a"`) {
			t.Fatalf("got %s, want the first by name", got)
		}
	}
}

// An old client sends an empty file and an empty language with every task.
func TestEmptyPartsOfOldClients(t *testing.T) {
	for body, kept := range map[string]string{
		`{"argv":["x"],"file":{},"language":{}}`:                       "argv",
		`{"commands":["x"],"file":{"content":""},"language":{}}`:       "commands",
		`{"file":{"content":"IyEvYmluL2Jhc2gK"},"language":{}}`:        "file",
		`{"language":{"name":"c"},"files":[{"name":"a.c"}],"file":{}}`: "files",
	} {
		r := new(TaskRequest)
		if err := DecodeRequest([]byte(`{"kind":"runner","spec":{"task":`+body+`}}`), false, r); err != nil {
			t.Errorf("%s: %v", body, err)
			continue
		}
		task := r.GetSpec().GetTask()
		if (task.GetFile() != nil) != (kept == "file") || (task.GetLanguage() != nil) != (kept == "files") {
			t.Errorf("%s: got %v", body, task)
		}
	}
	var none *Task
	none.passOverEmpty() // a request without a task
}

func TestGraceByDefault(t *testing.T) {
	if got := new(Task).DefaultGrace(); got != 10*time.Second {
		t.Errorf("got %s, want 10s", got)
	}
	if got := (&Task{Language: &Language{Name: "c"}}).DefaultGrace(); got != 0 {
		t.Errorf("a program in a language: got %s, want none", got)
	}
}

func TestQueries(t *testing.T) {
	blank := func() Request { return new(QueryRequest) }
	refused(t, blank, map[string]string{
		`{"kind":"runner"}`: "spec.query is missing",
		`{"kind":"runner","spec":{"query":{"limit":-1}}}`:              "spec.query.limit: -1 is negative",
		`{"kind":"runner","spec":{"query":{"states":["RUNNING",77]}}}`: "spec.query.states[1]: no state has the number 77",
		`{"kind":"runner","spec":{"query":{"wait":"5"}}}`:              `spec.query.wait: "5" is not a duration with a unit, such as "90s" or "1h30m"`,
		`{"kind":"task","spec":{"query":{}}}`:                          `invalid kind: it is "task" and must be "runner"`,
		`{"kind":"runner","apiVersion":"v9","spec":{"query":{}}}`:      `invalid apiVersion: it is "v9" and must be "v1"`,
	})
	taken(t, blank, `{"kind":"runner","apiVersion":"v1","spec":{"query":{}}}`,
		`{"kind":"runner","spec":{"query":{"all":true,"limit":"20","states":["RUNNING","PENDING"],"tags":{"a":"b"},"wait":"2s"}}}`)
	for text, want := range map[string]time.Duration{"": 0, "5s": 5 * time.Second, "1h": MaxWait, "30s": MaxWait} {
		if got, err := (&Query{Wait: text}).WaitTime(); err != nil || got != want {
			t.Errorf("wait %q: got %s, %v, want %s", text, got, err, want)
		}
	}
}

func TestAborts(t *testing.T) {
	blank := func() Request { return new(AbortRequest) }
	refused(t, blank, map[string]string{
		`{"kind":"runner","spec":{}}`:                                 "spec.abort is missing",
		`{"kind":"runner","spec":{"abort":{}}}`:                       "spec.abort.run is missing",
		`{"kind":"runner","spec":{"abort":{"run":"x","wait":"-1s"}}}`: `spec.abort.wait: "-1s" is negative`,
	})
	taken(t, blank, `{"kind":"runner","spec":{"abort":{"run":"x"}}}`, `{"kind":"runner","spec":{"abort":{"run":"x","wait":"0s"}}}`)
	for text, want := range map[string]time.Duration{"": DefaultAbortWait, "0s": 0, "5s": 5 * time.Second, "1h": MaxWait} {
		if got, err := (&Abort{Wait: text}).WaitTime(); err != nil || got != want {
			t.Errorf("wait %q: got %s, %v, want %s", text, got, err, want)
		}
	}
}

func TestGlancesAndMaint(t *testing.T) {
	glance := func() Request { return new(GlanceRequest) }
	refused(t, glance, map[string]string{
		`{"kind":"runner","spec":{}}`: "spec.glance is missing",
		`{"kind":"runner","spec":{"glance":{"dir":{"path":"/a","pathBytes":"L2E="}}}}`:  "spec.glance.dir has both path and pathBytes",
		`{"kind":"runner","spec":{"glance":{"file":{"path":"/a","pathBytes":"L2E="}}}}`: "spec.glance.file has both path and pathBytes",
	})
	taken(t, glance, `{"kind":"runner","spec":{"glance":{}}}`, `{"kind":"runner","spec":{"glance":{"dir":{"pathBytes":"L2E="},"sys":{"enable":true}}}}`)
	maint := func() Request { return new(MaintRequest) }
	refused(t, maint, map[string]string{`{"kind":"runner"}`: "spec.maint is missing"})
	taken(t, maint, `{"kind":"runner","spec":{"maint":{"clock":{"ntp":true,"time":1}}}}`)
}

func TestPipelineActions(t *testing.T) {
	blank := func() Request { return new(PipelineRequest) }
	action := func(text string) string { return `{"kind":"runner","spec":{"pipeline":{` + text + `}}}` }
	const one = "spec.pipeline: exactly one of schedule, list, jobs, job, cancel, rerun, apply and remove is expected"
	refused(t, blank, map[string]string{
		`{"kind":"runner","spec":{}}`:                            "spec.pipeline is missing",
		action(``):                                               one,
		action(`"list":{},"jobs":{}`):                            one,
		action(`"schedule":{}`):                                  "spec.pipeline.schedule.pipeline is missing",
		action(`"job":{}`):                                       "spec.pipeline.job.id is missing",
		action(`"cancel":{"user":"ann"}`):                        "spec.pipeline.cancel.id is missing",
		action(`"rerun":{"failed":true}`):                        "spec.pipeline.rerun.id is missing",
		action(`"rerun":{"id":"j","failed":true,"from":"test"}`): "spec.pipeline.rerun: failed and from don't go together",
		action(`"remove":{}`):                                    "spec.pipeline.remove.name is missing",
		action(`"apply":{"text":"x"}`):                           "spec.pipeline.apply.source is missing",
		action(`"jobs":{"limit":-2}`):                            "spec.pipeline.jobs.limit: -2 is negative",
		action(`"schedule":{"pipeline":"p","variables":{"a":1},"variablesJson":"{}"}`): "spec.pipeline.schedule: variables and variablesJson don't go together",
	})
	taken(t, blank, action(`"list":{}`), action(`"jobs":{"limit":5}`), action(`"job":{"id":"j"}`), action(`"rerun":{"id":"j","from":"test"}`),
		action(`"schedule":{"pipeline":"p","variablesJson":"{\"a\":1}"}`), action(`"schedule":{"pipeline":"p","variables":{"a":[1,null,"x"]}}`))
}

func TestScheduleActions(t *testing.T) {
	blank := func() Request { return new(ScheduleRequest) }
	action := func(text string) string { return `{"kind":"runner","spec":{"schedule":{` + text + `}}}` }
	const one = "spec.schedule: exactly one of list, show, add, change, remove, pause, resume, run and history is expected"
	bodies := map[string]string{
		`{"kind":"runner","spec":{}}`:                 "spec.schedule is missing",
		action(``):                                    one,
		action(`"list":{},"show":{"name":"x"}`):       one,
		action(`"list":{"limit":1001}`):               "spec.schedule.list.limit: 1001 must be from 0 to 1000",
		action(`"list":{"limit":-1}`):                 "spec.schedule.list.limit: -1 must be from 0 to 1000",
		action(`"history":{"name":"x","limit":1001}`): "spec.schedule.history.limit: 1001 must be from 0 to 1000",
	}
	for _, name := range []string{"show", "add", "change", "remove", "pause", "resume", "run", "history"} {
		bodies[action(`"`+name+`":{}`)] = "spec.schedule." + name + ".name is missing"
	}
	refused(t, blank, bodies)
	taken(t, blank, action(`"list":{"limit":1000}`), action(`"pause":{"name":"x"}`), action(`"history":{"name":"x","limit":1,"next":"y"}`),
		action(`"add":{"name":"x","every":"5m","task":{"argv":["true"]}}`))
}

func TestDurations(t *testing.T) {
	for text, want := range map[string]time.Duration{"": 7 * time.Second, "0s": 0, "90s": 90 * time.Second, "1h30m": 90 * time.Minute, "1.5s": 1500 * time.Millisecond} {
		if got, err := Duration("f", text, 7*time.Second); err != nil || got != want {
			t.Errorf("%q: got %s, %v, want %s", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"0": "is not a duration", "+0": "is not a duration", "-0": "is not a duration", "5": "is not a duration", "5 s": "is not a duration",
		"soon": "is not a duration", "-1s": "is negative", "1d": "is not a duration", "9999999h": "is not a duration",
	} {
		if _, err := Duration("f", text, 0); err == nil || !strings.HasPrefix(err.Error(), `f: "`+text+`" `+want) {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
}

// A caller may rely on a field that this version does not have: it is told. What
// the old runner had is passed over.
func TestUnknownFieldsInProtobuf(t *testing.T) {
	field := func(number protowire.Number, value []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), value)
	}
	r := &TaskRequest{Kind: Kind, Spec: &TaskSpec{Task: &Task{Argv: []string{"x"}, Params: []*Param{{Name: "a"}}}}}
	whole, err := Encode(r, true)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		body []byte
		want string
	}{
		"at the top":     {append(whole[:len(whole):len(whole)], field(1999, []byte("x"))...), "invalid protobuf: TaskRequest has no field 1999 here"},
		"in the spec":    {append(whole[:len(whole):len(whole)], field(4, field(1999, nil))...), "invalid protobuf: TaskSpec has no field 1999 here"},
		"in the task":    {append(whole[:len(whole):len(whole)], field(4, field(1, field(1999, nil)))...), "invalid protobuf: Task has no field 1999 here"},
		"cut in a field": {whole[:len(whole)-1], "invalid protobuf: "},
		"not one at all": {[]byte{0xff}, "invalid protobuf: "},
	} {
		err := DecodeRequest(c.body, true, new(TaskRequest))
		var bad *InvalidError
		if !errors.As(err, &bad) || !strings.HasPrefix(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v, want %s", name, err, c.want)
		}
	}
	if err := DecodeRequest(whole, true, new(TaskRequest)); err != nil {
		t.Errorf("as it is: %v", err)
	}
}

// Replies are read by older clients: what they don't know is passed over.
func TestRepliesOfLaterVersions(t *testing.T) {
	for isProtobuf, body := range map[bool][]byte{
		false: []byte(`{"runner":"web1","later":{"a":[1]},"error":""}`),
		true:  append(protowire.AppendString(protowire.AppendTag(nil, 16, protowire.BytesType), "web1"), protowire.AppendVarint(protowire.AppendTag(nil, 1999, protowire.VarintType), 1)...),
	} {
		reply := new(MaintReply)
		if err := DecodeReply(body, isProtobuf, reply); err != nil || reply.GetRunner() != "web1" {
			t.Errorf("protobuf %t: got %v, %v", isProtobuf, reply, err)
		}
		if err := DecodeReply([]byte("\xff{"), isProtobuf, new(MaintReply)); err == nil || !strings.HasPrefix(err.Error(), "cannot read MaintReply: ") {
			t.Errorf("protobuf %t: of rubbish: got %v", isProtobuf, err)
		}
	}
}

func TestLongTextsAreClippedInErrors(t *testing.T) {
	if got := clip("short"); got != "short" {
		t.Errorf("got %q", got)
	}
	if got := clip(strings.Repeat("x", 80)); len(got) != 80 {
		t.Errorf("80 bytes: got %q", got)
	}
	if got := clip(strings.Repeat("x", 79) + "ä" + strings.Repeat("x", 99)); got != strings.Repeat("x", 79)+"…" {
		t.Errorf("cut within a character: got %q", got)
	}
}

// Of several names in the spelling of the .proto files it is always the same one
// that is named.
func TestFirstOfSeveralNames(t *testing.T) {
	const body = `{"kind":"runner","spec":{"task":{"argv":["x"],"log":{"max_bytes":5},"not_before":"2026-01-02T03:04:05Z"}}}`
	for range 20 {
		err := DecodeRequest([]byte(body), false, new(TaskRequest))
		if err == nil || err.Error() != `invalid JSON: unknown field "max_bytes"` {
			t.Fatalf("got %v, want the first by name", err)
		}
	}
}
