package work

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/store"
	"github.com/runnel-io/runnel/service/stream"
	"github.com/runnel-io/runnel/subjects"
)

// bare is a queue that asks no server.
func bare(t testing.TB) *Queue {
	t.Helper()
	space, err := subjects.New("runner")
	if err != nil {
		t.Fatal(err)
	}
	return New(Config{Space: space})
}

// A key is full when as many have it as the smallest of all maxima allows.
func TestFull(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		most := rapid.Int64Range(1, 6).Draw(t, "max")
		h, least := holders{}, most
		for i, other := range rapid.SliceOfN(rapid.Int64Range(1, 6), 0, 8).Draw(t, "others") {
			h[fmt.Sprint("run", i)] = holder{Max: other}
			least = min(least, other)
		}
		if got, want := h.full(most), int64(len(h)) >= least; got != want {
			t.Errorf("%v with a maximum of %d: full is %t", h, most, got)
		}
		if h.full(most) && !h.full(1) || !h.full(1) && len(h) > 0 {
			t.Errorf("%v has room for a run that allows one", h)
		}
	})
}

// Whatever a key is called, its name in the bucket is one token, and its own.
func TestHoldersKeys(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := rapid.StringN(1, 64, 128).Draw(t, "a")
		b := rapid.OneOf(rapid.Just(a+"."), rapid.Just(a+"*"), rapid.Just(a+">"), rapid.Just(" "+a), rapid.Just(strings.ToUpper(a)), rapid.String()).Draw(t, "b")
		name := holdersKey(a)
		if rest, ok := strings.CutPrefix(name, keyHolders); !ok || strings.ContainsAny(rest, ".*> \t") || rest == "" {
			t.Errorf("%q: %q", a, name)
		} else if back, err := base64.RawURLEncoding.DecodeString(rest); err != nil || string(back) != a {
			t.Errorf("%q: %q reads as %q, %v", a, name, back, err)
		}
		if (a == b) != (holdersKey(b) == name) {
			t.Errorf("%q and %q: %q", a, b, name)
		}
	})
}

