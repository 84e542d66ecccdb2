package pb

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/quick"
	"time"

	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// value is retries as JSON has it.
func value(t *testing.T, text string) *structpb.Value {
	t.Helper()
	v := new(structpb.Value)
	if err := v.UnmarshalJSON([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestRetries(t *testing.T) {
	for text, want := range map[string]Retries{
		`0`:                                    {On: []string{"lost"}},
		`3`:                                    {Max: 3, On: []string{"lost"}},
		`100`:                                  {Max: 100, On: []string{"lost"}},
		`{"max":2}`:                            {Max: 2, On: []string{"lost"}},
		`{"max":2,"on":[]}`:                    {Max: 2, On: []string{"lost"}},
		`{"max":2,"backoff":"10s"}`:            {Max: 2, Backoff: 10 * time.Second, On: []string{"lost"}},
		`{"max":1,"on":["exit","oom"]}`:        {Max: 1, On: []string{"exit", "oom"}},
		`{"on":["timeout"],"max":1}`:           {Max: 1, On: []string{"timeout"}},
		`{"max":1,"on":["signal","lost"]}`:     {Max: 1, On: []string{"signal", "lost"}},
		`{"max":0,"backoff":"1h","on":[]}`:     {Backoff: time.Hour, On: []string{"lost"}},
		`{"max":1,"backoff":"","on":["exit"]}`: {Max: 1, On: []string{"exit"}},
	} {
		got, err := (&Task{Retries: value(t, text)}).RetryTerms()
		if err != nil || got.Max != want.Max || got.Backoff != want.Backoff || !slices.Equal(got.On, want.On) {
			t.Errorf("%s: got %+v, %v, want %+v", text, got, err, want)
		}
	}
	if got, err := new(Task).RetryTerms(); err != nil || got.Max != 0 || got.On != nil {
		t.Errorf("none: got %+v, %v", got, err)
	}
}

func TestBadRetries(t *testing.T) {
	for text, want := range map[string]string{
		`-1`:                        "spec.task.retries: -1 must be a whole number from 0 to 100",
		`101`:                       "spec.task.retries: 101 must be a whole number from 0 to 100",
		`1.5`:                       "spec.task.retries: 1.5 must be a whole number from 0 to 100",
		`"3"`:                       "spec.task.retries: it must be a number or an object with max, backoff and on",
		`true`:                      "spec.task.retries: it must be a number or an object with max, backoff and on",
		`[1]`:                       "spec.task.retries: it must be a number or an object with max, backoff and on",
		`{}`:                        "spec.task.retries.max is missing",
		`{"backoff":"1s"}`:          "spec.task.retries.max is missing",
		`{"max":"2"}`:               "spec.task.retries.max: it must be a number",
		`{"max":200}`:               "spec.task.retries.max: 200 must be a whole number from 0 to 100",
		`{"max":1,"backoff":10}`:    `spec.task.retries.backoff: it must be a duration such as "10s"`,
		`{"max":1,"backoff":"10"}`:  `spec.task.retries.backoff: "10" is not a duration with a unit, such as "90s" or "1h30m"`,
		`{"max":1,"backoff":"-1s"}`: `spec.task.retries.backoff: "-1s" is negative`,
		`{"max":1,"on":"exit"}`:     "spec.task.retries.on: it must be a list of lost, exit, signal, timeout, oom",
		`{"max":1,"on":["crash"]}`:  `spec.task.retries.on: "crash" must be one of lost, exit, signal, timeout, oom`,
		`{"max":1,"on":[7]}`:        `spec.task.retries.on: "" must be one of lost, exit, signal, timeout, oom`,
		`{"max":1,"limit":3}`:       "spec.task.retries.limit: no such field: there are max, backoff and on",
	} {
		_, err := (&Task{Retries: value(t, text)}).RetryTerms()
		var bad *InvalidError
		if !errors.As(err, &bad) || err.Error() != want {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}

// The wait doubles, and is an hour at most, or what was asked for if that is more.
func TestWaitsBetweenAttempts(t *testing.T) {
	for _, c := range []struct {
		backoff time.Duration
		attempt int
		want    time.Duration
	}{
		{0, 2, 0}, {0, 100, 0},
		{time.Second, 1, time.Second}, {time.Second, 2, time.Second}, {time.Second, 3, 2 * time.Second}, {time.Second, 6, 16 * time.Second},
		{time.Minute, 7, 32 * time.Minute}, {time.Minute, 8, time.Hour}, {time.Minute, 101, time.Hour},
		{2 * time.Hour, 2, 2 * time.Hour}, {2 * time.Hour, 3, 2 * time.Hour}, {2 * time.Hour, 100, 2 * time.Hour},
	} {
		if got := (Retries{Backoff: c.backoff}).Wait(c.attempt); got != c.want {
			t.Errorf("%s before attempt %d: got %s, want %s", c.backoff, c.attempt, got, c.want)
		}
	}
}

// Waits never become shorter, and never run over into nothing.
func TestWaitsGrow(t *testing.T) {
	check := func(seconds uint16, attempt uint8) bool {
		r := Retries{Backoff: time.Duration(seconds) * time.Second}
		n := int(attempt%110) + 2
		a, b := r.Wait(n), r.Wait(n+1)
		return a >= r.Backoff && b >= a && b <= max(time.Hour, r.Backoff)
	}
	if err := quick.Check(check, nil); err != nil {
		t.Error(err)
	}
}

// What only the queue can heed is refused elsewhere, and not passed over.
func TestWhatIsTheQueues(t *testing.T) {
	for field, task := range map[string]*Task{
		"retries":     {Retries: structpb.NewNumberValue(1)},
		"delay":       {Delay: "1s"},
		"notBefore":   {NotBefore: timestamppb.Now()},
		"concurrency": {Concurrency: &Concurrency{Key: "k", Max: 1}},
	} {
		err := task.RefuseQueue()
		if want := "spec.task." + field + ": only work of the queue has it: publish the task there"; err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if err := (&Task{Argv: []string{"x"}, Timeout: "1s"}).RefuseQueue(); err != nil {
		t.Errorf("a plain task: %v", err)
	}
	// With several, it is always the same one that is named.
	all := &Task{Retries: structpb.NewNumberValue(1), Delay: "1s", NotBefore: timestamppb.Now(), Concurrency: &Concurrency{}}
	for range 20 {
		if got := all.RefuseQueue().Error(); !strings.HasPrefix(got, "spec.task.retries: ") {
			t.Fatalf("got %s, want the first in the order of the fields", got)
		}
	}
}

func TestQueueFieldsOfATask(t *testing.T) {
	for name, c := range map[string]struct {
		task *Task
		want string
	}{
		"nothing":              {&Task{}, ""},
		"all":                  {&Task{Retries: structpb.NewNumberValue(1), Delay: "5m", NotBefore: timestamppb.Now(), Concurrency: &Concurrency{Key: "db", Max: 3}}, ""},
		"a delay without unit": {&Task{Delay: "5"}, `spec.task.delay: "5" is not a duration with a unit, such as "90s" or "1h30m"`},
		"no time":              {&Task{NotBefore: &timestamppb.Timestamp{Nanos: -1}}, "spec.task.notBefore: it is no time"},
		"no key":               {&Task{Concurrency: &Concurrency{Max: 1}}, "spec.task.concurrency.key: it must be 1 to 128 bytes"},
		"a long key":           {&Task{Concurrency: &Concurrency{Key: strings.Repeat("k", 129), Max: 1}}, "spec.task.concurrency.key: it must be 1 to 128 bytes"},
		"the longest":          {&Task{Concurrency: &Concurrency{Key: strings.Repeat("k", 128), Max: 1}}, ""},
		"none at a time":       {&Task{Concurrency: &Concurrency{Key: "k"}}, "spec.task.concurrency.max: 0 must be at least 1"},
		"fewer than none":      {&Task{Concurrency: &Concurrency{Key: "k", Max: -1}}, "spec.task.concurrency.max: -1 must be at least 1"},
	} {
		err := c.task.validateQueue()
		if c.want == "" && err != nil || c.want != "" && (err == nil || err.Error() != c.want) {
			t.Errorf("%s: got %v, want %s", name, err, c.want)
		}
	}
}

func TestIdsOfWork(t *testing.T) {
	for id, want := range map[string]string{
		"nightly":               "",
		"n_1-A":                 "",
		strings.Repeat("x", 48): "",
		"x-a":                   "",
		"x-b2":                  "",
		"x2":                    "",
		"-a2":                   "", // there is no work whose attempt it could be
		"":                      `metadata.id: "" must be letters, digits, "-" and "_"`,
		"a.b":                   `metadata.id: "a.b" must be letters, digits, "-" and "_"`,
		"a b":                   `metadata.id: "a b" must be letters, digits, "-" and "_"`,
		strings.Repeat("x", 49): `metadata.id: "` + strings.Repeat("x", 49) + `" must be at most 48 characters in the queue`,
		"x-a2":                  `metadata.id: "x-a2" ends as the ids of attempts do (-a2): use another one in the queue`,
		"x-a2-a3":               `metadata.id: "x-a2-a3" ends as the ids of attempts do (-a2): use another one in the queue`,
	} {
		err := CheckQueueID(id)
		if want == "" && err != nil || want != "" && (err == nil || err.Error() != want) {
			t.Errorf("%q: got %v, want %s", id, err, want)
		}
	}
}

func TestIdsOfAttempts(t *testing.T) {
	for _, c := range []struct {
		work    string
		attempt int
		id      string
	}{{"n", 0, "n"}, {"n", 1, "n"}, {"n", 2, "n-a2"}, {"n", 101, "n-a101"}, {"a-b", 3, "a-b-a3"}} {
		if got := AttemptID(c.work, c.attempt); got != c.id {
			t.Errorf("%s, %d: got %s, want %s", c.work, c.attempt, got, c.id)
		}
		if got := WorkOf(c.id); got != c.work {
			t.Errorf("%s: got %s, want %s", c.id, got, c.work)
		}
	}
}

// The id of an attempt tells whose it is, for every id that the queue takes.
func TestAttemptsTellTheirWork(t *testing.T) {
	const letters = "abA12_-"
	check := func(seed []uint8, n uint8) bool {
		var id strings.Builder
		for _, b := range seed[:min(len(seed), MaxQueueID)] {
			id.WriteByte(letters[int(b)%len(letters)])
		}
		if CheckQueueID(id.String()) != nil {
			return true
		}
		return WorkOf(AttemptID(id.String(), int(n)+1)) == id.String()
	}
	if err := quick.Check(check, &quick.Config{MaxCount: 2000}); err != nil {
		t.Error(err)
	}
}

func TestWhatEndedARun(t *testing.T) {
	for name, c := range map[string]struct {
		run  *Run
		want string
		good bool
	}{
		"well":               {&Run{State: State_COMPLETE, Reason: ReasonExit}, "", true},
		"with a code":        {&Run{State: State_COMPLETE, Reason: ReasonExit, ExitCode: 3}, "exit", false},
		"by a signal":        {&Run{State: State_COMPLETE, Reason: ReasonSignal, Signal: "SIGTERM"}, "signal", false},
		"for want of memory": {&Run{State: State_COMPLETE, Reason: ReasonOOM, Signal: "SIGKILL"}, "oom", false},
		"for want of time":   {&Run{State: State_TIMEDOUT, Reason: ReasonTimeout}, "timeout", false},
		"with its runner":    {&Run{State: State_FAILED, Reason: ReasonLost}, "lost", false},
		"by somebody":        {&Run{State: State_ABORTED, Reason: ReasonAborted}, "", false},
		"never begun":        {&Run{State: State_FAILED, Reason: ReasonRejected}, "", false},
		"not compiled":       {&Run{State: State_COMPLETE, Reason: ReasonCompile, ExitCode: 1}, "", false},
		"at its limit":       {&Run{State: State_COMPLETE, Reason: ReasonCPULimit, Signal: "SIGKILL"}, "", false},
		"not yet":            {&Run{State: State_RUNNING}, "", false},
	} {
		if got := c.run.Cause(); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
		if got := c.run.Succeeded(); got != c.good {
			t.Errorf("%s: succeeded is %t", name, got)
		}
	}
}

func TestNextAttempt(t *testing.T) {
	lost := func(attempt, retries int32, on ...string) *Run {
		return &Run{Group: "n", State: State_FAILED, Reason: ReasonLost, Attempt: attempt, Queued: &Queued{Retries: retries, On: on}}
	}
	for name, c := range map[string]struct {
		run  *Run
		want string
	}{
		"one is left":        {lost(1, 1, "lost"), "n-a2"},
		"the last is over":   {lost(2, 1, "lost"), ""},
		"others are left":    {lost(2, 5, "exit", "lost"), "n-a3"},
		"for another cause":  {lost(1, 1, "exit"), ""},
		"for none":           {lost(1, 1), ""},
		"not of the queue":   {&Run{State: State_FAILED, Reason: ReasonLost}, ""},
		"that has succeeded": {&Run{Group: "n", State: State_COMPLETE, Reason: ReasonExit, Attempt: 1, Queued: &Queued{Retries: 3, On: causes}}, ""},
		"that was aborted":   {&Run{Group: "n", State: State_ABORTED, Attempt: 1, Queued: &Queued{Retries: 3, On: causes}}, ""},
	} {
		if got := c.run.NextAttempt(); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}
