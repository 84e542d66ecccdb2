package policy_test

import (
	"errors"
	"math"
	"os/user"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/structpb"
	"pgregory.net/rapid"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/limits"
	"github.com/runnel-io/runnel/service/policy"
	"github.com/runnel-io/runnel/subjects"
)

func decode(t *testing.T, text string) *policy.Policy {
	t.Helper()
	var p policy.Policy
	if err := yaml.NewDecoder(strings.NewReader(text), yaml.Strict()).Decode(&p); err != nil {
		t.Fatalf("cannot decode: %v", err)
	}
	if err := p.Validate(); err != nil {
		t.Fatalf("Validate: %v", err)
	}
	return &p
}

func wantRule(t *testing.T, err error, rule string) {
	t.Helper()
	var r *policy.Refusal
	if !errors.As(err, &r) {
		t.Fatalf("got %v, want a refusal by %s", err, rule)
	}
	if r.Rule != rule || r.Code() != 403 || !strings.Contains(r.Error(), rule) {
		t.Errorf("got rule %q, code %d, %q; want rule %q", r.Rule, r.Code(), r, rule)
	}
}

func TestWholeConfiguration(t *testing.T) {
	p := decode(t, `
verbs: [task, glance]
files: {roots: [/srv, /var/log], deny: [/srv/secret, "*.kdbx"]}
hideCommandLines: true
users: {default: root, allowed: [root, nobody]}
isolation: {default: standard, allowed: [standard, strict], forbidNetwork: true}
languages: [python3]
limits:
  default: {memoryMax: 64M, cpuTime: 30s}
  max: {memoryMax: 1073741824, cpuMax: "50000 100000", ioMax: "8:16 rbps=1000", pidsMax: 100, core: 0}
timeout: {default: 1m, max: 1h}
log: {defaultMaxBytes: 1M, maxBytes: 1G}
clock: {forbidSet: true, maxStep: 10s}
`)
	if got, want := p.Limits.Max.Bytes(limits.MemoryMax), int64(1<<30); got != want {
		t.Errorf("memoryMax: got %d, want %d", got, want)
	}
	if p.Timeout.Max != time.Hour || p.Clock.MaxStep != 10*time.Second {
		t.Errorf("got timeout %s, step %s", p.Timeout.Max, p.Clock.MaxStep)
	}
	wantRule(t, p.CheckVerb("maint"), "verbs")
	wantRule(t, p.CheckClockSet(), "clock.forbidSet")
	if err := p.CheckVerb("task"); err != nil {
		t.Error(err)
	}
}

func TestEachVerbCanBeServedAlone(t *testing.T) {
	for _, verb := range subjects.Verbs() {
		p := decode(t, "verbs: ["+string(verb)+"]")
		for _, other := range subjects.Verbs() {
			if err := p.CheckVerb(string(other)); (err == nil) != (other == verb) {
				t.Errorf("%s alone, %s: %v", verb, other, err)
			}
		}
	}
}

func TestBadConfigurationIsNamed(t *testing.T) {
	for text, want := range map[string]string{
		"verbs: [tsk]":                                   "policy.verbs",
		"files: {roots: [srv]}":                          "policy.files.roots",
		"files: {deny: [a/b]}":                           "policy.files.deny",
		"files: {deny: ['[']}":                           "policy.files.deny",
		"isolation: {allowed: [weak]}":                   "policy.isolation.allowed",
		"isolation: {allowed: [strict]}":                 "policy.isolation.default",
		"isolation: {languageDefault: x}":                "policy.isolation.languageDefault",
		"users: {default: nobody, allowed: [root]}":      "policy.users.default",
		"limits: {max: {cpuMax: lots}}":                  "policy.limits.max.cpuMax",
		"limits: {default: {ioMax: '8:16'}}":             "policy.limits.default.ioMax",
		"limits: {default: {cpuWeight: 20000}}":          "policy.limits.default.cpuWeight",
		"timeout: {max: -1s}":                            "must not be negative",
		"limits: {max: {memoryMax: plenty}}":             "number of bytes",
		"timeout: {max: 10}":                             "",
		"hidecommandlines: true":                         "hidecommandlines",
		"limits: {max: {pidsMax: -3}}":                   "policy.limits.max.pidsMax",
		"limits: {max: {memoryMax: 99999999999999999P}}": "too big",
		"limits: {max: {diskMax: 1}}":                    "no such limit",
		"limits: {maximum: {pidsMax: 1}}":                "maximum",
		"limits: {max: {cpuMax: '1000 10'}}":             "period",
	} {
		var p policy.Policy
		err := yaml.NewDecoder(strings.NewReader(text), yaml.Strict()).Decode(&p)
		if err == nil {
			err = p.Validate()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want an error with %q", text, err, want)
		}
	}
}