func TestSomeNames(t *testing.T) {
	for n, want := range []string{"", "r0", "r0, r1", "r0, r1, r2", "r0, r1, r2 and 1 more", "r0, r1, r2 and 2 more"} {
		var names []string
		for i := range n {
			names = append(names, fmt.Sprint("r", i))
		}
		if got := some(names); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}

func TestRefusalsInWords(t *testing.T) {
	for want, r := range map[string]Refusals{
		"":                          {},
		"a: no go":                  {Reason: map[string]string{"a": "no go"}},
		"a: x; b: no user ann; c: ": {Reason: map[string]string{"c": "", "b": "no user ann", "a": "x"}},
	} {
		if got := r.Words(); got != want {
			t.Errorf("%v: %q, want %q", r, got, want)
		}
	}
}

// card is what why has of a runner.
func card(online bool, state string, running, slots int64, pools ...string) store.Seen {
	return store.Seen{Online: online, Card: &pb.Card{State: state, Running: running, Slots: slots, Pools: pools}}
}

func TestWhyThereIsNoPlace(t *testing.T) {
	ready := store.StateReady
	for _, c := range []struct {
		name        string
		cards       []store.Seen
		code, words string
	}{
		{"nobody", nil, WaitsRunner, "no runner of pool db is online and ready"},
		{"another pool's", []store.Seen{card(true, ready, 0, 4, "web")}, WaitsRunner, "no runner of pool db is online and ready"},
		{"offline", []store.Seen{card(false, ready, 0, 4, "db")}, WaitsRunner, "no runner of pool db is online and ready"},
		{"draining", []store.Seen{card(true, "draining", 0, 4, "db")}, WaitsRunner, "no runner of pool db is online and ready"},
		{"busy", []store.Seen{card(true, ready, 4, 4, "db")}, WaitsPlace, "the runners of pool db are busy (1 online)"},
		{"two busy", []store.Seen{card(true, ready, 4, 4, "db"), card(true, ready, 9, 8, "web", "db"), card(false, ready, 0, 8, "db")}, WaitsPlace, "the runners of pool db are busy (2 online)"},
		{"one free", []store.Seen{card(true, ready, 4, 4, "db"), card(true, ready, 0, 1, "db")}, WaitsPlace, "a runner is about to take it"},
	} {
		code, words := (&why{cards: c.cards}).places("db")
		if code != c.code || words != c.words {
			t.Errorf("%s: %s, %q", c.name, code, words)
		}
	}
}

// The reason that holds the longest is told first.
func TestWhichReasonCounts(t *testing.T) {
	now := at(t, "12:00:00")
	w := &why{
		now: now, held: map[string]holders{"taken": {"a": {Max: 1}, "b": {Max: 2}}, "free": {}},
		paused: map[string]Pause{"night": {}, "day": {By: "ann"}},
	}
	later := timestamppb.New(now.Add(time.Hour))
	for _, c := range []struct {
		queued      *pb.Queued
		code, words string
	}{
		{&pb.Queued{Pool: "night", Until: later, Key: "taken", KeyMax: 1}, WaitsPaused, "pool night is paused"},
		{&pb.Queued{Pool: "day"}, WaitsPaused, "pool day is paused by ann"},
		{&pb.Queued{Pool: "db", Until: later, Key: "taken", KeyMax: 1}, WaitsLater, "not before 2026-11-26T13:00:00Z"},
		{&pb.Queued{Pool: "db", Until: timestamppb.New(now), Key: "taken", KeyMax: 9}, WaitsKey, "key taken is taken by a, b"},
		{&pb.Queued{Pool: "db", Key: "free", KeyMax: 1}, WaitsRunner, "no runner of pool db is online and ready"},
	} {
		code, words, err := w.of(context.Background(), &pb.Run{Group: "x", Queued: c.queued})
		if err != nil || code != c.code || words != c.words {
			t.Errorf("%v: %s, %q, %v", c.queued, code, words, err)
		}
	}
}

// What does not wait, and what has been told already, is left as it is, without a
// look at any server.
func TestExplainsOnlyWhatWaits(t *testing.T) {
	runs := []*pb.Run{
		{Id: "ran", State: pb.State_COMPLETE, Queued: &pb.Queued{}},
		{Id: "direct", State: pb.State_PENDING},
		{Id: "taken", State: pb.State_PENDING, Runner: "web1", Queued: &pb.Queued{}},
		{Id: "told", State: pb.State_PENDING, Queued: &pb.Queued{Waits: WaitsExpired, Why: "late"}},
	}
	if err := bare(t).Explain(t.Context(), runs); err != nil {
		t.Fatal(err)
	}
	for i, want := range []bool{false, false, false, true} {
		if got := IsWaiting(runs[i]); got != want {
			t.Errorf("%s: waits is %t", runs[i].GetId(), got)
		}
		if why := runs[i].GetQueued().GetWhy(); why != "" && why != "late" {
			t.Errorf("%s: %s", runs[i].GetId(), why)
		}
	}
}

// workOf is a message of a request.
func workOf(t testing.TB, req *pb.TaskRequest, accepted time.Time) Work {
	t.Helper()
	body, err := pb.MarshalJSON(req)
	if err != nil {
		t.Fatal(err)
	}
	return Work{ID: req.GetMetadata().GetId(), Pool: "db", Priority: "low", Seq: 7, Accepted: accepted, Attempt: 1, Body: body}
}

// When work may begin, by its delay and its notBefore, and when it is too late:
// expires counts from the acceptance, whatever the others say.
func TestTimesOfWork(t *testing.T) {
	accepted := at(t, "12:00:00.5")
	for _, c := range []struct{ fields, begin, late string }{
		{`"name":"x"`, "12:00:00.5", ""},
		{`"delay":"10s"`, "12:00:10.5", ""},
		{`"notBefore":"2026-11-26T12:01:00Z"`, "12:01:00", ""},
		{`"notBefore":"2026-11-26T11:00:00Z"`, "12:00:00.5", ""},
		{`"delay":"10s","notBefore":"2026-11-26T12:00:05Z"`, "12:00:10.5", ""},
		{`"delay":"10s","notBefore":"2026-11-26T12:01:00Z"`, "12:01:00", ""},
		{`"expires":"1m"`, "12:00:00.5", "12:01:00.5"},
		{`"expires":"1m","delay":"2m"`, "12:02:00.5", "12:01:00.5"},
		{`"expires":"1h","notBefore":"2026-11-26T12:30:00Z"`, "12:30:00", "13:00:00.5"},
	} {
		w := workOf(t, request(t, "x", "true", c.fields), accepted)
		req, err := w.Request()
		if err != nil {
			t.Fatal(err)
		}
		task := req.GetSpec().GetTask()
		if got := w.Begin(task); !got.Equal(at(t, c.begin)) {
			t.Errorf("%s: begins at %s, want %s", c.fields, got, c.begin)
		}
		if c.late == "" {
			if words := w.TooLate(task, accepted.AddDate(10, 0, 0)); words != "" {
				t.Errorf("%s: %s", c.fields, words)
			}
			continue
		}
		if words := w.TooLate(task, at(t, c.late)); words != "" {
			t.Errorf("%s: too late in its last instant: %s", c.fields, words)
		}
		if words := w.TooLate(task, at(t, c.late).Add(1)); !strings.HasPrefix(words, "waited in the queue for more than 1") {
			t.Errorf("%s: not too late after it: %q", c.fields, words)
		}
	}
}

// A run that has not begun says what its task says.
func TestPending(t *testing.T) {
	accepted := at(t, "12:00:00")
	w := workOf(t, request(t, "nightly", "make", `"tags":{"a":"b"}`, `"retries":{"max":3,"backoff":"10s","on":["exit","oom"]}`, `"concurrency":{"key":"deploy","max":2}`, `"delay":"1m"`), accepted)
	w.Traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	run := w.pending(1, nil)
	q := run.GetQueued()
	if run.GetId() != "nightly" || run.GetGroup() != "nightly" || run.GetAttempt() != 1 || !IsWaiting(run) || run.GetTags()["a"] != "b" || run.GetTraceparent() != w.Traceparent {
		t.Errorf("%v", run)
	}
	if q.GetPool() != "db" || q.GetPriority() != "low" || q.GetSeq() != 7 || !q.GetAccepted().AsTime().Equal(accepted) || !run.GetCreated().AsTime().Equal(accepted) {
		t.Errorf("%v", q)
	}
	if q.GetRetries() != 3 || strings.Join(q.GetOn(), " ") != "exit oom" || q.GetBackoff() != "10s" || q.GetKey() != "deploy" || q.GetKeyMax() != 2 {
		t.Errorf("%v", q)
	}
	if until := q.GetUntil().AsTime(); !until.Equal(accepted.Add(time.Minute)) {
		t.Errorf("until %s", until)
	}
	want, err := request(t, "nightly", "make", `"tags":{"a":"b"}`, `"retries":{"max":3,"backoff":"10s","on":["exit","oom"]}`, `"concurrency":{"key":"deploy","max":2}`, `"delay":"1m"`).Digest()
	if err != nil || run.GetDigest() != want {
		t.Errorf("digest %s, want %s, %v", run.GetDigest(), want, err)
	}
	// Later attempts wait for the backoff after the end of the one before, which doubles.
	ended := accepted.Add(time.Hour)
	for attempt, wait := range map[int]time.Duration{2: 10 * time.Second, 3: 20 * time.Second, 4: 40 * time.Second} {
		run := w.pending(attempt, &pb.Run{Ended: timestamppb.New(ended)})
		if got := run.GetQueued().GetUntil().AsTime(); run.GetId() != fmt.Sprintf("nightly-a%d", attempt) || int(run.GetAttempt()) != attempt || !got.Equal(ended.Add(wait)) {
			t.Errorf("attempt %d: %v", attempt, run)
		}
	}
}

// The name is the task's, else the envelope's; a body that is no task says so.
func TestPendingNames(t *testing.T) {
	named := request(t, "x", "true", `"name":"task"`)
	named.Metadata.Name = "envelope"
	only := request(t, "x", "true")
	only.Metadata.Name = "envelope"
	for want, w := range map[string]Work{"task": workOf(t, named, time.Now()), "envelope": workOf(t, only, time.Now()), "": workOf(t, request(t, "x", "true"), time.Now())} {
		if got := w.pending(1, nil).GetName(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	for _, body := range []string{"", "{", "nonsense", `{"kind":"runner","spec":{}}`, `{"kind":"cat","spec":{"task":{"commands":["true"]}}}`, `{"kind":"runner","metadata":{"id":"y"},"spec":{"task":{"commands":["true"]}}}`} {
		w := Work{ID: "x", Attempt: 1, Body: []byte(body)}
		run := w.pending(1, nil)
		if run.GetError() == "" || run.GetId() != "x" || !IsWaiting(run) {
			t.Errorf("%q: %v", body, run)
		}
	}
}

// The record of an attempt that never starts is made of what waits, which stays.
func TestEndedWithoutAStart(t *testing.T) {
	w := workOf(t, request(t, "x", "true", `"delay":"1h"`), time.Now())
	run := w.pending(1, nil)
	run.Queued.Waits, run.Queued.Why = WaitsLater, "not yet"
	before := proto.CloneOf(run)
	ended := bare(t).ended(run, ending{pb.State_FAILED, pb.ReasonExpired, "too late"})
	if !proto.Equal(run, before) {
		t.Errorf("it has changed: %v", run)
	}
	if ended.GetState() != pb.State_FAILED || ended.GetReason() != pb.ReasonExpired || ended.GetError() != "too late" || ended.GetEnded() == nil {
		t.Errorf("%v", ended)
	}
	if q := ended.GetQueued(); q.GetWaits() != "" || q.GetWhy() != "" || q.GetUntil() != nil || q.GetPool() != "db" {
		t.Errorf("%v", q)
	}
	if ended.GetLogStream() != "RUNNER_LOG" || ended.GetLogSubject() != "runner.log.queue.x" {
		t.Errorf("its log: %s %s", ended.GetLogStream(), ended.GetLogSubject())
	}
}

func TestWhatIsFull(t *testing.T) {
	for text, want := range map[string]bool{
		"maximum messages exceeded": true, "maximum bytes exceeded": true, "maximum messages per subject exceeded": true,
		"resource limits exceeded for account": true, "insufficient resources": true,
		"wrong last sequence: 3": false, "stream not found": false, "": false,
	} {
		err := fmt.Errorf("x: %w", &jetstream.APIError{Code: 503, Description: text})
		if got := isFull(err); got != want {
			t.Errorf("%q: %t", text, got)
		}
	}
	if isFull(errors.New("maximum messages exceeded")) || isFull(nil) {
		t.Error("an error that is not the server's")
	}
}

// A request is the same work in JSON and in protobuf, also when its body is kept
// without its header.
func TestBodiesInBothForms(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		req := request(t, rapid.StringMatching(`[A-Za-z0-9_]{1,20}`).Draw(rt, "id"), rapid.StringN(1, 40, 80).Draw(rt, "command"))
		req.Metadata.Name = rapid.StringMatching(`[ -~]{0,20}`).Draw(rt, "name")
		want, err := req.Digest()
		if err != nil || req.Validate() != nil {
			rt.Skip("no task")
		}
		asJSON := workOf(t, req, time.Time{})
		binary, err := proto.Marshal(req)
		if err != nil {
			rt.Fatal(err)
		}
		asProto := Work{ID: asJSON.ID, Body: binary, header: nats.Header{subjects.HeaderContentType: {subjects.Protobuf}}}
		for form, w := range map[string]Work{"JSON": asJSON, "protobuf": asProto} {
			for _, kept := range []bool{false, true} {
				if kept {
					w.header = headerOf(w.Body)
				}
				got, err := w.Digest()
				if err != nil || got != want {
					rt.Errorf("%s, kept %t: %s, %v, want %s", form, kept, got, err, want)
				}
			}
		}
	})
}

// The id is the subject's; a body may name it, and no other.
func TestIDsOfBodies(t *testing.T) {
	without := workOf(t, request(t, "", "true"), time.Time{})
	without.ID = "mine"
	if req, err := without.Request(); err != nil || req.GetMetadata().GetId() != "mine" {
		t.Errorf("%v, %v", req, err)
	}
	bareBody := Work{ID: "mine", Body: []byte(`{"kind":"runner","spec":{"task":{"commands":["true"]}}}`)}
	if req, err := bareBody.Request(); err != nil || req.GetMetadata().GetId() != "mine" {
		t.Errorf("without metadata: %v, %v", req, err)
	}
	other := workOf(t, request(t, "yours", "true"), time.Time{})
	other.ID = "mine"
	var invalid *pb.InvalidError
	if _, err := other.Request(); !errors.As(err, &invalid) || !strings.Contains(err.Error(), `metadata.id is "yours", and the subject ends in "mine"`) {
		t.Errorf("got %v", err)
	}
	if _, err := other.Digest(); err == nil {
		t.Error("it has a digest")
	}
}

func TestItemsThatAreRefused(t *testing.T) {
	for _, c := range []struct {
		change func(*Item)
		want   string
	}{
		{func(i *Item) { i.Pool = "a.b" }, "cannot use pool: "},
		{func(i *Item) { i.Pool = "*" }, "cannot use pool: "},
		{func(i *Item) { i.Pool = "a b" }, "cannot use pool: "},
		{func(i *Item) { i.Priority = "urgent" }, `cannot use priority "urgent": it is high, normal or low`},
		{func(i *Item) { i.Priority = "HIGH" }, `cannot use priority "HIGH"`},
		{func(i *Item) { i.Request.Metadata.Id = "" }, "metadata.id: "},
		{func(i *Item) { i.Request.Metadata.Id = "a.b" }, "metadata.id: "},
		{func(i *Item) { i.Request.Metadata.Id = "ключ" }, "metadata.id: "},
		{func(i *Item) { i.Request.Metadata.Id = strings.Repeat("x", 49) }, "at most 48 characters"},
		{func(i *Item) { i.Request.Metadata.Id = "job-a2" }, "ends as the ids of attempts do"},
		{func(i *Item) { i.Request.Kind = "cat" }, "kind"},
		{func(i *Item) { i.Request.Spec = nil }, "spec"},
		{func(i *Item) { i.Request.Spec.Task.Delay = "5" }, "spec.task.delay"},
		{func(i *Item) { i.Request.Spec.Task.Concurrency = &pb.Concurrency{Key: "k"} }, "spec.task.concurrency.max"},
	} {
		i := Item{Request: request(t, "x", "true")}
		c.change(&i)
		_, _, err := bare(t).message(i)
		var invalid *pb.InvalidError
		if !errors.As(err, &invalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
	for _, id := range []string{strings.Repeat("x", 48), "a-a", "a2", "-a2", "A_b-9"} {
		if _, _, err := bare(t).message(Item{Request: request(t, id, "true")}); err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
}

func TestMessages(t *testing.T) {
	m, _, err := bare(t).message(Item{Request: request(t, "x", "true")})
	if err != nil || m.Subject != "runner.queue.work.default.normal.x" || len(m.Header) != 0 {
		t.Errorf("%v, %v", m, err)
	}
	trace := "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	m, _, err = bare(t).message(Item{Pool: "db", Priority: "high", Request: request(t, "x", "true"), Attempt: 3, Traceparent: trace})
	if err != nil || m.Subject != "runner.queue.work.db.high.x" || m.Header.Get(HeaderAttempt) != "3" || m.Header.Get(subjects.HeaderTrace) != trace {
		t.Errorf("%v, %v", m, err)
	}
	stored, ok := bare(t).Stored(stream.Message{Subject: m.Subject, Seq: 9, Header: m.Header, Data: m.Data, Time: at(t, "12:00:00")})
	if !ok || stored.ID != "x" || stored.Pool != "db" || stored.Priority != "high" || stored.Attempt != 3 || stored.Traceparent != trace || stored.Seq != 9 || !stored.Accepted.Equal(at(t, "12:00:00")) {
		t.Errorf("%+v, %t", stored, ok)
	}
}

// What a header says of the first attempt counts only if it is one.
func TestFirstAttempts(t *testing.T) {
	for text, want := range map[string]int{"": 1, "0": 1, "1": 1, "2": 2, "17": 17, "-3": 1, "x": 1, "2.5": 1, "99999999999999999999": 1} {
		w, ok := bare(t).Stored(stream.Message{Subject: "runner.queue.work.a.low.x", Header: nats.Header{HeaderAttempt: {text}}})
		if !ok || w.Attempt != want {
			t.Errorf("%q: %d", text, w.Attempt)
		}
	}
	for _, subject := range []string{"runner.queue.work.a.low", "runner.queue.tell.a", "other.queue.work.a.low.x", ""} {
		if w, ok := bare(t).Stored(stream.Message{Subject: subject}); ok {
			t.Errorf("%q: %+v", subject, w)
		}
	}
}

func TestPausedLines(t *testing.T) {
	since := at(t, "12:00:00")
	pools := map[string]Pause{"db": {By: "ann", Since: since}, "web": {}}
	if l := (Line{Pool: "db"}).paused(pools); !l.Paused || l.PausedBy != "ann" || l.PausedSince == nil || !l.PausedSince.Equal(since) {
		t.Errorf("%+v", l)
	}
	if l := (Line{Pool: "web"}).paused(pools); !l.Paused || l.PausedBy != "" || l.PausedSince != nil {
		t.Errorf("%+v", l)
	}
	if l := (Line{Pool: "other"}).paused(pools); l.Paused {
		t.Errorf("%+v", l)
	}
}
