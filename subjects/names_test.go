package subjects

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// space is one that must be right.
func space(t testing.TB, prefix string) Space {
	t.Helper()
	s, err := New(prefix)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The names of streams, buckets and subjects are what other programs rely on
// (docs/wire.md): they never change.
func TestNamesThatNeverChange(t *testing.T) {
	for prefix, want := range map[string][]string{
		"runner": {
			"runner", "RUNNER_LOG", "RUNNER_QUEUE", "RUNNER_SCHEDULE", "runner_runs", "runner_fleet", "runner_pipelines", "runner_jobs", "runner_gateway", "runner_index",
			"runner_queue", "runner_schedule", "runner.log.>", "runner.log.*.x", "runner.queue.work.web.high.x", "runner.queue.tell.web", "runner.schedule.def.x",
			"runner.schedule.gap.x", "runner.schedule.tell", "runner.schedule.fired.any.web.x", "runner.schedule.fired.all._all.x",
		},
		"acme.east-1": {
			"acme_east-1", "ACME_EAST-1_LOG", "ACME_EAST-1_QUEUE", "ACME_EAST-1_SCHEDULE", "acme_east-1_runs", "acme_east-1_fleet", "acme_east-1_pipelines", "acme_east-1_jobs",
			"acme_east-1_gateway", "acme_east-1_index", "acme_east-1_queue", "acme_east-1_schedule", "acme.east-1.log.>", "acme.east-1.log.*.x", "acme.east-1.queue.work.web.high.x",
			"acme.east-1.queue.tell.web", "acme.east-1.schedule.def.x", "acme.east-1.schedule.gap.x", "acme.east-1.schedule.tell", "acme.east-1.schedule.fired.any.web.x",
			"acme.east-1.schedule.fired.all._all.x",
		},
	} {
		s := space(t, prefix)
		got := []string{
			s.Service(), s.LogStream(), s.QueueStream(), s.ScheduleStream(), s.RunsBucket(), s.FleetBucket(), s.PipelinesBucket(), s.JobsBucket(), s.GatewayBucket(), s.IndexBucket(),
			s.QueueBucket(), s.ScheduleBucket(), s.LogAll(), s.LogAny("x"), s.Work("web", "high", "x"), s.QueueTell("web"), s.ScheduleDef("x"),
			s.ScheduleGap("x"), s.ScheduleTell(), s.Fired(false, "web", "x"), s.Fired(true, NoPool, "x"),
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s:\n got %q\nwant %q", prefix, got, want)
		}
	}
	for got, want := range map[string]string{
		WorkConsumer("web", "low"): "work-web-low", FireConsumer("web"): "fires-web", FireConsumerAll("web1"): "all-web1",
		BucketStream("runner_runs"): "KV_runner_runs", KeySubject("runner_runs", "x"): "$KV.runner_runs.x",
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestWhatAQueueTakes(t *testing.T) {
	s := space(t, "")
	if got, want := s.WorkSubjects(), []string{"runner.queue.work.*.high.*", "runner.queue.work.*.normal.*", "runner.queue.work.*.low.*"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q, the most urgent first", got, want)
	}
	if got := s.WorkAny("x"); got != "runner.queue.work.*.*.x" {
		t.Errorf("got %s", got)
	}
	if got, want := s.ScheduleSubjects(), []string{
		"runner.schedule.def.*", "runner.schedule.gap.*", "runner.schedule.fired.any.*.*", "runner.schedule.fired.all.*.*",
	}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestParseWorkReadsWhatWorkWrote(t *testing.T) {
	token := rapid.StringMatching(`[A-Za-z0-9_-]{1,10}`)
	rapid.Check(t, func(t *rapid.T) {
		s, err := New(rapid.SampledFrom([]string{"", "acme", "acme.east"}).Draw(t, "prefix"))
		if err != nil {
			t.Fatal(err)
		}
		pool, priority, id := token.Draw(t, "pool"), token.Draw(t, "priority"), token.Draw(t, "id")
		p, q, i, ok := s.ParseWork(s.Work(pool, priority, id))
		if !ok || p != pool || q != priority || i != id {
			t.Fatalf("got %s %s %s %t", p, q, i, ok)
		}
	})
	s := space(t, "")
	for _, subject := range []string{"", "runner.queue.work.web.high", "runner.queue.work.web.high.x.y", "runner.queue.tell.web", "other.queue.work.web.high.x", "runner.queue.workers.web.high.x"} {
		if _, _, _, ok := s.ParseWork(subject); ok {
			t.Errorf("%q was read as work", subject)
		}
	}
}

// What a subject of the queue or of schedules means can't be a scope, so that a
// permission for one is none for the other.
func TestReservedWords(t *testing.T) {
	for _, word := range []string{"work", "def", "gap", "fired", "tell"} {
		if !ReservedScope(word) {
			t.Errorf("%s is free", word)
		}
	}
	for _, word := range []string{"any", "all", "at", "pool", "", "works"} {
		if ReservedScope(word) {
			t.Errorf("%s is reserved", word)
		}
	}
	for _, verb := range Verbs() {
		if !verb.Asked() || !Reserved(string(verb)) {
			t.Errorf("%s is no verb that is asked", verb)
		}
		if _, err := New("acme." + string(verb)); err == nil {
			t.Errorf("acme.%s was taken for a prefix", verb)
		}
		if _, err := New(string(verb) + ".acme"); err != nil {
			t.Errorf("%s.acme: %v", verb, err)
		}
	}
	for _, verb := range []Verb{logVerb, queue} {
		if verb.Asked() || !Reserved(string(verb)) {
			t.Errorf("%s is asked", verb)
		}
	}
	if Reserved("acme") || Reserved("") {
		t.Error("a word of nobody's is reserved")
	}
}

func TestPools(t *testing.T) {
	for name, want := range map[string]string{
		"web": "", "default": "", "A_b-9": "", "_all": "_all is reserved", "_pipelines": "_pipelines is reserved", "_other": "",
		"": `"" must be 1 to 64 characters`, "a.b": `"a.b" must be letters, digits, "-" and "_" only`, "a b": `"a b" must be letters, digits, "-" and "_" only`,
	} {
		err := Pool(name)
		if want == "" && err != nil || want != "" && (err == nil || err.Error() != want) {
			t.Errorf("%q: got %v, want %s", name, err, want)
		}
	}
}

// The id of a run of a fan-out is its group's, a hyphen and its runner's name: each
// may be as long as it can.
func TestIdsOfRuns(t *testing.T) {
	longest := strings.Repeat("x", 64)
	for id, good := range map[string]bool{"a": true, longest: true, longest + "-" + longest: true, longest + "-" + longest + "x": false, "": false, "a.b": false, "ä": false, "*": false, ">": false, "a b": false} {
		if err := RunID(id); (err == nil) != good {
			t.Errorf("%q: got %v", id, err)
		}
	}
	if Token(longest) != nil || Token(longest+"x") == nil {
		t.Error("a name may have 64 characters")
	}
}

// What comes in a header is shown and logged: what could do harm there is dropped.
func TestHeadersOfStrangers(t *testing.T) {
	const trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	for header, want := range map[string]string{
		trace: trace, "": "", "00-ABC": "", "00-4bf9\n": "", "<script>": "", strings.Repeat("a", 128): strings.Repeat("a", 128), strings.Repeat("a", 129): "",
	} {
		if got := Trace(header); got != want {
			t.Errorf("trace %.20q: got %q", header, got)
		}
	}
	for header, want := range map[string]string{
		"ann": "ann", "  ann  ": "ann", "Ann Müller <ann@example.org>": "Ann Müller <ann@example.org>", "": "", "a\nb": "", "a\x1b[2J": "", "a\x00": "", "a\xff": "a\ufffd",
		"a\u200bb": "", strings.Repeat("a", 256): strings.Repeat("a", 256), strings.Repeat("a", 257): "",
	} {
		if got := User(header); got != want {
			t.Errorf("user %.20q: got %q, want %q", header, got, want)
		}
	}
}

func TestLegalNames(t *testing.T) {
	for name, want := range map[string]string{
		"web1": "web1", "web1.example.org": "web1-example-org", "-a-": "a", "": "runner", "...": "runner", "Büro": "B-ro", "a_b": "a_b", strings.Repeat("x", 70): strings.Repeat("x", 64),
		strings.Repeat("x", 63) + ".y": strings.Repeat("x", 63),
	} {
		if got := Legalise(name); got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
}

// A reply goes to an inbox, and never to a subject of the fleet or the server's.
func TestRepliesReachNoSubjectOfOurs(t *testing.T) {
	s := space(t, "acme")
	rapid.Check(t, func(t *rapid.T) {
		prefix, err := s.ReplyPrefix(rapid.StringMatching(`(acme|\$JS|_INBOX|mine|\*|>|)(\.(acme|log|a|\*|>|)){0,3}`).Draw(t, "prefix"))
		if err != nil {
			return
		}
		for _, subject := range []string{s.Log("r", "x"), s.Request(Task, Any), s.Work("p", "high", "x"), "$JS.API.INFO", "$KV.acme_runs.x"} {
			if IsInbox(subject, []string{prefix}) {
				t.Fatalf("with %q, a reply may go to %s", prefix, subject)
			}
		}
		if !IsInbox(prefix+".x", []string{prefix}) {
			t.Fatalf("with %q, no reply may go to its inboxes", prefix)
		}
	})
}
