package policy_test

import (
	"testing"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/policy"
)

// No run has more grace than grace.max, nor than timeout.max.
func TestGraceIsCapped(t *testing.T) {
	second, none, negative := time.Second, time.Duration(0), -time.Second
	for _, c := range []struct {
		name    string
		max     *time.Duration
		timeout time.Duration
		grace   string
		code    bool
		want    string
		lowered int
	}{
		{"nothing said", nil, 0, "", false, "", 0},
		{"as asked", nil, 0, "59s", false, "59s", 0},
		{"too much", nil, 0, "1000h", false, "1m0s", 1},
		{"the default is too much", &second, 0, "", false, "1s", 0},
		{"a language has none by default", &second, 0, "", true, "", 0},
		{"a language asks", &second, 0, "5s", true, "1s", 1},
		{"none for anybody", &none, 0, "5s", false, "0s", 1},
		{"timeout.max is less", nil, 2 * time.Second, "25s", false, "2s", 1},
		{"timeout.max is more", &second, time.Hour, "25s", false, "1s", 1},
	} {
		p := &policy.Policy{Grace: policy.GraceRules{Max: c.max}, Timeout: policy.TimeoutRules{Max: c.timeout}}
		task := &pb.Task{Grace: c.grace, Timeout: "1s"}
		if c.code {
			task.Language = &pb.Language{Name: "bash"}
		}
		lowered, err := p.ApplyTaskDefaults(task, nil)
		if err != nil || task.GetGrace() != c.want || len(lowered) != c.lowered {
			t.Errorf("%s: got %q, lowered %q, %v", c.name, task.GetGrace(), lowered, err)
		}
	}
	if _, err := (&policy.Policy{}).ApplyTaskDefaults(&pb.Task{Grace: "soon"}, nil); err == nil {
		t.Error("no duration was taken")
	}
	if err := (&policy.Policy{Grace: policy.GraceRules{Max: &negative}}).Validate(); err == nil {
		t.Error("a negative one was taken")
	}
}