func TestZeroPolicyAllows(t *testing.T) {
	var p policy.Policy
	if err := p.Validate(); err != nil {
		t.Fatal(err)
	}
	task := &pb.Task{User: "root", Isolation: "strict", Network: true, Language: &pb.Language{Name: "go"}}
	if err := p.CheckTask(task); err != nil {
		t.Error(err)
	}
	for _, row := range []struct {
		task *pb.Task
		want string
	}{{&pb.Task{}, "none"}, {&pb.Task{Language: &pb.Language{Name: "go"}}, "strict"}} {
		lowered, err := p.ApplyTaskDefaults(row.task, nil)
		if err != nil || len(lowered) > 0 || row.task.Isolation != row.want || row.task.Limits != nil || row.task.Log != nil {
			t.Errorf("got %v, %v, %v; want isolation %s and nothing else", row.task, lowered, err, row.want)
		}
	}
}

func TestTaskIsRefusedByRule(t *testing.T) {
	own, err := user.Current()
	if err != nil {
		t.Skipf("this account has no name: %v", err)
	}
	for _, row := range []struct {
		policy string
		task   *pb.Task
		rule   string
	}{
		{"users: {allowed: [root]}", &pb.Task{User: "nobody"}, "users.allowed"},
		{"users: {allowed: [root]}", &pb.Task{User: "0"}, ""},
		{"users: {allowed: ['0']}", &pb.Task{User: "root"}, ""},
		{"users: {allowed: [nobody]}", &pb.Task{User: "00"}, "users.allowed"},
		{"users: {allowed: [nobody]}", &pb.Task{User: "no such account"}, "users.allowed"},
		{"users: {allowed: [nobody], default: nobody}", &pb.Task{}, ""},
		{"users: {allowed: [" + own.Username + "]}", &pb.Task{}, ""},
		{"users: {allowed: [daemon]}", &pb.Task{}, "users.allowed"},
		{"isolation: {allowed: [none]}", &pb.Task{Isolation: "strict"}, "isolation.allowed"},
		{"isolation: {allowed: [none]}", &pb.Task{Language: &pb.Language{Name: "go"}}, "isolation.allowed"},
		{"isolation: {allowed: [strict], default: strict}", &pb.Task{}, ""},
		{"isolation: {forbidNetwork: true}", &pb.Task{Network: true}, "isolation.forbidNetwork"},
		{"languages: [go]", &pb.Task{Language: &pb.Language{Name: "perl"}}, "languages"},
		{"languages: [Go]", &pb.Task{Language: &pb.Language{Name: "go"}}, ""},
	} {
		err := decode(t, row.policy).CheckTask(row.task)
		if row.rule != "" {
			wantRule(t, err, row.rule)
		} else if err != nil {
			t.Errorf("%s: %v: %v", row.policy, row.task, err)
		}
	}
}

func TestDefaultsAndCaps(t *testing.T) {
	p := decode(t, `
users: {default: nobody}
limits:
  default: {memoryMax: 64M, cpuWeight: 50, openFiles: 64}
  max: {memoryMax: 128M, cpuMax: "50000 100000", ioMax: "8:16 rbps=1000 wiops=5", pidsMax: 100, core: 0, cpuTime: 1m, openFiles: 1024}
timeout: {default: 1m, max: 1h}
log: {maxBytes: 1M}
`)
	for _, row := range []struct {
		name    string
		in      *pb.Task
		want    *pb.Task
		lowered int
	}{
		{"nothing named", &pb.Task{}, &pb.Task{
			User: "nobody", Isolation: "none", Timeout: "1m0s", Log: &pb.Log{MaxBytes: 1 << 20},
			Limits: &pb.Limits{
				MemoryMax: structpb.NewStringValue("67108864"), CpuMax: "50000 100000", IoMax: "8:16 rbps=1000 wiops=5",
				PidsMax: proto.Int64(100), Core: structpb.NewStringValue("0"), CpuTime: "1m0s", OpenFiles: proto.Int64(64), CpuWeight: proto.Int64(50),
			},
		}, 0},
		{"all too high", &pb.Task{
			User: "root", Isolation: "strict", Timeout: "2h", Log: &pb.Log{MaxBytes: 1 << 30},
			Limits: &pb.Limits{
				MemoryMax: structpb.NewStringValue("1G"), CpuMax: "max", IoMax: "8:16 rbps=max\n8:0 riops=7",
				PidsMax: proto.Int64(1000), Core: structpb.NewNumberValue(5), CpuTime: "90s", OpenFiles: proto.Int64(4096), CpuWeight: proto.Int64(100),
			},
		}, &pb.Task{
			User: "root", Isolation: "strict", Timeout: "1h0m0s", Log: &pb.Log{MaxBytes: 1 << 20},
			Limits: &pb.Limits{
				MemoryMax: structpb.NewStringValue("134217728"), CpuMax: "50000 100000", IoMax: "8:0 riops=7\n8:16 rbps=1000 wiops=5",
				PidsMax: proto.Int64(100), Core: structpb.NewStringValue("0"), CpuTime: "1m0s", OpenFiles: proto.Int64(1024), CpuWeight: proto.Int64(100),
			},
		}, 9},
		{"all low enough", &pb.Task{
			User: "root", Timeout: "5s", Log: &pb.Log{MaxBytes: 5},
			Limits: &pb.Limits{
				MemoryMax: structpb.NewStringValue("1M"), CpuMax: "200 1000", IoMax: "8:16 rbps=10 wiops=1",
				PidsMax: proto.Int64(1), CpuTime: "1s", OpenFiles: proto.Int64(3), CpuWeight: proto.Int64(1),
			},
		}, &pb.Task{
			User: "root", Isolation: "none", Timeout: "5s", Log: &pb.Log{MaxBytes: 5},
			Limits: &pb.Limits{
				MemoryMax: structpb.NewStringValue("1M"), CpuMax: "200 1000", IoMax: "8:16 rbps=10 wiops=1",
				PidsMax: proto.Int64(1), Core: structpb.NewStringValue("0"), CpuTime: "1s", OpenFiles: proto.Int64(3), CpuWeight: proto.Int64(1),
			},
		}, 0},
	} {
		lowered, err := p.ApplyTaskDefaults(row.in, nil)
		if err != nil {
			t.Errorf("%s: %v", row.name, err)
		}
		if d := cmp.Diff(row.want, row.in, protocmp.Transform()); d != "" {
			t.Errorf("%s: want -, got +\n%s", row.name, d)
		}
		if len(lowered) != row.lowered {
			t.Errorf("%s: got %d lowered, want %d: %q", row.name, len(lowered), row.lowered, lowered)
		}
	}
}

// What the host can't hold a run to, the policy does not ask for; the task may.
func TestLimitsThatTheHostCannotHold(t *testing.T) {
	p := decode(t, "limits: {default: {memoryMax: 1M, cpuMax: \"50000\", core: 0}, max: {pidsMax: 50, ioMax: \"8:16 rbps=1000\"}}")
	task := &pb.Task{Limits: &pb.Limits{PidsMax: proto.Int64(100)}}
	if _, err := p.ApplyTaskDefaults(task, func(limit string) bool { return limit == "core" }); err != nil {
		t.Fatal(err)
	}
	want := &pb.Limits{PidsMax: proto.Int64(50), Core: structpb.NewStringValue("0")}
	if d := cmp.Diff(want, task.Limits, protocmp.Transform()); d != "" {
		t.Errorf("want -, got +\n%s", d)
	}
}

func TestBadLimitsAreErrorsNotRefusals(t *testing.T) {
	p := decode(t, "limits: {max: {memoryMax: 1G}}")
	for want, l := range map[string]*pb.Limits{
		"limits.memoryMax": {MemoryMax: structpb.NewStringValue("64X")},
		"limits.stack":     {Stack: structpb.NewBoolValue(true)},
		"limits.core":      {Core: structpb.NewNumberValue(1.5)},
		"limits.cpuMax":    {CpuMax: "1 2 3"},
		"limits.ioMax":     {IoMax: "sda rbps=1"},
		"limits.cpuTime":   {CpuTime: "10"},
	} {
		_, err := p.ApplyTaskDefaults(&pb.Task{Limits: l}, nil)
		var r *policy.Refusal
		if err == nil || !strings.Contains(err.Error(), want) || errors.As(err, &r) {
			t.Errorf("got %v, want a plain error that names %s", err, want)
		}
	}
}

// Whatever is asked, the run never gets more than the maximum, and a second
// pass changes nothing.
func TestNeverAboveTheMaximum(t *testing.T) {
	p := decode(t, `
limits: {default: {pidsMax: 7, memoryMax: 2M}, max: {pidsMax: 50, memoryMax: 1M}}
timeout: {max: 10s}`)
	rapid.Check(t, func(t *rapid.T) {
		task := &pb.Task{Limits: &pb.Limits{
			PidsMax:   rapid.Ptr(rapid.Int64Range(1, 1000), true).Draw(t, "pids"),
			MemoryMax: structpb.NewNumberValue(float64(rapid.Int64Range(1, 1<<30).Draw(t, "memory"))),
		}, Timeout: rapid.SampledFrom([]string{"", "1s", "10s", "11s", "240h", "0s"}).Draw(t, "timeout")}
		if _, err := p.ApplyTaskDefaults(task, nil); err != nil {
			t.Fatal(err)
		}
		d, err := time.ParseDuration(task.Timeout)
		if l := task.Limits; l.GetPidsMax() > 50 || l.GetPidsMax() < 1 || bytesOf(l.MemoryMax) > 1<<20 || d > 10*time.Second || d <= 0 || err != nil {
			t.Fatalf("too much: %v", task)
		}
		if again, err := p.ApplyTaskDefaults(task, nil); err != nil || len(again) > 0 {
			t.Fatalf("second pass: %v, %v", again, err)
		}
	})
}

func bytesOf(v *structpb.Value) int64 {
	if n := v.GetNumberValue(); n > 0 {
		return int64(n)
	}
	n, err := limits.ParseSize(v.GetStringValue())
	if err != nil {
		return math.MaxInt64
	}
	return n
}
